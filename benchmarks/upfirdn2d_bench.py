"""``python benchmarks/upfirdn2d_bench.py``: speed of StyleGAN's blur, upsampling and downsampling."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
import torch.nn.functional as F
from harness.benchmark import Benchmark, Case, Function, Setting
from harness.command import command
from harness.shapes import Shape, layer_shape
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.ops import downsample2d, filter2d, setup_filter, upsample2d

OURS: dict[str, Callable[..., Tensor]] = {"filter2d": filter2d, "upsample2d": upsample2d, "downsample2d": downsample2d}
Eager = Callable[[Tensor, Tensor], Tensor]  # of x and the filter [taps, taps], whose sum is 1


def _blur(x: Tensor, f: Tensor) -> Tensor:
    """Depthwise convolution; for an even number of taps the extra zeros are on the left and top."""
    taps = f.shape[0]
    weight = f.to(x.dtype).expand(x.shape[1], 1, taps, taps)
    if taps % 2:
        return F.conv2d(x, weight, padding=taps // 2, groups=x.shape[1])
    before, after = taps // 2, (taps - 1) // 2
    return F.conv2d(F.pad(x, [before, after, before, after]), weight, groups=x.shape[1])


def _nearest(x: Tensor, f: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _repeat(x: Tensor, f: Tensor) -> Tensor:
    """The same by broadcasting."""
    n, c, h, w = x.shape
    y = x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return y.contiguous(memory_format=torch.channels_last) if channels_last else y


def _box(x: Tensor, f: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _smooth_up(x: Tensor, f: Tensor) -> Tensor:
    weight = (4 * f).to(x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def _smooth_down(x: Tensor, f: Tensor) -> Tensor:
    weight = f.to(x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def _full(resolution: int, batch: int) -> Shape:
    return layer_shape(resolution, batch)


def _fine(resolution: int, batch: int) -> Shape:
    """The larger side of a change of resolution, which has the channels of the smaller."""
    return layer_shape(resolution, batch, channels_of=resolution // 2)


def _coarse(resolution: int, batch: int) -> Shape:
    return layer_shape(resolution // 2, batch)


def _case(
    title: str,
    operation: str,
    taps: list[int],
    eager: list[Eager],
    x_shape: Callable[[int, int], Shape],
    y_shape: Callable[[int, int], Shape],
) -> Case:
    def functions(setting: Setting) -> dict[str, list[Function]]:
        f = setup_filter(taps, device=setting.device)
        our_operation: Eager = OURS[operation]

        def ours(x: Tensor) -> Tensor:
            return our_operation(x, f)

        def pytorch(way: Eager) -> Function:
            return lambda x: way(x, f)

        return {"ours": [ours], "eager": list(map(pytorch, eager)), "compile": list(map(pytorch, eager))}

    def peer(module: ModuleType, impl: str, setting: Setting) -> Function:
        f = module.setup_filter(taps, device=torch.device(setting.device))
        call = getattr(module, operation)

        def theirs(x: Tensor) -> Tensor:
            return call(x, f, impl=impl)

        return theirs

    return Case(
        title=title,
        x_shape=x_shape,
        y_shape=y_shape,
        parameters=lambda x: [],
        functions=functions,
        peer=peer,
        smallest=4 if x_shape is y_shape else 8,
    )


BENCHMARK = Benchmark(
    "upfirdn2d",
    {
        "blur": _case("blur with [1,2,1]", "filter2d", [1, 2, 1], [_blur], _full, _full),
        "up": _case("repeat every pixel twice, [1,1]", "upsample2d", [1, 1], [_nearest, _repeat], _coarse, _fine),
        "down": _case("mean of 2x2 pixels, [1,1]", "downsample2d", [1, 1], [_box], _fine, _coarse),
        "blur1331": _case("blur with [1,3,3,1]", "filter2d", [1, 3, 3, 1], [_blur], _full, _full),
        "up1331": _case("upsample with [1,3,3,1]", "upsample2d", [1, 3, 3, 1], [_smooth_up], _coarse, _fine),
        "down1331": _case("downsample with [1,3,3,1]", "downsample2d", [1, 3, 3, 1], [_smooth_down], _fine, _coarse),
    },
    default_cases=("blur", "up", "down"),
)
main = command(BENCHMARK)

if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
