"""The options of `ddgan train`: where settings come from, what goes with what, baselines by preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_main import Capture, refused

import ddgan
from ddgan import Run, RunConfig
from ddgan.cli import main
from ddgan.config.presets import preset_names


def configured(capsys: Capture, *arguments: str) -> RunConfig:
    """What `--print_config` says of these arguments."""
    assert main(["train", *arguments, "--print_config"]) == 0
    return RunConfig.from_dict(yaml.safe_load(capsys.readouterr().out))


# --- settings -----------------------------------------------------------------------------------------


def test_settings_are_given_with_a_space_or_an_equals_sign_in_any_place(capsys: Capture) -> None:
    expected = RunConfig.load("digits").changed({"training.batch_size": 8, "optimization.final_lr": 0.001})
    for arguments in (
        ["--preset", "digits", "--training.batch_size", "8", "--optimization.final_lr", "1e-3"],
        ["--optimization.final_lr=1e-3", "--training.batch_size=8", "--preset=digits"],
        ["--training.batch_size", "8", "--preset", "digits", "--optimization.final_lr=0.001"],
    ):
        assert configured(capsys, *arguments) == expected


def test_parts_of_settings_can_be_given(capsys: Capture) -> None:
    config = configured(
        capsys,
        *("--preset", "digits_quick", "--method.penalties.0.gamma", "0.05", "--generator.kind", "ncsnpp"),
        *("--method.discriminators.pair.kind", "mlp", "--method.discriminators.pair.hidden_features", "9"),
        *("--optimization.generator", "{kind: adamw, lr: 0.01}", "--augmentation", "[horizontal_flip]"),
    )
    assert config.method.penalties[0].gamma == 0.05
    assert config.generator == ddgan.config.components.find("generator", "ncsnpp")()
    assert config.method.discriminators["pair"].hidden_features == 9
    assert (config.optimization.generator.kind, config.optimization.generator.lr) == ("adamw", 0.01)
    assert [one.kind for one in config.augmentation] == ["horizontal_flip"]


@pytest.mark.parametrize(
    ("twice", "name", "value"),
    [
        (["--seed", "3", "--seed", "4"], "seed", 4),
        (["--training.batch_size=8", "--training.batch_size", "9"], "training.batch_size", 9),
        (["--preset", "gaussians", "--preset", "digits"], "data.kind", "digits"),
        (["--data", "gaussians", "--data", "digits"], "data.kind", "digits"),
    ],
    ids=str,
)
def test_the_last_of_an_option_given_twice_counts(
    twice: list[str], name: str, value: Any, capsys: Capture
) -> None:
    found: Any = configured(capsys, "--preset", "digits", *twice)
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value


def test_a_value_may_be_negative_or_begin_with_dashes(capsys: Capture) -> None:
    line = refused(capsys, "train", "--preset", "digits", "--seed", "-1")
    assert line == "ddgan: seed is -1; it must be at least 0"
    assert configured(capsys, "--preset", "cifar10", "--data.path=--photos").data.path == "--photos"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--training.batch_size"], "--training.batch_size has no value; write --training.batch_size VALUE"),
        (["--training.batch_size", "--seed", "3"], "--training.batch_size has no value"),
        (["--training.batch_size="], "training.batch_size has no value; give it one or leave it out"),
        (["--training.batch_size", "8", "9"], "'9' belongs to no option; write --NAME VALUE"),
        (["-batch", "8"], "'-batch' belongs to no option"),
        (["--outt", "x"], "--outt is not an option; did you mean --out?"),
        (["--overwrit", "x"], "--overwrit is not an option; did you mean --overwrite?"),
        (["--pre", "digits"], "--pre is not a setting"),
        (["--training.batch_size", "{"], "training.batch_size is '{', which is not valid YAML"),
        (["--training.batch_size", "*x"], "it has an alias (*name), which configurations do not use"),
        (["--method.penalties", "{kind: r1, kind: r2}"], "it gives 'kind' twice"),
        (["--generator", "!!python/object/apply:os.getcwd []"], "which is not valid YAML"),
        (["--method.penalties", "[" * 5000], "it is nested too deeply"),
        (["--size", "64"], "--size sets the size of prepared images, but digits has a fixed shape"),
        (["--preset"], "--preset has no value; write --preset VALUE"),
        (["--overwrite=yes"], "--overwrite takes no value"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_mistakes_are_one_line(arguments: list[str], words: str, capsys: Capture) -> None:
    assert words in refused(capsys, "train", "--preset", "digits", *arguments)


# --- where settings come from ---------------------------------------------------------------------------


def test_data_replaces_what_is_trained_on_and_keeps_how_images_are_prepared(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("data: {kind: images, path: old, size: 48, channels: 1}\n")
    data = configured(capsys, "--config", str(path), "--data", "new").data
    assert (data.path, data.size, data.channels) == ("new", 48, 1)
    assert configured(capsys, "--config", str(path), "--data", "gaussians").data.kind == "gaussians"
    assert configured(capsys, "--config", str(path), "--data", "new", "--size", "64").data.size == 64
    assert configured(capsys, "--config", str(path), "--size=64").data.path == "old"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "training: &a {batch_size: 4}\nseed: *a\n",
            "it has an alias (*name), which configurations do not use",
        ),
        ("seed: 1\nseed: 2\n", "it gives 'seed' twice"),
        ("training: {batch_size: 1, batch_size: 2}\n", "it gives 'batch_size' twice"),
        ("seed: " + "[" * 3000, "it is nested too deeply"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "it has an alias"),
        ("? [1, 2]\n: 3\n", "is not valid YAML"),
        ("1: 2\n", "a configuration has the section 1; the name must be a string"),
        ("training: {1: 2}\n", "training has a setting 1; the name must be a string"),
        ("objective: {adversarial: hinge}\n", "is a configuration of ddgan 0.1 (it has objective)"),
        ("training: {batch_size: " + "9" * 6000 + "}\n", "is not valid YAML"),
        ("seed: 0o17\n", "seed is '0o17'; it must be a whole number"),
        ("seed: " + "x" * 1_000_001, "has more than 1,000,000 characters; it is not a configuration"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_files_that_are_no_configuration_are_one_line(
    content: str, words: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    line = refused(capsys, "train", "--config", str(path), "--print_config")
    assert words in line
    assert len(line) < 500


def test_many_keys_are_read_in_a_moment(tmp_path: Path, capsys: Capture) -> None:
    """Each is compared with the others only once."""
    path = tmp_path / "long.yaml"
    path.write_text("".join(f"k{index}: 1\n" for index in range(60_000)))
    assert "is not a setting" in refused(capsys, "train", "--config", str(path), "--print_config")


# --- resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    [["--seed", "3"], ["--preset", "digits"], ["--out", "x"], ["--training.batch_size", "3"]],
    ids=str,
)
def test_a_run_is_resumed_with_its_own_settings(extra: list[str], tiny_run: Run, capsys: Capture) -> None:
    line = refused(capsys, "train", "--resume", str(tiny_run.path), *extra)
    assert "--resume RUN uses the settings of the run; leave out all others but --data, --stop_when" in line


def test_resuming_a_finished_run_makes_it_again(run_copy: Path, tiny_run: Run, capsys: Capture) -> None:
    assert main(["train", f"--resume={run_copy}", "--data", "digits"]) == 0
    assert "resuming at iteration 5 of 5" in capsys.readouterr().err
    assert (ddgan.load(run_copy).sample(2) == tiny_run.model.sample(2)).all()


# --- presets of the baselines -------------------------------------------------------------------------------

BASELINES = {"digits_gan": "one_step_gan", "digits_wgan_gp": "wgan_gp", "digits_ddpm": "gaussian_diffusion"}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_trains_by_its_preset(name: str, tmp_path: Path, capsys: Capture) -> None:
    run = str(tmp_path / "run")
    short = ["--training.num_iterations", "2", "--training.batch_size", "8", "--training.score_samples", "0"]
    small = ["--generator.hidden_features", "16", "--generator.num_blocks", "1"]
    assert main(["train", "--preset", name, "--out", run, "--training.device", "cpu", *short, *small]) == 0
    assert "trained after 2 iterations" in capsys.readouterr().err
    model = ddgan.load(run)
    assert model.config.method.kind == BASELINES[name]
    assert model.nfe == {"digits_ddpm": 1000}.get(name, 1)


def test_baselines_share_what_the_comparison_shares() -> None:
    """One generator (a denoiser has no latent), one budget, one EMA, as docs/results compare them."""
    base = RunConfig.load("digits_quick")
    for name in BASELINES:
        config = RunConfig.load(name)
        assert config.data == base.data
        assert config.optimization.ema == base.optimization.ema
        for field in ("batch_size", "num_iterations"):
            assert getattr(config.training, field) == getattr(base.training, field)
        latent = 0 if name == "digits_ddpm" else base.generator.latent_size
        assert config.generator == base.changed({"generator.latent_size": latent}).generator


def test_the_settings_of_the_baselines() -> None:
    gan, wgan, ddpm = (RunConfig.load(name) for name in BASELINES)
    assert gan.method.adversarial.kind == "nonsaturating"
    assert gan.diffusion.num_steps == wgan.diffusion.num_steps == 1
    assert gan.method.discriminator == RunConfig.load("digits_quick").method.discriminators["pair"]
    assert (wgan.method.critic_updates, wgan.method.penalty_weight) == (1, 10.0)
    assert (wgan.method.discriminator.kind, wgan.method.discriminator.hidden_features) == ("mlp", 512)
    for optimizer in (wgan.optimization.generator, wgan.optimization.discriminator):
        assert (optimizer.lr, optimizer.betas) == (1e-3, (0.0, 0.9))
    assert (ddpm.diffusion.num_steps, ddpm.diffusion.prediction) == (1000, "x_0")
    schedule, optimizer = ddpm.diffusion.schedule, ddpm.optimization.generator
    assert (schedule.kind, schedule.beta_min, schedule.beta_max) == ("vp", 0.1, 20.0)
    assert (optimizer.lr, optimizer.betas) == (2e-3, (0.9, 0.999))


def test_presets_are_named_where_one_is_needed(capsys: Capture) -> None:
    line = refused(capsys, "train")
    assert "train needs --data DATA, for which settings are chosen, --preset NAME (" in line
    assert f"({', '.join(preset_names())}) or --config FILE.yaml" in line
