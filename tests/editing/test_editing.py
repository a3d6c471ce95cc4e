"""Edits keep what they promise to keep, and depend on (seed, image) alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ddgan
from ddgan import DDGAN, RunConfig, editing
from ddgan.data.digits import StackedDigits
from ddgan.metrics.classifier import MeasuredClassifier
from ddgan.system.images import to_uint8
from ddgan.system.randomness import ImageNoise
from other_methods import OTHERS, model_of

LEFT = torch.zeros(8, 8, dtype=torch.bool)
LEFT[:, :4] = True


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Four images on the model's scale, all different."""
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture(scope="module")
def class_model(tiny_config: RunConfig) -> DDGAN:
    """A model of three classes whose samples show the class."""
    config = RunConfig.load(tiny_config, {"conditions.label": {"classes": 3}})
    generator = config.generator.build((3, 8, 8), config.conditions.shapes)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    return DDGAN(generator, config, (3, 8, 8))


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


# --- strokes ----------------------------------------------------------------------------------------


def test_strength_0_returns_the_input(model: DDGAN, pictures: Tensor) -> None:
    assert torch.equal(editing.stroke(model, pictures, 0), pictures)
    photograph = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    result = to_uint8(editing.stroke(model, photograph, 0))
    expected = Image.fromarray(photograph).resize((8, 8), Image.Resampling.LANCZOS, (5, 0, 35, 30))
    np.testing.assert_array_equal(result[0], np.asarray(expected))


def test_full_strength_approaches_plain_samples(model: DDGAN, pictures: Tensor) -> None:
    """The same noise leads to the sample of that seed but for the trace of the input, sqrt(abar_T)."""
    samples = model.sample(4, seed=6)
    distance = [apart(editing.stroke(model, pictures, t, seed=6), samples) for t in range(4)]
    assert distance[3] < 0.1 < min(distance[:3])
    again = editing.stroke(model, torch.zeros_like(pictures), 3, seed=6)
    assert apart(again, samples) < 0.1


def test_a_stroke_goes_forward_and_then_follows_the_chain(model: DDGAN, pictures: Tensor) -> None:
    noise, t = ImageNoise(9, range(4)), torch.full((4,), 2)
    x = model.diffusion.diffuse(pictures, t, noise(3, 8, 8))
    for step in model.chain(x, noise, start=2):
        x = step.x_prev
    assert torch.equal(editing.stroke(model, pictures, 2, seed=9), x)


def test_variations_are_strokes_of_one_image(model: DDGAN, pictures: Tensor) -> None:
    made = editing.variations(model, pictures[1], 5, seed=3)
    assert torch.equal(made, editing.stroke(model, pictures[1:2].expand(5, -1, -1, -1), 2, seed=3))
    assert min(apart(made[i], made[j]) for i in range(5) for j in range(i)) > 0.05


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_edit_of_an_image_depends_on_no_other(model: DDGAN, pictures: Tensor, batch_size: int) -> None:
    edits: list[Callable[..., Tensor]] = [
        lambda x, **more: editing.stroke(model, x, 2, seed=4, **more),
        lambda x, **more: editing.inpaint(model, x, LEFT, seed=4, rounds=2, **more),
    ]
    for edit in edits:
        whole = edit(pictures)
        assert apart(edit(pictures[:2]), whole[:2]) < 1e-5
        assert apart(edit(pictures, batch_size=batch_size), whole) < 1e-5
        assert torch.equal(edit(pictures), whole)


def test_finished_batches_are_told(model: DDGAN, pictures: Tensor) -> None:
    told: list[int] = []
    editing.stroke(model, pictures, 1, batch_size=3, on_batch=told.append)
    editing.variations(model, pictures[0], 3, on_batch=told.append)
    editing.inpaint(model, pictures, LEFT, rounds=1, on_batch=told.append)
    editing.interpolate(model, 3, num_frames=2, batch_size=4, on_batch=told.append)
    assert told == [2, 2, 3, 4, 4, 2]


