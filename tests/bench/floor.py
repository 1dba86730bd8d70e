"""The floor: what the same card, wire and frames cost without a house around them.

Two barest loops, each a process that is driven as the daemon is:

    threads   one thread that reads the card and sends, one that receives, one that writes to the
              card and waits in that, one for the control socket; pyalsaaudio blocks, and so does a
              WebSocket made by hand (`wire`)
    trio      one task that waits for the card's descriptor and sends, one that receives and writes
              to the card at once, without waiting; trio-websocket

They keep nothing, recover from nothing, show nothing and decide nothing. What the daemon takes
beyond them is the price of the house.
"""

import argparse
import contextlib
import json
import os
import select
import socket
import threading

import alsaaudio

from .wire import BINARY, CLOSE, TEXT, Wire

RATE_HZ = 16000
PERIOD = 320  # frames, 20 ms: as the daemon's default
BUFFER_PERIODS = 10
MESSAGE_BYTES = 2 * 2 * PERIOD  # 40 ms
PREBUFFER_BYTES = 2 * 3 * PERIOD  # 60 ms
PATH = "/v1/agent/converse"
SETTINGS = json.dumps({"type": "Settings"}).encode()
# What tells that an old answer is over, as far as a loop without a memory cares.
NEW_ANSWER = ("ConversationText", "AgentStartedSpeaking")


def open_pcm(kind: int, device: str, mode: int) -> alsaaudio.PCM:
    """A stream as the daemon opens it."""
    return alsaaudio.PCM(
        type=kind,
        mode=mode,
        device=device,
        rate=RATE_HZ,
        channels=1,
        format=alsaaudio.PCM_FORMAT_S16_LE,
        periodsize=PERIOD,
        periods=BUFFER_PERIODS,
    )


