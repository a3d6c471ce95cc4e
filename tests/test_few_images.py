"""The script of the table by number of images: what it trains on, and what it reads from a log."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from docs.results import few_images as script

from ddgan.data.emoji import split_emoji


def test_subsets_are_those_asked_for_and_always_the_same() -> None:
    train = np.arange(1000)[:, None]
    few, held_out = script.subset(train, "300")
    assert (len(few), held_out) == (400, 100)
    assert len(np.unique(few)) == 400
    assert np.array_equal(script.subset(train, "300")[0], few)
    assert np.isin(script.subset(train, "100")[0], few).all()  # smaller ones are parts of larger ones
    assert len(script.subset(train, "all")[0]) == 1000
    for wrong in ("0", "901"):
        with pytest.raises(SystemExit, match=f"count is {wrong}, but there are 900 images beside those"):
            script.subset(train, wrong)


def test_emoji_are_split_as_in_the_package() -> None:
    images = script.images_of("emoji", "")
    assert images.train.shape == (1678, 32, 32, 3)
    assert np.array_equal(images.test.transpose(0, 3, 1, 2), split_emoji("test")[0])
    with pytest.raises(SystemExit, match="data is cifar10, but --cifar10 is not given"):
        script.images_of("cifar10", "")


def test_the_gap_is_that_of_the_end() -> None:
    records = [{"memorised": float(step), "d_real": 1.0} for step in range(8)] + [{"memorised": None}] * 4
    found = script.gap_of(records[:8])
    assert (found["memorised"], found["d_real"], found["augmentation"]) == (6.5, 1.0, None)
    assert script.gap_of(records)["memorised"] is None


def test_a_finished_run_is_skipped_and_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(out=tmp_path, cifar10="", iterations=1, samples=1, device="cpu")
    folder = tmp_path / "emoji-300-plain-0"
    folder.mkdir()
    gap = {"d_real": 1.0, "d_held_out": 0.25, "d_fake": -2.0, "memorised": 0.25, "augmentation": None}
    result = {"data": "emoji", "count": 300, "variant": "plain", "seed": 0, "images_seen": 32_000, "gap": gap}
    result["scores"] = {"frechet": {"value": 7.5}, "kernel": {"value": 0.002}}
    result["memorisation"] = {"memorisation": {"nearer": 0.75, "copies": 0.125}}
    (folder / script.RESULT).write_text(json.dumps(result))
    script.run("emoji", "300", "plain", 0, options)
    script.table(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{folder} is finished"
    row = "| emoji | 300 | no | 0 | 32 | 0.25 | 1.00, 0.25, -2.00 | 7.50 | 2.00 | 0.750 | 12.5% |"
    assert said[-1] == row
    assert len(said[1].split("|")) == len(said[2].split("|")) == len(row.split("|"))
