"""A room with a microphone and a loudspeaker in it, without a card. On trio's clock.

`Room` is what can be heard there: `say` puts sound into it, `heard` is what the loudspeaker has
really given, with the times; `echo` lets the one into the other. Its two streams are obedient:
they grant what was asked, are never late, and count to the sample in virtual time. `unplug`,
`plug`, `stall` and `go_on` do what fingers and sound servers do; microphone and speaker are two
cards where that is asked for. `rates` are those that they have: another one is converted, but not
where `is_bare`. What is open has one rate, and so has the room then.
"""

import math
from array import array

import trio

from appliance.errors import DeviceError
from appliance.sound.names import RATES_HZ
from appliance.sound.pcm import SAMPLE_BYTES, Chain, Format

BUFFER_PERIODS = 10
KINDS = ("microphone", "speaker")
UNPLUGGED = "the stand-in card is unplugged"


class Room:
    """What the stand-in card hears and what is heard of it. One channel at `rate_hz`."""

    def __init__(self, rate_hz: int, *, period_s: float = 0.02) -> None:
        self.form = Format(rate_hz)
        self.period_frames = self.form.frames_of(period_s)
        self.pulled: set[str] = set()  # of "microphone" and "speaker"
        self.opened = 0  # streams that were opened, ever
        self.streams: list[_Stream] = []  # those that are open
        self.rates: dict[str, set[int]] = {}  # of KINDS; any, if it is not there
        self.is_bare = False  # the cards convert nothing
        self.is_one_clock = False  # a half that is open leaves the other one its rate only
        self.asked: list[str] = []  # the cards that were asked for their rates, in order
        self._period_s = period_s
        self.stood_still = 0  # frames for which the card has stood still, ever
        self.given: list[tuple[float, bytearray]] = []  # as `heard`, as far as was looked
        self._stalled_at: int | None = None
        self._echo: tuple[int, float] | None = None  # (delay in frames, gain)
        self._said: list[tuple[int, bytes]] = []  # (frame of trio's clock, sound)

    def say(self, sound: bytes, *, after_s: float = 0.0) -> float:
        """Let `sound` be heard in the room from `after_s` from now on; when it will be over."""
        begins_s = trio.current_time() + after_s
        self._said.append((self.frame_at(begins_s), sound))
        return begins_s + self.form.seconds_of(len(sound))

    def echo(self, *, delay_s: float, gain: float) -> None:
        """From now on let the microphone hear the loudspeaker, so much later and so loud."""
        self._echo = (self.form.frames_of(delay_s), gain)

    def listen(self, first: int, frames: int) -> bytes:
        """What there is to hear in the room, by frames of trio's clock."""
        air = self._speech(first, frames)
        if self._echo is None:
            return air
        delay, gain = self._echo
        for stream in self.streams:
            stream.look()
        mixed = array("h", air)
        for began_s, given in self.given:
            begins = self.frame_at(began_s) + delay - first
            begins_in = max(0, -begins)
            heard = array("h", given[begins_in * 2 : max(0, frames - begins) * 2])
            for at, sample in enumerate(heard, max(0, begins)):
                mixed[at] = max(-0x8000, min(0x7FFF, mixed[at] + int(sample * gain)))
        return mixed.tobytes()

    def _speech(self, first: int, frames: int) -> bytes:
        air = bytearray(frames * SAMPLE_BYTES)
        for begins, sound in self._said:
            start, stop = max(begins, first), min(begins + len(sound) // 2, first + frames)
            if start < stop:
                piece = sound[(start - begins) * 2 : (stop - begins) * 2]
                air[(start - first) * 2 : (stop - first) * 2] = piece
        return bytes(air)

    @property
    def heard(self) -> list[tuple[float, bytes]]:
        """What the loudspeaker has given, without the silence between: (when it began, sound)."""
        for stream in self.streams:
            stream.look()
        return [(began_s, bytes(sound)) for began_s, sound in self.given]

    def frame_now(self) -> int:
        """The frame of trio's clock; rounding to a thousandth of one keeps virtual time exact."""
        return self.frame_at(trio.current_time())

    def frame_at(self, time_s: float) -> int:
        """The frame of that time; rounded up by a thousandth, to keep virtual time exact."""
        return math.floor(time_s * self.form.rate_hz + 0.001)

    @property
    def is_stalled(self) -> bool:
        """The card stands still, and does not say so."""
        return self._stalled_at is not None

    @property
    def frame_out(self) -> int:
        """The frame that leaves the card now: as `frame_now`, less what it stood still."""
        now = self.frame_now() if self._stalled_at is None else self._stalled_at
        return now - self.stood_still

    def unplug(self, *which: str) -> None:
        """Pull the card out: everything about it fails. Or only its "microphone", or "speaker"."""
        self.pulled |= set(which or KINDS)
        for stream in [one for one in self.streams if one.kind in self.pulled]:
            stream.die()

    def plug(self, *which: str) -> None:
        """Put it back: it can be opened again; streams that were open stay dead."""
        self.pulled -= set(which or KINDS)

    def stall(self) -> None:
        """Let it stand still without a word, as the card of a stopped sound server does."""
        if self._stalled_at is None:
            self._stalled_at = self.frame_now()

    def go_on(self) -> None:
        """Let it go on: playing where it stood, and with all that piled up at the microphone."""
        if self._stalled_at is not None:
            self.stood_still += self.frame_now() - self._stalled_at
            self._stalled_at = None
            for stream in self.streams:
                stream.stir()

    def native_rates(self, kind: str) -> set[int] | None:
        """The rates that the card of a kind has, if neither of its streams leaves it no choice.

        Raises:
            DeviceError: the card is unplugged.
        """
        self.asked.append(kind)
        if kind in self.pulled:
            raise DeviceError(UNPLUGGED)
        assert kind not in {stream.kind for stream in self.streams}, "it is open"
        has = self.rates.get(kind, set(RATES_HZ))
        return has & {self.form.rate_hz} if self.streams and self.is_one_clock else has

    def open_microphone(self, rate_hz: int = 0) -> "StandinCapture":
        """A capture stream, at so many Hz, or at the rate that the room has.

        Raises:
            DeviceError: the card is unplugged, or has not that rate and converts nothing.
        """
        self._run_at(rate_hz)
        return StandinCapture(self)

    def open_speaker(self, rate_hz: int = 0) -> "StandinPlayback":
        """A playback stream; as `open_microphone`."""
        self._run_at(rate_hz)
        return StandinPlayback(self)

    def _run_at(self, rate_hz: int) -> None:
        """The whole room: what was said or heard at another rate before is forgotten."""
        if rate_hz in (0, self.form.rate_hz):
            return
        assert not self.streams, "both halves have the same rate"
        self.form = Format(rate_hz)
        self.period_frames = self.form.frames_of(self._period_s)
        self.stood_still = 0
        self._said.clear()
        self.given.clear()

    def chain(self, kind: str) -> Chain:
        """What runs beneath a stream of a kind.

        Raises:
            DeviceError: the card has not the room's rate, and converts nothing.
        """
        rate_hz = self.form.rate_hz
        has = self.rates.get(kind, {rate_hz})
        if rate_hz in has:
            return Chain(rate_hz)
        if self.is_bare:
            raise DeviceError(f"the stand-in card grants {max(has)} Hz; wanted is {rate_hz} Hz")
        return Chain(max(has), converter="speexrate")


class _Stream:
    kind: str

    def __init__(self, room: Room) -> None:
        self.form = room.form
        self.xruns = 0
        self.period_frames = room.period_frames
        self.buffer_frames = room.period_frames * BUFFER_PERIODS
        self._room = room
        self._dead = self.kind in room.pulled
        self._stirred = trio.Event()
        self.check()
        self.chain = room.chain(self.kind)
        room.opened += 1
        room.streams.append(self)

    def check(self) -> None:
        """Fail as an unplugged card does, or one that was given back."""
        if self._dead:
            raise DeviceError(UNPLUGGED)

    def die(self) -> None:
        """It is pulled out, or given back."""
        if not self._dead:
            self._dead = True
            self._room.streams.remove(self)
            self.stir()

    def look(self) -> None:
        """Note what has left the card by now."""

    def stir(self) -> None:
        """Wake whoever waits for the card."""
        self._stirred.set()

    def close(self) -> None:
        """Give the card back. A second time does nothing."""
        self.die()

    async def sleep_until_frame(self, frame: int) -> None:
        """Wait until that frame of the clock, or until something befalls the card."""
        self.check()
        self._stirred = trio.Event()
        with trio.move_on_at(math.inf if self._room.is_stalled else frame / self.form.rate_hz):
            await self._stirred.wait()
        self.check()


class StandinCapture(_Stream):
    """A capture stream; see `appliance.sound.microphone.Capture`."""

    kind = KINDS[0]

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self._next: int | None = None  # the first frame that was not read

    def start(self) -> None:
        """Begin to record."""
        self.check()
        self._next = self._room.frame_now()

    def read(self) -> bytes:
        """The whole periods that are there."""
        self.check()
        if self._next is None or self._room.is_stalled:
            return b""
        frames = self._room.frame_now() - self._next
        frames -= frames % self.period_frames
        sound = self._room.listen(self._next, frames)
        self._next += frames
        return sound

    async def wait(self) -> None:
        """Wait until a period is there."""
        assert self._next is not None
        await self.sleep_until_frame(self._next + self.period_frames)

    def stop(self) -> None:
        """Stand still."""
        self._next = None


class StandinPlayback(_Stream):
    """A playback stream; see `appliance.sound.speaker.Playback`."""

    kind = KINDS[1]

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self._began: int | None = None  # frame of the card at which it began to move
        self._held = bytearray()  # written, and not out when it was last looked at
        self._out = 0  # frames that were

    def write(self, sound: bytes) -> int:
        """Give it sound; it begins to move with the first."""
        frames = min(len(sound) // SAMPLE_BYTES, self.buffer_frames - self.queued_frames())
        if self._began is None and frames:
            self._began, self._out = self._room.frame_out, 0
            self._room.given.append((trio.current_time(), bytearray()))
        self._held += sound[: frames * SAMPLE_BYTES]
        return frames

    def queued_frames(self) -> int:
        """Frames written that have not left the card."""
        self.check()
        self.look()
        return len(self._held) // SAMPLE_BYTES

    def look(self) -> None:
        """Note what has left the card by now; it stands still when it is empty."""
        if self._began is None:
            return
        out = self._room.frame_out - self._began - self._out
        self._room.given[-1][1].extend(self._held[: out * SAMPLE_BYTES])
        left = len(self._held) // SAMPLE_BYTES - out
        del self._held[: out * SAMPLE_BYTES]
        self._out += out
        if left <= 0:
            self.xruns += left < 0
            self._began = None

    def drop(self) -> None:
        """Silence at once. Who waits is not woken: not every plugin does it."""
        self.look()
        self._held.clear()
        self._began = None

    def die(self) -> None:
        """What it holds is never heard."""
        self.drop()
        super().die()

    async def wait(self) -> None:
        """Wait until there is room for a period."""
        self.check()
        if self._began is None:
            await trio.lowlevel.checkpoint()
            return
        full = self._out + len(self._held) // SAMPLE_BYTES - self.buffer_frames
        begins = self._began + self._room.stood_still
        await self.sleep_until_frame(begins + full + self.period_frames)
