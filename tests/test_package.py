"""What the package promises as a whole."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import ddgan
from ddgan.export.web import _runtime_files
from ddgan.models.shipped_models import known_names

ROOT = Path(__file__).resolve().parents[1]


def test_the_public_names_exist_and_are_documented() -> None:
    for name in ddgan.__all__:
        assert (getattr(ddgan, name).__doc__ or "").strip(), name


def test_the_version_is_stated_once() -> None:
    assert metadata.version("ddgan") == ddgan.__version__


def test_importing_is_light() -> None:
    """What is slow to import is imported where it is used; the time is measured in benchmarks."""
    code = (
        "import sys, torch; before = set(sys.modules); import ddgan;"
        "print(' '.join(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    new = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"matplotlib", "sklearn", "scipy", "rich", "jinja2", "yaml", "pandas", "torchvision"}
    heavy |= {"huggingface_hub", "diffusers", "onnx", "onnxscript", "onnxruntime"}
    assert "ddgan" in new.split()
    assert heavy & set(new.split()) == set()


def test_presets_and_type_marker_are_part_of_the_package() -> None:
    files = resources.files("ddgan")
    assert (files / "py.typed").is_file()
    assert (files / "config" / "presets" / "cifar10.yaml").is_file()


def test_the_web_page_and_its_runtime_are_part_of_the_package() -> None:
    page = resources.files("ddgan") / "export" / "page"
    for name in ("index.html", "page.css", "page.js", "worker.js"):
        assert (page / name).is_file()
    assert len(_runtime_files()) == 4  # which checks them


def test_the_only_arrays_in_the_package_are_embedded_data_classifiers_and_models() -> None:
    """Reference values and other data of the tests stay out of the wheel."""
    package = Path(ddgan.__file__).parent
    arrays = [path for ending in ("npz", "npy", "pt") for path in package.rglob(f"*.{ending}")]
    assert {path.relative_to(package).as_posix() for path in arrays} == {"data/digits.npz", "data/emoji.npz"}
    weights = {path.relative_to(package).parent.as_posix() for path in package.rglob("*.safetensors")}
    assert weights == {"metrics/weights", *(f"models/shipped/{name}" for name in known_names())}


def test_the_readmes_python_names_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(
        re.findall(r"\bddgan\.([A-Za-z_]+)", "\n".join(re.findall(r"```python(.*?)```", readme, re.S)))
    )
    assert used
    assert used <= set(ddgan.__all__) | {"__version__"}
