"""Norms of the gradients of the terms of each loss, which tell how the terms compare in weight."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ddgan.data.batch import Batch
from ddgan.training.freezing import trained
from ddgan.training.iteration import in_parts
from ddgan.training.state import TrainState, Update
from ddgan.training.statistics import finite

__all__ = ["gradient_norms"]


def gradient_norms(state: TrainState, batch: Batch, noise: Any) -> dict[str, float | None]:
    """Measure how strongly each term of each loss pulls at its network, without training.

    The terms are those of the last iteration at which all penalties were due. Where gradients are
    accumulated, those of the first part are measured. Every process must call it.

    Returns:
        By the names of the network and of the term, as in "gradient_discriminator_r1", the norm of the
        gradient of the mean term with respect to all trained weights of the network; None if it is not
        finite.
    """
    part, part_noise = next(in_parts(state.num_parts, batch, noise))
    due = dataclasses.replace(state, step=state.method.due_step(state.step), ramps={})
    norms = {}
    for update in state.method.updates(state.step):
        with state.without_gradients(update.freezes):
            for term in update.loss(due, part, part_noise)[0]:
                norms[f"gradient_{update.name}_{term}"] = gradient_norm(due, update, term, part, part_noise)
    return norms


def gradient_norm(state: TrainState, update: Update, term: str, batch: Batch, noise: Any) -> float | None:
    """Return the norm of the gradient of one term of an update's loss.

    The loss is computed anew for each term: a compiled network allows one backward pass per forward pass.
    """
    terms, _ = update.loss(state, batch, noise)
    weights = trained(state.networks[update.name])
    mean, scale = terms[term].mean(), state.loss_scales.get(update.name)
    scaled = mean if scale is None else mean * scale.factor
    gradients = torch.autograd.grad(scaled, weights, allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    state.average_(found)
    norm = torch.stack(torch._foreach_norm(found)).norm()
    return finite(norm if scale is None else norm / scale.factor)
