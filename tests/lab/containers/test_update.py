"""A box that is in use gets another release and other settings, or stays as it was; also when the
power is cut."""

import re
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .conftest import DEPLOY, KEY, Tell
from .container import Container, LabError
from .releases import make_wheels
from .test_install import CONFIG, KEY_FILE, RELEASES, VERSION, is_active
from .test_service import show, status, until

HOUSE = "/opt/voice-appliance"
WHEELS = "/mnt/releases"
GOOD, NEXT = "0.2.0", "0.3.0"
NO_IMPORT, FALLS, DUMB, UNWELL = "0.2.2", "0.2.4", "0.2.5", "0.2.6"
READY = "            self._parts.manager.ready()\n"
SERVE = "await trio.serve_listeners(receive, [listener])"
# It knows no settings of the old release's, nor that one of its.
RENAMES = ("appliance/**/*.py", "tap_ms", "short_ms")
OURS, THEIRS = "[talk]\ntap_ms = 300", "[talk]\nshort_ms = 200"
BAD = THEIRS.replace("200", "333")  # with these it falls
FALL = '            raise ValueError("it fell")\n'
AT_333 = f"            if self._parts.config.talk.short_ms == 333:\n    {FALL}"
CHANGES = {
    GOOD: [RENAMES, ("appliance/daemon.py", READY, READY + AT_333)],
    NEXT: [],
    NO_IMPORT: [("appliance/daemon.py", "import logging\n", "import logging\nimport not_there\n")],
    FALLS: [RENAMES, ("appliance/daemon.py", READY, READY + FALL)],
    DUMB: [("appliance/host/control.py", SERVE, "await trio.sleep_forever()")],
    UNWELL: [RENAMES, ("appliance/face.py", 'return "missing"\n', 'return "lost"\n')],
}
# Two minutes of the box's are ten seconds here.
LIMITS = "[Service]\nEnvironment=TRIAL_LIMIT_S=10 TRIAL_SETTLED_S=2\n"
UNITS = "/etc/systemd/system"
LABS = [f"{UNITS}/voice-appliance-{it}.service.d" for it in ("trial", "settings")]
OWN = f"{UNITS}/voice-appliance.service.d"  # what an owner has changed
RESTARTS = "[Service]\nRestart=always\nRestartSec=100ms\n"
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
        box.run("mkdir", OWN, *LABS)
        write(box, f"{OWN}/own.conf", RESTARTS)
        for lab in LABS:
            write(box, f"{lab}/lab.conf", LIMITS)
        box.run("systemctl", "daemon-reload")
        yield box


def write(box: Container, file: str, text: str) -> None:
    box.run("sh", "-c", f"cat >{file}", stdin=text.encode())


def update(box: Container, version: str, *words: str) -> str:
    return box.run(f"{DEPLOY}/update.sh", "--wheelhouse", f"{WHEELS}/{version}", *words)


def refused(box: Container, version: str, *words: str) -> str:
    """What is said of an update that does not come about."""
    with pytest.raises(LabError) as told:
        update(box, version, *words)
    return str(told.value)


def current(box: Container) -> str:
    return box.run("readlink", f"{HOUSE}/current").removeprefix("releases/")


def assert_it_runs(box: Container, version: str, settings: str = "") -> None:
    assert current(box) == version
    assert status(box)["version"] == version
    if settings:
        assert box.run("cat", CONFIG) == settings
    assert not box.run("sh", "-c", f"ls -d {HOUSE}/trial {HOUSE}/*.new 2>/dev/null || true")
    assert box.run("systemctl", "--failed", "--quiet") == ""


def assert_no_trial_left_anything(box: Container) -> None:
    assert box.run("ls", "/etc/voice-appliance").split() == ["config.toml", "deepgram-api-key"]


