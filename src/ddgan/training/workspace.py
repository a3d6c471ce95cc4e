"""The folder of a run during training: its lock, clearing an old run, its checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import Tensor

from ddgan.config.training import TrainingConfig
from ddgan.models.checkpoint_file import is_checkpoint, read_checkpoint
from ddgan.models.run_folder import CHECKPOINTS_NAME, CONFIG_NAME, FILES, FOLDERS, LOCK_NAME, MARK_NAME
from ddgan.models.weights_file import DISCRIMINATOR_NAME
from ddgan.system.files import is_partial, read_tensors, remove_partial, write_atomically
from ddgan.system.outputs import MARK
from ddgan.training.checkpoint import Checkpoints

__all__ = ["check_folder", "checkpoints_of", "clear", "discriminator_weights", "locked", "mark_as_run"]

PATIENCE = 0.5
"""Seconds to wait for the lock, which `ddgan list` may hold for a moment."""


def check_folder(path: Path, overwrite: bool) -> None:
    """Check that a run can be created here; an unfinished start counts as empty.

    Raises:
        ValueError: if the folder has something else in it, or is a file; with `overwrite` if it is not a run.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"out is '{path}', which is a file; name a folder")
    found = _names(path) - {LOCK_NAME}
    if not found:
        return
    if MARK_NAME not in found:
        raise ValueError(
            f"out is '{path}', which is not empty and not a run: it has no {MARK_NAME}; name another folder"
        )
    first = Checkpoints(path / CHECKPOINTS_NAME).path(0)  # written before the configuration
    is_unfinished = found <= {MARK_NAME, CHECKPOINTS_NAME} and _names(first.parent) <= {first.name}
    if overwrite or is_unfinished:
        return
    resume = f", or resume with ddgan train --resume {path}" if (path / CONFIG_NAME).is_file() else ""
    raise ValueError(f"out is '{path}', which exists; name another folder or pass --overwrite{resume}")


def _names(folder: Path) -> set[str]:
    """Return the names in a folder, without partial files that a killed process left."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not is_partial(name)}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the run folder; the lock is released when the process ends, however it ends.

    Raises:
        ValueError: if another process is training there.
    """
    from filelock import FileLock, Timeout

    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / LOCK_NAME, timeout=PATIENCE):
            yield
    except Timeout:
        raise ValueError(
            f"'{path}' is in use by another training process; wait, or name another folder"
        ) from None


def clear(path: Path) -> None:
    """Remove the files of an earlier run, and only those, its configuration first; mark the folder."""
    remove_partial(path)
    for file in [path / name for name in FILES] + list(path.glob("model-ema*.safetensors")):
        file.unlink(missing_ok=True)
    for name, pattern in FOLDERS.items():
        for file in (path / name).glob(pattern):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        with suppress(OSError):  # it is missing, or has files that are not the run's
            (path / name).rmdir()
    mark_as_run(path)


def mark_as_run(path: Path) -> None:
    """Mark a folder as a run, so that --overwrite may replace it."""
    if not (path / MARK_NAME).is_file():
        write_atomically(path / MARK_NAME, f"{MARK}\n")


def checkpoints_of(path: Path, training: TrainingConfig) -> Checkpoints:
    """Return the checkpoints of a run, with the retention that its settings give."""
    return Checkpoints(path / CHECKPOINTS_NAME, training.keep_last, training.keep_every)


def discriminator_weights(source: str | Path) -> dict[str, Tensor] | None:
    """Return the discriminator of a checkpoint, of a run's newest intact one, or from beside a weights file.

    None if `source` has none.

    Raises:
        ValueError: if the file beside the weights is damaged.
    """
    source = Path(source)
    own = [source] if is_checkpoint(source) else []
    for path in own or reversed(Checkpoints(source / CHECKPOINTS_NAME).paths()):
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
