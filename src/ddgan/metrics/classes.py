"""Classes, for conditional models: do samples have the requested class, and do they vary within it?

A classifier trained on the labelled data assigns classes to the samples. In its features, the samples of a
class should differ from each other as much as real images of that class do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import shown
from ddgan.metrics.comparison_inputs import Inputs
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.real_data import RealData
from ddgan.metrics.samples import Samples

__all__ = ["Classes", "ClassesScore", "classes_score", "mean_distance", "requested_classes"]

MOST_NAMED = 10
MOST_PER_CLASS = 200
"""Maximum number of samples of a class that are compared with each other."""


@dataclass(frozen=True)
class ClassesScore:
    """The score of `classes`.

    Attributes:
        num_samples: N.
        agreement: share of samples classified as the requested class.
        agreement_real: the same for held-out real images: the classifier's accuracy.
        diversity: mean distance between two samples of a class, in the classifier's features, divided by that
            of real images, averaged over the classes: 1 is as varied as real, 0 is one image per class.
        least_diverse: the class with the smallest ratio.
        least_diversity: its ratio.
    """

    num_samples: int
    agreement: float
    agreement_real: float
    diversity: float
    least_diverse: int
    least_diversity: float

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        least = f"least {self.least_diversity:.3f} in class {self.least_diverse}"
        return [
            ("samples classified as the requested class", f"{self.agreement:.1%}"),
            ("the same for held-out real images", f"{self.agreement_real:.1%}"),
            ("distance within a class, relative to real", f"{self.diversity:.3f} ({least})"),
        ]


def classes_score(
    features: Tensor,
    classes: Tensor,
    asked: Tensor,
    real_features: Tensor,
    real_labels: Tensor,
    accuracy: float,
) -> ClassesScore:
    """Score samples with features (N, D), predicted and requested classes (N,), against real images.

    Raises:
        ValueError: if no class has two samples and two real images.
    """
    ratios: dict[int, float] = {}
    for label in asked.unique().tolist():
        samples, real = features[asked == label], real_features[real_labels == label]
        if len(samples) > 1 and len(real) > 1:
            ratios[label] = mean_distance(samples) / max(mean_distance(real), 1e-12)
    if not ratios:
        raise ValueError("classes need two samples of a class of the real data; take more samples")
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
    """Return the mean Euclidean distance between two different rows of the first 200 of (N, D)."""
    return float(torch.pdist(features[:MOST_PER_CLASS].double()).mean())


def requested_classes(samples: Samples, real: RealData) -> Tensor:
    """Return the requested class of each sample as a class of the real data, int64 (N,).

    Classes with names are matched by these, others by their numbers.

    Raises:
        ValueError: if a sample has no class, or one that the data does not have.
    """
    labels, names = samples.labels, samples.class_names
    assert labels is not None
    if names is not None:
        known = real.class_names or tuple(map(str, range(real.num_classes)))
        plain = [str(int(name)) if name.isdecimal() and not real.class_names else name for name in names]
        if unknown := [name for name in plain if name not in known]:
            some = ", ".join(known[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
            raise ValueError(
                f"metrics: '{samples.name}' has the class {shown(unknown[0])}, but '{real.name}' has {some}; "
                "name the classes of the samples as those of the data"
            )
        labels = torch.tensor([known.index(name) for name in plain])[labels]
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= real.num_classes:
        raise ValueError(
            f"metrics: '{samples.name}' has the class {least if least < 0 else most}, but '{real.name}' has "
            f"0..{real.num_classes - 1}; compare with the data of these classes"
        )
    return labels


@register("metric", "classes")
class Classes(Metric):
    """Whether samples have the requested class and vary within it."""

    needs = ("classes", "real")
    figures = (
        Figure("quality", "classified as the requested class", "agreement", "higher"),
        Figure("coverage", "distance within a class", "diversity", "higher"),
    )

    def check(self, inputs: Inputs) -> None:
        if inputs.samples.labels is None:
            raise ValueError(
                "metrics: classes are for models trained with classes and their saved samples, a "
                ".npz with labels, or a folder per class; use balance"
            )
        requested_classes(inputs.samples, inputs.training)

    def score(self, evidence: Evidence) -> ClassesScore:
        inputs, found = evidence.inputs, evidence.classified
        known = inputs.real_features(inputs.training, inputs.classifier_features)
        assert inputs.training.labels is not None
        labels = torch.from_numpy(inputs.training.labels)[known.rows]
        return classes_score(
            found.features,
            found.classes,
            requested_classes(inputs.samples, inputs.training),
            known.features,
            labels,
            found.accuracy,
        )
