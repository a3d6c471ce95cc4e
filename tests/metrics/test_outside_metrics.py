"""A metric and a kind of features from outside the package, in a file each, score a model as others do.

The files are in tests/outside, as a user would write them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.config import components
from ddgan.data.digits import StackedDigits
from ddgan.metrics import METRICS, Figure, Metric, known_metrics, real_data
from ddgan.metrics.features import FeatureBatch, Features, features_named, known_features
from ddgan.metrics.samples import quantised
from ddgan.reports.comparison import compare, read_reports
from ddgan.reports.run_report import write_report
from ddgan.system.outputs import read_record

FILES = Path(__file__).parents[1] / "outside"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    known_metrics(), known_features()  # what comes with ddgan is registered before
    before = dict(components._registered)
    yield
    components._registered.clear()
    components._registered.update(before)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the user's metric; that of the features is imported too."""
    monkeypatch.syspath_prepend(str(FILES))
    for name in ("own_metric", "own_features"):
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)  # type: ignore[attr-defined]
        importlib.import_module(name)
    return importlib.import_module("own_metric")


def test_it_is_in_the_report_under_its_own_name(own: Any, model: DDGAN, tmp_path: Path) -> None:
    asked = ["brightness", "frechet", "precision_recall"]
    report = ddgan.evaluate(model, metrics=asked, n=300, features="mean_colour")
    images = torch.cat([quantised(batch) for batch in model.batches(300)]).float()
    score = report.scores["brightness"]
    assert score.samples == pytest.approx(float(images.mean()), rel=1e-5)
    assert score.brightest == pytest.approx(float(images.flatten(1).topk(5).values.mean()), rel=1e-5)
    real = quantised(StackedDigits(seed=1).batch(0, real_data.FEWEST_ENDLESS).x).float()
    assert score.real == pytest.approx(float(real.mean()), rel=1e-5)
    assert report.frechet is not None
    assert report.frechet.name == "Fréchet distance (mean_colour features)"
    assert report.frechet.num_features == 3
    assert report.features is not None
    assert (report.features.name, report.features.checksum) == ("mean_colour", "version 1")
    assert list(report.scores) == ["frechet", "precision_recall", "brightness"]

    plain = report.to_dict()
    assert plain["brightness"] == {"samples": score.samples, "real": score.real, "brightest": score.brightest}
    assert plain["frechet"]["value"] == report.frechet.value
    assert plain["kernel"] is None
    report.save(tmp_path / "scores.json")
    assert read_record(tmp_path / "scores.json") == json.loads(json.dumps(plain))
    rows = dict(report.table())
    assert rows["brightness: samples"] == f"{score.samples:.4f}"
    assert rows["brightness: brightest"] == f"{score.brightest:.4f}"


def test_it_has_settings_of_its_own(own: Any, model: DDGAN) -> None:
    few, many = (
        ddgan.evaluate(model, metrics=own.Brightness(count=count), n=50, features="mean_colour")
        for count in (1, 100)
    )
    assert few.scores["brightness"].brightest > many.scores["brightness"].brightest
    with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
        own.Brightness(count=0)
    with pytest.raises(ValueError, match="brightness is given with two different settings"):
        ddgan.evaluate(model, metrics=["brightness", own.Brightness(count=3)], n=50)


@pytest.mark.parametrize("method", ["one_step_gan", "gaussian_diffusion"])
def test_it_scores_models_of_any_method(own: Any, tiny_config: RunConfig, method: str) -> None:
    config = tiny_config.changed({"method": {"kind": method}, "generator.latent_size": 0})
    generator: Any = config.generator
    model = config.method.open(generator.build((3, 8, 8), config.conditions.shapes), config, (3, 8, 8))
    report = ddgan.evaluate(model, metrics=["brightness"], n=20, features="mean_colour")
    assert 0 <= report.scores["brightness"].samples <= 255


def test_it_is_named_among_those_that_there_are(own: Any, model: DDGAN) -> None:
    assert known_metrics() == [*METRICS, "brightness"]
    assert known_features()[-1] == "mean_colour"
    with pytest.raises(
        ValueError, match=r"metrics: dullness is not known; choose from .*, brightness \(for a"
    ):
        ddgan.evaluate(model, metrics=["dullness"])
    with pytest.raises(
        ValueError, match=r"features 'hue' is not known; choose from inception, .*mean_colour, or"
    ):
        ddgan.evaluate(model, features="hue")


def test_a_name_that_is_nearly_right_is_understood(own: Any, model: DDGAN) -> None:
    for name, meant in (("frechte", "frechet"), ("brightnes", "brightness")):
        with pytest.raises(
            ValueError, match=f"metrics: {name} is not known; did you mean {meant}. choose fr"
        ):
            ddgan.evaluate(model, metrics=[name])
    for name, meant in (("inceptoin", "inception"), ("mean_color", "mean_colour")):
        with pytest.raises(ValueError, match=f"features '{name}' is not known; did you mean {meant}. choose"):
            ddgan.evaluate(model, features=name)


