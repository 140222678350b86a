"""Opening a data set: what :mod:`.sources` lists, decoded through :mod:`.cache`, with its labels."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from stylegan_fast.errors import UserError

from .attributes import FaceAttributes, face_attributes
from .build import cores
from .cache import DEFAULT_LIMIT_BYTES, PyramidCache, Report, open_cache
from .decode import BadImageError, peek
from .labels import Labels, require_label_for_each
from .pyramid import SMALLEST_LEVEL, levels, shrink
from .sources import FaceSource, FileSource, Source, open_source

MIN_RESOLUTION, MAX_RESOLUTION = 8, 1024
MAX_FACE_RESOLUTION = 256
DEFAULT_FACE_RESOLUTION = 64
_LOOKED_AT = 200  # files whose header decides resolution and channels where they are not given
_NAMED = 10  # bad images named in one message

Indices = Sequence[int] | np.ndarray


class Dataset:
    """Square pictures of one size, read by index at that size or any smaller power of two. See :func:`open_dataset`.

    ``name``; ``resolution``; ``channels`` (1, 3 or 4); ``label_dim``: number of classes, 0 without labels;
    ``class_names``: list of ``label_dim`` names, or None; ``skipped``: ``(name, why)`` of each unusable image.
    Threads may read at the same time.
    """

    def __init__(
        self,
        source: Source,
        resolution: int,
        channels: int,
        cache: PyramidCache | None,
        labels: Labels | None,
        strict: bool,
        report: Report,
    ) -> None:
        self.name = source.title
        self.resolution = resolution
        self.channels = channels
        self.label_dim = labels.num_classes if labels else 0
        self.class_names = labels.class_names if labels else None
        self._source, self._cache, self._strict, self._report = source, cache, strict, report
        skipped = [] if cache is None else cache.skipped
        self.skipped = [(source.names[place], why) for place, why in skipped]
        self._places = np.delete(np.arange(len(source.names)), [place for place, _ in skipped])
        self._classes = None
        if labels:
            self._classes = np.array([labels.by_name[source.names[place]] for place in self._places])
        self._bad: dict[int, str] = {}  # place -> why, found while decoding on the fly
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()  # of the three above

    def __len__(self) -> int:
        return len(self._places)

    def read(self, indices: Indices, resolution: int) -> np.ndarray:
        """The pictures at ``indices``: uint8 ``[N, channels, resolution, resolution]``, a fresh array.

        ``resolution``: a power of two from 4 to ``self.resolution``; smaller than full, a pixel is the mean of its
        block of the full picture, rounded once. Without a cache, a bad image is replaced by the next good one (and
        reported, and so is its label); ``strict`` raises ``UserError`` instead. Raises ``IndexError``, ``ValueError``.
        """
        return self.batch(indices, resolution)[0]

    def labels(self, indices: Indices) -> np.ndarray:
        """One-hot classes: float32 ``[N, label_dim]``."""
        rows = self._checked(indices)
        one_hot = np.zeros((len(rows), self.label_dim), dtype=np.float32)
        if self._classes is not None:
            one_hot[np.arange(len(rows)), self._classes[rows]] = 1.0
        return one_hot

    def batch(self, indices: Indices, resolution: int) -> tuple[np.ndarray, np.ndarray]:
        """``(read(indices, resolution), labels)``, the labels being those of the pictures really returned."""
        if resolution not in levels(self.resolution):
            raise ValueError(
                f"Dataset.read: resolution must be a power of two from {SMALLEST_LEVEL} to {self.resolution}, "
                f"got {resolution}"
            )
        rows = self._checked(indices)
        if self._cache is not None and resolution in self._cache.pixels:
            # take() lets other threads run while pages come from disk; indexing does not.
            return np.take(self._cache.pixels[resolution], self._places[rows], axis=0), self.labels(rows)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(min(8, cores()), thread_name_prefix="decode")
            pool = self._pool
        found = list(pool.map(lambda row: self._decode(int(row), resolution), rows))
        pixels = np.empty((len(rows), self.channels, resolution, resolution), dtype=np.uint8)
        for place, (_, picture) in enumerate(found):
            pixels[place] = picture
        return pixels, self.labels([row for row, _ in found])

    def identity(self) -> str:
        """Changes whenever any picture, or the size or number of channels they are read with, may have changed."""
        return f"{self._source.identity()}-{self.resolution}-{self.channels}"

    def close(self) -> None:
        """Lets go of files and of the cache."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        if self._cache is not None:
            self._cache.close()
        self._source.close()

    def _checked(self, indices: Indices) -> np.ndarray:
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"Dataset: indices must be from 0 to {len(self) - 1}, got {rows.min()} to {rows.max()}")
        return rows

    def _decode(self, row: int, resolution: int) -> tuple[int, np.ndarray]:
        """``(row of the picture really used, its pixels)``."""
        for step in range(len(self)):
            candidate = (row + step) % len(self)
            place = int(self._places[candidate])
            if place in self._bad:
                continue
            try:
                full = self._source.pixels(place, self.resolution, self.channels)
            except BadImageError as error:
                self._note_bad(place, str(error))
                continue
            return candidate, shrink(full, [resolution])[resolution]
        raise UserError(f"every image in {self.name} is bad; the first is {self.skipped[0][0]!r}: {self.skipped[0][1]}")

    def _note_bad(self, place: int, why: str) -> None:
        name = self._source.names[place]
        if self._strict:
            raise UserError(f"bad image {name!r} in {self.name}: {why}")
        with self._lock:
            if place in self._bad:
                return
            self._bad[place] = why
            self.skipped.append((name, why))
        self._report(f"skipped {name!r}: {why} ({len(self.skipped)} bad so far)")


