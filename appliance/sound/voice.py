"""What the speaker plays: the answers, or what the box has to say itself where none is. Pure.

What it says itself (a cue, a recorded sentence) is here whole before it begins, waits for nothing
and for nobody, and gives way: it is not taken while an answer sounds or waits, and who lets an
answer begin stops it first. Of the answers' own rules nothing is changed.
"""

from appliance.sound.answer import Answers
from appliance.sound.edges import EDGE_S, edge
from appliance.sound.pcm import Format


class Voice:
    """The queue of the speaker; it asks here what it would ask the answers. Nothing here waits."""

    def __init__(self, form: Format, answers: Answers) -> None:
        self._form = form
        self._answers = answers
        self._own: memoryview | None = None  # what is left of it; None: it does not sound
        self._last = 0  # the sample of it that was read last, if no silence follows

    def retune(self, form: Format) -> None:
        """The card has another rate from now on. Nothing sounds."""
        assert not self.sounding
        self._form = form

    # ── the box's side ───────────────────────────────────────────────────────────────────────

    @property
    def is_own(self) -> bool:
        """The box itself sounds, until the last sample has left the card."""
        return self._own is not None

    def say(self, sound: bytes) -> bool:
        """Let whole frames of sound be heard, in place of any that the box says already.

        Returns:
            Whether it will be: not over an answer.
        """
        if self._answers.dry and sound:
            if self._own is not None:
                first = memoryview(sound).cast("h")[0]
                sound = edge(self._last, first, self._form.frames_of(EDGE_S)) + sound
            else:
                self._last = 0
            self._own = memoryview(sound)
            return True
        return False

    def stop(self) -> bool:
        """The box falls silent, or is done; whether it had not been. The card has to be told."""
        was_own, self._own = self.is_own, None
        return was_own

    # ── the speaker's side ───────────────────────────────────────────────────────────────────

    @property
    def sounding(self) -> bool:
        """Something waits, or has not left the card yet."""
        return self.is_own or self._answers.sounding

    @property
    def done(self) -> bool:
        """Nothing more is to come than what waits."""
        return self.is_own or self._answers.done

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that wait to be written to the card."""
        if self._own is not None:
            return self._form.seconds_of(len(self._own))
        return self._answers.waiting_s

    def flows(self, now_s: float) -> bool:
        """Whether there is sound that may be played now."""
        return bool(self._own) if self._own is not None else self._answers.flows(now_s)

    @property
    def flows_s(self) -> float:
        """When sound that waits will flow, should nothing more come; infinity if none waits."""
        return float("inf") if self._own is not None else self._answers.flows_s

    def read(self, limit_bytes: int) -> bytes:
        """Up to so many bytes, whole frames, and step past them."""
        if self._own is None:
            return self._answers.read(limit_bytes)
        limit_bytes -= limit_bytes % self._form.frame_bytes
        sound, self._own = bytes(self._own[:limit_bytes]), self._own[limit_bytes:]
        if sound:
            self._last = memoryview(sound).cast("h")[-1]
        return sound

    def starve(self) -> None:
        """Nothing flowed in time: the card is given silence."""
        self._last = 0
        if self._own is None:
            self._answers.starve()

    def played(self) -> None:
        """The last sample has left the card."""
        if self._own is None:
            self._answers.played()
