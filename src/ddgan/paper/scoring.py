"""Scores of the shared models, stored beside each, so that a second report takes seconds.

Every method is scored at N = 5,000 ("short"), which is affordable for a chain of 1,000 steps; methods of at
most 100 steps also at N = 26,000 ("long"), the paper's StackedMNIST protocol. Each KL is reported with its
floor, the KL of N real samples. Speed is measured separately, on the first seed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from ddgan.data.digits import split_digits
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.metrics import evaluate
from ddgan.metrics.classifier import MeasuredClassifier, measured, train_digit_classifier
from ddgan.metrics.modes import DigitCounter, digit_shares
from ddgan.metrics.result import PROTOCOL
from ddgan.metrics.samples import quantised
from ddgan.metrics.speed import measure_speed
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.models.model import TrainedModel
from ddgan.paper.experiment import Request
from ddgan.paper.provenance import machine
from ddgan.paper.store import SCORES_FOLDER, ModelSpec, Store
from ddgan.system.files import write_atomically

__all__ = [
    "LONG_CHAIN",
    "PLANS",
    "POINTS",
    "Method",
    "Pass",
    "long_scores",
    "scores",
    "short_scores",
    "speed",
]

LONG_CHAIN = 100
"""Chains with more steps are scored at the short N only."""


@dataclass(frozen=True)
class Pass:
    """One pass over samples: its metrics and features."""

    metrics: tuple[str, ...]
    features: str


@dataclass(frozen=True)
class Plan:
    """How the images of a scale are scored.

    Attributes:
        num_short: N for every method.
        short: the passes at that N.
        num_long: N for chains of at most 100 steps.
        long: the passes at that N.
        quick_classifier: whether modes are counted by a classifier trained for one epoch (smoke).
        speed_budget: time budget of the speed measurement in seconds, see `measure_speed`.
    """

    num_short: int
    short: tuple[Pass, ...]
    num_long: int
    long: tuple[Pass, ...]
    quick_classifier: bool = False
    speed_budget: float = 2.0


PLANS = {
    "smoke": Plan(
        60,
        (Pass(("frechet", "modes"), "pixels"),),
        90,
        (Pass(("modes",), "pixels"),),
        quick_classifier=True,
        speed_budget=0.02,
    ),
    "cpu": Plan(
        5000,
        (Pass(("frechet", "precision_recall", "modes"), "classifier"),),
        26_000,
        (Pass(("modes",), "classifier"),),
    ),
    "paper": Plan(
        5000,
        (Pass(("frechet", "inception_score"), "inception"), Pass(("precision_recall",), "vgg16")),
        50_000,
        (Pass(("frechet", "inception_score"), "inception"),),
    ),
}
POINTS = {"smoke": 500, "cpu": 10_000, "paper": 10_000}
"""N for points."""


@dataclass(frozen=True)
class Method:
    """A way of sampling: a model, and for a Gaussian denoiser the settings of its chain."""

    label: str
    spec: ModelSpec
    chain: ChainConfig | None = None

    @property
    def key(self) -> str:
        """Name of its score files."""
        if self.chain is None:
            return "own"
        kind = "ddim" if self.chain.eta == 0 else "ddpm"
        forward = "-forward" if self.chain.variance == "forward" else ""
        return f"{kind}{forward}-{self.chain.num_steps}"

    def open(self, store: Store, seed: int) -> TrainedModel:
        """Open the trained model with this chain."""
        model: TrainedModel = store.open(self.spec, seed)
        if self.chain is None:
            return model
        assert isinstance(model, GaussianDiffusion)
        return model.sampled_by(self.chain)


def short_scores(request: Request, method: Method, seed: int) -> dict[str, Any]:
    """Return the scores at the short N, as plain values by metric."""
    plan = PLANS[request.scale]
    return scores(request, method, seed, plan.num_short, plan.short)


def long_scores(request: Request, method: Method, seed: int) -> dict[str, Any] | None:
    """Return the scores at the long N; None for chains of more than 100 steps."""
    plan = PLANS[request.scale]
    steps = 0 if method.chain is None else method.chain.num_steps
    return None if steps > LONG_CHAIN else scores(request, method, seed, plan.num_long, plan.long)


def scores(request: Request, method: Method, seed: int, n: int, passes: tuple[Pass, ...]) -> dict[str, Any]:
    """Return the scores of n samples from all passes, stored or computed now."""
    merged: dict[str, Any] = {}
    for number, one in enumerate(passes):
        asked = {"n": n, "metrics": one.metrics, "features": one.features, "protocol": PROTOCOL, "seed": seed}
        name = f"{method.key}-n{n}" + (f"-{number}" if number else "")
        report = _kept(request, method, seed, name, asked, partial(_report, request, method, seed, n, one))
        merged |= {name: value for name, value in report.items() if value not in (None, [])}
    return merged


def _report(request: Request, method: Method, seed: int, n: int, one: Pass) -> dict[str, Any]:
    request.log(f"scoring {method.label}, seed {seed}, N = {n:,}")
    model = method.open(request.store, seed)
    quick = PLANS[request.scale].quick_classifier and "modes" in one.metrics and len(model.sample_shape) == 3
    metrics = [metric for metric in one.metrics if not (quick and metric == "modes")]
    plain: dict[str, Any] = {}
    if metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they are in the report
            plain = evaluate(model, metrics=metrics, n=n, seed=seed, features=one.features).to_dict()
    if quick:
        counter = DigitCounter(quick_classifier(), digit_shares(3))
        for batch in model.batches(n, seed):
            counter.update(quantised(batch))
        plain["modes"] = asdict(counter.score())
    return plain


def speed(request: Request, method: Method) -> dict[str, Any]:
    """Measure the speed of the first seed's model with `ddgan.metrics.speed`, and record the machine."""
    seed, budget = request.seeds[0], PLANS[request.scale].speed_budget

    def make() -> dict[str, Any]:
        request.log(f"timing {method.label}")
        return asdict(measure_speed(method.open(request.store, seed), budget)) | {"machine": machine()}

    return _kept(request, method, seed, f"{method.key}-speed", {"budget": budget}, make)


def _kept(
    request: Request,
    method: Method,
    seed: int,
    name: str,
    asked: dict[str, Any],
    make: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """Return the stored answer to the same request, or make and store it."""
    store = request.store
    path = store.path(method.spec, seed) / SCORES_FOLDER / f"{name}.json"
    if not (
        path.is_file() and store.has_metadata(method.spec, seed)
    ):  # stored scores do not need the weights
        store.train_all([method.spec], [seed])
    metadata = store.metadata(method.spec, seed)
    asked = asked | {"trained": [metadata["iterations"], metadata["minutes"], metadata["commit"]]}
    if path.is_file():
        stored: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        if stored["asked"] == json.loads(json.dumps(asked)):
            return stored["answer"]
    answer = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"asked": asked, "answer": answer}, indent=2) + "\n")
    plain: dict[str, Any] = json.loads(json.dumps(answer))
    return plain


@cache
def quick_classifier() -> MeasuredClassifier:
    """Train a digit classifier for one epoch: enough to check that counting works."""
    images, labels = split_digits("test")
    classifier = train_digit_classifier(*split_digits("train"), seed=0, num_epochs=1)
    return measured(classifier, images[:, None], labels)
