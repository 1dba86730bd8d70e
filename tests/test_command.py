"""Running a command: real processes of this machine, with short deadlines.

Nothing here runs on the virtual clock: it would fire a deadline before a real process moves.
"""

import gc
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from appliance.errors import DeviceError
from appliance.host import command
from appliance.host.command import Output, cleaned, run

LIMIT_S = 10  # for what takes milliseconds
HANG_S = 0.3  # the time of what hangs; a shell says its first words in a hundredth of it
ENVIRON = {"PATH": os.environ["PATH"]}


async def sh(
    script: str,
    *words: str,
    stdin: bytes = b"",
    timeout_s: float = LIMIT_S,
    output_max: int = 4096,
    environ: Mapping[str, str] = ENVIRON,
) -> Output:
    with trio.fail_after(2 * LIMIT_S):
        return await run(
            ["sh", "-c", script, "sh", *words],
            stdin=stdin,
            timeout_s=timeout_s,
            output_max=output_max,
            environ=environ,
        )


def is_gone(pid: int) -> bool:
    """Whether it runs no more; an orphan may stay a zombie where nobody plays init."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def is_taken_leave_of(pid: int) -> bool:
    """Whether it is gone and was waited for: no zombie either."""
    return not Path(f"/proc/{pid}").exists()


def descriptors() -> set[str]:
    return {it.name for it in Path("/proc/self/fd").iterdir()}


async def expect_gone(pid: int) -> None:
    """SIGKILL is certain, but not at once."""
    with trio.fail_after(LIMIT_S):
        while not is_gone(pid):  # noqa: ASYNC110  # nobody tells of another's child
            await trio.sleep(0.005)


@contextmanager
def taking_at_most(limit_s: float) -> Iterator[None]:
    started_s = trio.current_time()
    yield
    assert trio.current_time() - started_s < limit_s


async def test_a_command_reads_its_input_and_its_output_is_kept() -> None:
    assert await sh("tr a-z A-Z; echo hm >&2", stdin=b'{"level": 3}') == Output(
        status=0, stdout=b'{"LEVEL": 3}', stderr=b"hm\n", truncated=False, timed_out=False
    )


async def test_words_are_words_and_no_line_for_a_shell() -> None:
    with trio.fail_after(LIMIT_S):
        output = await run(
            ["printf", "%s|", "a b", "$HOME", "; exit 3", "*"],
            stdin=b"",
            timeout_s=LIMIT_S,
            output_max=100,
            environ=ENVIRON,
        )
    assert output.stdout == b"a b|$HOME|; exit 3|*|"


async def test_it_begins_in_the_root_and_leads_a_session_and_a_group_of_its_own() -> None:
    output = await sh("pwd; echo $$; sed 's/.*) //' /proc/$$/stat")
    folder, pid, stat = output.stdout.decode().splitlines()
    _, _, group, session, *_ = stat.split()
    assert folder == "/"
    assert pid == group == session
    assert int(group) != os.getpgrp()


async def test_no_key_and_nothing_of_the_service_manager_is_in_its_environment() -> None:
    ours = {
        "DEEPGRAM_API_KEY": "sesame",
        "CREDENTIALS_DIRECTORY": "/run/credentials/x",
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x",
        "JOURNAL_STREAM": "1:2",
        "INVOCATION_ID": "x",
    }
    output = await sh("env", environ={**ENVIRON, **ours, "MUSIC": "/srv"})
    names = {line.partition("=")[0] for line in output.stdout.decode().splitlines()}
    assert "MUSIC" in names
    assert not names & ours.keys()
    assert b"sesame" not in output.stdout
    assert cleaned({**ours, "MUSIC": "/srv"}) == {"MUSIC": "/srv"}


async def test_our_own_environment_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "sesame")
    assert b"sesame" not in (await sh("env")).stdout


async def test_nothing_that_we_have_open_is_inherited() -> None:
    inner, outer = os.pipe()
    try:
        os.set_inheritable(inner, True)
        output = await sh("for fd in /proc/self/fd/*; do echo ${fd##*/}; done")
    finally:
        os.close(inner)
        os.close(outer)
    assert str(inner) not in output.stdout.decode().split()


async def test_a_command_that_fails_tells_its_status_and_its_last_words() -> None:
    output = await sh("echo trying >&2; printf 'no\\tsuch lamp\\n\\n' >&2; exit 3")
    assert (output.status, output.ending, output.complaint) == (3, "exit status 3", "no such lamp")


async def test_a_command_that_dies_tells_of_what() -> None:
    output = await sh("kill -SEGV $$")
    assert (output.status, output.ending, output.complaint) == (-11, "signal 11", "")
    assert not output.timed_out


def ended(stderr: bytes) -> Output:
    return Output(1, b"", stderr, truncated=False, timed_out=False)


def test_a_complaint_is_one_short_line_of_text() -> None:
    assert ended(b"").complaint == ended(b" \n\n").complaint == ""
    assert ended(b"a\xff\x1b[1m\r\n").complaint == "a\N{REPLACEMENT CHARACTER} [1m"
    assert ended(b"so long " * 100).complaint == ("so long " * 100)[:200]


def test_what_may_be_a_key_is_left_out_of_a_complaint() -> None:
    key = "0123456789abcdef" * 3
    assert ended(f"401 for Token {key}, sorry".encode()).complaint == "401 for Token …, sorry"
    # Also of one that the limit would have cut in two.
    assert key[:8] not in ended(b"so long " * 24 + key.encode()).complaint


async def test_output_beyond_the_limit_is_dropped_and_the_command_goes_on() -> None:
    output = await sh("head -c 500000 /dev/zero; echo end >&2; exit 4", output_max=1000)
    assert output.stdout == bytes(1000)
    assert output.truncated
    assert (output.status, output.stderr) == (4, b"end\n")


async def test_output_that_just_fits_is_whole() -> None:
    output = await sh("printf 12345", output_max=5)
    assert (output.stdout, output.truncated) == (b"12345", False)
    output = await sh("printf 12345", output_max=0)
    assert (output.stdout, output.truncated) == (b"", True)


async def test_of_long_complaints_the_end_is_kept() -> None:
    output = await sh("head -c 300000 /dev/zero >&2; echo the end >&2")
    assert len(output.stderr) == command.STDERR_MAX
    assert output.stderr.endswith(b"the end\n")


async def test_an_endless_output_ends_with_the_time_and_leaves_room_for_others() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.sleep(0.001)
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        output = await sh("yes", timeout_s=HANG_S, output_max=100)
        nursery.cancel_scope.cancel()
    assert output.timed_out
    assert output.truncated
    assert len(output.stdout) == 100
    assert turns > 20


async def test_a_command_that_hangs_is_ended_when_its_time_is_up() -> None:
    with taking_at_most(LIMIT_S):
        output = await sh("echo $$; exec sleep 60", timeout_s=HANG_S)
    assert (output.status, output.timed_out, output.ending) == (None, True, "its time was up")
    assert is_taken_leave_of(int(output.stdout))


async def test_a_command_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_S", 0.05)
    output = await sh("trap '' TERM; echo $$; while :; do sleep 0.01; done", timeout_s=HANG_S)
    assert output.timed_out
    assert is_taken_leave_of(int(output.stdout))


async def test_a_command_that_has_stopped_itself_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_S", 0.05)
    output = await sh("echo $$; kill -STOP $$", timeout_s=HANG_S)
    assert output.timed_out
    assert is_taken_leave_of(int(output.stdout))


async def test_a_command_may_tidy_up_when_its_time_is_up(tmp_path: Path) -> None:
    there = tmp_path / "tidy"
    script = "trap 'touch \"$1\"; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    output = await sh(script, str(there), timeout_s=HANG_S)
    assert output.stdout == b"ready\n"
    assert there.exists()
    assert (output.status, output.timed_out) == (None, True)


async def test_children_go_with_their_command_when_its_time_is_up() -> None:
    output = await sh("sleep 60 & echo $!; sleep 60", timeout_s=HANG_S)
    assert output.timed_out
    await expect_gone(int(output.stdout))


async def test_a_child_that_holds_the_output_open_goes_with_its_command() -> None:
    with taking_at_most(LIMIT_S):
        output = await sh("sleep 60 & echo $!")
    assert (output.status, output.timed_out) == (0, False)
    await expect_gone(int(output.stdout))


async def test_a_child_that_survives_its_command_and_sigterm_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "GRACE_S", 0.05)
    output = await sh(
        "(trap '' TERM; echo ready; while :; do sleep 0.01; done) & echo $!; read line",
        stdin=b"\n",
    )
    pid = next(int(line) for line in output.stdout.split() if line != b"ready")
    assert output.status == 0
    await expect_gone(pid)


async def test_what_a_child_still_writes_when_its_command_has_ended_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "LINGER_S", LIMIT_S)
    output = await sh("(sleep 0.02; echo late) & exit 0")
    assert (output.status, output.stdout) == (0, b"late\n")


async def test_a_child_with_a_session_of_its_own_lives_and_is_not_waited_for() -> None:
    with taking_at_most(LIMIT_S):
        output = await sh("setsid sleep 60 & echo $!; until [ -r /proc/$!/stat ]; do :; done")
    pid = int(output.stdout)
    try:
        assert output.status == 0
        assert not output.timed_out
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_a_command_that_reads_nothing_gets_on_all_the_same() -> None:
    assert (await sh("exit 0", stdin=bytes(1_000_000))).status == 0
    assert (await sh("exec <&-; sleep 0.01; echo on", stdin=bytes(1_000_000))).stdout == b"on\n"
    assert (await sh("sleep 60", stdin=bytes(1_000_000), timeout_s=HANG_S)).timed_out


async def test_a_command_that_closes_its_output_is_waited_for() -> None:
    output = await sh("exec >&- 2>&-; sleep 0.05; exit 5")
    assert (output.status, output.stdout) == (5, b"")


async def test_a_cancelled_command_goes_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = 'sleep 60 & echo $! $$ >"$1.new"; mv "$1.new" "$1"; sleep 60'
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sh, script, str(pids))
        with trio.fail_after(LIMIT_S):
            while not pids.exists():  # noqa: ASYNC110  # a shell tells nobody
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    child, leader = map(int, pids.read_text().split())
    assert is_taken_leave_of(leader)
    await expect_gone(child)


async def test_a_command_that_was_cancelled_before_it_began_never_begins(tmp_path: Path) -> None:
    there = tmp_path / "there"
    with trio.CancelScope() as scope:
        scope.cancel()
        await sh('touch "$1"', str(there))
    assert scope.cancelled_caught
    assert not there.exists()


async def test_a_command_cancelled_at_any_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in those in which it is being started or ended."""
    monkeypatch.setattr(command, "GRACE_S", 0.05)
    for step in range(20):
        before = descriptors()
        file = tmp_path / str(step)
        with trio.move_on_after(step * 0.001):
            await sh('echo $$ >"$1"; sleep 60 & sleep 60', str(file))
        assert descriptors() <= before
        if file.exists() and (text := file.read_text()):
            assert is_taken_leave_of(int(text))


