"""The estimate of a run: exact where there is a closed form, and never below what training allocates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import ddgan
from ddgan import RunConfig
from ddgan.cli import main
from ddgan.config.presets import preset_names
from ddgan.config.settings import SettingError
from ddgan.data.batch import Batch
from ddgan.networks.conditions import Condition
from ddgan.system import memory
from ddgan.system.memory import MemoryMeter
from ddgan.system.processes import Processes
from ddgan.training import estimate as module
from ddgan.training.estimate import Estimate, check_memory, estimate, fitting, is_small, operations
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state
from other_methods import OTHERS, config_of
from tiny import DIGITS_SHAPE, POINTS_SHAPE

CPU = Processes(torch.device("cpu"))
SHAPES = {"gaussians": POINTS_SHAPE, "celebahq256": (3, 256, 256), "lsun_church256": (3, 256, 256)}


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocator that wastes nothing, and libraries that take nothing."""
    monkeypatch.setattr(module, "taken_on", lambda device: None)
    monkeypatch.setattr(module, "LIBRARIES", 0)


def measured(config: RunConfig, shape: tuple[int, ...], step: int = 0) -> int:
    """The peak of the bytes that the tensors of an iteration take on a CPU, really allocated."""
    state = create_state(config, shape, CPU)
    state.step = step
    weights = [t for network in state.networks.values() for t in network.parameters()]
    size = config.training.batch_size
    for optimizer in state.optimizers.values():
        optimizer.step = lambda: None  # type: ignore[method-assign, assignment, misc]
    with MemoryMeter([*weights, *state.diffusion.buffers()], device_type="cpu") as meter:
        layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
        x = torch.zeros(size, *shape).contiguous(memory_format=layout)
        label = torch.zeros(size, dtype=torch.int64) if config.num_classes else None
        batch = Batch(x, None if label is None else Condition(label=label))
        iterate(state, batch, config.method.draw(config, step, x))
    return meter.peak


CHANGES: list[dict[str, Any]] = [
    {},
    {"method.penalties": []},
    {"method.penalties": [{"kind": "r1"}, {"kind": "r2"}]},
    {"training.activation_checkpointing": True},
    {"training.activation_checkpointing": True, "method.penalties": []},
    {"training.channels_last": True},
    {"conditions.label.classes": 7},
    {"generator.attention_resolutions": [8]},
    {"generator.attention_resolutions": [8], "training.channels_last": True},
    {"method.reconstruction": "l2"},
    {"method.adversarial": "relativistic"},
    {"training.precision": "bf16", "method.penalties": []},
    {"training.precision": "fp16", "method.penalties": [{"kind": "r1", "epsilon": 0.01, "share": 0.5}]},
    {"method.penalties": [{"kind": kind, "epsilon": 0.01, "share": 0.25} for kind in ("r1", "r2")]},
    {"method.transport": {}, "method.augmentation": {}, "method.penalties": [{"kind": "centring"}]},
    {"method.denoise_first": 10},
    {
        "generator": {
            "kind": "subbands",
            "network": {"kind": "ncsnpp", "base_channels": 16, "channel_multipliers": [1, 1]},
        }
    },
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_an_iteration_takes_what_it_really_takes(
    changes: dict[str, Any], tiny_config: RunConfig, exactly: None
) -> None:
    width = {} if "generator" in changes else {"generator.base_channels": 16}
    config = tiny_config.changed({"training.batch_size": 64} | width | changes)
    step = 10 if "method.denoise_first" in changes else 0
    found, real = estimate(config, DIGITS_SHAPE).iteration_bytes, measured(config, DIGITS_SHAPE, step)
    assert found == pytest.approx(real, rel=0.1 if "training.precision" in changes else 0.02)


@pytest.mark.parametrize("method", OTHERS)
def test_so_do_other_methods(method: str, exactly: None) -> None:
    config = config_of(method).changed({"training.batch_size": 64})
    step = config.method.period - 1 if method == "wgan_gp" else 0  # the one that updates G
    found, real = estimate(config, DIGITS_SHAPE).iteration_bytes, measured(config, DIGITS_SHAPE, step)
    assert found == pytest.approx(real, rel=0.05)


def test_parameters_and_state_are_those_of_the_run(tiny_config: RunConfig) -> None:
    changes = {
        "optimization.generator.kind": "sgd",
        "optimization.ema.half_lives": [1.0, 2.0],
    }
    config = tiny_config.changed(changes)
    state, found = create_state(config, DIGITS_SHAPE, CPU), estimate(config, DIGITS_SHAPE)
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in state.networks.items()}
    assert found.parameters == counts
    # G with its momentum and three EMAs; D with Adam's two moments.
    assert found.state_bytes == 4 * (5 * counts["generator"] + 3 * counts["discriminator"])
    assert found.total_bytes > found.state_bytes + found.iteration_bytes
    assert "M in the generator, " in str(found)


