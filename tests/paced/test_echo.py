"""The measurement of the echo, by its command, on real ALSA: PulseAudio carries the sound back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .pulse import Lab

CARDS = '[audio]\ncapture = "lab_cap"\nplayback = "lab_play"\n'
GAIN_DB = -9


def measure(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    file = folder / "config.toml"
    file.write_text(CARDS)
    command = [sys.executable, "-m", "appliance", "echo", "--config", str(file)]
    command += ["--socket", str(folder / "no.sock"), *more]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=60
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_the_echo_of_a_real_sound_server_is_measured(lab: Lab, tmp_path: Path) -> None:
    with lab.echo(latency_ms=100, gain_db=GAIN_DB):
        found = told(measure(tmp_path, "--json"))
    assert abs(found["return_loss_db"] + GAIN_DB) < 1.0, found
    assert 0 < found["delay_ms"] < 300, found
    assert found["verdict"] == "webrtc", found


def test_without_an_echo_nothing_is_heard(lab: Lab, tmp_path: Path) -> None:
    found = told(measure(tmp_path, "--json"))
    assert found["delay_ms"] is None
    assert found["verdict"] == "half"
