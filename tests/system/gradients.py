"""For `test_processes`: the averaged gradients of two training steps as a process sees them, in a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ddgan import RunConfig
from ddgan.data import StackedDigits
from ddgan.system.processes import join_processes
from ddgan.training.iteration import train_step
from ddgan.training.setup import create_state, training_inputs

SETTINGS = {
    "data": "digits",
    "generator": {
        "kind": "ncsnpp",
        "image_size": 8,
        "base_channels": 8,
        "channel_multipliers": [1, 1],
        "num_blocks": 1,
        "attention_resolutions": [4],
        "latent_size": 4,
        "mapping_features": 8,
        "mapping_depth": 1,
    },
    "discriminator": {
        "base_channels": 8,
        "channel_multipliers": [1, 1],
        "downsample": [False, True],
        "time_features": 8,
        "stddev_group": 0,  # the only layer that couples the images of a batch
    },
    "objective": {
        "penalties": [{"kind": "r1", "gamma": 0.5, "every": 2}, {"kind": "r2", "gamma": 0.5, "every": 2}],
        "reconstruction": "l2",
    },
    "optimization": {"generator_lr": 1e-4, "discriminator_lr": 1e-4},
    "training": {"batch_size": 8, "horizontal_flip": False, "device": "cpu"},
}


def write_gradients(folder: Path, accumulation: int) -> None:
    """Take two steps in float64; the second sees what the first has changed."""
    training = SETTINGS["training"] | {"accumulation": accumulation}  # type: ignore[operator]
    config = RunConfig.from_dict(SETTINGS | {"training": training})
    processes = join_processes("cpu")
    state = create_state(config, processes)
    for network in (state.generator, state.discriminator, *state.averages):
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
    state.optimizer_d.register_step_pre_hook(lambda *_: note("d", state.discriminator))
    state.optimizer_g.register_step_pre_hook(lambda *_: note("g", state.generator))
    for step in range(2):
        statistics = train_step(state, *inputs(step))
        assert ("r1" in statistics) == (step == 0)
    torch.save(seen, folder / f"{processes.rank}.pt")


class Doubled:
    """Data in float64."""

    def __init__(self, data: StackedDigits) -> None:
        self._data, self.state_shape, self.num_classes = data, data.state_shape, data.num_classes

    def batch(self, step: int, size: int, rows: slice) -> object:
        batch = self._data.batch(step, size, rows)
        return batch._replace(images=batch.images.double())
