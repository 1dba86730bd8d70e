"""The far end in a whole box: what is remembered, said in words, spent; and the other dialect."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance import mind
from appliance.conversation import Phase
from appliance.errors import Trouble
from appliance.host.command import Output
from appliance.host.remote import CommandError
from appliance.standin.agent import Manners
from appliance.standin.manners import Call
from tests.box import Box, a_box, tone

EARLY = '[agent]\nurl = "ws://127.0.0.1:9/agent"\n'
OPEN = '[talk]\nmode = "open"\nmax_conversation_s = 0\n'


def context(box: Box) -> list[tuple[str, str]]:
    """What the newest session was told of earlier ones."""
    settings: dict[str, Any] = box.connection.settings or {}
    holder = settings.get("agent", {}) if settings.get("type") == "Settings" else settings
    messages = holder.get("context", {}).get("messages", [])
    return [(it["role"], it["content"]) for it in messages]


def order(box: Box, name: str, **words: object) -> object:
    return box.daemon.commands()[name](**words)


async def ask(box: Box, seconds: float = 1.0) -> None:
    await box.say(tone(seconds))
    await box.until(Phase.SPEAKING)
    await box.until(Phase.RESTING)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_next_session_is_told_what_was_said_in_the_last(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[talk]\nhang_up_after_s = 1") as box:
        await ask(box)
        assert context(box) == []
        await box.until(Phase.ASLEEP)
        await ask(box, 2.0)
        assert len(box.agent.connections) == 2
        assert context(box) == [
            ("user", "you spoke for 1.0 s"),
            ("assistant", "You said: 1.0 s of sound."),
        ]


async def test_what_is_too_old_is_not_told(autojump_clock: MockClock) -> None:
    async with a_box("[talk]\nhang_up_after_s = 1\nremember_for_s = 30") as box:
        await ask(box)
        await trio.sleep(40.0)
        await ask(box)
        assert context(box) == []


async def test_what_is_forgotten_is_not_told(autojump_clock: MockClock) -> None:
    async with a_box("[talk]\nhang_up_after_s = 600") as box:
        await ask(box)
        order(box, "forget")
        assert box.at(Phase.ASLEEP)
        await ask(box)
        assert len(box.agent.connections) == 2
        assert context(box) == []


async def test_of_an_answer_that_was_cut_only_what_had_begun_is_told(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[talk]\nhang_up_after_s = 1", Manners(answer_s=8.0, pace=1.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(1.0)
        await box.connection.say(
            {"type": "ConversationText", "role": "assistant", "content": "Nobody hears this."}
        )
        box.button.press()
        await trio.sleep(0.1)
        box.button.release()
        await box.until(Phase.ASLEEP)
        box.agent.manners = Manners()
        await ask(box)
        assert context(box) == [
            ("user", "you spoke for 1.0 s"),
            ("assistant", "You said: 1.0 s of sound."),
        ]


# ── words in place of sound ──────────────────────────────────────────────────────────────────────


async def test_ask_wakes_the_box_and_is_answered(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        order(box, "ask", text="What time is it?")
        await box.until(Phase.SPEAKING)
        asked = [it for it in box.connection.messages if it["type"] == "InjectUserMessage"]
        assert [it["content"] for it in asked] == ["What time is it?"]
        await box.until(Phase.RESTING)


async def test_say_is_said_on_the_connection_that_stands(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        await ask(box)
        order(box, "say", text="Dinner is ready.")
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        assert len(box.agent.connections) == 1
        said = [it for it in box.connection.messages if it["type"] == "InjectAgentMessage"]
        assert [it["message"] for it in said] == ["Dinner is ready."]


async def test_while_somebody_talks_words_are_declined(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        box.button.press()
        with pytest.raises(CommandError, match="listening"):
            order(box, "ask", text="What time is it?")
        with pytest.raises(CommandError, match="wanted words"):
            order(box, "say", text=" ")


async def test_prompt_and_voice_change_this_connection_and_those_that_follow(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[talk]\nhang_up_after_s = 1") as box:
        await ask(box)
        assert order(box, "prompt", text="Be brief.") == {"now": True}
        assert order(box, "voice", model="flux-kit-en") == {"now": True}
        await box.until(Phase.ASLEEP)
        names = [it["type"] for it in box.connection.messages]
        assert {"UpdatePrompt", "UpdateSpeak"} <= set(names)
        await ask(box)
        agent = (box.connection.settings or {})["agent"]
        assert agent["think"]["prompt"].startswith("Be brief.\n")
        assert agent["speak"]["provider"]["model"] == "flux-kit-en"


async def test_a_block_changes_this_connection_and_those_that_follow(
    autojump_clock: MockClock,
) -> None:
    mind = {"provider": {"type": "anthropic", "model": "claude-haiku"}}
    async with a_box("[talk]\nhang_up_after_s = 1") as box:
        await ask(box)
        assert order(box, "change", block="think", table=mind) == {"now": True}
        await box.until(Phase.ASLEEP)
        [told] = [it for it in box.connection.messages if it["type"] == "UpdateThink"]
        assert told["think"]["provider"] == mind["provider"]
        assert told["think"]["prompt"]  # it takes the place of the whole block
        assert [one["name"] for one in told["think"]["functions"]]
        await ask(box)
        assert (box.connection.settings or {})["agent"]["think"] == told["think"]


@pytest.mark.parametrize(
    ("block", "table", "words"),
    [
        ("ears", {}, "one of the blocks listen, think, speak, think_live"),
        ("listen", "nova-3", "the whole table of listen"),
        ("speak", {"model": "aura-2"}, "early-access shape"),
    ],
)
async def test_a_block_that_would_be_refused_is_refused_here(
    autojump_clock: MockClock, block: str, table: object, words: str
) -> None:
    async with a_box() as box:
        with pytest.raises(CommandError, match=words):
            order(box, "change", block=block, table=table)


async def test_what_is_by_invitation_is_said_where_there_is_somebody_to_hear_it(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        with pytest.raises(CommandError, match="no connection"):
            order(box, "to_think_provider", content={"mood": "calm"})
        with pytest.raises(CommandError, match="default, queue, interrupt"):
            order(box, "improvise", behavior="loud")
        await ask(box)
        order(box, "to_think_provider", content={"mood": "calm"})
        await box.until(Phase.ASLEEP)  # nobody has invited us: the server ends it


# ── money ────────────────────────────────────────────────────────────────────────────────────────


async def test_at_the_cap_the_answer_is_finished_and_then_nothing_is_dialled(
    autojump_clock: MockClock,
) -> None:
    settings = "[spend]\nusd_per_hour = 3.6\nusd_per_day_max = 0.005"  # five seconds
    async with a_box(settings, Manners(answer_s=8.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(7.0)
        assert box.at(Phase.SPEAKING)
        await box.until(Phase.TROUBLE)
        assert box.daemon.conversation.trouble is Trouble.CAP_REACHED
        assert box.look.name == "long and short"
        dials = len(box.network.dials)
        await box.say(tone(1.0))
        await trio.sleep(5.0)
        assert len(box.network.dials) == dials
        report: Any = order(box, "spend")
        assert report["caps"]["reached"] == "day"
        assert report["today"]["seconds"] == pytest.approx(
            box.daemon.meter.open_s(trio.current_time()), abs=0.01
        )


async def test_each_turn_leaves_one_record_without_words(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        await ask(box)
        await ask(box, 2.0)
        records: list[dict[str, Any]] = [it for it in box.events if it["event"] == "turn"]
        assert [it["outcome"] for it in records] == ["answered", "answered"]
        for record in records:
            times = [record[name] for name in record if name.endswith("_s")]
            assert all(isinstance(time_s, float) for time_s in times)
            assert times == sorted(times)
            assert record["request_id"] == box.daemon.status()["request_id"]
            assert "text" not in record


# ── functions ────────────────────────────────────────────────────────────────────────────────────

LIGHTS = """
[[tools]]
name = "lights"
description = "Switch the lights."
command = ["/bin/lights"]
confirm = "{confirm}"
[tools.parameters]
type = "object"
required = ["on"]
properties = {{ on = {{ type = "boolean" }} }}
"""


class Runner:
    """Commands that take three seconds, and what they were given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        output_max: int,
        environ: Mapping[str, str],
    ) -> Output:
        self.given.append(stdin)
        await trio.sleep(3.0)
        return Output(0, b"the lights are on", b"", truncated=False, timed_out=False)


