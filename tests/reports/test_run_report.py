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
from ddgan import DDGAN, Run, RunConfig
from ddgan.models.model import Model
from ddgan.models.run_folder import read_log
from ddgan.reports.run_report import curves, heading, losses_of, smoothed, write_report
from ddgan.reports.sample_views import NUM_SHOWN, about_tiles, sample_sections, tile
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

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


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
    assert "Denoising diffusion GAN on digits, T = 3" in words
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
    picture = np.asarray(to_pil(tile(image)))
    if channels in (1, 4):
        np.testing.assert_array_equal(picture[::8, ::8].reshape(image.shape), image)
        return
    for channel in range(channels):  # beside the colours if there are three, four to a row
        row, column = divmod(channel + (channels == 3), 4)
        found = picture[row * 68 : row * 68 + 64 : 8, column * 68 : column * 68 + 64 : 8]
        np.testing.assert_array_equal(found if found.ndim == 2 else found[..., 0], image[..., channel])


@pytest.mark.parametrize(("channels", "data"), [(c, d) for c in (1, 3, 5) for d in ("digits", "photos/")])
def test_the_note_says_what_is_there(channels: int, data: str) -> None:
    note = about_tiles(channels, data)
    assert ("classifier" in note) == (data == "digits")
    assert ("red, green and blue" in note) == (channels == 3)
    assert ("The 5 channels" in note) == (channels == 5)


