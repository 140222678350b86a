from __future__ import annotations

import numpy as np
import pytest

from stylegan_fast.data.pyramid import levels, shrink


def test_levels_run_from_full_size_to_four() -> None:
    assert levels(64) == [64, 32, 16, 8, 4]
    assert levels(4) == [4]


@pytest.mark.parametrize("resolution", [8, 64, 1024])
def test_each_level_is_the_exact_mean_of_the_full_picture_rounded_once(resolution: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, resolution, resolution), dtype=np.uint8)
    made = shrink(pixels, levels(resolution))
    assert made[resolution] is pixels
    for size in levels(resolution)[1:]:
        block = resolution // size
        exact = pixels.astype(np.float64).reshape(2, size, block, size, block).mean((2, 4))
        assert np.array_equal(made[size], np.rint(exact).astype(np.uint8))


def test_asking_for_one_size_gives_the_same_as_asking_for_all() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8)
    assert np.array_equal(shrink(pixels, [8])[8], shrink(pixels, levels(32))[8])
    assert list(shrink(pixels, [8])) == [8]
