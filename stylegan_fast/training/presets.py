"""What ``train`` does with no arguments: settings for the built-in faces, by kind of device.

Any option given on the command line replaces the preset's.
"""

from __future__ import annotations

from typing import Any

FACES: dict[str, dict[str, Any]] = {
    "cpu": {"resolution": 32, "kimg": 20.0, "channel_base": 1024, "channel_max": 64, "z_dim": 128, "map_depth": 4},
    "mps": {"resolution": 64, "kimg": 1000.0, "channel_base": 4096, "channel_max": 256},
    "cuda": {"resolution": 128, "kimg": 5000.0},
}
