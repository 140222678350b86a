"""Cases of adain for the emulator: how they are made, run and judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from .dtypes import TRUTH, Array, DType, assert_within, from_memory, to_memory
from .formulas import AdaIN, AdaINResult
from .machine import Outcome, run

OPTIONS = ("plain", "all", "shared")


# What x is read through: nothing, the blur, phases, or both.
WAYS = {"": {}, "blur": {"blur": True}, "phases": {"phases": True}, "both": {"phases": True, "blur": True}}


def make(shape: tuple[int, int, int, int], dtype: DType, options: str, seed: int = 0, way: str = "") -> AdaIN:
    """plain: instance norm. all: the StyleGAN epilogue. shared: one scale, shift and noise for all, and ReLU.

    shape: that of y.
    """
    rng = np.random.default_rng([seed, *shape])
    n, c, h, w = shape

    def draw(*size: int) -> Array:
        return rng.standard_normal(size).astype(dtype.acc)

    phases = "phases" in WAYS[way]
    x = dtype.decode(dtype.encode(draw(*((n, 4 * c, h // 2 + 1, w // 2 + 1) if phases else shape))))
    if options == "plain":
        return AdaIN(x, **WAYS[way])
    rows = () if options == "shared" else (n,)
    return AdaIN(
        x,
        scale=1 + draw(*rows, c),
        shift=draw(*rows, c),
        noise=draw(1 if options == "shared" else n, 1, h, w),
        noise_strength=draw(c),
        bias=draw(c),
        negative_slope=0.2,
        output_negative_slope=0.0 if options == "shared" else 1.0,
        **WAYS[way],
    )


def request(p: AdaIN, dtype: DType, channels_last: bool) -> tuple[dict[str, float], dict[str, Array]]:
    """The numbers and inputs of api.h's struct AdaIN."""
    n, c, h, w = p.shape
    numbers = {"dtype": dtype.code, "layout": int(channels_last), "n": n, "c": c, "h": h, "w": w, "eps": p.eps}
    numbers |= {"phases": p.phases, "blur": p.blur}
    numbers |= {"negative_slope": p.negative_slope, "output_negative_slope": p.output_negative_slope}
    numbers["noise_stride_n"] = h * w if p.noise is not None and len(p.noise) > 1 else 0
    inputs = {"x": to_memory(dtype.encode(p.x), channels_last)}
    for name in ("scale", "shift"):
        value = getattr(p, name)
        # [N, C]: as the halves of one [N, C, 2] tensor lie, no two values beside each other. [C]: densely.
        strided = value is not None and value.ndim == 2
        numbers |= {f"{name}.stride_n": 2 * c if strided else 0, f"{name}.stride_c": 2 if strided else 1}
        if value is not None:
            inputs[name] = np.repeat(value.astype(dtype.acc), 2 if strided else 1, axis=-1)
    for name in ("noise", "noise_strength", "bias"):
        value = getattr(p, name)
        if value is not None:
            inputs[name] = value.astype(dtype.acc)
    return numbers, inputs


# What the emulated device says of itself, where it is not the usual one: capability, clusters_fit.
Device = Mapping[str, float]
USUAL: Device = MappingProxyType({})
NO_CLUSTERS: Device = MappingProxyType({"capability": 80})


def forward(
    program: Path, p: AdaIN, dtype: DType, channels_last: bool, offset: int = 0, device: Device = USUAL
) -> Outcome:
    numbers, inputs = request(p, dtype, channels_last)
    numbers |= device
    planes = p.shape[:2]
    outputs = {"y": (p.shape, dtype.storage), "mean": (planes, dtype.acc), "rstd": (planes, dtype.acc)}
    done = run(program, "adain_forward", numbers, inputs, outputs, offset)
    done.outputs["y"] = dtype.decode(from_memory(done.outputs["y"], p.shape, channels_last))
    return done


