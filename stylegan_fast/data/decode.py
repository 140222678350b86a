"""From the bytes of an image file to uint8 ``[C, R, R]``, for files nobody vouches for.

Only raster formats that Pillow decodes by itself are opened (never those it hands to another program, as PostScript).
The size in the header is checked before anything is decoded, so that a small file cannot claim all memory.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]

_KINDS = "png jpg jpeg jpe jfif webp bmp gif tif tiff ppm pgm pnm jp2 tga avif"
EXTENSIONS = frozenset("." + kind for kind in _KINDS.split())
MAX_FILE_BYTES = 256 * 2**20
"""No image file larger than this is read."""
MAX_PIXELS = 2**26
"""No image with more pixels is decoded (8192 x 8192: at most about 0.6 GB while it is converted). JPEG is decoded at a
fraction of its size where that is enough, and the fraction counts."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "TGA", "AVIF")


class BadImageError(Exception):
    """An image that cannot be used; the message says why, without its name."""


def decode(content: bytes, resolution: int, channels: int, fit: Fit = "crop") -> np.ndarray:
    """The image in ``content``, upright (EXIF), square, as uint8 ``[channels, resolution, resolution]``.

    ``channels``: 1 = luminance, 3 = RGB, 4 = RGBA. Transparency is composited on white, or kept with 4 channels
    (then colours are averaged weighted by alpha). 16-bit grayscale is scaled to 8 bits. Of an animation, the first
    frame counts. ``fit``: "crop" the largest square in the middle; "pad" to a square with white (with 4 channels:
    transparent); "stretch". Resized with a Lanczos filter that covers all source pixels (no aliasing).

    Raises :class:`BadImageError`.
    """
    try:
        with _open(content) as image:
            if image.format == "JPEG":
                # Twice the wanted size leaves the final filter something to do; decoding is up to 10 times faster.
                image.draft(None, (2 * resolution, 2 * resolution))
            if image.width * image.height > MAX_PIXELS:
                raise BadImageError(f"{image.width} x {image.height} pixels are more than the limit of {MAX_PIXELS}")
            image.load()
            square = _to_square(_convert(ImageOps.exif_transpose(image), channels), resolution, fit)
    except BadImageError:
        raise
    except MemoryError:
        raise BadImageError("not enough memory to decode it") from None
    except Exception as error:  # Pillow's decoders raise nearly everything on hostile input
        raise BadImageError(_one_line(error)) from None
    pixels = np.asarray(square)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def peek(content: bytes) -> tuple[int, int, bool]:
    """``(width, height, is_grayscale)`` from the header alone; raises :class:`BadImageError`."""
    try:
        with _open(content) as image:
            gray = image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;")
            # EXIF orientations 5 to 8 exchange width and height; only the shorter side matters to callers.
            return image.width, image.height, gray
    except Exception as error:
        raise BadImageError(_one_line(error)) from None


def _open(content: bytes) -> Image.Image:
    Image.init()  # registers every format; Pillow does it once
    return Image.open(io.BytesIO(content), formats=[name for name in _FORMATS if name in Image.OPEN])


def _convert(image: Image.Image, channels: int) -> Image.Image:
    image = _to_8_bits(image)
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if channels == 4:
        return image.convert("RGBA")
    if transparent:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, (255, 255, 255))
        image.paste(rgba, mask=rgba.getchannel("A"))
    return image.convert("L" if channels == 1 else "RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BadImageError("floating-point pixels have no defined range; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;"):
        # Pillow's own conversion clips at 255. Mode I is how 16-bit files arrive from some decoders.
        wide = np.asarray(image.convert("I") if image.mode != "I" else image)
        if wide.min() < 0 or wide.max() > 65535:
            raise BadImageError("32-bit pixels have no defined range; save it with 8 or 16 bits")
        return Image.fromarray(((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    return image


def _to_square(image: Image.Image, resolution: int, fit: Fit) -> Image.Image:
    width, height = image.size
    if fit == "pad":
        scale = resolution / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        empty = (255, 255, 255, 0)[: len(image.getbands())]  # white, and transparent where there is alpha
        square = Image.new(image.mode, (resolution, resolution), empty)
        square.paste(_resize(image, inner), ((resolution - inner[0]) // 2, (resolution - inner[1]) // 2))
        return square
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        # Cut first: resize(box=...) would let what lies outside the box shine in at its edges.
        image = image.crop((left, top, left + side, top + side))
    return _resize(image, (resolution, resolution))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Pillow resizes RGBA with colours weighted by alpha, so that hidden colours do not bleed out.
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "cannot identify image file" in text:
        return "not an image of a known format, or damaged"
    return text if len(text) <= 160 else text[:157] + "..."
