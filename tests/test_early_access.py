"""The early-access dialect, frame by frame: what we send, to the letter, and all we may be sent.

What is sent is read by the stand-in's strict reader besides: it refuses what the official AsyncAPI
of March 2025 does not know. What is received is written as that has it, and as the official SDKs
of the time read it where they knew more.
"""

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.agent import early_access
from appliance.agent.dialect import is_early_access
from appliance.agent.messages import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentText,
    AgentThinking,
    Ask,
    Behavior,
    Call,
    CannotSay,
    Changed,
    ChangeListen,
    ChangePrompt,
    ChangeThink,
    ChangeThinkLive,
    ChangeVoice,
    Closing,
    EndOfThought,
    EndTurn,
    Failed,
    FromAgent,
    Function,
    FunctionAnswer,
    FunctionCalling,
    FunctionsWanted,
    Improvise,
    KeepAlive,
    Metadata,
    Misshapen,
    Said,
    Say,
    SayRefused,
    Settings,
    SettingsApplied,
    Side,
    ToAgent,
    ToThinkProvider,
    Unhandled,
    UserStartedSpeaking,
    UserText,
    Warned,
    Welcome,
)
from appliance.errors import AgentMisspoke, Retry, Trouble
from appliance.standin import early
from appliance.standin.tongue import LATE_SOUND

MINI: dict[str, object] = {"provider": {"type": "open_ai"}, "model": "gpt-4o-mini"}
HAIKU: dict[str, object] = {
    "provider": {"type": "anthropic"},
    "model": "claude-3-haiku-20240307",
}
LIGHTS = Function(
    "lights",
    "Turns the lights on or off.",
    {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
)
OFF = Function("power_off", "Ends it all.", {"type": "object"}, defer_until_eot=True)


def settings(**other: Any) -> Settings:
    """Settings of a box, or as `other` wants them."""
    return Settings(**{"rate_hz": 16000, "prompt": "Be brief.", **other})


def sent(message: Settings) -> dict[str, Any]:
    """The settings as they go out; a server as strict as the real one has taken them."""
    frame = early_access.encode(message)
    read = early.read(frame)
    assert isinstance(read, early.SettingsConfiguration)
    early.check(read)
    said = json.loads(frame)
    assert isinstance(said, dict)
    return said


# ── what we send ─────────────────────────────────────────────────────────────────────────────────


def test_settings_to_the_letter() -> None:
    message = settings(
        listen={"model": "nova-3", "keyterms": ["Deepgram"]},
        think=HAIKU,
        speak={"provider": "cartesia", "voice_id": "bIHbv24MWmeRgasZH58o"},
        functions=(LIGHTS,),
        history=(Said(Side.USER, "My name is Ada."), Said(Side.AGENT, "Hello, Ada.")),
    )
    assert sent(message) == {
        "type": "SettingsConfiguration",
        "audio": {
            "input": {"encoding": "linear16", "sample_rate": 16000},
            "output": {"encoding": "linear16", "sample_rate": 16000, "container": "none"},
        },
        "agent": {
            "listen": {"model": "nova-3", "keyterms": ["Deepgram"]},
            "think": {
                "provider": {"type": "anthropic"},
                "model": "claude-3-haiku-20240307",
                "instructions": "Be brief.",
                "functions": [
                    {
                        "name": "lights",
                        "description": "Turns the lights on or off.",
                        "parameters": {
                            "type": "object",
                            "properties": {"on": {"type": "boolean"}},
                            "required": ["on"],
                        },
                    }
                ],
            },
            "speak": {"provider": "cartesia", "voice_id": "bIHbv24MWmeRgasZH58o"},
        },
        "context": {
            "messages": [
                {"role": "user", "content": "My name is Ada."},
                {"role": "assistant", "content": "Hello, Ada."},
            ],
            "replay": False,
        },
    }


def test_what_is_not_said_at_all_is_said_with_what_is_ours() -> None:
    said = sent(Settings(rate_hz=16000))
    assert set(said) == {"type", "audio", "agent"}  # no context
    assert said["agent"] == {
        "listen": {"model": "nova-3"},
        "think": {"provider": {"type": "open_ai"}, "model": "gpt-4o-mini"},
        "speak": {"model": "aura-asteria-en"},
    }


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "alaw"])
@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_rate_and_encoding_are_said_for_both_ways(rate_hz: int, encoding: str) -> None:
    assert sent(settings(rate_hz=rate_hz, encoding=encoding))["audio"] == {
        "input": {"encoding": encoding, "sample_rate": rate_hz},
        "output": {"encoding": encoding, "sample_rate": rate_hz, "container": "none"},
    }


