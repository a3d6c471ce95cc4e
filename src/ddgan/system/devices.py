"""Devices: which there is, waiting for one, and copies to one that nothing waits for."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose_device", "to_device", "wait_for"]


def choose_device(name: str) -> torch.device:
    """The device for a run.

    Raises:
        ValueError: if it is unknown, or was asked for by name and is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if name not in there:
        raise ValueError(f"device is '{name}'; it must be one of auto, {', '.join(there)}")
    if not there[name]:
        raise ValueError(f"device is {name}, which this machine does not have; use auto or cpu")
    return torch.device(name)


def wait_for(device: torch.device) -> None:
    """Until the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; a copy from the CPU to a GPU does not wait for what the GPU still has to do."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
