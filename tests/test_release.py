"""What a release needs beside the code: workflows, forms, citation, and addresses that agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import ddgan

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")
PLACEHOLDER = "OWNER"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_pinned_bounded_and_may_read_only(path: Path) -> None:
    """Each action has a commit and its version beside it; each job has a time limit and few rights."""
    text, workflow = path.read_text(encoding="utf-8"), read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90, name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" not in step:
                continue
            assert PINNED.fullmatch(step["uses"]), step["uses"]
            assert re.search(re.escape(step["uses"]) + r" # v\d+\.\d+\.\d+$", text, re.M), step["uses"]
            if step["uses"].startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
        assert not [step for step in job["steps"] if "github.event" in step.get("run", "")]


def test_tests_run_on_three_systems_and_every_python_that_is_promised() -> None:
    matrix = read(ROOT / ".github/workflows/tests.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    promised = re.findall(r"Python :: (3\.\d+)\b", "\n".join(project()["classifiers"]))
    assert matrix["python"] == promised == ["3.11", "3.12", "3.13", "3.14"]
    assert project()["requires-python"] == f">={promised[0]}"


def test_publishing_needs_a_tag_and_no_token() -> None:
    workflow = read(ROOT / ".github/workflows/release.yml")
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key `on` as true
    publish = workflow["jobs"]["publish"]
    assert (publish["permissions"], publish["environment"]) == ({"id-token": "write"}, "pypi")
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_questions_that_differ(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    names = [part["id"] for part in form["body"]]
    assert len(set(names)) == len(names) >= 2
    assert all(part["attributes"]["label"] for part in form["body"])
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_citation_has_this_version_and_the_paper() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert str(citation["version"]) == ddgan.__version__
    assert citation["license"] == project()["license"]
    assert citation["keywords"] == project()["keywords"]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Xiao", "Kreis", "Vahdat"]
    assert paper["year"] == 2022
    assert "2112.07804" in paper["url"]


def test_a_dated_version_has_a_date_in_the_citation() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(ddgan.__version__)} - (\S+)$", changelog, re.M)
    assert found is not None
    if found[1] != "unreleased":
        assert str(read(ROOT / "CITATION.cff")["date-released"]) == found[1]
        assert PLACEHOLDER not in "".join(project()["urls"].values())


def test_the_address_of_the_repository_stands_in_one_place() -> None:
    """Until it is known, a placeholder stands there, and nowhere else."""
    owner = re.fullmatch(r"https://github\.com/([\w-]+)/ddgan", project()["urls"]["Repository"])
    assert owner is not None
    assert all(owner[1].lower() in address.lower() for address in project()["urls"].values())
    files = [ROOT / name for name in ("README.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md")]
    files += [*(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.*")]
    files += [*(ROOT / "src").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    wrong = [
        path for path in files if f"/{PLACEHOLDER}/ddgan" in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "README.md", "CHANGELOG.md"]
)
def test_links_to_files_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    missing = [link for link in links if link and "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_hooks_check_what_the_tests_check() -> None:
    hooks = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert {hook["id"] for repo in hooks for hook in repo["hooks"]} >= {"ruff-check", "ruff-format"}
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"]) for repo in hooks)
