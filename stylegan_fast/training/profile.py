"""``--profile``: where the time of a step goes, as a trace and as a table by phase."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from stylegan_fast.training.loop import Loop
from stylegan_fast.training.observer import Observer

SKIPPED_STEPS = 4  # the first ones choose algorithms and reserve memory
PROFILED_STEPS = 4
# The names that ``Trainer`` gives to the parts of a step.
_PHASE_PREFIXES = ("D: ", "G: ", "average of G", "average over ranks", "Adam")


class Profile(Observer):
    """Watches a few pairs of steps, writes ``trace.json`` (for chrome://tracing or ui.perfetto.dev) and ``profile.txt``
    into the run's folder, and says the table. The first rank's time only."""

    def __init__(self) -> None:
        self._steps = 0
        self._profile: Any = None

    def step_begins(self, loop: Loop) -> None:
        if self._steps == SKIPPED_STEPS and loop.folder is not None:
            activities = [ProfilerActivity.CPU]
            if loop.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profile = profile(activities=activities, acc_events=True)
            self._profile.start()
        self._steps += 1

    def step_ends(self, loop: Loop, values: dict[str, Tensor]) -> None:
        if self._steps == SKIPPED_STEPS + PROFILED_STEPS and self._profile is not None:
            self._write(loop)

    def end(self, loop: Loop) -> None:
        if self._profile is not None:  # a run shorter than what was to be watched
            self._write(loop)

    def _write(self, loop: Loop) -> None:
        assert loop.folder is not None
        finished, self._profile = self._profile, None
        if loop.device.type == "cuda":
            torch.cuda.synchronize(loop.device)
        finished.stop()
        finished.export_chrome_trace(str(loop.folder.path / "trace.json"))
        table = phase_table(finished.key_averages(), loop.device.type)
        (loop.folder.path / "profile.txt").write_text(table + "\n", encoding="utf-8")
        loop.say(table)


def phase_table(events: Any, device_type: str) -> str:
    """The phases of a step by share of the time, from the averages of torch's profiler.

    On a GPU that is the time of its kernels, else the time of the thread that runs the steps.
    """
    attribute = "device_time_total" if device_type == "cuda" else "cpu_time_total"
    totals = {event.key: getattr(event, attribute) for event in events if event.key.startswith(_PHASE_PREFIXES)}
    whole = sum(totals.values()) or 1.0
    lines = ["phase                     share   ms a step"]
    for name, microseconds in sorted(totals.items(), key=lambda item: -item[1]):
        lines.append(f"{name:24} {100 * microseconds / whole:5.1f}%  {microseconds / 1000 / PROFILED_STEPS:10.2f}")
    return "\n".join(lines)
