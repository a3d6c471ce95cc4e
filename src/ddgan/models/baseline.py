"""Baseline: a trained model that the paper compares with; it is sampled, saved and scored as a DDGAN is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ddgan.diffusion.chain import in_batches
from ddgan.models.weights_file import BASELINE_FORMAT, WEIGHTS_NAME, write_weights
from ddgan.networks import batch_that_fits
from ddgan.system.randomness import ImageNoise
from ddgan.training.methods.baseline_config import BaselineConfig


class Baseline(ABC):
    """A network with the settings it was trained with; the kinds differ in `images_of`.

    Args:
        generator: the network; for a trained model the average of its weights.
        config: the run's settings.
        license: of the weights, in words.
    """

    num_classes = 0
    precision = "float32"
    is_compiled = False

    def __init__(self, generator: nn.Module, config: BaselineConfig, license: str = "") -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.config = config
        self.license = license

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.generator.parameters()).device

    @property
    def state_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W), or (F,) for points."""
        return self.config.generator.state_shape

    @property
    def calls_per_image(self) -> int:
        """How often the network is called for a sample (NFE)."""
        return 1

    def to(self, device: torch.device | str) -> Baseline:
        """Move to a device; returns self."""
        self.generator.to(device)
        return self

    def default_batch_size(self) -> int:
        """How many samples fit the memory budget at once."""
        return batch_that_fits(self.config.generator, self.device)

    def grid_columns(self) -> int | None:
        """Columns of a grid of samples: as square as possible."""
        return None

    @abstractmethod
    def images_of(self, noise: ImageNoise) -> Tensor:
        """The samples (B, *state_shape) that are made of this noise."""

    @torch.no_grad()
    def batches(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        on_batch: Callable[[int], None] = lambda count: None,
    ) -> Iterator[Tensor]:
        """Yield n samples in batches (B, *state_shape), on the model's device.

        Sample i depends on (seed, i) alone; `on_batch` is told the size of each finished batch.

        Raises:
            ValueError: if n, the seed or the batch size is out of range.
        """
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must be 0 or more")
        for indices in in_batches(n, self.default_batch_size() if batch_size is None else batch_size):
            samples = self.images_of(ImageNoise(seed, indices, self.device))
            on_batch(len(indices))
            yield samples

    def sample(self, n: int, seed: int = 0, batch_size: int | None = None) -> Tensor:
        """n samples, float32 (n, *state_shape) on the CPU; images are in [-1, 1].

        Args:
            n: how many, at least 1.
            seed: 0 or more; sample i depends on (seed, i) alone.
            batch_size: samples at a time; by default sized to memory.

        Raises:
            ValueError: if an argument is out of range.
        """
        return torch.cat([batch.cpu() for batch in self.batches(n, seed, batch_size)])

    def save(self, path: str | Path) -> Path:
        """Write weights and settings as one .safetensors file; returns its path. See `load_baseline`."""
        path = Path(path)
        if path.suffix != ".safetensors":
            path.mkdir(parents=True, exist_ok=True)
            path = path / WEIGHTS_NAME
        write_weights(path, self.generator.state_dict(), self.config, self.license, BASELINE_FORMAT)
        return path
