"""bias_act's CUDA kernels, run in the emulator."""

import math
from pathlib import Path

import numpy as np
import pytest

from .dtypes import ALL, BF16, F16, F32, F64, TRUTH, Array, DType, assert_within
from .formulas import ACTIVATIONS, SELU_ALPHA, SELU_SCALE, activation
from .machine import Outcome, run

DTYPES = [pytest.param(dtype, id=dtype.name) for dtype in ALL]


def request(
    dtype: DType, act: str, size: int, bias: tuple[int, int], alpha: float, gain: float, clamp: float
) -> dict[str, float]:
    step, count = bias
    numbers = {"dtype": dtype.code, "act": ACTIVATIONS.index(act), "size": size, "bias_step": step, "bias_size": count}
    return numbers | {"alpha": alpha, "gain": gain, "clamp": clamp}


def check(
    program: Path,
    dtype: DType,
    act: str,
    size: int,
    bias: tuple[int, int] | None = (7, 5),
    gain: float = 1.3,
    clamp: float = -1.0,
    offset: int = 0,
    narrow_b: bool = False,
) -> None:
    """Forward, first and second order against the formula in extended precision. bias: (bias_step, bias_size).
    narrow_b: b is of dtype, not of the accumulation type."""
    rng = np.random.default_rng([size, ACTIVATIONS.index(act)])
    alpha = 0.2
    x, dy, ddx = (dtype.decode(dtype.encode(2 * rng.standard_normal(size).astype(dtype.acc))) for _ in range(3))
    numbers = request(dtype, act, size, bias or (1, 1), alpha, gain, clamp)
    b = np.zeros(1, dtype.acc)
    if bias:
        b = dtype.decode(dtype.encode(rng.standard_normal(bias[1]).astype(dtype.acc))).astype(dtype.acc)
    of_element = b[np.arange(size) // bias[0] % bias[1]] if bias else np.zeros(size, dtype.acc)
    x[::11] = -of_element[::11]  # the corner of the piecewise activations
    tensors: dict[str, Array] = {"b": dtype.encode(b) if narrow_b else b} if bias else {}
    numbers |= {"b_is_acc": int(not narrow_b)}
    tensors["x"] = dtype.encode(x)
    output = ((size,), dtype.storage)

    def launch(op: str, inputs: dict[str, Array], to: str) -> Array:
        done = run(program, op, numbers, inputs, {to: output}, offset)
        assert (done.status, done.error) == (0, "")
        return dtype.decode(done.outputs[to])

    def results(acc: np.dtype) -> tuple[Array, Array, Array]:
        t = x.astype(acc) + of_element.astype(acc)
        y, first, second = (acc.type(gain) * activation(act, t, alpha, order) for order in range(3))
        if clamp >= 0:
            y = np.clip(y, -acc.type(clamp), acc.type(clamp))
            stored_y, stored_clamp = (dtype.decode(dtype.encode(v.astype(dtype.acc))) for v in (y, np.full(1, clamp)))
            passes = np.abs(stored_y) < stored_clamp
            first, second = np.where(passes, first, 0), np.where(passes, second, 0)
        return y, first * dy.astype(acc), second * dy.astype(acc) * ddx.astype(acc)

    def rounded(values: Array) -> Array:
        return dtype.decode(dtype.encode(values))

    truth, own = results(TRUTH), results(dtype.acc)
    y = launch("bias_act_forward", tensors, "y")
    assert_within(y, truth[0], rounded(own[0]), 4 * dtype.eps * np.abs(truth[0]) + dtype.smallest, "y")

    # The derivatives read the rounded y of all activations but swish; act' and act'' change by at most 4 times as much.
    tensors |= {"y": dtype.encode(y), "dy": dtype.encode(dy), "ddx": dtype.encode(ddx)}
    if act == "swish" and clamp < 0:
        del tensors["y"]
    elif act != "swish":
        del tensors["x"]
    rounding_of_y = 4 * dtype.eps * (np.abs(y) + gain) * np.abs(dy)
    dx = launch("bias_act_backward", {k: v for k, v in tensors.items() if k != "ddx"}, "dx")
    allowance = 4 * dtype.eps * np.abs(truth[1]) + rounding_of_y + dtype.smallest
    assert_within(dx, truth[1], rounded(own[1]), allowance, "dx")
    d2x = launch("bias_act_second", tensors, "d2x")
    allowance = 4 * dtype.eps * np.abs(truth[2]) + rounding_of_y * np.abs(ddx) + dtype.smallest
    assert_within(d2x, truth[2], rounded(own[2]), allowance, "d2x")


# One block takes 1024 fp32 elements; 3 is less than a vector of any dtype but double.
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_and_its_derivatives_match_the_formula(program: Path, act: str) -> None:
    check(program, F32, act, 1030)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "bias"), [(3, (1, 3)), (257, (1, 5)), (130, (16, 3)), (64, None)], ids=str)
