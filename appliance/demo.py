"""The whole daemon, with nothing replaced but the hardware that is not there.

By itself (no card, or `--standin`) it lives through one conversation: a question is spoken into
the stand-in microphone while the button is held, answered, asked again, interrupted, asked once
more. Its first line says so, and why. With a card, or one that the settings name, a person does
that: Enter presses, Enter again releases (a terminal does not tell when a key goes up), Ctrl-D
ends. Without a key the agent is the stand-in, on loopback.
"""

import sys
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO, Literal, Protocol

import trio

from appliance import assembly, config
from appliance.brief import stands_in
from appliance.conversation import Event, Phase
from appliance.daemon import Daemon
from appliance.errors import ApplianceError, ConfigError, DeviceError
from appliance.parts import Parts
from appliance.sound.pcm import SAMPLE_BYTES, Format
from appliance.sound.resample import resampled
from appliance.standin.agent import StandinAgent

INTERRUPT_AFTER_S = 0.7  # of an answer
SCENE_LIMIT_S = 30.0  # with a real agent an answer may be long
SETTLE_S = 0.1  # until the cards are open
SENTENCES_HZ = 16000
GAP_MIN_S = 0.03  # shorter ones are the recorder's, not the box's


class DemoFailed(ApplianceError):
    """The conversation did not go as it should."""


class Say(Protocol):
    """Where lines go."""

    def __call__(self, words: str) -> None:
        """Print one line."""


