"""Devices: choice, synchronisation, and asynchronous copies."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose_device", "to_device", "wait_for"]


def choose_device(name: str) -> torch.device:
    """Return the device of this name; "auto" takes the first of CUDA, MPS and CPU that is available.

    Raises:
        ValueError: if the name is unknown or the device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, is_available in available.items() if is_available)
    if name not in available:
        raise ValueError(f"device is '{name}'; it must be one of auto, {', '.join(available)}")
    if not available[name]:
        raise ValueError(f"device is {name}, which this machine does not have; use auto or cpu")
    return torch.device(name)


def wait_for(device: torch.device) -> None:
    """Block until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; a copy from the CPU to a GPU does not wait for the GPU's queued work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