def test_every_dtype_and_bias_step_matches_the_formula(
    program: Path, dtype: DType, size: int, bias: tuple[int, int] | None
) -> None:
    check(program, dtype, "softplus", size, bias)


# Rounded as y is, 0.7 goes down in bf16, 0.1 in f16: a clamped y is then less than the clamp that was asked for.
@pytest.mark.parametrize("clamp", [0.75, 0.7, 0.1])
@pytest.mark.parametrize("act", ["lrelu", "swish", "linear"])
def test_the_clamp_cuts_value_and_gradient(program: Path, act: str, clamp: float) -> None:
    for dtype in (F32, F16, BF16):
        check(program, dtype, act, 100, gain=1.5, clamp=clamp)


# What the vectors tier takes (csrc/cuda/bias_act_vectors.cuh), as (size, (bias_step, bias_size)): planes of a vector,
# of an odd number of them, of a whole block and more, in slices; rows of a vector, of an odd number, longer than a
# warp; no bias.
VECTORS = {
    "planes of a vector": (5 * 3 * 8, (8, 3)),
    "planes of 5 vectors": (2 * 3 * 40, (40, 3)),
    "planes of a warp": (3 * 2 * 800, (800, 2)),
    "planes of a block": (2 * 4800, (4800, 2)),
    "planes in slices": (3 * 20008, (20008, 3)),
    "one plane": (4160, (4160, 1)),
    "one bias, planes of no whole vectors": (648, (81, 1)),
    "one bias, planes of less than a vector": (16, (2, 1)),
    "rows of a vector": (33 * 8, (1, 8)),
    "rows of 3 vectors": (700 * 24, (1, 24)),
    "rows of 40 vectors": (19 * 320, (1, 320)),
    "one row": (64, (1, 64)),
    "no bias": (4104, None),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_match_the_formula(program: Path, name: str) -> None:
    """A covering subset: activations and dtypes rotate; each once more with a clamp."""
    number = list(VECTORS).index(name)
    act, dtype = ("lrelu", "linear", "relu")[number % 3], (BF16, F32, F16, F32)[number % 4]
    check(program, dtype, act, *VECTORS[name])
    check(program, dtype, act, *VECTORS[name], clamp=0.7, narrow_b=True)


@pytest.mark.parametrize("dtype", [F16, BF16], ids=["f16", "bf16"])
def test_a_bias_of_the_dtype_of_x_is_as_good(program: Path, dtype: DType) -> None:
    for act, bias in (("swish", (1, 5)), ("lrelu", (24, 3)), ("relu", (1, 24))):
        check(program, dtype, act, 720, bias, narrow_b=True)


def check_sums(program: Path, dtype: DType, act: str, size: int, bias: tuple[int, int], partials: int) -> None:
    """dx is the same as without them, and the rows of partial sums add up to its sums in extended precision."""
    rng = np.random.default_rng(size)
    y, dy = (dtype.encode(rng.standard_normal(size).astype(dtype.acc)) for _ in range(2))
    numbers = request(dtype, act, size, bias, 0.2, 1.3, 1.0) | {"partials": partials}
    outputs = {"dx": ((size,), dtype.storage)}
    alone = run(program, "bias_act_backward", numbers, {"dy": dy, "y": y}, outputs)
    both = run(
        program,
        "bias_act_backward",
        numbers,
        {"dy": dy, "y": y},
        outputs | {"db_partials": ((partials, bias[1]), dtype.acc)},
    )
    assert (both.status, both.error) == (0, "")
    assert np.array_equal(both.outputs["dx"], alone.outputs["dx"])

    u = dtype.decode(y).astype(TRUTH)
    slope = np.where(np.abs(u) < 1, activation(act, u, 0.2, 1), 0) * np.longdouble(1.3)
    exact = (slope * dtype.decode(dy)).reshape(-1, bias[1], bias[0])
    db, allowance = both.outputs["db_partials"].astype(TRUTH).sum(0), np.abs(exact).sum((0, 2))
    assert (np.abs(db - exact.sum((0, 2))) <= 8 * np.finfo(np.float32).eps * allowance).all()


# How many rows: a block's for 16 pixels and more, a plane's for each slice of 2048 vectors.
ROWS_OF_SUMS = {"planes of a vector": 5, "planes of 5 vectors": 2, "planes of a warp": 3, "planes of a block": 1}
ROWS_OF_SUMS |= {"planes in slices": 2, "one plane": 1, "rows of a vector": 1, "rows of 3 vectors": 9}
ROWS_OF_SUMS |= {"rows of 40 vectors": 2, "one row": 1}


@pytest.mark.parametrize("name", ROWS_OF_SUMS)
def test_the_bias_gradient_is_summed_on_the_way(program: Path, name: str) -> None:
    number = list(ROWS_OF_SUMS).index(name)
    (size, bias), dtype = VECTORS[name], (BF16, F16)[number % 2]
    assert bias is not None
    check_sums(program, dtype, ("lrelu", "relu")[number % 2], size, bias, ROWS_OF_SUMS[name])


@pytest.mark.parametrize(("size", "bias"), [(15, (1, 5)), (648, (81, 1)), (16, (2, 1))], ids=str)
def test_where_no_sums_are_made_none_are_promised(program: Path, size: int, bias: tuple[int, int]) -> None:
    """An odd size; one bias and planes of no whole vectors. The caller who asks for them anyway is told."""
    numbers = request(F32, "lrelu", size, bias, 0.2, 1.0, -1.0) | {"partials": 0}
    inputs = {"dy": np.zeros(size, np.float32), "y": np.zeros(size, np.float32)}
    outputs = {"dx": ((size,), F32.storage), "db_partials": ((1, bias[1]), F32.acc)}
    done = run(program, "bias_act_backward", numbers, inputs, outputs)
    assert (done.status, done.error) == (2, "bias_act_backward: this call has no partial sums for db")


SELU_LEFT = SELU_SCALE * SELU_ALPHA
AT_ZERO = {  # act(0), act'(0), act''(0) as torch and the golden numbers have them
    "linear": (0.0, 1.0, 0.0),
    "relu": (0.0, 0.0, 0.0),
    "lrelu": (0.0, 1.0, 0.0),
    "tanh": (0.0, 1.0, 0.0),
    "sigmoid": (0.5, 0.25, 0.0),
    "elu": (0.0, 1.0, 1.0),
    "selu": (0.0, SELU_LEFT, SELU_LEFT),
    "softplus": (math.log(2), 0.5, 0.25),
    "swish": (0.0, 0.5, 0.5),
}


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_values_and_slopes_at_exactly_zero(program: Path, act: str) -> None:
    x, one = np.array([0.0, -0.0], np.float32), np.ones(2, np.float32)
    numbers = request(F32, act, 2, (1, 1), 0.2, 1.0, -1.0)

    def launch(op: str, to: str, **tensors: Array) -> Array:
        return run(program, op, numbers, tensors, {to: ((2,), F32.storage)}).outputs[to]

    y = launch("bias_act_forward", "y", x=x)
    read = {"x": x} if act == "swish" else {"y": y}
    found = (y, launch("bias_act_backward", "dx", dy=one, **read))
    found = (*found, launch("bias_act_second", "d2x", ddx=one, dy=one, **read))
    for got, expected in zip(found, AT_ZERO[act], strict=True):
        np.testing.assert_allclose(got, [expected] * 2, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [F16, F64], ids=["f16", "f64"])
def test_unaligned_tensors_are_as_good(program: Path, dtype: DType) -> None:
    check(program, dtype, "lrelu", 67, offset=1)


@pytest.mark.slow
@pytest.mark.parametrize("clamp", [-1.0, 0.5])
@pytest.mark.parametrize("size", [1, 15, 16, 2100])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_matches_everywhere(program: Path, act: str, dtype: DType, size: int, clamp: float) -> None:
    for bias in ((1, 5), (24, 3), None):
        for offset in (0, 1):
            check(program, dtype, act, size, bias, 0.8, clamp, offset)


def forward(program: Path, act: str, x: Array) -> Outcome:
    numbers = request(F32, act, x.size, (1, 1), 0.2, 1.0, -1.0)
    return run(program, "bias_act_forward", numbers, {"x": x}, {"y": (x.shape, F32.storage)})


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_a_nan_stays_a_nan_and_stays_alone(program: Path, act: str) -> None:
    x = np.linspace(-90, 90, 37, dtype=np.float32)
    x[5] = np.nan
    y = forward(program, act, x).outputs["y"]
    assert np.flatnonzero(~np.isfinite(y)).tolist() == [5]


def test_nothing_is_launched_for_nothing(program: Path) -> None:
    assert forward(program, "relu", np.zeros(0, np.float32)).status == 0


def test_what_no_kernel_accepts_is_named(program: Path) -> None:
    numbers = request(F32, "tanh", 4, (1, 1), 0.2, 1.0, -1.0)
    done = run(program, "bias_act_backward", numbers, {"dy": np.zeros(4, np.float32)}, {"dx": ((4,), F32.storage)})
    assert done.status == 1
    assert done.error.startswith("bias_act_backward: y is null")
