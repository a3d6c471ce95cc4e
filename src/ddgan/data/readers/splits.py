"""Splits of a source: their usual names, and the choice of one."""

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
"""Name in files and folders -> split."""

T = TypeVar("T")


def checked_split(split: str) -> str:
    """Return the canonical name of a split; empty and "all" stay.

    Raises:
        ValueError: if the name is unknown.
    """
    if split in ("", "all"):
        return split
    if split not in ALIASES:
        raise ValueError(f"split is '{split}'; it must be one of {', '.join(SPLITS)}")
    return ALIASES[split]


def split_in(name: str) -> str | None:
    """Return the split named in a file name, as in train-00000.parquet or church_outdoor_val_lmdb."""
    return next((ALIASES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in ALIASES), None)


def choose_split(source: str, split: str, parts: Iterable[tuple[str | None, T]]) -> tuple[str, list[T]]:
    """Return the name of the selected split and its parts.

    Args:
        source: name of the source, for errors.
        split: the requested split; empty for "train", or everything if there are no splits.
        parts: each part of the source with its split or None.

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
            f"'{source}' has no split {wanted}; it has {', '.join(known)}; choose one with: "
            f"{remedy(source, f'--split {known[0]}')}"
        )
    return wanted, [part for name, part in parts if name == wanted]


def refuse_split(source: str, split: str) -> None:
    """Refuse a split of a source without splits.

    Raises:
        ValueError: unless `split` is empty or "all".
    """
    if split not in ("", "all"):
        raise ValueError(f"split is {split}, but '{source}' has no splits; leave --split out")


def remedy(source: str, option: str = "", given: str = "") -> str:
    """Return the `ddgan prepare` command that fixes an error of a source.

    `given` are the options that it was prepared with.
    """
    parts = ("ddgan prepare", shlex.quote(source), given, option, "--out DATA")
    return " ".join(part for part in parts if part)