def test_the_owners_prompt_and_functions_go_before_ours() -> None:
    own = {**MINI, "instructions": "In rhymes.", "functions": [{"name": "bell"}]}
    assert sent(settings(think=own, functions=(LIGHTS,)))["agent"]["think"] == own
    assert "instructions" not in sent(settings(prompt=""))["agent"]["think"]
    assert "functions" not in sent(settings())["agent"]["think"]


def test_of_a_chain_of_models_the_first_one_thinks() -> None:
    think = sent(settings(think=[HAIKU, MINI]))["agent"]["think"]
    assert think == {**HAIKU, "instructions": "Be brief."}


def test_a_model_of_ones_own_passes_through() -> None:
    own = {
        "provider": {
            "type": "custom",
            "url": "https://llm.example/v1",
            "headers": [{"key": "authorization", "value": "Bearer x"}],
        },
        "model": "mine",
    }
    assert sent(settings(think=own))["agent"]["think"] == {**own, "instructions": "Be brief."}


def test_a_greeting_is_the_last_statement_spoken_again() -> None:
    assert sent(settings(greeting="Good morning."))["context"] == {
        "messages": [{"role": "assistant", "content": "Good morning."}],
        "replay": True,
    }
    history = (Said(Side.USER, "Hello."), Said(Side.AGENT, "Hi."))
    assert sent(settings(history=history, greeting="Good morning."))["context"] == {
        "messages": [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hi."},
            {"role": "assistant", "content": "Good morning."},
        ],
        "replay": True,
    }


def test_what_the_dialect_has_no_place_for_is_left_out() -> None:
    plain = early_access.encode(settings(functions=(Function(OFF.name, OFF.description, {}),)))
    more = settings(
        functions=(Function(OFF.name, OFF.description, {}, defer_until_eot=True),),
        ends_are_ours=True,
        force_end_turn=False,
    )
    assert early_access.encode(more) == plain


def test_encoding_leaves_the_owners_tables_alone() -> None:
    said = settings(listen={"model": "nova-2"}, think=MINI, functions=(LIGHTS,), greeting="Hi.")
    before = json.dumps([said.listen, said.think])
    sent(said)
    assert json.dumps([said.listen, said.think]) == before


@given(
    st.lists(st.builds(Said, st.sampled_from(Side), st.text(st.characters(codec="utf-8")))),
    st.text(st.characters(codec="utf-8")),
    st.text(st.characters(codec="utf-8")),
)
def test_whatever_was_said_can_be_told_again(said: list[Said], greeting: str, prompt: str) -> None:
    whole = sent(settings(history=tuple(said), greeting=greeting, prompt=prompt))
    told = whole.get("context", {"messages": []})["messages"]
    assert [(one["role"], one["content"]) for one in told] == [
        *((one.who.value, one.text) for one in said),
        *([("assistant", greeting)] if greeting else []),
    ]
    assert whole["agent"]["think"].get("instructions", "") == prompt
    for one in told:
        read = early_access.decode(json.dumps({"type": "ConversationText", **one}))
        kind = UserText if one["role"] == "user" else AgentText
        assert read == kind(one["content"])


SAID: list[tuple[ToAgent, dict[str, Any]]] = [
    (KeepAlive(), {"type": "KeepAlive"}),
    (ChangePrompt("Be kind."), {"type": "UpdateInstructions", "instructions": "Be kind."}),
    (ChangeVoice("aura-luna-en"), {"type": "UpdateSpeak", "model": "aura-luna-en"}),
    (Say("Dinner is ready."), {"type": "InjectAgentMessage", "message": "Dinner is ready."}),
    (
        FunctionAnswer("fc_1", "weather", "sunny"),
        {"type": "FunctionCallResponse", "function_call_id": "fc_1", "output": "sunny"},
    ),
    (
        FunctionAnswer("fc_1", "weather", "sunny", "AY89a1…"),  # which is V1's own
        {"type": "FunctionCallResponse", "function_call_id": "fc_1", "output": "sunny"},
    ),
]
UNSAYABLE: list[ToAgent] = [
    EndTurn(),
    ChangeThink(MINI),
    ChangeThink([MINI, HAIKU]),
    ChangeListen({"model": "nova-2"}),
    ChangeVoice({"model": "aura-luna-en"}),
    ChangeVoice([{"model": "aura-luna-en"}]),
    Ask("What time is it?"),
    Say("Dinner is ready.", Behavior.QUEUE),
    Say("Dinner is ready.", Behavior.INTERRUPT),
    ChangeThinkLive({}),
    Improvise(),
    ToThinkProvider("calm"),
]


