"""The card's control as alsaaudio has it, with its silences; here it is a drawer of plain ones."""

from collections.abc import Callable
from dataclasses import dataclass, field

import alsaaudio
import pytest

from appliance.errors import DeviceError
from appliance.sound.mixer import AlsaMixer

MUTE = -9999999  # ALSA's word for a step that is silence


@dataclass
class Control:
    """A control as ALSA and alsaaudio treat it: steps of decibels, and no error ever."""

    steps: list[int]  # hundredths of a decibel, upwards
    at: int = 0
    muted: bool | None = False  # None: no such switch
    caps: list[str] = field(default_factory=lambda: ["Playback Volume"])
    is_stuck: bool = False
    has_decibels: bool = True

    def switchcap(self) -> list[str]:
        return [] if self.muted is None else ["Playback Mute"]

    def volumecap(self) -> list[str]:
        return self.caps

    def setmute(self, mute: int) -> None:
        assert self.muted is not None
        self.muted = bool(mute)

    def getrange(self, *, pcmtype: int, units: int) -> list[int]:
        assert units == alsaaudio.VOLUME_UNITS_DB
        return [self.steps[0], self.steps[-1]] if self.has_decibels else [213, 213]

    def setvolume(self, volume: int, *, pcmtype: int, units: int) -> None:
        if self.has_decibels and not self.is_stuck:
            below = [n for n, step in enumerate(self.steps) if step <= volume]
            self.at = max(below, default=0)

    def getvolume(self, *, pcmtype: int, units: int) -> list[int]:
        assert self.has_decibels, "it would tell of what lay in memory"
        return [self.steps[self.at]] * 2

    def close(self) -> None:
        pass


class Drawer:
    """What alsaaudio finds on a card."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **controls: Control) -> None:
        self.controls = controls
        self.asked: list[str] = []
        monkeypatch.setattr(alsaaudio, "mixers", self._mixers)
        monkeypatch.setattr(alsaaudio, "Mixer", self._mixer)

    def _mixers(self, *, device: str) -> list[str]:
        self.asked.append(device)
        if device == "hw:CARD=gone":
            raise alsaaudio.ALSAAudioError("No such device [hw:CARD=gone]")
        return list(self.controls)

    def _mixer(self, name: str, *, device: str) -> Control:
        if name not in self.controls:
            raise alsaaudio.ALSAAudioError(f"Unable to find mixer control {name},0")
        return self.controls[name]


Fill = Callable[..., Drawer]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Fill:
    def fill(**controls: Control) -> Drawer:
        return Drawer(monkeypatch, **controls)

    return fill


def steps(least: int, most: int, by: int) -> list[int]:
    return list(range(least, most + 1, by))


def test_the_first_of_use_is_taken(fill: Fill) -> None:
    drawer = fill(
        Mic=Control(steps(-5000, 0, 100)),
        Headphone=Control(steps(-5000, 0, 100)),
        PCM=Control(steps(-5000, 0, 100), has_decibels=False),
        Speaker=Control(steps(-5000, 600, 100)),
        Master=Control(steps(-5000, 0, 100), caps=["Capture Volume"]),
    )
    assert AlsaMixer("plughw:CARD=Device,DEV=0").name == "Speaker"
    assert drawer.asked == ["hw:CARD=Device"]
    assert AlsaMixer("plughw:CARD=Device,DEV=0", "Headphone").name == "Headphone"


def test_what_is_not_there_is_named(fill: Fill) -> None:
    fill(PCM=Control([0], has_decibels=False), Mic=Control(steps(-1000, 0, 100)))
    with pytest.raises(DeviceError, match="'default': it has no volume in decibels"):
        AlsaMixer("default")
    with pytest.raises(DeviceError, match="no control 'Digital'; it has: PCM, Mic"):
        AlsaMixer("default", "Digital")
    with pytest.raises(DeviceError, match="'PCM' has no decibels"):
        AlsaMixer("default", "PCM")
    with pytest.raises(DeviceError, match="the controls of 'hw:CARD=gone': No such device"):
        AlsaMixer("plughw:CARD=gone")


def test_it_is_set_in_decibels_and_unmuted(fill: Fill) -> None:
    control = Control(steps(-5000, 600, 50), muted=True)
    fill(PCM=control)
    one = AlsaMixer("default")
    assert one.attenuate(-20.0) == -20.0
    assert control.steps[control.at] == -2000
    assert control.muted is False
    assert one.attenuate(0.0) == 0.0
    assert control.steps[control.at] == 0, "nothing above 0 dB"


def test_a_control_without_a_switch_is_only_set(fill: Fill) -> None:
    fill(PCM=Control(steps(-5000, 0, 50), muted=None))
    assert AlsaMixer("default").attenuate(-10.0) == -10.0


def test_it_tells_what_it_really_does(fill: Fill) -> None:
    fill(
        PCM=Control(steps(-2000, 0, 50)),  # reaches not as far
        Digital=Control(steps(-6000, 0, 600)),  # not as finely
        Speaker=Control(steps(-4500, -500, 100)),  # is full below 0 dB
    )
    assert AlsaMixer("default", "PCM").attenuate(-35.0) == -20.0
    assert AlsaMixer("default", "Digital").attenuate(-10.0) == -12.0
    assert AlsaMixer("default", "Speaker").attenuate(-10.0) == -10.0


def test_the_step_that_is_silence_is_stepped_over(fill: Fill) -> None:
    control = Control([MUTE, *steps(-2200, 0, 200)])
    fill(PCM=control)
    one = AlsaMixer("default")
    for decibels in (-40.0, -30.0, -28.0, -23.0):
        assert one.attenuate(decibels) >= -22.0
        assert control.steps[control.at] != MUTE
    assert control.at <= 3


def test_a_control_that_does_not_obey_is_an_error(fill: Fill) -> None:
    fill(PCM=Control([MUTE, *steps(-4000, 0, 100)], is_stuck=True))
    with pytest.raises(DeviceError, match="'PCM' does not do what it is told"):
        AlsaMixer("default").attenuate(-20.0)


def test_a_control_that_went_with_its_card_is_an_error(fill: Fill) -> None:
    drawer = fill(PCM=Control(steps(-5000, 0, 100)))
    one = AlsaMixer("default")
    drawer.controls.clear()
    with pytest.raises(DeviceError, match="Unable to find mixer control PCM"):
        one.attenuate(-20.0)
