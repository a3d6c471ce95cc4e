"""Commands on models of other methods: sampling and scoring any, `--num_steps` and `--eta` of a denoiser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_main import Capture, refused

from ddgan import Run, load
from ddgan.cli import main
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.system.images import to_uint8
from other_methods import OTHERS, config_of, model_of


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of each other method."""
    folder = tmp_path_factory.mktemp("models")
    for method in OTHERS:
        model_of(method).save(folder / f"{method}.safetensors")
    return folder


@pytest.fixture(scope="module")
def denoiser(files: Path) -> str:
    return str(files / "gaussian_diffusion.safetensors")


def images(path: Path) -> np.ndarray:
    with np.load(path) as file:
        found: np.ndarray = file["images"]
        return found


@pytest.mark.parametrize("method", OTHERS)
def test_any_model_is_sampled_and_scored(method: str, files: Path, tmp_path: Path, capsys: Capture) -> None:
    file, out = str(files / f"{method}.safetensors"), tmp_path / "x.npz"
    assert main(["sample", file, "-n", "3", "--seed", "2", "--out", str(out)]) == 0
    assert images(out).shape == (3, 8, 8, 3)
    scores = tmp_path / "scores.json"
    asked = ["--metrics", "frechet", "--features", "pixels", "-n", "60", "--out", str(scores)]
    assert main(["evaluate", file, *asked]) == 0
    assert json.loads(scores.read_text())["num_samples"] == 60
    capsys.readouterr()


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize(
    "command",
    [
        ["edit", "MODEL", "filmstrip"],
        ["export", "MODEL", "--to", "diffusers"],
        ["export", "MODEL", "--to", "onnx"],
        ["export", "MODEL", "--to", "web"],
    ],
    ids=" ".join,
)
def test_what_needs_the_chain_of_a_ddgan_refuses_others(
    command: list[str], method: str, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    file, out = str(files / f"{method}.safetensors"), tmp_path / "out"
    form = out.with_suffix(".npz") if command[0] == "edit" else out
    line = refused(capsys, *(file if part == "MODEL" else part for part in command), "--out", str(form))
    assert f"trained by the method {method}" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "chain"),
    [
        (["--num_steps", "2"], ChainConfig(num_steps=2)),
        (["--eta", "0"], ChainConfig(eta=0.0)),
        (["--num_steps=2", "--eta=0.5"], ChainConfig(num_steps=2, eta=0.5)),
        (["--num_steps", "0"], ChainConfig()),
    ],
    ids=str,
)
def test_a_denoiser_is_sampled_as_asked(
    options: list[str], chain: ChainConfig, denoiser: str, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "x.npz"
    assert main(["sample", denoiser, "-n", "3", "--seed", "4", "--out", str(out), *options]) == 0
    model = load(denoiser).sampled_by(chain)
    np.testing.assert_array_equal(images(out), to_uint8(model.sample(3, seed=4)))
    assert json.loads((tmp_path / "x.npz.json").read_text())["nfe"] == (chain.num_steps or 3)
    capsys.readouterr()


def test_the_steps_are_those_that_scores_are_of(denoiser: str, tmp_path: Path, capsys: Capture) -> None:
    found = []
    for name, options in (
        ("2", ["--num_steps", "2"]),
        ("3", []),
        ("again", ["--num_steps", "2", "--eta", "1"]),
    ):
        scores = tmp_path / f"{name}.json"
        asked = ["--metrics", "frechet", "--features", "pixels", "-n", "60", "--out", str(scores)]
        assert main(["evaluate", denoiser, *asked, *options]) == 0
        report = json.loads(scores.read_text())
        found.append((report["nfe"], report["frechet"]["value"]))
    assert [nfe for nfe, _ in found] == [2, 3, 2]
    assert found[0] == found[2] != found[1]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num_steps", "4"], "--num_steps is 4; it must be at most 3, the number of trained steps"),
        (["--num_steps", "-1"], "--num_steps is -1; it must be at least 0"),
        (["--num_steps", "99999"], "--num_steps is 99999; it must be at most 10,000"),
        (["--num_steps", "two"], "--num_steps is 'two'; it must be a whole number"),
        (["--eta", "1.5"], "--eta is 1.5; it must be at most 1"),
        (["--eta", "-0.1"], "--eta is -0.1; it must be at least 0"),
        (["--eta", "nan"], "--eta is 'nan'; it must be a number"),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_chains_that_cannot_be_are_one_line(
    command: str, options: list[str], words: str, denoiser: str, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / ("x.npz" if command == "sample" else "x.json")
    assert words in refused(capsys, command, denoiser, "--out", str(out), *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_other_models_have_no_chain_to_choose(
    command: str, files: Path, tiny_run: Run, tmp_path: Path, capsys: Capture
) -> None:
    out = str(tmp_path / ("x.npz" if command == "sample" else "x.json"))
    others = {
        method: str(files / f"{method}.safetensors") for method in OTHERS if method != "gaussian_diffusion"
    }
    for method, place in {**others, "denoising_gan": str(tiny_run.path)}.items():
        for options, names in (
            (["--num_steps", "2"], "--num_steps"),
            (["--num_steps", "2", "--eta", "0"], "--num_steps and --eta"),
        ):
            line = refused(capsys, command, place, "--out", out, *options)
            assert line == (
                f"ddgan: {names} can be chosen for models of the method gaussian_diffusion, but '{place}' "
                f"was trained by the method {method}; leave out {names}"
            )


def test_samples_in_a_file_have_no_chain(tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((60, 8, 8, 3), np.uint8))
    line = refused(capsys, "evaluate", str(tmp_path / "x.npz"), "--data", "digits", "--eta", "0")
    assert f"--eta applies to models, but '{tmp_path / 'x.npz'}' holds samples; leave it out" in line


def test_a_chain_with_the_forward_variance_can_be_sampled_as_ddim(tmp_path: Path, capsys: Capture) -> None:
    """That variance is for eta 1; another eta brings its own."""
    config = config_of("gaussian_diffusion").changed({"method.chain.variance": "forward"})
    model = config.method.open(config.generator.build((3, 8, 8)), config, (3, 8, 8))
    file = str(model.save(tmp_path / "forward.safetensors"))
    for name, options in (("as_trained", []), ("ddim", ["--eta", "0"])):
        assert main(["sample", file, "-n", "2", "--out", str(tmp_path / f"{name}.npz"), *options]) == 0
    np.testing.assert_array_equal(
        images(tmp_path / "ddim.npz"), to_uint8(model.sampled_by(ChainConfig(eta=0.0)).sample(2))
    )
    capsys.readouterr()
