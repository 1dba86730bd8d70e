"""WebRTC's canceller in synthetic rooms, by `measure.py` in a Python that has livekit.

What it makes of each room is printed (`pytest -s tests/dsp`). Asserted is what no seed changes: the
echo falls by more than full duplex needs, and who speaks over it is still heard.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.environment import python_with

pytestmark = pytest.mark.dsp

HERE = Path(__file__).parent
TOP = HERE.parent.parent
NEEDED_DB = 17.0


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with(HERE / "livekit.txt")


@pytest.fixture(scope="module")
def rooms(python: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [python, "-I", HERE / "measure.py", TOP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_echo_falls_and_a_voice_over_it_does_not(rooms: list[dict[str, Any]]) -> None:
    for room in rooms:
        print(room)  # noqa: T201  # the measurement
        assert room["erle_db"] > NEEDED_DB, room
        assert room["voice_db"] > -12, room
        assert room["alike"] > 0.3, room


def test_what_is_heard_while_nothing_sounds_comes_through(rooms: list[dict[str, Any]]) -> None:
    for room in rooms:
        assert room["clear_alike"] > 0.8, room
        assert 0 <= room["late_ms"] < 12, room


def test_no_frame_is_left_out(rooms: list[dict[str, Any]]) -> None:
    for room in rooms:
        assert room["frames"] == 16 * 100 + 3, room  # two before, and one behind


def test_the_requirements_name_no_address() -> None:
    assert "://" not in (HERE / "livekit.txt").read_text()
