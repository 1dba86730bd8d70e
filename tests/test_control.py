"""The control socket from both ends: real sockets on the real clock, bounds of time on trio's."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DeviceError
from appliance.host import control, remote
from appliance.host.control import Client, CommandError, serve


class House:
    """A household with a button that counts, and a command that takes arguments."""

    def __init__(self) -> None:
        self.presses = 0
        self.telling: list[Callable[[Mapping[str, object]], None]] = []

    def commands(self) -> Mapping[str, Callable[..., object]]:
        return {"press": self.press, "say": self.say, "decline": self.decline}

    def status(self) -> dict[str, object]:
        return {"phase": "asleep", "presses": self.presses}

    def subscribe(self, tell: Callable[[Mapping[str, object]], None]) -> Callable[[], None]:
        self.telling.append(tell)
        return lambda: self.telling.remove(tell)

    def press(self) -> None:
        self.presses += 1
        self.tell({"event": "press", "presses": self.presses})

    def say(self, text: str, times: int = 1) -> str:
        return text * times

    def decline(self) -> None:
        raise CommandError("the box is asleep")

    def tell(self, event: Mapping[str, object]) -> None:
        for tell in list(self.telling):
            tell(event)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has 107 bytes
        yield Path(folder) / "control.sock"


@pytest.fixture
async def served(house: House, path: Path) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, path, house))
        yield path
        nursery.cancel_scope.cancel()


def is_socket(path: Path) -> bool:
    return path.is_socket()


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


def text_of(path: Path) -> str:
    return path.read_text()


class Talker:
    """A client of ours that says bytes and hears lines; a test that waits too long fails."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.pending = b""

    async def say(self, line: bytes | Mapping[str, object]) -> None:
        raw = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        await self.stream.send_all(raw)

    async def hear(self) -> dict[str, object] | None:
        """The next line; None once the socket is closed."""
        with trio.fail_after(10):
            while b"\n" not in self.pending:
                try:
                    heard = await self.stream.receive_some(65536)
                except trio.BrokenResourceError:
                    return None
                if not heard:
                    return None
                self.pending += heard
        line, self.pending = self.pending.split(b"\n", 1)
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    async def ask(self, line: bytes | Mapping[str, object]) -> dict[str, object] | None:
        await self.say(line)
        return await self.hear()


Connect = Callable[[Path], Awaitable[Talker]]


@pytest.fixture
async def talker() -> AsyncIterator[Connect]:
    """Makes clients, and closes them after the test."""
    async with AsyncExitStack() as open_ones:

        async def connect(path: Path) -> Talker:
            stream = await open_ones.enter_async_context(await trio.open_unix_socket(str(path)))
            return Talker(stream)

        yield connect


# Commands


async def test_a_command_is_obeyed_and_answered(
    served: Path, house: House, talker: Connect
) -> None:
    client = await talker(served)
    assert await client.ask({"command": "press"}) == {"ok": None}
    assert await client.ask({"command": "status"}) == {"ok": {"phase": "asleep", "presses": 1}}
    assert await client.ask({"command": "say", "text": "a", "times": 3}) == {"ok": "aaa"}
    assert house.presses == 1


async def test_several_commands_in_one_breath_are_answered_in_order(
    served: Path, talker: Connect
) -> None:
    client = await talker(served)
    await client.say(b'{"command":"say","text":"1"}\n{"command":"say","text":"2"}\n{"comm')
    await client.say(b'and":"say","text":"3"}\n')
    assert [await client.hear() for _ in range(3)] == [{"ok": "1"}, {"ok": "2"}, {"ok": "3"}]


