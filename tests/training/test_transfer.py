"""Starting from a trained model: what fits is taken, adapted so that functions are kept, and told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.config.components import make
from ddgan.networks.conditions import Condition, ConditionShapes, with_presence
from ddgan.training.setup import create_state
from ddgan.training.transfer import Sizes, Transfer, levels, transfer, warm_start
from steps import ALONE, changed, fresh

UNET = {
    "kind": "ncsnpp",
    "base_channels": 8,
    "channel_multipliers": [1, 2],
    "num_blocks": 1,
    "attention_resolutions": [8],
    "latent_size": 4,
    "mapping_features": 8,
    "mapping_depth": 1,
    "tanh": False,
}
MLP = {"kind": "mlp", "hidden_features": 16, "num_blocks": 2, "time_features": 8, "num_frequencies": 2}
MLP |= {"latent_size": 4}
D_MLP = {"kind": "mlp", "hidden_features": 16, "time_features": 8, "num_frequencies": 1}
RESNET = {
    "kind": "resnet",
    "base_channels": 8,
    "channel_multipliers": [1, 2],
    "downsample": [False, True],
    "time_features": 8,
}
GENERATORS: dict[str, dict[str, Any]] = {
    "ncsnpp": UNET,
    "mlp": MLP,
    "subbands of ncsnpp": {"kind": "subbands", "network": UNET},
    "unshuffled mlp": {"kind": "subbands", "transform": "unshuffle", "network": MLP},
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "resnet": RESNET,
    "flat resnet": RESNET | {"pooling": "flat"},
    "mlp": D_MLP,
    "subbands of resnet": {"kind": "subbands", "network": RESNET},
    "subbands of mlp": {"kind": "subbands", "network": D_MLP},
    "ensemble": {"kind": "ensemble", "networks": [RESNET, D_MLP]},
    "encoder of ncsnpp": {"kind": "encoder", "network": UNET},
    "encoder of mlp": {"kind": "encoder", "network": MLP},
    "encoder of subbands": {"kind": "encoder", "network": {"kind": "subbands", "network": MLP}},
}
NETWORKS = [("generator", name) for name in GENERATORS] + [("discriminator", name) for name in DISCRIMINATORS]


def settings_of(slot: str, name: str, **changes: Any) -> Any:
    known = GENERATORS if slot == "generator" else DISCRIMINATORS
    return make(slot, known[name] | changes)


def built(
    settings: Any, channels: int, classes: int = 0, size: int = 16, seed: int = 0, **others: int
) -> nn.Module:
    """A network none of whose layers is at its start."""
    network: nn.Module = settings.build((channels, size, size), ConditionShapes(classes, **others))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=rng))
    return network


def started(
    settings: Any, source: nn.Module, network: nn.Module, sizes: Sizes, theirs: Sizes, size: int = 16
) -> Transfer:
    """The transfer of a network built by these settings for other sizes, loaded into it."""

    def shaped(other: Sizes) -> dict[str, torch.Size]:
        with torch.device("meta"):
            made = settings.build((other.channels, size, size), ConditionShapes(*other[1:]))
        return {name: tensor.shape for name, tensor in made.state_dict().items()}

    found = transfer(source.state_dict(), network, shaped, sizes, theirs)
    network.load_state_dict(found.tensors)
    return found


def called(
    network: nn.Module, slot: str, x: Tensor, label: Tensor | None = None, condition: Condition | None = None
) -> Tensor:
    """The output for images x, with the same t, z and x_t each time."""
    t, z = torch.tensor([1, 2, 3, 1]), torch.randn(4, 4, generator=torch.Generator().manual_seed(3))
    if condition is None and label is not None:
        condition = Condition(label=label)
    with torch.no_grad():
        if slot == "generator":
            return network(x, t, z, condition)  # type: ignore[no-any-return]
        return network(x, x.flip(0).roll(3, -1), t, condition)  # type: ignore[no-any-return]


def grey() -> Tensor:
    return torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(("slot", "name"), NETWORKS)
def test_a_grey_model_does_with_grey_images_in_colour_what_it_did(slot: str, name: str) -> None:
    settings = settings_of(slot, name)
    source, network = built(settings, 1), built(settings, 3, seed=1)
    found = started(settings, source, network, Sizes(3, 0), Sizes(1, 0))
    assert (found.left, found.unused) == ({}, [])
    assert set(found.adapted.values()) == {"channels 1 -> 3"}
    expected, made = called(source, slot, grey()), called(network, slot, grey().repeat(1, 3, 1, 1))
    if slot == "generator":
        expected = expected.repeat(1, 3, 1, 1)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("slot", "name"), NETWORKS)
def test_a_model_of_colour_does_with_grey_images_what_it_did(slot: str, name: str) -> None:
    settings = settings_of(slot, name)
    source, network = built(settings, 3), built(settings, 1, seed=1)
    found = started(settings, source, network, Sizes(1, 0), Sizes(3, 0))
    assert (found.left, found.unused) == ({}, [])
    made, expected = called(network, slot, grey()), called(source, slot, grey().repeat(1, 3, 1, 1))
    if slot == "generator":
        expected = expected.mean(dim=1, keepdim=True)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


def test_of_more_channels_those_that_both_have_are_taken() -> None:
    settings = settings_of("discriminator", "resnet")
    source, network = built(settings, 3), built(settings, 4, seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    started(settings, source, network, Sizes(4, 0), Sizes(3, 0))
    ours, theirs, own = (one["input.weight"] for one in (network.state_dict(), source.state_dict(), before))
    assert torch.equal(ours[:, [0, 1, 2, 4, 5, 6]], theirs)  # x_{t-1}, then x_t
    assert torch.equal(ours[:, [3, 7]], own[:, [3, 7]])


@pytest.mark.parametrize(("slot", "name"), NETWORKS)
@pytest.mark.parametrize(("from_classes", "to_classes"), [(5, 3), (3, 5)])
def test_classes_that_both_have_and_the_null_class_are_taken(
    slot: str, name: str, from_classes: int, to_classes: int
) -> None:
    settings = settings_of(slot, name)
    source, network = built(settings, 3, from_classes), built(settings, 3, to_classes, seed=1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    found = started(settings, source, network, Sizes(3, to_classes), Sizes(3, from_classes))
    assert all(table.endswith("classes.table.weight") for table in found.adapted)
    assert (found.left, found.unused) == ({}, [])
    x = grey().repeat(1, 3, 1, 1)
    ours, theirs = torch.tensor([0, 2, to_classes, 1]), torch.tensor([0, 2, from_classes, 1])
    assert torch.equal(called(network, slot, x, ours), called(source, slot, x, theirs))
    for table in found.adapted:
        assert torch.equal(network.state_dict()[table][3:to_classes], before[table][3:to_classes])


def test_a_unet_without_classes_starts_with_any_as_it_was() -> None:
    settings = settings_of("generator", "ncsnpp")
    source, network = built(settings, 3), built(settings, 3, 4, seed=1)
    found = started(settings, source, network, Sizes(3, 4), Sizes(3, 0))
    assert list(found.left) == ["mapping.classes.table.weight"]
    assert found.adapted == {"mapping.layers.0.weight": "classes 0 -> 4"}
    x = grey().repeat(1, 3, 1, 1)
    made = called(network, "generator", x, torch.tensor([0, 1, 2, 4]))
    torch.testing.assert_close(made, called(source, "generator", x))
    back = started(settings, network, built(settings, 3, seed=2), Sizes(3, 0), Sizes(3, 4))
    assert back.unused == ["mapping.classes.table.weight"]
    assert torch.equal(
        back.tensors["mapping.layers.0.weight"], source.state_dict()["mapping.layers.0.weight"]
    )


def test_other_classes_and_channels_at_once() -> None:
    settings = settings_of("generator", "ncsnpp")
    source, network = built(settings, 1, 5), built(settings, 3, 2, seed=1)
    found = started(settings, source, network, Sizes(3, 2), Sizes(1, 5))
    assert (found.left, found.unused) == ({}, [])
    assert set(found.adapted.values()) == {"channels 1 -> 3", "classes 5 -> 2"}
    label = torch.tensor([0, 1, 1, 0])
    made = called(network, "generator", grey().repeat(1, 3, 1, 1), label)
    expected = called(source, "generator", grey(), label).repeat(1, 3, 1, 1)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


IMAGE = Condition(image=with_presence(torch.randn(4, 2, 16, 16, generator=torch.Generator().manual_seed(6))))
"""An image condition."""


@pytest.mark.parametrize(("slot", "name"), NETWORKS)
def test_a_model_starts_with_an_image_condition_as_it_was_and_can_lose_it(slot: str, name: str) -> None:
    settings = settings_of(slot, name)
    x = torch.randn(4, 3, 16, 16)
    source, network = built(settings, 3), built(settings, 3, seed=1, image_channels=2)
    found = started(settings, source, network, Sizes(3, 0, image=2), Sizes(3, 0))
    assert set(found.adapted.values()) == {"image channels 0 -> 2"}
    assert not found.left
    torch.testing.assert_close(called(network, slot, x, condition=IMAGE), called(source, slot, x))
    back = started(settings, network, built(settings, 3, seed=2), Sizes(3, 0), Sizes(3, 0, image=2))
    for key, value in source.state_dict().items():
        assert torch.equal(back.tensors[key], value)


@pytest.mark.parametrize(("slot", "name"), NETWORKS)
def test_channels_change_beside_an_image_condition(slot: str, name: str) -> None:
    settings = settings_of(slot, name)
    source, network = built(settings, 1, image_channels=2), built(settings, 3, seed=1, image_channels=2)
    found = started(settings, source, network, Sizes(3, 0, image=2), Sizes(1, 0, image=2))
    assert not found.left
    x = grey()
    found_output = called(network, slot, x.expand(-1, 3, -1, -1), condition=IMAGE)
    expected = called(source, slot, x, condition=IMAGE)
    torch.testing.assert_close(found_output, expected.expand_as(found_output))


def test_inputs_of_another_image_start_at_zero() -> None:
    settings = settings_of("generator", "ncsnpp")
    source, network = built(settings, 3, image_channels=1), built(settings, 3, seed=1, image_channels=4)
    found = started(settings, source, network, Sizes(3, 0, image=4), Sizes(3, 0, image=1))
    weight = found.tensors["input.weight"]
    assert torch.equal(weight[:, :3], source.state_dict()["input.weight"][:, :3])
    assert weight.shape[1] == 8
    assert not weight[:, 3:].any()


def test_a_shape_that_is_the_same_by_chance_is_not_taken() -> None:
    """Three inputs, of colour before, and now of grey and of an image condition."""
    settings = settings_of("generator", "ncsnpp")
    source, network = built(settings, 3), built(settings, 1, seed=1, image_channels=1)
    found = started(settings, source, network, Sizes(1, 0, image=1), Sizes(3, 0))
    weight, theirs = found.tensors["input.weight"], source.state_dict()["input.weight"]
    torch.testing.assert_close(weight[:, :1], theirs.sum(dim=1, keepdim=True))
    assert not weight[:, 1:].any()


@pytest.mark.parametrize("classes", [0, 3])
def test_a_unet_starts_with_a_vector_as_it_was(classes: int) -> None:
    settings = settings_of("generator", "ncsnpp")
    source, network = built(settings, 3, classes), built(settings, 3, 5, seed=1, vector_features=2)
    found = started(settings, source, network, Sizes(3, 5, vector=2), Sizes(3, classes))
    fresh = ["mapping.vector.linear.weight", *([] if classes else ["mapping.classes.table.weight"])]
    assert sorted(found.left) == sorted(fresh)
    x, null = torch.randn(4, 3, 16, 16), torch.full((4,), 5)
    given = Condition(null, with_presence(torch.randn(4, 2)))
    expected = called(source, "generator", x)
    torch.testing.assert_close(called(network, "generator", x, condition=given), expected)
    other = built(settings, 3, 5, seed=2, vector_features=4)
    kept = started(settings, network, other, Sizes(3, 5, vector=4), Sizes(3, 5, vector=2))
    assert list(kept.left) == ["mapping.vector.linear.weight"]  # other features mean something else
    gone = started(settings, network, built(settings, 3, seed=3), Sizes(3, 0), Sizes(3, 5, vector=2))
    assert not gone.left


def test_the_same_network_of_another_size_is_taken_whole() -> None:
    settings = settings_of("generator", "ncsnpp", attention_resolutions=[])
    source, network = built(settings, 3, size=16), built(settings, 3, size=24, seed=1)
    found = started(settings, source, network, Sizes(3, 0), Sizes(3, 0), size=24)
    assert (found.adapted, found.left, found.unused) == ({}, {}, [])
    assert found.levels == "from the coarsest on"
    ours, theirs = network.state_dict(), source.state_dict()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name.replace("16x16", "24x24").replace("8x8", "12x12")], tensor)


def test_a_unet_with_one_more_level_takes_those_of_the_same_resolution() -> None:
    small = settings_of("generator", "ncsnpp")
    large = settings_of("generator", "ncsnpp", channel_multipliers=[1, 1, 2])
    source, network = built(small, 3, size=16), built(large, 3, size=32, seed=1)
    found = started(large, source, network, Sizes(3, 0), Sizes(3, 0), size=32)
    assert found.levels == "by resolution"
    assert found.share > 0.6
    new = {
        "encoder.32x32",
        "decoder.32x32",
        "encoder.16x16.pyramid",
        "decoder.16x16.up",
        "decoder.16x16.blocks",
    }
    assert all(any(name.startswith(one) for one in new) for name in found.left)
    assert found.left["encoder.16x16.pyramid.conv.weight"] == "[8, 3, 3, 3] in the source, [8, 8, 3, 3] here"
    ours, theirs = network.state_dict(), source.state_dict()
    for name in ("encoder.16x16.blocks.0.conv1.weight", "decoder.8x8.up.conv1.weight", "input.weight"):
        assert torch.equal(ours[name], theirs[name])


def test_levels_correspond_in_three_ways() -> None:
    ours, theirs = ["e.64x48.a", "e.32x24.a", "e.16x12.a"], ["e.32x24.b", "e.16x12.b", "x.1.2"]
    assert levels(theirs, ours) == [
        ("by resolution", {"32x24": "32x24", "16x12": "16x12"}),
        ("from the coarsest on", {"16x12": "16x12", "32x24": "32x24"}),
        ("from full resolution on", {"32x24": "64x48", "16x12": "32x24"}),
    ]
    assert levels(["x.1.2"], ["x.3"]) == [("", {})]
    assert levels(theirs, theirs) == [("", {"16x12": "16x12", "32x24": "32x24"})]


def test_a_network_of_another_width_takes_no_part_of_a_tensor() -> None:
    narrow, wide = (settings_of("discriminator", "resnet", base_channels=width) for width in (8, 16))
    source, network = built(narrow, 1), built(wide, 3, seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = started(wide, source, network, Sizes(3, 0), Sizes(1, 0))
    assert not found.adapted
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in found.left)
    assert all(torch.equal(network.state_dict()[name], source.state_dict()[name]) for name in found.taken)
    assert "time_embedding.input.weight" in found.taken
    assert "input.weight" in found.left


def given(tiny_config: RunConfig, folder: Path, changes: dict[str, Any], channels: int = 3) -> Path:
    """A run of one iteration, to start from."""
    data = torch.randint(
        0, 256, (24, 8, 8, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.arange(24) % 4
    config = changed(tiny_config.changed(changes), num_iterations=1)
    return ddgan.train(config, folder, data=(data, labels), verbose=False).path


def test_a_run_says_what_it_took_and_lists_it(
    tiny_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = given(tiny_config, tmp_path / "source", {"conditions.label.classes": 4}, channels=1)
    config = changed(tiny_config.changed({"conditions.label.classes": 1000}), num_iterations=1)
    run = ddgan.train(config, tmp_path / "run", init=source)
    said = capsys.readouterr().err
    found = re.search(r"generator from '.*': (\d+) of (\d+) tensors taken, (\d+) adapted", said)
    assert found is not None
    taken, total, adapted = map(int, found.groups())
    assert taken + adapted == total
    assert "(channels 1 -> 3, classes 4 -> 1000) (100% of its weights)" in said
    assert "discriminator from" in said
    record = json.loads((run.path / "init.json").read_text())
    assert record["source"] == str(source)
    assert len(record["networks"]["generator"]["taken"]) == taken
    assert len(record["networks"]["generator"]["adapted"]) == adapted
    assert record["networks"]["discriminator"]["adapted"]["pair.input.weight"] == "channels 1 -> 3"
    weights = ddgan.load(source).state_dict()
    state = fresh(config)
    warm_start(config, state, (3, 8, 8), str(source))
    for network in (state.generator, *state.emas):
        rows = network.state_dict()["mapping.classes.table.weight"]
        assert torch.equal(rows[:4], weights["mapping.classes.table.weight"][:4])
        assert torch.equal(rows[-1], weights["mapping.classes.table.weight"][-1])
    again = ddgan.train(changed(config, num_iterations=1), run.path, overwrite=True, verbose=False)
    assert not (again.path / "init.json").exists()


def test_equal_shapes_are_taken_as_before(
    tiny_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = given(tiny_config, tmp_path / "source", {})
    run = ddgan.train(tiny_config, tmp_path / "run", init=source, seed=9)
    assert f"both networks start from '{source}'" in capsys.readouterr().err
    record = json.loads((run.path / "init.json").read_text())["networks"]
    assert not any(record[name][how] for name in record for how in ("adapted", "left", "unused"))
    state = fresh(tiny_config)
    warm_start(tiny_config, state, (3, 8, 8), str(source))
    assert all(
        torch.equal(state.generator.state_dict()[name], tensor)
        for name, tensor in ddgan.load(source).state_dict().items()
    )


def test_a_discriminator_of_another_kind_starts_anew_or_as_the_encoder(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    source = given(tiny_config, tmp_path / "source", {})
    other = tiny_config.changed({"method.discriminators.pair": D_MLP})
    state, untouched = fresh(other), fresh(other)
    start = warm_start(other, state, (3, 8, 8), str(source))
    assert all(map(torch.equal, state.discriminators.parameters(), untouched.discriminators.parameters()))
    assert start.record["networks"]["discriminator"]["share"] == 0
    assert any("warning: only 0% of the discriminator's weights" in line for line in start.lines)
    trunk = {"kind": "encoder", "network": tiny_config.to_dict()["generator"]}
    config = tiny_config.changed({"method.discriminators.pair": trunk})
    state = fresh(config)
    start = warm_start(config, state, (3, 8, 8), str(source))
    assert start.lines[-1] == "D's trunk starts as the encoder of G (pair)"
    ours, theirs = state.discriminators["pair"].state_dict(), state.generator.state_dict()
    assert torch.equal(
        ours["trunk.encoder.8x8.blocks.0.conv1.weight"], theirs["encoder.8x8.blocks.0.conv1.weight"]
    )


def test_a_marginal_discriminator_beside_starts_anew(tiny_config: RunConfig, tmp_path: Path) -> None:
    source = given(tiny_config, tmp_path / "source", {})
    config = tiny_config.changed({"method.discriminators.marginal": D_MLP})
    start = warm_start(config, fresh(config), (3, 8, 8), str(source))
    record = start.record["networks"]["discriminator"]
    assert all(name.startswith("pair.") for name in record["taken"])
    assert all(name.startswith("marginal.") for name in record["left"])


def test_little_is_warned_of_and_nothing_refused(tiny_config: RunConfig, tmp_path: Path) -> None:
    source = given(tiny_config, tmp_path / "source", {})
    wider = tiny_config.changed({"generator.base_channels": 16})
    start = warm_start(wider, fresh(wider), (3, 8, 8), str(source))
    assert re.search(r"warning: only \d+% of the generator's weights come from", "\n".join(start.lines))
    other = tiny_config.changed({"generator": MLP})
    with pytest.raises(
        ValueError, match=r"of which nothing fits: its generator is ncsnpp, this run's mlp; use"
    ):
        ddgan.train(other, tmp_path / "run", init=source, verbose=False)
    assert not (tmp_path / "run").exists()
    odd = {"base_channels": 12, "latent_size": 5, "mapping_features": 9, "mapping_depth": 0}
    apart = tiny_config.changed({f"generator.{name}": value for name, value in odd.items()})
    rest = {"output.bias"}
    start = warm_start(apart, create_state(apart, (3, 8, 8), ALONE), (3, 8, 8), str(source))
    assert set(start.record["networks"]["generator"]["taken"]) == rest
    bare = DDGAN(nn.Linear(1, 1), tiny_config, (3, 8, 8)).save(tmp_path / "bare.safetensors")
    with pytest.raises(
        ValueError, match=r"of which nothing fits: all \d+ tensors of the generator have other names"
    ):
        warm_start(apart, fresh(apart), (3, 8, 8), str(bare))


def test_a_run_of_a_denoiser_gives_its_generator(tiny_config: RunConfig, tmp_path: Path) -> None:
    settings = tiny_config.changed({"generator.latent_size": 0}).to_dict()
    settings |= {"method": {"kind": "gaussian_diffusion"}, "diffusion": {"num_steps": 20}}
    config = changed(RunConfig.from_dict(settings), num_iterations=1)
    source = ddgan.train(config, tmp_path / "source", verbose=False).path
    start = warm_start(tiny_config, fresh(tiny_config), (3, 8, 8), str(source))
    assert start.lines[-1] == "D starts from random weights"
    record = start.record["networks"]["generator"]
    assert "encoder.8x8.blocks.0.conv1.weight" in record["taken"]
    assert record["left"]["encoder.8x8.blocks.0.norm1.style.weight"] == "not in the source"
