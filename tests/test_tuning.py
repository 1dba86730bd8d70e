"""The rate of a box whose owner leaves it to the cards: found late, found anew, never in a turn."""

import math
import random
from array import array
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import Link, Phase
from appliance.errors import AgentUnreachable, Trouble
from appliance.standin.agent import Manners
from appliance.standin.card import Room

from .box import RATE_HZ, Box, a_box
from .test_plugging import BACK_S, Kernel, card_status

FOUND = "[audio]\nrate_hz = 0\n"
KINDS = ("microphone", "speaker")


def tone(seconds: float, rate_hz: int, hz: float = 440.0) -> bytes:
    step = 2 * math.pi * hz / rate_hz
    return array(
        "h", (int(9000 * math.sin(step * n)) for n in range(round(seconds * rate_hz)))
    ).tobytes()


def a_room(microphone: set[int], speaker: set[int], *, plugged: bool = True) -> Room:
    room = Room(RATE_HZ)
    room.rates = {"microphone": microphone, "speaker": speaker}
    if not plugged:
        room.unplug()
    return room


def rate(box: Box) -> dict[str, object]:
    status = box.daemon.status()["rate"]
    assert isinstance(status, dict)
    return status


def runs_at(box: Box, rate_hz: int, *, converter: str = "none") -> None:
    """Both halves, and all that the box says of it."""
    assert rate(box) == {"rate_hz": rate_hz, "found": True, "unasked": None}
    assert [stream.form.rate_hz for stream in box.room.streams] == [rate_hz] * 2
    if converter == "none":
        assert {card_status(box, kind)["rate_hz"] for kind in KINDS} == {rate_hz}
    assert {card_status(box, kind)["converter"] for kind in KINDS} == {converter}


async def talks_at(box: Box, rate_hz: int) -> None:
    """A turn: what is said goes out at that rate, and comes back to the last sample."""
    words = tone(1.0, rate_hz)
    heard_before = len(box.room.given)
    await box.say(words)
    await box.until(Phase.SPEAKING)
    began_s = trio.current_time()
    await box.until(Phase.RESTING)
    settings = box.connection.settings
    assert settings is not None
    assert settings["audio"]["input"]["sample_rate"] == rate_hz
    assert settings["audio"]["output"]["sample_rate"] == rate_hz
    assert words in bytes(box.connection.heard)
    spoken = b"".join(sound for _, sound in box.room.heard[heard_before:])
    assert words in spoken
    assert len(spoken) / 2 / rate_hz == pytest.approx(trio.current_time() - began_s, abs=0.1)
    await box.until(Phase.ASLEEP)


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
async def test_a_card_that_is_put_in_after_the_start_is_run_at_a_rate_that_it_has(
    told: bool, autojump_clock: MockClock
) -> None:
    kernel = Kernel()
    room = a_room({44100, 48000}, {48000}, plugged=False)
    async with a_box(FOUND, room=room, watch_cards=kernel.watch if told else None) as box:
        await trio.sleep(30.0)
        assert rate(box)["rate_hz"] == 16000
        room.plug()
        if told:
            kernel.tell()
        await trio.sleep(0.11 if told else BACK_S)
        runs_at(box, 48000)
        assert room.opened == 2, "nothing was opened at another rate before"
        await talks_at(box, 48000)


async def test_the_rate_is_found_before_the_first_connection_where_the_box_connects_by_itself(
    autojump_clock: MockClock,
) -> None:
    room = a_room({48000}, {48000})
    async with a_box(f'[talk]\nmode = "open"\n{FOUND}', room=room) as box:
        await box.until(Phase.LISTENING)
        runs_at(box, 48000)
        settings = box.connection.settings
        assert settings is not None
        assert settings["audio"]["input"]["sample_rate"] == 48000
        assert room.opened == 2
        room.unplug()
        room.rates = {kind: {44100, 24000} for kind in KINDS}
        await trio.sleep(10.0)
        room.plug()
        await trio.sleep(3 * BACK_S)
        assert box.at(Phase.LISTENING)
        runs_at(box, 24000)
        settings = box.connection.settings
        assert settings is not None
        assert settings["audio"]["input"]["sample_rate"] == 24000


