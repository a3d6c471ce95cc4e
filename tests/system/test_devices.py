"""Devices are chosen by name; copies to one are asked for once. On a GPU: tests/test_gpu.py."""

from __future__ import annotations

import pytest
import torch

from ddgan.system.devices import choose_device, to_device


def test_an_absent_device_is_refused_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device is cuda, which this machine does not have"):
            choose_device("cuda")


def test_what_is_there_already_is_not_copied() -> None:
    tensor = torch.arange(3)
    assert to_device(tensor, torch.device("cpu")) is tensor
