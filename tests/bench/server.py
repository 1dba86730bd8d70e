"""The far end of the bench: a server of V1 that does what it is told, in a process of its own.

It decides nothing: `conversation.py` orders on its stdin, one JSON object a line, and reads one
answer to each on its stdout. Every time in them is of `time.monotonic()`, which all processes of a
machine share. Threads and blocking sockets: the server must not be what is measured.

    {"do": "play", "seconds": 3, …}   sound, and what comes before and after it; when it began
    {"do": "send", "message": {…}}    any JSON; when it went
    {"do": "wait", "for": "Settings"} the arrival of the next message of that type, at most 10 s
    {"do": "clicks"}                  when each click that was said into the microphone arrived
    {"do": "hush"} {"do": "cut"} {"do": "manners", …}
"""

import array
import contextlib
import json
import math
import random
import socket
import sys
import threading
import time
from collections import Counter
from typing import Any

from .wire import BINARY, CLOSE, PING, PONG, TEXT, Wire

RATE_HZ = 16000
LOUD = 500  # of 32767, as the lab has it
WAIT_LIMIT_S = 10.0
CLICK_GAP_S = 0.1  # a click follows so much silence at least
TONE_HZ = 500  # 32 samples a turn: any 20 ms of it join without a seam

Order = dict[str, Any]


def tone(samples: int) -> bytes:
    """A tone without a quiet sample, so that every hole in it is one that we heard."""
    turn = 2 * math.pi * TONE_HZ / RATE_HZ
    return array.array(
        "h", (round(12000 * math.cos(turn * (index + 0.5))) for index in range(samples))
    ).tobytes()


class Line:
    """One connection: what came on it and when, and what is being said."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.sound: list[tuple[float, bytes]] = []
        self.hushed = threading.Event()

    def text(self, message: object) -> float:
        """Send a message; when it began to go."""
        sent_s = time.monotonic()
        with contextlib.suppress(OSError):  # it has gone: whoever measures will see that
            self.wire.send(TEXT, json.dumps(message).encode())
        return sent_s

    def clicks(self) -> list[float]:
        """When the message arrived that brought the first loud sample of each click."""
        arrivals = []
        quiet = RATE_HZ
        for arrived_s, sound in self.sound:
            for sample in array.array("h", sound):
                if abs(sample) <= LOUD:
                    quiet += 1
                    continue
                if quiet > CLICK_GAP_S * RATE_HZ:
                    arrivals.append(arrived_s)
                quiet = 0
        return arrivals

    def play(self, order: Order, began: threading.Event, hushed: threading.Event) -> None:
        """Send sound: `frame_ms` a frame, `pace` times as fast as it sounds, each frame late by
        up to `jitter_ms`; at `outage_at_s` of sound nothing for `outage_s`."""
        frame_s = order.get("frame_ms", 20) / 1000
        frame = tone(round(frame_s * RATE_HZ))
        pace, jitter_s = order.get("pace", 1.0), order.get("jitter_ms", 0) / 1000
        dice = random.Random(1)
        began_s = time.monotonic()
        try:
            for number in range(round(order["seconds"] / frame_s)):
                late_s = dice.uniform(0, jitter_s) if number else 0.0  # the worst: an early first
                due_s = began_s + number * frame_s / pace + late_s
                if "outage_s" in order and number * frame_s >= order["outage_at_s"]:
                    due_s += order["outage_s"]
                time.sleep(max(0.0, due_s - time.monotonic()))
                if hushed.is_set():
                    return
                if number == 0:
                    order["t"] = time.monotonic()
                self.wire.send(BINARY, frame)
                began.set()
        except OSError:
            return  # cut
        finally:
            began.set()
        if order.get("done", True):
            self.text({"type": "AgentAudioDone"})


class Server:
    """Takes connections, does what it is told to the newest of them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._line: Line | None = None
        self._manners: Order = {}
        self._came: Counter[str] = Counter()
        self._waited: Counter[str] = Counter()
        self._arrivals: dict[str, float] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        wire = Wire(connection, masks=False)
        key = wire.wait_upgrade()
        self._note("request")
        if self._manners.get("silent"):
            return  # and the socket stays open, as that of a captive portal does
        if "refuse" in self._manners:
            wire.refuse_upgrade(self._manners["refuse"])
            wire.cut()
            return
        wire.accept_upgrade(key)
        line = self._line = Line(wire)
        line.text({"type": "Welcome", "request_id": "bench"})
        while (frame := wire.receive()) is not None:
            opcode, payload = frame
            if opcode == BINARY:
                line.sound.append((time.monotonic(), payload))
            elif opcode == TEXT:
                self._take(line, json.loads(payload)["type"])
            elif opcode == PING:  # else the daemon takes it for dead, as it should
                wire.send(PONG, payload)
            elif opcode == CLOSE and not self._manners.get("never_closes"):
                wire.send(CLOSE, payload)
                break
        line.hushed.set()
        self._note("gone")

    def _take(self, line: Line, kind: str) -> None:
        if kind == "Settings":
            line.text({"type": "SettingsApplied"})
        self._note(kind)

    def _note(self, kind: str) -> None:
        with self._changed:
            self._came[kind] += 1
            self._arrivals[kind] = time.monotonic()
            self._changed.notify_all()

    def obey(self, order: Order) -> object:
        """Do one thing; its answer."""
        match order["do"]:
            case "manners":
                self._manners = order
                return None
            case "wait":
                return self._wait(order["for"])
        line = self._line
        assert line is not None, "nobody is connected"
        match order["do"]:
            case "send":
                return line.text(order["message"])
            case "play":
                return self._play(line, order)
            case "hush":
                line.hushed.set()
            case "cut":
                line.hushed.set()
                line.wire.cut()
            case "clicks":
                return line.clicks()
        return None

    def _wait(self, kind: str) -> float | None:
        with self._changed:
            is_here = self._changed.wait_for(
                lambda: self._came[kind] > self._waited[kind], WAIT_LIMIT_S
            )
            self._waited[kind] = self._came[kind]
            return self._arrivals[kind] if is_here else None

    def _play(self, line: Line, order: Order) -> float:
        """The user's text, then the sound from a thread of its own; when its first frame went."""
        line.hushed.set()
        line.hushed = threading.Event()
        line.text({"type": "ConversationText", "role": "user", "content": "bench"})
        line.text({"type": "AgentStartedSpeaking", "total_latency": 0.0})
        began = threading.Event()
        words = (order, began, line.hushed)
        threading.Thread(target=line.play, args=words, daemon=True).start()
        began.wait()
        return float(order.get("t", math.nan))


def main() -> None:
    """Obey until stdin ends."""
    server = Server()
    print(json.dumps(server.port), flush=True)
    for order in sys.stdin:
        print(json.dumps(server.obey(json.loads(order))), flush=True)


if __name__ == "__main__":
    main()
