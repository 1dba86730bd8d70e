"""A conversation in early access with the official SDK, version 3.9: run by its own Python.

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

from deepgram import (  # type: ignore[import-not-found]
    AgentWebSocketEvents,
    Context,
    DeepgramClient,
    DeepgramClientOptions,
    Function,
    FunctionCallResponse,
    InjectAgentMessageOptions,
    Item,
    Parameters,
    Properties,
    SettingsConfigurationOptions,
    UpdateInstructionsOptions,
    UpdateSpeakOptions,
)

RATE_HZ = 16000
LIMIT_S = 20.0
ANNOUNCED = "One moment, please: this is long enough to be still going on when the next comes."
CHUNK_BYTES = 8194  # what the SDK's own microphone sends at a time


def tone(seconds: float) -> bytes:
    samples = (
        round(8000 * math.sin(math.tau * 440 * n / RATE_HZ))
        for n in range(round(seconds * RATE_HZ))
    )
    return b"".join(struct.pack("<h", sample) for sample in samples)


def settings() -> SettingsConfigurationOptions:
    options = SettingsConfigurationOptions()
    options.audio.input.sample_rate = options.audio.output.sample_rate = RATE_HZ
    options.agent.think.provider.type = "open_ai"
    options.agent.think.model = "gpt-4o-mini"
    options.agent.think.instructions = 'At the end of each turn call set_volume {"item": 40}'
    volume = Properties(Item(type="integer", description="From 0 to 100."))
    options.agent.think.functions = [
        Function(
            name="set_volume",
            description="Sets the volume.",
            url="",  # the class demands one; without an address the client is asked
            method="post",
            parameters=Parameters(type="object", properties=volume, required=["item"]),
        )
    ]
    said = [{"role": "assistant", "content": "Good day"}]
    options.context = Context(messages=said, replay=True)
    return options


class Ear:
    """What came, and a way to wait for it."""

    def __init__(self) -> None:
        self._sound = hashlib.sha256()
        self._counts: dict[str, int] = {}
        self._came = threading.Condition()

    def take(self, sound: bytes) -> None:
        self._sound.update(sound)

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


def main(url: str) -> None:
    client = DeepgramClient("no-key", DeepgramClientOptions(options={"keepalive": "true"}))
    connection = client.agent.websocket.v("1")
    connection._websocket_url = url  # the SDK knows one address only
    ear = Ear()

    def on(event: AgentWebSocketEvents) -> None:
        def hear(_client: Any, *values: Any, **named: Any) -> None:
            value = next(iter((*values, *named.values())))
            if isinstance(value, bytes):
                ear.take(value)
                return
            table = value.to_dict()
            ear.hear(str(event), **{key: table[key] for key in table if key != "type"})
            if event == AgentWebSocketEvents.FunctionCallRequest:
                answer = FunctionCallResponse(
                    function_call_id=value.function_call_id, output="volume is 40"
                )
                connection.send(answer.to_json())

        connection.on(event, hear)

    for event in AgentWebSocketEvents.__members__.values():
        on(event)
    if not connection.start(settings()):
        sys.exit("could not start")
    ear.wait("AgentAudioDone")
    sound = tone(1.0) + bytes(round(0.6 * RATE_HZ) * 2)
    for start in range(0, len(sound), CHUNK_BYTES):
        connection.send(sound[start : start + CHUNK_BYTES])
    ear.wait("AgentAudioDone", 2)
    connection.keep_alive()
    connection.send(str(UpdateInstructionsOptions(instructions="Be brief.")))
    connection.send(str(UpdateSpeakOptions(model="aura-luna-en")))
    ear.wait("Unhandled", 2)  # this SDK knows neither InstructionsUpdated nor SpeakUpdated
    connection.send(str(InjectAgentMessageOptions(message=ANNOUNCED)))
    connection.send(str(InjectAgentMessageOptions(message=ANNOUNCED)))
    ear.wait("InjectionRefused")
    ear.wait("AgentAudioDone", 3)
    connection.send(json.dumps({"type": "InjectUserMessage", "content": "of another dialect"}))
    ear.wait("Error")
    connection.finish()


main(sys.argv[1])
