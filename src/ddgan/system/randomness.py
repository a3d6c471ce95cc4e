"""Random numbers keyed by their purpose.

A draw is keyed by (seed, purpose, step) or (seed, purpose, image), never by the number of draws before it.
So resuming needs no saved generator state, and image i is the same in a batch of any size.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["ImageNoise", "generator_for"]


def generator_for(seed: int, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch.Generator seeded by `seed` and `key` alone; one of the CPU also serves meta tensors."""
    text = ":".join(map(str, (seed, *key)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    generator = torch.Generator(device="cpu" if torch.device(device).type == "meta" else device)
    generator.manual_seed(int.from_bytes(digest, "big") >> 1)
    return generator


class ImageNoise:
    """Standard normal noise for a batch of images, with one stream per image.

    Args:
        seed: the seed of the whole set of images.
        indices: the index of each image in that set.
        device: device of the result; the noise is drawn on the CPU, so it is the same for all devices.
        purpose: name of the stream; draws for one purpose do not affect the others.
    """

    def __init__(
        self, seed: int, indices: range, device: torch.device | str = "cpu", purpose: str = "image"
    ) -> None:
        self._generators = [generator_for(seed, purpose, index) for index in indices]
        self._device = torch.device(device)

    def __call__(self, *shape: int) -> Tensor:
        """Draw the next (len(indices), *shape) normal numbers, float32."""
        is_async = self._device.type == "cuda"  # the GPU computes while the next numbers are drawn and copied
        noise = torch.empty(len(self._generators), *shape, pin_memory=is_async)
        for row, generator in zip(noise, self._generators, strict=True):
            row.normal_(generator=generator)
        return noise.to(self._device, non_blocking=is_async)
