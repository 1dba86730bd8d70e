"""The stand-in agent as its clients meet it: order, strictness, turns, answers, faults on demand.

All but the last few run in virtual time over memory streams; times are compared with `==` where
the agent decides them alone.
"""

import contextlib
import json
import random
import struct
from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionRejected, open_websocket, wrap_client_stream

from appliance.errors import DeviceError
from appliance.sound.companding import compress
from appliance.standin.agent import PATH, ForceEndTurn, Manners, StandinAgent
from tests.agent_client import (
    AURA,
    FLUX,
    FLUX_VOICE,
    MANUAL,
    MINI,
    NOVA,
    Client,
    connected,
    hush,
    settings,
    talking,
    voice,
)

# Turns and answers.


async def test_a_turn_comes_in_the_documented_order(autojump_clock: trio.testing.MockClock) -> None:
    agent = StandinAgent(Manners(think_s=0.5, text_delay_s=0.25))
    async with talking(agent) as (client, _):
        await client.speak(hush(0.4) + voice(1.0))
        ended_s = trio.current_time()
        await client.send({"type": "ForceEndTurn"})
        await client.until("LatencyReport")
        assert client.kinds() == [
            "UserStartedSpeaking",
            *("ConversationText", "History", "AgentThinking"),
            *("ConversationText", "History", "AgentStartedSpeaking", "sound"),
            *("AgentAudioDone", "LatencyReport"),
        ]
        heard, said = client.all("ConversationText")
        assert heard == {
            "type": "ConversationText",
            "role": "user",
            "content": "you spoke for 1.0 s",
        }
        assert said["role"] == "assistant"
        assert client.all("AgentStartedSpeaking")[0]["total_latency"] == 0.75
        assert client.time_of("ConversationText") == ended_s + 0.25
        assert client.time_of("sound") == ended_s + 0.25 + 0.5


