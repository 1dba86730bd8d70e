"""Keeping what was said: what lies in the folder, its bounds, and every way a disk can fail.

The thread is real, so the clock is; nothing here waits for it but for the writing itself.
"""
# ruff: noqa: ASYNC240  # a test may wait for its own disk

import errno
import json
import os
import stat
import threading
import wave
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trio

from appliance.agent.messages import Side
from appliance.host import keep
from appliance.host.keep import Keeper, _header
from appliance.sound.pcm import Format

FORM = Format(16000)
ZONE = timezone(timedelta(hours=1))
DAY_S = 86400.0
NOON = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=ZONE).timestamp()
STAMP = "20261120T120000.250+0100"
SOUND = bytes(range(200)) * 4


@pytest.fixture(autouse=True)
def _a_patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "STOP_LIMIT_S", 60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def keeper(
    folder: Path,
    *,
    transcript: bool = True,
    audio: bool = True,
    max_mb: float = 10,
    max_days: float = 30,
    wall_s: float = NOON,
    form: Format = FORM,
) -> Keeper:
    return Keeper(
        folder,
        transcript=transcript,
        audio=audio,
        max_mb=max_mb,
        max_days=max_days,
        form=form,
        wall=lambda: wall_s,
        zone=ZONE,
        gather_s=0,
    )


