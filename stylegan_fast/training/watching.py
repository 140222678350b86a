"""Observers that let a person watch a run: the page about it, and TensorBoard."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stylegan_fast.errors import UserError
from stylegan_fast.reporting import write_report
from stylegan_fast.training.observer import Observer

if TYPE_CHECKING:
    from stylegan_fast.training.loop import Loop

_NOT_PLOTTED = ("tick", "kimg", "images")


class Report(Observer):
    """Writes the page about the run, ``curves.png`` and ``progress.png``, at each snapshot and at the end of a sitting.

    A page that cannot be written is said, and stops nothing.
    """

    def snapshot(self, loop: Loop) -> None:
        self._write(loop)

    def end(self, loop: Loop) -> None:
        self._write(loop)

    def _write(self, loop: Loop) -> None:
        if loop.folder is None:
            return
        try:
            write_report(loop.folder.path)
        except (OSError, UserError) as failure:
            # Not into the log: what kept the page from being written may keep that, too.
            reason = failure.strerror if isinstance(failure, OSError) else None
            loop.bar.line(f"report.html could not be written: {reason or failure}")


def check_tensorboard() -> None:
    """Raises ``UserError`` where tensorboard is not installed."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        raise UserError("--tensorboard needs tensorboard: pip install 'stylegan_fast[tensorboard]'") from None


class TensorBoard(Observer):
    """Writes the numbers of each tick and the sheet of each snapshot, over images, into the run's ``tensorboard``."""

    def __init__(self) -> None:
        self._writer: Any = None

    def begin(self, loop: Loop) -> None:
        if loop.folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            # What a killed run wrote beyond its last state is written again, and must not be shown twice.
            self._writer = SummaryWriter(str(loop.folder.path / "tensorboard"), purge_step=loop.position.images + 1)

    def tick(self, loop: Loop, row: dict[str, Any]) -> None:
        if self._writer is None:
            return
        for name, value in row.items():
            if name not in _NOT_PLOTTED and isinstance(value, int | float):
                self._writer.add_scalar(name, value, loop.position.images)

    def snapshot(self, loop: Loop) -> None:
        if self._writer is None or loop.folder is None:
            return
        with Image.open(loop.folder.fakes(loop.position.images)) as sheet:
            self._writer.add_image("samples", np.asarray(sheet), loop.position.images, dataformats="HWC")
        self._writer.flush()

    def end(self, loop: Loop) -> None:
        if self._writer is not None:
            self._writer.close()