def test_release_and_settings_come_and_go_together(box: Container, tell: Tell) -> None:
    write(box, CONFIG, OURS)
    write(box, "/srv/theirs.toml", THEIRS)
    pid = show(box, "MainPID")
    for words in ((), ("--config", CONFIG)):
        assert "[talk] tap_ms" in (said := refused(box, GOOD, *words))
        assert "ended with 78" in said
        assert "would not run here" in said.splitlines()[-1]
    assert show(box, "MainPID") == pid
    began_s = time.monotonic()
    said = update(box, GOOD, "--config", "/srv/theirs.toml")
    tell("updated", time.monotonic() - began_s)
    assert f"release {GOOD} is the current one, {VERSION} was" in said
    assert "phase" in said
    assert_it_runs(box, GOOD, THEIRS)
    pid = show(box, "MainPID")
    said = update(box, GOOD, "--config", "/srv/theirs.toml")
    assert f"nothing was to be done: release {GOOD} is the current one" in said
    assert show(box, "MainPID") == pid
    # From its own folder too, without ours.
    script = f"{HOUSE}/current/share/voice-appliance/deploy/update.sh"
    write(box, "/srv/bad.toml", BAD)
    told = rf"(?s){GOOD} was tried with new settings .*it fell \d times"
    with pytest.raises(LabError, match=told):
        box.run(script, "--config", "/srv/bad.toml", "--key-file", "/dev/stdin", stdin=b"another")
    assert_it_runs(box, GOOD, THEIRS)
    assert box.run("cat", KEY_FILE) == KEY
    said = box.run(script, "--key-file", "/dev/stdin", stdin=b"another")
    assert f"release {GOOD} has the new settings" in said
    assert box.run("cat", KEY_FILE) == "another"
    box.run(script, "--rollback")
    assert_it_runs(box, VERSION, OURS)
    assert_no_trial_left_anything(box)
    assert box.run("cat", KEY_FILE) == "another"


def test_of_three_releases_the_oldest_goes(box: Container) -> None:
    update(box, GOOD)
    update(box, NEXT)
    assert_it_runs(box, NEXT)
    assert box.run("ls", RELEASES).split() == [GOOD, NEXT]


def test_what_would_not_run_is_told_before_anything_changes(box: Container) -> None:
    pid = show(box, "MainPID")
    assert re.search(
        r"(?s)No module named 'not_there'.*would not run here", refused(box, NO_IMPORT)
    )
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
        (GOOD, "mv -T *SETTINGS*", GOOD),
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
    write(box, CONFIG, OURS)
    write(box, "/srv/theirs.toml", THEIRS)
    write(box, "/srv/cut.sh", CUT.format(shlex.quote(before)))
    for lab in LABS:
        write(box, f"{lab}/lab.conf", f"{LIMITS}Environment=BASH_ENV=/srv/cut.sh\n")
    words = f"{DEPLOY}/update.sh --wheelhouse {WHEELS}/{version} --config /srv/theirs.toml"
    box.run("systemd-run", "-E", "BASH_ENV=/srv/cut.sh", "-E", "PATH", *words.split())
    until(lambda: box.try_to_run("test", "-e", "/run/cut").returncode == 0, "not reached", LIMIT_S)
    box.cut()
    for lab in LABS:
        (box.layer / lab.lstrip("/") / "lab.conf").write_text(LIMITS)
    box.boot()
    assert is_active(box)
    assert_it_runs(box, at_boot, OURS if at_boot == VERSION else THEIRS)
    if version == GOOD:
        update(box, GOOD, "--config", "/srv/theirs.toml")
        assert_it_runs(box, GOOD, THEIRS)
        assert box.run("ls", RELEASES).split() == [VERSION, GOOD]
    else:
        refused(box, version, "--config", "/srv/theirs.toml")
        assert_it_runs(box, VERSION, OURS)
        assert box.run("ls", RELEASES).split() == [VERSION]
    assert_no_trial_left_anything(box)


@pytest.mark.parametrize("settings", [BAD, THEIRS])
def test_settings_that_are_missing_are_mended_by_new_ones(box: Container, settings: str) -> None:
    box.run("rm", CONFIG)
    write(box, "/srv/new.toml", settings)
    if settings == THEIRS:
        update(box, GOOD, "--config", "/srv/new.toml")
        assert_it_runs(box, GOOD, THEIRS)
        assert_no_trial_left_anything(box)
    else:
        with pytest.raises(LabError, match=f"{VERSION} is back, and runs"):
            update(box, GOOD, "--config", "/srv/new.toml")
        assert box.run("ls", "/etc/voice-appliance").split() == ["deepgram-api-key"]