async def test_the_answer_is_what_was_heard_to_the_byte(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent()
    async with talking(agent) as (client, connection):
        sound = hush(1.0) + voice(1.0) + hush(0.2)
        await client.speak(sound)
        await client.send({"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        assert bytes(connection.heard) == sound
        assert client.sound() == sound[len(hush(0.8)) :]  # 0.2 s before the onset


async def test_an_answer_comes_in_odd_pieces_faster_than_real_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(pace=4.0))
    async with talking(agent) as (client, _):
        await client.send(voice(2.0), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        pieces = client.pieces()
        assert all(len(piece) % 2 == 1 and 301 <= len(piece) <= 4097 for piece in pieces[:-1])
        assert len({len(piece) for piece in pieces}) > 3
        assert len(b"".join(pieces)) % 2 == 0
        last_s = (len(b"".join(pieces[:-1])) / 32000) / 4
        times = [at_s for at_s, message in client.log if isinstance(message, bytes)]
        assert times[-1] - times[0] == pytest.approx(last_s, abs=1e-9)


async def test_an_answer_can_be_longer_than_what_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(answer_s=5.0))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        assert client.sound() == voice(1.0) * 5


async def test_an_answer_is_resampled_to_the_output_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent()
    async with talking(agent, settings(in_hz=48000, out_hz=24000)) as (client, _):
        sound = voice(1.0, 48000)
        await client.send(sound, {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        every_other = struct.unpack(f"<{48000}h", sound)[::2]
        assert client.sound() == struct.pack(f"<{24000}h", *every_other)


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
@pytest.mark.parametrize("rate_hz", [8000, 16000])
async def test_sound_is_companded_both_ways_if_the_settings_say_so(
    encoding: str, rate_hz: int, autojump_clock: trio.testing.MockClock
) -> None:
    sound = {"encoding": encoding, "sample_rate": rate_hz}
    agent = StandinAgent(Manners(pace=1.0))
    wanted = settings(audio={"input": sound, "output": sound})
    async with talking(agent, wanted) as (client, connection):
        spoken = compress(voice(1.0, rate_hz), encoding)
        quiet = compress(hush(0.5, rate_hz), encoding)
        await client.send(quiet + spoken, {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        assert connection.heard == quiet + spoken
        assert client.sound() == quiet[len(quiet) * 3 // 5 :] + spoken  # 0.2 s before the onset
        times = [at_s for at_s, message in client.log if isinstance(message, bytes)]
        before_last = sum(map(len, client.pieces()[:-1]))
        assert times[-1] - times[0] == pytest.approx(before_last / rate_hz, abs=1e-9)
        assert client.all("ConversationText")[0]["content"] == "you spoke for 1.0 s"


async def test_each_way_can_have_an_encoding_and_a_rate_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard = {"encoding": "mulaw", "sample_rate": 8000}
    wanted = settings(audio={"input": heard, "output": {"encoding": "alaw"}})
    async with talking(StandinAgent(), wanted) as (client, connection):
        await client.send(compress(voice(1.0, 8000), "mulaw"), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        await connection.interject(hush(0.1, 8000))
        await client.until("AgentAudioDone", 2)
        said = client.sound()
        assert len(said) == 8000 + 800  # 8 kHz, where the settings name no rate
        assert said.endswith(compress(hush(0.1, 8000), "alaw"))


@pytest.mark.parametrize(
    ("listen", "pause_s"),
    [
        (NOVA, 0.5),
        (FLUX, 0.7),
        ({**FLUX, "eot_timeout_ms": 600}, 0.6),
        ({**FLUX, "eot_threshold": 1}, 5.0),
        ({**FLUX, "eot_threshold": 1.0, "eot_timeout_ms": 2000}, 2.0),
    ],
)
@pytest.mark.parametrize("is_burst", [True, False])
async def test_silence_in_the_sound_ends_a_turn_however_fast_it_comes(
    listen: dict[str, Any],
    pause_s: float,
    is_burst: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent()
    async with talking(agent, settings(listen)) as (client, connection):
        spoken = voice(0.5)
        sound = spoken + hush(pause_s + 0.5)
        if is_burst:
            await client.send(sound)
        else:
            began_s = trio.current_time()
            await client.speak(sound, message_s=0.02)
            ended_s = client.time_of("ConversationText") - began_s
            assert ended_s == pytest.approx(0.5 + pause_s - 0.02, abs=1e-6)
        await client.until("AgentAudioDone")
        assert client.sound() == spoken
        assert bytes(connection.heard) == sound


async def test_no_silence_that_was_not_sent_ends_a_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(), settings(NOVA)) as (client, _):
        await client.send(voice(0.5) + hush(0.48))
        for _ in range(10):
            await trio.sleep(5)
            await client.send({"type": "KeepAlive"})
        assert client.kinds() == ["UserStartedSpeaking"]


async def test_the_end_of_no_turn_is_ignored(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent()) as (client, _):
        await client.send(hush(1.0), {"type": "ForceEndTurn"})
        await trio.sleep(5)
        assert client.kinds() == []


@pytest.mark.parametrize(
    ("manner", "listen"),
    [(ForceEndTurn.WARN, MANUAL), (ForceEndTurn.HONOUR, NOVA), (ForceEndTurn.WARN, NOVA)],
)
async def test_a_server_without_force_end_turn_warns_and_leaves_the_turn_open(
    manner: ForceEndTurn, listen: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    agent = StandinAgent(Manners(force_end_turn=manner))
    async with talking(agent, settings(listen)) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await trio.sleep(5)
        assert client.kinds() == ["UserStartedSpeaking", "Warning"]
        assert client.all("Warning")[0]["code"] == "FORCE_END_TURN_UNSUPPORTED"


async def test_a_server_may_ignore_force_end_turn(autojump_clock: trio.testing.MockClock) -> None:
    agent = StandinAgent(Manners(force_end_turn=ForceEndTurn.IGNORE))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await trio.sleep(5)
        assert client.kinds() == ["UserStartedSpeaking"]


async def test_an_older_server_does_not_know_force_end_turn_and_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(force_end_turn=ForceEndTurn.UNPARSABLE))
    async with talking(agent) as (client, connection):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        assert await client.until_closed() == 1005
        assert client.all("Error")[0]["code"] == "UNPARSABLE_CLIENT_MESSAGE"
    assert connection.close_code == 1005


async def test_speech_stops_an_answer_and_the_next_is_whole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(answer_s=60.0))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentStartedSpeaking")
        await trio.sleep(1)
        agent.manners = Manners()
        client.clear()
        await client.send(hush(1.0) + voice(0.06))
        await trio.testing.wait_all_tasks_blocked()
        assert client.kinds() == ["UserStartedSpeaking"]
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        assert client.kinds().count("AgentAudioDone") == 1
        assert client.kinds()[:2] == ["UserStartedSpeaking", "ConversationText"]
        assert len(client.sound()) == 32000 * 60


async def test_an_answer_may_go_on_after_the_user_speaks_until_that_turn_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(answer_s=60.0, stops_when_interrupted=False))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentStartedSpeaking")
        await client.send(voice(1.0))
        await client.until("UserStartedSpeaking", 2)
        client.clear()
        await trio.sleep(1)
        assert len(client.sound()) == pytest.approx(32000 * 8, abs=5000)
        await client.send({"type": "ForceEndTurn"})
        await client.until("ConversationText")
        client.clear()
        await client.until("ConversationText")
        assert client.sound() == b""


async def test_muted_turns_get_their_text_and_no_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(mute_turns=frozenset({1, 3})))
    answered = []
    for _ in range(2):
        async with talking(agent) as (client, _connection):
            for _turn in range(2):
                client.clear()
                await client.send(voice(1.0), {"type": "ForceEndTurn"})
                await trio.sleep(5)
                assert client.all("ConversationText")[0]["role"] == "user"
                answered.append(bool(client.sound()))
    assert answered == [False, True, False, True]


async def test_a_deaf_agent_takes_sound_and_says_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(Manners(deaf=True))) as (client, connection):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await trio.sleep(5)
        assert client.log == []
        assert connection.heard == voice(1.0)


async def test_announcements_and_the_end_of_sound_can_be_missing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(announces=False, audio_done=False))
    async with talking(agent, settings(flags={"history": False})) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("LatencyReport")
        assert client.kinds() == [
            *("UserStartedSpeaking", "ConversationText", "ConversationText"),
            *("sound", "LatencyReport"),
        ]


async def test_a_late_text_comes_though_the_user_speaks_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(text_delay_s=2.0))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"}, hush(0.2), voice(1.0))
        await trio.sleep(5)
        assert client.kinds() == [
            *("UserStartedSpeaking", "UserStartedSpeaking"),
            *("ConversationText", "History", "AgentThinking"),
        ]


async def test_the_same_seed_gives_the_same_conversation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def conversation(seed: int) -> list[tuple[float, str, int]]:
        agent = StandinAgent(random=random.Random(seed))
        began_s = trio.current_time()
        async with talking(agent) as (client, connection):
            await client.speak(voice(1.0) + hush(0.1))
            await client.send({"type": "ForceEndTurn"})
            await client.until("LatencyReport")
        return [(round(at_s - began_s, 6), kind, size) for at_s, kind, size in connection.sent]

    first = await conversation(1)
    assert await conversation(1) == first
    assert await conversation(2) != first


# The beginning.


async def test_welcome_comes_by_itself_with_a_request_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(StandinAgent()) as (client, connection):
        (welcome,) = client.all("Welcome")
        assert len(welcome["request_id"]) == 36
        assert connection.number == 1
        assert connection.request.path == PATH
        assert connection.request.headers["host"] == "agent"


async def test_a_greeting_has_its_text_before_the_settings_apply_and_its_sound_after(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(StandinAgent()) as (client, _):
        await client.send(settings(agent={"greeting": "Good day"}))
        await client.until("LatencyReport")
        assert client.kinds() == [
            *("Welcome", "ConversationText", "History", "SettingsApplied"),
            *("AgentStartedSpeaking", "sound", "AgentAudioDone", "LatencyReport"),
        ]


async def test_sound_before_the_settings_apply_is_not_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(settings_delay_s=2.0, greets=False))
    async with connected(agent) as (client, connection):
        sent_s = trio.current_time()
        await client.send(settings(agent={"greeting": "Good day"}), voice(1.0))
        await client.send({"type": "InjectUserMessage", "content": "hello"})
        await client.until("SettingsApplied")
        assert trio.current_time() == sent_s + 2.0
        assert connection.heard == b""
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        assert connection.heard == client.sound() == voice(1.0)
        assert connection.settings == connection.messages[0]


@pytest.mark.parametrize(
    ("offered", "taken"), [(("token", "KEY"), "token"), (("bearer", "JWT"), "bearer"), ((), None)]
)
async def test_the_credentials_of_a_browser_are_taken_as_a_subprotocol(
    offered: tuple[str, ...], taken: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    agent = StandinAgent()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        websocket = await wrap_client_stream(nursery, near, "agent", PATH, subprotocols=offered)  # type: ignore[arg-type]
        assert websocket.subprotocol == taken
        assert dict(websocket.handshake_headers)[b"dg-request-id"]
        await websocket.aclose()
    protocol = agent.connections[0].request.headers.get("sec-websocket-protocol", "")
    assert protocol == ", ".join(offered)


@pytest.mark.parametrize(
    ("path", "refuse", "status", "code"),
    [
        (PATH, 401, 401, "INVALID_AUTH"),
        (PATH, 402, 402, "PAYMENT_REQUIRED"),
        (PATH, 403, 403, "INSUFFICIENT_PERMISSIONS"),
        (PATH, 429, 429, "TOO_MANY_REQUESTS"),
        (PATH, 503, 503, "REFUSED"),
        ("/v1/agent", None, 404, "NOT_FOUND"),
        ("/", 401, 404, "NOT_FOUND"),
    ],
)
async def test_an_upgrade_can_be_refused(
    path: str,
    refuse: int | None,
    status: int,
    code: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    agent = StandinAgent(Manners(refuse_status=refuse))
    with trio.fail_after(5):
        async with trio.open_nursery() as server:
            server.start_soon(agent.serve_stream, far)
            with pytest.raises(ExceptionGroup) as refused:
                async with trio.open_nursery() as nursery:
                    await wrap_client_stream(nursery, near, "agent", path)  # type: ignore[arg-type]
    answer = refused.value.exceptions[0]
    assert isinstance(answer, ConnectionRejected)
    assert answer.status_code == status
    assert answer.body is not None
    assert json.loads(answer.body)["err_code"] == code
    headers = dict(answer.headers or ())
    assert (b"dg-error" in headers) == (status == 401)
    assert b"dg-request-id" in headers
    assert agent.connections[0].closed_s is not None


@pytest.mark.parametrize("words", [b"", b"GET", b"SSH-2.0-x\r\n\r\n", b"\x16\x03\x01\x02\x00" * 99])
async def test_a_client_that_asks_for_nothing_is_no_connection(
    words: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    agent = StandinAgent()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        if words:
            await near.send_all(words)
        await near.aclose()
    assert agent.connections == []
    assert trio.current_time() == began_s


async def test_a_client_that_connects_and_stays_silent_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    agent = StandinAgent()
    await agent.serve_stream(far)
    assert await near.receive_some() == b""
    assert agent.connections == []


async def test_what_was_said_before_is_taken_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[str] = []
    agent = StandinAgent(tell=lambda _connection, words: told.append(words))
    statement = {"type": "History", "role": "user", "content": "hi"}
    wanted = settings(agent={"context": {"messages": [statement] * 3}})
    async with talking(agent, wanted) as (_, connection):
        assert connection.remembered == 3
    assert told[1] == "has its settings applied, and remembers 3"


async def test_any_stored_agent_can_be_had_and_listens_with_flux(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(stored_agents=True))
    stored = {**settings(), "agent": "12345678-1234-1234-1234-123456781234"}
    async with talking(agent, stored) as (client, connection):
        assert connection.settings == stored
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
        assert client.sound() == voice(1.0)
    async with connected(agent) as (client, _):
        await client.send({**settings(), "agent": "kitchen"})
        await client.until_closed()
        assert client.all("Error")[0]["code"] == "INVALID_AGENT_ID"


# Strictness.


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\0\0", "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS"),
        ({"type": "KeepAlive"}, "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS"),
        ({"type": "ForceEndTurn"}, "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS"),
        ({"type": "SettingsConfiguration", "audio": {}}, "UNPARSABLE_CLIENT_MESSAGE"),
        ({"type": "Settings", "audio": {}}, "UNPARSABLE_CLIENT_MESSAGE"),
        ({"type": "Settings", "agent": {}}, "UNPARSABLE_CLIENT_MESSAGE"),
        (settings(agent={"think_live": {}}), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings(agent={"greeting": None}), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings(extra=1), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings(tags="kitchen"), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings(output={"channels": 1}), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings(output={"encoding": "pcm"}), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings({**FLUX, "language": "en"}), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings({**NOVA, "eot_threshold": 0.7}), "UNPARSABLE_CLIENT_MESSAGE"),
        (settings({"type": "deepgram", "version": "v2"}), "UNPARSABLE_CLIENT_MESSAGE"),
        (
            settings(agent={"speak": {"provider": {**AURA, "language": "en"}}}),
            "UNPARSABLE_CLIENT_MESSAGE",
        ),
        (settings(agent={"think": {"provider": {"type": "custom"}}}), "UNPARSABLE_CLIENT_MESSAGE"),
        (
            settings(agent={"context": {"messages": [{"type": "History", "role": "user"}]}}),
            "UNPARSABLE_CLIENT_MESSAGE",
        ),
        (settings({**FLUX, "eot_threshold": 1.01}), "INVALID_SETTINGS"),
        (settings({**FLUX, "eot_threshold": 0.49}), "INVALID_SETTINGS"),
        (settings({**FLUX, "eager_eot_threshold": 0.95}), "INVALID_SETTINGS"),
        (settings({**FLUX, "eot_timeout_ms": 60001}), "INVALID_SETTINGS"),
        (settings({"type": "deepgram", "model": "flux-general-en"}), "INVALID_SETTINGS"),
        (settings({**FLUX, "model": "nova-3"}), "INVALID_SETTINGS"),
        (settings(out_hz=11025), "INVALID_SETTINGS"),
        (settings(out_hz=44100), "INVALID_SETTINGS"),
        (settings(in_hz=0), "INVALID_SETTINGS"),
        (settings(output={"encoding": "mp3"}), "INVALID_SETTINGS"),
        (settings(output={"container": "wav"}), "INVALID_SETTINGS"),
        (settings(output={"bitrate": 48000}), "INVALID_SETTINGS"),
        (
            settings(agent={"speak": {"provider": {"type": "deepgram", "model": "flux-kit-en"}}}),
            "INVALID_SETTINGS",
        ),
        (settings(agent={"speak": {"provider": {**AURA, "speed": 0.5}}}), "FAILED_TO_SPEAK"),
        (
            settings(agent={"think": {"provider": {**MINI, "temperature": 2.1}}}),
            "INVALID_SETTINGS",
        ),
        (
            settings(
                agent={"think": {"provider": {"type": "groq", "model": "openai/gpt-oss-20b"}}}
            ),
            "INVALID_SETTINGS",
        ),
        (settings(output={"encoding": "mulaw", "sample_rate": 24000}), "INVALID_SETTINGS"),
        (settings(output={"encoding": "alaw", "bitrate": 64000}), "INVALID_SETTINGS"),
        (settings(audio={"input": {"encoding": "opus", "sample_rate": 48000}}), "INVALID_SETTINGS"),
        ({**settings(), "agent": "kitchen"}, "INVALID_AGENT_ID"),
        (
            {**settings(), "agent": "12345678-1234-1234-1234-123456781234"},
            "AGENT_ID_NOT_SUPPORTED",
        ),
    ],
)
async def test_a_wrong_beginning_is_an_error_and_the_end(
    frame: dict[str, Any] | bytes, code: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected(StandinAgent()) as (client, connection):
        await client.send(frame)
        assert await client.until_closed() == 1005
        assert client.kinds() == ["Welcome", "Error"]
        (error,) = client.all("Error")
        assert error["code"] == code, error
        assert error["description"]
    assert connection.settings is None


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "UNPARSABLE_CLIENT_MESSAGE"),
        ("[]", "UNPARSABLE_CLIENT_MESSAGE"),
        ("", "UNPARSABLE_CLIENT_MESSAGE"),
        ("[" * 100_000, "UNPARSABLE_CLIENT_MESSAGE"),
        (b"", "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "Clear"}', "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "KeepAlive", "now": 1}', "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "UpdatePrompt"}', "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "UpdatePrompt", "prompt": 1}', "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "InjectAgentMessage", "content": "hi"}', "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "UpdateThink_Live", "think_live": {}}', "UNPARSABLE_CLIENT_MESSAGE"),
        ('{"type": "FunctionCallResponse", "id": "a"}', "UNPARSABLE_CLIENT_MESSAGE"),
        (json.dumps(settings()), "SETTINGS_ALREADY_APPLIED"),
        (
            json.dumps(
                {"type": "UpdateListen", "listen": {"provider": {**FLUX, "eot_threshold": 2}}}
            ),
            "INVALID_SETTINGS",
        ),
    ],
)
async def test_a_wrong_message_later_is_an_error_and_the_end(
    frame: str | bytes, code: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(StandinAgent()) as (client, _):
        await client.websocket.send_message(frame)
        assert await client.until_closed() == 1005
        assert client.kinds() == ["Error"]
        assert client.all("Error")[0]["code"] == code


@pytest.mark.parametrize(
    "good",
    [
        {"type": "Settings", "audio": {}, "agent": {}},
        settings(NOVA),
        settings({**NOVA, "language": "multi", "smart_format": True, "keyterms": ["Deepgram"]}),
        settings({**FLUX, "eager_eot_threshold": 0.3, "language_hints": ["en"]}),
        settings(out_hz=44100, agent={"speak": {"provider": FLUX_VOICE}}),
        settings(agent={"speak": [{"provider": {**FLUX_VOICE, "expressivity": 2}}]}),
        settings(agent={"think": [{"provider": {"type": "google", "model": "gemini-2.5-flash"}}]}),
        settings(agent={"think": {"provider": {"type": "deepgram", "model": "think-fast"}}}),
        settings(agent={"language": "en"}, tags=["kitchen"], mip_opt_out=True, experimental=False),
        settings(
            agent={
                "context": {
                    "messages": [
                        {"type": "History", "role": "user", "content": "hi"},
                        {
                            "type": "History",
                            "function_calls": [
                                {
                                    "id": "1",
                                    "name": "volume",
                                    "client_side": True,
                                    "arguments": "{}",
                                    "response": "ok",
                                }
                            ],
                        },
                    ]
                },
                "think": {
                    "provider": MINI,
                    "prompt": "Be brief.",
                    "endpoint": {"url": "https://example.com", "headers": {"a": "b"}},
                    "context_length": "max",
                    "functions": [
                        {
                            "name": "volume",
                            "description": "sets it",
                            "parameters": {"type": "object", "properties": {}},
                            "defer_until_eot": True,
                        }
                    ],
                },
            }
        ),
    ],
)
async def test_what_the_real_server_takes_is_taken(
    good: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(StandinAgent(), good) as (client, connection):
        assert client.log == []
        assert connection.settings == good


async def test_silence_on_the_line_is_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(StandinAgent()) as (client, _):
        began_s = trio.current_time()
        assert await client.until_closed() == 1005
        assert trio.current_time() == began_s + 10
        assert client.all("Error")[0]["code"] == "CLIENT_MESSAGE_TIMEOUT"
        assert "'Settings'" in client.all("Error")[0]["description"]


async def test_keepalive_and_sound_hold_the_line_and_nothing_else_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent()) as (client, connection):
        for _ in range(4):
            await client.send({"type": "KeepAlive"})
            await trio.sleep(9)
            await client.send(hush(0.04))
            await trio.sleep(9)
        await client.websocket.ping()
        await client.until_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert client.kinds() == ["Error"]
        assert client.all("Error")[0] == {
            "type": "Error",
            "description": "We waited too long for a websocket message. Please ensure that you're "
            "sending binary messages containing user speech.",
            "code": "CLIENT_MESSAGE_TIMEOUT",
        }
        assert connection.closed_s == client.time_of("Error") == connection.opened_s + 63 + 10


# Other messages.


async def test_updates_are_acknowledged(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent(), settings(FLUX)) as (client, _):
        await client.send(
            {"type": "UpdatePrompt", "prompt": "Be long."},
            {"type": "UpdateThink", "think": {"provider": MINI}},
            {"type": "UpdateSpeak", "speak": {"provider": FLUX_VOICE}},
            {"type": "UpdateListen", "listen": {"provider": {**FLUX, "eot_threshold": 1}}},
            {"type": "UpdateListen", "listen": {"provider": NOVA}},
            {"type": "FunctionCallResponse", "id": "1", "name": "volume", "content": "ok"},
        )
        await client.until("Warning")
        assert client.kinds() == [
            *("PromptUpdated", "ThinkUpdated", "SpeakUpdated", "ListenUpdated", "Warning"),
        ]
        await client.send(voice(0.5) + hush(4.0))
        await trio.sleep(1)
        assert client.kinds()[5:] == ["UserStartedSpeaking"]


async def test_written_words_are_a_turn_answered_by_beeps(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent()) as (client, _):
        await client.send({"type": "InjectUserMessage", "content": "what time is it"})
        await client.until("AgentAudioDone")
        assert client.all("ConversationText")[0]["content"] == "what time is it"
        assert client.sound()
        assert max(struct.unpack(f"<{len(client.sound()) // 2}h", client.sound())) > 7000


async def test_an_injected_message_is_refused_in_anybodys_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent()) as (client, _):
        injected = {"type": "InjectAgentMessage", "message": "one moment"}
        await client.send(voice(1.0), injected, {**injected, "behavior": "queue"})
        await client.until("InjectionRefused", 2)
        await client.send({"type": "ForceEndTurn"}, injected)
        await client.until("InjectionRefused", 3)
        await client.until("AgentAudioDone")
        await client.send(injected)
        await client.until("AgentAudioDone", 2)
        assert client.all("ConversationText")[-1]["content"] == "one moment"