async def stop(it: Keeper) -> None:
    """Run it and end it: all that waits is written, or it has turned itself off."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        nursery.cancel_scope.cancel()


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def lines(folder: Path, name: str = "transcript.jsonl") -> list[dict[str, str]]:
    raw = (folder / name).read_bytes()
    assert not raw or raw.endswith(b"\n")
    return [json.loads(line) for line in raw.splitlines()]


def sound(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (FORM.channels, 2, FORM.rate_hz)
        assert path.stat().st_size == 44 + 2 * file.getnframes()
        assert int.from_bytes(path.read_bytes()[4:8], "little") == path.stat().st_size - 8
        return bytes(file.readframes(file.getnframes()))


async def test_sound_of_each_rate_has_its_own_in_its_header(folder: Path) -> None:
    """Also what waits in the queue when the rate changes."""
    it = keeper(folder)
    for number, rate_hz in enumerate((16000, 48000, 24000), 1):
        it.retune(Format(rate_hz))
        it.utterance(number, SOUND, NOON)
        it.answer_sound(SOUND, NOON)
        it.answer_ended()
    await stop(it)
    rates = []
    for path in sorted(folder.glob("*.wav"), key=lambda path: path.name.split("-")[1:]):
        with wave.open(str(path)) as file:
            rates.append(file.getframerate())
    assert rates == [16000, 48000, 24000] * 2


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────


async def test_where_nothing_is_wanted_nothing_is_made(folder: Path) -> None:
    it = keeper(folder, transcript=False, audio=False)
    it.said(Side.USER, "hello", NOON)
    it.utterance(1, SOUND, NOON)
    it.answer_sound(SOUND, NOON)
    it.answer_ended()
    assert not it.is_on
    await it.run()
    assert not folder.exists()


async def test_words_are_lines_with_their_time_and_who_said_them(folder: Path) -> None:
    it = keeper(folder, audio=False)
    it.said(Side.USER, "Wie spät\nist es?", NOON)
    it.said(Side.AGENT, 'It is "noon".', NOON + 1.5)
    it.utterance(1, SOUND, NOON)
    await stop(it)
    assert lines(folder) == [
        {"time": "2026-11-20T12:00:00.250+01:00", "role": "user", "content": "Wie spät\nist es?"},
        {"time": "2026-11-20T12:00:01.750+01:00", "role": "assistant", "content": 'It is "noon".'},
    ]
    assert names(folder) == ["transcript.jsonl"]


async def test_a_second_run_goes_on_where_the_first_ended(folder: Path) -> None:
    for word in ("one", "two"):
        it = keeper(folder)
        it.said(Side.USER, word, NOON)
        await stop(it)
    assert [line["content"] for line in lines(folder)] == ["one", "two"]


async def test_words_that_are_no_text_are_kept_as_far_as_they_are(folder: Path) -> None:
    it = keeper(folder)
    it.said(Side.USER, "half \ud83d", NOON)
    await stop(it)
    assert lines(folder)[0]["content"] == "half ?"


async def test_an_utterance_and_an_answer_are_files_of_their_own(folder: Path) -> None:
    it = keeper(folder, transcript=False)
    it.utterance(7, SOUND, NOON)
    for piece in (SOUND[:3], SOUND[3:4], b"", SOUND[4:]):  # odd pieces do arrive
        it.answer_sound(piece, NOON + 60)
    it.answer_ended()
    it.answer_ended()
    it.answer_sound(SOUND[:8], NOON + 90)  # and this one is cut by the end of the program
    await stop(it)
    assert names(folder) == [
        f"{STAMP}-utterance-7.wav",
        "20261120T120100.250+0100-answer-1.wav",
        "20261120T120130.250+0100-answer-2.wav",
    ]
    assert [sound(folder / name) for name in names(folder)] == [SOUND, SOUND, SOUND[:8]]


async def test_half_a_frame_at_the_end_is_let_go(folder: Path) -> None:
    it = keeper(folder)
    it.answer_sound(SOUND[:5], NOON)
    await stop(it)
    assert sound(folder / f"{STAMP}-answer-1.wav") == SOUND[:4]


async def test_an_answer_without_sound_leaves_nothing(folder: Path) -> None:
    it = keeper(folder)
    it.answer_sound(b"", NOON)
    it.answer_ended()
    it.answer_sound(b"x", NOON)
    it.answer_ended()
    it.utterance(1, b"", NOON)
    await stop(it)
    assert names(folder) == []


async def test_nobody_else_may_read_it(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "transcript.jsonl").touch()
    (folder / "transcript.jsonl").chmod(0o644)
    before = os.umask(0)
    try:
        it = keeper(folder)
        it.said(Side.USER, "hello", NOON)
        it.utterance(1, SOUND, NOON)
        it.answer_sound(SOUND, NOON)
        await stop(it)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    assert len(names(folder)) == 3


async def test_while_it_runs_things_are_written_as_they_come(folder: Path) -> None:
    it = keeper(folder)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.run)
            for n in range(3):
                it.said(Side.USER, str(n), NOON)
                while it._put_bytes != it._done_bytes:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert [line["content"] for line in lines(folder)] == ["0", "1", "2"]


# ── pulled plugs ─────────────────────────────────────────────────────────────────────────────────


async def test_a_torn_last_line_is_made_whole_or_dropped(tmp_path: Path) -> None:
    first = keeper(tmp_path / "whole")
    for word in ("one", "two", "three and more"):
        first.said(Side.USER, word, NOON)
    await stop(first)
    whole = (tmp_path / "whole" / "transcript.jsonl").read_bytes()
    said = [line["content"] for line in lines(tmp_path / "whole")]
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "transcript.jsonl").write_bytes(whole[:length])
        it = keeper(folder)
        it.said(Side.USER, "after", NOON)
        await stop(it)
        kept = sum(length >= end - 1 for end in ends)  # a line that lacks its end only is whole
        assert [line["content"] for line in lines(folder)] == [*said[:kept], "after"]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"x" * 200_000, b"[" * 300_000, b'{"time": 1}'])
async def test_what_a_disk_made_of_the_last_line_is_dropped(folder: Path, tail: bytes) -> None:
    first = keeper(folder)
    first.said(Side.USER, "one", NOON)
    await stop(first)
    with (folder / "transcript.jsonl").open("ab") as file:
        file.write(tail)
    await stop(keeper(folder))
    assert [line["content"] for line in lines(folder)] == ["one"]


async def test_sound_that_was_cut_gets_a_true_header_and_its_name(tmp_path: Path) -> None:
    first = keeper(tmp_path / "whole")
    first.utterance(1, SOUND, NOON)
    await stop(first)
    whole = (tmp_path / "whole" / f"{STAMP}-utterance-1.wav").read_bytes()
    unfinished = _header(FORM) + whole[44:]
    for length in range(44 + 20):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / f"{STAMP}-answer-3.wav.part").write_bytes(unfinished[:length])
        await stop(keeper(folder, form=Format(48000)))  # the owner may have changed it
        if length < 46:
            assert names(folder) == []
        else:
            assert names(folder) == [f"{STAMP}-answer-3.wav"]
            assert sound(folder / f"{STAMP}-answer-3.wav") == SOUND[: (length - 44) // 2 * 2]


async def test_sound_of_which_only_zeros_are_left_is_dropped(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{STAMP}-answer-3.wav.part").write_bytes(bytes(4096))
    await stop(keeper(folder))
    assert names(folder) == []


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_oldest_goes_when_there_is_too_much(folder: Path) -> None:
    folder.mkdir()
    strangers = [
        "20260230T120000.250+0100-answer-1.wav",  # there is no such day
        f"{STAMP}-answer-x.wav",
        "notes.txt",
        "transcript.jsonl.old",
        "utterance-1.wav",
    ]
    for name in strangers:
        (folder / name).write_bytes(bytes(5000))
    it = keeper(folder, max_mb=0.005)
    for n in (3, 1, 2):
        it.utterance(n, bytes(1000), NOON + n)
    await stop(it)
    assert len(names(folder)) == 3 + len(strangers)
    it = keeper(folder, max_mb=0.003)  # at the start
    it.utterance(4, bytes(1000), NOON + 4)  # and as it grows
    await stop(it)
    kept = [name for name in names(folder) if name not in strangers]
    assert kept == [
        "20261120T120003.250+0100-utterance-3.wav",
        "20261120T120004.250+0100-utterance-4.wav",
    ]


async def test_there_are_never_more_files_than_can_be_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "FILES_MAX", 3)
    it = keeper(folder)
    for n in range(9):
        it.utterance(n, SOUND, NOON + n)
    await stop(it)
    assert [name[-5] for name in names(folder)] == ["6", "7", "8"]


async def test_an_answer_without_end_is_cut_at_the_limit(folder: Path) -> None:
    it = keeper(folder, max_mb=0.01)
    it.utterance(1, bytes(4000), NOON - 2)
    it.utterance(2, bytes(4000), NOON - 1)
    sizes = []
    for _ in range(30):
        it.answer_sound(SOUND, NOON)
        assert await it._write()
        sizes.append(sum((folder / name).stat().st_size for name in names(folder)))
    assert max(sizes) <= 10_000 + 44
    assert names(folder) == [f"{STAMP}-answer-1.wav.part"]
    it.answer_ended()
    await stop(it)
    assert sum((folder / name).stat().st_size for name in names(folder)) <= 10_000


async def test_what_is_too_old_goes_also_while_nobody_talks(folder: Path) -> None:
    now_s = [NOON]
    it = keeper(folder, max_days=2)
    it._wall = lambda: now_s[0]
    it.said(Side.USER, "one", NOON)
    it.utterance(1, SOUND, NOON)
    it.utterance(2, SOUND, NOON + DAY_S)
    assert await it._write()
    assert len(names(folder)) == 3
    now_s[0] = NOON + 2 * DAY_S + 1
    assert await it._write()
    assert names(folder) == ["20261121T120000.250+0100-utterance-2.wav"]
    await stop(keeper(folder, max_days=2, wall_s=NOON + 9 * DAY_S))  # at the start
    assert names(folder) == []


async def test_the_age_of_a_transcript_is_that_of_its_newest_line(folder: Path) -> None:
    first = keeper(folder)
    first.said(Side.USER, "one", NOON)
    first.said(Side.USER, "two", NOON + 3600)
    await stop(first)
    await stop(keeper(folder, max_days=1, wall_s=NOON + DAY_S + 3599))
    assert len(lines(folder)) == 2
    await stop(keeper(folder, max_days=1, wall_s=NOON + DAY_S + 3601))
    assert names(folder) == []


@pytest.mark.parametrize("is_old", [False, True])
async def test_the_age_of_lines_that_say_none_is_that_of_the_file(
    folder: Path, is_old: bool
) -> None:
    folder.mkdir()
    (folder / "transcript.jsonl").write_bytes(b"of another program\n")
    written_s = NOON - 31 * DAY_S * is_old
    os.utime(folder / "transcript.jsonl", (written_s, written_s))
    await stop(keeper(folder))
    assert names(folder) == ([] if is_old else ["transcript.jsonl"])


async def test_what_only_has_the_name_of_a_file_of_ours_is_let_be(folder: Path) -> None:
    folder.mkdir()
    (folder / "20010101T000000.000+0100-answer-1.wav").mkdir()
    (folder / "20010101T000000.000+0100-answer-2.wav.part").mkdir()
    (folder / "20010101T000000.000+0100-answer-3.wav").symlink_to("/dev/null")
    it = keeper(folder)
    await stop(it)
    assert it.is_on
    assert len(names(folder)) == 3


async def test_each_day_has_its_transcript(folder: Path) -> None:
    it = keeper(folder)
    for hours in (0, 11, 13, 40, 5):  # the last with a clock that was set back
        it.said(Side.USER, str(hours), NOON + hours * 3600)
    await stop(it)
    assert names(folder) == [
        "transcript-20261120T230000.250+0100.jsonl",
        "transcript-20261121T010000.250+0100.jsonl",
        "transcript-20261122T040000.250+0100.jsonl",
        "transcript.jsonl",
    ]
    said = [[line["content"] for line in lines(folder, name)] for name in names(folder)]
    assert said == [["0", "11"], ["13"], ["40"], ["5"]]


async def test_a_day_of_many_words_has_several_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "LINES_BYTES", 1000)
    it = keeper(folder, max_mb=0.004)
    for n in range(100):
        it.said(Side.USER, str(n), NOON + n)
    await stop(it)
    said = [line["content"] for name in names(folder) for line in lines(folder, name)]
    assert said == [str(n) for n in range(100 - len(said), 100)]
    assert len(said) > 20
    assert sum((folder / name).stat().st_size for name in names(folder)) <= 4000


async def test_a_page_is_never_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "LINES_BYTES", 0)
    it = keeper(folder)
    for n in range(4):
        it.said(Side.USER, str(n), NOON)  # all at the same time
    await stop(it)
    said = [line["content"] for name in names(folder) for line in lines(folder, name)]
    assert said == ["0", "1", "2", "3"]


async def test_the_owner_may_take_what_is_his(folder: Path) -> None:
    it = keeper(folder)
    it.said(Side.USER, "one", NOON)
    it.answer_sound(SOUND, NOON)
    it.utterance(1, SOUND, NOON)
    assert await it._write()
    for name in names(folder):
        (folder / name).unlink()
    it.said(Side.USER, "two", NOON + DAY_S)
    it.answer_ended()
    it._wall = lambda: NOON + 365 * DAY_S
    assert await it._write()
    it._wall = lambda: NOON
    it.said(Side.USER, "three", NOON)
    await stop(it)
    assert it.is_on
    assert [line["content"] for line in lines(folder)] == ["three"]


# ── bad disks ────────────────────────────────────────────────────────────────────────────────────


def fails(number: int) -> object:
    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("open", errno.EROFS),
        ("open", errno.ENOSPC),
        ("write", errno.ENOSPC),
        ("write", errno.EIO),
        ("fsync", errno.EIO),
        ("mkdir", errno.EROFS),
        ("scandir", errno.EACCES),
        ("chmod", errno.EPERM),
        ("rename", errno.ENOSPC),
    ],
)
async def test_a_disk_that_fails_turns_it_off_with_one_warning(
    folder: Path,
    call: str,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = keeper(folder)
    it.utterance(1, SOUND, NOON)
    it.said(Side.USER, "a secret", NOON)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails(number))
        with trio.fail_after(60):
            await it.run()  # it returns
    assert not it.is_on
    it.said(Side.USER, "a secret", NOON)
    it.utterance(2, SOUND, NOON)
    it.answer_sound(SOUND, NOON)
    it.answer_ended()
    await stop(it)
    assert not it._queue
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("What is said is not kept any more: ")
    assert os.strerror(number) in caplog.text
    assert "secret" not in caplog.text


async def test_a_disk_that_is_full_in_the_middle_of_a_line_keeps_whole_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = keeper(folder)
    it.said(Side.USER, "one", NOON)
    assert await it._write()
    write = os.write
    took = [10]

    def fill(to: int, raw: memoryview) -> int:
        if not took[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n, took[0] = took[0], 0
        return write(to, raw[:n])

    it.said(Side.USER, "two", NOON)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill)
        assert not await it._write()
    assert [line["content"] for line in lines(folder)] == ["one"]


@pytest.mark.parametrize("is_first", [False, True])
async def test_a_folder_that_vanished_turns_it_off(
    folder: Path, is_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    it = keeper(folder)
    if not is_first:
        it.said(Side.USER, "one", NOON)
    assert await it._write()
    for name in names(folder):
        (folder / name).unlink()
    folder.rmdir()
    it.said(Side.USER, "two", NOON)
    assert not await it._write()
    assert not folder.exists()
    assert len(caplog.messages) == 1


async def test_a_file_where_the_folder_should_be_turns_it_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"of somebody else")
    await keeper(tmp_path / "file").run()
    await keeper(tmp_path / "file" / "kept").run()
    assert len(caplog.messages) == 2
    assert (tmp_path / "file").read_bytes() == b"of somebody else"


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that hangs until the event is set; the event says nothing of when it began to."""
    goes_on = threading.Event()
    append = keep._append

    def wait(path: Path, raw: bytes, *, whole: bool = False) -> int:
        goes_on.wait(60)
        return append(path, raw, whole=whole)

    monkeypatch.setattr(keep, "_append", wait)
    yield goes_on
    goes_on.set()


