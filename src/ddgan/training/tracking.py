"""Logging to TensorBoard and Weights & Biases, beside log.jsonl."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ddgan.system.processes import Processes
from ddgan.system.text import one_line

__all__ = ["Trackers", "check_trackers"]

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}
MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
OFFLINE = ("offline", "dryrun", "disabled")
"""Values of wandb's mode that need no login."""


def check_trackers(names: tuple[str, ...], processes: Processes) -> None:
    """Check that the trackers can be used: installed, and logged in or offline.

    Raises:
        ValueError: naming what to install, to repair or to set.
    """
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise ValueError(
                f"training.trackers has {name}, which is not installed: pip install 'ddgan[{name}]'"
            )
        try:
            import_module(MODULES[name])
        except Exception as error:  # a broken or unsuitable installation, of it or of what it needs
            raise ValueError(
                f"training.trackers has {name}, which cannot be imported ({one_line(error)}); "
                f"pip install --force-reinstall 'ddgan[{name}]', or leave it out"
            ) from None
    if "wandb" in names and processes.is_main:
        _check_login()


def _check_login() -> None:
    import wandb

    def is_offline() -> bool:
        return wandb.setup().settings.mode in OFFLINE

    try:
        is_ready = (
            is_offline() or wandb.login(verify=False) or is_offline()
        )  # it may ask, and be told offline
    except wandb.Error:
        is_ready = False
    if not is_ready:
        raise ValueError(
            "training.trackers has wandb, which is not logged in; run wandb login, set WANDB_API_KEY, or set "
            "WANDB_MODE=offline"
        )


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn the errors of a tracker into an OSError, which does not end training."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(one_line(error)) from None


class Trackers:
    """The trackers of a run.

    Args:
        names: any of tensorboard and wandb.
        folder: for local files.
        run_name: name of the run.
        settings: the configuration to show.

    Raises:
        OSError: by each method, if a tracker fails.
    """

    def __init__(self, names: tuple[str, ...], folder: Path, run_name: str, settings: dict[str, Any]) -> None:
        self._tensorboard: Any = None
        self._wandb: Any = None
        with _as_os_error():
            self._start(names, folder, run_name, settings)

    def _start(self, names: tuple[str, ...], folder: Path, run_name: str, settings: dict[str, Any]) -> None:
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
        with _as_os_error():
            if self._tensorboard is not None:
                for name, number in numbers.items():
                    self._tensorboard.add_scalar(name, number, global_step=record["step"])
                self._tensorboard.flush()
            if self._wandb is not None:
                self._wandb.log(numbers, step=record["step"])

    def close(self) -> None:
        """Close all trackers."""
        with _as_os_error():
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
