"""Features from a TorchScript file: the two published ones, or your own with a description beside it.

inception    the network of all published FIDs
vgg16        the network of the paper's recall
torchscript  X.pt, described by X.json beside it
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ddgan.config.components import register
from ddgan.config.settings import Interval, SettingError, settings, shown
from ddgan.metrics.feature_weights import Weights
from ddgan.metrics.features import Compared, FeatureBatch, Features
from ddgan.system.files import parse_json, sha256_of

__all__ = ["InceptionConfig", "Sidecar", "TorchScriptConfig", "TorchScriptFeatures", "VGG16Config"]

PUBLISHED = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
INCEPTION = Weights("inception", PUBLISHED + "inception-2015-12-05.pt", "DDGAN_INCEPTION")
VGG16 = Weights("vgg16", PUBLISHED + "vgg16.pt", "DDGAN_VGG16")


@settings
class Sidecar:
    """Input format of a TorchScript network: the content of X.json beside X.pt.

    Args:
        dtype: "uint8" for unchanged values 0..255; "float32" to scale and normalise them first.
        input_range: values for 0 and 255, before `mean` and `std`.
        mean: subtracted from each channel.
        std: divides each channel.
        size: height and width that images are resized to; 0 leaves resizing to the network.
        filter: filter of the resize: "bilinear" or "bicubic", both antialiased, or "nearest".
        channels: 1 or 3; grey images are repeated for 3.
        arguments: keyword arguments of the call that returns features.
        probability_arguments: those of the call that returns class probabilities; None without such a call.
        output: key of the features, if the network returns a dictionary.
        batch_size: images at a time.
    """

    dtype: Literal["uint8", "float32"] = "uint8"
    input_range: tuple[float, float] = (0, 255)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: Annotated[int, Interval(ge=0, le=4096)] = 0
    filter: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    channels: Literal[1, 3] = 3
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    probability_arguments: dict[str, Any] | None = None
    output: str = ""
    batch_size: Annotated[int, Interval(ge=1, le=65_536)] = 64

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, self.channels):
                raise SettingError(name, f"is {shown(values)}; it must be one number per channel")
        if 0 in self.std:
            raise SettingError("std", f"is {shown(self.std)}; it must not be 0")
        changed = tuple(self.input_range) != (0, 255) or self.mean or self.std
        if self.dtype == "uint8" and changed:
            raise SettingError("dtype", "is uint8, which cannot be scaled; set it to float32")

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read it from a JSON file.

        Raises:
            ValueError: if it is missing, not a JSON object, or has an invalid setting.
        """
        try:
            said = parse_json(path.read_text(encoding="utf-8"))
            if not isinstance(said, dict):
                raise ValueError(f"it has {shown(said)}, not an object")
            return cls(**said)
        except OSError:
            raise ValueError(
                f"'{path}' is missing; it must describe the input of the network, such as "
                '{"dtype": "float32", "input_range": [-1, 1], "size": 224}'
            ) from None
        except ValueError as error:
            raise ValueError(f"'{path}' is not a valid description: {error}") from None

    def prepare(self, images: Tensor) -> Tensor:
        """Convert uint8 images (B, C, H, W) to the network's input."""
        given = images.shape[1]
        if given == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        elif given != self.channels:
            raise ValueError(f"the features need {self.channels} channels, but the images have {given}")
        if self.dtype == "uint8" and not self.size:
            return images.contiguous()
        x = images.float()
        if self.size:
            smooth: dict[str, Any] = {} if self.filter == "nearest" else {"antialias": True}
            x = F.interpolate(x, (self.size, self.size), mode=self.filter, **smooth)
        if self.dtype == "uint8":
            return x.round().clamp(0, 255).to(torch.uint8)
        low, high = self.input_range
        x = x / 255 * (high - low) + low
        for values, inverse in ((self.mean, False), (self.std, True)):
            if values:
                channel = torch.tensor(values, device=x.device).view(-1, 1, 1)
                x = x / channel if inverse else x - channel
        return x


INCEPTION_SIDECAR = Sidecar(
    arguments={"return_features": True}, probability_arguments={"no_output_bias": True}
)
VGG16_SIDECAR = Sidecar(arguments={"return_features": True}, batch_size=32)


class TorchScriptFeatures(Features):
    """Features of a TorchScript network; see `Features`."""

    def __init__(self, name: str, path: Path, checksum: str, sidecar: Sidecar) -> None:
        described = json.dumps(dataclasses.asdict(sidecar), sort_keys=True)
        self.name, self.path = name, path
        self.checksum = hashlib.sha256(f"{checksum} {described}".encode()).hexdigest()
        self.batch_size = sidecar.batch_size
        self.has_probabilities = sidecar.probability_arguments is not None
        self.metadata = {"file": path.name, "file_sha256": checksum}
        self._sidecar, self._network = sidecar, _load(path)

    def to(self, device: torch.device) -> TorchScriptFeatures:
        self._network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        if images.ndim != 4:
            raise ValueError(f"features {self.name} are for images, not for points; use pixels")
        x = self._sidecar.prepare(images)
        features = self._run(x, self._sidecar.arguments, self._sidecar.output)
        if not with_probabilities or self._sidecar.probability_arguments is None:
            return FeatureBatch(features)
        return FeatureBatch(features, self._run(x, self._sidecar.probability_arguments, ""))

    def _run(self, x: Tensor, arguments: dict[str, Any], output: str) -> Tensor:
        try:
            result = self._network(x, **arguments)
        except RuntimeError as error:
            raise ValueError(f"'{self.path}' cannot take these images: {_last_line(error)}") from None
        if isinstance(result, dict):
            if output not in result:
                raise ValueError(
                    f"'{self.path}' returns {', '.join(result)}; set output in its .json to one of them"
                )
            result = result[output]
        if not isinstance(result, Tensor) or len(result) != len(x):
            raise ValueError(f"'{self.path}' does not return a tensor (B, D) for B images")
        return result.flatten(1).float()


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that TorchScript is deprecated
            return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"'{path}' is not a valid TorchScript file: {_last_line(error)}") from None


def _last_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def published(weights: Weights, sidecar: Sidecar) -> TorchScriptFeatures:
    """Open published features; their weights are downloaded at first use.

    Raises:
        ValueError: if the file cannot be downloaded, is damaged, or has changed.
    """
    path, checksum = weights.fetch()
    return TorchScriptFeatures(weights.name, path, checksum, sidecar)


@register("features", "inception")
class InceptionConfig:
    """Features of the Inception network; their scores are called FID, KID and Inception score."""

    def open(self, inputs: Compared) -> TorchScriptFeatures:
        return published(INCEPTION, INCEPTION_SIDECAR)


@register("features", "vgg16")
class VGG16Config:
    """Features of the VGG network."""

    def open(self, inputs: Compared) -> TorchScriptFeatures:
        return published(VGG16, VGG16_SIDECAR)


@register("features", "torchscript")
class TorchScriptConfig:
    """Features from a file.

    Args:
        path: X.pt, with a description X.json beside it, see `Sidecar`.
    """

    path: str

    def open(self, inputs: Compared) -> TorchScriptFeatures:
        """Open the features of the file.

        Raises:
            ValueError: if it is missing or damaged, or its description is invalid.
        """
        path = Path(self.path).expanduser()
        try:
            checksum = sha256_of(path)
        except OSError as error:
            raise ValueError(f"'{path}' cannot be read: {error.strerror}") from None
        return TorchScriptFeatures(path.name, path, checksum, Sidecar.read(path.with_suffix(".json")))
