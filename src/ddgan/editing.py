"""Editing with the reverse chain: strokes, holes, paths between samples (paper section 5, Fig 8 and 9).

Nothing is trained for it. A picture is taken forward to a noisy x_t, which forgets its details but not
its layout, and the chain of the model leads back from there::

    stroke      x_t ~ q(x_t | x_0), t = strength;  then x_{t-1} .. x_0 by the model
    inpaint     after each step, known pixels are replaced by q(x_{t-1} | x_0) of the picture; going back and
                forth between x_{t-1} and x_t lets both parts agree (Lugmayr et al., "RePaint", 2022)
    interpolate all noises and latents of two samples, mixed on the sphere

Image i of a result depends on its input and (seed, i) alone. Images are (B, *state_shape), in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.inputs import Picture, read_images, read_mask
from ddgan.model import DDGAN
from ddgan.random import ImageNoise

Classes = int | Sequence[int] | None
OnBatch = Callable[[int], None] | None
DEFAULT_ROUNDS = 8
"""How often inpainting makes each step; see docs/results/editing.md."""
NEARLY_PARALLEL = 1e-3
"""Below this sine of their angle, two noises are mixed on the straight line between them."""


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
        model: any model.
        images: what was painted, see `ddgan.inputs`.
        strength: t in 0..T, the step to which they are taken forward: 0 returns them, T leaves hardly
            anything of them.
        seed: 0 or more.
        classes: the class of all, or of each; by default none is given.
        batch_size: images at a time; by default sized to memory.
        on_batch: is told the number of images of each finished batch.

    Returns:
        (B, *state_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range or does not fit the model.
    """
    num_steps = model.diffusion.num_steps
    if isinstance(strength, bool) or not isinstance(strength, int) or not 0 <= strength <= num_steps:
        raise ValueError(f"strength is {strength}; it must be a step of this model, in 0..{num_steps}")
    x_0 = read_images(model, images)

    def paint(indices: range, noise: ImageNoise, y: Tensor | None) -> Tensor:
        x = x_0[indices.start : indices.stop]
        if strength:
            x = model.diffusion.diffuse(x, _all(strength, x), noise(*model.state_shape))
            for step in model.chain(x, noise, strength, y):
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
    """n images that share what x_t still shows of `image`, t = strength; see `stroke`.

    By default the strength is half of T, rounded up.
    """
    strength = half_strength(model) if strength is None else strength
    images = repeated(read_images(model, image), n)
    return stroke(model, images, strength, seed, classes=classes, batch_size=batch_size, on_batch=on_batch)


