"""A checkpoint as it lies on the disk: a folder that is whole or not there.

RUN/checkpoints/step-00001200/state.safetensors   networks, EMAs, the optimizers' moments
RUN/checkpoints/step-00001200/checkpoint.json     step, settings, score, checksum of the other; no pickle
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddgan.models.weights_file import FORMAT
from ddgan.system.files import read_tensors, sha256_of

__all__ = ["METADATA_NAME", "STATE_NAME", "Checkpoint", "DamagedError", "is_checkpoint", "read_checkpoint"]

STATE_NAME, METADATA_NAME = "state.safetensors", "checkpoint.json"


class DamagedError(ValueError):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and is whole.

    Attributes:
        path: its folder.
        metadata: step, num_iterations, streak, seconds, score, and what a weights file says of itself.
        tensors: see `ddgan.training.checkpoint.state_tensors`; all, or those that were asked for.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    def weights(self, network: str) -> dict[str, Tensor]:
        """Those of the network that a training state calls so."""
        prefix = f"{network}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is one, whole or not."""
    return (path / METADATA_NAME).is_file()


def read_checkpoint(path: Path, prefix: str = "") -> Checkpoint:
    """A checkpoint, once its checksum is found right; of its tensors, those whose names begin so.

    Raises:
        DamagedError: if it is not whole.
        ValueError: if it is of another version.
        OSError: if it cannot be read now.
    """
    try:
        metadata = json.loads((path / METADATA_NAME).read_text(encoding="utf-8"))
        is_ours = metadata["format"] == FORMAT
        is_whole = is_ours and sha256_of(path / STATE_NAME) == metadata["sha256"]
        tensors = read_tensors(path / STATE_NAME, prefix)[0] if is_whole else {}
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"'{path}' is damaged: {error}") from None
    if not is_ours:
        raise ValueError(
            f"'{path}' has format {str(metadata['format'])[:20]}, and this version of ddgan reads "
            f"format {FORMAT}; resume it with the version that wrote it"
        )
    if not is_whole:
        raise DamagedError(f"'{path / STATE_NAME}' is damaged: its checksum is wrong")
    return Checkpoint(path, metadata, tensors)
