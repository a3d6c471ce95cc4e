"""What a score is made by: the slot `metric`. One pass over the samples feeds all metrics that are asked for.

A metric says what it needs of that pass, and makes a score of it: any dataclass. One of your own is one file:

    @dataclass(frozen=True)
    class ColourScore:
        difference: float

    @ddgan.register("metric", "colour")
    class Colour(Metric):
        needs = ("features", "real")
        figures = (Figure("quality", "difference of colour", "difference", better="lower"),)

        def score(self, evidence):
            real, samples = evidence.real.features, evidence.features
            return ColourScore(float((samples.mean(dim=0) - real.mean(dim=0)).norm()))

    ddgan.evaluate(model, metrics=["colour"]).scores["colour"].difference

A method `rows` of the score says how a person reads it, as pairs of a name and a text; without one, each
field becomes a row. The fields are what JSON has under the metric's name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import kinds, make
from ddgan.config.settings import SettingError, settings, shown
from ddgan.metrics.collect import Collector, FeatureCollector
from ddgan.metrics.comparison_inputs import Inputs
from ddgan.metrics.features import Features, did_you_mean
from ddgan.metrics.moments import Statistics
from ddgan.metrics.real_features import RealFeatures
from ddgan.metrics.resampling import check_finite
from ddgan.metrics.samples import Samples
from ddgan.models.model import Model

__all__ = [
    "METRICS",
    "Classified",
    "Evidence",
    "Figure",
    "Metric",
    "Need",
    "known_metrics",
    "metric_named",
]

METRICS = (
    "frechet",
    "kernel",
    "precision_recall",
    "density_coverage",
    "inception_score",
    "modes",
    "balance",
    "classes",
    "memorisation",
    "speed",
)
"""The metrics that come with ddgan, in the order in which they are shown; others follow."""

Need = Literal["features", "probabilities", "classes", "real", "model"]
"""What a metric may need:

    features       features of the samples
    probabilities  the class probabilities that go with these features
    classes        the class that the classifier of the labelled data gives each sample
    real           real images; what does without can be scored against a file of mu and sigma
    model          the model itself, after the pass, in the arithmetic that its user has
"""
T = TypeVar("T")


@settings
class Figure:
    """A number of a score by which samples are set side by side.

    Attributes:
        aspect: "quality", "coverage" or "speed": the axis of the comparison's plot that it may stand for.
        label: for the table and the axis.
        path: where the score has it: a field, or one of a field's by a dot.
        better: "lower" or "higher".
        interval: where its interval is, or the fastest and the slowest of a time.
        form: how the number is written.
    """

    aspect: Literal["quality", "coverage", "speed"]
    label: str
    path: str
    better: Literal["lower", "higher"]
    interval: tuple[str, ...] = ()
    form: str = ".4g"


class Classified(NamedTuple):
    """What the classifier of the labelled data says of the samples.

    Attributes:
        features: its own features of them, float32 (N, D).
        classes: the likeliest class of each, int64 (N,).
        accuracy: on held-out images.
    """

    features: Tensor
    classes: Tensor
    accuracy: float


class Evidence:
    """What metrics score by; each part is there if a metric needs it.

    Args:
        inputs: what is compared with what.
        by_features: has the features of the samples.
        by_classifier: has the features of the samples by the classifier of the data.
        collectors: of metrics, by kind.

    Attributes:
        warnings: what a reader of the scores should know; a metric may add to it.
        pictures: by name, uint8 (H, W, C), which are written beside the JSON; a metric may add to it.
    """

    def __init__(
        self,
        inputs: Inputs,
        by_features: FeatureCollector | None,
        by_classifier: FeatureCollector | None,
        collectors: dict[str, Collector],
    ) -> None:
        self.inputs = inputs
        self.warnings, self.pictures = inputs.warnings, dict[str, np.ndarray]()
        self._by_features, self._by_classifier, self._collectors = by_features, by_classifier, collectors
        self._shared: dict[Any, Any] = {}

    @property
    def samples(self) -> Samples:
        """The samples themselves: how many, of what shape, and what classes were asked for."""
        return self.inputs.samples

    @property
    def model(self) -> Model:
        """What made them."""
        return _needed(self.samples.model, "model")

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.inputs.device

    @property
    def kind_of_features(self) -> Features:
        """What the features are of; see `ddgan.metrics.features.score_name`."""
        return self.inputs.features

    @cached_property
    def features(self) -> Tensor:
        """Features of the samples, float32 (N, D), on the CPU.

        Raises:
            ValueError: if one is not finite.
        """
        features = _needed(self._by_features, "features").features()
        return check_finite(features, f"features {self.inputs.features.name} of the samples")

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and covariance of the features of the samples."""
        return _needed(self._by_features, "features").statistics()

    @property
    def probabilities(self) -> Tensor:
        """Class probabilities of the samples, float32 (N, K)."""
        return _needed(self._by_features, "probabilities").probabilities()

    @cached_property
    def real(self) -> RealFeatures:
        """Features and statistics of the real images."""
        return self.inputs.real_features(_needed(self.inputs.real, "real"), self.inputs.features)

    @property
    def reference(self) -> Statistics:
        """Mean and covariance of real features: published ones, or those of the real images."""
        return self.inputs.published or self.real.statistics

    @cached_property
    def classified(self) -> Classified:
        """What the classifier of the labelled data says of the samples."""
        by_classifier = _needed(self._by_classifier, "classes")
        accuracy = self.inputs.classifier.accuracy
        if self.inputs.training.stacked:
            accuracy = accuracy**3  # all three digits of a number must be right
        classes = by_classifier.probabilities().argmax(dim=1)
        return Classified(by_classifier.features(), classes, accuracy)

    def collector(self, metric: Metric) -> Any:
        """The metric's own collector, which has seen all samples; None if it had none."""
        return self._collectors.get(metric.kind)

    def shared(self, make: Callable[[Evidence], T]) -> T:
        """What `make` gives of this evidence, made once for all metrics that ask for it."""
        if make not in self._shared:
            self._shared[make] = make(self)
        made: T = self._shared[make]
        return made


