"""A checkpoint on disk: a folder, written atomically.

RUN/checkpoints/step-00001200/state.safetensors   networks, EMAs, the optimizers' moments, sums of the log
RUN/checkpoints/step-00001200/checkpoint.json     step, settings, score, checksum of the state; no pickle
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddgan.models.weights_file import FORMAT
from ddgan.system.files import parse_json, read_tensors, sha256_of
from ddgan.system.seal import SEAL, sealed, unsealed
from ddgan.system.text import one_line

__all__ = [
    "METADATA_NAME",
    "STATE_NAME",
    "Checkpoint",
    "DamagedError",
    "is_checkpoint",
    "read_checkpoint",
    "read_own_metadata",
    "write_metadata",
]

STATE_NAME, METADATA_NAME = "state.safetensors", "checkpoint.json"


class DamagedError(ValueError):
    """A checkpoint that differs from what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read without errors.

    Attributes:
        path: its folder.
        metadata: step, num_iterations, streaks, seconds, score, and the metadata of a weights file.
        tensors: all tensors or the selected ones, see `ddgan.training.checkpoint.state_tensors`.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    def weights(self, network: str) -> dict[str, Tensor]:
        """Return the tensors of this network of the training state."""
        prefix = f"{network}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint, damaged or not."""
    return (path / METADATA_NAME).is_file()


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write the metadata of the checkpoint in folder `path`, with their checksum."""
    (path / METADATA_NAME).write_text(json.dumps(sealed(metadata), indent=2) + "\n", encoding="utf-8")


def read_own_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of the checkpoint in folder `path`, and verify their checksum.

    Raises:
        DamagedError: if they are incomplete or damaged.
        ValueError: if they are from another version.
        OSError: if they cannot be read at the moment.
    """
    try:
        metadata: dict[str, Any] = parse_json((path / METADATA_NAME).read_text(encoding="utf-8"))
        found, is_sealed = metadata["format"], SEAL in metadata
        metadata = unsealed(metadata)
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"'{path}' is damaged: {error}") from None
    if found != FORMAT:
        raise ValueError(
            f"'{path}' has format {one_line(found)[:20]}, but this version of ddgan reads format {FORMAT}; "
            "resume it with the version that wrote it"
        )
    if not is_sealed:
        raise DamagedError(f"'{path / METADATA_NAME}' is damaged: it has no checksum")
    return metadata


def read_checkpoint(path: Path, prefix: str = "") -> Checkpoint:
    """Read a checkpoint and verify its checksum; only tensors whose names begin with `prefix` are read.

    Raises:
        DamagedError: if it is incomplete or damaged.
        ValueError: if it is from another version.
        OSError: if it cannot be read at the moment.
    """
    metadata = read_own_metadata(path)
    try:
        is_whole = sha256_of(path / STATE_NAME) == metadata["sha256"]
        tensors = read_tensors(path / STATE_NAME, prefix)[0] if is_whole else {}
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"'{path}' is damaged: {error}") from None
    if not is_whole:
        raise DamagedError(f"'{path / STATE_NAME}' is damaged: its checksum is wrong")
    return Checkpoint(path, metadata, tensors)
