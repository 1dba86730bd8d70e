"""What a card says becomes what a box is; what is wrong is told on the card, and by a light.

The installer is none here: it notes its words, and stores a key as the real one does. Containers
(tests/lab) go the whole way.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from .scripts import TOP, Root

KEY = "k3y-0123456789abcdef"
INSTALL = """#!/usr/bin/env bash
set -e
echo "$@" >>{0}/installed
while (($#)); do
    case $1 in
        --key-file) umask 077; cat "$2" >{0}/etc/voice-appliance/deepgram-api-key ;;
        --config) cp "$2" {0}/etc/voice-appliance/config.toml ;;
    esac
    shift
done
"""
CARD = "boot/firmware"
SCRIPT = "firstboot/firstboot.sh"
# Ends it, and all it called, before its n-th command; told to every bash by BASH_ENV.
CUT = "set -T; trap '((++COMMANDS < {0})) || kill -9 -- -$$ $$' DEBUG"


@pytest.fixture
def root(folder: Path) -> Root:
    """A box that has started for the first time, with a card as prepare.sh leaves it."""
    root = Root(folder)
    root.write(f"{CARD}/config.txt", "")
    root.write(f"{CARD}/voice-appliance.toml", '[talk]\nmode = "tap"\n')
    root.write(f"{CARD}/deepgram-api-key.txt", f"\ufeff{KEY}\r\n")
    root.write("etc/voice-appliance/note", "")
    root.write("opt/voice-appliance/current/share/voice-appliance/deploy/x", "")
    root.write("sys/class/leds/ACT/trigger", "none timer [mmc0] default-on")
    root.appliance('[[ $1 != status ]] || { echo "phase   asleep"; exit; }')
    for name in ("systemctl", "journalctl"):
        root.tool(name, f'echo {name} "$@" >>{folder}/told')
    for name in ("sleep", "sync"):
        root.tool(name, "")
    pack(root)
    return root


def pack(root: Root, kit: str = "exit 0") -> None:
    """Put a payload on the card."""
    card = root.folder / CARD / "voice-appliance"
    card.mkdir(exist_ok=True)
    with tarfile.open(card / "payload.tar", "w") as tar:
        for name, text in (
            ("install.sh", INSTALL.format(root.folder)),
            ("kit.sh", f"#!/bin/sh\n{kit}"),
        ):
            member = tarfile.TarInfo(f"deploy/{name}")
            member.size, member.mode = len(text.encode()), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256((card / "payload.tar").read_bytes()).hexdigest()
    (card / "payload.tar.sha256").write_text(f"{digest}  payload.tar\n")


def result(root: Root) -> str:
    text = (root.folder / CARD / "voice-appliance-result.txt").read_text()
    assert KEY not in text
    return text


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def light(root: Root) -> str:
    return (root.folder / "sys/class/leds/ACT/trigger").read_text().strip()


def stored(root: Root) -> Path:
    return root.folder / "etc/voice-appliance/deepgram-api-key"


def assert_it_is_done(root: Root) -> None:
    card = root.folder / CARD
    assert "The box is set up" in result(root)
    assert stored(root).read_text() == f"{KEY}\n"
    assert (root.folder / "etc/voice-appliance/config.toml").read_text() == '[talk]\nmode = "tap"\n'
    assert sorted(file.name for file in card.rglob("*") if file.is_file()) == [
        "config.txt",
        "voice-appliance-installed.toml",
        "voice-appliance-result.txt",
    ]
    assert light(root) == "mmc0"


def test_what_is_on_the_card_is_taken(root: Root) -> None:
    ran = root.run(SCRIPT)
    assert ran.returncode == 0, ran.stdout
    assert KEY not in ran.stdout
    assert_it_is_done(root)
    assert "phase   asleep" in result(root)
    assert "systemctl restart voice-appliance.service" in (root.folder / "told").read_text()


def test_wrong_settings_are_told_with_what_was_wanted(root: Root) -> None:
    root.write(f"{CARD}/voice-appliance.toml", '[talk]\nmode = "hald"\n')
    assert root.run(SCRIPT).returncode == 1
    assert '[talk] mode = "hald": wanted one of "hold", "open", "tap"' in result(root)
    assert light(root) == "timer"
    assert (root.folder / "sys/class/leds/ACT/delay_on").read_text() == "1000\n"
    assert stored(root).exists()
    assert not (root.folder / CARD / "deepgram-api-key.txt").exists()
    root.write(f"{CARD}/voice-appliance.toml", '[talk]\nmode = "tap"\n')
    assert root.run(SCRIPT).returncode == 0
    assert_it_is_done(root)


def test_a_key_that_is_missing_is_told(root: Root) -> None:
    (root.folder / CARD / "deepgram-api-key.txt").unlink()
    assert root.run(SCRIPT).returncode == 1
    assert "The key is missing. Write it into deepgram-api-key.txt" in result(root)
    root.write(f"{CARD}/voice-appliance.toml", '[agent]\nkey_command = ["/usr/bin/token"]\n')
    assert root.run(SCRIPT).returncode == 0
    assert "The box is set up" in result(root)


def test_text_that_is_no_toml_is_told(root: Root) -> None:
    root.write(f"{CARD}/voice-appliance.toml", "[talk\n")
    assert root.run(SCRIPT).returncode == 1
    assert "The settings are not right." in result(root)


@pytest.mark.parametrize("text", ["", "\r\n", "one\ntwo\n"])
def test_a_key_that_is_not_one_line_is_told(root: Root, text: str) -> None:
    root.write(f"{CARD}/deepgram-api-key.txt", text)
    assert root.run(SCRIPT).returncode == 1
    assert "It must hold the key, alone, in one line." in result(root)
    assert not stored(root).exists()


def test_a_payload_that_is_damaged_or_missing_is_told(root: Root) -> None:
    (root.folder / CARD / "voice-appliance/payload.tar").write_bytes(b"half")
    assert root.run(SCRIPT).returncode == 1
    assert "The payload on the card is damaged." in result(root)
    (root.folder / CARD / "voice-appliance/payload.tar").unlink()
    assert root.run(SCRIPT).returncode == 1
    assert "There is nothing to install." in result(root)


def test_a_board_may_want_the_box_to_start_anew(root: Root) -> None:
    pack(root, kit=f"[ -e {root.folder}/again ] || exit 3")
    assert root.run(SCRIPT).returncode == 0
    assert "the box starts anew and goes on then" in result(root)
    assert "systemctl reboot" in (root.folder / "told").read_text()
    root.write("again", "")
    assert root.run(SCRIPT).returncode == 0
    assert_it_is_done(root)


def test_power_may_be_cut_before_any_command(root: Root) -> None:
    cut, done = 5, False
    while not done:
        card = root.folder / CARD
        for file in (*card.glob("voice-appliance-*"), stored(root)):
            file.unlink(missing_ok=True)
        root.write(f"{CARD}/config.txt", "")
        root.write(f"{CARD}/voice-appliance.toml", '[talk]\nmode = "tap"\n')
        root.write(f"{CARD}/deepgram-api-key.txt", KEY)
        pack(root)
        env = root.write("cut.sh", CUT.format(cut))
        done = root.run(SCRIPT, environ={"BASH_ENV": str(env)}).returncode == 0
        left = {file.name for file in card.iterdir()}
        assert KEY in read(stored(root)) + read(card / "deepgram-api-key.txt"), cut
        if left & {"voice-appliance.toml", "deepgram-api-key.txt", "deepgram-api-key.going"}:
            ran = root.run(SCRIPT)
            assert ran.returncode == 0, f"cut before command {cut}: {ran.stdout}"
        assert not list(card.glob("deepgram-api-key*")), cut
        assert stored(root).read_text().strip() == KEY, cut
        assert (card / "voice-appliance-installed.toml").exists(), cut
        assert "The box is set up" in result(root), cut
        cut += 7
    assert cut > 60


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None and "CI" not in os.environ:
        pytest.skip("needs systemd-analyze: deploy/test.sh installs it")
    unit = TOP / "deploy/firstboot/voice-appliance-firstboot.service"
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"(?m)^ExecStart=.*", "ExecStart=/bin/true", unit.read_text()))
    words: list[str | Path] = ["systemd-analyze", "verify", copy]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stderr
    assert not [line for line in told.splitlines() if unit.name in line], told


def test_the_unit_runs_the_script_where_it_is_attached(root: Root) -> None:
    assert root.run("firstboot/firstboot.sh", "--attach").returncode == 0
    unit = root.folder / "etc/systemd/system/voice-appliance-firstboot.service"
    wants = unit.parent / "multi-user.target.wants" / unit.name
    assert wants.resolve() == unit
    started = TOP / "deploy/firstboot/voice-appliance-firstboot.service"
    assert "ExecStart=/usr/local/lib/voice-appliance/firstboot.sh" in started.read_text()
    assert (root.folder / "usr/local/lib/voice-appliance/firstboot.sh").exists()
    assert root.run("firstboot/firstboot.sh", "--attach").returncode == 0
    assert root.run("firstboot/firstboot.sh", "--detach").returncode == 0
    assert not wants.is_symlink()
    assert not unit.exists()
    assert not (root.folder / "usr/local/lib/voice-appliance").exists()
