"""Class weights: batches in which rare classes occur more often than in the data.

    balanced                   every class equally often
    sqrt                       a class in proportion to the square root of its number of samples
    {"cat": 3, "dog": 0.5}     each sample of a class so many times as often as one of a class not named

A batch has each class as often as its share, up to rounding, in random places; within a class, samples are
drawn with replacement. Batch `step` depends on (seed, step) alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ddgan.config.settings import SettingError, shown
from ddgan.data.batch import Dataset
from ddgan.system.randomness import generator_for

__all__ = ["ClassDraws", "Members", "WeightedOrder", "Weights", "in_words", "with_class_weights"]

Weights = Literal["balanced", "sqrt"] | Mapping[str, float]
SETTING = "training.class_weights"
MOST_NAMED = 10
"""Classes that an error lists."""


class ClassDraws:
    """Draws the classes of batches.

    Args:
        weights: how often each class is drawn.
        counts: number of samples of each class, (K,); shares of the data will do.
        seed: of the order.
        names: of the classes; their numbers if empty.

    Attributes:
        counts: float64 (K,).
        shares: of each class in a batch, float64 (K,); they sum to 1.
        names: of the classes.

    Raises:
        SettingError: if a class is unknown, or no class that has samples has a weight.
    """

    def __init__(self, weights: Weights, counts: Tensor, seed: int, names: Sequence[str] = ()) -> None:
        self.counts, self.names = counts.double(), list(names) or [str(k) for k in range(len(counts))]
        if weights == "balanced":
            shares = (self.counts > 0).double()
        elif weights == "sqrt":
            shares = self.counts.sqrt()
        else:
            assert isinstance(weights, Mapping)
            shares = self.counts * torch.tensor(self._of_names(weights), dtype=torch.float64)
        if not shares.sum() > 0:
            raise SettingError(SETTING, "gives all classes of the data the weight 0; give one of them more")
        self.shares = shares / shares.sum()
        self._last = int(shares.nonzero()[-1])
        self._seed = seed

    def _of_names(self, weights: Mapping[str, float]) -> list[float]:
        found = [1.0] * len(self.names)
        for given, weight in weights.items():
            numbers = [number for number, name in enumerate(self.names) if name == given]
            numbers = numbers or [number for number in range(len(found)) if str(number) == given]
            if not numbers:
                known = ", ".join(self.names[:MOST_NAMED]) + (", ..." if len(self.names) > MOST_NAMED else "")
                raise SettingError(
                    SETTING,
                    f"names the class {shown(given)}, which the data does not have; its classes are {known}",
                )
            for number in numbers:
                found[number] = weight
        return found

    def classes(self, step: int, size: int) -> tuple[Tensor, torch.Generator]:
        """Return the classes of batch `step`, int64 (size,), and the generator for what is drawn next."""
        rng = generator_for(self._seed, "class weights", step)
        start = torch.rand(1, generator=rng, dtype=torch.float64)
        places = (torch.randperm(size, generator=rng) + start) / size  # one in each of `size` equal parts
        found = torch.searchsorted(self.shares.cumsum(0), places, right=True)
        return found.clamp_max(self._last), rng


class Members:
    """The samples of each class.

    Args:
        labels: of all samples, int64 (N,).
        num_classes: K.

    Attributes:
        counts: number of samples of each class, int64 (K,).
    """

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        labels = labels.cpu()
        self.counts = torch.bincount(labels, minlength=num_classes)
        self._order = labels.argsort(stable=True)
        self._starts = self.counts.cumsum(0) - self.counts

    def draw(self, classes: Tensor, rng: torch.Generator) -> Tensor:
        """Return the index of a random sample of each of these classes, int64, of the same shape."""
        share = torch.rand(classes.shape, generator=rng, dtype=torch.float64)
        return self._order[self._starts[classes] + (share * self.counts[classes]).long()]


class WeightedOrder:
    """Which samples are in a batch, drawn by their class.

    Args:
        weights: how often each class is drawn.
        labels: of all samples, int64 (N,).
        num_classes: K.
        seed: of the order.
        names: of the classes; their numbers if empty.

    Attributes:
        draws: draws the classes.

    Raises:
        SettingError: as `ClassDraws`.
    """

    def __init__(
        self, weights: Weights, labels: Tensor, num_classes: int, seed: int, names: Sequence[str] = ()
    ) -> None:
        self._members = Members(labels, num_classes)
        self.draws = ClassDraws(weights, self._members.counts, seed, names)

    def indices(self, step: int, size: int) -> Tensor:
        """Return the indices of the samples in batch `step`, int64 (size,)."""
        return self._members.draw(*self.draws.classes(step, size))


def in_words(draws: ClassDraws) -> str:
    """Say which samples are drawn most and least often."""
    there = (draws.counts > 0).nonzero()[:, 0]
    often = draws.shares[there] / draws.counts[there]
    most, least = (there[one(often)] for one in (torch.argmax, torch.argmin))
    first, last = draws.names[most], draws.names[least]
    said = (
        f"class weights: '{first}' is {draws.shares[most]:.1%} of a batch, '{last}' {draws.shares[least]:.1%}"
    )
    if float(often.min()) > 0:
        ratio = float(often.max() / often.min())
        said += f"; a sample of '{first}' is drawn {ratio:.3g} times as often as one of '{last}'"
    return said


def with_class_weights(dataset: Dataset, weights: Weights, name: str) -> tuple[Dataset, str]:
    """Return a dataset whose batches follow class weights, and say what they do.

    Args:
        dataset: open training data, with a method `weighted(weights) -> (dataset, draws)`.
        weights: how often each class is drawn.
        name: of the data, for errors.

    Raises:
        SettingError: if it has no classes, the weights do not fit them, or this kind of data has no weights.
    """
    given: Any = dataset
    if not dataset.conditions.num_classes:
        raise SettingError(SETTING, f"is set, but {name} has no classes; leave it out")
    if not hasattr(given, "weighted"):
        raise SettingError(
            SETTING, f"is set, but {type(given).__name__} has no method weighted(weights); leave it out"
        )
    weighted, draws = given.weighted(weights)
    return weighted, in_words(draws)
