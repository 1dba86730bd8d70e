"""The card's own volume control, through ALSA.

What had to be learned of alsaaudio's `Mixer` (pyalsaaudio 0.11), by reading it and by trying:

  * It checks nothing that ALSA answers. A control without decibels (PulseAudio's has none) tells a
    range and a value that are whatever lay in memory, and setting it does nothing, without a word.
    So what was set is read back, and a control that does not answer sense is of no use.
  * A control of a card that went is a null pointer at the next call, and the process ends. So it is
    opened for each use and closed after it: a new one fails in words.
  * All of it holds the interpreter. Opening PulseAudio's took 3.4 ms, listing its controls as
    much, and setting, reading and the mute switch 1.4 ms or less each; a volume is set seldom.
  * The lowest step of many a control is silence. It is stepped over.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import alsaaudio

from appliance.errors import DeviceError
from appliance.sound.volume import CONTROLS, control_device, full_db

STEP_DB = 1  # upwards, to leave the step that is silence
FAR_DB = 10.0  # a control so far off what it was set to has not understood, or is silent
log = logging.getLogger("appliance.sound")

_DB = alsaaudio.VOLUME_UNITS_DB  # of which it has hundredths


def find(playback: str, wanted: str) -> "AlsaMixer | None":
    """The control for a playback name, as `[audio] mixer` wants it; None: a software gain.

    Raises:
        DeviceError: the control that the owner named is of no use.
    """
    if wanted == "none":
        return None
    try:
        return AlsaMixer(playback, wanted)
    except DeviceError as error:
        if wanted != "auto":
            raise
        log.info("the volume is a software gain: %s", error)
        return None


class AlsaMixer:
    """A volume control of the card that plays.

    Args:
        playback: the playback name of the card.
        wanted: the control's name, or "auto": the first of `volume.CONTROLS` that is of use.

    Raises:
        DeviceError: it has no such control, or none in decibels.
    """

    def __init__(self, playback: str, wanted: str = "auto") -> None:
        self._device = control_device(playback)
        self._full_db = 0.0
        self.name = self._choose(wanted)

    def _choose(self, wanted: str) -> str:
        is_named = wanted != "auto"
        with _our_errors(self._device):
            there = alsaaudio.mixers(device=self._device)
        for name in [wanted] if is_named else [it for it in CONTROLS if it in there]:
            if name not in there:
                has = ", ".join(dict.fromkeys(there)) or "none"
                raise DeviceError(f"{self._device!r} has no control {name!r}; it has: {has}")
            with _our_errors(self._device), self._opened(name) as control:
                full = _full_db_of(control, is_named=is_named)
            if full is not None:
                self._full_db = full
                return name
        what = f"{wanted!r} has no decibels" if is_named else "it has no volume in decibels"
        raise DeviceError(f"{self._device!r}: {what}")

    def attenuate(self, decibels: float) -> float:
        """Set it to so many decibels, 0 or less, from full; its mute switch is opened.

        Holds up everything for some milliseconds.

        Returns:
            The decibels that it is really at, from full; more than was asked if it cannot do less.

        Raises:
            DeviceError: it is gone, or does not do what it is told.
        """
        with _our_errors(self._device), self._opened(self.name) as control:
            if {"Mute", "Playback Mute"} & set(control.switchcap()):
                control.setmute(0)
            least, _ = _range_of(control)
            target = max(round(100 * (self._full_db + decibels)), least)
            while True:
                control.setvolume(target, pcmtype=alsaaudio.PCM_PLAYBACK, units=_DB)
                at = control.getvolume(pcmtype=alsaaudio.PCM_PLAYBACK, units=_DB)
                if at and all(abs(one - target) <= 100 * FAR_DB for one in at):
                    return min(int(max(at)) / 100 - self._full_db, 0.0)
                if target >= 100 * self._full_db:
                    raise DeviceError(
                        f"{self._device!r}: {self.name!r} does not do what it is told"
                    )
                target = min(target + 100 * STEP_DB, round(100 * self._full_db))

    @contextmanager
    def _opened(self, name: str) -> Iterator[alsaaudio.Mixer]:
        control = alsaaudio.Mixer(name, device=self._device)
        try:
            yield control
        finally:
            control.close()


def _full_db_of(control: alsaaudio.Mixer, *, is_named: bool) -> float | None:
    if not {"Volume", "Playback Volume"} & set(control.volumecap()):
        return None
    least, most = _range_of(control)
    return full_db(least / 100, most / 100, is_named=is_named)


def _range_of(control: alsaaudio.Mixer) -> tuple[int, int]:
    least, most = control.getrange(pcmtype=alsaaudio.PCM_PLAYBACK, units=_DB)
    return int(least), int(most)


@contextmanager
def _our_errors(device: str) -> Iterator[None]:
    try:
        yield
    except alsaaudio.ALSAAudioError as error:
        raise DeviceError(f"the controls of {device!r}: {error}") from error
