"""What a board needs comes into config.txt and into its mixer, once, and out again."""

import json
from pathlib import Path

import pytest

from appliance.panel.kits import KITS

from .scripts import Root

MUST_RESTART, DIFFERS = 3, 5
STOCK = "# as it came\ndtparam=audio=on\r\n[cm4]\notg_mode=1"
CONFIG_TXT = "boot/firmware/config.txt"
# A card is there unless the test says so; what it is told is noted.
AMIXER = '[[ -e {0}/no-card ]] && exit 1; [[ $3 == info ]] || echo "$@" >>{0}/mixer'


@pytest.fixture
def root(folder: Path) -> Root:
    root = Root(folder)
    root.write(CONFIG_TXT, STOCK)
    root.write("boot/firmware/overlays/wm8960-soundcard.dtbo", "")
    root.appliance()
    root.tool("amixer", AMIXER.format(folder))
    root.tool("alsactl", f'echo alsactl "$@" >>{folder}/mixer')
    root.tool("sleep", "")
    (folder / "run").mkdir()
    return root


def name_board(root: Root, kit: str) -> None:
    root.write("etc/voice-appliance/config.toml", f'[panel]\nkit = "{kit}"\n')


def start_anew(root: Root) -> None:
    (root.folder / "run/voice-appliance-restart-needed").unlink()


def config_txt(root: Root) -> str:
    return (root.folder / CONFIG_TXT).read_bytes().decode()


def mixer(root: Root) -> list[str]:
    file = root.folder / "mixer"
    return file.read_text().splitlines() if file.exists() else []


def test_a_board_is_made_ready_in_two_runs_and_a_third_has_nothing_to_do(root: Root) -> None:
    name_board(root, "waveshare-wm8960")
    ran = root.run("kit.sh")
    assert ran.returncode == MUST_RESTART, ran.stdout
    assert config_txt(root).startswith(STOCK)
    assert "[all]\ndtoverlay=wm8960-soundcard\n" in config_txt(root)
    assert mixer(root) == []
    assert root.run("kit.sh").returncode == MUST_RESTART  # it has not started anew
    start_anew(root)
    assert root.run("kit.sh").returncode == 0
    wanted = KITS["waveshare-wm8960"].mixer
    set_to = [f"-q -c wm8960soundcard sset {name} {value}" for name, value in wanted]
    assert mixer(root) == [*set_to, "alsactl store wm8960soundcard"]
    ran = root.run("kit.sh")
    assert (ran.returncode, ran.stdout, len(mixer(root))) == (0, "", len(set_to) + 1)
    assert root.run("kit.sh", "--check").stdout == ""


def test_a_line_that_a_board_must_not_have_is_put_back_when_the_board_goes(root: Root) -> None:
    name_board(root, "iqaudio-codec-zero")
    root.write("boot/firmware/overlays/rpi-codeczero.dtbo", "")
    assert root.run("kit.sh").returncode == MUST_RESTART
    said = config_txt(root)
    assert "#voice-appliance-off: dtparam=audio=on\r\n" in said
    assert "[all]\ndtoverlay=\ndtoverlay=rpi-codeczero\n" in said
    name_board(root, "")
    assert root.run("kit.sh").returncode == MUST_RESTART
    assert config_txt(root) == STOCK + "\n"


def test_all_that_is_ours_can_be_taken_out(root: Root) -> None:
    name_board(root, "waveshare-wm8960")
    root.run("kit.sh")
    assert root.run("kit.sh", "--undo").returncode == 0
    assert config_txt(root) == STOCK + "\n"


def test_an_overlay_that_is_missing_is_told_before_anything_is_written(root: Root) -> None:
    name_board(root, "respeaker-2mic-v2")
    ran = root.run("kit.sh")
    assert ran.returncode == 1
    assert "overlays/respeaker-2mic-v2_0.dtbo is not there: give it with --overlay" in ran.stdout
    assert config_txt(root) == STOCK
    overlay = root.write("respeaker-2mic-v2_0.dtbo", "overlay")
    assert root.run("kit.sh", "--overlay", str(overlay)).returncode == MUST_RESTART
    there = root.folder / "boot/firmware/overlays/respeaker-2mic-v2_0.dtbo"
    assert there.read_text() == "overlay"


def test_a_card_that_does_not_come_is_told(root: Root) -> None:
    name_board(root, "waveshare-wm8960")
    root.run("kit.sh")
    start_anew(root)
    root.write("no-card", "")
    ran = root.run("kit.sh")
    assert ran.returncode == 1
    assert "the card wm8960soundcard is not there" in ran.stdout


def test_a_board_that_wants_a_state_says_so_until_it_gets_one(root: Root) -> None:
    name_board(root, "codec-zero")
    assert root.run("kit.sh").returncode == MUST_RESTART
    start_anew(root)
    assert "give --alsa-state FILE" in root.run("kit.sh").stdout
    state = str(root.write("zero.state", ""))
    assert root.run("kit.sh", "--alsa-state", state).returncode == 0
    assert mixer(root) == [f"alsactl restore -f {state} Zero", "alsactl store Zero"]
    assert root.run("kit.sh").returncode == 0


def test_what_differs_is_told_and_nothing_is_changed(root: Root) -> None:
    name_board(root, "waveshare-wm8960")
    ran = root.run("kit.sh", "--check")
    assert ran.returncode == DIFFERS
    assert "+dtoverlay=wm8960-soundcard" in ran.stdout
    assert "the mixer was never set" in ran.stdout
    assert config_txt(root) == STOCK
    assert mixer(root) == []


def test_without_a_board_nothing_is_touched(root: Root) -> None:
    name_board(root, "")
    ran = root.run("kit.sh")
    assert (ran.returncode, ran.stdout, config_txt(root)) == (0, "", STOCK)


def test_every_line_of_every_board_is_one_that_the_script_knows() -> None:
    for kit in KITS.values():
        for line in kit.config_txt:
            assert line.lstrip("#").startswith(("dtoverlay=", "dtparam=")), json.dumps(line)
