"""What is read of a run's folder, and what is made of its numbers."""

import json
from pathlib import Path

import pytest

from stylegan_fast.errors import UserError
from stylegan_fast.reporting import read_run
from stylegan_fast.reporting.charts import axis_label, axis_ticks, charts_of, metric_values, thinned
from tests.reporting.runs import row, write_run


def test_snapshots_are_in_order_and_begin_before_training(tmp_path: Path) -> None:
    record = read_run(write_run(tmp_path / "00003-cats", snapshots=4))
    assert [snapshot.kimg for snapshot in record.snapshots] == [None, 3, 6, 9, 12]
    assert (record.name, len(record.ticks), record.config["kimg"]) == ("00003-cats", 9, 10.0)


def test_speed_is_told_for_each_phase_of_growth(tmp_path: Path) -> None:
    phases = read_run(write_run(tmp_path / "run")).phases()
    assert [(phase.label, phase.kimg) for phase in phases] == [("8×8", 3), ("16×16, fading in", 3), ("16×16", 3)]
    assert [phase.images_per_second for phase in phases] == pytest.approx([100, 25, 25])
    assert [phase.seconds for phase in phases] == pytest.approx([30, 120, 120])
    assert phases[1].data_wait == pytest.approx(0.1)


def test_events_are_what_the_log_says_beside_ticks_and_the_steps_skipped(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    with open(folder / "stats.jsonl", "a") as file:
        for tick, skipped in ((10, 0), (11, 3), (12, 3), (13, 4)):
            file.write(json.dumps(row(tick, skipped_steps=skipped)) + "\n")
    events = read_run(folder).events()
    assert events[:2] == ["run      somewhere", "resuming at 4.000 kimg"]
    assert [event[:16] for event in events[2:]] == ["3 steps skipped,", "1 steps skipped,"]
    assert "11.000 kimg" in events[2]


def test_damaged_lines_and_missing_files_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "stats.jsonl").write_bytes(
        b'{"images": 1000, "kimg": 1.0, "lr": null, "lod": 0.0, "D_loss": "much"}\n[1]\n\xff\xfe\n{"kimg": 2.0, "R1"'
    )
    record = read_run(folder)
    assert len(record.ticks) == 1
    assert [chart.title for chart in charts_of(record)] == ["Level of detail"]
    assert (record.phases(), record.events(), record.config) == ([], [], {})


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither config\.json nor stats\.jsonl"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_run(tmp_path / "none")


def test_charts_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", augment_p=0.25, D_cost=2.0)
    metrics = [
        {"kimg": 3.0, "metric": "swd", "results": {"swd": 9.0, "swd_16": 8.0}},
        {"kimg": 6.0, "metric": "swd", "results": {"swd": 7.5, "swd_16": None}},
        {"kimg": 6.0, "metric": "swd", "results": {"swd": 7.0}},
        {"kimg": 6.0, "metric": "fid50k", "results": {"fid": 50, "x": "?"}},
        {"kimg": None, "metric": "swd", "results": {"swd": 1.0}},
        {"kimg": 9.0, "metric": "swd", "results": [1.0]},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in metrics))
    charts = {chart.title: chart for chart in charts_of(read_run(folder))}
    assert list(charts)[:4] == ["Losses", "Scores", "R1 penalty", "Augmentation and overfitting"]
    assert {"swd", "swd: swd_16", "fid50k: fid", "D_cost"} <= charts.keys()
    assert "tick" not in charts
    assert [series.label for series in charts["Losses"].series] == ["D", "G"]
    assert [series.label for series in charts["Augmentation and overfitting"].series] == ["p"]  # no sign in these ticks
    assert charts["swd"].series[0].points == [(3.0, 9.0), (6.0, 7.0)]
    assert metric_values(metrics)["swd: swd_16"] == [(3.0, 8.0)]


def test_axes_have_round_numbers() -> None:
    assert axis_ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert axis_ticks(-0.13, 0.52, 4) == pytest.approx([0, 0.2, 0.4])
    assert axis_ticks(3.0, 3.0001, 4)[0] == pytest.approx(3.0)
    assert [axis_label(value) for value in (0.0, 0.002, 12.5, 25000, 3e-6)] == ["0", "0.002", "12.5", "25k", "3e-06"]


def test_long_curves_keep_their_mean() -> None:
    points = [(float(x), float(x % 2)) for x in range(10_000)]
    thin = thinned(points, 400)
    assert len(thin) == 400
    assert sum(y for _, y in thin) / 400 == pytest.approx(0.5, abs=0.01)
    assert thinned(points[:400]) == points[:400]
