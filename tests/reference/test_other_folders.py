"""The tests run over whatever a folder of this form holds: a folder made here, with right and wrong values.

Its right values come from elsewhere than the code that they are compared with: schedules from the closed form
of abar, rounded as float32 tables are, and a discriminator at 256 pixels in float64.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddgan.interop.nvlabs import discriminator_from_state_dict
from reference import helpers

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = (1, 3)
LARGE = "discriminator_large_ngf16"


def schedule_tables(num_steps: int) -> dict[str, np.ndarray]:
    """The tables of a variance-preserving schedule in float32, a step with beta = 1e-8 first."""
    times = 1e-3 + (1 - 1e-3) * np.arange(num_steps + 1) / num_steps
    powers = [math.exp(-u * u * (20.0 - 0.1) / 2 - u * 0.1) for u in times]
    betas = [1e-8, *(1 - b / a for a, b in pairwise(powers))]
    beta = np.array(betas, dtype=np.float32)
    signal = np.sqrt(1 - beta)
    alpha_bar = np.cumprod(1 - beta)
    before, after, step = alpha_bar[:-1], alpha_bar[1:], beta[1:]
    return {
        "time": times,
        "sigmas": np.sqrt(beta),
        "a_s": signal,
        "a_s_cum": np.cumprod(signal),
        "sigmas_cum": np.sqrt(1 - alpha_bar),
        "posterior_mean_x0": step * np.sqrt(before) / (1 - after),
        "posterior_mean_xt": (1 - before) * signal[1:] / (1 - after),
        "posterior_variance": step * (1 - before) / (1 - after),
    }


def discriminator_values(shapes: dict[str, list[int]], config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Logits and gradient at 256 pixels, of the rule's weights, in float64."""
    tensors = {name: tensor.double() for name, tensor in helpers.weights(shapes).items()}
    network = discriminator_from_state_dict(tensors, **config)
    x_prev = helpers.noise("other/x_prev", 2, 3, 256, 256).tanh()
    x_t, t = helpers.noise("other/x_t", 2, 3, 256, 256), torch.tensor([0, 1])
    image = x_prev.double().requires_grad_()
    logit = network(image, x_t.double(), t + 1)
    (gradient,) = torch.autograd.grad(logit.sum(), image)
    found = {"x_prev": x_prev, "x_t": x_t, "logit": logit.detach().float(), "grad_x_prev": gradient.float()}
    return {name: tensor.numpy() for name, tensor in found.items()} | {"t": t.numpy()}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the tests say of a folder with other entries than the committed one: test -> "passed", ..."""
    folder = tmp_path_factory.mktemp("values")
    table = {}
    for num_steps in SCHEDULES:
        right = schedule_tables(num_steps)
        off = right | {"a_s_cum": right["a_s_cum"] * (1 + 8e-4)}
        for name, arrays in ((f"schedule_T{num_steps}", right), (f"schedule_wrong_T{num_steps}", off)):
            table[name] = {"config": {"kind": "vp", "T": num_steps, "beta_min": 0.1, "beta_max": 20.0}}
            np.savez(folder / f"{name}.npz", **arrays)
    description = json.loads((helpers.DEFAULT / "tables.json").read_text(encoding="utf-8"))[LARGE]
    description = description | {"config": description["config"] | {"image_size": 256}}
    right = discriminator_values(description["tensors"], description["config"])
    off = right | {"grad_x_prev": right["grad_x_prev"] * np.float32(1.002)}
    for name, arrays in (("discriminator_256", right), ("discriminator_wrong", off)):
        table[name] = description
        np.savez(folder / f"{name}.npz", **arrays)
    np.savez(folder / "schedule_without_settings.npz", **schedule_tables(2))
    (folder / "tables.json").write_text(json.dumps(table), encoding="utf-8")

    results = folder / "results.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder / 'temp'}",
    ]
    subprocess.run(
        [*command, f"--junitxml={results}", "tests/reference/test_reference.py"],
        cwd=ROOT,
        env=os.environ | {helpers.VARIABLE: str(folder)},
        capture_output=True,
        check=False,
    )
    cases = ET.parse(results).getroot().iter("testcase")
    return {case.attrib["name"]: next((child.tag for child in case), "passed") for case in cases}


@pytest.mark.parametrize(
    "test",
    [
        *(f"test_schedule[schedule_T{num_steps}]" for num_steps in SCHEDULES),
        "test_names_shapes_and_count[discriminator_256]",
        "test_discriminator_logit_and_gradient[ours-discriminator_256]",
        "test_discriminator_logit_and_gradient[plain-discriminator_256]",
        "test_discriminator_as_it_is_trained[discriminator_256]",
    ],
)
def test_right_values_of_a_further_case_pass(test: str, outcomes: dict[str, str]) -> None:
    assert outcomes[test] == "passed"


@pytest.mark.parametrize(
    "test",
    [
        *(f"test_schedule[schedule_wrong_T{num_steps}]" for num_steps in SCHEDULES),
        "test_discriminator_logit_and_gradient[ours-discriminator_wrong]",
        "test_discriminator_as_it_is_trained[discriminator_wrong]",
        "test_schedule[schedule_without_settings]",
        "test_there_are_files_and_each_has_settings_and_is_of_a_known_kind",
    ],
)
def test_wrong_values_and_a_file_without_settings_fail(test: str, outcomes: dict[str, str]) -> None:
    assert outcomes[test] == "failure"


def test_kinds_that_the_folder_lacks_are_skipped(outcomes: dict[str, str]) -> None:
    assert outcomes["test_sampling[none]"] == "skipped"
    assert outcomes["test_generator_output[ours-none]"] == "skipped"