async def test_a_household_declines_in_its_own_words(served: Path, talker: Connect) -> None:
    client = await talker(served)
    assert await client.ask({"command": "decline"}) == {"error": "the box is asleep"}
    assert await client.ask({"command": "press"}) == {"ok": None}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"command": "pres"}', 'no command "pres"; the nearest is "press"'),
        (b'{"command": "stauts"}', 'no command "stauts"; the nearest is "status"'),
        (b'{"command": "%s"}' % (b"x" * 999), f'no command "{"x" * 40}…"; the nearest is '),
        (b'{"command": ""}', 'no command ""; the nearest is '),
        (b'{"command": "press", "hard": true}', 'press: takes nothing and no "hard"'),
        (b'{"command": "press", "self": 1}', 'press: takes nothing and no "self"'),
        (b'{"command": "say", "word": "a"}', 'say: takes "text", "times" and no "word"'),
        (b'{"command": "say", "times": 3}', 'say: wants "text"'),
        (b'{"command": "watch", "x": 3}', 'watch: takes nothing and no "x"'),
        (b'{"command": "status", "x": 3}', 'status: takes nothing and no "x"'),
        (b'{"command": 3}', 'wanted the name of a "command"'),
        (b'{"command": null}', 'wanted the name of a "command"'),
        (b"{}", 'wanted the name of a "command"'),
        (b"", "wanted a JSON object on one line"),
        (b"press", "wanted a JSON object on one line"),
        (b'"press"', "wanted a JSON object on one line"),
        (b'["press"]', "wanted a JSON object on one line"),
        (b'{"command": "press"', "wanted a JSON object on one line"),
        (b'{"command": "press"} {"command": "press"}', "wanted a JSON object on one line"),
        (b'{"command": "\xff"}', "wanted a JSON object on one line"),
        (b'{"command": "\\ud800"}', "wanted a JSON object on one line"),
        (b"\x00\x01\x02", "wanted a JSON object on one line"),
        (b"GET / HTTP/1.1\r", "wanted a JSON object on one line"),
        (b"[" * 60_000, "wanted a JSON object on one line"),
        (b'{"a":' * 10_000, "wanted a JSON object on one line"),
    ],
)
async def test_a_line_that_is_no_command_is_answered_with_an_error(
    served: Path, house: House, line: bytes, error: str, talker: Connect
) -> None:
    client = await talker(served)
    answer = await client.ask(line + b"\n")
    assert answer is not None
    assert error in str(answer["error"])
    assert house.presses == 0
    assert await client.ask({"command": "press"}) == {"ok": None}, "the client may go on"


async def test_half_a_line_is_answered_with_an_error_and_the_end(
    served: Path, talker: Connect
) -> None:
    client = await talker(served)
    await client.say(b'{"command": "press"}')
    await client.stream.send_eof()  # type: ignore[attr-defined]
    assert await client.hear() == {"error": "the last line has no end"}
    assert await client.hear() is None


async def test_what_was_asked_before_the_end_is_answered(served: Path, talker: Connect) -> None:
    client = await talker(served)
    await client.say(b'{"command": "press"}\n' * 20)
    await client.stream.send_eof()  # type: ignore[attr-defined]
    assert [await client.hear() for _ in range(21)] == [{"ok": None}] * 20 + [None]


async def test_a_line_as_long_as_it_may_be_is_read(served: Path, talker: Connect) -> None:
    client = await talker(served)
    line = b'{"command": "press"}'.ljust(control.LINE_LIMIT_BYTES)
    assert await client.ask(line + b"\n") == {"ok": None}


@pytest.mark.parametrize("end", [b"", b"\n", b'\n{"command": "press"}\n'])
@pytest.mark.parametrize("size", [control.LINE_LIMIT_BYTES + 1, 1_000_000])
async def test_a_longer_line_is_an_error_and_the_end(
    served: Path, house: House, size: int, end: bytes, talker: Connect
) -> None:
    client = await talker(served)

    async def say() -> None:
        with suppress(trio.BrokenResourceError):  # it was closed while we were still talking
            await client.say(b"x" * size + end)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        assert await client.hear() == {"error": "a line has at most 65536 bytes"}
        assert await client.hear() is None
    assert house.presses == 0


async def test_a_client_that_vanishes_harms_nobody(served: Path, talker: Connect) -> None:
    for line in (b"", b'{"command": "press"}\n' * 50, b'{"command": "watch"}\n', b"half"):
        client = await talker(served)
        await client.say(line)
        await client.stream.aclose()
    other = await talker(served)
    assert await other.ask({"command": "say", "text": "hello"}) == {"ok": "hello"}


