"""Configurations survive YAML; mistakes are answered in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan.config.overrides import dotted
from ddgan.config.presets import preset_names, read_settings
from ddgan.config.run_config import SECTIONS, RunConfig


@settings(max_examples=15, deadline=None)
@given(
    lr=st.floats(1e-12, 100),
    beta_min=st.floats(1e-6, 0.99),
    seed=st.integers(0, 2**63 - 1),
    multipliers=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    penalties=st.lists(
        st.fixed_dictionaries({"kind": st.sampled_from(["r1", "r2"]), "gamma": st.floats(1e-6, 1e6)}),
        max_size=2,
    ),
    optimizer=st.sampled_from(["adam", "adamw", "sgd"]),
)
def test_any_configuration_survives_yaml(
    lr: float,
    beta_min: float,
    seed: int,
    multipliers: list[int],
    penalties: list[dict[str, Any]],
    optimizer: str,
) -> None:
    config = RunConfig.from_dict(
        {
            "seed": seed,
            "generator": {"kind": "ncsnpp", "channel_multipliers": multipliers},
            "diffusion": {"schedule": {"kind": "vp", "beta_min": beta_min}},
            "method": {"kind": "denoising_gan", "penalties": penalties},
            "optimization": {"generator": {"kind": optimizer, "lr": lr}},
        }
    )
    assert config.optimization.generator.lr == lr
    assert config.generator.channel_multipliers == tuple(multipliers)
    assert RunConfig.from_dict(yaml.safe_load(config.to_yaml())) == config
    assert RunConfig.load(config, dict(dotted(config.to_dict()))) == config


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAMES = [name for name, _ in dotted(RunConfig().to_dict())] + [*SECTIONS, "training.zebra", "zebra", "a.b.c"]


@settings(max_examples=150, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(NAMES), ANYTHING, min_size=1, max_size=3))
def test_any_change_gives_a_configuration_or_one_line(changes: dict[str, Any]) -> None:
    """Whatever is given to any setting; what passes is what YAML can hold."""
    complaint, config = "", RunConfig()
    try:
        config = config.changed(changes)
    except ValueError as error:
        complaint = str(error) or "\n"
    assert "\n" not in complaint
    if not complaint:
        assert RunConfig.from_dict(yaml.safe_load(config.to_yaml())) == config


def method(**settings: Any) -> dict[str, Any]:
    return {"method": {"kind": "denoising_gan", **settings}}


def ncsnpp(**settings: Any) -> dict[str, Any]:
    return {"generator": {"kind": "ncsnpp", **settings}}


def resnet(**settings: Any) -> dict[str, Any]:
    return method(discriminators={"pair": {"kind": "resnet", **settings}})


def adam(**settings: Any) -> dict[str, Any]:
    return {"optimization": {"generator": {"kind": "adam", **settings}}}


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"trainig": {"batch_size": 4}}, ["trainig is not a setting", "did you mean training"]),
    ({"zebra": 1}, ["zebra is not a setting", "the settings are data, conditions"]),
    (
        {"diffusion": {"num_step": 3}},
        ["diffusion.num_step is not a setting; did you mean diffusion.num_steps"],
    ),
    ({"training": {"zebra": 3}}, ["training.zebra", "the settings are batch_size"]),
    (
        method(penalties=[{"kind": "r1", "gama": 1}]),
        ["method.penalties.0.gama", "did you mean method.penalties.0.gamma"],
    ),
    ({"diffusion": {"num_steps": "many"}}, ["diffusion.num_steps is 'many'; it must be a whole number"]),
    ({"diffusion": {"num_steps": 2.5}}, ["num_steps is 2.5; it must be a whole number"]),
    ({"diffusion": {"num_steps": None}}, ["diffusion.num_steps is None"]),
    ({"diffusion": {"num_steps": True}}, ["diffusion.num_steps is True; it must be a whole number"]),
    (method(penalties=None), ["method.penalties is None; it must be a list"]),
    ({"training": {"compile": "perhaps"}}, ["training.compile is 'perhaps'; it must be true or false"]),
    (ncsnpp(channel_multipliers=2), ["generator.channel_multipliers is 2; it must be a list"]),
    (adam(betas=[0.5]), ["optimization.generator.betas"]),
    ({"seed": "one"}, ["seed is 'one'; it must be a whole number"]),
    ({"diffusion": {"schedule": "linear"}}, ["diffusion.schedule.kind is 'linear'", "geometric, vp"]),
    (method(adversarial="cosine"), ["method.adversarial.kind is 'cosine'", "nonsaturating, relativistic"]),
    ({"training": {"device": "abacus"}}, ["training.device is 'abacus'", "cpu"]),
    ({"generator": {"kind": "vit"}}, ["generator.kind is 'vit'", "mlp, ncsnpp"]),
    (method(discriminators={"pair": {"kind": "vit"}}), ["discriminators.pair.kind is 'vit'", "mlp, resnet"]),
    ({"generator": {"kind": "mlp", "image_channels": 3}}, ["generator.image_channels is not a setting"]),
    ({"generator": {"kind": ["mlp"]}}, ["generator.kind is ['mlp']", "mlp, ncsnpp"]),
    ({"generator": {"base_channels": 8}}, ["generator.kind is missing; it must be one of mlp, ncsnpp"]),
    ({"generator": 3}, ["generator is 3", "mapping"]),
    ({"training": [1, 2]}, ["training is [1, 2]", "mapping"]),
    ({"optimization": None}, ["optimization is None", "mapping"]),
    ({"seed": -1}, ["seed is -1; it must be at least 0"]),
    ({"seed": 2**63}, ["seed is 9223372036854775808; it must be below"]),
    ({"conditions": {"label": {"classes": 0}}}, ["conditions.label.classes is 0", "at least 1", "auto"]),
    ({"conditions": {"label": {"classes": "many"}}}, ["conditions.label.classes is 'many'", "auto"]),
    ({"conditions": {"label": {"dropout": 1.5}}}, ["label.dropout is 1.5; it must be at most 1"]),
    ({"diffusion": {"num_steps": 0}}, ["diffusion.num_steps is 0; it must be at least 1"]),
    ({"diffusion": {"num_steps": 10**9}}, ["diffusion.num_steps is 1000000000; it must be at most"]),
    ({"diffusion": {"schedule": {"kind": "vp", "beta_min": 30}}}, ["beta_min", "beta_max"]),
    ({"diffusion": {"schedule": {"kind": "geometric", "beta_max": 20}}}, ["beta_max is 20", "below 1"]),
    (ncsnpp(channel_multipliers=[]), ["channel_multipliers is []; it must have at least 1"]),
    (ncsnpp(base_channels=33), ["base_channels is 33", "even"]),
    (ncsnpp(base_channels=10**6), ["base_channels is 1000000; it must be at most 4,096"]),
    (ncsnpp(latent_size=-1), ["generator.latent_size is -1; it must be at least 0"]),
    (resnet(downsample=[True]), ["downsample", "channel_multipliers"]),
    (resnet(time_features=7), ["time_features is 7", "even"]),
    (method(penalties=[{"kind": "r1", "gamma": -1}]), ["penalties.0.gamma is -1; it must be above 0"]),
    (method(penalties=[{"kind": "r1", "every": 0}]), ["penalties.0.every is 0; it must be at least 1"]),
    (method(reconstruction={"kind": "l1", "weight": 0}), ["reconstruction.weight is 0; it must be above 0"]),
    (adam(lr=0), ["optimization.generator.lr is 0; it must be above 0"]),
    (adam(lr=1000), ["optimization.generator.lr is 1000; it must be at most 100"]),
    (adam(lr=float("nan")), ["lr is nan", "finite"]),
    (method(penalties=[{"kind": "r1", "gamma": float("inf")}]), ["gamma is inf", "finite"]),
    ({"diffusion": {"schedule": {"kind": "vp", "beta_max": float("inf")}}}, ["beta_max is inf", "finite"]),
    ({"optimization": {"ema": {"decay": 1}}}, ["optimization.ema.decay is 1; it must be below 1"]),
    (adam(betas=[0.5, 1.5]), ["betas.1 is 1.5; it must be below 1"]),
    ({"optimization": {"decay_every": 0}}, ["decay_every is 0; it must be at least 1"]),
    ({"training": {"batch_size": 0}}, ["training.batch_size is 0; it must be at least 1"]),
    ({"training": {"batch_size": 10**8}}, ["training.batch_size is 100000000; it must be at most"]),
    ({"training": {"num_iterations": -5}}, ["num_iterations is -5; it must be at least 1"]),
    ({"training": {"score_samples": -1}}, ["score_samples is -1; it must be at least 0"]),
    (
        {
            "diffusion": {"prediction": "x_prev"},
            **ncsnpp(tanh=False),
            **method(reconstruction={"kind": "l1"}),
        },
        ["reconstruction", "x_prev"],
    ),
    (
        {"diffusion": {"prediction": "noise"}},
        ["diffusion.prediction is noise", "not bounded", "set generator.tanh to false"],
    ),
    ({"diffusion": {"prediction": "x_prev"}}, ["prediction is x_prev", "set generator.tanh to false"]),
    ({"objective": {"adversarial": "hinge"}}, ["a configuration of ddgan 0.1 (it has objective)"]),
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


@pytest.mark.parametrize(("source", "meant"), [("digitz", "digits"), ("cifar-10", "cifar10")])
def test_a_preset_that_was_meant_is_suggested(source: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"'{source}' is neither .*; did you mean {meant}\?$"):
        read_settings(source)
    with pytest.raises(ValueError, match=r"nor a configuration file$"):
        read_settings("photos/")


def test_load_takes_a_configuration_a_name_and_a_path(tmp_path: Path) -> None:
    config = dataclasses.replace(RunConfig.load("gaussians"), seed=9)
    path = tmp_path / "mine.yaml"
    path.write_text(config.to_yaml())
    assert RunConfig.load(config) is config
    assert RunConfig.load(path) == RunConfig.load(str(path)) == config