# --- holes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [1, 3])
def test_known_pixels_stay_exactly_and_the_others_are_new(
    model: DDGAN, pictures: Tensor, rounds: int
) -> None:
    made = editing.inpaint(model, pictures, LEFT, seed=1, rounds=rounds)
    assert torch.equal(made[..., ~LEFT], pictures[..., ~LEFT])
    assert (made != pictures)[..., LEFT].all()
    other = editing.inpaint(model, pictures, LEFT, seed=2, rounds=rounds)
    assert apart(made, other) > 0.1


def test_without_known_pixels_it_samples_and_without_unknown_ones_it_copies(
    model: DDGAN, pictures: Tensor
) -> None:
    everything = torch.ones(8, 8, dtype=torch.bool)
    assert torch.equal(
        editing.inpaint(model, pictures, everything, seed=5, rounds=1), model.sample(4, seed=5)
    )
    assert torch.equal(editing.inpaint(model, pictures, ~everything), pictures)


def test_masks_of_every_form_mean_the_same(model: DDGAN, pictures: Tensor) -> None:
    expected = editing.inpaint(model, pictures, LEFT, rounds=1)
    forms = [LEFT.expand(3, 8, 8), LEFT.expand(4, 1, 8, 8), LEFT.expand(4, 3, 8, 8), LEFT.numpy()]
    forms += [Image.fromarray(LEFT.numpy()), LEFT.numpy().astype(np.uint8) * 255]
    for mask in forms:
        assert torch.equal(editing.inpaint(model, pictures, mask, rounds=1), expected)


def test_a_mask_may_differ_from_image_to_image(model: DDGAN, pictures: Tensor) -> None:
    masks = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    known = ~masks.expand(4, 3, 8, 8)
    assert torch.equal(editing.inpaint(model, pictures, masks, batch_size=3)[known], pictures[known])


def test_the_exact_posterior_fills_in_what_is_correlated() -> None:
    """Of x = (a, a), a = +1 or -1, one coordinate is known; the other must agree with it."""
    generator = {"kind": "mlp", "latent_size": 1}
    config = RunConfig.from_dict({"generator": generator, "diffusion": {"num_steps": 8}})
    model = DDGAN(torch.nn.Linear(1, 1), config, (2,))

    def denoise(x_t: Tensor, t: Tensor, z: Tensor, condition: object) -> Tensor:
        signal, variance = model.diffusion.signal_scale[t], 1 - model.diffusion.alpha_bar[t]
        plus = torch.sigmoid(2 * signal * x_t.sum(dim=1) / variance)
        chosen = torch.where(torch.special.ndtr(z[:, 0]) < plus, 1.0, -1.0)
        return chosen[:, None].expand(-1, 2)

    model.generator.forward = denoise  # type: ignore[method-assign]
    known = torch.tensor([1.0, -1.0]).repeat(500)[:, None].expand(-1, 2)
    mask = torch.tensor([False, True])
    agreed = {r: (editing.inpaint(model, known, mask, rounds=r) == known).double().mean() for r in (1, 8)}
    assert agreed[1] > 0.85
    assert agreed[8] > max(0.97, agreed[1])


# --- paths ------------------------------------------------------------------------------------------


def test_paths_end_at_the_samples_of_both_seeds(model: DDGAN) -> None:
    paths = editing.interpolate(model, 3, (4, 9), 5)
    assert paths.shape == (3, 5, 3, 8, 8)
    assert apart(paths[:, 0], model.sample(3, seed=4)) < 1e-5
    assert apart(paths[:, -1], model.sample(3, seed=9)) < 1e-5
    assert apart(editing.interpolate(model, 3, (4, 9), 5, batch_size=1), paths) < 1e-5
    fine = editing.interpolate(model, 1, (4, 9), 60)[0]
    jumps = (fine[1:] - fine[:-1]).abs().amax(dim=(1, 2, 3))
    assert jumps.max() < apart(fine[0], fine[-1]) / 3


