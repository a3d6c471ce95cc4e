"""Memory: how much there is, and how much a computation would take, counted without doing it.

A computation on meta tensors has shapes but no data. `MemoryMeter` follows the storages that it would
allocate and free, through backward passes of any order, recomputation and accumulation, so its peak is that
of the real computation, up to the scratch buffers within single operations.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["LIBRARIES", "MemoryMeter", "available_memory", "check_allocation", "in_bytes", "taken_on"]

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
CGROUPS = Path("/sys/fs/cgroup")
WASTED, WASTED_BY_ROWS, WASTED_BY_MAPS, WASTED_ON_GPU = 1.2, 1.35, 2.0, 1.4
"""Bytes taken per byte of a tensor, with scratch buffers and fragmentation (docs/results/memory.md): on a CPU
of a large one, of smaller ones (B, F) and smaller feature maps, which come in more sizes; and on a GPU."""
HEAP = 32 * 2**20
"""The C library keeps tensors of fewer bytes in a heap, which becomes fragmented and never shrinks."""
LIBRARIES = 180 * 2**20
"""Code and buffers of libraries that the first computations load."""
FORMATTED = (4, 5)
"""Numbers of axes of images and volumes (B, C, *spatial), whose channels may be innermost."""
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
NO_LIMIT = 2**60
"""Limits at least this large mean that there is none."""


def in_bytes(count: float) -> str:
    """Format a number of bytes for people, such as 2.4 GB."""
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return f"{count:.0f} bytes"


def taken_on(device: torch.device) -> Callable[[Tensor], int]:
    """Return the function from a tensor to the bytes that it takes on a device, for `MemoryMeter`."""

    def taken(tensor: Tensor) -> int:
        if device.type == "cuda":
            factor = WASTED_ON_GPU
        elif exactly(tensor) >= HEAP:
            factor = WASTED
        else:
            factor = WASTED_BY_MAPS if tensor.ndim > 2 else WASTED_BY_ROWS
        return int(factor * exactly(tensor))

    return taken


def exactly(tensor: Tensor) -> int:
    """Return the bytes of a tensor's storage."""
    return tensor.untyped_storage().nbytes()


def check_allocation(size: int, words: str, remedy: str, device: torch.device) -> None:
    """Check that there is memory for something, before it is allocated.

    Args:
        size: its bytes.
        words: names the setting, its value and what takes the memory: "n is 5, whose features".
        remedy: what a person can do.
        device: where it will be.

    Raises:
        ValueError: in one line, if there is less.
    """
    available = available_memory(device)
    if available is not None and size > available:
        raise ValueError(
            f"{words} take about {in_bytes(size)}, more than the {in_bytes(available)} of {device.type} "
            f"memory that is available; {remedy}"
        )


class MemoryMeter(TorchDispatchMode):
    """While active, counts the bytes of the tensors of a device that are created and still alive.

    Args:
        existing: tensors that were there before and do not count.
        taken: the bytes that an allocator takes for a tensor; by default its own.
        device_type: the type of the device.

    Attributes:
        now: bytes at present.
        peak: the largest `now` so far.
    """

    def __init__(
        self,
        existing: Iterable[Tensor] = (),
        taken: Callable[[Tensor], int] | None = None,
        device_type: str = "meta",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._taken, self._device_type = taken or exactly, device_type
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._existing = list(existing)  # keeps their storages, and so their keys
        self._known = {tensor.untyped_storage()._cdata for tensor in self._existing}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS and self._device_type == "meta":
            result = _laid_out(result, args)
        for tensor in _tensors(result):
            self._follow(tensor)
        return result

    def _follow(self, tensor: Tensor) -> None:
        if tensor.device.type != self._device_type:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known or key in self._alive:
            return
        size = self._taken(tensor)

        def freed(_: object) -> None:
            del self._alive[key]
            self.now -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def _laid_out(result: Any, args: Sequence[Any]) -> Any:
    """Return the result of a convolution with the channels innermost if an input has them, as kernels do."""
    if not any(isinstance(arg, Tensor) and _has_channels_innermost(arg) for arg in args):
        return result
    if isinstance(result, Tensor):
        return _with_channels_last(result)
    return tuple(_with_channels_last(x) if x is not None and x.ndim in FORMATTED else x for x in result)


def _with_channels_last(x: Tensor) -> Tensor:
    """Return a new tensor like x, with the channels innermost."""
    return x.new_empty(x.movedim(1, -1).shape).movedim(-1, 1)


def _has_channels_innermost(x: Tensor) -> bool:
    """Whether the channels of images or volumes are innermost, and only then contiguous."""
    return x.ndim in FORMATTED and not x.is_contiguous() and x.movedim(1, -1).is_contiguous()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that this process can still allocate; None if the device does not say.

    On a CPU: of the machine, of the control group (a container, a job), and of the limit on the address
    space, the smallest.
    """
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    if device.type not in ("cpu", "mps"):
        return None
    try:
        import psutil
    except ImportError:
        return None
    found = [int(psutil.virtual_memory().available), *_left_in_groups(CGROUPS, Path("/proc/self/cgroup"))]
    try:
        import resource
    except ImportError:  # on Windows
        return min(found)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit not in (resource.RLIM_INFINITY, -1):
        found.append(max(limit - psutil.Process().memory_info().vms, 0))
    return min(found)


def _left_in_groups(root: Path, own: Path) -> Iterator[int]:
    """Yield what is left of the memory limit of each control group (version 1 or 2) of this process."""
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").split()]
    except OSError:
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers == "":
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            if (left := _left_in(group, *names)) is not None:
                yield left
            if group == top:
                break


def _left_in(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    """Return limit - usage of a group, where cached files do not count; None if it has no limit."""
    try:
        limit = int((group / limit_name).read_text(encoding="ascii"))
        used = int((group / usage_name).read_text(encoding="ascii"))
        statistics = (group / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):  # ValueError: "max", no limit
        return None
    if limit >= NO_LIMIT:
        return None
    cached = [int(line.split()[1]) for line in statistics.splitlines() if line.startswith(f"{cache_name} ")]
    return max(limit - used + sum(cached), 0)
