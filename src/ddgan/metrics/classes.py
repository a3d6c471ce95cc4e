"""Classes, for conditional models: is a sample of the class that it was asked to be, and do they vary?

The classifier of the labelled data says which class a sample is of; in its features, the samples of one class
should be as different from each other as real images of that class are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.comparison_inputs import Inputs
from ddgan.metrics.metric import Evidence, Figure, Metric

__all__ = ["Classes", "ClassesScore", "classes_score", "mean_distance"]

MOST_PER_CLASS = 200
"""Samples of one class that are compared with each other."""


@dataclass(frozen=True)
class ClassesScore:
    """What `classes` reports.

    Attributes:
        num_samples: N.
        agreement: share of samples that are classified as what they were asked to be.
        agreement_real: the same for held-out real images: the classifier's accuracy.
        diversity: mean distance between two samples of one class, in the classifier's features, over that of
            real images; the mean over the classes. 1 is as varied as real, 0 is one image per class.
        least_diverse: the class where that is smallest.
        least_diversity: its value.
    """

    num_samples: int
    agreement: float
    agreement_real: float
    diversity: float
    least_diverse: int
    least_diversity: float

    def rows(self) -> list[tuple[str, str]]:
        """For a person to read."""
        least = f"least {self.least_diversity:.3f} in class {self.least_diverse}"
        return [
            ("samples classified as the class asked for", f"{self.agreement:.1%}"),
            ("the same for held-out real images", f"{self.agreement_real:.1%}"),
            ("distance within a class, over the real one", f"{self.diversity:.3f} ({least})"),
        ]


def classes_score(
    features: Tensor,
    classes: Tensor,
    asked: Tensor,
    real_features: Tensor,
    real_labels: Tensor,
    accuracy: float,
) -> ClassesScore:
    """Of samples with features (N, D), classified as and asked to be classes (N,), against real ones.

    Raises:
        ValueError: if no class has two samples and two real images.
    """
    ratios: dict[int, float] = {}
    for label in asked.unique().tolist():
        samples, real = features[asked == label], real_features[real_labels == label]
        if len(samples) > 1 and len(real) > 1:
            ratios[label] = mean_distance(samples) / max(mean_distance(real), 1e-12)
    if not ratios:
        raise ValueError("classes need two samples of a class that the real data has; ask for more samples")
    least = min(ratios, key=ratios.__getitem__)
    return ClassesScore(
        num_samples=len(asked),
        agreement=float((classes == asked).double().mean()),
        agreement_real=accuracy,
        diversity=sum(ratios.values()) / len(ratios),
        least_diverse=int(least),
        least_diversity=ratios[least],
    )


def mean_distance(features: Tensor) -> float:
    """The mean Euclidean distance between two different ones of the first 200 rows (N, D)."""
    return float(torch.pdist(features[:MOST_PER_CLASS].double()).mean())


@register("metric", "classes")
class Classes(Metric):
    """Whether samples obey the class that they were asked to be, and vary within it."""

    needs = ("classes", "real")
    figures = (
        Figure("quality", "classified as the class asked for", "agreement", "higher"),
        Figure("coverage", "distance within a class", "diversity", "higher"),
    )

    def check(self, inputs: Inputs) -> None:
        if inputs.samples.labels is None:
            raise ValueError(
                "metrics: classes are for models trained with classes, or a .npz with labels; use balance"
            )

    def score(self, evidence: Evidence) -> ClassesScore:
        inputs, found = evidence.inputs, evidence.classified
        known = inputs.real_features(inputs.training, inputs.classifier_features)
        assert inputs.samples.labels is not None
        assert inputs.training.labels is not None
        labels = torch.from_numpy(inputs.training.labels)[known.rows]
        return classes_score(
            found.features, found.classes, inputs.samples.labels, known.features, labels, found.accuracy
        )
