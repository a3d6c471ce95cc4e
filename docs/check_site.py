"""Check the documentation site after it was built: links, anchors, what pages load, and the public names.

    python docs/check_site.py site              # exit code 1 and a line for each fault
    python docs/check_site.py site --external   # lists the links to other servers, which are not fetched

No package is needed.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

PUBLIC_NAMES = Path(__file__).resolve().parents[1] / "tests" / "public_names.txt"
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""Attributes whose address a browser fetches without being asked, by tag; and those of `link`, by its rel."""
LOADING_RELS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "preconnect", "dns-prefetch"}
IN_CSS = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """What a page refers to.

    Args:
        text: its HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and LOADING_RELS & set(values.get("rel", "").split()):
            self.loads.append(values.get("href", ""))
        if tag in LOADED and LOADED[tag] in values:
            self.loads.append(values[LOADED[tag]])


def is_external(address: str) -> bool:
    """Whether an address is on another server, or no page at all, such as mailto:."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def read_pages(site: Path) -> dict[Path, Page]:
    """Read all pages of a built site."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.resolve().rglob("*.html"))}


def faults(site: Path) -> Iterator[str]:
    """Yield a line for each fault of a built site."""
    site = site.resolve()
    pages = read_pages(site)
    if site / "index.html" not in pages:
        yield f"{site} has no index.html; build it with make docs"
        return
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        yield from (f"{name} loads {one} from another server" for one in page.loads if is_external(one))
        if name == "404.html":  # its links are absolute, as it may be shown for any address
            continue
        local = dict.fromkeys(one for one in (*page.links, *page.loads) if not is_external(one))
        yield from (f"{name} has the dead link {one}" for one in local if not _leads(path, one, pages))
    for path in sorted(site.rglob("*.css")):
        for address in IN_CSS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site).as_posix()} loads {address} from another server"
    missing = set(PUBLIC_NAMES.read_text(encoding="utf-8").split()) - described_names(site)
    yield from (f"the public name {name} is described on no page" for name in sorted(missing))


def _leads(path: Path, address: str, pages: dict[Path, Page]) -> bool:
    """Whether an address on a page leads to a file, and to an anchor in it if it names one."""
    parts = urlsplit(address)
    if parts.scheme == "data":
        return True
    target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
    if target.suffix != ".html" and target.is_dir():
        target /= "index.html"
    if target not in pages:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in pages[target].anchors


def described_names(site: Path) -> set[str]:
    """Return the Python names that the site describes, from the inventory that mkdocstrings writes."""
    inventory = site / "objects.inv"
    if not inventory.is_file():
        return set()
    *_, packed = inventory.read_bytes().split(b"\n", 4)
    return {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}


def external_links(site: Path) -> list[str]:
    """Return the addresses on other servers to which pages link."""
    return sorted({link for page in read_pages(site).values() for link in page.links if is_external(link)})


def main(arguments: list[str]) -> int:
    """Check the site named first; return the exit code."""
    site = Path(arguments[0])
    if "--external" in arguments:
        print("\n".join(external_links(site)))
        return 0
    found = list(faults(site))
    print("\n".join(found) or f"{site}: no dead links, nothing from other servers, all public names")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["site"]))
