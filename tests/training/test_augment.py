"""Augmentation does what was published, is differentiable twice, and does not leak into what is learned."""

import math

import pytest
import torch

from stylegan_fast.training.augment import augment, recolour
from stylegan_fast.training.augment_transforms import (
    KINDS,
    draw_colour,
    draw_geometry,
    rotate2d,
    rotate_about_luma,
    scale2d,
    translate2d,
)
from stylegan_fast.training.augment_warp import SYM6, warp


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def number(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def points(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of each pixel from the middle of the image."""
    y, x = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in (height, width))
    return x.expand(height, width), y[:, None].expand(height, width)


def waves(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cos(2 * math.pi * x / 20 + 0.3) * torch.cos(2 * math.pi * y / 31 - 0.4)


def test_the_filter_is_an_orthogonal_wavelet_with_six_vanishing_moments() -> None:
    taps = torch.tensor(SYM6, dtype=torch.float64)
    inner = [float(taps[2 * shift :] @ taps[: 12 - 2 * shift]) for shift in range(6)]
    assert inner == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-11)
    k = torch.arange(12, dtype=torch.float64)
    for moment in range(6):  # 11^moment is the largest factor of a tap known to 1e-13
        assert float((taps * (-1) ** k * k**moment).sum()) == pytest.approx(0, abs=1e-11 * 11**moment)


MATRICES = {
    "right and up": translate2d(number(1.3), number(-2.2)),
    "turned": rotate2d(number(0.3)),
    "stretched": scale2d(number(1.4), number(1 / 1.4)),
    "mirrored": scale2d(number(-1), number(1)),
    "a quarter turn": rotate2d(number(math.pi / 2)),
    "all of it": translate2d(number(2.5), number(1)) @ rotate2d(number(-0.7)) @ scale2d(number(0.9), number(1.2)),
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_a_warped_wave_is_the_wave_at_the_points_that_came_from_there(matrix: torch.Tensor) -> None:
    height, width = 24, 40  # not square
    x, y = points(height, width)
    came_from = torch.linalg.inv(matrix[0]) @ torch.stack([x.flatten(), y.flatten(), torch.ones(height * width)])
    expected = waves(came_from[0], came_from[1]).view(height, width)
    warped = warp(waves(x, y)[None, None], matrix)[0, 0]
    inside = ((came_from[0].abs() < width / 2 - 1) & (came_from[1].abs() < height / 2 - 1)).view(height, width)
    assert inside.sum() > 300
    # The filter is not quite symmetric and bilinear lookup not quite a sinc: some 3 % of a wave of 20 pixels.
    assert (warped - expected)[inside].abs().max() < 0.04
    assert (waves(x, y) - expected)[inside].abs().max() > 0.3


def test_whole_pixels_and_images_left_alone_come_back_exactly() -> None:
    images = torch.randn(3, 3, 16, 16, generator=generator(), dtype=torch.float64)
    matrices = translate2d(torch.tensor([2.0, 0.0, -1.0]), torch.tensor([-1.0, 0.0, 0.0]))
    warped = warp(images, matrices)
    torch.testing.assert_close(warped[0, :, :15, 2:], images[0, :, 1:, :14], rtol=0, atol=2e-6)  # taps are fp32
    torch.testing.assert_close(warped[2, :, :, :15], images[2, :, :, 1:], rtol=0, atol=2e-6)
    assert torch.equal(warped[1], images[1])
    assert warp(images, torch.eye(3, dtype=torch.float64).repeat(3, 1, 1)) is images


def test_beyond_its_edges_an_image_is_its_mirror_image() -> None:
    images = torch.arange(16.0).expand(1, 1, 16, 16)
    warped = warp(images, translate2d(number(4), number(0)))[0, 0, 8]
    torch.testing.assert_close(warped[:8], torch.tensor([4.0, 3, 2, 1, 0, 1, 2, 3]), rtol=0, atol=1e-4)


def test_gradients_of_first_and_second_order_are_right() -> None:
    images = torch.randn(3, 4, 8, 8, generator=generator(), dtype=torch.float64, requires_grad=True)

    def augmented(images: torch.Tensor) -> torch.Tensor:
        return augment(images, 0.9, generator(3))

    assert not torch.equal(augmented(images), images)
    assert torch.autograd.gradcheck(augmented, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(augmented, images, fast_mode=True)


def test_a_penalty_through_augmentation_reaches_the_parameters() -> None:
    weight = torch.randn(1, 3, 3, 3, generator=generator()).requires_grad_()
    images = torch.randn(4, 3, 16, 16, generator=generator(1)).requires_grad_()
    scores = torch.nn.functional.conv2d(augment(images, 0.8, generator()), weight).square().sum()
    (gradient,) = torch.autograd.grad(scores, images, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_with_p_0_nothing_and_with_p_1_everything_is_transformed(kind: str) -> None:
    images = torch.rand(64, 3, 16, 16, generator=generator()) * 2 - 1
    assert augment(images, 0.0, generator(), [kind]) is images
    changed = (augment(images, 1.0, generator(), [kind]) - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert changed.float().mean() > 0.95  # a flip of 0, a turn by 0 and a shift by 0 happen together in 1 of 200


def test_each_transform_is_taken_with_probability_p() -> None:
    blit = draw_geometry(20_000, 64, 64, 0.3, generator(), ["blit"])
    # left alone: 0.7 + 0.3 of one in 2 flips, one in 4 turns, and one in 17 x 17 shifts, the outer ones half as likely
    alone = (blit == torch.eye(3, dtype=torch.float64)).flatten(1).all(dim=1).double().mean()
    assert float(alone) == pytest.approx((0.7 + 0.3 / 2) * (0.7 + 0.3 / 4) * (0.7 + 0.3 / 256), abs=0.015)
    geometry = draw_geometry(20_000, 64, 64, 0.3, generator(), ["geom"])
    alone = (geometry == torch.eye(3, dtype=torch.float64)).flatten(1).all(dim=1).double().mean()
    assert float(alone) == pytest.approx(0.7 * 0.7 * 0.7 * 0.7, abs=0.015)  # scale, stretch, shift, the two rotations
    colour = draw_colour(20_000, 0.3, generator())
    alone = (colour == torch.eye(4, dtype=torch.float64)).flatten(1).all(dim=1).double().mean()
    assert float(alone) == pytest.approx(0.7 * 0.7 * (0.7 + 0.3 / 2) * 0.7 * 0.7, abs=0.015)


def test_shifts_turns_and_scales_are_as_large_as_published() -> None:
    blit = draw_geometry(20_000, 64, 32, 1.0, generator(), ["blit"])
    assert {tuple(m) for m in blit[:, :2, :2].flatten(1).tolist()} == {
        *((a, 0.0, 0.0, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)),
        *((0.0, a, b, 0.0) for a in (-1.0, 1.0) for b in (-1.0, 1.0)),
    }
    assert blit[:, :2, 2].abs().amax(dim=0).tolist() == [4.0, 8.0]
    geometry = draw_geometry(20_000, 64, 64, 1.0, generator(), ["geom"])
    areas = torch.linalg.det(geometry).log2()
    assert float(areas.mean()) == pytest.approx(0, abs=0.02)
    assert float(areas.std()) == pytest.approx(2 * 0.2, rel=0.03)  # only the isotropic scale changes the area
    assert geometry[:, :2, 2].std(dim=0).tolist() == pytest.approx([8, 8], rel=0.03)
    angles = torch.atan2(geometry[:, 1, 0], geometry[:, 0, 0])
    assert float(angles.cos().mean()) == pytest.approx(0, abs=0.03)


def test_colour_transforms_keep_to_their_axes() -> None:
    matrices = draw_colour(20_000, 1.0, generator())
    gray = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    out = matrices @ gray  # without the offset: contrast and luma flip alone move it
    torch.testing.assert_close(out[:, :1].expand(-1, 3), out[:, :3], rtol=0, atol=1e-12)
    assert float(out[:, 0].abs().log2().std()) == pytest.approx(0.5, rel=0.03)
    assert float((out[:, 0] < 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    red = torch.tensor([2.0, -1.0, -1.0, 0.0], dtype=torch.float64)
    turned = matrices @ red
    torch.testing.assert_close(turned[:, :3].sum(dim=1), torch.zeros(20_000, dtype=torch.float64), rtol=0, atol=1e-12)
    chroma = turned.norm(dim=1) / red.norm()
    assert float(chroma.log2().std()) == pytest.approx(math.hypot(0.5, 1.0), rel=0.03)  # contrast and saturation
    third = rotate_about_luma(number(2 * math.pi / 3))[0] @ torch.tensor([1.0, 0.2, -0.4, 1.0], dtype=torch.float64)
    torch.testing.assert_close(third, torch.tensor([-0.4, 1.0, 0.2, 1.0], dtype=torch.float64))  # r to g to b


def test_gray_and_opacity_are_treated_as_the_colours_they_stand_for() -> None:
    matrices = draw_colour(8, 1.0, generator())
    gray = torch.rand(8, 1, 4, 4, generator=generator(1), dtype=torch.float64)
    coloured = recolour(gray.expand(-1, 3, -1, -1), matrices)
    torch.testing.assert_close(recolour(gray, matrices), coloured.mean(dim=1, keepdim=True))
    opaque = torch.cat([gray.expand(-1, 3, -1, -1), gray], dim=1)
    torch.testing.assert_close(recolour(opaque, matrices), torch.cat([coloured, gray], dim=1))


def test_an_image_is_augmented_alike_in_any_dtype_and_layout() -> None:
    images = torch.rand(6, 3, 16, 16, generator=generator()) * 2 - 1
    expected = augment(images, 0.7, generator(2))
    channels_last = augment(images.contiguous(memory_format=torch.channels_last), 0.7, generator(2))
    torch.testing.assert_close(channels_last, expected, rtol=0, atol=1e-5)
    low = augment(images.bfloat16(), 0.7, generator(2))
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, rtol=0, atol=0.1)  # 8 bits, contrast up to 4


def test_below_1_the_distribution_before_the_flips_and_turns_can_be_told_from_the_one_after() -> None:
    """Appendix C: on distributions over a picture's eight positions the operator is invertible, and at p = 1 not."""

    def operator(p: float) -> torch.Tensor:
        drawn = draw_geometry(40_000, 64, 64, p, generator(), ["blit"])[:, :2, :2].round()
        positions = [a @ b for a in (torch.eye(2), torch.diag(torch.tensor([-1.0, 1.0]))) for b in _quarter_turns()]
        shares = torch.stack([(drawn == position).flatten(1).all(dim=1).double().mean() for position in positions])
        table = torch.zeros(8, 8, dtype=torch.float64)
        for start, first in enumerate(positions):
            for share, second in zip(shares, positions, strict=True):
                end = next(i for i, other in enumerate(positions) if torch.equal(second @ first, other))
                table[end, start] += share
        return table

    smallest = [float(torch.linalg.svdvals(operator(p)).min()) for p in (0.4, 0.8, 1.0)]
    # One turn in four keeps the picture: (1 - p) of the pictures stand out, and with flips as well (1 - p) again.
    assert smallest[:2] == pytest.approx([0.6 * 0.6, 0.2 * 0.2], abs=0.02)
    assert smallest[2] < 0.01


def _quarter_turns() -> list[torch.Tensor]:
    return [rotate2d(number(turns * math.pi / 2))[0, :2, :2].round().float() for turns in range(4)]
