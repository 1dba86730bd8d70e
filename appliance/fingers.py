"""The fingers of the house: every button of the panel, and what its gestures do.

Decided here:
  * The talk button's presses and releases go to the conversation at once and as they are. A double
    press of it comes besides, after both: with `double_press` the two short presses do what they
    always do (in `hold` next to nothing, in `tap` they begin to listen), and then the gesture.
  * In `hold` a double press unmutes a muted box, whatever else it is set to do: the agent may have
    muted it, mute outlives the plug, and a box may have one button only. A long press does not, for
    that is how somebody talks there, and talking to a muted box must never open its microphone.
  * A volume button acts at once, and when held after 0.5 s and then every 0.3 s again.
  * *Forget* cannot be taken back, so its button acts on a long press only (`[talk] long_press_s`).
  * A mute button toggles. A mute switch holds: while it is closed the box is muted, whatever else
    would unmute it; when it is opened, or open at the start, the box is unmuted.
  * A button that is closed when the box starts is a trouble that is named, and no press. A switch
    that is closed is muted. A button whose pin fails while it is held has been let go of; a switch
    leaves the box as it was, and holds it no more.
  * The panel is whatever of it can be had: one button that is missing takes no other with it.
"""

import logging
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Protocol

import trio

from appliance.config import Settings as Config
from appliance.conversation import Conversation, Event, Mode
from appliance.errors import DeviceError, Trouble
from appliance.face import Face
from appliance.panel.gestures import Finger, Gesture, Habits, Touch
from appliance.parts import Button, Parts

REPEAT_AFTER_S = 0.5  # longer than a press that was meant as one
REPEAT_EVERY_S = 0.3  # slow enough to stop at what is heard

log = logging.getLogger("appliance")


class Household(Protocol):
    """The daemon, as far as fingers go."""

    conversation: Conversation

    def tell(self, event: Event) -> None:
        """Something happened."""

    def toggle_mute(self) -> None:
        """Mute it, or unmute it."""

    def step_volume(self, steps: int) -> None:
        """Louder by so many steps, or softer."""


@dataclass
class _Key:
    """One button, and the finger on it."""

    name: str
    pin: int
    finger: Finger
    button: Button | None = None
    is_stuck: bool = False

    @property
    def complaint(self) -> str:
        """What to say of it when it is stuck."""
        return f"GPIO {self.pin}: the button {self.name!r} is held since the start"


class Fingers:
    """Opens the buttons, lives with them, and does what they mean. Only `run` waits."""

    def __init__(self, parts: Parts, house: Household, face: Face) -> None:
        config = parts.config
        self._open_button = parts.open_button
        self._house = house
        self._face = face
        self._double_press = config.panel.gestures.double_press
        self._holds_to_talk = config.talk.mode == Mode.HOLD.value
        self._mute_is_switch = config.panel.buttons.mute.kind == "switch"
        self._holds_muted = False
        self._moved = trio.Event()  # a deadline may be another than it was
        self._keys = [
            _Key(name, button.pin, Finger(self._habits(name, config)))
            for name, button in config.panel.buttons.present().items()
        ]

    def _habits(self, name: str, config: Config) -> Habits:
        match name:
            case "talk" if self._double_press != "none" or self._holds_to_talk:
                return Habits(short_s=config.talk.tap_ms / 1000)
            case "volume_up" | "volume_down":
                return Habits(repeat_after_s=REPEAT_AFTER_S, repeat_every_s=REPEAT_EVERY_S)
            case "forget":
                return Habits(long_s=config.talk.long_press_s)
            case _:
                return Habits()

    def open(self) -> None:
        """Open every button that can be had. Never waits."""
        for key in self._keys:
            try:
                key.button = self._open_button(key.name, partial(self._touched, key))
            except DeviceError as error:
                self._face.miss_panel(error)

    async def run(self) -> None:
        """Live with the open buttons until cancelled."""
        async with trio.open_nursery() as nursery:
            for key in self._keys:
                if key.button is not None:
                    nursery.start_soon(self._keep, key, key.button)
            while True:
                self._moved = trio.Event()
                due_s = min((key.finger.next_deadline_s for key in self._keys), default=inf)
                with trio.move_on_at(due_s):
                    await self._moved.wait()
                for key in self._keys:
                    self._act(key, key.finger.due(trio.current_time()))

    def close(self) -> None:
        """Tell nothing more, and give the pins back."""
        for key in self._keys:
            if key.button is not None:
                key.button.close()

    def hold_mute(self) -> None:
        """Mute what something else has unmuted while the switch is closed."""
        if self._holds_muted and not self._house.conversation.muted:
            self._house.tell(Event.MUTED)

    async def _keep(self, key: _Key, button: Button) -> None:
        try:
            await button.run()
        except DeviceError as error:
            button.close()
            self._face.miss_panel(error)
            if self._is_switch(key):
                self._holds_muted = False
            else:
                self._touched(key, Touch.RELEASED)
            self._face.show()

    # ── what a button tells ──────────────────────────────────────────────────────────────────

    def _touched(self, key: _Key, touch: Touch) -> None:
        now_s = trio.current_time()
        if self._is_switch(key):
            self._switch(is_closed=touch in {Touch.PRESSED, Touch.STUCK})
            return
        match touch:
            case Touch.PRESSED:
                self._act(key, key.finger.press(now_s))
            case Touch.RELEASED:
                if key.is_stuck:
                    self._mind_stuck(key, is_stuck=False)
                self._act(key, key.finger.release(now_s))
            case Touch.STUCK:
                self._mind_stuck(key, is_stuck=True)
            case Touch.OPEN:
                return
        self._moved.set()

    def _switch(self, *, is_closed: bool) -> None:
        self._holds_muted = is_closed
        if self._house.conversation.muted is not is_closed:
            self._house.toggle_mute()

    def _mind_stuck(self, key: _Key, *, is_stuck: bool) -> None:
        key.is_stuck = is_stuck
        if is_stuck:
            self._face.complain(Trouble.BUTTON_STUCK, key.complaint)
        else:
            log.info("GPIO %d: the button %r has been let go", key.pin, key.name)
            self._face.withdraw(key.complaint)
        self._face.show()

    def _is_switch(self, key: _Key) -> bool:
        return key.name == "mute" and self._mute_is_switch

    # ── what it means ────────────────────────────────────────────────────────────────────────

    def _act(self, key: _Key, gestures: list[Gesture]) -> None:
        for gesture in gestures:
            match key.name, gesture:
                case "talk", Gesture.PRESS:
                    self._house.tell(Event.PRESSED)
                case "talk", Gesture.RELEASE:
                    self._house.tell(Event.RELEASED)
                case "talk", Gesture.DOUBLE:
                    self._double()
                case "mute" | "volume_up" | "volume_down", Gesture.PRESS | Gesture.REPEAT:
                    self._do(key.name)
                case "forget", Gesture.LONG:
                    self._do(key.name)
                case _:
                    pass

    def _double(self) -> None:
        if self._holds_to_talk and self._house.conversation.muted:
            self._house.toggle_mute()
        else:
            self._do(self._double_press)

    def _do(self, what: str) -> None:
        match what:
            case "mute":
                self._house.toggle_mute()
            case "forget":
                self._house.tell(Event.FORGOTTEN)
            case "volume_up":
                self._house.step_volume(1)
            case "volume_down":
                self._house.step_volume(-1)