def answers_of(box: Box) -> list[str]:
    return [
        str(it.get("content", it.get("output")))
        for it in box.connection.messages
        if it["type"] == "FunctionCallResponse"
    ]


@pytest.mark.parametrize("early", ["", EARLY])
async def test_the_agent_calls_a_command_and_then_answers(
    early: str, autojump_clock: MockClock
) -> None:
    runner = Runner()
    manners = Manners(calls=(Call(1, "lights", '{"on": true}'),))
    settings = early + LIGHTS.format(confirm="")
    async with a_box(settings, manners, run_command=runner) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert runner.given == [b'{"on":true}']
        assert answers_of(box) == ["the lights are on"]


@pytest.mark.parametrize("arguments", ["{}", "nonsense", '{"on": "yes"}'])
async def test_wrong_arguments_are_answered_in_words_and_the_turn_goes_on(
    arguments: str, autojump_clock: MockClock
) -> None:
    runner = Runner()
    manners = Manners(calls=(Call(1, "lights", arguments),))
    async with a_box(LIGHTS.format(confirm=""), manners, run_command=runner) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert runner.given == []
        assert len(answers_of(box)) == 1


@pytest.mark.parametrize("presses", [True, False])
async def test_a_press_allows_what_the_lamp_asks(presses: bool, autojump_clock: MockClock) -> None:
    runner = Runner()
    manners = Manners(calls=(Call(1, "lights", '{"on": true}'),))
    async with a_box(LIGHTS.format(confirm="button"), manners, run_command=runner) as box:
        await box.say(tone(1.0))
        await trio.sleep(1.0)
        assert box.look.name == "hurried, mostly on"
        said = [it for it in box.connection.messages if it["type"] == "InjectAgentMessage"]
        assert said[0]["message"] == "May I run lights? Press the button to allow it."
        if presses:
            box.button.press()
            box.button.release()
        await trio.sleep(12.0)
        assert len(runner.given) == presses
        [answer] = answers_of(box)
        assert ("did not allow" in answer) is not presses
        assert box.look.name != "hurried, mostly on"