async def test_an_injected_message_can_wait_or_interrupt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent()) as (client, _):
        queued = {"type": "InjectAgentMessage", "message": "and that", "behavior": "queue"}
        await client.send(voice(1.0), {"type": "ForceEndTurn"}, queued)
        await client.until("AgentAudioDone", 2)
        assert client.sound().startswith(voice(1.0))
        assert client.all("ConversationText")[-1]["content"] == "and that"
        client.clear()
        await client.send(voice(1.0), {**queued, "behavior": "interrupt"})
        await client.until("AgentStartedSpeaking")
        await client.send(voice(1.0))
        await client.until("UserStartedSpeaking", 2)
        await trio.sleep(5)
        assert client.all("AgentAudioDone") == []


# Faults on demand.


async def test_anything_can_be_said_on_demand(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent()) as (client, connection):
        await connection.say({"type": "Warning", "code": "SLOW_THINK_REQUEST", "description": ""})
        await connection.say_raw("null")
        await connection.say_raw(b"\x01\x02\x03")
        await connection.interject(voice(1.0), "by the way")
        await client.until("AgentAudioDone")
        assert [kind for _, kind, _ in connection.sent[2:5]] == ["Warning", "raw", "sound"]
        assert client.log[1][1] is None
        assert client.sound() == b"\x01\x02\x03" + voice(1.0)
        assert client.all("ConversationText")[0]["content"] == "by the way"


