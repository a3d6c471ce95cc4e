"""Trains a classifier that comes with the package.

    python docs/results/classifiers.py cifar10 --data CIFAR10 --out cifar10.safetensors
    python docs/results/classifiers.py mnist --data MNIST --out mnist.safetensors
    python docs/results/classifiers.py emoji --data emoji --out emoji.safetensors

The committed weights lie in src/ddgan/metrics/weights; classifiers.md says how each was made. Trained on the
train split with SGD, Nesterov momentum, a triangular learning rate, label smoothing, random translation, and
alternating flips where a mirrored image has the same class. The accuracy is that of the weights as stored, in
float16, on the test split, without test-time augmentation.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ddgan.metrics.classifier import keep_classifier
from ddgan.metrics.real_data import open_real
from ddgan.metrics.shipped_classifiers import CompactClassifier, about, whitening_filters
from ddgan.metrics.speed import describe_machine
from ddgan.models.precision import choose_precision
from ddgan.system.devices import choose_device

VERSION = 1
"""Grows with every set of weights that is committed."""


class Recipe(NamedTuple):
    """How a classifier is trained."""

    epochs: int
    flips: bool
    widths: tuple[int, ...] = (64, 256, 256)
    batch_size: int = 512
    lr: float = 0.4


RECIPES = {
    "cifar10": Recipe(epochs=24, flips=True),
    "emoji": Recipe(epochs=40, flips=True, widths=(32, 128, 256), batch_size=64, lr=0.1),
    "mnist": Recipe(epochs=3, flips=False, widths=(32, 64, 128)),
}
WARM_UP = 0.2
"""The learning rate rises over this share of training, then falls to 0."""
MOMENTUM, WEIGHT_DECAY, SMOOTHING, SHIFT = 0.9, 5e-4, 0.2, 2
WHITENED = 5000
"""Images whose patches the first layer whitens."""


def translated(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shift each image (B, C, H, W) by up to SHIFT pixels either way, reflecting at the edges."""
    padded = F.pad(images, [SHIFT] * 4, mode="reflect")
    (count, _, height, width), device = images.shape, images.device
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count, 1), generator=rng, device=device)
    rows = (torch.arange(height, device=device) + down)[:, :, None]
    columns = (torch.arange(width, device=device) + right)[:, None, :]
    every = torch.arange(count, device=device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[every, rows, columns].permute(0, 3, 1, 2)


def train(
    images: Tensor, labels: Tensor, num_classes: int, recipe: Recipe, seed: int, max_steps: int = 0
) -> tuple[CompactClassifier, list[float]]:
    """Train on uint8 images (N, C, H, W) and labels int64 (N,), all on one device.

    Returns:
        The classifier, and the loss of each iteration.
    """
    device, (count, channels) = images.device, images.shape[:2]
    rng = torch.Generator(device).manual_seed(seed)
    torch.manual_seed(seed)
    model = CompactClassifier(channels, num_classes, recipe.widths).to(device)
    filters, biases = whitening_filters(images[:WHITENED].float() / 127.5 - 1)
    model.whiten.weight.data.copy_(filters)
    model.whiten.bias.data.copy_(biases)
    model = model.to(memory_format=torch.channels_last)
    use_bf16 = choose_precision("auto", device) == "bf16"
    batch_size = min(recipe.batch_size, count)
    steps_per_epoch = count // batch_size
    total = recipe.epochs * steps_per_epoch
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=recipe.lr,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )
    is_mirrored = torch.rand(count, generator=rng, device=device) < 0.5
    losses: list[Tensor] = []
    for step in range(min(total, max_steps or total)):
        epoch, place = divmod(step, steps_per_epoch)
        if place == 0:
            order = torch.randperm(count, generator=rng, device=device)
        index = order[place * batch_size : (place + 1) * batch_size]
        x = translated(images[index].float() / 127.5 - 1, rng)
        if recipe.flips:  # every image is shown mirrored in every other epoch
            mirrored = is_mirrored[index] ^ (epoch % 2 == 1)
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        share = (step + 1) / total
        optimizer.param_groups[0]["lr"] = recipe.lr * min(share / WARM_UP, (1 - share) / (1 - WARM_UP))
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16):
            logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), labels[index], label_smoothing=SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if place == steps_per_epoch - 1:
            print(f"epoch {epoch + 1} of {recipe.epochs}: loss {float(losses[-1]):.3f}", flush=True)
    return model.eval(), torch.stack(losses).tolist()


@torch.no_grad()
def accuracy(model: CompactClassifier, images: Tensor, labels: Tensor) -> float:
    """Return the share of uint8 images (N, C, H, W) whose class is predicted."""
    right = [
        (model(part.float() / 127.5 - 1).argmax(dim=1) == truth).sum()
        for part, truth in zip(images.split(1000), labels.split(1000), strict=True)
    ]
    return int(torch.stack(right).sum()) / len(labels)


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="default: those of the recipe")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max_steps", type=int, default=0, help="stop early, to try it")
    options = parser.parse_args()
    device, start = choose_device(options.device), time.monotonic()
    recipe = RECIPES[options.name]
    if options.epochs:
        recipe = recipe._replace(epochs=options.epochs)
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for split in ("train", "test"):
        data = open_real(options.data, split)
        assert data.labels is not None
        images = torch.from_numpy(data.images[:]).to(device)
        parts[split] = images, torch.from_numpy(data.labels).to(device)
    model, _ = train(*parts["train"], data.num_classes, recipe, options.seed, options.max_steps)
    stored = model.half().float()
    if not all(bool(tensor.isfinite().all()) for tensor in stored.state_dict().values()):
        raise ValueError("training diverged: some weights are not finite in float16; lower the learning rate")
    known: dict[str, Any] = {"name": options.name, "version": VERSION, "seed": options.seed}
    known |= {"epochs": recipe.epochs, "accuracy": accuracy(stored, *parts["test"])}
    minutes = (time.monotonic() - start) / 60
    machine = describe_machine(device)
    known |= {"minutes": round(minutes, 2), "device": machine}
    shape = tuple(parts["train"][0].shape[1:])
    keep_classifier(options.out, model.half(), about(model, shape, **known))
    print(
        f"{options.name}: accuracy {known['accuracy']:.2%} on {len(parts['test'][1]):,} test images, seed "
        f"{options.seed}, {recipe.epochs} epochs, {minutes:.1f} minutes on {machine}"
    )


if __name__ == "__main__":
    main()
