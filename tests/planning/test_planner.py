"""Plans: what is chosen, kept, refused and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ddgan
from ddgan import Plan
from ddgan.planning import planner
from ddgan.planning.cost import Cost, measured_cost
from ddgan.planning.machine import stated_gpu
from ddgan.planning.survey import Survey
from ddgan.system.memory import in_bytes
from ddgan.system.processes import Processes
from ddgan.training.estimate import estimate

SECONDS = 0.25


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration takes a quarter of a second, without waiting for it."""
    monkeypatch.setattr(
        planner, "measured_cost", lambda *_: Cost(SECONDS, SECONDS, SECONDS, is_measured=True)
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sixty photographs of two sizes, in grey and in colour, and a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        pixels = rng.integers(0, 256, (40 + 8 * (i % 2), 70, 3), dtype=np.uint8)
        image = Image.fromarray(pixels if i % 3 else pixels[..., 0])
        image.save(folder / f"{i:02}.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


@pytest.fixture
def found(photos: Path) -> Plan:
    return ddgan.plan(photos, minutes=30, device="cpu")


def test_settings_are_chosen_for_the_data_and_the_minutes(found: Plan) -> None:
    data, training = found.config.data, found.config.training
    assert (data.size, data.channels, data.skip_bad, data.hold_out) == (32, 3, True, 0.1)
    assert (training.max_minutes, training.batch_size, training.precision) == (30, 32, "auto")
    assert found.config.conditions.label is None
    assert found.config.generator.kind == "subbands"
    assert found.config.method.augmentation is not None
    assert found.iterations == int(30 * 60 / SECONDS)
    assert found.images == 32 * found.iterations
    assert found.config.optimization.ema.decay == 0.998
    assert training.log_every == 20
    assert found.memory.total_bytes <= 0.8 * (found.machine.memory or 0)


def test_the_text_says_all_of_it_in_some_ten_lines(found: Plan, photos: Path) -> None:
    lines = str(found).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines[1:])) <= 110
    topics = [line.split()[0] for line in lines[1:] if line[2:3].strip()]
    assert topics == ["data", "size", "networks", "memory", "time", "training", "scores", "expect"]
    text = " ".join(" ".join(lines).split())
    assert f"plan for {photos}: 30.0 min of training on this machine (cpu" in text
    assert "60 images, 70 x 40 to 70 x 48 pixels, colour, photographs" in text
    assert "1 cannot be used and is left out: 'broken.jpg' (it is not an image)" in text
    assert "0.25 s per iteration, measured now; about 7,200 iterations see 230,000 images" in text
    assert f"about {in_bytes(found.memory.total_bytes)} with batches of 32" in text
    assert "colours and textures only, no objects" in text
    assert "about 6 images held out" in text


def test_settings_that_are_given_are_kept(photos: Path) -> None:
    given: dict[str, Any] = {
        "data.size": 16,
        "training.batch_size": 8,
        "generator.network.base_channels": 12,
        "training.num_iterations": 40,
        "seed": 7,
        "method.augmentation.target": 0.0,
    }
    found = ddgan.plan(photos, device="cpu", **given)
    config = found.config
    assert (config.data.size, config.training.batch_size, config.seed) == (16, 8, 7)
    assert config.generator.network.base_channels == 12
    assert (config.training.num_iterations, config.training.max_minutes) == (40, 0)
    assert config.method.augmentation.target == 0
    assert (found.iterations, found.minutes) == (40, pytest.approx(40 * SECONDS / 60))
    assert found.sample_shape == (3, 16, 16)
    assert "16 x 16, the centre of each image: as asked for" in str(found)


def test_classes_are_a_condition(tmp_path: Path) -> None:
    images = np.zeros((40, 8, 8), np.uint8)
    images[:, 2:5] = np.arange(40, dtype=np.uint8)[:, None, None]
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(40) % 2)
    found = ddgan.plan(tmp_path / "x.npz", device="cpu")
    assert found.config.conditions.label is not None
    assert found.config.conditions.label.classes == "auto"
    assert "2 classes, as a condition, no flips, as '0' may be text or symbols" in " ".join(
        str(found).split()
    )
    plain = ddgan.plan(tmp_path / "x.npz", device="cpu", **{"data.labels": "none"})
    assert plain.config.conditions.label is None


def test_a_gpu_elsewhere_has_an_estimate_that_says_so(photos: Path) -> None:
    found = ddgan.plan(photos, minutes=60, device="cuda", memory="8GB")
    assert not found.cost.is_measured
    assert found.cost.low < found.cost.seconds < found.cost.high
    assert (found.config.generator.kind, found.config.training.device) == ("ncsnpp", "auto")
    assert (found.config.training.cuda_graphs, found.config.training.precision) == (True, "auto")
    text = " ".join(str(found).split())
    assert "an estimate for a GPU of this size from our figures of an H200, not a measurement" in text
    assert "on another machine (a GPU with bf16), 8 GB of memory" in text


