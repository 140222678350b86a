"""What may watch a run, and act, without the loop knowing of it: augmentation, metrics, profiles, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from stylegan_fast.training.loop import Loop


class Observer:
    """Called at fixed moments on *every* rank; each method does nothing unless overridden.

    Only rank 0 has ``loop.folder`` (None on the others). An observer with a ``name`` and state is kept in ``state.pt``
    and goes on to the bit; one without a name has none. Nothing here may wait for the device at every step.
    """

    name = ""

    def begin(self, loop: Loop) -> None:
        """Before the first step of a sitting, new or resumed."""

    def step_begins(self, loop: Loop) -> None:
        """Before each pair of steps: the place to key random draws by ``loop.position.step``."""

    def step_ends(self, loop: Loop, values: dict[str, Tensor]) -> None:
        """After each pair, with the 0-d tensors its steps returned (this rank's share, on the device)."""

    def tick(self, loop: Loop, row: dict[str, Any]) -> None:
        """Before a row of ``stats.jsonl`` is written; whatever is put into ``row`` is written with it."""

    def snapshot(self, loop: Loop) -> None:
        """After the files of a snapshot and before its state. See ``Loop.report_quality`` for what counts as best."""

    def end(self, loop: Loop) -> None:
        """After the last step of a sitting, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, as ``weights_only`` loading allows."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
