"""All choices of a plan, and the settings that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Choices"]

SMALLEST_MAP = 4
"""Height and width in pixels of the smallest feature maps."""
MOST_LEVELS = 6
LARGE = 128
"""From this size on the first block of D halves the size, as in the published large one."""
PENALTY_EVERY = 16
FEWEST_AT_ONCE = 4
"""Images of a group of the minibatch standard deviation, which D gets together."""


@dataclass(frozen=True)
class Choices:
    """What the rules chose; `settings` writes it as a configuration.

    Attributes:
        shape: the shape (C, H, W) of a sample.
        classes: whether classes are a condition.
        width: channels of both networks at full resolution.
        in_subbands: whether both work on Haar sub-bands.
        batch_size: images per iteration.
        accumulation: parts in which a batch is computed.
        learning_rates: of G and D.
        gamma: weight of R1.
        reconstruction: weight of the reconstruction term.
        augmented: whether D sees augmented images.
        flipped: whether images are flipped left to right.
        seen: images that training sees, roughly; decides how fast the augmentation adapts.
        held_out: images to hold out from training; 0 for none, or if the data does it by itself.
        graphs: whether iterations are replayed as CUDA graphs.
        ema_decay: decay of the EMA.
        log_every: iterations between lines of the log.
    """

    shape: tuple[int, int, int]
    classes: bool
    width: int
    in_subbands: bool
    batch_size: int
    learning_rates: tuple[float, float]
    gamma: float
    reconstruction: float
    augmented: bool
    flipped: bool
    seen: float
    held_out: int = 0
    accumulation: int = 1
    graphs: bool = False
    ema_decay: float = 0.999
    log_every: int = 50

    def settings(self) -> dict[str, Any]:
        """Return the sections of a configuration, without the data."""
        rate_g, rate_d = self.learning_rates
        return {
            "conditions": {"label": {"classes": "auto", "dropout": 0.1}} if self.classes else {},
            "method": self._method(),
            "diffusion": {"num_steps": 4},
            "generator": self._inside(self._generator()),
            "augmentation": [{"kind": "horizontal_flip"}] if self.flipped else [],
            "optimization": {
                "generator": {"kind": "adam", "lr": rate_g},
                "discriminator": {"kind": "adam", "lr": rate_d},
                "ema": {"decay": self.ema_decay, "rampup": 0.05},
            },
            "training": {
                "batch_size": self.batch_size,
                "accumulation": self.accumulation,
                "precision": "auto",
                "channels_last": True,
                "cuda_graphs": self.graphs,
                "log_every": self.log_every,
            },
        }

    def _method(self) -> dict[str, Any]:
        method: dict[str, Any] = {
            "kind": "denoising_gan",
            "adversarial": {"kind": "nonsaturating"},
            "penalties": [{"kind": "r1", "gamma": self.gamma, "every": PENALTY_EVERY}],
            "reconstruction": {"kind": "l2", "weight": self.reconstruction, "by_signal": True},
            "discriminators": {"pair": self._inside(self._discriminator())},
        }
        if self.augmented:
            thousands = min(max(self.seen / 4000, 20.0), 500.0)
            method["augmentation"] = {
                "probability": 0.1,
                "target": 0.6,
                "images": float(f"{thousands:.2g}"),
                "flips": self.flipped,
            }
        return method

    def _inside(self, network: dict[str, Any]) -> dict[str, Any]:
        if not self.in_subbands:
            return network
        return {"kind": "subbands", "transform": "haar", "network": network}

    @property
    def _halvings(self) -> int:
        """How often the networks halve height and width."""
        sides = [side // 2 if self.in_subbands else side for side in self.shape[1:]]
        count = 0
        while count < MOST_LEVELS - 1 and all(side % 2 == 0 and side // 2 >= SMALLEST_MAP for side in sides):
            sides, count = [side // 2 for side in sides], count + 1
        return count

    def _generator(self) -> dict[str, Any]:
        side = min(self.shape[1:]) // (2 if self.in_subbands else 1)
        return {
            "kind": "ncsnpp",
            "base_channels": self.width,
            "channel_multipliers": [1] + [2] * self._halvings,
            "num_blocks": 1,
            "attention_resolutions": [side // 2] if self.in_subbands else [16],
            "latent_size": 64,
            "mapping_features": 128,
            "mapping_depth": 2,
        }

    def _discriminator(self) -> dict[str, Any]:
        is_large = min(self.shape[1:]) >= LARGE
        halvings = [True] * self._halvings if is_large else [False] + [True] * self._halvings
        widths = [min(2**level, 4) for level in range(1 if is_large else 0, self._halvings + 1)]
        return {
            "kind": "resnet",
            "base_channels": self.width,
            "channel_multipliers": widths or [1],
            "downsample": halvings or [False],
            "time_features": 128,
        }
