"""Where sound meets the silence that we put around it: no clicks. Pure.

Sound that does not begin or end near zero makes a step there, and a step is a click. Speech of a
synthesizer begins and ends in zeros, but an answer that runs dry stops anywhere, and goes on
anywhere. So before sound the silence rises to its first sample, and behind sound that ends with a
step the silence falls from its last: 3 ms each. Sound itself is never changed nor left out. A hush
has no edge: it is a cut.

The rise is there also where sound begins quietly and there is nothing to rise to. So the first
sample always leaves the card the same time after the first write, and that time is a part of the
prebuffer (`daemon.py`): the edge costs no answer anything.

What the box says itself may be replaced in the middle (`voice.py`): then the one goes over into the
other on such an edge. And another volume under a sound is reached in as many steps (`Glide`).
"""

from array import array
from math import ceil, copysign

from appliance.sound.pcm import SAMPLE_BYTES, amplified

EDGE_S = 0.003
STEP = 328  # of 32767: smaller than a hundredth of full scale is not heard as a click


class Edges:
    """Remembers where the sound that was written ended. `frames` is how long an edge lasts."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._last: int | None = None  # the last sample, if it was no silence

    @property
    def room(self) -> int:
        """Frames that the next sound has before it."""
        return 0 if self._last is not None else self._frames

    def start(self) -> None:
        """Nothing was written yet."""
        self._last = None

    def before(self, sound: bytes) -> bytes:
        """What to write before this sound, which is written next: `room` frames."""
        samples = memoryview(sound).cast("h")
        frames, self._last = self.room, samples[-1]
        return padded(edge(0, samples[0], frames), frames)

    def after(self) -> bytes:
        """What to write behind the sound that was written, if silence is written next."""
        last, self._last = self._last or 0, None
        return edge(last, 0, self._frames)


class Glide:
    """A gain that changes without a step: from 0 to 1 it goes in `frames`, so half way in half."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._gain: float | None = None  # of the last sample; None: there was none

    def start(self) -> None:
        """What is amplified next stands alone."""
        self._gain = None

    def amplified(self, sound: bytes, gain: float) -> bytes:
        """Sound at a gain of 0 to 1, or on the way to it."""
        if gain == self._gain:
            return amplified(sound, gain)
        now = gain if self._gain is None or not self._frames else self._gain
        missing = ceil(round(abs(gain - now) * self._frames, 6))
        samples = memoryview(sound).cast("h")[:missing]
        gliding = array("h")
        for sample in samples:
            now += copysign(min(1 / self._frames, abs(gain - now)), gain - now)
            gliding.append(sample * round(now * 0x8000) >> 15)
        self._gain = gain if len(samples) == missing else now
        return gliding.tobytes() + amplified(sound[len(gliding) * SAMPLE_BYTES :], gain)


def edge(begin: int, end: int, frames: int) -> bytes:
    """What lies between two samples that are no neighbours; nothing, where nobody would hear it."""
    if abs(end - begin) <= STEP:
        return b""
    step = end - begin
    return array("h", (begin + step * n // (frames + 1) for n in range(1, frames + 1))).tobytes()


def padded(sound: bytes, frames: int) -> bytes:
    """Sound, with silence before it up to so many frames."""
    return bytes(max(0, frames * SAMPLE_BYTES - len(sound))) + sound
