"""Features by name, and the plainest of them: pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddgan.metrics.features import NAMES, Features, features_named, known_features, score_name
from ddgan.metrics.pixels import PixelFeatures, PixelFeaturesConfig
from ddgan.metrics.torchscript import TorchScriptConfig


def test_kinds_are_named_by_themselves_and_files_by_their_path(tmp_path: Path) -> None:
    assert known_features()[: len(NAMES)] == list(NAMES)
    assert [features_named(name).kind for name in NAMES] == list(NAMES)
    assert features_named(PixelFeaturesConfig()) == PixelFeaturesConfig()
    (tmp_path / "x.pt").touch()
    path = str(tmp_path / "x.pt")
    assert features_named(path) == TorchScriptConfig(path) == features_named(TorchScriptConfig(path))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            "fid",
            "features 'fid' is not known; choose from inception, vgg16, classifier, cifar10_classifier, "
            "emoji_classifier, mnist_classifier, thumbnails, pixels, or name a",
        ),
        ("x.pth", "features 'x.pth' does not exist; choose from inception"),
        ("torchscript", "features.path is missing; it has no default"),
        (3, "features is 3; it must be a kind of features"),
    ],
)
def test_what_is_not_known_is_one_line(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        features_named(given)
    assert "\n" not in str(error.value)


def test_pixels_are_in_the_range_of_networks_and_points_as_they_are() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    torch.testing.assert_close(PixelFeatures()(images).features, torch.tensor([[-1.0, 1.0, -0.6, -0.2]]))
    signals = torch.randn(4, 2, 8)
    assert torch.equal(PixelFeatures()(signals).features, signals.flatten(1))
    assert PixelFeatures()(images, with_probabilities=True).probabilities is None
    with pytest.raises(ValueError, match="but these have 12,288 values, more than 8,192; use classifier if"):
        PixelFeatures()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_only_scores_of_inception_features_are_called_fid() -> None:
    inception = Features()
    inception.name = "inception"
    assert score_name(inception, "FID", "Fréchet distance") == "FID"
    name = score_name(PixelFeatures(), "FID", "Fréchet distance")
    assert name == "Fréchet distance (pixels features)"
