"""The plan of a run: data, machine and minutes -> settings, with what they take and what to expect.

plan = ddgan.plan("photos/", minutes=240)
print(plan)
ddgan.train(plan.config, "runs/photos")
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ddgan.config.run_config import RunConfig
from ddgan.data.sources import ImagesConfig, with_data
from ddgan.metrics.affordable import SHARE
from ddgan.metrics.comparison_inputs import features_at_hand
from ddgan.networks.conditions import ConditionShapes
from ddgan.planning import rules
from ddgan.planning.choices import FEWEST_AT_ONCE, Choices
from ddgan.planning.cost import Cost, estimated_cost, measured_cost
from ddgan.planning.expectations import expectation
from ddgan.planning.machine import Machine, parse_memory, stated_gpu, this_machine
from ddgan.planning.survey import Survey, survey
from ddgan.planning.work import images_seen
from ddgan.system.memory import in_bytes
from ddgan.system.processes import Processes
from ddgan.system.text import one_line
from ddgan.training.console import time_left
from ddgan.training.estimate import Estimate, estimate
from ddgan.training.setup import resolved_conditions

__all__ = ["MINUTES", "Plan", "plan"]

MINUTES = 60.0
"""How long to train if nobody says."""
MOST_OF_MEMORY = 0.8
"""Share of a machine's memory that a plan takes at most."""
LEAST_BATCH = 16
"""The batch is lowered so far before it is computed in parts."""
LINES_OF_LOG = 200
WIDTH = 110
LENGTHS = ("training.num_iterations", "training.max_images")
"""Settings that give the length in other units than minutes."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan; `str(plan)` is its text, of about ten lines.

    Attributes:
        config: the settings, for `ddgan.train`.
        survey: what is known of the data.
        machine: the machine that it is for.
        minutes: minutes of training.
        memory: the estimated memory, see `ddgan.training.estimate`.
        cost: the seconds of an iteration.
        sample_shape: the shape (C, H, W) of a sample.
        reasons: lines (topic, words) of the choices.
        memory_why: what was changed so that it fits into the memory; empty if nothing.
    """

    config: RunConfig
    survey: Survey
    machine: Machine
    minutes: float
    memory: Estimate
    cost: Cost
    sample_shape: tuple[int, int, int]
    reasons: Mapping[str, str]
    memory_why: str = ""

    @property
    def iterations(self) -> int:
        """Iterations that fit into the minutes, or that the settings ask for."""
        training = self.config.training
        if not training.max_minutes:
            return training.planned_iterations
        return max(int(60 * training.max_minutes / self.cost.seconds), 1)

    @property
    def images(self) -> int:
        """Images seen at the end, each as often as it is in a batch."""
        return self.iterations * self.config.training.batch_size

    def __str__(self) -> str:
        length = time_left(60 * self.minutes)
        lines = [f"plan for {one_line(self.survey.name)}: {length} of training on {self.machine}"]
        for topic, words in self._rows():
            lines += textwrap.wrap(
                f"  {topic:<9} {one_line(words)}", WIDTH, subsequent_indent=" " * 12, break_on_hyphens=False
            )
        return "\n".join(lines)

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "data", _data_words(self.survey)
        yield "size", self.reasons["size"]
        yield "networks", self._network_words()
        yield "memory", self._memory_words()
        yield "time", self._time_words()
        yield "training", self.reasons["training"]
        yield "scores", self.reasons["scores"]
        yield "expect", expectation(self.survey.is_drawn, min(self.sample_shape[1:]), self.images)

    def _network_words(self) -> str:
        config = self.config
        networks = [config.generator, *config.method.discriminators_of().values()]
        kinds = dict.fromkeys(map(_kind_words, networks))
        sizes = [f"{name} {count / 1e6:.3g}M" for name, count in self.memory.parameters.items()]
        return f"parameters: {', '.join(sizes)} ({' and '.join(kinds)})"

    def _memory_words(self) -> str:
        training = self.config.training
        parts = f" in {training.accumulation} parts" if training.accumulation > 1 else ""
        words = f"about {in_bytes(self.memory.total_bytes)} with batches of {training.batch_size}{parts}"
        if self.machine.memory is not None:
            words += (
                f", {self.memory.total_bytes / self.machine.memory:.0%} of {in_bytes(self.machine.memory)}"
            )
        return f"{words}{self.memory_why}"

    def _time_words(self) -> str:
        cost, count = self.cost, self.survey.count
        if cost.is_measured:
            words = (
                f"{_seconds(cost.seconds)} per iteration, measured now; about {self.iterations:,} iterations"
            )
            often = f", each image {self.images / count:,.1f} times" if count else ""
            words += f" see {_round_count(self.images)} images{often}"
        else:
            size, minutes = self.config.training.batch_size, 60 * self.minutes
            low, high = (size * minutes / seconds for seconds in (cost.high, cost.low))
            words = (
                f"{_seconds(cost.low)} to {_seconds(cost.high)} per iteration, {_round_count(low)} to "
                f"{_round_count(high)} images: an estimate for a GPU of this size from our figures of an "
                "H200, not a measurement"
            )
        if not self.config.training.max_minutes:
            words += f"; in all about {time_left(self.iterations * cost.seconds)}"
        return words


