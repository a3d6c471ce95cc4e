"""Configurations survive YAML; mistakes are answered in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan.config.run_config import RunConfig, preset_names, read_settings


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
