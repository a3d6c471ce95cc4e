"""Presets hold the paper's numbers; configurations survive YAML; mistakes are answered in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan.config import RunConfig, preset_names, read_settings
from ddgan.data import EMBEDDED
from ddgan.losses import PenaltyConfig
from ddgan.networks import NCSNppConfig, ResNetDiscriminatorConfig, build_discriminator, build_generator

SMALL_G = NCSNppConfig(
    image_size=32,
    image_channels=3,
    base_channels=128,
    channel_multipliers=(1, 2, 2, 2),
    num_blocks=2,
    attention_resolutions=(16,),
    latent_size=100,
    mapping_features=256,
    mapping_depth=4,
    tanh=True,
)
LARGE_G = dataclasses.replace(
    SMALL_G, image_size=256, base_channels=64, channel_multipliers=(1, 1, 2, 2, 4, 4), mapping_depth=3
)
SMALL_D = ResNetDiscriminatorConfig(
    base_channels=128,
    channel_multipliers=(1, 2, 4, 4),
    downsample=(False, True, True, True),
    time_features=256,
    stddev_group=4,
)
LARGE_D = dataclasses.replace(SMALL_D, channel_multipliers=(2, 4, 4, 4, 4, 4), downsample=(True,) * 6)
SMALL_COUNTS, LARGE_COUNTS = (48_432_515, 12_741_633), (39_726_979, 27_737_217)

# The paper's released settings. Iterations are epochs x (images // batch size), the learning rate
# changes once per epoch: 50,000, 27,000, 120,000 and 120,000 images.
PAPER: dict[str, dict[str, Any]] = {
    "cifar10": {
        "networks": (SMALL_G, SMALL_D, *SMALL_COUNTS),
        "num_steps": 4,
        "learning_rates": (1.6e-4, 1.25e-4),
        "r1": (0.02, 15),
        "ema_decay": 0.9999,
        "batch_size": 4 * 64,
        "decay_every": 50_000 // 256,
        "num_iterations": 351_000,
        "horizontal_flip": True,
    },
    "celebahq256": {
        "networks": (LARGE_G, LARGE_D, *LARGE_COUNTS),
        "num_steps": 2,
        "learning_rates": (2e-4, 1e-4),
        "r1": (2.0, 10),
        "ema_decay": 0.9999,
        "batch_size": 8 * 4,
        "decay_every": 27_000 // 32,
        "num_iterations": 800 * (27_000 // 32),
        "horizontal_flip": True,
    },
    "lsun_church256": {
        "networks": (LARGE_G, LARGE_D, *LARGE_COUNTS),
        "num_steps": 4,
        "learning_rates": (1.6e-4, 1e-4),
        "r1": (1.0, 10),
        "ema_decay": 0.999,
        "batch_size": 8 * 8,
        "decay_every": 120_000 // 64,
        "num_iterations": 500 * (120_000 // 64),
        "horizontal_flip": True,
    },
    "stackedmnist": {
        "networks": (SMALL_G, SMALL_D, *SMALL_COUNTS),
        "num_steps": 4,
        "learning_rates": (1.6e-4, 1.25e-4),
        "r1": (0.02, 15),
        "ema_decay": 0.9999,
        "batch_size": 4 * 64,
        "decay_every": 120_000 // 256,
        "num_iterations": 351_000,
        "horizontal_flip": False,
    },
}


def num_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_builds_its_networks_and_survives_yaml(name: str) -> None:
    config = RunConfig.load(name)
    with torch.device("meta"):
        generator = build_generator(config.generator)
        discriminator = build_discriminator(config.discriminator, config.generator.state_shape)
    assert num_parameters(generator) > 0
    assert num_parameters(discriminator) > 0
    assert RunConfig.from_dict(config.to_dict()) == config
    assert RunConfig.from_dict(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize("name", PAPER)
def test_paper_presets_hold_the_papers_numbers(name: str) -> None:
    paper, config = PAPER[name], RunConfig.load(name)
    assert config.generator == paper["networks"][0]
    assert config.discriminator == paper["networks"][1]
    assert config.diffusion.num_steps == paper["num_steps"]
    assert (config.diffusion.schedule, config.diffusion.prediction) == ("vp", "x_0")
    assert (config.diffusion.beta_min, config.diffusion.beta_max) == (0.1, 20.0)
    optimization = config.optimization
    assert (optimization.generator_lr, optimization.discriminator_lr) == paper["learning_rates"]
    assert (optimization.betas, optimization.final_lr) == ((0.5, 0.9), 1e-5)
    assert (optimization.ema_decay, optimization.decay_every) == (paper["ema_decay"], paper["decay_every"])
    gamma, every = paper["r1"]
    assert config.objective.adversarial == "nonsaturating"
    assert config.objective.penalties == (PenaltyConfig("r1", gamma, every, scaled=False),)
    assert config.objective.reconstruction == "none"
    for field in ("batch_size", "num_iterations", "horizontal_flip"):
        assert getattr(config.training, field) == paper[field], field


@pytest.mark.parametrize("name", PAPER)
def test_paper_presets_have_the_published_parameter_counts(name: str) -> None:
    config = RunConfig.load(name)
    with torch.device("meta"):
        generator = build_generator(config.generator)
        discriminator = build_discriminator(config.discriminator, config.generator.state_shape)
    assert (num_parameters(generator), num_parameters(discriminator)) == PAPER[name]["networks"][2:]


@pytest.mark.parametrize("name", ["digits_quick", "digits", "gaussians"])
def test_our_own_presets_train_on_embedded_data(name: str) -> None:
    config = RunConfig.load(name)
    assert config.data == name.removesuffix("_quick")
    assert config.generator.state_shape == EMBEDDED[config.data].state_shape
    assert config.training.score_samples == 26_000  # the paper's N for StackedMNIST
    assert not config.training.horizontal_flip


def test_defaults_are_the_paper_for_cifar10() -> None:
    """All but what a default cannot know: the length of an epoch, and what makes U-Nets fast."""
    default = RunConfig()
    default = dataclasses.replace(
        default,
        optimization=dataclasses.replace(default.optimization, decay_every=195),
        training=dataclasses.replace(default.training, precision="auto", channels_last=True),
    )
    assert RunConfig.load("cifar10") == default


@settings(max_examples=15, deadline=None)
@given(
    lr=st.floats(1e-12, 1e3),
    beta_min=st.floats(1e-6, 0.99),
    seed=st.integers(0, 2**63),
    multipliers=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    penalties=st.lists(
        st.fixed_dictionaries({"kind": st.sampled_from(["r1", "r2"]), "gamma": st.floats(1e-9, 1e9)}),
        max_size=2,
    ),
)
def test_any_configuration_survives_yaml(
    lr: float, beta_min: float, seed: int, multipliers: list[int], penalties: list[dict[str, Any]]
) -> None:
    config = RunConfig.from_dict(
        {
            "seed": seed,
            "generator": {"channel_multipliers": multipliers},
            "diffusion": {"beta_min": beta_min},
            "objective": {"penalties": penalties},
            "optimization": {"generator_lr": lr},
        }
    )
    assert config.optimization.generator_lr == lr
    assert config.generator.channel_multipliers == tuple(multipliers)
    assert RunConfig.from_dict(yaml.safe_load(config.to_yaml())) == config


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"trainig": {"batch_size": 4}}, ["trainig", "did you mean training"]),
    ({"zebra": 1}, ["zebra", "sections are generator"]),
    ({"diffusion": {"num_step": 3}}, ["num_step", "did you mean diffusion.num_steps"]),
    ({"training": {"zebra": 3}}, ["zebra", "training takes batch_size"]),
    ({"objective": {"penalties": [{"kind": "r1", "gama": 1}]}}, ["gama"]),
    ({"diffusion": {"num_steps": "many"}}, ["num_steps", "many", "int"]),
    ({"diffusion": {"num_steps": 2.5}}, ["num_steps", "2.5", "int"]),
    ({"diffusion": {"num_steps": None}}, ["diffusion.num_steps", "leave it out"]),
    ({"objective": {"penalties": None}}, ["objective.penalties", "leave it out"]),
    ({"training": {"horizontal_flip": "perhaps"}}, ["horizontal_flip", "bool"]),
    ({"generator": {"channel_multipliers": 2}}, ["channel_multipliers", "tuple"]),
    ({"optimization": {"betas": [0.5]}}, ["betas"]),
    ({"seed": "one"}, ["seed", "int"]),
    ({"diffusion": {"schedule": "linear"}}, ["schedule", "vp", "geometric"]),
    ({"objective": {"adversarial": "hinge"}}, ["adversarial", "relativistic"]),
    ({"training": {"device": "abacus"}}, ["device", "cpu"]),
    ({"generator": {"kind": "vit"}}, ["generator.kind", "vit", "ncsnpp, mlp"]),
    ({"discriminator": {"kind": "vit"}}, ["discriminator.kind", "vit", "resnet, mlp"]),
    ({"generator": {"kind": "mlp", "image_channels": 3}}, ["image_channels", "state_shape"]),
    ({"generator": {"kind": ["mlp"]}}, ["generator.kind", "ncsnpp, mlp"]),
    ({"generator": 3}, ["generator", "mapping"]),
    ({"training": [1, 2]}, ["training", "mapping"]),
    ({"optimization": None}, ["optimization", "mapping"]),
    ({"seed": -1}, ["seed is -1", "0 or more"]),
    ({"num_classes": -1}, ["num_classes is -1", "auto"]),
    ({"num_classes": "many"}, ["num_classes", "auto"]),
    ({"training": {"label_dropout": 1.5}}, ["label_dropout is 1.5", "0..1"]),
    ({"diffusion": {"num_steps": 0}}, ["diffusion.num_steps is 0", "at least 1"]),
    ({"diffusion": {"beta_min": 30}}, ["beta_min", "0 < beta_min < beta_max"]),
    ({"diffusion": {"schedule": "geometric"}}, ["beta_max is 20", "below 1"]),
    ({"generator": {"image_size": 30}}, ["image_size is 30", "multiple of 8"]),
    ({"generator": {"channel_multipliers": []}}, ["channel_multipliers", "at least one"]),
    ({"generator": {"base_channels": 33}}, ["base_channels is 33", "even"]),
    ({"generator": {"latent_size": -1}}, ["latent_size is -1", "0 or more"]),
    ({"discriminator": {"downsample": [True]}}, ["downsample has 1", "one per block"]),
    ({"discriminator": {"time_features": 7}}, ["time_features is 7", "even"]),
    ({"objective": {"penalties": [{"gamma": -1}]}}, ["gamma is -1", "above 0"]),
    ({"objective": {"penalties": [{"every": 0}]}}, ["every is 0", "at least 1"]),
    ({"objective": {"reconstruction_weight": 0}}, ["reconstruction_weight is 0", "above 0"]),
    ({"optimization": {"generator_lr": 0}}, ["generator_lr is 0", "above 0"]),
    ({"optimization": {"generator_lr": float("nan")}}, ["generator_lr is nan", "finite"]),
    ({"objective": {"penalties": [{"gamma": float("inf")}]}}, ["gamma is inf", "finite"]),
    ({"diffusion": {"beta_max": float("inf")}}, ["beta_max is inf", "finite"]),
    ({"optimization": {"ema_decay": 1}}, ["ema_decay is 1", "[0, 1)"]),
    ({"optimization": {"betas": [0.5, 1.5]}}, ["betas", "[0, 1)"]),
    ({"optimization": {"decay_every": 0}}, ["decay_every is 0", "at least 1"]),
    ({"training": {"batch_size": 0}}, ["batch_size is 0", "at least 1"]),
    ({"training": {"num_iterations": -5}}, ["num_iterations is -5", "at least 1"]),
    ({"training": {"score_samples": -1}}, ["score_samples is -1", "0 or more"]),
    (
        {
            "diffusion": {"prediction": "x_prev"},
            "generator": {"tanh": False},
            "objective": {"reconstruction": "l1"},
        },
        ["reconstruction", "x_prev", "none"],
    ),
    ({"diffusion": {"prediction": "noise"}}, ["prediction noise", "not bounded", "generator.tanh to false"]),
    ({"diffusion": {"prediction": "x_prev"}}, ["prediction x_prev", "generator.tanh to false"]),
]


@pytest.mark.parametrize(("mistake", "words"), WRONG, ids=[str(mistake) for mistake, _ in WRONG])
def test_mistakes_are_answered_in_one_line_with_the_rule(mistake: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        RunConfig.from_dict(mistake)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("mistake", [[], "text", 3, None])
def test_a_configuration_is_a_mapping(mistake: Any) -> None:
    with pytest.raises(ValueError, match="mapping of sections"):
        RunConfig.from_dict(mistake)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"training: {batch_size: 4", "is not valid YAML"),
        (b"a: b: c", "is not valid YAML"),
        (b"training:\n\tbatch_size: 4", "is not valid YAML"),
        (b"\x00\x01\xff\xfe", "is not valid YAML"),
        (b"- 1\n- 2\n", "not a mapping of sections"),
        (b"just words", "not a mapping of sections"),
        (b"!!python/object/apply:os.getcwd []", "is not valid YAML"),
    ],
)
def test_bad_yaml_is_answered_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        RunConfig.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert RunConfig.load(path) == RunConfig()


@pytest.mark.parametrize("source", ["no_such_preset", "no/such/file.yaml", "", "."])
def test_an_unknown_source_lists_the_presets(source: str) -> None:
    with pytest.raises(ValueError, match="neither a preset") as caught:
        read_settings(source)
    assert all(name in str(caught.value) for name in preset_names())


def test_load_takes_a_configuration_a_name_and_a_path(tmp_path: Path) -> None:
    config = dataclasses.replace(RunConfig.load("gaussians"), seed=9)
    path = tmp_path / "mine.yaml"
    path.write_text(config.to_yaml())
    assert RunConfig.load(config) is config
    assert RunConfig.load(path) == RunConfig.load(str(path)) == config