def test_a_run_with_five_channels_is_reported_and_speaks_of_no_digits(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(256, size=(40, 8, 8, 5), dtype=np.uint8)
    np.save(tmp_path / "five.npy", images)
    tiny_settings["data"] = str(tmp_path / "five.npy")
    tiny_settings["training"] |= {"score_samples": 20, "num_iterations": 2}
    run = ddgan.train(RunConfig.from_dict(tiny_settings), tmp_path / "run", verbose=False)
    found = page(run)
    words = " ".join(found.words)
    assert "The 5 channels of each image, in grey." in words
    assert "digit" not in words.split("Settings")[0]
    assert len(found.pictures()) == 2 * NUM_SHOWN  # generated, real


def test_points_are_drawn(scored_points_run: Run) -> None:
    pictures = page(scored_points_run).pictures()
    assert len(pictures) == 2  # real beside generated, the steps
    assert all(len(np.unique(picture.reshape(-1, 3), axis=0)) > 10 for picture in pictures)


def model_of(config: RunConfig, kind: str, shape: tuple[int, ...]) -> Any:
    """A new model of another method, with the same generator."""
    latent = 0 if kind == "gaussian_diffusion" else 4
    config = config.changed({"method": {"kind": kind}, "generator.latent_size": latent})
    generator: Any = config.generator
    return config.method.open(generator.build(shape, config.conditions.shapes), config, shape)


OTHERS = {
    "one_step_gan": "One-step GAN on digits, NFE = 1",
    "wgan_gp": "WGAN-GP on digits, NFE = 1",
    "gaussian_diffusion": "Gaussian diffusion on digits, NFE = 3",
}


@pytest.mark.parametrize(("kind", "title"), OTHERS.items())
def test_models_of_other_methods_have_a_page_without_denoising_steps(
    tiny_config: RunConfig, kind: str, title: str, tmp_path: Path
) -> None:
    model: Model = model_of(tiny_config, kind, (3, 8, 8))
    report = ddgan.evaluate(model, metrics=["precision_recall"], n=30, features="pixels")
    found = Page(write_report(model, report, tmp_path).read_text(encoding="utf-8"))
    words = " ".join(found.words)
    assert title in words
    assert "Generated images" in words
    assert "step by step" not in words
    assert "Losses" not in words  # there is no log
    assert len(found.pictures()) == 2 * NUM_SHOWN
    for picture, sample in zip(found.pictures(), to_uint8(model.sample(NUM_SHOWN)), strict=False):
        np.testing.assert_array_equal(picture[::8, :64:8], sample)


def test_a_run_of_another_method_is_reported_with_its_losses(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    config = tiny_points_config.changed(
        {
            "method": {"kind": "gaussian_diffusion"},
            "generator.latent_size": 0,
            "training.score_samples": 40,
            "diffusion.num_steps": 20,
        }
    )
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    found = page(run)
    words = " ".join(found.words)
    assert "Gaussian diffusion on gaussians, NFE = 20" in words
    assert "Losses" in words
    assert len(found.pictures()) == 1  # real beside generated
    labels = [label for label, _ in curves(read_log(run.path / "log.jsonl"), "loss_g", 20)]
    assert len(labels) > 0
    assert set(labels) <= {f"t = {first}..{first + 1}" for first in range(1, 20, 2)}


@pytest.mark.parametrize("kind", ["one_step_gan", "wgan_gp"])
def test_a_loss_that_the_last_line_of_the_log_lacks_is_drawn(
    tiny_points_config: RunConfig, kind: str, tmp_path: Path
) -> None:
    """As that of a generator which is trained once in a few iterations."""
    model = model_of(tiny_points_config, kind, (2,))
    report = ddgan.evaluate(model, metrics=["precision_recall"], n=30, features="pixels")
    log = ['{"step": 5, "loss_d": 1.0, "loss_g": 2.0}', '{"step": 6, "loss_d": 1.5, "loss_g": null}']
    (tmp_path / "log.jsonl").write_text("\n".join([*log, '{"step": 7, "loss_d": 1.2}']) + "\n")
    found = Page(write_report(model, report, tmp_path).read_text(encoding="utf-8"))
    assert "Losses" in found.words
    assert found.count("svg") == 2
    (tmp_path / "log.jsonl").write_text('{"step": 5, "loss_d": 1.0}\n{"step": 7, "loss_d": 1.2}\n')
    assert Page(write_report(model, report, tmp_path).read_text(encoding="utf-8")).count("svg") == 1


def test_a_wgan_run_is_reported_with_both_losses(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    config = tiny_points_config.changed(
        {
            "method": {"kind": "wgan_gp", "discriminator": {"kind": "mlp"}},
            "training.score_samples": 40,
            "training.num_iterations": 7,
        }
    )
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    names = {name for record in read_log(run.path / "log.jsonl") for name in losses_of(record)}
    assert {"loss_d", "loss_g"} <= names
    words = " ".join(page(run).words)
    assert "WGAN-GP on gaussians, NFE = 1" in words
    assert "The log has no losses." not in words


def test_bins_of_t_are_named_and_empty_ones_left_out() -> None:
    log = [{"step": 1, "loss_g": 2.0, "loss_g_by_t": [1.0, 2.0, None, 4.0]}]
    assert [label for label, _ in curves(log, "loss_g", 8)] == ["t = 1..2", "t = 3..4", "t = 7..8"]
    few = {"step": 1, "loss_g": 2.0, "loss_g_by_t": [1.0, None, None, 2.0, None, None, 3.0, *[None] * 3]}
    assert [label for label, _ in curves([few], "loss_g", 3)] == ["t = 1", "t = 2", "t = 3"]


def test_a_method_from_outside_is_called_by_its_kind(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model.config.method), "kind", "cold_diffusion")
    assert heading(model) == "Cold diffusion on digits, T = 3"


def test_curves_are_those_of_the_log() -> None:
    log = [
        {"step": 1, "loss_g": 2.0, "loss_g_by_t": [1.0, None], "loss_x": 5.0, "d_real": 1.0},
        {"step": 2, "loss_g": 3.0, "loss_g_by_t": [2.0, 4.0]},
        {"step": 3, "loss_x": None},
    ]
    (first, one), (second, two) = curves(log, "loss_g", 2)
    assert (first, second) == ("t = 1", "t = 2")
    np.testing.assert_array_equal(one, [1, 2, np.nan])
    np.testing.assert_array_equal(two, [np.nan, 4, np.nan])
    ((label, values),) = curves(log, "loss_x", 2)
    assert label == ""
    np.testing.assert_array_equal(values, [5, np.nan, np.nan])
    assert list(dict.fromkeys(name for record in log for name in losses_of(record))) == ["loss_g", "loss_x"]


def test_a_log_without_losses_is_no_trouble(model: DDGAN, tmp_path: Path) -> None:
    report = ddgan.evaluate(model, metrics=["precision_recall"], n=30, features="pixels")
    for text in ("", '{"step": 1, "images_per_second": 3.0}\n'):
        (tmp_path / "log.jsonl").write_text(text)
        found = Page(write_report(model, report, tmp_path).read_text(encoding="utf-8"))
        assert "The log has no losses." in " ".join(found.words)


def test_samples_that_cannot_be_drawn_are_said(model: DDGAN) -> None:
    other: Any = DDGAN(model.generator, model.config, (7,))
    (only,) = sample_sections(other)
    assert only.content == "<p>Samples of shape (7,) are not drawn here.</p>"


def test_what_settings_say_is_no_html(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    tiny_settings["data"] = str(tmp_path / "<b>&'.npy")
    np.save(tmp_path / "<b>&'.npy", np.zeros((20, 8, 8, 3), np.uint8))
    tiny_settings["training"] |= {"score_samples": 20, "num_iterations": 2}
    run = ddgan.train(RunConfig.from_dict(tiny_settings), tmp_path / "run", verbose=False)
    found = page(run)
    assert "b" not in {tag for tag, _ in found.tags}
    assert any("<b>&'.npy, T = 3" in word for word in found.words)


@pytest.mark.filterwarnings("error")
def test_smoothing_is_a_mean_that_skips_what_is_missing() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan, np.nan])
    result = smoothed(values, window=3)
    np.testing.assert_allclose(result, [2, 2, 4, 5, 5, np.nan, np.nan])
    np.testing.assert_allclose(smoothed(np.arange(50.0))[10:-10], np.arange(10.0, 40.0))
    assert len(smoothed(np.array([]))) == 0