# Watching


async def test_a_watcher_gets_a_snapshot_and_then_events(
    served: Path, house: House, talker: Connect
) -> None:
    watcher, finger = await talker(served), await talker(served)
    assert await watcher.ask({"command": "watch"}) == {
        "event": "snapshot",
        "phase": "asleep",
        "presses": 0,
    }
    await finger.ask({"command": "press"})
    assert await watcher.hear() == {"event": "press", "presses": 1}
    house.tell({"event": "phase", "to": "listening"})
    assert await watcher.hear() == {"event": "phase", "to": "listening"}


async def test_a_watcher_may_ask_between_events(served: Path, talker: Connect) -> None:
    watcher = await talker(served)
    await watcher.ask({"command": "watch"})
    assert await watcher.ask({"command": "press"}) == {"event": "press", "presses": 1}
    assert await watcher.hear() == {"ok": None}
    assert await watcher.ask({"command": "watch"}) == {"error": "this connection watches already"}


async def test_a_watcher_that_leaves_is_told_nothing_more(
    served: Path, house: House, talker: Connect
) -> None:
    watcher = await talker(served)
    await watcher.ask({"command": "watch"})
    assert len(house.telling) == 1
    await watcher.stream.aclose()
    with trio.fail_after(10):
        while house.telling:
            await trio.lowlevel.checkpoint()


async def test_a_watcher_that_never_reads_is_dropped_and_nobody_waits(
    served: Path, house: House, talker: Connect
) -> None:
    watcher, other = await talker(served), await talker(served)
    await watcher.ask({"command": "watch"})
    told = 0
    with trio.fail_after(10):
        while house.telling:
            house.tell({"event": "noise", "words": "x" * 1000})
            told += 1
            await trio.lowlevel.checkpoint()
    assert told > control.UNREAD_LIMIT
    assert await other.ask({"command": "press"}) == {"ok": None}
    heard = 0
    while await watcher.hear() is not None:
        heard += 1
    assert heard < told


async def test_a_client_that_asks_and_never_reads_does_not_stall_the_daemon(
    served: Path, house: House, talker: Connect
) -> None:
    rude, other = await talker(served), await talker(served)
    line = b'{"command": "say", "text": "x", "times": 1000}\n'
    with trio.move_on_after(0.2):
        while True:
            await rude.say(line * 100)
    assert await other.ask({"command": "press"}) == {"ok": None}
    await rude.stream.aclose()


# Bounds of time, exact on trio's clock: a stream in memory hands over only what is read


async def test_a_client_that_takes_no_answer_is_dropped_after_its_time(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    theirs, ours = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Client(ours, house).run)
        await theirs.send_all(b'{"command": "watch"}\n')
        start_s = trio.current_time()
    assert trio.current_time() - start_s == control.SEND_LIMIT_S
    assert house.telling == []


async def test_a_client_that_says_nothing_is_sent_away(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    theirs, ours = trio.testing.memory_stream_pair()
    start_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Client(ours, house).run)
        await theirs.send_all(b"half a li")
    assert trio.current_time() - start_s == control.IDLE_LIMIT_S
    assert await Talker(theirs).hear() == {"error": "nothing was said for 60 s"}


