"""What is said about the time."""

import pytest

from stylegan_fast.durations import duration
from stylegan_fast.training.progress import TimeLeft, bar_text, tick_line
from stylegan_fast.training.schedule import Schedule


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m"), (370_000, "4d06h")],
)
def test_durations_are_short_and_rounded(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_counts_resolutions_not_yet_seen_as_slower() -> None:
    schedule = Schedule(16, 100.0)  # 8x8 to 2.4 kimg, then 16x16
    left = TimeLeft(schedule, 100_000)
    left.saw(8, 0.001)
    assert left.seconds(2400) == pytest.approx(97.6 * 3.0)
    left.saw(16, 0.002)
    assert left.seconds(2400) == pytest.approx(97.6 * 2.0)
    assert left.seconds(100_000) == 0


def test_a_tick_line_has_all_a_person_asks_for() -> None:
    row = {"tick": 7, "kimg": 12.34, "lod": 1.5, "resolution": 16, "D_loss": 0.8, "G_loss": 1.2, "R1": 0.03,
           "images_per_second": 210.0, "seconds_per_kimg": 4.76, "memory_gb": 1.2, "data_wait": 0.031,
           "skipped_steps": 2, "seconds": 61.0}  # fmt: skip
    line = tick_line(row, 25.0, 3600)
    for part in ("kimg 12.3/25", "lod 1.50", "16x16", "D 0.800", "G 1.200", "R1 0.030", "210.0 img/s", "4.76 s/kimg",
                 "mem 1.2 GB", "data wait 3%", "skipped 2", "time 1m01s", "left 1h00m"):  # fmt: skip
        assert part in line
    assert "skipped" not in tick_line({**row, "skipped_steps": 0}, 25.0, 3600)
    assert all(part in bar_text(row, 5.0) for part in ("lod 1.50", "16x16", "D 0.80", "wait 3%", "left 5s"))
