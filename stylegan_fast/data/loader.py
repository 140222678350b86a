"""Batches in a random order that depends on nothing but a seed and a counter, read ahead by a thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from .dataset import Dataset

_AHEAD_BYTES = 64 * 2**20  # at most this much is read ahead (but always one batch) ...
_AHEAD_BATCHES = 4  # ... and at most so many batches

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Request:
    first_image: int
    batch_size: int
    resolution: int


class BatchLoader:
    """Shuffled batches of ``dataset``; which image comes when is a pure function of ``seed`` and its global number.

    Global image ``i`` is image ``permutation(seed, epoch)[i mod len]`` of epoch ``i // len``. So a training run that
    resumes at image ``i`` sees what the uninterrupted run saw, whatever batch sizes came before. Of the
    ``batch_size * num_ranks`` global images from ``first_image`` on, rank r gets ``first_image + r + k * num_ranks``.

    A thread reads the batches after the one asked for last (same size and resolution) ahead of time. Any other request
    is served as well, only later. ``wait_seconds``: how long callers of :meth:`batch` have waited in total.
    """

    def __init__(self, dataset: Dataset, seed: int, rank: int = 0, num_ranks: int = 1) -> None:
        if not 0 <= rank < num_ranks:
            raise ValueError(f"BatchLoader: rank must be from 0 to num_ranks - 1 = {num_ranks - 1}, got {rank}")
        self.wait_seconds = 0.0
        self._dataset, self._seed, self._rank, self._num_ranks = dataset, seed, rank, num_ranks
        self._orders: dict[int, np.ndarray] = {}
        self._changed = threading.Condition()
        self._wanted: deque[_Request] = deque()  # to be read, the next first
        self._ready: dict[_Request, Batch | BaseException] = {}
        self._reading: _Request | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._read_ahead, name="BatchLoader", daemon=True)
        self._thread.start()

    def batch(self, first_image: int, batch_size: int, resolution: int) -> Batch:
        """``(uint8 [N, C, r, r], float32 one-hot labels [N, label_dim])`` of this rank's share, N = ``batch_size``.

        Both arrays are the caller's own. Raises ``ValueError`` on wrong arguments, and whatever reading raised.
        """
        if first_image < 0 or batch_size < 1:
            raise ValueError(f"BatchLoader.batch: got first_image {first_image} (>= 0), batch_size {batch_size} (>= 1)")
        begun = time.perf_counter()
        wanted = _Request(first_image, batch_size, resolution)
        with self._changed:
            if self._closed:
                raise ValueError("BatchLoader.batch: the loader is closed")
            self._aim(wanted)
            while wanted not in self._ready:
                self._changed.wait()
                if self._closed:
                    raise ValueError("BatchLoader.batch: the loader was closed while a caller waited")
            result = self._ready.pop(wanted)
            self._changed.notify_all()
        self.wait_seconds += time.perf_counter() - begun
        if isinstance(result, BaseException):
            raise result
        return result

    def indices(self, first_image: int, batch_size: int) -> np.ndarray:
        """The images of that batch as indices into the data set: int64 ``[batch_size]``."""
        numbers = first_image + self._rank + self._num_ranks * np.arange(batch_size, dtype=np.int64)
        epochs, places = np.divmod(numbers, len(self._dataset))
        chosen = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._order(int(epoch))[places[here]]
        return chosen

    def close(self) -> None:
        """Ends the thread. The data set stays open."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _aim(self, wanted: _Request) -> None:
        """Plans ``wanted`` and the batches after it, and forgets what is no longer on the way."""
        channels = self._dataset.channels
        size = wanted.batch_size * channels * wanted.resolution**2
        ahead = max(1, min(_AHEAD_BATCHES, _AHEAD_BYTES // max(1, size)))
        step = wanted.batch_size * self._num_ranks
        plan = [_Request(wanted.first_image + k * step, wanted.batch_size, wanted.resolution) for k in range(ahead + 1)]
        self._ready = {request: batch for request, batch in self._ready.items() if request in plan}
        self._wanted = deque(request for request in plan if request not in self._ready and request != self._reading)
        self._changed.notify_all()

    def _read_ahead(self) -> None:
        while True:
            with self._changed:
                while not self._wanted and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                request = self._reading = self._wanted.popleft()
            try:
                indices = self.indices(request.first_image, request.batch_size)
                result: Batch | BaseException = self._dataset.batch(indices, request.resolution)
            except BaseException as error:  # it belongs to the caller of batch()
                result = error
            with self._changed:
                self._ready[request] = result
                self._reading = None
                self._changed.notify_all()

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            # Two epochs meet in a batch; older ones are not needed again.
            self._orders = {kept: order for kept, order in self._orders.items() if abs(kept - epoch) <= 1}
            key = np.array([self._seed % 2**64, epoch], dtype=np.uint64)
            self._orders[epoch] = np.random.Generator(np.random.Philox(key=key)).permutation(len(self._dataset))
        return self._orders[epoch]
