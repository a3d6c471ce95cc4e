"""What all trained models share: batches, classes, and how much is sampled at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddgan import DDGAN, RunConfig
from ddgan.models.model import MOST_AT_ONCE, Classes, Model, in_batches
from tiny import TINY_DIGITS


@pytest.fixture(scope="module")
def labelled(make_model: Callable[..., DDGAN]) -> DDGAN:
    """A model of digits that knows five classes."""
    config = RunConfig.from_dict(TINY_DIGITS | {"conditions": {"label": {"classes": 5}}})
    return make_model(config, (1, 8, 8))


@given(n=st.integers(1, 300), batch_size=st.integers(1, 400))
def test_batches_cover_all_numbers_once_in_nearly_equal_parts(n: int, batch_size: int) -> None:
    parts = in_batches(n, batch_size)
    assert [number for part in parts for number in part] == list(range(n))
    assert len(parts) == -(-n // batch_size)
    sizes = [len(part) for part in parts]
    assert max(sizes) == sizes[0] <= batch_size
    assert all(size == sizes[0] for size in sizes[:-1])  # which a compiled network wants
    assert sizes[0] == -(-n // len(parts))


def test_a_model_is_one_and_something_else_is_not(model: DDGAN, points_model: DDGAN) -> None:
    assert isinstance(model, Model)
    assert isinstance(points_model, Model)
    assert not isinstance(model.generator, Model)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, [0, 1, 2, 3, 4, 0, 1]),
        (3, [3] * 7),
        (5, [5] * 7),  # the null class
        ([4, 0, 5, 1, 1, 2, 3], [4, 0, 5, 1, 1, 2, 3]),
    ],
)
def test_each_sample_has_its_class(labelled: DDGAN, classes: Classes, expected: list[int]) -> None:
    condition = labelled.condition_for(7, classes)
    assert condition is not None
    assert condition.label is not None
    assert (condition.label.tolist(), condition.label.dtype) == (expected, torch.int64)
    assert condition.vector is None
    assert condition.image is None


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (6, r"^class 6 is unknown; classes are 0\.\.4, and 5 for none$"),
        (-1, r"^class -1 is unknown; classes are 0\.\.4, and 5 for none$"),
        ([0, 1, 9], r"^class 9 is unknown; classes are 0\.\.4, and 5 for none$"),
        ([0, 1], r"^classes has 2 entries; it must be one class, or 3: one per sample$"),
    ],
)
def test_classes_that_cannot_be_are_refused(labelled: DDGAN, classes: Classes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        labelled.sample(3, classes=classes)


def test_a_model_without_classes_is_told_none(model: DDGAN) -> None:
    assert model.num_classes == 0
    assert model.condition_for(3) is None
    with pytest.raises(
        ValueError, match=r"^classes were given, but this model was trained without; leave them"
    ):
        model.sample(3, classes=0)


def test_the_class_of_a_sample_is_its_own_in_batches_of_any_size(labelled: DDGAN) -> None:
    whole = labelled.sample(7, seed=2)
    classes = [0, 1, 2, 3, 4, 0, 1]
    for batch_size in (1, 2, 3, 7):
        for asked in (None, classes):
            part = labelled.sample(7, seed=2, batch_size=batch_size, classes=asked)
            torch.testing.assert_close(part, whole, rtol=0, atol=1e-4)
    other = labelled.sample(7, seed=2, classes=[0, 1, 2, 3, 4, 0, 2])
    apart = (other - whole).abs().amax(dim=(1, 2, 3))
    assert apart[:6].max() < 1e-4
    assert apart[6] > 1e-2


def test_where_a_batch_is_filled_up_classes_go_round(
    labelled: DDGAN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiled network sees one batch size; what is beyond the last sample is thrown away."""
    expected, told = labelled.sample(7, batch_size=3), list[list[int]]()
    forward = labelled.generator.forward

    def seen(x: torch.Tensor, t: torch.Tensor, z: torch.Tensor, condition: object) -> torch.Tensor:
        told.append(condition.label.tolist())  # type: ignore[attr-defined]
        return forward(x, t, z, condition)

    monkeypatch.setattr(labelled.generator, "forward", seen)
    monkeypatch.setattr(labelled, "is_compiled", True)
    made = torch.cat(list(labelled.batches(7, batch_size=3)))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)
    per_step = [labels for labels, following in pairwise([*told, [-1]]) if labels != following]
    assert per_step == [[0, 1, 2], [3, 4, 0], [1, 0, 1]]  # the seventh has class 1; then from the first on


def test_grids_of_few_classes_have_a_column_for_each(
    labelled: DDGAN, model: DDGAN, make_model: Callable[..., DDGAN]
) -> None:
    assert labelled.grid_columns() == 5
    assert model.grid_columns() is None
    many = RunConfig.from_dict(TINY_DIGITS | {"conditions": {"label": {"classes": 21}}})
    assert make_model(many).grid_columns() is None


def test_a_generator_that_does_not_say_what_it_takes_is_estimated(points_model: DDGAN) -> None:
    assert points_model.default_batch_size() == min(MOST_AT_ONCE, 256 * 2**20 // (4 * 4096))

    class Silent:
        latent_size = 4

    silent = DDGAN(torch.nn.Linear(1, 1), points_model.config, (3, 64, 64))
    silent.config = points_model.config.changed({})
    object.__setattr__(silent.config, "generator", Silent())
    assert silent.default_batch_size() == 256 * 2**20 // (4 * 64 * 3 * 64 * 64)


@pytest.mark.parametrize("shape", [(3,), (1, 6), (2, 3, 4), (1, 2, 3, 2)], ids=str)
def test_samples_may_have_any_number_of_dimensions(
    tiny_points_config: RunConfig, make_model: Callable[..., DDGAN], shape: tuple[int, ...]
) -> None:
    model = make_model(tiny_points_config, shape)
    samples = model.sample(5, seed=1)
    assert samples.shape == (5, *shape)
    torch.testing.assert_close(model.sample(3, seed=1, batch_size=2), samples[:3], rtol=0, atol=1e-5)
    assert [step.x_prev.shape for step in model.steps(2)] == [(2, *shape)] * 3
