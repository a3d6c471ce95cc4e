"""report.html: self-contained, and what it says is what the run has."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ddgan
from ddgan import Run, RunConfig
from ddgan.reports.run_report import NUM_SHOWN, _about_tiles, _tile, smoothed
from ddgan.system.images import to_pil, to_uint8


class Page(HTMLParser):
    """Gathers tags and text, and sees that every tag is closed."""

    VOID = ("img", "meta", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def pictures(self) -> list[np.ndarray]:
        sources = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]
        found = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources]
        return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in found]


def page(run: Run) -> Page:
    return Page((run.path / "report.html").read_text(encoding="utf-8"))


def test_it_needs_nothing_from_outside(scored_run: Run, scored_points_run: Run) -> None:
    for run in (scored_run, scored_points_run):
        text = (run.path / "report.html").read_text(encoding="utf-8")
        assert not re.findall(r"https?:|<script|<link|url\(|@import", text)
        assert all(a["src"].startswith("data:image/png") for tag, a in page(run).tags if tag == "img")


def test_it_says_the_scores_the_log_and_the_settings(scored_run: Run) -> None:
    words = " ".join(page(scored_run).words)
    assert scored_run.report is not None
    for name, value in scored_run.report.table():
        assert name in words
        assert value in words
    assert "T = 3" in words
    assert "channel_multipliers: [1, 1]" in words
    titles = ["Scores", "Generated images", "Real images", "Denoising, step by step", "Losses", "Settings"]
    assert [title for title in titles if title not in words] == []


def test_it_shows_the_samples_of_the_model_beside_their_channels(scored_run: Run) -> None:
    pictures = page(scored_run).pictures()
    samples = to_uint8(scored_run.model.sample(NUM_SHOWN))
    for picture, sample in zip(pictures[:NUM_SHOWN], samples, strict=True):
        assert picture.shape == (64, 4 * 64 + 3 * 4, 3)
        np.testing.assert_array_equal(picture[::8, :64:8], sample)
        for channel in range(3):
            left = (channel + 1) * 68
            grey = picture[::8, left : left + 64 : 8]
            np.testing.assert_array_equal(grey, np.repeat(sample[..., channel : channel + 1], 3, axis=2))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
def test_tiles_show_any_number_of_channels(channels: int) -> None:
    image = np.random.default_rng(0).integers(256, size=(8, 8, channels), dtype=np.uint8)
    picture = np.asarray(to_pil(_tile(image)))
    if channels in (1, 4):
        np.testing.assert_array_equal(picture[::8, ::8].reshape(image.shape), image)
        return
    for channel in range(channels):  # beside the colours if there are three, four to a row
        row, column = divmod(channel + (channels == 3), 4)
        tile = picture[row * 68 : row * 68 + 64 : 8, column * 68 : column * 68 + 64 : 8]
        np.testing.assert_array_equal(tile if tile.ndim == 2 else tile[..., 0], image[..., channel])


@pytest.mark.parametrize(("channels", "data"), [(c, d) for c in (1, 3, 5) for d in ("digits", "photos/")])
def test_the_note_says_what_is_there(channels: int, data: str) -> None:
    note = _about_tiles(channels, data)
    assert ("classifier" in note) == (data == "digits")
    assert ("red, green and blue" in note) == (channels == 3)
    assert ("The 5 channels" in note) == (channels == 5)


def test_a_run_with_five_channels_is_reported_and_speaks_of_no_digits(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(256, size=(40, 8, 8, 5), dtype=np.uint8)
    np.save(tmp_path / "five.npy", images)
    tiny_settings["data"] = str(tmp_path / "five.npy")
    tiny_settings["generator"]["image_channels"] = 5
    tiny_settings["training"] |= {"score_samples": 20, "num_iterations": 2}
    run = ddgan.train(RunConfig.from_dict(tiny_settings), tmp_path / "run", verbose=False)
    found = page(run)
    words = " ".join(found.words)
    assert "The 5 channels of each image, in grey." in words
    assert "digit" not in words.split("Settings")[0]
    assert len(found.pictures()) == 2 * NUM_SHOWN + 1  # generated, real, losses


def test_points_are_drawn(scored_points_run: Run) -> None:
    pictures = page(scored_points_run).pictures()
    assert len(pictures) == 3  # real beside generated, the steps, the losses
    assert all(len(np.unique(picture.reshape(-1, 3), axis=0)) > 10 for picture in pictures)


@pytest.mark.filterwarnings("error")
def test_smoothing_is_a_mean_that_skips_what_is_missing() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan, np.nan])
    result = smoothed(values, window=3)
    np.testing.assert_allclose(result, [2, 2, 4, 5, 5, np.nan, np.nan])
    np.testing.assert_allclose(smoothed(np.arange(50.0))[10:-10], np.arange(10.0, 40.0))
    assert len(smoothed(np.array([]))) == 0
