"""Files and models that are refused: hostile, damaged, of another kind, or without a published form."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from test_published_checkpoints import saved

from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.interop.conversion import SamplingSettings, save_published, to_model
from ddgan.interop.published_checkpoints import read_checkpoint
from other_methods import OTHERS, model_of


class Bomb:
    """Unpickled, it would leave a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def hostile_files(folder: Path) -> list[Path]:
    """The same bomb in every place and form."""
    target = folder / "exploded"
    bomb = Bomb(target)
    files = [saved(bomb, folder / "bare.pth"), saved({"module.x": bomb}, folder / "dict.pth")]
    state = {"netG_dict": {"a": torch.ones(1)}, "args": argparse.Namespace(dataset=bomb)}
    files.append(saved(state, folder / "args.pth"))
    files.append(saved(bomb, folder / "old.pth", _use_new_zipfile_serialization=False))
    (folder / "raw.pth").write_bytes(pickle.dumps(bomb))
    (folder / "proto0.pth").write_bytes(pickle.dumps(bomb, protocol=0))
    return [*files, folder / "raw.pth", folder / "proto0.pth"]


def test_hostile_files_run_nothing_and_are_refused_by_name(tmp_path: Path) -> None:
    for path in hostile_files(tmp_path):
        with pytest.raises(ValueError, match=rf"{path.name}' is (refused|damaged)") as caught:
            read_checkpoint(path)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "exploded").exists()
    with pytest.raises(ValueError, match=r"refused: it wants to run \w+\.mkdir"):
        read_checkpoint(tmp_path / "dict.pth")


def test_other_files_are_refused_in_one_line(tmp_path: Path, model: DDGAN) -> None:
    whole = saved({"module.z_transform.1.weight": torch.ones(4, 4)}, tmp_path / "whole.pth").read_bytes()
    contents = {"empty": b"", "cut": whole[:-60], "short": whole[:20], "noise": bytes(range(256)) * 9}
    for name, data in contents.items():
        (tmp_path / f"{name}.pth").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("notes.txt", "hello")
    saved(3, tmp_path / "number.pth")
    saved({}, tmp_path / "nothing.pth")
    saved({"weight": torch.ones(2)}, tmp_path / "other.pth")
    saved({"weight": 3}, tmp_path / "plain.pth")
    saved({"netG_dict": 3}, tmp_path / "broken.pth")
    saved({"a.z_transform.": torch.ones(1).expand(10**9)}, tmp_path / "wide.pth")
    half = {"netG_dict": {"a": torch.ones(2)}, "optimizerG": {"state": {0: {"ema": torch.ones(3)}}}}
    saved(half, tmp_path / "groups.pth")
    half["optimizerG"]["param_groups"] = [{"params": [0]}]  # type: ignore[index]
    saved(half, tmp_path / "shape.pth")
    half["optimizerG"]["param_groups"] = [{"params": [0, 0]}]  # type: ignore[index]
    saved(half, tmp_path / "count.pth")
    model.save(tmp_path / "ours.safetensors").rename(tmp_path / "ours.pth")
    (tmp_path / "folder.pth").mkdir()
    for path in [*tmp_path.glob("*.pth"), tmp_path / "missing.pth"]:
        if path.name == "whole.pth":
            continue
        with pytest.raises(ValueError, match=path.name) as caught:
            read_checkpoint(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="lacks the tensor"):
        to_model(read_checkpoint(tmp_path / "whole.pth"), overrides=SamplingSettings(4, 16))


def test_models_that_the_published_network_cannot_be_are_refused(
    points_model: DDGAN, tiny_settings: dict[str, Any], make_model: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(ValueError, match="generator is mlp"):
        save_published(points_model, path)
    unbounded = {"generator": tiny_settings["generator"] | {"tanh": False}}
    noise = RunConfig.from_dict(tiny_settings | unbounded | {"diffusion": {"prediction": "noise"}})
    with pytest.raises(ValueError, match="predicts noise"):
        save_published(make_model(noise), path)
    tiny_settings["generator"]["latent_size"] = 0
    with pytest.raises(ValueError, match="no latent"):
        save_published(make_model(RunConfig.from_dict(tiny_settings)), path)
    labels = {"conditions": {"label": {"classes": 3}}, "diffusion": {"num_steps": 2}}
    tiny_settings["generator"]["latent_size"] = 4
    with pytest.raises(ValueError, match="has 3 classes"):
        save_published(make_model(RunConfig.from_dict(tiny_settings | labels)), path)
    wide = make_model(RunConfig.from_dict(tiny_settings), (3, 8, 16))
    with pytest.raises(ValueError, match="makes images of 8 x 16 pixels, which are not square"):
        save_published(wide, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", OTHERS)
def test_models_of_other_methods_are_refused_by_name(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, weights, out = model_of(method), tmp_path / "x.safetensors", tmp_path / "x.pth"
    with pytest.raises(ValueError, match=f"trained by the method {method}, but .* needs a denoising"):
        save_published(model, out)
    model.save(weights)
    assert main(["convert", str(weights), "--to", "nvlabs", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"trained by the method {method}" in line
    assert list(tmp_path.iterdir()) == [weights]


WRONG = [
    (["FILE"], "needs --out X.safetensors"),
    (["FILE", "--out", "OUT/x.pth"], "must end in .safetensors"),
    (["FILE", "--out", "OUT/x.safetensors"], "is damaged or not a file of torch.save"),
    (["FILE", "--to", "nvlabs", "--out", "OUT/x.safetensors"], "must end in .pth"),
    (["FILE", "--to", "tensorflow", "--out", "OUT/x.pb"], "tensorflow"),
    (["--inspect", "FILE"], "is damaged or not a file of torch.save"),
    (["--inspect", "OUT/none.pth"], "is not a file"),
    (["FILE", "--num_steps", "0", "--out", "OUT/x.safetensors"], "num_steps is 0"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "file.pth", tmp_path / "out"
    file.write_bytes(b"not a checkpoint")
    out.mkdir()
    replaced = [a.replace("OUT", str(out)).replace("FILE", str(file)) for a in arguments]
    assert main(["convert", *replaced]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert words in output.err
    assert list(out.iterdir()) == []
