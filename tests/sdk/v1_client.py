"""A conversation in V1 with the newest official SDK: run by its own Python.

Takes the address of the agent. Tells of each thing that came in a line of JSON; with the end of an
answer, the SHA-256 of its sound.
"""

import hashlib
import json
import math
import struct
import sys
import threading
from typing import Any

from deepgram import DeepgramClient  # type: ignore[import-not-found]
from deepgram.agent.v1 import types as v1  # type: ignore[import-not-found]
from deepgram.core.events import EventType  # type: ignore[import-not-found]
from deepgram.environment import DeepgramClientEnvironment  # type: ignore[import-not-found]
from deepgram.types import (  # type: ignore[import-not-found]
    SpeakSettingsV1,
    ThinkSettingsV1,
    ThinkSettingsV1FunctionsItem,
)

RATE_HZ = 16000
LIMIT_S = 20.0
ANNOUNCED = "One moment, please: this is long enough to be still going on when the next comes."
CHUNK_BYTES = 2560  # 80 ms, as Flux likes them

FLUX = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
AURA = {"type": "deepgram", "version": "v1", "model": "aura-2-thalia-en"}
MINI = {"type": "open_ai", "model": "gpt-4o-mini", "temperature": 0.7}


def tone(seconds: float) -> bytes:
    samples = (
        round(8000 * math.sin(math.tau * 440 * n / RATE_HZ))
        for n in range(round(seconds * RATE_HZ))
    )
    return b"".join(struct.pack("<h", sample) for sample in samples)


def think(prompt: str) -> ThinkSettingsV1:
    functions = [
        ThinkSettingsV1FunctionsItem(
            name=name,
            description="Tells something.",
            parameters={"type": "object", "properties": {"item": {"type": "string"}}},
        )
        for name in ("get_status", "get_weather")
    ]
    return ThinkSettingsV1(provider=MINI, prompt=prompt, functions=functions)


def settings() -> v1.AgentV1Settings:
    sound = {"encoding": "linear16", "sample_rate": RATE_HZ}
    said = {"type": "History", "role": "user", "content": "hello"}
    return v1.AgentV1Settings(
        tags=["sdk"],
        audio=v1.AgentV1SettingsAudio(
            input=v1.AgentV1SettingsAudioInput(**sound),
            output=v1.AgentV1SettingsAudioOutput(**sound, container="none"),
        ),
        agent=v1.AgentV1SettingsAgent(
            listen={"provider": {**FLUX, "eot_threshold": 1.0, "eot_timeout_ms": 30000}},
            think=think("call get_status, then call get_weather"),
            speak=SpeakSettingsV1(provider=AURA),
            context={"messages": [said]},
            greeting="Good day",
        ),
    )


class Ear:
    """What came, and a way to wait for it."""

    def __init__(self) -> None:
        self._sound = hashlib.sha256()
        self._counts: dict[str, int] = {}
        self._came = threading.Condition()

    def take(self, message: Any) -> None:
        if isinstance(message, bytes):
            self._sound.update(message)
            return
        table = json.loads(message.json(exclude_none=True))
        self.hear(table.pop("type"), taken_for=type(message).__name__, **table)

    def hear(self, kind: str, **more: Any) -> None:
        with self._came:
            if kind == "AgentAudioDone":
                more["sound"] = self._sound.hexdigest()
                self._sound = hashlib.sha256()
            sys.stdout.write(json.dumps({"kind": kind, **more}) + "\n")
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._came.notify_all()

    def wait(self, kind: str, times: int = 1) -> None:
        with self._came:
            if not self._came.wait_for(lambda: self._counts.get(kind, 0) >= times, LIMIT_S):
                sys.exit(f"no {kind} came")


def converse(connection: Any, ear: Ear) -> None:
    def hear(message: Any) -> None:
        ear.take(message)
        for call in getattr(message, "functions", ()):
            answer = {"id": call.id, "name": call.name, "content": f"{call.name} is good"}
            connection.send_function_call_response(v1.AgentV1SendFunctionCallResponse(**answer))

    connection.on(EventType.MESSAGE, hear)
    connection.on(EventType.ERROR, lambda error: ear.hear("broken", error=repr(error)))
    connection.on(EventType.CLOSE, lambda _nothing: ear.hear("closed"))
    threading.Thread(target=connection.start_listening, daemon=True).start()
    ear.wait("Welcome")
    connection.send_settings(settings())
    ear.wait("LatencyReport")
    sound = tone(1.0)
    for start in range(0, len(sound), CHUNK_BYTES):
        connection.send_media(sound[start : start + CHUNK_BYTES])
    connection.send_force_end_turn()
    ear.wait("LatencyReport", 2)
    connection.send_keep_alive()
    connection.send_update_prompt(v1.AgentV1UpdatePrompt(prompt="Be brief."))
    connection.send_update_think(v1.AgentV1UpdateThink(think=think("Be brief.")))
    connection.send_update_speak(v1.AgentV1UpdateSpeak(speak=SpeakSettingsV1(provider=AURA)))
    connection.send_update_listen(v1.AgentV1UpdateListen(listen={"provider": FLUX}))
    connection.send_inject_user_message(v1.AgentV1InjectUserMessage(content="what time is it"))
    ear.wait("LatencyReport", 3)
    said = {"message": ANNOUNCED}
    connection.send_inject_agent_message(v1.AgentV1InjectAgentMessage(**said))
    connection.send_inject_agent_message(v1.AgentV1InjectAgentMessage(**said))
    ear.wait("InjectionRefused")
    ear.wait("LatencyReport", 4)
    connection.send_settings(settings())
    ear.wait("Error")
    ear.wait("closed")


def main(url: str) -> None:
    rest = url.replace("ws", "http", 1)
    environment = DeepgramClientEnvironment(base=rest, production=url, agent=url, agent_rest=rest)
    with DeepgramClient(api_key="no-key", environment=environment).agent.v1.connect() as connection:
        converse(connection, Ear())


main(sys.argv[1])
