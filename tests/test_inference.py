"""How a generator is called for sampling changes its speed, and its output by no more than was promised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.plain import plain_path

from ddgan import DDGAN, RunConfig
from ddgan.inference import (
    REPAYING_CALLS,
    InBF16,
    channels_innermost,
    choose_precision,
    computes_in_bf16,
    repays_compiling,
)
from ddgan.networks import NCSNppConfig, build_generator
from ddgan.networks.layers import variance_scaling_
from ddgan.networks.winograd import Conv2d

CPU = torch.device("cpu")
SMALL = NCSNppConfig(
    image_size=16, base_channels=16, channel_multipliers=(1, 2, 2), attention_resolutions=(8,)
)


@pytest.fixture
def unet() -> DDGAN:
    """A small U-Net, none of whose layers is nearly zero."""
    torch.manual_seed(0)
    generator = build_generator(SMALL)
    for parameter in generator.parameters():
        if parameter.ndim > 1 and parameter.abs().max() < 1e-6:
            variance_scaling_(parameter.data)
    return DDGAN(generator, RunConfig(generator=SMALL))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_auto_is_bf16_where_the_processor_knows_it() -> None:
    assert choose_precision("auto", CPU) == ("bf16" if computes_in_bf16(CPU) else "float32")
    assert choose_precision("auto", torch.device("mps")) == "float32"


def test_an_unknown_precision_is_refused(unet: DDGAN) -> None:
    with pytest.raises(ValueError, match="precision is 'half'; it must be one of auto, float32, bf16"):
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
    assert relative(unet.set_precision("bf16").sample(4, seed=1), before) < 2e-2
    assert not torch.equal(unet.sample(4, seed=1), before)
    path = unet.save(tmp_path / "model.safetensors")
    reopened = DDGAN.from_pretrained(path)
    assert reopened.precision == "float32"
    assert torch.equal(reopened.sample(4, seed=1), before)
    again = DDGAN.from_pretrained(path, precision="bf16")
    assert torch.equal(again.sample(4, seed=1), unet.sample(4, seed=1))
    assert torch.equal(unet.set_precision("float32").sample(4, seed=1), before)


def test_bf16_keeps_the_angles_of_many_steps_apart() -> None:
    """In bfloat16 itself, 998 and 999 are one number."""
    config = NCSNppConfig(kind="ncsnpp", image_size=8, base_channels=8, channel_multipliers=(1,))
    fast = InBF16(build_generator(config)).network
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
    config = NCSNppConfig(image_size=16, base_channels=64, channel_multipliers=(1,), attention_resolutions=())
    torch.manual_seed(0)
    wide = DDGAN(channels_innermost(build_generator(config)), RunConfig(generator=config))
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
    path = DDGAN(unet.generator, config).save(tmp_path / "model.safetensors")
    weight = DDGAN.from_pretrained(path).generator.get_parameter("input.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_images(unet: DDGAN) -> None:
    expected = unet.sample(4, seed=1)
    assert relative(unet.compile().sample(4, seed=1), expected) < 1e-5
