"""The files of a run folder.

RUN/config.yaml        the whole configuration
RUN/log.jsonl          one JSON object per log step: losses, also per t, speed, learning rates
RUN/checkpoints/       checkpoints to resume from, see `checkpoint_file`
RUN/model.safetensors  the EMA weights of the generator, with the configuration
RUN/model-ema50k.safetensors  an additional EMA, by its half-life in thousands of images
RUN/best.safetensors   the EMA weights with the best score during training, if scores are taken
RUN/samples.png        a grid of samples (images only); RUN/grids/ has those made during training
RUN/scores.json        the scores, and RUN/report.html, the report (if scores are taken)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ddgan.models.weights_file import WEIGHTS_NAME

__all__ = ["CONFIG_NAME", "LOG_NAME", "REPORT_NAME", "SCORES_NAME", "read_log"]

CONFIG_NAME, LOG_NAME, LOCK_NAME = "config.yaml", "log.jsonl", ".lock"
BEST_NAME, GRID_NAME, SCORES_NAME, REPORT_NAME = (
    "best.safetensors",
    "samples.png",
    "scores.json",
    "report.html",
)

FOLDERS = ("checkpoints", "grids", "trackers")
FILES = (CONFIG_NAME, LOG_NAME, WEIGHTS_NAME, BEST_NAME, GRID_NAME, SCORES_NAME, REPORT_NAME)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the records of a log file, without an incomplete last line."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
