"""What is around the graphs, with a stand-in for them; on a GPU the real ones are in tests/test_gpu.py."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import ddgan
from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.networks.conditions import Condition
from ddgan.system.processes import Processes
from ddgan.training import cuda_graphs as graphs
from ddgan.training.cuda_graphs import ReplayedUpdates, mapped, tensors_of
from ddgan.training.iteration import all_updates, iterate
from ddgan.training.noise import draw_noise
from ddgan.training.state import TrainState
from steps import changed, flat, fresh, images


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


class Graph:
    """Does again what was done under it, into the same memory; recording changes nothing."""

    replay: Callable[[], None]


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The iterations at which a graph was recorded."""
    made: list[int] = []

    def record(self: ReplayedUpdates, state: object, batch: Batch, noise: object) -> graphs.Recorded:
        inputs = mapped(torch.clone, (batch, noise))
        made.append(state.step)  # type: ignore[attr-defined]
        weights = state.step  # type: ignore[attr-defined]  # of penalties, as they were then
        scratch = copy.deepcopy(state)
        statistics = all_updates(scratch, *inputs)

        def replay() -> None:
            step, state.step = state.step, weights  # type: ignore[attr-defined]
            found = all_updates(state, *inputs)  # type: ignore[arg-type]
            state.step = step  # type: ignore[attr-defined]
            for update, values in found.items():
                for name, value in values.items():
                    statistics[update][name].copy_(value)

        graph = Graph()
        graph.replay = replay
        return graphs.Recorded(graph, inputs, statistics)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def stream(of: Stream) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", tuple)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(ReplayedUpdates, "_record", record)
    return made


def test_replayed_iterations_are_those_that_are_not(tiny_config: RunConfig, recordings: list[int]) -> None:
    """Rates that decay, images and noise that change, and penalties that are due at times."""
    config = tiny_config.changed({"method.penalties.0.every": 3, "training.num_iterations": 12})
    usual, other = (fresh(config) for _ in range(2))
    updates = ReplayedUpdates()
    for step in range(12):
        x = images(step)
        noise = draw_noise(0, step, x, config.diffusion.num_steps, 4)
        expected = flat(iterate(usual, Batch(x), noise))
        found = flat(iterate(other, Batch(x), noise, updates))
        assert found.keys() == expected.keys()
        assert ("r1" in found) == (step % 3 == 0)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    assert recordings == [3, 4]  # 0, 1 and 2 were usual
    assert other.step == 12
    for name, network in other.saved_networks().items():
        ours, theirs = (
            torch.cat([p.detach().flatten() for p in n.parameters()])
            for n in (network, usual.saved_networks()[name])
        )
        assert (
            float((ours - theirs).norm() / theirs.norm()) < 1e-3
        )  # whose gradient is nothing but rounding may differ


@pytest.mark.parametrize(
    ("every", "start", "expected"),
    [
        ((3,), 1, [4, 6]),  # as a run that is resumed: 3 is the first with the penalty
        ((1,), 0, [3]),
        ((), 5, [8]),
        ((8,), 0, [3, 8]),
        ((2, 3), 1, [4, 5, 9, 12]),  # both of them at 6, as usual, and at 12
    ],
)
def test_every_kind_that_is_due_runs_as_usual_before_any_is_recorded(
    tiny_config: RunConfig, recordings: list[int], every: tuple[int, ...], start: int, expected: list[int]
) -> None:
    """Beside a graph's memory there is none for an iteration that cannot use it."""
    penalties = [{"kind": kind, "every": n} for kind, n in zip(("r1", "r2"), every, strict=False)]
    config = tiny_config.changed({"method.penalties": penalties})
    state, updates = fresh(config), ReplayedUpdates()
    state.step = start
    x = images(0)
    noise = draw_noise(0, 0, x, config.diffusion.num_steps, 4)
    for _ in range(13 - start):
        iterate(state, Batch(x), noise, updates)
    assert recordings == expected


def test_a_batch_of_another_size_is_refused(tiny_config: RunConfig, recordings: list[int]) -> None:
    state, updates = fresh(tiny_config), ReplayedUpdates()
    x = images(0)
    for step in range(6):
        noise = draw_noise(0, step, x, tiny_config.diffusion.num_steps, 4)
        iterate(state, Batch(x), noise, updates)
    assert recordings
    before = weights_of(state)
    with pytest.raises(ValueError, match="a batch of 1 samples cannot be replayed: 8 were recorded"):
        iterate(state, Batch(x[:1]), noise.rows(slice(1)), updates)
    with pytest.raises(ValueError, match="8 samples with conditions cannot be replayed"):
        iterate(state, Batch(x, Condition(label=torch.zeros(8, dtype=torch.int64))), noise, updates)
    assert torch.equal(weights_of(state), before)


def weights_of(state: TrainState) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for n in state.saved_networks().values() for p in n.parameters()])


def test_tensors_are_found_in_dataclasses_and_tuples() -> None:
    x = torch.rand(2, 3, 4, 4)
    inputs = (Batch(x, None), draw_noise(0, 0, x, 4, 5))
    doubled = mapped(lambda tensor: 2 * tensor, inputs)
    assert len(list(tensors_of(inputs))) == 11
    assert doubled[0].condition is None
    for one, other in zip(tensors_of(inputs), tensors_of(doubled), strict=True):
        assert torch.equal(2 * one, other)


def test_what_cannot_be_replayed_is_refused_before_anything_is_made(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    config = changed(tiny_config, cuda_graphs=True, device="cpu")
    with pytest.raises(
        ValueError, match=r"training.cuda_graphs needs a CUDA device, and this is cpu; set it"
    ):
        ddgan.train(config, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run").exists()
    gpu = torch.device("cuda")
    with pytest.raises(ValueError, match="works with one process, and there are 2"):
        graphs.check_graphs(config.training, Processes(gpu, 0, 2))
    graphs.check_graphs(config.training, Processes(gpu))
