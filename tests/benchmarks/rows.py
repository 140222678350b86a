"""Rows as a benchmark makes them, with times of our choosing."""

from typing import Any


def row(provider: str, resolution: int, ms: float, case: str = "epilogue") -> dict[str, Any]:
    x_bytes = 4 * 8 * resolution * resolution * 4
    return {
        "op": "adain",
        "device": "cpu",
        "chip": "a chip",
        "dtype": "fp32",
        "layout": "contiguous",
        "direction": "fwd",
        "torch": "2.6.0",
        "threads": 2,
        "commit": None,
        "driver": None,
        "version": "0",
        "case": case,
        "shape": [4, 8, resolution, resolution],
        "resolution": resolution,
        "provider": provider,
        "ms": ms,
        "spread": 0.05,
        "rounds": 7,
        "cuda_graph": False,
        "gbps": 2 * x_bytes / ms / 1e6,
        "roofline": 0.5,
        "fresh_roofline": 0.75,
        "split_gbps": None,
        "peak_bytes": 3 * x_bytes // 2,
        "saved_bytes": None,
        "x_bytes": x_bytes,
    }
