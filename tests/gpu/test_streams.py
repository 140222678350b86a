"""Kernels run in the current stream of x's device, also while a graph is captured, and take scratch memory there."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from .device import DEVICE, back
from .workloads import LARGER, TINY, Workload, arguments, results

pytestmark = pytest.mark.gpu

WORK = {**TINY, **{f"larger {name}": work for name, work in LARGER.items()}}
CYCLES = 500_000_000  # about a quarter of a second: far longer than the calls take to be queued


def assert_equal(ours: list[Tensor], expected: list[Tensor]) -> None:
    assert len(ours) == len(expected)
    for mine, theirs in zip(ours, expected, strict=True):
        assert torch.equal(mine, theirs)


def fill_freed_memory_with_nan() -> None:
    """What is freed is handed out again: scratch memory of somebody else would now hold NaN."""
    for size in (1 << 8, 1 << 12, 1 << 16, 1 << 20, 1 << 22):
        for _ in range(4):
            torch.full((size,), float("nan"), device=DEVICE)


@pytest.mark.parametrize("name", WORK)
def test_a_captured_graph_replays_what_eager_mode_computes(name: str) -> None:
    work = WORK[name]
    static = arguments(work, DEVICE)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):  # a kernel is loaded when it first runs, which cannot happen during a capture
            results(work, static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results(work, static)
    for seed in (1, 2):
        fresh = arguments(work, DEVICE, seed=seed)
        for old, new in zip(static, fresh, strict=True):
            old.copy_(new)
        fill_freed_memory_with_nan()
        graph.replay()
        assert_equal(captured, results(work, fresh))


@pytest.mark.parametrize("name", WORK)
def test_calls_wait_for_their_stream_and_the_caller_for_nothing(name: str) -> None:
    work = WORK[name]
    fresh = arguments(work, DEVICE)
    expected = results(work, fresh)
    late = [torch.empty_like(t) for t in fresh]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results(work, fresh)  # the stream's memory is there, every kernel is loaded
        for tensor in late:
            tensor.fill_(float("nan"))
        stream.synchronize()
        torch.cuda._sleep(CYCLES)
        for old, new in zip(late, fresh, strict=True):
            old.copy_(new)
        ours = results(work, late)
    assert not stream.query(), "a call waited for the device"
    stream.synchronize()
    assert_equal(ours, expected)


@pytest.mark.parametrize("name", LARGER)
def test_streams_and_threads_share_no_scratch_memory(name: str) -> None:
    work = LARGER[name]
    inputs = [arguments(work, DEVICE, seed=seed) for seed in range(4)]
    expected = [results(work, tensors) for tensors in inputs]
    torch.cuda.synchronize()

    def repeatedly(tensors: list[Tensor]) -> list[list[Tensor]]:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            found = [results(work, tensors) for _ in range(5)]
        stream.synchronize()
        return found

    with ThreadPoolExecutor(len(inputs)) as pool:
        for runs, theirs in zip(pool.map(repeatedly, inputs), expected, strict=True):
            for ours in runs:
                assert_equal(ours, theirs)


@pytest.mark.parametrize("name", ["adain, several slices", "bias_act, swish", "upfirdn2d, up"])
def test_a_tensor_on_another_device_is_computed_there(name: str) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device; this needs two")
    work: Workload = TINY[name]
    first, second = torch.device("cuda", 0), torch.device("cuda", 1)
    expected = back(results(work, arguments(work, first)))
    for device in (second, first, second):
        ours = results(work, arguments(work, device))
        assert torch.cuda.current_device() == 0
        assert {t.device for t in ours} == {device}
        # Two models of GPU may contract and divide alike, but nothing promises it.
        for mine, theirs in zip(back(ours), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
