"""torch.compile and torch.export: every layer and both networks in one graph, with our ops in it, equal to eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from stylegan_fast import layers
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.ops import adain, bias_act, library, use_backend

from .ops.cases import needs_extension

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
ADAIN, FIR = {"adain", "adain_backward"}, {"upfirdn2d"}
ACT = {"bias_act", "bias_act_backward"}
# A layer, what it takes beside x [2, 6, 8, 8], the ops of its forward and backward.
LAYERS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]], set[str]]] = {
    "AdaIN": (lambda: layers.AdaIN(6, 5), [(2, 5)], ADAIN),
    "LayerEpilogue": (lambda: layers.LayerEpilogue(6, 5), [(2, 5), (1, 1, 8, 8)], ADAIN),
    "LayerEpilogue without noise": (lambda: layers.LayerEpilogue(6, 5), [(2, 5)], ADAIN),
    "NoiseInjection": (lambda: layers.NoiseInjection(6), [(2, 1, 8, 8)], set()),
    "InstanceNorm2d": (lambda: layers.InstanceNorm2d(6, affine=True), [], ADAIN),
    "InstanceNorm2d with averages": (lambda: layers.InstanceNorm2d(6, track_running_stats=True), [], ADAIN),
    "FusedLeakyReLU": (lambda: layers.FusedLeakyReLU(6), [], ACT),
    "EqualLinear": (lambda: layers.EqualLinear(8, 4, activation="lrelu", lr_multiplier=0.1), [], ACT),
    "EqualConv2d": (lambda: layers.EqualConv2d(6, 4, 3, activation="lrelu"), [], ACT),
    "Blur": (lambda: layers.Blur(), [], FIR),
    "Upsample": (lambda: layers.Upsample(), [], FIR),
    "Downsample": (lambda: layers.Downsample(f=(1, 3, 3, 1)), [], FIR),
    "PixelNorm": (lambda: layers.PixelNorm(), [], set()),
    "MinibatchStdDev": (lambda: layers.MinibatchStdDev(2), [], set()),
}


@pytest.fixture(autouse=True)
def forget_compiled_code() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Graphs:
    """A compiler that runs the traced forward and backward graphs as they are and notes which of our ops they hold."""

    def __init__(self) -> None:
        self.ops: set[str] = set()
        self.backend = aot_autograd(fw_compiler=self.note, bw_compiler=self.note)

    def note(self, graph: torch.fx.GraphModule, _: list[Any]) -> Any:
        self.ops |= ops_in(graph)
        return make_boxed_func(graph.forward)


def ops_in(graph: torch.fx.GraphModule) -> set[str]:
    targets = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    return {target.split(".")[1] for target in targets if target.startswith("stylegan_fast.")}


def away_from_start(module: nn.Module) -> nn.Module:
    """No parameter keeps a value that would hide a mistake, as zero noise strengths do."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return module


def outcome(call: Callable[..., Tensor], module: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
    """The output and the gradients of all inputs and parameters."""
    inputs = [t.detach().clone().requires_grad_() for t in inputs]
    y = call(*inputs)
    leaves = [*inputs, *module.parameters()]
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    gradients = torch.autograd.grad((y * weights).sum(), leaves, allow_unused=True)
    return [y.detach(), *(g for g in gradients if g is not None)]


def assert_equal_to_eager(backend: Any, module: nn.Module, inputs: list[Tensor], tolerance: float = 1e-11) -> None:
    """In fp64, where a difference is a mistake and not another order of summation."""
    expected = outcome(module, module, inputs)
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    found = outcome(compiled, module, inputs)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max() + 1))
        if backend != "inductor":  # which chooses the layout of its convolutions
            assert ours.stride() == theirs.stride()


def example(name: str) -> tuple[nn.Module, list[Tensor], set[str]]:
    make, more, ops = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(size, generator=generator, dtype=torch.float64) for size in [(2, 6, 8, 8), *more]]
    return away_from_start(make().double()), inputs, ops


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_compiles_to_one_graph_that_equals_eager(name: str, backend: str) -> None:
    module, inputs, ops = example(name)
    graphs = Graphs()
    with use_backend(backend):
        assert_equal_to_eager(graphs.backend, module, inputs)
    assert graphs.ops == (ops if backend == "cpu" else set())


@pytest.mark.parametrize("name", ["LayerEpilogue", "FusedLeakyReLU", "Upsample"])
@needs_extension
def test_channels_last_stays_channels_last(name: str) -> None:
    module, inputs, _ = example(name)
    inputs[0] = inputs[0].contiguous(memory_format=torch.channels_last)
    with use_backend("cpu"):
        assert_equal_to_eager("aot_eager", module, inputs)


