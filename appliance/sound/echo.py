"""Takes the box's own voice out of what its microphone hears. Alone imports livekit, if wanted.

The canceller (WebRTC's AEC3, in livekit's `AudioProcessingModule`) wants two streams that keep
step, in frames of 10 ms: what was played, and what the microphone heard meanwhile.

  * What was played is the speaker's tap: what has left the card, by the card's own count, behind
    the volume. It is asked for whenever a piece of the microphone comes, so that it is never later
    than its echo: a canceller can look back and not ahead.
  * The speaker is silent most of the time, and a silent one tells nothing. So each piece of either
    stream has its place on one line, the microphone's: silence fills what lies between two answers
    by the clock, once, when the card begins to move. While it moves the cards' counts rule alone;
    two cards that drift apart do so from the beginning of one answer to its end.
  * A card gives pieces of any length. They are cut anew into frames, less than one of which waits
    for the next piece. The canceller itself is late by 8 to 11 ms, so at the end of a turn that
    rest goes out with a frame of zeros behind it: nothing is lost.
    `frames` in `status` counts what the canceller has been given, because a canceller that was
    never given anything looks like one that has nothing to do.
  * A frame of another length than 10 ms would end the process, from within livekit (1.2.0).
  * There is no more delay to be told than the converters': the counts leave out both buffers.

Only echo is cancelled. The recogniser was trained on noise, and does worse without it.
"""

import math
from array import array
from collections.abc import Callable
from operator import mul
from typing import Any, Protocol

from appliance.errors import ConfigError
from appliance.sound.names import ECHO_RATES_HZ
from appliance.sound.pcm import SAMPLE_BYTES, Format

FRAMES_PER_S = 100
GAP_S = 0.1  # a microphone that was silent for so long beside its pieces had stood still
LISTENS_S = 0.5  # no piece for so long: nobody listens, and nothing need be kept for it
RESYNC_S = 0.04  # a reference that is so late within a sound has lost some of it
MEASURED_S = 5.0  # of playing: what `erle_db` is about
AUDIBLE = 100.0  # root mean square: a frame of the reference that is louder has an echo


class Canceller(Protocol):
    """Takes 10 ms at a time, s16le, one channel: so a frame's length says its rate. Never waits."""

    name: str

    def played(self, frame: bytes) -> None:
        """What has left the speaker."""

    def heard(self, frame: bytes) -> bytes:
        """What the microphone heard at the same time, in: without the echo, out."""