@pytest.mark.parametrize("which", [("microphone",), ("speaker",), KINDS], ids="+".join)
async def test_another_card_in_its_place_is_run_at_its_own_rate(
    which: tuple[str, ...], autojump_clock: MockClock
) -> None:
    room = a_room({16000, 48000}, {16000, 48000})
    async with a_box(FOUND, room=room) as box:
        runs_at(box, 16000)
        await talks_at(box, 16000)
        room.unplug(*which)
        await trio.sleep(3.0)
        for kind in which:
            room.rates[kind] = {48000}
        room.plug(*which)
        await trio.sleep(BACK_S)
        runs_at(box, 48000)
        await talks_at(box, 48000)
        assert [one["rate_hz"] for one in box.events if one["event"] == "rate"] == [48000]


@pytest.mark.parametrize("which", [("microphone",), ("speaker",)], ids="+".join)
async def test_the_other_card_stays_open_where_the_rate_stays(
    which: tuple[str, ...], autojump_clock: MockClock
) -> None:
    room = a_room({16000}, {16000})
    async with a_box(FOUND, room=room) as box:
        opened = room.opened
        for _ in range(3):
            room.unplug(*which)
            await trio.sleep(30.0)
            assert len(room.streams) == 1
            room.plug(*which)
            await trio.sleep(BACK_S)
        assert room.opened == opened + 3
        runs_at(box, 16000)


async def test_of_a_codec_with_one_clock_both_halves_are_asked_while_both_are_closed(
    autojump_clock: MockClock,
) -> None:
    room = a_room({16000, 48000}, {48000}, plugged=False)
    room.is_one_clock = True
    async with a_box(FOUND, room=room) as box:
        await trio.sleep(5.0)
        room.plug()
        await trio.sleep(BACK_S)
        runs_at(box, 48000)


async def test_also_where_the_second_half_may_be_opened_a_moment_later_only(
    autojump_clock: MockClock,
) -> None:
    room = a_room({16000, 48000}, {48000}, plugged=False)
    room.is_one_clock = room.is_bare = True
    async with a_box(FOUND, room=room) as box:
        await trio.sleep(5.0)
        room.plug("microphone")
        await trio.sleep(BACK_S)
        assert rate(box)["rate_hz"] == 16000
        room.plug("speaker")
        await trio.sleep(BACK_S)
        runs_at(box, 48000)


async def test_where_no_rate_is_shared_the_speaker_is_converted_and_it_is_told(
    autojump_clock: MockClock,
) -> None:
    async with a_box(FOUND, room=a_room({16000}, {48000})) as box:
        await trio.sleep(1.0)
        assert card_status(box, "microphone")["converter"] == "none"
        assert card_status(box, "speaker")["converter"] == "speexrate"
        assert card_status(box, "speaker")["rate_hz"] == 48000
        assert rate(box) == {"rate_hz": 16000, "found": True, "unasked": None}


@pytest.mark.parametrize("is_bare", [False, True], ids=["converted", "refused"])
async def test_a_card_that_is_swapped_in_a_conversation_is_asked_when_the_box_sleeps(
    is_bare: bool, autojump_clock: MockClock
) -> None:
    """Until then it runs converted, or is waited for: the connection keeps its rate."""
    room = a_room({16000}, {16000, 48000})
    async with a_box(FOUND, Manners(answer_s=8.0), room=room) as box:
        await box.say(tone(1.0, 16000))
        await box.until(Phase.SPEAKING)
        room.unplug("microphone")
        await trio.sleep(2.5)
        room.rates["microphone"], room.is_bare = {48000}, is_bare
        room.plug("microphone")
        await trio.sleep(3.0)
        assert box.at(Phase.SPEAKING)
        status = card_status(box, "microphone")
        assert rate(box)["rate_hz"] == 16000
        if is_bare:
            assert status["trouble"] == "the stand-in card grants 48000 Hz; wanted is 16000 Hz"
        else:
            assert (status["rate_hz"], status["converter"]) == (48000, "speexrate")
            assert rate(box)["unasked"] == "microphone"
        assert len(box.agent.connections) == 1
        await trio.sleep(2 * BACK_S + 30.0)
        assert box.at(Phase.ASLEEP)
        runs_at(box, 48000)
        await talks_at(box, 48000)


