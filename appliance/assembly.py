"""Where the real parts meet: a box on this machine's cards and pins, or on stand-ins for them.

The only place that knows both the daemon and the devices. The panel's libraries are imported when
the panel is opened, because they are slow to import and many a machine has no pins.
"""

import functools
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance import config, knobs, novelty
from appliance.agent import history
from appliance.agent.dialer import Address, Dialer
from appliance.errors import DeviceError
from appliance.host import service, spend, uevents
from appliance.host.credential import Credential
from appliance.host.state import StateFile
from appliance.loudness import Loudness, Mixer
from appliance.parts import Button, Lamp, Parts, Tell, Touched
from appliance.sound import kernel, mixer
from appliance.sound.card import AlsaCapture, AlsaPlayback, native_rates
from appliance.sound.echo import WebRtc
from appliance.sound.microphone import Capture
from appliance.sound.names import RATES_HZ, advice, bare, best_rate, missing
from appliance.sound.pcm import Format
from appliance.sound.speaker import Playback
from appliance.sound.tuning import HALVES, MICROPHONE, SPEAKER
from appliance.sound.volume import Gains
from appliance.standin.card import Room
from appliance.standin.panel import StandinButton, StandinLamp

log = logging.getLogger("appliance")


class _Manager:
    """`host.service` as the daemon wants it."""

    ready = staticmethod(service.ready)
    status = staticmethod(service.status)
    stopping = staticmethod(service.stopping)
    run_watchdog = staticmethod(service.run_watchdog)


@dataclass
class Standins:
    """A box without hardware: the room it stands in, and its face and finger."""

    room: Room
    lamp: StandinLamp
    buttons: dict[str, StandinButton] = field(default_factory=dict)


class RealPanel:
    """The real panel, opened when it is wanted, and the way to its pins."""

    def __init__(self, settings: config.Panel) -> None:
        self._settings = settings
        self._pins: str | None = None

    def pins(self) -> str | None:
        """What reaches the pins, once one has been wanted."""
        return self._pins

    def open_lamp(self) -> Lamp | None:
        """The lamp; None if there is to be none. `DeviceError` if it cannot be had."""
        lamp = self._settings.lamp
        if lamp.kind == "none":
            return None
        if lamp.kind != "apa102" or lamp.power_pin is not None:  # pixels hang on a bus
            self._find_way()
        from appliance.panel.kinds import open_lamp  # noqa: PLC0415  # see above

        return open_lamp(self._settings)

    def open_button(self, name: str, tell: Touched) -> Button:
        """The button of that name. `DeviceError` if it cannot be had."""
        self._find_way()
        from appliance.panel.button import Button as RealButton  # noqa: PLC0415  # see above

        button = self._settings.buttons.present()[name]
        return RealButton(button.pin, tell, active=button.active, pull=button.pulled)

    def _find_way(self) -> None:
        from appliance.panel.pins import find_way  # noqa: PLC0415  # see above

        self._pins = find_way(self._settings.pins)


def why_no_card(audio: config.Audio) -> str:
    """Why there is no card to be tried, in words; "" if there is one.

    What the owner names himself is taken for one, whatever the kernel knows of it (a sound server
    on a machine without cards, a headset), unless the name is of a card of the kernel's that is
    not here. What goes by the name `default` opens nowhere without a card, in most places.
    """
    ids = kernel.card_ids()
    default = config.Audio()
    named = {
        "capture": audio.capture if audio.capture != default.capture else "",
        "playback": audio.playback if audio.playback != default.playback else "",
    }
    if ids or any(name and not missing(name, ids) for name in named.values()):
        return ""
    absent = [f"{key} = {name!r} is not here" for key, name in named.items() if name]
    words = " and ".join(absent) or "[audio] capture and playback name none"
    return f"this machine has no sound card, and {words}"


