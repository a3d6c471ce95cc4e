"""The model card: what a person must know of weights before using them, as the README.md beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ddgan.models.ddgan import DDGAN

UNSTATED = "Not stated by whoever trained the weights; ask before you use them."
USE = """```python
import ddgan

model = ddgan.DDGAN.from_pretrained("{name}")
images = model.sample(64, seed=0)  # (64, {shape}) in [-1, 1]
```"""


def model_card(
    model: DDGAN, name: str, *, scores: Mapping[str, Any] | None = None, picture: str = "", use: str = USE
) -> str:
    """The card as Markdown, its first lines the metadata that the Hub reads.

    Args:
        model: what is described.
        name: what `from_pretrained` takes.
        scores: what a run's scores.json holds.
        picture: the file name of a grid of samples beside the card.
        use: how to use the model, with the fields `name` and `shape`.
    """
    import yaml

    about = {
        **_license_metadata(model.license),
        "library_name": "ddgan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["ddgan", "denoising-diffusion-gan", "diffusion", "gan"],
    }
    shape = ", ".join(map(str, model.state_shape))
    parts = [
        f"---\n{yaml.safe_dump(about, sort_keys=False)}---",
        f"# {name.rsplit('/', 1)[-1]}",
        "A denoising diffusion GAN (Xiao, Kreis, Vahdat, ICLR 2022): "
        f"{model.diffusion.num_steps} calls of the generator make an image.",
        f"![A grid of samples]({picture})" if picture else "",
        use.format(name=name, shape=shape),
        f"## Licence\n\n{model.license or UNSTATED}",
        f"## Model\n\n{_table(facts(model))}",
        f"## Scores\n\n{_table(_flat(scores))}" if scores else "",
        f"## Settings\n\n```yaml\n{model.config.to_yaml()}```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _license_metadata(license: str) -> dict[str, str]:
    """The Hub's fields for a licence: an identifier that it knows, or "other" with a name and a link."""
    if not license:
        return {}
    if re.fullmatch(r"[a-z0-9.-]+", license):
        return {"license": license}
    name = re.sub(r"[^a-z0-9.]+", "-", re.split(r"[:;,(]", license)[0].lower()).strip("-")
    link = re.search(r"https?://[^\s,;)]+", license)
    return {
        "license": "other",
        "license_name": name,
        "license_link": link.group() if link else "README.md#licence",
    }


def facts(model: DDGAN) -> dict[str, Any]:
    """What a model is, by name, in words and numbers."""
    diffusion = model.config.diffusion
    return {
        "data": model.config.data or "not stated",
        "sample": " x ".join(map(str, model.state_shape)),
        "classes": model.num_classes or "none",
        "steps T": diffusion.num_steps,
        "schedule": f"{diffusion.schedule}, beta {diffusion.beta_min} .. {diffusion.beta_max}",
        "the generator predicts": diffusion.prediction,
        "generator": model.config.generator.kind,
        "parameters": f"{model.num_parameters:,}",
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested scores by dotted name; what was not measured is left out."""

    def entries() -> Iterator[tuple[str, Any]]:
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield from _flat(value, f"{prefix}{name}.").items()
            elif value is not None:
                yield prefix + name, f"{value:.4g}" if isinstance(value, float) else value

    return dict(entries())


def _table(rows: Mapping[str, Any]) -> str:
    lines = (f"| {name} | {value} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *lines])
