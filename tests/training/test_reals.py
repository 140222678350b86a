"""What the discriminator is shown equals the official processing, at the active size."""

import pytest
import torch
from torch.nn.functional import interpolate

from stylegan_fast.training.reals import fade_reals, mirror, pixels_to_float
from tests import golden_data as golden

NAME = "ops_small"


def stored() -> torch.Tensor:
    return torch.from_numpy(golden.load(NAME)["process_reals/in_uint8"])


@pytest.mark.parametrize("lod", [0.0, 0.5, 1.0, 1.25, 2.75])
def test_reals_equal_the_official_ones_once_enlarged(lod: float) -> None:
    ours = interpolate(fade_reals(pixels_to_float(stored()), lod), scale_factor=float(1 << int(lod)))
    key = f"process_reals/out_lod{lod:g}".replace(".", "p")
    golden.assert_matches(ours, golden.load(NAME)[key], 1e-6, key)


def test_mirrored_reals_equal_the_official_ones() -> None:
    coins = torch.from_numpy(golden.load(NAME)["process_reals/mirror_uniform"]).flatten() >= 0.5
    assert 0 < coins.sum() < len(coins)
    ours = fade_reals(mirror(pixels_to_float(stored()), coins), 0.5)
    golden.assert_matches(ours, golden.load(NAME)["process_reals/out_mirror_lod0p5"], 1e-6, "mirrored")


def test_the_range_of_pixels_equals_the_official_one() -> None:
    golden.assert_matches(pixels_to_float(stored()), golden.load(NAME)["adjust_dynamic_range/out"], 1e-6, "range")
