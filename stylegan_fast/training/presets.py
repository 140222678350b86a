"""What ``train`` does with no arguments: settings for the built-in faces, by kind of device.

Any option given on the command line replaces the preset's.
"""

from __future__ import annotations

from typing import Any

FACES: dict[str, dict[str, Any]] = {
    # Faces are there from about 50 kimg on; 60 take some eight minutes on two cores. At these widths R1 with the
    # paper's gamma of 10, tuned for 1024x1024, holds D back.
    "cpu": {
        "resolution": 32,
        "kimg": 60.0,
        "batch": 16,
        "lr": 0.002,
        "gamma": 1.0,
        "channel_base": 512,
        "channel_max": 64,
        "z_dim": 64,
        "map_depth": 4,
        "tick": 2.0,
    },
    "mps": {"resolution": 64, "kimg": 1000.0, "channel_base": 4096, "channel_max": 256},
    "cuda": {"resolution": 128, "kimg": 5000.0},
}
# On a GPU, at another size than the 128 above.
FACES_ON_GPU: dict[int, dict[str, Any]] = {64: {"resolution": 64, "kimg": 2000.0, "channel_base": 4096, "gamma": 2.0}}


def faces_preset(device_type: str, resolution: int | None) -> dict[str, Any]:
    """The settings for the built-in faces on this kind of device; ``resolution``: the one asked for, if any."""
    if device_type == "cuda" and resolution in FACES_ON_GPU:
        return FACES_ON_GPU[resolution]
    return FACES.get(device_type, FACES["cpu"])
