"""A list of runs: where each stands, its score, and the settings in which they differ."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ddgan.config.overrides import dotted
from ddgan.config.presets import read_settings
from ddgan.config.training import INDEPENDENT, known_end
from ddgan.metrics.headline import Headline, headline, without_features
from ddgan.models.checkpoint_file import read_own_metadata
from ddgan.models.run_folder import (
    CHECKPOINTS_NAME,
    CONFIG_NAME,
    ENDING_NAME,
    LOG_NAME,
    MARK_NAME,
    SCORES_NAME,
    is_locked,
    read_log,
)
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.outputs import read_record
from ddgan.system.text import aligned, one_line

__all__ = ["ListedRun", "differing", "find_runs", "listed", "table_lines"]

DEPTH = 2
"""Levels of folders that are searched."""
WIDEST_NAME, WIDEST_SETTING = 40, 24
"""Characters of the name of a run, and of the value of a setting, in the table."""
LEAST_WIDTH = 50
"""Characters of the line about settings without a column, at least."""
EFFECTLESS = {f"training.{name}" for name in INDEPENDENT}
State = Literal["training", "finished", "stopped", "failed", "damaged"]
"""Stopped is a run that was interrupted or killed, and may be resumed."""


@dataclass(frozen=True)
class ListedRun:
    """What the files of a run say of it.

    Attributes:
        path: its folder.
        state: where it stands.
        reason: why it failed, or what is damaged; otherwise empty.
        iterations: finished iterations; None if unknown.
        num_iterations: its length; None if unknown, as while a time budget is measured.
        images: images seen, with repetitions; None if unknown.
        updated: time of its newest file, in seconds since the epoch.
        score: the headline of its scores, if there are any.
        settings: all settings by dotted name.
    """

    path: Path
    state: State
    reason: str = ""
    iterations: int | None = None
    num_iterations: int | None = None
    images: int | None = None
    updated: float = 0.0
    score: Headline | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self, settings: Iterable[str]) -> dict[str, Any]:
        """Return plain values for JSON, with these of its settings."""
        return {
            "path": str(self.path),
            "state": self.state,
            "reason": self.reason,
            "iterations": self.iterations,
            "num_iterations": self.num_iterations,
            "images": self.images,
            "updated": datetime.fromtimestamp(self.updated, UTC).isoformat(timespec="seconds"),
            "score": None if self.score is None else self.score._asdict(),
            "settings": {name: self.settings[name] for name in settings if name in self.settings},
        }


def find_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder and the folders in it, or the folder itself if it is a run, by name.

    Raises:
        ValueError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"'{folder}' is not a folder; name a folder of runs, or a run")
    return sorted(_runs_in(folder, DEPTH), key=_natural)


def _runs_in(folder: Path, depth: int) -> Iterator[Path]:
    if _is_run(folder):
        yield folder
    elif depth:
        inner: list[Path] = []
        with suppress(OSError):  # a folder that may not be read has no runs for this user
            inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        for path in inner:
            yield from _runs_in(path, depth - 1)


def _is_run(folder: Path) -> bool:
    beside = (LOG_NAME, WEIGHTS_NAME, CHECKPOINTS_NAME)
    with suppress(OSError):
        if (folder / MARK_NAME).is_file():
            return True
        return (folder / CONFIG_NAME).is_file() and any((folder / name).exists() for name in beside)
    return False


def _natural(path: Path) -> list[Any]:
    """Sort key by which run-9 comes before run-10."""
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def listed(path: Path) -> ListedRun:
    """Return what the files of a run say of it; a run whose files cannot be read is damaged."""
    updated, problems = _updated(path), list[str]()
    settings: dict[str, Any] = {}
    try:
        settings = dict(dotted(read_settings(path / CONFIG_NAME)))
    except (ValueError, OSError, RecursionError) as error:
        is_there = (path / CONFIG_NAME).is_file()
        problems.append(one_line(error) if is_there else f"it has no {CONFIG_NAME}: its start was killed")
    done, end = _progress(path, problems)
    try:
        is_training = is_locked(path)
    except OSError:
        is_training = False
    try:
        ending = read_record(path / ENDING_NAME) if (path / ENDING_NAME).is_file() else {}
    except ValueError:
        ending = {}
    reason = ""
    state: State = "stopped"
    if is_training:
        state = "training"
    elif problems:
        state, reason = "damaged", problems[0]
    elif ending.get("state") == "failed":
        state, reason = "failed", one_line(ending.get("reason", ""))
    elif done is None or done == end or ending.get("state") == "finished":
        state = "finished"
    score = None
    with suppress(ValueError, OSError):
        score = headline(read_record(path / SCORES_NAME), settings.get("training.metrics") or ())
    size = settings.get("training.batch_size")
    images = done * size if isinstance(size, int) and done is not None else None
    return ListedRun(path, state, reason, done, end, images, updated, score, settings)


def _progress(path: Path, problems: list[str]) -> tuple[int | None, int | None]:
    """Return the finished iterations and the length, from the newest checkpoint or else the log."""
    found = sorted((path / CHECKPOINTS_NAME).glob("step-*"), reverse=True)
    first = ""
    for checkpoint in found:
        try:
            metadata = read_own_metadata(checkpoint)
            return int(metadata["step"]), known_end(int(metadata["num_iterations"]))
        except (ValueError, OSError, KeyError, TypeError) as error:
            first = first or one_line(error)
    if found:
        problems.append(first)
    elif not (path / WEIGHTS_NAME).is_file():
        problems.append("it has neither checkpoints nor weights")
    with suppress(OSError):
        log = read_log(path / LOG_NAME)
        return (log[-1]["step"], None) if log else (None, None)
    return None, None


def _updated(path: Path) -> float:
    files = [path, *(path / name for name in (LOG_NAME, CONFIG_NAME, WEIGHTS_NAME, SCORES_NAME))]
    times = [0.0]
    for file in files:
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return max(times)


def differing(runs: Sequence[ListedRun]) -> list[str]:
    """Return the settings that all readable runs have and that differ, without those of no effect.

    Where components differ in kind, that is their difference, and not the settings that only one has.
    """
    known = [run.settings for run in runs if run.settings]
    if len(known) < 2:
        return []
    shared = [name for name in known[0] if all(name in one for one in known)]
    return [
        name
        for name in shared
        if name not in EFFECTLESS and any(one[name] != known[0][name] for one in known)
    ]


def table_lines(runs: Sequence[ListedRun], width: int, now: float | None = None) -> list[str]:
    """Return the lines of the table, at most `width` characters each where the fixed columns allow it."""
    now = time.time() if now is None else now
    columns: dict[str, list[str]] = {
        "run": [_shortened(str(run.path), WIDEST_NAME) for run in runs],
        "state": [run.state for run in runs],
        "iterations": [_of(run) for run in runs],
        "images": [_count(run.images) for run in runs],
        "age": [_age(now - run.updated) for run in runs],
    }
    columns |= _scores(runs)
    names = differing(runs)
    short = _short_names(names)
    shown: list[str] = []
    for name in names:
        cells = ["-" if not run.settings else _setting(run.settings[name]) for run in runs]
        if _width(columns | {short[name]: cells}) > width:
            continue
        columns[short[name]] = cells
        shown.append(name)
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    lines = aligned(rows)
    lines += [f"{run.path}: {run.state}: {run.reason}" for run in runs if run.reason]
    if left := [name for name in names if name not in shown]:
        more = f"{len(left)} more settings differ" if len(left) > 1 else "1 more setting differs"
        line = f"{more} (--json has all): {', '.join(left)}"
        lines.append(_shortened(line, max(width, LEAST_WIDTH), keep_end=False))
    return lines


def _scores(runs: Sequence[ListedRun]) -> dict[str, list[str]]:
    """Return the column of the scores, which has their name as its head if all have one name."""
    names = {run.score.name for run in runs if run.score is not None}
    head = names.pop() if len(names) == 1 else ""

    def cell(score: Headline | None) -> str:
        if score is None:
            return "-"
        name = "" if head else f"{without_features(score.name)} "
        return f"{name}{score.value:.4g}"

    return {one_line(head) or "score": [cell(run.score) for run in runs]}


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    return sum(max(len(head), *map(len, cells)) + 2 for head, cells in columns.items()) - 2


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return for each dotted name its shortest end that no other name has."""
    short = {}
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[place:]) for place in range(len(parts) - 1, -1, -1))
        short[name] = next(
            end for end in ends if end == name or sum(f".{one}".endswith(f".{end}") for one in names) == 1
        )
    return short


def _setting(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else one_line(value)
    return _shortened(text, WIDEST_SETTING)


def _shortened(text: str, most: int, *, keep_end: bool = True) -> str:
    text = one_line(text)
    if len(text) <= most:
        return text
    return f"...{text[-(most - 3) :]}" if keep_end else f"{text[: most - 3]}..."


def _of(run: ListedRun) -> str:
    if run.iterations is None:
        return "-"
    return (
        f"{run.iterations:,}" if run.num_iterations is None else f"{run.iterations:,}/{run.num_iterations:,}"
    )


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return str(value)


def _age(seconds: float) -> str:
    """Say how long ago something was."""
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return "now" if seconds < 10 else f"{seconds:.0f} s"
