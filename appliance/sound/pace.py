"""The time of a card that keeps none: what the clock allows it to give or take. Pure.

Some PCMs are not paced: `null`, a `file` over it, a file that is read as a microphone (`infile`),
a plugin whose author had no clock at hand. They give and take as much as they are asked to, so that
a second of a held button was 18 s of sound, and an answer was over before it was heard. A box on
such a card is to behave as on any other: words are as long as they took to say, the lamp says
*speaking* for as long as the answer lasts, and what is billed is time. So the clock paces it, at
the rate that it was opened with: a microphone gives what has become due and no more, and what was
written to a speaker leaves it as time passes, whatever the card itself says.

Which card that is:

  * One whose descriptors cannot be waited on: known when it is opened, before a sample is lost.
  * Another one shows itself: by its own count it has moved more than twice what its rate allows,
    by more than a *burst*. Twice, because clocks differ, and a codec that was set up wrongly runs
    at 48 kHz for 44.1: to pace that one would lose sound. A burst, because counts move in lumps
    and what stalled comes at once. A microphone that has run for a while may bring what a stall of
    STALL_S had held back, and a burst besides; a speaker never holds more than its buffer.

Until it has shown itself a microphone has given a burst and a little too much, once: that cannot be
unsaid. A speaker has taken sound, but the clock is counted from the answer's first sample, so its
lamp is right to the end. It is not taken for a real card again until it is opened anew. Suspected
wrongly, a speaker plays on, since the later of both counts is believed, and a microphone is late by
what it had brought at once: that is why so much is borne first.
"""

import math


class Pace:
    """The count of one stream, in frames. Nothing here waits; times are seconds of one clock.

    Args:
        rate_hz: of the stream.
        burst_frames: so much more than twice its rate is not believed.
        spare_frames: so much it may have to make up for.
        by_clock: it keeps no time, as is known already.
    """

    def __init__(
        self, rate_hz: int, *, burst_frames: int, spare_frames: int = 0, by_clock: bool = False
    ) -> None:
        self.by_clock = by_clock
        self._rate_hz = rate_hz
        self._burst = burst_frames
        self._spare = spare_frames
        self.stop()

    def start(self, now_s: float) -> None:
        """The stream begins to move, with nothing given or taken."""
        self._began_s = self._judged_s = now_s
        self._moved = self._passed = 0
        self._surplus = 0.0  # frames beyond twice the rate; below zero is what it may make up for

    def stop(self) -> None:
        """The stream stands still, and nothing is in it."""
        self.start(math.inf)

    @property
    def runs(self) -> bool:
        """Whether the stream moves, as far as we know."""
        return self._began_s < math.inf

    def move(self, frames: int) -> None:
        """So many were read from the card, or written to it."""
        self._moved += frames

    def ahead(self, now_s: float) -> int:
        """Frames moved beyond what the clock allows by now; below zero, those that are due."""
        if not self.runs:
            return 0
        # A thousandth of a frame, because sums of times are not exact.
        return self._moved - math.floor((now_s - self._began_s) * self._rate_hz + 0.001)

    def finds_out(self, now_s: float, *, held: int = 0) -> bool:
        """Whether it is seen just now that the card keeps no time; it is paced from then on.

        Args:
            now_s: now.
            held: of the frames moved, those that the card says it still holds.
        """
        if self.by_clock or not self.runs:
            return False
        passed = self._moved - held
        self._surplus += passed - self._passed - 2 * self._rate_hz * (now_s - self._judged_s)
        self._surplus = max(self._surplus, -self._spare)
        self._passed, self._judged_s = passed, now_s
        self.by_clock = self._surplus > self._burst
        return self.by_clock
