"""What ours is measured against: the same networks and the same training step with PyTorch's defaults.

float32, channels outermost, eager; FIR resampling as it is customarily written (zeros between the pixels,
pad, a depthwise convolution, every second pixel); and a discriminator step that keeps the graph of the
generator, through which the backward pass then runs for nothing. Nothing is slow on purpose, and the
reference tests run over it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.data.batch import Batch
from ddgan.losses import adversarial as losses
from ddgan.networks import layers
from ddgan.networks import ncsnpp as generator
from ddgan.networks import resnet as discriminator
from ddgan.networks.kernels import winograd
from ddgan.networks.resample import KERNEL
from ddgan.training import iteration as step
from ddgan.training.iteration import Statistics
from ddgan.training.noise import HalfStepNoise
from ddgan.training.state import TrainState


def filtered(x: Tensor, gain: float, before: int, after: int) -> Tensor:
    """Pad height and width with zeros, then the kernel once per channel."""
    channels = x.shape[1]
    taps = torch.tensor(KERNEL, dtype=x.dtype, device=x.device)
    window = (gain * torch.outer(taps, taps)).expand(channels, 1, 4, 4)
    return F.conv2d(F.pad(x, (before, after, before, after)), window, groups=channels)


def downsample(x: Tensor) -> Tensor:
    """Filter, then keep every second pixel."""
    return filtered(x, 1.0, 1, 1)[:, :, ::2, ::2]


def upsample(x: Tensor) -> Tensor:
    """Zeros between the pixels, then filter."""
    batch, channels, height, width = x.shape
    spread = F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))
    return filtered(spread.reshape(batch, channels, 2 * height, 2 * width), 4.0, 2, 1)


def blur(x: Tensor, padding: int) -> Tensor:
    """Filter alone."""
    return filtered(x, 1.0, padding, padding)


def group_norm_silu(
    norm: nn.GroupNorm, h: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
) -> Tensor:
    """Group norm, scale and shift, SiLU, one after the other."""
    if scale is None or shift is None:
        return F.silu(norm(h))
    normed = F.group_norm(h, norm.num_groups, eps=norm.eps)
    return F.silu(normed * scale[:, :, None, None] + shift[:, :, None, None])


def never(x: Tensor, weight: Tensor) -> bool:
    """No convolution is Winograd's; a mock would keep every x alive in its list of calls."""
    return False


def leave_gradients(optimizer: torch.optim.Adam) -> None:
    """Gradients stay until the next update."""


@contextmanager
def plain_path() -> Iterator[None]:
    """Within it, networks are built and run, and steps taken, the plain way."""
    with (
        mock.patch.dict(layers.RESAMPLERS, {"up": upsample, "down": downsample}),
        mock.patch.object(generator, "blur", blur),
        mock.patch.object(generator, "group_norm_silu", group_norm_silu),
        mock.patch.object(layers, "group_norm_silu", group_norm_silu),
        mock.patch.object(winograd, "pays", never),
        mock.patch.object(discriminator, "downsample", downsample),
        mock.patch.object(step, "discriminator_loss", discriminator_loss),
        mock.patch.object(step, "forget_gradients", leave_gradients),
    ):
        yield


def discriminator_loss(state: TrainState, batch: Batch, noise: HalfStepNoise) -> tuple[Tensor, Statistics]:
    """The loss of D per sample, with G's part of the graph kept."""
    diffusion, objective = state.diffusion, state.objective
    x_0, y, t = batch.images, batch.labels, noise.t
    x_prev, x_t = diffusion.pair(x_0, t, noise.noise_prev, noise.noise_step)
    x_prev.requires_grad_()
    d_real = state.discriminator(x_prev, x_t, t, y)
    prediction = state.generator(x_t, t, noise.z, y)
    fake_prev = diffusion.denoise(prediction, x_t, t, noise.noise_posterior)
    d_fake = state.discriminator(fake_prev, x_t, t, y)
    loss = losses.discriminator_loss(objective.adversarial, d_real, d_fake)
    statistics = {"t_d": t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss}
    for penalty in objective.penalties:
        if (weight := penalty.weight(state.step)) > 0:
            assert penalty.kind == "r1"
            statistics["r1"] = weight * losses.squared_gradient(d_real, x_prev)
            loss = loss + statistics["r1"]
    return loss, step.detached(statistics)
