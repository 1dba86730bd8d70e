"""The official clients hold a conversation with the stand-in agent, over real sockets.

What they make of it, and what they sent, is compared with what was said on either side. They check
certificates as they always do, against the file that the stand-in's certificate comes with.
"""

import hashlib
import json
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.standin import certificate
from appliance.standin.agent import EARLY_PATH, Connection, Manners, StandinAgent

from .environment import HERE, python_with

pytestmark = pytest.mark.sdk

LIMIT_S = 30.0
SPOKEN_BYTES = 32000  # a second

ANNOUNCED = "One moment, please: this is long enough to be still going on when the next comes."

Told = list[dict[str, Any]]


@pytest.fixture(scope="session")
def old_python() -> Path:
    return python_with(HERE / "early_access.txt")


@pytest.fixture(scope="session")
def new_python() -> Path:
    return python_with(HERE / "v1.txt")


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def converse(
    client: str, python: Path, scheme: str, path: str, tmp_path: Path
) -> tuple[Connection, Told]:
    """Let a client talk with a stand-in agent: what that one heard, and what the client tells."""
    agent = StandinAgent(Manners(think_s=0.05, pace=10.0))
    ca_file = tmp_path / "ca.pem"
    tls: ssl.SSLContext | None = certificate.make(ca_file) if scheme == "wss" else None
    async with trio.open_nursery() as nursery:

        async def listen(task_status: trio.TaskStatus[int]) -> None:
            await agent.listen(tls=tls, task_status=task_status)

        port = await nursery.start(listen)
        with trio.fail_after(LIMIT_S):
            done = await trio.run_process(
                [python, "-I", HERE / client, f"{scheme}://127.0.0.1:{port}{path}"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**os.environ, "SSL_CERT_FILE": str(ca_file)} if tls else None,
            )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        (connection,) = agent.connections
        while connection.closed_s is None:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return connection, [json.loads(line) for line in done.stdout.splitlines()]


def of(kind: str, told: Told) -> Told:
    return [one for one in told if one["kind"] == kind]


def kinds(told: Told) -> list[str]:
    return [one["kind"] for one in told]


def was_answered_with_what_was_said(connection: Connection, told: Told) -> bool:
    assert any(connection.heard[:SPOKEN_BYTES])
    said = hashlib.sha256(connection.heard[:SPOKEN_BYTES]).hexdigest()
    return bool(of("AgentAudioDone", told)[1]["sound"] == said)


async def test_the_sdk_of_that_time_converses_in_early_access(
    old_python: Path, scheme: str, tmp_path: Path
) -> None:
    connection, told = await converse(
        "early_access_client.py", old_python, scheme, EARLY_PATH, tmp_path
    )
    assert kinds(told)[:2] in (["Welcome", "Open"], ["Open", "Welcome"])
    assert of("InjectionRefused", told) == [{"kind": "InjectionRefused"}]
    aside = {"Open", "Welcome", "InjectionRefused", "Close"}
    assert [kind for kind in kinds(told) if kind not in aside] == [
        *("SettingsApplied", "ConversationText", "AgentStartedSpeaking", "AgentAudioDone"),
        *("UserStartedSpeaking", "ConversationText", "AgentThinking"),
        *("FunctionCalling", "FunctionCallRequest", "FunctionCalling"),
        *("ConversationText", "AgentStartedSpeaking", "AgentAudioDone"),
        *("Unhandled", "Unhandled"),
        *("ConversationText", "AgentStartedSpeaking", "AgentAudioDone"),
        "Error",
    ]
    assert [one["content"] for one in of("ConversationText", told)] == [
        "Good day",
        "you spoke for 1.0 s",
        "You said: 1.0 s of sound. set_volume gave: volume is 40",
        ANNOUNCED,
    ]
    assert of("FunctionCallRequest", told)[0]["function_name"] == "set_volume"
    assert "InjectUserMessage" in of("Error", told)[0]["message"]
    assert was_answered_with_what_was_said(connection, told)
    assert connection.request.headers["authorization"] == "Token no-key"
    assert connection.remembered == 1
    assert [message["type"] for message in connection.messages] == [
        *("SettingsConfiguration", "FunctionCallResponse", "KeepAlive"),
        *("UpdateInstructions", "UpdateSpeak"),
        *("InjectAgentMessage", "InjectAgentMessage", "InjectUserMessage"),
    ]


async def test_the_newest_sdk_converses_in_v1(
    new_python: Path, scheme: str, tmp_path: Path
) -> None:
    connection, told = await converse("v1_client.py", new_python, scheme, "", tmp_path)
    assert "the agent is speaking" in of("InjectionRefused", told)[0]["message"]
    assert [kind for kind in kinds(told) if kind not in ("History", "InjectionRefused")] == [
        *("Welcome", "ConversationText", "SettingsApplied"),
        *("AgentStartedSpeaking", "AgentAudioDone", "LatencyReport"),
        *("UserStartedSpeaking", "ConversationText", "AgentThinking", "FunctionCallRequest"),
        *("ConversationText", "AgentStartedSpeaking", "AgentAudioDone", "LatencyReport"),
        *("PromptUpdated", "ThinkUpdated", "SpeakUpdated", "ListenUpdated"),
        *("ConversationText", "AgentThinking"),
        *("ConversationText", "AgentStartedSpeaking", "AgentAudioDone", "LatencyReport"),
        *("ConversationText", "AgentStartedSpeaking", "AgentAudioDone", "LatencyReport"),
        *("Error", "closed"),
    ]
    for one in told:  # the SDK knows every one of them for what it is
        history = "FunctionCall" if "function_calls" in one else "Conversation"
        kind = f"{history}HistoryMessage" if one["kind"] == "History" else f"AgentV1{one['kind']}"
        assert one.get("taken_for", kind) == kind
    gave = "get_status gave: get_status is good get_weather gave: get_weather is good"
    assert [one["content"] for one in of("ConversationText", told)] == [
        "Good day",
        "you spoke for 1.0 s",
        f"You said: 1.0 s of sound. {gave}",
        "what time is it",
        "You wrote: what time is it",
        ANNOUNCED,
    ]
    assert of("Error", told)[0]["code"] == "SETTINGS_ALREADY_APPLIED"
    assert was_answered_with_what_was_said(connection, told)
    assert connection.request.headers["authorization"] == "Token no-key"
    assert connection.remembered == 1
    assert [message["type"] for message in connection.messages] == [
        *("Settings", "ForceEndTurn", "FunctionCallResponse", "FunctionCallResponse"),
        *("KeepAlive", "UpdatePrompt", "UpdateThink", "UpdateSpeak", "UpdateListen"),
        *("InjectUserMessage", "InjectAgentMessage", "InjectAgentMessage", "Settings"),
    ]


def test_the_environments_are_of_the_versions_that_were_asked_for(
    old_python: Path, new_python: Path
) -> None:
    words = "import importlib.metadata as m; print(m.version('deepgram-sdk'))"
    for python, requirements in ((old_python, "early_access.txt"), (new_python, "v1.txt")):
        told = subprocess.run(
            [python, "-I", "-c", words], capture_output=True, text=True, check=True
        )
        assert f"deepgram-sdk=={told.stdout.strip()} " in (HERE / requirements).read_text()


@pytest.mark.parametrize("requirements", ["early_access.txt", "v1.txt"])
def test_the_requirements_name_no_address(requirements: str) -> None:
    assert "://" not in (HERE / requirements).read_text()
