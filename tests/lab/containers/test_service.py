"""The service on a box that was installed and booted: no network, no sound card, no pins."""

import json
import time
from collections.abc import Callable
from typing import Any

from .conftest import KEY
from .container import Container
from .test_install import CONFIG, UNIT, is_active

LIMIT_S = 30.0
POLL_S = 0.1
WAITED_S = 3.0  # for what is not to happen


def show(box: Container, name: str) -> str:
    """A property of the service."""
    return box.run("systemctl", "show", "--value", "-p", name, UNIT)


def until(is_so: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    end_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end_s, f"waited {limit_s:g} s in vain: {what}"
        time.sleep(POLL_S)


def status(box: Container, user: str = "root") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(box.run("voice-appliance", "status", "--json", user=user))
    return answer


def test_it_starts_with_the_machine_and_waits_for_a_card_in_health(box: Container) -> None:
    assert is_active(box)
    assert status(box)["microphone"]["state"] == "missing"
    time.sleep(WAITED_S)
    assert is_active(box)
    assert show(box, "NRestarts") == "0"
    assert show(box, "Result") == "success"


def test_its_user_owns_nothing_and_is_in_the_groups_of_its_devices(box: Container) -> None:
    assert show(box, "User") == UNIT
    pid = show(box, "MainPID")
    assert box.run("stat", "-c", "%U:%G", f"/proc/{pid}") == f"{UNIT}:{UNIT}"
    assert set(box.run("id", "-nG", UNIT).split()) == {UNIT, "audio", "gpio", "spi"}
    assert box.run("find", "/opt/voice-appliance", "-not", "-user", "root") == ""


def test_the_key_is_told_to_the_service_and_to_nobody_else(box: Container) -> None:
    pid = show(box, "MainPID")
    held = box.run(
        "nsenter", "-t", pid, "-m", "cat", f"/run/credentials/{UNIT}.service/deepgram-api-key"
    )
    assert held == KEY
    for words in (
        ("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"),
        ("systemctl", "show", UNIT),
        ("systemctl", "cat", UNIT),
        ("journalctl", "-o", "verbose"),
        ("grep", "-rl", KEY, "/opt", "/var", "/run", "--exclude-dir=credentials"),
    ):
        said = box.run(*words, check=False)
        assert KEY not in said, words
        assert words[0] != "grep" or not said
    assert box.try_to_run("cat", "/etc/voice-appliance/deepgram-api-key", user=UNIT).returncode


def test_who_is_in_the_group_may_talk_to_it_and_others_not(box: Container) -> None:
    ran = box.try_to_run("voice-appliance", "status", user="maker")
    assert ran.returncode == 1
    assert b"only its owner and its group may talk to the daemon" in ran.stdout
    box.run("usermod", "--append", "--groups", UNIT, "maker")
    assert status(box, user="maker").keys() == status(box).keys()


def test_one_that_stands_still_is_started_anew(box: Container) -> None:
    folder = f"/etc/systemd/system/{UNIT}.service.d"
    box.run("mkdir", folder)
    box.run("sh", "-c", f"printf '[Service]\\nWatchdogSec=2\\n' >{folder}/lab.conf")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", UNIT)
    pid = show(box, "MainPID")
    box.run("kill", "-STOP", pid)
    until(lambda: show(box, "NRestarts") == "1" and is_active(box), "it is not started anew")
    assert show(box, "MainPID") != pid
    assert "Watchdog timeout" in box.run("journalctl", "-u", UNIT)


def test_wrong_settings_are_told_and_it_is_not_started_again(box: Container) -> None:
    box.run("sh", "-c", f"printf '[talk]\\nmode = \"hald\"\\n' >{CONFIG}")
    assert box.try_to_run("systemctl", "restart", UNIT).returncode
    assert show(box, "ExecMainStatus") == "78"
    time.sleep(WAITED_S)
    assert show(box, "NRestarts") == "0"
    assert box.run("systemctl", "is-failed", UNIT) == "failed"
    assert f'{CONFIG}: [talk] mode = "hald"' in box.run("systemctl", "status", UNIT, check=False)


def test_the_sandbox_is_tight_and_the_unit_without_fault(box: Container, suite: str) -> None:
    box.run("systemd-analyze", "security", "--threshold=15", UNIT)
    found = box.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}.service", check=False)
    unknown = {line.split("'")[1] for line in found.splitlines() if "Unknown key" in line}
    assert unknown == ({"RestartSteps", "RestartMaxDelaySec"} if suite == "bookworm" else set())
    assert all("Unknown key" in line for line in found.splitlines() if UNIT in line), found
