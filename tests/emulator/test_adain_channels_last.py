"""adain's CUDA kernels for channels_last with vectors of channels, run in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from .adain_cases import NO_CLUSTERS, OPTIONS, USUAL, backward, check_backward, check_forward, forward, make, replace
from .dtypes import BF16, F16, F32, DType
from .test_adain import ADVERSARIAL

# Both sides of every cut of csrc/cuda/adain_tiers.cuh. In registers: one pixel; fewer pixels than lanes; one vector
# of channels, a slab with idle lanes, a whole one, several; few pixels a thread and many; the largest plane that a
# block holds, and the first and the last that a forward's cluster takes (the backward of those is in slices).
RESIDENT = [
    (1, 4, 1, 1),
    (2, 12, 2, 3),
    (3, 36, 4, 4),
    (1, 132, 5, 7),
    (2, 16, 16, 16),
    (1, 8, 31, 33),
    (1, 12, 32, 32),
    (1, 20, 32, 33),
    (1, 8, 45, 46),
    (1, 4, 64, 64),
]
# In slices, where no cluster takes them: one slab and two, with idle lanes and without, a last slice shorter.
SPLIT = [(1, 4, 67, 63), (1, 12, 65, 65), (2, 32, 46, 45), (1, 36, 47, 46)]
CASES = [(shape, USUAL) for shape in RESIDENT] + [(shape, NO_CLUSTERS) for shape in SPLIT]
FAST = [pytest.param(dtype, id=dtype.name) for dtype in (F32, BF16, F16)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_slabs_of_channels_are_right_at_their_edges(program: Path, case: int) -> None:
    """A covering subset: dtypes and options rotate."""
    dtype, (shape, device) = (F32, BF16, F16)[case % 3], CASES[case]
    p = make(shape, dtype, OPTIONS[(case + 1) % 3])
    check_forward(program, p, dtype, True, device=device)
    check_backward(program, p, dtype, True, device=device)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FAST)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", [*range(len(CASES)), len(CASES)])
def test_slabs_of_channels_are_right_at_their_edges_in_every_dtype(
    program: Path, case: int, options: str, dtype: DType
) -> None:
    shape, device = [*CASES, ((1, 8, 129, 128), USUAL)][case]
    p = make(shape, dtype, options)
    check_forward(program, p, dtype, True, device=device)
    check_backward(program, p, dtype, True, device=device)


# Planes of the block, cluster and split tiers of slabs.
TIERS = [
    pytest.param((1, 4, 24, 30), USUAL, id="block"),
    pytest.param((1, 4, 62, 66), USUAL, id="cluster"),
    pytest.param((1, 4, 65, 66), NO_CLUSTERS, id="split"),
]


@pytest.mark.parametrize(("shape", "device"), TIERS)
def test_a_constant_plane_of_a_slab_gives_exactly_shift(
    program: Path, shape: tuple[int, int, int, int], device: dict[str, float]
) -> None:
    p = make(shape, F32, "all")
    constant = np.random.default_rng(1).standard_normal((*shape[:2], 1, 1)).astype(np.float32)
    p = replace(p, x=np.broadcast_to(1000 * constant, shape), noise=None, noise_strength=None)
    y = forward(program, p, F32, True, device=device).outputs["y"]
    assert p.shift is not None
    assert np.array_equal(y, np.broadcast_to(p.shift[..., None, None], shape))


@pytest.mark.parametrize(("shape", "device"), TIERS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_hard_planes_of_a_slab_keep_the_bound(
    program: Path, name: str, shape: tuple[int, int, int, int], device: dict[str, float]
) -> None:
    p = make(shape, F32, "plain")
    p = replace(p, x=ADVERSARIAL[name](p.x).astype(np.float32), scale=np.full(shape[:2], 1.5, np.float32))
    check_forward(program, p, F32, True, device=device)
    if name != "huge":  # rstd**2 leaves fp32
        check_backward(program, p, F32, True, device=device)


@pytest.mark.parametrize(("shape", "device"), TIERS)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_non_finite_value_stays_in_its_channel(
    program: Path, poison: float, shape: tuple[int, int, int, int], device: dict[str, float]
) -> None:
    p = make(shape, F32, "all")
    spoilt = p.x.copy()
    spoilt[0, 1, 7, 9] = poison
    clean = forward(program, p, F32, True, device=device).outputs["y"]
    y = forward(program, replace(p, x=spoilt), F32, True, device=device).outputs["y"]
    assert np.isnan(y[0, 1]).all()
    assert np.array_equal(np.delete(y, 1, axis=1), np.delete(clean, 1, axis=1))
    dx = backward(program, replace(p, x=spoilt), np.ones_like(p.x), F32, True, ("dx",), device=device).outputs["dx"]
    assert np.isnan(dx[0, 1]).all()
    assert np.isfinite(np.delete(dx, 1, axis=1)).all()


@pytest.mark.parametrize(("shape", "device"), TIERS)
@pytest.mark.parametrize("wanted", [("dx",), ("dbias",), ("dscale", "dshift", "dnoise")], ids=str)
def test_gradients_of_slabs_come_alone_as_they_come_together(
    program: Path, wanted: tuple[str, ...], shape: tuple[int, int, int, int], device: dict[str, float]
) -> None:
    p = make(shape, F32, "all")
    together = check_backward(program, p, F32, True, device=device).outputs
    dy = np.random.default_rng(p.x.size).standard_normal(p.x.shape).astype(np.float32)
    alone = backward(program, p, dy, F32, True, wanted, device=device).outputs
    for name in wanted:
        assert np.array_equal(alone[name], together[name])


def test_channels_that_make_no_vectors_are_as_good(program: Path) -> None:
    """The generic split tier takes them: unaligned storage here, odd C elsewhere."""
    p = make((1, 12, 9, 11), BF16, "all")
    vectors, generic = (check_forward(program, p, BF16, True, offset).outputs for offset in (0, 1))
    assert np.allclose(vectors["mean"], generic["mean"], rtol=1e-5, atol=1e-6)
    check_backward(program, p, BF16, True, 1)
