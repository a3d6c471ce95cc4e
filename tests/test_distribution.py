"""What is distributed: the wheel, its size and metadata, and that it works outside of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image

import ddgan

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 25 * 10**6
FOR_THE_WHEEL = ("pyproject.toml", "README.md", "LICENSE", "src")


def run(*command: str | Path, **options: Any) -> str:
    """Run a command that must end well; return what it prints."""
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def wheel(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of these sources with one more model, called tiny, built once and without a network."""
    if int(metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("building the wheel needs setuptools 77 or newer")
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dist"
    with FileLock(out.with_suffix(".lock")):
        if not out.is_dir():
            build(packed, tmp_path_factory.mktemp("sources"), out)
    (built,) = out.glob("*.whl")
    return built


def build(packed: Path, sources: Path, out: Path) -> None:
    """Build the wheel of a copy of the sources, with a packed model in it, into a new folder."""
    for name in FOR_THE_WHEEL:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(ROOT / name, sources)
    shutil.copytree(packed, sources / "src/ddgan/models/shipped/tiny")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out)
    run(sys.executable, "-m", "pip", "wheel", sources, *options)


@pytest.fixture(scope="session")
def about(wheel: Path) -> Message:
    """Its metadata."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = (one for one in file.namelist() if one.endswith(".dist-info/METADATA"))
        return Parser().parsestr(file.read(name).decode("utf-8"))


@pytest.fixture(scope="session")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; its other packages are those of this one, without its ddgan."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(site) / "others.pth").write_text("\n".join(others) + "\n")
    return scripts


def test_the_wheel_has_everything_and_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    expected = {
        f"ddgan/{path.relative_to(ROOT / 'src/ddgan').as_posix()}"
        for path in (ROOT / "src/ddgan").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    tiny = {f"ddgan/models/shipped/tiny/{name}" for name in ("model.safetensors", "model.json", "README.md")}
    assert (expected | tiny) - names == set()
    assert {name.split("/")[0] for name in names} == {"ddgan", f"ddgan-{ddgan.__version__}.dist-info"}


def test_its_metadata_is_whole(about: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (about["Name"], about["Version"]) == ("ddgan", ddgan.__version__)
    assert about["Summary"] == project["description"]
    assert about["License-Expression"] == "Apache-2.0"
    assert about.get_all("License-File") == ["LICENSE"]
    assert about["Requires-Python"] == ">=3.11"
    assert about["Description-Content-Type"] == "text/markdown"
    assert about["Author"]
    assert about.get_payload().strip().startswith("# ddgan")  # type: ignore[union-attr]
    assert about["Keywords"].split(",") == project["keywords"]
    labels = {line.partition(",")[0] for line in about.get_all("Project-URL") or []}
    assert labels == {"Repository", "Documentation", "Issues", "Changelog"}
    assert not [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    needed = {line for line in about.get_all("Requires-Dist") or [] if "extra ==" not in line}
    assert len(needed) == len(project["dependencies"])


def test_it_works_outside_of_the_repository(clean: Path, tmp_path: Path) -> None:
    """Without a network: whatever would ask for a model fails at once."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {"cwd": tmp_path, "env": kept | {"HF_HUB_OFFLINE": "1", "DDGAN_CACHE": str(tmp_path / "cache")}}
    where = run(clean / "python", "-c", "import ddgan; print(ddgan.__file__)", **options).strip()
    assert not Path(where).resolve().is_relative_to(ROOT)
    command = clean / "ddgan"
    assert run(command, "--version", **options).strip() == ddgan.__version__
    assert "\ntiny " in run(command, "models", **options)
    run(command, "sample", "tiny", "-n", "16", "--out", "a.png", **options)
    assert Image.open(tmp_path / "a.png").size[0] >= 4 * 8
    code = "import ddgan; print(tuple(ddgan.DDGAN.from_pretrained('tiny').sample(2).shape))"
    assert run(clean / "python", "-c", code, **options).strip() == "(2, 3, 8, 8)"
