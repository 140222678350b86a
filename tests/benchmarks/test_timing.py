import time

import pytest
import torch
from harness.timing import CpuClock, Effort, fastest, measure, summary
from harness.work import Inputs, Work


class ClockOfKnownTimes:
    graph = False

    def __init__(self, name: str, times: list[float], log: list[str]) -> None:
        self.name, self.times, self.log = name, iter(times), log

    def block(self) -> float:
        self.log.append(self.name)
        return next(self.times)


def test_summary_is_median_and_interquartile_range():
    timing = summary([1.0, 2.0, 3.0, 4.0, 100.0])
    assert timing.ms == pytest.approx(3000)
    assert timing.spread == pytest.approx((4 - 2) / 3)
    assert timing.rounds == 5


def test_rounds_take_turns_and_turn_the_order():
    log: list[str] = []
    clocks = {name: ClockOfKnownTimes(name, [k + 1.0, k + 2.0, k + 6.0], log) for k, name in enumerate("abc")}
    timings = measure(clocks, Effort(rounds=3, seconds=60))
    assert "".join(log) == "abc" + "bca" + "cab"
    assert [timings[name].ms for name in "abc"] == [2000, 3000, 4000]


def test_three_rounds_are_measured_however_slow():
    clocks = {"a": ClockOfKnownTimes("a", [1.0] * 9, [])}
    assert measure(clocks, Effort(rounds=9, seconds=0))["a"].rounds == 3


def sleeping(seconds: float) -> Work:
    def function(x: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        return x + 1

    return Work(function, Inputs([(torch.zeros(3),) for _ in range(2)], [0], []), "fwd")


def test_cpu_clock_tells_the_seconds_of_one_call():
    assert 0.01 <= CpuClock(sleeping(0.01)).block() < 0.1


def test_allocators_are_warm_before_the_clock_starts():
    calls: list[int] = []
    inputs = Inputs([(torch.zeros(3),) for _ in range(5)], [0], [])
    CpuClock(Work(lambda x: calls.append(x.data_ptr()) or x + 1, inputs, "fwd"))
    assert all(calls.count(x.data_ptr()) >= 3 for (x,) in inputs.arguments)


def test_the_fastest_way_of_writing_an_op_is_kept():
    slow, fast = sleeping(0.02), sleeping(0.0)
    assert fastest([slow, fast], torch.device("cpu")) is fast
