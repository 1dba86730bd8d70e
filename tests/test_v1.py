"""The V1 dialect, frame by frame: what we send, to the letter, and all that we may be sent.

What is sent is read by the stand-in's strict reader besides: it refuses what the real server's
schema does not know. What is received is written as the official AsyncAPI of July 2026 has it,
with the fields that newer servers send and the ones that were seen to be missing.
"""

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.agent import v1
from appliance.agent.messages import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentText,
    AgentThinking,
    Ask,
    Behavior,
    Call,
    Called,
    Changed,
    ChangeListen,
    ChangePrompt,
    ChangeThink,
    ChangeThinkLive,
    ChangeVoice,
    EndTurn,
    Failed,
    FromAgent,
    FromThinkProvider,
    Frustrated,
    Function,
    FunctionAnswer,
    FunctionAnswered,
    FunctionsCancelled,
    FunctionsWanted,
    Improvise,
    KeepAlive,
    Latencies,
    Misshapen,
    Remembered,
    Said,
    Say,
    SayRefused,
    Settings,
    SettingsApplied,
    Side,
    ToAgent,
    ToThinkProvider,
    TurnEnded,
    Unhandled,
    UserStartedSpeaking,
    UserText,
    Warned,
    Welcome,
)
from appliance.config import parse
from appliance.errors import AgentMisspoke, Retry, Trouble
from appliance.standin import schema, values
from appliance.standin.terms import Fault

FLUX: dict[str, object] = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
NOVA: dict[str, object] = {"type": "deepgram", "version": "v1", "model": "nova-3"}
AURA: dict[str, object] = {"type": "deepgram", "model": "aura-2-thalia-en"}
FLUX_VOICE: dict[str, object] = {"type": "deepgram", "version": "v2", "model": "flux-kit-en"}
MINI: dict[str, object] = {"type": "open_ai", "model": "gpt-4o-mini"}
CLAUDE: dict[str, object] = {"type": "anthropic", "model": "claude-3-5-haiku-latest"}

PROMPT = "Be brief."
HELD = {"eot_threshold": 1.0, "eot_timeout_ms": 30000}


def settings(listen: Mapping[str, object] = FLUX, **other: Any) -> Settings:
    """Settings of a box in `tap`, or as `other` wants them."""
    said: dict[str, Any] = {
        "rate_hz": 16000,
        "listen": {"provider": listen},
        "think": {"provider": MINI},
        "speak": {"provider": AURA},
        "prompt": PROMPT,
    }
    return Settings(**{**said, **other})


def sent(message: Settings) -> dict[str, Any]:
    """The settings as they go out; a server as strict as the real one has taken them."""
    frame = v1.encode(message)
    read = schema.read(frame)
    assert isinstance(read, schema.Settings)
    values.check(read)
    said = json.loads(frame)
    assert isinstance(said, dict)
    return said


def heard_by(message: Settings) -> Any:
    """The provider that is to listen, as it goes out."""
    return sent(message)["agent"]["listen"]["provider"]


# ── what we send ─────────────────────────────────────────────────────────────────────────────────


def test_settings_to_the_letter() -> None:
    assert sent(settings(ends_are_ours=True, tags=("kitchen", "raspberrypi"))) == {
        "type": "Settings",
        "tags": ["kitchen", "raspberrypi"],
        "audio": {
            "input": {"encoding": "linear16", "sample_rate": 16000},
            "output": {"encoding": "linear16", "sample_rate": 16000, "container": "none"},
        },
        "agent": {
            "listen": {
                "provider": {
                    "type": "deepgram",
                    "version": "v2",
                    "model": "flux-general-en",
                    "eot_threshold": 1.0,
                    "eot_timeout_ms": 30000,
                }
            },
            "think": {
                "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
                "prompt": "Be brief.",
            },
            "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
        },
    }


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    said = sent(settings())
    assert set(said) == {"type", "audio", "agent"}  # no tags, for one
    assert set(said["agent"]) == {"listen", "think", "speak"}  # no greeting, no language
    assert said["agent"]["listen"] == {"provider": FLUX}
    assert "prompt" not in sent(settings(prompt=""))["agent"]["think"]


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 32000, 48000])
def test_the_rate_is_said_for_both_ways(rate_hz: int) -> None:
    audio = sent(settings(rate_hz=rate_hz))["audio"]
    assert audio["input"]["sample_rate"] == audio["output"]["sample_rate"] == rate_hz


