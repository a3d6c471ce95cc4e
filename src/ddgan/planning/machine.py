"""What a plan knows of the machine: this one, or another that is stated by its device and memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from ddgan.config.settings import shown
from ddgan.models.precision import choose_precision
from ddgan.system.devices import choose_device
from ddgan.system.memory import UNITS, available_memory, in_bytes

__all__ = ["Machine", "parse_memory", "stated_gpu", "this_machine"]


@dataclass(frozen=True)
class Machine:
    """A machine to train on.

    Attributes:
        device: "cpu", "cuda" or "mps".
        memory: bytes that training can have; None if the device does not say.
        cores: threads that PyTorch computes with.
        precision: the precision that "auto" means on it: "bf16" if it has instructions for that.
        name: the device, in words.
        is_here: whether it is this machine, so that iterations can be measured.
    """

    device: str
    memory: int | None
    cores: int
    precision: str
    name: str
    is_here: bool = True

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {in_bytes(self.memory)} of memory"
        return f"{self.name}{memory}{' available' if self.is_here and memory else ''}"


def this_machine(device: str = "auto", memory: int | None = None) -> Machine:
    """Return this machine.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        memory: bytes to use at most, instead of all that are available.

    Raises:
        ValueError: if it has no such device.
    """
    found = choose_device(device)
    available = available_memory(found)
    limits = [limit for limit in (memory, available) if limit is not None]
    cores = torch.get_num_threads()
    name = f"cpu, {cores} {'thread' if cores == 1 else 'threads'}" if found.type == "cpu" else found.type
    if found.type == "cuda":
        name = torch.cuda.get_device_name(found)
    return Machine(
        found.type,
        min(limits, default=None),
        cores,
        choose_precision("auto", found),
        f"this machine ({name})",
    )


def stated_gpu(memory: int) -> Machine:
    """Return a GPU of another machine, by its memory in bytes.

    It is taken to have instructions for bfloat16, as NVIDIA's have since 2020 (Ampere).
    """
    return Machine("cuda", memory, 1, "bf16", "another machine (a GPU with bf16)", is_here=False)


def parse_memory(text: str) -> int:
    """Convert an amount of memory such as "24GB" or "512 MB" to bytes; a GiB is taken as 2^30 bytes.

    Raises:
        ValueError: if it is not a positive number with a unit.
    """
    found = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kMGT])(i?)B\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0 or len(text) > 40:
        raise ValueError(f"memory is {shown(text)}; it must be a number and a unit, such as 24GB or 512MB")
    power = "kmgt".index(found[2].lower()) + 1
    size = float(found[1]) * (1024**power if found[3] else 1000**power)
    if size > 1000 * UNITS[0][0]:
        raise ValueError(f"memory is {shown(text)}; it must be at most 1,000 TB")
    return int(size)
