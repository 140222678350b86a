"""The folder of one run: what is in it, and how each file is written so that a crash at any moment loses nothing.

::

    runs/00000-faces32/
        config.json                  the settings, for people and other programs (the state holds them too)
        log.txt                      what was printed
        stats.jsonl                  one JSON object a tick
        metrics.jsonl                one a metric and snapshot (train --metrics, calc_metrics)
        reals.png fakes_init.png     the data, and what the untrained generator drew
        report.html                  a page about the run; curves.png and progress.png, two of its pictures
        fakesNNNNNN.png              after NNNNNN thousand images; the same latents every time
        network-NNNNNN.safetensors   G_ema, G and D at that moment
        state.pt state.prev.pt       all that is needed to go on, and the one before it
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from stylegan_fast.atomic import append, replacing
from stylegan_fast.errors import UserError

_SNAPSHOT = re.compile(r"network-(\d{6,})\.safetensors|fakes(\d{6,})\.png")
_NUMBERED = re.compile(r"(\d{5,})-.*")


class RunFolder:
    """Paths and small files of an existing run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state.pt"
        self.previous_state = path / "state.prev.pt"
        self._stats = path / "stats.jsonl"
        self._log = path / "log.txt"
        self.metrics = path / "metrics.jsonl"

    def network(self, num_images: int) -> Path:
        return self.path / f"network-{num_images // 1000:06d}.safetensors"

    def fakes(self, num_images: int) -> Path:
        return self.path / f"fakes{num_images // 1000:06d}.png"

    def remove_old_snapshots(self, keep: int, protected: set[int]) -> None:
        """Remove sheets and networks of all but the ``keep`` newest snapshots.

        ``protected``: those after so many images stay, and count among the ``keep``. A file that cannot be removed
        stays as well.
        """
        numbered: dict[str, list[Path]] = {}
        for path in self.path.iterdir():
            if match := _SNAPSHOT.fullmatch(path.name):
                numbered.setdefault(match[1] or match[2], []).append(path)
        safe = {f"{images // 1000:06d}" for images in protected}
        others = sorted((number for number in numbered if number not in safe), key=int, reverse=True)
        for number in others[max(keep - len(safe), 0) :]:
            for path in numbered[number]:
                with contextlib.suppress(OSError):
                    path.unlink()

    def has_state(self) -> bool:
        return self.state.is_file() or self.previous_state.is_file()

    def write_config(self, config: dict[str, Any]) -> None:
        with replacing(self.path / "config.json") as file:
            file.write((json.dumps(config, indent=2) + "\n").encode())

    def log(self, line: str) -> None:
        append(self._log, line + "\n")

    def append_stats(self, row: dict[str, Any]) -> None:
        """Add one tick. A number that is not finite becomes null, so that any JSON reader can read the file."""
        finite = {k: None if isinstance(v, float) and v - v != 0 else v for k, v in row.items()}
        append(self._stats, json.dumps(finite) + "\n")

    def cut_stats(self, num_images: int) -> None:
        """Drop the ticks and metrics after ``num_images``, which will be written again, and lines cut short."""
        _cut(self._stats, "images", num_images)
        _cut(self.metrics, "kimg", num_images / 1000)  # there "images" counts those that were measured


def _cut(path: Path, position: str, last: float) -> None:
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get(position), int | float) and row[position] <= last:
            kept.append(line + "\n")
    with replacing(path) as file:
        file.write("".join(kept).encode())


def check_outdir(outdir: str | Path) -> None:
    """Make ``outdir`` if it is not there. Raises ``UserError`` where runs could not be written into it."""
    try:
        Path(outdir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=outdir):
            pass
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise UserError(f"--outdir {str(outdir)!r}: cannot write there ({reason}); choose another folder") from None


def create_run_folder(outdir: str | Path, name: str) -> RunFolder:
    """A new folder ``NNNNN-name`` in ``outdir``, numbered after the highest one there.

    Raises ``UserError`` where it cannot be made.
    """
    check_outdir(outdir)
    outdir = Path(outdir)
    while True:
        number = max((n for n, _ in _numbered_runs(outdir)), default=-1) + 1
        path = outdir / f"{number:05d}-{name}"
        try:
            path.mkdir()
        except FileExistsError:
            continue  # another run took the number at the same moment
        return RunFolder(path)


def find_run_to_resume(wanted: str, outdir: str | Path) -> RunFolder:
    """The run meant by ``--resume``: "latest" in ``outdir``, a run folder, or the ``state.pt`` in one.

    The state before it is not to be had by its name: all that was written since would be of another run.

    Raises ``UserError`` where there is nothing to go on from.
    """
    if wanted == "latest":
        outdir = Path(outdir)
        runs = _numbered_runs(outdir) if outdir.is_dir() else []
        for _, path in sorted(runs, reverse=True):
            if RunFolder(path).has_state():
                return RunFolder(path)
        raise UserError(f"--resume latest: no run in {str(outdir)!r} has a state.pt to go on from")
    path = Path(wanted)
    folder = RunFolder(path.parent if path.is_file() else path)
    if not folder.path.is_dir():
        raise UserError(f"--resume {wanted!r}: no such run folder")
    if path.is_file() and path.name == folder.previous_state.name and folder.state.is_file():
        raise UserError(f"--resume {wanted!r}: state.pt beside it is newer; to go back, rename this file to state.pt")
    if not folder.has_state() or (path.is_file() and path.name not in (folder.state.name, folder.previous_state.name)):
        raise UserError(f"--resume {wanted!r}: expected a run folder with a state.pt, or that file")
    return folder


def _numbered_runs(outdir: Path) -> list[tuple[int, Path]]:
    matches = [(_NUMBERED.fullmatch(path.name), path) for path in outdir.iterdir() if path.is_dir()]
    return [(int(match[1]), path) for match, path in matches if match]
