"""Pickles and checkpoints strangers made: one line, at once, nothing executed, no memory beyond the file's size."""

import pickle
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import stylegan_fast
from stylegan_fast.errors import UserError

from .hostile import EXECUTED, HOSTILE
from .snapshots import OFFICIAL, generator, official_class


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_hostile_or_damaged_file_gives_one_line_and_does_nothing(make: Callable, tmp_path: Path) -> None:
    content = make(tmp_path)
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(UserError) as caught:
            stylegan_fast.load_generator(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    assert not (tmp_path / EXECUTED).exists()
    assert time.perf_counter() - started < 20
    assert peak < 4 * len(content) + (100 << 20)


def test_any_cut_through_a_snapshot_is_told(tmp_path: Path) -> None:
    content = OFFICIAL.read_bytes()
    path = tmp_path / "network.pkl"
    for length in np.unique(np.geomspace(2, len(content) - 1, 40).astype(int)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            stylegan_fast.load_generator(path)


def test_flipped_bytes_never_raise_anything_but_a_user_error(tmp_path: Path) -> None:
    content = bytearray(OFFICIAL.read_bytes())
    draw = np.random.default_rng(0)
    path = tmp_path / "network.pkl"
    for place in draw.integers(0, 90_000, 12):  # where names, settings and small arrays are
        changed = bytearray(content)
        changed[place] = int(draw.integers(256))
        path.write_bytes(changed)
        try:
            stylegan_fast.load_generator(path)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017 (a changed number changes a picture, and raises nothing)


def test_the_source_in_a_snapshot_is_not_executed(tmp_path: Path) -> None:
    with official_class():
        content = generator("generator_cond_r32")
        content.build_module_src = f"open({str(tmp_path / EXECUTED)!r}, 'w')"
        path = tmp_path / "network.pkl"
        path.write_bytes(pickle.dumps(content))
    assert stylegan_fast.load_generator(path).img_resolution == 32
    assert not (tmp_path / EXECUTED).exists()
