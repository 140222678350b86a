"""Names and settings of the official implementation; its numbers are compared in tests/models."""

import numpy as np
import pytest
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.interop import official
from stylegan_fast.models import Discriminator, Generator
from tests import golden_data as golden


@pytest.mark.parametrize("name", ["generator_r64", "generator_cond_r32", "generator_r256"])
def test_generator_variables_fill_exactly_our_state(name: str) -> None:
    tensors = official.generator_state_dict(golden.under(name, "var/"))
    state = Generator(**official.generator_init_kwargs(golden.static_kwargs(name))).state_dict()
    assert {key: t.shape for key, t in tensors.items()} == {key: t.shape for key, t in state.items()}


@pytest.mark.parametrize("name", ["discriminator_r64", "discriminator_cond_r32", "discriminator_r256"])
def test_discriminator_variables_fill_exactly_our_state(name: str) -> None:
    tensors = official.discriminator_state_dict(golden.under(name, "var/"))
    state = Discriminator(**official.discriminator_init_kwargs(golden.static_kwargs(name))).state_dict()
    assert {key: t.shape for key, t in tensors.items()} == {key: t.shape for key, t in state.items()}


@pytest.mark.parametrize(("fused_scale", "turned"), [("auto", {128, 256}), (True, {8, 64, 128, 256}), (False, set())])
def test_up_convolution_kernels_are_turned_where_the_original_fused(fused_scale: bool | str, turned: set[int]) -> None:
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    sizes = (8, 64, 128, 256)
    variables = {f"G_synthesis/{r}x{r}/Conv0_up/weight": kernel for r in sizes}
    tensors = official.generator_state_dict(variables, fused_scale=fused_scale)
    expected = torch.from_numpy(kernel[:, :, 0, 0])
    for r in sizes:
        ours = tensors[f"synthesis.b{r}.layer0.conv.weight"][0, 0]
        assert torch.equal(ours, expected.flip(0, 1) if r in turned else expected)


def test_resolution_may_be_given_where_names_do_not_tell_it() -> None:
    variables = {"G_synthesis/ToRGB_lod2/bias": np.zeros(3)}
    tensors = official.generator_state_dict(variables, img_resolution=64)
    assert list(tensors) == ["synthesis.b16.to_rgb.bias"]
    with pytest.raises(UserError, match="no variable names a resolution"):
        official.generator_state_dict(variables)


@pytest.mark.parametrize(
    "name",
    [
        "G_synthesis/8x8/Conv9/weight",
        "G_synthesis/8x8/Const/bias",
        "G_synthesis/4x4/Conv0_up/weight",
        "G_synthesis/4x4/Const/weight",
        "G_synthesis/8x16/Conv1/weight",
        "G_mapping/Dense0/scale",
        "FromRGB_lod0/weight",
        "",
    ],
)
def test_foreign_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="no variable is named"):
        official.generator_state_dict({name: np.zeros(1)}, img_resolution=64)


@pytest.mark.parametrize("name", ["8x8/Conv/weight", "4x4/Conv0/weight", "4x4/Dense2/weight", "ToRGB_lod0/weight"])
def test_foreign_discriminator_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="no variable is named"):
        official.discriminator_state_dict({name: np.zeros(1)}, img_resolution=64)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_noise": False},
        {"use_styles": False},
        {"nonlinearity": "relu"},
        {"fmap_decay": 2.0},
        {"mapping_lrmul": 1.0},
        {"blur_filter": None},
        {"num_channels": 2},
    ],
)
def test_settings_we_do_not_compute_are_refused(settings: dict) -> None:
    (name,) = settings
    with pytest.raises(UserError, match=name):
        official.generator_init_kwargs(settings)


def test_settings_left_out_have_their_official_defaults() -> None:
    with torch.device("meta"):
        generator = Generator(**official.generator_init_kwargs({}))
        discriminator = Discriminator(**official.discriminator_init_kwargs({"resolution": 1024, "num_channels": 3}))
    assert sum(p.numel() for p in generator.parameters()) == 26_219_627
    assert sum(p.numel() for p in discriminator.parameters()) == 23_087_249
    assert official.discriminator_init_kwargs({})["img_resolution"] == 32


def test_our_state_is_a_copy_of_the_variables() -> None:
    variables = {"G_synthesis/4x4/Const/bias": np.zeros(3, np.float32)}
    tensors = official.generator_state_dict(variables, img_resolution=8)
    tensors["synthesis.b4.layer0.epilogue.bias"].fill_(1)
    assert not variables["G_synthesis/4x4/Const/bias"].any()
