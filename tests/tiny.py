"""Settings of runs that take about a second, as plain values."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ddgan.metrics import labelled
from ddgan.metrics import real_data as reference
from ddgan.metrics.speed import measure_speed

TINY_DIGITS: dict[str, Any] = {
    "data": {"kind": "digits"},
    "seed": 3,
    "method": {
        "kind": "denoising_gan",
        "penalties": [{"kind": "r1", "gamma": 0.05, "every": 2}],
        "discriminators": {
            "pair": {
                "kind": "resnet",
                "base_channels": 8,
                "channel_multipliers": [1, 1],
                "downsample": [False, True],
                "time_features": 8,
            }
        },
    },
    "diffusion": {"num_steps": 3},
    "generator": {
        "kind": "ncsnpp",
        "base_channels": 8,
        "channel_multipliers": [1, 1],
        "num_blocks": 1,
        "attention_resolutions": [],
        "latent_size": 4,
        "mapping_features": 8,
        "mapping_depth": 1,
    },
    "optimization": {
        "generator": {"kind": "adam", "lr": 0.02},
        "discriminator": {"kind": "adam", "lr": 0.01},
        "ema": {"decay": 0.5},
    },
    "training": {
        "batch_size": 8,
        "num_iterations": 5,
        "log_every": 2,
        "score_samples": 0,
        "device": "cpu",
    },
}
"""A run on stacked digits, 3 x 8 x 8, that takes about a second."""
DIGITS_SHAPE, POINTS_SHAPE = (3, 8, 8), (2,)
TINY_POINTS: dict[str, Any] = {
    **TINY_DIGITS,
    "data": {"kind": "gaussians"},
    "method": {
        **TINY_DIGITS["method"],
        "discriminators": {"pair": {"kind": "mlp", "hidden_features": 16, "time_features": 8}},
    },
    "generator": {"kind": "mlp", "hidden_features": 16, "num_blocks": 2, "time_features": 8},
}
"""The same on points of the plane."""


def shrunk(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of any preset with networks and lengths that take a second; the method and the data stay."""
    small = copy.deepcopy(settings)
    nets = [small["generator"], *small["method"].get("discriminators", {}).values()]
    for net in nets:
        if net["kind"] == "mlp":
            net |= {"hidden_features": 16} | ({"num_blocks": 2} if "num_blocks" in net else {})
        for one in (TINY_DIGITS["generator"], TINY_DIGITS["method"]["discriminators"]["pair"]):
            if net["kind"] == one["kind"]:
                net |= {key: value for key, value in copy.deepcopy(one).items() if "attention" not in key}
    lengths = {"batch_size": 8, "num_iterations": 4, "score_samples": 40, "accumulation": 1}
    small["training"] = {**small.get("training", {}), **lengths}
    if (
        small["data"] == {"kind": "images"} or "size" in small["data"]
    ):  # whose features are otherwise Inception's
        small["training"]["features"] = "offline"
    return small


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Classifiers that learn for seconds, fewer real and held-out samples, and times that are taken once."""
    patch.setattr(labelled, "IMAGES_SEEN", 4000)
    patch.setattr(labelled, "BATCH_SIZE", 32)
    patch.setattr(reference, "FEWEST_ENDLESS", 1000)
    patch.setattr("ddgan.training.callbacks.NUM_HELD_OUT", 24)
    patch.setattr(measure_speed, "__defaults__", (0.01,))  # its budget of seconds
