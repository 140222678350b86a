from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stylegan_fast.data import BatchLoader, Dataset, open_dataset
from stylegan_fast.data import loader as loader_module

from .pictures import make_folder, noise_files


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    labels = [[f"{place:03d}.png", place] for place in range(7)]
    return open_dataset(make_folder(tmp_path, noise_files(7), {"labels": labels}), use_labels=True)


def seen(dataset: Dataset, spans: list[tuple[int, int, int]], seed: int = 5) -> list[list[int]]:
    """The images of each batch, known by their labels."""
    loader = BatchLoader(dataset, seed)
    batches = [loader.batch(*span)[1].argmax(1).tolist() for span in spans]
    loader.close()
    return batches


def test_an_image_depends_on_the_seed_and_its_number_alone(dataset: Dataset) -> None:
    one_by_one = [batch[0] for batch in seen(dataset, [(number, 1, 16) for number in range(21)])]
    assert seen(dataset, [(3, 4, 16), (7, 4, 8), (0, 2, 4), (13, 8, 16)]) == [
        one_by_one[3:7], one_by_one[7:11], one_by_one[0:2], one_by_one[13:21]
    ]  # fmt: skip
    assert seen(dataset, [(0, 14, 16)], seed=6)[0] != one_by_one[:14]


def test_each_epoch_shows_every_image_once_in_another_order(dataset: Dataset) -> None:
    numbers = seen(dataset, [(0, 21, 16)])[0]
    epochs = [numbers[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_batches_hold_the_pixels_and_labels_of_their_indices(dataset: Dataset) -> None:
    loader = BatchLoader(dataset, 1)
    for first, resolution in ((0, 16), (5, 16), (10, 16), (2, 8)):
        pixels, labels = loader.batch(first, 5, resolution)
        assert np.array_equal(pixels, dataset.read(loader.indices(first, 5), resolution))
        assert np.array_equal(labels, dataset.labels(loader.indices(first, 5)))
        pixels[:] = 0  # the caller's own
    loader.close()


def test_ranks_share_one_stream_without_overlap(dataset: Dataset) -> None:
    whole = BatchLoader(dataset, 9).indices(6, 12)
    parts = [BatchLoader(dataset, 9, rank, 3).indices(6, 4) for rank in range(3)]
    assert np.array_equal(np.stack(parts, axis=1).reshape(-1), whole)


class Slow:
    """Stands in for a data set whose reads take a while and are written down."""

    channels, label_dim = 3, 0

    def __init__(self) -> None:
        self.reads: list[list[int]] = []
        self.fail_at: int | None = None

    def __len__(self) -> int:
        return 1000

    def batch(self, indices: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
        self.reads.append(indices.tolist())
        time.sleep(0.02)
        if len(self.reads) == self.fail_at:
            raise OSError("the disk is gone")
        shape = (len(indices), 3, resolution, resolution)
        return np.zeros(shape, np.uint8), np.zeros((len(indices), 0), np.float32)


def test_a_thread_reads_ahead_so_that_later_batches_need_no_wait() -> None:
    slow = Slow()
    loader = BatchLoader(slow, 0)  # type: ignore[arg-type]
    loader.batch(0, 4, 8)
    first_wait = loader.wait_seconds
    assert first_wait >= 0.02
    for first in (4, 8, 12):
        time.sleep(0.06)  # the caller's own work, longer than a read
        loader.batch(first, 4, 8)
    assert loader.wait_seconds - first_wait < 0.02
    assert len(slow.reads) == len({tuple(read) for read in slow.reads})  # nothing is read twice
    loader.close()


def test_what_is_read_ahead_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "_AHEAD_BYTES", 2 * 4 * 3 * 8 * 8)
    slow = Slow()
    loader = BatchLoader(slow, 0)  # type: ignore[arg-type]
    loader.batch(0, 4, 8)
    time.sleep(0.2)
    assert len(slow.reads) == 1 + 2
    loader.batch(400, 4, 8)  # a jump forgets them
    time.sleep(0.2)
    assert len(loader._ready) == 2
    loader.close()


def test_an_exception_while_reading_reaches_the_caller_of_that_batch() -> None:
    slow = Slow()
    slow.fail_at = 3
    loader = BatchLoader(slow, 0)  # type: ignore[arg-type]
    loader.batch(0, 4, 8)
    loader.batch(4, 4, 8)
    with pytest.raises(OSError, match="the disk is gone"):
        loader.batch(8, 4, 8)
    loader.batch(8, 4, 8)  # asked for again, it is read again
    loader.close()


def test_closing_ends_the_thread_and_further_calls_are_refused(dataset: Dataset) -> None:
    before = threading.active_count()
    loader = BatchLoader(dataset, 0)
    loader.batch(0, 2, 8)
    loader.close()
    assert threading.active_count() == before
    with pytest.raises(ValueError, match="the loader is closed"):
        loader.batch(2, 2, 8)


def test_wrong_arguments_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="rank must be from 0 to num_ranks - 1 = 1, got 2"):
        BatchLoader(dataset, 0, rank=2, num_ranks=2)
    loader = BatchLoader(dataset, -3)
    with pytest.raises(ValueError, match="batch_size 0"):
        loader.batch(0, 0, 8)
    with pytest.raises(ValueError, match="got 64"):
        loader.batch(0, 1, 64)
    loader.close()