async def test_a_session_can_fail_in_the_middle_of_an_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talking(StandinAgent(Manners(answer_s=60.0))) as (client, connection):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentStartedSpeaking")
        await connection.fail("SERVER_GOING_AWAY", "Come again.")
        assert await client.until_closed() == 1005
        error = {"type": "Error", "description": "Come again.", "code": "SERVER_GOING_AWAY"}
        assert client.log[-1][1] == error
        assert trio.current_time() == client.log[-1][0]


async def test_a_line_can_be_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent()) as (client, connection):
        await connection.cut()
        assert await client.until_closed() == 1006
        await connection.say({"type": "Warning"})
        await trio.testing.wait_all_tasks_blocked()
        assert connection.close_code == 1006


async def test_a_goodbye_is_written_down(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(StandinAgent()) as (client, connection):
        await client.websocket.aclose(1000)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.close_code == 1000
        assert connection.closed_s is not None


async def test_happenings_are_told_in_words(autojump_clock: trio.testing.MockClock) -> None:
    told: list[str] = []
    agent = StandinAgent(tell=lambda connection, words: told.append(f"{connection.number} {words}"))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentAudioDone")
    assert told == [
        "1 is connected",
        "1 has its settings applied",
        "1 begins to speak",
        "1 has ended turn 1: you spoke for 1.0 s",
        "1 is gone (1000)",
    ]


# Clients that misbehave.


async def test_a_client_may_disappear_in_the_middle_of_an_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    agent = StandinAgent(Manners(answer_s=60.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        async with trio.open_nursery() as reading:
            websocket = await wrap_client_stream(reading, near, "agent", PATH)  # type: ignore[arg-type]
            client = Client(websocket)
            reading.start_soon(client.read)
            await client.send(settings())
            await client.until("SettingsApplied")
            await client.send(voice(1.0), {"type": "ForceEndTurn"})
            await client.until("AgentStartedSpeaking")
            await trio.sleep(1)
            await trio.aclose_forcefully(near)
    (connection,) = agent.connections
    assert connection.close_code == 1006
    assert connection.closed_s == trio.current_time()


async def test_pings_are_answered_while_an_answer_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(answer_s=60.0))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentStartedSpeaking")
        asked_s = trio.current_time()
        await client.websocket.ping()
        assert trio.current_time() == asked_s


async def test_a_client_that_does_not_read_is_heard_and_nothing_piles_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.lockstep_stream_pair()  # holds no more than what is being sent
    agent = StandinAgent(Manners(answer_s=600.0, pace=100.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        async with trio.open_nursery() as reading:
            websocket = await wrap_client_stream(reading, near, "agent", PATH)  # type: ignore[arg-type]
            client = Client(websocket)
            await client.send(settings())
            while "SettingsApplied" not in str(await websocket.get_message()):
                pass
            await client.send(voice(1.0), {"type": "ForceEndTurn"})
            await trio.sleep(9)
            (connection,) = agent.connections
            written = len(connection.sent)
            await client.send(voice(1.0))
            await trio.sleep(9)
            assert len(connection.heard) == 64000
            assert len(connection.sent) == written < 20
            for _ in range(600):
                await client.send({"type": "UpdatePrompt", "prompt": "more"})
                await trio.testing.wait_all_tasks_blocked()
                if connection.closed_s is not None:
                    break
            assert connection.closed_s is not None
            assert len(connection.messages) < 300
            reading.cancel_scope.cancel()
    assert connection.close_code == 1006


async def test_what_is_no_websocket_frame_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    noise = random.Random(7)
    for _ in range(50):
        near, far = trio.testing.memory_stream_pair()
        agent = StandinAgent()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.serve_stream, far)
            await near.send_all(
                b"GET /v1/agent/converse HTTP/1.1\r\nHost: \xff\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".replace(
                    b"\xff", b"\xff" if noise.random() < 0.1 else b"agent"
                )
            )
            await trio.testing.wait_all_tasks_blocked()
            with contextlib.suppress(trio.BrokenResourceError):  # it has hung up already
                await near.send_all(noise.randbytes(noise.randrange(1, 2000)))
            await trio.testing.wait_all_tasks_blocked()
            await near.aclose()


async def test_sound_of_old_connections_is_forgotten_when_there_is_too_much(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.standin.agent.KEPT_BYTES_MAX", 50_000)
    agent = StandinAgent(Manners(deaf=True))
    for _ in range(4):
        async with talking(agent) as (client, _connection):
            await client.send(hush(1.0))
            await trio.testing.wait_all_tasks_blocked()
    assert [connection.number for connection in agent.connections] == [3, 4]


# Real sockets, real time.


async def test_it_converses_over_tcp(nursery: trio.Nursery) -> None:
    agent = StandinAgent(Manners(think_s=0.01, pace=100.0))
    port = await nursery.start(agent.listen)
    with trio.fail_after(10):
        async with open_websocket("127.0.0.1", port, PATH, use_ssl=False) as websocket:
            client = Client(websocket)
            nursery.start_soon(client.read)
            await client.converse()
    while agent.connections[0].closed_s is None:
        await trio.lowlevel.checkpoint()
    assert agent.connections[0].close_code == 1000
    with pytest.raises(DeviceError, match=str(port)):
        await agent.listen(port=port)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.com", ""])
async def test_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(DeviceError, match="loopback"):
        await StandinAgent().listen(host)


# Being stopped.


@pytest.mark.parametrize("path", [PATH, "/agent"])
async def test_stopped_it_closes_what_is_open_as_one_that_goes_away(
    path: str, autojump_clock: trio.testing.MockClock
) -> None:
    agent = StandinAgent()
    async with connected(agent, path) as (one, first), connected(agent, path) as (other, second):
        await one.websocket.aclose()
        await agent.go_away()
        assert await other.until_closed() == 1001
        assert (first.close_code, second.close_code) == (1000, 1001)
        assert trio.current_time() < 1.0


async def test_stopped_amid_an_answer_it_says_no_more_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent(Manners(answer_s=60.0, pace=1.0))
    async with talking(agent) as (client, _):
        await client.send(voice(1.0), {"type": "ForceEndTurn"})
        await client.until("AgentStartedSpeaking")
        await agent.go_away()
        assert await client.until_closed() == 1001
        assert client.kinds()[-1] != "AgentAudioDone"


async def test_who_reads_nothing_is_waited_for_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = StandinAgent()
    near, far = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        head = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        await near.send_all(f"GET {PATH} HTTP/1.1\r\n{head}\r\n{key}\r\n\r\n".encode())
        assert b" 101 " in await near.receive_some(4096)
        await trio.sleep(5.0)
        began_s = trio.current_time()
        await agent.go_away()
        assert trio.current_time() == pytest.approx(began_s + 1.0, abs=0.01)
        nursery.cancel_scope.cancel()
