"""Settings of runs that take about a second, as plain values."""

from __future__ import annotations

from typing import Any

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
