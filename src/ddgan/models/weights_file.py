"""The weights file: one .safetensors with the tensors of a generator and the metadata to build it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.system.files import parse_json, read_tensors, save_tensors
from ddgan.system.text import one_line

__all__ = [
    "DISCRIMINATOR_NAME",
    "FORMAT",
    "WEIGHTS_NAME",
    "Weights",
    "check_weights",
    "checksum_of",
    "ema_file_name",
    "in_words",
    "misfits",
    "read_weights",
    "write_weights",
]

WEIGHTS_NAME = "model.safetensors"
DISCRIMINATOR_NAME = "discriminator.safetensors"
"""File beside a weights file: discriminators that a later run can start from."""
FORMAT = 2
CHECKSUM = "checksum"
"""Entry of the metadata: the SHA-256 of everything else in the file."""
METADATA = "ddgan"
"""The only key of the metadata; its value is sorted JSON, so that equal models give equal files."""
MOST_VALUES = 2**36
"""Maximum number of values in a sample; with more, sizes of layers could overflow."""


class Weights(NamedTuple):
    """The content of a weights file: tensors by name, and the arguments of `metadata_of`."""

    tensors: dict[str, Tensor]
    config: RunConfig
    sample_shape: tuple[int, ...]
    license: str
    data: str = ""


def metadata_of(
    config: RunConfig, sample_shape: Sequence[int], license: str, data: str = ""
) -> dict[str, Any]:
    """Return the metadata of weights as plain values.

    Args:
        config: the settings of the run.
        sample_shape: the shape of one sample.
        license: licence in words.
        data: checksum of the training data, see `Dataset`; empty if it is not known or cannot change.
    """
    return {
        "format": FORMAT,
        "config": config.to_dict(),
        "sample_shape": list(sample_shape),
        "license": license,
        **({"data": data} if data else {}),
    }


def write_weights(
    path: Path,
    tensors: dict[str, Tensor],
    config: RunConfig,
    sample_shape: Sequence[int],
    license: str = "",
    data: str = "",
) -> None:
    """Write a weights file atomically; for the arguments see `metadata_of`."""
    metadata = metadata_of(config, sample_shape, license, data)
    metadata[CHECKSUM] = checksum_of(metadata, tensors)
    save_tensors(path, tensors, {METADATA: json.dumps(metadata, sort_keys=True)})


def checksum_of(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of metadata and of the names, types, shapes and bytes of tensors."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def ema_file_name(half_life: float | None) -> str:
    """Return the file name of the EMA with this half-life (thousands of images), or of the main EMA."""
    return WEIGHTS_NAME if half_life is None else f"model-ema{half_life:g}k.safetensors"


def ema_in(run: Path, half_life: float | None) -> Path:
    """Return the file of an EMA of a run.

    Raises:
        ValueError: if the run has no EMA of that half-life.
    """
    path = run / ema_file_name(half_life)
    if not path.is_file():
        found = sorted(
            file.name[len("model-ema") : -len("k.safetensors")] for file in run.glob("model-ema*k.*")
        )
        assert half_life is not None  # the caller has found the main EMA's file
        raise no_ema(run, half_life, found)
    return path


def no_ema(place: Path, half_life: float, found: Sequence[str]) -> ValueError:
    """Return the error for a half-life that no EMA of `place` has."""
    there = ", ".join(found) or "only the main one (optimization.ema.decay)"
    return ValueError(f"ema is {half_life:g}, but '{place}' has no EMA of that half-life; it has {there}")


def read_weights(path: Path) -> Weights:
    """Read a file that `write_weights` wrote.

    Raises:
        ValueError: if the file is damaged, from another version, or not from ddgan.
    """
    try:
        tensors, metadata = read_tensors(path)
    except (ValueError, OSError) as error:
        hint = "; for a published checkpoint use ddgan convert" if path.suffix in (".pth", ".pt") else ""
        raise ValueError(f"'{path}' is not a valid .safetensors file: {error}{hint}") from None
    if metadata.get("format", "").startswith("ddgan-"):
        raise ValueError(
            f"'{path}' was written by ddgan 0.1, but this version reads format {FORMAT}; open it with "
            "ddgan 0.1, or train again"
        )
    try:
        found = parse_json(metadata.get(METADATA, "null"))
    except ValueError as error:
        raise ValueError(f"the metadata in '{path}' is damaged: {error}") from None
    if found is None:
        raise ValueError(f"'{path}' was not written by ddgan: its metadata has no entry {METADATA}")
    config, sample_shape, license = read_metadata(found, f"'{path}'")
    checksum = found.pop(CHECKSUM, None)
    if checksum != checksum_of(found, tensors):
        raise ValueError(f"'{path}' is damaged: its checksum is wrong; fetch or save it again")
    return Weights(tensors, config, sample_shape, license, found.get("data", ""))


def read_metadata(found: Any, place: str) -> tuple[RunConfig, tuple[int, ...], str]:
    """Return settings, sample shape and licence from metadata made by `metadata_of`.

    Raises:
        ValueError: in one line that names `place`, if it is damaged or from another version.
    """
    if not isinstance(found, Mapping) or "format" not in found:
        raise ValueError(f"the metadata in {place} is damaged: it has no format")
    if found["format"] != FORMAT:
        raise ValueError(
            f"{place} has format {one_line(found['format'])[:20]}, but this version of ddgan reads "
            f"format {FORMAT}; open it with the version that wrote it"
        )
    shape, license = found.get("sample_shape"), found.get("license", "")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 4 or not all(_is_size(size) for size in shape):
        raise ValueError(f"the metadata in {place} is damaged: its sample_shape is not a list of sizes")
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(
            f"the metadata in {place} is damaged: its sample_shape has more than {MOST_VALUES:,} values"
        )
    if not isinstance(license, str):
        raise ValueError(f"the metadata in {place} is damaged: its license is not text")
    if not isinstance(found.get("data", ""), str):
        raise ValueError(f"the metadata in {place} is damaged: its data is not a checksum")
    try:
        config = RunConfig.from_dict(found.get("config", {}))
    except ValueError as error:
        raise ValueError(f"the settings in {place} cannot be used: {one_line(error)}") from None
    if unknown := config.conditions.unknown:
        raise ValueError(f"the metadata in {place} is damaged: conditions.{unknown[0]} is auto")
    return config, tuple(shape), license


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 2**20


def misfits(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors that are missing, unknown, or of another shape in the network, sorted."""
    ours = {name: tensor.shape for name, tensor in network.state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in tensors.items()}
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def in_words(wrong: Sequence[str]) -> str:
    """Say which tensors `misfits` found."""
    count = "1 tensor is" if len(wrong) == 1 else f"{len(wrong)} tensors are"
    return f"{count} missing, unknown or of another shape, the first '{one_line(wrong[0])}'"


def check_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that the tensors of the file `path` fit a network.

    Raises:
        ValueError: if one is missing, unknown or of another shape.
    """
    if wrong := misfits(network, tensors):
        raise ValueError(f"'{path}' does not fit its own settings: {in_words(wrong)}; fetch or save it again")