class Echo:
    """Between microphone and utterances. Nothing here waits.

    Args:
        canceller: does the work.
        form: of the sound, one channel.
        look: has the speaker hand on what has left it, to `played`; whether it still moves.
        clock: seconds.
    """

    def __init__(
        self,
        canceller: Canceller,
        form: Format,
        *,
        look: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.canceller = canceller
        self.frames = 0  # of the microphone that the canceller was given, ever
        self._look = look
        self._clock = clock
        self._near = bytearray()  # heard, and less than a frame
        self._far = bytearray()  # played, and not given to the canceller yet
        self._near_end = 0  # bytes of either stream since the line began
        self._far_end = 0
        self._near_s = -math.inf  # when the newest piece of the microphone came
        self._is_audible = False  # what was played last
        self._before = self._after = 0.0  # power of the microphone while something was played
        self.retune(form)

    def retune(self, form: Format) -> None:
        """The sound has another rate from now on: the line begins anew."""
        self._form = form
        self._frame = form.rate_hz // FRAMES_PER_S * SAMPLE_BYTES
        self._near.clear()
        self._far.clear()
        self._near_end = self._far_end = 0
        self._near_s = -math.inf

    @property
    def delay_ms(self) -> float:
        """By how much what was played is ahead of what was heard, beside the acoustic way."""
        return 1000 * self._form.seconds_of(self._far_end - self._near_end)

    @property
    def erle_db(self) -> float | None:
        """By how much the microphone became quieter while something was played, of late.

        None before there was anything. Who talks meanwhile makes it smaller.
        """
        if not self._before:
            return None
        return 10 * math.log10(self._before / max(self._after, 1.0))

    # ── the speaker's side ───────────────────────────────────────────────────────────────────

    def played(self, sound: bytes) -> None:
        """A piece that has just left the speaker; an empty one says that it begins to move."""
        since_s = self._clock() - self._near_s
        if since_s > LISTENS_S:
            return
        since = int(since_s * self._form.rate_hz + 0.001) * SAMPLE_BYTES  # whole samples
        missing = self._near_end + since - self._far_end - len(sound)
        if missing > (self._form.bytes_of(RESYNC_S) if sound else 0):
            self._silence(missing)
        self._far += sound
        self._far_end += len(sound)

    def _silence(self, size: int) -> None:
        self._far += bytes(size)
        self._far_end += size

    # ── the microphone's side ────────────────────────────────────────────────────────────────

    def hear(self, sound: bytes) -> bytes:
        """A piece of any length from the microphone: whole frames, less than one behind it."""
        now_s = self._clock()
        moves = self._look()
        if now_s - self._near_s - self._form.seconds_of(len(sound)) > GAP_S:
            self._near.clear()  # it had stood still: the line begins anew
            self._far.clear()
            self._near_end, self._far_end = 0, len(sound)
            self._far += bytes(len(sound))
        self._near_s = now_s
        self._near_end += len(sound)
        self._near += sound
        if not moves and self._far_end < self._near_end:
            self._silence(self._near_end - self._far_end)
        return self._process()

    def flush(self) -> bytes:
        """What has not made a frame yet, and a frame behind it: so much is within the canceller."""
        if not self._near_end:
            return b""
        behind = -len(self._near) % self._frame + self._frame
        self._near += bytes(behind)
        self._near_end += behind
        self._silence(behind)
        return self._process()

    def _process(self) -> bytes:
        """All whole frames there are, of both streams in turn."""
        cleared = bytearray()
        while len(self._near) >= self._frame:
            self._give_played()
            cleared += self._clear(self._take(self._near))
        while self._give_played():
            pass
        return bytes(cleared)

    def _take(self, queue: bytearray) -> bytes:
        frame = bytes(queue[: self._frame])
        del queue[: self._frame]
        return frame

    def _give_played(self) -> bool:
        if len(self._far) < self._frame:
            return False
        frame = self._take(self._far)
        self._is_audible = _power(frame) > AUDIBLE**2
        self.canceller.played(frame)
        return True

    def _clear(self, frame: bytes) -> bytes:
        self.frames += 1
        cleared = self.canceller.heard(frame)
        if self._is_audible:
            kept = 1 - 1 / (MEASURED_S * FRAMES_PER_S)
            self._before = self._before * kept + _power(frame)
            self._after = self._after * kept + _power(cleared)
        return cleared


def _power(frame: bytes) -> float:
    """Of the samples of a frame, the mean."""
    samples = array("h", frame)
    return math.fsum(map(mul, samples, samples)) / len(samples)


class WebRtc:
    """The canceller of WebRTC: 26 MB of memory, and five threads that wake twice a second in all.

    Raises:
        ConfigError: the package is not there, or does not load.
    """

    name = "webrtc"

    def __init__(self) -> None:
        try:
            from livekit import rtc  # noqa: PLC0415  # only where it is wanted

            self._module = rtc.AudioProcessingModule(echo_cancellation=True)
        except ImportError as error:
            raise ConfigError(
                [f'[audio] echo = "webrtc": livekit does not load: {error}']
            ) from error
        self._rtc: Any = rtc

    def played(self, frame: bytes) -> None:
        """What has left the speaker."""
        self._module.process_reverse_stream(self._wrap(frame))

    def heard(self, frame: bytes) -> bytes:
        """What the microphone heard at the same time, in: without the echo, out."""
        self._module.set_stream_delay_ms(0)
        wrapped = self._wrap(frame)
        self._module.process_stream(wrapped)
        return bytes(wrapped.data)

    def _wrap(self, frame: bytes) -> Any:
        samples = len(frame) // SAMPLE_BYTES
        assert samples * FRAMES_PER_S in ECHO_RATES_HZ
        return self._rtc.AudioFrame(bytearray(frame), samples * FRAMES_PER_S, 1, samples)
