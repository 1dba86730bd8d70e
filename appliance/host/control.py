"""The control socket: commands in, events out. What a finger can do, a command can do.

One JSON object a line, both ways. `{"command": "press"}` is answered with `{"ok": ...}` or
`{"error": "..."}`; the other keys of the object are the arguments of the command. After
`{"command": "watch"}` comes `{"event": "snapshot", ...}` and then every event as it happens,
with answers to further commands between them.

Who may open the socket is a matter of its group; whoever has opened it may say anything at all.
So every client has bounds: of a line, of time, of lines that it has not read, and of how many
there are. Whoever breaks one gets an error line or a closed socket, and the daemon never waits:
it tells its events by plain calls, and a client that is too far behind is dropped.
"""

import difflib
import inspect
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec
import trio

from appliance.errors import DeviceError
from appliance.host.remote import CommandError

__all__ = ["CommandError", "Household", "serve"]

MODE = 0o660
FOLDER_MODE = 0o755
CLIENTS_LIMIT = 32
LINE_LIMIT_BYTES = 64 * 1024
UNREAD_LIMIT = 256  # lines, beyond what the kernel holds: minutes of a lively conversation
SEND_LIMIT_S = 10.0  # for a line that nobody takes
IDLE_LIMIT_S = 60.0  # for a client that neither asks nor watches
SHOWN_CHARACTERS = 40  # of a command that we do not know
READ_BYTES = 16 * 1024
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

Tell = Callable[[Mapping[str, object]], None]

log = logging.getLogger("appliance.control")


class Household(Protocol):
    """What the daemon lets be asked of it. None of it waits."""

    def commands(self) -> Mapping[str, Callable[..., object]]:
        """Each command by its name; it takes its arguments by their names.

        What it returns must be JSON. It raises `CommandError` to decline.
        """

    def status(self) -> Mapping[str, object]:
        """What `status` answers and what a snapshot holds, as JSON."""

    def subscribe(self, tell: Tell) -> Callable[[], None]:
        """Call `tell` with each event from now on, a JSON object with its name under "event".

        `tell` never waits and never fails. Returns what ends it.
        """


