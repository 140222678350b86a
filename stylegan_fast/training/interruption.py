"""Ctrl-C and SIGTERM as a wish to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, the first SIGINT or SIGTERM only sets ``requested``; a second one acts as it did before.

    Under torchrun (``launched``) a second one is nothing new: its agent sends SIGTERM to processes that had the
    terminal's SIGINT already, and SIGKILL to those that take too long. After an error the process is on its way out,
    and its last words, which the agent's SIGTERM would cut off, are what says why.

    Python lets only the main thread handle signals; elsewhere nothing is changed.
    """

    def __init__(self, notice: str | None, launched: bool = False) -> None:
        self.requested: int | None = None  # the signal's number
        self._notice = notice
        self._launched = launched
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._launched and error is not None:
            self._before = dict.fromkeys(self._before, signal.SIG_IGN)
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        again = self.requested is not None
        if not again:
            self.requested = number
        if not self._launched:
            self._restore()
        if self._notice is not None and not again:
            print(self._notice, flush=True)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
