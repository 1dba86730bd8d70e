"""A box is set up from a laptop over ssh: with its board, through a restart, and again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import KEY, TOP
from .container import Container, tree
from .network import PASSWORD, Laptop, boxes
from .test_install import UNIT, files, is_active

KIT = "waveshare-wm8960"
CONFIG_TXT = "/boot/firmware/config.txt"
STOCK = "# stock\ndtparam=audio=on\n[cm4]\notg_mode=1"
# A card that is there from the second start on, and notes what its mixer is set to.
AMIXER = """#!/bin/sh
[ "$(cat /proc/sys/kernel/random/boot_id)" != "$(cat /srv/boot-id)" ] || exit 1
[ "$3" = info ] || echo "$@" >>/srv/mixer
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    (folder := tmp_path / "laptop").mkdir()
    (folder / "deepgram.key").write_text(KEY + "\n")
    (folder / "deepgram.key").chmod(0o600)
    return Laptop(folder)


@pytest.fixture
def board(suite: str, tmp_path: Path, laptop: Laptop) -> Iterator[tuple[Container, str]]:
    """A blank box with a board on it, and its address."""
    with boxes(1, [tree(suite)], tmp_path, laptop) as [(box, address)]:
        box.run("mkdir", "-p", "/boot/firmware/overlays")
        box.run("touch", "/boot/firmware/overlays/wm8960-soundcard.dtbo")
        box.run("sh", "-c", f"cat >{CONFIG_TXT}", stdin=STOCK.encode())
        box.run("cp", "/proc/sys/kernel/random/boot_id", "/srv/boot-id")
        box.run("sh", "-c", "cat >/usr/local/bin/amixer", stdin=AMIXER.encode())
        box.run("sh", "-c", "printf '#!/bin/sh\\n' >/usr/local/bin/alsactl")
        box.run("chmod", "755", "/usr/local/bin/amixer", "/usr/local/bin/alsactl")
        yield box, address


def provision(
    laptop: Laptop, address: str, wheelhouse: Path, *words: str, said: str = PASSWORD + "\n"
) -> tuple[int, str]:
    """The exit status, and what was said."""
    script = TOP / "deploy/provision.sh"
    ran = laptop.run(script, f"maker@{address}", "--wheelhouse", wheelhouse, *words, stdin=said)
    assert KEY not in ran.stdout
    return ran.returncode, ran.stdout


def test_a_box_is_set_up_over_ssh_and_a_second_time_nothing_changes(
    board: tuple[Container, str], laptop: Laptop, wheelhouse: Path
) -> None:
    box, address = board
    words = ("--kit", KIT, "--key-file", str(laptop.folder / "deepgram.key"), "--no-hello")
    status, said = provision(laptop, address, wheelhouse, *words)
    assert status == 0, said
    assert "starts anew" in said
    box.find_again()
    assert is_active(box)
    text = box.run("cat", CONFIG_TXT)
    assert text.startswith(STOCK)
    assert "[all]\ndtoverlay=wm8960-soundcard\n" in text
    assert "sset Speaker 80%" in box.run("cat", "/srv/mixer")
    assert f'kit = "{KIT}"' in box.run("cat", "/etc/voice-appliance/config.toml")
    assert "payload" not in box.run("ls", "/var/cache")
    assert whose_is(box, KEY) == {
        "/etc/voice-appliance/deepgram-api-key",
        f"/run/credentials/{UNIT}.service/deepgram-api-key",
    }

    before, pid = files(box, r"%p %M %u %g %l %T@ %s\n"), main_pid(box)
    status, said = provision(laptop, address, wheelhouse, *words)
    assert status == 0, said
    assert "nothing was to be done" in said
    assert "starts anew" not in said
    assert main_pid(box) == pid
    login = {"/home/maker", "/run", "/tmp", "/var/cache", "/var/lib/sudo"}
    changed = files(box, r"%p %M %u %g %l %T@ %s\n") ^ before
    assert not {line for line in changed if line.split()[0] not in login}

    status, said = provision(laptop, address, wheelhouse, *words[:-1])
    assert status == 1
    assert "the box could not say hello: speaker-missing" in said


def whose_is(box: Container, secret: str) -> set[str]:
    """The files that hold it."""
    places = (
        "/boot",
        "/etc",
        "/home",
        "/opt",
        "/root",
        "/run",
        "/srv",
        "/tmp",
        "/usr/local",
        "/var",
    )
    told = box.run("grep", "-rlIs", secret, *places, check=False)
    return set(told.splitlines())


def main_pid(box: Container) -> str:
    return box.run("systemctl", "show", "--value", "-p", "MainPID", UNIT)


def test_a_password_is_asked_for_once_and_the_key_where_there_is_none(
    board: tuple[Container, str], laptop: Laptop, wheelhouse: Path
) -> None:
    box, address = board
    laptop.use_passwords()
    status, said = provision(laptop, address, wheelhouse, "--no-hello", said=f"{PASSWORD}\n{KEY}\n")
    assert status == 0, said
    assert "Deepgram's key" in said
    assert laptop.asked == 1
    assert box.run("cat", "/etc/voice-appliance/deepgram-api-key") == KEY
    assert "starts anew" not in said
    journal = box.run("journalctl", "--no-pager", "-o", "verbose")
    assert PASSWORD not in journal
    assert KEY not in journal


def test_who_is_not_known_is_not_talked_to(
    board: tuple[Container, str], laptop: Laptop, wheelhouse: Path
) -> None:
    box, address = board
    before = files(box)
    (laptop.folder / "known_hosts").write_text("")
    status, said = provision(laptop, address, wheelhouse, "--no-hello")
    assert status == 1
    assert "Host key verification failed" in said
    assert files(box) == before


def test_wrong_words_are_told_before_anything_is_done(
    board: tuple[Container, str], suite: str, laptop: Laptop, wheelhouse: Path, tmp_path: Path
) -> None:
    if suite != "trixie":
        pytest.skip("systemd plays no part in this")
    box, address = board
    (wrong := tmp_path / "wrong.toml").write_text('[talk]\nmode = "hald"\n')
    key = str(laptop.folder / "deepgram.key")
    status, said = provision(
        laptop, address, wheelhouse, "--config", str(wrong), "--key-file", key, "--no-hello"
    )
    assert status == 78
    assert '[talk] mode = "hald": wanted one of' in said
    assert "run this again" not in said
    assert not is_active(box)
    assert "payload" not in box.run("ls", "/var/cache")
    assert "a board" not in provision(laptop, address, wheelhouse, "--kit", "nonsense")[1]
    assert "does not take that password" in provision(laptop, address, wheelhouse, said="no\n")[1]
