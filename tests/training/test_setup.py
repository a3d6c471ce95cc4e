"""The inputs of an iteration: which conditions networks get, what is dropped, and how it is stored."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import ddgan
from ddgan import RunConfig
from ddgan.config.settings import SettingError
from ddgan.data.batch import Batch, Dataset
from ddgan.data.toy import SPREAD, centres
from ddgan.networks.axes import is_channels_last
from ddgan.networks.conditions import Condition, ConditionShapes, with_presence
from ddgan.system.randomness import ImageNoise
from ddgan.training.estimate import estimate, operations
from ddgan.training.setup import resolved, training_inputs
from steps import ALONE, untimed
from tiny import TINY_DIGITS

ALL: dict[str, Any] = {"label": {}, "vector": {}, "image": {}}
SIZES = {"signals": [32], "images": [12, 20], "volumes": [4, 8, 12]}


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "outside"))
    __import__("own_conditions")


def config_of(sizes: list[int], conditions: dict[str, Any], **changes: Any) -> RunConfig:
    data = {"kind": "waves", "sizes": sizes}
    return RunConfig.from_dict(TINY_DIGITS | {"data": data, "conditions": conditions}).changed(changes)


def opened(config: RunConfig) -> tuple[RunConfig, Dataset]:
    dataset = config.data.open(config.seed)
    return resolved(config, dataset), dataset


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize("kind", SIZES)
def test_runs_of_any_shape_and_condition_resume_to_the_bit(kind: str, tmp_path: Path) -> None:
    marginal = {"kind": "mlp", "hidden_features": 8, "time_features": 8, "conditioning": "embedding"}
    config = config_of(
        SIZES[kind],
        ALL,
        **{
            "method.discriminators.marginal": marginal,
            "training.num_iterations": 4,
            "training.keep_every": 2,
            "training.channels_last": True,
            "training.accumulation": 2,
        },
    )
    whole = ddgan.train(config, tmp_path / "whole", verbose=False)
    assert whole.model.conditions == ConditionShapes(len(SIZES[kind]), 1, 1)
    assert whole.model.sample_shape == (1, *SIZES[kind])
    part = shutil.copytree(whole.path, tmp_path / "part")
    shutil.rmtree(part / "checkpoints" / "step-00000004")
    resumed = ddgan.resume(part, verbose=False)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert untimed(whole.path) == untimed(resumed.path)
    again = ddgan.load(whole.model.save(tmp_path / "x.safetensors"))
    assert torch.equal(again.sample(2), whole.model.sample(2))


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("innermost", [False, True])
def test_memory_and_operations_of_any_shape_are_estimated(kind: str, innermost: bool) -> None:
    config, dataset = opened(config_of(SIZES[kind], ALL, **{"training.channels_last": innermost}))
    found = estimate(config, dataset.sample_shape)
    more = estimate(config.changed({"training.batch_size": 32}), dataset.sample_shape)
    assert more.iteration_bytes > 2 * found.iteration_bytes
    assert operations(config, dataset.sample_shape) > 1e5


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize("name", ["label", "vector", "image"])
def test_networks_get_the_conditions_of_the_settings_alone(name: str) -> None:
    config, dataset = opened(config_of([32], {name: {"dropout": 0.0}}))
    sizes = dict(zip(Condition._fields, dataset.conditions, strict=True))
    wanted = [sizes[part] if part == name else 0 for part in Condition._fields]
    assert list(config.conditions.shapes) == wanted
    batch, _ = training_inputs(config, dataset, ALONE)(3)
    data = dataset.batch(3, config.training.batch_size).condition
    assert batch.condition is not None
    assert data is not None
    for part in Condition._fields:
        assert (getattr(batch.condition, part) is None) == (part != name)
    assert torch.equal(getattr(batch.condition, name), getattr(data, name))


@pytest.mark.usefixtures("waves")
def test_parts_of_equal_dropout_are_dropped_together_and_by_step_alone() -> None:
    """One number per sample decides: an image, which is dropped more often, is so wherever the others are."""
    dropout = {"label": {"dropout": 0.3}, "vector": {"dropout": 0.3}, "image": {"dropout": 0.6}}
    config, dataset = opened(config_of([32], dropout, **{"training.batch_size": 2000}))
    inputs = training_inputs(config, dataset, ALONE)
    condition = inputs(5)[0].condition
    assert condition is not None
    label, vector, image = (
        condition.label == 1,
        condition.vector[:, -1] == 0,
        (condition.image[:, -1] == 0).all(dim=1),
    )
    assert torch.equal(label, vector)
    assert not (label & ~image).any()
    assert float(label.double().mean()) == pytest.approx(0.3, abs=0.05)
    assert float(image.double().mean()) == pytest.approx(0.6, abs=0.05)
    again = inputs(5)[0].condition
    other = inputs(6)[0].condition
    assert again is not None
    assert other is not None
    assert torch.equal(again.image, condition.image)
    assert not torch.equal(other.image[:, -1], condition.image[:, -1])


@pytest.mark.usefixtures("waves")
def test_labels_are_dropped_as_they_were_alone() -> None:
    """The numbers that decide about labels are the same with other conditions beside, and without."""
    found = []
    for conditions in ({"label": {"dropout": 0.5}}, ALL | {"label": {"dropout": 0.5}}):
        config, dataset = opened(config_of([4, 6], conditions, **{"training.batch_size": 64}))
        batch, _ = training_inputs(config, dataset, ALONE)(0)
        found.append(batch.label)
    assert torch.equal(*found)
    assert 15 < int((found[0] == 2).sum()) < 49


@pytest.mark.usefixtures("waves")
def test_samples_and_image_conditions_are_stored_alike() -> None:
    for kind in ("images", "volumes"):
        config, dataset = opened(config_of(SIZES[kind], ALL, **{"training.channels_last": True}))
        batch, _ = training_inputs(config, dataset, ALONE)(0)
        assert batch.condition is not None
        assert is_channels_last(batch.x)
        assert is_channels_last(batch.condition.image)


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"vector": {"features": 3}}, "vector.features is 3, but waves has vectors of 1 features; set it"),
        ({"image": {"channels": 3}}, "image.channels is 3, but waves has image conditions of 1 channels; "),
        ({"label": {"classes": 1}}, "label.classes is 1, but waves has 2 classes; set it to auto, or leave"),
    ],
)
def test_sizes_that_the_data_does_not_have_are_refused(conditions: dict[str, Any], words: str) -> None:
    config = config_of([4, 6], conditions)
    with pytest.raises(SettingError, match=rf"^conditions\.{words}"):
        opened(config)


@pytest.mark.parametrize(("name", "what"), [("vector", "vectors"), ("image", "image conditions")])
def test_conditions_that_the_data_lacks_are_refused(tiny_config: RunConfig, name: str, what: str) -> None:
    config = tiny_config.changed({f"conditions.{name}": {}})
    words = rf"^conditions.{name} is set, but digits has no {what}; leave it out$"
    with pytest.raises(SettingError, match=words):
        opened(config)


@pytest.mark.usefixtures("waves")
@pytest.mark.parametrize(("name", "shape"), [("vector", "[8, 1], not [8, 2]"), ("image", "[8, 1, 32], not")])
def test_data_that_forgets_the_presence_is_told_so(
    name: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, dataset = opened(config_of([32], ALL))
    batch = dataset.batch(0, 8)
    assert batch.condition is not None
    bare = batch.condition._replace(**{name: getattr(batch.condition, name)[:, :-1]})
    monkeypatch.setattr(type(dataset), "batch", lambda *_: Batch(batch.x, bare))
    words = f"the {name} condition of a batch has shape {shape}"
    with pytest.raises(ValueError, match=re.escape(words) + ".*with_presence"):
        training_inputs(config, dataset, ALONE)(0)


def test_a_vector_is_followed(tmp_path: Path) -> None:
    """In seconds, draws are at the centre that was asked for; without a vector they are everywhere."""
    config = RunConfig.load("gaussians").changed(
        {
            "data.condition": "centre",
            "conditions.vector": {},
            "generator.hidden_features": 128,
            "generator.num_blocks": 2,
            "method.discriminators.pair.hidden_features": 64,
            "optimization.ema.decay": 0.95,
            "training.num_iterations": 300,
            "training.batch_size": 128,
            "training.score_samples": 0,
            "training.device": "cpu",
        }
    )
    model = ddgan.train(config, tmp_path / "run", verbose=False).model
    asked = centres().repeat_interleave(20, dim=0)
    noise = ImageNoise(0, range(len(asked)), torch.device("cpu"))
    with torch.no_grad():
        drawn = model.generate(noise, Condition(vector=with_presence(asked)))
        nearest = torch.cdist(drawn, centres()).argmin(dim=1)
        anywhere = torch.cdist(model.generate(noise, None), centres()).argmin(dim=1)
    number = torch.arange(25).repeat_interleave(20)
    assert float((nearest == number).double().mean()) > 0.95
    assert float(((drawn - asked).norm(dim=1) < 3 * SPREAD).double().mean()) > 0.8
    assert len(anywhere.unique()) > 12
    assert float((anywhere == number).double().mean()) < 0.2
