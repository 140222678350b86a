"""Processes that share the work of one command, started by torchrun: ``torchrun --nproc_per_node 8 -m ...``.

Without torchrun there is one process, ``ALONE``, for which everything here does nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from stylegan_fast.errors import UserError

# Between two meetings one process may write a snapshot or decode a data set while the others wait.
TIMEOUT = datetime.timedelta(minutes=60)
# Within steps nobody has anything else to do: a machine that is silent for so long is lost, though no connection broke.
STEP_TIMEOUT = datetime.timedelta(minutes=10)


class LostRank(UserError):
    """Another process of the job has ended, or cannot be reached any more."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the job: number ``rank`` of ``count``, ``local_rank`` on its machine.

    ``steps`` is the group they meet in within steps, whose waiting ends sooner.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    steps: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, all in one flat all-reduce; same shapes on every rank.

        For steps: raises ``LostRank`` where a rank does not come within ``STEP_TIMEOUT``, elsewhere it is ``TIMEOUT``.
        """
        if self.count == 1 or not tensors:
            return
        with _meeting():
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            dist.all_reduce(flat, group=self.steps)
            flat /= self.count
            parts = flat.split([tensor.numel() for tensor in tensors])
            views = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
            torch._foreach_copy_(list(tensors), views)

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        if self.count == 1:
            return number
        with _meeting():
            shared = torch.tensor(number)
            dist.all_reduce(shared, dist.ReduceOp.MAX)
            return int(shared)

    def wait(self) -> None:
        """Until every rank has come here, however long one of them was at work alone."""
        self.largest(0)

    def shared(self, value: Any) -> Any:
        """Rank 0's value (anything that can be pickled; only this job's own processes are read), on every rank."""
        if self.count == 1:
            return value
        with _meeting():
            box = [value if self.first else None]
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
            return box[0]

    def gathered(self, value: Any) -> list[Any] | None:
        """Every rank's value in the order of the ranks, on rank 0; None on the others."""
        if self.count == 1:
            return [value]
        with _meeting():
            values: list[Any] | None = [None] * self.count if self.first else None
            dist.gather_object(value, values, dst=0)
            return values

    def device(self, device: torch.device) -> torch.device:
        """The device of this rank: its own GPU of the machine's, where ``device`` is "cuda".

        Raises ``UserError`` where the machine has fewer GPUs than processes.
        """
        if self.count == 1 or device.type != "cuda":
            return device
        if self.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"--nproc_per_node: process {self.local_rank} of this machine has no GPU, there are "
                f"{torch.cuda.device_count()}; start at most as many processes"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)


ALONE = Ranks()


@contextlib.contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """The processes of this job, met; they part at the end. Those torchrun started, else this one alone.

    Tensors of the CPU travel through gloo, those of GPUs through nccl. Raises ``UserError`` where they do not meet.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield ALONE
        return
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if count == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as failure:
        raise UserError(f"the {count} processes of the job did not meet: {_in_one_line(failure)}") from None
    try:
        with _meeting():
            steps = dist.new_group(timeout=STEP_TIMEOUT)
        yield Ranks(rank, count, int(os.environ.get("LOCAL_RANK", rank)), steps)
    finally:
        # After a lost rank the group may be past saving, and what went wrong has been said.
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


@contextlib.contextmanager
def _meeting() -> Iterator[None]:
    """Turns the failure of a collective call, of whatever backend, into ``LostRank``."""
    try:
        yield
    except RuntimeError as failure:
        if "out of memory" in str(failure):
            raise
        raise LostRank(f"another process of the job was lost ({_in_one_line(failure)})") from None


def _in_one_line(failure: BaseException) -> str:
    return " ".join(str(failure).split())[:200]