def _kind_words(network: Any) -> str:
    """Name the kind of a network, and of the one inside it."""
    inner = getattr(network, "network", None)
    return network.kind if inner is None else f"{inner.kind} in {network.kind}"


def _seconds(seconds: float) -> str:
    """Format a time with two digits."""
    return (
        f"{seconds:.2g} s"
        if seconds >= 1
        else f"{1000 * seconds:.2g} ms"
        if seconds < 0.1
        else f"{seconds:.2f} s"
    )


def _round_count(count: float) -> str:
    """Format a number of images with two digits."""
    if count >= 1e6:
        return f"{count / 1e6:.2g} million"
    return f"{int(float(f'{count:.2g}')):,}"


def _data_words(found: Survey) -> str:
    """Describe the data: count, sizes, colours, classes, copies, broken images."""
    sizes = sorted(found.sizes, key=lambda size: size[0] * size[1])
    (h, w), (most_h, most_w) = sizes[0], sizes[-1]
    parts = [
        f"{found.count:,} {'image' if found.count == 1 else 'images'}" if found.count else "endless images"
    ]
    parts.append(f"{w} x {h}" if len(sizes) == 1 else f"{w} x {h} to {most_w} x {most_h} pixels")
    parts.append({1: "grey", 3: "colour"}.get(found.channels, f"{found.channels} channels"))
    parts.append("drawings" if found.is_drawn else "photographs")
    if found.per_class:
        least, most = min(found.per_class.values()), max(found.per_class.values())
        among = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        parts.append(
            f"{len(found.per_class):,} classes of {among}" if most else f"{len(found.per_class):,} classes"
        )
    if found.copies:
        parts.append(f"{found.copies:,} exact {'copy' if found.copies == 1 else 'copies'}")
    if found.deep:
        parts.append(f"{found.deep:,} of more than 8 bits (scaled to 8)")
    words = ", ".join(parts)
    if found.unchecked:
        words += f"; {found.unchecked:,} of them were not looked at yet"
    if found.bad:
        name, problem = found.bad[0][0].removeprefix(f"{found.name.rstrip('/')}/"), found.bad[0][1]
        which = (
            f"1 cannot be used and is left out: '{name}'"
            if len(found.bad) == 1
            else (f"{len(found.bad):,} cannot be used and are left out, the first: '{name}'")
        )
        words += f"; {which} ({problem})"
    return words


