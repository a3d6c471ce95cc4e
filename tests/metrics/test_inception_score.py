"""Inception score: the two ends of its range, one split and ten."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from ddgan.metrics.inception_score import inception_score


def test_sure_and_varied_scores_the_number_of_classes() -> None:
    p = one_hot(torch.arange(100) % 10).float()
    assert inception_score("", p).value == pytest.approx(10)


def test_unsure_or_collapsed_scores_1() -> None:
    assert inception_score("", torch.full((50, 10), 0.1)).value == pytest.approx(1)
    assert inception_score("", one_hot(torch.zeros(50).long(), 10).float()).value == pytest.approx(1)


def test_two_kinds_by_the_formula() -> None:
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(10, 1)
    expected = 0.9 * torch.tensor(0.9 / 0.5).log() + 0.1 * torch.tensor(0.1 / 0.5).log()
    score = inception_score("x", p)
    assert score.value == pytest.approx(float(expected.exp()))
    assert score.name == "x"


def test_order_changes_neither_form() -> None:
    p = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).mul(3).softmax(dim=1)
    score, again = inception_score("", p), inception_score("", p.flip(0))
    assert score.num_splits == 10
    assert score.value == pytest.approx(again.value)
    assert score.mean_of_splits == pytest.approx(again.mean_of_splits)
    assert 0 < score.deviation_of_splits == pytest.approx(again.deviation_of_splits)


def test_few_samples_make_fewer_splits() -> None:
    assert inception_score("", torch.full((5, 3), 1 / 3)).num_splits == 2


def test_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="apply a softmax"):
        inception_score("", torch.randn(10, 3))
