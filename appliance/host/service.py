"""The service manager and its journal: ready, status, alive, stop, log lines.

Everything here is harmless where no service manager is: then nobody is told and nothing fails.

A line for the journal is one datagram, sent without waiting, in journald's own protocol. The
`JournalHandler` of systemd-python was tried first: it holds the interpreter while it sends, so
that with a journald that had stopped reading the whole process stood still, also with the
handler in a thread of its own behind a queue (systemd-python 235, November 2026). It also exports
every argument of a log call as a field. Here a line goes out as text, before the next one is
thought of, so that the last words before a crash are kept; what finds no room is counted, and
the count is told when there is room again.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping

import trio
from systemd import daemon

IDENTIFIER = "voice-appliance"
JOURNAL_SOCKET = "/run/systemd/journal/socket"
STDERR = 2
PINGS_PER_LIMIT = 3  # two may be late before the manager thinks us dead

# syslog(3), by the least level of Python's that has it.
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
PRIORITY_DEBUG = 7

log = logging.getLogger("appliance.service")


def ready() -> None:
    """Tell the service manager that we are up."""
    _notify("READY=1")


def status(words: str) -> None:
    """Tell the service manager what the box is doing, as `systemctl status` shows it.

    Whatever would end the line becomes a space.
    """
    _notify("STATUS=" + _one_line(words))


def stopping() -> None:
    """Tell the service manager that we are on our way out."""
    _notify("STOPPING=1")


async def run_watchdog(is_alive: Callable[[], bool]) -> None:
    """Ping the manager's watchdog while `is_alive()`; returns at once where there is none.

    A box that is not alive is not pinged, so that the manager starts it anew. That the task wakes
    up to ping at all is the proof that the loop turns.
    """
    limit_s = _watchdog_s(os.environ)
    if limit_s is None:
        return
    was_alive = True
    while True:
        if is_alive():
            _notify("WATCHDOG=1")
            was_alive = True
        elif was_alive:
            log.error("The watchdog gets no ping: a part has stopped moving.")
            was_alive = False
        await trio.sleep(limit_s / PINGS_PER_LIMIT)


def journal(level: str) -> Callable[[], None]:
    """Send the log lines of `appliance`, from `level` on, to the journal, else to stderr.

    Args:
        level: "debug", "info", "warning" or "error".

    Returns:
        What ends it again. A second call does nothing.
    """
    ours = logging.getLogger("appliance")
    out: logging.Handler
    if _stderr_is_journal(os.environ) and os.access(JOURNAL_SOCKET, os.W_OK):
        out = _Journal()
    else:
        out = logging.StreamHandler()
        out.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    before = ours.level, ours.propagate
    ours.addHandler(out)
    ours.setLevel(level.upper())
    ours.propagate = False

    def stop() -> None:
        if out in ours.handlers:
            ours.removeHandler(out)
            out.close()
            ours.level, ours.propagate = before

    return stop


class _Journal(logging.Handler):
    """Lines as datagrams. Source: systemd.io, "Native Journal Protocol" (read November 2026)."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send `record`, and before it how many found no room since the last that did."""
        if self._lost and self._send(
            MESSAGE=f"{self._lost} lines found no room in the journal.",
            PRIORITY=str(_priority(logging.WARNING)),
        ):
            self._lost = 0
        sent = self._send(
            MESSAGE=self.format(record),
            PRIORITY=str(_priority(record.levelno)),
            LOGGER=record.name,
            CODE_FILE=record.pathname,
            CODE_LINE=str(record.lineno),
            CODE_FUNC=record.funcName or "",
        )
        self._lost += not sent

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
        super().close()

    def _send(self, **fields: str) -> bool:
        fields["SYSLOG_IDENTIFIER"] = IDENTIFIER
        datagram = b"".join(_field(name, text) for name, text in fields.items())
        try:
            self._socket.sendto(datagram, JOURNAL_SOCKET)
        except OSError:  # full, gone, or the line is longer than a datagram may be
            return False
        return True


def _field(name: str, text: str) -> bytes:
    raw = text.encode("utf-8", "backslashreplace")
    if b"\n" in raw:  # then its length says where it ends
        return name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"


def _priority(level: int) -> int:
    return next((there for least, there in PRIORITIES if level >= least), PRIORITY_DEBUG)


def _stderr_is_journal(environ: Mapping[str, str]) -> bool:
    """Whether stderr is the stream to the journal that the service manager gave us.

    That JOURNAL_STREAM is set does not say it: a shell on a desktop inherits the variable.
    Source: systemd.exec(5), $JOURNAL_STREAM.
    """
    try:
        stderr = os.fstat(STDERR)
    except OSError:  # closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """The limit of the watchdog, in seconds, if there is one and it is ours.

    Source: sd_watchdog_enabled(3).
    """
    for_whom = environ.get("WATCHDOG_PID", "")
    limit_us = environ.get("WATCHDOG_USEC", "")
    if for_whom and for_whom != str(os.getpid()):
        return None
    if not limit_us.isdecimal() or int(limit_us) == 0:
        return None
    return int(limit_us) / 1_000_000


def _one_line(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)


def _notify(state: str) -> None:
    try:
        daemon.notify(state)
    except OSError as error:
        log.debug("The service manager was not told %s: %s.", state, error)