def test_what_lies_between_is_noise_of_the_same_length() -> None:
    first, second = torch.randn(2, 5, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    shares = torch.linspace(0, 1, 5)
    path = editing.mixed(first, second, shares).unflatten(0, (5, 5))
    assert torch.equal(path[:, 0], first)
    assert torch.equal(path[:, -1], second)
    lengths = path.flatten(2).norm(dim=2)
    ends = torch.stack([lengths[:, 0], lengths[:, -1]])
    assert (lengths <= 1.01 * ends.amax(dim=0)[:, None]).all()
    assert (lengths >= 0.99 * ends.amin(dim=0)[:, None]).all()


def test_noises_without_an_angle_are_mixed_too() -> None:
    shares = torch.linspace(0, 1, 3)
    row = torch.tensor([[1.0, 2.0]])
    assert torch.equal(editing.mixed(row, row, shares), row.expand(3, 2))
    assert torch.equal(editing.mixed(row, -row, shares)[1], torch.zeros(2))
    assert editing.mixed(torch.ones(2, 0), torch.ones(2, 0), shares).shape == (6, 0)


def test_the_filmstrip_runs_from_noise_to_the_samples(model: DDGAN) -> None:
    strip = editing.filmstrip(model, 2, seed=5)
    assert strip.states.shape == (2, 4, 3, 8, 8)
    assert strip.predictions.shape == (2, 3, 3, 8, 8)
    assert torch.equal(strip.states[:, -1], model.sample(2, seed=5))
    assert torch.equal(strip.predictions[:, -1], strip.states[:, -1])
    tiles = strip.tiles().unflatten(0, (2, 2, 4))
    assert torch.equal(tiles[:, 0], strip.states)
    assert torch.equal(tiles[:, 1, :3], strip.predictions)
    assert (tiles[:, 1, 3] == 1).all()


# --- classes and points -----------------------------------------------------------------------------


def test_classes_reach_every_edit(class_model: DDGAN, pictures: Tensor) -> None:
    def edits(classes: Any) -> list[Tensor]:
        return [
            editing.stroke(class_model, pictures, 2, classes=classes),
            editing.inpaint(class_model, pictures, LEFT, classes=classes, rounds=1),
            editing.interpolate(class_model, 4, num_frames=2, classes=classes),
            editing.filmstrip(class_model, 4, classes=classes).states,
        ]

    first, mixture = edits(0), edits([0, 1, 2, 3])
    for one, several in zip(first, mixture, strict=True):
        assert apart(one[0], several[0]) < 1e-5
        assert min(apart(one[i], several[i]) for i in (1, 2, 3)) > 1e-3
    assert torch.equal(edits(None)[0], edits(3)[0])  # an image that is edited has no class unless it is given
    ends = editing.interpolate(class_model, 4, (1, 2), 3)[:, [0, -1]]
    assert apart(ends[:, 0], class_model.sample(4, seed=1)) < 1e-5


def test_points_are_edited_too(points_model: DDGAN) -> None:
    points = torch.rand(6, 2)
    assert torch.equal(editing.stroke(points_model, points, 0), points)
    assert editing.variations(points_model, points[0], 3).shape == (3, 2)
    made = editing.inpaint(points_model, points, torch.tensor([True, False]))
    assert torch.equal(made[:, 1], points[:, 1])
    assert (made[:, 0] != points[:, 0]).all()
    assert editing.interpolate(points_model, 2, num_frames=3).shape == (2, 3, 2)
    assert editing.filmstrip(points_model, 2).states.shape == (2, 4, 2)


@pytest.mark.parametrize("shape", [(1, 6), (2, 4, 8), (1, 2, 3, 4)], ids=str)
def test_signals_wide_images_and_volumes_are_edited_too(
    shape: tuple[int, ...], tiny_points_config: RunConfig, make_model: Callable[..., DDGAN]
) -> None:
    model = make_model(tiny_points_config, shape)
    given = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    assert editing.stroke(model, given, 2).shape == given.shape
    mask = torch.rand(shape[1:], generator=torch.Generator().manual_seed(1)) < 0.5
    for form in (mask, mask.expand(shape), mask.expand(3, 1, *shape[1:]), mask.expand(3, *shape)):
        made = editing.inpaint(model, given, form, rounds=1)
        assert torch.equal(made[..., ~mask], given[..., ~mask])
        assert (made != given)[..., mask].all()
    assert editing.interpolate(model, 2, num_frames=3).shape == (2, 3, *shape)


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [-1, 4, 1.5, True])
def test_a_strength_out_of_range_is_refused(model: DDGAN, pictures: Tensor, strength: Any) -> None:
    with pytest.raises(ValueError, match=rf"strength is {strength}; it must be a step .* in 0\.\.3"):
        editing.stroke(model, pictures, strength)