def _needed(part: T | None, need: Need) -> T:
    """A part of the evidence, which is there if a metric has said that it needs it."""
    if part is None:
        raise ValueError(f"a metric asks for evidence that was not gathered; add {need!r} to its needs")
    return part


class Metric:
    """How a score is made: the base of the settings in the slot `metric`.

    Attributes:
        needs: what it needs of the pass over the samples, see `Need`.
        figures: numbers of its score that a comparison of samples shows.
    """

    kind: ClassVar[str]
    needs: ClassVar[tuple[Need, ...]] = ()
    figures: ClassVar[tuple[Figure, ...]] = ()

    def check(self, inputs: Inputs) -> None:
        """Complain about what cannot be scored, before the work is done.

        Raises:
            ValueError: saying what can be scored instead.
        """

    def collector(self, inputs: Inputs) -> Collector | None:
        """What is to be shown every sample: uint8 images (B, C, H, W), or float32 points (B, ...)."""
        return None

    def score(self, evidence: Evidence) -> Any:
        """The score, a dataclass."""
        raise NotImplementedError


def known_metrics() -> list[str]:
    """The kinds of metrics, in the order in which they are shown: those of ddgan, then those of others."""
    known = kinds("metric")
    return [*(kind for kind in METRICS if kind in known), *(kind for kind in known if kind not in METRICS)]


def metric_named(given: str | Metric) -> Metric:
    """A metric by its kind, or itself.

    Raises:
        ValueError: naming the metrics that there are.
    """
    try:
        metric = make("metric", given)
    except SettingError as error:
        if error.name == "kind":
            known = known_metrics()
            raise ValueError(
                f"metrics: {given if isinstance(given, str) else shown(given)} is not known; "
                f"{did_you_mean(given, known)}choose from {', '.join(known)} (a package that adds others is "
                "named by --import PACKAGE, or imported before)"
            ) from None
        raise error.within("metrics") from None
    if not isinstance(metric, Metric):
        raise ValueError(
            f"metrics: {type(metric).__name__} is registered as {metric.kind}, but does not derive from "
            "ddgan.metrics.Metric; let it"
        )
    if strange := [need for need in metric.needs if need not in get_args(Need)]:
        raise ValueError(
            f"metrics: {metric.kind} needs {shown(strange[0])}; it may need {', '.join(get_args(Need))}"
        )
    return metric
