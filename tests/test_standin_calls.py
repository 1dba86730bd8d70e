"""The stand-in agent calls functions: when, which, and what becomes of what they give. In V1.

In virtual time over memory streams.
"""

import json
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.standin import calls
from appliance.standin.agent import EVERY_TURN, Call, Manners, StandinAgent
from appliance.standin.terms import Function, Mind
from tests.agent_client import MINI, Client, settings, talking, voice

END = {"type": "ForceEndTurn"}
VOLUME = {"name": "set_volume", "description": "Sets it.", "parameters": {"type": "object"}}
STATUS = {"name": "get_status", "description": "Tells it.", "parameters": {"type": "object"}}
SERVED = {
    "name": "get_weather",
    "description": "Tells.",
    "endpoint": {"url": "https://example.com"},
}
ASKED = {"type": "InjectUserMessage", "content": "what is the state"}


def with_functions(*functions: dict[str, Any], prompt: str = "Be brief.") -> dict[str, Any]:
    return settings(
        agent={"think": {"provider": MINI, "prompt": prompt, "functions": list(functions)}}
    )


def answer(call: dict[str, Any], content: str) -> dict[str, Any]:
    return {
        "type": "FunctionCallResponse",
        "id": call["id"],
        "name": call["name"],
        "content": content,
    }


async def called(client: Client, times: int = 1) -> list[dict[str, Any]]:
    """The functions of the request that comes as the so-manieth."""
    request = await client.until("FunctionCallRequest", times)
    functions: list[dict[str, Any]] = request["functions"]
    return functions


async def test_a_function_is_called_in_place_of_an_answer_which_follows_what_it_gave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume", '{"percent": 40}'),), think_s=0.5))
    async with talking(agent, with_functions(VOLUME)) as (client, connection):
        await client.send(voice(1.0), END)
        (call,) = await called(client)
        assert call.keys() == {"id", "name", "arguments", "client_side"}
        assert call["name"] == "set_volume"
        assert call["arguments"] == '{"percent": 40}'
        assert call["client_side"] is True
        assert client.time_of("FunctionCallRequest") == client.time_of("ConversationText") + 0.5
        await trio.sleep(9)
        asked_s = trio.current_time()
        await client.send(answer(call, "volume is 40"))
        await client.until("LatencyReport")
        assert client.kinds() == [
            *("UserStartedSpeaking", "ConversationText", "History", "AgentThinking"),
            *("FunctionCallRequest", "History", "ConversationText", "History"),
            *("AgentStartedSpeaking", "sound", "AgentAudioDone", "LatencyReport"),
        ]
        assert client.all("History")[1] == {
            "type": "History",
            "function_calls": [{**call, "response": "volume is 40"}],
        }
        said = client.all("ConversationText")[1]["content"]
        assert said == "You said: 1.0 s of sound. set_volume gave: volume is 40"
        assert client.time_of("sound") == asked_s + 0.5
        assert client.sound() == voice(1.0)
        client.clear()
        await client.send(voice(1.0), END)
        await client.until("AgentAudioDone")
        assert client.all("FunctionCallRequest") == []
        assert len(connection.messages) == 4


async def test_several_are_called_at_once_and_all_are_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wanted = (Call(EVERY_TURN, "set_volume"), Call(EVERY_TURN, "get_status", "not JSON", "sig"))
    agent = StandinAgent(Manners(calls=wanted))
    async with talking(agent, with_functions(STATUS, VOLUME)) as (client, _):
        for turn in (1, 2):
            await client.send(ASKED)
            volume, status = await called(client, turn)
            assert volume["id"] != status["id"]
            assert status["arguments"] == "not JSON"
            assert status["thought_signature"] == "sig"
            await client.send(answer(status, "good"))
            await trio.sleep(5)
            assert client.kinds()[-1] == "FunctionCallRequest"
            await client.send(answer(volume, "loud"))
            await client.until("LatencyReport", turn)
            said = client.all("ConversationText")[-1]["content"]
            assert said.endswith("set_volume gave: loud get_status gave: good")


async def test_history_is_told_of_calls_only_where_it_is_wanted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "get_status"),)))
    wanted = {**with_functions(STATUS), "flags": {"history": False}}
    async with talking(agent, wanted) as (client, _):
        await client.send(ASKED)
        await client.send(answer((await called(client))[0], "good"))
        await client.until("AgentAudioDone")
        assert client.all("History") == []