async def test_words_that_wait_for_a_connection_keep_their_rate(
    autojump_clock: MockClock,
) -> None:
    room = a_room({16000, 48000}, {16000, 48000})
    async with a_box(FOUND, room=room) as box:
        box.network.fails = AgentUnreachable(Trouble.UNREACHABLE, "no way")
        words = tone(1.0, 16000)
        await box.say(words)
        await trio.sleep(1.0)
        room.unplug()
        await trio.sleep(2.5)
        room.rates = {kind: {48000} for kind in KINDS}
        room.plug()
        await trio.sleep(BACK_S)
        assert rate(box) == {"rate_hz": 16000, "found": True, "unasked": "microphone, speaker"}
        box.network.fails = None
        await box.until(Phase.SPEAKING)
        assert words in bytes(box.connection.heard)
        await box.until(Phase.ASLEEP)
        await trio.sleep(0.1)
        runs_at(box, 48000)


async def test_with_a_preroll_the_ring_begins_anew_at_the_other_rate(
    autojump_clock: MockClock,
) -> None:
    room = a_room({16000}, {16000, 48000})
    async with a_box(f"[talk]\npreroll_ms = 1000\n{FOUND}", room=room) as box:
        await trio.sleep(2.0)
        room.unplug("microphone")
        await trio.sleep(2.5)
        room.rates["microphone"] = {48000}
        room.plug("microphone")
        await trio.sleep(BACK_S)
        runs_at(box, 48000)
        words = tone(2.0, 48000)
        room.say(words)
        await trio.sleep(0.7)
        box.button.press()
        await trio.sleep(1.5)
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert words in bytes(box.connection.heard), "what was said before the press, too"


async def test_a_press_at_the_very_moment_of_the_change_is_heard(
    autojump_clock: MockClock,
) -> None:
    """Both cards are being given back; the change waits until this conversation is over, too."""
    room = a_room({16000}, {16000, 48000})
    async with a_box(FOUND, room=room) as box:
        await box.say(tone(1.0, 16000))
        await box.until(Phase.SPEAKING)
        room.unplug("microphone")
        await trio.sleep(0.1)
        room.rates["microphone"] = {48000}
        room.plug("microphone")
        words, native = tone(2.0, 16000, 700.0), room.native_rates

        def asked(kind: str) -> set[int] | None:
            if box.at(Phase.ASLEEP):
                box.button.press()
                room.say(words)
            return native(kind)

        box.daemon.tuning._native = asked
        await box.until(Phase.LISTENING)
        box.daemon.tuning._native = native
        await trio.sleep(2.0)
        assert rate(box) == {"rate_hz": 16000, "found": True, "unasked": "microphone, speaker"}
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert words in bytes(box.connection.heard)
        await box.until(Phase.ASLEEP)
        await trio.sleep(0.1)
        runs_at(box, 48000)
        await talks_at(box, 48000)


async def test_what_sounds_of_the_box_itself_follows_the_rate(autojump_clock: MockClock) -> None:
    """The cue of a trouble, and a sentence."""
    settings = f'[cues]\nlanguage = ""\n{FOUND}'
    room = a_room({16000, 48000}, {16000, 48000})
    async with a_box(settings, room=room) as box:
        room.unplug()
        await trio.sleep(2.5)
        room.rates = {kind: {48000} for kind in KINDS}
        room.plug()
        await trio.sleep(BACK_S)
        box.network.fails = AgentUnreachable(Trouble.KEY_REFUSED, "no")
        await box.say(tone(1.0, 48000))
        await trio.sleep(3.0)
        assert box.at(Phase.TROUBLE)
        [(_, cue)] = room.heard
        samples = array("h", cue)
        ups = sum(a < 0 <= b for a, b in pairwise(samples))
        assert len(samples) / 48000 == pytest.approx(0.42 + 0.04, abs=0.04)
        assert ups == pytest.approx(0.12 * 440 + 0.12 * 370 + 0.18 * 311, abs=3), "its pitch"


