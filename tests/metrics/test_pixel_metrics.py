"""SWD and MS-SSIM against the progressive-GAN paper's procedures written anew in NumPy."""

import numpy as np
import pytest
import torch

from stylegan_fast.metrics.images import Block
from stylegan_fast.metrics.ms_ssim import PairSimilarities, ms_ssim
from stylegan_fast.metrics.swd import Descriptors, laplacian_pyramid, patches, pyramid_sizes, sliced_wasserstein
from stylegan_fast.seeds import keyed_seed


def images(count: int, size: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Smooth random pictures, uint8 ``[count, channels, size, size]``."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(count, channels, size, size))
    smooth = sum(np.roll(rough, (dy, dx), (2, 3)) for dy in range(3) for dx in range(3))
    return np.clip(128 + 20 * smooth, 0, 255).astype(np.uint8)


def filtered(x: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
    """Each plane of ``x`` correlated with a kernel; mode "valid", or a mode of numpy.pad to keep the size."""
    height, width = kernel.shape
    if mode != "valid":
        around = ((0, 0), (0, 0), (height // 2,) * 2, (width // 2,) * 2)
        x = np.pad(x, around, mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(2, 3))
    return (windows * kernel).sum(axis=(4, 5))


# ---------------------------------------------------------------- SWD


def test_the_laplacian_pyramid_is_that_of_the_paper() -> None:
    x = images(2, 64).astype(np.float64)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    expected = []
    for _ in range(2):
        coarser = filtered(x, kernel, "reflect")[:, :, ::2, ::2]
        spread = np.zeros_like(x)
        spread[:, :, ::2, ::2] = coarser
        expected.append(x - filtered(spread, 4 * kernel, "reflect"))
        x = coarser
    expected.append(x)
    found = laplacian_pyramid(torch.from_numpy(images(2, 64)).double())
    assert [level.shape[-1] for level in found] == pyramid_sizes(64) == [64, 32, 16]
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours.numpy(), theirs, rtol=0, atol=1e-10)


def test_patches_are_cut_where_asked() -> None:
    level = torch.randn(2, 3, 16, 16)
    rows, columns = torch.tensor([[0, 9], [4, 3]]), torch.tensor([[2, 9], [0, 7]])
    found = patches(level, rows, columns)
    for n in range(2):
        for p in range(2):
            y, x = int(rows[n, p]), int(columns[n, p])
            assert torch.equal(found[n, p], level[n, :, y : y + 7, x : x + 7])


def test_the_sliced_wasserstein_distance_is_that_of_normalised_sorted_projections() -> None:
    rng = np.random.default_rng(0)
    a, b = (scale * rng.gamma(2, size=(500, 3, 7, 7)).astype(np.float32) + 100 for scale in (5, 7))
    generator = torch.Generator().manual_seed(keyed_seed(4, "directions"))
    directions = torch.randn(147, 512, generator=generator).double().numpy()
    directions /= np.linalg.norm(directions, axis=0)
    projected = []
    for x in (a.astype(np.float64), b.astype(np.float64)):
        x = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / x.std(axis=(0, 2, 3), keepdims=True)
        projected.append(np.sort(x.reshape(500, -1) @ directions, axis=0))
    expected = np.abs(projected[0] - projected[1]).mean()
    # In float32, numbers around 100 with a deviation of 7 lose two digits in the projection.
    assert sliced_wasserstein(a, b, seed=4) == pytest.approx(expected, rel=1e-4)


def test_swd_of_a_set_to_itself_is_zero_and_grows_with_what_is_changed() -> None:
    def levels(pictures: np.ndarray) -> list[np.ndarray]:
        collector = Descriptors()
        for number in range(2):
            block = Block(torch.from_numpy(pictures[64 * number : 64 * number + 64]), number, "reals", 0)
            collector.absorb(collector.extract(block).numpy())
        return collector.levels()

    plain = images(128, 32)
    checkers = 25 * (np.indices((32, 32)).sum(axis=0) % 2 * 2 - 1)  # fine texture: the coarse level sees little of it
    noisy = np.clip(plain.astype(int) + checkers, 0, 255).astype(np.uint8)
    same, other = levels(plain), levels(noisy)
    assert [sliced_wasserstein(a, b) for a, b in zip(same, levels(plain), strict=True)] == [0, 0]
    fine, coarse = (sliced_wasserstein(a, b) for a, b in zip(same, other, strict=True))
    assert fine > 10 * coarse > 0


def test_flat_images_have_a_distance() -> None:
    flat = np.full((10, 1, 7, 7), 3.0, np.float32)
    assert sliced_wasserstein(flat, flat) == 0


# ---------------------------------------------------------------- MS-SSIM


def reference_ms_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    result = np.ones(len(a))
    for scale, weight in enumerate(weights):
        size = min(11, *a.shape[2:])
        y, x = np.mgrid[:size, :size] - (size - 1) / 2
        window = np.exp(-(x**2 + y**2) / (2 * (1.5 * size / 11) ** 2))
        window /= window.sum()
        mu_a, mu_b = filtered(a, window, "valid"), filtered(b, window, "valid")
        var_a = filtered(a * a, window, "valid") - mu_a**2
        var_b = filtered(b * b, window, "valid") - mu_b**2
        covariance = filtered(a * b, window, "valid") - mu_a * mu_b
        cs = (2 * covariance + c2) / (var_a + var_b + c2)
        ssim = (2 * mu_a * mu_b + c1) / (mu_a**2 + mu_b**2 + c1) * cs
        value = (ssim if scale == 4 else cs).mean(axis=(1, 2, 3))
        result *= np.clip(value, 0, None) ** weight
        if a.shape[2] > 1:
            a, b = (sum(x[:, :, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)) / 4 for x in (a, b))
    return result


@pytest.mark.parametrize("size", [8, 32, 128])
def test_ms_ssim_is_that_of_the_paper(size: int) -> None:
    a, b = images(5, size, 0), images(5, size, 1)
    b[0] = a[0] // 2 + 30
    found = ms_ssim(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert np.allclose(found, reference_ms_ssim(a, b), rtol=1e-9, atol=1e-12)
    assert found[0] > 0.5


def test_ms_ssim_of_an_image_with_itself_is_one_and_of_its_negative_zero() -> None:
    a = torch.from_numpy(images(3, 32))
    assert torch.allclose(ms_ssim(a, a), torch.ones(3, dtype=torch.float64))
    assert (ms_ssim(a, 255 - a) == 0).all()


def test_pairs_are_neighbours_and_an_odd_image_is_left_out() -> None:
    pictures = torch.from_numpy(images(5, 16))
    collector = PairSimilarities()
    collector.absorb(collector.extract(Block(pictures, 0, "fakes", 0)).numpy())
    assert collector.mean() == pytest.approx(float(ms_ssim(pictures[[0, 2]], pictures[[1, 3]]).mean()))
