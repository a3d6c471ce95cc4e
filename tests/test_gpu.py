"""On a GPU everything is what it is on the CPU, up to float32: `pytest -m gpu` where there is one.

DDGAN_TEST_DEVICE names another device than cuda: mps, or cpu, to see that the tests themselves run.
"""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.data import prepared as dataset
from ddgan.data.batch import Batch
from ddgan.data.digits import StackedDigits
from ddgan.data.preparation import prepare
from ddgan.data.toy import Gaussians
from ddgan.models.precision import channels_innermost, tf32
from ddgan.system.processes import Processes
from ddgan.training.cuda_graphs import ReplayedUpdates, mapped
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state
from filled import filled
from other_methods import OTHERS, config_of
from steps import changed, flat, one_update

DEVICE = torch.device(os.environ.get("DDGAN_TEST_DEVICE", "cuda"))
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="there is no GPU"),
]
ONLY_CUDA = pytest.mark.skipif(DEVICE.type != "cuda", reason="of CUDA alone, or minutes elsewhere")
SHAPE = (3, 16, 16)
SHAPE_OF_DIGITS = (3, 8, 8)
GENERATOR: dict[str, Any] = {
    "kind": "ncsnpp",
    "base_channels": 32,
    "channel_multipliers": [1, 2, 2],
    "attention_resolutions": [8],
}
PAIR: dict[str, Any] = {
    "kind": "resnet",
    "base_channels": 32,
    "channel_multipliers": [1, 2],
    "downsample": [True, True],
    "time_features": 32,
}
SMALL = RunConfig.from_dict(
    {"generator": GENERATOR, "method": {"kind": "denoising_gan", "discriminators": {"pair": PAIR}}}
)
"""U-Nets for images of 16 pixels."""
FLOAT32 = 2e-5
"""Relative difference of two ways to sum the same float32 products, through a whole network."""


@pytest.fixture(autouse=True)
def without_tf32() -> Iterator[None]:
    with tf32(False):
        yield


def relative(a: Tensor, b: Tensor) -> float:
    return float((a.cpu() - b.cpu()).norm() / b.norm())


@pytest.fixture
def unet() -> DDGAN:
    torch.manual_seed(0)
    return DDGAN(filled(SMALL.generator.build(SHAPE, SMALL.conditions.shapes)), SMALL, SHAPE)


def test_a_generator_and_its_gradient_are_the_same(unet: DDGAN) -> None:
    rng = torch.Generator().manual_seed(1)
    x, z, t = (
        torch.randn(4, 3, 16, 16, generator=rng),
        torch.randn(4, 100, generator=rng),
        torch.arange(4) + 1,
    )
    found = []
    for device in (torch.device("cpu"), DEVICE):
        network, inputs = copy.deepcopy(unet.generator).to(device), x.to(device).requires_grad_(True)
        made = network(inputs, t.to(device), z.to(device))
        (gradient,) = torch.autograd.grad(made.square().sum(), inputs)
        found.append((made.detach(), gradient))
    (made, gradient), (other, other_gradient) = found
    assert relative(other, made) < FLOAT32
    assert relative(other_gradient, gradient) < 10 * FLOAT32


