"""Labels in the forms in which people keep them: integers, (N, 1), one-hot, strings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ddgan.system.text import one_line

__all__ = [
    "LabelNumbers",
    "class_numbers",
    "is_one_hot",
    "merged_names",
    "natural_order",
    "one_hot_numbers",
    "one_label",
]

WITHOUT_LABELS = "--labels none"
"""The option that drops labels, in remedies."""


def natural_order(name: str) -> tuple[Any, ...]:
    """Return a sort key that orders numbers in names by value: 1, 2, 10."""
    parts = re.split(r"([0-9]+)", name)
    numbers = (part.lstrip("0") for part in parts[1::2])
    return tuple(zip(parts[::2], [*((len(one), one) for one in numbers), (0, "")], strict=True)), name


def merged_names(several: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the class names of several sources together, in natural order."""
    return tuple(sorted({name for names in several for name in names}, key=natural_order))


def is_one_hot(rows: np.ndarray) -> bool:
    """Whether each row (..., K) has a single 1 and is 0 elsewhere."""
    return bool((((rows == 0) | (rows == 1)).all(axis=-1) & (rows.sum(axis=-1) == 1)).all())


def class_numbers(labels: np.ndarray, source: str, drop: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Convert labels (N,) or (N, 1), integers or strings, or one-hot (N, K), to integers and class names.

    Strings are numbered in natural order. Anything else is returned unchanged.

    Raises:
        ValueError: if labels (N, K) are not one-hot; `drop` says how to drop them.
    """
    array = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if array.ndim == 1 and (
        array.dtype.kind in "US" or (array.dtype == object and all(isinstance(one, str) for one in array))
    ):
        texts = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array.astype(str)
        found, numbers = np.unique(texts, return_inverse=True)
        names = merged_names([list(map(str, found))])
        place = {name: number for number, name in enumerate(names)}
        return np.array([place[str(name)] for name in found], np.int64)[numbers], names
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf":
        return one_hot_numbers(array, source, drop), tuple(map(str, range(array.shape[1])))
    return (array.astype(np.int64) if array.dtype == np.bool_ else array), None


def one_hot_numbers(rows: Iterable[np.ndarray], source: str, drop: str) -> np.ndarray:
    """Convert one-hot labels, row by row, to integers (N,).

    Raises:
        ValueError: if a row is not one-hot; `drop` says how to drop the labels.
    """
    numbers = []
    for index, row in enumerate(rows):
        if not is_one_hot(row):
            raise ValueError(
                f"{source} has labels of {len(row)} values that are not one-hot (a single 1 in each row), as "
                f"in row {index}; give an integer for each image; to drop labels, {drop}"
            )
        numbers.append(int(row.argmax()))
    return np.array(numbers, np.int64)


def one_label(label: Any) -> tuple[str, int | str, int]:
    """Return the kind of one label in words, its value, and the number of classes if it is one-hot.

    Raises:
        ValueError: if it is neither an integer, a string nor one-hot.
    """
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, str):
        return "a string", label, 0
    array = np.asarray(label)
    if array.shape == (1,):
        return one_label(array[0].item() if array.dtype != object else array[0])
    if array.ndim == 0 and array.dtype.kind in "biu":
        return "an integer", int(array), 0
    if array.ndim == 1 and array.dtype.kind in "biuf" and is_one_hot(array):
        return f"one-hot of {len(array)}", int(array.argmax()), len(array)
    raise ValueError(one_line(label)[:60])


class LabelNumbers:
    """Numbers the labels of a source one by one, as they are read.

    Strings are numbered as they occur; `numbered` puts them into natural order at the end.

    Args:
        drop: how to drop the labels, for errors.
        class_names: the names of the classes, if the source tells them.
        texts: string labels that are known in advance.
    """

    def __init__(
        self, drop: str, class_names: Sequence[str] | None = None, texts: Iterable[str] = ()
    ) -> None:
        self._drop, self._names = drop, tuple(class_names or ()) or None
        self._texts = {text: number for number, text in enumerate(merged_names([tuple(texts)]))}
        self._kind: str | None = None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes; for strings, complete only after all are read."""
        return merged_names([tuple(self._texts)]) or self._names

    def number(self, name: str, label: Any) -> int | None:
        """Return the number of the label of the item `name`; None for no label or a negative one.

        Raises:
            ValueError: if it is not a label, or of another kind than earlier ones.
        """
        if label is None:
            return None
        try:
            kind, value, count = one_label(label)
        except ValueError as error:
            raise ValueError(
                f"{name} has the label {error}; a label must be an integer from 0, a string or one-hot; to "
                f"drop labels, {self._drop}"
            ) from None
        if self._kind not in (None, kind):
            raise ValueError(
                f"{name} has a label that is {kind}, but earlier labels are {self._kind}; use one kind, or "
                f"to drop labels, {self._drop}"
            )
        self._kind = kind
        if count:
            self._names = tuple(map(str, range(count)))
        if isinstance(value, str):
            return self._texts.setdefault(value, len(self._texts))
        return value if value >= 0 else None

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        """Convert labels (N,), strings numbered as they occurred, to indices into `class_names`."""
        if not self._texts:
            return labels
        numbers = {text: number for number, text in enumerate(self.class_names or ())}
        renumbered: np.ndarray = np.array([numbers[text] for text in self._texts])[labels]
        return renumbered
