"""What is written down when the program falls."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from appliance.host.crash import EVENTS_MAX, REPORTS_MAX, Recorder, keep


def fallen(words: str = "boom") -> Exception:
    broke = ValueError(words)
    try:
        raise broke
    except ValueError:
        return broke


def event(number: int, **more: object) -> dict[str, object]:
    return {"t": float(number), "event": "press", "phase": "listening", "link": "up", **more}


def test_it_names_phase_events_versions_and_place() -> None:
    recorder = Recorder()
    recorder(event(1))
    report = recorder.report(fallen())
    assert report.startswith("the program fell while it was listening: ValueError")
    assert "  1.0  press  listening  up" in report
    assert "trio " in report
    assert "Python 3." in report
    assert "in fallen" in report


def test_before_anything_happened_it_was_starting() -> None:
    assert "while it was starting" in Recorder().report(fallen())


def test_only_the_last_fifty_events_are_kept() -> None:
    recorder = Recorder()
    for number in range(EVENTS_MAX + 10):
        recorder(event(number))
    report = recorder.report(fallen())
    assert "  9.0  press" not in report
    assert "  10.0  press" in report


def test_no_words_and_no_secrets_are_in_it() -> None:
    recorder = Recorder()
    recorder(event(1, event="you said", text="my pin is 1234"))
    report = recorder.report(fallen("Token s3cr3t"), ["s3cr3t", ""])
    assert "1234" not in report
    assert "s3cr3t" not in report
    assert "Token …" in report


def test_the_newest_reports_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "crashes"
    for number in range(REPORTS_MAX + 3):
        path = keep(folder, f"report {number}", f"{number}")
    assert sorted(one.name for one in folder.iterdir()) == [
        f"crash-{number}.txt" for number in range(3, REPORTS_MAX + 3)
    ]
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == f"report {REPORTS_MAX + 2}\n"


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert keep(tmp_path / "file" / "crashes", "report", "1") is None


FALL = """
import sys, trio
from appliance import cli, daemon
from appliance.conversation import Event

async def fall(self, *, task_status=trio.TASK_STATUS_IGNORED):
    self.tell(Event.PRESSED)
    raise ValueError("the key was k3y")

daemon.Daemon.run = fall
sys.exit(cli.main(["run", "--config", sys.argv[1], "--socket", sys.argv[2]]))
"""


def test_a_daemon_that_falls_says_why_and_leaves_a_report(folder: Path) -> None:
    settings = folder / "box.toml"
    settings.write_text('[agent]\nurl = "ws://127.0.0.1:1/v1/agent/converse"\n')
    environ = {**os.environ, "STATE_DIRECTORY": str(folder / "state"), "DEEPGRAM_API_KEY": "k3y"}
    done = subprocess.run(
        [sys.executable, "-c", FALL, str(settings), str(folder / "socket")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [report] = (folder / "state" / "crashes").iterdir()
    told = report.read_text()
    assert "while it was listening: ValueError" in told
    assert "the key was …" in told
    assert "k3y" not in told + done.stderr
    assert "while it was listening" in done.stderr
