"""Sounds out the room: plays chirps on one card and hears them on the other. On trio's clock.

Driven by the microphone, whose periods come for sure. What has left the speaker is asked when one
comes, so that both cards' counts say how the recording lies beside what was played; the middle one
of these differences is taken, because a count may be late on either side.
"""

from collections.abc import Callable
from contextlib import closing
from statistics import median_low

import trio

from appliance.errors import DeviceError
from appliance.sound import chirp
from appliance.sound.chirp import Finding
from appliance.sound.microphone import STALL_S, Capture
from appliance.sound.pcm import SAMPLE_BYTES, Format, amplified, to_card, to_mono
from appliance.sound.speaker import Playback

SETTLE_S = 0.3  # a microphone that has just been opened clicks


async def sound_out(
    open_microphone: Callable[[], Capture], open_speaker: Callable[[], Playback], *, gain: float
) -> Finding:
    """Measure, which takes four seconds.

    Args:
        open_microphone: opens the capture card.
        open_speaker: opens the playback card, at the same rate.
        gain: of what is played, 0 to 1.

    Raises:
        DeviceError: a card does not open, is busy, or fails.
    """
    with closing(open_speaker()) as speaker, closing(open_microphone()) as microphone:
        form = Format(microphone.form.rate_hz)
        one = amplified(chirp.chirp(form), gain)
        recorder = _Recorder(microphone)
        await recorder.until(form.frames_of(SETTLE_S + chirp.QUIET_S + chirp.EARLY_S))
        player = _Player(speaker, chirp.program(one, form))
        first = 0
        while not player.is_done or recorder.frames < chirp.end_of(first, form):
            player.play()
            await recorder.until(recorder.frames + 1)
            first = player.compare(recorder.frames)
        return chirp.find(one, bytes(recorder.sound), first, form)


class _Recorder:
    def __init__(self, card: Capture) -> None:
        self.sound = bytearray()  # one channel
        self._card = card
        card.start()

    @property
    def frames(self) -> int:
        return len(self.sound) // SAMPLE_BYTES

    async def until(self, frames: int) -> None:
        """Record so much, and what comes with it."""
        while self.frames < frames:
            with trio.move_on_after(STALL_S) as limit:
                await self._card.wait()
            if limit.cancelled_caught:
                raise DeviceError(f"nothing came from the microphone for {STALL_S:.0f} s")
            self.sound += to_mono(self._card.read(), self._card.form)


class _Player:
    def __init__(self, card: Playback, program: bytes) -> None:
        self._card = card
        self._program = program
        self._written = 0  # frames
        self._apart: list[int] = []  # recorded less played, whenever both were known

    @property
    def is_done(self) -> bool:
        """Whether the last sample has left the card."""
        return self._written * SAMPLE_BYTES == len(self._program) and not self._queued

    @property
    def _queued(self) -> int:
        return self._card.queued_frames()

    def play(self) -> None:
        """Give the card what it has room for. Never waits."""
        room = self._card.buffer_frames - self._queued
        start = self._written * SAMPLE_BYTES
        piece = self._program[start : start + room * SAMPLE_BYTES]
        if piece:
            self._written += self._card.write(to_card(piece, self._card.form))

    def compare(self, recorded: int) -> int:
        """The frame of the recording at which the first sample left the card, as far as is known.

        Args:
            recorded: frames that have been recorded by now.
        """
        queued = self._queued
        if queued:
            self._apart.append(recorded - (self._written - queued))
        return median_low(self._apart) if self._apart else recorded
