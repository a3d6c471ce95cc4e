"""What an experiment is: a table or figure of the paper as a function of a request, at three scales.

smoke   networks of a few thousand weights, a handful of iterations: shows that the pipeline runs
cpu     real data that comes with the package, two cores, seeds 0, 1, 2
paper   the paper's networks, data and lengths, on GPUs
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
    """What is to be reproduced.

    Attributes:
        scale: one of SCALES.
        out: the folder of all experiments of this scale.
        data: the dataset as `--data` names it, where the scale needs one that is not embedded.
        seeds: of the trained models.
        log: takes lines for a person.
    """

    scale: str
    out: Path
    data: str | None = None
    seeds: tuple[int, ...] = (0,)
    log: Callable[[str], None] = field(default_factory=lambda: lambda line: None)

    @property
    def store(self) -> Store:
        """The trained models that all experiments share."""
        return Store(self.out / "models", self.log)

    def chosen(self, smoke: Any, cpu: Any, paper: Any) -> Any:
        """The value for this scale."""
        return {"smoke": smoke, "cpu": cpu, "paper": paper}[self.scale]


@dataclass(frozen=True)
class Table:
    """A table of a report: a title, a head, rows of text, and what to know when reading it."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, whether it holds here, and the numbers that say so."""

    text: str
    holds: bool
    evidence: str


@dataclass
class Outcome:
    """What an experiment found.

    Attributes:
        figure: the picture.
        caption: what the picture shows.
        results: plain values for JSON.
        tables: ours beside the published figures.
        claims: of the paper, as they stand here.
        models: what is known of each trained model, see `Store.metadata`.
        notes: what a reader should know.
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
        name: what the command line calls it.
        source: which table or figure of the paper it is.
        about: what it shows, in a few words.
        run: does the work.
        costs: scale -> what it takes, in words; a scale that is missing is not offered.
        models: the names of the trained models that it uses, which experiments share.
        paper_models: those of scale paper, where they are others.
        gpus: how many the paper trained on.
        data: what `--data` must name at scale paper; empty where nothing is needed.
        prepare: the command line that makes it, where it is not the dataset as it is published.
        needs_gpu: whether scale paper needs one.
        without_cpu: why there is no scale cpu, where there is none.
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
        """The command line of this experiment at a scale."""
        return f"ddgan reproduce {self.name} --scale {scale}{self._data_option(scale)} --out {out}"

    def paper_commands(self, out: str = "OUT") -> list[str]:
        """The command lines of scale paper: the data, the training on several GPUs, the rest; as needed."""
        names = " ".join(self.models_at("paper"))
        lines = [self.prepare] if self.prepare else []
        if names and self.gpus > 1:
            launch = f"torchrun --nproc-per-node {self.gpus} -m ddgan reproduce models --names {names}"
            lines.append(f"{launch} --scale paper{self._data_option('paper')} --out {out}")
        return [*lines, self.command("paper", out)]

    def models_at(self, scale: str) -> tuple[str, ...]:
        """The names of the models that it uses at a scale."""
        return self.paper_models or self.models if scale == "paper" else self.models

    def _data_option(self, scale: str) -> str:
        return f" --data {self.data}" if scale == "paper" and self.data else ""