class Cards:
    """This machine's microphone and speaker. All of it may hold things up."""

    def __init__(self, audio: config.Audio) -> None:
        self._audio = audio

    def open_microphone(self, rate_hz: int) -> Capture:
        """At so many Hz. `DeviceError` if it does not open."""
        period = round(self._audio.period_ms / 1000 * rate_hz)
        return AlsaCapture(self._audio.capture, rate_hz, period)

    def open_speaker(self, rate_hz: int) -> Playback:
        """At so many Hz. `DeviceError` if it does not open."""
        period = round(self._audio.period_ms / 1000 * rate_hz)
        return AlsaPlayback(self._audio.playback, rate_hz, period)

    def ask_rates(self, half: str) -> Collection[int] | None:
        """Of "microphone" or "speaker"; see `card.native_rates`. `DeviceError`, too."""
        is_capture = half == MICROPHONE
        return native_rates(self._name_of(half), capture=is_capture)

    def native_rates(self, half: str) -> Collection[int] | None:
        """The same, for whoever opens it next: a card that converts may open where it bare did not.

        `DeviceError` where it is the same opening, which a hanging sound server would draw out.
        """
        try:
            return self.ask_rates(half)
        except DeviceError:
            if bare(self._name_of(half)):
                return None
            raise

    def _name_of(self, half: str) -> str:
        return self._audio.capture if half == MICROPHONE else self._audio.playback


def with_rate(settings: config.Settings) -> tuple[config.Settings, list[str]]:
    """The settings with `rate_hz = 0` replaced by a rate that both cards have, for a moment's use.

    Also in words why a card could not be asked: it counts for nothing then, and without any it is
    16 kHz. A running box does the same, and goes on doing it: `sound.tuning`.
    """
    if settings.audio.rate_hz:
        return settings, []
    told: dict[str, Collection[int] | None] = {}
    silent = []
    for half in HALVES:
        try:
            told[half] = Cards(settings.audio).ask_rates(half)
        except DeviceError as error:
            silent.append(f"{half}: {error}")
    rate_hz = best_rate(told.get(MICROPHONE), told.get(SPEAKER), config.rates_taken(settings))
    found = msgspec.structs.replace(settings.audio, rate_hz=rate_hz)
    return msgspec.structs.replace(settings, audio=found), silent


def card_advice(settings: config.Settings) -> list[str]:
    """What to mend in the names of the cards, a sentence each."""
    ids = kernel.card_ids()
    words = (advice(name, ids) for name in (settings.audio.capture, settings.audio.playback))
    return list(dict.fromkeys(filter(None, words)))


def real_parts(
    settings: config.Settings,
    environ: Mapping[str, str],
    socket_path: Path | None,
    *,
    played: Callable[[bytes, Format], None] | None = None,
) -> Parts:
    """A box on this machine. Opens nothing yet.

    Raises:
        ConfigError: there is no API key, and the agent is not on loopback.
    """
    here = Cards(settings.audio)
    panel = RealPanel(settings.panel)
    return _parts(
        settings,
        environ,
        socket_path,
        open_microphone=here.open_microphone,
        open_speaker=here.open_speaker,
        native_rates=here.native_rates,
        open_mixer=functools.partial(mixer.find, settings.audio.playback, settings.audio.mixer),
        open_lamp=panel.open_lamp,
        open_button=panel.open_button,
        pins=panel.pins,
        watch_cards=uevents.watch,
        keeps_state=True,
        played=played,
    )


def cards(audio: config.Audio) -> tuple[Callable[[], Capture], Callable[[], Playback]]:
    """What opens this machine's microphone, and its speaker, at the rate of the settings."""
    here = Cards(audio)
    return (
        functools.partial(here.open_microphone, audio.rate_hz),
        functools.partial(here.open_speaker, audio.rate_hz),
    )


def kept_volume(audio: config.Audio, environ: Mapping[str, str]) -> int:
    """The volume that a daemon of this user would start with. Waits for the disk.

    The service's own is kept where root alone can read it, beside the service itself.
    """
    path = state_name(environ) / "knobs"
    book = StateFile(path, knobs.VERSION) if os.access(path, os.R_OK) else None
    return knobs.Knobs(book, audio.volume).volume


