"""The loop, over a step that only counts; and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ddgan.data.batch import Batch
from ddgan.training.loop import SIGNALS, STOPPING, fit, graceful_stop
from ddgan.training.statistics import StatisticsMeter


@dataclass
class Counter:
    step: int = 0
    num_iterations: int = 0


def run(num_iterations: int, log_every: int, stop_at: int | None = None, start: int = 0) -> dict[str, Any]:
    state, asked, logs, calls = Counter(start, num_iterations), [], [], []

    def step(state: Counter, batch: Batch, noise: Any) -> dict[str, Tensor]:
        assert noise == f"noise {state.step}"
        state.step += 1
        t = torch.ones(len(batch.x), dtype=torch.int64)
        return {"discriminator": {"t": t, "loss_d": batch.x}}

    def inputs(step: int) -> tuple[Batch, str]:
        asked.append(step)
        return Batch(torch.full((4,), float(step))), f"noise {step}"

    fit(
        state,
        step,
        inputs,
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
    assert [(log["step"], log["loss_d"]) for log in result["logs"]] == [
        (2, 0.5),
        (4, 2.5),
        (5, 4.0),  # the last step is always logged
    ]
    assert all(log["iterations_per_second"] > 0 and log["seconds"] > 0 for log in result["logs"])


def test_it_stops_between_two_steps_when_asked() -> None:
    result = run(10, log_every=100, stop_at=3)
    assert result["state"].step == 3
    assert result["logs"] == []


def test_it_goes_on_from_the_states_own_step() -> None:
    assert run(6, log_every=6, start=4)["asked"] == [4, 5]
    assert run(6, log_every=6, start=6)["asked"] == []


def test_the_end_may_move_on_the_way() -> None:
    state, seen = Counter(0, 10), []

    def step(state: Counter, batch: Batch, noise: Any) -> dict[str, Tensor]:
        seen.append(state.step)
        state.step += 1
        state.num_iterations = 4
        t = torch.ones(1, dtype=torch.int64)
        return {"discriminator": {"t": t, "loss_d": torch.zeros(1)}}

    fit(
        state,
        step,
        lambda step: (Batch(torch.zeros(1)), None),
        StatisticsMeter(1),
        log_every=100,
        on_log=lambda record: seen.append(record["step"]),
        on_step=lambda: None,
        should_stop=lambda: False,
    )
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_stops_gracefully_and_a_second_ctrl_c_at_once(number: int) -> None:
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        before = {number: signal.getsignal(number) for number in SIGNALS}
        with graceful_stop() as received:
            assert received() == 0
            signal.raise_signal(number)
            assert received() == number
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert {number: signal.getsignal(number) for number in SIGNALS} == before
    finally:
        signal.signal(signal.SIGINT, outer)


@pytest.mark.parametrize("verbose", [True, False])
def test_the_first_signal_is_answered_at_once(verbose: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with graceful_stop(verbose=verbose):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert capfd.readouterr().err == (STOPPING if verbose else "")


def test_in_another_thread_it_does_nothing() -> None:
    seen = []

    def work() -> None:
        with graceful_stop() as received:
            seen.append(received())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]