def half_strength(model: DDGAN) -> int:
    """The middle step of the chain, half of T rounded up."""
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
    """Make the masked part of images new, so that it fits the rest; known pixels stay exactly.

    Args:
        model: any model.
        images: what is known, see `ddgan.inputs`.
        mask: white or True where pixels are made new, see `ddgan.inputs.read_mask`.
        seed: 0 or more.
        rounds: how often each step is made, at least 1; between two rounds x_{t-1} is noised to x_t again.
        classes: the class of all, or of each; by default none is given.
        batch_size: images at a time; by default sized to memory.
        on_batch: is told the number of images of each finished batch.

    Returns:
        (B, *state_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range, or image or mask do not fit the model.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; it must be at least 1")
    first = images[0] if isinstance(images, list | tuple) and images else images
    x_0 = read_images(model, images)
    unknown = read_mask(model, mask, first)  # type: ignore[arg-type]
    if unknown.ndim > len(model.state_shape) and len(unknown) not in (1, len(x_0)):
        raise ValueError(f"mask has {len(unknown)} entries for {len(x_0)} images; give one, or one for each")
    unknown = unknown.expand(x_0.shape)

    def fill(indices: range, noise: ImageNoise, y: Tensor | None) -> Tensor:
        batch = slice(indices.start, indices.stop)
        known_noise = ImageNoise(seed, indices, model.device, "known pixels")
        return _filled(model, x_0[batch], unknown[batch], rounds, noise, known_noise, y)

    return _in_batches(model, len(x_0), seed, classes, batch_size, on_batch, fill)


def _filled(
    model: DDGAN,
    x_0: Tensor,
    unknown: Tensor,
    rounds: int,
    noise: ImageNoise,
    known_noise: ImageNoise,
    y: Tensor | None,
) -> Tensor:
    shape, diffusion = model.state_shape, model.diffusion

    def merged(x: Tensor, t: int) -> Tensor:
        return torch.where(unknown, x, diffusion.diffuse(x_0, _all(t, x), known_noise(*shape)))

    x = merged(noise(*shape), diffusion.num_steps)
    for t in range(diffusion.num_steps, 0, -1):
        for again in range(rounds):
            if again:
                x = diffusion.renoise(x, _all(t, x), known_noise(*shape))
            step = next(model.chain(x, noise, t, y))
            x = merged(step.x_prev, t - 1)
    return x


@torch.no_grad()
def interpolate(
    model: DDGAN,
    n: int,
    seeds: tuple[int, int] = (0, 1),
    num_frames: int = 8,
    *,
    classes: Classes = None,
    batch_size: int | None = None,
    on_batch: OnBatch = None,
) -> Tensor:
    """Paths from samples 0..n-1 of one seed to those of another, by way of their noises and latents.

    Args:
        model: any model.
        n: how many paths, at least 1.
        seeds: where they start and end, each 0 or more; the ends are `model.sample(n, seed)`.
        num_frames: images on a path, the two ends included, at least 2.
        classes: the class of all, or of each path; by default path i has class i modulo num_classes.
        batch_size: images at a time, at least one path; by default sized to memory.
        on_batch: is told the number of images of each finished batch.

    Returns:
        (n, num_frames, *state_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range.
    """
    if num_frames < 2:
        raise ValueError(f"num_frames is {num_frames}; a path has at least its 2 ends")
    y = model.labels(n, classes)
    shares = torch.linspace(0, 1, num_frames, device=model.device)
    size = model.default_batch_size() if batch_size is None else batch_size
    paths = []
    for indices in model.split(n, max(size // num_frames, min(size, 1))):
        (first, first_noise), (second, second_noise) = (model.start(seed, indices) for seed in seeds)
        noise = _MixedNoise(first_noise, second_noise, shares)
        labels = None if y is None else y[indices.start : indices.stop].repeat_interleave(num_frames)
        x = mixed(first, second, shares)
        for step in model.chain(x, noise, y=labels):
            x = step.x_prev
        paths.append(x.unflatten(0, (len(indices), num_frames)).cpu())
        if on_batch is not None:
            on_batch(len(x))
    return torch.cat(paths)


@dataclass(frozen=True)
class _MixedNoise:
    """The noise of every frame of paths between two batches of images."""

    first: ImageNoise
    second: ImageNoise
    shares: Tensor

    def __call__(self, *shape: int) -> Tensor:
        return mixed(self.first(*shape), self.second(*shape), self.shares)


def mixed(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Spherical interpolation between rows of noise (B, ...) at `shares` (F,) in 0..1: (B * F, ...).

    sin((1 - s) w) / sin(w) first + sin(s w) / sin(w) second, where w is the angle between the rows: the
    length stays what it is for noise, where a straight line would pass through shorter vectors.
    """
    a, b = (end.flatten(1) for end in (first, second))
    lengths = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(torch.finfo(first.dtype).tiny)
    angle = ((a * b).sum(dim=1) / lengths).clamp(-1, 1).acos()[:, None]
    straight = angle.sin() < NEARLY_PARALLEL
    weights = [
        torch.where(straight, share, (share * angle).sin() / angle.sin()) for share in (1 - shares, shares)
    ]
    paths = weights[0][..., None] * a[:, None] + weights[1][..., None] * b[:, None]
    return paths.flatten(0, 1).reshape(len(first) * len(shares), *first.shape[1:])


@dataclass(frozen=True)
class Filmstrip:
    """Samples at every step of the chain.

    Attributes:
        states: (n, T + 1, *state_shape), x_T .. x_0; the last are the samples.
        predictions: (n, T, *state_shape), what the generator outputs at x_T .. x_1.
    """

    states: Tensor
    predictions: Tensor

    def tiles(self) -> Tensor:
        """Two lines of images per sample, (2 n (T + 1), C, H, W): the states; below, the predictions."""
        blank = torch.ones_like(self.states[:, :1])
        lower = torch.cat([self.predictions, blank], dim=1)
        return torch.stack([self.states, lower], dim=1).flatten(0, 2)


def filmstrip(model: DDGAN, n: int, seed: int = 0, *, classes: Classes = None) -> Filmstrip:
    """Samples 0..n-1 as `model.sample` makes them, with every state on the way, on the CPU."""
    if n < 1:
        raise ValueError(f"n is {n}; at least 1 sample must be asked for")
    steps = model.steps(n, seed, classes)
    states = [steps[0].x_t, *(step.x_prev for step in steps)]
    predictions = [step.prediction for step in steps]
    return Filmstrip(torch.stack(states, dim=1).cpu(), torch.stack(predictions, dim=1).cpu())


def repeated(images: Tensor, n: int) -> Tensor:
    """Each image n times in a row, (B * n, *state_shape), to make n of each."""
    if n < 1:
        raise ValueError(f"n is {n}; at least 1 image must be asked for")
    return images.repeat_interleave(n, dim=0)


def _in_batches(
    model: DDGAN,
    n: int,
    seed: int,
    classes: Classes,
    batch_size: int | None,
    on_batch: OnBatch,
    edit: Callable[[range, ImageNoise, Tensor | None], Tensor],
) -> Tensor:
    """edit(indices, noise, y) over 0..n-1, on the CPU; without a class each has the null class."""
    null = model.num_classes or None
    y = model.labels(n, null if classes is None else classes)
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    parts = []
    for indices in model.split(n, batch_size):
        labels = None if y is None else y[indices.start : indices.stop]
        parts.append(edit(indices, ImageNoise(seed, indices, model.device), labels).cpu())
        if on_batch is not None:
            on_batch(len(indices))
    return torch.cat(parts)


def _all(t: int, x: Tensor) -> Tensor:
    return torch.full((len(x),), t, device=x.device)