def plan(
    data: Any = None,
    *,
    minutes: float | None = None,
    device: str | None = None,
    memory: str | int | None = None,
    config: str | Path | RunConfig | None = None,
    progress: bool = False,
    log: Callable[[str], object] | None = None,
    **overrides: Any,
) -> Plan:
    """Look at data and a machine, and choose the settings of a run.

    Args:
        data: what to train on, as for `ddgan.train`.
        minutes: how long to train; by default 60, unless the settings give a length.
        device: "cuda" with `memory` plans for another machine; otherwise the device of this one: "auto",
            "cpu", "cuda" or "mps".
        memory: the memory of the other machine, or the most to use of this one: bytes, or text such as
            "24GB".
        config: a preset's name, a YAML file or a RunConfig, whose settings are taken instead of chosen ones.
        progress: show a progress bar while the images are looked at.
        log: receives lines that say what is being done.
        overrides: settings by dotted name, which are kept.

    Returns:
        The plan. `plan.config` trains it, `str(plan)` explains it.

    Raises:
        ValueError: in one line, if an argument is wrong, the data has no usable images, or nothing fits into
            the memory.
    """
    log = log or (lambda line: None)
    base = RunConfig() if config is None else RunConfig.load(config)
    if data is not None:
        base = dataclasses.replace(base, data=with_data(base.data, data, progress=progress))
    if minutes is not None and not 0 < minutes <= 1e7:
        raise ValueError(f"minutes is {minutes:g}; it must be above 0 and at most 10,000,000")
    if (given := [name for name in LENGTHS if name in overrides]) and minutes is not None:
        raise ValueError(f"minutes and {given[0]} both give the length; leave one out")
    if minutes is not None:
        overrides["training.max_minutes"] = minutes
    early = overrides if config is not None else _early(overrides)
    fixed = base.changed(early) if early else base
    machine = _machine(device or fixed.training.device, memory)
    if config is None:
        _check_names(overrides, machine)
    fixed.data.check()
    log("looking at the images")
    found = survey(fixed.data, progress=progress)
    if config is not None:
        shape = _shape(fixed, found)
        reasons = dict.fromkeys(("training", "scores"), "as the settings say")
        reasons["size"] = f"{shape[1]} x {shape[2]}, as the settings say"
        taken = _memory(fixed, shape, found, machine)
        too_much = machine.memory is not None and taken.total_bytes > machine.memory
        why = "; too much: ddgan train says what would fit" if too_much else ""
        return _priced(fixed, found, machine, shape, log, reasons, taken, why)
    return _chosen(fixed, overrides, found, machine, log)


