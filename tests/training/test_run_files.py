"""The files of a run survive crashes, damage and full disks."""

import errno
import io
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

from stylegan_fast.atomic import append, replacing
from stylegan_fast.errors import UserError
from stylegan_fast.training.checkpoint import load_state, save_state
from stylegan_fast.training.run_folder import RunFolder, create_run_folder, find_run_to_resume


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create_run_folder(tmp_path, "test")


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"ne")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as failure:
        write_half()
    assert failure.value.filename == str(path)
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


def test_the_state_before_is_kept_until_the_new_one_is_whole(folder: RunFolder) -> None:
    for kimg in range(3):
        save_state(folder, {"kimg": kimg})
    assert load_state(folder) == ({"format": "stylegan_fast.state", "version": 1, "kimg": 2}, None)
    folder.state.unlink()  # as if the machine had stopped between the two renames
    assert load_state(folder)[0]["kimg"] == 1


def compressed_and_damaged(archive: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    content = bytearray(packed.getvalue())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    return bytes(content)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "text", "repacked"])
def test_a_damaged_state_gives_way_to_the_one_before_and_is_named(folder: RunFolder, damage: str) -> None:
    for kimg in range(2):
        save_state(folder, {"kimg": kimg, "weights": torch.arange(5000.0)})
    whole = folder.state.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.arange(100.0, 110.0).numpy().tobytes()) + 2] ^= 0x10  # one bit of one weight
    damaged = {
        **{"cut": whole[: len(whole) // 2], "flipped": bytes(flipped), "emptied": b"", "text": b"hello"},
        "repacked": compressed_and_damaged(whole),
    }[damage]
    folder.state.write_bytes(damaged)
    state, problem = load_state(folder)
    assert state["kimg"] == 0
    assert problem is not None
    assert problem.startswith("state.pt is damaged")
    assert problem.endswith("going on from state.prev.pt")
    folder.previous_state.unlink()
    with pytest.raises(UserError, match=r"state\.pt is damaged"):
        load_state(folder)


def test_a_state_that_would_run_code_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "proof"),)

    torch.save({"format": "stylegan_fast.state", "version": 1, "x": Evil()}, folder.state)
    with pytest.raises(UserError, match="not a state of a run"):
        load_state(folder)
    assert not (tmp_path / "proof").exists()


def test_a_zip_that_is_no_state_is_refused(folder: RunFolder) -> None:
    with zipfile.ZipFile(folder.state, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(UserError, match="not a state of a run"):
        load_state(folder)


def test_a_full_disk_while_saving_leaves_both_states(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for kimg in range(2):
        save_state(folder, {"kimg": kimg})

    class FullDisk(io.FileIO):
        def write(self, contents: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("builtins.open", lambda path, mode: FullDisk(path, mode))
    with pytest.raises(OSError, match="No space") as failure:
        save_state(folder, {"kimg": 2, "weights": torch.zeros(1000)})
    monkeypatch.undo()
    assert failure.value.errno == errno.ENOSPC
    assert Path(failure.value.filename).parent == folder.path
    assert sorted(os.listdir(folder.path)) == ["state.prev.pt", "state.pt"]
    assert load_state(folder)[0]["kimg"] == 1


def test_stats_are_cut_back_to_the_images_restored(folder: RunFolder) -> None:
    for images in (100, 200, 300):
        folder.append_stats({"images": images, "loss": float("nan") if images == 100 else 0.5})
    with open(folder.path / "stats.jsonl", "a") as file:
        file.write('{"images": 400, "lo')  # a crash in the middle of a line
    folder.cut_stats(200)
    rows = [json.loads(line) for line in (folder.path / "stats.jsonl").read_text().splitlines()]
    assert rows == [{"images": 100, "loss": None}, {"images": 200, "loss": 0.5}]


def test_run_folders_are_numbered_after_the_highest(tmp_path: Path) -> None:
    for name in ("00003-old", "notes", "00001-x"):
        (tmp_path / name).mkdir()
    assert create_run_folder(tmp_path, "faces").path.name == "00004-faces"
    assert create_run_folder(tmp_path / "new" / "deeper", "faces").path.name == "00000-faces"


def test_resume_finds_the_latest_run_that_has_a_state(tmp_path: Path) -> None:
    runs = [create_run_folder(tmp_path, "x") for _ in range(3)]
    with pytest.raises(UserError, match="--resume latest: no run in"):
        find_run_to_resume("latest", tmp_path)
    for run in runs[:2]:
        save_state(run, {})
    assert find_run_to_resume("latest", tmp_path).path == runs[1].path
    assert find_run_to_resume(str(runs[0].path), "elsewhere").path == runs[0].path
    assert find_run_to_resume(str(runs[0].state), "elsewhere").path == runs[0].path
    for wrong in (runs[2].path, tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="--resume"):
            find_run_to_resume(str(wrong), tmp_path)
    save_state(runs[0], {})  # so that there is one before it
    with pytest.raises(UserError, match=r"state\.pt beside it is newer"):
        find_run_to_resume(str(runs[0].previous_state), tmp_path)
    runs[0].state.unlink()
    assert find_run_to_resume(str(runs[0].previous_state), tmp_path).path == runs[0].path


def test_a_failing_write_names_the_file_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "none" / "x"):
        with pytest.raises(OSError, match=r"file|directory") as failure, replacing(path) as file:
            file.write(b"x")
        assert failure.value.filename == str(path)
        with pytest.raises(OSError, match=r"file|directory") as failure:
            append(path, "x")
        assert failure.value.filename == str(path)