def tell_ready() -> None:
    """The datagram that a service manager waits for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


class Threads:
    """The barest loop of threads."""

    def __init__(self, port: int, control: str) -> None:
        self._port = port
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(control)
        self._listener.listen()
        self._waiting = bytearray()
        self._is_whole = False  # the answer's end has been told
        self._is_dead = False  # what comes is of a stopped answer
        self._changed = threading.Condition()
        self._wire: Wire | None = None

    def run(self) -> None:
        """Obey the control socket until killed; the first press connects."""
        tell_ready()  # as the daemon does: before the cards are open
        self._speaker = open_pcm(alsaaudio.PCM_PLAYBACK, "lab_play", alsaaudio.PCM_NORMAL)
        self._microphone = open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap", alsaaudio.PCM_NORMAL)
        for stream in (self._speaker, self._microphone):
            stream.drop()  # a stream that is open and was never stopped is served by the card
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._obey, args=(connection,), daemon=True).start()

    def _obey(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                command = json.loads(line)["command"]
                if command == "press" and self._wire is None:
                    self._connect()
                elif command == "press":
                    self._hush()
                elif command == "release" and self._wire is not None:
                    self._wire.send(TEXT, b'{"type": "ForceEndTurn"}')
                connection.sendall(b'{"ok": {}}\n')

    def _connect(self) -> None:
        self._wire = Wire(
            socket.create_connection(("127.0.0.1", self._port)),
            masks=True,
        )
        self._wire.ask_upgrade(PATH)
        self._wire.send(TEXT, SETTINGS)
        for part in (self._hear, self._send, self._play):
            threading.Thread(target=part, args=(self._wire,), daemon=True).start()

    def _hush(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._is_dead = True
            self._changed.notify()
        self._speaker.drop()

    def _hear(self, wire: Wire) -> None:
        while (frame := wire.receive()) is not None:
            opcode, payload = frame
            if opcode == BINARY:
                with self._changed:
                    if not self._is_dead:
                        self._waiting += payload
                        self._changed.notify()
            elif opcode == TEXT:
                self._understand(json.loads(payload)["type"])
            elif opcode == CLOSE:
                wire.send(CLOSE, payload)

    def _understand(self, kind: str) -> None:
        if kind == "UserStartedSpeaking":
            self._hush()
        elif kind in NEW_ANSWER:
            with self._changed:
                self._is_dead = self._is_whole = False
        elif kind == "AgentAudioDone":
            with self._changed:
                self._is_whole = True
                self._changed.notify()

    def _send(self, wire: Wire) -> None:
        unsent = b""
        with contextlib.suppress(OSError):  # the far end has gone: so have we
            while True:
                frames, sound = self._microphone.read()
                unsent += sound if frames > 0 else b""
                while len(unsent) >= MESSAGE_BYTES:
                    wire.send(BINARY, unsent[:MESSAGE_BYTES])
                    unsent = unsent[MESSAGE_BYTES:]

    def _play(self, _: Wire) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        len(self._waiting) >= PREBUFFER_BYTES or (self._is_whole and self._waiting)
                    )
                )
            self._play_answer()

    def _play_answer(self) -> None:
        """Play until it is over; where sound is missing the card runs dry and is heard to."""
        size = PREBUFFER_BYTES  # in one write, then a period each
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_whole or self._is_dead)
                piece = bytes(self._waiting[:size])
                del self._waiting[:size]
            if not piece:
                return
            with contextlib.suppress(alsaaudio.ALSAAudioError):  # dropped while it waits
                while self._speaker.write(piece) < 0:
                    pass  # it had run dry, and took nothing
            if self._is_dead:
                self._speaker.drop()  # the piece was in hand when the press came
            size = 2 * PERIOD


async def run_trio(port: int) -> None:
    """The barest trio loop: connect, stream and play until killed."""
    import trio  # noqa: PLC0415  # the other floor starts without them
    import trio_websocket  # noqa: PLC0415

    microphone = open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap", alsaaudio.PCM_NONBLOCK)
    speaker = open_pcm(alsaaudio.PCM_PLAYBACK, "lab_play", alsaaudio.PCM_NONBLOCK)

    async def send(websocket: trio_websocket.WebSocketConnection) -> None:
        descriptors = microphone.polldescriptors()
        poll = select.epoll()
        for descriptor, events in descriptors:
            poll.register(descriptor, events)
        unsent = microphone.read()[1]
        while True:
            await trio.lowlevel.wait_readable(poll.fileno())
            ready = dict(poll.poll(0))
            microphone.polldescriptors_revents([(one, ready.get(one, 0)) for one, _ in descriptors])
            # Once at least: a descriptor of PulseAudio's may be ready for less, and stays so.
            for _ in range(max(1, microphone.avail() // PERIOD)):
                unsent += microphone.read()[1]
            while len(unsent) >= MESSAGE_BYTES:
                await websocket.send_message(unsent[:MESSAGE_BYTES])
                unsent = unsent[MESSAGE_BYTES:]

    async def hear(websocket: trio_websocket.WebSocketConnection) -> None:
        waiting = b""
        is_flowing = False
        while True:
            frame = await websocket.get_message()
            if not isinstance(frame, bytes):
                continue
            waiting += frame
            is_flowing = is_flowing or len(waiting) >= PREBUFFER_BYTES
            if is_flowing:
                taken = speaker.write(waiting)
                taken = speaker.write(waiting) if taken < 0 else taken
                waiting = waiting[2 * taken :]

    async with (
        trio_websocket.open_websocket("127.0.0.1", port, PATH, use_ssl=False) as websocket,
        trio.open_nursery() as nursery,
    ):
        await websocket.send_message(SETTINGS.decode())
        nursery.start_soon(send, websocket)
        nursery.start_soon(hear, websocket)
        tell_ready()


def main() -> None:
    """Run one of the two until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("threads", "trio"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", required=True)
    words = parser.parse_args()
    if words.kind == "threads":
        Threads(words.port, words.socket).run()
    else:
        import trio  # noqa: PLC0415

        trio.run(run_trio, words.port)


if __name__ == "__main__":
    main()
