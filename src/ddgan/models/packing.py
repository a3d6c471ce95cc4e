"""Packing a run as a small folder with a card: the form of the models that come with the package.

The folder has the files that `shipped_models` lists. Parameters are rounded to bf16, which halves the file;
they are read as float32. The settings name no path of the machine that trained the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddgan.config.overrides import dotted
from ddgan.config.run_config import RunConfig
from ddgan.models.license import licensed
from ddgan.models.model import TrainedModel
from ddgan.models.opening import load
from ddgan.models.publishing import describe
from ddgan.models.run_folder import LOG_NAME, read_log
from ddgan.models.shipped_models import ABOUT_NAME, ShippedModel, read_folder
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.files import folder_made_atomically
from ddgan.system.outputs import check_output, write_record
from ddgan.system.text import fenced, markdown

__all__ = ["MOST_BYTES", "Description", "pack"]

MOST_BYTES = 10**7
"""Size of a packed folder, at most."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
OF_A_MACHINE = re.compile(r"(?:^|[\s=:'\"])(?:/\w|~[/\w]|[A-Za-z]:[\\/]|\\\\)")
"""The start of an absolute path in a text."""
DATA_PATH = "data.path"
USE = """```
ddgan sample {name} -n 64 --out samples.png
```

```python
import ddgan

model = ddgan.load({name})
images = model.sample(64, seed=0)  # (64, {shape}) in [-1, 1]
```

Models that come with ddgan need no download. Name one wherever a command takes a run folder: `ddgan
evaluate`, `ddgan edit`, `ddgan export`, `ddgan train --init`."""


@dataclass(frozen=True)
class Description:
    """What the files of a run do not say.

    Attributes:
        name: the name of the model: lower-case letters, digits and _.
        title: what it makes, in a few words.
        data: the training data, with its source.
        data_license: the data's own terms.
        license: licence of the weights.
        command: the command that trained it, without paths of a machine.
        commit: the commit of ddgan that trained it.
        machine: what trained it, in words.
        good_for: what it is good for, an entry each.
        limits: its limits, an entry each.

    Raises:
        ValueError: if the name is not valid, something is empty, or a text has a path of a machine.
    """

    name: str
    title: str
    data: str
    data_license: str
    license: str
    command: str
    commit: str
    machine: str
    good_for: tuple[str, ...]
    limits: tuple[str, ...]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(
                f"name is '{self.name}'; it must be up to 40 lower-case letters, digits and _, a letter first"
            )
        for name, value in vars(self).items():
            texts = (value,) if isinstance(value, str) else value
            if not texts or not all(text.strip() for text in texts):
                raise ValueError(f"{name} is empty; a model that is handed out needs it")
            for text in texts:
                check_portable(name, text)


def pack(
    run: str | Path,
    folder: Path,
    description: Description,
    score: Callable[[TrainedModel], Mapping[str, Any]],
    *,
    overwrite: bool = False,
) -> ShippedModel:
    """Write the EMA weights of a run, its settings, scores and card as a small folder.

    Args:
        run: a run folder, or whatever else `ddgan.load` opens.
        folder: the folder to make; its name is usually that of the model.
        description: what the files of the run do not say.
        score: a function from the packed model to its scores, in the form of `Report.to_dict`.
        overwrite: replace a folder that was packed before.

    Returns:
        The packed model.

    Raises:
        ValueError: if the folder exists, the run cannot be opened, its settings have a path of a machine
            besides that of the data, its weights have another licence, or the folder would exceed 10 MB.
    """
    check_output(folder, overwrite)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ABOUT_NAME).is_file():
        raise ValueError(f"out is '{folder}', which has no {ABOUT_NAME} of ddgan; choose another name")
    model: TrainedModel = licensed(load(run), description.license)
    model.config = portable(model.config)
    size = sum(2 * parameter.numel() for parameter in model.generator.parameters())
    check_size(size, "its weights in bf16 have")
    with folder_made_atomically(folder) as partial:
        _rounded(model).save(partial / WEIGHTS_NAME)
        packed: TrainedModel = load(partial / WEIGHTS_NAME)
        scores = score(packed)
        about = ShippedModel(
            name=description.name,
            path=folder,
            title=description.title,
            data=description.data,
            data_license=description.data_license,
            license=packed.license,
            sample_shape=packed.sample_shape,
            num_classes=packed.num_classes,
            num_steps=packed.config.diffusion.num_steps,
            nfe=packed.nfe,
            parameters=packed.num_parameters,
            size=size,
            scores=dict(scores),
            training=training_of(Path(run), packed.config, description),
        )
        write_record(partial / ABOUT_NAME, about.description())
        sections = _sections(description, about)
        use = USE.replace("sample {name}", f"sample {description.name}")
        describe(packed, partial, description.name, scores or None, use=use, sections=sections)
        check_size(sum(file.stat().st_size for file in partial.iterdir()), "its files have")
    return read_folder(folder)