@needs_extension
def test_one_graph_serves_every_size() -> None:
    module, _, ops = example("LayerEpilogue")
    up, blur = layers.Upsample(), layers.Blur()
    seen: list[torch.fx.GraphModule] = []
    graphs_after = []  # each size: tracing the first may take more than one attempt, later ones take none

    def network(x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        return blur(up(module(x, w, noise)))

    graphs = Graphs()

    def backend(graph: torch.fx.GraphModule, examples: list[Any]) -> Any:
        seen.append(graph)
        return graphs.backend(graph, examples)

    with use_backend("cpu"):
        compiled = torch.compile(network, backend=backend, fullgraph=True, dynamic=True)
        for n, size in ((2, 8), (3, 6), (4, 12)):
            x = torch.randn(n, 6, size, size + 2, dtype=torch.float64)
            arguments = [x, torch.randn(n, 5, dtype=torch.float64), x[:, :1]]
            for ours, theirs in zip(
                outcome(compiled, module, arguments), outcome(network, module, arguments), strict=True
            ):
                torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
            graphs_after.append(len(seen))
    assert len(set(graphs_after)) == 1
    assert graphs.ops == ops | FIR


def generator_and_input() -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    sizes = {"z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mapping_layers": 2}
    network = away_from_start(Generator(8, **sizes).double())
    return network, [torch.randn(2, 8, dtype=torch.float64)]


def discriminator_and_input() -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    network = away_from_start(Discriminator(8, channel_base=64, channel_max=8).double())
    return network, [torch.randn(4, 3, 8, 8, dtype=torch.float64)]


class WithConstantNoise(nn.Module):
    """A compiled graph draws other random numbers than eager torch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z, noise_mode="const", truncation_psi=0.7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_generator_compiles_to_one_graph_that_equals_eager(backend: str) -> None:
    network, inputs = generator_and_input()
    graphs = Graphs()
    with use_backend(backend):
        assert_equal_to_eager(graphs.backend, WithConstantNoise(network), inputs)
        torch.compile(network, backend=graphs.backend, fullgraph=True)(*inputs)  # random noise
    assert graphs.ops == (ADAIN | ACT if backend == "cpu" else set())  # the blur is part of adain


@pytest.mark.parametrize("backend", BACKENDS)
def test_discriminator_compiles_to_one_graph_that_equals_eager(backend: str) -> None:
    network, inputs = discriminator_and_input()
    graphs = Graphs()
    with use_backend(backend):
        assert_equal_to_eager(graphs.backend, network, inputs)
    assert graphs.ops == (ACT | FIR if backend == "cpu" else set())


@needs_extension
def test_inductor_runs_our_kernels_and_equals_eager() -> None:
    module, inputs, _ = example("FusedLeakyReLU")
    with use_backend("cpu"):
        assert_equal_to_eager("inductor", module, inputs)


@pytest.mark.slow
@needs_extension
@pytest.mark.parametrize("name", ["LayerEpilogue", "Upsample", "generator", "discriminator"])
def test_inductor_equals_eager(name: str) -> None:
    if name == "generator":
        network, inputs = generator_and_input()
        module: nn.Module = WithConstantNoise(network)
    elif name == "discriminator":
        module, inputs = discriminator_and_input()
    else:
        module, inputs, _ = example(name)
    with use_backend("cpu"):
        assert_equal_to_eager("inductor", module, inputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", [lambda x: adain(x, eps=0.1), lambda x: bias_act(x, act="tanh")], ids=["adain", "tanh"])
def test_the_second_derivative_of_a_compiled_region_raises_and_does_not_lie(op: Any, backend: str) -> None:
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    with use_backend(backend):
        y = torch.compile(op, backend="aot_eager", fullgraph=True)(x)
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="does not currently support double backward"):
            dx.square().sum().backward()


@needs_extension
def test_the_backend_is_that_of_the_call_not_of_the_compilation() -> None:
    module, inputs, ops = example("AdaIN")
    graphs = Graphs()
    compiled = torch.compile(module, backend=graphs.backend, fullgraph=True)
    with use_backend("reference"):
        outcome(compiled, module, inputs)
    assert graphs.ops == set()
    with use_backend("cpu"):
        outcome(compiled, module, inputs)
    assert graphs.ops == ops


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_arguments_are_refused_while_compiling_in_the_words_of_eager(backend: str) -> None:
    x, words = torch.randn(2, 3, 4, 4), "adain: scale must be .N, C. = .2, 3. or .C. = .3., got shape .4."
    with use_backend(backend):
        with pytest.raises(ValueError, match=words):
            torch.compile(lambda x: adain(x, torch.ones(4)), backend="aot_eager")(x)
        with pytest.raises(torch._dynamo.exc.Unsupported, match=words):
            torch.compile(lambda x: adain(x, torch.ones(4)), backend="aot_eager", fullgraph=True)(x)


@needs_extension
@pytest.mark.parametrize(
    ("name", "op"), [("LayerEpilogue", "adain"), ("EqualConv2d", "bias_act"), ("Upsample", "upfirdn2d")]
)
def test_an_exported_layer_holds_the_op_and_equals_eager(name: str, op: str) -> None:
    module, inputs, _ = example(name)
    with use_backend("auto"):
        exported = torch.export.export(module, tuple(inputs), strict=False)
        assert ops_in(exported.graph_module) == {op}
        torch.testing.assert_close(exported.module()(*inputs), module(*inputs), rtol=1e-12, atol=1e-12)
    with use_backend("reference"):
        exported = torch.export.export(module, tuple(inputs), strict=False)
    assert ops_in(exported.graph_module) == set()


def test_without_the_extension_a_graph_is_made_of_what_torch_can_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_native", None)
    module, inputs, _ = example("LayerEpilogue")
    graphs = Graphs()
    with use_backend("auto"):
        outcome(torch.compile(module, backend=graphs.backend, fullgraph=True), module, inputs)
    assert graphs.ops == set()
