"""A box that is in use gets another release, or stays as it was; also when the power is cut."""

import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .conftest import DEPLOY, Tell
from .container import Container, LabError
from .releases import make_wheels
from .test_install import CONFIG, RELEASES, VERSION, is_active
from .test_service import show, status, until

HOUSE = "/opt/voice-appliance"
WHEELS = "/mnt/releases"
GOOD, NEXT = "0.2.0", "0.3.0"
FORGETS, NO_IMPORT = "0.2.1", "0.2.2"
FALLS, DUMB, UNWELL = "0.2.4", "0.2.5", "0.2.6"
READY = "            self._parts.manager.ready()\n"
SERVE = "await trio.serve_listeners(receive, [listener])"
CHANGES = {
    GOOD: [],
    NEXT: [],
    FORGETS: [("appliance/**/*.py", "tap_ms", "short_ms")],
    NO_IMPORT: [("appliance/daemon.py", "import logging\n", "import logging\nimport not_there\n")],
    FALLS: [("appliance/daemon.py", READY, READY + '            raise ValueError("it fell")\n')],
    DUMB: [("appliance/host/control.py", SERVE, "await trio.sleep_forever()")],
    UNWELL: [("appliance/face.py", 'return "missing"\n', 'return "lost"\n')],
}
# Two minutes of the box's are fifteen seconds here.
LIMITS = "[Service]\nEnvironment=TRIAL_LIMIT_S=15 TRIAL_SETTLED_S=2\n"
TRIAL_LAB = "/etc/systemd/system/voice-appliance-trial.service.d"
OWN = "/etc/systemd/system/voice-appliance.service.d"  # what an owner has changed
LIMIT_S = 120.0
# Holds still before a command that has these words in it, until the power is cut.
CUT = """
set -T
pattern={0}
trap '[[ $BASH_COMMAND != $pattern ]] || {{ trap - DEBUG; touch /run/cut; sleep 600; }}' DEBUG
"""


@pytest.fixture(scope="session")
def releases(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheelhouses of other versions, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("releases")
    for version, changes in CHANGES.items():
        make_wheels(version, changes, wheelhouse, folder)
    return folder


@pytest.fixture
def box(
    layers: list[Path], binds: Mapping[str, Path], releases: Path, tmp_path: Path
) -> Iterator[Container]:
    """A box where it was installed, with other releases at hand."""
    with Container(layers, tmp_path, binds={**binds, WHEELS: releases}) as box:
        box.run("mkdir", TRIAL_LAB)
        box.run("sh", "-c", f"printf {shlex.quote(LIMITS)} >{TRIAL_LAB}/lab.conf")
        box.run("mkdir", OWN)
        box.run("sh", "-c", f"printf '[Service]\\nRestart=always\\n' >{OWN}/own.conf")
        box.run("systemctl", "daemon-reload")
        yield box


def update(box: Container, version: str, *words: str) -> str:
    return box.run(f"{DEPLOY}/update.sh", "--wheelhouse", f"{WHEELS}/{version}", *words)


def refused(box: Container, version: str, *words: str) -> str:
    """What is said of an update that does not come about."""
    with pytest.raises(LabError) as told:
        update(box, version, *words)
    return str(told.value)


def current(box: Container) -> str:
    return box.run("readlink", f"{HOUSE}/current").removeprefix("releases/")


def assert_it_runs(box: Container, version: str) -> None:
    assert current(box) == version
    assert status(box)["version"] == version
    assert not box.run("sh", "-c", f"ls -d {HOUSE}/trial {HOUSE}/*.new 2>/dev/null || true")
    assert box.run("systemctl", "--failed", "--quiet") == ""


def test_a_good_release_stays_and_there_is_a_way_back(box: Container, tell: Tell) -> None:
    began_s = time.monotonic()
    said = update(box, GOOD)
    tell("updated", time.monotonic() - began_s)
    assert f"release {GOOD} is the current one, {VERSION} was" in said
    assert "phase" in said
    assert_it_runs(box, GOOD)
    pid = show(box, "MainPID")
    assert f"nothing was to be done: release {GOOD} is the current one" in update(box, GOOD)
    assert show(box, "MainPID") == pid
    # It goes back from its own folder too, without ours.
    box.run(f"{HOUSE}/current/share/voice-appliance/deploy/update.sh", "--rollback")
    assert_it_runs(box, VERSION)


def test_of_three_releases_the_oldest_goes(box: Container) -> None:
    update(box, GOOD)
    update(box, NEXT)
    assert_it_runs(box, NEXT)
    assert box.run("ls", RELEASES).split() == [GOOD, NEXT]


def test_what_would_not_run_is_told_before_anything_changes(box: Container) -> None:
    box.run("sh", "-c", f"printf '[talk]\\ntap_ms = 300\\n' >{CONFIG}")
    pid = show(box, "MainPID")
    for version, reason in (
        (FORGETS, f"ended with 78: .*{CONFIG}: .*tap_ms"),
        (NO_IMPORT, "No module named 'not_there'"),
    ):
        with pytest.raises(LabError, match=f"(?s){reason}.*would not run here"):
            update(box, version)
        assert show(box, "MainPID") == pid
        assert_it_runs(box, VERSION)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (FALLS, r"it fell \d times.*ValueError: it fell"),
        (DUMB, "it got ready, and does not answer"),
        (UNWELL, "panel: lost .* and it was missing before"),
    ],
)
def test_one_that_is_not_good_is_put_back_and_marked(
    box: Container, version: str, reason: str, tell: Tell
) -> None:
    began_s = time.monotonic()
    with pytest.raises(LabError, match=f"(?s)is not good: {reason}.*{VERSION} is back, and runs"):
        update(box, version)
    tell(f"put back ({version})", time.monotonic() - began_s)
    assert_it_runs(box, VERSION)
    assert box.run("ls", RELEASES).split() == [VERSION]
    pid = show(box, "MainPID")
    with pytest.raises(LabError, match=f"(?s){reason}.*so it is not tried again"):
        update(box, version)
    assert show(box, "MainPID") == pid


