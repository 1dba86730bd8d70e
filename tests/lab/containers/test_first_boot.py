"""A card that was prepared on a laptop sets its box up: at the first start, or says why not."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import KEY, TOP
from .container import Container, tree
from .test_install import UNIT, is_active
from .test_provision import whose_is

FIRST_BOOT = "voice-appliance-firstboot.service"
SETTINGS = '[talk]\nmode = "tap"\n'
STORED_KEY = "/etc/voice-appliance/deepgram-api-key"
LIMIT_S = 120.0
CUTS_S = (0.4, 1.5, 3.0, 4.5)  # after the start; one takes about five seconds


@pytest.fixture
def box(suite: str, tmp_path: Path) -> Iterator[Container]:
    """A blank box that was never started, with a card."""
    box = Container([tree(suite)], tmp_path, binds={})
    card = box.layer / "boot/firmware"
    card.mkdir(parents=True)
    (card / "config.txt").write_text("dtparam=audio=on\n")
    (card / "cmdline.txt").write_text("console=tty1 rootwait\n")
    yield box
    box.cut()


def card_of(box: Container) -> Path:
    return box.layer / "boot/firmware"


def prepare(box: Container, wheelhouse: Path, tmp_path: Path, key: str = KEY) -> Path:
    """The card, made ready together with its second partition."""
    (settings := tmp_path / "settings.toml").write_text(SETTINGS)
    (key_file := tmp_path / "key").write_text(key)
    (box.layer / "etc").mkdir()
    (box.layer / "etc/os-release").write_bytes((box.layers[-1] / "etc/os-release").read_bytes())
    words: list[str | Path] = ["--wheelhouse", wheelhouse, "--config", settings]
    if key:
        words += ["--key-file", key_file]
    script = TOP / "deploy/firstboot/prepare.sh"
    subprocess.run([script, card_of(box), box.layer, *words], check=True)
    return card_of(box)


def wait_for_the_end(box: Container) -> None:
    limit_s = time.monotonic() + LIMIT_S
    while box.run("systemctl", "show", "--value", "-p", "ActiveState", FIRST_BOOT) in {
        "activating",
        "reloading",
    }:
        assert time.monotonic() < limit_s
        time.sleep(0.2)


def result(card: Path) -> str:
    text = (card / "voice-appliance-result.txt").read_text()
    assert KEY not in text
    return text


def assert_it_is_set_up(box: Container, card: Path) -> None:
    assert "The box is set up" in result(card)
    assert is_active(box)
    assert box.run("cat", STORED_KEY) == KEY
    assert box.run("stat", "-c", "%U %a", STORED_KEY) == "root 600"
    assert box.run("cat", "/etc/voice-appliance/config.toml") == SETTINGS.strip()
    assert {file.name for file in card.iterdir()} >= {"voice-appliance-installed.toml"}
    assert not list(card.glob("deepgram-api-key*"))
    assert not list((card / "voice-appliance").glob("payload*"))
    assert whose_is(box, KEY) == {
        STORED_KEY,
        f"/run/credentials/{UNIT}.service/deepgram-api-key",
    }


def test_two_files_on_the_card_make_a_box(box: Container, wheelhouse: Path, tmp_path: Path) -> None:
    card = prepare(box, wheelhouse, tmp_path)
    box.boot()
    wait_for_the_end(box)
    assert_it_is_set_up(box, card)
    # New settings, long after: there is no payload any more.
    (card / "voice-appliance.toml").write_text('[talk]\nmode = "hold"\n')
    box.power_off()
    box.boot()
    wait_for_the_end(box)
    assert "mode                 hold" in result(card)
    # Nothing to take: it is not even begun.
    box.power_off()
    box.boot()
    assert box.run("systemctl", "show", "--value", "-p", "ConditionResult", FIRST_BOOT) == "no"
    assert is_active(box)
    # The installer that came with the release takes this away too.
    box.run("/opt/voice-appliance/current/share/voice-appliance/deploy/install.sh", "--uninstall")
    assert "not-found" in box.run("systemctl", "show", "-p", "LoadState", FIRST_BOOT)
    assert not (card / "voice-appliance").exists()


def test_settings_that_are_wrong_are_told_on_the_card_and_tried_again(
    box: Container, wheelhouse: Path, tmp_path: Path
) -> None:
    card = prepare(box, wheelhouse, tmp_path)
    (card / "voice-appliance.toml").write_text('[talk]\nmode = "hald"\ntab_ms = 3\n')
    box.boot()
    wait_for_the_end(box)
    said = result(card)
    assert "The settings are not right." in said
    assert '[talk] mode = "hald": wanted one of "hold", "open", "tap"' in said
    assert "tap_ms" in said
    assert not is_active(box)
    assert box.run("cat", STORED_KEY) == KEY  # it does not wait on the card for that
    assert not (card / "deepgram-api-key.txt").exists()
    (card / "voice-appliance.toml").write_text(SETTINGS)
    box.power_off()
    box.boot()
    wait_for_the_end(box)
    assert_it_is_set_up(box, card)


def test_a_key_that_is_missing_is_told_on_the_card(
    box: Container, wheelhouse: Path, tmp_path: Path
) -> None:
    card = prepare(box, wheelhouse, tmp_path, key="")
    box.boot()
    wait_for_the_end(box)
    said = result(card)
    assert "no API key" in said
    assert "deepgram-api-key.txt" in said
    (card / "deepgram-api-key.txt").write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\r\n")
    box.power_off()
    box.boot()
    wait_for_the_end(box)
    assert_it_is_set_up(box, card)


@pytest.mark.parametrize("cut_s", CUTS_S)
def test_power_may_be_cut_anywhere(
    box: Container, suite: str, wheelhouse: Path, tmp_path: Path, cut_s: float
) -> None:
    if suite != "trixie":
        pytest.skip("systemd plays no part in this that differs")
    card = prepare(box, wheelhouse, tmp_path)
    box.boot()
    time.sleep(cut_s)
    box.cut()
    stored = box.layer / STORED_KEY.lstrip("/")
    on_card = card / "deepgram-api-key.txt"
    assert (stored.exists() and stored.read_text() == KEY) or on_card.read_text() == KEY
    box.boot()
    wait_for_the_end(box)
    assert_it_is_set_up(box, card)


def test_cloud_init_starts_it_without_the_second_partition(
    box: Container, suite: str, wheelhouse: Path, tmp_path: Path
) -> None:
    """What its bootcmd says is run here as cloud-init does; the rest is the unit's."""
    if suite != "trixie":
        pytest.skip("Raspberry Pi OS has cloud-init since trixie")
    card = card_of(box)
    (card / "user-data").write_text("#cloud-config\nhostname: kitchen")
    (tmp_path / "key").write_text(KEY)
    script = TOP / "deploy/firstboot/prepare.sh"
    words = ("--wheelhouse", wheelhouse, "--key-file", tmp_path / "key")
    for _ in range(2):
        subprocess.run([script, card, *words], check=True)
    (card / "voice-appliance.toml").write_text(SETTINGS)
    said = (card / "user-data").read_text()
    assert said.startswith("#cloud-config\nhostname: kitchen\nbootcmd:\n")
    assert said.count("bootcmd:") == 1
    command = said.partition("  - |\n")[2]
    box.boot()
    box.run("sh", "-c", command)
    wait_for_the_end(box)
    assert_it_is_set_up(box, card)


def test_the_kernels_command_line_starts_it_where_there_is_no_cloud_init(
    box: Container, suite: str, wheelhouse: Path, tmp_path: Path
) -> None:
    """What systemd.run would run is run here, in a box that then starts anew."""
    if suite != "bookworm":
        pytest.skip("Raspberry Pi OS has cloud-init since trixie")
    card = card_of(box)
    (tmp_path / "key").write_text(KEY)
    script = TOP / "deploy/firstboot/prepare.sh"
    words = ("--wheelhouse", wheelhouse, "--key-file", tmp_path / "key")
    for _ in range(2):
        subprocess.run([script, card, *words], check=True)
    (card / "voice-appliance.toml").write_text(SETTINGS)
    line = (card / "cmdline.txt").read_text()
    assert line.count("systemd.run=/boot/firstrun.sh") == 1
    assert line.startswith("console=tty1 rootwait systemd.run=")
    box.boot()
    box.run("bash", "/boot/firmware/firstrun.sh")
    assert (card / "cmdline.txt").read_text() == "console=tty1 rootwait\n"
    assert not (card / "firstrun.sh").exists()
    box.power_off()
    box.boot()
    wait_for_the_end(box)
    assert_it_is_set_up(box, card)
