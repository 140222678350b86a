import json
from pathlib import Path

import pytest

from stylegan_fast.command import exit_status

from .rows import row

pytest.importorskip("matplotlib")

ROWS = [
    row(provider, resolution, ms * resolution, case)
    for case in ("one", "two")
    for resolution in (8, 16, 32)
    for provider, ms in (("ours", 1.0), ("eager", 7.0), ("compile", 1.5), ("copy", 0.5), ("fresh copy", 0.7))
]


def test_results_become_a_picture_that_names_what_was_measured(tmp_path: Path):
    import plot_results

    results, picture = tmp_path / "rows.json", tmp_path / "picture.svg"
    results.write_text(json.dumps(ROWS))
    assert exit_status(plot_results.main, [str(results), str(picture)]) == 0
    drawn = picture.read_text()
    for words in ("adain: one", "adain: two", "a chip, 2 threads", "32²", "7.0x eager", "1.5x torch.compile"):
        assert f"<!-- {words}" in drawn or words in drawn


def test_a_file_of_something_else_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import plot_results

    wrong = tmp_path / "rows.json"
    wrong.write_text('[{"name": "not a row"}]')
    assert exit_status(plot_results.main, [str(wrong), str(tmp_path / "picture.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "picture.png").exists()
