"""Movies of every format: all frames, in order, at their speed; whole or not there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from stylegan_fast.errors import UserError
from stylegan_fast.figures.movie import check_movie, open_movie

WEBP = pytest.param(".webp", marks=pytest.mark.skipif(not features.check("webp"), reason="Pillow without WebP"))
STILLS = [".gif", WEBP]


def frames(count: int, height: int = 24, width: int = 40) -> list[np.ndarray]:
    """A bar that moves from left to right over a colour that changes."""
    made = []
    for k in range(count):
        frame = np.full((height, width, 3), (200, 30 + 20 * k, 60), np.uint8)
        frame[:, 4 * k : 4 * k + 4] = (10, 10, 240)
        made.append(frame)
    return made


@pytest.mark.parametrize("suffix", STILLS)
def test_pillow_reads_every_frame_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"movie{suffix}"
    with open_movie(path, fps=25) as movie:
        for frame in frames(7):
            movie.write(frame)
    total = 0
    with Image.open(path) as image:
        assert (image.n_frames, image.size) == (7, (40, 24))
        assert image.info["loop"] == 0
        for k, frame in enumerate(frames(7)):
            image.seek(k)
            image.load()
            total += image.info["duration"]
            found = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(found - frame).mean() < 12, k
    assert total == 280
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [(24, 40), (25, 41)])
def test_mp4_holds_every_frame(size: tuple[int, int], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "movie.mp4"
    with open_movie(path, fps=24) as movie:
        for frame in frames(9, *size):
            movie.write(frame)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate == 24
    assert len(decoded) == 9
    for found, frame in zip(decoded, frames(9, *size), strict=True):
        assert np.abs(found[: size[0], : size[1]].astype(int) - frame).mean() < 20


@pytest.mark.parametrize("suffix", STILLS)
def test_what_was_there_stays_where_writing_stops_half_way(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"movie{suffix}"
    path.write_bytes(b"before")

    def interrupted() -> None:
        with open_movie(path, fps=25) as movie:
            movie.write(frames(1)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"), open_movie(tmp_path / "x.gif", 25) as movie:  # noqa: PT012
        movie.write(np.zeros((8, 8, 3), np.uint8))
        movie.write(np.zeros((8, 9, 3), np.uint8))


@pytest.mark.parametrize(("name", "part"), [("x.avi", "must end in"), ("no/x.gif", "not there"), ("x", "must end in")])
def test_a_name_that_cannot_be_written_is_told(name: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=part):
        check_movie(tmp_path / name)
