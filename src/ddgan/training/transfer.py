"""Starting from a trained model: its weights, where they fit, and adapted where that has a clear meaning.

Weights of the same name and shape are taken. Others are adapted to

    other classes     rows of classes that both have, and the null class; new inputs for classes start at 0
    other conditions  new inputs for vectors and images start at 0, so that the model does what it did
    other channels    from grey, weights are repeated, those of an input divided by the number of channels; to
                      grey, those of an input are summed and those of an output averaged, so that grey images
                      give what they gave; otherwise channels that both have
    another size      a level of a U-Net takes the weights of the level that corresponds to it, see `levels`

Which axes of a tensor belong to channels, classes or other conditions is seen by building the network with
those of the source, without memory. Everything else keeps its initialisation.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.config.settings import SettingError
from ddgan.models.opening import open_weights
from ddgan.models.shipped_models import folder_of
from ddgan.models.weights_file import Weights, misfits
from ddgan.networks.conditions import ConditionShapes
from ddgan.networks.encoder import give_encoder
from ddgan.networks.interfaces import input_blocks
from ddgan.training.state import DISCRIMINATOR, GENERATOR, TrainState
from ddgan.training.workspace import discriminator_weights

__all__ = ["Sizes", "Start", "Transfer", "transfer", "warm_start"]

LEVEL = re.compile(r"length\d+|\d+(?:x\d+)+")
"""The name of a level of a U-Net, see `ncsnpp.level_name`."""
FEW = 0.5
"""Below this share of a network's weights, a transfer is warned of."""
Shapes = Mapping[str, torch.Size]
Shaped = Callable[["Sizes"], Shapes]
"""Sizes of samples and conditions -> the shapes of a network that is built for them, by name."""


class Sizes(NamedTuple):
    """What a network is built for.

    Attributes:
        channels: channels of a sample, or its number of values.
        classes: number of classes; 0 for none.
        vector: features of a vector; 0 for none.
        image: channels of an image condition; 0 for none.
    """

    channels: int
    classes: int
    vector: int = 0
    image: int = 0


ANY = Sizes(1, 0)
"""Sizes of networks that are built for the same."""


