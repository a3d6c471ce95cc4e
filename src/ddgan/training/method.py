"""Method: what differs between the kinds of models that train here; the run around them is one.

A run (`run`) opens the data, keeps log and checkpoints, goes on after a kill and ends with a model. What
is trained in it is a denoising diffusion GAN, or one of the baselines that the paper compares it with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.data.batch import Batch
from ddgan.models.ddgan import DDGAN
from ddgan.system.processes import Processes
from ddgan.training.cuda_graphs import replayed_step
from ddgan.training.iteration import Statistics, train_step
from ddgan.training.setup import create_state, drawn_noise
from ddgan.training.state import Learner


@dataclass(frozen=True)
class Method:
    """How one kind of model is trained.

    Attributes:
        config: the class of its settings.
        create_state: (settings, processes) -> its training state at step 0.
        step: one iteration, (state, batch, noise) -> statistics.
        draw: (settings, iteration, images of the whole batch) -> the noise of the iteration.
        num_bins: settings -> into how many bins of t the statistics are averaged.
        open: (averaged generator, settings, licence) -> the model that samples; it has `save`.
        judges_pairs: whether D is asked about pairs (x_{t-1}, x_t), also held-out ones.
        replayed: makes a `step` whose updates are replayed as CUDA graphs; None where there is none.
    """

    config: type[RunConfig]
    create_state: Callable[[Any, Processes], Learner]
    step: Callable[[Any, Batch, Any], Statistics]
    draw: Callable[[RunConfig, int, Tensor], Any]
    num_bins: Callable[[Any], int]
    open: Callable[[nn.Module, Any, str], Any]
    judges_pairs: bool = False
    replayed: Callable[[], Callable[[Any, Batch, Any], Statistics]] | None = None


def num_steps(config: RunConfig) -> int:
    """T."""
    return config.diffusion.num_steps


DENOISING_GAN = Method(
    RunConfig,
    create_state,
    train_step,
    drawn_noise,
    num_steps,
    DDGAN,
    judges_pairs=True,
    replayed=replayed_step,
)
"""The paper's own."""