@pytest.mark.parametrize(("message", "frame"), SAID)
def test_every_message_that_there_are_words_for_to_the_letter(
    message: ToAgent, frame: dict[str, Any]
) -> None:
    encoded = early_access.encode(message)
    assert json.loads(encoded) == frame
    assert type(early.read(encoded)).__name__ == frame["type"]


@pytest.mark.parametrize("message", UNSAYABLE)
def test_what_there_are_no_words_for_is_named(message: ToAgent) -> None:
    with pytest.raises(CannotSay) as caught:
        early_access.encode(message)
    name = type(message).__name__
    assert str(caught.value) == f"the early-access dialect has no words for {name}"


def test_every_message_of_ours_is_in_one_of_the_lists_above() -> None:
    kinds = {type(message) for message, _ in SAID} | {type(message) for message in UNSAYABLE}
    assert kinds | {Settings} == set(get_args(ToAgent))


def test_a_voice_by_its_name_is_the_same_first_and_later() -> None:
    assert early_access.voice("aura-luna-en") == {"model": "aura-luna-en"}
    first = sent(settings(speak=early_access.voice("aura-luna-en")))["agent"]["speak"]
    later = json.loads(early_access.encode(ChangeVoice("aura-luna-en")))
    assert {"type": "UpdateSpeak", **first} == later


@pytest.mark.parametrize("force_end_turn", [True, False])
@pytest.mark.parametrize("ends_are_ours", [True, False])
def test_only_silence_ends_a_turn(force_end_turn: bool, ends_are_ours: bool) -> None:
    said = settings(force_end_turn=force_end_turn, ends_are_ours=ends_are_ours)
    assert not early_access.can_end_turn(said)
    assert not early_access.can_ask()
    assert not early_access.WAITS_FOR_WELCOME
    for code in ("", "FORCE_END_TURN_UNSUPPORTED", "UNPARSABLE_CLIENT_MESSAGE"):
        for applied in (True, False):
            assert not early_access.refuses_end_turn(code, said, applied=applied, said=True)


# ── what we are sent ─────────────────────────────────────────────────────────────────────────────

RECEIVED: list[tuple[dict[str, Any], FromAgent]] = [
    (
        {"type": "Welcome", "session_id": "fc553ec9-5874-49ca-a47c-b670d525a4b1"},
        Welcome("fc553ec9-5874-49ca-a47c-b670d525a4b1"),
    ),
    ({"type": "Welcome"}, Welcome("")),
    ({"type": "SettingsApplied"}, SettingsApplied()),
    (
        {
            "type": "ConversationText",
            "role": "user",
            "content": "What's the weather like today?",
        },
        UserText("What's the weather like today?"),
    ),
    (
        {"type": "ConversationText", "role": "assistant", "content": "It's 72°F (22°C)."},
        AgentText("It's 72°F (22°C)."),
    ),
    ({"type": "UserStartedSpeaking"}, UserStartedSpeaking()),
    (
        {"type": "AgentThinking", "content": "Analyzing the user's request …"},
        AgentThinking("Analyzing the user's request …"),
    ),
    ({"type": "AgentThinking"}, AgentThinking()),
    ({"type": "AgentThinking", "content": {"step": 1}}, AgentThinking()),
    (
        {
            "type": "FunctionCallRequest",
            "function_name": "check_order_status",
            "function_call_id": "fc_12345678-90ab-cdef-1234-567890abcdef",
            "input": {"order_id": "ORD-123456"},
        },
        FunctionsWanted(
            (
                Call(
                    "fc_12345678-90ab-cdef-1234-567890abcdef",
                    "check_order_status",
                    '{"order_id": "ORD-123456"}',
                ),
            )
        ),
    ),
    (
        {"type": "FunctionCallRequest", "function_name": "bell", "function_call_id": "fc_1"},
        FunctionsWanted((Call("fc_1", "bell", "{}"),)),
    ),
    (
        {
            "type": "FunctionCallRequest",
            "function_name": "bell",
            "function_call_id": "fc_1",
            "input": None,
        },
        FunctionsWanted((Call("fc_1", "bell", "{}"),)),
    ),
    ({"type": "FunctionCalling"}, FunctionCalling()),
    ({"type": "FunctionCalling", "anything": ["at", "all"]}, FunctionCalling()),
    (
        {
            "type": "AgentStartedSpeaking",
            "total_latency": 1.2,
            "tts_latency": 0.3,
            "ttt_latency": 0.9,
        },
        AgentStartedSpeaking(total_s=1.2, speech_s=0.3, text_s=0.9),
    ),
    ({"type": "AgentStartedSpeaking"}, AgentStartedSpeaking()),
    ({"type": "AgentAudioDone"}, AgentAudioDone()),
    ({"type": "EndOfThought"}, EndOfThought()),
    ({"type": "Metadata", "duration": 1.5}, Metadata()),
    ({"type": "InjectionRefused"}, SayRefused("")),
    ({"type": "InjectionRefused", "message": "busy"}, SayRefused("busy")),
    ({"type": "InstructionsUpdated"}, Changed("prompt")),
    ({"type": "SpeakUpdated"}, Changed("voice")),
    (
        {"type": "Error", "message": "We waited too long for a websocket message."},
        Failed("", "We waited too long for a websocket message."),
    ),
    ({"type": "Error", "description": "as the SDK has it"}, Failed("", "as the SDK has it")),
    ({"type": "Error", "message": None, "code": "X"}, Failed("X", "")),
    (
        {"type": "Warning", "code": "API_CUTOVER_SOON", "description": "It is going away."},
        Warned("API_CUTOVER_SOON", "It is going away."),
    ),
    ({"type": "Warning", "message": "Slow."}, Warned("", "Slow.")),
    ({"type": "Close"}, Closing()),
    # Whatever else: by its name.
    ({"type": "Unhandled", "raw": "{}"}, Unhandled("Unhandled")),
    ({"type": "PromptUpdated"}, Unhandled("PromptUpdated")),
    ({"type": "History", "role": "user", "content": "Hello?"}, Unhandled("History")),
    ({"type": "Open"}, Unhandled("Open")),
    ({"type": ""}, Unhandled("")),
]
# The documented list, and the Python SDK's own events.
TYPES = {
    "Welcome",
    "SettingsApplied",
    "ConversationText",
    "UserStartedSpeaking",
    "AgentThinking",
    "FunctionCallRequest",
    "FunctionCalling",
    "AgentStartedSpeaking",
    "AgentAudioDone",
    "InjectionRefused",
    "InstructionsUpdated",
    "SpeakUpdated",
    "Error",
    "Warning",
    "EndOfThought",
    "Metadata",
    "Close",
}


