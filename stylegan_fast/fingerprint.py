"""Whether compiled kernels belong to the sources beside them. Used by setup.py too, so torch is not imported."""

import hashlib
from pathlib import Path


def fingerprint(csrc: Path) -> str:
    """A digest of the names and contents of all source files below ``csrc``."""
    digest = hashlib.sha256()
    for path in sorted(csrc.rglob("*")):
        if path.suffix in (".cpp", ".h", ".cu", ".cuh"):
            digest.update(f"{path.relative_to(csrc).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