async def test_the_echo_canceller_is_given_frames_of_the_rate_found(
    autojump_clock: MockClock,
) -> None:
    frames: set[tuple[str, int]] = set()

    class Canceller:
        name = "counting"

        def played(self, frame: bytes) -> None:
            frames.add(("played", len(frame)))

        def heard(self, frame: bytes) -> bytes:
            frames.add(("heard", len(frame)))
            return frame

    settings = '[talk]\nmode = "tap"\nduplex = "full"\n[audio]\nrate_hz = 0\necho = "webrtc"'
    room = a_room({44100, 48000}, {44100, 48000}, plugged=False)
    async with a_box(settings, room=room, canceller=Canceller()) as box:
        await trio.sleep(5.0)
        room.plug()
        await trio.sleep(BACK_S)
        runs_at(box, 48000)
        box.button.press()
        box.button.release()
        await trio.sleep(0.5)
        await trio.sleep_until(room.say(tone(1.0, 48000)))
        await box.until(Phase.SPEAKING)
        await trio.sleep(0.5)
        assert frames == {("played", 960), ("heard", 960)}


async def test_a_rate_of_the_owners_is_never_another(autojump_clock: MockClock) -> None:
    room = a_room({48000}, {48000})
    async with a_box(room=room) as box:
        room.unplug()
        await trio.sleep(3.0)
        room.plug()
        await trio.sleep(BACK_S)
        assert rate(box) == {"rate_hz": 16000, "found": False, "unasked": None}
        assert room.asked == []
        assert card_status(box, "microphone")["converter"] == "speexrate"


@pytest.mark.parametrize("mode", ["hold", "tap", "open"])
@pytest.mark.parametrize("seed", [0, 1, 3, 5])
async def test_whatever_is_plugged_and_pressed_both_halves_and_the_wire_have_one_rate(
    seed: int, mode: str, autojump_clock: MockClock
) -> None:
    """The room itself fails where two rates are open at once, or an open card is asked."""
    chance = random.Random(seed)
    room = a_room({16000}, {16000})
    kernel = Kernel()
    watch = kernel.watch if seed % 2 else None
    settings = f'[talk]\nmode = "{mode}"\n{FOUND}'
    manners = Manners(answer_s=3.0)
    async with a_box(settings, manners, room=room, watch_cards=watch) as box:
        room.is_one_clock, room.is_bare = seed % 3 == 0, seed % 5 == 0
        for _ in range(40):
            kinds = chance.choice([("microphone",), ("speaker",), KINDS])
            match chance.randrange(4):
                case 0:
                    room.unplug(*kinds)
                case 1:
                    for kind in kinds:
                        if kind in room.pulled:
                            room.rates[kind] = set(chance.sample([16000, 24000, 48000], 2))
                    room.plug(*kinds)
                case 2:
                    box.button.press()
                    room.say(tone(0.5, room.form.rate_hz))
                case 3:
                    box.button.release()
            if watch is not None:
                kernel.tell()
            await trio.sleep(chance.choice([0.0, 0.05, 0.3, 2.0, 30.0]))
            rates = {stream.form.rate_hz for stream in room.streams}
            assert rates <= {rate(box)["rate_hz"]}
            if box.daemon.conversation.link is Link.UP:
                wire = box.connection.settings
                assert wire is not None
                assert wire["audio"]["input"]["sample_rate"] == rate(box)["rate_hz"]
        box.button.release()
        room.plug()
        await trio.sleep(120.0)
        if mode != "open":
            shared = room.rates["microphone"] & room.rates["speaker"]
            found = room.form.rate_hz
            assert found in (shared or room.rates["microphone"])
            if shared:
                runs_at(box, found)