class FaceDataset(Dataset):
    """The built-in cartoon faces; see :mod:`.attributes`."""

    def attributes(self, indices: Indices) -> list[FaceAttributes]:
        """What is drawn on each of the pictures at ``indices``."""
        return [face_attributes(int(row)) for row in self._checked(indices)]


def open_dataset(
    path: str | Path | None,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    use_labels: bool = False,
    cache_dir: str | Path | None = None,
    cache_limit_bytes: int = DEFAULT_LIMIT_BYTES,
    strict: bool = False,
    report: Report | None = None,
) -> Dataset:
    """Opens a folder of images (with the folders in it), a ZIP of images, or the built-in faces.

    ``path``: the folder or ZIP; None or "faces" for 10,000 built-in faces, "faces:N" for N of them.
    ``resolution``: a power of two from 8 to 1024 (faces: 256). By default the largest that is not above the median of
    the images' shorter sides (faces: 64). Every image is cut to the square in its middle and resized to it.
    ``channels``: 1, 3 or 4 (faces: 1 or 3). By default 4 where the data set tool wrote 4 into ``dataset.json``,
    else 1 where all images looked at are grayscale, else 3: transparency is composited on white.
    ``use_labels``: classes from ``dataset.json`` at the root, else from sub-folders; faces: the hair style.
    ``cache_dir``, ``cache_limit_bytes``: place of the decoded pictures, and the most bytes all caches there may have;
    what does not fit is decoded on the fly. ``strict``: a bad image is an error instead of being skipped.
    ``report``: called with each message (one line); by default printed on stderr.

    Raises ``UserError`` on everything that is wrong with the data set or the arguments.
    """
    say = report or (lambda line: print(line, file=sys.stderr))
    if cache_limit_bytes < 0:
        raise UserError(f"the cache limit must be 0 bytes or more, got {cache_limit_bytes}")
    _check_resolution(resolution)  # before a long listing
    source = open_source(path)
    try:
        resolution, channels = choose_shape(source, resolution, channels)
        labels = require_label_for_each(source.names, source.labels(), source.title) if use_labels else None
        cache = open_cache(
            source, resolution, channels, directory=None if cache_dir is None else Path(cache_dir).expanduser(),
            limit_bytes=cache_limit_bytes, strict=strict, report=say,
        )  # fmt: skip
        kind = FaceDataset if isinstance(source, FaceSource) else Dataset
        dataset = kind(source, resolution, channels, cache, labels, strict, say)
    except BaseException:
        source.close()
        raise
    if dataset.skipped:
        _tell_skipped(dataset, len(source.names), strict, say)
    return dataset


def _check_resolution(resolution: int | None) -> None:
    if resolution is None:
        return
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION or resolution & (resolution - 1):
        raise UserError(f"resolution {resolution} must be a power of two from {MIN_RESOLUTION} to {MAX_RESOLUTION}")


def _check_faces(resolution: int | None, channels: int | None) -> tuple[int, int]:
    if resolution is not None and resolution > MAX_FACE_RESOLUTION:
        raise UserError(f"resolution {resolution}: the built-in faces are drawn up to {MAX_FACE_RESOLUTION}")
    if channels == 4:
        raise UserError(f"channels {channels}: the built-in faces are drawn with 3 channels, or 1")
    return resolution or DEFAULT_FACE_RESOLUTION, channels or 3


def choose_shape(source: Source, resolution: int | None, channels: int | None) -> tuple[int, int]:
    """``(resolution, channels)``, what is None filled in as :func:`open_dataset` says.

    Looks at up to 200 headers spread evenly over the data set. Raises ``UserError``.
    """
    _check_resolution(resolution)
    if channels not in (None, 1, 3, 4):
        raise UserError(f"channels {channels} must be 1 (grayscale), 3 (RGB) or 4 (RGBA)")
    if not isinstance(source, FileSource):
        return _check_faces(resolution, channels)
    if channels is None:
        written = (source.dataset_json() or {}).get("channels")
        channels = 4 if written == 4 else None
    if resolution is not None and channels is not None:
        return resolution, channels
    sides, gray = [], True
    for place in range(0, len(source.names), max(1, len(source.names) // _LOOKED_AT)):
        try:
            width, height, is_gray = peek(source.content(place))
        except BadImageError:
            continue  # counted and named when it is decoded
        sides.append(min(width, height))
        gray &= is_gray
    if not sides:
        raise UserError(f"no readable image in {source.title} (looked at {min(len(source.names), _LOOKED_AT)})")
    if resolution is None:
        median = sorted(sides)[len(sides) // 2]
        if median < MIN_RESOLUTION:
            raise UserError(f"the images in {source.title} are only {median} pixels large; give a resolution")
        resolution = min(MAX_RESOLUTION, 1 << (median.bit_length() - 1))
    return resolution, channels or (1 if gray else 3)


def _tell_skipped(dataset: Dataset, count: int, strict: bool, say: Report) -> None:
    name, why = dataset.skipped[0]
    if len(dataset) == 0:
        dataset.close()
        raise UserError(f"all {count} images in {dataset.name} are bad; the first is {name!r}: {why}")
    if strict:
        dataset.close()
        raise UserError(f"{len(dataset.skipped)} of {count} images in {dataset.name} are bad; first {name!r}: {why}")
    for name, why in dataset.skipped[:_NAMED]:
        say(f"skipped {name!r}: {why}")
    more = f", {_NAMED} named above" if len(dataset.skipped) > _NAMED else ""
    say(f"{len(dataset.skipped)} of {count} images in {dataset.name} are bad and were skipped{more}")
