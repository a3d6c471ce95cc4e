"""Scoring a model from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.data.digits import StackedDigits
from ddgan.data.sources import data_named
from ddgan.metrics.evaluation import check_scoring
from ddgan.metrics.real_data import FEWEST_ENDLESS, open_real
from ddgan.metrics.result import PROTOCOL
from ddgan.system.outputs import read_record
from ddgan.training.console import Logger
from ddgan.training.trainer import warn_of_scoring
from tiny import TINY_DIGITS


def test_a_run_scores_the_same_again(scored_run: Run) -> None:
    again = ddgan.evaluate(scored_run.path, n=60)
    assert scored_run.report is not None
    assert again.modes == scored_run.report.modes
    assert (again.data, again.num_samples, again.seed, again.nfe) == ("digits", 60, 0, 3)
    other = ddgan.evaluate(scored_run.path, n=60, seed=1)
    assert other.modes != again.modes


def test_points_are_scored(points_model: DDGAN) -> None:
    report = ddgan.evaluate(points_model, n=500)
    assert report.modes is not None
    assert report.modes.num_modes == 25
    assert report.images_per_second is not None
    assert report.images_per_second > 0
    assert report.seconds > 0


def test_only_what_is_asked_for(points_model: DDGAN) -> None:
    assert ddgan.evaluate(points_model, metrics=["speed"], n=10).modes is None
    assert ddgan.evaluate(points_model, metrics=["modes"], n=10).images_per_second is None


def test_the_report_survives_json(points_model: DDGAN, tmp_path: Path) -> None:
    report = ddgan.evaluate(points_model, n=100)
    report.save(tmp_path / "new" / "scores.json")
    saved = read_record(tmp_path / "new" / "scores.json")
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert saved["protocol"] == PROTOCOL
    assert saved["versions"]["torch"] == torch.__version__
    names = [name for name, _ in report.table()]
    assert names[0] == "modes covered"
    assert {"sampling speed", "network evaluations per sample (NFE)"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metrics": ["fid"]}, "fid is not known; choose from frechet, kernel"),
        ({"metrics": []}, "metrics is empty; choose from frechet, kernel"),
        ({"data": "cats"}, "'cats', which does not exist; pass --data"),
        ({"data": "gaussians"}, r"shape \(3, 8, 8\), but gaussians has \(2,\)"),
        ({"features": "dino"}, "features 'dino' is not known; choose from inception"),
        ({"features": "nowhere.pt"}, "features 'nowhere.pt' does not exist"),
        ({"split": "validation", "metrics": ["frechet"]}, "split is 'validation'; digits has train and test"),
        ({"metrics": ["inception_score"], "features": "pixels"}, "which features pixels do not have"),
        ({"metrics": ["classes"]}, "classes are for models trained with classes"),
        ({"n": 0}, "n is 0"),
        ({"seed": -2}, "seed is -2"),
    ],
)
def test_mistakes(model: DDGAN, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ddgan.evaluate(model, **arguments)  # type: ignore[arg-type]


def test_batch_size_and_order_change_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(300, 8, 8, 3), dtype=np.uint8)
    metrics = ["frechet", "kernel", "precision_recall", "density_coverage"]
    first = ddgan.evaluate(images, "digits", metrics, features="pixels")
    monkeypatch.setattr("ddgan.metrics.samples.BATCH_SIZE", 7)
    other = ddgan.evaluate(images[rng.permutation(300)], "digits", metrics, features="pixels")
    for name in metrics:
        values, again = (asdict(getattr(report, name)) for report in (first, other))
        assert again == {key: close(value) for key, value in values.items()}


def close(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else pytest.approx(value, rel=1e-6)


def test_real_digits_against_real_digits(tmp_path: Path) -> None:
    """Test digits differ from training digits by little, and by more than training digits do."""
    values = {}
    for split in ("train", "test"):
        images = StackedDigits(seed=5, split=split).batch(0, 2000).x
        report = ddgan.evaluate(images, "digits", ["frechet", "precision_recall"], features="pixels")
        assert report.frechet is not None
        assert report.precision_recall is not None
        assert report.frechet.name == "Fréchet distance (pixels features)"
        assert report.precision_recall.recall > 0.8
        values[split] = report.frechet.value
    assert values["train"] < values["test"]


def test_statistics_of_real_images_are_kept(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(256, size=(250, 8, 8, 3), dtype=np.uint8)
    first = ddgan.evaluate(images, "digits", ["frechet"], features="pixels")
    assert list((session_cache / "statistics").glob("pixels-*"))
    monkeypatch.setattr("ddgan.metrics.real_features.FeatureCollector", None)  # would be called anew
    assert ddgan.evaluate(images, "digits", ["frechet"], features="pixels").frechet == first.frechet


def test_endless_data_give_as_many_as_there_are_samples_and_ten_thousand_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ddgan.metrics.real_data.FEWEST_ENDLESS", FEWEST_ENDLESS)  # as it is for users
    assert len(open_real("gaussians", num_samples=60)) == 10_000
    assert len(open_real("gaussians", num_samples=10_001)) == 10_001


def test_too_few_samples_are_warned_of(model: DDGAN) -> None:
    with pytest.warns(UserWarning, match="60 samples give a covariance of rank 59 at most in 192 dim"):
        report = ddgan.evaluate(model, "digits", ["frechet"], 60, features="pixels")
    assert report.frechet is not None
    assert (report.frechet.rank, report.frechet.interval) == (59, None)
    assert any(name == "warning" for name, _ in report.table())


def test_files_need_data_and_have_no_speed(tmp_path: Path) -> None:
    images = np.zeros((20, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="name the data to compare them with by --data"):
        ddgan.evaluate(images)
    with pytest.raises(ValueError, match="speed needs a model, but 'array' has only samples"):
        ddgan.evaluate(images, "digits", ["speed"])
    report = ddgan.evaluate(images, "digits")
    assert report.modes is not None
    assert (report.samples, report.nfe, report.speed) == ("array", None, None)


def test_a_model_is_compared_with_its_own_data_as_it_is_set(
    tiny_points_config: RunConfig, make_model: Callable[..., DDGAN], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "outside"))
    __import__("own_data")
    model = make_model(tiny_points_config.changed({"data": {"kind": "rings", "count": 4}}), (2,))
    report = ddgan.evaluate(model, metrics=["frechet"], n=50)
    assert report.frechet is not None
    assert (report.data, report.split) == ("rings", "train")
    assert report.data_checksum == open_real(model.config.data).checksum
    assert open_real(model.config.data).num_classes == 4
    with pytest.raises(ValueError, match=r"'rings' has no images, which a classifier needs; use .* pixels"):
        ddgan.evaluate(model, metrics=["balance"], n=50)


@pytest.mark.parametrize("shape", [(16, 16, 3), (32, 32, 1), (32, 32, 4)])
def test_real_images_are_not_changed_to_fit_samples(shape: tuple[int, ...], tmp_path: Path) -> None:
    real = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "real.npy", real)
    samples = np.zeros((20, *shape), np.uint8)
    for data in (real, str(tmp_path / "real.npy")):
        with pytest.raises(
            ValueError, match=r"^the samples have shape .* has \(3, 32, 32\); use data of that"
        ):
            ddgan.evaluate(samples, data, ["frechet"], features="pixels")


@pytest.fixture(scope="module")
def run_on_a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, model `run`, on the data `w/x.npy` beside it, with a split "test" in `w/`."""
    folder = tmp_path_factory.mktemp("on a file")
    images = np.random.default_rng(0).integers(256, size=(300, 8, 8, 3), dtype=np.uint8)
    (folder / "w").mkdir()
    np.save(folder / "w" / "x.npy", images)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = RunConfig.from_dict(TINY_DIGITS).changed({"data": "w/x.npy", "training.num_iterations": 2})
        run = ddgan.train(config, "run", verbose=False)
    assert run.model.data_checksum
    return folder


