"""Ways between latents."""

import numpy as np
import pytest
import torch

from stylegan_fast.latent.interpolation import lerp, loop_points, normalize, slerp, spline
from tests import golden_data as golden

HELPERS = "metrics_helpers"


def array(key: str) -> torch.Tensor:
    return golden.tensor(HELPERS, key)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_slerp_and_lerp_are_the_originals(dtype: torch.dtype) -> None:
    a, b, t = (golden.tensor(HELPERS, f"in/{name}", dtype) for name in ("a", "b", "t"))
    epsilon = float(golden.load(HELPERS)["in/epsilon"])
    golden.assert_matches(normalize(a), array("normalize/out"), 1e-6, "normalize")
    for name, way in (("slerp", slerp), ("lerp", lerp)):
        golden.assert_matches(way(a, b, t), array(f"{name}/out_t"), 1e-6, name)
        golden.assert_matches(way(a, b, t + epsilon), array(f"{name}/out_t_plus_eps"), 1e-6, name)
    golden.assert_matches(slerp(a, b, 0.0), array("slerp/out_t0"), 1e-6, "slerp at 0")
    golden.assert_matches(slerp(a, b, 1.0), array("slerp/out_t1"), 1e-6, "slerp at 1")


def test_slerp_walks_with_constant_speed_on_the_sphere() -> None:
    a, b = torch.randn(2, 5, 16, dtype=torch.float64)
    points = torch.stack([slerp(a, b, t) for t in torch.linspace(0, 1, 11).tolist()])
    assert torch.allclose(points.norm(dim=-1), torch.ones(11, 5, dtype=torch.float64))
    steps = (points[1:] - points[:-1]).norm(dim=-1)
    assert torch.allclose(steps, steps[:1].expand_as(steps))


def test_slerp_between_the_same_and_between_opposite_latents_is_finite_and_on_the_sphere() -> None:
    a = torch.randn(4, 8, dtype=torch.float64)
    assert torch.allclose(slerp(a, 2 * a, 0.5), normalize(a))
    for t in (0.25, 0.5):
        half = slerp(a, -a, t)
        assert torch.allclose(half.norm(dim=-1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("closed", [False, True])
def test_a_spline_goes_through_its_points_smoothly(closed: bool) -> None:
    points = torch.randn(5, 2, 3, dtype=torch.float64)
    assert torch.allclose(spline(points, torch.arange(5.0), closed), points)
    h = 1e-5
    for at in (0, 1, 3) if closed else (1, 3):
        before, here, after = spline(points, torch.tensor([at - h, at, at + h], dtype=torch.float64), closed)
        assert torch.allclose(here - before, after - here, atol=1e-8)


def test_a_closed_spline_comes_back() -> None:
    points = torch.randn(4, 6, dtype=torch.float64)
    t = torch.linspace(0, 4, 9, dtype=torch.float64)
    way = spline(points, t, closed=True)
    assert torch.allclose(way[-1], way[0])
    assert torch.allclose(spline(points, t + 4, closed=True), way)


def test_a_spline_through_points_on_a_line_is_the_line() -> None:
    points = torch.arange(6.0)[:, None] * torch.tensor([[1.0, -2.0]])
    t = torch.linspace(0, 5, 21)
    assert torch.allclose(spline(points, t), t[:, None] * torch.tensor([[1.0, -2.0]]), atol=1e-5)


def test_one_point_is_no_way() -> None:
    with pytest.raises(ValueError, match="1 points"):
        spline(torch.zeros(1, 3), torch.zeros(1))


def test_the_angles_of_a_loop_are_equal_steps_of_a_full_turn() -> None:
    assert np.allclose(np.diff([*loop_points(8), 2 * np.pi]), np.pi / 4)
