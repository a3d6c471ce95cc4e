"""diffusers: export to a folder that `DiffusionPipeline.from_pretrained` opens.

    pipeline = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
    images = pipeline(batch_size=8, seed=0).images

The folder's pipeline.py imports the pipeline below, which runs the chain of `DDGAN`, so ddgan must be
installed to open it. (diffusers requires trust_remote_code to import any pipeline.py.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ddgan.config.run_config import RunConfig
from ddgan.diffusion.chain import Noise
from ddgan.models.card import model_card
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.sample_files import has_png_form
from ddgan.models.weights_file import metadata_of
from ddgan.networks.conditions import Condition
from ddgan.system.files import write_atomically
from ddgan.system.images import to_pil, to_uint8

__all__ = ["DDGANModel", "DDGANPipeline", "as_pipeline", "export_diffusers"]

PIPELINE = '''"""The custom pipeline for diffusers; the pipeline itself is part of ddgan."""

from ddgan.export.diffusers import DDGANPipeline

__all__ = ["DDGANPipeline"]
'''
USE = """Install with `pip install 'ddgan[diffusers]'`; `folder` is the path of this folder:

```python
from diffusers import DiffusionPipeline

folder = {name}
pipeline = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)
images = pipeline(batch_size=8, seed=0).images
```

`output_type="pt"` gives a tensor (8, {shape}) in [-1, 1]."""
OF_CLASSES = " `class_labels=3` makes images of class 3; a list gives one class per image."


class DDGANModel(ModelMixin, ConfigMixin):
    """A generator as a component of a pipeline.

    Args:
        settings: the run's configuration, from `RunConfig.to_dict`.
        sample_shape: the shape of one sample.
        license: licence of the weights.

    Raises:
        ValueError: if the settings are invalid, such as those of ddgan 0.1, which had no `sample_shape`.
    """

    @register_to_config
    def __init__(self, settings: dict[str, Any], sample_shape: Sequence[int] = (), license: str = "") -> None:
        super().__init__()
        config = RunConfig.from_dict(settings)
        self.generator = config.generator.build(tuple(sample_shape), config.conditions.shapes)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        prediction: Tensor = self.generator(x_t, t, z, None if y is None else Condition(label=y))
        return prediction


class DDGANPipeline(DiffusionPipeline):
    """A pipeline that samples a denoising diffusion GAN.

    Args:
        generator: the network, with the settings of its run.
    """

    def __init__(self, generator: DDGANModel) -> None:
        super().__init__()
        self.register_modules(generator=generator)

    @property
    def ddgan(self) -> DDGAN:
        """The model of ddgan that this pipeline runs."""
        component: Any = self.generator
        about = component.config
        config = RunConfig.from_dict(dict(about.settings))
        return DDGAN(component.generator, config, about.sample_shape, about.license)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        seed: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        class_labels: int | list[int] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate images.

        Args:
            batch_size: number of images.
            seed: image i is image i of `DDGAN.sample(n, seed)`; by default 0, unless a `generator` is given.
            generator: the source of all noise, instead of a seed.
            class_labels: the class of all images, or of each, for class-conditional models.
            output_type: "pil", "np" (float (n, H, W, C) in 0..1) or "pt" (float (n, C, H, W) in -1..1).
            return_dict: whether to return an object with `images` instead of a tuple.

        Raises:
            ValueError: if an argument is out of range or does not fit the model.
        """
        model = self.ddgan
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"output_type is '{output_type}'; it must be pil, np or pt")
        if output_type == "pil" and not has_png_form(model):
            raise ValueError(
                f"samples of shape {model.sample_shape} cannot be PIL images; use output_type pt"
            )
        if seed is not None and generator is not None:
            raise ValueError("seed and generator were both given; give one")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        condition = model.condition_for(batch_size, class_labels)
        noise: Noise
        if generator is None:
            x, noise = model.start(0 if seed is None else seed, range(batch_size))
        else:
            noise = _noise_of(generator, batch_size, model.device)
            x = noise(*model.sample_shape)
        with self.progress_bar(total=model.diffusion.num_steps) as bar:
            for step in model.chain(x, noise, condition=condition):
                x = step.x_prev
                bar.update()
        images = _as(output_type, x.cpu())
        return ImagePipelineOutput(images=images) if return_dict else (images,)


def _noise_of(
    generator: torch.Generator | list[torch.Generator], batch_size: int, device: torch.device
) -> Noise:
    def noise(*shape: int) -> Tensor:
        if 0 in shape:
            return torch.zeros(batch_size, *shape, device=device)
        drawn: Tensor = randn_tensor((batch_size, *shape), generator=generator, device=device)
        return drawn

    return noise


def _as(output_type: str, samples: Tensor) -> Any:
    if output_type == "pt":
        return samples
    if output_type == "np":
        scaled = (samples.clamp(-1, 1) + 1) / 2
        return (scaled.permute(0, 2, 3, 1) if samples.ndim == 4 else samples).numpy()
    return [to_pil(image) for image in to_uint8(samples)]


def as_pipeline(model: DDGAN) -> DDGANPipeline:
    """Wrap a model as a pipeline that shares its weights.

    Raises:
        ValueError: if it is not a denoising diffusion GAN.
    """
    check_ddgan(model, "a pipeline of diffusers")
    component = DDGANModel(model.config.to_dict(), list(model.sample_shape), model.license)
    component.generator = model.generator
    return DDGANPipeline(component.eval())


def export_diffusers(model: DDGAN, out: Path) -> dict[str, Any]:
    """Write the pipeline, a card and a record into the folder `out`; returns the record.

    Raises:
        ValueError: if it is not a denoising diffusion GAN.
    """
    as_pipeline(model).save_pretrained(out)
    for weights in out.rglob("*.safetensors"):
        weights.chmod(0o644)  # readable by all, like the other files
    write_atomically(out / "pipeline.py", PIPELINE)
    use = USE + (OF_CLASSES if model.num_classes else "")
    write_atomically(out / "README.md", model_card(model, str(out), use=use))
    record = {"to": "diffusers", **metadata_of(model.config, model.sample_shape, model.license)}
    write_atomically(out / "export.json", json.dumps(record, indent=2) + "\n")
    return record
