"""The files of a run folder.

RUN/config.yaml        the whole configuration
RUN/log.jsonl          one JSON object per log step: losses, also per t, speed, learning rates
RUN/checkpoints/       checkpoints to resume from, see `checkpoint_file`
RUN/model.safetensors  the EMA weights of the generator, with the configuration
RUN/model-ema50k.safetensors  an additional EMA, by its half-life in thousands of images
RUN/averages/          saved averages of the weights, from which any other is made, see `averages`
RUN/best.safetensors   the EMA weights with the best score during training, if scores are taken
RUN/samples.png        a grid of samples (images only); RUN/grids/ has those made during training
RUN/data.png           a sheet of training images (images only)
RUN/scores.jsonl       the scores taken during training, one JSON object per scoring
RUN/scores.json        the scores at the end, if they are taken
RUN/report.html        the report, which is renewed during training
RUN/compared.json      scores taken later, for `ddgan evaluate --compare`
RUN/ending.json        how training ended: finished, stopped or failed, and why
RUN/.ddgan-run         marks the folder as a run; --overwrite replaces no folder without it
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.files import parse_json
from ddgan.system.seal import unsealed

__all__ = ["CONFIG_NAME", "LOG_NAME", "REPORT_NAME", "SCORES_NAME", "is_locked", "read_log"]

CONFIG_NAME, LOG_NAME, LOCK_NAME, MARK_NAME = "config.yaml", "log.jsonl", ".lock", ".ddgan-run"
INIT_NAME = "init.json"
BEST_NAME, GRID_NAME, SCORES_NAME, REPORT_NAME = (
    "best.safetensors",
    "samples.png",
    "scores.json",
    "report.html",
)
SHEET_NAME, HISTORY_NAME, GRIDS_NAME = "data.png", "scores.jsonl", "grids"

COMPARED_NAME, ENDING_NAME = "compared.json", "ending.json"
CHECKPOINTS_NAME, AVERAGES_NAME = "checkpoints", "averages"
FOLDERS = {CHECKPOINTS_NAME: "*step-*", AVERAGES_NAME: "*.safetensors", GRIDS_NAME: "*.png", "trackers": "*"}
"""The folders of a run, and the names of what it writes there."""
OF_THE_END = (SCORES_NAME, COMPARED_NAME, ENDING_NAME)
"""Files that describe the weights at the end, and are removed when training goes on."""
FILES = (
    *(CONFIG_NAME, INIT_NAME, LOG_NAME, WEIGHTS_NAME, BEST_NAME, GRID_NAME, SHEET_NAME),
    *(HISTORY_NAME, REPORT_NAME, *OF_THE_END),
)


def read_log(path: Path, on_damage: Callable[[str], object] | None = None) -> list[dict[str, Any]]:
    """Read the records of a log file, in order; each has an integer `step`.

    A line that is not a record, or whose checksum is wrong, is skipped and passed to `on_damage`, unless it
    is the last and has no end: a killed process leaves that.
    """
    records, text = [], path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    for number, line in enumerate(lines):
        try:
            record = unsealed(parse_json(line))
            is_record = isinstance(record, dict) and type(record.get("step")) is int
        except (ValueError, TypeError):
            is_record = False
        if is_record:
            records.append(record)
        elif on_damage is not None and line.strip() and number < len(lines) - 1:
            on_damage(line)
    return records


def is_locked(run: Path) -> bool:
    """Whether a process is training in this folder now.

    Raises:
        OSError: if the lock cannot be looked at.
    """
    from filelock import FileLock, Timeout

    if not (run / LOCK_NAME).is_file():
        return False
    try:
        with FileLock(run / LOCK_NAME, timeout=0):
            return False
    except Timeout:
        return True
