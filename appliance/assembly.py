"""Where the real parts meet: a box on this machine's cards and pins, or on stand-ins for them.

The only place that knows both the daemon and the devices. The panel's libraries are imported when
the panel is opened, because they are slow to import and many a machine has no pins.
"""

import functools
import logging
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance import config
from appliance.agent.dialer import Address, Dialer
from appliance.host import service
from appliance.parts import Button, Lamp, Parts, Tell
from appliance.sound.card import AlsaCapture, AlsaPlayback
from appliance.sound.microphone import Capture
from appliance.sound.speaker import Playback
from appliance.standin.card import Room
from appliance.standin.panel import StandinButton, StandinLamp

CARDS = Path("/sys/class/sound")  # asked of the kernel: listing by ALSA stalls the interpreter

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
    button: StandinButton | None = None


def has_card(cards: Path = CARDS) -> bool:
    """Whether this machine has a sound card of its own."""
    return any(cards.glob("card*"))


def real_parts(
    settings: config.Settings,
    environ: Mapping[str, str],
    socket_path: Path | None,
    *,
    played: Callable[[bytes], None] | None = None,
) -> Parts:
    """A box on this machine. Opens nothing yet.

    Raises:
        ConfigError: there is no API key, and the agent is not on loopback.
    """
    audio, period = settings.audio, settings.audio.period_ms / 1000

    def open_microphone() -> Capture:
        return AlsaCapture(audio.capture, audio.rate_hz, round(period * audio.rate_hz))

    def open_speaker() -> Playback:
        return AlsaPlayback(audio.playback, audio.rate_hz, round(period * audio.rate_hz))

    return _parts(
        settings,
        environ,
        socket_path,
        open_microphone=open_microphone,
        open_speaker=open_speaker,
        open_lamp=functools.partial(_open_lamp, settings.panel.lamp),
        open_button=functools.partial(_open_button, settings.panel.buttons.talk),
        played=played,
    )


def standin_parts(
    settings: config.Settings,
    environ: Mapping[str, str],
    socket_path: Path | None,
    *,
    played: Callable[[bytes], None] | None = None,
) -> tuple[Parts, Standins]:
    """A box without hardware, on trio's clock.

    Raises:
        ConfigError: there is no API key, and the agent is not on loopback.
    """
    room = Room(settings.audio.rate_hz, period_s=settings.audio.period_ms / 1000)
    standins = Standins(room, StandinLamp())

    def open_button(pressed: Tell, released: Tell) -> Button:
        standins.button = StandinButton(pressed=pressed, released=released)
        return standins.button

    parts = _parts(
        settings,
        environ,
        socket_path,
        open_microphone=room.open_microphone,
        open_speaker=room.open_speaker,
        open_lamp=lambda: standins.lamp,
        open_button=open_button,
        played=played,
    )
    return parts, standins


def _parts(
    settings: config.Settings,
    environ: Mapping[str, str],
    socket_path: Path | None,
    *,
    open_microphone: Callable[[], Capture],
    open_speaker: Callable[[], Playback],
    open_lamp: Callable[[], Lamp | None],
    open_button: Callable[[Tell, Tell], Button],
    played: Callable[[bytes], None] | None,
) -> Parts:
    key = config.key(settings.agent.url, environ)
    address = Address.of(settings.agent.url)
    dialer = Dialer(address, ca_file=settings.agent.ca_file)
    return Parts(
        config=settings,
        connect=dialer,
        prepare=dialer.prepare,
        authorization=None if key is None else f"Token {key}",
        open_microphone=open_microphone,
        open_speaker=open_speaker,
        open_lamp=open_lamp,
        open_button=open_button,
        random=random.SystemRandom().random,
        manager=_Manager(),
        name=socket.gethostname(),
        socket_path=socket_path,
        clock=time.monotonic,
        played=played,
    )


def _open_lamp(lamp: config.Lamp) -> Lamp | None:
    if lamp.kind == "none":
        return None
    from appliance.panel.lamp import Lamp as RealLamp  # noqa: PLC0415  # see above

    return RealLamp(lamp.pin)


def _open_button(pin: int, pressed: Tell, released: Tell) -> Button:
    from appliance.panel.button import Button as RealButton  # noqa: PLC0415  # see above

    token = trio.lowlevel.current_trio_token()
    return RealButton(pin, pressed=pressed, released=released, token=token)