def check_forward(
    program: Path, p: AdaIN, dtype: DType, channels_last: bool, offset: int = 0, device: Device = USUAL
) -> Outcome:
    """y, mean and rstd against the formula in extended precision; see section 3 of docs/kernels.md for the bound."""
    done = forward(program, p, dtype, channels_last, offset, device)
    assert (done.status, done.error) == (0, "")
    with np.errstate(all="ignore"):
        truth, own = AdaINResult(p, TRUTH), AdaINResult(p, dtype.acc)
        own_y = dtype.decode(dtype.encode(own.y))
        # A denormal mean has an ulp of its own, which rstd enlarges.
        denormal = np.finfo(dtype.acc).smallest_subnormal * truth.rstd * np.abs(truth.scale)
        ulp = dtype.eps * truth.magnitude + dtype.smallest + denormal
        finite = np.where(np.isfinite(ulp), ulp, 0)
        assert_within(done.outputs["y"], truth.y, own_y, 4 * finite, "y")
        acc_eps = np.finfo(dtype.acc).eps
        span = np.abs(truth.a - truth.pivot).max((2, 3)) if p.x.size else 0
        mean_ulp = np.where(np.isfinite(span), acc_eps * span, 0) + np.finfo(dtype.acc).smallest_subnormal
        assert_within(done.outputs["mean"], truth.mean[..., 0, 0], own.mean[..., 0, 0], 4 * mean_ulp, "mean")
        rstd = truth.rstd[..., 0, 0]
        assert_within(done.outputs["rstd"], rstd, own.rstd[..., 0, 0], 4 * acc_eps * np.abs(rstd), "rstd")
    return done


GRADIENTS = ("dx", "dscale", "dshift", "dbias", "dnoise_strength", "dnoise")


def backward(
    program: Path,
    p: AdaIN,
    dy: Array,
    dtype: DType,
    channels_last: bool,
    wanted: tuple[str, ...],
    offset: int = 0,
    device: Device = USUAL,
) -> Outcome:
    """Runs the forward for mean and rstd, then the backward."""
    saved = forward(program, p, dtype, channels_last, offset, device).outputs
    numbers, inputs = request(p, dtype, channels_last)
    numbers |= device
    inputs |= {"dy": to_memory(dtype.encode(dy), channels_last), "mean": saved["mean"], "rstd": saved["rstd"]}
    n, c, h, w = p.shape
    channels = ((c,), dtype.acc)
    shapes = {"dx": (p.x.shape, dtype.storage), "dnoise": ((n, 1, h, w), dtype.acc)}
    shapes |= {"dbias": channels, "dnoise_strength": channels}
    outputs = {name: shapes.get(name, ((n, c), dtype.acc)) for name in wanted}
    done = run(program, "adain_backward", numbers, inputs, outputs, offset)
    if "dx" in wanted:
        done.outputs["dx"] = dtype.decode(from_memory(done.outputs["dx"], p.x.shape, channels_last))
    return done


def check_backward(
    program: Path, p: AdaIN, dtype: DType, channels_last: bool, offset: int = 0, device: Device = USUAL
) -> Outcome:
    rng = np.random.default_rng(p.x.size)
    dy = dtype.decode(dtype.encode(rng.standard_normal(p.shape).astype(dtype.acc)))
    wanted = GRADIENTS if p.noise is not None else GRADIENTS[:-2]
    done = backward(program, p, dy, dtype, channels_last, wanted, offset, device)
    assert (done.status, done.error) == (0, "")
    with np.errstate(all="ignore"):
        result = AdaINResult(p, TRUTH)
        truth, own = result.backward(dy), AdaINResult(p, dtype.acc).backward(dy)
        own["dx"] = dtype.decode(dtype.encode(own["dx"]))
        acc = np.finfo(dtype.acc)
        for name in wanted:
            size = np.where(np.isfinite(truth[f"|{name}|"]), truth[f"|{name}|"], 0)
            allowance = 4 * acc.eps * size
            if name == "dx":  # rounded to x's dtype; its terms, like those of the sums, are computed in acc
                finite = np.where(np.isfinite(truth["dx"]), np.abs(truth["dx"]), 0)
                allowance = allowance + 4 * (dtype.eps * finite + dtype.smallest)
            if name == "dscale":  # a denormal mean has an ulp of its own, which rstd enlarges
                allowance = allowance + 4 * acc.smallest_subnormal * result.rstd[..., 0, 0] * truth["|dshift|"]
            assert_within(done.outputs[name], truth[name], own[name], allowance, name)
    return done


def replace(p: AdaIN, **changes: Array | float | None) -> AdaIN:
    return dataclasses.replace(p, **changes)  # type: ignore[arg-type]
