"""Models that are not denoising diffusion GANs, one of each other method that comes with the package."""

from __future__ import annotations

import dataclasses
from typing import Any

from ddgan import RunConfig
from ddgan.config.components import find, kinds
from tiny import DIGITS_SHAPE, TINY_DIGITS

OTHERS = [
    kind
    for kind in kinds("method")
    if kind != "denoising_gan" and find("method", kind).__module__.startswith("ddgan.")
]


def config_of(method: str) -> RunConfig:
    """Settings of a small U-Net for stacked digits that is trained by this method."""
    settings: dict[str, Any] = {**TINY_DIGITS, "method": {"kind": method}}
    if "discriminator" in {f.name for f in dataclasses.fields(find("method", method))}:  # type: ignore[arg-type]
        settings["method"]["discriminator"] = TINY_DIGITS["method"]["discriminators"]["pair"]
    if method == "gaussian_diffusion":
        settings["generator"] = TINY_DIGITS["generator"] | {"latent_size": 0}
    return RunConfig.from_dict(settings)


def model_of(method: str) -> Any:
    """A new model of this method."""
    config = config_of(method)
    generator: Any = config.generator
    return config.method.open(generator.build(DIGITS_SHAPE), config, DIGITS_SHAPE)
