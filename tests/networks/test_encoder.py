"""A discriminator that has a generator's encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ddgan
from ddgan import RunConfig
from ddgan.config.settings import SettingError
from ddgan.models.checkpoint_file import read_checkpoint
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.encoder import EncoderDiscriminator, EncoderDiscriminatorConfig
from ddgan.networks.mlp import MLPConfig
from ddgan.networks.ncsnpp import NCSNppConfig
from ddgan.networks.subbands import SubbandGeneratorConfig

SHAPE = (3, 8, 8)
UNET = NCSNppConfig(
    base_channels=8, channel_multipliers=(1, 2), num_blocks=1, attention_resolutions=(4,), latent_size=4
)
NETWORKS: dict[str, Any] = {
    "ncsnpp": UNET,
    "mlp": MLPConfig(hidden_features=16, num_blocks=2, latent_size=4),
    "mlp with octaves": MLPConfig(hidden_features=16, num_blocks=2, latent_size=4, num_frequencies=2),
    "subbands": SubbandGeneratorConfig(transform="haar", network=UNET),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Any:
    return NETWORKS[request.param]


def pairs(count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(count, *SHAPE), torch.randn(count, *SHAPE), torch.arange(count) % 4 + 1


def discriminator(network: Any, **settings: Any) -> EncoderDiscriminator:
    return EncoderDiscriminatorConfig(network=network, **settings).build(SHAPE)


def test_the_trunk_sees_x_prev_as_the_generator_does(network: Any) -> None:
    torch.manual_seed(1)
    generator, d = network.build(SHAPE), discriminator(network)
    assert d.take_encoder(generator) == len(list(d.trunk.parameters()))
    x_prev, x_t, t = pairs()
    z = torch.zeros(len(t), 4)
    with torch.no_grad():
        seen = d.trunk.encode(torch.cat([x_prev, x_t], dim=1), t, z)
        torch.testing.assert_close(seen, generator.encode(x_prev, t, z))
    assert seen.shape == (8, d.trunk.encoded_size)


def test_it_can_learn_to_see_x_t(network: Any) -> None:
    d = discriminator(network)
    d.take_encoder(network.build(SHAPE))
    x_prev, x_t, t = pairs()
    d(x_prev, x_t, t).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in d.named_parameters()}
    assert all(gradient is not None for name, gradient in gradients.items() if "mapping" not in name)
    first = "trunk.network.input.weight" if hasattr(d.trunk, "network") else "trunk.input.weight"
    blocks = getattr(d.trunk, "input_blocks", 1)
    of_x_t = gradients[first].unflatten(1, (blocks, 2, -1))[:, :, 1]  # type: ignore[union-attr]
    assert float(of_x_t.abs().max()) > 0


def test_it_has_no_decoder() -> None:
    names = {name for name, _ in discriminator(UNET).trunk.named_parameters()}
    whole = {name for name, _ in UNET.build(SHAPE).named_parameters()}
    assert whole - names == {name for name in whole if name.startswith(("decoder", "output"))}


def test_it_takes_what_fits_of_a_larger_generator() -> None:
    larger = MLPConfig(hidden_features=16, num_blocks=5, latent_size=4).build(SHAPE)
    d = discriminator(MLPConfig(hidden_features=16, num_blocks=2, latent_size=4))
    assert d.take_encoder(larger) == len(list(d.trunk.parameters()))
    other = MLPConfig(hidden_features=24, num_blocks=2, latent_size=4).build(SHAPE)
    before = {name: value.clone() for name, value in d.trunk.state_dict().items()}
    assert d.take_encoder(other) == 6  # the embeddings of t and z, which have a width of their own
    assert torch.equal(before["input.weight"], d.trunk.state_dict()["input.weight"])


def test_logits_depend_on_the_class_and_rows_of_whole_groups_on_no_others() -> None:
    d = EncoderDiscriminatorConfig(network=UNET).build(SHAPE, ConditionShapes(num_classes=3))
    x_prev, x_t, t = pairs()
    logits = [d(x_prev, x_t, t, Condition(label=torch.full((8,), label))) for label in (0, 1)]
    assert not torch.equal(*logits)
    rows = torch.tensor(list(d.independent_rows(8, 0.5)))
    assert len(rows) == 4
    alone = d(x_prev[rows], x_t[rows], t[rows], Condition(label=torch.zeros(4, dtype=torch.int64)))
    torch.testing.assert_close(alone, logits[0][rows])


def test_wrong_networks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"network.channel_multipliers .* halves the size 1 times"):
        EncoderDiscriminatorConfig(network=UNET).build((3, 9, 9))
    monkeypatch.setattr(NCSNppConfig, "build", lambda *_: torch.nn.Identity())
    with pytest.raises(SettingError, match=r"network.kind is ncsnpp, which has no encoder"):
        EncoderDiscriminatorConfig(network=UNET).build(SHAPE)


def settings(tiny_config: RunConfig) -> dict[str, Any]:
    trunk = {"kind": "encoder", "network": tiny_config.to_dict()["generator"]}
    return {
        "method.discriminators.pair": trunk,
        "method.penalties": [{"kind": "r1", "gamma": 0.01, "epsilon": 0.01}],
        "training.num_iterations": 6,
        "training.keep_every": 1,
        "training.keep_last": 9,
    }


def of_step(path: Path, step: int, network: str) -> dict[str, Tensor]:
    return read_checkpoint(path / "checkpoints" / f"step-{step:08d}").weights(network)


def test_after_denoising_the_trunk_starts_as_the_encoder_also_when_resumed(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    config = tiny_config.changed(settings(tiny_config) | {"method.denoise_first": 3})
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    generator, before, after = (
        of_step(run.path, *which) for which in ((3, "generator"), (3, "discriminator"), (4, "discriminator"))
    )
    name = next(key for key in generator if key.startswith("encoder") and key.endswith("conv1.weight"))
    own = f"pair.trunk.{name}"
    assert not torch.equal(before[own], generator[name])
    step = config.optimization.discriminator.lr
    torch.testing.assert_close(after[own], generator[name], rtol=0, atol=1.01 * step)  # one update of Adam

    for later in (4, 5, 6):
        folder = run.path / "checkpoints" / f"step-{later:08d}"
        folder.rename(folder.with_name(f"gone-{later}"))
    resumed = ddgan.resume(run.path, verbose=False)
    for key, value in run.model.generator.state_dict().items():
        assert torch.equal(value, resumed.model.generator.state_dict()[key])


def test_a_run_from_a_model_without_d_takes_its_encoder(tiny_config: RunConfig, tmp_path: Path) -> None:
    plain = {
        "method": {"kind": "gaussian_diffusion"},
        "generator.latent_size": 0,
    }
    denoiser = ddgan.train(tiny_config.changed(plain), tmp_path / "denoiser", verbose=False)
    changes = settings(tiny_config.changed(plain)) | {"generator.latent_size": 0}
    run = ddgan.train(tiny_config.changed(changes), tmp_path / "run", init=str(denoiser.path), verbose=False)
    name = "input.weight"
    first = of_step(run.path, 0, "discriminator")[f"pair.trunk.{name}"]
    theirs = denoiser.model.generator.state_dict()[name]
    assert torch.equal(first[:, : theirs.shape[1]], theirs)
    assert not first[:, theirs.shape[1] :].any()
