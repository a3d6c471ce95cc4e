"""The memory and time of training, estimated before it begins.

The networks are built without memory, on the meta device, and one iteration is run on meta tensors with the
method's own losses: backward passes, R1's second derivatives, accumulation and recomputation allocate and
free the same tensors as in training, and `MemoryMeter` counts them. The total is

    weights, EMAs and optimizers' moments
  + the larger of an iteration's peak and the copy that a checkpoint is written from
  + what libraries take for themselves

where the peak includes what allocators waste (measured, docs/results/memory.md). It errs on the high side.
`fitting` names settings that would fit, each checked by another estimate.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from ddgan.config.overrides import dotted
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import SettingError
from ddgan.data.batch import Batch
from ddgan.diffusion.process import Diffusion
from ddgan.models.opening import TooManyParametersError, at_most
from ddgan.models.precision import channels_innermost
from ddgan.system.memory import LIBRARIES, MemoryMeter, available_memory, in_bytes, taken_on
from ddgan.system.processes import Processes
from ddgan.system.text import one_line
from ddgan.training.freezing import trained
from ddgan.training.iteration import all_updates
from ddgan.training.setup import (
    arithmetic,
    build_networks,
    laid_out,
    loss_scales,
    part_size,
    recompute_blocks,
)
from ddgan.training.space import moments_of
from ddgan.training.state import DISCRIMINATOR, GENERATOR, Method, TrainState

__all__ = ["Estimate", "check_memory", "estimate", "fitting", "operations"]

MOST_TENSORS = 20_000
"""Maximum number of weight tensors of all networks; the largest published ones have some 600."""
GRAPHS = 1.5
"""Factor for training.cuda_graphs, where each kind of iteration has memory of its own."""
WARN_ABOVE = 0.8
"""Share of the available memory above which training is warned of."""
NARROWEST, MOST_TRIES = 8, 4
"""Smallest number of base channels that is suggested, and number of changes tried to find one that fits."""
MOST_SAVED = 4
"""Factor of memory that recomputing activations does not save."""
FEW_AT_ONCE = 4
"""Images at once of the smaller estimate that changes of the batch size are chosen from."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes on each device.

    Attributes:
        parameters: number of parameters by network: "generator", and "discriminator" if there is one.
        state_bytes: weights, EMAs and the optimizers' moments.
        iteration_bytes: gradients, batch, noise and activations at the peak of an iteration.
        part_size: images that a network gets at once.
        total_bytes: all of it, with what libraries take and the copy that checkpoints are written from.
    """

    parameters: Mapping[str, int]
    state_bytes: int
    iteration_bytes: int
    part_size: int

    @property
    def total_bytes(self) -> int:
        """All of it, with what libraries take and the copy that checkpoints are written from."""
        return self.state_bytes + max(self.iteration_bytes, self.state_bytes) + LIBRARIES

    def __str__(self) -> str:
        sizes = ", ".join(f"{count / 1e6:.3g}M in the {name}" for name, count in self.parameters.items())
        return (
            f"{sizes}; {in_bytes(self.total_bytes)} of memory ({in_bytes(self.state_bytes)} for weights, "
            "EMAs and optimizers)"
        )


def estimate(
    config: RunConfig, sample_shape: tuple[int, ...], processes: Processes | None = None
) -> Estimate:
    """Estimate what a run takes on each device, without allocating it.

    Args:
        config: the settings, with a known number of classes (see `setup.resolved`).
        sample_shape: the shape of a sample.
        processes: those that share the batch, and their device, which need not be there; by default one
            process on a CPU.

    Raises:
        SettingError: naming the setting of a network that does not suit the samples, or is beyond counting.
    """
    processes = processes or Processes(torch.device("cpu"))
    try:
        with torch.device("meta"), at_most(MOST_TENSORS):
            networks = build_networks(config, sample_shape)
    except TooManyParametersError:
        raise SettingError(
            "",
            f"the networks have more than {MOST_TENSORS:,} weight tensors; lower generator.num_blocks, or "
            "the number of levels or layers",
            is_sentence=True,
        ) from None
    parameters = {name: _bytes_of(network.parameters())[0] for name, network in networks.items()}
    weights = {name: _bytes_of(network.parameters())[1] for name, network in networks.items()}
    learned = {name: _bytes_of(trained(network))[1] for name, network in networks.items()}
    optimizers = dict.fromkeys(networks, config.optimization.generator) | {
        DISCRIMINATOR: config.optimization.discriminator
    }
    moments = {name: size * moments_of(optimizers[name]) for name, size in learned.items()}
    emas = config.optimization.ema.count * weights[GENERATOR]
    state = sum(weights.values()) + sum(moments.values()) + emas
    gradients_sent = sum(learned.values()) if processes.count > 1 else 0  # flat, see `Processes.average_`
    return Estimate(
        parameters,
        int(state),
        _peak_of_iteration(config, networks, sample_shape, processes) + gradients_sent,
        part_size(config.training, processes),
    )


def _bytes_of(tensors: Iterable[Any]) -> tuple[int, int]:
    """Return the number of values of tensors and their bytes."""
    all_of_them = list(tensors)
    return sum(t.numel() for t in all_of_them), sum(t.numel() * t.element_size() for t in all_of_them)


class _Still(torch.optim.Optimizer):
    """An optimizer that takes no step, and is not asked on the host whether it may."""

    _step_supports_amp_scaling = True

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.0})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing."""