def check_size(size: int, what: str) -> None:
    """Check the size of a packed model in bytes.

    Raises:
        ValueError: if it exceeds 10 MB.
    """
    if size > MOST_BYTES:
        raise ValueError(
            f"the model is too large to pack: {what} {size / 1e6:.1f} MB, and {MOST_BYTES / 1e6:g} MB are "
            "allowed; train a smaller generator, or publish it with push_to_hub"
        )


def check_portable(name: str, text: str) -> None:
    """Check that a text has no path of a machine.

    Raises:
        ValueError: if it has one, naming `name`.
    """
    if OF_A_MACHINE.search(text):
        raise ValueError(f"{name} is '{text}', which has a path of this machine; use a relative path")


def portable(config: RunConfig) -> RunConfig:
    """Return the configuration with the last part of the data's path in place of the path.

    Raises:
        ValueError: if another setting is a path of a machine.
    """
    values = dict(dotted(config.to_dict()))
    if isinstance(path := values.get(DATA_PATH), str) and OF_A_MACHINE.search(path):
        prefix = re.match(r"[a-z]{2,}:", path)
        last = re.split(r"[\\/]", path.rstrip("\\/"))[-1]
        config = config.changed({DATA_PATH: (prefix.group() if prefix else "") + last})
    for name, value in dotted(config.to_dict()):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                check_portable(name, text)
    return config


def training_of(run: Path, config: RunConfig, description: Description) -> dict[str, Any]:
    """Return how a model was trained, as far as its log and its settings say; without a log, None each."""
    log = read_log(run / LOG_NAME) if (run / LOG_NAME).is_file() else []
    step = log[-1]["step"] if log else None
    seconds = log[-1].get("seconds") if log else None
    return {
        "command": description.command,
        "commit": description.commit,
        "machine": description.machine,
        "seed": config.seed,
        "iterations": step,
        "images": None if step is None else step * config.training.batch_size,
        "minutes": None if seconds is None else round(seconds / 60, 1),
    }


def _rounded(model: TrainedModel) -> TrainedModel:
    """Round the parameters to bf16, in place; buffers, such as frequencies, keep their precision."""
    for parameter in model.generator.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return model


def _sections(description: Description, about: ShippedModel) -> dict[str, str]:
    training = about.training
    facts = [
        f"commit {description.commit}",
        f"seed {training['seed']}",
        *(f"{training[name]:,} {name}" for name in ("iterations", "images", "minutes") if training[name]),
        description.machine,
    ]
    return {
        "Data": f"{markdown(description.data)}. Its own terms: {markdown(description.data_license)}.",
        "What it is good for": _items(description.good_for),
        "Limits": _items(description.limits),
        "Training": f"{fenced(description.command, '')}\n\n{markdown(', '.join(facts))}. The parameters are "
        "the EMA, rounded to bf16; the scores are those of the rounded weights.",
    }


def _items(texts: tuple[str, ...]) -> str:
    return "\n".join(f"- {markdown(text)}" for text in texts)
