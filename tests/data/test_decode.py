from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from stylegan_fast.data import decode as decode_module
from stylegan_fast.data.decode import BadImageError, decode, peek

from .pictures import BLUE, GREEN, RED, YELLOW, encoded, noise, quadrants


def corners(picture: np.ndarray) -> list[tuple[int, ...]]:
    """The colours of a [C, R, R] picture near its four corners."""
    edge = picture.shape[-1] // 8
    return [tuple(int(v) for v in picture[:, y, x]) for y in (edge, -edge - 1) for x in (edge, -edge - 1)]


def test_a_png_of_the_right_size_is_not_changed_at_all() -> None:
    pixels = noise(1, 16)
    assert np.array_equal(decode(encoded(pixels), 16, 3), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    back = {
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    }
    stored = quadrants()
    if orientation in undo:
        stored = stored.transpose(back.get(undo[orientation], undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(decode(encoded(stored, exif=exif), 32, 3)) == [RED, GREEN, BLUE, YELLOW]


def test_cmyk_jpeg_is_decoded_to_its_colours() -> None:
    picture = decode(encoded(quadrants(64).convert("CMYK"), "JPEG", quality=95), 64, 3)
    assert np.allclose(corners(picture), [RED, GREEN, BLUE, YELLOW], atol=6)


def test_sixteen_bit_grayscale_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        picture = decode(encoded(Image.fromarray(ramp), kind), 16, 1)
        assert np.abs(picture[0] - ramp / 257.0).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_pixel_format_becomes_every_number_of_channels(mode: str, channels: int) -> None:
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    picture = decode(encoded(quadrants(16).convert(mode), kind), 8, channels)
    assert picture.shape == (channels, 8, 8)
    assert len(np.unique(picture[0])) > 1


def test_transparency_is_composited_on_white_or_kept() -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, :4] = (200, 0, 0, 255)  # the right half is transparent black
    for image in (Image.fromarray(pixels), Image.fromarray(pixels).convert("P")):
        options = {"transparency": image.getpixel((7, 0))} if image.mode == "P" else {}
        assert corners(decode(encoded(image, **options), 8, 3)) == [(200, 0, 0), (255, 255, 255)] * 2
    assert corners(decode(encoded(pixels), 8, 4)) == [(200, 0, 0, 255), (0, 0, 0, 0)] * 2


def test_hidden_colours_do_not_bleed_through_transparency() -> None:
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    pixels[..., 1] = 255  # hidden green
    pixels[16:48, 16:48] = (200, 0, 0, 255)
    small = decode(encoded(pixels), 8, 4)
    seen = small[3] > 40
    assert seen.any()
    assert small[1][seen].max() <= 2


def test_fit_crops_pads_or_stretches() -> None:
    wide = Image.new("RGB", (64, 32), BLUE)
    wide.paste(RED, (0, 0, 16, 32))
    crop, pad, stretch = (decode(encoded(wide), 32, 3, fit) for fit in ("crop", "pad", "stretch"))  # type: ignore[arg-type]
    assert corners(crop) == [BLUE] * 4
    assert corners(pad) == [(255, 255, 255)] * 4
    assert tuple(pad[:, 16, 2]) == RED
    assert corners(stretch) == [RED, BLUE, RED, BLUE]
    assert decode(encoded(wide.convert("RGBA")), 32, 4, "pad")[3, 0, 0] == 0


def test_shrinking_does_not_alias() -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(decode(encoded(checkers), 8, 1).astype(int) - 127).max() <= 12


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same() -> None:
    image = quadrants(512)
    direct = np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    difference = np.abs(decode(encoded(image, "JPEG", quality=95), 32, 3).astype(int) - direct)
    assert difference.mean() < 2


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    picture = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), 16, 3)
    assert corners(picture) == [RED] * 4


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(BadImageError, match="10000 x 10000 pixels are more"),
    ):
        decode(bomb, 16, 3)


def test_the_pixel_limit_counts_what_jpeg_really_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 128 * 128)
    assert decode(encoded(quadrants(512), "JPEG"), 32, 3).shape == (3, 32, 32)
    with pytest.raises(BadImageError, match="512 x 512 pixels are more"):
        decode(encoded(quadrants(512), "PNG"), 32, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        encoded(noise(0, 64))[:900],
        encoded(noise(0, 64), "JPEG")[:200],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\nshowpage\n",
        encoded(Image.fromarray(np.zeros((8, 8), dtype=np.float32)), "TIFF"),
        encoded(Image.fromarray(np.full((8, 8), 70_000, dtype=np.int32)), "TIFF"),
    ],
    ids=["empty", "text", "cut PNG", "cut JPEG", "PostScript", "float TIFF", "32-bit TIFF"],
)
def test_what_is_no_image_raises_one_line(content: bytes) -> None:
    with pytest.raises(BadImageError) as raised:
        decode(content, 16, 3)
    assert 0 < len(str(raised.value)) <= 160
    assert "\n" not in str(raised.value)


def test_peek_tells_size_and_grayness_from_the_header_alone() -> None:
    content = encoded(noise(0, 64))
    assert peek(content[:100]) == (64, 64, False)
    assert peek(encoded(Image.new("L", (8, 4)))) == (8, 4, True)
    with pytest.raises(BadImageError, match="not an image of a known format"):
        peek(io.BytesIO(b"x" * 100).getvalue())