def playing_gain(audio: config.Audio, volume: int) -> float:
    """Set the card's own control as a daemon would; the software's share is left to the caller."""
    found = [Gains()]
    opens = functools.partial(mixer.find, audio.playback, audio.mixer)
    Loudness(opens, volume, gains=found.append).card_opened()
    return found[-1].answers


def standin_parts(
    settings: config.Settings,
    environ: Mapping[str, str],
    socket_path: Path | None,
    *,
    played: Callable[[bytes, Format], None] | None = None,
) -> tuple[Parts, Standins]:
    """A box without hardware, on trio's clock.

    Raises:
        ConfigError: there is no API key, and the agent is not on loopback.
    """
    room = Room(settings.audio.rate_hz or RATES_HZ[0], period_s=settings.audio.period_ms / 1000)
    standins = Standins(room, StandinLamp())

    def open_button(name: str, tell: Touched) -> Button:
        standins.buttons[name] = StandinButton(tell)
        return standins.buttons[name]

    parts = _parts(
        settings,
        environ,
        socket_path,
        open_microphone=room.open_microphone,
        open_speaker=room.open_speaker,
        native_rates=room.native_rates,
        open_mixer=lambda: None,
        open_lamp=lambda: standins.lamp,
        open_button=open_button,
        keeps_state=False,
        played=played,
    )
    return parts, standins


def _parts(
    settings: config.Settings,
    environ: Mapping[str, str],
    socket_path: Path | None,
    *,
    open_microphone: Callable[[int], Capture],
    open_speaker: Callable[[int], Playback],
    native_rates: Callable[[str], Collection[int] | None],
    open_mixer: Callable[[], Mixer | None],
    open_lamp: Callable[[], Lamp | None],
    open_button: Callable[[str, Touched], Button],
    watch_cards: Callable[[Tell], Awaitable[None]] | None = None,
    keeps_state: bool,
    played: Callable[[bytes, Format], None] | None,
    pins: Callable[[], str | None] = lambda: None,
) -> Parts:
    agent = settings.agent
    key = None if agent.key_command else config.key(agent.url, environ)
    credential = Credential(key, agent.key_command, environ=environ)
    dialer = Dialer(Address.of(agent.url), ca_file=agent.ca_file, proxy=agent.proxy)
    state = state_folder(environ) if keeps_state else Path()
    return Parts(
        config=settings,
        connect=dialer,
        prepare=dialer.prepare,
        authorize=credential.authorization,
        forget_authorization=credential.forget,
        open_microphone=open_microphone,
        open_speaker=open_speaker,
        native_rates=native_rates,
        open_mixer=open_mixer,
        open_lamp=open_lamp,
        open_button=open_button,
        watch_cards=watch_cards,
        random=random.SystemRandom().random,
        manager=_Manager(),
        name=socket.gethostname(),
        environ=environ,
        spend_book=StateFile(state / "spend", spend.VERSION) if keeps_state else None,
        history_book=(
            StateFile(state / "history", history.VERSION)
            if keeps_state and agent.remember_over_restart
            else None
        ),
        knobs_book=StateFile(state / "knobs", knobs.VERSION) if keeps_state else None,
        release_book=StateFile(state / "release", novelty.VERSION) if keeps_state else None,
        keep_in=state / "kept" if keeps_state else None,
        socket_path=socket_path,
        clock=time.monotonic,
        played=played,
        pins=pins,
        canceller=WebRtc() if settings.audio.echo == "webrtc" else None,
    )


def state_folder(environ: Mapping[str, str]) -> Path:
    """systemd's, else the usual one of the system or of this user; made if it is missing.

    Where it cannot be made the box works on, and forgets at each start.
    """
    folder = state_name(environ)
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def state_name(environ: Mapping[str, str]) -> Path:
    """The same, not made."""
    given = environ.get("STATE_DIRECTORY")
    if given:
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/voice-appliance")
    base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "voice-appliance"
