"""Strokes, variations and inpainting: edits that denoise a picture from a noisy x_t."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddgan.editing.inputs import Picture, read_images, read_mask
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.model import Classes
from ddgan.networks.conditions import Condition
from ddgan.system.arguments import check_seed
from ddgan.system.randomness import ImageNoise

__all__ = ["DEFAULT_ROUNDS", "OnBatch", "half_strength", "inpaint", "repeated", "stroke", "variations"]

OnBatch = Callable[[int], None] | None
DEFAULT_ROUNDS = 8
"""Repetitions of each step in inpainting; see docs/results/editing.md."""
PURPOSE = "an edit"
"""Purpose in the error for a model that is not a DDGAN."""


@torch.no_grad()
def stroke(
    model: DDGAN,
    images: Tensor | Picture | Sequence[Picture],
    strength: int,
    seed: int = 0,
    *,
    classes: Classes = None,
    batch_size: int | None = None,
    on_batch: OnBatch = None,
) -> Tensor:
    """Stroke-guided synthesis: realistic images with the layout and colours of painted ones.

    Args:
        model: any DDGAN.
        images: the painted images, see `ddgan.editing.inputs`.
        strength: t in 0..T, the step to which they are noised: 0 returns them unchanged, T keeps almost
            nothing of them.
        seed: 0 or more.
        classes: the class of all images, or of each; by default none.
        batch_size: images at a time; by default as memory allows.
        on_batch: called with the number of images of each finished batch.

    Returns:
        (B, *sample_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range or does not fit the model, or the model is not a DDGAN.
    """
    check_ddgan(model, PURPOSE)
    num_steps = model.diffusion.num_steps
    if isinstance(strength, bool) or not isinstance(strength, int) or not 0 <= strength <= num_steps:
        raise ValueError(f"strength is {strength}; it must be a step of this model, in 0..{num_steps}")
    x_0 = read_images(model, images)

    def paint(indices: range, noise: ImageNoise, condition: Condition | None) -> Tensor:
        x = x_0[indices.start : indices.stop]
        if strength:
            x = model.diffusion.diffuse(x, _all(strength, x), noise(*model.sample_shape))
            for step in model.chain(x, noise, strength, condition):
                x = step.x_prev
        return x

    return _in_batches(model, len(x_0), seed, classes, batch_size, on_batch, paint)


def variations(
    model: DDGAN,
    image: Tensor | Picture,
    n: int,
    strength: int | None = None,
    seed: int = 0,
    *,
    classes: Classes = None,
    batch_size: int | None = None,
    on_batch: OnBatch = None,
) -> Tensor:
    """Generate n images that share the features of `image` that are still visible in x_t.

    Args:
        model: any DDGAN.
        image: the image to vary, see `ddgan.editing.inputs`.
        n: number of variations, at least 1.
        strength: t in 0..T, the step to which the image is noised; by default half of T, rounded up.
        seed: 0 or more.
        classes: the class of all images, or of each; by default none.
        batch_size: images at a time; by default as memory allows.
        on_batch: called with the number of images of each finished batch.

    Returns:
        (n, *sample_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range or does not fit the model, or the model is not a DDGAN.
    """
    strength = half_strength(model) if strength is None else strength
    images = repeated(read_images(model, image), n)
    return stroke(model, images, strength, seed, classes=classes, batch_size=batch_size, on_batch=on_batch)


def half_strength(model: DDGAN) -> int:
    """Return the middle step of the chain, half of T rounded up."""
    return (model.diffusion.num_steps + 1) // 2


@torch.no_grad()
def inpaint(
    model: DDGAN,
    images: Tensor | Picture | Sequence[Picture],
    mask: Tensor | Picture,
    seed: int = 0,
    *,
    rounds: int = DEFAULT_ROUNDS,
    classes: Classes = None,
    batch_size: int | None = None,
    on_batch: OnBatch = None,
) -> Tensor:
    """Fill the masked part of images to match the rest; known pixels are unchanged.

    Args:
        model: any DDGAN.
        images: the known images, see `ddgan.editing.inputs`.
        mask: white or True where pixels are filled, see `ddgan.editing.inputs.read_mask`.
        seed: 0 or more.
        rounds: repetitions of each step, at least 1; between two rounds x_{t-1} is noised to x_t again.
        classes: the class of all images, or of each; by default none.
        batch_size: images at a time; by default as memory allows.
        on_batch: called with the number of images of each finished batch.

    Returns:
        (B, *sample_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range, image or mask do not fit the model, or the model is not a
            DDGAN.
    """
    check_ddgan(model, PURPOSE)
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; it must be at least 1")
    first = images[0] if isinstance(images, list | tuple) and images else images
    x_0 = read_images(model, images)
    unknown = read_mask(model, mask, first)  # type: ignore[arg-type]
    if unknown.ndim > len(model.sample_shape) and len(unknown) not in (1, len(x_0)):
        raise ValueError(f"mask has {len(unknown)} entries for {len(x_0)} images; give one, or one per image")
    unknown = unknown.expand(x_0.shape)

    def fill(indices: range, noise: ImageNoise, condition: Condition | None) -> Tensor:
        batch = slice(indices.start, indices.stop)
        known_noise = ImageNoise(seed, indices, model.device, "known pixels")
        return _filled(model, x_0[batch], unknown[batch], rounds, noise, known_noise, condition)

    return _in_batches(model, len(x_0), seed, classes, batch_size, on_batch, fill)


def _filled(
    model: DDGAN,
    x_0: Tensor,
    unknown: Tensor,
    rounds: int,
    noise: ImageNoise,
    known_noise: ImageNoise,
    condition: Condition | None,
) -> Tensor:
    shape, diffusion = model.sample_shape, model.diffusion

    def merged(x: Tensor, t: int) -> Tensor:
        return torch.where(unknown, x, diffusion.diffuse(x_0, _all(t, x), known_noise(*shape)))

    x = merged(noise(*shape), diffusion.num_steps)
    for t in range(diffusion.num_steps, 0, -1):
        for again in range(rounds):
            if again:
                x = diffusion.renoise(x, _all(t, x), known_noise(*shape))
            step = next(model.chain(x, noise, t, condition))
            x = merged(step.x_prev, t - 1)
    return x


def repeated(images: Tensor, n: int) -> Tensor:
    """Repeat each image n times in a row: (B * n, *sample_shape)."""
    if n < 1:
        raise ValueError(f"n is {n}; it must be at least 1")
    return images.repeat_interleave(n, dim=0)


def _in_batches(
    model: DDGAN,
    n: int,
    seed: int,
    classes: Classes,
    batch_size: int | None,
    on_batch: OnBatch,
    edit: Callable[[range, ImageNoise, Condition | None], Tensor],
) -> Tensor:
    """Run edit(indices, noise, condition) over 0..n-1 in batches; results are moved to the CPU.

    Without classes, images of a class-conditional model have the null class.
    """
    null = model.num_classes or None
    condition = model.condition_for(n, null if classes is None else classes)
    check_seed(seed)
    parts = []
    for indices in model.split(n, batch_size):
        own = None if condition is None else condition.rows(slice(indices.start, indices.stop))
        parts.append(edit(indices, ImageNoise(seed, indices, model.device), own).cpu())
        if on_batch is not None:
            on_batch(len(indices))
    return torch.cat(parts)


def _all(t: int, x: Tensor) -> Tensor:
    return torch.full((len(x),), t, device=x.device)
