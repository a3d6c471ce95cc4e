"""The GPU playbook on the CPU: every stage within seconds, taken up by a second call, and all files back."""

from __future__ import annotations

import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import ddgan
from benchmarks import gpu
from ddgan.models.run_folder import read_log

TINY = [
    *("--training.batch_size", "8", "--training.max_minutes", "0", "--training.log_every", "1"),
    *("--generator.kind", "mlp", "--generator.hidden_features", "16", "--generator.num_blocks", "1"),
    *("--method.discriminators", "{pair: {kind: mlp, hidden_features: 16}}"),
    *("--training.device", "cpu"),
]


def call(tmp_path: Path, *more: str, minutes: str = "20") -> dict[str, dict[str, Any]]:
    common = ["--data", "single_digits", "--work", str(tmp_path / "work"), "--back", str(tmp_path / "back")]
    scored = ["--features", "pixels", "--metrics", "frechet", "-n", "20", "--minutes", minutes]
    gpu.main([*common, *scored, *more, *TINY])
    found: dict[str, dict[str, Any]] = json.loads((tmp_path / "work" / "stages.json").read_text())
    return found


def test_every_stage_runs_and_brings_its_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "FORMS", {name: gpu.FORMS[name] for name in ("eager", "replayed")})
    pytest_options = "--collect-only -k a_penalty"
    found = call(tmp_path, "--finish", "--pytest", pytest_options, "--training.num_iterations", "6")
    assert {name: found[name]["done"] for name in gpu.STAGES} == dict.fromkeys(gpu.STAGES, True)
    assert found["tests"]["status"] == 0
    assert found["probe"]["fastest"] == "eager"
    assert found["train"]["step"] == 6
    table = capsys.readouterr().out.splitlines()[-len(gpu.STAGES) :]
    assert [row.split()[:2] for row in table] == [[name, "yes"] for name in gpu.STAGES]

    back = tmp_path / "back"
    pictures = {"samples.png", "without_class.png"}
    weights = {"model.safetensors", "discriminator.safetensors"}
    assert {path.name for path in back.iterdir()} == pictures | weights | {"records.tar.gz"}
    with tarfile.open(back / "records.tar.gz") as archive:
        assert {"stages.json", "scores.json", "run/log.jsonl", "run/config.yaml", "logs/train.log"} <= set(
            archive.getnames()
        )
    shipped, trained = ddgan.load(back / "model.safetensors"), ddgan.load(tmp_path / "work" / "run")
    assert float((shipped.sample(4) - trained.sample(4)).abs().max()) < 0.1  # bf16 and float32 weights

    # A later lease begins with these weights.
    again = ddgan.train(
        tmp_path / "work" / "run" / "config.yaml",
        tmp_path / "later",
        init=back,
        verbose=False,
        **{"training.num_iterations": 1},
    )
    assert again.model.num_classes == 10


@contextmanager
def training_stopped_after(log: Path, step: int) -> Iterator[None]:
    """Within it, the training that writes this log is asked to stop once it is past iteration `step`."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            if log.is_file() and any(record["step"] > step for record in read_log(log)):
                for child in psutil.Process().children():
                    child.terminate()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def test_a_second_call_resumes_what_the_first_left(tmp_path: Path) -> None:
    stages = ["--stages", "train", "scores", "--training.num_iterations", "1000000"]
    log = tmp_path / "work" / "run" / "log.jsonl"
    with training_stopped_after(log, 0):
        first = call(tmp_path, *stages)
    assert first["train"]["done"] is False
    assert "scores" not in first
    step = first["train"]["step"]
    with training_stopped_after(log, step):
        second = call(tmp_path, *stages, "--finish")
    assert second["train"]["step"] > step
    assert second["train"]["done"] is False
    assert second["scores"]["summary"].startswith("value")


def test_what_is_no_setting_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        call(tmp_path, "stray")
    assert stopped.value.code == 2
    assert "settings are pairs" in capsys.readouterr().err