@pytest.mark.parametrize(
    ("listen", "ends_are_ours", "force_end_turn", "added"),
    [
        # `hold` with Flux: a pause ends nothing; the end is said.
        (FLUX, True, True, HELD),
        ({**FLUX, "keyterms": ["Deepgram"]}, True, True, HELD),
        # … unless the owner will have it otherwise, key by key.
        ({**FLUX, "eot_threshold": 0.8}, True, True, {"eot_timeout_ms": 30000}),
        ({**FLUX, "eot_timeout_ms": 5000}, True, True, {"eot_threshold": 1.0}),
        ({**FLUX, "eot_threshold": 0.5, "eot_timeout_ms": 500}, True, True, {}),
        # A server that cannot be told: silence must be able to end it.
        (FLUX, True, False, {"eot_threshold": 0.7}),
        ({**FLUX, "eot_threshold": 0.9}, True, False, {}),
        # `tap`: the server finds the ends.
        (FLUX, False, True, {}),
        (FLUX, False, False, {}),
        # Nova has no such knobs, and a version that is not named is Nova's.
        (NOVA, True, True, {}),
        (NOVA, True, False, {}),
        (NOVA, False, True, {}),
        ({"type": "deepgram", "model": "nova-3", "smart_format": True}, True, True, {}),
    ],
)
def test_what_keeps_a_pause_from_ending_the_turn_is_sent_only_where_it_is_known(
    listen: dict[str, object], ends_are_ours: bool, force_end_turn: bool, added: dict[str, object]
) -> None:
    said = settings(listen, ends_are_ours=ends_are_ours, force_end_turn=force_end_turn)
    assert heard_by(said) == {**listen, **added}


def test_a_listen_table_without_a_provider_goes_out_as_it_is() -> None:
    said = Settings(**{**vars(settings(ends_are_ours=True)), "listen": {}})
    assert sent(said)["agent"]["listen"] == {}
    assert not v1.can_end_turn(said)


def test_the_prompt_goes_into_every_think_entry_that_has_none() -> None:
    chain = [{"provider": MINI}, {"provider": CLAUDE, "prompt": "In rhymes."}]
    assert sent(settings(think=chain))["agent"]["think"] == [
        {"provider": MINI, "prompt": PROMPT},
        {"provider": CLAUDE, "prompt": "In rhymes."},
    ]
    assert sent(settings(think=chain, prompt=""))["agent"]["think"] == chain
    own = {"provider": MINI, "prompt": "In rhymes."}
    assert sent(settings(think=own))["agent"]["think"] == own


def test_the_owners_tables_pass_through_as_they_stand() -> None:
    listen = {**FLUX, "model": "flux-general-multi", "language_hints": ["de", "en"]}
    think = {
        "provider": {"type": "groq", "model": "openai/gpt-oss-20b", "temperature": 0.5},
        "endpoint": {"url": "https://llm.example/v1", "headers": {"authorization": "Bearer x"}},
        "functions": [{"name": "lights", "description": "Turns lights on", "parameters": {}}],
    }
    speak = [
        {"provider": {**FLUX_VOICE, "speed": 1.1}},
        {
            "provider": {"type": "open_ai", "model": "tts-1", "voice": "alloy"},
            "endpoint": {"url": "https://tts.example"},
        },
    ]
    agent = sent(settings(listen, think=think, speak=speak))["agent"]
    assert agent["listen"]["provider"] == listen
    assert agent["think"] == {**think, "prompt": PROMPT}
    assert agent["speak"] == speak


def test_words_beyond_ascii_arrive_as_they_were_meant() -> None:
    prompt = 'Sage „Grüß Gott“, nie "Hi". 🎙\n\u2028'
    assert sent(settings(prompt=prompt))["agent"]["think"]["prompt"] == prompt


def test_encoding_leaves_the_owners_tables_alone() -> None:
    said = settings(FLUX, ends_are_ours=True)
    before = json.dumps([said.listen, said.think, said.speak])
    sent(said)
    assert json.dumps([said.listen, said.think, said.speak]) == before


def test_the_settings_of_an_empty_file_are_taken() -> None:
    agent = parse("", "test").agent
    for ends_are_ours in (True, False):
        for force_end_turn in (True, False):
            sent(
                Settings(
                    rate_hz=16000,
                    listen=agent.listen,
                    think=agent.think,
                    speak=agent.speak,
                    prompt=agent.prompt,
                    tags=("raspberrypi",),
                    ends_are_ours=ends_are_ours,
                    force_end_turn=force_end_turn,
                )
            )


def test_the_short_messages_to_the_letter() -> None:
    assert v1.encode(KeepAlive()) == '{"type": "KeepAlive"}'
    assert v1.encode(EndTurn()) == '{"type": "ForceEndTurn"}'
    assert isinstance(schema.read(v1.encode(KeepAlive())), schema.KeepAlive)
    assert isinstance(schema.read(v1.encode(EndTurn())), schema.ForceEndTurn)