async def test_nothing_stays_open_behind_a_command() -> None:
    await sh("exit 0")
    before = descriptors()
    for script in ("echo x", "exit 3", "sleep 60 &"):
        await sh(script)
    await sh("sleep 60", timeout_s=0.05)
    with pytest.raises(DeviceError):
        await _run("/nowhere")
    assert descriptors() == before


async def test_many_run_at_once() -> None:
    done = []

    async def one(number: int) -> None:
        output = await sh("sleep 0.05; cat", stdin=str(number).encode())
        done.append(int(output.stdout))

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number)
    assert sorted(done) == list(range(30))


async def _run(*argv: str) -> Output:
    with trio.fail_after(LIMIT_S):
        return await run(argv, stdin=b"", timeout_s=LIMIT_S, output_max=10, environ=ENVIRON)


async def test_a_command_that_is_not_there_is_told_by_its_first_word_only() -> None:
    with pytest.raises(DeviceError) as failed:
        await _run("/nowhere/at-all", "sesame")
    assert str(failed.value) == "'/nowhere/at-all' cannot be run: No such file or directory"
    with pytest.raises(DeviceError, match="'no-such-program' cannot be run"):
        await _run("no-such-program")


async def test_a_command_that_is_no_program_is_told(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(DeviceError, match="Permission denied"):
        await _run(str(text))
    text.chmod(0o755)
    with pytest.raises(DeviceError, match="Exec format error"):
        await _run(str(text))
    text.write_text("#!/nowhere/at-all\n")
    with pytest.raises(DeviceError, match="No such file"):
        await _run(str(text))
    with pytest.raises(DeviceError, match="Permission denied"):
        await _run(str(tmp_path))


async def test_a_word_that_cannot_be_one_is_told() -> None:
    with pytest.raises(DeviceError, match="'echo' cannot be run") as failed:
        await _run("echo", "ses\0ame")
    assert "ses" not in str(failed.value)
    with pytest.raises(DeviceError, match="'echo' cannot be run"):
        await _run("echo", "\ud800")


# What is left is told by Python, which waits for it when it starts the next process.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_command_that_may_not_be_ended_is_left_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one of another user's; here the kernel's refusal is played."""

    def refuse(group: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refuse)
    output = await sh("echo $$; exec sleep 1", timeout_s=HANG_S)
    assert output.timed_out
    assert "the command sh cannot be ended" in caplog.text
    gc.collect()
    await expect_gone(int(output.stdout))