def test_a_penalty_s_gradient_is_the_same() -> None:
    """R1 differentiates the discriminator twice."""
    torch.manual_seed(0)
    pair = SMALL.method.discriminators["pair"]
    discriminator, rng = filled(pair.build(SHAPE)), torch.Generator().manual_seed(1)
    x, x_t = torch.randn(2, 4, 3, 16, 16, generator=rng)
    found = []
    for device in (torch.device("cpu"), DEVICE):
        network, inputs = copy.deepcopy(discriminator).to(device), x.to(device).requires_grad_(True)
        logits = network(inputs, x_t.to(device), torch.ones(4, dtype=torch.int64, device=device))
        (slope,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        slope.square().sum().backward()
        parts = [p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None]
        found.append((logits.detach(), torch.cat(parts)))
    (logits, gradient), (other, other_gradient) = found
    assert relative(other, logits) < FLOAT32
    assert relative(other_gradient, gradient) < 1e-3  # leaky ReLUs: an input of 1e-7 may change its sign


def test_samples_are_the_same_images_in_batches_of_any_size(unet: DDGAN) -> None:
    expected = unet.sample(5, seed=3)
    unet.to(DEVICE)
    made = unet.sample(5, seed=3)
    assert made.device.type == "cpu"
    assert float((made - expected).abs().max()) < 1e-3
    assert float((unet.sample(5, seed=3, batch_size=2) - made).abs().max()) < 1e-3


def test_samples_stay_on_the_device_if_asked(unet: DDGAN) -> None:
    unet.to(DEVICE, torch.bfloat16)
    made, levels = (unet.sample(3, output=output, device=unet.device) for output in ("tensor", "uint8"))  # type: ignore[call-overload]
    assert made.device == levels.device == unet.device
    assert torch.equal(made.cpu(), unet.sample(3))
    assert torch.equal(levels.cpu(), unet.sample(3, output="uint8"))


def test_channels_innermost_are_the_same_images(unet: DDGAN) -> None:
    expected = unet.sample(4)
    channels_innermost(unet.generator)
    assert float((unet.to(DEVICE).sample(4) - expected).abs().max()) < 1e-3


def test_bf16_changes_an_output_a_little(unet: DDGAN) -> None:
    x, noise = unet.to(DEVICE).start(0, range(8))
    expected = next(iter(unet.chain(x, noise))).prediction
    x, noise = unet.set_precision("bf16").start(0, range(8))
    assert relative(next(iter(unet.chain(x, noise))).prediction, expected.cpu()) < 5e-2  # of random weights


@ONLY_CUDA
def test_compiled_samples_are_the_same(unet: DDGAN) -> None:
    expected = unet.to(DEVICE).sample(8, batch_size=4)
    assert float((unet.compile().sample(8, batch_size=4) - expected).abs().max()) < 1e-3


@pytest.mark.parametrize("share", [0.4, 0.0])
def test_batches_are_those_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """From the GPU's memory or, where the set is too large for it, by copies that nothing waits for."""
    monkeypatch.setattr(dataset, "SHARE_OF_DEVICE", share)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(40) % 3)
    folder = prepare(str(tmp_path / "x.npz"), tmp_path / "out")
    made = [
        (dataset.ImageDataset(folder, device=DEVICE), dataset.ImageDataset(folder)),
        (StackedDigits(device=DEVICE), StackedDigits()),
        (Gaussians(device=DEVICE), Gaussians()),
    ]
    for ours, theirs in made:
        batches = [ours.batch(step, 16) for step in range(20)]  # asked for before any is looked at
        for step, batch in enumerate(batches):
            expected = theirs.batch(step, 16)
            assert batch.x.device.type == DEVICE.type
            assert torch.allclose(batch.x.cpu(), expected.x, atol=1e-6)
            assert (batch.label is None) == (expected.label is None)
            if batch.label is not None and expected.label is not None:
                assert torch.equal(batch.label.cpu(), expected.label)


def test_training_takes_the_same_steps(tiny_config: RunConfig) -> None:
    rates = {f"optimization.{name}.lr": 1e-3 for name in ("generator", "discriminator")}
    config = RunConfig.load(tiny_config, rates)
    ours, theirs = (
        create_state(config, (3, 8, 8), Processes(device)) for device in (torch.device("cpu"), DEVICE)
    )
    for step in range(3):
        x = StackedDigits(seed=0).batch(step, 8).x
        noise = config.method.draw(config, step, x)
        expected = flat(iterate(ours, Batch(x), noise))
        found = flat(iterate(theirs, Batch(x.to(DEVICE)), mapped(lambda one: one.to(DEVICE), noise)))
        for name in ("d_real", "d_fake", "loss_d", "loss_g"):
            torch.testing.assert_close(found[name].cpu(), expected[name], rtol=2e-3, atol=1e-4)
    assert theirs.step == 3


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"channels_last": True},
        {"activation_checkpointing": True},
        pytest.param({"cuda_graphs": True}, marks=ONLY_CUDA),
    ],
    ids=str,
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tiny_config: RunConfig, tmp_path: Path, changes: dict[str, object]
) -> None:
    usual = {"device": DEVICE.type, "num_iterations": 6, "keep_every": 3, "grid_every": 3}
    config = changed(tiny_config, **usual, **changes)
    whole = ddgan.train(config, out=tmp_path / "run", verbose=False)
    assert torch.isfinite(whole.model.sample(4)).all()
    assert (tmp_path / "run" / "samples.png").is_file()
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000006")
    again = ddgan.resume(tmp_path / "run", verbose=False)
    ours, theirs = (run.model.generator.state_dict() for run in (again, whole))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-2, atol=2e-3, msg=name)


