"""Splits of a source: the names under which people keep them, and which one is taken."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["ALIASES", "SPLITS", "checked_split", "choose_split", "refuse_split", "remedy", "split_in"]

SPLITS = ("train", "test", "validation", "all")
ALIASES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
"""What files and folders of a split are called."""

T = TypeVar("T")


def checked_split(split: str) -> str:
    """The usual name of a split; empty and "all" stay.

    Raises:
        ValueError: if it is none.
    """
    if split in ("", "all"):
        return split
    if split not in ALIASES:
        raise ValueError(f"split is '{split}'; it must be one of {', '.join(SPLITS)}")
    return ALIASES[split]


def split_in(name: str) -> str | None:
    """The split that a word of a name says, as in train-00000.parquet or church_outdoor_val_lmdb."""
    return next((ALIASES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in ALIASES), None)


def choose_split(source: str, split: str, parts: Iterable[tuple[str | None, T]]) -> tuple[str, list[T]]:
    """The name of the split that is taken, and its parts.

    Args:
        source: for errors.
        split: what was asked for; empty takes "train", or everything where there are no splits.
        parts: each part of the source with the split that it belongs to, or None.

    Raises:
        ValueError: if the source has no splits, or not this one.
    """
    parts = list(parts)
    known = list(dict.fromkeys(name for name, _ in parts if name is not None))
    if not known:
        refuse_split(source, split)
    if not known or split == "all":
        return "all", [part for _, part in parts]
    wanted = split or "train"
    if wanted not in known:
        raise ValueError(
            f"'{source}' has no split {wanted}; it has {', '.join(known)}, to be had with: "
            f"{remedy(source, f'--split {known[0]}')}"
        )
    return wanted, [part for name, part in parts if name == wanted]


def refuse_split(source: str, split: str) -> None:
    """Complain where a split is asked of a source that has none.

    Raises:
        ValueError: unless everything is asked for.
    """
    if split not in ("", "all"):
        raise ValueError(f"split is {split}, but '{source}' has no splits; leave --split out")


def remedy(source: str, option: str = "", given: str = "") -> str:
    """The command that mends an error of a source, also for those who came by way of training.

    `given` are the options that it was prepared with.
    """
    parts = ("ddgan prepare", shlex.quote(source), given, option, "--out DATA")
    return " ".join(part for part in parts if part)