def test_registered_twice_is_refused(own: Any) -> None:
    for slot, kind in (("metric", "brightness"), ("features", "mean_colour"), ("metric", "frechet")):
        with pytest.raises(
            ValueError, match=f"{slot} '{kind}' is registered twice: by .* and by test_outside"
        ):

            @ddgan.register(slot, kind)
            class Another:
                pass


def test_a_figure_is_checked_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="better is 'more'; it must be one of lower or higher"):
        Figure("quality", "brightness", "samples", "more")  # type: ignore[arg-type]


def test_statistics_of_its_features_can_be_compared_with(own: Any, model: DDGAN, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", mu=np.full(3, 100.0), sigma=np.eye(3))
    path = str(tmp_path / "x.npz")
    report = ddgan.evaluate(model, path, ["frechet"], 50, features="mean_colour")
    assert report.frechet is not None
    assert report.frechet.value > 0
    words = "brightness needs real images, .*; choose from frechet, inception_score, speed"
    with pytest.raises(ValueError, match=words):
        ddgan.evaluate(model, path, ["brightness"], 50, features="mean_colour")


def test_a_comparison_shows_its_figures(own: Any, model: DDGAN, tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for seed, path in enumerate(paths):
        ddgan.evaluate(model, "digits", ["brightness"], 50, seed, features="mean_colour").save(path)
    values = [json.loads(path.read_text())["brightness"]["samples"] for path in paths]
    comparison = read_reports(paths)
    row = next(row for row in comparison.table() if row[0] == "mean of the samples (higher is better)")
    assert [float(cell.removesuffix(" *")) for cell in row[1:]] == pytest.approx(values, rel=1e-3)
    assert comparison.axes()[0].label == "mean of the samples"
    compare(paths, tmp_path / "x.html")
    assert "<td>mean of the samples (higher is better)</td>" in (tmp_path / "x.html").read_text()


def test_a_comparison_where_it_is_not_imported_shows_its_numbers(
    own: Any, model: DDGAN, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for count, path in zip((2, 7), paths, strict=True):
        ddgan.evaluate(model, "digits", own.Brightness(count), 50, features="mean_colour").save(path)
    del components._registered["metric", "brightness"]
    values = [json.loads(path.read_text())["brightness"]["brightest"] for path in paths]
    comparison = compare(paths, tmp_path / "x.html")
    assert ["brightness: brightest", *(f"{value:.4g}" for value in values)] in comparison.table()
    assert "<td>brightness: brightest</td>" in (tmp_path / "x.html").read_text()
    for path in paths:  # nothing else is left to plot
        path.write_text(json.dumps(read_record(path) | {"nfe": None}))
    again = compare(paths, tmp_path / "y.html")
    assert ["brightness: brightest", *(f"{value:.4g}" for value in values)] in again.table()
    assert not (tmp_path / "y.png").exists()


def test_the_command_scores_and_compares_by_it(
    own: Any, model: DDGAN, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(model.save(tmp_path / "model.safetensors"))
    imports = ["--import", "own_metric", "--import", "own_features"]
    written = [str(tmp_path / name) for name in ("a.json", "b.json")]
    asked = ["--metrics", "brightness", "--features", "mean_colour", "-n", "20", "--device", "cpu"]
    for seed, out in enumerate(written):
        assert main(["evaluate", path, *imports, *asked, "--seed", str(seed), "--out", out]) == 0
        score = json.loads(Path(out).read_text())["brightness"]
        (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("brightness: samples")]
        assert line.split()[-1] == f"{score['samples']:.4f}"
    page = tmp_path / "x.html"
    assert main(["evaluate", "--compare", *written, *imports, "--out", str(page)]) == 0
    assert "mean of the samples (higher is better)" in capsys.readouterr().out
    assert "mean of the samples (higher is better)" in page.read_text()


def test_a_run_report_shows_it(own: Any, model: DDGAN, tmp_path: Path) -> None:
    report = ddgan.evaluate(model, metrics=["brightness"], n=30, features="mean_colour")
    text = write_report(model, report, tmp_path).read_text(encoding="utf-8")
    assert f"<td>brightness: samples</td><td>{report.scores['brightness'].samples:.4f}</td>" in text


@dataclass(frozen=True)
class Number:
    """A score."""

    value: Any

    def rows(self) -> list[tuple[str, str]]:
        return [("the number", str(self.value))]


def registered(kind: str, value: Any, needs: Any = ()) -> Any:
    """A metric whose score is always the same."""

    def score(self: Any, evidence: Any) -> Any:
        return value(evidence) if callable(value) else value

    return ddgan.register("metric", kind)(type(kind, (Metric,), {"score": score, "needs": needs}))


def test_rows_are_its_own_where_it_has_some(model: DDGAN) -> None:
    registered("answer", Number(np.float32(0.5)))
    report = ddgan.evaluate(model, metrics="answer", n=10)
    assert ("the number", "0.5") in report.table()
    assert report.to_dict()["answer"] == {"value": 0.5}
    assert report.features is None


def test_what_needs_the_model_gets_it_and_is_not_for_files(model: DDGAN) -> None:
    registered("calls", lambda evidence: Number(evidence.model.nfe), ("model",))
    assert ddgan.evaluate(model, metrics=["calls"], n=10).scores["calls"].value == 3
    with pytest.raises(
        ValueError, match="metrics: calls needs a model, but 'array' has only samples; leave it out"
    ):
        ddgan.evaluate(np.zeros((20, 8, 8, 3), np.uint8), "digits", ["calls"])


def test_what_several_metrics_share_is_made_once(model: DDGAN) -> None:
    made = []

    def common(evidence: Any) -> int:
        made.append(evidence)
        return len(evidence.features)

    for kind in ("first", "second"):
        registered(kind, lambda evidence: Number(evidence.shared(common)), ("features",))
    report = ddgan.evaluate(model, metrics=["first", "second"], n=10, features="pixels")
    assert [score.value for score in report.scores.values()] == [10, 10]
    assert len(made) == 1


@pytest.mark.parametrize(
    ("kind", "value", "needs", "words"),
    [
        ("plain", 3.5, (), "the score of plain is a float; it must be a dataclass"),
        ("opaque", Number(object()), (), "the score of opaque has no JSON form"),
        ("seed", Number(1), (), "seed is a reserved name in reports; register it as another kind"),
        ("typo", Number(1), ("feature",), "typo needs 'feature'; valid needs are features, probabilities"),
    ],
)
def test_mistakes_of_its_author(model: DDGAN, kind: str, value: Any, needs: Any, words: str) -> None:
    registered(kind, value, needs)
    with pytest.raises(ValueError, match=words) as error:
        ddgan.evaluate(model, metrics=[kind], n=10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("need", ["features", "probabilities", "classified"])
def test_evidence_that_it_did_not_ask_for(model: DDGAN, need: str) -> None:
    registered("careless", lambda evidence: Number(getattr(evidence, need)))
    word = "classes" if need == "classified" else need
    with pytest.raises(ValueError, match=f"evidence that was not collected; add '{word}' to its needs"):
        ddgan.evaluate(model, metrics=["careless"], n=10)


def test_a_metric_that_is_none(model: DDGAN) -> None:
    @ddgan.register("metric", "stranger")
    class Stranger:
        pass

    with pytest.raises(ValueError, match="Stranger is registered as stranger, but is not a subclass of"):
        ddgan.evaluate(model, metrics=["stranger"], n=10)


def test_features_that_say_too_little(model: DDGAN) -> None:
    class Nameless(Features):
        def __call__(self, images: Any, with_probabilities: bool = False) -> FeatureBatch:
            return FeatureBatch(images.flatten(1).float())

    @ddgan.register("features", "nameless")
    class NamelessConfig:
        def open(self, inputs: Any) -> Features:
            return Nameless()

    assert features_named("nameless") == NamelessConfig()
    with pytest.raises(ValueError, match="features nameless have no name, which all features have"):
        ddgan.evaluate(model, metrics=["frechet"], n=10, features="nameless")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda images: images.float(), "are a Tensor; they must be a FeatureBatch"),
        (
            lambda images: FeatureBatch(images.float()),
            r"of 10 images: they are torch.float32 \(10, 3, 8, 8\); they must be float32 \(10, D\)",
        ),
        (lambda images: FeatureBatch(images.flatten(1)), r"are torch.uint8 \(10, 192\); they must be"),
        (lambda images: FeatureBatch(images[:3].flatten(1).float()), r"torch.float32 \(3, 192\); they must"),
    ],
)
def test_features_of_another_form(model: DDGAN, make: Any, words: str) -> None:
    class Odd(Features):
        name, checksum = "odd", "1"

        def __call__(self, images: Any, with_probabilities: bool = False) -> FeatureBatch:
            return make(images)  # type: ignore[no-any-return]

    @ddgan.register("features", "odd")
    class OddConfig:
        def open(self, inputs: Any) -> Features:
            return Odd()

    with pytest.raises(ValueError, match=f"features odd .*{words}"):
        ddgan.evaluate(model, metrics=["frechet"], n=10, features="odd")


def test_features_without_the_probabilities_that_they_speak_of(model: DDGAN) -> None:
    class Silent(Features):
        name, checksum, has_probabilities = "silent", "1", True

        def __call__(self, images: Any, with_probabilities: bool = False) -> FeatureBatch:
            return FeatureBatch(images.flatten(1).float())

    @ddgan.register("features", "silent")
    class SilentConfig:
        def open(self, inputs: Any) -> Features:
            return Silent()

    with pytest.raises(ValueError, match="features silent return no probabilities, although"):
        ddgan.evaluate(model, metrics=["inception_score"], n=10, features="silent")


def test_features_that_cannot_be_opened() -> None:
    @ddgan.register("features", "shut")
    class Shut:
        pass

    with pytest.raises(ValueError, match=r"Shut is registered as shut, but has no method open\(inputs\)"):
        features_named("shut")
