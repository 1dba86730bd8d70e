"""The box as its owner has it, on the kernel's own sound and pins.

A finger closes a contact, words are said into a card, and what is judged is what the card played,
what the lamp showed, and what `status` and `watch` said. Figures are told at the end of the run and
judged by nobody: the machine is slow, and shares this one's cores.
"""

import array
import time

import pytest

from appliance.conversation import Phase
from appliance.panel.looks import LOOKS
from tests.test_cards import SNIPPET, has_any_of, noise

from .box import BUTTON, PINS, POLL_S, Box, until
from .conftest import Measured

MS = 1000
RATE_HZ = 16000
LOUD = 500
ASLEEP_S = 10.0
PRESSES = 5
CYCLES = 20
READINGS = 10

ONE_WAY_TO_THE_PINS = pytest.mark.parametrize("box", PINS[:1], indirect=True)


def share_of(sound: bytes, heard: bytes) -> float:
    """How much of `sound` is to be found in `heard`: a slow machine may tear a hole."""
    snippets = [sound[at : at + SNIPPET] for at in range(0, len(sound) - SNIPPET, SNIPPET)]
    return sum(snippet in heard for snippet in snippets) / len(snippets)


def loud_ms(sound: bytes) -> float:
    """Up to where something is to be heard, by the count of samples."""
    samples = array.array("h", sound)
    loud = [index for index, sample in enumerate(samples) if abs(sample) > LOUD]
    return (loud[-1] + 1) / RATE_HZ * MS if loud else 0.0


def ask(box: Box, question: bytes) -> None:
    """Hold the button while the question is said."""
    box.machine.press(BUTTON)
    box.until_phase(Phase.LISTENING)
    box.machine.say(question)
    box.machine.release(BUTTON)


def until_heard(box: Box, sound: bytes) -> None:
    until(lambda: has_any_of(sound, box.machine.heard().sound), "the answer is not to be heard")


def test_a_question_is_answered_and_the_lamp_shows_each_state(box: Box, measured: Measured) -> None:
    question = noise(2.0)
    assert box.status["panel"]["pins"] == box.pins
    box.machine.press(BUTTON)
    box.until_phase(Phase.LISTENING)
    with box.machine.recording():
        box.machine.say(question)
        box.hold_agent()
        box.machine.release(BUTTON)
        box.until_phase(Phase.THINKING)
        time.sleep(3.0)  # a blink takes one; the agent thinks for as long as it is held
        box.let_agent_go()
        box.until_phase(Phase.RESTING)
        box.until_shown(Phase.RESTING)
    heard = box.machine.heard().sound
    assert share_of(question, heard) > 0.9
    measured(f"answer heard whole, {box.pins}", "%", [100 * share_of(question, heard)])
    for phase in (Phase.LISTENING, Phase.THINKING, Phase.SPEAKING):
        assert box.shown_in(phase) == LOOKS[phase].name
    status = box.status
    assert status["uplink"]["lost_s"] == 0
    assert status["trouble"] is None


def test_a_press_silences_an_answer(box: Box, measured: Measured) -> None:
    question, end = noise(4.0), noise(4.0)[-RATE_HZ:]
    with box.machine.recording():
        ask(box, question)
        box.until_phase(Phase.SPEAKING)
        until_heard(box, question[: 2 * RATE_HZ])
        pressed_s = box.machine.press(BUTTON)
        box.until_phase(Phase.LISTENING)
        time.sleep(2.0)
        after = box.machine.heard().since(pressed_s)
    silent_ms = loud_ms(after)
    measured(f"press -> last sample, speaking, {box.pins}", "ms", [silent_ms])
    assert len(after) > 2 * RATE_HZ, "more than a second was recorded"
    assert loud_ms(after[-2 * RATE_HZ :]) == 0, "the last second is silent"
    assert not has_any_of(end, after)
    assert box.shown_in(Phase.LISTENING) == LOOKS[Phase.LISTENING].name


def test_a_press_is_seen_and_sleep_costs_little(box: Box, measured: Measured) -> None:
    wakes, cpu = box.use(ASLEEP_S)
    measured(f"asleep: wakeups, {box.pins}", "/s", [wakes])
    measured(f"asleep: CPU, {box.pins}", "%", [cpu])
    took_ms = [MS * box.press_while_asleep() for _ in range(PRESSES)]
    measured(f"press -> lamp, asleep, {box.pins}", "ms", took_ms)
    assert box.machine.lives(box.pid)


@ONE_WAY_TO_THE_PINS
def test_a_card_is_pulled_out_and_put_back_at_any_time(box: Box) -> None:
    machine, question = box.machine, noise(1.0)

    machine.unplug_card()
    box.until_cards("missing")
    assert box.status["trouble"] in {"microphone-missing", "speaker-missing"}
    box.until_shown(Phase.TROUBLE)
    machine.plug_card()
    box.until_cards("open")
    assert box.status["phase"] == "asleep"

    with machine.recording():
        ask(box, noise(4.0))
        box.until_phase(Phase.SPEAKING)
        until_heard(box, noise(4.0)[: 2 * RATE_HZ])
        unplug_and_plug(box)
    box.machine.press(BUTTON)
    box.until_phase(Phase.LISTENING)
    unplug_and_plug(box)
    box.machine.release(BUTTON)

    until(lambda: box.phase in {"asleep", "resting", "trouble"}, "it is busy for ever")
    with machine.recording():
        ask(box, question)
        until_heard(box, question)
    assert machine.lives(box.pid)


def unplug_and_plug(box: Box) -> None:
    box.machine.unplug_card()
    box.until_cards("missing")
    box.machine.plug_card()
    box.until_cards("open")


@ONE_WAY_TO_THE_PINS
def test_a_card_that_comes_and_goes_costs_nothing(box: Box) -> None:
    unplug_and_plug(box)
    before = fewest_descriptors(box)
    for _ in range(CYCLES):
        unplug_and_plug(box)
    assert fewest_descriptors(box) == before


def fewest_descriptors(box: Box) -> int:
    """What it holds on to: our own questions are connections too, and go a little after we do."""
    readings = []
    for _ in range(READINGS):
        readings.append(box.machine.usage(box.pid).descriptors)
        time.sleep(POLL_S)
    return min(readings)
