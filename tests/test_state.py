"""The state file: whole or not at all, whatever happens to the power, the disk and the program."""

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.host import state
from appliance.host.state import StateFile

OLD, NEW = b"what was known before", b"what is known now, and a little more of it\n"
CALLS = ("open", "fchmod", "write", "fsync", "close", "replace")


class PowerCut(BaseException):
    """Nobody catches it: nothing more is done."""


class Plug:
    """Calls into the system, one of which is the last.

    Args:
        last: the number of that call, from 0; -1 lets all of them happen.
        done: how much of the last call still happens: "nothing", "all", or of a write "half".
    """

    def __init__(self, last: int, done: str = "nothing") -> None:
        self.calls: list[str] = []
        self._last, self._done = last, done
        self._real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}

    def _call(self, name: str, *args: Any) -> Any:
        if len(self.calls) - 1 == self._last >= 0:  # the power is off
            if name == "close":
                self._real["close"](*args)  # of a process that is dead
            raise PowerCut
        self.calls.append(name)
        if len(self.calls) - 1 != self._last:
            return self._real[name](*args)
        if name == "write" and self._done == "half":
            self._real["write"](args[0], args[1][: len(args[1]) // 2])
        elif self._done == "all" or name == "close":
            made = self._real[name](*args)
            if name == "open":
                self._real["close"](made)
        raise PowerCut

    @contextmanager
    def plugged(self) -> Iterator["Plug"]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, lambda *args, name=name: self._call(name, *args))
            yield self


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend"


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


EXPECTED = ["open", "fchmod", "write", "fsync", "close", "replace", "open", "fsync", "close"]


def test_what_was_written_is_read(path: Path) -> None:
    for content in (OLD, NEW, b"", b"\n\n", bytes(range(256))):
        assert StateFile(path, 1).write(content)
        assert StateFile(path, 1).read() == content
    assert names(path) == ["spend"]


def test_before_anything_was_written_there_is_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert StateFile(path, 1).read() is None
    assert not caplog.messages


def test_only_its_owner_may_read_it(path: Path) -> None:
    leftover = path.with_name("spend.new")
    leftover.write_bytes(b"of another program")
    leftover.chmod(0o666)
    before = os.umask(0)
    try:
        StateFile(path, 1).write(OLD)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_older_version_is_read_for_its_owner_to_understand(path: Path) -> None:
    StateFile(path, 1).write(OLD)
    assert StateFile(path, 3).read() == OLD


# ── power ────────────────────────────────────────────────────────────────────────────────────────


def test_the_disk_has_the_content_before_the_name_and_the_name_before_we_go_on(path: Path) -> None:
    with Plug(-1).plugged() as plug:
        StateFile(path, 1).write(OLD)
    assert plug.calls == EXPECTED


@pytest.mark.parametrize("done", ["nothing", "half", "all"])
@pytest.mark.parametrize("step", range(len(EXPECTED)))
def test_killed_at_any_step_it_reads_back_whole(path: Path, step: int, done: str) -> None:
    StateFile(path, 1).write(OLD)
    file = StateFile(path, 1)
    assert file.read() == OLD
    with Plug(step, done).plugged() as plug, pytest.raises(PowerCut):
        file.write(NEW)
    assert plug.calls == EXPECTED[: step + 1]
    is_renamed = step > EXPECTED.index("replace") or (EXPECTED[step] == "replace" and done == "all")
    again = StateFile(path, 1)
    assert again.read() == (NEW if is_renamed else OLD)
    assert again.write(b"life goes on")
    assert again.read() == b"life goes on"
    assert names(path) == ["spend"]


@pytest.mark.parametrize("step", range(len(EXPECTED)))
def test_killed_at_any_step_of_the_first_write_there_is_nothing_or_all(
    path: Path, step: int
) -> None:
    with Plug(step, "half").plugged(), pytest.raises(PowerCut):
        StateFile(path, 1).write(NEW)
    assert StateFile(path, 1).read() == (NEW if step > EXPECTED.index("replace") else None)


def test_however_much_was_written_beside_it_the_old_one_is_read(path: Path) -> None:
    StateFile(path, 1).write(NEW)
    whole = path.read_bytes()
    StateFile(path, 1).write(OLD)
    for length in range(len(whole) + 1):
        path.with_name("spend.new").write_bytes(whole[:length])
        assert StateFile(path, 1).read() == OLD
    assert StateFile(path, 1).write(NEW)
    assert names(path) == ["spend"]


def test_a_file_that_lost_its_end_is_set_aside(tmp_path: Path) -> None:
    StateFile(tmp_path / "whole", 1).write(NEW)
    whole = (tmp_path / "whole").read_bytes()
    for length in range(len(whole)):
        path = tmp_path / f"cut-{length}"
        path.write_bytes(whole[:length])
        file = StateFile(path, 1)
        assert file.read() is None
        assert path.with_name(f"cut-{length}.damaged").read_bytes() == whole[:length]
        assert file.write(OLD)
        assert file.read() == OLD


def test_a_file_with_a_wrong_bit_is_never_believed(tmp_path: Path) -> None:
    StateFile(tmp_path / "whole", 1).write(OLD)
    whole = (tmp_path / "whole").read_bytes()
    for bit in range(8 * len(whole)):
        wrong = bytearray(whole)
        wrong[bit // 8] ^= 1 << bit % 8
        path = tmp_path / f"bit-{bit}"
        path.write_bytes(wrong)
        assert StateFile(path, 1).read() is None
        assert not path.exists()


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0" * 4096, b"{}\n", b"[1]\n", b'{"version": "1"}\n', b"[" * 100_000, b"\xff\xfe\n"],
)
def test_whatever_lies_there_does_not_end_the_program(
    path: Path, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(raw)
    assert StateFile(path, 1).read() is None
    assert path.with_name("spend.damaged").read_bytes() == raw
    assert caplog.messages == [f"{path} is damaged: set aside as spend.damaged."]


# ── newer programs ───────────────────────────────────────────────────────────────────────────────


def test_a_file_of_a_newer_program_is_set_aside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    StateFile(path, 3).write(NEW)
    file = StateFile(path, 2)
    assert file.read() is None
    assert caplog.messages == [
        f"{path} is of version 3, and this program knows 2: set aside as spend.newer."
    ]
    assert file.write(OLD)
    path.with_name("spend.newer").rename(path)
    assert StateFile(path, 3).read() == NEW


def test_a_newer_file_of_another_shape_is_known_by_its_version(path: Path) -> None:
    raw = b'{"sum": "of another kind", "version": 9}\nwho knows'
    path.write_bytes(raw)
    assert StateFile(path, 1).read() is None
    assert path.with_name("spend.newer").read_bytes() == raw


def test_what_was_set_aside_is_never_written_over(path: Path) -> None:
    for n in range(3):
        StateFile(path, 2).write(b"%d" % n)
        assert StateFile(path, 1).read() is None
    assert names(path) == ["spend.newer", "spend.newer-2", "spend.newer-3"]
    for n, name in enumerate(names(path)):
        assert path.with_name(name).read_bytes().endswith(b"\n%d" % n)


def test_where_nothing_more_can_be_set_aside_nothing_is_written(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    StateFile(path, 2).write(NEW)
    for n in range(1, state.ASIDE_MAX + 1):
        path.with_name("spend.newer" + (f"-{n}" if n > 1 else "")).touch()
    file = StateFile(path, 1)
    assert file.read() is None
    assert not file.write(OLD)
    assert not file.write(OLD)
    assert len(caplog.messages) == 1
    assert StateFile(path, 2).read() == NEW


def test_its_owner_can_set_it_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = StateFile(path, 1)
    file.write(OLD)
    assert file.read() == OLD
    file.set_aside("makes no sense")
    assert caplog.messages == [f"{path} makes no sense: set aside as spend.damaged."]
    assert file.read() is None
    file.set_aside("makes no sense")  # it is gone already
    assert file.write(NEW)
    assert names(path) == ["spend", "spend.damaged"]


# ── bad disks ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["missing/spend", "a-file/spend"])
def test_without_a_folder_it_is_said_once_and_nothing_is_raised(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a-file").touch()
    file = StateFile(tmp_path / where, 1)
    assert file.read() is None
    assert not file.write(OLD)
    assert not file.write(NEW)
    assert len(caplog.messages) == 1
    assert "kept in memory only" in caplog.text


def test_a_folder_that_comes_late_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "late" / "spend"
    file = StateFile(path, 1)
    assert not file.write(OLD)
    path.parent.mkdir()
    StateFile(path, 2).write(b"of a newer program")
    assert file.write(NEW)
    assert file.read() == NEW
    assert names(path) == ["spend", "spend.newer"]
    assert caplog.messages[-1] == f"{path} can be written again."


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_written_to_is_said_once(
    path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = StateFile(path, 1)
    file.write(OLD)

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert not file.write(NEW)
        assert not file.write(NEW)
    assert caplog.messages == [
        f"{path} cannot be written: {os.strerror(number)}. It is kept in memory only."
    ]
    assert file.read() == OLD
    assert file.write(NEW)


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_keeps_the_old_one_and_no_part_of_the_new(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(path, 1)
    file.write(OLD)

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        assert not file.write(NEW)
    assert names(path) == ["spend"]
    assert file.read() == OLD


def test_a_disk_that_takes_little_at_a_time_is_given_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda to, raw: write(to, raw[:3]))
    assert StateFile(path, 1).write(NEW)
    assert StateFile(path, 1).read() == NEW


def test_a_file_system_that_keeps_its_names_by_itself_is_good_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    assert StateFile(path, 1).write(OLD)


def test_what_cannot_be_read_nor_set_aside_is_not_written_over(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()  # no file at all

    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    file = StateFile(path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        assert file.read() is None
        assert not file.write(OLD)
    assert len(caplog.messages) == 1
    assert "what is there cannot be read (Is a directory) and cannot be set aside" in caplog.text
    assert file.write(NEW)  # now it can be set aside
    assert names(path) == ["spend", "spend.damaged"]


def test_a_folder_in_its_place_is_set_aside(path: Path) -> None:
    path.mkdir()
    file = StateFile(path, 1)
    assert file.read() is None
    assert file.write(OLD)
    assert names(path) == ["spend", "spend.damaged"]


def test_threads_follow_one_another(path: Path) -> None:
    file = StateFile(path, 1)
    contents = [bytes([n]) * 5000 for n in range(8)]
    threads = [threading.Thread(target=file.write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read() in contents
    assert names(path) == ["spend"]


def test_a_state_that_is_no_small_thing_is_our_mistake(path: Path) -> None:
    with pytest.raises(AssertionError, match="small"):
        StateFile(path, 1).write(bytes(state.LIMIT_BYTES))
