"""diffusers: export to a folder that `DiffusionPipeline.from_pretrained` opens.

    pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    images = pipeline(batch_size=8, seed=0).images

diffusers requires trust_remote_code to import the folder's two Python files, which only import the classes
below. So ddgan must be installed, and `DDGANPipeline.from_pretrained(folder)` does the same without running
code from the folder. A pipeline that was saved by diffusers (`save_pretrained`) opens in the same ways.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ddgan.config.run_config import RunConfig
from ddgan.config.settings import shown
from ddgan.diffusion.chain import Noise
from ddgan.export.folder import export_folder, write_export_record
from ddgan.models.card import model_card
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.sample_files import has_png_form
from ddgan.models.weights_file import metadata_of
from ddgan.networks.conditions import Condition
from ddgan.system.arguments import is_whole
from ddgan.system.files import write_atomically
from ddgan.system.images import to_pil, to_uint8

__all__ = ["DDGANModel", "DDGANPipeline", "as_pipeline", "export_diffusers"]

PIPELINE = "pipeline"
"""The module of the pipeline in a folder: diffusers expects a pipeline.py."""
CODE = '''"""{about} for diffusers; the class itself is part of ddgan."""

from ddgan.export.diffusers import {name}

__all__ = ["{name}"]
'''
USE = """Install with `pip install 'ddgan[diffusers]'`; `folder` is this folder, or its name on the Hub:

```python
from diffusers import DiffusionPipeline

folder = {name}
pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
images = pipeline(batch_size=8, seed=0).images
```

