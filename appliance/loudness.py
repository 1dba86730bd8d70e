"""How loud the box speaks: the level, and who makes it, the card's own control or a gain of ours.

The control belongs to the card, so it is looked for anew each time the card is opened, and set
then, whatever it stood at: the box is as loud as its level says, also after a card was changed or
an update has reset it. Between two settings of ours the control is left alone: who turns it with
`alsamixer` hears that until the next change of the level, or the next start.

A control that fails is not tried again before the card is opened anew; the gain does its work.
A box with a bad mixer is as loud as one without, and never dumb.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from appliance.errors import DeviceError
from appliance.sound.volume import Gains, decibels_of, gains_of, wanted_of_card

log = logging.getLogger("appliance.sound")


class Mixer(Protocol):
    """A volume control of the card: `sound.mixer.AlsaMixer`."""

    @property
    def name(self) -> str:
        """The control's."""

    def attenuate(self, decibels: float) -> float:
        """Set it to so many decibels, 0 or less; what it really does. Raises `DeviceError`."""


class Loudness:
    """The level, 0 to 100, made true. No call waits, but the card's control may hold things up.

    Args:
        opens: finds the card's control, raising `DeviceError` if there is none; None: not wanted.
        level: at the start.
        gains: takes the software's share.
    """

    def __init__(
        self,
        opens: Callable[[], Mixer | None],
        level: int,
        *,
        gains: Callable[[Gains], None],
    ) -> None:
        self.level = level
        self._opens = opens
        self._gains = gains
        self._mixer: Mixer | None = None
        self._told = ""  # what was last said of the control
        self._apply()

    def set(self, level: int) -> None:
        """Speak that loud from now on."""
        self.level = level
        self._apply()

    def card_opened(self) -> None:
        """The card that plays is open, and may be another one."""
        try:
            self._mixer = self._opens()
        except DeviceError as error:
            self._fall_back(f"the volume is a software gain: {error}")
        else:
            if self._mixer is not None:
                self._tell(f"the volume is the card's control {self._mixer.name!r}", logging.INFO)
        self._apply()

    def report(self) -> dict[str, object]:
        """What `status` and `volume` tell: dB from full, None for silence."""
        return {
            "volume": self.level,
            "volume_db": round(decibels_of(self.level), 1) if self.level else None,
            "mixer": self._mixer.name if self._mixer is not None else "software",
        }

    def _apply(self) -> None:
        card_db = 0.0
        if self._mixer is not None:
            try:
                card_db = self._mixer.attenuate(wanted_of_card(self.level))
            except DeviceError as error:
                self._fall_back(f"the volume is a software gain from now on: {error}")
        self._gains(gains_of(self.level, card_db))

    def _fall_back(self, words: str) -> None:
        self._mixer = None
        self._tell(words, logging.WARNING)

    def _tell(self, words: str, priority: int) -> None:
        """Once, not at each opening of the same card."""
        if words != self._told:
            self._told = words
            log.log(priority, "%s", words)
