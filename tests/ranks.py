"""Jobs of several processes on this machine, as torchrun starts them, but without its agent."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence


def start_ranks(arguments: Sequence[str], count: int = 2) -> list["subprocess.Popen[str]"]:
    """``python <arguments>`` as ranks 0, 1, ... of one job; gloo on the CPU, one thread each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]


def finish(processes: Sequence["subprocess.Popen[str]"], timeout: float = 300) -> list[tuple[int, str, str]]:
    """(exit status, stdout, stderr) of each; none is left behind."""
    try:
        ended = []
        for process in processes:
            out, err = process.communicate(timeout=timeout)
            ended.append((process.returncode, out, err))
        return ended
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
