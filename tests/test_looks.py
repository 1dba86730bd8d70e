"""Looks are total over all that is true of a box, and each is told from each, by any eyes."""

from itertools import combinations, product
from types import SimpleNamespace
from typing import cast

import pytest

from appliance import config
from appliance.conversation import Link, Phase
from appliance.errors import Trouble
from appliance.face import Face, Household
from appliance.panel.looks import (
    BLACK,
    BLUE,
    DARK,
    EVERY_LOOK,
    HALTING,
    HOLLOW,
    HURRIED,
    PLAYED_BY,
    RED,
    STEADY,
    TRIPLE,
    WHITE,
    YELLOW,
    Color,
    Look,
    look,
)
from appliance.parts import Parts

STEP_S = 0.05  # all borders of all looks are multiples of it
GLANCE_STEPS = 80  # 4 s

# What is left of red, green and blue light, in eyes without one kind of cones: Machado, Oliveira
# and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1.0.
EYES = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


PAIRS = list(combinations(EVERY_LOOK, 2))


async def test_every_truth_of_a_box_has_a_look() -> None:
    parts = cast("Parts", SimpleNamespace(config=config.parse("", "test")))
    talk = SimpleNamespace()
    face = Face(parts, cast("Household", SimpleNamespace(conversation=talk)))
    switch = (False, True)
    for phase, link, muted, trouble, asks, capped in product(
        Phase, Link, switch, [None, *Trouble], switch, switch
    ):
        talk.phase, talk.link, talk.muted, talk.trouble = phase, link, muted, trouble
        talk.asks_permission, talk.capped = asks, capped
        assert face.look in EVERY_LOOK
        assert (face.look is HURRIED) == asks


@pytest.mark.parametrize("phase", [Phase.ASLEEP, Phase.RESTING, Phase.TROUBLE])
def test_a_trouble_that_nobody_thought_of_shows_as_trouble(phase: Phase) -> None:
    unheard_of = cast("Trouble", object())
    assert look(phase, muted=False, trouble=unheard_of) is TRIPLE
    assert look(phase, muted=True, trouble=unheard_of) is HOLLOW


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda it: it.means)
def test_rhythms_differ_from_whatever_moment_on_they_are_seen(one: Look, other: Look) -> None:
    least = min((a ^ b).bit_count() for a, b in product(glances(one), glances(other)))
    assert least >= GLANCE_STEPS / 20, f"{one.name} and {other.name} differ in {least} steps"


def glances(it: Look) -> set[int]:
    """What is seen of a look within a glance, from each moment on: a bit for each step."""
    return {
        sum(it.is_lit((start + step + 0.5) * STEP_S) << step for step in range(GLANCE_STEPS))
        for start in range(round(it.period_s / STEP_S))
    }


def test_all_borders_are_multiples_of_a_step() -> None:
    for it in EVERY_LOOK:
        for _, lasts_s in it.pattern:
            assert lasts_s / STEP_S == pytest.approx(round(lasts_s / STEP_S))


@pytest.mark.parametrize("eyes", EYES)
def test_colors_differ_to_all_eyes(eyes: str) -> None:
    for one, other in combinations((WHITE, BLUE, YELLOW, RED, BLACK), 2):
        # 2.3 is a difference that is just seen.
        assert distance(one, other, EYES[eyes]) > 25, f"{one} and {other}"


def test_colors_differ_on_pins_that_are_on_or_off() -> None:
    colors = {it.color for it in EVERY_LOOK}
    assert len({tuple(share >= 128 for share in color) for color in colors}) == len(colors)
    assert all((it.color == BLACK) == (it is DARK) for it in EVERY_LOOK)


def test_each_look_means_something_else() -> None:
    assert len({it.means for it in EVERY_LOOK}) == len(EVERY_LOOK)


def test_what_may_not_be_missed_is_shown_always() -> None:
    assert {it for it in EVERY_LOOK if it.always} == {STEADY, HURRIED, TRIPLE, HALTING, HOLLOW}


def test_every_look_is_played_by_some_led_whichever_there_are() -> None:
    for it in EVERY_LOOK:
        means, passed = it.means, set[str]()
        while means in PLAYED_BY:
            assert means not in passed
            passed.add(means)
            means = PLAYED_BY[means]
        assert means == "listening" or it is DARK


def test_what_is_lit_at_once_is_the_first_level() -> None:
    assert all(it.is_lit(0) == it.pattern[0][0] for it in EVERY_LOOK)
    assert [it.is_steady for it in EVERY_LOOK].count(True) == 2


Eyes = tuple[tuple[float, ...], ...]
Lab = tuple[float, float, float]


def distance(one: Color, other: Color, eyes: Eyes) -> float:
    """How far apart two colours look (CIE76), to those eyes."""
    pairs_of = zip(lab(one, eyes), lab(other, eyes), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs_of) ** 0.5)


def lab(color: Color, eyes: Eyes) -> Lab:
    lights = [linear(share / 255) for share in color]
    red, green, blue = (
        min(1.0, max(0.0, sum(part * light for part, light in zip(row, lights, strict=True))))
        for row in eyes
    )
    x = bent((0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047)
    y = bent(0.2126729 * red + 0.7151522 * green + 0.0721750 * blue)
    z = bent((0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def linear(share: float) -> float:
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)


def bent(light: float) -> float:
    return float(light ** (1 / 3)) if light > 216 / 24389 else (24389 / 27 * light + 16) / 116
