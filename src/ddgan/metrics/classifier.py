"""A small digit classifier, trained here on real digits, that judges generated ones.

It must not call blobs digits: half of each training batch are non-digits (shuffled pixels, smooth
noise, blends of two different digits) whose target is the uniform distribution. And it must read what a
person reads: the digits it learns from carry noise of random strength, as faint as none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.data.digits import split_digits
from ddgan.random import generator_for

NUM_CLASSES = 10
CONFIDENT = 0.9
"""A digit counts as read with confidence when its largest class probability is at least this."""
LARGEST_NOISE = 0.3
"""Standard deviation of the strongest noise on a digit that the judge must still read."""


class DigitClassifier(nn.Module):
    """Grey images (B, 1, H, W) in [-1, 1] -> logits (B, 10)."""

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Linear(2 * width * (size // 2) ** 2, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(images), 0.3, self.training))


@dataclass(frozen=True)
class Judge:
    """A trained classifier and how far it can be trusted, measured on held-out digits.

    Attributes:
        accuracy: on held-out real digits.
        confident_real: share of held-out real digits read with confidence.
        confident_shuffled: the same share after shuffling each digit's pixels; must stay below 0.2.
    """

    classifier: DigitClassifier
    accuracy: float
    confident_real: float
    confident_shuffled: float

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Digits int64 (B, C) and their probabilities (B, C) in each channel of images (B, C, H, W)."""
        grey = images.flatten(0, 1).unsqueeze(1).float()
        probabilities = torch.cat([self.classifier(part).softmax(dim=1) for part in grey.split(4096)])
        confidence, digit = probabilities.max(dim=1)
        return digit.view(images.shape[:2]), confidence.view(images.shape[:2])


def shuffle_pixels(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image (B, 1, H, W) with its own pixels in random order."""
    order = torch.rand(len(images), images[0].numel(), generator=rng).argsort(dim=1)
    return images.flatten(1).gather(1, order).view_as(images)


def non_digits(images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """As many images that are no digits: shuffled pixels, smooth blobs, blends of two digits."""
    third = len(images) // 3
    shuffled = shuffle_pixels(images[:third], rng)
    noise = torch.randn(images[third : 2 * third].shape, generator=rng)
    blobs = (F.avg_pool2d(noise, 3, 1, 1) * 4).clamp(-1, 1)
    first, other = images[2 * third :], images[2 * third :].flip(0)
    different = labels[2 * third :] != labels[2 * third :].flip(0)
    blends = ((first + other) / 2)[different]
    return torch.cat([shuffled, blobs, blends])


def train_judge(images: np.ndarray, labels: np.ndarray, seed: int, num_epochs: int = 25) -> DigitClassifier:
    """Train on grey uint8 images (N, H, W) with labels (N,); seconds for the 1,437 small digits."""
    x = torch.from_numpy(images).float().unsqueeze(1) / 127.5 - 1
    y = torch.from_numpy(labels)
    rng = generator_for(seed, "judge")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DigitClassifier(x.shape[-1])
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
        batches = [len(x) // 64 * num_epochs]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=batches[0])
        for _ in range(num_epochs):
            for index in torch.randperm(len(x), generator=rng).split(64)[: len(x) // 64]:
                strength = LARGEST_NOISE * torch.rand(len(index), 1, 1, 1, generator=rng)
                real = (x[index] + strength * torch.randn(x[index].shape, generator=rng)).clamp(-1, 1)
                fake = non_digits(x[index], y[index], rng)
                logits = model(torch.cat([real, fake]))
                loss = F.cross_entropy(logits[: len(real)], y[index])
                loss = loss - logits[len(real) :].log_softmax(dim=1).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
    return model.eval()


@cache
def digits_judge(seed: int = 0) -> Judge:
    """The judge of stacked digits: trained on the train split, measured on the test split."""
    model = train_judge(*split_digits("train"), seed)
    images, labels = split_digits("test")
    real = torch.from_numpy(images).float().unsqueeze(1) / 127.5 - 1
    judge = Judge(model, 0.0, 0.0, 0.0)
    digit, confidence = judge.read(real)
    _, shuffled = judge.read(shuffle_pixels(real, generator_for(seed, "shuffled")))
    return Judge(
        model,
        accuracy=float((digit[:, 0] == torch.from_numpy(labels)).double().mean()),
        confident_real=float((confidence >= CONFIDENT).double().mean()),
        confident_shuffled=float((shuffled >= CONFIDENT).double().mean()),
    )
