"""A room with a microphone and a loudspeaker in it, without a card. On trio's clock.

`Room` is what can be heard there: `say` puts sound into it, `heard` is what the loudspeaker has
really given, with the times. Its two streams are obedient: they grant what was asked, are never
late, and count to the sample in virtual time. `unplug`, `plug` and `stall` do what fingers and
sound servers do.
"""

import math

import trio

from appliance.errors import DeviceError
from appliance.sound.pcm import SAMPLE_BYTES, Format

BUFFER_PERIODS = 10


class Room:
    """What the stand-in card hears and what is heard of it. One channel at `rate_hz`."""

    def __init__(self, rate_hz: int, *, period_s: float = 0.02) -> None:
        self.form = Format(rate_hz)
        self.period_frames = self.form.frames_of(period_s)
        self.is_plugged = True
        self.is_stalled = False
        self.opened = 0  # streams that were opened, ever
        self.heard: list[tuple[float, bytearray]] = []  # (when it began, sound) without silence
        self._said: list[tuple[int, bytes]] = []  # (frame of trio's clock, sound)

    def say(self, sound: bytes, *, after_s: float = 0.0) -> float:
        """Let `sound` be heard in the room from `after_s` from now on; when it will be over."""
        begins_s = trio.current_time() + after_s
        self._said.append((round(begins_s * self.form.rate_hz), sound))
        return begins_s + self.form.seconds_of(len(sound))

    def listen(self, first: int, frames: int) -> bytes:
        """What there is to hear in the room, by frames of trio's clock."""
        air = bytearray(frames * SAMPLE_BYTES)
        for begins, sound in self._said:
            start, stop = max(begins, first), min(begins + len(sound) // 2, first + frames)
            if start < stop:
                piece = sound[(start - begins) * 2 : (stop - begins) * 2]
                air[(start - first) * 2 : (stop - first) * 2] = piece
        return bytes(air)

    def unplug(self) -> None:
        """Pull the card out: everything about it fails."""
        self.is_plugged = False

    def plug(self) -> None:
        """Put it back: it can be opened again; streams that were open stay dead."""
        self.is_plugged = True

    def open_microphone(self) -> "StandinCapture":
        """A capture stream.

        Raises:
            DeviceError: the card is unplugged.
        """
        return StandinCapture(self)

    def open_speaker(self) -> "StandinPlayback":
        """A playback stream.

        Raises:
            DeviceError: the card is unplugged.
        """
        return StandinPlayback(self)


class _Stream:
    def __init__(self, room: Room) -> None:
        self.form = room.form
        self.period_frames = room.period_frames
        self.buffer_frames = room.period_frames * BUFFER_PERIODS
        self._room = room
        self._dead = False
        self.check()
        room.opened += 1

    def check(self) -> None:
        """Fail as an unplugged card does."""
        self._dead = self._dead or not self._room.is_plugged
        if self._dead:
            raise DeviceError("the stand-in card is unplugged")

    def frame_now(self) -> int:
        """The frame of trio's clock; rounding to a thousandth of one keeps virtual time exact."""
        return math.floor(trio.current_time() * self.form.rate_hz + 0.001)

    async def sleep_until_frame(self, frame: int) -> None:
        """Wait until that frame has been; an unplugged card wakes its waiters at once."""
        period_s = self.period_frames / self.form.rate_hz
        while True:
            self.check()
            left_s = frame / self.form.rate_hz - trio.current_time()
            if left_s <= 0 and not self._room.is_stalled:
                return
            await trio.sleep(min(max(left_s, 0), period_s) if left_s > 0 else period_s)


class StandinCapture(_Stream):
    """A capture stream; see `appliance.sound.microphone.Capture`."""

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self._next: int | None = None  # the first frame that was not read

    def start(self) -> None:
        """Begin to record."""
        self.check()
        self._next = self.frame_now()

    def read(self) -> bytes:
        """The whole periods that are there."""
        self.check()
        if self._next is None or self._room.is_stalled:
            return b""
        frames = self.frame_now() - self._next
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

    def close(self) -> None:
        """Give the card back."""
        self._dead = True


class StandinPlayback(_Stream):
    """A playback stream; see `appliance.sound.speaker.Playback`."""

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.xruns = 0
        self._began: int | None = None  # frame of the clock at which it began to move
        self._written = bytearray()

    def write(self, sound: bytes) -> int:
        """Give it sound; it begins to move with the first."""
        self.check()
        frames = min(len(sound) // SAMPLE_BYTES, self.buffer_frames - self.queued_frames())
        if self._began is None and frames:
            self._began = self.frame_now()
            self._written.clear()
            self._room.heard.append((trio.current_time(), bytearray()))
        self._written += sound[: frames * SAMPLE_BYTES]
        return frames

    def queued_frames(self) -> int:
        """Frames written that have not left the card."""
        self.check()
        if self._began is None:
            return 0
        out = self.frame_now() - self._began
        queued = len(self._written) // SAMPLE_BYTES - out
        if queued <= 0:
            self.xruns += queued < 0
            self._stand_still(len(self._written) // SAMPLE_BYTES)
            return 0
        return queued

    def _stand_still(self, out: int) -> None:
        self._room.heard[-1][1].extend(self._written[: out * SAMPLE_BYTES])
        self._began = None

    def drop(self) -> None:
        """Silence at once."""
        if self._began is not None:
            self._stand_still(min(self.frame_now() - self._began, len(self._written) // 2))

    async def wait(self) -> None:
        """Wait until there is room for a period."""
        if self._began is None:
            return
        full = len(self._written) // SAMPLE_BYTES - self.buffer_frames
        await self.sleep_until_frame(self._began + full + self.period_frames)

    def close(self) -> None:
        """Give the card back."""
        if not self._dead:
            self.drop()
        self._dead = True
