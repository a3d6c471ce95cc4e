"""DDGAN: a trained denoising diffusion GAN, which samples in T large steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ddgan.diffusion.chain import Noise, Step, denoising_steps
from ddgan.models.model import Classes, TrainedModel
from ddgan.models.opening import load
from ddgan.models.precision import Precision
from ddgan.networks.conditions import Condition
from ddgan.system.arguments import check_seed
from ddgan.system.randomness import ImageNoise

__all__ = ["DDGAN", "check_ddgan"]


class DDGAN(TrainedModel):
    """A generator that predicts x_0 from x_t and a latent, with the diffusion that it was trained with.

    The arguments are those of `TrainedModel`: generator, settings of the run, sample shape, licence.
    """

    @property
    def nfe(self) -> int:
        """Network evaluations per sample: T."""
        return self.diffusion.num_steps

    def generate(self, noise: ImageNoise, condition: Condition | None) -> Tensor:
        x_t = noise(*self.sample_shape)
        for step in self.chain(x_t, noise, condition=condition):
            x_t = step.x_prev
        return x_t

    @torch.no_grad()
    def steps(self, n: int, seed: int = 0, classes: Classes = None) -> list[Step]:
        """Return the T denoising steps of samples 0..n-1, from x_T to x_0; the last x_prev are the samples.

        Raises:
            ValueError: if the seed is negative, a class is unknown, the model has no classes, or memory does
                not allow so many samples at once.
        """
        self.split(n, n)
        return list(self.chain(*self.start(seed, range(n)), condition=self.condition_for(n, classes)))

    def chain(
        self, x_t: Tensor, noise: Noise, start: int | None = None, condition: Condition | None = None
    ) -> Iterator[Step]:
        """Yield the steps of the reverse chain from x_t at step `start` (default T), under a condition."""
        denoiser = partial(_told, self, condition)
        return denoising_steps(denoiser, self.diffusion, x_t, noise, self.config.generator.latent_size, start)

    def start(self, seed: int, indices: range) -> tuple[Tensor, ImageNoise]:
        """Return x_T of these images, (B, *sample_shape), and the noise for the rest of their chain.

        Raises:
            ValueError: if the seed is negative.
        """
        check_seed(seed)
        noise = ImageNoise(seed, indices, self.device)
        return noise(*self.sample_shape), noise

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: torch.device | str = "cpu",
        *,
        ema: float | None = None,
        precision: Precision = "float32",
    ) -> DDGAN:
        """Open a run folder, a checkpoint, a weights file or a model by name, with its settings.

        Args:
            source: a path, the name of a model that comes with the package (see `ddgan models`), or
                "user/name" (or "user/name@revision") on the Hub; looked for in this order.
            device: device of the weights.
            ema: half-life of the EMA to open, in thousands of images (optimization.ema.half_lives); by
                default the main EMA, of optimization.ema.decay.
            precision: precision of the generator, see `set_precision`.

        Raises:
            ValueError: if `source` is none of these or cannot be fetched, the file is damaged or has another
                format, the run has no such EMA, or it was trained by another method (see `ddgan.load`).
        """
        model = load(source, device, ema=ema, precision=precision)
        if not isinstance(model, DDGAN):
            raise ValueError(
                f"'{source}' was trained by the method {model.config.method.kind}, so it is not a denoising "
                "diffusion GAN; open it with ddgan.load"
            )
        return model

    def push_to_hub(
        self, repo: str, *, license: str | None = None, private: bool = False, token: str | None = None
    ) -> str:
        """Upload the weights and a model card to the Hub repository "user/name"; return its address.

        See `ddgan.models.publishing.push_to_hub`.
        """
        from ddgan.models.publishing import push_to_hub

        return push_to_hub(self, repo, license=license, private=private, token=token)


def check_ddgan(model: TrainedModel, purpose: str) -> None:
    """Check that a model is a DDGAN, for uses of its reverse chain.

    Args:
        model: any model.
        purpose: the use that needs the chain, for the message.

    Raises:
        ValueError: if the model was trained by another method.
    """
    if not isinstance(model, DDGAN):
        raise ValueError(
            f"the model was trained by the method {model.config.method.kind}, but {purpose} needs a "
            "denoising diffusion GAN; use a model of the method denoising_gan"
        )


def _told(model: DDGAN, condition: Condition | None, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
    return model.predict(x_t, t, z, condition)
