"""Layers under activation checkpoints, which run them twice and hand out saved tensors once."""

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tests.layers.examples import LAYERS, example, run


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_activation_checkpoints_change_nothing(name: str, reentrant: bool, backend: str) -> None:
    layer, inputs = example(name)

    def forward(*tensors: Tensor) -> Tensor:
        return run(layer, list(tensors))

    found = []
    for wrapped in (False, True):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        layer.zero_grad()
        y = checkpoint(forward, *leaves, use_reentrant=reentrant) if wrapped else forward(*leaves)
        y.square().sum().backward()
        found.append([y, *(leaf.grad for leaf in leaves), *(p.grad for p in layer.parameters())])
    torch.testing.assert_close(found[1], found[0])
