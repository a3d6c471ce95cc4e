"""Features by a TorchScript file: the two published ones, or any with a description beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ddgan.metrics.feature_weights import Weights
from ddgan.metrics.features import FeatureBatch
from ddgan.system.files import sha256_of

PUBLISHED = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
INCEPTION = Weights("inception", PUBLISHED + "inception-2015-12-05.pt", "DDGAN_INCEPTION")
VGG16 = Weights("vgg16", PUBLISHED + "vgg16.pt", "DDGAN_VGG16")
FILTERS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True)
class Sidecar:
    """How a TorchScript network wants its images: what X.json beside X.pt may say.

    Args:
        dtype: "uint8" gives it 0..255 as they are; "float32" scales and normalises first.
        input_range: what 0 and 255 become, before `mean` and `std`.
        mean: subtracted from each channel.
        std: divides each channel.
        size: height and width that images are resized to; 0 leaves that to the network.
        filter: of that resize: "bilinear" or "bicubic", both antialiased, or "nearest".
        channels: 1 or 3; grey images are repeated for 3.
        arguments: keyword arguments of the call that returns features.
        probability_arguments: those of the call that returns class probabilities; None if it has none.
        output: the key of the features, if the network returns a dictionary.
        batch_size: images at a time.
    """

    dtype: Literal["uint8", "float32"] = "uint8"
    input_range: tuple[float, float] = (0, 255)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: int = 0
    filter: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    channels: int = 3
    arguments: dict[str, Any] = field(default_factory=dict)
    probability_arguments: dict[str, Any] | None = None
    output: str = ""
    batch_size: int = 64

    def __post_init__(self) -> None:
        rules = {
            "dtype": (self.dtype in ("uint8", "float32"), "must be uint8 or float32"),
            "input_range": (len(self.input_range) == 2, "must be two numbers"),
            "mean": (len(self.mean) in (0, self.channels), "must be one number per channel"),
            "std": (len(self.std) in (0, self.channels) and 0 not in self.std, "must be one per channel"),
            "size": (self.size >= 0, "must be 0 or more"),
            "filter": (self.filter in FILTERS, f"must be one of {', '.join(FILTERS)}"),
            "channels": (self.channels in (1, 3), "must be 1 or 3"),
            "batch_size": (self.batch_size >= 1, "must be at least 1"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it {rule}")
        changed = tuple(self.input_range) != (0, 255) or self.mean or self.std
        if self.dtype == "uint8" and changed:
            raise ValueError("dtype is uint8, whose values cannot be scaled; set dtype to float32")

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """From a JSON file.

        Raises:
            ValueError: if it is missing, is no JSON object, or says what is not known.
        """
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            unknown = sorted(set(said) - {known.name for known in dataclasses.fields(cls)})
            if unknown:
                known = ", ".join(known.name for known in dataclasses.fields(cls))
                raise ValueError(f"{', '.join(unknown)} is not known; it may say {known}")
            for name in ("input_range", "mean", "std"):
                if name in said:
                    said[name] = tuple(said[name])
            return cls(**said)
        except OSError:
            raise ValueError(
                f"'{path}' is missing; it describes the features' input, such as "
                '{"dtype": "float32", "input_range": [-1, 1], "size": 224}'
            ) from None
        except (ValueError, TypeError) as error:
            raise ValueError(f"'{path}' does not describe features: {error}") from None

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, H, W) as the network wants them."""
        given = images.shape[1]
        if given == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        elif given != self.channels:
            raise ValueError(f"the features are for {self.channels} channels, but the images have {given}")
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


class TorchScriptFeatures:
    """Features by a scripted network; see `Features`."""

    def __init__(self, name: str, path: Path, checksum: str, sidecar: Sidecar) -> None:
        described = json.dumps(dataclasses.asdict(sidecar), sort_keys=True)
        self.name, self.path = name, path
        self.checksum = hashlib.sha256(f"{checksum} {described}".encode()).hexdigest()
        self.batch_size = sidecar.batch_size
        self.has_probabilities = sidecar.probability_arguments is not None
        self.facts: dict[str, Any] = {"file": path.name, "file_sha256": checksum}
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
                    f"'{self.path}' returns {', '.join(result)}; name one as output in its .json"
                )
            result = result[output]
        if not isinstance(result, Tensor) or len(result) != len(x):
            raise ValueError(f"'{self.path}' returns no tensor (B, D) for B images")
        return result.flatten(1).float()


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces what will follow TorchScript
            return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"'{path}' is no whole TorchScript file: {_last_line(error)}") from None


def _last_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def open_torchscript(name: str) -> TorchScriptFeatures:
    """The features `inception`, `vgg16` or those of a file X.pt.

    Raises:
        ValueError: if the file is missing, damaged or changed, or is described wrongly.
    """
    published = {"inception": (INCEPTION, INCEPTION_SIDECAR), "vgg16": (VGG16, VGG16_SIDECAR)}
    if name in published:
        weights, sidecar = published[name]
        path, checksum = weights.fetch()
        return TorchScriptFeatures(name, path, checksum, sidecar)
    path = Path(name).expanduser()
    try:
        checksum = sha256_of(path)
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror}") from None
    return TorchScriptFeatures(path.name, path, checksum, Sidecar.read(path.with_suffix(".json")))