async def test_words_in_the_prompt_have_a_function_called_in_every_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    prompt = 'Always call set_volume {"percent": {"of": 40}}, and never call me late for dinner.'
    async with talking(StandinAgent(), with_functions(VOLUME, prompt=prompt)) as (client, _):
        for turn in (1, 2):
            await client.send(ASKED)
            (call,) = await called(client, turn)
            assert call["arguments"] == '{"percent": {"of": 40}}'
            await client.send(answer(call, "done"))
            await client.until("LatencyReport", turn)


async def test_words_in_a_question_have_a_function_called_in_that_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(), with_functions(VOLUME, STATUS)) as (client, _):
        question = 'call set_volume {"percent": 30} and call get_status'
        await client.send({"type": "InjectUserMessage", "content": question})
        volume, status = await called(client)
        assert (volume["name"], volume["arguments"]) == ("set_volume", '{"percent": 30}')
        assert (status["name"], status["arguments"]) == ("get_status", "{}")
        await client.send(answer(volume, ""), answer(status, ""))
        await client.until("LatencyReport")
        await client.send(ASKED)
        await client.until("LatencyReport", 2)
        assert len(client.all("FunctionCallRequest")) == 1


async def test_what_is_changed_in_the_mind_counts_from_the_next_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(), with_functions(VOLUME)) as (client, _):
        await client.send({"type": "UpdatePrompt", "prompt": "call set_volume"}, ASKED)
        await called(client)
        think = {"provider": MINI, "functions": [STATUS]}
        await client.send({"type": "UpdateThink", "think": [think]}, ASKED)
        await client.until("LatencyReport")
        assert len(client.all("FunctionCallRequest")) == 1
        await client.send({"type": "UpdatePrompt", "prompt": "call get_status"}, ASKED)
        assert (await called(client, 2))[0]["name"] == "get_status"


async def test_what_the_server_calls_itself_is_told_and_waited_for_by_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "get_weather"),)))
    async with talking(agent, with_functions(SERVED)) as (client, _):
        await client.send(ASKED)
        (call,) = await called(client)
        assert call["client_side"] is False
        await client.until("LatencyReport")
        assert client.kinds()[3:7] == [
            *("FunctionCallRequest", "FunctionCallResponse", "History", "ConversationText"),
        ]
        response = {
            "type": "FunctionCallResponse",
            "name": "get_weather",
            "content": calls.SERVED,
        }
        assert client.all("FunctionCallResponse") == [response]
        assert client.all("History")[1]["function_calls"][0]["response"] == calls.SERVED


async def test_both_kinds_at_once_wait_for_the_client(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "get_weather"), Call(1, "get_status"))))
    async with talking(agent, with_functions(SERVED, STATUS)) as (client, _):
        await client.send(ASKED)
        weather, status = await called(client)
        await client.send(answer(weather, "sunny"))  # which nobody asked of us
        await trio.sleep(5)
        assert client.kinds()[-1] == "FunctionCallResponse"
        await client.send(answer(status, "good"))
        await client.until("LatencyReport")
        said = client.all("ConversationText")[-1]["content"]
        assert f"get_weather gave: {calls.SERVED} get_status gave: good" in said


# What comes between.


async def test_calls_are_cancelled_if_the_user_goes_on_talking(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[str] = []
    agent = StandinAgent(
        Manners(calls=(Call(1, "set_volume"), Call(1, "get_status"))),
        tell=lambda _connection, words: told.append(words),
    )
    async with talking(agent, with_functions(VOLUME, STATUS)) as (client, _):
        await client.send(voice(1.0), END)
        volume, status = await called(client)
        await client.send(answer(volume, "done"))
        client.clear()
        await client.send(voice(0.2))
        await client.until("FunctionCallCancelled")
        assert client.kinds() == ["UserStartedSpeaking", "FunctionCallCancelled"]
        assert client.all("FunctionCallCancelled")[0]["functions"] == [
            {"id": status["id"], "name": "get_status"}
        ]
        await client.send(answer(status, "late"))
        await trio.sleep(5)
        assert told[-1] == f"answers a call that nobody waits for: {status['id']!r}"
        await client.send(voice(0.8), END)
        await client.until("AgentAudioDone")
        assert "gave" not in client.all("ConversationText")[-1]["content"]


async def test_a_user_who_talks_before_the_call_is_made_prevents_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),), think_s=2.0))
    async with talking(agent, with_functions(VOLUME)) as (client, _):
        await client.send(voice(1.0), END)
        await trio.sleep(1)
        await client.send(voice(0.2))
        await trio.sleep(5)
        assert client.all("FunctionCallRequest") == client.all("FunctionCallCancelled") == []


