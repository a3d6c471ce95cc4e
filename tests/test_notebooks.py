"""The notebooks: clean as they are committed, and executed from end to end with tiny settings."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
TINY: dict[str, dict[str, Any]] = {
    "train": {"iterations": 20, "num_scored": 200},
    "own_data": {
        "num_images": 40,
        "size": 16,
        "minutes": 1.0,
        "changes": {
            "training.max_minutes": 0.0,
            "training.num_iterations": 2,
            "training.batch_size": 4,
            "training.score_samples": 0,
        },
    },
    "editing": {"iterations": 10},
}
"""By notebook: other values for its cell with the tag `parameters`."""
MOST_SECONDS = 600
"""For a cell."""


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return found


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def parameters(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The names that the only cell with the tag `parameters` sets, and their values."""
    (cell,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    found: dict[str, Any] = {}
    for line in ast.parse(source(cell)).body:
        assert isinstance(line, ast.Assign)
        (target,) = line.targets
        assert isinstance(target, ast.Name)
        found[target.id] = ast.literal_eval(line.value)
    return found


def test_every_notebook_is_known() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_it_is_clean(name: str) -> None:
    """Without outputs, with a title, and with parameters that the test below may change."""
    notebook = read(name)
    cells = notebook["cells"]
    assert notebook["nbformat"] == 4
    assert source(cells[0]).startswith("# ")
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for cell in code:
        ast.parse(source(cell))
    known = parameters(cells)
    assert set(TINY[name]) <= set(known)
    assert all(type(known[key]) is type(value) for key, value in TINY[name].items())


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("nbclient", reason="needs the extra notebooks")
    formats = pytest.importorskip("nbformat", reason="needs the extra notebooks")
    pytest.importorskip("ipykernel", reason="needs the extra notebooks")
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    notebook = formats.read(FOLDER / f"{name}.ipynb", as_version=4)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    changed = "\n".join(f"{key} = {value!r}" for key, value in TINY[name].items())
    notebook.cells.insert(place + 1, formats.v4.new_code_cell(changed))
    done = client.NotebookClient(
        notebook, timeout=MOST_SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    formats.validate(done)
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert list((tmp_path / "runs").iterdir())
