"""What the box says by itself: when it is heard, what silences it, and what it never spoils."""

import wave
from functools import cache
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.config import Cues as Settings
from appliance.conversation import Action, Phase
from appliance.cues import REPEAT_S, Cues
from appliance.errors import AgentRefused, AgentUnreachable, Trouble
from appliance.panel.looks import TRIPLE
from appliance.sound import chimes
from appliance.sound.answer import Answers
from appliance.sound.edges import EDGE_S
from appliance.sound.pcm import Format
from appliance.sound.recordings import recording
from appliance.sound.resample import resampled
from appliance.sound.speaker import Speaker
from appliance.sound.voice import Voice
from appliance.standin.agent import Manners
from appliance.standin.card import Room, StandinCapture
from tests.box import RATE_HZ, Box, a_box, tone
from tests.test_daemon import FORM, heard_by, is_whole

REFUSED = AgentRefused(Trouble.KEY_REFUSED, "test")
NO_NETWORK = AgentUnreachable(Trouble.NO_NETWORK, "test")
LISTENING = b"".join(chimes.chime(chimes.LISTENING, RATE_HZ))
DONE = b"".join(chimes.chime(chimes.DONE, RATE_HZ))
TROUBLE = b"".join(chimes.chime(chimes.TROUBLE, RATE_HZ))


@cache
def sentence(name: str, language: str = "en", own: str = "") -> bytes:
    spoken = recording(name, language, own)
    return b"".join(resampled(spoken.pieces(), spoken.rate_hz, RATE_HZ))


def without_edge(played: bytes | bytearray) -> bytes:
    """What was played, without the rise to its first sample."""
    return bytes(played[FORM.bytes_of(EDGE_S) :])


def said(box: Box) -> list[str]:
    """The names of the cues and sentences that were begun."""
    return [str(it["name"]) for it in box.events if it["event"] in ("cue", "prompt")]


def ends_s(box: Box, number: int = -1) -> float:
    """When the last sample of what was heard had left the card."""
    began_s, sound = box.room.heard[number]
    return began_s + FORM.seconds_of(len(sound))


def pull_the_microphone(box: Box) -> None:
    """It comes back when the box looks for it again, after a second."""
    for stream in list(box.room.streams):
        if isinstance(stream, StandinCapture):
            stream.die()


async def press_and_let_go(box: Box, seconds: float = 0.1) -> None:
    box.button.press()
    await trio.sleep(seconds)
    box.button.release()


# ── sentences ────────────────────────────────────────────────────────────────────────────────────


