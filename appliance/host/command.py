"""Running a command of the owner's, so that nothing of it stays behind.

A command is a list of words, never a line for a shell. It is a process group of its own, and the
group is what is watched and ended: a script's children go with the script. It begins in `/`, and
without those variables of ours by which it could take the API key or speak to the service manager
in our name.

It is over when its first process is. What the others still write then is waited for a moment, and
whoever is left in the group is ended. A process that made a session of its own (`setsid`) has
left the group on purpose: it lives, and is not waited for either.

Why not `trio.run_process`: it ends one process and not its group, and waits for as long as
anybody at all holds the pipe open.
"""

import logging
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from appliance.errors import DeviceError

# Variables that no command sees: the key, the way to it, and what is between systemd and us.
OURS = {
    *("DEEPGRAM_API_KEY", "CREDENTIALS_DIRECTORY"),
    *("NOTIFY_SOCKET", "JOURNAL_STREAM", "INVOCATION_ID"),
}
OURS_BEGIN = ("WATCHDOG_", "LISTEN_")

STDERR_MAX = 4096  # bytes of the end: where programs say why they failed
COMPLAINT_CHARACTERS = 200
SECRETIVE = re.compile(r"[\w.+=~-]{32,}")  # keys have 40 characters, a JWT has hundreds
READ_BYTES = 65536  # what a pipe holds
DROPPING_PAUSE_S = 0.01  # between two reads of what nobody wants: an endless output costs little
LINGER_S = 0.2  # for what the rest of a group still writes when its first process has ended
GRACE_S = 0.5  # from SIGTERM to SIGKILL
POLL_S = 0.01
KILLED_LIMIT_S = 0.3  # a process that hangs in the kernel does not even die

log = logging.getLogger("appliance.command")


@dataclass(frozen=True)
class Output:
    """What a command left.

    `status` is its exit status, or -n if signal n ended it; None if it was ended by us, because
    its time was up. `stdout` is the beginning of what it wrote, `stderr` the end.
    """

    status: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool  # there was more on stdout
    timed_out: bool

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "its time was up"
        return f"exit status {self.status}" if self.status >= 0 else f"signal {-self.status}"

    @property
    def complaint(self) -> str:
        """The last line on stderr, printable and at most 200 characters; "" if there is none.

        What is long enough to be a key or a token is left out of it.
        """
        lines = self.stderr.decode("utf-8", "replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        last = SECRETIVE.sub("…", last)[:COMPLAINT_CHARACTERS]
        return "".join(c if c.isprintable() else " " for c in last)


def cleaned(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` as a command may see it: without the key and what is between systemd and us."""
    return {
        name: value
        for name, value in environ.items()
        if name not in OURS and not name.startswith(OURS_BEGIN)
    }


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes,
    timeout_s: float,
    output_max: int,
    environ: Mapping[str, str],
) -> Output:
    """Run a command to its end, or for `timeout_s`; ending it then takes at most 0.8 s more.

    However this call ends, cancelled too, nobody of the command's group is left.

    Args:
        argv: the command and its words. Without a slash it is looked for in `PATH`.
        stdin: what it may read; it need not.
        timeout_s: from its start.
        output_max: how many bytes of its output are kept. The rest is read and dropped, so that
            the command does not wait for us.
        environ: cleaned here before the command sees it.

    Raises:
        DeviceError: it cannot be started. The message has the first word only: the others may be
            secrets.
    """
    assert argv, "a command has a first word"
    process = await _start(argv, environ)
    stdout, stderr = _Kept(output_max), _Kept(STDERR_MAX, of_end=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    timed_out = False
    try:
        with trio.move_on_after(timeout_s) as limit:
            async with trio.open_nursery() as pipes:
                pipes.start_soon(_feed, process.stdin, stdin)
                pipes.start_soon(stdout.fill, process.stdout)
                pipes.start_soon(stderr.fill, process.stderr)
                await process.wait()
                pipes.cancel_scope.deadline = trio.current_time() + LINGER_S
        timed_out = limit.cancelled_caught and process.returncode is None
    finally:
        with trio.CancelScope(shield=True):  # bounded by `_end`; closing does not wait
            await _end(process, argv[0])
            for pipe in (process.stdin, process.stdout, process.stderr):
                await pipe.aclose()
    return Output(
        status=None if timed_out else process.returncode,
        stdout=bytes(stdout.kept),
        stderr=bytes(stderr.kept),
        truncated=stdout.seen > output_max,
        timed_out=timed_out,
    )


async def _start(argv: Sequence[str], environ: Mapping[str, str]) -> trio.Process:
    """The process, its pipes ours. A cancellation comes before it or after it, not between."""
    try:
        return await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=cleaned(environ),
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceError(f"{argv[0]!r} cannot be run: {error.strerror}") from error
    except ValueError as error:  # a NUL, or half a character, in one of the words
        raise DeviceError(f"{argv[0]!r} cannot be run: one of its words is none") from error


async def _feed(pipe: trio.abc.SendStream, words: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it reads no further
        await pipe.send_all(words)
    await pipe.aclose()


@dataclass
class _Kept:
    """What is kept of one stream: `limit` bytes of its beginning, or of its end."""

    limit: int
    of_end: bool = False
    kept: bytearray = field(default_factory=bytearray)
    seen: int = 0

    async def fill(self, pipe: trio.abc.ReceiveStream) -> None:
        """Read it to its end, whatever is kept of it."""
        while piece := await pipe.receive_some(READ_BYTES):
            self.seen += len(piece)
            if self.of_end:
                self.kept += piece
                del self.kept[: -self.limit]
            else:
                self.kept += piece[: self.limit - len(self.kept)]
            if self.seen > self.limit:
                await trio.sleep(DROPPING_PAUSE_S)


async def _end(process: trio.Process, name: str) -> None:
    """End whoever is left in the group of `process`, which it leads, and take its exit status.

    A group keeps its number as long as it has a member or its leader is not waited for; when it
    is found empty it is never signalled again.
    """
    if _signal(process.pid, signal.SIGTERM):
        with trio.move_on_after(GRACE_S):
            await process.wait()
            while _signal(process.pid, 0):  # noqa: ASYNC110  # nobody tells when a group is empty
                await trio.sleep(POLL_S)
            return
        _signal(process.pid, signal.SIGKILL)
        with trio.move_on_after(KILLED_LIMIT_S):
            await process.wait()
    if process.returncode is None:  # it hangs in the kernel, or belongs to somebody else
        log.warning("the command %s cannot be ended", name)


def _signal(group: int, number: int) -> bool:
    """Whether there was somebody in the group to be signalled; number 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
