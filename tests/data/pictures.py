"""Small pictures, folders and ZIPs for the tests of this folder."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (230, 220, 40)


def noise(seed: int, size: int = 16, channels: int = 3) -> np.ndarray:
    """uint8 [size, size, channels]"""
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def quadrants(size: int = 32) -> Image.Image:
    """Red, green / blue, yellow: every rotation and reflection of it is different."""
    image = Image.new("RGB", (size, size))
    half = size // 2
    for place, colour in zip(((0, 0), (half, 0), (0, half), (half, half)), (RED, GREEN, BLUE, YELLOW), strict=True):
        image.paste(colour, (*place, place[0] + half, place[1] + half))
    return image


def make_folder(root: Path, files: dict[str, bytes], description: object | None = None) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    if description is not None:
        (root / "dataset.json").write_text(json.dumps(description))
    return root


def make_zip(path: Path, files: dict[str, bytes], description: object | None = None, how: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if description is not None:
            archive.writestr("dataset.json", json.dumps(description))
    return path


def noise_files(count: int, size: int = 16) -> dict[str, bytes]:
    return {f"{place:03d}.png": encoded(noise(place, size)) for place in range(count)}