LIGHTS = Function(
    "lights",
    "Turns the lights on or off.",
    {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
)
OFF = Function("power_off", "Ends it all.", {"type": "object"}, defer_until_eot=True)

SAID: list[tuple[ToAgent, dict[str, Any]]] = [
    (ChangePrompt("Be kind."), {"type": "UpdatePrompt", "prompt": "Be kind."}),
    (
        ChangeThink({"provider": CLAUDE, "prompt": "In rhymes."}),
        {"type": "UpdateThink", "think": {"provider": CLAUDE, "prompt": "In rhymes."}},
    ),
    (
        ChangeThink([{"provider": MINI}, {"provider": CLAUDE}]),
        {"type": "UpdateThink", "think": [{"provider": MINI}, {"provider": CLAUDE}]},
    ),
    (
        ChangeVoice("aura-2-apollo-en"),
        {
            "type": "UpdateSpeak",
            "speak": {"provider": {"type": "deepgram", "model": "aura-2-apollo-en"}},
        },
    ),
    (
        ChangeVoice("flux-alexis-en"),  # the Flux family has to be named
        {
            "type": "UpdateSpeak",
            "speak": {"provider": {"type": "deepgram", "version": "v2", "model": "flux-alexis-en"}},
        },
    ),
    (
        ChangeVoice({"provider": FLUX_VOICE}),
        {"type": "UpdateSpeak", "speak": {"provider": FLUX_VOICE}},
    ),
    (
        ChangeVoice([{"provider": FLUX_VOICE}, {"provider": AURA}]),
        {"type": "UpdateSpeak", "speak": [{"provider": FLUX_VOICE}, {"provider": AURA}]},
    ),
    (
        ChangeListen({"provider": {**FLUX, "eot_threshold": 0.8}}),
        {"type": "UpdateListen", "listen": {"provider": {**FLUX, "eot_threshold": 0.8}}},
    ),
    (Ask("What time is it?"), {"type": "InjectUserMessage", "content": "What time is it?"}),
    *(
        (
            Say("Dinner is ready.", behavior),
            {"type": "InjectAgentMessage", "message": "Dinner is ready.", "behavior": word},
        )
        for behavior, word in (
            (Behavior.DEFAULT, "default"),
            (Behavior.QUEUE, "queue"),
            (Behavior.INTERRUPT, "interrupt"),
        )
    ),
    (
        FunctionAnswer("fc_1", "weather", "sunny"),
        {"type": "FunctionCallResponse", "id": "fc_1", "name": "weather", "content": "sunny"},
    ),
    (
        FunctionAnswer("fc_1", "weather", "sunny", "AY89a1…"),
        {
            "type": "FunctionCallResponse",
            "id": "fc_1",
            "name": "weather",
            "content": "sunny",
            "thought_signature": "AY89a1…",
        },
    ),
    (KeepAlive(), {"type": "KeepAlive"}),
    (EndTurn(), {"type": "ForceEndTurn"}),
]


BY_INVITATION: list[tuple[ToAgent, dict[str, Any]]] = [
    (
        ChangeThinkLive({"provider": {"type": "deepgram", "version": "v1"}}),
        {
            "type": "UpdateThink_Live",
            "think_live": {"provider": {"type": "deepgram", "version": "v1"}},
        },
    ),
    (
        Improvise(Behavior.QUEUE),
        {"type": "InjectAgentMessage", "is_dynamic": True, "behavior": "queue"},
    ),
    (
        ToThinkProvider({"mood": ["calm", 1, None]}),
        {"type": "__customToThinkProvider", "content": {"mood": ["calm", 1, None]}},
    ),
]


@pytest.mark.parametrize(("message", "frame"), BY_INVITATION)
def test_what_is_by_invitation_to_the_letter(message: ToAgent, frame: dict[str, Any]) -> None:
    encoded = v1.encode(message)
    assert json.loads(encoded) == frame
    with pytest.raises(Fault):  # who was not invited is refused
        schema.read(encoded)


def test_think_live_goes_with_the_settings_of_who_was_invited() -> None:
    live = {"provider": {"type": "deepgram", "version": "v1"}}
    frame = v1.encode(settings(think_live=live))
    assert json.loads(frame)["agent"]["think_live"] == live
    with pytest.raises(Fault):
        schema.read(frame)


def test_flags_and_experiments_lie_at_the_top() -> None:
    said = sent(settings(flags={"history": False}, experimental=True))
    assert (said["flags"], said["experimental"]) == ({"history": False}, True)
    assert not {"flags", "experimental"} & set(sent(settings()))


def test_a_function_that_was_called_is_told_again() -> None:
    calls = (
        Called("fc_1", "light", '{"on": true}', "on"),
        Called("fc_2", "light", "{}", "off", is_ours=False, signature="AY89"),
    )
    said = sent(settings(history=(Said(Side.USER, "Light!"), *calls)))
    ours = {
        "id": "fc_1",
        "name": "light",
        "client_side": True,
        "arguments": '{"on": true}',
        "response": "on",
    }
    theirs = {
        "id": "fc_2",
        "name": "light",
        "client_side": False,
        "arguments": "{}",
        "response": "off",
        "thought_signature": "AY89",
    }
    assert said["agent"]["context"]["messages"] == [
        {"type": "History", "role": "user", "content": "Light!"},
        {"type": "History", "function_calls": [ours]},
        {"type": "History", "function_calls": [theirs]},
    ]


@pytest.mark.parametrize(("message", "frame"), SAID)
def test_every_message_of_ours_to_the_letter(message: ToAgent, frame: dict[str, Any]) -> None:
    encoded = v1.encode(message)
    assert json.loads(encoded) == frame
    read = schema.read(encoded)
    assert type(read).__name__ == frame["type"]
    match read:
        case schema.UpdateListen():
            values.check_listen(read.listen.provider)
        case schema.UpdateThink():
            values.check_think(read.think)
        case schema.UpdateSpeak():
            values.check_speak(read.speak)
    assert v1.can_ask()


def test_every_message_of_ours_is_in_the_list_above() -> None:
    listed = [*SAID, *BY_INVITATION]
    assert {type(message) for message, _ in listed} | {Settings} == set(get_args(ToAgent))


def test_a_statement_is_not_pushed_in_unless_that_is_wanted() -> None:
    assert Say("Hello.").behavior is Behavior.DEFAULT


def test_a_voice_by_its_name_is_the_same_table_first_and_later() -> None:
    later = json.loads(v1.encode(ChangeVoice("flux-kit-en")))["speak"]
    assert v1.voice("flux-kit-en") == later == {"provider": FLUX_VOICE}
    assert sent(settings(speak=v1.voice("flux-kit-en")))["agent"]["speak"] == later


AGENT_ID = "9c8e5a30-92a3-4b1f-8e0a-0d5f0a7e3c11"


def test_a_stored_agent_is_named_in_place_of_all_that_it_has_of_its_own() -> None:
    stored = settings(agent_id=AGENT_ID, ends_are_ours=True, functions=(LIGHTS,), greeting="Hi.")
    frame = v1.encode(stored)
    read = schema.read(frame)
    assert isinstance(read, schema.Settings)
    values.check(read, stored_agents=True)
    assert json.loads(frame) == {
        "type": "Settings",
        "audio": {
            "input": {"encoding": "linear16", "sample_rate": 16000},
            "output": {"encoding": "linear16", "sample_rate": 16000, "container": "none"},
        },
        "agent": AGENT_ID,
    }
    # Whether it listens with Flux nobody knows, before a warning says so.
    assert v1.can_end_turn(stored)
    assert not v1.can_end_turn(settings(agent_id=AGENT_ID, force_end_turn=False))


def test_what_was_said_before_goes_where_the_server_looks_for_it() -> None:
    said = (Said(Side.USER, "My name is Ada."), Said(Side.AGENT, "Hello, Ada."))
    agent = sent(settings(history=said))["agent"]
    assert agent["context"] == {
        "messages": [
            {"type": "History", "role": "user", "content": "My name is Ada."},
            {"type": "History", "role": "assistant", "content": "Hello, Ada."},
        ]
    }
    assert "greeting" not in agent


def test_a_greeting_is_said_with_the_agent() -> None:
    agent = sent(settings(greeting="Good morning."))["agent"]
    assert agent["greeting"] == "Good morning."
    assert "context" not in agent


@given(
    st.lists(st.builds(Said, st.sampled_from(Side), st.text(st.characters(codec="utf-8")))),
    st.text(st.characters(codec="utf-8")),
)
def test_whatever_was_said_can_be_told_again(said: list[Said], greeting: str) -> None:
    agent = sent(settings(history=tuple(said), greeting=greeting))["agent"]
    told = agent.get("context", {"messages": []})["messages"]
    assert [v1.decode(json.dumps(one)) for one in told] == [Remembered(one) for one in said]
    assert agent.get("greeting", "") == greeting


def test_functions_go_into_every_think_entry_that_has_none() -> None:
    lights = {
        "name": "lights",
        "description": "Turns the lights on or off.",
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
        },
    }
    off = {
        "name": "power_off",
        "description": "Ends it all.",
        "parameters": {"type": "object"},
        "defer_until_eot": True,
    }
    own = [{"name": "bell", "description": "Rings.", "parameters": {}}]
    think = [{"provider": MINI}, {"provider": CLAUDE, "functions": own}]
    agent = sent(settings(think=think, functions=(LIGHTS, OFF)))["agent"]
    assert [one["functions"] for one in agent["think"]] == [[lights, off], own]
    assert sent(settings(functions=(OFF,)))["agent"]["think"]["functions"] == [off]


