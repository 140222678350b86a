"""Moving pictures, written frame by frame: memory does not grow with their length.

``.mp4`` through PyAV (extra ``[video]``), ``.gif`` and animated ``.webp`` through Pillow, which holds all frames of a
file that it writes itself: here it encodes single frames, and the containers around them are written by us.
"""

from __future__ import annotations

import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import GifImagePlugin, Image

from stylegan_fast.atomic import replacing
from stylegan_fast.errors import UserError

FORMATS = (".mp4", ".gif", ".webp")


class Movie(ABC):
    """A file being written. Frames are uint8 ``[H, W, 3]``, all of one size."""

    def __init__(self, file: BinaryIO, fps: float) -> None:
        self.file, self.fps = file, fps
        self.frames = 0
        self._shape: tuple[int, ...] | None = None

    def write(self, frame: np.ndarray) -> None:
        """Add a frame. Raises ``ValueError`` for one of another size."""
        if self._shape is None:
            self._shape = frame.shape
            self._begin(*frame.shape[:2])
        if frame.shape != self._shape or frame.shape[2] != 3:
            raise ValueError(f"Movie.write: a frame of {frame.shape}, expected {self._shape[:2]} and 3 channels")
        self._add(np.ascontiguousarray(frame))
        self.frames += 1

    def finish(self) -> None:
        """Write what comes after the last frame."""
        if self._shape is None:
            raise ValueError("Movie: no frame was written")
        self._end()

    @abstractmethod
    def _begin(self, height: int, width: int) -> None: ...

    @abstractmethod
    def _add(self, frame: np.ndarray) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...


class Mp4(Movie):
    """H.264 (MPEG-4 where this PyAV lacks it), 4:2:0, for any player."""

    def _begin(self, height: int, width: int) -> None:
        import av

        # PyAV needs a file it can seek in, which an MP4 is finished by; ours is one.
        self._container = av.open(self.file, "w", format="mp4")
        rate = Fraction(self.fps).limit_denominator(1000)
        try:
            self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "medium"})
        except (ValueError, av.error.FFmpegError):
            self._stream = self._container.add_stream("mpeg4", rate=rate, options={"q": "3"})
        # 4:2:0 has one colour for 2 x 2 pixels: both sides are even.
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"

    def _add(self, frame: np.ndarray) -> None:
        import av

        height, width = frame.shape[:2]
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
            self._container.mux(packet)

    def _end(self) -> None:
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()


class Gif(Movie):
    """256 colours chosen for each frame; loops for ever."""

    def _begin(self, height: int, width: int) -> None:
        self.file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
        self.file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")

    def _add(self, frame: np.ndarray) -> None:
        image = Image.fromarray(frame).quantize(256, method=Image.Quantize.FASTOCTREE)
        # Whole hundredths of a second, whose sum keeps pace with the frames.
        duration = 10 * (round(100 * (self.frames + 1) / self.fps) - round(100 * self.frames / self.fps))
        for part in GifImagePlugin.getdata(image, duration=duration, include_color_table=True):
            self.file.write(part)

    def _end(self) -> None:
        self.file.write(b";")


class WebP(Movie):
    """Lossy at quality 90; loops for ever. The container is RIFF: VP8X, ANIM, then one ANMF a frame."""

    def _begin(self, height: int, width: int) -> None:
        self.file.write(b"RIFF\0\0\0\0WEBP")
        self._size = _uint24(width - 1) + _uint24(height - 1)
        self._chunk(b"VP8X", b"\x02\0\0\0" + self._size)  # flag 2: animated
        self._chunk(b"ANIM", b"\xff\xff\xff\xff\0\0")  # white behind, no end

    def _add(self, frame: np.ndarray) -> None:
        still = io.BytesIO()
        Image.fromarray(frame).save(still, "WEBP", quality=90, method=4)
        duration = round(1000 * (self.frames + 1) / self.fps) - round(1000 * self.frames / self.fps)
        place = _uint24(0) + _uint24(0) + self._size + _uint24(duration) + b"\x02"  # flag 2: not blended
        self._chunk(b"ANMF", place + _image_chunk(still.getvalue()))

    def _end(self) -> None:
        size = self.file.tell() - 8
        self.file.seek(4)
        self.file.write(struct.pack("<I", size))
        self.file.seek(0, io.SEEK_END)

    def _chunk(self, name: bytes, content: bytes) -> None:
        self.file.write(name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2))


def _uint24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _image_chunk(still: bytes) -> bytes:
    """The VP8 or VP8L chunk of a still WebP, with its head and padding."""
    place = 12
    while place + 8 <= len(still):
        (length,) = struct.unpack_from("<I", still, place + 4)
        end = place + 8 + length + length % 2
        if still[place : place + 4] in (b"VP8 ", b"VP8L"):
            return still[place:end]
        place = end
    raise ValueError("WebP: Pillow wrote a file without an image")


_WRITERS: dict[str, type[Movie]] = {".mp4": Mp4, ".gif": Gif, ".webp": WebP}


def check_movie(path: str | Path, option: str = "--out") -> None:
    """Raises ``UserError`` unless a movie of this name can be written here."""
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise UserError(f"{option} {str(path)!r}: the name must end in {', '.join(FORMATS)}")
    if suffix == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError:
            raise UserError(
                f"{option} {str(path)!r}: mp4 needs PyAV: pip install 'stylegan_fast[video]', or write .gif or .webp"
            ) from None
    if suffix == ".webp":
        from PIL import features

        if not features.check("webp"):
            raise UserError(f"{option} {str(path)!r}: this Pillow was built without WebP; write .gif or .mp4")
    if not Path(path).parent.is_dir():
        raise UserError(f"{option} {str(path)!r}: the folder {str(Path(path).parent)!r} is not there")


@contextmanager
def open_movie(path: str | Path, fps: float) -> Iterator[Movie]:
    """A movie to write frames to, in the format its name ends in; whole at the end, or not there."""
    check_movie(path)
    with ExitStack() as stack:
        movie = _WRITERS[Path(path).suffix.lower()](stack.enter_context(replacing(path)), fps)
        yield movie
        movie.finish()
