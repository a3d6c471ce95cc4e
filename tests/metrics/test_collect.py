"""Features of samples that come in batches of any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ddgan.metrics.collect import FeatureCollector
from ddgan.metrics.features import FeatureBatch
from ddgan.metrics.moments import statistics_of


class Sevens:
    """Features that are pixels, seven images at a time; remembers how many it was given."""

    name, checksum, batch_size, has_probabilities = "sevens", "", 7, True

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.sizes: list[int] = []

    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        self.sizes.append(len(images))
        pixels = images.flatten(1).float()
        return FeatureBatch(pixels, pixels.softmax(dim=1) if with_probabilities else None)

    def to(self, device: torch.device) -> Sevens:
        return self


@pytest.mark.parametrize("sizes", [[23], [1] * 23, [3, 20], [10, 13], [7, 7, 7, 2], [2, 5, 7, 9]], ids=str)
def test_the_network_sees_batches_of_one_size_however_the_samples_come(sizes: list[int]) -> None:
    images = torch.randint(256, (23, 1, 2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    network, pixels = Sevens(), images.flatten(1).float()
    collector = FeatureCollector(network, 23, torch.device("cpu"), with_probabilities=True)
    for part in images.split(sizes):
        collector.update(part)
    assert torch.equal(collector.features(), pixels)
    assert torch.equal(collector.probabilities(), pixels.softmax(dim=1))
    assert network.sizes == [7, 7, 7, 2]
    expected = statistics_of(pixels)
    torch.testing.assert_close(collector.statistics().mean, expected.mean)
    torch.testing.assert_close(collector.statistics().covariance, expected.covariance)