def test_to_be_left_out_of_the_improvement_programme_is_said_only_if_wanted() -> None:
    assert sent(settings(mip_opt_out=True))["mip_opt_out"] is True
    assert "mip_opt_out" not in sent(settings())


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "alaw"])
def test_the_encoding_is_said_for_both_ways(encoding: str) -> None:
    assert sent(settings(encoding=encoding))["audio"] == {
        "input": {"encoding": encoding, "sample_rate": 16000},
        "output": {"encoding": encoding, "sample_rate": 16000, "container": "none"},
    }


def test_what_is_not_said_at_all_is_said_with_what_is_ours() -> None:
    agent = sent(Settings(rate_hz=16000))["agent"]
    assert agent == {"listen": v1.LISTEN, "think": v1.THINK, "speak": v1.SPEAK}
    assert v1.can_end_turn(Settings(rate_hz=16000))


@pytest.mark.parametrize(
    ("listen", "force_end_turn", "can"),
    [(FLUX, True, True), (FLUX, False, False), (NOVA, True, False), ({}, True, False)],
)
def test_the_end_can_be_said_to_flux_on_a_server_that_is_thought_to_know_it(
    listen: dict[str, object], force_end_turn: bool, can: bool
) -> None:
    assert v1.can_end_turn(settings(listen, force_end_turn=force_end_turn)) is can


