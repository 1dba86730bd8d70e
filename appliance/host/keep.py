"""Keeping what was said: off unless the owner wants it. Words as lines of JSON, sound as WAV.

    transcript.jsonl                                     what is being said today
    transcript-20261120T225959.250+0100.jsonl            an earlier day, by its newest line
    20261121T080107.120+0100-utterance-7.wav             what somebody said, as it was sent
    20261121T080109.310+0100-answer-4.wav                what was answered, as far as it came

It is a convenience, so the conversation never pays for it. The calls put things into a queue that
is bounded in bytes, and return; a thread writes, twice a second at most. A disk that is too slow
loses what finds no room. A disk that is full, gone or not to be written to turns all of it off,
with one warning, until the next start: a conversation is worth more than its record.

A plug may be pulled at any time. A line that was not whole then is made whole or dropped at the
next start. Sound grows in a file NAME.wav.part, whose header is set right when it ends, at the
next start if need be; only then has it its name, and only then it is asked of the disk to have it.
Lines are not: to wear a card out for them would be too dear, and half a minute of them may go.

The oldest goes first when there is too much, and whatever is too old goes: a day of lines as one,
when its newest is. Only files with names such as these are counted, mended and deleted. The names
say when, also to us: a clock that is years ahead makes everything old.
"""

import logging
import os
import re
import struct
import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import msgspec
import trio

from appliance.agent.messages import Side
from appliance.sound.pcm import SAMPLE_BYTES, Format

FOLDER_MODE = 0o700
MODE = 0o600
QUEUE_LIMIT_S = 620.0  # of sound: the longest utterance that can be set, and a little
ITEM_BYTES = 256  # what a thing in the queue takes beside its sound or words
GATHER_S = 0.5  # what comes within it is written at once
SWEEP_S = 3600.0  # whatever is too old goes, also from a box that nobody talks to
STOP_LIMIT_S = 0.3  # the box is told to stop: what is in the queue is still written, if that fast
FILES_MAX = 10_000  # each has an entry in memory, of some 250 bytes
LINES_BYTES = 256 * 1024  # a day that talks more has several files
BLOCK_BYTES = 64 * 1024
WAV_LIMIT_BYTES = 2**32 - 1024  # its header has no more bits

TRANSCRIPT = "transcript.jsonl"
PART = ".part"
OURS = re.compile(
    r"transcript-(?P<lines>STAMP)\.jsonl|(?P<sound>STAMP)-(?:utterance|answer)-\d+\.wav".replace(
        "STAMP", r"\d{8}T\d{6}\.\d{3}[+-]\d{4}(?:\d\d)?"
    )
)

# RIFF, PCM; the sizes at 4 and 40 say how much follows. Source: Microsoft and IBM, "Multimedia
# Programming Interface and Data Specifications 1.0", 1991.
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
RIFF_BYTES = HEADER.size - 8  # of the header, behind the first size

log = logging.getLogger("appliance.keep")


@dataclass(frozen=True)
class _Line:
    who: Side
    text: str
    wall_s: float

    @property
    def size(self) -> int:
        return ITEM_BYTES + 4 * len(self.text)


@dataclass(frozen=True)
class _Piece:
    """Sound for the end of a file; `wall_s` is when the file's first came, and names it."""

    kind: str
    number: int
    wall_s: float
    sound: bytes
    form: Format
    is_last: bool

    @property
    def size(self) -> int:
        return ITEM_BYTES + len(self.sound)


class _Stored(msgspec.Struct):
    """A line of the transcript."""

    time: str
    role: str
    content: str


