"""Classifiers that come with the package: features for scores where Inception's weights are not at hand.

    cifar10_classifier    CIFAR-10, 32 x 32 RGB, ten classes
    emoji_classifier      Noto emoji, 32 x 32 RGB, the nine groups of Unicode
    mnist_classifier      MNIST, 28 x 28 grey, ten digits

Each was trained once, on the train split, by `docs/results/classifiers.py`. The weights have a version; their
SHA-256 and their accuracy on the test split go into every score. Scores from them are never called FID.

The network follows the airbench recipe (Jordan, arXiv 2404.00498): whitened 2 x 2 patches, then three blocks
of two convolutions, each with batch norm and GELU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import register
from ddgan.metrics.classifier import kept_classifier
from ddgan.metrics.features import Compared, FeatureBatch, Features
from ddgan.models.weights_file import misfits
from ddgan.system.files import sha256_of

__all__ = [
    "CIFAR10ClassifierConfig",
    "CompactClassifier",
    "EmojiClassifierConfig",
    "MNISTClassifierConfig",
    "ShippedClassifier",
    "about",
    "open_classifier",
    "whitening_filters",
]

FOLDER = Path(__file__).with_name("weights")
REMEDY = "install ddgan again"
PATCH = 2
"""Height and width in pixels of the patches that the first layer whitens."""
LOGIT_SCALE = 1 / 9


class CompactClassifier(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> logits (B, K); height and width are at least 16.

    Args:
        channels: C.
        num_classes: K.
        widths: channels of the three blocks.
    """

    def __init__(self, channels: int, num_classes: int, widths: tuple[int, ...] = (64, 256, 256)) -> None:
        super().__init__()
        self.widths = widths
        filters = 2 * channels * PATCH**2
        self.whiten = nn.Conv2d(channels, filters, PATCH)
        self.whiten.weight.requires_grad_(False)
        layers: list[nn.Module] = []
        width = filters
        for outputs in widths:
            layers += [_conv(width, outputs), nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.GELU()]
            layers += [_conv(outputs, outputs), nn.BatchNorm2d(outputs), nn.GELU()]
            width = outputs
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(width, num_classes, bias=False)

    @property
    def num_features(self) -> int:
        """D of `features`."""
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features of the last block, (B, D)."""
        return F.adaptive_max_pool2d(self.blocks(F.gelu(self.whiten(images))), 1).flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (B, K) of features (B, D)."""
        logits: Tensor = self.head(features) * LOGIT_SCALE
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    """Build a 3 x 3 convolution that starts as the identity on its first channels, plus small random weights.

    The random part gives every channel a variance, which batch norm divides by: what pooling leaves of a
    filter that answers to the background alone is constant.
    """
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight += nn.init.dirac_(torch.empty_like(layer.weight))
    return layer


