"""TensorBoard and Weights & Biases, through accelerate's trackers; log.jsonl is written in any case."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check_trackers(names: tuple[str, ...]) -> None:
    """Complain where a tracker's package is missing.

    Raises:
        ValueError: saying how to install it.
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
        folder: where local files go.
        run_name: what the run is called there.
        settings: the configuration, shown there.
    """

    def __init__(self, names: tuple[str, ...], folder: Path, run_name: str, settings: dict[str, Any]) -> None:
        self._trackers: list[Any] = []
        if not names:
            return
        from accelerate import PartialState
        from accelerate.tracking import TensorBoardTracker, WandBTracker

        PartialState()  # the trackers ask it who may write
        folder.mkdir(parents=True, exist_ok=True)
        if "tensorboard" in names:
            self._trackers.append(TensorBoardTracker(run_name, logging_dir=folder))
        if "wandb" in names:
            self._trackers.append(WandBTracker("ddgan", name=run_name, dir=str(folder)))
        for tracker in self._trackers:
            if hasattr(tracker, "start"):
                tracker.start()
            tracker.store_init_configuration(flat(settings))

    def log(self, record: dict[str, Any]) -> None:
        """Send a record; what is kept per t becomes one value for each."""
        for tracker in self._trackers:
            tracker.log(scalars(record), step=record["step"])

    def close(self) -> None:
        """Finish."""
        for tracker in self._trackers:
            tracker.finish()


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record by name: lists per t as name/t1, name/t2, ..."""
    numbers: dict[str, float] = {}
    for name, value in record.items():
        values = (
            {f"{name}/t{t}": v for t, v in enumerate(value, 1)} if isinstance(value, list) else {name: value}
        )
        numbers |= {key: number for key, number in values.items() if isinstance(number, int | float)}
    return numbers


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str | float]:
    """Nested settings by dotted name; what is no number becomes text."""
    values: dict[str, str | float] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = value if isinstance(value, int | float) else str(value)
    return values
