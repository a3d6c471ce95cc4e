"""The documentation site: its settings, its checker, and, where it can be built, the site itself."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from documented import ROOT, pages

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


check_site = module("check_site")


def settings() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return found


def in_nav(entries: object) -> set[str]:
    """All pages of a navigation."""
    if isinstance(entries, str):
        return {entries}
    values = entries.values() if isinstance(entries, dict) else entries
    assert not isinstance(values, int)
    return set().union(*(in_nav(one) for one in values))  # type: ignore[union-attr]


def test_every_page_is_in_the_navigation() -> None:
    named = {one for one in in_nav(settings()["nav"]) if one.endswith(".md")}  # others join after the build
    assert named == {page.relative_to(DOCS).as_posix() for page in pages() if page.is_relative_to(DOCS)}


def test_nothing_is_fetched_from_other_servers_by_the_theme() -> None:
    theme = settings()["theme"]
    assert isinstance(theme, dict)
    assert theme["font"] is False
    assert "search" in settings()["plugins"]  # type: ignore[operator]


def test_the_reference_has_all_public_modules() -> None:
    listed = check_site.PUBLIC_NAMES.read_text(encoding="utf-8").split()
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
    modules = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    assert len(modules) == len(set(modules))
    assert {name.rpartition(".")[0] for name in listed} == set(modules)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and GitHub make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*pages(), ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_in_the_repository_lead_somewhere(page: Path) -> None:
    """As they are read on a server of repositories; the built site is checked by `check_site`."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and not anchor.startswith("ddgan"):  # names are put there by mkdocstrings
            assert anchor in anchors(target), f"{page.name} links to {link}"


# The checker of the built site


def site_of(folder: Path, **files: str) -> Path:
    """A site that has no faults, and files by name, with `__` for `/`."""
    names = check_site.PUBLIC_NAMES.read_text(encoding="utf-8").split()
    listed = zlib.compress("".join(f"{name} py:class 1 x -\n" for name in names).encode())
    (folder / "objects.inv").write_bytes(b"# one\n# two\n# three\n# four\n" + listed)
    whole = {"index.html": "<h1 id='a'>A</h1>"}
    whole |= {name.replace("__", "/"): text for name, text in files.items()}
    for name, text in whole.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_whole_site_has_no_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (
        "<a href='../'>up</a><a href='..#a'>up</a><a href='#b'>here</a><p id='b'></p>"
        "<a href='../a%20b.txt#x'>file</a><img src='data:image/png;base64,'>"
        "<a href='https://example.org/x'>there</a><a href='mailto:x@example.org'>x</a>"
    )
    site = site_of(tmp_path, **{"p__index.html": page, "a b.txt": "x", "404.html": "<a href='/p/'>p</a>"})
    assert check_site.main([str(site)]) == 0
    assert check_site.main([str(site), "--external"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["https://example.org/x", "mailto:x@example.org"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<a href='../no/'>x</a>", "p/index.html has the dead link ../no/"),
        ("<a href='../#z'>x</a>", "p/index.html has the dead link ../#z"),
        ("<a href='#z'>x</a>", "p/index.html has the dead link #z"),
        ("<img src='no.png'>", "p/index.html has the dead link no.png"),
        (
            "<script src='//cdn.example.org/x.js'></script>",
            "loads //cdn.example.org/x.js from another server",
        ),
        (
            "<link rel='preconnect' href='https://f.example.org'>",
            "loads https://f.example.org from another server",
        ),
    ],
)
def test_faults_of_a_page_are_named(text: str, fault: str, tmp_path: Path) -> None:
    (found,) = check_site.faults(site_of(tmp_path, **{"p__index.html": text}))
    assert fault in found


def test_other_faults_are_named(tmp_path: Path) -> None:
    assert "no index.html" in next(check_site.faults(tmp_path))
    site = site_of(tmp_path, **{"a.css": "@import 'https://example.org/a.css'; b {background: url(x.png)}"})
    assert list(check_site.faults(site)) == ["a.css loads https://example.org/a.css from another server"]
    (site / "objects.inv").unlink()
    (site / "a.css").unlink()
    assert "the public name ddgan.Callback is described on no page" in list(check_site.faults(site))
    assert check_site.main([str(site)]) == 1


def test_the_site_builds_without_a_warning_or_a_fault(tmp_path: Path) -> None:
    """`make docs`, where its packages are installed."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(f"{package} is not installed; see the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert list(check_site.faults(tmp_path / "site")) == []
