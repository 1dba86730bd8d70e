"""The appliance as it is installed in the emulated machine, by the installer, and then booted.

It gets there as it gets to a box: wheels of `deploy/wheelhouse.sh`, `deploy/` beside them, one run
of `install.sh`. Then the machine is switched off and on, and at each boot has its card and its pins
before the service starts, as a Raspberry Pi has, and its network only when that is ready.

One thing is not as on a box. This machine was unpacked, not installed, so dpkg's database is empty
and there is no apt. Its database is told that what `install.sh` looks for is there, which is true
of all but ALSA's plugins: nothing resamples here, and they would bring all of ffmpeg's codecs. An
apt-get that always fails stands where the installer looks for one; that it is not called is tried
so.
"""

import io
import shlex
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .box import Box
from .machine import HOME, LAB, TOP, Machine

UNIT = "voice-appliance"
KEY = "k3y-0123456789abcdef0123456789abcdef"
SETTINGS = "/etc/voice-appliance"
PACKAGES = ("ca-certificates", "libasound2-plugins", "python3")
INSTALL_LIMIT_S = 600.0  # it takes one or two minutes
NEXT = "/srv/next"  # another release's wheels
UPDATE_LOG = "/run/update.log"
CHECK = f"/run/systemd/system/{UNIT}-check.service"  # is there while a release checks itself
LATE_NETWORK = f"[Unit]\nAfter={UNIT}.service\n"
BOARD = f"""
[Unit]
Before={UNIT}.service
[Service]
Type=oneshot
ExecStart={HOME}/tests/lab/board.sh
[Install]
WantedBy=multi-user.target
"""


class InstalledBox(Box):
    """The service, started with settings that lead to the agent; the machine has it installed."""

    SOCKET = f"/run/{UNIT}/control.sock"

    def begin(self, settings: str) -> int:
        """Start the service anew; its process id in the guest."""
        self.machine.run(f"cat >{SETTINGS}/config.toml", stdin=settings.encode())
        self.machine.run(
            f"systemctl restart {UNIT} || {{ journalctl -q -b -u {UNIT} -n 50; exit 1; }}"
        )
        return int(self.show("MainPID"))

    def end(self) -> None:
        """Stop the service."""
        self.machine.run(f"systemctl stop {UNIT}")

    def show(self, name: str) -> str:
        """A property of the service."""
        return show(self.machine, name)

    def moment_s(self, name: str) -> float:
        """When the service did so last, in the machine's monotonic time."""
        return moment_s(self.machine, name)

    def begin_update(self) -> int:
        """Let it be brought to the release in `NEXT`; the process id of who does that."""
        words = f"deploy/update.sh --wheelhouse {NEXT}; echo it ended with $?"
        return self.machine.launch(f"sh -c {shlex.quote(words)}", log=UPDATE_LOG)

    def meet_again(self) -> None:
        """Go on with the service after it was started anew."""
        self.events.clear()
        self.pid = int(self.show("MainPID"))
        self._meet()

    @property
    def log(self) -> str:
        """What it has written since it was started last."""
        return self.machine.run(f"journalctl -q -b -u {UNIT} -n 50 -o cat")


def show(machine: Machine, name: str, unit: str = UNIT) -> str:
    """A property of a unit of the machine's."""
    return machine.run(f"systemctl show --value -p {name} {unit}").strip()


def moment_s(machine: Machine, name: str, unit: str = UNIT) -> float:
    """When a unit did so last, in the machine's monotonic time: 0 is when its kernel began."""
    return int(show(machine, f"{name}TimestampMonotonic", unit)) / 1e6


def wheelhouse(folder: Path) -> Path:
    """What a box with Debian trixie is installed from."""
    script = TOP / "deploy/wheelhouse.sh"
    subprocess.run([script, "--suite", "trixie", "--arch", "arm64", str(folder)], check=True)
    return folder


def tar_of(paths: Sequence[tuple[Path, str]]) -> bytes:
    """Files and folders in a tar file, by the names that they shall have."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path, name in paths:
            tar.add(path, name)
    return file.getvalue()


def bring(machine: Machine, wheels: Path) -> None:
    """Put into the machine what it is installed from, and what it is to find on any box."""
    paths = [
        (TOP / "deploy", "deploy"),
        (wheels, "wheels"),
        (LAB / "board.sh", "tests/lab/board.sh"),
    ]
    machine.push(tar_of(paths))
    status = "".join(
        f"Package: {it}\nStatus: install ok installed\nArchitecture: arm64\nVersion: 0\n"
        "Maintainer: nobody\nDescription: it is there\n\n"
        for it in PACKAGES
    )
    machine.run("cat >/var/lib/dpkg/status", stdin=status.encode())
    machine.run(
        "install -D -m 755 /dev/stdin /usr/local/sbin/apt-get", stdin=b"#!/bin/sh\nexit 100\n"
    )


def bring_another(machine: Machine, wheels: Path) -> None:
    """Put another release's wheels into the machine: only ours differs from those it has."""
    ours = [next(wheels.glob("voice_appliance-*")), wheels / "requirements.txt"]
    tar = tar_of([(it, it.name) for it in (*ours, wheels / "SHA256SUMS")])
    machine.run(
        f"mkdir {NEXT} && cp {HOME}/wheels/*.whl {NEXT} && rm {NEXT}/voice_appliance-*"
        f" && tar -xf - -C {NEXT}",
        stdin=tar,
    )


def install(machine: Machine) -> str:
    """What the installer says."""
    words = f"{HOME}/deploy/install.sh --wheelhouse {HOME}/wheels --key-file /dev/stdin 2>&1"
    return machine.run(words, stdin=KEY.encode(), limit_s=INSTALL_LIMIT_S)


def make_bootable(machine: Machine) -> None:
    """Let the machine have its card and pins at each boot, and its network after the service."""
    units = "/etc/systemd/system"
    machine.run(f"mkdir -p {units}/systemd-networkd.service.d")
    for name, text in (
        ("systemd-networkd.service.d/late.conf", LATE_NETWORK),
        ("board.service", BOARD),
    ):
        machine.run(f"cat >{units}/{name}", stdin=text.encode())
    machine.run("systemctl daemon-reload && systemctl -q enable board && sync")