@pytest.mark.parametrize(("frame", "message"), RECEIVED)
def test_every_message_is_read(frame: dict[str, Any], message: FromAgent) -> None:
    assert early_access.decode(json.dumps(frame)) == message


@pytest.mark.parametrize(("frame", "message"), RECEIVED)
def test_fields_that_nobody_knows_change_nothing(frame: dict[str, Any], message: FromAgent) -> None:
    strange = {"zeal": 9, "variant": None, "usage": {"tokens": [1, 2, {"deep": True}]}}
    assert early_access.decode(json.dumps({**strange, **frame})) == message
    assert early_access.decode(json.dumps({**frame, **strange}, indent=3)) == message


def test_every_type_of_message_is_in_the_list_above() -> None:
    assert {f["type"] for f, m in RECEIVED if not isinstance(m, Unhandled)} == TYPES


@given(
    st.text(st.characters(codec="utf-8")),
    st.text(st.characters(codec="utf-8")),
    st.dictionaries(
        st.text(st.characters(codec="utf-8")),
        st.integers(-(2**53), 2**53) | st.booleans() | st.text(st.characters(codec="utf-8")),
    ),
)
def test_a_function_gets_the_arguments_that_the_agent_wrote(
    name: str, call: str, arguments: Mapping[str, object]
) -> None:
    frame = {"function_name": name, "function_call_id": call, "input": arguments}
    read = early_access.decode(json.dumps({"type": "FunctionCallRequest", **frame}))
    assert isinstance(read, FunctionsWanted)
    (wanted,) = read.calls
    assert (wanted.id, wanted.name, wanted.is_ours) == (call, name, True)
    assert json.loads(wanted.arguments) == arguments
    answer = early.read(early_access.encode(FunctionAnswer(wanted.id, wanted.name, "done")))
    assert isinstance(answer, early.FunctionCallResponse)
    assert answer.function_call_id == call


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "hello",
        "{",
        '{"deep": ' + "[" * 100_000,
        '{"type": "Welcome", "session_id": "\ud800"}',
    ],
)
def test_what_is_no_json_is_named_with_its_first_80_characters(frame: str) -> None:
    with pytest.raises(AgentMisspoke) as caught:
        early_access.decode(frame)
    assert caught.value.trouble is Trouble.GARBAGE
    assert caught.value.trouble.retry is Retry.BACKOFF
    if '"content"' not in frame:
        assert str(caught.value).startswith(f"the agent sent {frame[:80]!r}: ")
    assert len(str(caught.value)) < 600


