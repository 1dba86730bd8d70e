"""What the house tells outside: the lamp, the service manager, whoever watches, and `status`.

Everything is said from what is true at that moment; nothing here is remembered of what was.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from appliance import __version__
from appliance.agent.messages import CannotSay, EndTurn
from appliance.brief import Brief
from appliance.errors import DeviceError, Trouble
from appliance.host.spend import Meter
from appliance.loudness import Loudness
from appliance.mind import Conversation
from appliance.panel.looks import Look, look
from appliance.parts import Lamp, Parts
from appliance.sound.answer import Answers
from appliance.sound.echo import Echo
from appliance.sound.tuning import Tuning
from appliance.sound.utterance import Utterances

Watcher = Callable[[dict[str, object]], None]

log = logging.getLogger("appliance")


class Household(Protocol):
    """What there is to be told of."""

    conversation: Conversation
    utterances: Utterances
    answers: Answers
    meter: Meter
    brief: Brief
    loudness: Loudness
    tuning: Tuning
    echo: Echo | None

    def card_status(self) -> tuple[dict[str, object], dict[str, object]]:
        """What is known of the microphone's card, and of the speaker's."""


class Face:
    """Shows and tells. Nothing here waits."""

    def __init__(self, parts: Parts, house: Household) -> None:
        self.lamp: Lamp | None = None
        self._parts = parts
        self._house = house
        self._talk = house.conversation
        self._complaints: dict[str, Trouble] = {}  # of the panel, by what is said of each
        self._details = ""  # of what is missing of it
        self._watchers: set[Watcher] = set()
        self._said = ""
        self._started_s = trio.current_time()

    @property
    def look(self) -> Look:
        """What the lamp shows, or would show if there were one."""
        trouble = self._talk.trouble
        if trouble is None and self.lamp is not None:  # of a panel without a lamp there is no look
            trouble = next(iter(self._complaints.values()), None)
        return look(
            self._talk.phase,
            muted=self._talk.muted,
            trouble=trouble,
            asks=self._talk.asks_permission,
        )

    @property
    def sentence(self) -> str:
        """What the box is doing, for people."""
        words = self._talk.phase.value
        if self._talk.trouble is not None:
            words += f": {self._talk.trouble.sentence}"
        if self._talk.capped and self._talk.trouble is not Trouble.CAP_REACHED:
            words += f"; {Trouble.CAP_REACHED.sentence}"
        if self._talk.muted:
            words += "; muted"
        for trouble in dict.fromkeys(self._complaints.values()):
            words += f"; {trouble.sentence}"
        return words

    def show(self) -> None:
        """Let lamp and service manager say what is true now."""
        if self.lamp is not None:
            self.lamp.show(self.look)
        sentence = self.sentence
        if sentence != self._said:
            self._said = sentence
            self._parts.manager.status(sentence)

    def miss_panel(self, error: DeviceError) -> None:
        """A part of the panel cannot be had; the control socket still presses."""
        if error.details and error.details != self._details:
            log.debug("%s: %s", Trouble.PANEL_MISSING.sentence, error.details)
            self._details = error.details
        self.complain(Trouble.PANEL_MISSING, str(error))

    def complain(self, trouble: Trouble, words: str) -> None:
        """Something is wrong with the panel, until it is withdrawn."""
        if words not in self._complaints:
            log.warning("%s: %s", trouble.sentence, words)
        self._complaints[words] = trouble

    def withdraw(self, words: str) -> None:
        """What was said of the panel is no longer true."""
        self._complaints.pop(words, None)

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of every event from now on; what is returned ends it."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def publish(self, event: str, **more: object) -> None:
        """Tell those who watch."""
        if not self._watchers:
            return
        trouble = self._talk.trouble
        told: dict[str, object] = {
            "event": event,
            "t": self._parts.clock(),
            "phase": self._talk.phase.value,
            "link": self._talk.link.value,
            "look": self.look.name,
            "muted": self._talk.muted,
            "trouble": trouble.slug if trouble else None,
            **more,
        }
        for watcher in list(self._watchers):
            watcher(told)

    def status(self, request_id: str) -> dict[str, object]:
        """What is true now, at `t`. Seconds are floats; money is in US dollars."""
        now_s = trio.current_time()
        talk, config = self._talk, self._parts.config
        microphone, speaker = self._house.card_status()
        seconds_of = self._house.tuning.form.seconds_of
        return {
            "t": self._parts.clock(),
            "phase": talk.phase.value,
            "link": talk.link.value,
            "look": self.look.name,
            "held": talk.held,
            "muted": talk.muted,
            "asks_permission": talk.asks_permission,
            "capped": talk.capped,
            "mode": config.talk.mode,
            "trouble": talk.trouble.slug if talk.trouble else None,
            "sentence": self.sentence,
            "request_id": request_id,
            "uplink": {
                "open": self._house.utterances.is_open,
                "pending": self._house.utterances.pending,
                "waiting_s": round(self._house.utterances.waiting_s, 3),
                "lost_s": seconds_of(self._house.utterances.lost_bytes),
            },
            "answers": {
                "waiting_s": round(self._house.answers.waiting_s, 3),
                "discarded_s": round(seconds_of(self._house.answers.discarded_bytes), 3),
                "gaps": self._house.answers.gaps,
            },
            "money": {
                "open": self._house.meter.is_open,
                "open_s": round(self._house.meter.open_s(now_s), 3),
                "usd": round(self._house.meter.usd(now_s), 6),
            },
            "rate": self._house.tuning.status(),
            "microphone": {
                "card": config.audio.capture,
                "state": self._state_of(Trouble.MICROPHONE_MISSING),
                **microphone,
                "preroll_ms": config.talk.preroll_ms,
            },
            "speaker": {
                "card": config.audio.playback,
                "state": self._state_of(Trouble.SPEAKER_MISSING),
                **speaker,
                **self._house.loudness.report(),
            },
            "echo": self._echo(),
            "panel": self._panel(),
            "dialect": self._house.brief.dialect.NAME,
            "can_force_end_turn": self._can_force_end_turn(),
            "version": __version__,
            "uptime_s": round(now_s - self._started_s, 3),
        }

    def _panel(self) -> dict[str, object]:
        panel = self._parts.config.panel
        return {
            "state": self._state_of_panel(),
            "trouble": "; ".join(self._complaints) or None,
            "details": self._details or None,
            "pins": self._parts.pins(),
            "kit": panel.kit or None,
            "lamp": panel.lamp.kind,
        }

    def _can_force_end_turn(self) -> bool:
        """Whether the dialect has words for it, and no server has refused them."""
        try:
            self._house.brief.dialect.encode(EndTurn())
        except CannotSay:
            return False
        return self._house.brief.can_force_end_turn

    def _state_of_panel(self) -> str:
        troubles = self._complaints.values()
        if Trouble.PANEL_MISSING in troubles:
            return "missing"
        return "stuck" if troubles else "open"

    def _echo(self) -> dict[str, object]:
        """Who is heard while an answer sounds, and what takes the answer out of it."""
        echo, duplex = self._house.echo, self._parts.config.talk.duplex
        if echo is None:
            nothing = dict.fromkeys(("delay_ms", "erle_db"))
            return {"mode": duplex, "canceller": "none", "frames": 0, **nothing}
        return {
            "mode": duplex,
            "canceller": echo.canceller.name,
            "frames": echo.frames,
            "delay_ms": round(echo.delay_ms, 3),
            "erle_db": None if echo.erle_db is None else round(echo.erle_db, 1),
        }

    def _state_of(self, trouble: Trouble) -> str:
        return "missing" if trouble in self._talk.missing else "open"