# ── what we are sent ─────────────────────────────────────────────────────────────────────────────

RECEIVED: list[tuple[dict[str, Any], FromAgent]] = [
    (
        {"type": "Welcome", "request_id": "fc553ec9-5874-49ca-a47c-b670d525a4b1"},
        Welcome("fc553ec9-5874-49ca-a47c-b670d525a4b1"),
    ),
    ({"type": "Welcome"}, Welcome("")),
    ({"type": "SettingsApplied"}, SettingsApplied()),
    ({"type": "ConversationText", "role": "user", "content": "Hello?"}, UserText("Hello?")),
    (
        {
            "type": "ConversationText",
            "role": "user",
            "content": "Guten Tag",
            "languages_hinted": ["de"],
            "languages": ["de", "en"],
        },
        UserText("Guten Tag"),
    ),
    (
        {
            "type": "ConversationText",
            "role": "assistant",
            "content": "Hm.",
            "conversational_behavior": "backchannel",
        },
        AgentText("Hm."),
    ),
    ({"type": "ConversationText", "role": "assistant", "content": ""}, AgentText("")),
    ({"type": "UserStartedSpeaking"}, UserStartedSpeaking()),
    ({"type": "ThinkLiveUpdated"}, Changed("think live")),
    ({"type": "EndOfTurn", "trigger": "manual"}, TurnEnded("manual")),
    ({"type": "FrustrationDetected", "count": 1, "escalated": True}, Frustrated(1, escalated=True)),
    (
        {"type": "__customFromThinkProvider", "content": {"any": ["thing"]}},
        FromThinkProvider(),
    ),
    (
        {"type": "AgentThinking", "content": "The user asks …"},
        AgentThinking("The user asks …"),
    ),
    ({"type": "AgentThinking"}, AgentThinking()),
    ({"type": "AgentThinking", "content": None}, AgentThinking()),
    (
        {
            "type": "FunctionCallRequest",
            "functions": [
                {"id": "fc_1", "name": "weather", "arguments": "{}", "client_side": True},
                {
                    "id": "fc_2",
                    "name": "lights",
                    "arguments": '{"on": true}',
                    "client_side": False,
                    "thought_signature": "AY89a1…",
                },
            ],
        },
        FunctionsWanted(
            (
                Call("fc_1", "weather"),
                Call("fc_2", "lights", '{"on": true}', is_ours=False, signature="AY89a1…"),
            )
        ),
    ),
    ({"type": "FunctionCallRequest", "functions": []}, FunctionsWanted(())),
    (
        {
            "type": "AgentStartedSpeaking",
            "total_latency": 1.2,
            "tts_latency": 0.3,
            "ttt_latency": 0.9,
        },
        AgentStartedSpeaking(total_s=1.2, speech_s=0.3, text_s=0.9),
    ),
    ({"type": "AgentStartedSpeaking"}, AgentStartedSpeaking()),  # seen without its numbers
    ({"type": "AgentAudioDone"}, AgentAudioDone()),
    (
        {"type": "Warning", "description": "Slow.", "code": "SLOW_THINK_REQUEST"},
        Warned("SLOW_THINK_REQUEST", "Slow."),
    ),
    ({"type": "Warning"}, Warned("", "")),
    (
        {"type": "Error", "description": "We waited too long.", "code": "CLIENT_MESSAGE_TIMEOUT"},
        Failed("CLIENT_MESSAGE_TIMEOUT", "We waited too long."),
    ),
    ({"type": "Error", "message": "As in early access."}, Failed("", "")),
    ({"type": "Error", "code": None, "description": None}, Failed("", "")),
    # The server's own notes, which can be told again as they are.
    (
        {"type": "History", "role": "user", "content": "Hello?"},
        Remembered(Said(Side.USER, "Hello?")),
    ),
    (
        {"type": "History", "role": "assistant", "content": "Hi."},
        Remembered(Said(Side.AGENT, "Hi.")),
    ),
    (
        {
            "type": "History",
            "function_calls": [
                {
                    "id": "fc_1",
                    "name": "weather",
                    "client_side": True,
                    "arguments": "{}",
                    "response": "sunny",
                }
            ],
        },
        Remembered(None),
    ),
    ({"type": "History", "role": "ghost", "content": "boo"}, Remembered(None)),
    ({"type": "History", "role": "user", "content": None}, Remembered(None)),
    (
        {
            "type": "LatencyReport",
            "stt_latency": 0.1,
            "ttt_token_latency": 0.2,
            "ttt_text_latency": 0.3,
            "ttt_tool_latency": 0.4,
            "ttt_thinking_latency": 0.5,
            "tts_latency": 0.6,
            "total_latency": 2,
        },
        Latencies(
            {
                "stt_latency": 0.1,
                "ttt_token_latency": 0.2,
                "ttt_text_latency": 0.3,
                "ttt_tool_latency": 0.4,
                "ttt_thinking_latency": 0.5,
                "tts_latency": 0.6,
                "total_latency": 2.0,
            }
        ),
    ),
    (
        {"type": "LatencyReport", "tts_latency": 0.6, "total_latency": None, "final": True},
        Latencies({"tts_latency": 0.6}),
    ),
    ({"type": "LatencyReport"}, Latencies({})),
    # Functions: of the server's own only the answers are news.
    (
        {"type": "FunctionCallResponse", "name": "weather", "content": "sunny"},
        FunctionAnswered("weather", "sunny"),
    ),
    (
        {"type": "FunctionCallResponse", "id": "fc_1", "name": "weather", "content": "sunny"},
        FunctionAnswered("weather", "sunny"),
    ),
    (
        {
            "type": "FunctionCallCancelled",
            "functions": [{"id": "fc_1", "name": "weather"}, {"id": "fc_2", "name": "lights"}],
        },
        FunctionsCancelled(("fc_1", "fc_2")),
    ),
    ({"type": "FunctionCallCancelled", "functions": []}, FunctionsCancelled(())),
    (
        {
            "type": "FunctionCallRequest",
            "functions": [
                # Seen from models that write a table, or nothing, in place of a string.
                {"id": "fc_1", "name": "lights", "arguments": {"on": True}, "client_side": True},
                {"id": "fc_2", "name": "weather", "arguments": "", "client_side": True},
                {"name": "bell"},
            ],
        },
        FunctionsWanted(
            (
                Call("fc_1", "lights", '{"on": true}'),
                Call("fc_2", "weather", ""),
                Call("", "bell"),
            )
        ),
    ),
    ({"type": "InjectionRefused", "message": "busy"}, SayRefused("busy")),
    ({"type": "InjectionRefused"}, SayRefused("")),
    ({"type": "PromptUpdated"}, Changed("prompt")),
    ({"type": "ThinkUpdated"}, Changed("think")),
    ({"type": "SpeakUpdated"}, Changed("voice")),
    ({"type": "ListenUpdated"}, Changed("listen")),
]

