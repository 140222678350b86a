"""Phases and blur in PyTorch, which the kernels that read through them are held against."""

import pytest
import torch
from torch.nn import functional

from stylegan_fast.ops import filter2d, setup_filter, use_backend
from stylegan_fast.ops.subpixel import blur, interleave_phases, read_through, read_through_adjoint, split_phases

WAYS = [(False, False), (False, True), (True, False), (True, True)]


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_phases_of_a_2x2_convolution_are_the_3x3_convolution_of_the_enlarged_image() -> None:
    x, weight = numbers(2, 3, 4, 5), numbers(6, 3, 3, 3, seed=1)
    # Output pixel 2i + p sees rows i + p - 1 and i + p: the taps that fall on the same small pixel are added.
    rows = [
        (weight[:, :, :1], weight[:, :, 1:].sum(2, keepdim=True)),
        (weight[:, :, :2].sum(2, keepdim=True), weight[:, :, 2:]),
    ]
    kernels = []
    for p in (0, 1):
        half = torch.cat(rows[p], dim=2)
        kernels.append(torch.cat([half[..., :1], half[..., 1:].sum(3, keepdim=True)], dim=3))
        kernels.append(torch.cat([half[..., :2].sum(3, keepdim=True), half[..., 2:]], dim=3))
    phases = functional.conv2d(x, torch.cat(kernels), padding=1)
    enlarged = functional.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(interleave_phases(phases), functional.conv2d(enlarged, weight, padding=1))


def test_interleaving_follows_its_formula() -> None:
    x, u = numbers(1, 8, 4, 3), interleave_phases(numbers(1, 8, 4, 3))
    assert u.shape == (1, 2, 6, 4)
    for c in range(2):
        for i in range(6):
            for j in range(4):
                assert u[0, c, i, j] == x[0, (2 * (i % 2) + j % 2) * 2 + c, (i + 1) // 2, (j + 1) // 2]


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 1, 1, 1), (1, 2, 1, 5), (0, 2, 3, 3)])
def test_the_blur_is_the_op_of_that_filter(shape: tuple[int, ...]) -> None:
    u = numbers(*shape)
    with use_backend("reference"):
        torch.testing.assert_close(blur(u), filter2d(u, setup_filter([1, 2, 1])))


@pytest.mark.parametrize(("phases", "blurred"), WAYS)
def test_the_adjoint_is_the_gradient(phases: bool, blurred: bool) -> None:
    x = numbers(2, 8, 3, 4).requires_grad_()
    v = read_through(x, phases, blurred)
    dv = numbers(*v.shape, seed=3)
    (expected,) = torch.autograd.grad(v, x, dv)
    torch.testing.assert_close(read_through_adjoint(dv, phases, blurred), expected)


def test_pixels_that_no_phase_reads_get_zeros() -> None:
    x = split_phases(torch.ones(1, 1, 4, 4))
    assert x.sum() == 16
    assert x[0, 0, -1].abs().sum() == 0  # phase (0, 0) begins at the first pixel, phase (1, 1) at the second
    assert x[0, 3, 0].abs().sum() == 0
