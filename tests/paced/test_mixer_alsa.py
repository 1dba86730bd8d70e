"""The card's control, by the real ALSA: one in decibels (`control.c`); PulseAudio's, in none."""

import os
import shutil
import subprocess
from pathlib import Path

import alsaaudio
import pytest

from appliance import config
from appliance.assembly import real_parts
from appliance.errors import DeviceError
from appliance.sound.mixer import AlsaMixer, find

from .pulse import Lab

SOURCE = Path(__file__).with_name("control.c")
TOP = 20  # steps of 1.5 dB; the lowest is silence


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None and "CI" not in os.environ:
        pytest.skip("needs gcc: deploy/test.sh installs it")
    made = tmp_path_factory.mktemp("control") / "libasound_module_ctl_lab.so"
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", "-DPIC", "-o", made, SOURCE, "-lasound"], check=True
    )
    return made


class Knob:
    """The control, as who stands at the card sees it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.turn(5, is_on=False)

    def turn(self, step: int, *, is_on: bool) -> None:
        self.file.write_text(f"{step} {int(is_on)}\n")

    @property
    def at(self) -> tuple[int, bool]:
        step, is_on = self.file.read_text().split()
        return int(step), is_on == "1"


@pytest.fixture
def knob(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Knob:
    file = tmp_path / "knob"
    asoundrc = tmp_path / "asoundrc"
    asoundrc.write_text(
        "</usr/share/alsa/alsa.conf>\n"
        f'ctl_type.lab {{ lib "{library}" }}\n'
        f'ctl.lab_card {{ type lab file "{file}" }}\n'
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(asoundrc))
    return Knob(file)


def test_a_control_is_found_and_set_and_its_switch_opened(knob: Knob) -> None:
    one = AlsaMixer("plug:lab_card")
    assert one.name == "PCM"
    assert knob.at == (5, False), "to find it changes nothing"
    assert one.attenuate(0.0) == 0.0
    assert knob.at == (TOP, True)
    assert one.attenuate(-10.0) == -10.5
    assert knob.at == (13, True)


def test_it_is_never_silent_by_accident(knob: Knob) -> None:
    one = AlsaMixer("lab_card")
    for decibels in (-28.0, -29.5, -31.0, -40.0):
        assert one.attenuate(decibels) == -28.5
        assert knob.at == (1, True)


def test_what_somebody_else_did_is_seen(knob: Knob) -> None:
    one = AlsaMixer("lab_card")
    one.attenuate(-10.0)
    knob.turn(0, is_on=False)
    assert one.attenuate(-10.0) == -10.5
    assert knob.at == (13, True)


def test_a_control_that_goes_is_an_error_and_may_come_back(knob: Knob) -> None:
    one = AlsaMixer("lab_card")
    knob.file.unlink()
    with pytest.raises(DeviceError, match="the controls of 'lab_card': No such device"):
        one.attenuate(-10.0)
    with pytest.raises(DeviceError, match="No such device"):
        AlsaMixer("lab_card")
    knob.turn(3, is_on=True)
    assert one.attenuate(0.0) == 0.0


@pytest.mark.parametrize(("mixer", "name"), [("auto", "PCM"), ("PCM", "PCM"), ("none", None)])
def test_the_setting_chooses(mixer: str, name: str | None, knob: Knob) -> None:
    words = f'[audio]\nplayback = "lab_card"\nmixer = "{mixer}"'
    parts = real_parts(config.parse(words, "test"), {"DEEPGRAM_API_KEY": "k" * 40}, None)
    found = parts.open_mixer()
    assert (found.name if found is not None else None) == name


def test_a_setting_that_cannot_be_had_is_an_error_and_auto_makes_do(knob: Knob) -> None:
    with pytest.raises(DeviceError, match="no control 'Digital'; it has: PCM"):
        find("lab_card", "Digital")
    assert find("nowhere", "auto") is None


def test_pulseaudio_has_no_decibels_and_is_left_alone(lab: Lab) -> None:
    assert "Master" in alsaaudio.mixers(device="lab_play")
    for wanted, words in (("auto", "no volume in decibels"), ("Master", "has no decibels")):
        with pytest.raises(DeviceError, match=words):
            AlsaMixer("lab_play", wanted)
    control = alsaaudio.Mixer("Master", device="lab_play")
    assert set(control.getvolume()) == {100}
    control.close()
