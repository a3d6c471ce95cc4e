"""Features by TorchScript files: a stand-in of the published interface, and files with a description."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.metrics.evaluation import check_scoring
from ddgan.metrics.features import Features, features_named
from ddgan.metrics.torchscript import Sidecar


class StandIn(nn.Module):
    """The interface of inception-2015-12-05.pt: uint8 images, features or probabilities by keyword."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 3, generator=rng))

    def forward(self, img: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        assert img.dtype == torch.uint8
        assert img.shape[1] == 3
        colour = img.float().div(255).mean(dim=[2, 3])
        hidden = torch.cat([colour @ self.weight.T, img[:, :, 0, 0].float() / 255], dim=1)
        if return_features:
            return hidden
        bias = 0.0 if no_output_bias else 1.0
        return torch.softmax(hidden[:, :4] * 3 + torch.arange(4) * bias, dim=1)


class Float(nn.Module):
    """Returns its input's mean, and what it saw, in a dictionary."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"mean": x.mean(dim=[2, 3]), "size": torch.full((x.shape[0], 1), float(x.shape[2]))}


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture
def inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    path = scripted(StandIn(), tmp_path / "inception-2015-12-05.pt")
    monkeypatch.setenv("DDGAN_INCEPTION", str(path))
    return path


def opened(name: str | Path) -> Features:
    """The features of this name; none of these asks anything of the evaluation."""
    return features_named(str(name)).open(None)


def pixels(count: int = 40, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 32, 32, channels), dtype=np.uint8)


def as_tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def test_the_interface_of_inception(inception: Path) -> None:
    features = opened("inception")
    images = as_tensor(pixels())
    batch = features(images, with_probabilities=True)
    assert batch.probabilities is not None
    torch.testing.assert_close(batch.features, StandIn()(images, return_features=True))
    torch.testing.assert_close(batch.probabilities, StandIn()(images, no_output_bias=True))
    assert features(images).probabilities is None
    assert features.metadata["file_sha256"] == hashlib.sha256(inception.read_bytes()).hexdigest()


def test_grey_images_are_repeated_and_others_refused(inception: Path) -> None:
    features = opened("inception")
    grey = as_tensor(pixels(channels=1))
    torch.testing.assert_close(features(grey).features, features(grey.expand(-1, 3, -1, -1)).features)
    with pytest.raises(ValueError, match="need 3 channels, but the images have 4"):
        features(as_tensor(pixels(channels=4)))
    with pytest.raises(ValueError, match="for images, not for points; use pixels"):
        features(torch.zeros(4, 2))


def test_an_evaluation_calls_it_fid(inception: Path, tmp_path: Path) -> None:
    data = tmp_path / "real.npz"
    np.savez(data, images=pixels(60))
    report = ddgan.evaluate(
        pixels(50, seed=1), str(data), ["frechet", "kernel", "inception_score"], features="inception"
    )
    assert report.frechet is not None
    assert report.kernel is not None
    assert report.inception_score is not None
    names = (report.frechet.name, report.kernel.name, report.inception_score.name)
    assert names == ("FID", "KID", "Inception score")
    assert report.features is not None
    assert report.features.metadata["file"] == "inception-2015-12-05.pt"


def test_published_statistics_are_read(inception: Path, tmp_path: Path) -> None:
    real, samples = pixels(60), pixels(50, seed=1)
    np.savez(tmp_path / "real.npz", images=real)
    features = opened("inception")(as_tensor(real)).features.double()
    mu, sigma = features.mean(dim=0).numpy(), np.cov(features.numpy(), rowvar=False)
    np.savez(tmp_path / "stats.npz", mu=mu, sigma=sigma)
    np.save(tmp_path / "stats.npy", {"mu": mu, "sigma": sigma})  # type: ignore[arg-type]
    sources = [tmp_path / name for name in ("real.npz", "stats.npz", "stats.npy")]
    reports = [ddgan.evaluate(samples, str(s), ["frechet"], features="inception") for s in sources]
    values = [report.frechet.value for report in reports if report.frechet]
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)
    with pytest.raises(ValueError, match=r"kernel needs real images, but '.*stats.npz' has only statistics"):
        ddgan.evaluate(samples, str(sources[1]), ["kernel"], features="inception")
    with pytest.raises(ValueError, match="3072 dimensions, but the reference statistics have 9"):
        ddgan.evaluate(samples, str(sources[1]), ["frechet"], features="pixels")


def test_statistics_that_are_none_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"mu of shape \(3,\) and sigma of shape \(2, 2\)"):
        ddgan.evaluate(pixels(), str(tmp_path / "bad.npz"), ["frechet"], features="pixels")


def test_a_users_file_with_its_sidecar(tmp_path: Path) -> None:
    path = scripted(Float(), tmp_path / "mine.pt")
    said = {"dtype": "float32", "input_range": [-1, 1], "mean": [0, 0, 0.5], "std": [1, 2, 1], "size": 16}
    (tmp_path / "mine.json").write_text(json.dumps(said | {"output": "mean"}))
    white = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    features = opened(path)
    torch.testing.assert_close(features(white).features, torch.tensor([[1.0, 0.5, 0.5]] * 2))
    assert (features.name, features.has_probabilities) == ("mine.pt", False)
    (tmp_path / "mine.json").write_text(json.dumps(said | {"output": "size"}))
    other = opened(path)
    assert other(white).features.tolist() == [[16.0], [16.0]]
    assert other.checksum != features.checksum


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, r"mine.json' is missing; it must describe the input"),
        ("[1", "is not a valid description"),
        ('{"colour": 1}', "colour is not a setting; the settings are dtype, input_range"),
        ('{"filter": "lanczos"}', "filter is 'lanczos'; it must be one of bilinear"),
        ('{"size": -1}', "size is -1; it must be at least 0"),
        ('{"channels": 2}', "channels is 2; it must be one of 1 or 3"),
        ('{"batch_size": 0}', "batch_size is 0; it must be at least 1"),
        ('{"std": [1, 0, 1]}', r"std is \[1.0, 0.0, 1.0\]; it must not be 0"),
        ("[1]", r"it has \[1\], not an object"),
        ('{"mean": [0.5]}', r"mean is \[0.5\]; it must be one number per channel"),
        ('{"input_range": [0, 1]}', "dtype is uint8, which cannot be scaled"),
        ("{}", "returns mean, size; set output in its .json to one"),
    ],
)
def test_a_wrong_sidecar_is_refused(tmp_path: Path, said: str | None, words: str) -> None:
    path = scripted(Float(), tmp_path / "mine.pt")
    if said is not None:
        (tmp_path / "mine.json").write_text(said.replace("{}", '{"dtype": "float32"}'))
    with pytest.raises(ValueError, match=words):
        opened(path)(as_tensor(pixels(2)))


def test_what_is_no_torchscript_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"nothing")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x.pt' is not a valid TorchScript file"):
        opened(tmp_path / "x.pt")


def test_resizing_is_antialiased() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    board = board.to(torch.uint8).expand(1, 3, -1, -1)
    small = Sidecar(dtype="uint8", size=16).prepare(board)
    assert small.shape == (1, 3, 16, 16)
    assert small.float().sub(127.5).abs().max() < 2


def test_weights_that_are_missing_are_told_before_training(
    inception: Path, tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emoji are scored by Inception features: colour images of 32 pixels without modes to count."""
    offline(monkeypatch)
    config = tiny_config.changed(
        {"data": "emoji", "training.score_samples": 30, "training.num_iterations": 1}
    )
    check_scoring(config, (3, 32, 32))
    kept = tmp_path / "cache" / "weights" / inception.name
    kept.parent.mkdir(exist_ok=True)
    inception.rename(kept)
    said = r"^training.score_samples is 30, but these scores cannot be taken: .*; or set it to 0$"
    with pytest.raises(ValueError, match=said) as told:
        ddgan.train(config, tmp_path / "run", verbose=False)
    assert "DDGAN_INCEPTION is" in str(told.value)
    assert not (tmp_path / "run").exists()
    monkeypatch.delenv("DDGAN_INCEPTION")
    check_scoring(config, (3, 32, 32))  # offline, with the file in the cache
    kept.unlink()
    with pytest.raises(ValueError, match=said) as told:
        check_scoring(config, (3, 32, 32))
    assert "could not be downloaded" in str(told.value)
    assert "\n" not in str(told.value)
    check_scoring(config.changed({"training.score_samples": 0}), (3, 32, 32))


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_an_evaluation_tells_it_before_it_samples(
    inception: Path, model: DDGAN, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    monkeypatch.delenv("DDGAN_INCEPTION")
    monkeypatch.setattr(DDGAN, "batches", lambda *arguments: pytest.fail("it has sampled"))
    for metrics in (["frechet"], ["inception_score"], ["memorisation", "modes"]):
        with pytest.raises(
            ValueError, match=r"inception-2015-12-05.pt, which could not be downloaded .*no net"
        ):
            ddgan.evaluate(model, metrics=metrics, n=10, features="inception")
