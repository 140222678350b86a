"""Decodes a whole source into the level files of a cache, with one process per core.

The workers are plain child processes fed through pipes, one line of JSON for each range of images: they need no fork
of a process that holds threads or a GPU, and no importable main module. They end when their input ends, so that a
killed builder leaves none behind.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import stylegan_fast
from stylegan_fast.errors import UserError

from .decode import BadImageError
from .pyramid import shrink
from .sources import Source, source_from_spec

_CHUNK_BYTES = 8 * 2**20  # decoded bytes a worker holds between two writes
_SMALL = 400  # below so many images, starting processes takes longer than decoding
_MAX_WORKERS = 16

OnProgress = Callable[[int, list[tuple[int, str]]], None]


def level_file(directory: Path, size: int) -> Path:
    """The pixels of all images at ``size``: raw uint8 ``[count, channels, size, size]``."""
    return directory / f"level-{size:04d}.u8"


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_all(
    source: Source, directory: Path, resolution: int, channels: int, sizes: list[int], on_progress: OnProgress
) -> None:
    """Writes the level files of ``sizes`` in ``directory``; a bad image leaves zeros.

    ``on_progress(images done now, [(place, why), ...])`` is called from one thread at a time, also with the bad images;
    what it raises ends the build. Raises ``OSError`` where writing fails, for one on a full disk, and ``UserError``
    where a worker is killed.
    """
    count = len(source.names)
    for size in sizes:
        with level_file(directory, size).open("wb") as file:
            file.truncate(count * channels * size * size)
    chunk = max(1, min(256, _CHUNK_BYTES // (channels * resolution * resolution)))
    ranges = [(start, min(count, start + chunk)) for start in range(0, count, chunk)]
    job = {
        "source": source.spec(), "directory": str(directory), "resolution": resolution, "channels": channels,
        "sizes": sizes,
    }  # fmt: skip
    workers = min(cores(), _MAX_WORKERS, len(ranges))
    if workers <= 1 or count < _SMALL or not sys.executable:
        files = _LevelFiles(job, source)
        try:
            for start, stop in ranges:
                on_progress(stop - start, files.fill(start, stop))
        finally:
            files.close()
        return
    _in_processes(job, ranges, workers, on_progress)


class _LevelFiles:
    def __init__(self, job: dict[str, Any], source: Source) -> None:
        self.source = source
        self.resolution, self.channels, self.sizes = job["resolution"], job["channels"], job["sizes"]
        directory = Path(job["directory"])
        self.files = {size: level_file(directory, size).open("r+b", buffering=0) for size in self.sizes}

    def fill(self, start: int, stop: int) -> list[tuple[int, str]]:
        """Decodes and writes images ``start`` to ``stop - 1``; returns the bad ones."""
        bad = []
        pixels = np.zeros((stop - start, self.channels, self.resolution, self.resolution), dtype=np.uint8)
        for place in range(start, stop):
            try:
                pixels[place - start] = self.source.pixels(place, self.resolution, self.channels)
            except BadImageError as error:
                bad.append((place, str(error)))
        for size, level in shrink(pixels, self.sizes).items():
            self.files[size].seek(start * self.channels * size * size)
            rest = memoryview(level.tobytes())
            while rest:  # a raw write may be short
                rest = rest[self.files[size].write(rest) :]
        return bad

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _in_processes(job: dict[str, Any], ranges: list[tuple[int, int]], workers: int, on_progress: OnProgress) -> None:
    todo: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, list[tuple[int, str]]] | BaseException] = queue.SimpleQueue()
    for span in ranges:
        todo.put(span)
    for _ in range(workers):
        todo.put(None)
    package_root = str(Path(stylegan_fast.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from stylegan_fast.data.build import worker; worker()"]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(workers):
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment))
        for process in processes:
            threading.Thread(target=_drive, args=(process, job, todo, done), daemon=True).start()
        for _ in ranges:
            answer = done.get()
            if isinstance(answer, BaseException):
                raise answer
            on_progress(*answer)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _drive(
    process: subprocess.Popen[bytes],
    job: dict[str, Any],
    todo: queue.SimpleQueue[tuple[int, int] | None],
    done: queue.SimpleQueue[tuple[int, list[tuple[int, str]]] | BaseException],
) -> None:
    """Feeds one worker until no range is left; what goes wrong is put into ``done``."""
    assert process.stdin is not None
    assert process.stdout is not None
    span: tuple[int, int] | None = None
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        while (span := todo.get()) is not None:
            process.stdin.write(json.dumps(span).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise BrokenPipeError
            answer = json.loads(line)
            if "errno" in answer:
                raise OSError(answer["errno"], answer["message"])
            done.put((span[1] - span[0], [(place, why) for place, why in answer["bad"]]))
    except (BrokenPipeError, ValueError):  # ValueError: half an answer
        where = f" at images {span[0]} to {span[1] - 1}" if span else ""
        done.put(UserError(f"a decoding process ended by itself{where} (killed for lack of memory?)"))
    except OSError as error:
        done.put(error)


def worker() -> None:
    """The main function of a worker process: a job, then ranges, as lines on stdin; an answer for each on stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the builder's to handle
    lines = iter(sys.stdin.buffer.readline, b"")
    job = json.loads(next(lines))
    files = _LevelFiles(job, source_from_spec(job["source"]))
    for line in lines:
        start, stop = json.loads(line)
        try:
            answer: dict[str, Any] = {"bad": files.fill(start, stop)}
        except OSError as error:
            answer = {"errno": error.errno, "message": error.strerror or str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