@dataclass(frozen=True)
class Transfer:
    """The weights with which a network starts.

    Attributes:
        tensors: all tensors of the network, by name.
        taken: names of those that were taken as they were.
        adapted: of those that were adapted -> how.
        left: of those that keep their initialisation -> why.
        unused: names of tensors of the source that were not used.
        levels: how levels of another size correspond; empty if their sizes are the same.
    """

    tensors: dict[str, Tensor]
    taken: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    levels: str = ""

    @property
    def count(self) -> int:
        """Number of values that come from the source, in whole or in part."""
        return sum(self.tensors[name].numel() for name in [*self.taken, *self.adapted])

    @property
    def share(self) -> float:
        """Share of the network's values that come from the source, in whole or in part."""
        return self.count / max(sum(tensor.numel() for tensor in self.tensors.values()), 1)

    @property
    def is_whole(self) -> bool:
        """Whether everything was taken as it was, and nothing is unused."""
        return not (self.adapted or self.left or self.unused)

    def prefixed(self, prefix: str) -> Transfer:
        """Return the transfer with a prefix before each name."""
        return Transfer(
            {prefix + name: tensor for name, tensor in self.tensors.items()},
            [prefix + name for name in self.taken],
            {prefix + name: how for name, how in self.adapted.items()},
            {prefix + name: why for name, why in self.left.items()},
            [prefix + name for name in self.unused],
            self.levels,
        )

    def record(self) -> dict[str, Any]:
        """Return what was done with each tensor, as plain values."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "tensors"}
        return record | {"share": round(self.share, 4)}

    def __str__(self) -> str:
        how = ", ".join(sorted(set(self.adapted.values())))
        words = [
            f"{len(self.taken)} of {len(self.tensors)} tensors taken",
            *([f"{len(self.adapted)} adapted ({how})"] if self.adapted else []),
            *([f"{len(self.left)} left as they were initialised"] if self.left else []),
            *([f"{len(self.unused)} of the source not used"] if self.unused else []),
        ]
        corresponding = f"; levels correspond {self.levels}" if self.levels else ""
        return f"{', '.join(words)} ({self.share:.0%} of its weights{corresponding})"


@dataclass(frozen=True)
class Start:
    """How a run starts from a trained model.

    Attributes:
        lines: what to tell the user.
        record: the source, and what was done with each tensor, as plain values.
    """

    lines: list[str]
    record: dict[str, Any]


def transfer(
    theirs: Mapping[str, Tensor],
    network: nn.Module,
    shaped: Shaped | None = None,
    sizes: Sizes = ANY,
    their_sizes: Sizes = ANY,
) -> Transfer:
    """Return the weights with which a network starts from those of another; neither is changed.

    Of several ways in which the levels of U-Nets of different sizes may correspond, the one in which most
    weights fit is used.

    Args:
        theirs: the weights of the source, by name.
        network: the network that starts.
        shaped: gives the shapes of the network for other sizes; None adapts nothing.
        sizes: what the network is built for.
        their_sizes: what the source was built for.
    """
    ours = network.state_dict()
    steps = _steps(their_sizes, sizes)
    between = {one for step in steps for one in (step, step._replace(image=0), step._replace(vector=0))}
    shapes: dict[Sizes, Shapes] = {sizes: {name: tensor.shape for name, tensor in ours.items()}}
    for other in between - {sizes} if shaped is not None and their_sizes != sizes else ():
        try:
            assert shaped is not None
            shapes[other] = shaped(other)
        except SettingError:  # the network cannot be built for them
            continue
    adapt = _Adapting(steps, shapes, partial(_blocks_at, network))
    found = [_transferred(ours, theirs, adapt, *one) for one in levels(list(theirs), list(ours))]
    return max(found, key=lambda one: one.count)


def levels(theirs: list[str], ours: list[str]) -> list[tuple[str, dict[str, str]]]:
    """Return the ways in which the levels of two U-Nets may correspond: in words, their level -> ours.

    By resolution first, as networks that see the same images do; then from the coarsest level on, and from
    full resolution on.

    Args:
        theirs: names of tensors of the source.
        ours: names of tensors of the network.
    """
    from_source, own = (
        sorted({part for name in names for part in name.split(".") if LEVEL.fullmatch(part)}, key=_size)
        for names in (theirs, ours)
    )
    same = {level: level for level in from_source if level in own}
    if from_source == own:
        return [("", same)]
    return [
        ("by resolution", same),
        ("from the coarsest on", dict(zip(from_source, own, strict=False))),
        ("from full resolution on", dict(zip(from_source[::-1], own[::-1], strict=False))),
    ]


def _blocks_at(network: nn.Module, name: str) -> int:
    """Return the `input_blocks` of the outermost network that states them on the way to a tensor."""
    for part in name.split("."):
        if hasattr(network, "input_blocks"):
            break
        network = getattr(network, part)
    return input_blocks(network)


def _size(level: str) -> list[int]:
    return [int(size) for size in re.findall(r"\d+", level)]


class _Adapting(NamedTuple):
    """How tensors are adapted.

    Attributes:
        steps: from what the source was built for to what the network is built for, see `_steps`.
        shapes: of the network, built for these sizes and some between, where that is possible.
        blocks: name of a tensor -> how many times its input has the values of a sample.
    """

    steps: Sequence[Sizes]
    shapes: Mapping[Sizes, Shapes]
    blocks: Callable[[str], int]

    def is_same(self, name: str) -> bool:
        """Whether a tensor has one shape for all sizes, so that its values keep their meaning."""
        return len({self._shape(name, sizes) for sizes in self.steps} - {None}) <= 1

    def made(self, name: str, ours: Tensor, theirs: Tensor) -> tuple[Tensor, str] | None:
        """Return a tensor of the shape of `ours`, made from `theirs`, and how; None if it has no meaning."""
        if self._shape(name, self.steps[0]) != theirs.shape:
            return None
        made, reasons = theirs.to(ours), []
        for before, after in pairwise(self.steps):
            for axis in range(ours.ndim):
                size = self._size(name, after, axis)
                if size == made.shape[axis]:
                    continue
                changed = None if size is None else self._changed(name, made, ours, axis, size, before, after)
                if changed is None:
                    return None
                made = changed
                reasons.append(_change(before, after))
        return (made, ", ".join(reasons)) if made.shape == ours.shape else None

    def _changed(
        self, name: str, made: Tensor, ours: Tensor, axis: int, size: int, before: Sizes, after: Sizes
    ) -> Tensor | None:
        """Return a tensor whose axis has the size after a step; None if that has no meaning."""
        if before.channels != after.channels:
            blocks = self.blocks(name) if axis else 1
            return _with_channels(made, ours, axis, blocks, before.channels, after.channels)
        if before.image != after.image:
            without = self._size(name, before._replace(image=0), axis)
            return None if without is None else _with_zeros(made, axis, without, size)
        if before.vector != after.vector:
            are_others = before.vector and after.vector  # which have another meaning
            return None if are_others else _with_zeros(made, axis, min(made.shape[axis], size), size)
        without = self._size(name, before._replace(vector=0), axis)
        if without is None:
            return None
        of_classes, of_vector = made.split([without, made.shape[axis] - without], axis)
        size -= of_vector.shape[axis]
        return torch.cat(
            [_with_classes(of_classes, ours, axis, size, before.classes, after.classes), of_vector], axis
        )

    def _shape(self, name: str, sizes: Sizes) -> torch.Size | None:
        return self.shapes.get(sizes, {}).get(name)

    def _size(self, name: str, sizes: Sizes, axis: int) -> int | None:
        shape = self._shape(name, sizes)
        return None if shape is None else shape[axis]


def _steps(theirs: Sizes, ours: Sizes) -> list[Sizes]:
    """Return the sizes between those of the source and of the network, of which each changes one.

    Inputs for an image and for a vector are the last ones, so they change first.
    """
    steps = [theirs]
    for name in ("image", "vector", "classes", "channels"):
        changed = steps[-1]._replace(**{name: getattr(ours, name)})
        if changed != steps[-1]:
            steps.append(changed)
    return steps


def _change(before: Sizes, after: Sizes) -> str:
    """Say what a step changes."""
    words = {"vector": "vector features", "image": "image channels"}
    return next(
        f"{words.get(name, name)} {old} -> {new}"
        for name, old, new in zip(Sizes._fields, before, after, strict=True)
        if old != new
    )


def _with_zeros(theirs: Tensor, axis: int, kept: int, size: int) -> Tensor:
    """Keep the first inputs, and add zeros to the size: inputs of a condition that the source lacks."""
    shape = [size - kept if place == axis else length for place, length in enumerate(theirs.shape)]
    return torch.cat([theirs.narrow(axis, 0, kept), theirs.new_zeros(shape)], axis)


def _with_channels(
    theirs: Tensor, ours: Tensor, axis: int, blocks: int, from_channels: int, to_channels: int
) -> Tensor | None:
    """Change the number of channels along an axis, of inputs (1) or outputs (0).

    The axis holds `blocks` times the values of a sample, channel after channel, and then others, if any.
    """
    size = theirs.shape[axis]
    each, rest = divmod(size - ours.shape[axis], blocks * (from_channels - to_channels))
    of_samples = blocks * from_channels * each
    if rest or each <= 0 or of_samples > size:
        return None
    old = theirs.narrow(axis, 0, of_samples).unflatten(axis, (blocks, from_channels, each))
    if from_channels == 1:
        new = old.repeat_interleave(to_channels, axis + 1) / (to_channels if axis else 1)
    elif to_channels == 1:
        new = old.sum(axis + 1, keepdim=True) if axis else old.mean(axis + 1, keepdim=True)
    else:
        both = min(from_channels, to_channels)
        own = ours.narrow(axis, 0, blocks * to_channels * each).unflatten(axis, (blocks, to_channels, each))
        others = own.narrow(axis + 1, both, to_channels - both)
        new = torch.cat([old.narrow(axis + 1, 0, both), others], axis + 1)
    return torch.cat([new.flatten(axis, axis + 2), theirs.narrow(axis, of_samples, size - of_samples)], axis)


def _with_classes(
    theirs: Tensor, ours: Tensor, axis: int, size: int, from_classes: int, to_classes: int
) -> Tensor:
    """Change the number of classes along an axis: rows (0), the last one of the null class, or inputs (1).

    The axis then has this size.
    """
    old = theirs.shape[axis]
    both = min(old, size)
    if axis:
        return _with_zeros(theirs, axis, both, size)
    made, has_null = ours.clone(), (old, size) == (from_classes + 1, to_classes + 1)
    both -= has_null
    made[:both] = theirs[:both]
    if has_null:
        made[-1] = theirs[-1]
    return made


def _transferred(
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    adapt: _Adapting,
    words: str,
    level_of: Mapping[str, str],
) -> Transfer:
    """Return the transfer in which levels correspond as stated."""
    source = {}
    for name in theirs:
        parts = name.split(".")
        if all(part in level_of for part in parts if LEVEL.fullmatch(part)):
            source[".".join(level_of.get(part, part) for part in parts)] = name
    found, used = Transfer(dict(ours), levels=words), set()
    for name, own in ours.items():
        their = theirs[source[name]] if name in source else None
        if their is None:
            found.left[name] = "not in the source"
        elif their.shape == own.shape and adapt.is_same(name):
            found.tensors[name] = their
            found.taken.append(name)
            used.add(source[name])
        elif (made := adapt.made(name, own, their)) is not None:
            found.tensors[name], found.adapted[name] = made
            used.add(source[name])
        else:
            found.left[name] = f"{list(their.shape)} in the source, {list(own.shape)} here"
    found.unused.extend(name for name in theirs if name not in used)
    return found


def warm_start(config: RunConfig, state: TrainState, sample_shape: tuple[int, ...], source: str) -> Start:
    """Initialise the networks from a trained model.

    G and its EMAs start from the model's generator, D from the discriminator of the newest checkpoint if
    `source` is a run, or from the file beside the weights. Where nothing of a D fits, the trunk of one of the
    kind `encoder` starts as G's encoder.

    Args:
        config: the settings of the run.
        state: its new state, which is changed.
        sample_shape: the shape of a sample.
        source: a run, a checkpoint, a weights file, or a model by name; see `ddgan.load`.

    Raises:
        ValueError: if nothing of the generator fits.
    """
    weights, _ = open_weights(source)
    state.license = weights.license
    found = {GENERATOR: _of_generator(config, state, sample_shape, weights, source)}
    for network in (state.generator, *state.emas):
        network.load_state_dict(found[GENERATOR].tensors)
    given = list[str]()
    if DISCRIMINATOR in state.networks:
        theirs = discriminator_weights(folder_of(source))
        bare = list(state.discriminators)
        if theirs:
            parts = _of_discriminators(config, state, sample_shape, weights, theirs)
            found[DISCRIMINATOR] = _joined(parts, theirs)
            state.networks[DISCRIMINATOR].load_state_dict(found[DISCRIMINATOR].tensors)
            bare = [role for role, part in parts.items() if not part.count]
        given = give_encoder(
            state.generator, nn.ModuleDict({role: state.discriminators[role] for role in bare})
        )
    lines = _told(found, source, has_d=DISCRIMINATOR in state.networks, given=given)
    return Start(lines, {"source": source, "networks": {name: one.record() for name, one in found.items()}})


def _told(found: Mapping[str, Transfer], source: str, *, has_d: bool, given: list[str]) -> list[str]:
    """Say what was taken; `given` are the roles of discriminators that got G's encoder."""
    if all(one.is_whole for one in found.values()):
        if DISCRIMINATOR in found:
            return [f"both networks start from '{source}'"]
        rest = ", D's trunk as its encoder" if given else ", D from random weights"
        return [f"the generator starts from '{source}'{rest if has_d else ''}"]
    lines = [f"{name} from '{source}': {one}" for name, one in found.items()]
    if given:
        lines.append(f"D's trunk starts as the encoder of G ({', '.join(given)})")
    elif has_d and DISCRIMINATOR not in found:
        lines.append("D starts from random weights")
    few = [name for name, one in found.items() if one.share < FEW and not (name == DISCRIMINATOR and given)]
    return lines + [
        f"warning: only {found[name].share:.0%} of the {name}'s weights come from '{source}'; for more, use "
        "its settings (its config.yaml) for the networks"
        for name in few
    ]


