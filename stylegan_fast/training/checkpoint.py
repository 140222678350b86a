"""``state.pt``: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from stylegan_fast.atomic import replacing, sync_folder
from stylegan_fast.errors import UserError
from stylegan_fast.training.run_folder import RunFolder

FORMAT = "stylegan_fast.state"
VERSION = 1
# What is raised where an archive, its compressed members or the pickle in it make no sense.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
    *(RuntimeError, EOFError, ValueError, KeyError),
)


class DamagedState(Exception):
    """The file is no state of ours, or not a whole one."""


def save_state(folder: RunFolder, contents: dict[str, Any]) -> None:
    """Write ``state.pt``; the one before stays as ``state.prev.pt``. On ``OSError`` both are as before."""
    fresh = folder.state.with_name("state.new.pt")
    try:
        with replacing(fresh) as file:
            torch.save({"format": FORMAT, "version": VERSION, **contents}, file)
    except RuntimeError as failure:
        # torch's writer reports a failing write (a full disk) as an error of its own, with ours as its context.
        if isinstance(failure.__context__, OSError):
            failure.__context__.filename = str(folder.state)
            raise failure.__context__ from None
        raise
    # At each moment of these two steps at least one whole state is there under a name that load_state looks at.
    if folder.state.is_file():
        os.replace(folder.state, folder.previous_state)
    os.replace(fresh, folder.state)
    sync_folder(folder.path)


def load_state(folder: RunFolder) -> tuple[dict[str, Any], str | None]:
    """The newest whole state of a run, on the CPU, and a sentence about a newer one that was damaged, if any.

    Raises ``UserError`` where none is whole.
    """
    problems = []
    for path in (folder.state, folder.previous_state):
        if not path.is_file():
            continue
        try:
            state = _read(path)
        except DamagedState as problem:
            problems.append(str(problem))
            continue
        return state, f"{problems[0]}; going on from {path.name}" if problems else None
    raise UserError(f"--resume {str(folder.path)!r}: " + ("; ".join(problems) or "there is no state.pt"))


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not look at the checksums
        if damaged is not None:
            raise DamagedState(f"{path.name} is damaged (checksum of {damaged})")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as failure:
        raise DamagedState(f"{path.name} is damaged or is not a state of a run ({type(failure).__name__})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedState(f"{path.name} is not a state of a run")
    if state.get("version") != VERSION:
        raise UserError(f"{path}: version {state.get('version')!r} of the format, expected {VERSION}; update first")
    return state
