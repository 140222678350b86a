"""StyleGAN (Karras, Laine, Aila 2018, arXiv 1812.04948) with its memory-bound work in fused kernels.

Everything named here is loaded on first use, so that importing the package costs nothing and creates no CUDA context::

    import stylegan_fast
    G = stylegan_fast.load_generator("runs/00000-faces")
    images = G(torch.randn(4, G.z_dim), truncation_psi=0.7)
"""

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import layers as layers
    from . import ops as ops
    from .interop.accelerate import accelerate as accelerate
    from .interop.networks import load_discriminator as load_discriminator
    from .interop.networks import load_generator as load_generator
    from .memory import keep_freed_memory as keep_freed_memory
    from .models.discriminator import Discriminator as Discriminator
    from .models.generator import Generator as Generator
    from .ops.adain import adain as adain
    from .ops.bias_act import bias_act as bias_act
    from .ops.library import use_backend as use_backend
    from .ops.philox import philox_normal as philox_normal
    from .ops.upfirdn2d import upfirdn2d as upfirdn2d

_HOMES = {
    "layers": ".layers",
    "ops": ".ops",
    "accelerate": ".interop.accelerate",
    "Discriminator": ".models.discriminator",
    "Generator": ".models.generator",
    "keep_freed_memory": ".memory",
    "load_discriminator": ".interop.networks",
    "load_generator": ".interop.networks",
    "adain": ".ops",
    "bias_act": ".ops",
    "philox_normal": ".ops",
    "upfirdn2d": ".ops",
    "use_backend": ".ops.library",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name], __name__)
    return home if name in ("layers", "ops") else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
