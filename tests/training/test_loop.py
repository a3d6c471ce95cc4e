"""The loop, over a step that only counts; and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ddgan.data import Batch
from ddgan.training.logging import StatisticsMeter
from ddgan.training.loop import fit, interruptible


@dataclass
class Counter:
    step: int = 0


def run(num_iterations: int, log_every: int, stop_at: int | None = None, start: int = 0) -> dict[str, Any]:
    state, asked, logs, calls = Counter(start), [], [], []

    def step(state: Counter, batch: Batch, noise: Any) -> dict[str, Tensor]:
        assert noise == f"noise {state.step}"
        state.step += 1
        t = torch.ones(len(batch.images), dtype=torch.int64)
        return {"t_d": t, "t_g": t, "loss_d": batch.images}

    def inputs(step: int) -> tuple[Batch, str]:
        asked.append(step)
        return Batch(torch.full((4,), float(step))), f"noise {step}"

    fit(
        state,
        step,
        inputs,
        num_iterations,
        StatisticsMeter(1),
        log_every=log_every,
        on_log=logs.append,
        on_step=lambda: calls.append(state.step),
        should_stop=lambda: state.step == stop_at,
    )
    return {"state": state, "asked": asked, "logs": logs, "calls": calls}


def test_each_iteration_gets_its_own_inputs_and_averages_are_since_the_last_line() -> None:
    result = run(5, log_every=2)
    assert result["asked"] == [0, 1, 2, 3, 4]
    assert result["calls"] == [1, 2, 3, 4, 5]
    assert [(log["step"], log["images"], log["loss_d"]) for log in result["logs"]] == [
        (2, 8, 0.5),
        (4, 16, 2.5),
        (5, 20, 4.0),  # the last step is always logged
    ]
    assert all(log["images_per_second"] > 0 and log["seconds"] > 0 for log in result["logs"])


def test_it_stops_between_two_steps_when_asked() -> None:
    result = run(10, log_every=100, stop_at=3)
    assert result["state"].step == 3
    assert result["logs"] == []


def test_it_goes_on_from_the_states_own_step() -> None:
    assert run(6, log_every=6, start=4)["asked"] == [4, 5]
    assert run(6, log_every=6, start=6)["asked"] == []


def test_the_first_ctrl_c_is_a_wish_and_the_second_an_order() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as should_stop:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_does_nothing() -> None:
    seen = []

    def work() -> None:
        with interruptible() as should_stop:
            seen.append(should_stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
