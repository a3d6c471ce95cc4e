"""The reverse chain, over denoisers whose result is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from ddgan.diffusion.chain import Step, denoising_steps
from ddgan.diffusion.process import Diffusion, DiffusionConfig
from ddgan.system.randomness import ImageNoise


def last(steps: Iterator[Step]) -> Tensor:
    """x_0 of a chain."""
    *_, step = steps
    return step.x_prev


def diffusion(num_steps: int = 4, prediction: str = "x_0") -> Diffusion:
    return Diffusion(DiffusionConfig(num_steps, prediction=prediction), dtype=torch.float64)


def recorder() -> tuple[list[tuple[int, ...]], Callable[..., Tensor]]:
    asked: list[tuple[int, ...]] = []
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        asked.append(shape)
        return torch.randn(2, *shape, generator=generator)

    return asked, noise


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_the_chain_follows_the_posterior(num_steps: int) -> None:
    process, seen = diffusion(num_steps), []

    def denoiser(x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        seen.append((t.tolist(), z.clone()))
        return 0.5 * x_t.tanh() + 0.1 * z.sum(dim=1)[:, None, None, None]

    asked, noise = recorder()
    x_t = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    steps = list(denoising_steps(denoiser, process, x_t, noise, latent_size=5))

    assert asked == [(5,), (3, 4, 4)] * num_steps
    assert [t for t, _ in seen] == [[t, t] for t in range(num_steps, 0, -1)]
    assert [step.t for step in steps] == list(range(num_steps, 0, -1))
    _, replay = recorder()
    for step, (_, z) in zip(steps, seen, strict=True):
        assert torch.equal(step.x_t, x_t)
        assert torch.equal(z, replay(5).double())
        mean, variance = process.posterior(step.prediction, x_t, torch.tensor([step.t, step.t]))
        x_t = mean + variance.sqrt() * replay(3, 4, 4)
        torch.testing.assert_close(step.x_prev, x_t)
    assert torch.equal(steps[-1].x_prev, steps[-1].prediction)


def test_sample_is_the_end_of_the_chain() -> None:
    def denoiser(x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        return x_t.sin() * t[:, None]

    x_t = torch.randn(2, 3, dtype=torch.float64)
    steps = list(denoising_steps(denoiser, diffusion(), x_t, recorder()[1], 0))
    assert torch.equal(last(denoising_steps(denoiser, diffusion(), x_t, recorder()[1], 0)), steps[-1].x_prev)


def test_a_perfect_denoiser_finds_the_image_from_any_step() -> None:
    x_0 = torch.linspace(-1, 1, 12, dtype=torch.float64).view(2, 6)
    for start in (1, 2, 3, 4):
        steps = list(denoising_steps(lambda *_: x_0, diffusion(), torch.ones(2, 6), recorder()[1], 1, start))
        assert [step.t for step in steps] == list(range(start, 0, -1))
        torch.testing.assert_close(steps[-1].x_prev, x_0)


def test_the_chain_samples_the_marginals_of_a_gaussian() -> None:
    """With the exact posterior mean of a point mass, x_t of the chain has q(x_t | x_0)'s moments."""
    process, count = diffusion(), 40_000
    generator = torch.Generator().manual_seed(1)
    noise = lambda *shape: torch.randn(count, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x_0 = torch.full((count, 1), 0.8, dtype=torch.float64)
    x_t = process.diffuse(x_0, torch.full((count,), 4), noise(1))
    for step in denoising_steps(lambda *_: x_0, process, x_t, noise, 0):
        deviation = process.noise_scale[step.t - 1]
        assert (
            abs(step.x_prev.mean() - 0.8 * process.signal_scale[step.t - 1])
            <= 5 * deviation / count**0.5 + 1e-12
        )
        assert abs(step.x_prev.std() - deviation) <= 5 * deviation / count**0.5 + 1e-12


def test_a_generator_of_x_prev_is_followed_directly() -> None:
    process = diffusion(3, "x_prev")
    steps = list(denoising_steps(lambda x, t, z: x / 2, process, torch.ones(2, 1), recorder()[1], 0))
    assert [step.x_prev[0, 0].item() for step in steps] == [0.5, 0.25, 0.125]


def test_image_i_is_the_same_in_a_batch_of_any_size() -> None:
    def images(indices: range) -> Tensor:
        noise = ImageNoise(7, indices)
        return last(denoising_steps(lambda x, t, z: (x + z[:, :1]).tanh(), diffusion(), noise(3), noise, 2))

    whole = images(range(6))
    assert torch.equal(images(range(2, 5)), whole[2:5])
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("start", [0, 5, -1])
def test_a_start_outside_the_chain_is_refused(start: int) -> None:
    with pytest.raises(ValueError, match=rf"start is {start}; it must be in 1\.\.4"):
        next(denoising_steps(lambda *_: _[0], diffusion(), torch.ones(2, 1), recorder()[1], 0, start))
