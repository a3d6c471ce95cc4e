"""Logging to TensorBoard and Weights & Biases, beside log.jsonl."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Trackers", "check_trackers"]

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check_trackers(names: tuple[str, ...]) -> None:
    """Check that the packages of the trackers are installed.

    Raises:
        ValueError: naming the command that installs a missing one.
    """
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise ValueError(
                f"training.trackers has {name}, which is not installed: pip install 'ddgan[{name}]'"
            )


class Trackers:
    """The trackers of a run.

    Args:
        names: any of tensorboard and wandb.
        folder: for local files.
        run_name: name of the run.
        settings: the configuration to show.
    """

    def __init__(self, names: tuple[str, ...], folder: Path, run_name: str, settings: dict[str, Any]) -> None:
        self._tensorboard: Any = None
        self._wandb: Any = None
        if names:
            folder.mkdir(parents=True, exist_ok=True)
        if "tensorboard" in names:
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(str(folder / run_name))
            rows = "\n".join(f"| {name} | {value} |" for name, value in flat(settings).items())
            self._tensorboard.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")
        if "wandb" in names:
            import wandb

            self._wandb = wandb.init(project="ddgan", name=run_name, dir=str(folder), config=flat(settings))

    def log(self, record: dict[str, Any]) -> None:
        """Send a record; lists per t become one value for each t."""
        numbers = scalars(record)
        if self._tensorboard is not None:
            for name, number in numbers.items():
                self._tensorboard.add_scalar(name, number, global_step=record["step"])
            self._tensorboard.flush()
        if self._wandb is not None:
            self._wandb.log(numbers, step=record["step"])

    def close(self) -> None:
        """Close all trackers."""
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a record by name; lists per t become name/t1, name/t2, ..."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        values = (
            {f"{name}/t{t}": v for t, v in enumerate(value, 1)} if isinstance(value, list) else {name: value}
        )
        numbers |= {key: number for key, number in values.items() if isinstance(number, int | float)}
    return numbers


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str | float]:
    """Flatten nested settings to dotted names; values other than numbers become text."""
    values: dict[str, str | float] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = value if isinstance(value, int | float) else str(value)
    return values