@pytest.mark.parametrize(
    "other", [ASKED, {"type": "InjectAgentMessage", "message": "stop", "behavior": "interrupt"}]
)
async def test_calls_are_cancelled_by_another_turn(
    other: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),)))
    async with talking(agent, with_functions(VOLUME)) as (client, _):
        await client.send(voice(1.0), END)
        (call,) = await called(client)
        await client.send(other)
        await client.until("FunctionCallCancelled")
        await client.send(answer(call, "late"))
        await client.until("AgentAudioDone")
        await trio.sleep(5)
        assert client.all("AgentAudioDone") == [{"type": "AgentAudioDone"}]


async def test_a_server_that_does_not_stop_waits_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),), stops_when_interrupted=False))
    async with talking(agent, with_functions(VOLUME)) as (client, _):
        await client.send(voice(1.0), END)
        (call,) = await called(client)
        await client.send(voice(0.2), answer(call, "done"))
        await client.until("AgentAudioDone")
        assert client.all("FunctionCallCancelled") == []


async def test_words_can_be_injected_while_functions_run_and_the_answer_comes_after(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),)))
    async with talking(agent, with_functions(VOLUME)) as (client, _):
        await client.send(voice(1.0), END)
        (call,) = await called(client)
        injected = {"type": "InjectAgentMessage", "message": "one moment"}
        await client.send(injected, {**injected, "behavior": "queue"}, answer(call, "done"))
        await client.until("AgentAudioDone", 2)
        assert len(client.all("InjectionRefused")) == 1
        spoken = [message["content"] for message in client.all("ConversationText")[1:]]
        assert spoken[0] == "one moment"
        assert spoken[1].endswith("set_volume gave: done")


# Faults.


async def test_a_function_that_was_not_declared_is_an_error_after_the_users_text(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "open_door"),), think_s=0.5))
    async with talking(agent, with_functions(VOLUME)) as (client, _):
        await client.send(voice(1.0), END)
        assert await client.until_closed() == 1005
        assert client.kinds()[1:] == ["ConversationText", "History", "AgentThinking", "Error"]
        assert client.all("Error")[0]["code"] == "NON_EXISTENT_FUNCTION_CALLED"
        assert client.time_of("Error") == client.time_of("ConversationText") + 0.5


@pytest.mark.parametrize(
    ("manners", "wanted"),
    [
        (Manners(calls_undeclared=True), with_functions(VOLUME)),
        (
            Manners(stored_agents=True),
            {**settings(), "agent": "12345678-1234-1234-1234-123456781234"},
        ),
    ],
)
async def test_a_function_that_nobody_knows_can_be_called_all_the_same(
    manners: Manners, wanted: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    agent = StandinAgent(
        Manners(
            calls=(Call(1, "open_door"),),
            calls_undeclared=manners.calls_undeclared,
            stored_agents=manners.stored_agents,
        )
    )
    async with talking(agent, wanted) as (client, _):
        await client.send(ASKED)
        (call,) = await called(client)
        assert (call["name"], call["client_side"]) == ("open_door", True)
        await client.send(answer(call, "there is no such function"))
        await client.until("AgentAudioDone")


async def test_muted_turns_call_nothing(autojump_clock: trio.testing.MockClock) -> None:
    agent = StandinAgent(Manners(calls=(Call(1, "set_volume"),), mute_turns=frozenset({1})))
    async with talking(agent, with_functions(VOLUME)) as (client, _):
        await client.send(ASKED)
        await trio.sleep(5)
        assert client.all("FunctionCallRequest") == []


# Which words ask for a call.


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", []),
        ("recall set_volume", []),
        ("call", []),
        ("call set_volume", [("set_volume", "{}")]),
        ("call set_volume.", [("set_volume", "{}")]),
        ('call a {"b": "}"}, call c', [("a", '{"b": "}"}'), ("c", "{}")]),
        ("call a {broken and call b", [("b", "{}")]),
        ("call a " + '{"b":' * 100_000, []),
    ],
)
def test_calls_are_asked_for_in_words(words: str, found: list[tuple[str, str]]) -> None:
    assert list(calls.asked(words)) == found


@given(st.text())
def test_no_words_are_too_odd(words: str) -> None:
    for name, arguments in calls.asked(f"call x {{{words}"):
        assert name
        json.loads(arguments)


def test_not_everything_is_called_that_is_asked_for() -> None:
    mind = Mind("call a " * 1000, (Function("a"),))
    assert len(calls.planned(Manners(), mind, 1, "")) == calls.AT_ONCE_MAX