def test_the_memory_is_nearly_linear_in_the_images_at_once(tiny_config: RunConfig, exactly: None) -> None:
    def taken(**changes: Any) -> Estimate:
        names = {name.replace("__", "."): value for name, value in changes.items()}
        return estimate(tiny_config.changed(names), DIGITS_SHAPE)

    few, some, many = (taken(training__batch_size=size).iteration_bytes for size in (64, 128, 256))
    assert many - some == pytest.approx(2 * (some - few), rel=0.02)
    parts = taken(training__batch_size=256, training__accumulation=4)
    assert parts.part_size == 64
    assert few < parts.iteration_bytes < some  # the gradients stay, and the noise is for the whole batch


def test_processes_share_the_batch(tiny_config: RunConfig) -> None:
    config = tiny_config.changed({"training.batch_size": 512})
    one, two = (estimate(config, DIGITS_SHAPE, Processes(torch.device("cpu"), 0, n)) for n in (1, 2))
    assert (one.part_size, two.part_size) == (512, 256)
    assert two.iteration_bytes < 0.7 * one.iteration_bytes


@pytest.mark.parametrize("name", preset_names())
def test_the_quick_bound_of_each_preset_is_above_its_estimate(name: str) -> None:
    config, shape = RunConfig.load(name, {"training.precision": "float32"}), SHAPES.get(name, (3, 32, 32))
    shape = DIGITS_SHAPE if config.data.kind in ("digits", "single_digits") else shape
    if config.conditions.label is not None:
        config = config.changed({"conditions.label.classes": 10})
    found = estimate(config, shape)
    assert not is_small(config, shape, CPU, int(found.iteration_bytes))
    assert is_small(config, shape, CPU, 10_000 * found.total_bytes)


def test_what_fits_is_checked_by_the_estimate_itself(tiny_config: RunConfig) -> None:
    config = tiny_config.changed({"training.batch_size": 4096, "generator.base_channels": 32})
    whole, least = (
        estimate(config.changed({"training.batch_size": size}), DIGITS_SHAPE).total_bytes
        for size in (4096, 4)
    )
    limit = (whole + least) // 2
    remedies = fitting(config, DIGITS_SHAPE, limit)
    assert len(remedies) >= 3
    for remedy in remedies:
        changes = {
            name: int(value) if value.isdigit() else value == "true"
            for name, value in re.findall(r"--([\w.]+) (\w+)", remedy)
        }
        size = estimate(config.changed(changes), DIGITS_SHAPE).total_bytes
        assert size <= limit
        assert memory.in_bytes(size) in remedy
    assert [re.match(r"--training\.(accumulation|batch_size)", r) is not None for r in remedies].count(
        True
    ) == 2
    assert fitting(config, DIGITS_SHAPE, 1000) == []


# --- in the trainer ---------------------------------------------------------------------------------


def limited(monkeypatch: pytest.MonkeyPatch, share: float, config: RunConfig) -> int:
    """Let there be this share of what the run takes."""
    available = int(share * estimate(config, POINTS_SHAPE).total_bytes)
    monkeypatch.setattr(module, "available_memory", lambda device: available)
    return available


@pytest.fixture
def large(tiny_points_config: RunConfig) -> RunConfig:
    """A run whose activations outweigh all else."""
    return tiny_points_config.changed({"training.batch_size": 524288, "training.num_iterations": 1})


