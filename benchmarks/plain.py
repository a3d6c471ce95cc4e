"""The baseline of the benchmarks: the same networks and training step with PyTorch's defaults.

float32, channels first, eager; FIR resampling as usually written (insert zeros between pixels, pad, depthwise
convolution, take every second pixel); and a discriminator step that keeps the generator's graph, through
which the backward pass then runs in vain. Nothing is slow on purpose, and the reference tests cover it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.data.batch import Batch
from ddgan.losses.penalties import squared_gradient
from ddgan.networks import layers, ncsnpp, resnet
from ddgan.networks.kernels import winograd
from ddgan.networks.resample import KERNEL
from ddgan.training import iteration
from ddgan.training.methods.denoising_gan import DenoisingGAN
from ddgan.training.noise import StepNoise
from ddgan.training.optimizers import guarded_update
from ddgan.training.state import Terms, TrainState, Update, UpdateStatistics


def filtered(x: Tensor, gain: float, before: int, after: int) -> Tensor:
    """Pad height and width with zeros, then filter each channel with the kernel."""
    channels = x.shape[1]
    taps = torch.tensor(KERNEL, dtype=x.dtype, device=x.device)
    window = (gain * torch.outer(taps, taps)).expand(channels, 1, 4, 4)
    return F.conv2d(F.pad(x, (before, after, before, after)), window, groups=channels)


def downsample(x: Tensor) -> Tensor:
    """Filter, then keep every second pixel."""
    return filtered(x, 1.0, 1, 1)[:, :, ::2, ::2]


def upsample(x: Tensor) -> Tensor:
    """Insert zeros between the pixels, then filter."""
    batch, channels, height, width = x.shape
    spread = F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))
    return filtered(spread.reshape(batch, channels, 2 * height, 2 * width), 4.0, 2, 1)


def blur(x: Tensor, padding: int) -> Tensor:
    """Filter without resampling."""
    return filtered(x, 1.0, padding, padding)


def group_norm_silu(
    norm: nn.GroupNorm, h: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
) -> Tensor:
    """Apply group norm, scale and shift, and SiLU, one after the other."""
    if scale is None or shift is None:
        return F.silu(norm(h))
    normed = F.group_norm(h, norm.num_groups, eps=norm.eps)
    return F.silu(normed * scale[:, :, None, None] + shift[:, :, None, None])


def never(x: Tensor, weight: Tensor) -> bool:
    """Use Winograd for no convolution; a mock would keep every x alive in its list of calls."""
    return False


def take(
    state: TrainState, update: Update, batch: Batch, noise: StepNoise
) -> tuple[UpdateStatistics, Tensor]:
    """Update one network once; its gradients stay allocated until the next update."""
    optimizer = state.optimizers[update.name]
    optimizer.zero_grad()
    for name in update.freezes:
        state.networks[name].requires_grad_(False)
    terms, statistics = update.loss(state, batch, noise)
    iteration.total(terms).mean().backward()
    for name in update.freezes:
        state.networks[name].requires_grad_(True)
    skipped = guarded_update(optimizer, state.learning_rate(update.name))
    return {name: value.detach() for name, value in statistics.items()}, skipped


def discriminator_loss(
    method: DenoisingGAN, state: TrainState, batch: Batch, noise: StepNoise
) -> tuple[Terms, UpdateStatistics]:
    """Compute the loss of D per sample, keeping G's part of the graph."""
    diffusion, own, condition = state.diffusion, noise.discriminator, batch.condition
    (discriminator,) = state.discriminators.values()
    x_prev, x_t = diffusion.pair(batch.x, own.t, own.noise_prev, own.noise_step)
    x_prev.requires_grad_()
    d_real = discriminator(x_prev, x_t, own.t, condition)
    prediction = state.generator(x_t, own.t, own.z, condition)
    fake_prev = diffusion.denoise(prediction, x_t, own.t, own.noise_posterior)
    d_fake = discriminator(fake_prev, x_t, own.t, condition)
    loss = method.adversarial.discriminator(d_real, d_fake)
    terms = {"adversarial": loss}
    statistics = {"t": own.t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss}
    for penalty in method.penalties:
        if (weight := penalty.scale(state.step) * penalty.gamma) > 0:
            assert penalty.kind == "r1"
            terms["r1"] = statistics["r1"] = weight * squared_gradient(d_real, x_prev)
    return terms, statistics


@contextmanager
def plain_path() -> Iterator[None]:
    """Inside the block, build, run and train networks in the plain way."""
    with (
        mock.patch.dict(layers.RESAMPLERS, {"up": upsample, "down": downsample}),
        mock.patch.object(ncsnpp, "blur", blur),
        mock.patch.object(ncsnpp, "group_norm_silu", group_norm_silu),
        mock.patch.object(layers, "group_norm_silu", group_norm_silu),
        mock.patch.object(winograd, "pays", never),
        mock.patch.object(resnet, "downsample", downsample),
        mock.patch.object(DenoisingGAN, "discriminator_loss", discriminator_loss),
        mock.patch.object(iteration, "take", take),
    ):
        yield
