"""Scores side by side: the table says what is in the files, and the plot shows every report."""

from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ddgan
from ddgan import DDGAN
from ddgan.reports.comparison import compare, read_reports
from ddgan.reports.page import COLORS


@pytest.fixture(scope="session")
def scores(model: DDGAN) -> dict[str, Any]:
    report = ddgan.evaluate(model, "digits", ["frechet", "precision_recall", "speed"], 300, features="pixels")
    return json.loads(json.dumps(report.to_dict()))


def write(folder: Path, scores: dict[str, Any], name: str, distance: float, recall: float) -> Path:
    changed = copy.deepcopy(scores)
    changed["frechet"] |= {"value": distance, "interval": [distance * 0.9, distance * 1.1]}
    changed["precision_recall"] |= {"recall": recall, "recall_interval": [recall - 0.05, recall + 0.04]}
    (folder / f"{name}.json").write_text(json.dumps(changed))
    return folder / f"{name}.json"


@pytest.fixture
def files(scores: dict[str, Any], tmp_path: Path) -> list[Path]:
    return [write(tmp_path, scores, "ours", 3.75, 0.57), write(tmp_path, scores, "other", 9.5, 0.41)]


def with_values(path: Path, **values: Any) -> Path:
    """Change entries of a report by their dotted paths, with __ for dots."""
    report = json.loads(path.read_text())
    for name, value in values.items():
        *parents, last = name.split("__")
        inner = report
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(json.dumps(report))
    return path


def test_the_table_has_every_score_and_stars_the_best(files: list[Path]) -> None:
    rows = {row[0]: row[1:] for row in read_reports(files).table()}
    assert rows[""] == ["ours", "other"]
    assert rows["Fréchet distance (pixels features) (lower is better)"] == ["3.75 *", "9.5"]
    assert rows["recall (higher is better)"] == ["0.57 *", "0.41"]
    assert rows["samples (N)"] == ["300", "300"]
    assert "kernel distance (lower is better)" not in rows


def test_the_best_is_marked_only_beyond_the_spread(scores: dict[str, Any], tmp_path: Path) -> None:
    """3.75 has [3.375, 4.125] and 4.5 has [4.05, 4.95], which overlap; 0.41 to 0.45 against 0.52 do not."""
    paths = [write(tmp_path, scores, "a", 3.75, 0.41), write(tmp_path, scores, "b", 4.5, 0.57)]
    rows = {row[0]: row[1:] for row in read_reports(paths).table()}
    assert rows["Fréchet distance (pixels features) (lower is better)"] == ["3.75", "4.5"]
    assert rows["recall (higher is better)"] == ["0.41", "0.57 *"]
    nfe = "network evaluations per sample (NFE) (lower is better)"
    assert rows[nfe] == ["3", "3"]  # equal: neither is better
    three = [*paths, write(tmp_path, scores, "c", 3.0, 0.9)]
    with_values(three[0], nfe=2)
    rows = {row[0]: row[1:] for row in read_reports(three).table()}
    assert rows["Fréchet distance (pixels features) (lower is better)"] == ["3.75", "4.5", "3 *"]
    assert rows["recall (higher is better)"] == ["0.41", "0.57", "0.9 *"]
    assert rows[nfe] == ["2 *", "3", "3"]


def test_a_deviation_is_a_spread_too(files: list[Path]) -> None:
    for path, value in zip(files, (1.0, 1.5), strict=True):
        with_values(path, kernel={"value": value, "deviation": 0.1})
    assert ["kernel distance (lower is better)", "1.000e+00 *", "1.500e+00"] in read_reports(files).table()
    with_values(files[0], kernel__deviation=0.2)
    assert ["kernel distance (lower is better)", "1.000e+00", "1.500e+00"] in read_reports(files).table()


def test_nothing_is_best_where_no_spread_is_known(files: list[Path]) -> None:
    with_values(files[0], frechet__interval=None)
    rows = {row[0]: row[1:] for row in read_reports(files).table()}
    assert rows["Fréchet distance (pixels features) (lower is better)"] == ["3.75", "9.5"]


def test_nothing_is_best_among_scores_that_are_not_comparable(files: list[Path]) -> None:
    with_values(files[1], data_checksum="other", nfe=4)
    comparison = read_reports(files)
    rows = {row[0]: row[1:] for row in comparison.table()}
    assert rows["recall (higher is better)"] == ["0.57", "0.41"]
    assert rows["network evaluations per sample (NFE) (lower is better)"] == ["3 *", "4"]
    assert comparison.differences()[0].startswith("data's checksum differ: ")