def whitening_filters(images: Tensor, eps: float = 5e-4) -> tuple[Tensor, Tensor]:
    """Return the filters that whiten the patches of images (B, C, H, W) with their negatives, and the biases.

    The biases centre the answers: without them a filter's answers could all lie where GELU is flat.

    Returns:
        (2 C PATCH^2, C, PATCH, PATCH): eigenvectors of the patches' covariance, divided by the root of their
        eigenvalue + eps; and (2 C PATCH^2,).
    """
    channels = images.shape[1]
    patches = F.unfold(images, PATCH).transpose(1, 2).flatten(0, 1)  # (N, C PATCH^2)
    mean = patches.mean(dim=0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    rows = (vectors / (values + eps).sqrt()).T
    rows = torch.cat([rows, -rows])
    return rows.reshape(-1, channels, PATCH, PATCH), -rows @ mean


def open_classifier(path: Path) -> tuple[CompactClassifier, dict[str, Any]]:
    """Open a classifier written by `docs/results/classifiers.py`, in float32, and its metadata.

    The tensors are compared with the network that the metadata describes before it takes them.

    Raises:
        ValueError: if the weights are missing, damaged, or of another network or classifier.
    """
    if not path.is_file():
        raise ValueError(
            f"features {path.stem}_classifier: this version of ddgan has no weights for them; make them with "
            f"python docs/results/classifiers.py {path.stem} --data DATA --out '{path}', or choose the "
            "features classifier or pixels"
        )
    tensors, about = kept_classifier(path, REMEDY)
    try:
        is_ours = about["name"] == path.stem and {"version", "accuracy"} <= set(about)
        with torch.device("meta"):
            network = CompactClassifier(
                about["sample_shape"][0], about["num_classes"], tuple(about["widths"])
            )
    except (KeyError, IndexError, TypeError, RuntimeError):
        is_ours = False
    if not is_ours:
        raise ValueError(f"'{path}' does not hold the classifier {path.stem}; {REMEDY}")
    if misfits(network, tensors):
        raise ValueError(f"'{path}' does not hold the tensors that its metadata describes; {REMEDY}")
    floats = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    network.load_state_dict(floats, assign=True)
    return network.eval().requires_grad_(False), about


class ShippedClassifier(Features):
    """Features of a committed classifier; see `Features`.

    Args:
        path: its weights, NAME.safetensors; the features are called NAME_classifier.

    Attributes:
        sample_shape: of the images that it takes, (C, H, W).

    Raises:
        ValueError: if the weights are missing, damaged, or of another network or classifier.
    """

    batch_size = 512
    has_probabilities = True

    def __init__(self, path: Path) -> None:
        self._network, about = open_classifier(path)
        self.name = f"{path.stem}_classifier"
        self.checksum = sha256_of(path)
        self.metadata = {
            "classifier": about["name"],
            "classifier_version": about["version"],
            "classifier_accuracy": about["accuracy"],
            "classifier_sha256": self.checksum,
        }
        self.sample_shape = tuple(about["sample_shape"])

    def to(self, device: torch.device) -> ShippedClassifier:
        self._network.to(device)
        return self

    def check(self, sample_shape: tuple[int, ...]) -> None:
        """Complain about samples that are not of the shape of the images that it was trained on.

        Raises:
            ValueError: naming features for others.
        """
        if tuple(sample_shape) != self.sample_shape:
            given, ours = (" x ".join(map(str, shape)) for shape in (sample_shape, self.sample_shape))
            raise ValueError(
                f"features {self.name} are for images of {ours} (channels, height, width), and these samples "
                f"have {given}; choose the features classifier, inception or pixels"
            )

    @torch.no_grad()
    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        self.check(tuple(images.shape[1:]))
        features = self._network.features(images.float() / 127.5 - 1)
        if not with_probabilities:
            return FeatureBatch(features)
        return FeatureBatch(features, self._network.logits(features).softmax(dim=1))


class _Shipped:
    kind: ClassVar[str]

    def open(self, inputs: Compared) -> ShippedClassifier:
        """Open the features.

        Raises:
            ValueError: if the weights are missing or damaged, or the samples have another shape.
        """
        features = ShippedClassifier(FOLDER / f"{self.kind.removesuffix('_classifier')}.safetensors")
        features.check(inputs.sample_shape)
        return features


@register("features", "cifar10_classifier")
class CIFAR10ClassifierConfig(_Shipped):
    """Features of the classifier of CIFAR-10; it has no settings."""


@register("features", "emoji_classifier")
class EmojiClassifierConfig(_Shipped):
    """Features of the classifier of emoji; it has no settings."""


@register("features", "mnist_classifier")
class MNISTClassifierConfig(_Shipped):
    """Features of the classifier of MNIST; it has no settings."""


def about(network: CompactClassifier, sample_shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """Return the metadata that a weights file needs, and more."""
    known = {"num_classes": network.head.out_features, "widths": list(network.widths)}
    return {"sample_shape": list(sample_shape)} | known | more
