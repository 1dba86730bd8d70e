"""The service as it is installed, on the kernel's own sound and pins, under systemd 257 on arm64.

The box's hardware under its sandbox is what the containers beside this cannot try. As in
test_box.py figures are told and judged by nobody.
"""

import faulthandler
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.conversation import Phase
from tests.test_cards import noise

from .box import BUTTON, LAMP, SETTINGS, until
from .conftest import Measured
from .containers.releases import make_wheels
from .installed import (
    CHECK,
    KEY,
    UNIT,
    UPDATE_LOG,
    InstalledBox,
    bring,
    bring_another,
    install,
    make_bootable,
    moment_s,
    show,
    wheelhouse,
)
from .machine import Machine, restored
from .test_box import RATE_HZ, ask, share_of, unplug_and_plug, until_heard

NOBODY = 1  # a port
ANOTHER = "0.2.0"
PATIENT = "[talk]\nhang_up_after_s = 2\nmax_turn_s = 300\n"
UPDATE_LIMIT_S = 300.0  # it takes a minute or two


@pytest.fixture(scope="module")
def installing() -> dict[str, float | str]:
    """What was found while it was installed and booted."""
    return {}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it is installed from."""
    return wheelhouse(tmp_path_factory.mktemp("wheels") / "wheelhouse")


@pytest.fixture(scope="module")
def installed(wheels: Path, installing: dict[str, float | str]) -> Iterator[Machine]:
    """A machine where it was installed, that was then switched off and on."""
    faulthandler.cancel_dump_traceback_later()  # this takes longer than a test may
    with restored() as machine:
        bring(machine, wheels)
        began_s = time.monotonic()
        installing["said"] = install(machine)
        installing["installed_s"] = time.monotonic() - began_s
        make_bootable(machine)
        settings = SETTINGS.format(port=NOBODY, pins="auto", lamp=LAMP, button=BUTTON)
        machine.run("cat >/etc/voice-appliance/config.toml", stdin=settings.encode())
        machine.power_cycle()
        yield machine


@pytest.fixture
def box(installed: Machine, tmp_path: Path) -> Iterator[InstalledBox]:
    """The service, started anew, asleep and with all parts open."""
    with InstalledBox(installed, tmp_path, pins="auto") as box:
        yield box


def test_it_is_ready_when_the_machine_was_switched_on_before_there_is_a_network(
    installed: Machine, installing: dict[str, float | str], measured: Measured
) -> None:
    assert "the service runs" in str(installing["said"])
    assert KEY not in str(installing["said"])
    assert installed.run(f"systemctl is-active {UNIT}").strip() == "active"
    assert show(installed, "NRestarts") == "0"
    ready_s, began_s = (moment_s(installed, it) for it in ("ActiveEnter", "ExecMainStart"))
    assert ready_s < moment_s(installed, "InactiveExit", "systemd-networkd")
    status = json.loads(installed.run("voice-appliance status --json"))
    assert status["phase"] == "asleep"
    assert {status[it]["state"] for it in ("microphone", "speaker", "panel")} == {"open"}
    measured("installing from a wheelhouse", "s", [float(installing["installed_s"])])
    measured("power on -> READY, with the kernel's boot", "s", [ready_s])
    measured("service start -> READY, at boot", "s", [ready_s - began_s])


def test_a_press_gets_an_answer_through_the_sandbox(box: InstalledBox, measured: Measured) -> None:
    question = noise(2.0)
    assert box.status["panel"]["pins"] == "gpiod"
    with box.machine.recording():
        ask(box, question)
        until_heard(box, question[:RATE_HZ])
        box.until_phase(Phase.RESTING)
        until_heard(box, question[-RATE_HZ // 2 :])
    heard = box.machine.heard().sound
    status = box.status
    assert status["trouble"] is None
    assert status["uplink"]["lost_s"] == 0
    ready_s = box.moment_s("ActiveEnter") - box.moment_s("ExecMainStart")
    measured("service start -> READY, files read before", "s", [ready_s])
    measured("answer heard whole, installed", "%", [100 * share_of(question, heard)])


def test_it_holds_the_devices_as_its_own_user(box: InstalledBox) -> None:
    box.machine.press(BUTTON)
    box.until_phase(Phase.LISTENING)
    run, proc = box.machine.run, f"/proc/{box.pid}"
    assert run(f"stat -c %U:%G {proc}").strip() == f"{UNIT}:{UNIT}"
    assert set(run(f"id -nG {UNIT}").split()) == {UNIT, "audio", "gpio"}
    held = run(f"readlink {proc}/fd/*")
    assert re.search(r"^/dev/snd/pcmC0D1c$", held, re.MULTILINE)
    lines = run("gpioinfo -c gpiochip0")
    for line in (BUTTON, LAMP):
        assert re.search(rf"line\s+{line}:.*consumer=", lines), lines
    assert re.search(r"^CapEff:\s+0+$", run(f"cat {proc}/status"), re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", run(f"cat {proc}/status"), re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", run(f"cat {proc}/status"), re.MULTILINE)


def test_the_sandbox_is_whole_under_this_systemd(box: InstalledBox, measured: Measured) -> None:
    assert box.machine.run("systemctl --version").startswith("systemd 257")
    told = box.machine.run(f"systemd-analyze --no-pager security --threshold=15 {UNIT}")
    score = re.search(rf"exposure level for {UNIT}\.service: ([\d.]+)", told)
    assert score is not None, told
    measured("systemd-analyze security", "exposure", [float(score[1])])
    # The limits stand only where the kernel has the controllers, which no container here has.
    assert box.show("MemoryCurrent").isdigit()
    assert box.show("TasksCurrent") == "1"
    measured("memory of its group", "MiB", [int(box.show("MemoryCurrent")) / 2**20])
    assert "Ignoring" not in box.machine.run("journalctl -q -b _PID=1")


def test_a_card_that_is_pulled_out_does_not_restart_it(box: InstalledBox) -> None:
    question = noise(1.0)
    unplug_and_plug(box)
    with box.machine.recording():
        ask(box, noise(4.0))
        box.until_phase(Phase.SPEAKING)
        unplug_and_plug(box)
    until(lambda: box.phase in {"asleep", "resting", "trouble"}, "it is busy for ever")
    with box.machine.recording():
        ask(box, question)
        until_heard(box, question)
    assert box.show("NRestarts") == "0"
    assert int(box.show("MainPID")) == box.pid
    assert box.show("Result") == "success"


def test_the_journal_has_fields_and_the_key_is_in_the_credential_alone(box: InstalledBox) -> None:
    ask(box, noise(1.0))
    box.until_phase(Phase.RESTING)
    run, proc = box.machine.run, f"/proc/{box.pid}"
    told = run(f"journalctl -q -b -o json _PID={box.pid}")
    entries = [json.loads(line) for line in told.splitlines()]
    phases = {it.get("VOICE_APPLIANCE_PHASE") for it in entries if it.get("LOGGER")}
    assert {"asleep", "speaking"} & phases, phases
    assert all(it["SYSLOG_IDENTIFIER"] == UNIT for it in entries)
    credential = f"/run/credentials/{UNIT}.service/deepgram-api-key"
    assert run(f"nsenter -t {box.pid} -m cat {credential}") == KEY
    for command in (
        f"cat {proc}/environ {proc}/cmdline",
        f"systemctl show {UNIT}; systemctl cat {UNIT}; systemctl status -l {UNIT}",
        "journalctl -b -o export",
        "voice-appliance status --json",
        f"grep -rl {KEY} /opt /var /run --exclude-dir=credentials || true",
    ):
        assert KEY not in (said := run(command)), command
        assert not command.startswith("grep") or not said


def test_it_is_stopped_in_the_middle_of_an_answer(box: InstalledBox, measured: Measured) -> None:
    question = noise(4.0)
    with box.machine.recording():
        ask(box, question)
        box.until_phase(Phase.SPEAKING)
        until_heard(box, question[: 2 * RATE_HZ])
        box.end()
    assert box.show("Result") == "success"
    assert box.show("ExecMainStatus") == "0"
    took_s = box.moment_s("InactiveEnter") - box.moment_s("ActiveExit")
    measured("stopped in the middle of an answer", "s", [took_s])
    assert not box.machine.lives(box.pid)


def test_an_update_waits_until_nobody_talks_and_the_new_release_answers(
    installed: Machine, wheels: Path, tmp_path: Path, measured: Measured
) -> None:
    """It is called in the middle of an answer; the button is held when it could go on.

    The last one here: from then on the machine has another release.
    """
    faulthandler.cancel_dump_traceback_later()  # this takes longer than a test may
    first, second, third = noise(4.0, seed=1), noise(2.0, seed=2), noise(1.0, seed=3)
    bring_another(installed, make_wheels(ANOTHER, [], wheels, tmp_path))
    with InstalledBox(installed, tmp_path, pins="auto", more=PATIENT) as box:
        with installed.recording():
            ask(box, first)
            until_heard(box, first[:RATE_HZ])
            called_s, updating = time.monotonic(), box.begin_update()
            until_heard(box, first[-RATE_HZ // 2 :])
        measured("answer heard, a release is made", "%", [share_of_heard(box, first)])
        installed.wait_until(f"test -e {CHECK}", limit_s=UPDATE_LIMIT_S)
        made_s = time.monotonic()
        installed.press(BUTTON)
        box.until_phase(Phase.LISTENING)
        with installed.recording():
            waiting = f"grep -q 'until the box is asleep; it is listening' {UPDATE_LOG}"
            installed.wait_until(waiting, limit_s=UPDATE_LIMIT_S)
            waits_s = time.monotonic()
            installed.say(second)
            installed.release(BUTTON)
            until_heard(box, second[-RATE_HZ // 2 :])
        measured("answer heard, an update waits", "%", [share_of_heard(box, second)])
        assert share_of_heard(box, second) > 90
        installed.wait_until(f"! test -d /proc/{updating}", limit_s=UPDATE_LIMIT_S)
        ended_s = time.monotonic()
        assert box.phase == "asleep", "it was stopped in its sleep"
        said = installed.run(f"cat {UPDATE_LOG}")
        assert f"release {ANOTHER} is the current one, " in said, said
        assert said.endswith("it ended with 0\n")
        measured("update: the release is made", "s", [made_s - called_s])
        measured("update: it has checked itself", "s", [waits_s - made_s])
        measured("update: spoken, asleep, swapped, judged", "s", [ended_s - waits_s])
        box.meet_again()
        measured("update: old stopped -> new READY", "s", [away_s(box)])
        assert box.status["version"] == ANOTHER
        assert box.status["trouble"] is None
        with installed.recording():
            ask(box, third)
            until_heard(box, third[-RATE_HZ // 2 :])
        assert box.show("NRestarts") == "0"
        assert box.show("Result") == "success"


def share_of_heard(box: InstalledBox, question: bytes) -> float:
    """How much of a question was in what was recorded last, in per cent."""
    return 100 * share_of(question, box.machine.heard().sound)


def away_s(box: InstalledBox) -> float:
    """How long the box was not there, when it was last started anew."""
    return box.moment_s("ActiveEnter") - box.moment_s("ActiveExit")
