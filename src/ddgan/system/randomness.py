"""Random numbers that depend on what they are for, and on nothing else.

A draw is keyed by (seed, purpose, step) or (seed, purpose, image), never by how many draws came
before it: resuming needs no saved generator state, and image i is the same in a batch of any size.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["ImageNoise", "generator_for"]


def generator_for(seed: int, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch.Generator that depends only on `seed` and `key`."""
    text = ":".join(map(str, (seed, *key)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    generator = torch.Generator(device=device)
    generator.manual_seed(int.from_bytes(digest, "big") >> 1)
    return generator


class ImageNoise:
    """Standard normal noise for a batch of images, each from a stream of its own.

    Args:
        seed: the seed of the whole set of images.
        indices: the number of each image in that set.
        device: where the noise is wanted; it is drawn on the CPU, so devices agree.
        purpose: names the stream; what is drawn for one purpose leaves the others as they are.
    """

    def __init__(
        self, seed: int, indices: range, device: torch.device | str = "cpu", purpose: str = "image"
    ) -> None:
        self._generators = [generator_for(seed, purpose, index) for index in indices]
        self._device = torch.device(device)

    def __call__(self, *shape: int) -> Tensor:
        """The next (len(indices), *shape) normal numbers, float32."""
        is_far = self._device.type == "cuda"  # which works on while the next numbers are drawn and copied
        noise = torch.empty(len(self._generators), *shape, pin_memory=is_far)
        for row, generator in zip(noise, self._generators, strict=True):
            row.normal_(generator=generator)
        return noise.to(self._device, non_blocking=is_far)
