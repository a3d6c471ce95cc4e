"""The base class of settings of data included in the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from ddgan.data.batch import Dataset

__all__ = ["EmbeddedConfig", "is_embedded", "test_rows"]

SPLITS = ("train", "test")


def test_rows(labels: np.ndarray, num_classes: int, count_of: Callable[[int], int]) -> np.ndarray:
    """Return which samples are the split "test", bool (N,): a fixed random choice from each class.

    Args:
        labels: class of each sample (N,).
        num_classes: number of classes.
        count_of: size of a class -> number of its samples to hold out.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    for number in range(num_classes):
        members = order[labels[order] == number]
        held_out[members[: count_of(len(members))]] = True
    return held_out


class EmbeddedConfig:
    """Settings of included data: splits train and test.

    Attributes:
        class_names: names of the classes; empty if their numbers say enough.
    """

    kind: ClassVar[str]
    dataset: ClassVar[Callable[..., Dataset]]
    class_names: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return self.kind

    @property
    def options(self) -> Mapping[str, Any]:
        """Further arguments of the dataset; none by default."""
        return {}

    def check(self) -> None:
        """Do nothing, as the data always exists."""

    def open(
        self,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        split: str | None = None,
        num_held_out: int = 0,
        progress: bool = False,
    ) -> Dataset:
        if split not in (None, *SPLITS):
            raise ValueError(f"split is '{split}'; {self.kind} has {' and '.join(SPLITS)}")
        return self.dataset(seed=seed, device=device, split=split or "train", **self.options)


def is_embedded(config: Any) -> bool:
    """Whether settings are of data included in the package."""
    return isinstance(config, EmbeddedConfig)
