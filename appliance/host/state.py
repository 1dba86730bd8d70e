"""A state file: small things that outlive the program, whole or not at all.

A file is written beside its place and then renamed into it, so that whoever pulls the plug finds
the old content or the new one, never a part of either. A first line says which version the
content has, how long it is and what it sums up to: what does not fit that was damaged by the disk.

What we cannot use is never deleted and never written over. A file of a newer program becomes
NAME.newer, a damaged one NAME.damaged (then -2, -3 …), so that a program that was set back by an
update goes on with nothing, and the newer one can be given its file again.

Nothing here raises. Where there is no folder, or no room, the state lives in memory for as long as
the program does, and the journal says so once.

Everything here waits for the disk, an SD card for seconds if it wants to. So in a running house it
is called in a thread, from a task of its own:

    saved = await trio.to_thread.run_sync(file.write, content, abandon_on_cancel=True)

and never from what must not wait. Calls from several threads follow one another.
"""

import logging
import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

MODE = 0o600
LIMIT_BYTES = 1024 * 1024  # no state of ours comes near it
ASIDE_MAX = 20  # of a kind; who has so many has another problem

log = logging.getLogger("appliance.state")


class _Header(msgspec.Struct):
    """The first line. Of a version that is not ours only the version is sure to be there."""

    version: int
    bytes: int = -1
    crc32: int = -1


class StateFile:
    """The file at `path`, whose content has `version`.

    The content is its owner's business; it should say its version too, so that a newer owner
    knows what it reads.
    """

    def __init__(self, path: Path, version: int) -> None:
        assert version >= 1
        self._path = path
        self._version = version
        self._lock = threading.Lock()
        self._is_free = False  # what lies at `path`, if anything, may be written over
        self._is_told = False  # that nothing can be written

    def read(self) -> bytes | None:
        """What `write` was given last; None if there is nothing, or nothing of use.

        What is of no use is set aside. Waits for the disk.
        """
        with self._lock:
            return self._look()

    def write(self, content: bytes) -> bool:
        """Put `content` in the place of what was there, for the owner of this process only.

        Waits for the disk, until it says that it has it.

        Returns:
            Whether the disk has it. If not, the file is as it was; to try again later is worth it.
        """
        assert len(content) < LIMIT_BYTES / 2, "this is no small thing"
        with self._lock:
            if not self._is_free:
                self._look()  # a folder that came late may have brought a newer file
            if not self._is_free:
                return False
            try:
                self._replace(msgspec.json.encode(_header(self._version, content)), content)
            except OSError as error:
                self._tell(str(error.strerror))
                return False
            if self._is_told:
                log.info("%s can be written again.", self._path)
                self._is_told = False
            return True

    def set_aside(self, why: str) -> None:
        """The owner can make nothing of what `read` gave: it goes to NAME.damaged.

        Args:
            why: the rest of a sentence that begins with the name of the file.
        """
        with self._lock:
            self._set_aside("damaged", why)

    def _look(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                raw = file.read(LIMIT_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            self._is_free = self._path.parent.is_dir()
            if not self._is_free:
                self._tell("there is no such folder")
            return None
        except OSError as error:
            self._set_aside("damaged", f"cannot be read ({error.strerror})")
            return None
        self._is_free = True
        line, _, content = raw.partition(b"\n")
        try:
            header = msgspec.json.decode(line, type=_Header)
        except (msgspec.MsgspecError, RecursionError):
            header = _Header(version=0)
        if header.version > self._version:
            words = f"is of version {header.version}, and this program knows {self._version}"
            self._set_aside("newer", words)
            return None
        if header.version < 1 or header != _header(header.version, content):
            self._set_aside("damaged", "is damaged")
            return None
        return content

    def _replace(self, header: bytes, content: bytes) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        try:
            _write_whole(beside, header + b"\n" + content)
            beside.replace(self._path)
        except OSError:
            with suppress(OSError):  # it takes room that may be what is missing
                beside.unlink()
            raise
        _keep_names(self._path.parent)

    def _set_aside(self, kind: str, why: str) -> None:
        self._is_free = False
        for n in range(1, ASIDE_MAX + 1):
            aside = self._path.with_name(f"{self._path.name}.{kind}" + (f"-{n}" if n > 1 else ""))
            if os.path.lexists(aside):
                continue
            try:
                self._path.rename(aside)
            except FileNotFoundError:  # somebody was faster
                self._is_free = True
                return
            except OSError:
                break
            _keep_names(self._path.parent)
            log.warning("%s %s: set aside as %s.", self._path, why, aside.name)
            self._is_free = True
            return
        self._tell(f"what is there {why} and cannot be set aside")

    def _tell(self, why: str) -> None:
        if not self._is_told:
            log.warning("%s cannot be written: %s. It is kept in memory only.", self._path, why)
        self._is_told = True


def _header(version: int, content: bytes) -> _Header:
    return _Header(version, len(content), zlib.crc32(content))


def _write_whole(path: Path, raw: bytes) -> None:
    """A file with `raw` in it, on the disk when this returns. One that is there is replaced."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, MODE)
    try:
        os.fchmod(descriptor, MODE)  # a leftover may have had another
        left = memoryview(raw)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_names(folder: Path) -> None:
    """Have the disk keep a rename. Some file systems cannot be asked: they do it in their time."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
