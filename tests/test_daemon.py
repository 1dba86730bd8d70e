"""Whole conversations in virtual time: script in; what was kept, sent, shown and heard out."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import Link, Phase
from appliance.errors import AgentUnreachable, Trouble
from appliance.panel.looks import DARK, STEADY
from appliance.sound.edges import EDGE_S
from appliance.sound.pcm import Format
from appliance.standin.agent import ForceEndTurn, Manners
from tests.box import RATE_HZ, Box, a_box, tone

FORM = Format(RATE_HZ)
TAIL = FORM.bytes_of(0.2)


def heard_by(box: Box, number: int = -1) -> bytes:
    return bytes(box.agent.connections[number].heard)


def is_whole(heard: bytes, said: bytes) -> bool:
    """Whether the agent was given all that was said, once, and the tail, to its last period."""
    tail = heard[len(said) :]
    whole_tail = TAIL - 640 <= len(tail) <= TAIL
    return heard.startswith(said) and whole_tail and not any(tail)


def sent_by(box: Box) -> int:
    """Bytes of sound that the agent has sent on its newest connection."""
    return sum(size for _, name, size in box.connection.sent if name == "sound")


def looks(box: Box) -> list[str]:
    return [look.name for _, look in box.lamp.shown]


# ── the main job ─────────────────────────────────────────────────────────────────────────────────


async def test_press_talk_be_answered(autojump_clock: MockClock) -> None:
    said = tone(1.5)
    async with a_box() as box:
        await box.say(said)
        await box.until(Phase.RESTING)
        assert is_whole(heard_by(box), said)
        assert said in box.spoken()
        assert looks(box) == ["steady", "slow even blink", "quick flutter", "short wink"]


async def test_the_lamp_speaks_until_the_last_sample_has_left_the_card(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        quiet_s = await box.until(Phase.RESTING)
        [(began_s, sound)] = box.room.heard
        last_s = began_s + EDGE_S + FORM.seconds_of(sent_by(box))
        assert len(sound) >= sent_by(box)
        assert quiet_s == pytest.approx(last_s, abs=0.002)


@pytest.mark.parametrize("prebuffer_ms", [60, 200])
async def test_the_first_sample_leaves_the_card_when_the_prebuffer_is_over(
    prebuffer_ms: int, autojump_clock: MockClock
) -> None:
    async with a_box(f"[audio]\nprebuffer_ms = {prebuffer_ms}", Manners(pace=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.RESTING)
        [came_s] = [
            float(str(it["t"])) for it in box.events if it["event"] == "answer's first sound"
        ]
        [(began_s, sound)] = box.room.heard
        before = bytes(sound).index(tone(1.0))
        assert began_s + FORM.seconds_of(before) == pytest.approx(came_s + prebuffer_ms / 1000)
        assert box.daemon.answers.gaps == 0


async def test_what_is_said_while_connecting_is_kept_and_sent(autojump_clock: MockClock) -> None:
    said = tone(6.0)
    async with a_box() as box:
        box.network.delay_s = 4.0
        await box.say(said)
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), said)


async def test_what_is_said_before_the_settings_are_accepted_is_kept(
    autojump_clock: MockClock,
) -> None:
    said = tone(2.0)
    async with a_box(manners=Manners(settings_delay_s=5.0)) as box:
        await box.say(said)
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), said)


async def test_words_that_were_not_taken_are_sent_again_whole(autojump_clock: MockClock) -> None:
    said = tone(3.0)
    async with a_box() as box:
        box.button.press()
        over_s = box.room.say(said)
        await trio.sleep(1.5)
        await box.connection.cut()
        await trio.sleep_until(over_s)
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert len(box.agent.connections) == 2
        assert said.startswith(heard_by(box, 0))
        assert heard_by(box, 0)
        assert is_whole(heard_by(box, 1), said)
        assert box.network.open_most == 1


async def test_a_question_asked_while_the_network_is_down_is_answered_after_it(
    autojump_clock: MockClock,
) -> None:
    said = tone(2.0)
    async with a_box() as box:
        box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
        await box.say(said)
        await trio.sleep(5.0)
        assert box.at(Phase.THINKING)
        box.network.fails = None
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), said)


async def test_a_question_nobody_took_in_30_seconds_is_given_up(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
        await box.say(tone(2.0))
        given_up_s = await box.until(Phase.TROUBLE)
        assert given_up_s == pytest.approx(2.0 + 0.2 + 30.0, abs=0.002)
        assert box.daemon.conversation.trouble is Trouble.NO_CONNECTION
        box.network.fails = None
        dials = len(box.network.dials)
        await trio.sleep(100.0)
        assert len(box.network.dials) == dials
        assert box.at(Phase.ASLEEP)


async def test_a_second_utterance_while_connecting_waits_for_the_text_of_the_first(
    autojump_clock: MockClock,
) -> None:
    first, second = tone(1.0), tone(1.0, hz=700)
    async with a_box() as box:
        box.network.delay_s = 5.0
        await box.say(first)
        await trio.sleep(1.0)
        await box.say(second)
        await trio.sleep(10.0)
        names = [it["type"] for it in box.connection.messages if it["type"] == "ForceEndTurn"]
        assert len(names) == 2
        heard = heard_by(box)
        begins = heard.index(second[2:2000], len(first)) - 2
        assert is_whole(heard[:begins], first)
        assert is_whole(heard[begins:], second)
        texts = [event["text"] for event in box.events if event["event"] == "you said"]
        assert len(texts) == 2


# ── silence ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stops", [True, False])
@pytest.mark.parametrize("tells_its_end", [True, False])
async def test_an_interrupted_answer_is_silent_at_once_and_stays_dead(
    stops: bool, tells_its_end: bool, autojump_clock: MockClock
) -> None:
    manners = Manners(
        answer_s=14.0, pace=1.0, stops_when_interrupted=stops, audio_done=tells_its_end
    )
    async with a_box(manners=manners) as box:
        await box.say(tone(1.0, hz=300))
        await box.until(Phase.SPEAKING)
        await trio.sleep(2.0)
        box.button.press()
        pressed_s = trio.current_time()
        [(began_s, sound)] = box.room.heard
        assert began_s + FORM.seconds_of(len(sound)) <= pressed_s + 1 / RATE_HZ
        over_s = box.room.say(tone(1.0, hz=1000))
        await trio.sleep_until(over_s)
        box.button.release()
        assert len(box.room.heard) == 1, "something of the dead answer was heard"
        await box.until(Phase.SPEAKING)
        await trio.sleep(3.0)
        answer_s = box.room.heard[1][0]
        texts = [event for event in box.events if event["event"] == "you said"]
        assert answer_s > texts[1]["t"]  # type: ignore[operator]
        box.button.press()
        second = bytes(box.room.heard[1][1])
        assert tone(0.8, hz=1000)[4000:8000] in second
        assert tone(0.8, hz=300)[4000:8000] not in second


async def test_a_tap_stops_an_answer_and_sends_nothing(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(answer_s=10.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(1.0)
        heard = heard_by(box)
        box.button.press()
        await trio.sleep(0.1)
        box.button.release()
        assert box.at(Phase.RESTING)
        await trio.sleep(12.0)
        assert len(box.room.heard) == 1
        assert heard_by(box) == heard


async def test_a_tap_calls_an_awaited_answer_off(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(text_delay_s=1.0, think_s=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        await trio.sleep(0.5)
        box.button.press()
        await trio.sleep(0.1)
        box.button.release()
        assert box.at(Phase.RESTING)
        await trio.sleep(15.0)
        assert box.room.heard == []
        assert box.at(Phase.RESTING)
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)


async def test_an_answer_that_is_never_ended_ends_1_5_seconds_after_its_last_sample(
    autojump_clock: MockClock,
) -> None:
    async with a_box(manners=Manners(audio_done=False)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        quiet_s = await box.until(Phase.RESTING)
        began_s, _ = box.room.heard[0]
        last_s = began_s + EDGE_S + FORM.seconds_of(sent_by(box))
        assert quiet_s == pytest.approx(last_s + 1.5, abs=0.005)


async def test_unprompted_sound_is_an_answer_like_any_other(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        await box.connection.interject(tone(0.5, hz=900))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        assert tone(0.5, hz=900)[2:-2] in bytes(box.room.heard[-1][1])


# ── the end of a turn ────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_warns_gets_silence_and_then_a_connection_that_silence_can_end(
    autojump_clock: MockClock,
) -> None:
    said = tone(1.0)
    async with a_box(manners=Manners(force_end_turn=ForceEndTurn.WARN)) as box:
        await box.say(said)
        await box.until(Phase.SPEAKING)
        first, second = box.agent.connections
        zeros = first.heard[len(said) :]
        assert FORM.seconds_of(len(zeros)) == pytest.approx(2.7, abs=0.06)
        assert not any(zeros)
        assert second.settings is not None
        assert second.settings["agent"]["listen"]["provider"]["eot_threshold"] == 0.7
        assert bytes(second.heard).startswith(said)
        assert not any(second.heard[len(said) :])
        assert not [it for it in second.messages if it["type"] == "ForceEndTurn"]
        assert box.daemon.status()["can_force_end_turn"] is False


async def test_a_server_that_closes_on_it_loses_no_word(autojump_clock: MockClock) -> None:
    said = tone(1.0)
    async with a_box(manners=Manners(force_end_turn=ForceEndTurn.UNPARSABLE)) as box:
        await box.say(said)
        await box.until(Phase.SPEAKING)
        first, second = box.agent.connections
        assert is_whole(bytes(first.heard), said)
        assert bytes(second.heard).startswith(said)
        assert set(second.heard[len(said) :]) == {0}
        assert [it["type"] for it in second.messages if it["type"] != "KeepAlive"] == ["Settings"]


async def test_nova_gets_silence(autojump_clock: MockClock) -> None:
    settings = """[agent]
