"""Results as they are kept: one JSON object a line, and one line for people."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylegan_fast.atomic import append


def append_rows(path: str | Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to a ``metrics.jsonl``. A number that is not finite becomes null. Raises ``OSError``."""
    append(path, "".join(json.dumps(_finite(row)) + "\n" for row in rows))


def summary(row: dict[str, Any]) -> str:
    """``fid50k  fid 12.3  (50,000 images, 10,000 real)``."""
    numbers = "  ".join(f"{name} {value:.4g}" for name, value in row["results"].items())
    counted = [f"{row[what]:,} {what}" for what in ("images", "pairs") if row.get(what)]
    if row.get("real_images"):
        counted.append(f"{row['real_images']:,} real")
    return f"{row['metric']:<9} {numbers}  ({', '.join(counted)})"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
