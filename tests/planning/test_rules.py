"""The rules of a plan: pure functions, at their bounds."""

from __future__ import annotations

import pytest

from ddgan.planning import rules
from ddgan.planning.machine import Machine
from ddgan.planning.survey import Survey
from ddgan.planning.work import images_seen

LAPTOP = Machine("cpu", 8 * 10**9, 2, "float32", "a laptop")
SERVER = Machine("cpu", 8 * 10**9, 64, "float32", "a server")
LARGE_GPU = Machine("cuda", 80 * 10**9, 1, "bf16", "a GPU", is_here=False)
SMALL_GPU = Machine("cuda", 8 * 10**9, 1, "bf16", "a GPU", is_here=False)


def images_of(*sizes: tuple[int, int], count: int = 300, classes: tuple[str, ...] = ()) -> Survey:
    return Survey("photos", count, dict.fromkeys(sizes, 1), 3, dict.fromkeys(classes, 30))


@pytest.mark.parametrize(
    ("machine", "minutes", "side", "expected"),
    [
        (LAPTOP, 60, 512, 32),  # whatever the time, some size is chosen
        (LAPTOP, 1, 512, 32),
        (LAPTOP, 4 * 24 * 60, 512, 64),
        (SERVER, 240, 512, 128),
        (LARGE_GPU, 60, 512, 64),
        (LARGE_GPU, 240, 512, 128),
        (LARGE_GPU, 24 * 60, 512, 256),
        (LARGE_GPU, 24 * 60, 130, 128),
        (SMALL_GPU, 60, 512, 32),
        (LARGE_GPU, 60, 32, 32),
        (LARGE_GPU, 60, 28, 32),  # MNIST is enlarged by an eighth
        (LARGE_GPU, 60, 27, 16),
        (LAPTOP, 60, 8, 8),
        (LAPTOP, 60, 5, 8),
    ],
)
def test_the_size_is_what_the_images_have_and_the_time_allows(
    machine: Machine, minutes: float, side: int, expected: int
) -> None:
    assert rules.image_size(images_of((side, side)), machine, minutes).value == expected


def test_a_quarter_of_the_images_may_be_smaller() -> None:
    found = Survey("photos", 4, {(300, 200): 3, (40, 500): 1}, 3)
    assert found.side(0.75) == 200
    assert Survey("photos", 4, {(300, 200): 2, (40, 500): 2}, 3).side(0.75) == 40
    assert found.side(1.0) == 40


def test_a_smaller_size_than_the_images_have_is_explained() -> None:
    chosen = rules.image_size(images_of((300, 300)), LAPTOP, 60)
    seen = images_seen(LAPTOP, 60, 64, 32, in_subbands=True)
    hours = rules.ENOUGH / seen
    assert f"64 px takes about {float(f'{hours:.2g}'):.0f} h" in chosen.why


def test_images_that_are_enlarged_are_said_to_be() -> None:
    chosen = rules.image_size(images_of((28, 28)), LARGE_GPU, 60)
    assert chosen == (32, "the images are enlarged from 28 px")


def test_more_time_or_a_faster_machine_never_chooses_less() -> None:
    for rule in (
        lambda machine, minutes: rules.image_size(images_of((999, 999)), machine, minutes).value,
        lambda machine, minutes: rules.network_width(machine, minutes, 32),
    ):
        for machine in (LAPTOP, SERVER, SMALL_GPU, LARGE_GPU):
            found = [rule(machine, minutes) for minutes in (1, 10, 100, 1000, 10_000, 100_000)]
            assert found == sorted(found)
        assert rule(SERVER, 600) >= rule(LAPTOP, 600)
        assert rule(LARGE_GPU, 600) >= rule(SMALL_GPU, 600)


def test_networks_are_as_wide_as_the_time_allows_and_at_least_32_channels() -> None:
    assert rules.network_width(LAPTOP, 1, 256) == 32
    width = rules.network_width(LARGE_GPU, 240, 32)
    assert images_seen(LARGE_GPU, 240, 32, width, in_subbands=False) >= rules.ENOUGH
    assert rules.network_width(LARGE_GPU, 10**6, 32) == 128


def test_batches_on_a_gpu_halve_where_the_pixels_quadruple() -> None:
    assert [rules.batch_size(LARGE_GPU, size) for size in (8, 32, 64, 128, 256)] == [256, 256, 128, 64, 32]
    assert rules.batch_size(LAPTOP, 256) == 32


def test_gamma_has_the_papers_values() -> None:
    assert rules.r1_gamma(32) == 0.02
    assert rules.r1_gamma(256) == pytest.approx(1, rel=0.35)  # the paper: 1


@pytest.mark.parametrize(("count", "expected"), [(0, False), (300, True), (9_999, True), (10_000, False)])
def test_d_is_augmented_for_few_images(count: int, expected: bool) -> None:
    assert rules.discriminator_augmentation(count) is expected


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("photos", (), True),
        ("photos", ("cat", "dog"), True),
        ("photos", ("Animals", "Flags"), False),
        ("photos", tuple("0123456789"), False),
        ("photos", ("A", "B", "unknown"), False),
        ("photos", ("7", "cat", "dog"), True),  # less than half
        ("/data/MNIST/", (), False),
        ("/mnist/photos", (), True),  # the name of the data alone
        ("emoji", (), False),
    ],
)
def test_images_are_flipped_unless_names_speak_of_text(
    name: str, classes: tuple[str, ...], expected: bool
) -> None:
    found = Survey(name, 300, {(32, 32): 300}, 3, dict.fromkeys(classes, 30))
    flipped, why = rules.flips(found)
    assert flipped is expected
    assert why.startswith("flips" if expected else "no flips, as '")


@pytest.mark.parametrize(
    ("count", "classes", "expected"),
    [
        (300, 0, False),
        (300, 1, False),
        (300, 2, True),
        (300, 30, True),
        (300, 31, False),
        (10**6, 1001, False),
    ],
)
def test_classes_are_a_condition_if_each_has_ten_images(count: int, classes: int, expected: bool) -> None:
    found = images_of((32, 32), count=count, classes=tuple(f"class {i}" for i in range(classes)))
    assert rules.class_condition(found)[0] is expected


def test_a_tenth_is_held_out_of_enough_images() -> None:
    assert [rules.held_out(count) for count in (0, 49, 50, 300, 5_000, 10**6)] == [0, 0, 5, 30, 500, 1000]


def test_the_half_life_of_the_ema_is_a_twentieth_of_the_run() -> None:
    assert rules.ema_decay(1) == 0.9
    assert rules.ema_decay(10**8) == 0.9999
    for iterations in (500, 3_000, 20_000, 90_000):
        decay = rules.ema_decay(iterations)
        assert 0.5 ** (1 / (0.05 * iterations)) == pytest.approx(decay, abs=0.6 * (1 - decay))


def test_intervals_are_round_numbers() -> None:
    assert [rules.interval(n, 200) for n in (1, 200, 400, 999, 1_000, 2_100, 123_456)] == [
        1,
        1,
        2,
        2,
        5,
        10,
        500,
    ]
