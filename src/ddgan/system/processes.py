"""The processes of a run: one, or as many as a launcher starts (torchrun, accelerate launch).

Each holds all weights and processes its rows of the global batch. Gradients are averaged after the
backward pass, with one all-reduce per update. This needs no wrapper around the networks, works with second
derivatives (R1) and with several backward passes per update, and gives every process the same gradient, so
that all make the same decisions.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from ddgan.system.devices import choose_device
from ddgan.system.text import one_line

__all__ = ["Processes", "TrainingError", "join_processes"]

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, which may be scoring or writing a checkpoint."""


class TrainingError(RuntimeError):
    """Training cannot continue; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Processes:
    """One process among those of a run.

    Attributes:
        device: the device of the process.
        rank: index of the process, from 0.
        count: number of processes.
    """

    device: torch.device
    rank: int = 0
    count: int = 1
    _talk: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Return this process's rows of the global batch."""
        share = batch_size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over all processes."""
        if self.count > 1:
            self._combine(list(tensors), self.count)

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count > 1:
            self._combine(list(tensors), 1)

    def _combine(self, tensors: list[Tensor], divisor: int) -> None:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        self._reduce(flat, dist.ReduceOp.SUM)
        parts = flat.div_(divisor).split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; every process must call this."""
        return self.largest(int(flag)) > 0

    def largest(self, number: int) -> int:
        """Return the maximum over all processes, without synchronising the device."""
        if self.count == 1:
            return number
        value = torch.tensor(number)
        self._reduce(value, dist.ReduceOp.MAX, self._talk)
        return int(value)

    def from_main(self, text: str) -> str:
        """Return the text of the main process in every process; the others wait for it."""
        if self.count == 1:
            return text
        texts = [text]
        with _others_alive():
            dist.broadcast_object_list(texts, 0, self._talk)
        return texts[0]

    def _reduce(self, value: Tensor, operation: Any, group: dist.ProcessGroup | None = None) -> None:
        with _others_alive():
            dist.all_reduce(value, operation, group)


@contextmanager
def _others_alive() -> Iterator[None]:
    """Turn an error of communication into one that says another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "another process of this run has died or does not respond "
            f"({one_line(error)[:200]}); see its last message, then resume from the "
            "newest checkpoint with ddgan train --resume RUN"
        ) from None


def join_processes(device_name: str) -> Processes:
    """Join the processes that were started together, as described by the launcher's environment.

    Raises:
        ValueError: as `choose_device`, or if the device does not support several processes.
    """
    device, count = choose_device(device_name), int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes(device)
    if device.type == "mps":
        raise ValueError(f"training.device is mps, which supports one process only, not {count}; use cpu")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        if device.type == "cuda":
            atexit.register(dist.destroy_process_group)
    talk = dist.new_group(backend="gloo", timeout=PATIENCE)
    return Processes(device, dist.get_rank(), count, talk)
