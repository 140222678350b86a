"""Path length and separability: the original's numbers, and cases whose answer is known."""

import numpy as np
import pytest
import torch

from stylegan_fast.latent.interpolation import lerp, slerp
from stylegan_fast.metrics import Drawing, MetricOptions, load_detector
from stylegan_fast.metrics.images import block_latents
from stylegan_fast.metrics.path_length import (
    EPSILON,
    lpips_images,
    path_distances,
    path_length,
    redraw_stored_noise,
)
from stylegan_fast.metrics.separability import conditional_entropy, entropy, separability
from stylegan_fast.models import Generator
from stylegan_fast.seeds import keyed_seed
from tests import golden_data as golden
from tests.metrics.detectors import PixelsAsLpips, script

# ---------------------------------------------------------------- path length


def test_path_length_drops_what_lies_beyond_the_percentiles() -> None:
    distances = np.random.default_rng(0).permutation(np.arange(1000.0))
    distances[distances == 999] = 1e12
    # The 1st percentile of 0..999 is at 9.99, lower: 9; the 99th at 989.01, higher: 990.
    assert path_length(distances) == pytest.approx(np.arange(9, 991).mean())


def test_the_picture_lpips_sees_is_the_middle_of_the_face_at_256() -> None:
    images = torch.rand(2, 3, 1024, 1024) * 2 - 1
    found = lpips_images(images, crop=True)
    face = images[:, :, 384:896, 256:768]
    expected = (face.reshape(2, 3, 256, 2, 256, 2).mean(dim=(3, 5)) + 1) * 127.5
    assert torch.allclose(found, expected, atol=1e-3)
    assert lpips_images(images[:, :1, :32, :32], crop=False).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_pairs_distance_is_that_of_its_two_pictures(space: str, generator: Generator, tmp_path) -> None:
    lpips = load_detector(script(PixelsAsLpips(), tmp_path / "lpips.pt"), trusted=True)
    drawing = Drawing(seed=3)
    options = MetricOptions(batch=6, crop=False, drawing=drawing)
    found = np.concatenate(list(path_distances(generator, lpips, space, False, options, range(2), 40)))
    assert found.shape == (40,)

    # Pair 34, the third of the second block, by hand.
    z, _ = block_latents(generator, 1, 16, drawing, None, f"ppl_{space}")
    draws = torch.Generator().manual_seed(keyed_seed(3, "ppl", 1))
    redraw_stored_noise(generator, draws)
    t = torch.rand(8, 1, generator=draws)[2]
    one, other = z[4:5], z[5:6]
    if space == "z":
        ws = [generator.mapping(slerp(one, other, at)) for at in (t, t + EPSILON)]
    else:
        ws = [lerp(generator.mapping(one), generator.mapping(other), at) for at in (t, t + EPSILON)]
    first, second = (generator.synthesis(w, noise_mode="const") for w in ws)
    expected = float(((first - second) * 127.5).square().sum()) / EPSILON**2
    # A step of 1e-4 leaves float32 few digits of the difference.
    assert found[34] == pytest.approx(expected, rel=0.02)


def test_only_the_ends_differ_between_full_and_end(generator: Generator, tmp_path) -> None:
    lpips = load_detector(script(PixelsAsLpips(), tmp_path / "lpips.pt"), trusted=True)
    options = MetricOptions(crop=False)
    full, end = (next(path_distances(generator, lpips, "w", ends, options, range(1), 32)) for ends in (False, True))
    assert not np.allclose(full, end)


def test_noise_is_the_same_in_both_pictures_of_a_pair(generator: Generator, tmp_path) -> None:
    """With noise of their own, pictures 1e-4 apart would differ by the noise: by millions."""
    lpips = load_detector(script(PixelsAsLpips(), tmp_path / "lpips.pt"), trusted=True)
    distances = next(path_distances(generator, lpips, "z", False, MetricOptions(crop=False), range(1), 32))
    assert distances.max() * EPSILON**2 < 1e4  # grey levels, squared and summed over 768 numbers


# ---------------------------------------------------------------- separability


def test_entropies_are_the_originals() -> None:
    arrays = golden.load("metrics_helpers")
    for k, table in enumerate(arrays["ls/tables"]):
        p = table / table.sum()
        assert entropy(p) == pytest.approx(arrays["ls/entropy"][k], abs=1e-6)
        assert conditional_entropy(table) == pytest.approx(arrays["ls/conditional_entropy"][k], abs=1e-6)


def test_a_plane_through_latent_space_separates_and_noise_does_not() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(4000, 8))
    logits = np.stack([latents[:, 0] - 0.3 * latents[:, 3], rng.normal(size=4000)], axis=1)
    score, (separable, random) = separability(latents, logits)
    assert separable < 0.02
    assert random > 0.95
    assert score == pytest.approx(2 ** (separable + random))


def test_an_attribute_that_all_pictures_have_is_known_without_looking() -> None:
    pytest.importorskip("sklearn")
    assert separability(np.random.default_rng(0).normal(size=(100, 3)), np.ones((100, 1)))[0] == 1
