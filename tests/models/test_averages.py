"""Averages whose length is chosen after training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import ddgan
from ddgan import RunConfig
from ddgan.cli import main
from ddgan.config.optimization import EMAConfig
from ddgan.config.power_average import LONGEST, exponent_of, power_decay
from ddgan.models.averages import fitted, inner_products, snapshots_of
from ddgan.models.weights_file import read_weights
from ddgan.system.files import read_tensors

SAVED = {"optimization.ema.lengths": [0.05, 0.1, 0.15], "optimization.ema.snapshot_every": 4}


@pytest.mark.parametrize(("length", "exponent"), [(0.05, 16.97), (0.10, 6.94), (1 / 12**0.5, 0.0)])
def test_the_exponents_of_known_lengths(length: float, exponent: float) -> None:
    assert exponent_of(length) == pytest.approx(exponent, abs=5e-3)  # 16.97 and 6.94: the source's


@pytest.mark.parametrize("length", [0.01, 0.05, 0.15, LONGEST])
def test_the_length_is_the_standard_deviation_of_the_profile(length: float) -> None:
    gamma = exponent_of(length)

    def moment(order: int) -> float:
        return float(quad(lambda s: (gamma + 1) * s**gamma * s**order, 0, 1)[0])

    assert moment(0) == pytest.approx(1)
    assert (moment(2) - moment(1) ** 2) ** 0.5 == pytest.approx(length, rel=1e-3)


def test_the_decay_gives_the_profile() -> None:
    length, count = 0.1, 4000
    gamma, weights = exponent_of(length), np.zeros(count)
    for step in range(count):
        decay = power_decay(length, step)
        weights *= decay
        weights[step] += 1 - decay
    profile = (gamma + 1) * (np.arange(1, count + 1) / count) ** gamma / count
    assert weights.sum() == pytest.approx(1)
    assert np.abs(weights - profile).sum() < 0.005


def test_inner_products_are_those_of_the_profiles() -> None:
    steps, exponents = np.array([3.0, 5.0, 4.0]), np.array([2.5, 7.0, 0.5])

    def profile(s: float, index: int) -> float:
        end, gamma = steps[index], exponents[index]
        return float((gamma + 1) * s**gamma / end ** (gamma + 1)) if s <= end else 0.0

    products = inner_products(steps, exponents)
    for i in range(3):
        for j in range(3):
            end = min(steps[i], steps[j])
            expected = quad(lambda s, i=i, j=j: profile(s, i) * profile(s, j), 0, end)[0]
            assert products[i, j] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("length", [0.03, 0.07, 0.1, 0.2])
def test_a_sum_of_saved_averages_is_another_average(length: float) -> None:
    count, every, kept = 800, 40, (0.05, 0.1)
    rng = np.random.default_rng(0)
    weights = np.cumsum(rng.standard_normal(count))
    values, saved, found = dict.fromkeys((*kept, length), 0.0), [], []
    for step, weight in enumerate(weights):
        for one in values:
            decay = power_decay(one, step)
            values[one] = decay * values[one] + (1 - decay) * weight
        if (step + 1) % every == 0:
            for one in kept:
                saved.append((step + 1, one))
                found.append(values[one])
    coefficients, misfit = fitted(saved, count, length)
    assert misfit < 0.1
    assert float(np.dot(coefficients, found)) == pytest.approx(values[length], abs=0.05 * weights.std())


def test_what_cannot_be_fitted_says_so() -> None:
    assert fitted([(100, 0.2)], 100, 0.02)[1] > 0.5
    assert fitted([(100, 0.1)], 100, 0.1)[1] == pytest.approx(0, abs=1e-6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import TINY_DIGITS

    config = RunConfig.from_dict(TINY_DIGITS).changed(SAVED | {"training.num_iterations": 42})
    return ddgan.train(config, tmp_path_factory.mktemp("averages") / "run", verbose=False).path


def test_a_run_saves_averages_and_an_average_of_their_lengths_is_theirs(run: Path) -> None:
    saved = snapshots_of(run)
    assert [s.step for s in saved if s.length == 0.05] == [*range(4, 41, 4), 42]
    assert {s.length for s in saved} == {0.05, 0.1, 0.15}
    model = ddgan.averaged(run, 0.1)
    path = next(s.path for s in saved if s.step == 42 and s.length == 0.1)
    for name, tensor in read_tensors(path)[0].items():
        torch.testing.assert_close(model.generator.state_dict()[name], tensor.float(), rtol=2e-3, atol=1e-4)
    assert model.sample(2, seed=0).shape == (2, 3, 8, 8)


def test_a_length_in_between_is_in_between(run: Path) -> None:
    name = "input.weight"
    short, between, long = (
        ddgan.averaged(run, length).generator.state_dict()[name] for length in (0.05, 0.075, 0.1)
    )
    assert float((between - short).norm()) < float((long - short).norm())
    assert float((between - long).norm()) < float((long - short).norm())


def test_an_earlier_end(run: Path) -> None:
    earlier = ddgan.averaged(run, 0.1, step=20).generator.state_dict()
    path = next(s.path for s in snapshots_of(run) if s.step == 20 and s.length == 0.1)
    for name, tensor in read_tensors(path)[0].items():
        torch.testing.assert_close(earlier[name], tensor.float(), rtol=2e-3, atol=1e-4)


def test_what_cannot_be_averaged_is_refused(run: Path, tiny_run: ddgan.Run) -> None:
    for length in (0, -1, 0.3):
        with pytest.raises(ValueError, match=r"length is .*; it must be above 0, at most 0.28"):
            ddgan.averaged(run, length)
    with pytest.raises(ValueError, match=r"has no saved averages; train with --optimization.ema.lengths"):
        ddgan.averaged(tiny_run.path, 0.1)
    with pytest.raises(ValueError, match=r"step is 2, but the first average of .* is of step 4"):
        ddgan.averaged(run, 0.1, step=2)
    with pytest.raises(
        ValueError, match=r"no sum of the 33 averages .* has the length 0.001 at iteration 42"
    ):
        ddgan.averaged(run, 0.001)


def test_a_damaged_average_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = snapshots_of(copy)[3].path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"'{path}' is not a valid .safetensors file .*; remove it"):
        ddgan.averaged(copy, 0.1)
    path.unlink()
    ddgan.averaged(copy, 0.1)


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match=r"snapshot_every is 5, but lengths is empty"):
        EMAConfig(snapshot_every=5)
    with pytest.raises(ValueError, match=r"lengths is \[0.1, 0.1\]; each must be given once"):
        EMAConfig(lengths=(0.1, 0.1))


def test_a_resumed_run_saves_the_same_averages(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = {s.path.name: s.path.read_bytes() for s in snapshots_of(copy)}
    newest = max((copy / "checkpoints").glob("step-*"))
    shutil.rmtree(newest)
    for snapshot in snapshots_of(copy)[-2:]:
        snapshot.path.unlink()
    ddgan.resume(copy, verbose=False)
    assert {s.path.name: s.path.read_bytes() for s in snapshots_of(copy)} == before


def test_the_command_saves_one_length_and_the_best_of_several(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, best = tmp_path / "one.safetensors", tmp_path / "best.safetensors"
    assert main(["average", str(run), "--lengths", "0.08", "--out", str(one)]) == 0
    assert main(["average", str(run), "--lengths", "0.06", "0.12", "-n", "200", "--out", str(best)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["0.06", "0.12"]
    assert all("modes" in line for line in printed)
    among = [ddgan.averaged(run, length).generator.state_dict() for length in (0.06, 0.12)]
    saved = read_weights(best).tensors
    assert any(all(torch.equal(saved[name], state[name]) for name in state) for state in among)
    assert main(["average", str(run), "--lengths", "0.08", "--out", str(one)]) == 2
    assert main(["average", str(run), "--out", str(one)]) == 2


def test_a_length_that_cannot_be_had_is_refused_before_others_are_scored(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "best.safetensors"
    assert main(["average", str(run), "--lengths", "0.06", "0.001", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert "has the length 0.001" in said.err
    assert not out.exists()
