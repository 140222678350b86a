import math

import pytest
import torch
from harness.benchmark import Case, Setting
from harness.work import CopyWork, FreshCopyWork, Inputs, Work, copies_of, disagreements, draw_inputs, sets_beyond
from torch import Tensor

CASE = Case(
    title="",
    x_shape=lambda resolution, batch: (batch, 3, resolution, resolution),
    y_shape=lambda resolution, batch: (batch, 3, resolution, resolution),
    parameters=lambda x: [((x[1],), True), ((x[2],), False)],
    functions=lambda setting: {},
)


def setting(direction: str, layout: str = "contiguous") -> Setting:
    return Setting(torch.device("cpu"), "fp32", layout, direction, 2)


def scaled(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return x.square() * a[:, None, None] + b


def test_inputs_rotate_over_more_than_twice_the_cache():
    x_bytes = 2 * 3 * 8 * 8 * 4
    inputs = draw_inputs(CASE, 8, setting("fwd"), cache=10 * x_bytes)  # each call reads x and writes as much
    assert inputs.count == 10
    assert len({arguments[0].data_ptr() for arguments in inputs.arguments}) == 10
    assert inputs.dy == []
    assert sets_beyond(cache=1000, size=10**9) == 2


def test_inputs_have_the_layout_and_gradients_asked_for():
    inputs = draw_inputs(CASE, 8, setting("bwd", "channels_last"), cache=0)
    x, a, b = inputs.arguments[0]
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert inputs.dy[0].is_contiguous(memory_format=torch.channels_last)
    assert (x.requires_grad, a.requires_grad, b.requires_grad) == (True, True, False)
    assert inputs.differentiated == [0, 1]
    assert float(x.detach().std()) > 0.5


@pytest.mark.parametrize("direction", ["bwd", "fwdbwd"])
@pytest.mark.parametrize("keep_graphs", [False, True])
def test_backward_gives_the_gradients_again_and_again(direction: str, keep_graphs: bool):
    inputs = draw_inputs(CASE, 4, setting(direction), cache=0)
    work = Work(scaled, inputs, direction, keep_graphs)
    if keep_graphs:
        work.prepare(0, inputs.count)
    for index in range(5):
        if not keep_graphs:
            work.prepare(index, 1)
        work.call(index)
        x, a, _ = inputs.arguments[index % inputs.count]
        dy = inputs.dy[index % inputs.count]
        dx, da = work.result(index)
        torch.testing.assert_close(dx, 2 * x.detach() * a.detach()[:, None, None] * dy)
        torch.testing.assert_close(da, (x.detach().square() * dy).sum((0, 2, 3)))


def test_a_graph_used_up_is_not_measured_again():
    work = Work(scaled, draw_inputs(CASE, 4, setting("bwd"), cache=0), "bwd")
    work.prepare(0, 1)
    work.call(0)
    with pytest.raises(KeyError):
        work.call(0)


def gradient_node(x: Tensor) -> torch.autograd.graph.Node:
    """Where the gradient of a leaf arrives: one node as long as any graph with the leaf lives, then a new one."""
    node = x.view_as(x).grad_fn
    assert node is not None
    found = node.next_functions[0][0]
    assert found is not None
    return found


def test_works_share_memory_but_no_gradient_nodes():
    inputs = draw_inputs(CASE, 4, setting("bwd"), cache=0)
    works = [Work(scaled, inputs, "bwd", keep_graphs=True) for _ in range(2)]
    for work in works:
        work.prepare(0, 1)
    x, same = (work.arguments[0][0] for work in works)
    assert x.data_ptr() == same.data_ptr()
    gradient_node(x).metadata["first"] = True
    assert "first" in gradient_node(x).metadata
    assert "first" not in gradient_node(same).metadata
    works[0].start_over()
    assert "first" not in gradient_node(works[0].arguments[0][0]).metadata


def test_forward_alone_builds_no_graph():
    x = torch.zeros(1, 3, 4, 4, requires_grad=True)
    work = Work(lambda x: x * 2, Inputs([(x,)], [0], []), "fwd")
    work.call(0)
    assert not work.result(0)[0].requires_grad


def test_results_live_until_their_inputs_come_round_again():
    work = Work(scaled, draw_inputs(CASE, 4, setting("fwd"), cache=0), "fwd")
    for index in range(2):
        work.call(index)
    assert work.result(0)[0].data_ptr() != work.result(1)[0].data_ptr()


def test_copies_copy_the_larger_of_input_and_output():
    inputs = draw_inputs(CASE, 4, setting("fwd"), cache=0)
    for y_shape, numbers in (((2, 3, 4, 4), 96), ((2, 3, 8, 8), 384)):
        in_place, fresh = copies_of(inputs, y_shape, setting("fwd"))
        for work in (*in_place, fresh):
            work.call(1)
            assert work.result(1)[0].numel() == numbers
            torch.testing.assert_close(work.result(1)[0], work.inputs.arguments[1][0])


def test_on_cuda_the_faster_of_copying_and_negating_is_the_copy():
    on_cuda = Setting(torch.device("cuda"), "fp32", "contiguous", "fwd", 2)
    (copy, negation), _ = copies_of(draw_inputs(CASE, 4, setting("fwd"), cache=0), (2, 3, 4, 4), on_cuda)
    x = copy.inputs.arguments[0][0]
    for work, expected in ((copy, x), (negation, -x)):
        work.call(0)
        torch.testing.assert_close(work.result(0)[0], expected)


def test_only_a_fresh_copy_allocates():
    sources, targets = ([torch.full((2, 3), value) for _ in range(2)] for value in (1.0, 0.0))
    in_place, fresh = CopyWork(sources, targets, Tensor.copy_), FreshCopyWork(sources)
    in_place.start_over()
    in_place.call(0)
    assert in_place.result(0)[0].data_ptr() == targets[0].data_ptr()
    fresh.call(0)
    assert fresh.result(0)[0].data_ptr() not in (targets[0].data_ptr(), sources[0].data_ptr())


def test_disagreements_are_relative_and_nan_is_infinitely_far():
    one = torch.ones(4)
    found = disagreements([one * 1.1, one, one * math.nan], [one, one, one])
    assert found == [pytest.approx(0.1), 0, math.inf]
