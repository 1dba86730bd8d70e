"""The service manager, as a real datagram socket; the journal, as another."""

import logging
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.host import service

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")


class Post:
    """A datagram socket in a short path, and what was sent to it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def came(self) -> list[str]:
        return [raw.decode() for raw in self.raw()]

    def raw(self) -> list[bytes]:
        came = []
        while True:
            try:
                came.append(self.socket.recv(1 << 20))
            except BlockingIOError:
                return came


@pytest.fixture(autouse=True)
def no_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # short: a socket's path has 107 bytes
        yield Path(name)


@pytest.fixture
def manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    post = Post(folder / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", post.path)
    yield post
    post.socket.close()


@pytest.fixture
def journald(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    """A journal that is read, and our stderr going there."""
    post = Post(folder / "journal")
    monkeypatch.setattr(service, "JOURNAL_SOCKET", post.path)
    stderr = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
    yield post
    post.socket.close()


# The service manager


def test_the_manager_is_told(manager: Post) -> None:
    service.ready()
    service.status("listening")
    service.stopping()
    assert manager.came() == ["READY=1", "STATUS=listening", "STOPPING=1"]


@pytest.mark.parametrize("words", ["a\nREADY=1", "a\r\n\0b", "a\u2028b", "a\x1b[2Jb", "\udc80"])
def test_a_status_is_one_line(manager: Post, words: str) -> None:
    service.status(words)
    (came,) = manager.came()
    assert came.startswith("STATUS=")
    assert came.isprintable()
    assert len(came) == len("STATUS=") + len(words)


def test_words_in_other_scripts_stay(manager: Post) -> None:
    service.status("hört zu: 聞いている")
    assert manager.came() == ["STATUS=hört zu: 聞いている"]


def test_without_a_manager_nothing_happens() -> None:
    service.ready()
    service.status("alone")
    service.stopping()


def test_a_manager_that_has_gone_harms_nobody(manager: Post, folder: Path) -> None:
    manager.socket.close()
    (folder / "notify").unlink()
    service.ready()
    service.status("alone")


# The watchdog


async def test_without_a_watchdog_its_task_returns_at_once(
    manager: Post, autojump_clock: trio.testing.MockClock
) -> None:
    await service.run_watchdog(lambda: True)
    assert manager.came() == []


@pytest.mark.parametrize(
    ("limit_us", "pid"), [("0", ""), ("soon", ""), ("-5", ""), ("", ""), ("9000000", "1")]
)
async def test_a_watchdog_that_is_not_ours_is_not_pinged(
    manager: Post,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    limit_us: str,
    pid: str,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    await service.run_watchdog(lambda: True)
    assert manager.came() == []


@pytest.mark.parametrize("pid", ["", str(os.getpid())])
async def test_the_watchdog_is_pinged_three_times_in_its_limit(
    manager: Post,
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    pid: str,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "15000000")
    monkeypatch.setenv("WATCHDOG_PID", pid)
    nursery.start_soon(service.run_watchdog, lambda: True)
    await trio.sleep(14.9)
    assert manager.came() == ["WATCHDOG=1"] * 3
    await trio.sleep(15)
    assert manager.came() == ["WATCHDOG=1"] * 3


async def test_a_box_that_does_not_move_is_not_pinged(
    manager: Post,
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    moving = True
    nursery.start_soon(service.run_watchdog, lambda: moving)
    await trio.sleep(1.5)
    assert len(manager.came()) == 2
    moving = False
    await trio.sleep(60)
    assert manager.came() == []
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    moving = True
    await trio.sleep(1)
    assert manager.came() == ["WATCHDOG=1"]


# The journal


def fields_of(datagram: bytes) -> dict[str, str]:
    """What journald reads in a datagram."""
    fields = {}
    while datagram:
        head, datagram = datagram.split(b"\n", 1)
        name, equals, raw = head.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", datagram[:8])
            raw, datagram = datagram[8 : 8 + size], datagram[8 + size + 1 :]
        fields[name.decode()] = raw.decode()
    return fields


def test_a_line_reaches_the_journal_as_text(journald: Post) -> None:
    stop = service.journal("info")
    log = logging.getLogger("appliance.daemon")
    log.info("The button went %s.", "down")
    log.debug("not this one")
    stop()
    (datagram,) = journald.raw()
    fields = fields_of(datagram)
    assert fields["MESSAGE"] == "The button went down."
    assert fields["PRIORITY"] == "6"
    assert fields["SYSLOG_IDENTIFIER"] == "voice-appliance"
    assert fields["LOGGER"] == "appliance.daemon"
    assert set(fields) == {
        *("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER"),
        *("CODE_FILE", "CODE_LINE", "CODE_FUNC"),
    }, "no argument becomes a field"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")],
)
def test_levels_become_priorities(journald: Post, level: str, priority: str) -> None:
    stop = service.journal("debug")
    logging.getLogger("appliance").log(getattr(logging, level.upper()), "Something.")
    stop()
    (datagram,) = journald.raw()
    assert fields_of(datagram)["PRIORITY"] == priority


def test_a_traceback_reaches_the_journal_whole(journald: Post) -> None:
    stop = service.journal("info")
    broke = ValueError("boom \udc80")
    try:
        raise broke
    except ValueError:
        logging.getLogger("appliance").exception("It broke.")
    stop()
    (datagram,) = journald.raw()
    message = fields_of(datagram)["MESSAGE"]
    assert message.startswith("It broke.\nTraceback")
    assert message.endswith("ValueError: boom \\udc80")


def test_a_journal_that_is_not_read_stops_nobody(journald: Post) -> None:
    stop = service.journal("info")
    log = logging.getLogger("appliance")
    for number in range(5000):
        log.info("Line %d.", number)
    kept = len(journald.raw())
    assert 0 < kept < 5000
    log.info("The last line.")
    stop()
    assert [fields_of(datagram)["MESSAGE"] for datagram in journald.raw()] == [
        f"{5000 - kept} lines found no room in the journal.",
        "The last line.",
    ]


def test_a_journal_that_goes_away_harms_nobody(journald: Post, folder: Path) -> None:
    stop = service.journal("info")
    journald.socket.close()
    (folder / "journal").unlink()
    logging.getLogger("appliance").info("Nobody reads this.")
    stop()


def test_without_a_journal_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    stop = service.journal("warning")
    logging.getLogger("appliance.link").warning("The link was lost.")
    logging.getLogger("appliance.link").info("not this one")
    stop()
    stop()
    assert capsys.readouterr().err == "WARNING: The link was lost.\n"


def test_an_inherited_journal_stream_is_not_ours(
    journald: Post, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    stop = service.journal("info")
    logging.getLogger("appliance").info("To the terminal.")
    stop()
    assert journald.raw() == []
    assert capsys.readouterr().err == "INFO: To the terminal.\n"


def test_a_machine_without_journald_gets_its_lines_on_stderr(
    journald: Post,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(service, "JOURNAL_SOCKET", str(folder / "nothing"))
    stop = service.journal("info")
    logging.getLogger("appliance").info("To the terminal.")
    stop()
    assert capsys.readouterr().err == "INFO: To the terminal.\n"


def test_a_closed_stderr_is_no_journal(journald: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service._stderr_is_journal(os.environ)
    monkeypatch.setattr(service, "STDERR", 1 << 30)
    assert not service._stderr_is_journal(os.environ)


def test_after_the_stop_the_logger_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    ours = logging.getLogger("appliance")
    before = (list(ours.handlers), ours.level, ours.propagate)
    service.journal("debug")()
    assert (list(ours.handlers), ours.level, ours.propagate) == before