def test_another_file_at_the_place_of_the_data_is_refused(
    run_on_a_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = run_on_a_file / "run", []
    for folder in (run_on_a_file, tmp_path):
        (folder / "w").mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        if folder == tmp_path:
            np.save("w/x.npy", np.load(run_on_a_file / "w" / "x.npy")[::-1].copy())
            for source in (run, run / "model.safetensors", *(run / "checkpoints").glob("step-*")):
                with pytest.raises(ValueError, match=r"^data is 'w/x.npy', but its contents are not those"):
                    ddgan.evaluate(source, None, ["frechet"], 300, features="pixels")
            np.save("w/x.npy", np.load(run_on_a_file / "w" / "x.npy"))  # the same images again
        found.append(ddgan.evaluate(run, None, ["frechet"], 300, features="pixels").frechet)
    assert found[0] == found[1]
    np.save("w/y.npy", np.zeros((300, 8, 8, 3), np.uint8))
    named = ddgan.evaluate(run, "w/y.npy", ["frechet"], 300, features="pixels")  # as asked
    assert named.frechet != found[0]


def test_another_split_of_other_data_is_refused_too(
    tiny_config: RunConfig, make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for index in range(200):
            image = Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8))
            image.save(tmp_path / split / f"{index}.png")
    model = make_model(tiny_config.changed({"data": str(tmp_path)}))
    model.data_checksum = model.config.data.open().checksum
    arguments: dict[str, Any] = {"metrics": ["frechet"], "n": 200, "features": "pixels", "split": "test"}
    assert ddgan.evaluate(model, **arguments).data_checksum != model.data_checksum
    (tmp_path / "train" / "0.png").unlink()
    with pytest.raises(ValueError, match="its contents are not those that the model was trained on"):
        ddgan.evaluate(model, **arguments)


