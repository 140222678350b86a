"""``torch_utils.ops`` of the StyleGAN2-ADA and StyleGAN3 projects and their relatives, computed by our ops.

    import stylegan_fast.interop.nvlabs
    stylegan_fast.interop.nvlabs.install()          # then the project, unchanged

The modules `bias_act`, `upfirdn2d`, `filtered_lrelu`, `conv2d_resample`, `conv2d_gradfix`, `fma` and
`grid_sample_gradfix` have the functions, arguments and defaults of those of the same names there. They are compiled
when this package is installed or not at all, run on CPU and GPU, and are differentiable as often as the projects need.
"""

from stylegan_fast.interop.replacement import Replacement

MODULES = (
    "bias_act",
    "conv2d_gradfix",
    "conv2d_resample",
    "filtered_lrelu",
    "fma",
    "grid_sample_gradfix",
    "upfirdn2d",
)

_replacement = Replacement(
    {name: f"{__name__}.{name}" for name in MODULES},
    lambda package: package == "torch_utils.ops" or package.endswith(".torch_utils.ops"),
)


def install(*packages: str) -> list[str]:
    """From now on, imports of these modules give ours.

    Args:
        packages: where the project has them, like ``"my_project.ops"``; by default every package named
            ``torch_utils.ops``, at any depth.

    Returns:
        The modules that were imported already and have been replaced now. Call it before the project is imported and
        there are none.
    """
    return _replacement.install(*packages)


def uninstall() -> None:
    """Undoes `install`: imports give the projects' own modules again."""
    _replacement.uninstall()
