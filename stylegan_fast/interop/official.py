"""Variables of the official TensorFlow implementation (StyleGAN 1), by name, to our state dicts.

Layouts there: convolution weights ``[kh, kw, in, out]``, dense weights ``[in, out]``, everything else as here. Weights
are stored unscaled there too, so no number changes, except that the official generator upscales with a transposed
convolution where the result is 128x128 or larger, which turns the kernel by 180 degrees.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.models.growth import IMAGE_CHANNELS

# Smallest output resolution at which fused_scale="auto" upscales with the transposed convolution.
FUSED_UP_RESOLUTION = 128

_LAYER_OF = {"Const": "layer0", "Conv": "layer1", "Conv0_up": "layer0", "Conv1": "layer1"}
_EPILOGUE = {
    "bias": "epilogue.bias",
    "Noise/weight": "epilogue.noise_strength",
    "StyleMod/weight": "epilogue.affine.weight",
    "StyleMod/bias": "epilogue.affine.bias",
}
_DISCRIMINATOR_LAYER_OF = {
    "Conv0": "conv0",
    "Conv1_down": "conv1",
    "Conv": "conv",
    "Dense0": "fc",
    "Dense1": "out",
}

# What the official networks may be told that changes their arithmetic, and the only values ours compute.
_REQUIRED = {
    "generator": {
        "fmap_decay": 1.0,
        "mapping_lrmul": 0.01,
        "mapping_nonlinearity": "lrelu",
        "nonlinearity": "lrelu",
        "use_wscale": True,
        "normalize_latents": True,
        "use_styles": True,
        "const_input_layer": True,
        "use_noise": True,
        "use_pixel_norm": False,
        "use_instance_norm": True,
        "blur_filter": [1, 2, 1],
    },
    "discriminator": {
        "fmap_decay": 1.0,
        "nonlinearity": "lrelu",
        "use_wscale": True,
        "mbstd_num_features": 1,
        "blur_filter": [1, 2, 1],
    },
}


def generator_state_dict(
    variables: Mapping[str, np.ndarray], *, img_resolution: int | None = None, fused_scale: bool | str = "auto"
) -> dict[str, Tensor]:
    """Translates generator variables, or their gradients.

    Args:
        variables: by official name, e.g. ``G_synthesis/64x64/Conv0_up/weight``, ``G_mapping/Dense0/bias``,
            ``dlatent_avg``. Any subset; `lod` is left out.
        img_resolution: of the whole network; None is the largest resolution named.
        fused_scale: the official network's setting.

    Returns:
        Tensors under our names, in the dtype given. `Generator.load_state_dict` says what is missing, if anything.

    Raises:
        UserError: a name is not one of the official generator's.
    """
    if img_resolution is None:
        img_resolution = _largest_resolution("generator", variables)
    tensors = {}
    for name, value in variables.items():
        if name in ("lod", "G_synthesis/lod"):
            continue
        ours = _generator_name(name, img_resolution)
        tensor = _to_our_layout(name, value)
        up = re.search(r"/(\d{1,5})x\d+/Conv0_up/weight$", name)
        if up and (fused_scale is True or (fused_scale == "auto" and int(up[1]) >= FUSED_UP_RESOLUTION)):
            tensor = tensor.flip(2, 3)
        tensors[ours] = tensor.contiguous()
    return tensors


def discriminator_state_dict(
    variables: Mapping[str, np.ndarray], *, img_resolution: int | None = None
) -> dict[str, Tensor]:
    """Translates discriminator variables, or their gradients; see `generator_state_dict`.

    The official fused downscaling equals the unfused one with the same kernel, so there is no `fused_scale` here.
    """
    if img_resolution is None:
        img_resolution = _largest_resolution("discriminator", variables)
    return {
        _discriminator_name(name, img_resolution): _to_our_layout(name, value).contiguous()
        for name, value in variables.items()
        if name != "lod"
    }


def generator_init_kwargs(static_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `stylegan_fast.models.Generator` for the official generator's settings.

    Raises:
        UserError: a setting changes the arithmetic to something `Generator` does not compute.
    """
    _check_settings("generator", static_kwargs)
    return {
        "img_resolution": static_kwargs.get("resolution", 1024),
        "img_channels": _image_channels("generator", static_kwargs.get("num_channels", 3)),
        "z_dim": static_kwargs.get("latent_size", 512),
        "w_dim": static_kwargs.get("dlatent_size", 512),
        "c_dim": static_kwargs.get("label_size", 0),
        "channel_base": static_kwargs.get("fmap_base", 8192),
        "channel_max": static_kwargs.get("fmap_max", 512),
        "mapping_layers": static_kwargs.get("mapping_layers", 8),
        "mapping_width": static_kwargs.get("mapping_fmaps", 512),
        "w_avg_beta": static_kwargs.get("dlatent_avg_beta", 0.995),
    }


