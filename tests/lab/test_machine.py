"""The machine and its eye do what the other tests here build on."""

import random
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from appliance.panel.looks import Look

from . import machine
from .box import LOOKS, look_of
from .machine import LabError, Machine


def test_it_is_what_it_is_taken_for(lab: Machine) -> None:
    assert lab.run("uname -m") == "aarch64\n"
    assert lab.run("cat /proc/device-tree/model").startswith("Raspberry Pi 4 Model B")
    assert "gpiochip0 [pinctrl-bcm2711] (54 lines)" in lab.run("gpiodetect")
    assert lab.run("systemctl is-system-running") == "running\n"
    assert lab.run(f"{machine.PYTHON} -V").startswith("Python 3.13")


def test_what_fails_says_why(lab: Machine) -> None:
    with pytest.raises(LabError, match="No such file"):
        lab.run("ls /nowhere")
    with pytest.raises(LabError, match=r"longer than 0\.1 s"):
        lab.run("sleep 5", limit_s=0.1)


def test_machines_know_nothing_of_each_other_and_leave_nothing(lab: Machine) -> None:
    with machine.restored() as other:
        assert other.run(f"ls {machine.HOME} 2>&1 || true").endswith("No such file or directory\n")
        other.run("echo here >/root/here")
        pid, folder = other.pid, other.folder
        assert folder.is_dir()
    assert lab.run("ls /root") == ""
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_every_look_is_told_from_the_others(look: Look) -> None:
    dice = random.Random(1)
    late_s = [lasts_s * dice.uniform(1.0, 1.2) for _, lasts_s in look.pattern * 8]
    levels = [lit for lit, _ in look.pattern * 8]
    times_s = [0.0, *accumulate(late_s)]
    seen = [(-1.0, not levels[0]), *zip(times_s, levels, strict=False)]
    changes = [seen[0], *(it for before, it in pairwise(seen) if it[1] != before[1])]
    assert look_of(changes, 0.0, times_s[-1]) == look.name