async def test_a_refused_key_is_said_when_the_button_is_let_go(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        box.button.press()
        await trio.sleep(3.0)
        assert box.at(Phase.TROUBLE)
        assert box.room.heard == []
        box.button.release()
        released_s = trio.current_time()
        await trio.sleep(5.0)
        [(began_s, sound)] = box.room.heard
        assert began_s == released_s
        sound = without_edge(sound)
        assert sound.startswith(sentence("key-refused"))
        assert not any(sound[FORM.bytes_of(EDGE_S) + len(sentence("key-refused")) :])
        assert said(box) == ["key-refused"]


async def test_the_conversation_hears_nothing_of_a_sentence(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        shown = len(box.lamp.shown)
        assert box.look is TRIPLE
        await trio.sleep(10.0)
        assert box.room.heard
        assert len(box.lamp.shown) == shown
        told = {it["event"] for it in box.events}
        assert not told & {"last sample played", "sound begins", "answer's first sound"}
        assert box.daemon.meter.usd(trio.current_time()) == 0
        assert box.daemon.chronicle.history.last_question == ""


@pytest.mark.parametrize("settings", ["", '[talk]\nmode = "tap"'])
async def test_a_press_silences_it_within_the_same_turn_and_acts_as_ever(
    settings: str, autojump_clock: MockClock
) -> None:
    async with a_box(settings) as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(1.0)
        assert said(box) == ["key-refused"]
        box.network.fails = None
        pressed_s = trio.current_time()
        box.button.press()
        assert box.at(Phase.LISTENING)
        over_s = box.room.say(tone(1.0))
        await trio.sleep_until(over_s)
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert heard_by(box).startswith(tone(1.0))
        assert said(box) == ["key-refused"]
        assert ends_s(box, 0) == pytest.approx(pressed_s, abs=1 / RATE_HZ)


async def test_a_press_silences_it_also_where_it_begins_nothing(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(1.0)
        box.daemon.commands()["mute"]()
        pressed_s = trio.current_time()
        box.button.press()
        await trio.sleep(5.0)
        assert len(box.room.heard) == 1
        assert ends_s(box) == pytest.approx(pressed_s, abs=1 / RATE_HZ)


async def test_a_late_answer_silences_it_and_is_heard_alone(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(think_s=16.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.TROUBLE)
        spoke_s = await box.until(Phase.SPEAKING)
        assert said(box) == ["no-answer"]
        await box.until(Phase.RESTING)
        complaint, answer = box.room.heard
        assert ends_s(box, 0) == pytest.approx(spoke_s, abs=1 / RATE_HZ)
        begun = without_edge(complaint[1])
        assert begun
        assert sentence("no-answer").startswith(begun)
        assert without_edge(answer[1]).startswith(tone(1.0))
        assert answer[0] - spoke_s <= 0.06 + 0.001


async def test_words_that_go_after_all_silence_it(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = NO_NETWORK
        await box.say(tone(1.0))
        await trio.sleep(0.2 + 1.0)
        assert box.at(Phase.THINKING)
        assert said(box) == ["no-network"]
        box.network.fails = None
        spoke_s = await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        _, answer = box.room.heard
        assert ends_s(box, 0) <= spoke_s + 1 / RATE_HZ
        assert without_edge(answer[1]).startswith(tone(1.0))


async def test_a_microphone_that_opens_silences_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with wave.open(str(tmp_path / "no-connection.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(tone(29.0))
    settings = f'[talk]\nmode = "open"\n[cues]\nprompts_dir = "{tmp_path}"'
    async with a_box(settings) as box:
        await box.until(Phase.LISTENING)
        await trio.sleep(1.0)
        box.network.fails = NO_NETWORK
        await press_and_let_go(box)  # mutes
        await press_and_let_go(box)  # and listens again
        await box.connection.cut()
        await box.until(Phase.TROUBLE)
        await trio.sleep(0.5)
        assert said(box) == ["no-connection"]
        box.network.fails = None
        listens_s = await box.until(Phase.LISTENING)
        await trio.sleep(30.0)
        assert ends_s(box) == pytest.approx(listens_s, abs=1 / RATE_HZ)


async def test_words_that_wait_are_told_why_once_and_at_last_that_they_are_lost(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        box.network.fails = NO_NETWORK
        await box.say(tone(1.0))
        await box.until(Phase.TROUBLE)
        await trio.sleep(10.0)
        assert said(box) == ["no-network", "no-connection"]
        assert sentence("no-network") in box.spoken()
        assert sentence("no-connection") in box.spoken()


async def test_the_same_trouble_so_soon_again_is_the_cue_alone(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        began_s = trio.current_time()
        await trio.sleep(5.0)
        await press_and_let_go(box, 1.0)
        await trio.sleep_until(began_s + REPEAT_S - 1.0)
        await press_and_let_go(box, 0.9)
        await trio.sleep(0.1)
        await press_and_let_go(box, 1.0)
        await trio.sleep(5.0)
        assert said(box) == ["key-refused", "trouble", "trouble", "key-refused"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('language = ""', ["trouble"]),
        ('language = ""\ntrouble = false', []),
        ("trouble = false", ["key-refused"]),
    ],
)
async def test_the_owner_chooses_words_cue_or_neither(
    settings: str, told: list[str], autojump_clock: MockClock
) -> None:
    async with a_box(f"[cues]\n{settings}") as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(5.0)
        assert said(box) == told
        assert bool(box.room.heard) is bool(told)


async def test_a_german_box_speaks_german(autojump_clock: MockClock) -> None:
    async with a_box('[cues]\nlanguage = "de"') as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(5.0)
        assert sentence("key-refused", "de") in box.spoken()
        assert sentence("key-refused", "de") != sentence("key-refused")


async def test_the_owners_sentence_goes_before_ours_at_whatever_rate(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with wave.open(str(tmp_path / "key-refused.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(tone(0.5))  # so a second, and an octave lower
    async with a_box(f'[cues]\nprompts_dir = "{tmp_path}"') as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(5.0)
        [(_, sound)] = box.room.heard
        assert without_edge(sound).startswith(sentence("key-refused", own=str(tmp_path)))
        assert len(sentence("key-refused", own=str(tmp_path))) == len(tone(1.0))


async def test_a_file_of_the_owners_that_is_none_is_told_and_passed_over(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "key-refused.wav").write_bytes(b"RIFF....WAVE")
    async with a_box(f'[cues]\nprompts_dir = "{tmp_path}"') as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(5.0)
        assert sentence("key-refused") in box.spoken()
    assert f"{tmp_path}/key-refused.wav: a WAV file without a format" in caplog.text


async def test_a_sentence_that_cannot_be_read_is_the_cue(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("appliance.sound.recordings._PROMPTS", tmp_path)
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(5.0)
        assert said(box) == ["trouble"]


async def test_the_end_of_the_box_is_silence(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(1.0)
        box.daemon.stop()
        stopped_s = trio.current_time()
        await box.gone.wait()
        assert ends_s(box) <= stopped_s + 1 / RATE_HZ


# ── who is there to hear it ──────────────────────────────────────────────────────────────────────


async def test_nothing_talks_to_an_empty_house(autojump_clock: MockClock) -> None:
    async with a_box('[talk]\nmode = "open"\nmax_conversation_s = 0') as box:
        await trio.sleep(200.0)
        box.network.fails = NO_NETWORK
        await box.connection.cut()
        await trio.sleep(1000.0)
        pull_the_microphone(box)
        await trio.sleep(10.0)
        assert box.room.heard == []
        box.button.press()
        await trio.sleep(0.1)
        box.button.release()
        await box.until(Phase.TROUBLE)
        await trio.sleep(5.0)
        assert said(box) == ["no-connection"]


async def test_a_microphone_pulled_asleep_is_said_at_the_next_press(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        await trio.sleep(1000.0)
        pull_the_microphone(box)
        await trio.sleep(0.5)
        assert box.look is TRIPLE or box.at(Phase.ASLEEP)
        await trio.sleep(3.0)  # it has come back meanwhile
        pull_the_microphone(box)
        await box.until(Phase.TROUBLE)
        assert box.room.heard == []
        await press_and_let_go(box)
        await trio.sleep(5.0)
        assert said(box) == ["microphone-missing"]
        assert sentence("microphone-missing") in box.spoken()


async def test_a_microphone_pulled_under_a_held_button_is_said_when_it_is_let_go(
    autojump_clock: MockClock,
) -> None:
    async with a_box(manners=Manners(think_s=4.0)) as box:
        box.button.press()
        box.room.say(tone(2.0))
        await trio.sleep(1.0)
        pull_the_microphone(box)
        await trio.sleep(1.0)
        assert box.room.heard == []
        box.button.release()
        await trio.sleep(0.001)
        assert said(box) == ["microphone-missing"]
        await box.until(Phase.SPEAKING)
        assert len(box.room.heard) == 1


async def test_a_missing_speaker_does_not_speak_when_it_comes_back(
    autojump_clock: MockClock,
) -> None:
    async with a_box(manners=Manners(mute_turns=frozenset({1}), audio_done=False)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        box.room.unplug()
        await trio.sleep(2.0)
        await box.until(Phase.TROUBLE)
        await trio.sleep(1.0)
        box.room.plug()
        await trio.sleep(20.0)
        assert box.room.heard == []
        assert said(box) == []


async def test_a_speaker_pulled_out_of_a_sentence_does_not_finish_it(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(1.0)
        box.room.unplug()
        await trio.sleep(1.0)
        box.room.plug()
        await trio.sleep(20.0)
        assert len(box.room.heard) == 1


# ── cues ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_lost_answer_is_the_trouble_cue(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(answer_s=5.0, pace=1.2)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(1.0)
        await box.connection.cut()
        await box.until(Phase.TROUBLE)
        await trio.sleep(2.0)
        assert said(box) == ["trouble"]
        _, (_, cue) = box.room.heard
        assert without_edge(cue).startswith(TROUBLE)
        assert len(box.agent.connections) == 1


async def test_the_listening_cue_sounds_with_the_press_and_costs_no_word(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[cues]\nlistening = true") as box:
        pressed_s = trio.current_time()
        await box.say(tone(1.0))
        began_s, cue = box.room.heard[0]
        assert began_s == pressed_s
        assert without_edge(cue).startswith(LISTENING)
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), tone(1.0))


async def test_in_tap_the_listening_cue_never_goes_straight_to_the_agent(
    autojump_clock: MockClock,
) -> None:
    async with a_box('[talk]\nmode = "tap"\n[cues]\nlistening = true') as box:
        await press_and_let_go(box)
        await trio.sleep(1.0)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await press_and_let_go(box)
        assert box.at(Phase.LISTENING)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.LISTENING)
        assert said(box) == ["listening"]


async def test_the_end_of_a_turn_has_a_cue_when_the_microphone_is_shut(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[cues]\ndone = true") as box:
        await box.say(tone(1.0))
        ended_s = await box.until(Phase.THINKING)
        await trio.sleep(0.05)
        assert not box.daemon.utterances.is_open
        began_s, cue = box.room.heard[0]
        assert began_s == ended_s
        await box.until(Phase.RESTING)
        assert without_edge(box.room.heard[0][1]).startswith(DONE)
        assert without_edge(box.room.heard[-1][1]).startswith(tone(1.0))
        assert cue


async def test_cues_are_off_but_for_the_one_of_trouble(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        assert said(box) == []
        assert len(box.room.heard) == 1


async def test_in_tap_the_agent_hears_nothing_of_a_complaint(autojump_clock: MockClock) -> None:
    manners = Manners(mute_turns=frozenset({1}), audio_done=False)
    async with a_box('[talk]\nmode = "tap"', manners) as box:
        await press_and_let_go(box)
        box.room.say(tone(1.0))
        await box.until(Phase.TROUBLE)
        assert said(box) == []
        sent = len(heard_by(box))
        box.room.say(tone(2.5, hz=900))  # as a wall would give it back
        await box.until(Phase.LISTENING)
        assert said(box) == ["no-answer"]
        assert sentence("no-answer") in box.spoken()
        assert not any(heard_by(box)[sent:])
        box.room.say(tone(1.0, hz=700))
        await box.until(Phase.SPEAKING)
        assert tone(0.8, hz=700)[4000:8000] in heard_by(box)


async def test_in_tap_a_late_complaint_is_said_to_its_end_before_the_box_listens(
    autojump_clock: MockClock,
) -> None:
    manners = Manners(mute_turns=frozenset({1}), audio_done=False)
    settings = '[talk]\nmode = "tap"\n[audio]\nlead_in_ms = 1000'
    async with a_box(settings, manners) as box:
        await press_and_let_go(box)
        box.room.say(tone(1.0))
        await box.until(Phase.TROUBLE)
        sent = len(heard_by(box))
        await box.until(Phase.LISTENING)
        assert sentence("no-answer") in box.spoken()
        assert 0.3 <= trio.current_time() - ends_s(box) <= 0.6, "and the walls have it no more"
        assert not any(heard_by(box)[sent:])


async def test_in_tap_with_full_duplex_the_microphone_stays_open(
    autojump_clock: MockClock,
) -> None:
    manners = Manners(mute_turns=frozenset({1}), audio_done=False)
    async with a_box('[talk]\nmode = "tap"\nduplex = "full"', manners) as box:
        await press_and_let_go(box)
        box.room.say(tone(1.0))
        await box.until(Phase.TROUBLE)
        assert not box.daemon.utterances.shut


async def test_the_preroll_has_nothing_of_a_sentence(autojump_clock: MockClock) -> None:
    async with a_box("[talk]\npreroll_ms = 2000") as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        await trio.sleep(0.5)
        box.network.fails = None
        box.room.say(tone(1.0, hz=900))  # as a wall would give it back
        await trio.sleep(1.0)
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), tone(1.0))


# ── how it is made ───────────────────────────────────────────────────────────────────────────────


async def test_the_loop_turns_while_a_sentence_is_made(autojump_clock: MockClock) -> None:
    room, form = Room(48000), Format(48000)
    answers = Answers(form)
    voice = Voice(form, answers)
    begun: list[str] = []

    def nothing() -> None:
        """Nobody is told."""

    speaker = Speaker(
        room.open_speaker, voice, dry=nothing, began=nothing, found=nothing, lost=nothing
    )
    cues = Cues(Settings(), form, voice, speaker, lambda _, name: begun.append(name))
    turns = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cues.run)
        await trio.testing.wait_all_tasks_blocked()
        cues.do(Action.CUE_TROUBLE, Trouble.UNREACHABLE)
        while not begun:
            await trio.lowlevel.checkpoint()
            turns += 1
        nursery.cancel_scope.cancel()
    seconds = FORM.seconds_of(len(sentence("unreachable")))
    assert voice.waiting_s == pytest.approx(seconds, abs=1 / RATE_HZ)
    assert turns > seconds / 0.005


async def test_a_sentence_that_is_overtaken_is_not_begun(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 1.0)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        box.button.press()
        await trio.sleep(3.0)
        assert said(box) == []


async def test_a_sentence_that_takes_its_time_outlives_the_cue_before_it(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[cues]\nlistening = true\n[audio]\nlead_in_ms = 400") as box:
        box.network.fails = REFUSED
        await press_and_let_go(box, 0.3)
        for _ in range(20):  # it is being made
            await trio.lowlevel.checkpoint()
        assert said(box) == ["listening"]
        autojump_clock.jump(0.5)  # as long as a small board takes
        await trio.sleep(10.0)
        assert said(box) == ["listening", "key-refused"]
        assert sentence("key-refused") in box.spoken()
