"""Published files: converted there and back, sampled as published, and told apart."""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.diffusion.schedules import GeometricConfig, VPConfig
from ddgan.interop.conversion import LICENSE, SamplingSettings, published_tensors, save_published, to_model
from ddgan.interop.nvlabs import published_state_dict
from ddgan.interop.published_checkpoints import Checkpoint, read_checkpoint
from ddgan.networks.ncsnpp import Generator, NCSNppConfig
from ddgan.system.text import markdown
from other_methods import OTHERS, config_of
from reference import helpers
from reference.helpers import error

ENTRY, CHAIN = "generator_small", "sampling_small_T4"
SIZES = ["--num_steps", "4", "--image_size", "16"]

needs_generator = helpers.needs(ENTRY)


def published(scale: float = 1.0) -> OrderedDict[str, Tensor]:
    """The small generator in the published layout, by the rule of the reference values."""
    tensors = helpers.weights(helpers.table()[ENTRY]["tensors"])
    return OrderedDict((f"module.{name.removeprefix('module.')}", t * scale) for name, t in tensors.items())


def content(ema: dict[str, Tensor] | None, **settings: Any) -> dict[str, Any]:
    """A training state around a generator whose last weights are not its EMA."""
    last = published(0.5)
    state: dict[int, Any] = {}
    for number, (name, tensor) in enumerate(last.items()):
        state[number] = {
            "step": 7,
            "exp_avg": torch.zeros_like(tensor),
            "exp_avg_sq": torch.ones_like(tensor),
        }
        if ema is not None:
            state[number]["ema"] = ema[name]
    group = {"lr": 1.6e-4, "betas": (0.5, 0.9), "eps": 1e-8, "params": list(range(len(last)))}
    return {
        "epoch": 1200,
        "global_step": 234000,
        "args": argparse.Namespace(**settings),
        "netG_dict": last,
        "optimizerG": {"state": state, "param_groups": [group]},
        "schedulerG": {"T_max": 1800, "last_epoch": 1200},
        "netD_dict": OrderedDict(weight=torch.zeros(1)),
        "optimizerD": {"state": {}, "param_groups": []},
        "schedulerD": {},
    }