def _busiest(method: Method) -> int:
    """Return an iteration with the most updates, and with all penalties that are due together."""
    first = -(-method.first_usual // method.period) * method.period
    return max(
        (first + method.period - 1, first), key=lambda step: (len(method.updates(step)), step == first)
    )


def _peak_of_iteration(
    config: RunConfig, networks: dict[str, nn.Module], sample_shape: tuple[int, ...], processes: Processes
) -> int:
    """Return the peak bytes of the iteration that does most: the most updates, with penalties."""
    training = config.training
    step = _busiest(config.method)
    with _rehearsed(config, networks, sample_shape, processes, step) as (updates, existing):
        meter = MemoryMeter(existing, taken_on(processes.device))
        with meter:
            updates()
    peak = meter.peak
    if training.accumulation > 1:  # the gradients of earlier parts are there throughout
        peak += max(_bytes_of(trained(network))[1] for network in networks.values())
    return int(peak * GRAPHS) if training.cuda_graphs else peak


def operations(config: RunConfig, sample_shape: tuple[int, ...], processes: Processes | None = None) -> float:
    """Count the floating-point operations of an iteration, all parts of the batch, on one process.

    Products and convolutions count, a multiplication and an addition as two. It is the mean over the
    iterations between two applications of the rarest penalty.

    Args:
        config: the settings, with a known number of classes.
        sample_shape: the shape of a sample.
        processes: those that share the batch, and their device, which need not be there; by default one
            process on a CPU.
    """
    processes, method = processes or Processes(torch.device("cpu")), config.method
    with torch.device("meta"):
        networks = build_networks(config, sample_shape)
    first = -(-method.first_usual // method.period) * method.period
    counted: dict[Hashable, float] = {}  # iterations of one kind do the same
    total = 0.0
    for step in range(first, first + method.period):
        kind = method.iteration_kind(step)
        if kind not in counted:
            with (
                _rehearsed(config, networks, sample_shape, processes, step) as (updates, _),
                FlopCounterMode(display=False) as counter,
            ):
                updates()
            counted[kind] = float(counter.get_total_flops())
        total += counted[kind]
    mean: float = total / method.period
    return mean * config.training.accumulation


@contextmanager
def _rehearsed(
    config: RunConfig,
    networks: dict[str, nn.Module],
    sample_shape: tuple[int, ...],
    processes: Processes,
    step: int,
) -> Iterator[tuple[Callable[[], object], list[Tensor]]]:
    """Prepare iteration `step` on meta tensors.

    Yields the function that makes its updates on one part of the batch, with the noise of the whole, and the
    tensors that are there before.
    """
    training, method = config.training, config.method
    size = part_size(training, processes)
    state = TrainState(
        method,
        networks,
        {name: _Still(trained(network)) for name, network in networks.items()},
        (),
        Diffusion(config.diffusion).to("meta"),
        config.optimization,
        training.planned_iterations,
        step=step,
        batch_size=size,
        streak=torch.zeros((), dtype=torch.int64, device="meta"),
    )
    lowered = arithmetic(training, processes.device)
    state.loss_scales = loss_scales(networks, lowered, "meta")
    for network in networks.values() if training.channels_last else ():
        channels_innermost(network)

    def updates() -> None:
        whole = torch.empty(size * training.accumulation * processes.count, *sample_shape, device="meta")
        noise = method.draw(config, state.step, whole).rows(slice(size))
        condition = config.conditions.shapes.null(len(whole), sample_shape, "meta")
        batch = Batch(whole, condition).rows(slice(size))
        all_updates(state, laid_out(batch, training), noise)

    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(_as_trained(network, lowered, training.activation_checkpointing))
        stack.enter_context(_RealKernels(processes.device.type))
        yield updates, [*_all_tensors(networks.values()), *state.diffusion.buffers()]


def _all_tensors(networks: Any) -> Iterator[Tensor]:
    for network in networks:
        yield from network.parameters()
        yield from network.buffers()


@contextmanager
def _as_trained(network: nn.Module, lowered: torch.dtype | None, recomputed: bool) -> Iterator[None]:
    """Let a meta network save what it saves in training: in 16 bits, or with recomputed blocks."""
    hooks: list[Any] = []
    if lowered is not None:
        modes: list[_Lowered] = []

        def before(module: nn.Module, args: Any) -> None:
            modes.append(_Lowered(lowered))
            modes[-1].__enter__()  # type: ignore[no-untyped-call]

        def after(module: nn.Module, args: Any, output: Any) -> Any:
            modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]
            return output.float()

        called = network.values() if isinstance(network, nn.ModuleDict) else [network]
        for module in called:  # hooks are run by calls, and not by forward, which a penalty uses
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    if recomputed:
        for block in network.modules():
            if lowered is not None and getattr(block, "is_recomputable", False):
                block.forward = _also_lowered(block.forward, lowered)
        recompute_blocks(network)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _also_lowered(forward: Callable[..., Any], lowered: torch.dtype) -> Callable[..., Any]:
    """Return a block's forward that computes in 16 bits when its input has 16, also when recomputed."""

    def run(h: Tensor, *others: Any) -> Any:
        if h.dtype != lowered:
            return forward(h, *others)
        with _Lowered(lowered):
            return forward(h, *others)

    return run


class _Lowered(TorchFunctionMode):
    """What torch.autocast does to products and convolutions, for meta tensors, which it does not know."""

    PRODUCTS = frozenset(
        {torch.conv1d, torch.conv2d, torch.conv3d, F.linear, torch.matmul}
        | {torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d}
        | {Tensor.matmul, Tensor.__matmul__, torch.bmm, F.scaled_dot_product_attention}
    )

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.PRODUCTS:
            args = tuple(
                arg.to(self._dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg
                for arg in args
            )
        return func(*args, **(kwargs or {}))


class _RealKernels(TorchFunctionMode):
    """Choices that PyTorch makes by device, for meta tensors: layouts, and attention without its matrix.

    Args:
        device_type: the type of the device that training will use.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self._device_type = device_type

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.group_norm and self._device_type == "cpu":
            return _group_norm(*args, **(kwargs or {}))
        is_attention = func is F.scaled_dot_product_attention and len(args) == 3 and not kwargs
        if is_attention and self._device_type != "mps" and all(arg.stride(-1) == 1 for arg in args):
            apply: Callable[..., Tensor] = _Attended.apply
            return apply(*args)
        return func(*args, **(kwargs or {}))


def _group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise as `F.group_norm` on a CPU, which keeps the channels innermost."""
    size, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    normed: Tensor = torch.native_group_norm(x, weight, bias, size, channels, places, groups, eps)[0]
    return normed


def _heads_inside(x: Tensor) -> Tensor:
    """Return a new tensor like x (B, heads, L, C), which lies in memory as (B, L, heads, C)."""
    return x.new_empty(x.transpose(1, 2).shape).transpose(1, 2)


class _Attended(torch.autograd.Function):
    """(query, key, value) -> attended, all (B, heads, L, C)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = _heads_inside(query)
        ctx.save_for_backward(query, key, value, attended, query.new_empty(query.shape[:-1]))
        return attended

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        query, key, value, *_ = ctx.saved_tensors
        return tuple(map(_heads_inside, (query, key, value)))


def check_memory(
    config: RunConfig,
    sample_shape: tuple[int, ...],
    processes: Processes,
    log: Callable[[str], None],
    *,
    refuse: bool = True,
) -> None:
    """Check, before work begins, that a run fits into the memory that is available.

    Args:
        config: the settings, with a known number of classes.
        sample_shape: the shape of a sample.
        processes: those that share the batch.
        log: prints a line; it gets a warning above 80 % of the available memory.
        refuse: whether more than there is raises an error; else it is a warning too.

    Raises:
        ValueError: in one line, with settings that would fit, if the run does not.
    """
    available = available_memory(processes.device)
    if available is None or is_small(config, sample_shape, processes, available):
        return
    if processes.device.type != "cuda":  # the processes of a machine share its memory
        available //= max(int(os.environ.get("LOCAL_WORLD_SIZE", processes.count)), 1)
    try:
        found = estimate(config, sample_shape, processes)
    except SettingError:
        raise
    except Exception as error:  # components of others need not work without data
        log(f"the memory of this run cannot be estimated ({type(error).__name__}: {one_line(error)})")
        return
    there = f"{in_bytes(available)} of {processes.device.type} memory that is available"
    if found.total_bytes > available:
        words = (
            f"training.batch_size is {config.training.batch_size}, with which training takes about "
            f"{in_bytes(found.total_bytes)}, more than the {there}; "
        )
        remedies = fitting(config, sample_shape, available, processes)
        words += f"use {', or '.join(remedies)}" if remedies else "use smaller networks or samples"
        if refuse:
            raise ValueError(words)
        log(f"warning: {words}")
    elif found.total_bytes > WARN_ABOVE * available:
        share = found.total_bytes / available
        log(
            f"warning: training takes about {in_bytes(found.total_bytes)}, {share:.0%} of the {there}; "
            "a higher training.accumulation takes less"
        )


ROUGHLY = 24
"""Values that are kept per value of a feature map, at most: both updates, gradients, second derivatives."""
SMALL = 1 / 8
"""Share of the available memory below which a run is not estimated further."""


def is_small(config: RunConfig, sample_shape: tuple[int, ...], processes: Processes, available: int) -> bool:
    """Whether a run takes far less than there is, by a bound that counts every layer at full resolution.

    It saves the seconds that an estimate takes.
    """
    with torch.device("meta"), at_most(MOST_TENSORS), suppress(TooManyParametersError, SettingError):
        weights = [
            weight
            for network in build_networks(config, sample_shape).values()
            for weight in network.parameters()
            if weight.ndim > 1
        ]
        places = math.prod(sample_shape[1:])
        maps = sum(max(weight.shape[:2]) * (places if weight.ndim > 2 else 1) for weight in weights)
        size = part_size(config.training, processes) * (maps + math.prod(sample_shape))
        state = (6 + config.optimization.ema.count) * sum(weight.numel() for weight in weights)
        return 4 * (ROUGHLY * size + state) < SMALL * available
    return False


def fitting(
    config: RunConfig, sample_shape: tuple[int, ...], available: int, processes: Processes | None = None
) -> list[str]:
    """Return changes of settings with which a run takes at most `available` bytes, each with what it takes.

    At most four: the least accumulation, recomputed activations, the largest batch of a power of two (times
    the accumulation), and narrower networks.
    """
    processes, training = processes or Processes(torch.device("cpu")), config.training
    count, share = processes.count, training.batch_size // processes.count

    def taken(changes: Mapping[str, Any]) -> int | None:
        """Bytes that a run takes after changes; None if they are not allowed."""
        try:
            return estimate(config.changed(changes), sample_shape, processes).total_bytes
        except ValueError:
            return None

    def first(candidates: Iterable[dict[str, Any]]) -> list[str]:
        """Return the first of a few candidates that fits."""
        for changes in islice(candidates, MOST_TRIES):
            size = taken(changes)
            if size is not None and size <= available:
                names = " with ".join(f"--{name} {str(value).lower()}" for name, value in changes.items())
                return [f"{names} ({in_bytes(size)})"]
        return []

    # The memory is nearly a straight line over the images at once, so two of its points tell where to begin.
    small, large = FEW_AT_ONCE * count * training.accumulation, training.batch_size
    at_small, at_large = taken({"training.batch_size": small}), taken({})
    most = 0.0
    if at_small is not None and at_large is not None and at_small <= available and small < large:
        slope = (at_large - at_small) / (large - small)
        most = (small + (available - at_small) / slope) / training.accumulation / count  # images at once
    parts = [n for n in range(training.accumulation + 1, share + 1) if share % n == 0]
    sizes = [count * training.accumulation * 2**n for n in range(20, -1, -1)]
    excess = (at_large or 0) / max(available, 1)
    begin = max(int(math.log2(max(excess, 1))), 1)  # the memory is at least proportional to the width
    widths = (changes for n in range(begin, 11) if (changes := _narrower(config, 2**n)) is not None)
    found = first({"training.accumulation": n} for n in parts if share / n <= most)
    if not training.activation_checkpointing and excess < MOST_SAVED:
        found += first([{"training.activation_checkpointing": True}])
    at_once = count * training.accumulation
    found += first({"training.batch_size": size} for size in sizes if size / at_once <= min(most, share - 1))
    return found + first(widths)


def _narrower(config: RunConfig, divisor: int) -> dict[str, Any] | None:
    """Return the change to generators and discriminators of fewer base channels; None if there is none."""
    changes: dict[str, Any] = {}
    for name, value in dotted(config.to_dict()):
        if name.endswith("base_channels") and value // divisor >= NARROWEST:
            changes[name] = value // divisor
    return changes or None