async def test_a_german_box_asks_in_german(autojump_clock: MockClock) -> None:
    manners = Manners(calls=(Call(1, "lights", '{"on": true}'),))
    settings = '[cues]\nlanguage = "de"\n' + LIGHTS.format(confirm="button")
    async with a_box(settings, manners, run_command=Runner()) as box:
        await box.say(tone(1.0))
        await trio.sleep(1.0)
        said = [it for it in box.connection.messages if it["type"] == "InjectAgentMessage"]
        assert said[0]["message"].startswith("Darf ich lights ausführen?")


async def test_the_volume_is_set_by_command_and_by_function(autojump_clock: MockClock) -> None:
    manners = Manners(calls=(Call(2, "set_volume", '{"level": 50}'),))
    async with a_box(manners=manners) as box:
        order(box, "volume", level=100)
        await ask(box)
        loud = max(array("h", bytes(box.room.heard[-1][1])))
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        half = max(array("h", bytes(box.room.heard[-1][1])))
        assert half == pytest.approx(loud / 10, rel=0.01)  # -20 dB
        with pytest.raises(CommandError, match="from 0 to 100"):
            order(box, "volume", level="loud")


async def test_a_permission_does_not_outlive_its_call(autojump_clock: MockClock) -> None:
    manners = Manners(calls=(Call(1, "lights", '{"on": true}'),))
    async with a_box(LIGHTS.format(confirm="button"), manners, run_command=Runner()) as box:
        await box.say(tone(1.0))
        await trio.sleep(1.0)
        await box.connection.cut()
        await trio.sleep(0.1)
        box.agent.manners = Manners()
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert len(box.agent.connections) == 2


async def test_a_long_command_is_waited_for(autojump_clock: MockClock) -> None:
    async def run(*_: object, **__: object) -> Output:
        await trio.sleep(45.0)
        return Output(0, b"done at last", b"", truncated=False, timed_out=False)

    manners = Manners(calls=(Call(1, "lights", '{"on": true}'),))
    settings = LIGHTS.format(confirm="").replace("[tools.param", "timeout_s = 60\n[tools.param")
    async with a_box(settings, manners, run_command=run) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert answers_of(box) == ["done at last"]


async def test_the_agent_can_end_the_conversation_and_mute(autojump_clock: MockClock) -> None:
    manners = Manners(calls=(Call(1, "end_conversation"), Call(2, "mute_microphone")))
    async with a_box(manners=manners) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.ASLEEP)
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert box.daemon.conversation.muted


async def test_a_function_that_had_begun_is_not_repeated(autojump_clock: MockClock) -> None:
    runner = Runner()
    manners = Manners(calls=(Call(1, "lights", '{"on": true}'),))
    async with a_box(LIGHTS.format(confirm=""), manners, run_command=runner) as box:
        await box.say(tone(1.0))
        await trio.sleep(2.0)
        await box.connection.cut()
        await trio.sleep(20.0)
        assert len(runner.given) == 1
        assert len(box.agent.connections) == 1
        assert box.daemon.conversation.trouble is Trouble.LINK_LOST