# Known to exist, and nothing to us here.
PASSED_OVER: list[dict[str, Any]] = [
    {"type": ""},
]


@pytest.mark.parametrize(("frame", "message"), RECEIVED)
def test_every_message_that_means_something_is_read(
    frame: dict[str, Any], message: FromAgent
) -> None:
    assert v1.decode(json.dumps(frame)) == message


@pytest.mark.parametrize(("frame", "message"), RECEIVED)
def test_fields_that_nobody_knows_yet_change_nothing(
    frame: dict[str, Any], message: FromAgent
) -> None:
    strange = {"zeal": 9, "agent_id": None, "usage": {"tokens": [1, 2, {"deep": True}]}}
    assert v1.decode(json.dumps({**strange, **frame})) == message
    assert v1.decode(json.dumps({**frame, **strange}, indent=3)) == message


@pytest.mark.parametrize("frame", PASSED_OVER, ids=lambda frame: frame["type"] or "nameless")
def test_what_means_nothing_to_us_is_passed_over_by_name(frame: dict[str, Any]) -> None:
    message = v1.decode(json.dumps(frame))
    assert isinstance(message, Unhandled)
    assert message.name == frame["type"]


@pytest.mark.parametrize(
    "frame",
    [
        "",
        " ",
        "hello",
        "{",
        '{"type": "Welcome"',
        '{"type": "Welcome"}}',
        '{"type": "Welcome", "request_id": "\\ud800"}',
        '{"type": "Welcome", "request_id": "\ud800"}',
        '{"type": "Unheard-of", "nan": NaN}',
        '{"deep": ' + "[" * 100_000,
        "\ufeff{}",
        "{'type': 'Welcome'}",
    ],
)
def test_what_is_no_json_is_named_with_its_first_80_characters(frame: str) -> None:
    with pytest.raises(AgentMisspoke) as caught:
        v1.decode(frame)
    assert caught.value.trouble is Trouble.GARBAGE
    assert caught.value.trouble.retry is Retry.BACKOFF
    if '"content"' not in frame:
        assert str(caught.value).startswith(f"the agent sent {frame[:80]!r}: ")
    assert len(str(caught.value)) < 600


def complaint_of(frame: str) -> str:
    message = v1.decode(frame)
    assert isinstance(message, Misshapen)
    return message.complaint