def _of_generator(
    config: RunConfig, state: TrainState, sample_shape: tuple[int, ...], weights: Weights, source: str
) -> Transfer:
    own, other = kinds_of(config.generator), kinds_of(weights.config.generator)
    if not misfits(state.generator, weights.tensors):
        return transfer(weights.tensors, state.generator)
    if own != other:
        raise ValueError(
            f"init is '{source}', of which nothing fits: its generator is {' of '.join(other)}, this run's "
            f"{' of '.join(own)}; use its settings (its config.yaml) for the networks"
        )
    found = transfer(
        weights.tensors, state.generator, *_sizes(config.generator, config, sample_shape, weights)
    )
    if not found.count:
        raise ValueError(
            f"init is '{source}', of which nothing fits: all {len(found.tensors)} tensors of the generator "
            "have other names or shapes; use its settings (its config.yaml) for the networks"
        )
    return found


def _of_discriminators(
    config: RunConfig,
    state: TrainState,
    sample_shape: tuple[int, ...],
    weights: Weights,
    theirs: Mapping[str, Tensor],
) -> dict[str, Transfer]:
    """Return the transfer of each discriminator by its role; one of another kind gives nothing."""
    ours, others = config.method.discriminators_of(), weights.config.method.discriminators_of()
    parts = {}
    for role, network in state.discriminators.items():
        prefix = f"{role}."
        tensors = {name.removeprefix(prefix): one for name, one in theirs.items() if name.startswith(prefix)}
        is_other = role in others and kinds_of(others[role]) != kinds_of(ours[role])
        if is_other and misfits(network, tensors):
            own = network.state_dict()
            why = f"of the kind {' of '.join(kinds_of(others[role]))} in the source"
            parts[role] = Transfer(dict(own), left=dict.fromkeys(own, why), unused=list(tensors))
        else:
            parts[role] = transfer(tensors, network, *_sizes(ours[role], config, sample_shape, weights))
    return parts