async def test_a_disk_that_hangs_costs_what_finds_no_room_and_keeps_nobody_waiting(
    folder: Path, stuck: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    it = keeper(folder)
    it._limit = 10_000
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.run)
            await trio.testing.wait_all_tasks_blocked()
            it.answer_sound(SOUND, NOON)
            for n in range(1, 1000):
                it.said(Side.USER, "a secret", NOON)
                it.utterance(n, SOUND, NOON + n)
                it.answer_sound(SOUND, NOON)
            assert sum(item.size for item in it._queue) <= 10_000
            assert it.dropped > 1900
            stuck.set()
            nursery.cancel_scope.cancel()
    assert caplog.messages == ["The disk is too slow: some of what is said will not be kept."]
    assert it.is_on
    assert 0 < len(lines(folder)) < 20
    for name in names(folder):
        if name.endswith(".wav"):
            assert sound(folder / name) in (SOUND, *(SOUND * n for n in range(20)))


async def test_after_a_gap_an_answer_does_not_go_on_and_the_next_is_whole(folder: Path) -> None:
    it = keeper(folder)
    it._limit = 2000
    it.answer_sound(bytes(1001), NOON)
    it.answer_sound(bytes(1001), NOON)  # no room
    it._limit = 100_000
    it.answer_sound(b"\1" * 500, NOON)  # would be out of step by a byte
    it.answer_ended()
    it.answer_sound(SOUND, NOON + 1)
    await stop(it)
    assert sound(folder / f"{STAMP}-answer-1.wav") == bytes(1000)
    assert sound(folder / "20261120T120001.250+0100-answer-2.wav") == SOUND


async def test_an_answer_whose_end_found_no_room_ends_with_the_next(folder: Path) -> None:
    it = keeper(folder)
    it.answer_sound(SOUND, NOON)
    it._limit = 0
    it.answer_ended()
    it._limit = 100_000
    it.answer_sound(SOUND[:2], NOON + 1)
    await stop(it)
    assert sound(folder / f"{STAMP}-answer-1.wav") == SOUND
    assert it.dropped == 1


async def test_the_longest_utterance_that_can_be_set_finds_room(folder: Path) -> None:
    it = keeper(folder)
    it.utterance(1, bytes(FORM.bytes_of(600)), NOON)
    assert not it.dropped


async def test_a_disk_that_hangs_does_not_keep_the_box_from_stopping(
    folder: Path, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "STOP_LIMIT_S", 0.01)
    it = keeper(folder)
    it.said(Side.USER, "one", NOON)
    with trio.fail_after(30):
        await stop(it)
    assert not stuck.is_set()
