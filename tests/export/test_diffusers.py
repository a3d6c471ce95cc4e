"""diffusers opens the exported folder and makes the images that the model makes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan import DDGAN, RunConfig
from ddgan.export.diffusers import DDGANPipeline, as_pipeline, export_diffusers
from ddgan.system.images import to_uint8
from other_methods import OTHERS, model_of


@pytest.fixture(scope="module")
def licensed(model: DDGAN) -> DDGAN:
    return DDGAN(model.generator, model.config, model.sample_shape, "for cats only")


@pytest.fixture(scope="module")
def folder(licensed: DDGAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diffusers") / "pipeline"
    export_diffusers(licensed, path)
    return path


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> DDGANPipeline:
    opened = DDGANPipeline.from_pretrained(folder)
    opened.set_progress_bar_config(disable=True)
    return opened


OPEN = """
import sys
import numpy as np
from diffusers import DiffusionPipeline
folder, again, images = sys.argv[1:]
first = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
first.save_pretrained(again)
second = DiffusionPipeline.from_pretrained(again, trust_remote_code=True)
second.save_pretrained(again)
named = DiffusionPipeline.from_pretrained(again, custom_pipeline=again, trust_remote_code=True)
given = DiffusionPipeline.from_pretrained(again, generator=first.generator, trust_remote_code=True)
pipelines = [first, second, named, given]
np.save(images, np.stack([p(batch_size=5, seed=7, output_type="pt").images.numpy() for p in pipelines]))
first(batch_size=1).images[0].save(images + ".png")
"""


def test_diffusers_opens_the_folder_saves_it_and_makes_the_models_images(
    folder: Path, licensed: DDGAN, tmp_path: Path
) -> None:
    """In a process of its own, which knows of ddgan only what the folder says."""
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    again, made = tmp_path / "again", tmp_path / "images.npy"
    subprocess.run(
        [sys.executable, "-c", OPEN, str(folder), str(again), str(made)], check=True, env=environment
    )
    for images in np.load(made):
        np.testing.assert_allclose(images, licensed.sample(5, seed=7).numpy(), atol=1e-6)
    (tmp_path / "again" / "pipeline.py").write_text("raise SystemExit('the code of the folder was run')")
    opened = DDGANPipeline.from_pretrained(again, trust_remote_code=True)  # runs only the package's code
    assert torch.equal(opened(2, output_type="pt").images, licensed.sample(2))


def test_the_folder_has_all_that_diffusers_fetches_from_the_hub(folder: Path) -> None:
    """A component of another library needs a file of its name, else diffusers refuses the repository."""
    index = json.loads((folder / "model_index.json").read_text())
    module, name = index["_class_name"]
    assert f"import {name}\n" in (folder / f"{module}.py").read_text()
    module, name = index["generator"]
    assert f"import {name}\n" in (folder / "generator" / f"{module}.py").read_text()
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in folder.rglob("*") if file.is_file())


def test_the_code_of_the_card_runs(licensed: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a folder with a name that Python and Markdown would read in another way."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / 'it\'s "```" \\n {name}'
    export_diffusers(licensed, folder)
    card = (folder / "README.md").read_text("utf-8")
    ((_, code),) = re.findall("^(```+)python\n(.*?)^\\1$", card, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)
    expected = to_uint8(licensed.sample(8, seed=0))
    np.testing.assert_array_equal(np.stack([np.asarray(p) for p in names["images"]]), expected)


def test_pictures_and_arrays(pipeline: DDGANPipeline, licensed: DDGAN) -> None:
    expected = licensed.sample(3, seed=2)
    pictures = pipeline(batch_size=3, seed=2).images
    np.testing.assert_array_equal(np.stack([np.asarray(p) for p in pictures]), to_uint8(expected))
    (arrays,) = pipeline(batch_size=3, seed=2, output_type="np", return_dict=False)
    np.testing.assert_allclose(arrays, (expected.permute(0, 2, 3, 1) + 1) / 2, atol=1e-6)
    assert torch.equal(pipeline(3, output_type="pt").images, licensed.sample(3))


def test_a_torch_generator_is_the_source_of_all_noise(pipeline: DDGANPipeline, licensed: DDGAN) -> None:
    source = torch.Generator().manual_seed(4)

    def noise(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=source)

    for step in licensed.chain(noise(3, 8, 8), noise):
        expected = step.x_prev
    made = pipeline(2, generator=torch.Generator().manual_seed(4), output_type="pt").images
    assert torch.equal(made, expected)
    each = [torch.Generator().manual_seed(seed) for seed in (4, 5)]
    several = pipeline(2, generator=each, output_type="pt").images
    alone = pipeline(1, generator=torch.Generator().manual_seed(5), output_type="pt").images
    torch.testing.assert_close(several[1:], alone)
    each = [torch.Generator().manual_seed(seed) for seed in (4, 5)]
    assert torch.equal(pipeline(generator=each, output_type="pt").images, several)  # one image for each


def test_the_number_of_steps_is_the_models(pipeline: DDGANPipeline, licensed: DDGAN) -> None:
    made = pipeline(2, num_inference_steps=3, output_type="pt").images
    assert torch.equal(made, licensed.sample(2))
    with pytest.raises(ValueError, match="is 50, but this model takes exactly 3; leave it out or pass 3"):
        pipeline(2, num_inference_steps=50)


def test_settings_and_licence_travel(folder: Path, pipeline: DDGANPipeline, licensed: DDGAN) -> None:
    assert pipeline.ddgan.config == licensed.config
    assert pipeline.ddgan.sample_shape == licensed.sample_shape == (3, 8, 8)
    assert pipeline.ddgan.license == "for cats only"
    assert "for cats only" in (folder / "README.md").read_text(encoding="utf-8")
    record = json.loads((folder / "export.json").read_text())
    assert (record["to"], record["sample_shape"]) == ("diffusers", [3, 8, 8])
    assert RunConfig.from_dict(record["config"]) == licensed.config


def test_it_can_be_saved_again_by_diffusers(pipeline: DDGANPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    again = DDGANPipeline.from_pretrained(tmp_path)
    assert torch.equal(
        again(2, seed=1, output_type="pt").images, pipeline(2, seed=1, output_type="pt").images
    )


def test_it_may_be_opened_in_half_precision(folder: Path, licensed: DDGAN) -> None:
    opened = DDGANPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)
    opened.set_progress_bar_config(disable=True)
    assert opened.generator.dtype == torch.bfloat16
    made = opened(batch_size=3, seed=2, output_type="pt").images
    assert made.dtype == torch.float32
    assert float((made - licensed.sample(3, seed=2)).abs().mean()) < 0.1


def test_classes_are_labels(tiny_config: RunConfig, make_model: Callable[..., DDGAN]) -> None:
    model = make_model(RunConfig.load(tiny_config, {"conditions.label": {"classes": 3}}))
    made = as_pipeline(model)(3, seed=1, class_labels=[2, 0, 3], output_type="pt").images
    expected = model.sample(3, seed=1, classes=[2, 0, 3])
    assert torch.equal(made, expected)
    for labels in ([2, 0, 3], (2, 0, 3), torch.tensor([2, 0, 3]), np.array([2, 0, 3])):  # one image for each
        assert torch.equal(as_pipeline(model)(seed=1, class_labels=labels, output_type="pt").images, expected)
    alone = as_pipeline(model)(2, seed=1, class_labels=np.int64(2), output_type="pt").images
    assert torch.equal(alone, model.sample(2, seed=1, classes=2))
    for labels, words in (
        ([1.5], r"class_labels is \[1.5\]"),
        ("a", "is 'a'"),
        ([True], "True"),
        ([], "is 0"),
    ):
        with pytest.raises(ValueError, match=words):
            as_pipeline(model)(class_labels=labels)  # type: ignore[arg-type]
    assert torch.equal(as_pipeline(model)(3, output_type="pt").images, model.sample(3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"output_type": "latent"}, "must be pil, np or pt"),
        ({"seed": 1, "generator": torch.Generator()}, "give one"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"batch_size": True}, "batch_size is True"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"generator": 3}, "pass a number as seed"),
        ({"generator": [torch.Generator()] * 2, "batch_size": 3}, "has 2 entries; give one, or 3"),
        ({"class_labels": 1}, "trained without"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_arguments_are_refused(pipeline: DDGANPipeline, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pipeline(**arguments)


def test_models_without_a_latent_and_of_points(
    tiny_points_settings: dict[str, Any], make_model: Callable[..., DDGAN]
) -> None:
    tiny_points_settings["generator"]["latent_size"] = 0
    model = make_model(RunConfig.from_dict(tiny_points_settings), (2,))
    pipeline = as_pipeline(model)
    assert torch.equal(pipeline(4, seed=3, output_type="pt").images, model.sample(4, seed=3))
    assert pipeline(2, generator=torch.Generator(), output_type="np").images.shape == (2, 2)
    with pytest.raises(ValueError, match="cannot be PIL images"):
        pipeline(2)


def test_images_that_are_not_square(
    tiny_settings: dict[str, Any], make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    model = make_model(RunConfig.from_dict(tiny_settings), (1, 4, 6))
    export_diffusers(model, tmp_path)
    opened = DDGANPipeline.from_pretrained(tmp_path)
    assert torch.equal(opened(3, seed=1, output_type="pt").images, model.sample(3, seed=1))
    assert opened(1).images[0].size == (6, 4)


def test_a_folder_of_version_1_is_refused_by_its_version(folder: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    about = json.loads((old / "generator" / "config.json").read_text())
    del about["sample_shape"]
    about["settings"]["generator"] |= {"image_size": 8, "image_channels": 3}
    (old / "generator" / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"configuration of ddgan 0\.1"):
        DDGANPipeline.from_pretrained(old)


@pytest.mark.parametrize("method", OTHERS)
def test_models_of_other_methods_are_refused_by_name(method: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"trained by the method {method}, but a pipeline of diff"):
        export_diffusers(model_of(method), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
