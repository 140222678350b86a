"""What metrics keep of real images, kept for the next time.

One file a collector, ``<cache folder>/metrics/<key>.npz``. The key covers everything that changes what is in it: the
data, which images in which order, mirroring, the detector, the version of the format. A file that cannot be read whole
counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from stylegan_fast.atomic import replacing
from stylegan_fast.data import default_cache_dir
from stylegan_fast.metrics.collector import Collector

VERSION = 1  # raise it when what a collector keeps, or its meaning, changes


class RealCache:
    """Statistics of real images on the disk.

    Args:
        directory: the package's cache folder; None for the user's own.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        root = default_cache_dir() if directory is None else Path(directory).expanduser()
        self.folder = root / "metrics"

    def path(self, key: dict[str, Any]) -> Path:
        text = json.dumps({**key, "version": VERSION}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"

    def load(self, collector: Collector, key: dict[str, Any]) -> bool:
        """Restore the collector from the file of this key; False where there is none."""
        try:
            with np.load(self.path(key), allow_pickle=False) as file:
                collector.restore({name: file[name] for name in file.files})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            return False
        return True

    def save(self, collector: Collector, key: dict[str, Any]) -> None:
        """Write the file, if the collector's contents are to be cached and the folder takes them."""
        arrays = collector.arrays()
        if arrays is None:
            return
        # A cache that cannot be written costs time at the next call, not the result of this one.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path(key)) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
