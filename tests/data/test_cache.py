from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from stylegan_fast.data import Dataset, build, cache, open_dataset
from stylegan_fast.data.sources import FaceSource
from stylegan_fast.errors import UserError

from .pictures import encoded, make_folder, noise, noise_files

CHECKOUT = Path(__file__).parents[2]
# A builder that takes its time: it notes each picture it draws in a file and sleeps.
SLOW_BUILDER = """
import sys, time
from stylegan_fast.data import open_dataset, sources
draw = sources.FaceSource.pixels
def slow(self, *arguments):
    with open(sys.argv[1], "a") as file:
        file.write("x")
    time.sleep(0.01)
    return draw(self, *arguments)
sources.FaceSource.pixels = slow
dataset = open_dataset("faces:40", resolution=8, cache_dir=sys.argv[2])
print(int(dataset.read(range(40), 8).astype(int).sum()))
"""


def entries(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def child(*arguments: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        [sys.executable, "-c", *map(str, arguments)], env=environment, text=True, stdout=-1, stderr=-1
    )


def mean_face(count: int) -> int:
    source = FaceSource(count)
    return int(sum(source.pixels(place, 8, 3).astype(int).sum() for place in range(count)))


def test_a_second_opening_decodes_nothing(tmp_path: Path, cache_of_the_test: Path) -> None:
    said: list[str] = []
    first = open_dataset(make_folder(tmp_path / "f", noise_files(3)), report=said.append)
    assert len(said) == 1
    assert said[0].startswith("cached 3 images of ")
    second = open_dataset(tmp_path / "f", report=said.append)
    assert len(said) == 1
    assert np.array_equal(first.read(range(3), 8), second.read(range(3), 8))
    files = sorted(path.name for path in entries(cache_of_the_test)[0].iterdir())
    assert files == ["complete.json", "level-0004.u8", "level-0008.u8", "level-0016.u8"]


def test_anything_that_changes_a_pixel_makes_another_cache(tmp_path: Path, cache_of_the_test: Path) -> None:
    path = make_folder(tmp_path / "f", noise_files(3))
    open_dataset(path)
    make_folder(path, {"001.png": encoded(noise(99))})
    os.utime(path / "001.png", ns=(1, 1))  # same size, another time
    assert np.array_equal(open_dataset(path).read([1], 16)[0], noise(99).transpose(2, 0, 1))
    open_dataset(path, resolution=8)
    open_dataset(path, channels=1)
    assert len(entries(cache_of_the_test)) == 4


@pytest.mark.parametrize("damage", ["marker gone", "marker cut", "level short", "level gone", "other format"])
def test_a_damaged_cache_is_built_anew(tmp_path: Path, cache_of_the_test: Path, damage: str) -> None:
    path = make_folder(tmp_path / "f", noise_files(3))
    open_dataset(path).close()
    (folder,) = entries(cache_of_the_test)
    marker, level = folder / "complete.json", folder / "level-0008.u8"
    if damage == "marker gone":
        marker.unlink()
    elif damage == "marker cut":
        marker.write_text(marker.read_text()[:-5])
    elif damage == "level short":
        os.truncate(level, 10)
    elif damage == "level gone":
        level.unlink()
    else:
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "key": {"version": -1}}))
    said: list[str] = []
    dataset = open_dataset(path, report=said.append)
    assert said[0].startswith("cached 3 images of ")
    assert np.array_equal(dataset.read([2], 16)[0], noise(2).transpose(2, 0, 1))


def test_sizes_over_the_limit_are_decoded_on_the_fly(tmp_path: Path, cache_of_the_test: Path) -> None:
    path = make_folder(tmp_path / "f", noise_files(4, 32))
    whole = open_dataset(path)
    said: list[str] = []
    limit = 4 * 3 * (16 * 16 + 8 * 8 + 4 * 4)
    part = open_dataset(path, cache_limit_bytes=limit, cache_dir=tmp_path / "other", report=said.append)
    assert said[-1].startswith("sizes above 16 are not cached but decoded on the fly (the cache may take ")
    assert [path.name for path in sorted(entries(tmp_path / "other")[0].glob("level*"))][-1] == "level-0016.u8"
    none = open_dataset(path, cache_limit_bytes=0, report=said.append)
    assert said[-1].endswith("is not cached but decoded on the fly (the cache may take 0.0 MiB)")
    for resolution in (32, 16, 4):
        expected = whole.read([3, 0], resolution)
        assert np.array_equal(part.read([3, 0], resolution), expected)
        assert np.array_equal(none.read([3, 0], resolution), expected)


def test_a_disk_with_little_room_is_not_filled(
    tmp_path: Path, cache_of_the_test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(2**40, 2**40, 2**20))
    said: list[str] = []
    dataset = open_dataset(make_folder(tmp_path / "f", noise_files(3)), report=said.append)
    assert len(said) == 1
    assert said[0].endswith("has too little free space)")
    assert entries(cache_of_the_test) == []
    assert dataset.read([0], 16).shape == (1, 3, 16, 16)


