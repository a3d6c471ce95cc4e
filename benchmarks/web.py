"""Speed of the exported page in Chromium, one thread: python -m benchmarks.web [--out X.json].

Serves the pages of two models with random weights on loopback: the preset digits, and a U-Net in sub-bands
for emoji of 32 x 32 pixels (T = 4, a quarter of a billion multiplications per call). Needs the packages of
the extras `dev` and `export`, and Chromium or Chrome.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.common import publish, settings_of, spread
from benchmarks.sampling import model
from ddgan import RunConfig
from ddgan.export.web import export_web

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
IDLE = "#results[aria-busy=false] #steps:not([hidden])"
"""Selector that matches once the first images of a page are shown."""
NETWORK = {"kind": "ncsnpp", "base_channels": 56, "channel_multipliers": [1, 2, 2], "num_blocks": 1}
EMOJI: dict[str, Any] = {
    "data": "emoji",
    "conditions": {"label": {"classes": 9}},
    "diffusion": {"num_steps": 4},
    "generator": {
        "kind": "subbands",
        "transform": "haar",
        "network": NETWORK | {"attention_resolutions": [], "latent_size": 64},
    },
}
READY = {"ready": "seconds until ready", "ready_cpu": "CPU seconds until the first images"}
SPEED = {"images_per_second": "images/s", "images_per_cpu_second": "images per CPU second"}
NUM_IMAGES = {"digits": 256, "emoji": 32}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    cpu = torch.device("cpu")
    rows, values = [], {}
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "digits": model(*settings_of("digits"), cpu),
            "emoji": model(RunConfig.from_dict(EMOJI), (3, 32, 32), cpu),
        }
        for name, one in models.items():
            export_web(one, Path(folder) / name, title=name)
        with served(Path(folder)) as address, browser() as chromium:
            values["browser"] = chromium.version
            for name in models:
                found = measured(chromium, f"{address}/{name}/", NUM_IMAGES[name], options.rounds)
                words = READY | SPEED
                rows += [(f"{name}, {words[key]}", spread(times)) for key, times in found.items()]
                values[name] = found
    publish("web", rows, values, options.out)


def measured(chromium: Any, address: str, n: int, rounds: int) -> dict[str, list[float]]:
    """Open a page anew in each round: seconds from the request until it is ready, and images per second.

    The processor time, of all threads of the browser, tells how much other work on the machine slowed it
    down. Until ready it includes the first images.
    """
    found: dict[str, list[float]] = {name: [] for name in (*READY, *SPEED)}
    for number in range(rounds):
        page, start = chromium.new_context().new_page(), cpu_seconds()
        page.goto(address)
        page.wait_for_selector(IDLE, timeout=300_000)
        found["ready"].append(page.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1000)
        found["ready_cpu"].append(cpu_seconds() - start)
        call, start = f"ddgan.sample({{n: {n}, seed: {number}, labels: {[0] * n}}})", cpu_seconds()
        milliseconds = page.evaluate(f"{call}.then((made) => made.milliseconds)")
        found["images_per_second"].append(1000 * n / milliseconds)
        found["images_per_cpu_second"].append(n / (cpu_seconds() - start))
        page.context.close()
    return found


def cpu_seconds() -> float:
    """Return the processor time of all processes that this one started."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(time.user + time.system for time in times)


def browser_path() -> str | None:
    """Return the path of Chromium or Chrome, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium without a window; yields playwright's browser.

    Raises:
        ValueError: if there is none.
    """
    from playwright.sync_api import sync_playwright

    path = browser_path()
    if path is None:
        raise ValueError(f"no browser was found; install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class QuietHandler(SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, *arguments: Any) -> None:
        """Do nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; yields its address, without a slash at the end."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()