def discriminator_init_kwargs(static_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `stylegan_fast.models.Discriminator` for the official discriminator's settings.

    Raises:
        UserError: a setting changes the arithmetic to something `Discriminator` does not compute.
    """
    _check_settings("discriminator", static_kwargs)
    return {
        "img_resolution": static_kwargs.get("resolution", 32),
        "img_channels": _image_channels("discriminator", static_kwargs.get("num_channels", 1)),
        "c_dim": static_kwargs.get("label_size", 0),
        "channel_base": static_kwargs.get("fmap_base", 8192),
        "channel_max": static_kwargs.get("fmap_max", 512),
        "mbstd_group_size": static_kwargs.get("mbstd_group_size", 4),
    }


def _check_settings(network: str, static_kwargs: Mapping[str, Any]) -> None:
    for name, required in _REQUIRED[network].items():
        value = static_kwargs.get(name, required)
        if value != required:
            raise UserError(f"official {network}: {name} is {value!r}; only {required!r} is supported")


def _image_channels(network: str, channels: int) -> int:
    if channels not in IMAGE_CHANNELS:
        raise UserError(f"official {network}: num_channels is {channels!r}; only 1, 3 and 4 are supported")
    return channels


def _largest_resolution(network: str, names: Iterable[str]) -> int:
    found = [int(match[1]) for match in (re.search(r"(?:^|/)(\d{1,5})x\d+/", name) for name in names) if match]
    if not found:
        raise UserError(f"official {network}: no variable names a resolution; expected names like '64x64/Conv1/weight'")
    return max(found)


def _generator_name(name: str, img_resolution: int) -> str:
    if name == "dlatent_avg":
        return "mapping.w_avg"
    if name == "G_mapping/LabelConcat/weight":
        return "mapping.embedding"
    if match := re.fullmatch(r"G_mapping/Dense(\d{1,3})/(weight|bias)", name):
        return f"mapping.fc{match[1]}.{match[2]}"
    if match := re.fullmatch(r"G_synthesis/noise(\d{1,3})", name):
        layer = int(match[1])
        return f"synthesis.b{4 << (layer // 2)}.layer{layer % 2}.noise_const"
    if match := re.fullmatch(r"G_synthesis/ToRGB_lod(\d{1,3})/(weight|bias)", name):
        return f"synthesis.b{img_resolution >> int(match[1])}.to_rgb.{match[2]}"
    if name == "G_synthesis/4x4/Const/const":
        return "synthesis.b4.const"
    match = re.fullmatch(r"G_synthesis/(\d{1,5})x\1/(Const|Conv|Conv0_up|Conv1)/(\w+|\w+/\w+)", name)
    if match and (match[1] == "4") == (match[2] in ("Const", "Conv")):
        layer_name = f"synthesis.b{match[1]}.{_LAYER_OF[match[2]]}"
        if match[3] in _EPILOGUE:
            return f"{layer_name}.{_EPILOGUE[match[3]]}"
        if match[3] == "weight" and match[2] != "Const":
            return f"{layer_name}.conv.weight"
    raise UserError(f"official generator: no variable is named {name!r:.80}")


def _discriminator_name(name: str, img_resolution: int) -> str:
    if match := re.fullmatch(r"FromRGB_lod(\d{1,3})/(weight|bias)", name):
        return f"b{img_resolution >> int(match[1])}.from_rgb.{match[2]}"
    match = re.fullmatch(r"(\d{1,5})x\1/(Conv|Conv0|Conv1_down|Dense0|Dense1)/(weight|bias)", name)
    if match and (match[1] == "4") == (match[2] in ("Conv", "Dense0", "Dense1")):
        return f"b{match[1]}.{_DISCRIMINATOR_LAYER_OF[match[2]]}.{match[3]}"
    raise UserError(f"official discriminator: no variable is named {name!r:.80}")


def _to_our_layout(name: str, value: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.array(value))
    if name.endswith("/weight") and name != "G_mapping/LabelConcat/weight":
        if tensor.ndim == 4:
            tensor = tensor.permute(3, 2, 0, 1)
        elif tensor.ndim == 2:
            tensor = tensor.t()
    return tensor