class Keeper:
    """Takes what is said, and has it written. None of it waits but `run`.

    Args:
        folder: for nobody else's files; made if it is missing, and shut to everybody else.
        transcript: keep the words.
        audio: keep the sound.
        max_mb: of all files together, in 10^6 bytes.
        max_days: of each.
        form: the sound's.
        wall: seconds since 1970.
        zone: of the times that are written; None is wherever this machine thinks it is.
        gather_s: what comes within so many seconds is written at once.
    """

    def __init__(
        self,
        folder: Path,
        *,
        transcript: bool,
        audio: bool,
        max_mb: float,
        max_days: float,
        form: Format,
        wall: Callable[[], float] = time.time,
        zone: tzinfo | None = None,
        gather_s: float = GATHER_S,
    ) -> None:
        self.dropped = 0  # things that found no room in the queue
        self._has_transcript, self._has_audio = transcript, audio
        self._wall = wall
        self._gather_s = gather_s
        self._is_off = False
        self._queue: deque[_Line | _Piece] = deque()
        self._put_bytes = 0  # ever; changed by the house only,
        self._done_bytes = 0  # and this by the thread only, so that neither waits for a lock
        self._wake = trio.Event()
        self._disk = threading.Lock()  # a thread that nobody waits for any more may be at it still
        self._shelf = _Shelf(folder, int(max_mb * 1e6), max_days * 86400, zone)
        self._answers = 0
        self._answer: tuple[int, float] | None = None  # number and time of the one that sounds
        self._is_torn = False  # some of it found no room: the rest would not follow
        self.retune(form)

    def retune(self, form: Format) -> None:
        """What comes from now on has another rate. No answer sounds. Never waits."""
        self._form = form
        self._limit = form.bytes_of(QUEUE_LIMIT_S)

    @property
    def is_on(self) -> bool:
        """Whether anything is kept: it is wanted, and the disk has not failed."""
        return (self._has_transcript or self._has_audio) and not self._is_off

    # ── what happens ─────────────────────────────────────────────────────────────────────────

    def said(self, who: Side, text: str, wall_s: float) -> None:
        """One side has said something. Never waits."""
        if self._has_transcript:
            self._put(_Line(who, text, wall_s))

    def utterance(self, number: int, sound: bytes, wall_s: float) -> None:
        """What somebody said, whole, and when it began. Never waits."""
        if self._has_audio and sound:
            self._put(_Piece("utterance", number, wall_s, bytes(sound), self._form, is_last=True))

    def answer_sound(self, sound: bytes, wall_s: float) -> None:
        """A piece of an answer as it came, odd lengths too; the first begins it. Never waits."""
        if not self._has_audio:
            return
        if self._answer is None:
            self._answers += 1
            self._answer = self._answers, wall_s
            self._is_torn = False
        if not self._is_torn:
            piece = _Piece("answer", *self._answer, sound, self._form, is_last=False)
            self._is_torn = not self._put(piece)

    def answer_ended(self) -> None:
        """The answer was played, or stopped; if none sounds nothing happens. Never waits."""
        if self._answer is not None:
            self._put(_Piece("answer", *self._answer, b"", self._form, is_last=True))
        self._answer = None

    def _put(self, item: _Line | _Piece) -> bool:
        if self._is_off:
            return True
        if self._put_bytes - self._done_bytes + item.size > self._limit:
            if not self.dropped:
                log.warning("The disk is too slow: some of what is said will not be kept.")
            self.dropped += 1
            return False
        self._put_bytes += item.size
        self._queue.append(item)
        self._wake.set()
        return True

    # ── the thread ───────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Write until cancelled; returns when nothing is wanted, or the disk has failed.

        Cancelled, it ends the answer that sounds and writes what is left, for a short time: a disk
        that hangs is left to its thread.
        """
        if not self.is_on:
            return
        try:
            while await self._write():
                with trio.move_on_after(SWEEP_S):
                    await self._wake.wait()
                    await trio.sleep(self._gather_s)
        finally:
            self.answer_ended()
            with trio.move_on_after(STOP_LIMIT_S, shield=True):
                await self._write()

    async def _write(self) -> bool:
        """Write what waits; False once the disk has failed."""
        self._wake = trio.Event()
        if self.is_on:
            try:
                await trio.to_thread.run_sync(self._drain, abandon_on_cancel=True)
            except OSError as error:
                self._turn_off(error)
        return self.is_on

    def _drain(self) -> None:
        with self._disk:
            self._shelf.open(self._wall())
            while self._queue:
                item = self._queue.popleft()
                self._done_bytes += item.size
                self._shelf.put(item)
            self._shelf.sweep(self._wall())

    def _turn_off(self, error: OSError) -> None:
        self._is_off = True
        self._queue.clear()
        where = error.filename or self._shelf.folder
        log.warning("What is said is not kept any more: %s: %s", where, error.strerror)


@dataclass(frozen=True, order=True)
class _Kept:
    """A file that is done."""

    newest_s: float  # by the wall clock
    name: str
    size: int


class _Shelf:
    """The folder. Everything here waits for the disk, and raises what it raises: OSError."""

    def __init__(self, folder: Path, limit: int, limit_s: float, zone: tzinfo | None) -> None:
        self.folder = folder
        self._limit = limit
        self._limit_s = limit_s
        self._zone = zone
        self._is_open = False
        self._kept: list[_Kept] = []  # oldest first
        self._kept_bytes = 0
        self._parts: dict[str, _Kept] = {}  # by their kind; the sound that has not ended
        self._lines_bytes = 0
        self._newest_line_s = 0.0

    def open(self, wall_s: float) -> None:
        """Make the folder, mend what was cut, and see what is there; once."""
        if self._is_open:
            return
        self.folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        self.folder.chmod(FOLDER_MODE)
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        for name in names:
            if name.endswith(PART) and OURS.fullmatch(name.removesuffix(PART)):
                self._mend_sound(name)
            elif OURS.fullmatch(name):
                self._add(name, (self.folder / name).stat().st_size)
        if TRANSCRIPT in names:
            self._mend_lines(self.folder / TRANSCRIPT)
        self._is_open = True
        self.sweep(wall_s)

    def put(self, item: _Line | _Piece) -> None:
        """Write it."""
        if isinstance(item, _Line):
            self._put_line(item)
        else:
            self._put_piece(item)

    def sweep(self, wall_s: float) -> None:
        """Delete what is too old, or too much."""
        oldest_s = wall_s - self._limit_s
        growing = self._lines_bytes + sum(part.size for part in self._parts.values())
        while self._kept and (
            self._kept[0].newest_s < oldest_s
            or self._kept_bytes + growing > self._limit
            or len(self._kept) > FILES_MAX
        ):
            kept = self._kept.pop(0)
            self._kept_bytes -= kept.size
            (self.folder / kept.name).unlink(missing_ok=True)
        if self._lines_bytes and self._newest_line_s < oldest_s:
            (self.folder / TRANSCRIPT).unlink(missing_ok=True)
            self._lines_bytes = 0

    def _add(self, name: str, size: int) -> None:
        matched = OURS.fullmatch(name)
        assert matched is not None, name
        try:
            stamp = matched["lines"] or matched["sound"]
            newest_s = datetime.fromisoformat(stamp).timestamp()
        except ValueError:  # only like one of ours: there is no 30 February
            return
        insort(self._kept, _Kept(newest_s, name, size))
        self._kept_bytes += size

    def _at(self, wall_s: float) -> datetime:
        return datetime.fromtimestamp(wall_s, UTC).astimezone(self._zone)

    def _stamp(self, wall_s: float) -> str:
        at = self._at(wall_s)
        return f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}{at:%z}"

    # ── lines ────────────────────────────────────────────────────────────────────────────────

    def _put_line(self, line: _Line) -> None:
        at = self._at(line.wall_s)
        if self._lines_bytes and (
            at.date() != self._at(self._newest_line_s).date() or self._lines_bytes > LINES_BYTES
        ):
            self._turn_page()
        text = line.text.encode("utf-8", "replace").decode()
        stored = _Stored(at.isoformat(timespec="milliseconds"), line.who.value, text)
        self._lines_bytes = _append(
            self.folder / TRANSCRIPT, msgspec.json.encode(stored) + b"\n", whole=True
        )
        self._newest_line_s = line.wall_s

    def _turn_page(self) -> None:
        """The transcript goes on in a new file."""
        name = f"transcript-{self._stamp(self._newest_line_s)}.jsonl"
        if (self.folder / name).exists():
            return
        with suppress(FileNotFoundError):  # its owner may have taken it
            (self.folder / TRANSCRIPT).rename(self.folder / name)
            self._add(name, self._lines_bytes)
        self._lines_bytes = 0

    def _mend_lines(self, path: Path) -> None:
        """See to it that its last line is whole, and learn when it was said."""
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, MODE)
            was = os.fstat(descriptor)  # before we touch it
            size = was.st_size
            whole = _last_end(descriptor, size)
            tail = os.pread(descriptor, LINES_BYTES, whole)
            if tail and _time_of(tail) is not None:
                os.pwrite(descriptor, b"\n", size)
                whole = size + 1
            os.ftruncate(descriptor, whole)
            begins = _last_end(descriptor, whole - 1) if whole else 0
            newest_s = _time_of(os.pread(descriptor, whole - begins, begins))
            if newest_s is None:
                newest_s = was.st_mtime
        finally:
            os.close(descriptor)
        self._lines_bytes, self._newest_line_s = whole, newest_s

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def _put_piece(self, piece: _Piece) -> None:
        name = f"{self._stamp(piece.wall_s)}-{piece.kind}-{piece.number}.wav{PART}"
        if piece.kind in self._parts and self._parts[piece.kind].name != name:
            self._finish(piece.kind)  # its end found no room in the queue
        if piece.sound:
            size = self._parts[piece.kind].size if piece.kind in self._parts else 0
            room = max(min(self._limit, WAV_LIMIT_BYTES) - size, 0)
            head = b"" if size else _header(piece.form)
            size = _append(self.folder / name, head + piece.sound[:room])
            self._parts[piece.kind] = _Kept(piece.wall_s, name, size)
        if piece.is_last and piece.kind in self._parts:
            self._finish(piece.kind)

    def _finish(self, kind: str) -> None:
        with suppress(FileNotFoundError):  # its owner may have taken it
            self._mend_sound(self._parts.pop(kind).name)

    def _mend_sound(self, part_name: str) -> None:
        """Whole frames, a true header, its name; or away with it, if there is no sound in it."""
        part = self.folder / part_name
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            header = os.pread(descriptor, HEADER.size, 0)
            frames = 0
            if len(header) == HEADER.size and header.startswith(b"RIFF"):
                frame_bytes = HEADER.unpack(header)[9] or 1
                frames = (size - HEADER.size) // frame_bytes
            if frames:
                sound = frames * frame_bytes
                os.ftruncate(descriptor, HEADER.size + sound)
                os.pwrite(descriptor, struct.pack("<I", RIFF_BYTES + sound), 4)
                os.pwrite(descriptor, struct.pack("<I", sound), 40)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if frames:
            name = part_name.removesuffix(PART)
            part.rename(self.folder / name)
            self._add(name, HEADER.size + sound)
        else:
            part.unlink()


def _header(form: Format) -> bytes:
    """Of a file without sound; `_mend_sound` says how much there is."""
    rate_bytes = form.rate_hz * form.frame_bytes
    layout = (16, 1, form.channels, form.rate_hz, rate_bytes, form.frame_bytes)
    return HEADER.pack(b"RIFF", RIFF_BYTES, b"WAVE", b"fmt ", *layout, 8 * SAMPLE_BYTES, b"data", 0)


def _append(path: Path, raw: bytes, *, whole: bool = False) -> int:
    """Put `raw` at the end of the file, which is made if it is missing; how long it is then.

    The file is opened each time, so that one whose folder has vanished is not written on unseen.

    Args:
        path: of the file.
        raw: what to put.
        whole: all of it or nothing, if the disk fails.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(path, flags, MODE)
    try:
        before = os.fstat(descriptor).st_size
        left = memoryview(raw)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            if whole:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
    return before + len(raw)


def _last_end(descriptor: int, size: int) -> int:
    """Where the last line ends that is whole within the first `size` bytes; 0 if none is."""
    while size > 0:
        start = max(0, size - BLOCK_BYTES)
        found = os.pread(descriptor, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _time_of(line: bytes) -> float | None:
    """When a line of the transcript was said; None if it is none."""
    try:
        return datetime.fromisoformat(msgspec.json.decode(line, type=_Stored).time).timestamp()
    except (ValueError, RecursionError):
        return None
