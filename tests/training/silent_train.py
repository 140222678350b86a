"""``python -m stylegan_fast.train`` whose rank 1 stops, without ending, before its tenth step of the generator, as a
machine without power or cable does: its connections stay and nothing answers. The others wait five seconds in steps."""

import datetime
import os
import signal
import sys
from typing import Any

from stylegan_fast import distributed
from stylegan_fast.command import exit_status
from stylegan_fast.train import main
from stylegan_fast.training.trainer import Trainer

g_step = Trainer.g_step
steps = 0


def step_or_stop(*arguments: Any) -> Any:
    global steps
    steps += 1
    if steps == 10:
        os.kill(os.getpid(), signal.SIGSTOP)
    return g_step(*arguments)


if __name__ == "__main__":
    distributed.STEP_TIMEOUT = datetime.timedelta(seconds=5)
    if os.environ["RANK"] == "1":
        Trainer.g_step = step_or_stop  # type: ignore[method-assign]
    sys.exit(exit_status(main, sys.argv[1:]))