# ── open ─────────────────────────────────────────────────────────────────────────────────────────


async def test_open_is_connected_from_the_start_greets_once_and_converses(
    autojump_clock: MockClock,
) -> None:
    async with a_box(OPEN + '[agent]\ngreeting = "Hello."') as box:
        await trio.sleep(5.0)
        assert len(box.agent.connections) == 1
        assert (box.connection.settings or {})["agent"]["greeting"] == "Hello."
        await box.until(Phase.LISTENING)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.LISTENING)
        await trio.sleep(100.0)
        await box.connection.cut()
        await trio.sleep(2.0)
        assert len(box.agent.connections) == 2
        assert "greeting" not in (box.connection.settings or {})["agent"]
        assert ("user", "you spoke for 1.0 s") in context(box)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)


async def test_open_greets_once_though_it_is_lost_before_anybody_spoke(
    autojump_clock: MockClock,
) -> None:
    async with a_box(OPEN + '[agent]\ngreeting = "Hello."') as box:
        for _ in range(4):
            await trio.sleep(60.0)
            await box.connection.cut()
        await trio.sleep(60.0)
        greetings = ["greeting" in (it.settings or {})["agent"] for it in box.agent.connections]
        assert greetings == [True, False, False, False, False]
        box.daemon.commands()["forget"]()
        await trio.sleep(60.0)
        assert (box.connection.settings or {})["agent"]["greeting"] == "Hello."


async def test_open_ends_by_its_limit_and_its_cap_and_a_new_day_brings_it_back(
    autojump_clock: MockClock,
) -> None:
    async with a_box('[talk]\nmode = "open"\nmax_conversation_s = 60') as box:
        await trio.sleep(1000.0)
        assert len(box.network.dials) == 1
        assert box.at(Phase.ASLEEP)
    settings = OPEN + "[spend]\nusd_per_hour = 3.6\nusd_per_day_max = 0.01"  # ten seconds
    async with a_box(settings) as box:
        await trio.sleep(12.0)
        assert box.daemon.conversation.trouble is Trouble.CAP_REACHED
        assert box.daemon.meter.open_s(trio.current_time()) == pytest.approx(10.0, abs=0.2)
        await trio.sleep(100.0)
        assert len(box.network.dials) == 1


async def test_a_session_is_renewed_before_it_ends_and_nobody_notices(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mind, "RENEWAL_S", 66.0)
    async with a_box(OPEN) as box:
        await trio.sleep(1.0)
        await box.until(Phase.LISTENING)
        await trio.sleep(80.0)
        assert len(box.agent.connections) == 2
        assert box.agent.connections[0].close_code == 1000
        assert box.network.open_most == 1
        assert box.at(Phase.LISTENING)


# ── the other dialect ────────────────────────────────────────────────────────────────────────────


async def test_a_conversation_in_early_access(autojump_clock: MockClock) -> None:
    async with a_box(EARLY + "[talk]\nhang_up_after_s = 1") as box:
        await ask(box)
        assert box.daemon.status()["dialect"] == "early-access"
        assert (box.connection.settings or {})["type"] == "SettingsConfiguration"
        await box.until(Phase.ASLEEP)
        await ask(box)
        assert len(context(box)) == 2
        with pytest.raises(CommandError, match="no words"):
            order(box, "ask", text="What time is it?")


async def test_in_early_access_words_whose_answer_was_lost_are_asked_again_by_their_sound(
    autojump_clock: MockClock,
) -> None:
    async with a_box(EARLY, Manners(think_s=5.0)) as box:
        await box.say(tone(1.0))
        await box.until(Phase.THINKING)
        await trio.sleep(3.0)
        assert any(event["event"] == "you said" for event in box.events)
        await box.connection.cut()
        await box.until(Phase.SPEAKING, limit_s=30.0)
        _, second = box.agent.connections
        assert bytes(second.heard).startswith(tone(1.0))
        assert context(box) == []


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
async def test_a_thin_link_carries_half_the_bytes(encoding: str, autojump_clock: MockClock) -> None:
    settings = f'[audio]\nencoding = "{encoding}"\nrate_hz = 16000'
    async with a_box(settings) as box:
        await ask(box)
        assert len(box.connection.heard) == pytest.approx(1.2 * 16000, abs=700)
        assert len(box.spoken()) > 1.0 * 32000
