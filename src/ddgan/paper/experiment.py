"""The interface of experiments: a table or figure of the paper as a function of a request, at three scales.

smoke   networks of a few thousand weights, a few iterations: shows that the pipeline runs
cpu     real data that comes with the package, two cores, seeds 0, 1, 2
paper   the paper's networks, data and training lengths, on GPUs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan.paper.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DEFAULT_SEEDS", "SCALES", "Claim", "Experiment", "Outcome", "Request", "Table"]

SCALES = ("smoke", "cpu", "paper")
DEFAULT_SEEDS = {"smoke": (0,), "cpu": (0, 1, 2), "paper": (0,)}


@dataclass(frozen=True)
class Request:
    """Options of a reproduction.

    Attributes:
        scale: one of SCALES.
        out: the folder of all experiments of this scale.
        data: the dataset given by `--data`, if the scale needs one that is not embedded.
        seeds: seeds of the trained models.
        log: receives progress messages.
    """

    scale: str
    out: Path
    data: str | None = None
    seeds: tuple[int, ...] = (0,)
    log: Callable[[str], None] = field(default_factory=lambda: lambda line: None)

    @property
    def store(self) -> Store:
        """The store of trained models that all experiments share."""
        return Store(self.out / "models", self.log)

    def chosen(self, smoke: Any, cpu: Any, paper: Any) -> Any:
        """Return the value for this scale."""
        return {"smoke": smoke, "cpu": cpu, "paper": paper}[self.scale]


@dataclass(frozen=True)
class Table:
    """A table of a report: a title, a header, rows of text, and a note below."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, whether it holds here, and the numbers behind the answer."""

    text: str
    holds: bool
    evidence: str


@dataclass
class Outcome:
    """The result of an experiment.

    Attributes:
        figure: the figure.
        caption: caption of the figure.
        results: plain values for JSON.
        tables: our numbers, beside the published ones.
        claims: the paper's claims, checked here.
        models: metadata of each trained model, see `Store.metadata`.
        notes: notes for the reader.
    """

    figure: Figure
    caption: str
    results: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Experiment:
    """A table or figure that can be reproduced.

    Attributes:
        name: name on the command line.
        source: the table or figure of the paper.
        about: short description.
        run: runs the experiment.
        costs: scale -> cost, in words; only these scales are available.
        models: names of the trained models that it uses, shared with other experiments.
        paper_models: names of the models of scale paper, if they differ.
        gpus: number of GPUs in the paper.
        data: value for `--data` at scale paper; empty if no data is needed.
        prepare: command line that makes the data from the published dataset; empty if not needed.
        needs_gpu: whether scale paper needs a GPU.
        without_cpu: why there is no scale cpu, if there is none.
    """

    name: str
    source: str
    about: str
    run: Callable[[Request], Outcome]
    costs: Mapping[str, str]
    models: tuple[str, ...] = ()
    paper_models: tuple[str, ...] = ()
    gpus: int = 4
    data: str = ""
    prepare: str = ""
    needs_gpu: bool = True
    without_cpu: str = ""

    def command(self, scale: str, out: str = "OUT") -> str:
        """Return the command line of this experiment at a scale."""
        return f"ddgan reproduce {self.name} --scale {scale}{self._data_option(scale)} --out {out}"

    def paper_commands(self, out: str = "OUT") -> list[str]:
        """Return the command lines of scale paper: prepare the data, train on several GPUs, do the rest."""
        names = " ".join(self.models_at("paper"))
        lines = [self.prepare] if self.prepare else []
        if names and self.gpus > 1:
            launch = f"torchrun --nproc-per-node {self.gpus} -m ddgan reproduce models --names {names}"
            lines.append(f"{launch} --scale paper{self._data_option('paper')} --out {out}")
        return [*lines, self.command("paper", out)]

    def models_at(self, scale: str) -> tuple[str, ...]:
        """Return the names of the models that it uses at a scale."""
        return self.paper_models or self.models if scale == "paper" else self.models

    def _data_option(self, scale: str) -> str:
        return f" --data {self.data}" if scale == "paper" and self.data else ""