async def test_a_watcher_may_be_silent_for_ever(
    house: House, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    theirs, ours = trio.testing.memory_stream_pair()
    nursery.start_soon(Client(ours, house).run)
    watcher = Talker(theirs)
    await watcher.ask({"command": "watch"})
    await trio.sleep(80_000)
    house.tell({"event": "hello"})
    assert await watcher.hear() == {"event": "hello"}


async def test_a_watcher_is_dropped_at_its_first_event_too_many(
    house: House, autojump_clock: trio.testing.MockClock
) -> None:
    theirs, ours = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Client(ours, house).run)
        watcher = Talker(theirs)
        await watcher.ask({"command": "watch"})
        house.tell({"event": "noise"})
        await trio.testing.wait_all_tasks_blocked()  # the writer holds one more in its hands
        for _ in range(control.UNREAD_LIMIT):
            house.tell({"event": "noise"})
        await trio.testing.wait_all_tasks_blocked()
        assert len(house.telling) == 1
        house.tell({"event": "noise"})
        house.tell({"event": "noise"})
    assert house.telling == []


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_whatever_is_said_the_daemon_goes_on(said: list[bytes]) -> None:
    house = House()

    async def main() -> None:
        theirs, ours = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Client(ours, house).run)
            for piece in said:
                await theirs.send_all(piece)
            await theirs.send_eof()
        await ours.aclose()
        heard = bytearray()
        while more := await theirs.receive_some():
            heard += more
        for line in heard.splitlines():
            assert set(json.loads(line)) <= {"ok", "error"}

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_bug_of_the_household_is_not_caught() -> None:
    class Broken(House):
        def press(self) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        theirs, ours = trio.testing.memory_stream_pair()
        await theirs.send_all(b'{"command": "press"}\n')
        await Client(ours, Broken()).run()

    with pytest.RaisesGroup(ZeroDivisionError):
        trio.run(main, strict_exception_groups=True)


# The socket


async def test_the_socket_is_for_owner_and_group(served: Path) -> None:
    assert rights(served) == 0o660


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_the_umask_changes_nothing_in_that(house: House, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, path, house))
            assert rights(path) == 0o660
            nursery.cancel_scope.cancel()
    finally:
        os.umask(before)


async def test_the_folder_is_made_and_the_socket_is_removed(house: House, path: Path) -> None:
    inner = path.parent / "a" / "b" / "control.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, inner, house))
        assert is_socket(inner)
        assert rights(inner.parent) == 0o755
        nursery.cancel_scope.cancel()
    assert not is_socket(inner)


async def test_the_socket_of_a_dead_daemon_is_replaced(
    house: House, path: Path, talker: Connect
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, path, house))
        client = await talker(path)
        assert await client.ask({"command": "press"}) == {"ok": None}
        nursery.cancel_scope.cancel()


async def test_a_living_daemon_is_left_alone(served: Path, house: House, talker: Connect) -> None:
    with pytest.raises(DeviceError, match=f"{served}: another daemon answers here"):
        await serve(served, house)
    client = await talker(served)
    assert await client.ask({"command": "press"}) == {"ok": None}


async def test_a_living_daemon_with_a_crowd_at_its_door_is_left_alone(
    house: House, path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            try:
                waiting[-1].connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(DeviceError, match="another daemon answers here"):
            await serve(path, house)
        for it in waiting:
            it.close()


async def test_a_file_in_its_place_is_not_removed(house: House, path: Path) -> None:
    put(path, "precious")
    with pytest.raises(DeviceError, match="there is something else already"):
        await serve(path, house)
    assert text_of(path) == "precious"


async def test_a_path_that_cannot_be_is_named(house: House, path: Path) -> None:
    put(path, "a file")
    for bad in (path / "control.sock", path.parent / ("x" * 200)):
        with pytest.raises(DeviceError, match=f"{bad}: no control socket here: "):
            await serve(bad, house)


async def test_a_socket_that_another_has_put_there_is_not_removed(house: House, path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, path, house))
        put(path, "another's")
        nursery.cancel_scope.cancel()
    assert text_of(path) == "another's"


async def test_one_client_too_many_is_sent_away(served: Path, talker: Connect) -> None:
    clients = [await talker(served) for _ in range(control.CLIENTS_LIMIT)]
    for client in clients:
        assert await client.ask({"command": "say", "text": "hello"}) == {"ok": "hello"}
    late = await talker(served)
    assert await late.hear() == {"error": "there are 32 clients already"}
    assert await late.hear() is None
    await clients[0].stream.send_eof()  # type: ignore[attr-defined]
    assert await clients[0].hear() is None
    next_ = await talker(served)
    assert await next_.ask({"command": "say", "text": "hello"}) == {"ok": "hello"}
    for client in [*clients, late, next_]:
        await client.stream.aclose()


# The other end


