"""Mean and covariance of features, accumulated batch by batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan.metrics.moments import Moments, statistics_of


def normal(count: int, dimensions: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def test_batch_size_and_order_do_not_matter() -> None:
    features = normal(1000, 16) * 3 + 100
    whole = statistics_of(features)
    moments = Moments()
    for part in features[torch.randperm(1000, generator=torch.Generator().manual_seed(5))].split(7):
        moments.update(part)
    torch.testing.assert_close(moments.statistics().mean, whole.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.statistics().covariance, whole.covariance, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(
        whole.covariance.numpy(), np.cov(features.double().numpy(), rowvar=False), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize(("count", "rank"), [(3, 2), (5, 4), (9, 4)])
def test_the_rank_is_that_of_so_many_samples(count: int, rank: int) -> None:
    statistics = statistics_of(normal(count, 4))
    assert statistics.rank == rank
    assert np.linalg.matrix_rank(statistics.covariance.numpy(), tol=1e-9) == rank


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        statistics_of(normal(1, 4))
