"""`accelerate`: lets anybody's model compute with our ops what they compute faster."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.interop.accelerate.recognised import agrees, difference, proposals
from stylegan_fast.interop.accelerate.report import Entry, Report
from stylegan_fast.interop.accelerate.sequential import Sequential, has_hooks, slope_of
from stylegan_fast.layers import InstanceNorm2d
from stylegan_fast.ops import library

__all__ = ["Entry", "Report", "accelerate"]

_OURS = "_computed_by_stylegan_fast"  # of the classes modules get
_NORMS = (nn.InstanceNorm2d, InstanceNorm2d)


def accelerate(model: nn.Module, sample_input: Any = None, *, dry_run: bool = False, tolerance: float = 1e-4) -> Report:
    """Makes a model's modules compute with our ops, in place, where these do the same faster.

    Replaced are ``InstanceNorm2d`` (together with a ReLU or leaky ReLU that follows it in a ``Sequential``), AdaIN
    modules, bias with leaky ReLU and scale, blurs and other fixed filters. A module other than ``InstanceNorm2d`` is
    replaced only if it returns the same as our op on random inputs, values and gradients. Modules, parameters, state
    dict and hooks stay what they are: a module gets another class, a subclass of its own. (So a model that is pickled
    whole needs ``revert()`` first; state dicts do not.)

    Args:
        model: any module, in the mode in which it will be used.
        sample_input: the model's input, a tuple of inputs or a dict of named ones, to measure the outputs before and
            after. The model is run on it twice, without gradients; its buffers and the random state are put back.
        dry_run: report and leave the model as it is.
        tolerance: the largest difference of an output that is taken for rounding, as a share of its largest value. A
            model whose output on the sample input changes by more is left as it was, and the report says so.

    Returns:
        What was replaced, what was not and why, and the largest difference on the sample input. ``print`` it.
    """
    report = Report(dry_run=dry_run)
    device = next((tensor.device.type for tensor in [*model.parameters(), *model.buffers()]), "cpu")
    obstacle = library.obstacle_on(device) if device in library.COMPILED else f"there are no kernels for {device}"
    if obstacle:
        report.kept.append(Entry("", type(model).__name__, f"left as it is: {obstacle}"))
        return report
    before = None if sample_input is None else _outputs(model, sample_input)
    for name, module in list(model.named_modules()):
        _consider(name, module, report)
    _note_convolutions(model, report)
    if before is not None:
        gaps = [difference(a, b) for a, b in zip(_outputs(model, sample_input), before, strict=True)]
        report.largest_difference = max(gaps, default=0.0)
        if not report.largest_difference <= tolerance:
            report.revert()
            changed = f"undone: an output changes by {report.largest_difference:.2g}, more than {tolerance:g}"
            report.kept += [Entry(entry.name, entry.class_name, changed) for entry in report.replaced]
            report.replaced.clear()
    if dry_run:
        report.revert()
    return report


def _consider(name: str, module: nn.Module, report: Report) -> None:
    kind = type(module)

    def replace(new: type[nn.Module], text: str) -> None:
        report.originals.append((module, kind))
        report.replaced.append(Entry(name, kind.__name__, text))
        module.__class__ = new

    def keep(reason: str) -> None:
        report.kept.append(Entry(name, kind.__name__, reason))

    if isinstance(module, Sequential | InstanceNorm2d) or getattr(kind, _OURS, False):
        return
    if "forward" in vars(module):
        if isinstance(module, nn.InstanceNorm2d):
            keep("its forward was replaced by somebody else")
    elif kind is nn.InstanceNorm2d and module.track_running_stats:
        # Measured at 2x64x64x64 in training: 3.5 ms against torch's 1.2; in evaluation it is no instance norm.
        keep("it keeps running statistics, and their pass takes longer than the norm saves")
    elif kind is nn.InstanceNorm2d:
        replace(InstanceNorm2d, "instance norm")
    elif isinstance(module, nn.Sequential) and kind is nn.Sequential:
        fused = [(a, b) for a, b in pairwise(module) if _normalises(a) and slope_of(b) is not None]
        if any(not has_hooks(a) and not has_hooks(b) for a, b in fused):
            replace(Sequential, "instance norm and activation in one pass")
        elif fused:
            keep("a hook listens between instance norm and activation")
    elif isinstance(module, nn.InstanceNorm2d):
        keep("a subclass of InstanceNorm2d, which may do something else")
    else:
        candidates = list(proposals(module))
        for candidate in candidates:
            if any(has_hooks(child) for child in candidate.passed_by):
                keep("a hook listens inside")
                return
            if agrees(module, candidate):
                replace(_subclass(kind, candidate.forward), candidate.text)
                return
        if candidates:
            keep("it does not return what our op does")


def _normalises(module: nn.Module) -> bool:
    return type(module) in _NORMS and not module.track_running_stats


def _subclass(kind: type[nn.Module], forward: Any) -> type[nn.Module]:
    # Under the same name: some projects find their modules by it.
    attributes = {"forward": forward, "__module__": kind.__module__, "__qualname__": kind.__qualname__, _OURS: True}
    return type(kind.__name__, (kind,), attributes)


def _note_convolutions(model: nn.Module, report: Report) -> None:
    """Says of convolutions with a bias and an activation after them why they stay."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Sequential):
            for a, b in pairwise(module):
                if type(a) is nn.Conv2d and a.bias is not None and slope_of(b) is not None:
                    text = "convolution, bias and activation: the convolution adds its bias at no cost"
                    report.kept.append(Entry(name, type(a).__name__, text))


def _outputs(model: nn.Module, sample_input: Any) -> list[Tensor]:
    """The tensors the model returns, with the same random numbers each time and no trace left in it."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices), _same_choices():
        torch.manual_seed(0)
        try:
            if isinstance(sample_input, Mapping):
                result = model(**sample_input)
            elif isinstance(sample_input, tuple):
                result = model(*sample_input)
            else:
                result = model(sample_input)
            return [tensor.clone() for tensor in _tensors(result)]
        finally:
            for buffer, content in buffers:
                buffer.copy_(content)


@contextlib.contextmanager
def _same_choices() -> Iterator[None]:
    """Python's own random numbers, from which some models draw where styles mix."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from _tensors(value)
    elif isinstance(result, list | tuple):
        for value in result:
            yield from _tensors(value)
