import pytest
import torch
from harness.memory import peak_bytes, saved_bytes
from harness.work import Inputs, Work
from torch import Tensor

CPU = torch.device("cpu")
SIZE = 64 * 64 * 4
SCALARS = 256  # the number in x + 1 becomes a tensor

needs_profiler = pytest.mark.skipif(not torch.profiler.kineto_available(), reason="torch was built without kineto")


def work_of(function, direction: str) -> Work:
    gradients = direction != "fwd"
    inputs = Inputs([(torch.ones(64, 64, requires_grad=gradients),)], [0], [torch.ones(64, 64)] if gradients else [])
    return Work(function, inputs, direction)


def in_two_steps(x: Tensor) -> Tensor:
    return (x.exp() + 1).sin()  # two tensors at any moment, the result among them


@needs_profiler
def test_peak_of_a_forward_pass_counts_temporaries_and_the_result():
    assert peak_bytes(work_of(in_two_steps, "fwd"), CPU) == pytest.approx(2 * SIZE, abs=SCALARS)


@needs_profiler
def test_peak_of_a_backward_pass_is_beyond_what_the_forward_pass_left():
    assert peak_bytes(work_of(torch.exp, "bwd"), CPU) == SIZE  # dx
    assert peak_bytes(work_of(torch.exp, "fwdbwd"), CPU) == 2 * SIZE  # and y


def test_saved_counts_each_memory_once():
    assert saved_bytes(work_of(torch.exp, "bwd")) == SIZE  # y
    assert saved_bytes(work_of(lambda x: x * x, "bwd")) == SIZE  # x, as both factors
    assert saved_bytes(work_of(lambda x: x + 1, "bwd")) == 0
    assert saved_bytes(work_of(torch.exp, "fwd")) is None


def test_looking_at_what_is_saved_leaves_no_graph_behind():
    work = work_of(torch.exp, "bwd")  # y, which its own graph saves
    x = work.arguments[0][0]
    found = []

    def function(x: Tensor) -> Tensor:
        y = x.exp()
        assert y.grad_fn is not None
        node = y.grad_fn.next_functions[0][0]  # of the leaf: the same as long as any graph with it lives
        assert node is not None
        node.metadata["seen"] = True
        found.append(dict(node.metadata))
        return y

    work.function = function
    saved_bytes(work)
    assert found == [{"seen": True}]
    view = x.view_as(x).grad_fn
    assert view is not None
    assert view.next_functions[0][0].metadata == {}
