"""The box as its owner has it, on the kernel's own sound and pins.

A finger closes a contact, words are said into a card, and what is judged is what the card played,
what the lamp showed, and what `status` and `watch` said. Figures are told at the end of the run and
judged by nobody: the machine is slow, and shares this one's cores.
"""

import array
import time

from appliance.conversation import Phase
from appliance.panel.looks import LOOKS, TRIPLE, WINK
from tests.test_cards import SNIPPET, has_any_of, noise

from .box import BUTTON, LAMP, Box, until
from .conftest import Measured
from .machine import Machine

MS = 1000
RATE_HZ = 16000
LOUD = 500
ASLEEP_S = 10.0
CYCLES = 20


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
        rests_s = box.machine.seen()[-1][0]
        box.until_shown(WINK, rests_s)
    heard = box.machine.heard().sound
    assert share_of(question, heard) > 0.9
    measured(f"answer heard whole, {box.pins}", "%", [100 * share_of(question, heard)])
    for phase in (Phase.LISTENING, Phase.THINKING, Phase.SPEAKING, Phase.RESTING):
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
    before = box.machine.usage(box.pid)
    time.sleep(ASLEEP_S)
    after = box.machine.usage(box.pid)
    measured(f"asleep: wakeups, {box.pins}", "/s", [after.wakes_since(before)])
    measured(f"asleep: CPU, {box.pins}", "%", [after.cpu_since(before)])
    took_ms = []
    for _ in range(5):
        took_ms.append(MS * box.machine.press_and_see(BUTTON, LAMP))
        box.until_phase(Phase.LISTENING)
        box.machine.release(BUTTON)
        box.until_phase(Phase.ASLEEP)
    measured(f"press -> lamp, asleep, {box.pins}", "ms", took_ms)
    assert box.machine.lives(box.pid)


def test_a_card_is_pulled_out_and_put_back_at_any_time(box: Box, measured: Measured) -> None:
    machine, question = box.machine, noise(1.0)

    machine.unplug_card()
    box.until_cards("missing")
    since_s = machine.seen()[-1][0]
    assert box.status["trouble"] in {"microphone-missing", "speaker-missing"}
    box.until_shown(TRIPLE, since_s)
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
    measured(f"descriptors, {box.pins}", "", [machine.usage(box.pid).descriptors])


def unplug_and_plug(box: Box) -> None:
    box.machine.unplug_card()
    box.until_cards("missing")
    box.machine.plug_card()
    box.until_cards("open")


def test_a_card_that_comes_and_goes_costs_nothing(lab: Machine, box: Box) -> None:
    unplug_and_plug(box)
    before = lab.usage(box.pid).descriptors
    for _ in range(CYCLES):
        unplug_and_plug(box)
    assert lab.usage(box.pid).descriptors == before
