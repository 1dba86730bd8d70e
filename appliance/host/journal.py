"""The log lines of the box: to the journal, else to stderr.

A line for the journal is one datagram, sent without waiting, in journald's own protocol. The
`JournalHandler` of systemd-python was tried first: it holds the interpreter while it sends, so
that with a journald that had stopped reading the whole process stood still, also with the
handler in a thread of its own behind a queue (systemd-python 235, November 2026). It also exports
every argument of a log call as a field. Here a line goes out as text, before the next one is
thought of, so that the last words before a crash are kept; what finds no room is counted, and
the count is told when there is room again.

Each line carries what the box was doing, as fields: `journalctl VOICE_APPLIANCE_PHASE=trouble`.
A line that is said over and over is said three times a minute, and then how often it was not.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping

IDENTIFIER = "voice-appliance"
PREFIX = "VOICE_APPLIANCE_"  # of the fields that are ours
JOURNAL_SOCKET = "/run/systemd/journal/socket"
STDERR = 2
REPEATS_MAX = 3  # of one line
REPEATS_S = 60.0  # so many seconds long
LINES_MAX = 100  # that are watched for repeats

# syslog(3), by the least level of Python's that has it.
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
PRIORITY_DEBUG = 7


class Log:
    """Sends the log lines of `appliance`, from `level` on, to the journal, else to stderr.

    Args:
        level: "debug", "info", "warning" or "error".
    """

    def __init__(self, level: str) -> None:
        self.facts: Callable[[], Mapping[str, str]] = dict  # what the box is doing; no secrets
        self._ours = logging.getLogger("appliance")
        if _stderr_is_journal(os.environ) and os.access(JOURNAL_SOCKET, os.W_OK):
            self._out: logging.Handler = _Journal(self)
        else:
            self._out = logging.StreamHandler()
            self._out.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        self._out.addFilter(_Repeats())
        self._before = self._ours.level, self._ours.propagate
        self._ours.addHandler(self._out)
        self._ours.setLevel(level.upper())
        self._ours.propagate = False

    def stop(self) -> None:
        """Leave the loggers as they were. A second call does nothing."""
        if self._out in self._ours.handlers:
            self._ours.removeHandler(self._out)
            self._out.close()
            self._ours.level, self._ours.propagate = self._before


class _Repeats(logging.Filter):
    """Lets a line pass a few times a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[int, str], tuple[float, int]] = {}  # since when, how often

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it may be said; it may be told how often it was not."""
        line = record.levelno, record.getMessage()
        since_s, count = self._seen.pop(line, (record.created, 0))
        if record.created - since_s > REPEATS_S:
            if count > REPEATS_MAX:
                record.msg = f"{line[1]} (and {count - REPEATS_MAX} times more before)"
                record.args = ()
            since_s, count = record.created, 0
        self._seen[line] = since_s, count + 1
        if len(self._seen) > LINES_MAX:
            del self._seen[next(iter(self._seen))]
        return count < REPEATS_MAX


class _Journal(logging.Handler):
    """Lines as datagrams. Source: systemd.io, "Native Journal Protocol" (read November 2026)."""

    def __init__(self, log: "Log") -> None:
        super().__init__()
        self._log = log
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
            **{PREFIX + name.upper(): value for name, value in self._log.facts().items()},
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
