"""The pyramid cache: every image decoded once, at every size, in memory-mapped uint8 files.

A cache is a folder ``NAME-RESOLUTION-KEY/`` with one ``level-SIZE.u8`` for each size and ``complete.json``, written
last. It is built under a temporary name, synced, and renamed, so that a folder of the final name is whole. The key
covers everything that changes a pixel, so that a stale cache is simply not found. Its one builder holds a lock on
``NAME-RESOLUTION-KEY.lock``, every reader a shared one on ``complete.json``, so that only caches nobody has open are
removed to make room (``flock``: the kernel lets go of a dead process's locks).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from stylegan_fast.atomic import sync_folder
from stylegan_fast.errors import UserError

from .build import decode_all, level_file
from .pyramid import levels
from .sources import FaceSource, Source

try:
    import fcntl
except ImportError:  # Windows: no lock; the temporary name still keeps two builders apart
    fcntl = None  # type: ignore[assignment]

FORMAT = "stylegan_fast.pyramid"
VERSION = 1  # raise it when decoding or the layout changes
DEFAULT_LIMIT_BYTES = 32 * 2**30
_KEEP_FREE_BYTES = 2**29  # of the disk, for everybody else

Report = Callable[[str], None]


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/stylegan_fast``, by default ``~/.cache/stylegan_fast``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "stylegan_fast"


@dataclass
class PyramidCache:
    """An open cache. ``pixels[size]``: read-only uint8 ``[count, channels, size, size]``; ``skipped``: (place, why)."""

    directory: Path
    pixels: dict[int, np.ndarray]
    skipped: list[tuple[int, str]]
    _marker: IO[bytes] = field(repr=False)

    def close(self) -> None:
        self.pixels = {}
        self._marker.close()


def open_cache(
    source: Source,
    resolution: int,
    channels: int,
    *,
    directory: Path | None,
    limit_bytes: int,
    strict: bool,
    report: Report,
) -> PyramidCache | None:
    """The cache of ``source``, built now where there is none; None where not even small sizes have room.

    Where the limit (over all caches in ``directory``) or the disk is too small for all sizes, the largest are left out.
    Raises ``UserError`` where ``directory`` was asked for and cannot be written, and, if ``strict``, at a bad image.
    """
    root = default_cache_dir() if directory is None else directory
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        if directory is not None:
            raise UserError(f"cannot write the cache folder {root}: {error.strerror}") from None
        report(f"{source.title} is not cached but decoded on the fly (cannot write {root}: {error.strerror})")
        return None
    key = {
        "format": FORMAT, "version": VERSION, "source": source.identity(), "resolution": resolution,
        "channels": channels, "count": len(source.names),
    }  # fmt: skip
    full = levels(resolution)
    why = f"the cache may take {_bytes(limit_bytes)}"
    for first in range(len(full)):
        sizes = full[first:]
        needed = len(source.names) * channels * sum(size * size for size in sizes)
        if needed > limit_bytes:
            continue
        place = _Place(root, source.title, {**key, "sizes": sizes}, needed)
        try:
            cache = place.open(source, limit_bytes, strict, report)
        except OSError as error:
            why = f"{root}: {error.strerror or error}"
            continue
        if cache is None:
            why = f"{root} has too little free space"
            continue
        if first:
            report(f"sizes above {sizes[0]} are not cached but decoded on the fly ({why})")
        return cache
    report(f"{source.title} is not cached but decoded on the fly ({why})")
    return None


class _Place:
    """One cache's name, lock and marker."""

    def __init__(self, root: Path, title: str, key: dict[str, Any], size_bytes: int) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
        stem = re.sub(r"[^A-Za-z0-9._]+", "_", Path(title).stem)[:40]
        self.root, self.key, self.bytes = root, key, size_bytes
        self.directory = root / f"{stem}-{key['resolution']}-{digest}"

    def open(self, source: Source, limit_bytes: int, strict: bool, report: Report) -> PyramidCache | None:
        """Opens the cache, building it if need be; None where the disk is too full for it."""
        cache = self._opened_if_whole()
        if cache is not None:
            return cache
        with self.directory.with_name(self.directory.name + ".lock").open("a+b") as lock:
            if not _locked(lock, exclusive=True):
                report(f"waiting for another process to finish the cache {self.directory}")
                _locked(lock, exclusive=True, wait=True)
            cache = self._opened_if_whole()
            if cache is None:
                _make_room(self.root, limit_bytes - self.bytes)
                if shutil.disk_usage(self.root).free < self.bytes + _KEEP_FREE_BYTES:
                    return None
                self._build(source, strict, report)
                cache = self._opened_if_whole()
        if cache is None:
            raise OSError(errno.EIO, f"the cache {self.directory} vanished as soon as it was built")
        return cache

    def _opened_if_whole(self) -> PyramidCache | None:
        shape = (self.key["count"], self.key["channels"])
        with contextlib.ExitStack() as on_failure:
            try:
                file = on_failure.enter_context((self.directory / "complete.json").open("rb"))
                if not _locked(file, exclusive=False):
                    return None  # being removed
                marker = json.load(file)
                if marker["key"] != self.key:
                    return None
                pixels: dict[int, np.ndarray] = {}
                for size in self.key["sizes"]:
                    path = level_file(self.directory, size)
                    if path.stat().st_size != shape[0] * shape[1] * size * size:
                        return None
                    pixels[size] = np.memmap(path, dtype=np.uint8, mode="r", shape=(*shape, size, size))
                skipped = [(int(place), str(why)) for place, why in marker["skipped"]]
                os.utime(self.directory / "complete.json")  # last use, for the choice of what to remove
            except (OSError, ValueError, KeyError, TypeError):
                return None  # absent, cut short or another program's: build it anew
            on_failure.pop_all()
            return PyramidCache(self.directory, pixels, skipped, file)

    def _build(self, source: Source, strict: bool, report: Report) -> None:
        for remains in self.root.glob(f"{self.directory.name}.building-*"):
            shutil.rmtree(remains)  # of a killed builder: the lock is ours
        if self.directory.exists():
            shutil.rmtree(self.directory)
        building = self.root / f"{self.directory.name}.building-{os.getpid()}"
        building.mkdir()
        skipped: list[tuple[int, str]] = []
        begun = time.monotonic()
        try:
            verb = "drawing" if isinstance(source, FaceSource) else "decoding"
            with tqdm(total=self.key["count"], desc=f"{verb} (once)", unit="img", delay=0.5, disable=None) as bar:

                def on_progress(count: int, bad: list[tuple[int, str]]) -> None:
                    if bad and strict:
                        raise UserError(f"bad image {source.names[bad[0][0]]!r} in {source.title}: {bad[0][1]}")
                    skipped.extend(bad)
                    bar.update(count)

                decode_all(
                    source, building, self.key["resolution"], self.key["channels"], self.key["sizes"], on_progress
                )
            for size in self.key["sizes"]:
                _sync(level_file(building, size))
            marker = building / "complete.json"
            marker.write_text(json.dumps({"key": self.key, "bytes": self.bytes, "skipped": sorted(skipped)}))
            _sync(marker)
            sync_folder(building)
            os.rename(building, self.directory)
            sync_folder(self.root)
        finally:
            if building.exists():
                shutil.rmtree(building)
        report(
            f"cached {self.key['count']:,} images of {source.title} in {time.monotonic() - begun:.1f} s: "
            f"{self.directory} ({_bytes(self.bytes)})"
        )


def _locked(file: IO[bytes], *, exclusive: bool, wait: bool = False) -> bool:
    if fcntl is None:
        return True
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_room(root: Path, allowed_bytes: int) -> None:
    """Removes what killed builders left, and caches nobody has open, least recently used first, until at most
    ``allowed_bytes`` are left."""
    for remains in root.glob("*.building-*"):
        name = remains.name.partition(".building-")[0]
        with remains.with_name(name + ".lock").open("a+b") as lock:
            if _locked(lock, exclusive=True):
                shutil.rmtree(remains)
    found = []
    for marker in root.glob("*-*-*/complete.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not ours, or just removed by another
            written = json.loads(marker.read_bytes())
            if written["key"]["format"] == FORMAT and ".building-" not in marker.parent.name:
                found.append((marker.stat().st_mtime, int(written["bytes"]), marker))
    total = sum(size for _, size, _ in found)
    for _, size, marker in sorted(found):
        if total <= allowed_bytes:
            return
        with contextlib.suppress(FileNotFoundError), marker.open("rb") as file:  # or just removed by another
            if _locked(file, exclusive=True):
                shutil.rmtree(marker.parent)
                total -= size


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
