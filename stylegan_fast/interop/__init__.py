"""Other people's networks, files and ops.

``install()`` lets projects of the two families that carry their own copies of ``upfirdn2d`` and ``bias_act`` or
``fused_act`` run on ours, unchanged: see `stylegan_fast.interop.nvlabs` and `stylegan_fast.interop.rosinality`.
"""


def install() -> list[str]:
    """Puts our ops in the place of those of both families, wherever they are recognised.

    Call it before the project is imported: its own are compiled on import or at the first call.

    Returns:
        The modules that were imported already and have been replaced now.
    """
    from stylegan_fast.interop import nvlabs, rosinality

    return nvlabs.install() + rosinality.install()


def uninstall() -> None:
    """Undoes `install`."""
    from stylegan_fast.interop import nvlabs, rosinality

    nvlabs.uninstall()
    rosinality.uninstall()
