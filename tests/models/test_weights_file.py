"""The weights file, format 2: what is damaged, older or too large is refused by name."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import ddgan
from ddgan import DDGAN
from ddgan.models.weights_file import (
    CHECKSUM,
    METADATA,
    checksum_of,
    metadata_of,
    read_weights,
    write_weights,
)


def save_changed(model: DDGAN, path: Path, tensors: dict[str, Tensor] | None = None, **changes: Any) -> None:
    """Write a weights file with other tensors or entries of the metadata, and the checksum of those."""
    tensors = model.generator.state_dict() if tensors is None else tensors
    metadata = metadata_of(model.config, model.sample_shape, "") | changes
    metadata |= {CHECKSUM: checksum_of(metadata, tensors)}
    save_file(tensors, path, {METADATA: json.dumps(metadata)})


def refused(path: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        ddgan.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_needed_stands_under_one_key(model: DDGAN, tmp_path: Path) -> None:
    path = model.save(tmp_path / "model.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert list(metadata) == [METADATA] == ["ddgan"]
    found = json.loads(metadata["ddgan"])
    assert len(found.pop("checksum")) == 64
    assert found == {
        "format": 2,
        "config": model.config.to_dict(),
        "sample_shape": [3, 8, 8],
        "license": "",
    }
    ours = model.generator.state_dict()
    assert tensors.keys() == ours.keys()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in tensors.items())


def test_the_same_model_is_the_same_file(model: DDGAN, tmp_path: Path) -> None:
    first = model.save(tmp_path / "first.safetensors").read_bytes()
    assert model.save(tmp_path / "second.safetensors").read_bytes() == first
    tensors = dict(reversed(model.generator.state_dict().items()))  # in another order
    write_weights(tmp_path / "third.safetensors", tensors, model.config, model.sample_shape)
    assert (tmp_path / "third.safetensors").read_bytes() == first
    again = ddgan.load(tmp_path / "first.safetensors")
    assert again.save(tmp_path / "fourth.safetensors").read_bytes() == first


SAVE = """
import sys, ddgan
ddgan.load(sys.argv[1]).save(sys.argv[2])
"""


def test_the_same_model_is_the_same_file_in_every_process(model: DDGAN, tmp_path: Path) -> None:
    model = DDGAN(model.generator, model.config, model.sample_shape, "a licence")
    first = model.save(tmp_path / "first.safetensors")
    for seed in ("1", "2"):
        second = tmp_path / f"{seed}.safetensors"
        command = [sys.executable, "-c", SAVE, str(first), str(second)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        assert second.read_bytes() == first.read_bytes()


def test_what_is_written_is_read(model: DDGAN, tmp_path: Path) -> None:
    path, tensors = tmp_path / "x.safetensors", model.generator.state_dict()
    write_weights(path, tensors, model.config, [3, 8, 8], "CC BY 4.0")
    weights = read_weights(path)
    assert (weights.config, weights.sample_shape, weights.license) == (model.config, (3, 8, 8), "CC BY 4.0")
    assert weights.tensors.keys() == tensors.keys()
    assert ddgan.load(path).license == "CC BY 4.0"
    assert (weights.data, ddgan.load(path).data_checksum) == ("", "")
    write_weights(path, tensors, model.config, [3, 8, 8], "CC BY 4.0", "0123")
    again = ddgan.load(path)
    assert (read_weights(path).data, again.data_checksum) == ("0123", "0123")
    assert ddgan.load(again.save(tmp_path / "y.safetensors")).data_checksum == "0123"


def test_a_failed_save_leaves_the_old_file(
    model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model.save(tmp_path)
    before = path.read_bytes()

    def disk_full(tensors: Any, filename: Any, metadata: Any = None) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", disk_full)
    with pytest.raises(OSError, match="no space"):
        model.save(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.999])
def test_truncated_files_are_refused_by_name(model: DDGAN, tmp_path: Path, kept: float) -> None:
    path = model.save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    refused(path, r"is not a valid \.safetensors file")


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(bytes(range(256)) * 40)
    refused(path, r"is not a valid \.safetensors file")
    save_file({"weight": torch.zeros(3)}, path)
    refused(path, "was not written by ddgan")
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
    refused(path, "was not written by ddgan")


def test_places_without_weights_are_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path, "is not a run folder")
    refused(tmp_path / "missing", "does not exist")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "a configuration is a mapping of sections, not list"),
        (None, "a configuration is a mapping of sections, not NoneType"),
        ({"diffusion": {"num_steps": 0}}, "diffusion.num_steps is 0; it must be at least 1"),
        ({"from_the_future": 1}, "from_the_future is not a setting"),
        ({"generator": {"kind": "dit"}}, "generator.kind is 'dit', which is not a known kind of generator"),
        ({"method": {"kind": "flow"}}, "method.kind is 'flow', which is not a known kind of method"),
        ({"data": {"kind": "shells"}}, "data.kind is 'shells', which is not a known kind of data"),
        ({"conditions": {"label": {}}}, "conditions.label.classes is auto"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    model: DDGAN, tmp_path: Path, config: Any, words: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_changed(model, path, config=config)
    refused(path, words)


def test_a_component_that_is_not_registered_is_named_with_the_way_to_it(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    settings = model.config.to_dict() | {"generator": {"kind": "dit", "depth": 3}}
    save_changed(model, path, config=settings)
    refused(path, r"must be one of mlp, ncsnpp.*--import PACKAGE")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 1}, "has format 1, but this version of ddgan reads format 2; open it with the version"),
        ({"format": 3}, "has format 3, but this version of ddgan reads format 2; open it with the version"),
        ({"format": "2"}, "has format 2, but"),
        ({"sample_shape": "3x8x8"}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": []}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [3, 8, 0]}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [3, 8, True]}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [3, 8, 2**40]}, "is damaged: its sample_shape is not a list of sizes"),
        ({"sample_shape": [2**20] * 4}, "is damaged: its sample_shape has more than 68,719,476,736 values"),
        ({"sample_shape": [1] * 5}, "is damaged: its sample_shape is not a list of sizes"),
        ({"license": 3}, "is damaged: its license is not text"),
    ],
)
def test_metadata_that_cannot_be_is_refused_by_name(
    model: DDGAN, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_changed(model, path, **changes)
    refused(path, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{broken", "the metadata in .* is damaged"),
        ("[" * 100_000, "the metadata in .* is damaged"),
        ("[]", "is damaged: it has no format"),
        ("{}", "is damaged: it has no format"),
        ("null", "was not written by ddgan: its metadata has no entry ddgan"),
    ],
)
def test_metadata_that_is_not_that_of_weights_is_refused_by_name(
    model: DDGAN, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(model.generator.state_dict(), path, {"ddgan": text})
    refused(path, words)


def test_files_of_0_1_are_refused_with_the_way_on(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    save_file(model.generator.state_dict(), path, {"format": "ddgan-1", "config": "{}", "license": ""})
    refused(
        path, r"written by ddgan 0\.1, but this version reads format 2; open it with ddgan 0\.1, or train"
    )


HUGE = {
    "ncsnpp": {"kind": "ncsnpp", "base_channels": 4096, "channel_multipliers": [64, 64]},
    "mlp": {"kind": "mlp", "hidden_features": 65_536, "num_blocks": 1000},
}
"""Settings of generators that take terabytes."""


@pytest.mark.parametrize("kind", HUGE)
def test_tensors_are_compared_before_the_memory_that_settings_claim_is_taken(
    model: DDGAN, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "odd.safetensors"
    config = model.config.changed({"generator": HUGE[kind]})
    save_changed(model, path, config=config.to_dict())
    refused(
        path, r"does not fit its own settings: (\d+ tensors are missing|they describe a network of far more)"
    )
    shape = [2**20, 2**10]  # 2^30 numbers go into each of the 65,536 features of the first layer
    claimed = shape if kind == "mlp" else [7, 2**10, 2**20]
    save_changed(model, path, config=config.to_dict(), sample_shape=claimed)
    refused(path, "does not fit its own settings: ")


def test_more_classes_than_the_tensors_have_are_refused(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    config = model.config.changed(
        {"conditions.label": {"classes": 1_000_000}, "generator.mapping_features": 65_536}
    )
    save_changed(model, path, config=config.to_dict())
    refused(path, "does not fit its own settings: ")


def test_another_shape_of_samples_does_not_fit(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_changed(model, path, sample_shape=[7, 8, 8])
    refused(path, r"does not fit its own settings: 4 tensors .*, the first 'encoder\.8x8\.pyramid")
    save_changed(model, path, sample_shape=[3, 7, 8])
    refused(path, "generator.channel_multipliers is .* halves the size 1 times, .* size 7 x 8;")


def drop_first(tensors: dict[str, Tensor]) -> None:
    del tensors[min(tensors)]


def add_one(tensors: dict[str, Tensor]) -> None:
    tensors["unknown.weight"] = torch.zeros(2)


def reshape_first(tensors: dict[str, Tensor]) -> None:
    tensors[min(tensors)] = tensors[min(tensors)].reshape(1, -1)


@pytest.mark.parametrize("change", [drop_first, add_one, reshape_first])
def test_tensors_that_do_not_fit_are_refused_by_name(
    model: DDGAN, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    tensors = dict(model.generator.state_dict())
    expected = "unknown.weight" if change is add_one else min(tensors)
    change(tensors)
    path = tmp_path / "odd.safetensors"
    save_changed(model, path, tensors)
    refused(path, f"1 tensor is missing, unknown or of another shape, the first '{expected}'; fetch or save")


def test_no_flipped_bit_of_a_file_passes(model: DDGAN, tmp_path: Path) -> None:
    """Each is refused, or changes nothing that is read: a space between the parts of a header, say."""
    path = model.save(tmp_path / "model.safetensors")
    whole, before, rng = path.read_bytes(), read_weights(path), random.Random(0)
    length = 8 + int.from_bytes(whole[:8], "little")
    places = [rng.randrange(8 * length) for _ in range(300)]
    places += [rng.randrange(8 * length, 8 * len(whole)) for _ in range(100)]
    complaints: list[str] = []
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_weights(path)
        except ValueError as error:
            complaints.append(str(error))
            continue
        assert found[1:] == before[1:]
        assert found.tensors.keys() == before.tensors.keys()
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in before.tensors.items())
    assert len(complaints) > 390
    assert all(str(path) in complaint and "\n" not in complaint for complaint in complaints)


def test_a_file_without_checksum_is_refused(model: DDGAN, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    metadata = metadata_of(model.config, model.sample_shape, "")
    save_file(model.generator.state_dict(), path, {METADATA: json.dumps(metadata)})
    refused(path, "is damaged: its checksum is wrong; fetch or save it again")
