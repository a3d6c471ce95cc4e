"""The model card: the README.md beside published weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ddgan.config.settings import plain
from ddgan.models.model import TrainedModel
from ddgan.system.outputs import MARK
from ddgan.system.text import URL, fenced, markdown, python_string

__all__ = ["model_card", "properties"]

UNSTATED = "Not stated; ask the author before you use the weights."
USE = """```python
import ddgan

model = ddgan.load({name})
images = model.sample(64, seed=0)  # (64, {shape}) in [-1, 1]
```"""


def model_card(
    model: TrainedModel,
    name: str,
    *,
    scores: Mapping[str, Any] | None = None,
    picture: str = "",
    use: str = USE,
    sections: Mapping[str, str] | None = None,
) -> str:
    """Return the card as Markdown; it begins with the metadata for the Hub.

    Text from the model's metadata and its name are shown as they are, never as Markdown, HTML or code.

    Args:
        model: the model to describe.
        name: its name for `from_pretrained`.
        scores: the content of the run's scores.json.
        picture: the file name of a grid of samples beside the card.
        use: how to use the model as Markdown, with the fields `name` (a string in Python code) and `shape`.
        sections: further sections after the licence: title -> Markdown.
    """
    import yaml

    about = {
        **_license_metadata(model.license),
        "library_name": "ddgan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["ddgan", "denoising-diffusion-gan", "diffusion", "gan"],
    }
    shape = ", ".join(map(str, model.sample_shape))
    parts = [
        f"---\n{yaml.safe_dump(about, sort_keys=False)}---",
        f"# {markdown(name.rsplit('/', 1)[-1])}",
        about_method(model),
        f"![A grid of samples]({picture})" if picture else "",
        use.format(name=python_string(name), shape=shape),
        f"## Licence\n\n{_paragraphs(model.license) or UNSTATED}",
        *(f"## {title}\n\n{text}" for title, text in (sections or {}).items()),
        f"## Model\n\n{_table(properties(model))}",
        f"## Scores\n\n{_table(_flat(scores))}" if scores else "",
        "## Settings\n\n" + fenced(model.config.to_yaml(), "yaml"),
        f"<!-- {MARK} -->",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def about_method(model: TrainedModel) -> str:
    """Describe the method in one sentence."""
    if model.config.method.kind == "denoising_gan":
        return (
            "A denoising diffusion GAN (Xiao, Kreis, Vahdat, ICLR 2022): "
            f"{model.nfe} network evaluations per image."
        )
    return (
        f"A model trained by the method {markdown(model.config.method.kind)}: {model.nfe} network "
        "evaluations per image."
    )


def _license_metadata(license: str) -> dict[str, str]:
    """Return the Hub's licence fields: an identifier that it knows, or "other" with a name and a link."""
    if not license:
        return {}
    if re.fullmatch(r"[a-z0-9.-]+", license):
        return {"license": license}
    name = re.sub(r"[^a-z0-9.]+", "-", re.split(r"[:;,(]", license)[0].lower()).strip("-")
    link = URL.search(license)
    return {
        "license": "other",
        "license_name": name or "other",
        "license_link": link.group() if link else "README.md#licence",
    }


def _paragraphs(text: str) -> str:
    """Return text of several lines as Markdown that is shown as it is."""
    return "\n".join(map(markdown, text.strip().splitlines()))


def properties(model: TrainedModel) -> dict[str, Any]:
    """Return the properties of a model by name."""
    config = model.config
    schedule = plain(config.diffusion.schedule)
    numbers = ", ".join(f"{name} {value:g}" for name, value in schedule.items() if name != "kind")
    return {
        "data": config.data.name or "not stated",
        "sample": " x ".join(map(str, model.sample_shape)),
        "classes": model.num_classes or "none",
        "method": config.method.kind,
        "steps T": config.diffusion.num_steps,
        "network evaluations per sample (NFE)": model.nfe,
        "schedule": f"{schedule['kind']}, {numbers}",
        "the generator predicts": config.diffusion.prediction,
        "generator": config.generator.kind,
        "parameters": f"{model.num_parameters:,}",
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested scores to dotted names, without those that were not measured."""

    def entries() -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield from _flat(value, f"{prefix}{name}.").items()
            elif value is not None:
                yield prefix + name, f"{value:.4g}" if isinstance(value, float) else value

    return dict(entries())


def _table(rows: Mapping[str, Any]) -> str:
    lines = (f"| {markdown(name)} | {markdown(value)} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *lines])