@ONLY_CUDA
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_replayed_iterations_are_those_that_are_not(tmp_path: Path, precision: str) -> None:
    """Over many iterations, with and without penalty; EMAs and moments are the same too."""
    method = {"method.penalties": [{"kind": "r1", "every": 3}], "method.reconstruction": {"kind": "l2"}}
    config = changed(
        RunConfig.load(SMALL, method),
        **{"batch_size": 8, "num_iterations": 40, "device": "cuda"},
        **{"precision": precision, "channels_last": True},
    )
    usual, other = (create_state(config, SHAPE, Processes(DEVICE)) for _ in range(2))
    updates = ReplayedUpdates()
    for step in range(14):
        x = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(step)).clamp(-1, 1)
        x = x.to(DEVICE, memory_format=torch.channels_last)
        noise = config.method.draw(config, step, x)
        expected = iterate(usual, Batch(x), noise)
        found = iterate(other, Batch(x), noise, updates)
        assert {name: values.keys() for name, values in found.items()} == {
            name: values.keys() for name, values in expected.items()
        }
        for name in ("discriminator", "generator"):
            torch.testing.assert_close(found[name]["t"], expected[name]["t"])
        for name in ("d_real", "loss_d", "loss_g", "reconstruction"):
            torch.testing.assert_close(flat(found)[name], flat(expected)[name], rtol=2e-2, atol=1e-2)
    scales = [{name: scale.values() for name, scale in one.loss_scales.items()} for one in (usual, other)]
    assert scales[0] == scales[1]
    for name, network in other.saved_networks().items():
        ours, theirs = (  # as a whole: some gradients are nothing but rounding
            torch.cat([p.detach().flatten() for p in one.parameters()])
            for one in (network, usual.saved_networks()[name])
        )
        assert relative(ours, theirs.cpu()) < 1e-2, name


def test_gradients_in_float16_are_those_of_float32(tiny_config: RunConfig) -> None:
    x, found = StackedDigits(seed=0).batch(0, 8).x, {}
    for precision in ("float32", "fp16"):
        state = create_state(changed(tiny_config, precision=precision), SHAPE_OF_DIGITS, Processes(DEVICE))
        torch.manual_seed(0)
        filled(state.generator)
        filled(state.discriminators)
        for scale in state.loss_scales.values():
            scale.factor.fill_(2.0**8)
        noise = mapped(lambda one: one.to(DEVICE), tiny_config.method.draw(tiny_config, 0, x))
        for name in ("discriminator", "generator"):
            _, gradients = one_update(state, name, x.to(DEVICE), noise)
            scale = 2.0**8 if precision == "fp16" else 1.0
            found[precision, name] = torch.cat([value.flatten() / scale for value in gradients.values()])
    for name in ("discriminator", "generator"):
        assert relative(found["fp16", name], found["float32", name].cpu()) < 2e-2


@ONLY_CUDA
def test_float16_is_used_by_auto_where_bf16_is_not(monkeypatch: pytest.MonkeyPatch, unet: DDGAN) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    expected = unet.to(DEVICE).sample(4)
    assert unet.set_precision("auto").precision == "fp16"
    assert relative(unet.sample(4), expected) < 1e-2


@pytest.mark.parametrize("data", ["digits", "single_digits"])
def test_scores_are_those_of_the_cpu(tiny_config: RunConfig, data: str) -> None:
    config = RunConfig.load(tiny_config, {"data": data})
    shape = tuple(config.data.open().sample_shape)
    model = DDGAN(filled(config.generator.build(shape, config.conditions.shapes)), config, shape)
    metrics = ["frechet", "kernel", "precision_recall", "modes"]
    found = []
    for device in (torch.device("cpu"), DEVICE):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found.append(ddgan.evaluate(model.to(device), metrics=metrics, n=500, features="classifier"))
    ours, theirs = found
    assert ours.frechet is not None
    assert theirs.frechet is not None
    assert theirs.frechet.value == pytest.approx(ours.frechet.value, rel=1e-3)
    assert ours.precision_recall is not None
    assert theirs.precision_recall is not None
    assert theirs.precision_recall.precision == pytest.approx(ours.precision_recall.precision, abs=0.02)
    assert ours.modes is not None
    assert theirs.modes is not None
    assert theirs.modes.modes == pytest.approx(ours.modes.modes, abs=2)


@pytest.mark.parametrize("method", OTHERS)
def test_other_methods_are_trained(tmp_path: Path, method: str) -> None:
    config = changed(config_of(method), device=DEVICE.type)
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    assert torch.isfinite(run.model.sample(3)).all()
    assert torch.equal(ddgan.load(tmp_path / "run").sample(3), run.model.to("cpu").sample(3))


def test_scores_say_which_gpu_they_are_of(unet: DDGAN) -> None:
    report = ddgan.evaluate(unet.to(DEVICE), metrics=["speed"], n=8)
    assert report.speed is not None
    assert report.speed.nfe == 4
    if DEVICE.type == "cuda":
        assert torch.cuda.get_device_name() in report.speed.device
        assert report.speed.peak_memory > 0