class Recorder:
    """What left the speaker, with the pauses between, in memory until it is saved."""

    def __init__(self) -> None:
        self.form = Format(SENTENCES_HZ)
        self.sound = bytearray()
        self._began_s: float | None = None

    def __call__(self, sound: bytes, form: Format) -> None:
        """Take what has just been played. A file has one rate: it becomes the newest."""
        if form != self.form:
            was = resampled([bytes(self.sound)], self.form.rate_hz, form.rate_hz)
            self.form, self.sound = form, bytearray(b"".join(was))
        now_s = trio.current_time()
        if self._began_s is None:
            self._began_s = now_s - self.form.seconds_of(len(sound))
        due = self.form.bytes_of(now_s - self._began_s) - len(sound)
        if due - len(self.sound) > self.form.bytes_of(GAP_MIN_S):
            self.sound += bytes(due - len(self.sound))
        self.sound += sound

    def save(self, path: Path) -> None:
        """Write a WAV file.

        Raises:
            DeviceError: it cannot be written there.
        """
        with _opened(path, "wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(SAMPLE_BYTES)
            file.setframerate(self.form.rate_hz)
            file.writeframes(bytes(self.sound))


@contextmanager
def _opened(path: Path, mode: Literal["ab", "wb"]) -> Iterator[IO[bytes]]:
    try:
        with path.open(mode) as file:
            yield file
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error


def spoken(name: str, rate_hz: int) -> bytes:
    """A sentence that ships with the product, as raw sound. It was recorded at 16 kHz.

    Raises:
        ConfigError: the settings want another rate.
    """
    with (files("appliance") / "standin" / name).open("rb") as file, wave.open(file) as sentence:
        if sentence.getframerate() != rate_hz:
            raise ConfigError(
                [f"the demo speaks at {sentence.getframerate()} Hz; wanted [audio] rate_hz so too"]
            )
        return bytes(sentence.readframes(sentence.getnframes()))


@dataclass
class Report:
    """What the owner should know afterwards. Seconds; None where it was not measured."""

    kept_s: float
    lost_s: float
    received_s: float | None
    press_to_silence_ms: float | None
    open_s: float
    usd: float
    file: str


async def run(
    settings: config.Settings,
    environ: Mapping[str, str],
    *,
    standin: bool,
    output: Path,
    say: Say,
    tell: Callable[[dict[str, object]], None],
) -> Report:
    """Live through it, and tell of it as it happens.

    Args:
        settings: the owner's; without a key the agent's address is the stand-in's.
        environ: where the key is looked for.
        standin: nothing real at all.
        output: where the speaker's sound goes, a WAV file.
        say: takes words for a person.
        tell: takes each event of the daemon.

    Raises:
        DemoFailed: the conversation did not go as it should.
        DeviceError: the file cannot be written, or a loopback port cannot be had.
    """
    with _opened(output, "ab"):
        pass  # that it cannot be written is told before the conversation, not after it
    why = "--standin" if standin else assembly.why_no_card(settings.audio)
    if why:
        say(f"on stand-ins, by itself, and Enter does nothing: {why}")
    async with _an_agent(settings, environ, standin=standin, say=say) as (wanted, agent):
        recorder = Recorder()
        if why:
            parts, standins = assembly.standin_parts(wanted, environ, None, played=recorder)
            scene: _Scene = _Script(parts, standins, say, tell)
        else:
            parts = assembly.real_parts(wanted, environ, None, played=recorder)
            scene = _Person(parts, say, tell)
        await scene.play()
    recorder.save(output)
    return scene.report(agent, output)


@asynccontextmanager
async def _an_agent(
    settings: config.Settings, environ: Mapping[str, str], *, standin: bool, say: Say
) -> AsyncIterator[tuple[config.Settings, StandinAgent | None]]:
    """The agent of the settings if there is a key for it, else the stand-in on loopback."""
    if not standin:
        try:
            if not settings.agent.key_command:
                config.key(settings.agent.url, environ)
        except ConfigError:
            say("no API key: the agent is the stand-in, which repeats what it hears")
        else:
            say(f"the agent is {settings.agent.url}")
            yield settings, None
            return
    agent = StandinAgent()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(agent.listen)
        url = f"ws://127.0.0.1:{port}/v1/agent/converse"
        yield stands_in(settings, url), agent
        nursery.cancel_scope.cancel()


class _Scene:
    """A daemon, and what was seen of it."""

    def __init__(self, parts: Parts, say: Say, tell: Callable[[dict[str, object]], None]) -> None:
        self.press_to_silence_ms: float | None = None
        self._say = say
        self._tell = tell
        self._daemon = Daemon(parts)
        self._moved = trio.Event()
        self._open_s = self._usd = 0.0

    async def play(self) -> None:
        """Live with the daemon until the scene is over."""
        async with trio.open_nursery() as nursery:
            self._daemon.subscribe(self._happened)
            await nursery.start(self._daemon.run)
            await self._act()
            now_s = trio.current_time()
            self._open_s, self._usd = (
                self._daemon.meter.open_s(now_s),
                self._daemon.meter.usd(now_s),
            )
            self._daemon.stop()

    async def _act(self) -> None:
        raise NotImplementedError

    def _happened(self, event: dict[str, object]) -> None:
        self._tell(event)
        self._moved.set()

    async def _until(self, phase: Phase) -> None:
        """Wait for a phase; a trouble, or too long a wait, ends the demo."""
        talk = self._daemon.conversation
        with trio.move_on_after(SCENE_LIMIT_S):
            while talk.phase is not phase:
                if talk.phase is Phase.TROUBLE and talk.trouble is not None:
                    raise DemoFailed(talk.trouble.sentence)
                self._moved = trio.Event()
                await self._moved.wait()
            return
        raise DemoFailed(f"not {phase.value} within {SCENE_LIMIT_S:.0f} s")

    def report(self, agent: StandinAgent | None, output: Path) -> Report:
        """What the owner should know, once it is over."""
        words, seconds_of = self._daemon.utterances, self._daemon.form.seconds_of
        received = None if agent is None else sum(len(one.heard) for one in agent.connections)
        return Report(
            kept_s=round(seconds_of(words.heard_bytes), 3),
            lost_s=round(seconds_of(words.lost_bytes), 3),
            received_s=None if received is None else round(seconds_of(received), 3),
            press_to_silence_ms=self.press_to_silence_ms,
            open_s=round(self._open_s, 3),
            usd=round(self._usd, 6),
            file=str(output),
        )


class _Script(_Scene):
    """It plays itself out."""

    def __init__(
        self,
        parts: Parts,
        standins: assembly.Standins,
        say: Say,
        tell: Callable[[dict[str, object]], None],
    ) -> None:
        super().__init__(parts, say, tell)
        self._standins = standins
        rate_hz = self._daemon.form.rate_hz
        self._first = spoken("question.wav", rate_hz)
        self._second = spoken("second.wav", rate_hz)
        self._holds = parts.config.talk.mode == "hold"
        self._after = Phase.RESTING if self._holds else Phase.LISTENING  # an answer
        if not parts.config.panel.buttons.talk.pin:
            raise ConfigError(["the demo presses its button; wanted [panel.buttons] talk for it"])

    async def _act(self) -> None:
        await trio.sleep(SETTLE_S)
        self._say("a question")
        await self._ask(self._first)
        await self._until(Phase.SPEAKING)
        await self._until(self._after)
        self._say("another one, whose answer is interrupted")
        await self._ask(self._second)
        await self._until(Phase.SPEAKING)
        await trio.sleep(INTERRUPT_AFTER_S)
        await self._ask(self._first, measure=True)
        await self._until(Phase.SPEAKING)
        await self._until(self._after)

    async def _ask(self, words: bytes, *, measure: bool = False) -> None:
        """As its owner would: holding the button, or with a press where one is needed."""
        button, talk = self._standins.buttons["talk"], self._daemon.conversation
        needs_press = self._holds or talk.phase is not Phase.LISTENING
        if needs_press:
            pressed_s = trio.current_time()
            button.press()
            if measure:
                self._measure(pressed_s)
        if needs_press and not self._holds:
            button.release()
        await trio.sleep_until(self._standins.room.say(words))
        if self._holds:
            button.release()

    def _measure(self, pressed_s: float) -> None:
        """From the press to the last sample, by the stand-in card's own count."""
        began_s, sound = self._standins.room.heard[-1]
        last_s = began_s + self._daemon.form.seconds_of(len(sound))
        done_s = max(last_s, trio.current_time())
        self.press_to_silence_ms = round((done_s - pressed_s) * 1000, 3)


class _Person(_Scene):
    """Somebody at a terminal."""

    async def _act(self) -> None:
        self._say("Enter presses the button, Enter again releases it; Ctrl-D ends")
        held = False
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            held = not held
            self._daemon.tell(Event.PRESSED if held else Event.RELEASED)