def test_the_page_is_bold_where_the_table_has_a_star(files: list[Path], tmp_path: Path) -> None:
    compare(files, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<td><strong>3.75 *</strong></td><td>9.5</td>" in text
    assert text.count("<strong>") == repr(read_reports(files).table()).count(" *'")
    assert '<table class="values">' not in text  # whose last column is bold


def test_a_report_changed_since_it_was_written_is_refused(
    points_model: DDGAN, files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "scores.json"
    ddgan.evaluate(points_model, "gaussians", ["modes"], 200).save(path)
    path.write_text(path.read_text().replace('"num_samples": 200', '"num_samples": 300'))
    with pytest.raises(ValueError, match=r"scores.json' was changed since it was written"):
        read_reports([path, files[0]])


def test_reports_of_memorisation_compare(tmp_path: Path) -> None:
    from ddgan.data.digits import split_digits

    paths = []
    for split in ("train", "test"):
        images = split_digits(split)[0][:40, :, :, None]
        report = ddgan.evaluate(images, "single_digits", ["memorisation"], features="pixels")
        report.save(tmp_path / f"{split}.json")
        paths.append(tmp_path / f"{split}.json")
    comparison = compare(paths, tmp_path / "x.html")
    assert ["memorisation: copies", "1", "0"] in comparison.table()
    assert "memorisation: copies" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("value", ["x", [1], {}, True, None])
def test_a_report_with_strange_values_is_shown_without_them(files: list[Path], value: Any) -> None:
    with_values(files[0], frechet__value=value, precision_recall__recall_interval=value)
    rows = {row[0]: row[1:] for row in read_reports(files).table()}
    assert rows["Fréchet distance (pixels features) (lower is better)"] == ["-", "9.5"]
    assert rows["recall (higher is better)"] == ["0.57", "0.41"]
    compare(files, files[0].with_suffix(".html"))


def test_the_page_needs_nothing_from_outside_and_the_plot_shows_both(
    files: list[Path], tmp_path: Path
) -> None:
    compare(files, tmp_path / "new" / "x.html")
    text = (tmp_path / "new" / "x.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?:|<script|<link|url\(|@import", text)
    assert "ours" in text
    assert "3.75 *" in text
    assert "Not comparable" not in text
    picture = Image.open(io.BytesIO((tmp_path / "new" / "x.png").read_bytes())).convert("RGB")
    seen = np.asarray(picture)
    for color in COLORS[:2]:
        wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        assert (seen == wanted).all(axis=-1).sum() > 100
    edge = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    assert (edge == 255).all()  # nothing is clipped


def test_what_differs_is_said(files: list[Path]) -> None:
    report = json.loads(files[1].read_text())
    report["num_samples"], report["features"]["name"] = 50_000, "inception"
    files[1].write_text(json.dumps(report))
    lines = read_reports(files).lines()
    assert "not comparable: samples (N) differ: 300, 50000" in lines
    assert "not comparable: features differ: pixels, inception" in lines


def test_reports_with_other_scores_still_compare(points_model: DDGAN, tmp_path: Path) -> None:
    paths = [tmp_path / name / "scores.json" for name in ("a", "b")]
    for path, seed in zip(paths, (0, 1), strict=True):
        ddgan.evaluate(points_model, "gaussians", ["modes"], 200, seed=seed).save(path)
    comparison = compare(paths, tmp_path / "x.html")
    assert comparison.names == ["a/scores", "b/scores"]
    assert [measure.label for measure in comparison.axes()] == [
        "points near a mode",
        "modes",
        "network evaluations per sample (NFE)",
    ]


def test_reports_of_0_1_still_compare(files: list[Path]) -> None:
    """They call the NFE num_steps."""
    old = json.loads(files[1].read_text())
    old["num_steps"] = old.pop("nfe") + 1
    files[1].write_text(json.dumps(old))
    rows = {row[0]: row[1:] for row in read_reports(files).table()}
    assert rows["network evaluations per sample (NFE) (lower is better)"] == ["3 *", "4"]


def test_a_page_says_what_cannot_be_compared(files: list[Path], tmp_path: Path) -> None:
    report = json.loads(files[1].read_text())
    report["data"] = "<cats>"
    files[1].write_text(json.dumps(report))
    compare(files, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<p>Not comparable: data differ: digits, &lt;cats&gt;</p>" in text


def test_mistakes(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two or more"):
        read_reports(files[:1])
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x.json' was not written by 'ddgan evaluate'"):
        read_reports([files[0], tmp_path / "x.json"])
    with pytest.raises(ValueError, match=r"none.json' cannot be read"):
        read_reports([files[0], tmp_path / "none.json"])
    for path in files:
        path.write_text('{"protocol": 2, "num_samples": 10}')
    with pytest.raises(ValueError, match="have no scores that can be compared"):
        compare(files, tmp_path / "x.html")