def test_a_run_that_does_not_fit_is_one_line_before_it_starts(
    large: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limited(monkeypatch, 0.6, large)
    (tmp_path / "x.yaml").write_text(large.to_yaml())
    assert main(["train", "--config", str(tmp_path / "x.yaml"), "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ddgan: training.batch_size is 524288, with which training takes about ")
    assert "of cpu memory that is available; use --training.accumulation 4 (" in line
    assert ", or --training.batch_size 131072 (" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("share", "count"), [(1.1, 1), (1.3, 0), (100, 0)])
def test_one_that_barely_fits_is_warned_of(
    share: float, count: int, large: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, share, large)
    lines: list[str] = []
    check_memory(large, POINTS_SHAPE, CPU, lines.append)
    assert len(lines) == count
    assert all(line.startswith("warning: training takes about ") and "91% of the" in line for line in lines)


def test_a_resumed_run_is_warned_of_and_not_refused(
    large: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 0.6, large)
    lines: list[str] = []
    check_memory(large, POINTS_SHAPE, CPU, lines.append, refuse=False)
    assert [line[:39] for line in lines] == ["warning: training.batch_size is 524288,"]


def test_processes_of_a_machine_share_its_memory(large: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 1.3, large)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=r"^training.batch_size is 524288, with which"):
        check_memory(large, POINTS_SHAPE, CPU, print)


def test_networks_beyond_counting_are_refused(tiny_config: RunConfig) -> None:
    config = tiny_config.changed(
        {
            "generator": {
                "kind": "ncsnpp",
                "num_blocks": 64,
                "channel_multipliers": [1] * 12,
                "base_channels": 64,
                "attention_resolutions": [2048 >> level for level in range(12)],
            }
        }
    )
    with pytest.raises(SettingError, match="the networks have more than 20,000 weight tensors; lower gen"):
        estimate(config, (3, 2048, 2048))


def test_a_component_that_needs_data_is_said_and_trained(
    large: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 2, large)

    def needs_data(*_: Any) -> Any:
        raise NotImplementedError("no meta\ntensors")

    monkeypatch.setattr(type(large.method), "discriminator_loss", needs_data)
    lines: list[str] = []
    check_memory(large, POINTS_SHAPE, CPU, lines.append)
    assert lines == ["the memory of this run cannot be estimated (NotImplementedError: no meta tensors)"]


def test_estimating_leaves_no_trace_in_training(tiny_config: RunConfig, tmp_path: Path) -> None:
    before = ddgan.train(tiny_config, tmp_path / "a", verbose=False).model.state_dict()
    estimate(tiny_config.changed({"training.precision": "bf16"}), DIGITS_SHAPE)
    after = ddgan.train(tiny_config, tmp_path / "b", verbose=False).model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# --- operations -------------------------------------------------------------------------------------


def test_operations_are_in_proportion_to_the_batch_however_it_is_divided(tiny_config: RunConfig) -> None:
    one = operations(tiny_config.changed({"training.batch_size": 4}), DIGITS_SHAPE)
    assert operations(tiny_config, DIGITS_SHAPE) == pytest.approx(2 * one, rel=1e-3)
    parts = operations(tiny_config.changed({"training.accumulation": 2}), DIGITS_SHAPE)
    assert parts == pytest.approx(2 * one, rel=1e-3)


def test_operations_are_the_mean_over_the_period_of_the_penalties(tiny_config: RunConfig) -> None:
    always = operations(tiny_config.changed({"method.penalties.0.every": 1}), DIGITS_SHAPE)
    never = operations(tiny_config.changed({"method.penalties": []}), DIGITS_SHAPE)
    assert always > never
    rarely = operations(tiny_config.changed({"method.penalties.0.every": 4}), DIGITS_SHAPE)
    assert rarely == pytest.approx((always + 3 * never) / 4)


def test_operations_of_a_product_are_two_per_multiplication(tiny_points_config: RunConfig) -> None:
    """A wider layer of G adds its products: three passes of G in its update, one of it in D's."""
    size = tiny_points_config.training.batch_size
    counts = [
        operations(tiny_points_config.changed({"generator.latent_size": latent}), POINTS_SHAPE)
        for latent in (8, 9)
    ]
    weights = [
        sum(
            p.numel()
            for p in tiny_points_config.changed({"generator.latent_size": latent})
            .generator.build(POINTS_SHAPE)
            .parameters()
            if p.ndim > 1
        )
        for latent in (8, 9)
    ]
    passes = (counts[1] - counts[0]) / (2 * size * (weights[1] - weights[0]))
    assert passes == pytest.approx(3)  # forward twice, and the gradient of the weights; z needs none
