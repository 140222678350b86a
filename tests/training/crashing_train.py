"""A run that kills itself, as ``kill -9`` does, at a given one of the moments that matter: before and after each step,
before and after each sync and each renaming of a file. ``python crashing_train.py MOMENT OUTDIR CACHE [RUN]``; moment 0
is never reached."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stylegan_fast.training.start import train
from stylegan_fast.training.trainer import Trainer

# 500 pairs of steps and 50 snapshots: to 0.48 kimg 8x8, fading to 0.96, 16x16, fading from 1.44 to 1.92, then 32x32.
OPTIONS: dict[str, Any] = {
    **{"data": "faces:40", "resolution": 32, "channel_base": 32, "channel_max": 8, "z_dim": 8, "map_depth": 2},
    **{"batch": 4, "kimg": 2.0, "growth_kimg": 20.0, "tick": 0.04, "snap": 1, "threads": 1, "device": "cpu"},
}


class Killer:
    """Counts the calls of what it watches, and ends the process at one of them."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def watched(self, function: Callable) -> Callable:
        def call(*arguments: Any, **named: Any) -> Any:
            self.count()
            result = function(*arguments, **named)
            self.count()
            return result

        return call

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def crash(moment: int, outdir: Path, cache: Path, run: str | None) -> int:
    killer = Killer(moment)
    for owner, name in ((os, "replace"), (os, "fsync"), (Trainer, "d_step"), (Trainer, "g_step")):
        setattr(owner, name, killer.watched(getattr(owner, name)))
    options = {} if run else OPTIONS
    return train({**options, "cache_dir": str(cache)}, str(outdir), run)


if __name__ == "__main__":
    sys.exit(crash(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None))
