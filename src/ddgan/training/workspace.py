"""The folder of a run during training: its lock, clearing an old run, its checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ddgan.config.training import TrainingConfig
from ddgan.models.checkpoint_file import is_checkpoint, read_checkpoint
from ddgan.models.run_folder import CONFIG_NAME, FILES, FOLDERS, LOCK_NAME
from ddgan.models.weights_file import DISCRIMINATOR_NAME
from ddgan.system.files import read_tensors, remove_partial
from ddgan.training.checkpoint import Checkpoints

__all__ = ["check_folder", "checkpoints_of", "clear", "discriminator_weights", "locked"]


def check_folder(path: Path, overwrite: bool) -> None:
    """Check that a run can be created here.

    Raises:
        ValueError: if the folder is not empty, or is a file.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"out is '{path}', which is a file; name a folder")
    if path.is_dir() and any(entry.name != LOCK_NAME for entry in path.iterdir()) and not overwrite:
        resume = f", or resume with ddgan train --resume {path}" if (path / CONFIG_NAME).is_file() else ""
        raise ValueError(f"out is '{path}', which exists; name another folder or pass --overwrite{resume}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the run folder; the lock is released when the process ends, however it ends.

    Raises:
        ValueError: if another process is training there.
    """
    from filelock import FileLock, Timeout

    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / LOCK_NAME, timeout=0):
            yield
    except Timeout:
        raise ValueError(
            f"'{path}' is in use by another training process; wait, or name another folder"
        ) from None


def clear(path: Path) -> None:
    """Remove the files of an earlier run, and only those; its configuration first."""
    remove_partial(path)
    for file in [path / name for name in FILES] + list(path.glob("model-ema*.safetensors")):
        file.unlink(missing_ok=True)
    for name in FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)


def checkpoints_of(path: Path, training: TrainingConfig) -> Checkpoints:
    """Return the checkpoints of a run, with the retention that its settings give."""
    return Checkpoints(path / "checkpoints", training.keep_last, training.keep_every)


def discriminator_weights(source: str | Path) -> dict[str, Tensor] | None:
    """Return the discriminator of a checkpoint, of a run's newest intact one, or from beside a weights file.

    None if `source` has none.

    Raises:
        ValueError: if the file beside the weights is damaged.
    """
    source = Path(source)
    own = [source] if is_checkpoint(source) else []
    for path in own or reversed(Checkpoints(source / "checkpoints").paths()):
        try:
            return read_checkpoint(path).weights("discriminator")
        except (ValueError, OSError):
            continue
    beside = (source if source.is_dir() else source.parent) / DISCRIMINATOR_NAME
    if not beside.is_file():
        return None
    try:
        return read_tensors(beside)[0]
    except (ValueError, OSError) as error:
        raise ValueError(
            f"'{beside}' is not a whole .safetensors file ({error}); remove it to start D from random weights"
        ) from None