def test_arguments_out_of_range_are_refused(model: DDGAN, class_model: DDGAN, pictures: Tensor) -> None:
    with pytest.raises(ValueError, match="rounds is 0"):
        editing.inpaint(model, pictures, LEFT, rounds=0)
    with pytest.raises(ValueError, match="seed is -1"):
        editing.stroke(model, pictures, 1, seed=-1)
    with pytest.raises(ValueError, match="seed is -2"):
        editing.interpolate(model, 1, (0, -2))
    with pytest.raises(ValueError, match="batch_size is 0"):
        editing.interpolate(model, 1, batch_size=0)
    with pytest.raises(ValueError, match="num_frames is 1"):
        editing.interpolate(model, 1, num_frames=1)
    with pytest.raises(ValueError, match="n is 0"):
        editing.variations(model, pictures[0], 0)
    with pytest.raises(ValueError, match="n is 0"):
        editing.filmstrip(model, 0)
    with pytest.raises(ValueError, match=r"classes were given, but this model was trained without"):
        editing.stroke(model, pictures, 1, classes=2)
    with pytest.raises(ValueError, match=r"class 4 is unknown; classes are 0\.\.2"):
        editing.stroke(class_model, pictures, 1, classes=4)
    with pytest.raises(ValueError, match="mask has 2 entries for 4 images"):
        editing.inpaint(model, pictures, LEFT.expand(2, 1, 8, 8))


@pytest.mark.parametrize("method", OTHERS)
def test_models_of_other_methods_are_refused_by_name(method: str, pictures: Tensor) -> None:
    model = model_of(method)
    edits: list[Callable[[], object]] = [
        lambda: editing.stroke(model, pictures, 1),
        lambda: editing.variations(model, pictures[0], 2),
        lambda: editing.inpaint(model, pictures, LEFT),
        lambda: editing.interpolate(model, 1),
        lambda: editing.filmstrip(model, 1),
    ]
    for edit in edits:
        with pytest.raises(ValueError, match=rf"trained by the method {method}, but an edit needs a de"):
            edit()


# --- a trained model --------------------------------------------------------------------------------


@pytest.mark.slow
def test_half_masked_digits_are_read_far_more_often_than_pasted_ones(
    judge: MeasuredClassifier, tmp_path: Path
) -> None:
    """The figures of docs/results/editing.md, on a model trained for a third of the preset's time."""
    config = RunConfig.load("digits_quick", {"training.num_iterations": 1500, "training.score_samples": 0})
    model = ddgan.train(config, tmp_path / "run", verbose=False).model
    batch = StackedDigits(seed=5, split="test").batch(0, 500)
    assert batch.label is not None
    digits = torch.stack([batch.label // 100, batch.label // 10 % 10, batch.label % 10], dim=1)
    for mask in (LEFT, ~LEFT, LEFT.T, ~LEFT.T):
        filled = editing.inpaint(model, batch.x, mask, seed=1)
        assert torch.equal(filled[..., ~mask], batch.x[..., ~mask])
        pasted = torch.where(mask, model.sample(500, seed=1), batch.x)
        right = [(judge.read(images)[0] == digits).double().mean() for images in (pasted, filled)]
        assert right[1] > right[0] + 0.2
