"""The ops once more, in numpy and any precision: what the kernels' results are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@dataclass
class AdaIN:
    """The arguments of adain: x [N, C, H, W], or with phases [N, 4C, H/2+1, W/2+1], scale and shift [N, C] or [C],
    noise [N|1, 1, H, W], the rest [C]."""

    x: Array
    scale: Array | None = None
    shift: Array | None = None
    noise: Array | None = None
    noise_strength: Array | None = None
    bias: Array | None = None
    negative_slope: float = 1.0
    eps: float = 1e-8
    output_negative_slope: float = 1.0
    phases: bool = False
    blur: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, C, H, W of y."""
        n, c, h, w = self.x.shape
        return (n, c // 4, 2 * (h - 1), 2 * (w - 1)) if self.phases else (n, c, h, w)


def read(p: AdaIN, acc: np.dtype) -> Array:
    """v, pixel by pixel as api.h has it."""
    c, h, w = p.shape[1:]
    u = p.x.astype(acc)
    if p.phases:
        u = np.zeros(p.shape, acc)
        for i, j in np.ndindex(h, w):
            first = (2 * (i % 2) + j % 2) * c
            u[:, :, i, j] = p.x[:, first : first + c, (i + 1) // 2, (j + 1) // 2]
    return blurred(u) if p.blur else u


def blurred(u: Array) -> Array:
    h, w = u.shape[2:]
    padded, total = np.pad(u, ((0, 0), (0, 0), (1, 1), (1, 1))), np.zeros_like(u)
    for i, j in np.ndindex(3, 3):
        total += (2 - abs(i - 1)) * (2 - abs(j - 1)) * padded[:, :, i : i + h, j : j + w]
    return total / 16


def taken_back(p: AdaIN, dv: Array) -> Array:
    """dx, given the gradient of v."""
    c, h, w = p.shape[1:]
    du = blurred(dv) if p.blur else dv
    if not p.phases:
        return du
    dx = np.zeros(p.x.shape, dv.dtype)
    for i, j in np.ndindex(h, w):
        first = (2 * (i % 2) + j % 2) * c
        dx[:, first : first + c, (i + 1) // 2, (j + 1) // 2] = du[:, :, i, j]
    return dx


def _per_plane(value: Array | None, left_out: float, acc: np.dtype) -> Array:
    if value is None:
        return np.full((1, 1, 1, 1), left_out, acc)
    return value.astype(acc)[..., None, None]


class AdaINResult:
    """Everything adain computes on the way, in `acc`: t, a, pivot, mean (relative to the pivot), rstd, z, y."""

    def __init__(self, p: AdaIN, acc: np.dtype) -> None:
        self.acc = acc
        self.p = p
        self.t = read(p, acc)
        if p.noise is not None and p.noise_strength is not None:
            self.t = self.t + p.noise_strength.astype(acc)[:, None, None] * p.noise.astype(acc)
        if p.bias is not None:
            self.t = self.t + p.bias.astype(acc)[:, None, None]
        self.a = np.where(self.t >= 0, self.t, acc.type(p.negative_slope) * self.t)
        self.pivot = self.a[:, :, :1, :1]
        centred = self.a - self.pivot
        self.mean = centred.mean((2, 3), dtype=acc, keepdims=True)
        variance = np.square(centred - self.mean).mean((2, 3), dtype=acc, keepdims=True)
        self.rstd = acc.type(1) / np.sqrt(variance + acc.type(p.eps))
        self.normalised = (centred - self.mean) * self.rstd
        self.scale, self.shift = _per_plane(p.scale, 1.0, acc), _per_plane(p.shift, 0.0, acc)
        self.z = self.scale * self.normalised + self.shift
        self.y = np.where(self.z >= 0, self.z, acc.type(p.output_negative_slope) * self.z)

    @property
    def magnitude(self) -> Array:
        """max(|y|, |scale| * rstd * |mean|): what a rounding error of y is measured against."""
        return np.maximum(np.abs(self.y), np.abs(self.scale) * self.rstd * np.abs(self.mean + self.pivot))

    def backward(self, dy: Array) -> dict[str, Array]:
        """The gradients of api.h's AdaINBackward, and under |name| what their rounding errors are measured against."""
        p, acc = self.p, self.acc
        dz = dy.astype(acc) * np.where(self.z >= 0, acc.type(1), acc.type(p.output_negative_slope))
        mean_dz = dz.mean((2, 3), dtype=acc, keepdims=True)
        mean_dz_normalised = (dz * self.normalised).mean((2, 3), dtype=acc, keepdims=True)
        slope = np.where(self.t >= 0, acc.type(1), acc.type(p.negative_slope))
        factor = self.scale * self.rstd
        dt = slope * factor * (dz - mean_dz - self.normalised * mean_dz_normalised)
        size = np.abs(factor) * (np.abs(dz) + np.abs(mean_dz) + np.abs(self.normalised * mean_dz_normalised))

        def planes(value: Array) -> Array:
            return value.sum((2, 3), dtype=acc)

        def channels(value: Array) -> Array:
            return planes(value).sum(0, dtype=acc)

        result = {"dx": taken_back(p, dt), "|dx|": taken_back(p, size)}
        result |= {"dshift": planes(dz), "|dshift|": planes(np.abs(dz))}
        result |= {"dscale": planes(dz * self.normalised), "|dscale|": planes(np.abs(dz * self.normalised))}
        result |= {"dbias": channels(dt), "|dbias|": channels(size)}
        if p.noise is not None and p.noise_strength is not None:
            noise, strength = p.noise.astype(acc), p.noise_strength.astype(acc)[:, None, None]
            result |= {"dnoise_strength": channels(dt * noise)}
            result |= {"|dnoise_strength|": channels(size * np.abs(noise))}
            result |= {"dnoise": (dt * strength).sum(1, dtype=acc, keepdims=True)}
            result |= {"|dnoise|": (size * np.abs(strength)).sum(1, dtype=acc, keepdims=True)}
        return result


ACTIVATIONS = ("linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish")


def activation(act: str, x: Array, alpha: float, order: int = 0) -> Array:
    """act(x), act'(x) or act''(x); at 0 the slope of lrelu is 1, those of relu, elu and selu are the left ones."""
    one, zero = np.ones_like(x), np.zeros_like(x)
    sigmoid = 1 / (1 + np.exp(-x))
    tanh = np.tanh(x)
    negative = np.minimum(x, 0)
    selu = SELU_SCALE * SELU_ALPHA
    table = {
        "linear": (x, one, zero),
        "relu": (np.maximum(x, 0), np.where(x > 0, one, zero), zero),
        "lrelu": (np.where(x >= 0, x, alpha * x), np.where(x >= 0, one, alpha * one), zero),
        "tanh": (tanh, 1 - tanh**2, -2 * tanh * (1 - tanh**2)),
        "sigmoid": (sigmoid, sigmoid * (1 - sigmoid), sigmoid * (1 - sigmoid) * (1 - 2 * sigmoid)),
        "elu": (
            np.where(x > 0, x, np.expm1(negative)),
            np.where(x > 0, one, np.exp(negative)),
            np.where(x > 0, zero, np.exp(negative)),
        ),
        "selu": (
            np.where(x > 0, SELU_SCALE * x, selu * np.expm1(negative)),
            np.where(x > 0, SELU_SCALE * one, selu * np.exp(negative)),
            np.where(x > 0, zero, selu * np.exp(negative)),
        ),
        "softplus": (np.logaddexp(x, zero), sigmoid, sigmoid * (1 - sigmoid)),
        "swish": (
            x * sigmoid,
            sigmoid + x * sigmoid * (1 - sigmoid),
            sigmoid * (1 - sigmoid) * (2 + x * (1 - 2 * sigmoid)),
        ),
    }
    return table[act][order].astype(x.dtype)


def upfirdn2d(
    x: Array,
    f: Array,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
) -> Array:
    """By definition: insert zeros, pad or crop, correlate, decimate. up, down: (y, x); padding: (y0, y1, x0, x1)."""
    n, c, h, w = x.shape
    large = np.zeros((n, c, h * up[0], w * up[1]), x.dtype)
    large[:, :, :: up[0], :: up[1]] = x
    y0, y1, x0, x1 = padding
    large = np.pad(large, ((0, 0), (0, 0), (max(y0, 0), max(y1, 0)), (max(x0, 0), max(x1, 0))))
    large = large[:, :, max(-y0, 0) : large.shape[2] - max(-y1, 0), max(-x0, 0) : large.shape[3] - max(-x1, 0)]
    taps = f if flip_filter else f[::-1, ::-1]
    out_h, out_w = large.shape[2] - f.shape[0] + 1, large.shape[3] - f.shape[1] + 1
    total = np.zeros((n, c, out_h, out_w), x.dtype)
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            total += taps[i, j] * large[:, :, i : i + out_h, j : j + out_w]
    return gain * total[:, :, :: down[0], :: down[1]]
