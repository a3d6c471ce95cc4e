"""How a generator is called for sampling changes its speed, and its output by no more than was promised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.plain import plain_path

from ddgan import DDGAN, RunConfig
from ddgan.models.model import TrainedModel
from ddgan.models.precision import (
    REPAYING_CALLS,
    channels_innermost,
    choose_precision,
    computing_in,
    repays_compiling,
    tf32,
)
from ddgan.networks.conditions import Condition
from ddgan.networks.kernels.winograd import Conv2d
from ddgan.networks.ncsnpp import NCSNppConfig
from filled import filled

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)
SMALL = NCSNppConfig(base_channels=16, channel_multipliers=(1, 2, 2), attention_resolutions=(8,))


@pytest.fixture
def unet() -> DDGAN:
    """A small U-Net, none of whose layers is nearly zero."""
    torch.manual_seed(0)
    generator = filled(SMALL.build(SHAPE))
    assert min(float(p.detach().abs().max()) for p in generator.parameters() if p.ndim > 1) > 1e-2
    return DDGAN(generator, RunConfig(generator=SMALL), SHAPE)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(
    ("found", "precision"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx2": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_is_bf16_where_the_processor_knows_it(
    found: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert choose_precision("auto", CPU) == precision
    assert choose_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((7, 0), "fp16"), ((6, 1), "float32")],
)
def test_auto_on_a_gpu_is_what_it_is_fast_in(
    capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda")) == precision
    assert choose_precision("float32", torch.device("cuda")) == "float32"


def test_an_unknown_precision_is_refused(unet: DDGAN) -> None:
    with pytest.raises(ValueError, match="precision is 'half'; it must be one of auto, float32, bf16, fp16"):
        unet.set_precision("half")  # type: ignore[arg-type]


def test_a_generator_is_compiled_where_that_repays() -> None:
    cuda, many = torch.device("cuda"), REPAYING_CALLS
    assert repays_compiling("auto", cuda, many)
    assert not repays_compiling("auto", cuda, many - 1)
    assert not repays_compiling("auto", CPU, many)
    assert repays_compiling("yes", CPU, 1)
    assert not repays_compiling("no", cuda, many)
    with pytest.raises(ValueError, match="compile is 'maybe'; it must be one of auto, yes, no"):
        repays_compiling("maybe", CPU, 1)


def test_bf16_changes_samples_a_little_and_weights_not_at_all(unet: DDGAN, tmp_path: Path) -> None:
    before = unet.sample(4, seed=1)
    assert relative(unet.set_precision("bf16").sample(4, seed=1), before) < 4e-2  # "a few hundredths"
    assert not torch.equal(unet.sample(4, seed=1), before)
    path = unet.save(tmp_path / "model.safetensors")
    reopened = DDGAN.from_pretrained(path)
    assert reopened.precision == "float32"
    assert torch.equal(reopened.sample(4, seed=1), before)
    again = DDGAN.from_pretrained(path, precision="bf16")
    assert torch.equal(again.sample(4, seed=1), unet.sample(4, seed=1))
    assert torch.equal(unet.set_precision("float32").sample(4, seed=1), before)


def test_fp16_changes_samples_less_than_bf16(unet: DDGAN, tmp_path: Path) -> None:
    before = unet.sample(4, seed=1)
    made = unet.set_precision("fp16").sample(4, seed=1)
    assert made.dtype == unet.dtype == torch.float32
    assert unet.precision == "fp16"
    assert 0 < relative(made, before) < 4e-2 / 8
    again = DDGAN.from_pretrained(unet.save(tmp_path / "model.safetensors"), precision="fp16")
    assert torch.equal(again.sample(4, seed=1), made)
    again.load_state_dict(unet.state_dict())
    assert torch.equal(again.sample(4, seed=1), made)


def test_bf16_changes_samples_less_at_the_start_of_training() -> None:
    torch.manual_seed(0)
    model = DDGAN(SMALL.build(SHAPE), RunConfig(generator=SMALL), SHAPE)
    before = model.sample(4, seed=1)
    assert relative(model.set_precision("bf16").sample(4, seed=1), before) < 2e-2


def test_bf16_keeps_the_angles_of_many_steps_apart() -> None:
    """In bfloat16 itself, 998 and 999 are one number."""
    config = NCSNppConfig(base_channels=8, channel_multipliers=(1,))
    fast = computing_in(config.build((3, 8, 8)), torch.bfloat16).network
    assert isinstance(fast, torch.nn.Module)
    first, second = fast.time_embedding(torch.tensor([999, 1000]))
    assert not torch.equal(first, second)


def test_the_order_in_memory_does_not_change_a_call(unet: DDGAN) -> None:
    x_t, noise = unet.start(0, range(3))
    expected = next(iter(unet.chain(x_t, noise))).prediction
    channels_innermost(unet.generator)
    x_t, noise = unet.start(0, range(3))
    assert relative(next(iter(unet.chain(x_t, noise))).prediction, expected) < 1e-5


def test_sampling_keeps_transformed_kernels_while_it_samples() -> None:
    config = NCSNppConfig(base_channels=64, channel_multipliers=(1,), attention_resolutions=())
    torch.manual_seed(0)
    wide = DDGAN(channels_innermost(config.build(SHAPE)), RunConfig(generator=config), SHAPE)
    layers = [layer for layer in wide.generator.modules() if isinstance(layer, Conv2d)]
    batches = wide.batches(8, seed=0, batch_size=4)
    first = next(batches)
    assert any(layer._kernels is not None for layer in layers)
    samples = torch.cat([first, *batches])
    assert not any(layer.keeps or layer._kernels is not None for layer in layers)
    with plain_path():
        assert relative(samples, wide.sample(8, seed=0, batch_size=4)) < 1e-5


def test_a_model_trained_with_channels_innermost_opens_so(unet: DDGAN, tmp_path: Path) -> None:
    config = RunConfig.from_dict(unet.config.to_dict() | {"training": {"channels_last": True}})
    path = DDGAN(unet.generator, config, SHAPE).save(tmp_path / "model.safetensors")
    weight = DDGAN.from_pretrained(path).generator.get_parameter("input.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_images(unet: DDGAN) -> None:
    expected = unet.sample(4, seed=1)
    assert relative(unet.compile().sample(4, seed=1), expected) < 1e-5


def test_a_compiled_model_always_sees_one_batch_size(unet: DDGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another would be compiled anew, for minutes."""
    expected, sizes, forward = unet.sample(7, batch_size=3), [], unet.generator.forward

    def seen(x_t: torch.Tensor, *others: torch.Tensor | Condition | None) -> torch.Tensor:
        sizes.append(len(x_t))
        return forward(x_t, *others)

    monkeypatch.setattr(unet.generator, "forward", seen)
    unet.is_compiled = True
    counted: list[int] = []
    made = torch.cat(list(unet.batches(7, batch_size=3, on_batch=counted.append)))
    assert set(sizes) == {3}
    assert counted == [3, 3, 1]
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_predictions_of_a_compiled_model_are_its_own(unet: DDGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled network may write every output to the same place."""
    forward, place = unet.generator.forward, torch.empty(2, 3, 16, 16)
    expected = [step.prediction for step in unet.steps(2)]
    monkeypatch.setattr(unet.generator, "forward", lambda *inputs: place.copy_(forward(*inputs)))
    unet.is_compiled = True
    for step, prediction in zip(unet.steps(2), expected, strict=True):
        torch.testing.assert_close(step.prediction, prediction)


def test_a_model_of_half_weights_samples_in_them(unet: DDGAN) -> None:
    """As diffusers opens one with torch_dtype."""
    expected = next(iter(unet.chain(*unet.start(0, range(4))))).prediction
    half = DDGAN(SMALL.build(SHAPE).bfloat16(), unet.config, SHAPE)
    half.generator.load_state_dict(unet.generator.state_dict())
    made = next(iter(half.chain(*half.start(0, range(4)))))
    assert made.prediction.dtype == made.x_prev.dtype == torch.float32
    assert relative(made.prediction, expected) < 5e-2


def test_tf32_is_as_it_was_afterwards() -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for allowed in (True, False):
        with tf32(allowed):
            assert [place.allow_tf32 for place in places] == [allowed] * 2
    with pytest.raises(RuntimeError), tf32(True):
        raise RuntimeError
    assert [place.allow_tf32 for place in places] == before


def test_what_fits_depends_on_the_gpu_s_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    config = NCSNppConfig(base_channels=64)
    wide = DDGAN(torch.nn.Linear(1, 1), RunConfig(generator=config), (3, 256, 256))
    on_cpu = wide.default_batch_size()
    sizes = []
    monkeypatch.setattr(TrainedModel, "device", torch.device("cuda"))
    for free in (0, 2**33, 2**36):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 2**37))
        sizes.append(wide.default_batch_size())
    assert on_cpu == sizes[0] == 1
    assert sizes == sorted(sizes)
    assert 8 <= sizes[2] <= 512
