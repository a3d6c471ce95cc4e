"""DDGAN: a trained generator with its diffusion and its configuration, ready to sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.diffusion.chain import Noise, Step, denoising_steps, in_batches
from ddgan.diffusion.process import Diffusion
from ddgan.models.opening import open_weights
from ddgan.models.precision import Precision, channels_innermost, choose_precision, in_bf16, in_its_type
from ddgan.models.weights_file import WEIGHTS_NAME, load_weights, write_weights
from ddgan.networks import batch_that_fits, build_generator
from ddgan.networks.kernels.winograd import kernels_kept
from ddgan.system.randomness import ImageNoise


class DDGAN:
    """A generator, the diffusion it was trained with, and the settings of its run.

    Args:
        generator: G(x_t, t, z) -> prediction; for a trained model the average of its weights.
        config: the run's settings.
        license: of the weights, in words; empty where nobody stated one. It goes where the weights go.

    Attributes:
        source: the file that the weights were read from; None for a model made in memory.
        precision: what the generator computes in, "float32" or "bf16"; see `set_precision`.
    """

    source: Path | None = None
    precision: Literal["float32", "bf16"] = "float32"

    def __init__(self, generator: nn.Module, config: RunConfig, license: str = "") -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.config = config
        self.license = license
        self.diffusion = Diffusion(config.diffusion).to(self.device)
        self._network = in_its_type(self.generator)  # what the chain calls
        self.is_compiled = False

    def __repr__(self) -> str:
        return (
            f"DDGAN(state_shape={self.state_shape}, T={self.calls_per_image}, "
            f"{self.num_parameters / 1e6:.1f}M parameters, {self.precision} on {self.device})"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.generator.parameters()).device

    @property
    def num_parameters(self) -> int:
        """How many numbers the generator has learned."""
        return sum(parameter.numel() for parameter in self.generator.parameters())

    @property
    def state_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W), or (F,) for points."""
        return self.config.generator.state_shape

    def to(self, device: torch.device | str) -> DDGAN:
        """Move to a device; returns self."""
        self.generator.to(device)
        self._network.to(device)
        self.diffusion.to(device)
        return self

    def set_precision(self, precision: Precision) -> DDGAN:
        """Choose what the generator computes in; the weights, and what `save` writes, stay float32.

        Args:
            precision: "float32", "bf16" (one call of the published networks differs by a relative 5e-3, of
                others by up to a few hundredths), or "auto": bf16 where the device has instructions for it.

        Returns:
            The model itself.

        Raises:
            ValueError: if it is none of these.
        """
        self.precision = choose_precision(precision, self.device)
        self._network = (in_bf16 if self.precision == "bf16" else in_its_type)(self.generator)
        self.is_compiled = False
        return self

    def compile(self) -> DDGAN:
        """Compile the generator (torch.compile; CUDA graphs on a GPU); returns the model.

        The first call then takes minutes, which many thousands of images repay; so does the first call at
        each other batch size, and the last batch of `batches` is as large as the others for that reason.
        """
        x_t, noise = self.start(0, range(1))
        next(iter(self.chain(x_t, noise)))  # so that what a network makes once is there, see `resample`
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        self._network.compile(mode=mode, dynamic=False)
        self.is_compiled = True
        return self

    def default_batch_size(self) -> int:
        """How many samples fit the memory budget at once."""
        return batch_that_fits(self.config.generator, self.device)

    @property
    def calls_per_image(self) -> int:
        """How often the generator is called for a sample (NFE): T."""
        return self.diffusion.num_steps

    @property
    def num_classes(self) -> int:
        """How many classes the model knows; 0 if it was trained without."""
        assert self.config.num_classes != "auto"
        return self.config.num_classes

    def grid_columns(self) -> int | None:
        """Columns of a grid of samples: one per class where that can be shown, else as square as possible."""
        return self.num_classes if 1 < self.num_classes <= 20 else None

    @torch.no_grad()
    def batches(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        on_batch: Callable[[int], None] | None = None,
        classes: int | Sequence[int] | None = None,
    ) -> Iterator[Tensor]:
        """Yield n samples in batches (B, *state_shape), on the model's device.

        `on_batch` is told the number of samples of each finished batch; for the others, and what is
        refused, see `sample`.
        """
        parts = self.split(n, batch_size)
        y = self.labels(n, classes)
        with kernels_kept(self._network):
            for indices in parts:
                count = len(indices)
                if self.is_compiled:
                    indices = range(indices.start, indices.start + len(parts[0]))
                # Where a batch is filled up beyond the last image, classes go round.
                of_batch = None if y is None else y.roll(-indices.start)[: len(indices)]
                x_t, noise = self.start(seed, indices)
                for step in self.chain(x_t, noise, y=of_batch):
                    x_t = step.x_prev
                if on_batch is not None:
                    on_batch(count)
                yield x_t[:count]

    def sample(
        self,
        n: int,
        seed: int = 0,
        batch_size: int | None = None,
        *,
        classes: int | Sequence[int] | None = None,
        progress: bool = False,
    ) -> Tensor:
        """n new samples, float32 (n, *state_shape) on the CPU; images are in [-1, 1].

        Image i depends on (seed, i) alone: it is the same whatever n and the batch size, but for rounding
        (products are summed in another order: some 1e-7 in float32, up to a grey level or so in bf16).

        Args:
            n: how many, at least 1.
            seed: 0 or more.
            batch_size: samples at a time; by default sized to memory.
            classes: the class of all samples, or of each, in 0..num_classes, where num_classes is the
                null class; by default sample i has class i modulo num_classes.
            progress: show a progress bar.

        Raises:
            ValueError: if an argument is out of range, or the model knows no classes.
        """
        from ddgan.system.progress import progress_bar

        with progress_bar("sampling", n, enabled=progress) as advance:
            return torch.cat([batch.cpu() for batch in self.batches(n, seed, batch_size, advance, classes)])

    @torch.no_grad()
    def steps(self, n: int, seed: int = 0, classes: int | Sequence[int] | None = None) -> list[Step]:
        """The T denoising steps of samples 0..n-1, from x_T to x_0; the last x_prev are the samples.

        Raises:
            ValueError: if the seed is negative, a class unknown, or the model knows none.
        """
        return list(self.chain(*self.start(seed, range(n)), y=self.labels(n, classes)))

    def chain(
        self, x_t: Tensor, noise: Noise, start: int | None = None, y: Tensor | None = None
    ) -> Iterator[Step]:
        """The reverse chain of this model from x_t at step `start` (default T), with classes y (B,)."""
        latent_size = self.config.generator.latent_size
        network = partial(_kept, self._network) if self.is_compiled else self._network
        denoiser = network if y is None else partial(_with_classes, network, y)
        return denoising_steps(denoiser, self.diffusion, x_t, noise, latent_size, start)

    def labels(self, n: int, classes: int | Sequence[int] | None = None) -> Tensor | None:
        """The class of each of n samples (n,), on the model's device; None without classes.

        Raises:
            ValueError: if a class is unknown, or the model knows none.
        """
        count = self.num_classes
        if classes is None:
            return torch.arange(n, device=self.device) % count if count else None
        if not count:
            raise ValueError("classes were given, but this model was trained without; leave them out")
        y = torch.as_tensor(classes).expand(n) if isinstance(classes, int) else torch.as_tensor(classes)
        if y.shape != (n,):
            raise ValueError(f"classes has {y.numel()} entries; it must be one class, or {n}: one per sample")
        if y.min() < 0 or y.max() > count:
            wrong = int(y[(y < 0) | (y > count)][0])
            raise ValueError(f"class {wrong} is unknown; classes are 0..{count - 1}, and {count} for none")
        return y.to(self.device, torch.int64)

    def start(self, seed: int, indices: range) -> tuple[Tensor, ImageNoise]:
        """x_T of these images, (B, *state_shape), and the noise that their chain goes on with.

        Raises:
            ValueError: if the seed is negative.
        """
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must be 0 or more")
        noise = ImageNoise(seed, indices, self.device)
        return noise(*self.state_shape), noise

    def split(self, n: int, batch_size: int | None = None) -> list[range]:
        """The numbers 0..n-1 in batches of nearly equal size, by default sized to memory."""
        return in_batches(n, self.default_batch_size() if batch_size is None else batch_size)

    def save(self, path: str | Path) -> Path:
        """Write the weights and the whole configuration as one .safetensors file; returns its path.

        A folder gets a file named model.safetensors. The file appears whole or not at all.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            path.mkdir(parents=True, exist_ok=True)
            path = path / WEIGHTS_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, self.generator.state_dict(), self.config, self.license)
        return path

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: torch.device | str = "cpu",
        *,
        ema: float | None = None,
        precision: Precision = "float32",
    ) -> DDGAN:
        """Open a run folder, a checkpoint of it, a .safetensors file or a Hub name, with its settings.

        Args:
            source: a path, or "user/name" (or "user/name@revision") on the Hub; what exists locally wins.
            device: where the weights go.
            ema: of a run with several averages, the one with this half-life in thousands of images
                (optimization.ema_half_lives); by default the one of optimization.ema_decay.
            precision: what the generator computes in; see `set_precision`.

        Raises:
            ValueError: if `source` is none of these or cannot be fetched, or the file is damaged or not of
                this format, or the run has no such average.
        """
        tensors, config, license, path = open_weights(source, ema)
        generator = build_generator(config.generator, int(config.num_classes))
        load_weights(generator, tensors, path)
        if config.training.channels_last:
            channels_innermost(generator)
        model = cls(generator.to(device), config, license).set_precision(precision)
        model.source = path
        return model

    def push_to_hub(
        self, repo: str, *, license: str | None = None, private: bool = False, token: str | None = None
    ) -> str:
        """Upload the weights with a model card to the Hub repository "user/name"; returns its address.

        See `ddgan.models.hub.push_to_hub`.
        """
        from ddgan.models.hub import push_to_hub

        return push_to_hub(self, repo, license=license, private=private, token=token)


def _kept(network: nn.Module, *inputs: Tensor) -> Tensor:
    """The output in memory of its own: the next call of a compiled network may write over it."""
    return network(*inputs).clone()


def _with_classes(generator: Callable[..., Tensor], y: Tensor, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
    return generator(x_t, t, z, y)