def complaint_of(frame: str) -> str:
    message = early_access.decode(frame)
    assert isinstance(message, Misshapen)
    return message.complaint


@pytest.mark.parametrize(
    "frame",
    [
        "null",
        "[]",
        "{}",
        '{"type": null}',
        '{"type": 7}',
        '{"type": "ConversationText", "role": "user"}',
        '{"type": "ConversationText", "role": "ghost", "content": "boo"}',
        '{"type": "ConversationText", "role": "user", "content": ["boo"]}',
        '{"type": "FunctionCallRequest"}',
        '{"type": "FunctionCallRequest", "function_name": null}',
        '{"type": "FunctionCallRequest", "function_name": "a", "function_call_id": 7}',
        '{"type": "AgentStartedSpeaking", "total_latency": "soon"}',
        '{"type": "AgentStartedSpeaking", "total_latency": ' + "9" * 400 + "}",
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
    welcome = early_access.decode(
        f'{{"type": "Welcome", "request_id": {number}, "session_id": {number}}}'
    )
    assert isinstance(welcome, Welcome)
    failed = early_access.decode(f'{{"type": "Error", "code": {number}, "message": {number}}}')
    assert isinstance(failed, Failed)
    assert isinstance(early_access.decode(f'{{"type": "Warning", "code": {number}}}'), Warned)


@pytest.mark.parametrize(
    "frame",
    [
        '{"type": "FunctionCallRequest", "input": {"note": "what I said"}}',
        '{"type": "FunctionCallRequest", "input": "what I said"}',
        '{"content": "what I said", "type": "ConversationText"}',
        '{"content": ["what I said"], "type": "ConversationText"}',
    ],
)
def test_nothing_that_was_spoken_is_told_of_a_faulty_message(frame: str) -> None:
    assert "said" not in complaint_of(frame)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "session_id",
    "role",
    "content",
    "function_name",
    "function_call_id",
    "input",
    "total_latency",
    "tts_latency",
    "message",
    "code",
    "description",
    "other",
]
MESSAGES = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(sorted(TYPES)) | st.text(),
    st.dictionaries(st.sampled_from(FIELDS), ANY_JSON | st.sampled_from(["user", "assistant"])),
)


def test_of_an_error_that_is_no_string_nothing_is_told() -> None:
    frame = '{"type": "Error", "message": {"about": "what I said"}}'
    assert early_access.decode(frame) == Failed("", "")


def reads_or_complains(frame: str) -> None:
    complaint = None
    try:
        assert isinstance(early_access.decode(frame), FromAgent)
    except AgentMisspoke as error:
        complaint = error
    if complaint is not None:
        assert complaint.trouble is Trouble.GARBAGE
        if not any(word in frame for word in ("content", "input", "message")):
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
        early_access.decode(frame[: cut % len(frame)])


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "trouble", "retry"),
    [
        (LATE_SOUND, Trouble.LINK_LOST, Retry.BACKOFF),
        ("Something went wrong.", Trouble.SERVER_ERROR, Retry.BACKOFF),
        ("", Trouble.SERVER_ERROR, Retry.BACKOFF),
    ],
)
@pytest.mark.parametrize("code", ["", "CLIENT_MESSAGE_TIMEOUT", "FAILED_TO_THINK"])
def test_an_error_is_known_by_its_words_and_ends_the_session(
    code: str, words: str, trouble: Trouble, retry: Retry
) -> None:
    assert early_access.trouble_of(code, words) is trouble
    assert trouble.retry is retry
    assert not early_access.goes_on(code)


# ── which dialect an address speaks ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "is_early"),
    [
        ("wss://agent.deepgram.com/agent", True),
        ("wss://agent.deepgram.com/agent/", True),
        ("wss://sts.sandbox.deepgram.com/agent", True),
        ("ws://127.0.0.1:8080/deep/in/a/proxy/agent", True),
        ("ws://127.0.0.1:8080/agent?key=value", True),
        ("wss://agent.deepgram.com/v1/agent/converse", False),
        ("wss://agent.deepgram.com/v1/agent", False),
        ("wss://agent.deepgram.com", False),
        ("wss://agent.deepgram.com/", False),
        ("wss://agent.deepgram.com/my-agent", False),
        ("wss://agent.deepgram.com/?to=/agent", False),
    ],
)
def test_the_path_of_an_address_says_which_dialect_it_speaks(url: str, is_early: bool) -> None:
    assert is_early_access(url) is is_early
