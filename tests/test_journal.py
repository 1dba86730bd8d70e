"""The journal, as a real datagram socket."""

import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host import journal
from appliance.host.journal import Log
from tests.post import Post


@pytest.fixture
def journald(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    """A journal that is read, and our stderr going there."""
    post = Post(folder / "journal")
    monkeypatch.setattr(journal, "JOURNAL_SOCKET", post.path)
    stderr = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
    yield post
    post.socket.close()


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
    log_lines = Log("info")
    log = logging.getLogger("appliance.daemon")
    log.info("The button went %s.", "down")
    log.debug("not this one")
    log_lines.stop()
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
    log_lines = Log("debug")
    logging.getLogger("appliance").log(getattr(logging, level.upper()), "Something.")
    log_lines.stop()
    (datagram,) = journald.raw()
    assert fields_of(datagram)["PRIORITY"] == priority


def test_a_traceback_reaches_the_journal_whole(journald: Post) -> None:
    log_lines = Log("info")
    broke = ValueError("boom \udc80")
    try:
        raise broke
    except ValueError:
        logging.getLogger("appliance").exception("It broke.")
    log_lines.stop()
    (datagram,) = journald.raw()
    message = fields_of(datagram)["MESSAGE"]
    assert message.startswith("It broke.\nTraceback")
    assert message.endswith("ValueError: boom \\udc80")


def test_a_journal_that_is_not_read_stops_nobody(journald: Post) -> None:
    log_lines = Log("info")
    log = logging.getLogger("appliance")
    for number in range(5000):
        log.info("Line %d.", number)
    kept = len(journald.raw())
    assert 0 < kept < 5000
    log.info("The last line.")
    log_lines.stop()
    assert [fields_of(datagram)["MESSAGE"] for datagram in journald.raw()] == [
        f"{5000 - kept} lines found no room in the journal.",
        "The last line.",
    ]


def test_a_journal_that_goes_away_harms_nobody(journald: Post, folder: Path) -> None:
    log_lines = Log("info")
    journald.socket.close()
    (folder / "journal").unlink()
    logging.getLogger("appliance").info("Nobody reads this.")
    log_lines.stop()


def test_without_a_journal_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log_lines = Log("warning")
    logging.getLogger("appliance.link").warning("The link was lost.")
    logging.getLogger("appliance.link").info("not this one")
    log_lines.stop()
    log_lines.stop()
    assert capsys.readouterr().err == "WARNING: The link was lost.\n"


def test_an_inherited_journal_stream_is_not_ours(
    journald: Post, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    log_lines = Log("info")
    logging.getLogger("appliance").info("To the terminal.")
    log_lines.stop()
    assert journald.raw() == []
    assert capsys.readouterr().err == "INFO: To the terminal.\n"


def test_a_machine_without_journald_gets_its_lines_on_stderr(
    journald: Post,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(journal, "JOURNAL_SOCKET", str(folder / "nothing"))
    log_lines = Log("info")
    logging.getLogger("appliance").info("To the terminal.")
    log_lines.stop()
    assert capsys.readouterr().err == "INFO: To the terminal.\n"


def test_a_closed_stderr_is_no_journal(journald: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal._stderr_is_journal(os.environ)
    monkeypatch.setattr(journal, "STDERR", 1 << 30)
    assert not journal._stderr_is_journal(os.environ)


def test_after_the_stop_the_logger_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    ours = logging.getLogger("appliance")
    before = (list(ours.handlers), ours.level, ours.propagate)
    Log("debug").stop()
    assert (list(ours.handlers), ours.level, ours.propagate) == before


# What each line says besides


def test_each_line_says_what_the_box_was_doing(journald: Post) -> None:
    log_lines = Log("info")
    log_lines.facts = lambda: {"phase": "trouble", "session": "ab\ncd"}
    logging.getLogger("appliance").warning("The link was lost.")
    log_lines.stop()
    (datagram,) = journald.raw()
    fields = fields_of(datagram)
    assert fields["VOICE_APPLIANCE_PHASE"] == "trouble"
    assert fields["VOICE_APPLIANCE_SESSION"] == "ab\ncd"


# Repeats


def said(at_s: float, words: str) -> logging.LogRecord:
    record = logging.LogRecord("appliance", logging.WARNING, "x.py", 1, words, (), None)
    record.created = at_s
    return record


def test_a_line_that_is_repeated_is_said_three_times_a_minute_and_then_counted() -> None:
    repeats = journal._Repeats()
    assert [repeats.filter(said(n, "lost")) for n in range(60)] == [True] * 3 + [False] * 57
    assert repeats.filter(said(30.0, "found"))
    late = said(61.0, "lost")
    assert repeats.filter(late)
    assert late.getMessage() == "lost (and 57 times more before)"
    assert repeats.filter(said(62.0, "lost"))


def test_no_more_lines_are_watched_than_the_newest_hundred() -> None:
    repeats = journal._Repeats()
    for n in range(1000):
        assert repeats.filter(said(0.0, f"{n}"))
    assert len(repeats._seen) == journal.LINES_MAX
