"""The features `thumbnails`: those of the CIFAR-10 classifier on images reduced by averages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ddgan.metrics.features import features_named
from ddgan.metrics.frechet import frechet_distance
from ddgan.metrics.moments import Statistics
from ddgan.metrics.shipped_classifiers import FOLDER, ShippedClassifier
from ddgan.metrics.thumbnails import ThumbnailFeatures, has_thumbnails


def smooth(count: int, seed: int, size: int = 64) -> torch.Tensor:
    """Pictures of soft colours, uint8 (count, 3, size, size)."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=rng)
    large = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (255 * large).round().to(torch.uint8)


def test_they_are_the_classifiers_of_the_mean_of_each_area() -> None:
    images = smooth(3, 0)
    small = images.float().unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean(dim=(3, 5))
    classifier = ShippedClassifier(FOLDER / "cifar10.safetensors")
    torch.testing.assert_close(ThumbnailFeatures()(images).features, classifier(small).features)


def test_grey_is_repeated_and_a_fourth_channel_is_not_looked_at() -> None:
    features, images = ThumbnailFeatures(), smooth(2, 1, 40)
    grey = images[:, :1]
    assert torch.equal(features(grey).features, features(grey.expand(-1, 3, -1, -1)).features)
    with_alpha = torch.cat([images, grey], dim=1)
    assert torch.equal(features(with_alpha).features, features(images).features)


def test_worse_images_are_farther() -> None:
    """Half of them other pictures, real ones in grey, noise: each farther than the one before."""
    features = ThumbnailFeatures()

    def statistics(images: torch.Tensor) -> Statistics:
        found = features(images).features.double()
        return Statistics(found.mean(dim=0), found.T.cov(), len(found))

    real, others = smooth(300, 2), smooth(300, 3)
    noise = torch.randint(0, 256, others.shape, dtype=torch.uint8)
    grey = others.float().mean(dim=1, keepdim=True).to(torch.uint8)
    distances = [frechet_distance(statistics(real), statistics(one)) for one in (others, grey, noise)]
    assert distances == sorted(distances)
    assert distances[1] > 2 * distances[0]


@pytest.mark.parametrize("shape", [(3, 16, 64), (2, 64, 64), (3, 64), (2,), (1, 8, 64, 64)])
def test_other_samples_are_refused(shape: tuple[int, ...]) -> None:
    assert not has_thumbnails(shape)
    with pytest.raises(
        ValueError, match="features thumbnails are for grey, RGB and RGBA images of at least 32"
    ):
        features_named("thumbnails").open(SimpleNamespace(sample_shape=shape))
