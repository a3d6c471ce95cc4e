"""The mapping network: from a latent z, and a class, to the w that sets every normalisation of the U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.layers import ClassEmbedding, linear


def pixel_norm(z: Tensor) -> Tensor:
    """(B, F) with a mean square of 1 per row."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """z (B, nz) -> w (B, features): pixel norm, Linear, SiLU, depth x [Linear, SiLU].

    With classes, the pixel-normalised embedding of the class stands beside z.
    """

    def __init__(self, latent_size: int, features: int, depth: int, num_classes: int = 0) -> None:
        super().__init__()
        self.classes = ClassEmbedding(num_classes, features) if num_classes else None
        sizes = [latent_size + (features if num_classes else 0)] + [features] * (depth + 1)
        self.layers = nn.ModuleList(map(linear, sizes[:-1], sizes[1:]))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = pixel_norm(z) if z.shape[1] else z
        if self.classes is not None:
            w = torch.cat([w, pixel_norm(self.classes(y, z.shape[0]))], dim=1)
        for layer in self.layers:
            w = F.silu(layer(w))
        return w
