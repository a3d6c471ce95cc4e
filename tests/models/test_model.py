"""What all trained models share: batches, classes, and how much is sampled at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.models.model import MOST_AT_ONCE, Classes, Model, TrainedModel, in_batches
from ddgan.system.images import to_uint8
from other_methods import OTHERS, model_of
from tiny import TINY_DIGITS, TINY_POINTS


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
        ValueError, match=r"^classes were given, but this model was trained without classes; leave them"
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


# --- what users of PyTorch ask of a model ---------------------------------------------------------------


@pytest.fixture(params=["denoising_gan", *OTHERS])
def any_model(request: pytest.FixtureRequest, model: DDGAN) -> TrainedModel:
    """A model of each method, to be changed."""
    found = copy.deepcopy(model) if request.param == "denoising_gan" else model_of(request.param)
    assert isinstance(found, TrainedModel)
    return found


def test_the_methods_of_modules_return_the_model(any_model: TrainedModel) -> None:
    assert any_model.to("cpu") is any_model.cpu() is any_model.to(torch.device("cpu")) is any_model
    assert any_model.to(torch.float32) is any_model.to("cpu", torch.float32) is any_model.to() is any_model
    assert any_model.eval() is any_model.train() is any_model.requires_grad_(False) is any_model
    assert (any_model.device, any_model.dtype) == (torch.device("cpu"), torch.float32)


def test_all_parts_move_together(any_model: TrainedModel) -> None:
    any_model.to("meta", torch.bfloat16)  # a device that is there on every machine
    assert any_model.device.type == "meta"
    assert any_model.diffusion.alpha_bar.device.type == "meta"
    assert {p.device.type for p in any_model._network.parameters()} == {"meta"}
    assert {p.dtype for p in any_model._network.parameters()} == {torch.bfloat16}


def test_a_dtype_is_what_the_generator_computes_in(any_model: TrainedModel) -> None:
    before = any_model.sample(3)
    assert any_model.to(torch.bfloat16).precision == "bf16"
    assert (any_model.dtype, any_model.diffusion.beta.dtype) == (torch.float32, torch.float32)
    in_bf16 = any_model.sample(3)
    assert in_bf16.dtype == torch.float32
    assert not torch.equal(in_bf16, before)
    assert any_model.to(torch.float16).precision == "fp16"
    in_fp16 = any_model.sample(3)
    assert not torch.equal(in_fp16, in_bf16)
    torch.testing.assert_close(in_fp16, before, rtol=1e-2, atol=1e-3)
    assert torch.equal(any_model.to(dtype=torch.float32).sample(3), before)
    words = r"it must be torch\.float32, torch\.bfloat16 or torch\.float16$"
    for wrong in (torch.float64, torch.uint8):
        with pytest.raises(ValueError, match=rf"^dtype is {wrong}; {words}"):
            any_model.to("meta", wrong)
    assert any_model.device.type == "cpu"


def test_training_mode_is_that_of_the_generator_and_of_its_copy(any_model: TrainedModel) -> None:
    any_model.to(torch.bfloat16)
    for mode in (True, False):
        assert any_model.train(mode).training is mode
        assert {
            part.training for part in (*any_model.generator.modules(), *any_model._network.modules())
        } == {mode}
    assert any_model.train().eval().training is False


def test_the_state_dict_is_that_of_the_weights_file(any_model: TrainedModel, tmp_path: Path) -> None:
    state = any_model.state_dict()
    with safe_open(any_model.save(tmp_path / "x.safetensors"), "pt") as file:
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(name), state[name]) for name in state)
    assert {name for name, _ in any_model.named_parameters()} <= set(state)
    assert sum(p.numel() for p in any_model.parameters()) == any_model.num_parameters


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_state_dict_that_is_loaded_is_sampled(any_model: TrainedModel, dtype: torch.dtype) -> None:
    other = copy.deepcopy(any_model).to(dtype)
    changed = {name: tensor + 0.05 * tensor.new_ones(()) for name, tensor in any_model.state_dict().items()}
    before = other.sample(2)
    other.load_state_dict(changed)
    assert not torch.equal(other.sample(2), before)
    other.load_state_dict(any_model.state_dict())
    assert torch.equal(other.sample(2), before)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})


def test_an_optimizer_takes_the_parameters(any_model: TrainedModel) -> None:
    optimizer = torch.optim.SGD(any_model.train().requires_grad_().parameters(), lr=0.1)
    z = torch.zeros(2, any_model.config.generator.latent_size)
    t = torch.ones(2, dtype=torch.int64)
    x = torch.linspace(-1, 1, 384).view(2, 3, 8, 8)
    before = any_model.predict(x, t, z, None)
    before.square().mean().backward()
    optimizer.step()
    assert not torch.equal(any_model.predict(x, t, z, None), before)
    assert not any_model.sample(1).requires_grad


# --- what samples come as -------------------------------------------------------------------------------


def test_uint8_and_pil_are_what_the_command_writes(any_model: TrainedModel, tmp_path: Path) -> None:
    file, out = any_model.save(tmp_path / "model.safetensors"), tmp_path / "samples"
    assert main(["sample", str(file), "-n", "5", "--seed", "3", "--out", str(out)]) == 0
    written = np.stack([np.asarray(Image.open(out / f"{i:06d}.png")) for i in range(5)])
    made = any_model.sample(5, seed=3, output="uint8")
    assert (made.shape, made.dtype, made.device.type) == ((5, 3, 8, 8), torch.uint8, "cpu")
    np.testing.assert_array_equal(made.permute(0, 2, 3, 1).numpy(), written)
    pictures = any_model.sample(5, seed=3, output="pil")
    assert [picture.mode for picture in pictures] == ["RGB"] * 5
    np.testing.assert_array_equal(np.stack([np.asarray(picture) for picture in pictures]), written)
    tensor = any_model.sample(5, seed=3, output="tensor")
    assert torch.equal(tensor, any_model.sample(5, seed=3))
    np.testing.assert_array_equal(to_uint8(tensor), written)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_the_mode_of_a_picture_follows_from_its_channels(
    channels: int, mode: str, tiny_config: RunConfig, make_model: Callable[..., DDGAN]
) -> None:
    model = make_model(tiny_config, (channels, 8, 8))
    pictures = model.sample(2, output="pil", batch_size=1)
    assert [(picture.mode, picture.size) for picture in pictures] == [(mode, (8, 8))] * 2
    pixels = np.stack([np.asarray(picture).reshape(8, 8, channels) for picture in pictures])
    np.testing.assert_array_equal(pixels, to_uint8(model.sample(2, batch_size=1)))


@pytest.mark.parametrize(
    ("shape", "output"),
    [((2,), "uint8"), ((2,), "pil"), ((1, 6), "uint8"), ((2, 3, 4, 2), "pil"), ((5, 3, 4), "pil")],
)
def test_what_has_no_such_form_is_refused_before_any_work(
    shape: tuple[int, ...],
    output: str,
    tiny_points_config: RunConfig,
    make_model: Callable[..., DDGAN],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model(tiny_points_config, shape)
    monkeypatch.setattr(model, "generate", None)
    kind = "images" if output == "uint8" else "images of 1 to 4 channels"
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model.sample(3, output=output)  # type: ignore[call-overload]
    assert str(caught.value) == (
        f"output is '{output}', but samples of shape {shape} are not {kind}; use output='tensor'"
    )


def test_images_of_many_channels_can_be_uint8(make_model: Callable[..., DDGAN]) -> None:
    model = make_model(RunConfig.from_dict(TINY_POINTS), (5, 3, 4))
    assert torch.equal(
        model.sample(3, output="uint8"), ((model.sample(3).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    )


@pytest.mark.parametrize("output", ["PIL", "numpy", "", None])
def test_an_unknown_output_is_refused(model: DDGAN, output: str | None) -> None:
    with pytest.raises(ValueError, match=rf"^output is '{output}'; it must be one of tensor, uint8, pil$"):
        model.sample(2, output=output)  # type: ignore[call-overload]


def test_samples_go_where_they_are_asked_for(model: DDGAN, points_model: DDGAN) -> None:
    assert model.sample(2, device="meta").device.type == "meta"
    assert model.sample(2, output="uint8", device=torch.device("meta")).device.type == "meta"
    assert points_model.sample(2, device=points_model.device).device == points_model.device
    assert len(model.sample(2, output="pil", device="meta")) == 2  # which lie in no device's memory


@pytest.mark.parametrize("output", ["uint8", "pil"])
def test_values_that_are_not_finite_have_no_pixels(model: DDGAN, output: str) -> None:
    broken = copy.deepcopy(model)
    next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="4 of 4 samples have NaN or infinite values"):
        broken.sample(4, output=output)  # type: ignore[call-overload]
    assert broken.sample(4).isnan().any()
