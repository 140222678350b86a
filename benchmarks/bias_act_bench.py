"""``python benchmarks/bias_act_bench.py``: speed of bias_act at the shapes of StyleGAN's layers."""

from __future__ import annotations

import math
from types import ModuleType

import torch.nn.functional as F
from harness.benchmark import Benchmark, Case, Function, Setting
from harness.command import command
from harness.shapes import layer_shape
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.ops import bias_act

SLOPE = 0.2


def _case(title: str, gain: float) -> Case:
    def ours(x: Tensor, b: Tensor) -> Tensor:
        return bias_act(x, b, act="lrelu", alpha=SLOPE, gain=gain)

    def eager(x: Tensor, b: Tensor) -> Tensor:
        y = F.leaky_relu(x + b[:, None, None], SLOPE)
        return y if gain == 1 else y * gain

    def peer(module: ModuleType, impl: str, setting: Setting) -> Function:
        def theirs(x: Tensor, b: Tensor) -> Tensor:
            return module.bias_act(x, b, act="lrelu", alpha=SLOPE, gain=gain, impl=impl)

        return theirs

    return Case(
        title=title,
        x_shape=layer_shape,
        y_shape=layer_shape,
        parameters=lambda x: [((x[1],), True)],
        functions=lambda setting: {"ours": [ours], "eager": [eager], "compile": [eager]},
        peer=peer,
    )


BENCHMARK = Benchmark(
    "bias_act",
    {
        "lrelu": _case("bias + leaky ReLU, StyleGAN 1's", gain=1.0),
        "lrelu_gain": _case("bias + leaky ReLU times the square root of 2, StyleGAN 2's", gain=math.sqrt(2)),
    },
    default_cases=("lrelu",),
)
main = command(BENCHMARK)

if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
