"""Train with your own adversarial loss: the hinge loss, on scanned digits.

    python examples/own_loss.py --out runs/hinge        # two minutes on a CPU

On the command line: ddgan train --import own_loss --preset digits_quick --method.adversarial hinge
"""

import argparse
from pathlib import Path

from torch import Tensor

import ddgan


@ddgan.register("adversarial", "hinge")
class HingeLoss:
    """max(0, margin - D(real)) + max(0, margin + D(fake)) for D, and -D(fake) for G, per sample."""

    margin: float = 1.0
    needs_real = False  # G's loss does not use D(real), so D(real) need not be computed

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """Return D's loss (B,) from its logits (B,)."""
        return (self.margin - d_real).relu() + (self.margin + d_fake).relu()

    def generator(self, d_real: Tensor | None, d_fake: Tensor) -> Tensor:
        """Return G's loss (B,)."""
        return -d_fake


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/hinge"))
    parser.add_argument("--smoke", action="store_true", help="only a few iterations, as a test")
    options = parser.parse_args()
    settings = {
        "method.adversarial": {"kind": "hinge", "margin": 1.0},
        "training.num_iterations": 20 if options.smoke else 1500,
        "training.score_samples": 0,
    }
    run = ddgan.train("digits_by_class", out=options.out, **settings)
    print(f"trained with {run.model.config.method.adversarial}; samples are in {options.out / 'samples.png'}")