@pytest.mark.parametrize(
    "frame",
    [
        "null",
        "42",
        '"Welcome"',
        "[]",
        '[{"type": "Welcome"}]',
        "{}",
        '{"Type": "Welcome"}',
        '{"type": null}',
        '{"type": 7}',
        '{"type": ["Welcome"]}',
        '{"type": "ConversationText"}',
        '{"type": "ConversationText", "role": "user"}',
        '{"type": "ConversationText", "role": "user", "content": null}',
        '{"type": "ConversationText", "role": "user", "content": ["a"]}',
        '{"type": "ConversationText", "role": "ghost", "content": "boo"}',
        '{"type": "ConversationText", "content": "whose?"}',
        '{"type": "FunctionCallRequest"}',
        '{"type": "FunctionCallRequest", "functions": null}',
        '{"type": "FunctionCallRequest", "functions": [{"id": "fc_1"}]}',
        '{"type": "FunctionCallRequest", "functions": ["weather"]}',
        '{"type": "FunctionCallCancelled", "functions": [{"id": "fc_1"}]}',
        '{"type": "FunctionCallCancelled"}',
        '{"type": "FunctionCallRequest", "functions": [{"name": "a", "client_side": "no"}]}',
        '{"type": "FunctionCallResponse", "name": 7}',
        '{"type": "AgentStartedSpeaking", "total_latency": "soon"}',
        '{"type": "LatencyReport", "total_latency": ' + "9" * 400 + "}",
        '{"type": "History", "role": ["user"]}',
        '{"type": "InjectionRefused", "message": 7}',
        '{"type": "LatencyReport", "total_latency": 1e400}',
    ],
)
def test_a_shape_that_we_do_not_know_is_passed_over_with_its_first_80_characters(
    frame: str,
) -> None:
    complaint = complaint_of(frame)
    if '"content"' not in frame:
        assert complaint.startswith(f"the agent sent {frame[:80]!r}: ")
    assert len(complaint) < 600


@pytest.mark.parametrize("number", ["7", "null", "[]", '"name"'])
def test_what_a_session_lives_by_is_understood_in_any_shape(number: str) -> None:
    welcome = v1.decode(f'{{"type": "Welcome", "request_id": {number}, "session_id": {number}}}')
    assert isinstance(welcome, Welcome)
    failed = v1.decode(f'{{"type": "Error", "code": {number}, "message": {number}}}')
    assert isinstance(failed, Failed)
    assert isinstance(v1.decode(f'{{"type": "Warning", "code": {number}}}'), Warned)


def test_no_more_than_80_characters_of_a_faulty_message_are_told() -> None:
    secret = "what was said in confidence"
    with pytest.raises(AgentMisspoke) as caught:
        v1.decode(
            '{"type": "ConversationText", "padding": "' + "x" * 60 + f'", "content": "{secret}"'
        )
    assert secret not in str(caught.value)


def test_nothing_that_was_spoken_is_told_of_a_faulty_message() -> None:
    complaint = complaint_of(
        '{"type":"ConversationText","content":"what I \\"said\\"","role":"ghost"}'
    )
    assert "said" not in complaint
    assert "ghost" in complaint


@pytest.mark.parametrize(
    "frame",
    [
        '{"content": ["what was said"], "type": "ConversationText"}',
        '{"type": "ConversationText", "content": "what was said',
        '{"content": {"text": "what was said"}, "type": "ConversationText"}',
        '{"functions": [{"arguments": {"note": "what was said"}}], "type": "FunctionCallRequest"}',
        '{"functions": [{"arguments": "what was said"}], "type": "FunctionCallRequest"}',
        '{"content":\n["what",\n"was said"], "type": "ConversationText"}',
    ],
)
def test_words_in_whatever_shape_are_not_told(frame: str) -> None:
    try:
        complaint = complaint_of(frame)
    except AgentMisspoke as error:
        complaint = str(error)
    assert "said" not in complaint
    assert "what" not in complaint


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "request_id",
    "role",
    "content",
    "functions",
    "name",
    "id",
    "arguments",
    "message",
    "total_latency",
    "code",
    "description",
    "other",
]
MESSAGES = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from([frame["type"] for frame, _ in RECEIVED]) | st.text(),
    st.dictionaries(st.sampled_from(FIELDS), ANY_JSON | st.sampled_from(["user", "assistant"])),
)


def reads_or_complains(frame: str) -> None:
    complaint = None
    try:
        assert isinstance(v1.decode(frame), FromAgent)
    except AgentMisspoke as error:
        complaint = error
    if complaint is not None:
        assert complaint.trouble is Trouble.GARBAGE
        if not any(word in frame for word in ("content", "arguments", "message")):
            # … but for what may be words of somebody's.
            assert repr(frame[:80]) in str(complaint)


@given(st.text())
@example("\ud800")
@example("\0")
def test_any_text_is_read_or_complained_of(frame: str) -> None:
    reads_or_complains(frame)


