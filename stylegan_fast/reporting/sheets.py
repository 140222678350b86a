"""Sheets of samples, made small enough to be kept inside one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

MOST_SHEETS = 30
MOST_BYTES = 6_000_000  # of all pictures of a page together: what a phone still opens at once
_WIDEST = 1200


class SheetPictures:
    """JPEGs of sheets as ``data:`` addresses.

    Attributes:
        addresses: one for each path; None for a file that is no whole picture.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        encoded = [_jpeg(path, 1.0) for path in paths]
        size = sum(len(picture) for picture in encoded if picture is not None)
        if size > MOST_BYTES:
            # Bytes go with the area, not quite: small pictures have more detail in each pixel.
            scale = 0.9 * (MOST_BYTES / size) ** 0.5
            encoded = [_jpeg(path, scale) for path in paths]
        self.addresses = [
            picture and "data:image/jpeg;base64," + base64.b64encode(picture).decode() for picture in encoded
        ]


def _jpeg(path: Path, scale: float) -> bytes | None:
    try:
        with Image.open(path) as sheet:
            sheet = sheet.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return None
    scale *= min(_WIDEST / sheet.width, 1.0)
    if scale < 1:
        sheet = sheet.resize((max(round(sheet.width * scale), 1), max(round(sheet.height * scale), 1)))
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=85, optimize=True)
    return content.getvalue()