`output_type="pt"` gives a tensor (8, {shape}) in [-1, 1]."""
GENERATOR = "generator"
"""The pipeline's component: its name, and that of its folder."""
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

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Self:
        """Open a folder, or a repository of the Hub, without running code that is in it.

        Args:
            pretrained_model_name_or_path: a path, or "user/name".
            options: those of `diffusers.ModelMixin.from_pretrained`, such as torch_dtype, or the whole
                component `generator`.

        Raises:
            ValueError: if the settings are invalid.
            OSError: if there is no such folder or repository, or its files cannot be read.
        """
        for unused in ("custom_pipeline", "custom_revision", "trust_remote_code"):
            options.pop(unused, None)
        generator = options.pop("generator", None) or DDGANModel.from_pretrained(
            pretrained_model_name_or_path, subfolder=GENERATOR, **options
        )
        pipeline = cls(generator)
        pipeline.register_to_config(_name_or_path=str(pretrained_model_name_or_path))
        return pipeline

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> None:
        """Write the pipeline, with the Python files by which diffusers opens it, into a folder.

        The arguments are those of `diffusers.DiffusionPipeline.save_pretrained`.
        """
        folder = Path(save_directory)
        (folder / GENERATOR).mkdir(parents=True, exist_ok=True)
        pipeline, component = DDGANPipeline.__name__, DDGANModel.__name__
        write_atomically(folder / f"{PIPELINE}.py", CODE.format(about="The pipeline", name=pipeline))
        # diffusers looks for the code of a component in the component's folder, under the module's whole name
        code = CODE.format(about="The generator", name=component)
        write_atomically(folder / GENERATOR / f"{DDGANModel.__module__}.py", code)
        super().save_pretrained(save_directory, *args, **options)
        for weights in (folder / GENERATOR).glob("*.safetensors"):
            weights.chmod(0o644)  # readable by all, like the other files

    def to_json_string(self) -> str:
        """Return model_index.json, which names the class together with its module, pipeline.py."""
        index = json.loads(super().to_json_string())
        return json.dumps(index | {"_class_name": [PIPELINE, DDGANPipeline.__name__]}, indent=2) + "\n"

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
        batch_size: int | None = None,
        seed: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        class_labels: int | Sequence[int] | Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        num_inference_steps: int | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate images.

        Args:
            batch_size: number of images; by default one for each of several class labels or generators, or 1.
            seed: image i is image i of `DDGAN.sample(n, seed)`; by default 0, unless a `generator` is given.
            generator: the source of all noise, instead of a seed; in a list, one for each image.
            class_labels: the class of all images, or of each, for class-conditional models.
            output_type: "pil", "np" (float (n, H, W, C) in 0..1) or "pt" (float (n, C, H, W) in -1..1).
            return_dict: whether to return an object with `images` instead of a tuple.
            num_inference_steps: T, the only number of steps that a denoising diffusion GAN can take.

        Raises:
            ValueError: if an argument is out of range or does not fit the model.
        """
        model = self.ddgan
        labels, generator = _labels_of(class_labels), _generators_of(generator)
        batch_size = _batch_size(batch_size, labels, generator)
        if num_inference_steps not in (None, model.nfe):
            raise ValueError(
                f"num_inference_steps is {shown(num_inference_steps)}, but this model takes exactly "
                f"{model.nfe}; leave it out or pass {model.nfe}"
            )
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"output_type is '{output_type}'; it must be pil, np or pt")
        if output_type == "pil" and not has_png_form(model):
            raise ValueError(
                f"samples of shape {model.sample_shape} cannot be PIL images; use output_type pt"
            )
        if seed is not None and generator is not None:
            raise ValueError("seed and generator were both given; give one")
        if seed is not None and not is_whole(seed):
            raise ValueError(f"seed is {shown(seed)}; it must be a whole number")
        condition = model.condition_for(batch_size, labels)
        noise: Noise
        if generator is None:
            x, noise = model.start(int(seed or 0), range(batch_size))
        else:
            noise = _noise_of(generator, batch_size, model.device)
            x = noise(*model.sample_shape)
        with self.progress_bar(total=model.diffusion.num_steps) as bar:
            for step in model.chain(x, noise, condition=condition):
                x = step.x_prev
                bar.update()
        images = _as(output_type, x.cpu())
        return ImagePipelineOutput(images=images) if return_dict else (images,)


def _labels_of(class_labels: Any) -> int | list[int] | None:
    """Return class labels, which may be an array or a tensor, as plain numbers.

    Raises:
        ValueError: if they are not whole numbers.
    """
    found = class_labels.tolist() if hasattr(class_labels, "tolist") else class_labels
    labels = list(found) if isinstance(found, tuple | range) else found
    if labels is not None and not all(map(is_whole, labels if isinstance(labels, list) else [labels])):
        raise ValueError(f"class_labels is {shown(labels)}; give a class, or a list of one class per image")
    return labels


def _generators_of(generator: Any) -> Any:
    """Return a generator, or a list of them; None for None.

    Raises:
        ValueError: if it is something else, such as a seed.
    """
    given = list(generator) if isinstance(generator, tuple) else generator
    each = given if isinstance(given, list) else [given]
    if given is not None and not all(isinstance(one, torch.Generator) for one in each):
        raise ValueError(
            f"generator is {shown(given)}; it must be a torch.Generator or a list of them; "
            "pass a number as seed"
        )
    return given


def _batch_size(given: int | None, labels: int | list[int] | None, generator: Any) -> int:
    """Return the number of images: the given one, or that of several labels or generators, or 1.

    Raises:
        ValueError: if it is not at least 1, or there is not one generator for each image.
    """
    several = [len(one) for one in (labels, generator) if isinstance(one, list)]
    size = next(iter(several), 1) if given is None else given
    if not is_whole(size) or size < 1:
        raise ValueError(f"batch_size is {shown(size)}; it must be a whole number, at least 1")
    if isinstance(generator, list) and len(generator) != size:
        raise ValueError(f"generator has {len(generator)} entries; give one, or {size}: one per image")
    return int(size)


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
    use = USE + (OF_CLASSES if model.num_classes else "")
    with export_folder(out) as folder:
        as_pipeline(model).save_pretrained(folder)
        write_atomically(folder / "README.md", model_card(model, str(out), use=use))
        record = {"to": "diffusers", **metadata_of(model.config, model.sample_shape, model.license)}
        return write_export_record(folder, record)