@given(ANY_JSON | MESSAGES)
def test_any_json_is_read_or_complained_of(value: object) -> None:
    reads_or_complains(json.dumps(value))
    reads_or_complains(json.dumps(value, ensure_ascii=False))


@given(MESSAGES, st.integers(min_value=0))
def test_any_message_that_was_cut_off_is_complained_of(message: dict[str, Any], cut: int) -> None:
    frame = json.dumps(message)
    with pytest.raises(AgentMisspoke):
        v1.decode(frame[: cut % len(frame)])


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "trouble", "retry"),
    [
        # The table of errors, mid-2026, and our reaction to each.
        ("INTERNAL_SERVER_ERROR", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("CLIENT_MESSAGE_TIMEOUT", Trouble.LINK_LOST, Retry.BACKOFF),
        ("UNPARSABLE_CLIENT_MESSAGE", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("SETTINGS_ALREADY_APPLIED", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("INVALID_SETTINGS", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("FAILED_TO_START_LISTENING", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("FAILED_TO_LISTEN", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("ASR_CONNECTION_CLOSED", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("ASR_DRIVER_TIMEOUT", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("USER_AUDIO_FORMAT", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("INVALID_AUDIO_FORMAT", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("FAILED_TO_SPEAK", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("FAILED_TO_THINK", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("SERVER_GOING_AWAY", Trouble.GOING_AWAY, Retry.AT_ONCE),
        ("NON_EXISTENT_FUNCTION_CALLED", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("AGENT_ID_NOT_SUPPORTED", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("INVALID_AGENT_ID", Trouble.SETTINGS_REFUSED, Retry.ON_PRESS),
        ("MAXIMUM_SESSION_LENGTH_REACHED", Trouble.GOING_AWAY, Retry.AT_ONCE),
        # Of the HTTP answer, seen as messages too.
        ("INVALID_AUTH", Trouble.KEY_REFUSED, Retry.ON_PRESS),
        ("INSUFFICIENT_PERMISSIONS", Trouble.KEY_REFUSED, Retry.ON_PRESS),
        # What nobody has heard of yet.
        ("DATA-0002", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("", Trouble.SERVER_ERROR, Retry.BACKOFF),
    ],
)
def test_each_error_code_has_its_trouble_and_its_retry(
    code: str, trouble: Trouble, retry: Retry
) -> None:
    assert v1.trouble_of(code, "in words") is trouble
    assert trouble.retry is retry


def test_every_error_code_is_in_the_table_above() -> None:
    marks = test_each_error_code_has_its_trouble_and_its_retry.pytestmark  # type: ignore[attr-defined]
    told = {code for code, _, _ in marks[0].args[1]}
    assert set(v1.CODES) <= told
    assert set(v1.GOES_ON) == {"FAILED_TO_THINK"}


HOLD = settings(FLUX, ends_are_ours=True)
TAP = settings(FLUX)
NOVA_HOLD = settings(NOVA, ends_are_ours=True)
TOLD_HOLD = settings(FLUX, ends_are_ours=True, force_end_turn=False)


@pytest.mark.parametrize(
    ("code", "said_first", "applied", "end_said", "refused"),
    [
        # The warning says it in so many words.
        ("FORCE_END_TURN_UNSUPPORTED", HOLD, True, True, True),
        ("FORCE_END_TURN_UNSUPPORTED", NOVA_HOLD, True, False, True),
        # What cannot be parsed is the end, if it was said; before that something else.
        ("UNPARSABLE_CLIENT_MESSAGE", HOLD, True, True, True),
        ("UNPARSABLE_CLIENT_MESSAGE", TAP, True, True, True),
        ("UNPARSABLE_CLIENT_MESSAGE", HOLD, True, False, False),
        ("UNPARSABLE_CLIENT_MESSAGE", NOVA_HOLD, True, True, False),
        ("UNPARSABLE_CLIENT_MESSAGE", TOLD_HOLD, True, True, False),
        ("INVALID_SETTINGS", HOLD, True, True, False),
        # Settings that are refused may be so for the threshold of 1.0, if it went with them.
        ("UNPARSABLE_CLIENT_MESSAGE", HOLD, False, False, True),
        ("INVALID_SETTINGS", HOLD, False, False, True),
        ("INVALID_SETTINGS", TAP, False, False, False),
        ("INVALID_SETTINGS", NOVA_HOLD, False, False, False),
        ("INVALID_SETTINGS", TOLD_HOLD, False, False, False),
        ("SETTINGS_ALREADY_APPLIED", HOLD, False, False, False),
        ("INTERNAL_SERVER_ERROR", HOLD, True, True, False),
        ("", HOLD, False, False, False),
    ],
)
def test_what_may_mean_that_the_end_of_a_turn_cannot_be_said(
    code: str, said_first: Settings, applied: bool, end_said: bool, refused: bool
) -> None:
    assert v1.refuses_end_turn(code, said_first, applied=applied, said=end_said) is refused