def _early(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that choices depend on: those of the data, the seed, the device and the length."""
    names = ("seed", "training.device", "training.max_minutes", *LENGTHS)
    return {name: value for name, value in overrides.items() if name in names or name.startswith("data.")}


def _check_names(overrides: Mapping[str, Any], machine: Machine) -> None:
    """Check, before any work, that changes are of settings that a plan can have."""
    subbands = rules.uses_subbands(machine)
    some = Choices((3, 32, 32), True, 32, subbands, 32, (1e-4, 1e-4), 0.02, 10.0, True, True, 0.0)
    RunConfig.from_dict(some.settings()).changed(overrides)


def _machine(device: str, memory: str | int | None) -> Machine:
    """Return the machine that is meant."""
    size = parse_memory(memory) if isinstance(memory, str) else memory
    if device == "cuda" and size is not None:
        return stated_gpu(size)
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device is cuda, which this machine does not have; state the memory of another one, as in "
            "--memory 24GB, or use auto"
        )
    return this_machine(device, size)


def _shape(config: RunConfig, found: Survey) -> tuple[int, int, int]:
    """Return the shape of the samples that given settings make of the data."""
    if found.shape is not None:
        return found.shape
    channels, size = config.data.channels or found.channels, config.data.size
    if size:
        return channels, size, size
    if len(found.sizes) > 1:
        raise ValueError(
            f"the images of '{found.name}' have different sizes; add --size N, or leave out the preset or "
            "file"
        )
    return channels, *next(iter(found.sizes))


def _resolved(config: RunConfig, found: Survey) -> RunConfig:
    """Replace `classes: auto` by the number of classes of the data; plans know no other conditions."""
    label = config.conditions.label
    classes = len(found.per_class) if label is None or label.classes == "auto" else label.classes
    conditions = resolved_conditions(config.conditions, ConditionShapes(classes), found.name)
    return dataclasses.replace(config, conditions=conditions)


def _chosen(
    fixed: RunConfig,
    overrides: Mapping[str, Any],
    found: Survey,
    machine: Machine,
    log: Callable[[str], object],
) -> Plan:
    """Choose all settings that are not fixed, see `rules`."""
    minutes = fixed.training.max_minutes or MINUTES
    timed = not any(name in overrides for name in LENGTHS)
    reasons: dict[str, str] = {}
    shape, reasons["size"] = _sized(fixed, found, machine, minutes)
    size, sub = min(shape[1:]), rules.uses_subbands(machine)
    sub = sub and all(side % 2 == 0 and side >= 16 for side in shape[1:])
    width = rules.network_width(machine, minutes, size)
    seen = images_seen(machine, minutes, size, width, sub)
    flipped, flips_why = rules.flips(found)
    conditional, classes_why = rules.class_condition(found)
    own_share = fixed.data.hold_out if isinstance(fixed.data, ImagesConfig) else 0.0
    is_given = found.holds_out or own_share > 0 or "training.held_out" in overrides
    held_out = 0 if is_given else rules.held_out(found.count)
    choices = Choices(
        shape,
        conditional,
        width,
        sub,
        rules.batch_size(machine, size),
        rules.learning_rates(width),
        rules.r1_gamma(size),
        rules.reconstruction_weight(seen),
        rules.discriminator_augmentation(found.count - held_out),
        flipped,
        seen,
        held_out,
        graphs=machine.device == "cuda" and size <= 64,
    )

    def written(choices: Choices) -> RunConfig:
        """Return the settings of choices, with those that are fixed."""
        config = RunConfig.from_dict(choices.settings())
        config = dataclasses.replace(config, data=_data(fixed, found, choices), seed=fixed.seed)
        changes = {"training.device": fixed.training.device} | dict(overrides)
        if timed:
            changes["training.max_minutes"] = minutes
        if choices.held_out and found.shape is not None:  # else the preparation holds them out
            changes.setdefault("training.held_out", choices.held_out)
        return config.changed(changes)

    reasons["scores"] = _scores(shape, conditional)
    choices, taken, why = _fitting(choices, written, found, machine)
    draft = _priced(written(choices), found, machine, shape, log, reasons, taken, why)
    choices = dataclasses.replace(
        choices,
        ema_decay=rules.ema_decay(draft.iterations),
        log_every=rules.interval(draft.iterations, LINES_OF_LOG),
    )
    config = written(choices)
    reasons["training"] = _training_words(config, found, flips_why, classes_why, held_out)
    return dataclasses.replace(draft, config=config, reasons=reasons)


def _sized(
    fixed: RunConfig, found: Survey, machine: Machine, minutes: float
) -> tuple[tuple[int, int, int], str]:
    """Return the shape of the samples, and why."""
    if found.shape is not None:
        return found.shape, f"{found.shape[1]} x {found.shape[2]}, as the data is prepared"
    size, why = fixed.data.size, "as asked for"
    if not size:
        size, why = rules.image_size(found, machine, minutes)
    words = f"{size} x {size}, the centre of each image" if len(found.sizes) > 1 else f"{size} x {size}"
    return (fixed.data.channels or found.channels, size, size), f"{words}{': ' if why else ''}{why}"


def _data(fixed: RunConfig, found: Survey, choices: Choices) -> Any:
    """Return the settings of the data: what is fixed, and size, channels and what is held out."""
    data = fixed.data
    if not isinstance(data, ImagesConfig) or found.shape is not None:
        return data
    channels, size, _ = choices.shape
    share = round(choices.held_out / found.count, 4) if choices.held_out else 0.0
    return dataclasses.replace(
        data, size=size, channels=channels, hold_out=data.hold_out or share, skip_bad=True
    )


def _fitting(
    choices: Choices, written: Callable[[Choices], RunConfig], found: Survey, machine: Machine
) -> tuple[Choices, Estimate, str]:
    """Lower the batch, then compute it in parts, then take narrower networks, until it fits into the memory.

    Returns:
        The choices, what they take, and in words what was lowered.

    Raises:
        ValueError: if nothing fits.
    """
    for candidate in _smaller(choices):
        memory = _memory(written(candidate), candidate.shape, found, machine)
        if machine.memory is None or memory.total_bytes <= MOST_OF_MEMORY * machine.memory:
            lowered = [
                f"{name.replace('_', ' ')} {getattr(candidate, name)}"
                for name in ("batch_size", "accumulation", "width")
                if getattr(candidate, name) != getattr(choices, name)
            ]
            return candidate, memory, f"; to fit: {', '.join(lowered)}" if lowered else ""
    height, width = choices.shape[1:]
    raise ValueError(
        f"even small networks take about {in_bytes(memory.total_bytes)} at {height} x {width} pixels, more "
        f"than {MOST_OF_MEMORY:.0%} of the memory of {machine}; use a smaller --size"
    )


def _smaller(choices: Choices) -> Iterator[Choices]:
    """Yield choices that take less and less memory."""
    yield choices
    while choices.batch_size // 2 >= LEAST_BATCH:
        choices = dataclasses.replace(choices, batch_size=choices.batch_size // 2)
        yield choices
    while choices.batch_size // choices.accumulation // 2 >= FEWEST_AT_ONCE:
        choices = dataclasses.replace(choices, accumulation=choices.accumulation * 2)
        yield choices
    for width in sorted((width for width in rules.WIDTHS if width < choices.width), reverse=True):
        yield dataclasses.replace(choices, width=width)


def _known(config: RunConfig, found: Survey, machine: Machine) -> RunConfig:
    """Resolve "auto": the number of classes, and the precision on a machine, which need not be this one."""
    config = _resolved(config, found)
    if config.training.precision != "auto":
        return config
    return config.changed({"training.precision": machine.precision})


def _memory(config: RunConfig, shape: tuple[int, ...], found: Survey, machine: Machine) -> Estimate:
    """Estimate the memory that settings take on a machine."""
    return estimate(_known(config, found, machine), shape, Processes(torch.device(machine.device)))


def _priced(
    config: RunConfig,
    found: Survey,
    machine: Machine,
    shape: tuple[int, int, int],
    log: Callable[[str], object],
    reasons: Mapping[str, str],
    memory: Estimate,
    memory_why: str,
) -> Plan:
    """Measure the time of settings, or estimate it for another machine."""
    known = _known(config, found, machine)
    if not machine.is_here:
        cost = estimated_cost(known, shape, machine)
    else:
        log("measuring some iterations")
        cost = measured_cost(known, shape, torch.device(machine.device))
    minutes = config.training.max_minutes
    if not minutes:
        minutes = config.training.planned_iterations * cost.seconds / 60
    return Plan(config, found, machine, minutes, memory, cost, shape, reasons, memory_why)


def _scores(shape: tuple[int, int, int], conditional: bool) -> str:
    """Say which scores are taken at the end, without a download."""
    found = features_at_hand(shape, conditional)
    if not found:
        return "none at the end: no features for such images are on this machine"
    return (
        f"as many samples at the end as take {SHARE:.0%} of the time, by the features {found[0]} (Fréchet "
        "distance)"
    )


def _training_words(config: RunConfig, found: Survey, flips_why: str, classes_why: str, held_out: int) -> str:
    """Describe augmentation, losses, EMA and held-out images."""
    method, parts = config.method, [f"T = {config.diffusion.num_steps}", classes_why, flips_why]
    if getattr(method, "augmentation", None) is not None:
        parts.append(f"D's images augmented (fewer than {rules.FEW:,})")
    parts += [
        f"{one.kind.upper()} {one.gamma:g} every {one.every}" for one in getattr(method, "penalties", ())
    ]
    if (term := getattr(method, "reconstruction", None)) is not None:
        parts.append(f"{term.kind.upper()} reconstruction {term.weight:g}")
    parts.append(f"EMA {config.optimization.ema.decay:g}")
    if held_out:
        parts.append(f"about {held_out:,} images held out")
    return ", ".join(parts)
