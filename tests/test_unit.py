"""The units, as far as a machine without the box can judge it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "systemd/voice-appliance.service"
UNITS = sorted(UNIT.parent.glob("*.service"))
# Known since 254; what an older systemd says of them is a warning.
NEWER = ("RestartSteps", "RestartMaxDelaySec")
EXPOSURE_MAX = 1.5


def with_a_program(unit: Path, tmp_path: Path) -> Path:
    """A unit, with a program that is there."""
    if shutil.which("systemd-analyze") is None and "CI" not in os.environ:
        pytest.skip("needs systemd-analyze: deploy/test.sh installs it")
    copy = tmp_path / unit.name
    text = re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    copy.write_text(text)
    return copy


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What systemd's own judge says."""
    environ = {**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, env=environ
    )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    told = analyze("verify", with_a_program(unit, tmp_path)).stderr.splitlines()
    faults = [line for line in told if unit.name in line and not any(it in line for it in NEWER)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_its_start_has_a_limit(unit: Path) -> None:
    assert re.search(r"^TimeoutStartSec=\d", unit.read_text(), flags=re.MULTILINE)


def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    told = analyze("security", "--offline=true", with_a_program(UNIT, tmp_path)).stdout
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert exposure, told
    assert float(exposure[1]) <= EXPOSURE_MAX, told
