"""Sound at another rate, piece by piece: a windowed sinc, one set of weights for each phase. Pure.

For recorded sentences, which come at one rate and are played at the card's. Linear phase, flat to
three quarters of the narrower band, and what would fold back is 65 dB down. A sample costs about
1.5 us on a PC, so a piece takes 0.2 ms: who has a loop to mind takes one at a time. (The cards'
and servers' own conversions are not ours: ALSA's linear one has no alias rejection at all.)
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from operator import mul

HALF_WIDTH = 16  # zero crossings of the sinc on each side
CUTOFF = 0.9  # of the narrower band: half way down
PIECE = 128  # samples


def resampled(pieces: Iterable[bytes], from_hz: int, to_hz: int) -> Iterator[bytes]:
    """The same sound at `to_hz`, raw s16le of one channel, in pieces of at most 128 samples.

    As long as the original, to a sample, and its first sample is the first of the original. Where
    the rates are the same the pieces come as they are.
    """
    if from_hz == to_hz:
        yield from pieces
        return
    common = math.gcd(from_hz, to_hz)
    sinc = _Sinc(to_hz // common, from_hz // common)
    total = made = 0
    for piece in pieces:
        total += len(piece) // 2
        sinc.take(piece)
        while sound := sinc.give(PIECE):
            made += len(sound)
            yield sound.tobytes()
    sinc.take(bytes(2 * sinc.reach))
    left = -(-total * to_hz // from_hz) - made
    while left > 0:
        sound = sinc.give(min(left, PIECE))
        left -= len(sound)
        yield sound.tobytes()


class _Sinc:
    """`ups` samples for each `downs`."""

    def __init__(self, ups: int, downs: int) -> None:
        self._ups, self._downs = ups, downs
        self._width = max(1.0, downs / ups)  # of the sinc, in samples of the source
        self.reach = math.ceil(HALF_WIDTH * self._width)  # samples that one needs on each side
        self._phases: dict[int, array[float]] = {}
        self._held = array("h", bytes(2 * (self.reach - 1)))
        self._first = 1 - self.reach  # the place in the source of the first that is held
        self._next = 0  # the sample that is to be made

    def take(self, sound: bytes) -> None:
        """More of the source."""
        self._held.frombytes(sound)

    def give(self, limit: int) -> "array[int]":
        """The next samples, as far as what was taken suffices for."""
        made = array("h")
        taps = 2 * self.reach
        for _ in range(limit):
            whole, phase = divmod(self._next * self._downs, self._ups)
            start = whole - self.reach + 1 - self._first
            if start + taps > len(self._held):
                break
            around = self._held[start : start + taps]
            sample = round(sum(map(mul, self._weights(phase), around)))
            made.append(max(-0x8000, min(0x7FFF, sample)))
            self._next += 1
        spent = self._next * self._downs // self._ups - self.reach + 1 - self._first
        del self._held[:spent]
        self._first += spent
        return made

    def _weights(self, phase: int) -> "array[float]":
        """Of the samples around one that lies `phase / ups` behind the middle; their sum is 1."""
        known = self._phases.get(phase)
        if known is not None:
            return known
        weights = array("d")
        for tap in range(1 - self.reach, self.reach + 1):
            distance = (tap - phase / self._ups) / self._width
            weights.append(_sinc(distance) * _blackman(distance / HALF_WIDTH))
        total = sum(weights)
        self._phases[phase] = array("d", (weight / total for weight in weights))
        return self._phases[phase]


def _sinc(distance: float) -> float:
    x = math.pi * distance * CUTOFF
    return math.sin(x) / x if x else 1.0


def _blackman(place: float) -> float:
    """The window, over -1 to 1."""
    x = math.pi * place
    return 0.42 + 0.5 * math.cos(x) + 0.08 * math.cos(2 * x) if abs(place) < 1 else 0.0
