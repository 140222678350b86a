import json
from pathlib import Path

import pytest
from harness.report import geometric_mean, speedups, summary_lines, table_head, table_lines, write_json

from .rows import row

ROWS = [
    row("ours", 8, 1.0),
    row("eager", 8, 8.0),
    row("compile", 8, 1.5),
    row("copy", 8, 0.5),
    row("ours", 16, 2.0),
    row("eager", 16, 4.0),
]


def test_geometric_mean_of_ratios():
    assert geometric_mean([8.0, 2.0]) == pytest.approx(4.0)


def test_speedups_compare_the_same_shape_and_case_only():
    other_case = row("eager", 16, 100.0, case="another")
    assert [ratio for ratio, _ in speedups([*ROWS, other_case], "eager")] == [8.0, 2.0]
    assert [ratio for ratio, _ in speedups(ROWS, "compile")] == [1.5]
    assert speedups(ROWS, "peer") == []


def test_summary_tells_mean_and_worst_and_where():
    against_eager, against_compile = summary_lines(ROWS)
    assert "4.00x as fast as eager (geometric mean of 2 shapes), at worst 2.00x at 4x8x16x16" in against_eager
    assert "1.50x as fast as torch.compile (geometric mean of 1 shape), at worst 1.50x at 4x8x8x8" in against_compile


def test_table_gives_each_provider_its_ratios_and_copies_none():
    ours, eager, compiled, copy = table_lines(ROWS[:4])
    assert "8.00x" in ours
    assert "1.50x" in ours
    assert "50%" in ours
    assert "1.50" in ours  # peak in units of x
    assert "1.00x" in eager
    assert "torch.compile" in compiled
    assert "x " not in copy.removeprefix("4x8x8x8")
    assert len(table_head()) >= len(ours)


def test_json_is_a_list_of_the_rows(tmp_path: Path):
    write_json(ROWS, tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == ROWS
