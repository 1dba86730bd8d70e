"""What the house is made of, as the daemon wants it: protocols, so that stand-ins are plain."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from appliance.agent.tools import Run
from appliance.config import Settings as Config
from appliance.host import command
from appliance.loudness import Mixer
from appliance.panel.gestures import Touch
from appliance.panel.looks import Look
from appliance.purse import Book
from appliance.sound.echo import Canceller
from appliance.sound.microphone import Capture
from appliance.sound.pcm import Format
from appliance.sound.speaker import Playback


class Lamp(Protocol):
    """The face."""

    def show(self, look: Look) -> None:
        """Show it from now on; never waits."""

    async def run(self) -> None:
        """Play what is shown, until cancelled."""

    def close(self) -> None:
        """Go dark."""


class Button(Protocol):
    """The finger's side."""

    async def run(self) -> None:
        """Tell of presses and releases, until cancelled or closed."""

    def close(self) -> None:
        """Tell nothing more."""


class Manager(Protocol):
    """The service manager."""

    def ready(self) -> None:
        """We are up."""

    def status(self, words: str) -> None:
        """What we are doing."""

    def stopping(self) -> None:
        """We are on our way out."""

    async def run_watchdog(self, is_alive: Callable[[], bool]) -> None:
        """Ping while alive."""


Tell = Callable[[], None]
Touched = Callable[[Touch], None]  # must not wait


@dataclass(frozen=True)
class Parts:
    """What the house is made of. Nothing is opened before the house runs."""

    config: Config
    connect: Callable[[], Awaitable[trio.abc.Stream]]
    authorize: Callable[[], Awaitable[str | None]]  # the header's value; None on loopback
    open_microphone: Callable[[int], Capture]  # at so many Hz
    open_speaker: Callable[[int], Playback]
    open_lamp: Callable[[], Lamp | None]
    open_button: Callable[[str, Touched], Button]  # by its name in [panel.buttons]
    random: Callable[[], float]
    manager: Manager
    native_rates: Callable[[str], Collection[int] | None] = lambda _half: None  # see `Tuning`
    name: str = ""  # the box's name, always one of its tags
    forget_authorization: Callable[[], None] = lambda: None  # it was refused
    run_command: Run = command.run
    environ: Mapping[str, str] = field(default_factory=dict)  # of the owner's commands
    wall: Callable[[], float] = time.time
    spend_book: Book | None = None
    history_book: Book | None = None
    knobs_book: Book | None = None
    release_book: Book | None = None
    open_mixer: Callable[[], Mixer | None] = lambda: None  # may raise DeviceError
    keep_in: Path | None = None  # transcripts and recordings, if they are wanted
    watch_cards: Callable[[Tell], Awaitable[None]] | None = None  # tells when some come and go
    prepare: Callable[[], Awaitable[None]] | None = None  # what would delay the first dial
    socket_path: Path | None = None
    clock: Callable[[], float] = trio.current_time  # for what is told outside; monotonic
    played: Callable[[bytes, Format], None] | None = None
    pins: Callable[[], str | None] = lambda: None  # what reaches the pins, once one has been wanted
    canceller: Canceller | None = None  # of the box's own voice in the microphone