async def test_a_call_returns_the_result(served: Path, house: House) -> None:
    call = partial(remote.call, served)
    assert await trio.to_thread.run_sync(call, "press") is None
    assert await trio.to_thread.run_sync(call, "status") == {"phase": "asleep", "presses": 1}
    say = partial(call, "say", text="ab", times=2)
    assert await trio.to_thread.run_sync(say) == "abab"


async def test_a_call_raises_what_the_daemon_says(served: Path) -> None:
    with pytest.raises(CommandError, match="the box is asleep"):
        await trio.to_thread.run_sync(remote.call, served, "decline")
    with pytest.raises(CommandError, match="the nearest is"):
        await trio.to_thread.run_sync(remote.call, served, "relese")


async def test_a_call_that_says_too_much_hears_why(served: Path) -> None:
    say = partial(remote.call, served, "say", text="x" * 1_000_000)
    with pytest.raises(CommandError, match="a line has at most 65536 bytes"):
        await trio.to_thread.run_sync(say)


async def test_watching_gives_a_snapshot_and_events_until_the_end(house: House, path: Path) -> None:
    seen: list[str] = []
    send, receive = trio.open_memory_channel[str](10)

    def watch(token: trio.lowlevel.TrioToken) -> None:
        for event in remote.watch(path):
            name = str(event["event"])
            token.run_sync_soon(send.send_nowait, name)
            seen.append(name)

    async with trio.open_nursery() as watching, trio.open_nursery() as nursery:
        await nursery.start(partial(serve, path, house))
        token = trio.lowlevel.current_trio_token()
        watching.start_soon(trio.to_thread.run_sync, watch, token)
        with trio.fail_after(10):
            assert await receive.receive() == "snapshot"
            house.press()
            assert await receive.receive() == "press"
        nursery.cancel_scope.cancel()
    assert seen == ["snapshot", "press"]


def test_no_daemon_is_said_with_the_path(path: Path) -> None:
    with pytest.raises(DeviceError, match=f"{path}: .*is the daemon running"):
        remote.call(path, "press")
    with pytest.raises(DeviceError, match=f"{path}: .*is the daemon running"):
        next(remote.watch(path))
    path.write_text("a file")
    with pytest.raises(DeviceError, match=f"{path}: .*is the daemon running"):
        remote.call(path, "press")


@pytest.fixture
def impostor(path: Path) -> Iterator[socket.socket]:
    """Something that listens at the path and is not ours."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield listening


async def fault_of_a_call(impostor: socket.socket, path: Path, answer: bytes) -> str:
    async def respond() -> None:
        connection, _ = await trio.to_thread.run_sync(impostor.accept)
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(respond)
        with pytest.raises(DeviceError) as caught:
            await trio.to_thread.run_sync(remote.call, path, "press")
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed without an answer"),
        (b'{"ok": nu', "closed without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not the control socket of the voice appliance"),
        (b"[]\n", "not the control socket of the voice appliance"),
        (b"{}\n", "an answer without a result"),
    ],
)
async def test_an_answer_that_is_none_is_said_with_the_path(
    impostor: socket.socket, path: Path, answer: bytes, words: str
) -> None:
    fault = await fault_of_a_call(impostor, path, answer)
    assert fault.startswith(f"{path}: ")
    assert words in fault


def test_a_daemon_that_does_not_answer_is_given_up(
    impostor: socket.socket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_LIMIT_S", 0.05)
    with pytest.raises(DeviceError, match=f"{path}: no answer within 0.05 s"):
        remote.call(path, "press")
    with pytest.raises(DeviceError, match=f"{path}: no answer within 0.05 s"):
        next(remote.watch(path))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may open every socket; nobody may not."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_socket_of_others_is_said_with_the_path(impostor: socket.socket, path: Path) -> None:
    path.chmod(0)
    with pytest.raises(DeviceError) as caught, as_nobody():
        remote.call(path, "press")
    assert str(caught.value) == f"{path}: only its owner and its group may talk to the daemon"


def test_the_other_end_costs_no_trio() -> None:
    look = (
        "import sys, appliance.host.remote; print(sorted({'trio', 'msgspec'} & set(sys.modules)))"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", look], env=environ, check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