def _joined(parts: Mapping[str, Transfer], theirs: Mapping[str, Tensor]) -> Transfer:
    """Join the transfers of discriminators to one of all; `theirs` may have other roles."""
    whole = Transfer({}, levels=next((part.levels for part in parts.values() if part.levels), ""))
    for role, part in parts.items():
        one = part.prefixed(f"{role}.")
        whole.tensors.update(one.tensors)
        whole.taken.extend(one.taken)
        whole.adapted.update(one.adapted)
        whole.left.update(one.left)
        whole.unused.extend(one.unused)
    whole.unused.extend(name for name in theirs if name.partition(".")[0] not in parts)
    return whole


def _sizes(
    network: Any, config: RunConfig, sample_shape: tuple[int, ...], weights: Weights
) -> tuple[Shaped, Sizes, Sizes]:
    """Return the last three arguments of `transfer` for a network with these settings."""

    def shaped(sizes: Sizes) -> Shapes:
        with torch.device("meta"):
            built = network.build((sizes.channels, *sample_shape[1:]), ConditionShapes(*sizes[1:]))
        return {name: tensor.shape for name, tensor in built.state_dict().items()}

    ours, theirs = config.conditions.shapes, weights.config.conditions.shapes
    return shaped, Sizes(sample_shape[0], *ours), Sizes(weights.sample_shape[0], *theirs)


def kinds_of(settings: Any) -> tuple[str, ...]:
    """Return the kind of a network, and those of the networks inside it."""
    inner = [getattr(settings, "network", None), *getattr(settings, "networks", ())]
    kind = str(getattr(settings, "kind", type(settings).__name__))
    return (kind, *(name for one in inner if one is not None for name in kinds_of(one)))
