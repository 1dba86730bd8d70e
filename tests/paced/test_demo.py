"""The demo, as its owner runs it: by itself, in each profile."""

import json
import sys
import wave
from pathlib import Path

import pytest
import trio

from appliance import cli

LIMIT_S = 60.0


async def demo(folder: Path, mode: str) -> dict[str, object]:
    """Play it out; its report."""
    settings, sound = folder / f"{mode}.toml", folder / f"{mode}.wav"
    settings.write_text(f'[talk]\nmode = "{mode}"\n')
    words = ["demo", "--standin", "--json", "--config", str(settings), "--output", str(sound)]
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            [sys.executable, "-m", "appliance", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    *_, report = map(json.loads, done.stdout.splitlines())
    with wave.open(str(sound)) as file:
        report["sound_s"] = file.getnframes() / file.getframerate()
    assert isinstance(report, dict)
    return report


@pytest.mark.paced
async def test_it_plays_itself_out_in_each_profile(tmp_path: Path) -> None:
    reports: dict[str, dict[str, object]] = {}

    async def one(mode: str) -> None:
        reports[mode] = await demo(tmp_path, mode)

    async with trio.open_nursery() as nursery:  # at once: they wait most of the time
        for mode in ("hold", "tap", "open"):
            nursery.start_soon(one, mode)
    for mode, report in reports.items():
        assert report["lost_s"] == 0.0, mode
        assert isinstance(report["press_to_silence_ms"], float), mode
        assert isinstance(report["sound_s"], float), mode
        assert report["sound_s"] > 2.0, mode


async def test_a_file_that_cannot_be_written_is_told_before_the_conversation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--standin", "--output", str(tmp_path / "nowhere" / "x.wav")]
    assert await trio.to_thread.run_sync(cli.main, words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "x.wav: No such file or directory" in captured.err
