"""Metrics: the slot `metric`. One pass over the samples serves all requested metrics.

A metric declares its needs and computes a score, which is any dataclass. Your own metric is one file:

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

A method `rows` of the score returns the rows of its table as pairs of strings (name, value); by default each
field is a row. In JSON the fields stand under the metric's name.
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
"""ddgan's own metrics, in display order; others follow."""

Need = Literal["features", "probabilities", "classes", "real", "model"]
"""Possible needs of a metric:

    features       features of the samples
    probabilities  class probabilities from the same network as the features
    classes        predicted classes of the samples, by the classifier of the labelled data
    real           real images; without this need, a file of mu and sigma is enough
    model          the model itself, after the pass, in its own precision
"""
T = TypeVar("T")


@settings
class Figure:
    """A number of a score, used in comparisons.

    Attributes:
        aspect: "quality", "coverage" or "speed": its possible axis in the comparison's plot.
        label: label in the table and on the axis.
        path: field of the score, with dots for nested fields.
        better: "lower" or "higher".
        interval: paths of its interval, or of the fastest and the slowest time.
        deviation: path of its standard deviation, where it has no interval.
        exact: whether it has no error at all, as a count of network evaluations.
        form: format of the number.
    """

    aspect: Literal["quality", "coverage", "speed"]
    label: str
    path: str
    better: Literal["lower", "higher"]
    interval: tuple[str, ...] = ()
    form: str = ".4g"
    deviation: str = ""
    exact: bool = False


class Classified(NamedTuple):
    """Results of the classifier of the labelled data for the samples.

    Attributes:
        features: the classifier's features of the samples, float32 (N, D).
        classes: most probable class of each sample, int64 (N,).
        accuracy: on held-out images.
    """

    features: Tensor
    classes: Tensor
    accuracy: float


class Evidence:
    """The data that metrics score; each part exists if a metric needs it.

    Args:
        inputs: the samples and the data to compare them with.
        by_features: has the features of the samples.
        by_classifier: has the features of the samples by the classifier of the data.
        collectors: the metrics' own collectors, by kind.

    Attributes:
        warnings: warnings for readers of the scores; metrics may add to them.
        pictures: pictures by name, uint8 (H, W, C), written beside the JSON; metrics may add to them.
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
        """The samples: their number, shape and requested classes."""
        return self.inputs.samples

    @property
    def model(self) -> Model:
        """The model of the samples."""
        return _needed(self.samples.model, "model")

    @property
    def device(self) -> torch.device:
        """The device to compute on."""
        return self.inputs.device

    @property
    def kind_of_features(self) -> Features:
        """The features in use; see `ddgan.metrics.features.score_name`."""
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
        """Results of the classifier of the labelled data for the samples."""
        by_classifier = _needed(self._by_classifier, "classes")
        accuracy = self.inputs.classifier.accuracy
        if self.inputs.training.stacked:
            accuracy = accuracy**3  # all three digits of a number must be correct
        classes = by_classifier.probabilities().argmax(dim=1)
        return Classified(by_classifier.features(), classes, accuracy)

    def collector(self, metric: Metric) -> Any:
        """Return the metric's own collector, filled with all samples; None if it has none."""
        return self._collectors.get(metric.kind)

    def shared(self, make: Callable[[Evidence], T]) -> T:
        """Return `make(self)`, computed once for all metrics that share it."""
        if make not in self._shared:
            self._shared[make] = make(self)
        made: T = self._shared[make]
        return made


def _needed(part: T | None, need: Need) -> T:
    """Return a part of the evidence; it exists only if a metric declares the need."""
    if part is None:
        raise ValueError(f"a metric uses evidence that was not collected; add {need!r} to its needs")
    return part


class Metric:
    """Base class of metrics, the settings in the slot `metric`.

    Attributes:
        needs: its needs of the pass over the samples, see `Need`.
        figures: the numbers of its score shown in comparisons.
        headline: path of the figure that decides which checkpoint is best; by default the first.
    """

    kind: ClassVar[str]
    needs: ClassVar[tuple[Need, ...]] = ()
    figures: ClassVar[tuple[Figure, ...]] = ()
    headline: ClassVar[str] = ""

    def check(self, inputs: Inputs) -> None:
        """Check before any work that the inputs can be scored.

        Raises:
            ValueError: if not, naming the alternatives.
        """

    def collector(self, inputs: Inputs) -> Collector | None:
        """Return a collector for all samples: uint8 images (B, C, H, W), or float32 points (B, ...)."""
        return None

    def score(self, evidence: Evidence) -> Any:
        """Compute the score, a dataclass."""
        raise NotImplementedError


def known_metrics() -> list[str]:
    """Return the kinds of metrics in display order: ddgan's own, then others."""
    known = kinds("metric")
    return [*(kind for kind in METRICS if kind in known), *(kind for kind in known if kind not in METRICS)]


def metric_named(given: str | Metric) -> Metric:
    """Return a metric by its kind; a metric itself is returned unchanged.

    Raises:
        ValueError: if the kind is unknown, listing the known ones.
    """
    try:
        metric = make("metric", given)
    except SettingError as error:
        if error.name == "kind":
            known = known_metrics()
            raise ValueError(
                f"metrics: {given if isinstance(given, str) else shown(given)} is not known; "
                f"{did_you_mean(given, known)}choose from {', '.join(known)} (for a metric from another "
                "package, add --import PACKAGE or import it first)"
            ) from None
        raise error.within("metrics") from None
    if not isinstance(metric, Metric):
        raise ValueError(
            f"metrics: {type(metric).__name__} is registered as {metric.kind}, but is not a subclass of "
            "ddgan.metrics.Metric; derive it from that"
        )
    if strange := [need for need in metric.needs if need not in get_args(Need)]:
        raise ValueError(
            f"metrics: {metric.kind} needs {shown(strange[0])}; valid needs are {', '.join(get_args(Need))}"
        )
    return metric
