"""Models that come with the package: what each is, and where its files are.

    shipped/NAME/model.safetensors   the EMA weights, parameters in bf16
    shipped/NAME/config.yaml         the settings of its training
    shipped/NAME/model.json          the description that `ShippedModel` holds
    shipped/NAME/scores.json         the scores of these weights
    shipped/NAME/samples.png         a grid of samples (images only)
    shipped/NAME/README.md           the model card

`packing` writes such a folder. `ddgan.load("NAME")` opens the model, unless a file or folder in the current
folder has that name.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddgan.models.run_folder import SCORES_NAME
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.outputs import read_record

__all__ = ["ShippedModel", "shipped_model", "shipped_models"]

FOLDER = Path(__file__).with_name("shipped")
ABOUT_NAME, CARD_NAME = "model.json", "README.md"
REMEDY = "install ddgan again"
NONE = "no models come with this version of ddgan"


@dataclass(frozen=True)
class ShippedModel:
    """A model that comes with the package.

    Attributes:
        name: its name for `ddgan.load` and on the command line.
        path: its folder.
        title: what it makes, in a few words.
        data: the training data, with its source.
        data_license: the data's own terms.
        license: licence of the weights.
        sample_shape: the shape of one sample.
        num_classes: number of classes that can be requested; 0 for none.
        num_steps: T.
        nfe: network evaluations per sample.
        parameters: number of parameters of the generator.
        size: size of the weights file in bytes.
        scores: its scores, as `Report.to_dict` returns them; empty if it has none.
        training: how it was trained: command, commit, machine, seed, iterations, images, minutes.
    """

    name: str
    path: Path
    title: str
    data: str
    data_license: str
    license: str
    sample_shape: tuple[int, ...]
    num_classes: int
    num_steps: int
    nfe: int
    parameters: int
    size: int
    scores: dict[str, Any]
    training: dict[str, Any]

    @property
    def card(self) -> str:
        """The model card, in Markdown."""
        return (self.path / CARD_NAME).read_text(encoding="utf-8")

    def description(self) -> dict[str, Any]:
        """Return the attributes that model.json holds, as plain values."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("path", "size", "scores"):
            del plain[name]
        return plain | {"sample_shape": list(self.sample_shape)}


def known_names() -> list[str]:
    """Return the names of the models that come with the package, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS_NAME}"))


def shipped_models() -> list[ShippedModel]:
    """Return the models that come with the package, by name.

    Raises:
        ValueError: if the files of one are damaged.
    """
    return [shipped_model(name) for name in known_names()]


def shipped_model(name: str) -> ShippedModel:
    """Return the description of a model that comes with the package; its weights are not read.

    Raises:
        ValueError: if there is none of this name, or its files are damaged.
    """
    if name not in known_names():
        raise ValueError(f"'{name}' does not come with ddgan; {suggestion(name)}")
    return read_folder(FOLDER / name)


def read_folder(path: Path) -> ShippedModel:
    """Read the description of a packed model from its folder.

    Raises:
        ValueError: if its files are damaged.
    """
    found = read_record(path / ABOUT_NAME)
    scores = read_record(path / SCORES_NAME) if (path / SCORES_NAME).is_file() else {}
    try:
        found |= {"path": path, "size": (path / WEIGHTS_NAME).stat().st_size, "scores": scores}
        found["sample_shape"] = tuple(found["sample_shape"])
        return ShippedModel(**found)
    except (KeyError, TypeError):
        raise ValueError(f"'{path / ABOUT_NAME}' does not describe a model of ddgan; {REMEDY}") from None


def folder_of(source: str | Path) -> Path:
    """Return the folder of a model that comes with the package, or any other source as a path.

    A file or folder of the name of such a model takes precedence, relative to the current folder.
    """
    path = Path(source)
    if path.exists() or str(source) not in known_names():
        return path
    return FOLDER / str(source)


def suggestion(name: str) -> str:
    """Say which models come with the package, the one of a similar name first."""
    names = known_names()
    if not names:
        return NONE
    near = difflib.get_close_matches(name, names, 1, 0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}the models that come with ddgan are {', '.join(names)}"
