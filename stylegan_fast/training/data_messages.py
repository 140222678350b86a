"""What a data set has to say while it is opened."""

from __future__ import annotations

import sys

from tqdm import tqdm

from stylegan_fast.training.run_folder import RunFolder


class DataMessages:
    """What the data set has to say: on stderr and, as soon as the run has a folder, in its log; on rank 0."""

    def __init__(self, heard: bool) -> None:
        self._heard = heard
        self._early: list[str] = []
        self._folder: RunFolder | None = None

    def __call__(self, line: str) -> None:
        if not self._heard:
            return
        tqdm.write(line, file=sys.stderr)  # above a progress bar, if there is one
        if self._folder is None:
            self._early.append(line)
        else:
            self._folder.log(line)

    def keep_in(self, folder: RunFolder) -> None:
        self._folder = folder
        for line in self._early:
            folder.log(line)