listen = { provider = { type = "deepgram", model = "nova-3" } }"""
    async with a_box(settings) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert not [it for it in box.connection.messages if it["type"] == "ForceEndTurn"]


async def test_the_end_is_said_twice_and_then_nothing_was_heard(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(deaf=True)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        thought_s = trio.current_time()
        failed_s = await box.until(Phase.TROUBLE)
        assert failed_s == pytest.approx(thought_s + 6.0, abs=0.002)
        assert box.daemon.conversation.trouble is Trouble.HEARD_NOTHING
        ends = [it for it in box.connection.messages if it["type"] == "ForceEndTurn"]
        assert len(ends) == 2
        assert is_whole(heard_by(box)[: -FORM.bytes_of(1.0)], tone(1.0))
        assert not any(heard_by(box)[-FORM.bytes_of(1.0) :])
        await box.until(Phase.RESTING)


async def test_no_answer_has_its_name(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(mute_turns=frozenset({1}), audio_done=False)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.TROUBLE)
        assert box.daemon.conversation.trouble is Trouble.NO_ANSWER
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)


# ── money ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_tap_costs_nothing(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.button.press()
        await trio.sleep(0.2)
        box.button.release()
        await trio.sleep(1.0)
        assert len(box.network.dials) == 1
        assert box.agent.connections == []
        assert box.daemon.meter.open_s(trio.current_time()) == 0
        assert box.at(Phase.ASLEEP)


async def test_it_hangs_up_with_a_close_frame_and_knows_how_long_it_was_billed(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[talk]\nhang_up_after_s = 5") as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        await box.until(Phase.ASLEEP)
        await trio.sleep(1.0)
        assert box.connection.close_code == 1000
        assert box.connection.closed_s is not None
        lasted_s = box.connection.closed_s - box.connection.opened_s
        assert box.daemon.meter.open_s(trio.current_time()) == pytest.approx(lasted_s, abs=0.01)
        assert box.daemon.conversation.link is Link.DOWN
        assert looks(box)[-1] == DARK.name


async def test_there_are_never_two_sockets(autojump_clock: MockClock) -> None:
    async with a_box("[talk]\nhang_up_after_s = 1") as box:
        dice = random.Random(5)
        for _ in range(60):
            box.button.press()
            box.room.say(tone(0.5))
            await trio.sleep(dice.choice([0.05, 0.2, 0.3, 0.8]))
            box.button.release()
            await trio.sleep(dice.choice([0.0, 0.1, 0.5, 2.0, 5.0]))
            if dice.random() < 0.2 and box.agent.connections:
                await box.connection.cut()
        assert box.network.open_most == 1


async def test_a_press_while_it_hangs_up_is_kept_and_answered(autojump_clock: MockClock) -> None:
    said = tone(1.0)
    async with a_box("[talk]\nhang_up_after_s = 1") as box:
        await box.say(said)
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        await box.until(Phase.ASLEEP)
        await box.say(said)
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), said)
        assert len(box.agent.connections) == 2


async def test_told_to_stop_it_closes_and_goes_in_any_phase(autojump_clock: MockClock) -> None:
    for wait_s in (0.1, 1.0, 1.25, 1.6, 3.0):
        async with a_box() as box:
            box.button.press()
            box.room.say(tone(1.0))
            with trio.move_on_after(wait_s):
                await trio.sleep(1.0)
                box.button.release()
                await trio.sleep_forever()
            began_s = trio.current_time()
            box.daemon.stop()
            await box.gone.wait()
            assert trio.current_time() - began_s < 0.5
            assert "STOPPING" in box.manager.told
            if box.agent.connections:
                assert box.connection.close_code == 1000


@pytest.mark.parametrize("mode", ["tap", "open"])
async def test_told_to_stop_while_it_listens_it_does_not_dial_again(
    autojump_clock: MockClock, mode: str
) -> None:
    async with a_box(f'[talk]\nmode = "{mode}"') as box:
        if mode == "tap":
            box.button.press()
            box.button.release()
        await trio.sleep(1.0)
        assert box.at(Phase.LISTENING)
        box.daemon.stop()
        await box.gone.wait()
        assert len(box.network.dials) == 1
        assert box.connection.close_code == 1000


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (401, Trouble.KEY_REFUSED),
        (403, Trouble.KEY_REFUSED),
        (402, Trouble.NO_CREDIT),
        (404, Trouble.NOT_FOUND),
    ],
)
async def test_a_refusal_is_named_and_not_repeated_until_the_next_press(
    status: int, trouble: Trouble, autojump_clock: MockClock
) -> None:
    async with a_box(manners=Manners(refuse_status=status)) as box:
        await box.say(tone(1.0))
        assert box.at(Phase.TROUBLE)
        assert box.daemon.conversation.trouble is trouble
        assert box.look.name == "triple blink"
        assert any(trouble.sentence in told for told in box.manager.told)
        await trio.sleep(300.0)
        assert len(box.network.dials) == 1
        await box.say(tone(1.0))
        assert len(box.network.dials) == 2
        assert box.daemon.meter.open_s(trio.current_time()) == 0


async def test_too_many_connections_are_waited_out_second_by_second(
    autojump_clock: MockClock,
) -> None:
    async with a_box(manners=Manners(refuse_status=429)) as box:
        await box.say(tone(1.0))
        await trio.sleep(5.0)
        assert box.daemon.conversation.trouble is Trouble.TOO_MANY
        gaps = [b - a for a, b in zip(box.network.dials[1:], box.network.dials[2:], strict=False)]
        assert gaps == pytest.approx([1.0] * len(gaps), abs=0.01)
        box.agent.manners = Manners()
        await box.until(Phase.SPEAKING)


async def test_an_agent_that_fails_is_named_and_the_words_wait(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(text_delay_s=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        await box.connection.say(
            {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "test"}
        )
        await trio.sleep(0.01)
        assert box.daemon.conversation.trouble is Trouble.SERVER_ERROR
        await box.until(Phase.SPEAKING)
        assert len(box.agent.connections) == 2


@pytest.mark.parametrize("words", ["{", "\u0000"])
async def test_garbage_is_named_and_survived(words: str, autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(text_delay_s=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        await box.connection.say_raw(words)
        await trio.sleep(0.01)
        assert box.daemon.conversation.trouble is Trouble.GARBAGE
        await box.until(Phase.SPEAKING)


@pytest.mark.parametrize("words", ["[]", '{"type": 5}', "{}", '{"type": "ConversationText"}'])
async def test_what_has_another_shape_costs_no_connection(
    words: str, autojump_clock: MockClock
) -> None:
    async with a_box(manners=Manners(text_delay_s=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        await box.connection.say_raw(words)
        await box.until(Phase.SPEAKING)
        assert len(box.agent.connections) == 1


async def test_what_it_does_not_know_is_let_pass(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(think_s=2.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        await box.connection.say({"type": "SomethingNew", "with": ["whatever"]})
        await box.until(Phase.SPEAKING)
        assert len(box.agent.connections) == 1


async def test_words_whose_answer_was_lost_are_asked_again_in_words(
    autojump_clock: MockClock,
) -> None:
    async with a_box(manners=Manners(think_s=5.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        await box.say(tone(2.0))
        await trio.sleep(1.0)
        await box.connection.cut()
        await box.until(Phase.SPEAKING)
        _, second = box.agent.connections
        asked = [it for it in second.messages if it["type"] == "InjectUserMessage"]
        assert [it["content"] for it in asked] == ["you spoke for 2.0 s"]
        assert second.settings is not None
        told = second.settings["agent"]["context"]["messages"]
        assert [(it["role"], it["content"]) for it in told] == [
            ("user", "you spoke for 1.0 s"),
            ("assistant", "You said: 1.0 s of sound."),
        ]
        assert not second.heard


async def test_an_answer_that_had_begun_is_not_repeated(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(answer_s=10.0, pace=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(2.0)
        await box.connection.cut()
        await box.until(Phase.TROUBLE)
        assert box.daemon.conversation.trouble is Trouble.LINK_LOST
        await trio.sleep(60.0)
        assert box.at(Phase.ASLEEP)
        assert len(box.agent.connections) == 1


# ── the cards ────────────────────────────────────────────────────────────────────────────────────


async def test_a_card_pulled_and_put_back_needs_no_restart(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.room.unplug()
        await box.say(tone(1.0))
        await trio.sleep(0.1)
        assert box.at(Phase.TROUBLE)
        await trio.sleep(20.0)
        assert box.daemon.status()["microphone"]["state"] == "missing"  # type: ignore[index]
        assert box.at(Phase.TROUBLE)
        box.room.plug()
        await box.until(Phase.ASLEEP, limit_s=6.0)
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)


async def test_a_speaker_pulled_while_it_speaks_ends_the_bill(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(answer_s=20.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(1.0)
        box.room.unplug()
        await box.until(Phase.TROUBLE)
        assert box.daemon.conversation.trouble is Trouble.SPEAKER_MISSING
        await trio.sleep(1.0)
        assert box.connection.close_code == 1000


# ── mute, tap, preroll ───────────────────────────────────────────────────────────────────────────


async def test_muted_while_held_nothing_more_leaves_the_box(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.button.press()
        box.room.say(tone(5.0))
        await trio.sleep(1.0)
        assert box.daemon.commands()["mute"]() == {
            "phase": "resting",
            "link": "up",
            "muted": True,
            "trouble": None,
        }
        heard = heard_by(box)
        await trio.sleep(10.0)
        assert heard_by(box) == heard
        assert box.look.name == "on with a dark wink"
        assert box.room.heard == []
        box.button.release()
        box.daemon.commands()["unmute"]()
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)


async def test_tap_converses_without_further_presses(autojump_clock: MockClock) -> None:
    async with a_box('[talk]\nmode = "tap"') as box:
        box.button.press()
        box.button.release()
        await trio.sleep(0.5)
        for hz in (300, 500):
            assert box.at(Phase.LISTENING)
            box.room.say(tone(1.0, hz=hz))
            await box.until(Phase.SPEAKING)
            assert tone(0.8, hz=hz)[4000:8000] in heard_by(box)
            await box.until(Phase.LISTENING)
        assert len(box.agent.connections) == 1
        await trio.sleep(2.0)
        box.button.press()
        box.button.release()
        assert box.at(Phase.ASLEEP)
        await trio.sleep(1.0)
        assert box.connection.close_code == 1000


async def test_tap_sends_zeros_while_an_answer_sounds_and_a_press_reopens(
    autojump_clock: MockClock,
) -> None:
    async with a_box('[talk]\nmode = "tap"', Manners(answer_s=10.0)) as box:
        box.button.press()
        box.button.release()
        await trio.sleep(0.5)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(0.1)
        begun = len(heard_by(box))
        box.room.say(tone(1.0, hz=900))
        await trio.sleep(1.2)
        shut = heard_by(box)[begun + 2000 :]
        assert shut
        assert set(shut) == {0}
        box.button.press()
        box.button.release()
        assert box.at(Phase.LISTENING)
        box.room.say(tone(1.0, hz=1200))
        await box.until(Phase.SPEAKING)
        assert tone(0.8, hz=1200)[4000:8000] in heard_by(box)


@pytest.mark.parametrize("duplex", ["half", "full"])
@pytest.mark.parametrize("phase", [Phase.LISTENING, Phase.THINKING, Phase.SPEAKING])
async def test_muted_in_tap_the_microphone_stands_still_in_every_phase(
    duplex: str, phase: Phase, autojump_clock: MockClock
) -> None:
    settings = f'[talk]\nmode = "tap"\nduplex = "{duplex}"'
    async with a_box(settings, Manners(think_s=1.0, answer_s=5.0)) as box:
        box.button.press()
        box.button.release()
        box.room.say(tone(1.0))
        await box.until(phase)
        await trio.sleep(0.5)
        box.daemon.commands()["mute"]()
        heard = heard_by(box)
        box.room.say(tone(5.0, hz=900))
        await trio.sleep(5.0)
        assert heard_by(box)[: len(heard)] == heard
        assert not any(heard_by(box)[len(heard) :])
        box.daemon.commands()["unmute"]()
        await box.until(Phase.LISTENING)
        box.room.say(tone(1.0, hz=500))
        await box.until(Phase.SPEAKING)
        assert tone(0.8, hz=500)[4000:8000] in heard_by(box)


async def test_the_preroll_is_sent_before_the_press(autojump_clock: MockClock) -> None:
    async with a_box("[talk]\npreroll_ms = 500") as box:
        await trio.sleep(2.0)
        said = tone(2.0)
        box.room.say(said)
        await trio.sleep(0.4)
        box.button.press()
        await trio.sleep(1.6)
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert said in heard_by(box)


async def test_a_muted_box_forgets_its_preroll(autojump_clock: MockClock) -> None:
    async with a_box("[talk]\npreroll_ms = 500") as box:
        box.room.say(tone(2.0))
        await trio.sleep(1.0)
        box.daemon.commands()["mute"]()
        await trio.sleep(0.1)
        heard = box.daemon.utterances.heard_bytes
        await trio.sleep(2.0)
        box.daemon.commands()["unmute"]()
        assert box.daemon.utterances.heard_bytes == heard
        await box.say(tone(1.0, hz=900))
        await box.until(Phase.SPEAKING)
        assert is_whole(heard_by(box), tone(1.0, hz=900))


async def test_an_asleep_box_hears_nothing(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.room.say(tone(1.0))
        await trio.sleep(2.0)
        assert box.daemon.utterances.heard_bytes == 0
        assert box.look == DARK
        box.button.press()
        assert box.look == STEADY


# ── our own mistakes ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [ZeroDivisionError, OSError, trio.ClosedResourceError])
async def test_a_bug_of_ours_ends_the_process(
    error: type[Exception], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_it(box: Box) -> None:
        def bug(**_: object) -> None:
            raise error

        monkeypatch.setattr(box.daemon.utterances, "take", bug)
        await box.say(tone(1.0))
        await trio.sleep(5.0)

    opened: Callable[[], AbstractAsyncContextManager[Box]] = a_box
    with pytest.raises(BaseExceptionGroup) as caught:
        async with opened() as box:
            await break_it(box)
    assert caught.group_contains((ZeroDivisionError, AssertionError))


async def test_random_outages_lose_no_word(autojump_clock: MockClock) -> None:
    """Cuts at random moments of many turns: each question reaches the agent whole, and is heard."""
    for seed in range(25):
        dice = random.Random(seed)
        said = tone(2.0, hz=300 + seed)
        async with a_box() as box:
            box.button.press()
            over_s = box.room.say(said)
            for _ in range(dice.randint(0, 3)):
                with trio.move_on_at(over_s - 0.01):
                    await trio.sleep(dice.uniform(0.1, 0.8))
                    if box.agent.connections:
                        await box.connection.cut()
            await trio.sleep_until(over_s)
            box.button.release()
            await box.until(Phase.SPEAKING)
            heard = heard_by(box)
            assert is_whole(heard, said), (seed, len(heard), len(said), heard.find(said[2:900]))
            for number in range(len(box.agent.connections) - 1):
                assert (said + bytes(TAIL)).startswith(heard_by(box, number)), seed
            assert box.network.open_most == 1


# ── the watchdog ─────────────────────────────────────────────────────────────────────────────────


async def test_a_box_is_alive_in_every_phase_and_while_its_cards_are_away(
    autojump_clock: MockClock,
) -> None:
    async with a_box(manners=Manners(answer_s=5.0)) as box:
        alive = box.daemon.is_alive
        await trio.sleep(3600.0)
        assert alive()
        box.button.press()
        assert alive(), "nobody had anything to look after until now"
        box.room.say(tone(3.0))
        for _ in range(300):
            await trio.sleep(0.01)
            assert alive()
        box.button.release()
        await box.until(Phase.SPEAKING)
        for _ in range(400):
            await trio.sleep(0.01)
            assert alive()
        box.room.unplug()
        await trio.sleep(3600.0)
        assert alive()


async def test_a_box_that_looks_after_no_card_any_more_is_not(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.button.press()
        await trio.sleep(1.0)
        box.daemon._microphone.plug._moved_s -= 3600.0
        assert not box.daemon.is_alive()
        await trio.sleep(0.1)
        assert box.daemon.is_alive()