def test_little_memory_lowers_the_batch_then_divides_it_then_narrows_the_networks(photos: Path) -> None:
    def sizes(memory: int) -> tuple[int, int, int]:
        config = ddgan.plan(photos, minutes=60, device="cuda", memory=memory).config
        return config.training.batch_size, config.training.accumulation, config.generator.base_channels

    assert sizes(8 * 10**9) == (256, 1, 32)
    for memory in (2 * 10**9, 700 * 10**6):
        plan = ddgan.plan(photos, minutes=60, device="cuda", memory=memory)
        assert plan.memory.total_bytes <= 0.8 * memory
        assert "; to fit: batch size " in " ".join(str(plan).split())
    assert sizes(2 * 10**9) == (64, 1, 32)
    assert sizes(700 * 10**6)[0] == 16
    with pytest.raises(ValueError, match=r"^even small networks take about .* use a smaller --size$"):
        ddgan.plan(photos, minutes=60, device="cuda", memory=10**7)


def test_a_preset_is_priced_as_it_is() -> None:
    found = ddgan.plan(config="digits_quick", **{"training.batch_size": 16})
    assert found.config == ddgan.RunConfig.load("digits_quick", {"training.batch_size": 16})
    assert found.memory == estimate(found.config, (3, 8, 8), Processes(planner.torch.device("cpu")))
    assert found.iterations == 5200
    text = " ".join(str(found).split())
    assert "endless images" in text
    assert "in all about 21.7 min" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minutes": 0}, r"^minutes is 0; it must be above 0"),
        ({"minutes": -1}, r"^minutes is -1; it must be above 0"),
        ({"minutes": float("nan")}, r"^minutes is nan; it must be above 0"),
        ({"minutes": 1, "training.num_iterations": 5}, r"^minutes and training\.num_iterations both give"),
        ({"memory": "24"}, r"^memory is '24'; it must be a number and a unit"),
        ({"device": "tpu"}, r"^device is 'tpu'; it must be one of"),
        (
            {"training.batchsize": 5},
            r"^training\.batchsize is not a setting; did you mean training\.batch_size",
        ),
        ({"generator.netwerk.base_channels": 5}, r"^generator\.netwerk is not a setting; did you mean"),
        ({"data.size": -1}, r"^data\.size is -1; it must be at least 0"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(
    photos: Path, arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "survey", None)  # not reached
    with pytest.raises(ValueError, match=message):
        ddgan.plan(photos, **arguments)


def test_images_of_different_sizes_need_a_size_with_a_preset(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"have different sizes; add --size N"):
        ddgan.plan(photos, config="cifar10_small")
    sized = ddgan.plan(photos, config="cifar10_small", **{"data.size": 32, "training.batch_size": 4})
    assert sized.sample_shape == (3, 32, 32)


def test_no_data_is_refused() -> None:
    with pytest.raises(ValueError, match="this configuration names no data"):
        ddgan.plan()


def test_a_plan_trains_without_the_broken_image_and_resumes_with_the_same_data(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"data.size": 16, "generator.network.base_channels": 8, "training.num_iterations": 2}
    small |= {"training.batch_size": 4, "training.score_samples": 0}
    found = ddgan.plan(photos, device="cpu", **small)
    run = ddgan.train(found.config, tmp_path / "run")
    assert "data: skipped 1 image that cannot be used: " in capsys.readouterr().err
    assert ddgan.RunConfig.load(run.path / "config.yaml") == found.config
    assert len(run.model.sample(2)) == 2
    assert ddgan.resume(run.path).path == run.path


def test_an_iteration_is_measured_and_leaves_the_random_state_alone(tiny_config: ddgan.RunConfig) -> None:
    cost = measured_cost(tiny_config, (3, 8, 8), planner.torch.device("cpu"), seconds=0.1)
    assert cost.is_measured
    assert 0 < cost.low == cost.seconds == cost.high < 10


def test_a_stated_gpu_computes_in_16_bits() -> None:
    machine = stated_gpu(8 * 10**9)
    config = ddgan.RunConfig.load("cifar10_small")
    found = Survey("photos", 9, {(32, 32): 9}, 3)
    assert planner._known(config, found, machine).training.precision == "bf16"
    exact = config.changed({"training.precision": "float32"})
    assert planner._known(exact, found, machine) == exact
