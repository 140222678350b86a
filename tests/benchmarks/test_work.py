import math

import pytest
import torch
from harness.benchmark import Case, Setting
from harness.work import CopyWork, Inputs, Work, copy_works, disagreements, draw_inputs, sets_beyond
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
    inputs = draw_inputs(CASE, 8, setting("fwd"), cache=10 * x_bytes)
    assert inputs.count == 20
    assert len({arguments[0].data_ptr() for arguments in inputs.arguments}) == 20
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
    same, larger = copy_works(inputs, (2, 3, 4, 4), setting("fwd")), copy_works(inputs, (2, 3, 8, 8), setting("fwd"))
    for works, numbers in ((same, 96), (larger, 384)):
        for work in works.values():
            work.call(1)
            assert work.result(1)[0].numel() == numbers
            torch.testing.assert_close(work.result(1)[0], work.inputs.arguments[1][0])


def test_only_a_fresh_copy_allocates():
    sources = [torch.ones(2, 3), torch.ones(2, 3)]
    in_place, fresh = CopyWork(sources, fresh=False), CopyWork(sources, fresh=True)
    target = in_place.result(0)[0].data_ptr()
    in_place.call(0)
    assert in_place.result(0)[0].data_ptr() == target
    fresh.call(0)
    assert fresh.result(0)[0].data_ptr() not in (target, sources[0].data_ptr())


def test_disagreements_are_relative_and_nan_is_infinitely_far():
    one = torch.ones(4)
    found = disagreements([one * 1.1, one, one * math.nan], [one, one, one])
    assert found == [pytest.approx(0.1), 0, math.inf]