def saved(value: Any, path: Path, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def reference_settings() -> dict[str, Any]:
    config = dict(helpers.config_of(ENTRY)) | {"num_timesteps": 4, "use_geometric": False}
    return config | {"beta_min": 0.1, "beta_max": 20.0}


def sampled(model: DDGAN) -> None:
    """The model's own chain follows the reference chain."""
    values = {name: torch.from_numpy(array) for name, array in helpers.values(CHAIN).items()}
    steps = range(helpers.config_of(CHAIN)["T"])
    order = iter([values[f"{name}_{i}"] for i in reversed(steps) for name in ("z", "noise")])
    with torch.no_grad():
        for step in model.chain(values["x_T"], lambda *shape: next(order)):
            assert error(step.prediction, values[f"x0_{step.t - 1}"]) < 1e-5
            assert error(step.x_prev, values[f"x_{step.t - 1}"]) < 1e-5
    assert step.t == 1


def same_bits(path: Path, expected: dict[str, Tensor]) -> None:
    again = torch.load(path, weights_only=True)
    assert list(again) == list(expected)
    assert all(torch.equal(again[name], expected[name]) for name in expected)
    assert {tensor.dtype for tensor in again.values()} == {torch.float32}


# --- there and back ---------------------------------------------------------------------------------


@helpers.needs(ENTRY, CHAIN)
@pytest.mark.parametrize(
    "form", ["netG", "netG without prefix", "old format", "content", "content with args"]
)
def test_a_published_checkpoint_samples_as_published_and_comes_back_bit_for_bit(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, settings = published(), SIZES
    if form == "content":
        path = saved(content(tensors), tmp_path / "content.pth")
    elif form == "content with args":
        path, settings = saved(content(tensors, **reference_settings()), tmp_path / "content.pth"), []
    else:
        bare = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        old = {"_use_new_zipfile_serialization": form != "old format"}
        path = saved(bare if "without" in form else tensors, tmp_path / "netG_1200.pth", **old)
    ours, back = tmp_path / "ours.safetensors", tmp_path / "netG_back.pth"

    assert main(["convert", str(path), *settings, "--out", str(ours)]) == 0
    assert main(["convert", str(ours), "--to", "nvlabs", "--out", str(back)]) == 0
    assert "non-commercial" in capsys.readouterr().err

    model = DDGAN.from_pretrained(ours)
    assert (model.diffusion.num_steps, model.sample_shape) == (4, (1, 16, 16))
    sampled(model)
    same_bits(back, tensors)


@needs_generator
def test_the_licence_is_in_metadata_card_and_record_and_stays(tmp_path: Path) -> None:
    path, ours = saved(published(), tmp_path / "netG.pth"), tmp_path / "ours.safetensors"
    assert main(["convert", str(path), *SIZES, "--out", str(ours)]) == 0
    model = DDGAN.from_pretrained(ours)
    assert model.license == LICENSE
    assert DDGAN.from_pretrained(model.save(tmp_path / "again.safetensors")).license == LICENSE
    card = (tmp_path / "ours.md").read_text(encoding="utf-8")
    about = yaml.safe_load(card.split("---")[1])
    assert about["license"] == "other"
    assert "nvidia-source-code-license" in about["license_name"]
    assert markdown(LICENSE) in card
    record = json.loads((tmp_path / "ours.safetensors.json").read_text())
    assert record["license"] == LICENSE
    assert RunConfig.from_dict(record["config"]) == model.config
    mine = tmp_path / "mine.safetensors"
    assert main(["convert", str(path), *SIZES, "--out", str(mine), "--license", "mit"]) == 0
    assert DDGAN.from_pretrained(mine).license == "mit"


@needs_generator
def test_the_ema_is_taken_unless_the_last_weights_are_asked_for(tmp_path: Path) -> None:
    path = saved(content(published()), tmp_path / "content.pth")
    checkpoint, sizes = read_checkpoint(path), SamplingSettings(4, 16)
    for weights, scale in (("ema", 1.0), ("last", 0.5)):
        made = published_tensors(to_model(checkpoint, overrides=sizes, weights=weights))  # type: ignore[arg-type]
        assert all(torch.equal(made[name], tensor) for name, tensor in published(scale).items())
    without = read_checkpoint(saved(content(None), tmp_path / "raw.pth"))
    assert without.ema is None
    with pytest.raises(ValueError, match=r"has no EMA .* --weights last"):
        to_model(without, overrides=sizes)
    assert to_model(without, overrides=sizes, weights="last").num_classes == 0


@helpers.needs("generator_cifar10", "generator_celebahq256")
@pytest.mark.parametrize("preset", ["cifar10", "celebahq256"])
def test_presets_say_what_the_shapes_do_not(preset: str, tmp_path: Path) -> None:
    entry = f"generator_{preset}"
    shapes = helpers.table()[entry]["tensors"]
    path = saved({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "netG.pth")
    checkpoint = read_checkpoint(path)
    model = to_model(checkpoint, preset)
    expected = RunConfig.load(preset)
    assert model.config == expected
    assert model.sample_shape == {"cifar10": (3, 32, 32), "celebahq256": (3, 256, 256)}[preset]
    assert sum(p.numel() for p in model.generator.parameters()) == helpers.table()[entry]["parameters"]
    other = {"cifar10": "celebahq256", "celebahq256": "cifar10"}[preset]
    with pytest.raises(ValueError, match=r"not the preset's: .*base_channels \d+ instead of \d+"):
        to_model(checkpoint, other)
    with pytest.raises(ValueError, match="of kind ncsnpp, the preset's is mlp"):
        to_model(checkpoint, "gaussians")


@needs_generator
def test_what_is_said_twice_must_agree(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(content(published(), **reference_settings()), tmp_path / "c.pth"))
    assert to_model(checkpoint, overrides=SamplingSettings(4, 16, "vp", 0.1, 20.0)).diffusion.num_steps == 4
    for overrides, words in (
        (SamplingSettings(num_steps=2), "num_steps is 2, but the file says 4"),
        (SamplingSettings(image_size=32), "image_size is 32, but the file says 16"),
        (SamplingSettings(schedule="geometric"), "schedule is geometric, but the file says vp"),
    ):
        with pytest.raises(ValueError, match=words):
            to_model(checkpoint, overrides=overrides)
    bare = read_checkpoint(saved(published(), tmp_path / "g.pth"))
    with pytest.raises(ValueError, match="does not give T; pass --preset NAME or --num_steps"):
        to_model(bare)
    with pytest.raises(ValueError, match="does not give the size"):
        to_model(bare, overrides=SamplingSettings(num_steps=4))
    geometric = to_model(bare, overrides=SamplingSettings(3, 16, "geometric", 1e-3, 0.98))
    assert geometric.config.diffusion.schedule == GeometricConfig(beta_min=1e-3, beta_max=0.98)
    plain = to_model(bare, overrides=SamplingSettings(3, 16))
    assert plain.config.diffusion.schedule == VPConfig()
    assert plain.config.data == RunConfig().data
    odd = read_checkpoint(
        saved(content(published(), num_timesteps="four", image_size=16), tmp_path / "o.pth")
    )
    with pytest.raises(ValueError, match="num_timesteps in the file is 'four'"):
        to_model(odd)
    unfit = reference_settings() | {"attn_resolutions": 8}
    with pytest.raises(ValueError, match="settings in the file are invalid"):
        to_model(read_checkpoint(saved(content(published(), **unfit), tmp_path / "u.pth")))


def tensors_of(config: NCSNppConfig, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """A published generator with new weights."""
    torch.manual_seed(0)
    return published_state_dict(Generator(config, shape))


def preset_of(tiny_settings: dict[str, Any], **generator: Any) -> RunConfig:
    """A preset with three levels and attention at 8 pixels; its data does not say a size."""
    small = {"channel_multipliers": [1, 1, 1], "attention_resolutions": [8]} | generator
    settings = {"data": {"kind": "images"}, "diffusion": {"schedule": {"kind": "vp", "beta_max": 8.0}}}
    return RunConfig.from_dict(tiny_settings | settings | {"generator": tiny_settings["generator"] | small})


@pytest.mark.parametrize("size", [8, 16, 32])
def test_the_size_is_that_at_which_the_presets_attention_is_where_the_file_has_it(
    size: int, tiny_settings: dict[str, Any]
) -> None:
    preset = preset_of(tiny_settings)
    assert isinstance(preset.generator, NCSNppConfig)
    checkpoint = Checkpoint("generator", tensors_of(preset.generator, (1, size, size)))
    model = to_model(checkpoint, preset)
    assert (model.sample_shape, model.config) == ((1, size, size), preset)
    with pytest.raises(ValueError, match=rf"attention at \[{2 * size // (size // 8)}\] pixels instead of"):
        to_model(checkpoint, preset, SamplingSettings(image_size=2 * size))
    told = RunConfig.load(preset, {"data.size": size, "data.channels": 3})
    with pytest.raises(ValueError, match="image channels 1 instead of 3"):
        to_model(checkpoint, told)
    told = RunConfig.load(preset, {"data.size": size})
    assert to_model(checkpoint, told).config == told


def test_a_size_that_nothing_says_must_be_given(tiny_settings: dict[str, Any]) -> None:
    preset = preset_of(tiny_settings, attention_resolutions=[])
    assert isinstance(preset.generator, NCSNppConfig)
    checkpoint = Checkpoint("generator", tensors_of(preset.generator, (3, 16, 16)))
    with pytest.raises(ValueError, match="does not give the size of its images; pass --preset NAME or --im"):
        to_model(checkpoint, preset)
    assert to_model(checkpoint, preset, SamplingSettings(image_size=16)).sample_shape == (3, 16, 16)


def test_overrides_go_before_the_preset_and_another_schedule_has_its_own_numbers(
    tiny_settings: dict[str, Any],
) -> None:
    preset = preset_of(tiny_settings)
    assert isinstance(preset.generator, NCSNppConfig)
    checkpoint = Checkpoint("generator", tensors_of(preset.generator, (3, 16, 16)))

    def schedule(**overrides: Any) -> Any:
        return to_model(checkpoint, preset, SamplingSettings(**overrides)).config.diffusion.schedule

    assert schedule() == VPConfig(beta_max=8.0)
    assert schedule(beta_min=0.2) == VPConfig(beta_min=0.2, beta_max=8.0)
    assert schedule(schedule="geometric") == GeometricConfig()
    assert to_model(checkpoint, preset, SamplingSettings(num_steps=7)).nfe == 7
    with pytest.raises(ValueError, match="beta_max is 8"):
        schedule(schedule="geometric", beta_max=8.0)


def test_a_converted_model_keeps_the_presets_data_and_knows_no_classes(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = tiny_settings | {"conditions": {"label": {"classes": 10}}, "data": {"kind": "digits"}}
    preset = RunConfig.from_dict(settings)
    assert isinstance(preset.generator, NCSNppConfig)
    checkpoint = Checkpoint("generator", tensors_of(preset.generator, (3, 8, 8)))
    model = to_model(checkpoint, preset, SamplingSettings(image_size=8))
    assert (model.config.data, model.num_classes) == (preset.data, 0)
    again = ddgan.load(model.save(tmp_path / "x.safetensors"))
    assert again.config == model.config
    assert torch.equal(again.sample(2, seed=1), model.sample(2, seed=1))


@pytest.mark.parametrize("method", OTHERS)
def test_presets_of_other_methods_are_refused_by_name(method: str) -> None:
    preset = config_of(method)
    assert isinstance(preset.generator, NCSNppConfig)
    config = replace(preset.generator, latent_size=4)
    checkpoint = Checkpoint("generator", tensors_of(config, (3, 8, 8)))
    with pytest.raises(ValueError, match=f"method is {method}, but the file holds a denoising diffusion GAN"):
        to_model(checkpoint, preset, SamplingSettings(image_size=8))


def test_the_same_model_is_the_same_published_file(model: DDGAN, tmp_path: Path) -> None:
    """Under any name: torch.save would write the name of the file into it."""
    for name in ("a.pth", "another.pth", "ä.pth"):
        save_published(model, tmp_path / name)
    first, *others = (path.read_bytes() for path in tmp_path.iterdir())
    assert others == [first, first]
    state = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(state) == list(published_tensors(model))


# --- inspection -------------------------------------------------------------------------------------


def inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert main(["convert", "--inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:32].strip(): line[33:] for line in lines}


@helpers.needs(ENTRY, "generator_cifar10", "discriminator_small_ngf16")
def test_inspection_says_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = helpers.table()["generator_cifar10"]["tensors"]
    bare = saved({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "netG.pth")
    told = inspected(bare, capsys)
    assert told["kind"] == "published generator"
    assert told["parameters"] == "48,432,515"
    assert told["base channels"] == "128 x 1, 2, 2, 2"
    assert told["attention at"] == "1/2 of the size"
    assert told["num steps"] == "not in the file"
    assert told["presets with this generator"] == "cifar10, stackedmnist"
    assert told["licence"] == LICENSE

    told = inspected(saved(content(published(), **reference_settings()), tmp_path / "content.pth"), capsys)
    assert told["kind"] == "published training state"
    assert (told["epoch"], told["global_step"]) == ("1200", "234000")
    assert told["EMA of the weights"] == "yes"
    assert (told["num steps"], told["image size"]) == ("4", "16")

    shapes = helpers.table()["discriminator_small_ngf16"]["tensors"]
    other = saved({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "netD.pth")
    assert inspected(other, capsys)["kind"] == "published discriminator"
    with pytest.raises(ValueError, match="holds a discriminator"):
        to_model(read_checkpoint(other), "cifar10")


def test_inspection_knows_our_own_files(
    model: DDGAN, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = inspected(model.save(tmp_path / "x.safetensors"), capsys)
    assert (told["kind"], told["sample"], told["licence"]) == ("model of ddgan", "3 x 8 x 8", "not stated")
