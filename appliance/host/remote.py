"""The other end of the control socket: what a command line says to a running daemon.

One JSON object a line, both ways. Plain sockets that wait, and no trio: a command that takes
longer to import than to be answered makes a bad button.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from appliance.errors import ApplianceError, DeviceError

ANSWER_LIMIT_S = 5.0  # the daemon answers in the next turn of its loop, unless it opens a card
ANSWER_LIMIT_BYTES = 1024 * 1024  # no line of the daemon's comes near it


class CommandError(ApplianceError):
    """The daemon declines a command, or cannot make it out: the message says why."""


def call(path: Path, command: str, /, **arguments: object) -> object:
    """What the daemon that listens at `path` answers to `command`. Waits for at most 5 s.

    Raises:
        CommandError: it declined; the words are its own.
        DeviceError: no daemon answers at `path`, not in time, or not in our protocol.
    """
    with _lines(path, {"command": command, **arguments}) as (_, lines):
        answer = _object(lines, path)
    if answer is None:
        raise DeviceError(f"{path}: the connection was closed without an answer")
    if "ok" not in answer:
        raise DeviceError(f"{path}: an answer without a result; is this the voice appliance?")
    return answer["ok"]


def watch(path: Path) -> Iterator[dict[str, object]]:
    """A snapshot of the daemon that listens at `path`, then each of its events, until it ends.

    Every item has its name under "event"; that of the first is "snapshot". Waits for the snapshot
    for at most 5 s and for events without limit.

    Raises:
        CommandError: it declined; the words are its own.
        DeviceError: no daemon answers at `path`, not in time, or not in our protocol.
    """
    with _lines(path, {"command": "watch"}) as (connection, lines):
        while (event := _object(lines, path)) is not None:
            connection.settimeout(None)
            yield event


@contextmanager
def _lines(path: Path, request: dict[str, object]) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection on which `request` was said, and its lines; its failures are DeviceErrors."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_LIMIT_S)
            connection.connect(str(path))
            # A daemon that has had enough closes before it has read all, and says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                yield connection, lines
    except PermissionError as error:
        raise DeviceError(f"{path}: only its owner and its group may talk to the daemon") from error
    except TimeoutError as error:
        raise DeviceError(f"{path}: no answer within {ANSWER_LIMIT_S:g} s") from error
    except OSError as error:
        words = error.strerror or str(error)
        raise DeviceError(f"{path}: {words}: is the daemon running?") from error


def _object(lines: BinaryIO, path: Path) -> dict[str, object] | None:
    """The next line; None at the end, also if that came within a line."""
    line = lines.readline(ANSWER_LIMIT_BYTES)
    if not line.endswith(b"\n") and len(line) < ANSWER_LIMIT_BYTES:
        return None
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DeviceError(f"{path}: not the control socket of the voice appliance")
    if "error" in answer:
        raise CommandError(str(answer["error"]))
    return answer
