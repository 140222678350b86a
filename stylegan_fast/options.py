"""Types of command line options."""

from __future__ import annotations

import functools
from typing import Any

import click

_LARGEST = 1e30  # what lies beyond is no setting, and soon no fp32 number either


class Number(click.FloatRange):
    """A finite number, within limits where there are any. (NaN passes click's own limits, and infinity open ones.)"""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not abs(number) <= _LARGEST:
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _FolderName(click.ParamType):
    """An empty one, as a shell's unset variable leaves it, would be the current folder."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value) or self.fail("expected the name of a folder, got an empty one.", param, ctx)


outdir_option = functools.partial(click.option, "--outdir", metavar="DIR", type=_FolderName())

trunc_option = click.option(
    "--trunc", type=Number(), default=0.7, show_default=True, help="Truncation psi: 1 varied, 0 the mean image."
)
