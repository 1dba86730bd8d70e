"""The stand-in agent in early access: the same agent in the older dialect's words.

In virtual time over memory streams. What both dialects share is tested in V1.
"""

import contextlib
import json
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.sound.companding import compress
from appliance.standin import early
from appliance.standin.agent import EARLY_PATH, Call, ForceEndTurn, Manners, StandinAgent
from appliance.standin.converse import Converse
from appliance.standin.terms import Fault
from appliance.standin.tongue import Tongue
from tests.agent_client import RATE_HZ, connected, hush, talking, voice

PAUSE = hush(0.5)  # ends a turn

VOLUME = {
    "name": "set_volume",
    "description": "Sets the volume.",
    "parameters": {"type": "object", "properties": {"percent": {"type": "integer"}}},
}


def settings(
    *,
    audio: dict[str, Any] | None = None,
    think: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    **top: Any,
) -> dict[str, Any]:
    sound = {"encoding": "linear16", "sample_rate": RATE_HZ}
    return {
        "type": "SettingsConfiguration",
        "audio": {"input": sound, "output": {**sound, "container": "none"}, **(audio or {})},
        "agent": {
            "listen": {"model": "nova-3"},
            "think": {
                "provider": {"type": "open_ai"},
                "model": "gpt-4o-mini",
                "instructions": "Be brief.",
                **(think or {}),
            },
            "speak": {"model": "aura-asteria-en"},
            **(agent or {}),
        },
        **top,
    }


