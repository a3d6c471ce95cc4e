"""Code shared by Tables 1, 4 and 5: train the paper's preset, sample, score, and add a row to the table.

At scale smoke the data is generated and the networks are tiny: the numbers mean nothing, and only show that
the pipeline works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan.data.sources import open_data
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.measures import FRECHET, INCEPTION, RECALL
from ddgan.paper.scoring import Method, Pass, scores, speed
from ddgan.paper.specs import TINY_TRAINING, base_of, changed, image_models
from ddgan.paper.store import ModelSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ImageTable", "image_experiment"]

NUM_SHOWN = 25
WITHOUT_CPU = "a U-Net for images of this size takes days on a CPU; use smoke or paper"
SMOKE_SIZE = 16
"""Height and width of the prepared images at scale smoke, in pixels."""
NEAR = 0.25
"""An FID counts as reproduced if it exceeds the published one by at most this fraction."""


@dataclass(frozen=True)
class ImageTable:
    """A table of the paper about one dataset of images.

    Attributes:
        preset: the paper's settings.
        published: name -> cells of the row, the paper's model first.
        head: header of the cells.
        passes: the scores at scale paper.
        make_data: writes small files in the dataset's format to a folder; returns the source.
        shared: name of its model at scale paper, if experiments share it.
    """

    preset: str
    published: Mapping[str, tuple[str, ...]]
    head: tuple[str, ...]
    passes: tuple[Pass, ...]
    make_data: Callable[[Path], str]
    shared: str = ""

    def run(self, request: Request) -> Outcome:
        """Train, sample, score."""
        spec = self.model(request)
        method = Method("ours", spec)
        n = request.chosen(60, 0, 50_000)
        passes = request.chosen((Pass(("frechet",), "pixels"),), (), self.passes)
        reports = [scores(request, method, seed, n, passes) for seed in request.seeds]
        timed = speed(request, method)
        store = request.store
        return Outcome(
            figure=self.draw(request, spec),
            caption=f"Left: real images. Right: samples of seed {request.seeds[0]}, not selected.",
            results={"N": n, "scores": reports, "speed": timed},
            tables=[self.table(request, reports, timed, n)],
            claims=self.claims(reports) if request.scale == "paper" else [],
            models=[store.metadata(spec, seed) for seed in request.seeds],
            notes=self.notes(request),
        )

    def model(self, request: Request) -> ModelSpec:
        """Return the preset's model; at scale smoke with tiny networks on generated files."""
        if request.scale == "paper":
            return self.paper_model(request.data)
        base = base_of(self.preset, self.make_data(request.out / "data" / self.preset))
        tiny = changed(
            base,
            data={"size": SMOKE_SIZE},
            generator={
                "base_channels": 8,
                "channel_multipliers": (1, 1),
                "num_blocks": 1,
                "attention_resolutions": (),
                "latent_size": 8,
                "mapping_features": 16,
                "mapping_depth": 1,
            },
            method={
                "discriminators.pair.base_channels": 8,
                "discriminators.pair.channel_multipliers": (1, 1),
                "discriminators.pair.downsample": (True, True),
                "discriminators.pair.time_features": 16,
            },
            training=TINY_TRAINING,
        )
        return ModelSpec(self.preset, tiny, "tiny networks")

    def paper_model(self, data: str | None) -> ModelSpec:
        """Return the preset's model on this data."""
        if self.shared:
            return image_models("paper", data)[self.shared]
        return ModelSpec(self.preset, base_of(self.preset, data), "the preset")

    def notes(self, request: Request) -> list[str]:
        """Notes for the reader."""
        if request.scale == "paper":
            return [
                "N = 50,000 samples from the EMA weights, compared with the training set. The preset "
                f"{self.preset} has the released settings. Samples are not saved as JPEG, unlike in the "
                "released script."
            ]
        return [
            "Generated files in the dataset's format, a network of a few thousand weights, a dozen "
            f"iterations, {SMOKE_SIZE} pixels, a Fréchet distance of pixels: not comparable with the "
            "published figures. This only shows that the pipeline works."
        ]

    def table(self, request: Request, reports: list[dict[str, Any]], timed: dict[str, Any], n: int) -> Table:
        """Build the table: our row above the published ones."""
        cells = {
            "IS": plots.written([INCEPTION.of(r) for r in reports], ".2f"),
            "FID": plots.written([FRECHET.of(r) for r in reports], ".2f")
            if request.scale == "paper"
            else "-",
            "recall": plots.written([RECALL.of(r) for r in reports], ".2f"),
            "NFE": str(timed["nfe"]),
            "s / 100 images": f"{timed['seconds_per_100']['median']:.2g}",
        }
        ours = (f"ours ({request.scale})", *(cells[name] for name in self.head))
        rows = [ours, *((name, *values) for name, values in self.published.items())]
        note = f"N = {n:,}. Our time was measured on {timed['device']}, the published ones on a V100."
        return Table("Ours beside the published figures", ("method", *self.head), rows, note)

    def claims(self, reports: list[dict[str, Any]]) -> list[Claim]:
        """Check whether the published FID is reached."""
        values = [value for report in reports if (value := FRECHET.of(report)) is not None]
        published = float(next(iter(self.published.values()))[self.head.index("FID")])
        holds = plots.spread_of(values)[0] <= (1 + NEAR) * published
        text = f"The published FID {published} is reached (within {NEAR:.0%})"
        return [Claim(text, holds, f"ours: {plots.written(values, '.2f')}")]

    def draw(self, request: Request, spec: ModelSpec) -> Figure:
        """Draw real images beside samples."""
        model = request.store.open(spec, request.seeds[0])
        real = open_data(spec.config.data, 1, "cpu", tuple(model.sample_shape)).batch(0, NUM_SHOWN).x
        made = next(iter(model.batches(NUM_SHOWN, batch_size=NUM_SHOWN)))
        figure = plots.new_figure(9, 4.7)
        for axes, batch, title in zip(
            figure.subplots(1, 2),
            (real, made),
            ("real", f"ours, {self.preset} ({request.scale})"),
            strict=True,
        ):
            plots.show_image(axes, plots.sheet(batch, 5, 96), title)
        return figure


def image_experiment(
    table: ImageTable, source: str, about: str, data: str, paper: str, gpus: int, prepare: str = ""
) -> Experiment:
    """Build the experiment of such a table."""
    return Experiment(
        name=table.preset,
        source=source,
        about=about,
        run=table.run,
        costs={"smoke": "10 s, generated files", "paper": paper},
        models=(table.preset,),
        paper_models=(table.shared,) if table.shared else (),
        gpus=gpus,
        prepare=prepare,
        data=data,
        without_cpu=WITHOUT_CPU,
    )
