"""Train on your own PyTorch Dataset: two-digit numbers, 8 x 16 pixels, with the number as the class.

python examples/own_dataset.py --out runs/numbers        # three minutes on a CPU
"""

import argparse
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

import ddgan
from ddgan.data.digits import load_digits
from ddgan.system.images import grid, save_png, to_uint8


class Numbers(Dataset):
    """Two scanned digits side by side; the same index always gives the same image."""

    def __init__(self, count: int) -> None:
        self.digits, self.labels = load_digits()
        self.pairs = np.random.default_rng(0).integers(len(self.digits), size=(count, 2))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        left, right = self.pairs[index]
        image = np.concatenate([self.digits[left], self.digits[right]], axis=1)  # uint8 (8, 16)
        return image, int(10 * self.labels[left] + self.labels[right])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/numbers"))
    parser.add_argument("--smoke", action="store_true", help="only a few iterations, as a test")
    options = parser.parse_args()
    settings = {"training.num_iterations": 20 if options.smoke else 2000, "training.score_samples": 0}

    # The shape of the samples and the number of classes come from the data.
    run = ddgan.train("digits_by_class", out=options.out, data=Numbers(20_000), **settings)

    samples = run.model.sample(100, seed=0, classes=range(100))
    path = options.out / "numbers.png"
    save_png(grid(to_uint8(samples), columns=10, zoom=4, gap=4), path)
    print(f"samples of the classes 0 to 99 are in {path}")
