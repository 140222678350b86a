"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the place of ``path`` at the end, and only if nothing was raised.

    The bytes go to a temporary file of the same folder, are synced to the disk, and the file is renamed: whoever opens
    ``path``, also after a crash, finds the old contents or the new, never a part. Raises ``OSError``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as failure:
        # A failing write does not say which file it was writing, and nobody knows the temporary one.
        if isinstance(failure, OSError) and failure.filename in (None, temporary, str(temporary)):
            failure.filename, failure.filename2 = str(path), None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def append(path: str | os.PathLike[str], text: str) -> None:
    """Add to the end of a file, which is made if it is not there. Raises ``OSError`` with its name."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as failure:
        failure.filename = os.fspath(path)
        raise


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make renames in ``folder`` last through a power cut, where the system lets a folder be synced."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
