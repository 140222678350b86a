"""report.html and its pictures: whole, self-contained, and harmless whatever is in the run's folder."""

import errno
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan_fast.figures.sheet import cell_size
from stylegan_fast.reporting import write_report
from stylegan_fast.reporting.sheets import MOST_BYTES, SheetPictures
from tests.command_lines import call, expect_one_line
from tests.reporting.runs import RESOLUTION, write_run


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Tags that are open at the end, and every address an element names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "img", "input", "line", "polyline", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_every_part_and_needs_nothing_else(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    for title in ("Samples over time", "Curves", "Speed by phase", "Events", "Settings"):
        assert f"<h2>{title}</h2>" in page
    elements = Elements(page)
    assert elements.open == []
    assert elements.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in elements.addresses)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "resuming at 4.000 kimg" in page


def test_text_from_the_run_is_shown_and_not_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "<img src=x>", **{"<b>bold": 1.0})
    with open(folder / "log.txt", "a") as file:
        file.write("</script><script>alert(1)</script>\n")
    page = page_of(folder)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>bold" not in page
    assert "<img src=x>" not in page
    assert Elements(page).open == []


def test_a_picture_that_is_not_whole_is_left_out_and_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "fakes000006.png").write_bytes((folder / "fakes000006.png").read_bytes()[:90])
    (folder / "reals.png").write_bytes(b"")
    page = page_of(folder)
    assert "Not a whole picture, left out: fakes000006.png." in page
    assert "Not a whole picture, left out: reals.png." in page
    assert "9 kimg" in page
    with Image.open(folder / "progress.png") as strip:
        assert strip.height == 3 * 66  # of four snapshots one is damaged


def test_a_run_with_nothing_yet_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kimg": 10}')
    assert Elements(page_of(tmp_path)).open == []
    assert sorted(os.listdir(tmp_path)) == ["config.json", "report.html"]


def test_many_snapshots_make_a_page_of_limited_size(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", snapshots=100)
    page = page_of(folder)
    assert "30 of 101 snapshots, evenly chosen" in page
    assert "before training" in page
    assert "300 kimg" in page
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png", compress_level=0)
    addresses = SheetPictures([tmp_path / "noise.png"] * 12).addresses
    assert 0.5 * MOST_BYTES < sum(len(address or "") for address in addresses) * 3 / 4 < 1.1 * MOST_BYTES


def test_the_strip_has_the_first_row_of_every_snapshot(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_report(folder)
    with Image.open(folder / "progress.png") as strip:
        pixels = np.asarray(strip)
    cell = cell_size(RESOLUTION)
    middles = [(cell + 2) * index + 2 + cell // 2 for index in range(4)]
    first, second = 110 + 2 + cell // 2, 110 + 2 + cell + 2 + cell // 2
    assert [pixels[y, first, 0] for y in middles] == [0, 200, 200, 200]
    assert [pixels[y, second, 0] for y in middles] == [0, 40, 80, 120]


def test_curves_are_drawn_where_their_numbers_are(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_report(folder)
    with Image.open(folder / "curves.png") as curves:
        assert curves.size == (3 * 480, 3 * 270)
        learning_rate = np.asarray(curves)[270:540, :480].astype(int)
    blue = (learning_rate[:, :, 2] - learning_rate[:, :, 0] > 80).any(axis=1).nonzero()[0]
    assert blue.max() - blue.min() <= 4  # a constant is a level line


def test_a_disk_that_is_full_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run")
    before = page_of(folder)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(folder)
    assert (folder / "report.html").read_text() == before
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]


def test_the_command_makes_the_page_and_names_what_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    assert call("report", [str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert call("report", [str(tmp_path)]) == 2
    expect_one_line(capsys, "neither config.json nor stats.jsonl")
