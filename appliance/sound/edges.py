"""Where sound meets the silence that we put around it: no clicks. Pure.

Sound that does not begin or end near zero makes a step there, and a step is a click. Speech of a
synthesizer begins and ends in zeros, but an answer that runs dry stops anywhere, and goes on
anywhere. So before sound that begins with a step the silence rises to its first sample, and behind
sound that ends with one the silence falls from its last: 3 ms each. Sound itself is never changed
nor left out, and where there is no step nothing is added. A hush has no edge: it is a cut.
"""

from array import array

from appliance.sound.pcm import SAMPLE_BYTES

STEP = 328  # of 32767: smaller than a hundredth of full scale is not heard as a click


class Edges:
    """Remembers where the sound that was written ended. `frames` is how long an edge lasts."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._last: int | None = None  # the last sample, if it was no silence

    @property
    def room(self) -> int:
        """Frames that the next sound may need before it."""
        return 0 if self._last is not None else self._frames

    def start(self) -> None:
        """Nothing was written yet."""
        self._last = None

    def before(self, sound: bytes) -> bytes:
        """What to write before this sound, which is written next: at most `room` frames."""
        samples = memoryview(sound).cast("h")
        is_first, self._last = self._last is None, samples[-1]
        return self._between(0, samples[0]) if is_first else b""

    def after(self) -> bytes:
        """What to write behind the sound that was written, if silence is written next."""
        last, self._last = self._last or 0, None
        return self._between(last, 0)

    def _between(self, begin: int, end: int) -> bytes:
        if abs(end - begin) <= STEP:
            return b""
        step, frames = end - begin, self._frames
        return array(
            "h", (begin + step * n // (frames + 1) for n in range(1, frames + 1))
        ).tobytes()


def padded(sound: bytes, frames: int) -> bytes:
    """Sound, with silence before it up to so many frames."""
    return bytes(max(0, frames * SAMPLE_BYTES - len(sound))) + sound
