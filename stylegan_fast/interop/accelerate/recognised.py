"""Modules of other projects that our ops can compute, recognised by what they hold and proved by what they return.

A recogniser looks at a module's attributes and proposes forward functions. Each is held against the module's own on
random inputs, values and gradients; the first that agrees is taken, and a module none agrees with stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.interop.accelerate.sequential import has_hooks
from stylegan_fast.ops import adain, bias_act, upfirdn2d

Forward = Callable[..., Tensor]

# Of the largest value: what another order of float32 sums leaves.
TOLERANCE = 2e-5


class Proposal:
    """A function of (module, *inputs) that may stand for ``module.forward``, and inputs to prove it on.

    Args:
        text: what it is, for the report.
        forward: the function.
        inputs: shapes of inputs to try; the first is an image.
        passed_by: children of the module that the function does without: they must have no hooks.
        assigned: attributes that are tensors while it runs, set by its users: shapes to try.
    """

    def __init__(
        self,
        text: str,
        forward: Forward,
        inputs: list[tuple[int, ...]],
        passed_by: tuple[nn.Module, ...] = (),
        assigned: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.text = text
        self.forward = forward
        self.inputs = inputs
        self.passed_by = passed_by
        self.assigned = dict(assigned or {})


def proposals(module: nn.Module) -> Iterator[Proposal]:
    """What the module might be."""
    for recognise in (_fused_leaky_relu, _filter, _style_norm, _assigned_norm):
        yield from recognise(module)


def agrees(module: nn.Module, proposal: Proposal) -> bool:
    """Whether the module's own forward returns the same, values and gradients, on random inputs."""
    reference = next((t for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()), None)
    like = torch.zeros(0) if reference is None else reference
    tolerance = TOLERANCE * max(torch.finfo(like.dtype).eps / torch.finfo(torch.float32).eps, 1)
    draw = torch.Generator().manual_seed(0)
    shapes = [*proposal.inputs, *proposal.assigned.values()]
    inputs = [torch.randn(shape, generator=draw).to(like) for shape in shapes]
    before = {name: vars(module)[name] for name in proposal.assigned}
    results = []
    try:
        for function in (type(module).forward, proposal.forward):
            leaves = [tensor.clone().requires_grad_() for tensor in inputs]
            vars(module).update(zip(proposal.assigned, leaves[len(proposal.inputs) :], strict=True))
            with torch.enable_grad():
                y = function(module, *leaves[: len(proposal.inputs)])
                dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(like)
                results.append([y, *torch.autograd.grad(y, leaves, dy)])
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError):
        return False  # it takes other inputs than supposed: not the module meant
    finally:
        vars(module).update(before)
    return all(difference(a, b) <= tolerance for a, b in zip(*results, strict=True))


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest, as a share of the largest magnitude; inf where one is not finite and the other is."""
    if ours.shape != theirs.shape:
        return math.inf
    if theirs.numel() == 0 or torch.equal(ours, theirs):
        return 0.0
    ours, theirs = ours.detach().double(), theirs.detach().double()
    gap, size = float((ours - theirs).abs().max()), float(theirs.abs().max())
    return gap / max(size, 1e-30) if math.isfinite(gap) else math.inf


def _holds_nothing(found: Iterator[Any]) -> bool:
    return next(found, None) is None


def _fused_leaky_relu(module: nn.Module) -> Iterator[Proposal]:
    """Bias, leaky ReLU and scale in PyTorch (rosinality's and its relatives', on machines without a compiler)."""
    slope, scale, bias = (getattr(module, name, None) for name in ("negative_slope", "scale", "bias"))
    if isinstance(slope, float) and _holds_nothing(module.children()) and not isinstance(module, nn.LeakyReLU):
        if isinstance(bias, Tensor) and bias.ndim == 1 and isinstance(scale, float):
            yield Proposal("bias, leaky ReLU and scale in one pass", _biased, [(2, len(bias), 5, 6)])
        elif bias is None:
            yield Proposal("leaky ReLU and scale in one pass", _scaled, [(2, 3, 5, 6)])


def _biased(module: Any, x: Tensor) -> Tensor:
    return bias_act(x, module.bias, act="lrelu", alpha=module.negative_slope, gain=module.scale)


def _scaled(module: Any, x: Tensor) -> Tensor:
    return bias_act(x, act="lrelu", alpha=module.negative_slope, gain=getattr(module, "scale", None))


def _filter(module: nn.Module) -> Iterator[Proposal]:
    """Blurs, up- and downsamplers with a fixed filter in a buffer."""
    if not (_holds_nothing(module.parameters()) and _holds_nothing(module.children())):
        return
    kernel = getattr(module, "kernel", None)
    if not isinstance(kernel, Tensor) or kernel.ndim not in (2, 4):
        kernel = getattr(module, "weight", None)
    if not isinstance(kernel, Tensor) or kernel.ndim not in (2, 4) or kernel.requires_grad:
        return
    if kernel.ndim == 4 and (kernel.shape[1] != 1 or not torch.equal(kernel, kernel[:1].expand_as(kernel))):
        return
    channels = kernel.shape[0] if kernel.ndim == 4 and kernel.shape[0] > 1 else 3
    f = kernel if kernel.ndim == 2 else kernel[0, 0]
    name = "kernel" if kernel is getattr(module, "kernel", None) else "weight"
    factor = getattr(module, "factor", 1)
    pad = getattr(module, "pad", None)
    if isinstance(pad, tuple) and len(pad) == 2 and isinstance(factor, int):
        sides = [pad[0], pad[1], pad[0], pad[1]]
        ways = [(1, 1)] if factor == 1 else [(factor, 1), (1, factor)]
    else:
        stride = getattr(module, "stride", 1)
        before_x, before_y = (f.shape[1] - 1) // 2, (f.shape[0] - 1) // 2
        sides = [before_x, before_x, before_y, before_y]
        ways = [(1, stride)] if isinstance(stride, int) else []
    for up, down in ways:

        def forward(module: Any, x: Tensor, up: int = up, down: int = down) -> Tensor:
            taps = getattr(module, name)
            taps = taps if taps.ndim == 2 else taps[0, 0]
            # A depthwise convolution correlates; the projects' upfirdn2d convolves. The proof tells them apart.
            return upfirdn2d(x, taps, up=up, down=down, padding=sides, flip_filter=kernel.ndim == 4)

        yield Proposal("fixed filter", forward, [(2, channels, 12, 14)])


def _style_norm(module: nn.Module) -> Iterator[Proposal]:
    """AdaIN: an instance norm without parameters and a map from style to scale and shift."""
    children = list(module.named_children())
    norms = [(name, child) for name, child in children if isinstance(child, nn.InstanceNorm2d)]
    others = [(name, child) for name, child in children if not isinstance(child, nn.InstanceNorm2d)]
    if len(norms) != 1 or len(others) != 1 or not _holds_nothing(module.parameters(recurse=False)):
        return
    (norm_name, norm), (map_name, style_map) = norms[0], others[0]
    linear = next((m for m in style_map.modules() if isinstance(m, nn.Linear)), None)
    if norm.affine or norm.track_running_stats or linear is None or linear.out_features != 2 * norm.num_features:
        return
    shapes = [(2, norm.num_features, 6, 5), (2, linear.in_features)]
    original: Any = type(module)
    for text, one in (("AdaIN with scale 1 + style", 1.0), ("AdaIN", 0.0)):

        def forward(module: Any, x: Tensor, style: Tensor, one: float = one) -> Tensor:
            if has_hooks(getattr(module, norm_name)):  # which came after the module was accelerated
                return original.forward(module, x, style)
            scale, shift = getattr(module, map_name)(style).chunk(2, dim=1)
            return adain(x, scale + one, shift, eps=getattr(module, norm_name).eps)

        yield Proposal(text, forward, shapes, (norm,))


def _assigned_norm(module: nn.Module) -> Iterator[Proposal]:
    """MUNIT's AdaIN: an instance norm by way of batch norm, whose weight and bias are set before each call."""
    count, eps = getattr(module, "num_features", None), getattr(module, "eps", None)
    if "Adaptive" not in type(module).__name__ or not isinstance(count, int) or not isinstance(eps, float):
        return
    if not (_holds_nothing(module.parameters()) and _holds_nothing(module.children())):
        return
    if not {"weight", "bias"} <= vars(module).keys():
        return

    original: Any = type(module)

    def forward(module: Any, x: Tensor) -> Tensor:
        if module.weight is None or module.bias is None:
            return original.forward(module, x)  # says itself what is missing
        n, c = x.shape[:2]
        return adain(x, module.weight.view(n, c), module.bias.view(n, c), eps=module.eps)

    assigned = {"weight": (2 * count,), "bias": (2 * count,)}
    yield Proposal("AdaIN with assigned scale and shift", forward, [(2, count, 6, 5)], assigned=assigned)
