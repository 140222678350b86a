from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stylegan_fast.data import sources
from stylegan_fast.data.decode import BadImageError
from stylegan_fast.data.drawing import draw_face
from stylegan_fast.data.sources import FaceSource, open_source, source_from_spec
from stylegan_fast.errors import UserError

from .pictures import encoded, make_folder, make_zip, noise, noise_files


def test_a_folder_is_searched_deeply_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    image = encoded(noise(0))
    names = ["b/c/2.PNG", "a.jpeg", "b/1.png", ".hidden.png", ".git/x.png", "__MACOSX/._1.png", "notes.txt", "x.eps"]
    source = open_source(make_folder(tmp_path, dict.fromkeys(names, image)))
    assert source.names == ["a.jpeg", "b/1.png", "b/c/2.PNG"]


def test_a_zip_lists_the_same_names_as_the_folder(tmp_path: Path) -> None:
    files = dict.fromkeys(["b/c/2.PNG", "a.jpeg", "b/1.png", "__MACOSX/._1.png", "notes.txt"], encoded(noise(0)))
    assert open_source(make_zip(tmp_path / "x.zip", files)).names == ["a.jpeg", "b/1.png", "b/c/2.PNG"]


def test_names_cannot_lead_out_of_a_zip(tmp_path: Path) -> None:
    source = open_source(make_zip(tmp_path / "x.zip", {"../../evil.png": encoded(noise(0))}))
    assert np.array_equal(source.pixels(0, 16, 3), noise(0).transpose(2, 0, 1))
    assert {path.name for path in tmp_path.parent.rglob("evil.png")} == set()


@pytest.mark.parametrize("kind", ["folder", "zip", "faces"])
def test_another_process_can_open_the_same_source_from_its_spec(tmp_path: Path, kind: str) -> None:
    where = {
        "folder": make_folder(tmp_path / "f", noise_files(3)),
        "zip": make_zip(tmp_path / "z.zip", noise_files(3)),
        "faces": "faces:3",
    }[kind]
    source = open_source(where)  # type: ignore[arg-type]
    again = source_from_spec(source.spec())
    assert again.names == source.names
    assert again.identity() == source.identity()
    assert np.array_equal(again.pixels(2, 16, 1), source.pixels(2, 16, 1))


def test_missing_and_empty_places_are_mistakes_told_in_one_line(tmp_path: Path) -> None:
    make_folder(tmp_path / "texts", {"a.txt": b"x"})
    for path, words in [
        (tmp_path / "nowhere", "does not exist; give a folder of images or a ZIP file"),
        (tmp_path / "texts", "no images in folder"),
        (make_zip(tmp_path / "texts.zip", {"a.txt": b"x"}), "no images in"),
        (tmp_path / "texts" / "a.txt", "is not a whole ZIP file"),
        ("faces:0", "from 1 to"),
        ("faces:many", "from 1 to"),
    ]:
        with pytest.raises(UserError, match=words) as raised:
            open_source(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.9, 0.999])
def test_a_zip_cut_short_is_a_mistake_told_in_one_line(tmp_path: Path, kept: float) -> None:
    whole = make_zip(tmp_path / "x.zip", noise_files(5)).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(UserError, match=r"cut\.zip is not a whole ZIP file \(cut short or damaged\?\)"):
        open_source(tmp_path / "cut.zip")


def test_damage_inside_a_zip_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.png": encoded(noise(0, 64))})
    content = bytearray(path.read_bytes())
    content[3000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadImageError, match="Bad CRC-32"):
        open_source(path).pixels(0, 16, 3)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 2**20)
    path = make_zip(tmp_path / "x.zip", {"a.png": bytes(2**24)}, how=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**15
    source = open_source(path)
    with pytest.raises(BadImageError, match="16777216 bytes are more than the limit"):
        source.pixels(0, 16, 3)
    # The same with a directory that lies about the size: reading stops there, and the checksum tells.
    source._entries["a.png"].file_size = 1000  # type: ignore[attr-defined]
    with pytest.raises(BadImageError):
        source.pixels(0, 16, 3)


def test_an_encrypted_zip_entry_is_a_bad_image(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.png": encoded(noise(0))})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # flag bits of the local header and of the directory
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(BadImageError, match="encrypted"):
        open_source(path).pixels(0, 16, 3)


def test_what_is_not_a_readable_file_is_a_bad_image_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 5000)
    make_folder(tmp_path, {"d_large.png": bytes(6000)})
    os.mkfifo(tmp_path / "a_pipe.png")
    (tmp_path / "b_link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "c_folder.png").symlink_to(tmp_path)
    source = open_source(tmp_path)
    why = {}
    for place, name in enumerate(source.names):
        with pytest.raises(BadImageError) as raised:
            source.pixels(place, 16, 3)
        why[name] = str(raised.value)
    assert why["a_pipe.png"] == "not a regular file"
    assert why["b_link.png"] == "No such file or directory"
    assert "limit of 5000 bytes" in why["d_large.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_bad_image(tmp_path: Path) -> None:
    make_folder(tmp_path, noise_files(1))
    (tmp_path / "000.png").chmod(0)
    with pytest.raises(BadImageError, match="Permission denied"):
        open_source(tmp_path).pixels(0, 16, 3)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_identity_changes_with_any_file(tmp_path: Path, kind: str) -> None:
    def identity(files: dict[str, bytes]) -> str:
        if kind == "zip":
            return open_source(make_zip(tmp_path / "x.zip", files)).identity()
        return open_source(make_folder(tmp_path / "f", files)).identity()

    files = noise_files(3)
    before = identity(files)
    assert identity({**files, "001.png": encoded(noise(77))}) != before
    assert identity({**files, "zzz.png": encoded(noise(78))}) != before


def test_gray_faces_are_the_luminance_of_the_colour_ones() -> None:
    gray = FaceSource(4).pixels(2, 32, 1)
    red, green, blue = draw_face(sources.face_attributes(2), 32).astype(float)
    assert np.abs(gray[0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51


def test_a_folder_named_faces_goes_before_the_built_in_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_source("faces"), FaceSource)
    make_folder(tmp_path / "faces", noise_files(2))
    assert open_source("faces").names == ["000.png", "001.png"]