async def serve(
    path: Path,
    household: Household,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on a socket at `path` until cancelled; started once it can be connected to.

    The socket belongs to owner and group (0660) and is removed at the end. Its folder is made if
    it is missing; a socket that a dead daemon left is replaced.

    Raises:
        DeviceError: `path` cannot be a socket, or a living daemon answers there.
    """
    clients = 0

    async def receive(stream: trio.SocketStream) -> None:
        nonlocal clients
        if clients == CLIENTS_LIMIT:
            await _refuse(stream, f"there are {CLIENTS_LIMIT} clients already")
            return
        clients += 1
        try:
            await Client(stream, household).run()
        finally:
            clients -= 1

    with _listening(path) as listener:
        task_status.started()
        await trio.serve_listeners(receive, [listener])


class Client:
    """One connection: answers its lines, and tells it events once it watches.

    Does not close `stream`.
    """

    def __init__(self, stream: trio.abc.Stream, household: Household) -> None:
        self._stream = stream
        self._household = household
        self._unread, self._to_write = trio.open_memory_channel[bytes](UNREAD_LIMIT)
        self._end_watch: Callable[[], None] | None = None
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve it until it has said all, or breaks a bound."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                with self._unread:  # at its end the writer writes what is left
                    try:
                        await self._read()
                    finally:
                        if self._end_watch is not None:
                            self._end_watch()

    async def _read(self) -> None:
        pending = b""
        while heard := await self._hear():
            *lines, pending = (pending + heard).split(b"\n")
            for line in lines:
                if len(line) > LINE_LIMIT_BYTES:
                    break
                answer = self._answer(line)
                if answer is not None:
                    await self._unread.send(_line(answer))
            if max(map(len, [pending, *lines])) > LINE_LIMIT_BYTES:
                await self._unread.send(_error(f"a line has at most {LINE_LIMIT_BYTES} bytes"))
                return
        if pending:
            await self._unread.send(_error("the last line has no end"))

    async def _hear(self) -> bytes:
        """What the client says next; nothing once it has ended or been silent for too long."""
        watching = self._end_watch is not None  # then silence is all we expect
        with trio.CancelScope() if watching else trio.move_on_after(IDLE_LIMIT_S):
            try:
                return bytes(await self._stream.receive_some(READ_BYTES))
            except GONE:
                return b""
        await self._unread.send(_error(f"nothing was said for {IDLE_LIMIT_S:g} s"))
        return b""

    async def _write(self) -> None:
        async for line in self._to_write:
            with trio.move_on_after(SEND_LIMIT_S) as limit:
                try:
                    await self._stream.send_all(line)
                except GONE:
                    self._scope.cancel()
            if limit.cancelled_caught:
                self._drop()

    def _answer(self, line: bytes) -> dict[str, object] | None:
        """The answer to `line`; None if it has been given already."""
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {"error": 'wanted a JSON object on one line, like {"command": "status"}'}
        name = request.pop("command", None)
        if not isinstance(name, str):
            return {"error": 'wanted the name of a "command"'}
        commands = {
            **self._household.commands(),
            "status": self._household.status,
            "watch": self._watch,
        }
        if name not in commands:
            nearest = difflib.get_close_matches(name[:SHOWN_CHARACTERS], commands, 1, cutoff=0)[0]
            return {"error": f"no command {_shown(name)}; the nearest is {_shown(nearest)}"}
        misfit = _misfit(commands[name], request)
        if misfit:
            return {"error": f"{name}: {misfit}"}
        try:
            result = commands[name](**request)
        except CommandError as error:
            return {"error": str(error)}
        return None if name == "watch" else {"ok": result}

    def _watch(self) -> None:
        if self._end_watch is not None:
            raise CommandError("this connection watches already")
        # Nothing happens between the two: what the snapshot does not have comes as an event.
        self._tell({"event": "snapshot", **self._household.status()})
        self._end_watch = self._household.subscribe(self._tell)

    def _tell(self, event: Mapping[str, object]) -> None:
        try:
            self._unread.send_nowait(_line(event))
        except trio.WouldBlock:
            self._drop()

    def _drop(self) -> None:
        if not self._scope.cancel_called:
            log.info("A client of the control socket does not read and is dropped.")
            self._scope.cancel()


def _misfit(command: Callable[..., object], arguments: Iterable[str]) -> str:
    """What is wrong with the names of `arguments`, or "". Their values are for the command."""
    parameters = inspect.signature(command).parameters
    given = set(arguments)
    unknown = sorted(given - set(parameters))
    if unknown:
        known = ", ".join(map(_shown, parameters)) or "nothing"
        return f"takes {known} and no {_shown(unknown[0])}"
    missing = [
        name for name, it in parameters.items() if it.default is it.empty and name not in given
    ]
    return f"wants {_shown(missing[0])}" if missing else ""


def _shown(name: str) -> str:
    cut = name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "…"
    return f'"{cut}"'


def _line(message: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def _error(words: str) -> bytes:
    return _line({"error": words})


async def _refuse(stream: trio.abc.Stream, words: str) -> None:
    with trio.move_on_after(SEND_LIMIT_S), suppress(*GONE):
        await stream.send_all(_error(words))


@contextmanager
def _listening(path: Path) -> Iterator[trio.SocketListener]:
    """A listening socket at `path`, which is gone again afterwards."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
        try:
            if not path.parent.exists():
                path.parent.mkdir(parents=True)
                path.parent.chmod(FOLDER_MODE)  # whatever the umask is
            _clear(path)
            # A socket is made with the rights of its descriptor, less the umask: set before, so
            # that it is never wider than it should be, and after, so that it is not narrower.
            os.fchmod(ours.fileno(), MODE)
            ours.bind(str(path))
            path.chmod(MODE)
            ours.listen(CLIENTS_LIMIT)
            it = path.stat()
        except OSError as error:
            words = error.strerror or str(error)
            raise DeviceError(f"{path}: no control socket here: {words}") from error
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(ours))
        finally:
            with suppress(OSError):  # it may be gone, or another's by now
                if os.path.samestat(path.lstat(), it):
                    path.unlink()


def expect_free(path: Path) -> None:
    """See that no daemon answers at `path` by now, and change nothing. Never waits.

    Raises:
        DeviceError: one does, or `path` is something else than a socket.
    """
    with suppress(OSError):  # what is wrong with the folder is told when the socket is made
        _is_dead(path)


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that is dead. Never waits."""
    if _is_dead(path):
        path.unlink()


def _is_dead(path: Path) -> bool:
    """Whether a socket is there, and its daemon is not."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(there.st_mode):
        raise DeviceError(f"{path}: no control socket here: there is something else already")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass  # too many want to talk to it: it lives
    raise DeviceError(f"{path}: another daemon answers here")
