"""For `test_processes`: the averaged gradients of two training steps as a process sees them, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.data.digits import StackedDigits
from ddgan.system.processes import join_processes
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state, training_inputs

SETTINGS: dict[str, Any] = {
    "data": {"kind": "digits"},
    "generator": {
        "kind": "ncsnpp",
        "base_channels": 8,
        "channel_multipliers": [1, 1],
        "num_blocks": 1,
        "attention_resolutions": [4],
        "latent_size": 4,
        "mapping_features": 8,
        "mapping_depth": 1,
    },
    "method": {
        "kind": "denoising_gan",
        "penalties": [
            {"kind": "r1", "gamma": 0.5, "every": 2},
            {"kind": "r2", "gamma": 0.5, "every": 2},
        ],
        "reconstruction": {"kind": "l2"},
        "discriminators": {
            "pair": {
                "kind": "resnet",
                "base_channels": 8,
                "channel_multipliers": [1, 1],
                "downsample": [False, True],
                "time_features": 8,
                "stddev_group": 0,  # the only layer that couples the images of a batch
            }
        },
    },
    "optimization": {
        "generator": {"kind": "adam", "lr": 1e-4},
        "discriminator": {"kind": "adam", "lr": 1e-4},
    },
    "training": {"batch_size": 8, "device": "cpu"},
}


def write_gradients(folder: Path, accumulation: int) -> None:
    """Take two steps in float64; the second sees what the first has changed."""
    config = RunConfig.from_dict(SETTINGS).changed({"training.accumulation": accumulation})
    processes = join_processes("cpu")
    state = create_state(config, StackedDigits.sample_shape, processes)
    for network in state.saved_networks().values():
        network.double()
        with torch.no_grad():  # away from the start, where many gradients are nearly zero
            for parameter in network.parameters():
                rng = torch.Generator().manual_seed(1)
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng).double())
    state.diffusion = type(state.diffusion)(config.diffusion, dtype=torch.float64)
    inputs = training_inputs(config, Doubled(StackedDigits(seed=0)), processes)
    seen: dict[str, Tensor] = {}

    def note(side: str, network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            seen[f"{state.step}.{side}.{name}"] = parameter.grad.clone()

    # Before Adam takes them, since they are forgotten right after.
    for name, optimizer in state.optimizers.items():
        optimizer.register_step_pre_hook(lambda *_, name=name: note(name[0], state.networks[name]))
    for step in range(2):
        statistics = iterate(state, *inputs(step))
        assert ("r1" in statistics["discriminator"]) == (step == 0)
    torch.save(seen, folder / f"{processes.rank}.pt")


class Doubled:
    """Data in float64."""

    def __init__(self, data: StackedDigits) -> None:
        self._data, self.sample_shape, self.conditions = data, data.sample_shape, data.conditions
        self.checksum = data.checksum

    def batch(self, step: int, size: int, rows: slice = slice(None)) -> Batch:
        batch = self._data.batch(step, size, rows)
        return batch._replace(x=batch.x.double())

    def held_out(self, size: int) -> None:
        return None