def statements(*content: str) -> dict[str, Any]:
    """A context in which the user and the agent have spoken in turn."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": c} for n, c in enumerate(content)]}


async def test_a_turn_has_the_older_words_and_no_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(think_s=0.5, text_delay_s=0.25))
    async with talking(agent, settings(), EARLY_PATH) as (client, connection):
        await client.send(voice(1.0) + PAUSE)
        await client.until("AgentAudioDone")
        await trio.sleep(1)
        assert client.kinds() == [
            *("UserStartedSpeaking", "ConversationText", "AgentThinking"),
            *("ConversationText", "AgentStartedSpeaking", "sound", "AgentAudioDone"),
        ]
        assert client.all("AgentStartedSpeaking") == [
            {
                "type": "AgentStartedSpeaking",
                "total_latency": 0.75,
                "tts_latency": 0.0,
                "ttt_latency": 0.5,
            }
        ]
        assert client.all("ConversationText")[0] == {
            "type": "ConversationText",
            "role": "user",
            "content": "you spoke for 1.0 s",
        }
        assert client.sound() == voice(1.0)
        assert connection.settings == settings()
        assert connection.request.path == EARLY_PATH


async def test_welcome_does_not_wait_and_has_a_session_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(StandinAgent(), EARLY_PATH) as (client, _):
        ((at_s, welcome),) = client.log
        assert at_s == trio.current_time()
        assert welcome.keys() == {"type", "session_id"}
        assert len(welcome["session_id"]) == 36


async def test_only_silence_ends_a_turn(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent(), settings(), EARLY_PATH) as (client, _):
        await client.send(voice(0.5) + hush(0.48))
        await trio.sleep(5)
        assert client.kinds() == ["UserStartedSpeaking"]
        await client.send(hush(0.02))
        await client.until("ConversationText")
    agent = StandinAgent(Manners(force_end_turn=ForceEndTurn.HONOUR))
    async with talking(agent, settings(), EARLY_PATH) as (client, _):
        await client.send(voice(0.5), {"type": "ForceEndTurn"})
        assert await client.until_closed() == 1005


async def test_speech_stops_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    agent = StandinAgent(Manners(answer_s=60.0))
    async with talking(agent, settings(), EARLY_PATH) as (client, _):
        await client.send(voice(1.0) + PAUSE)
        await client.until("AgentStartedSpeaking")
        await trio.sleep(1)
        client.clear()
        await client.send(voice(0.2))
        await trio.sleep(5)
        assert client.kinds() == ["UserStartedSpeaking"]


# Settings.


async def test_the_last_statement_is_spoken_again_if_the_context_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent()
    context = {**statements("hi", "Hello there", "bye"), "replay": True}
    async with connected(agent, EARLY_PATH) as (client, connection):
        await client.send(settings(context=context))
        await client.until("AgentAudioDone")
        assert client.kinds() == [
            *("Welcome", "SettingsApplied", "ConversationText"),
            *("AgentStartedSpeaking", "sound", "AgentAudioDone"),
        ]
        assert client.all("ConversationText")[0]["content"] == "Hello there"
        assert connection.remembered == 3
    agent.manners = Manners(greets=False)
    async with talking(agent, settings(context=context), EARLY_PATH) as (client, _):
        await trio.sleep(5)
        assert client.log == []


@pytest.mark.parametrize(
    "context",
    [None, {}, statements("hi", "Hello"), {**statements("hi"), "replay": True}, {"replay": True}],
)
async def test_nothing_is_spoken_again_otherwise(
    context: dict[str, Any] | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(StandinAgent(), settings(context=context), EARLY_PATH) as (client, _):
        await trio.sleep(5)
        assert client.log == []


@pytest.mark.parametrize(
    "good",
    [
        settings(audio={"input": None, "output": None}),
        settings(think={"instructions": None, "functions": None}),
        settings(agent={"speak": None}),
        settings(agent={"speak": {"provider": "eleven_labs", "voice_id": "x"}}),
        settings(agent={"listen": {"model": "nova-3", "keyterms": ["Deepgram"]}}),
        settings(think={"functions": [VOLUME]}),
        settings(
            think={
                "provider": {
                    "type": "custom",
                    "url": "https://example.com",
                    "headers": [{"key": "a", "value": "b"}],
                }
            }
        ),
        settings(
            think={
                "functions": [
                    {
                        **VOLUME,
                        "url": "https://example.com",
                        "method": "post",
                        "headers": [{"key": "authorization", "value": "Bearer x"}],
                    }
                ]
            }
        ),
        {**settings(), "audio": None},
        {
            "type": "SettingsConfiguration",
            "audio": {},
            "agent": {"think": {"provider": {"type": "groq"}, "model": "x"}},
        },
    ],
)
async def test_what_the_description_allows_is_taken(
    good: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(StandinAgent(), good, EARLY_PATH) as (client, connection):
        assert client.log == []
        assert connection.settings == good


@pytest.mark.parametrize(
    "frame",
    [
        b"\0\0",
        {"type": "KeepAlive"},
        {"type": "InjectAgentMessage", "message": "hi"},
        {"type": "Settings", "audio": {}, "agent": {}},
        {"type": "SettingsConfiguration", "agent": settings()["agent"]},
        {"type": "SettingsConfiguration", "audio": {}},
        {"type": "SettingsConfiguration", "audio": {}, "agent": {}},
        {"type": "SettingsConfiguration", "audio": {}, "agent": None},
        settings(extra=1),
        settings(agent={"context": {"messages": []}}),
        settings(agent={"greeting": "hi"}),
        settings(agent={"listen": {"provider": {"type": "deepgram"}}}),
        settings(agent={"listen": None}),
        settings(agent={"speak": {"provider": {"type": "deepgram", "model": "aura-asteria-en"}}}),
        settings(agent={"speak": {"model": None}}),
        settings(agent={"speak": {"provider": "eleven_labs"}}),
        settings(agent={"speak": {"voice_id": "x"}}),
        settings(think={"prompt": "Be brief."}),
        settings(think={"model": None}),
        settings(think={"provider": {"type": "deepgram"}}),
        settings(think={"provider": {"type": "custom"}}),
        settings(think={"provider": {"type": "groq", "url": "https://example.com"}}),
        settings(think={"functions": [{**VOLUME, "defer_until_eot": True}]}),
        settings(think={"functions": [{"description": "no name"}]}),
        settings(context={"messages": [{"type": "History", "role": "user", "content": "hi"}]}),
        settings(context={"messages": [{"role": "system", "content": "hi"}]}),
        settings(context={"messages": None}),
        settings(context={"replay": None}),
        settings(audio={"input": {"encoding": "opus"}}),
        settings(audio={"input": {"encoding": "linear16", "sample_rate": 0}}),
        settings(audio={"output": {"encoding": "mp3", "bitrate": 48000}}),
        settings(audio={"output": {"sample_rate": 44100}}),
        settings(audio={"output": {"encoding": "mulaw"}}),  # which has no 24000
        settings(audio={"output": {"container": "wav"}}),
        settings(audio={"output": {"bitrate": 48000}}),
    ],
)
async def test_a_wrong_beginning_is_an_error_in_words_and_the_end(
    frame: dict[str, Any] | bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected(StandinAgent(), EARLY_PATH) as (client, connection):
        await client.send(frame)
        assert await client.until_closed() == 1005
        assert client.kinds() == ["Welcome", "Error"]
        (error,) = client.all("Error")
        assert error.keys() == {"type", "message"}
        assert error["message"]
    assert connection.settings is None


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        b"",
        '{"type": "ForceEndTurn"}',
        '{"type": "InjectUserMessage", "content": "hi"}',
        '{"type": "UpdatePrompt", "prompt": "Be long."}',
        '{"type": "UpdateSpeak", "speak": {"provider": {}}}',
        '{"type": "UpdateInstructions", "prompt": "Be long."}',
        '{"type": "InjectAgentMessage", "message": "hi", "behavior": "queue"}',
        '{"type": "FunctionCallResponse", "id": "1", "name": "a", "content": "b"}',
        '{"type": "KeepAlive", "now": 1}',
        json.dumps(settings()),
    ],
)
async def test_a_wrong_message_later_is_an_error_in_words_and_the_end(
    frame: str | bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(StandinAgent(), settings(), EARLY_PATH) as (client, _):
        await client.websocket.send_message(frame)
        assert await client.until_closed() == 1005
        ((_, error),) = client.log
        assert error["type"] == "Error"
        assert error.keys() == {"type", "message"}


async def test_silence_on_the_line_is_a_timeout_in_the_words_that_were_seen(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(), settings(), EARLY_PATH) as (client, _):
        await trio.sleep(9)
        await client.send({"type": "KeepAlive"})
        alive_s = trio.current_time()
        assert await client.until_closed() == 1005
        assert trio.current_time() == alive_s + 10
        assert client.all("Error") == [
            {
                "type": "Error",
                "message": "We waited too long for a websocket message. Please ensure that you're "
                "sending binary messages containing user speech.",
            }
        ]


async def test_a_session_can_fail_on_demand_in_its_own_dialect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(), settings(), EARLY_PATH) as (client, connection):
        warning = {"type": "Warning", "code": "API_CUTOVER_SOON", "description": "Go away."}
        await connection.say(warning)
        await connection.fail("", "The end.")
        assert await client.until_closed() == 1005
        assert [message for _, message in client.log] == [
            warning,
            {"type": "Error", "message": "The end."},
        ]


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
async def test_sound_is_companded_if_the_settings_say_so(
    encoding: str, autojump_clock: trio.testing.MockClock
) -> None:
    sound = {"encoding": encoding, "sample_rate": 8000}
    wanted = settings(audio={"input": sound, "output": sound})
    async with talking(StandinAgent(), wanted, EARLY_PATH) as (client, connection):
        spoken = compress(voice(1.0, 8000), encoding)
        await client.send(spoken + compress(hush(0.5, 8000), encoding))
        await client.until("AgentAudioDone")
        assert client.sound() == spoken
        assert len(connection.heard) == 12000


# Other messages.


async def test_updates_are_acknowledged(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent(), settings(), EARLY_PATH) as (client, _):
        await client.send(
            {"type": "UpdateInstructions", "instructions": "Be long."},
            {"type": "UpdateSpeak", "model": "aura-luna-en"},
        )
        await client.until("SpeakUpdated")
        assert [message for _, message in client.log] == [
            {"type": "InstructionsUpdated"},
            {"type": "SpeakUpdated"},
        ]


async def test_an_injected_statement_is_said_or_refused_without_a_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(), settings(), EARLY_PATH) as (client, _):
        injected = {"type": "InjectAgentMessage", "message": "one moment"}
        await client.send(voice(1.0), injected)
        await client.until("InjectionRefused")
        await client.send(PAUSE, injected)
        await client.until("InjectionRefused", 2)
        await client.until("AgentAudioDone")
        await client.send(injected)
        await client.until("AgentAudioDone", 2)
        assert client.all("ConversationText")[-1]["content"] == "one moment"
        assert client.all("InjectionRefused") == [{"type": "InjectionRefused"}] * 2


# Functions.


async def test_functions_are_called_one_by_one_and_the_answer_waits_for_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    calls = (Call(1, "set_volume", '{"percent": 40}'), Call(1, "set_volume", "not JSON"))
    agent = StandinAgent(Manners(calls=calls, think_s=0.5))
    wanted = settings(think={"functions": [VOLUME]})
    async with talking(agent, wanted, EARLY_PATH) as (client, _):
        await client.send(voice(1.0) + PAUSE)
        await client.until("FunctionCallRequest", 2)
        first, second = client.all("FunctionCallRequest")
        assert first.keys() == {"type", "function_name", "function_call_id", "input"}
        assert (first["function_name"], first["input"]) == ("set_volume", {"percent": 40})
        assert second["input"] == "not JSON"  # models do not always write it
        assert client.time_of("FunctionCallRequest") == client.time_of("ConversationText") + 0.5

        def answer(call: dict[str, Any], output: str) -> dict[str, Any]:
            call_id = call["function_call_id"]
            kind = "FunctionCallResponse"
            return {"type": kind, "function_call_id": call_id, "output": output}

        await client.send(answer(second, "refused"))
        await trio.sleep(5)
        assert client.kinds()[-1] == "FunctionCallRequest"
        await client.send(answer(first, "done"))
        await client.until("AgentAudioDone")
        assert client.kinds() == [
            *("UserStartedSpeaking", "ConversationText", "AgentThinking"),
            *("FunctionCalling", "FunctionCallRequest", "FunctionCallRequest", "FunctionCalling"),
            *("ConversationText", "AgentStartedSpeaking", "sound", "AgentAudioDone"),
        ]
        assert client.all("ConversationText")[1]["content"] == (
            "You said: 1.0 s of sound. set_volume gave: done set_volume gave: refused"
        )
        assert client.sound() == voice(1.0)


async def test_the_instructions_can_have_a_function_called(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(announces=False))
    wanted = settings(think={"functions": [VOLUME]})
    async with talking(agent, wanted, EARLY_PATH) as (client, _):
        words = 'Always call set_volume {"percent": 10} when I stop.'
        await client.send({"type": "UpdateInstructions", "instructions": words}, voice(1.0) + PAUSE)
        request = await client.until("FunctionCallRequest")
        assert request["input"] == {"percent": 10}
        assert client.all("FunctionCalling") == []


async def test_an_injected_statement_is_said_while_a_function_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),)))
    wanted = settings(think={"functions": [VOLUME]})
    async with talking(agent, wanted, EARLY_PATH) as (client, _):
        await client.send(voice(1.0) + PAUSE)
        await client.until("FunctionCallRequest")
        await client.send({"type": "InjectAgentMessage", "message": "shall I"})
        await client.until("AgentAudioDone")
        assert client.all("InjectionRefused") == []


async def test_a_call_that_the_user_talks_over_is_dropped_without_a_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),)))
    wanted = settings(think={"functions": [VOLUME]})
    async with talking(agent, wanted, EARLY_PATH) as (client, _):
        await client.send(voice(1.0) + PAUSE)
        call_id = (await client.until("FunctionCallRequest"))["function_call_id"]
        client.clear()
        await client.send(voice(0.2))
        late = {"type": "FunctionCallResponse", "function_call_id": call_id, "output": "done"}
        await client.send(late)
        await trio.sleep(5)
        assert client.kinds() == ["UserStartedSpeaking"]


async def test_what_the_server_calls_itself_is_not_asked_of_the_client(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),)))
    served = {**VOLUME, "url": "https://example.com"}
    wanted = settings(think={"functions": [served]})
    async with talking(agent, wanted, EARLY_PATH) as (client, _):
        await client.send(voice(1.0) + PAUSE)
        await client.until("AgentAudioDone")
        assert client.kinds()[3:6] == ["FunctionCalling", "FunctionCalling", "ConversationText"]


def test_the_shapes_can_be_read_without_a_connection() -> None:
    read = early.read(json.dumps(settings()))
    assert isinstance(read, early.SettingsConfiguration)
    early.check(read)


TYPES = ("Settings", "SettingsConfiguration", "UpdateSpeak", "FunctionCallResponse", "KeepAlive")
FIELDS = st.sampled_from(
    (
        *("audio", "agent", "input", "output", "encoding", "sample_rate", "think", "speak", "id"),
        *("provider", "type", "model", "messages", "functions", "url", "name", "content", "x"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(TYPES), st.dictionaries(FIELDS, JSON, max_size=5), st.booleans())
def test_nothing_that_a_client_says_is_more_than_a_fault(
    kind: str, fields: dict[str, Any], is_early: bool
) -> None:
    tongue: Tongue = early.EarlyAccess() if is_early else Converse(stored_agents=False)
    for frame in (json.dumps({**fields, "type": kind}), json.dumps(settings())):
        with contextlib.suppress(Fault):
            tongue.read(frame)