def test_it_waits_until_nobody_talks(box: Container) -> None:
    box.run("voice-appliance", "press")
    words = ["env", "ASLEEP_LIMIT_S=0", f"{DEPLOY}/update.sh", "--wheelhouse", f"{WHEELS}/{GOOD}"]
    with pytest.raises(LabError, match="was not asleep for 0 s"):
        box.run(*words)
    assert_it_runs(box, VERSION)
    update(box, GOOD, "--now")
    assert_it_runs(box, GOOD)


@pytest.mark.parametrize(
    ("version", "before", "at_boot"),
    [
        (GOOD, "mv -T *made-of*", VERSION),
        (GOOD, "systemctl start *CHECK_UNIT*", VERSION),
        (GOOD, "lead current*", VERSION),
        (GOOD, "*--no-block*", GOOD),
        (GOOD, "remove_old", GOOD),
        (FALLS, "*--no-block*", VERSION),
        (FALLS, "journalctl --sync", VERSION),
        (FALLS, "restart", VERSION),
        (UNWELL, "end_trial", VERSION),
    ],
)
def test_power_may_be_cut_at_any_step(
    box: Container, suite: str, version: str, before: str, at_boot: str
) -> None:
    if suite != "trixie":
        pytest.skip("systemd plays no part in this that differs")
    cut = CUT.format(shlex.quote(before))
    box.run("sh", "-c", "cat >/srv/cut.sh", stdin=cut.encode())
    box.run("sh", "-c", f"echo Environment=BASH_ENV=/srv/cut.sh >>{TRIAL_LAB}/lab.conf")
    words = f"{DEPLOY}/update.sh --wheelhouse {WHEELS}/{version}"
    box.run("systemd-run", "-E", "BASH_ENV=/srv/cut.sh", "-E", "PATH", *words.split())
    until(lambda: box.try_to_run("test", "-e", "/run/cut").returncode == 0, "not reached", LIMIT_S)
    box.cut()
    (box.layer / TRIAL_LAB.lstrip("/") / "lab.conf").write_text(LIMITS)
    box.boot()
    assert is_active(box)
    assert_it_runs(box, at_boot)
    if version == GOOD:
        update(box, GOOD)
        assert_it_runs(box, GOOD)
        assert box.run("ls", RELEASES).split() == [VERSION, GOOD]
    else:
        refused(box, version)
        assert_it_runs(box, VERSION)
        assert box.run("ls", RELEASES).split() == [VERSION]
