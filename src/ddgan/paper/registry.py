"""The list of experiments, their costs, and checks of whether they can run here."""

from __future__ import annotations

import torch

from ddgan.paper import (
    ablation,
    celebahq256,
    cifar10,
    gaussians,
    lsun_church256,
    multimodal1d,
    multimodality,
    stability,
    stackedmnist,
    strokes,
    trilemma,
)
from ddgan.paper import nearest_images as neighbours
from ddgan.paper.experiment import SCALES, Experiment
from ddgan.paper.specs import all_models
from ddgan.paper.store import ModelSpec

__all__ = ["ALL", "EXPERIMENTS", "MODELS", "check_data", "check_machine", "chosen", "listing", "models_of"]

MODULES = (
    *(trilemma, gaussians, multimodal1d, ablation, stackedmnist, cifar10, celebahq256, lsun_church256),
    *(multimodality, strokes, stability, neighbours),
)
EXPERIMENTS: dict[str, Experiment] = {module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES}
ALL, MODELS = "all", "models"
"""Special names on the command line: all experiments of a scale; only the shared models."""


def chosen(names: list[str], scale: str) -> list[Experiment]:
    """Return the experiments with these names at a scale.

    Raises:
        ValueError: if a name or the scale is unknown, or an experiment does not have the scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale is '{scale}'; it must be one of {', '.join(SCALES)}")
    if names == [ALL]:
        return [one for one in EXPERIMENTS.values() if scale in one.costs]
    unknown = sorted(set(names) - set(EXPERIMENTS))
    if unknown or not names:
        problem = f"unknown experiment {', '.join(unknown)}" if unknown else "no experiment was given"
        raise ValueError(f"{problem}; choose from {', '.join(EXPERIMENTS)}, {ALL}, {MODELS}")
    found = [EXPERIMENTS[name] for name in dict.fromkeys(names)]
    for one in found:
        if scale not in one.costs:
            raise ValueError(f"{one.name} has no scale {scale}: {one.without_cpu}")
    return found


def check_machine(experiments: list[Experiment], scale: str, out: str) -> None:
    """Refuse scale paper without a GPU, and give the commands for a machine with GPUs.

    Raises:
        ValueError: with the commands and how long they take.
    """
    needing = [one for one in experiments if one.needs_gpu]
    if scale != "paper" or not needing or torch.cuda.is_available():
        return
    lines = "; ".join(f"{' && '.join(one.paper_commands(out))} ({one.costs['paper']})" for one in needing)
    raise ValueError(
        f"scale paper needs CUDA GPUs, which this machine does not have; on a machine with GPUs run: {lines}"
    )


def check_data(experiments: list[Experiment], scale: str, data: str | None) -> None:
    """Check that data is given at scale paper, and only there.

    Raises:
        ValueError: if it is not, with the data to give.
    """
    if scale != "paper":
        if data is not None:
            raise ValueError(f"--data is for scale paper; scale {scale} has its own data, leave it out")
        return
    for one in experiments:
        if one.data and data is None:
            raise ValueError(f"{one.name} at scale paper needs --data, such as {one.data}")
    if len({one.data for one in experiments if one.data}) > 1:
        needs = "; ".join(f"{one.name}: {one.data}" for one in experiments if one.data)
        raise ValueError(f"these experiments need different data; run them one by one ({needs})")


def paper_only_models(data: str) -> dict[str, ModelSpec]:
    """Return the models that only one experiment uses at scale paper, by name."""
    own = [celebahq256.TABLE.paper_model(data), lsun_church256.TABLE.paper_model(data)]
    own += stackedmnist.paper_models(data)
    return {spec.name: spec for spec in own}


def models_of(names: list[str] | None, scale: str, data: str | None) -> list[ModelSpec]:
    """Return the models with these names; by default all shared ones. Scale paper needs names.

    Raises:
        ValueError: if a name is unknown, or names or data are missing.
    """
    known = all_models(scale, data)
    if scale == "paper":
        if not names or data is None:
            raise ValueError(f"{MODELS} at scale paper needs --names and --data, as --list shows them")
        known |= paper_only_models(data)
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ValueError(f"there is no model {', '.join(unknown)}; choose from {', '.join(known)}")
    return [known[name] for name in (names or known)]


def listing() -> list[str]:
    """Return the lines of `ddgan reproduce --list`."""
    lines = []
    for one in EXPERIMENTS.values():
        lines += ["", f"{one.name}  ({one.source})", f"    {one.about}"]
        for scale in SCALES:
            cost = one.costs.get(scale, f"not offered: {one.without_cpu}")
            lines.append(f"    {scale:<6} {cost}")
        lines += [f"           {line}" for line in one.paper_commands()]
    shared = f"Models that experiments share, for ddgan reproduce {MODELS} --names ...:"
    return [*lines, "", shared, *(f"    {name:<24} {m.about}" for name, m in all_models("cpu").items())][1:]