def test_data_for_a_model_is_prepared_as_its_training_data(
    tiny_config: RunConfig, make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    """The same images, by another name or none, are its training data: cropped and filtered as those."""
    images = np.random.default_rng(0).integers(256, size=(300, 12, 16, 3), dtype=np.uint8)
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, images)
    own = {"kind": "images", "path": str(tmp_path / "a.npy"), "size": 8, "filter": "bilinear"}
    model = make_model(tiny_config.changed({"data": own}))
    checksums = {
        ddgan.evaluate(model, data, ["frechet"], 300, features="pixels").data_checksum
        for data in (None, str(tmp_path / "b.npy"), images)
    }
    assert len(checksums) == 1
    with pytest.raises(ValueError, match=r"has \(3, 12, 16\); use data of that shape: ddgan prepare"):
        ddgan.evaluate(model, data_named(str(tmp_path / "b.npy")), ["frechet"], 300, features="pixels")


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        ("digits", {"metrics": ["frechet"], "features": "pixels"}, "features of 'digits' would be kept in"),
        ("digits", {"metrics": ["modes"]}, "the classifier of digits would be kept in"),
        ("digits", {"metrics": ["balance"]}, "a classifier of 'digits' would be kept in"),
        ("digits", {"metrics": ["kernel"]}, "a classifier of 'digits' would be kept in"),
        (
            "digits",
            {"metrics": ["frechet"], "features": "inception"},
            "the weights of features inception, would",
        ),
    ],
)
def test_a_cache_that_cannot_be_written_is_told_before_sampling(
    model: DDGAN,
    data: str,
    arguments: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.delenv("DDGAN_INCEPTION", raising=False)
    monkeypatch.setattr(DDGAN, "batches", lambda *arguments: pytest.fail("it has sampled"))
    with pytest.raises(
        ValueError, match=f"{words}.*cannot be written .*; set DDGAN_CACHE to a folder that can"
    ):
        ddgan.evaluate(model, data, n=10, **arguments)


def test_a_run_that_could_not_be_scored_is_refused_and_resumed_with_a_warning(
    tiny_config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    config = tiny_config.changed({"training.score_samples": 30, "training.num_iterations": 1})
    scoreless = tiny_config.changed({"training.num_iterations": 1})
    ddgan.train(scoreless, tmp_path / "run", verbose=False)
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        ValueError, match=r"^training.score_samples is 30, but .*classifier of digits .* to 0$"
    ):
        ddgan.train(config, tmp_path / "other", verbose=False)
    assert not (tmp_path / "other").exists()
    ddgan.resume(tmp_path / "run")
    assert "score_samples" not in capsys.readouterr().err
    warn_of_scoring(config, (3, 8, 8), Logger(True))
    assert "warning: training.score_samples is 30, but these scores cannot be" in capsys.readouterr().err


def test_pictures_too_large_for_pixels_are_told_before_training(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((10, 128, 128), np.uint8))
    config = tiny_config.changed({"data": str(tmp_path / "x.npy"), "training.score_samples": 30})
    with pytest.raises(
        ValueError, match=r"cannot be taken: features pixels are for .* these have 16,384 values"
    ):
        check_scoring(config, (1, 128, 128))


def test_data_may_be_a_path_or_settings(labelled_data: Path) -> None:
    with np.load(labelled_data) as file:
        images = file["images"][:50, :, :, None]
    forms: list[Any] = [labelled_data, str(labelled_data), data_named(str(labelled_data))]
    reports = [ddgan.evaluate(images, data, ["precision_recall"], features="pixels") for data in forms]
    assert {report.data for report in reports} == {str(labelled_data)}
    assert len({report.precision_recall for report in reports}) == 1


def test_what_a_classifier_is_needed_for_is_refused_where_there_are_no_labels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(20, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "real.npy", images)
    with pytest.raises(ValueError, match=r"balance needs labels, but '.*real.npy' has none"):
        ddgan.evaluate(images, str(tmp_path / "real.npy"), ["balance"])
    np.savez(tmp_path / "statistics.npz", mu=np.zeros(9), sigma=np.eye(9))
    with pytest.raises(ValueError, match="has statistics only, and a classifier learns from images"):
        ddgan.evaluate(images, str(tmp_path / "statistics.npz"), ["frechet"], features="classifier")


def test_modes_need_data_that_has_some(labelled_data: Path) -> None:
    with pytest.raises(ValueError, match="modes can be counted for digits, single_digits, gaussians and"):
        ddgan.evaluate(np.zeros((20, 12, 12, 1), np.uint8), str(labelled_data), ["modes"])


def test_the_class_score_by_the_classifier(labelled_data: Path) -> None:
    with np.load(labelled_data) as file:
        images = file["images"][:200, :, :, None]
    report = ddgan.evaluate(images, str(labelled_data), ["inception_score", "frechet"])
    assert report.inception_score is not None
    assert report.inception_score.name == "class score (classifier features)"
    assert 5 < report.inception_score.value <= 10
    assert report.features is not None
    assert report.features.metadata["classifier_accuracy"] > 0.9


def test_by_default_images_without_modes_are_scored_by_their_distance(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    np.save(tmp_path / "real.npy", images[:40])
    report = ddgan.evaluate(tmp_path / "x.npz", str(tmp_path / "real.npy"))
    assert report.frechet is not None
    assert report.modes is None


def test_json_has_no_infinity(tmp_path: Path) -> None:
    np.savez(tmp_path / "far.npz", points=np.full((50, 2), 9.0, dtype=np.float32))
    report = ddgan.evaluate(tmp_path / "far.npz", "gaussians", ["modes"])
    assert report.modes is not None
    assert report.modes.kl == float("inf")
    report.save(tmp_path / "far.json")
    text = (tmp_path / "far.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["modes"]["kl"] is None