def test_a_disk_that_fills_during_the_build_leaves_nothing_behind(
    tmp_path: Path, cache_of_the_test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build._LevelFiles, "fill", full)
    said: list[str] = []
    dataset = open_dataset(make_folder(tmp_path / "f", noise_files(3)), report=said.append)
    assert len(said) == 1
    assert said[0].endswith("No space left on device)")
    assert entries(cache_of_the_test) == []
    assert np.array_equal(dataset.read([2], 16)[0], noise(2).transpose(2, 0, 1))


def test_a_cache_folder_that_cannot_be_written_is_a_mistake_only_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_folder(tmp_path / "f", noise_files(1))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write the cache folder .*file"):
        open_dataset(path, cache_dir=tmp_path / "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said: list[str] = []
    open_dataset(path, report=said.append)
    assert "not cached but decoded on the fly (cannot write " in said[0]


def test_the_least_recently_used_cache_nobody_has_open_makes_room(tmp_path: Path, cache_of_the_test: Path) -> None:
    one = 3 * 3 * (16 * 16 + 8 * 8 + 4 * 4)

    def opened(name: str, **options: int) -> Dataset:
        return open_dataset(make_folder(tmp_path / name, noise_files(3)), **options)  # type: ignore[arg-type]

    held = opened("held")
    for age, name in ((300, "old"), (100, "older")):
        opened(name).close()
        folder = next(path for path in entries(cache_of_the_test) if path.name.startswith(name + "-"))
        os.utime(folder / "complete.json", (time.time() - age,) * 2)
    opened("old").close()  # used again: now the younger of the two
    (cache_of_the_test / "somebody-elses-folder").mkdir()
    opened("new", cache_limit_bytes=3 * one).close()
    names = [path.name.split("-")[0] for path in entries(cache_of_the_test)]
    assert names == ["held", "new", "old", "somebody"]
    assert np.array_equal(held.read([1], 16)[0], noise(1).transpose(2, 0, 1))


def test_a_cache_emptied_under_its_reader_is_built_anew_without_waiting_for_it(
    tmp_path: Path, cache_of_the_test: Path
) -> None:
    path = make_folder(tmp_path / "f", noise_files(3))
    reader = open_dataset(path)
    for file in entries(cache_of_the_test)[0].iterdir():
        file.unlink()
    said: list[str] = []
    open_dataset(path, report=said.append)
    assert [line.partition(" images")[0] for line in said] == ["cached 3"]
    assert np.array_equal(reader.read([1], 16)[0], noise(1).transpose(2, 0, 1))


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    children = [child(SLOW_BUILDER, drawn, tmp_path / "c") for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in children]
    assert [process.returncode for process in children] == [0, 0], answers
    assert {int(out) for out, _ in answers} == {mean_face(40)}
    assert len(drawn.read_text()) == 40
    assert sum("cached 40 images" in said for _, said in answers) == 1


def test_a_builder_killed_halfway_leaves_nothing_that_is_taken_for_a_cache(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    killed = child(SLOW_BUILDER, drawn, tmp_path / "c")
    deadline = time.monotonic() + 30
    while not (drawn.exists() and len(drawn.read_text()) >= 10):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert [path.name.partition(".")[2][:8] for path in entries(tmp_path / "c")] == ["building"]
    said: list[str] = []
    dataset = open_dataset("faces:40", resolution=8, cache_dir=tmp_path / "c", report=said.append)
    assert said[0].startswith("cached 40 images")  # without waiting for the dead one's lock
    assert int(dataset.read(range(40), 8).astype(int).sum()) == mean_face(40)
    assert len(entries(tmp_path / "c")) == 1
    assert "building" not in entries(tmp_path / "c")[0].name


def test_several_processes_build_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**noise_files(40, 8), "013.png": b"nothing", "027.png": b"nothing"}
    path = make_folder(tmp_path / "f", files)
    alone = open_dataset(path)
    monkeypatch.setattr(build, "_SMALL", 0)
    monkeypatch.setattr(build, "_CHUNK_BYTES", 7 * 3 * 8 * 8)
    monkeypatch.setattr(build, "cores", lambda: 2)
    together = open_dataset(path, cache_dir=tmp_path / "other")
    assert together.skipped == alone.skipped
    assert len(together) == 38
    for resolution in (8, 4):
        assert np.array_equal(together.read(range(38), resolution), alone.read(range(38), resolution))


def test_a_decoding_process_that_dies_ends_the_build_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_SMALL", 0)
    monkeypatch.setattr(build, "cores", lambda: 2)
    monkeypatch.setattr(build, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(UserError, match=r"a decoding process ended by itself .*\(killed for lack of memory\?\)"):
        open_dataset("faces:4", resolution=8, cache_dir=tmp_path)
    assert entries(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")
def test_a_killed_builder_leaves_no_decoding_processes(tmp_path: Path) -> None:
    script = "from stylegan_fast.data import open_dataset, build; build.cores = lambda: 2;"
    builder = child(script + f"open_dataset('faces:100000', resolution=8, cache_dir={str(tmp_path)!r})")
    children: list[str] = []
    deadline = time.monotonic() + 30
    while len(children) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        children = Path(f"/proc/{builder.pid}/task/{builder.pid}/children").read_text().split()
    builder.kill()
    builder.communicate()

    def alive(pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    while any(alive(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
