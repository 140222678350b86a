"""What a metric keeps of a stream of images, and where bulky parts are kept."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor

from stylegan_fast.metrics.images import Block


class Collector(ABC):
    """Reduces blocks of images: ``extract`` where the images are, ``absorb`` on rank 0, in the order of blocks.

    ``kind`` names what is kept; with the detector's hash it tells two of them apart in the cache of real data.
    """

    kind: ClassVar[str]

    @abstractmethod
    def extract(self, block: Block) -> Tensor:
        """What is kept of these images; the first dimension counts them (or pairs of them)."""

    @abstractmethod
    def absorb(self, part: np.ndarray) -> None:
        """Take in the extract of the next block."""

    def arrays(self) -> dict[str, np.ndarray] | None:
        """All that was absorbed, to be cached; None where it is too large for that."""
        return None

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """The opposite of ``arrays``, in place of absorbing."""
        raise ValueError(f"{type(self).__name__} keeps nothing in the cache")


class RowStore:
    """float32 rows in a temporary file, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="stylegan_fast-")  # noqa: SIM115 (lives as long as the store)
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def append(self, rows: np.ndarray) -> None:
        """Add ``[n, ...]``; all but the first dimension must be the same in every call."""
        self._shape = rows.shape[1:]
        self._count += rows.shape[0]
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)

    def rows(self) -> np.ndarray:
        """Everything appended, ``[N, ...]``, mapped from the file."""
        self._file.flush()
        if self._count == 0:
            return np.zeros((0, *self._shape), np.float32)
        return np.memmap(self._file, np.float32, "r", shape=(self._count, *self._shape))
