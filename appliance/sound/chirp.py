"""How loud, how late and how surely a box hears itself: chirps, and what is read from them. Pure.

A chirp climbs through the pitches of a voice. Where it lies in a recording is found by correlation
with what was played, at an eighth of a millisecond; how loud it came back is its energy there, with
that of the walls after it, less the noise.

What is asked of the result: where an echo was 11 dB louder than a voice across the room, full
duplex worked from 17 dB of suppression on. So much the room may do itself (*full*), or a canceller
(*webrtc*: 30 to 43 dB in synthetic rooms, 14 to 23 in the real ones that others told of), if it has
something to work with: an echo that is no louder than what was played, not clipped, and the same
each time. Else the microphone has to be shut (*half*).
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from operator import mul
from statistics import median

from appliance.sound.pcm import Format

LOW_HZ, HIGH_HZ = 300, 3400  # what every card and every canceller passes
CHIRP_S = 0.25
FADE_S = 0.01  # a chirp that begins at once clicks, in all pitches
LEVEL = 0.35  # of full scale: as loud as a voice, and no speaker's limit
CHIRPS = 3
GAP_S = 0.6  # until the next one: the walls have ended
QUIET_S = 0.5  # before the first one: the noise is measured there
TAIL_S = 0.2  # of the walls, that belongs to the echo
EARLY_S = 0.02  # counts of cards may be off by a period
LATE_S = 0.35  # no echo within so long is none
NEAR_S = 0.01  # the chirps of one measurement lie as close as that to their mean
CORRELATED_HZ = 8000
SURE = 6.0  # times the correlation that noise gives
CLIPPED = 32_700
NEEDED_DB = 17.0
REPEATS_MS = 1.0
REPEATS_DB = 3.0
LATEST_MS = 200.0  # what a canceller looks back on
SILENT_DB = -96.0  # below what 16 bits can say


class Verdict(Enum):
    """What the numbers allow, as it is written in the settings."""

    HALF = '[talk] duplex = "half"'
    FULL = '[talk] duplex = "full"'
    WEBRTC = '[talk] duplex = "full" with [audio] echo = "webrtc"'


@dataclass(frozen=True)
class Finding:
    """What was measured; decibels of full scale, or between played and heard.

    None where no chirp was heard; then `return_loss_db` is the least that it can be.
    """

    played_dbfs: float
    heard_dbfs: float | None
    noise_dbfs: float
    delay_ms: float | None  # beyond what the counts of the cards explain
    return_loss_db: float
    delay_spread_ms: float | None  # between the chirps
    return_loss_spread_db: float | None
    is_clipped: bool

    @property
    def verdict(self) -> Verdict:
        """Which mode that allows."""
        return self._judgement[0]

    @property
    def reason(self) -> str:
        """Why, in a sentence for the owner."""
        return self._judgement[1]

    @property
    def lines(self) -> list[str]:
        """All of it, for people."""
        spread = loss = heard = ""
        least = "at least "
        if self.delay_ms is not None:
            heard, least = f"{self.heard_dbfs:.1f} dBFS", ""
            spread = f"{self.delay_ms:.1f} ms (between {CHIRPS} chirps {self.delay_spread_ms:.1f})"
            loss = f" (between {CHIRPS} chirps {self.return_loss_spread_db:.1f})"
        return [
            f"played              {self.played_dbfs:.1f} dBFS",
            f"heard               {heard or 'nothing'}",
            f"noise               {self.noise_dbfs:.1f} dBFS",
            f"echo delay          {spread or '-'}",
            f"echo return loss    {least}{self.return_loss_db:.1f} dB{loss}",
            f"allowed             {self.verdict.value}",
            f"                    {self.reason}",
        ]

    @property
    def _judgement(self) -> tuple[Verdict, str]:
        if self.delay_ms is None:
            return Verdict.HALF, (
                "no chirp came back: if you heard none either, look at the speaker, else at the"
                " microphone; a card that takes its echo out by itself allows full"
            )
        if self.is_clipped:
            return Verdict.HALF, "the microphone is overdriven: less gain or volume, and once more"
        assert self.delay_spread_ms is not None
        assert self.return_loss_spread_db is not None
        if self.delay_spread_ms > REPEATS_MS or self.return_loss_spread_db > REPEATS_DB:
            return Verdict.HALF, "the chirps came back differently: measure once more, in quiet"
        loss = f"{self.return_loss_db:.0f} dB of the echo are lost in the room"
        if self.return_loss_db >= NEEDED_DB:
            return Verdict.FULL, f"{loss}, and {NEEDED_DB:.0f} are needed"
        if self.return_loss_db < 0:
            return Verdict.HALF, "the echo is louder than what was played: less gain or volume"
        if self.delay_ms < 0:
            return Verdict.HALF, "the echo comes before the card counts what it is an echo of"
        if self.delay_ms > LATEST_MS:
            return Verdict.HALF, f"the echo is later than the {LATEST_MS:.0f} ms of a canceller"
        return Verdict.WEBRTC, f"{loss}, and {NEEDED_DB:.0f} are needed: a canceller has the rest"


def chirp(form: Format) -> bytes:
    """One chirp: s16le, one channel."""
    count, fade = form.frames_of(CHIRP_S), form.frames_of(FADE_S)
    ratio = HIGH_HZ / LOW_HZ
    turns = LOW_HZ * CHIRP_S / math.log(ratio)
    samples = array("h")
    for at in range(count):
        edge = min(1.0, at / fade, (count - 1 - at) / fade)
        phase = math.tau * turns * (ratio ** (at / count) - 1)
        samples.append(round(32767 * LEVEL * math.sin(math.pi / 2 * edge) ** 2 * math.sin(phase)))
    return samples.tobytes()


def program(one: bytes, form: Format) -> bytes:
    """All that is to be played: chirps, each with its silence behind it."""
    return (one + bytes(form.bytes_of(GAP_S))) * CHIRPS


def find(one: bytes, recorded: bytes, first: int, form: Format) -> Finding:
    """What came back.

    Args:
        one: the chirp, as it was played.
        recorded: what the microphone heard: QUIET_S of nothing, then the program.
        first: the frame of the recording that was heard when the program's first sample left.
        form: of all of it, one channel.
    """
    played, heard = array("h", one), array("h", recorded)
    step = form.frames_of(CHIRP_S + GAP_S)
    early, late = form.frames_of(EARLY_S), form.frames_of(CHIRP_S + LATE_S)
    windows = [
        heard[first + turn * step - early : first + turn * step + late] for turn in range(CHIRPS)
    ]
    quiet = heard[max(0, first - early - form.frames_of(QUIET_S)) : first - early]
    noise = _energy(quiet) / len(quiet)
    played_dbfs = _dbfs(_energy(played) / len(played))
    found = _Correlation(played, quiet, form).search(windows)
    if found is None:
        least = played_dbfs - _dbfs(noise)
        return Finding(played_dbfs, None, _dbfs(noise), None, least, None, None, is_clipped=False)
    tail = len(played) + form.frames_of(TAIL_S)
    losses = []
    for window, at in zip(windows, found, strict=True):
        echo = window[at : at + tail]
        energy = max(_energy(echo) - noise * len(echo), 1.0)
        losses.append(10 * math.log10(_energy(played) / energy))
    delays_ms = [1000 * (at - early) / form.rate_hz for at in found]
    loss = median(losses)
    return Finding(
        played_dbfs=played_dbfs,
        heard_dbfs=played_dbfs - loss,
        noise_dbfs=_dbfs(noise),
        delay_ms=median(delays_ms),
        return_loss_db=loss,
        delay_spread_ms=max(delays_ms) - min(delays_ms),
        return_loss_spread_db=max(losses) - min(losses),
        is_clipped=any(max(map(abs, window)) >= CLIPPED for window in windows),
    )


class _Correlation:
    """Where a chirp lies in a recording. Works on sums of neighbouring samples: that is enough."""

    def __init__(self, played: Sequence[int], quiet: Sequence[int], form: Format) -> None:
        self._step = max(1, form.rate_hz // CORRELATED_HZ)
        self._chirp = _thinned(played, self._step)
        self._near = form.frames_of(NEAR_S) // self._step
        still = _thinned(quiet, self._step)
        places = range(0, len(still) - len(self._chirp), 7)
        rounding = self._step * sum(map(mul, self._chirp, self._chirp)) / 12
        by_noise = [self._at(still, place) ** 2 for place in places]
        self._least = SURE * math.sqrt(rounding + sum(by_noise) / len(by_noise))

    def search(self, windows: Sequence[Sequence[int]]) -> list[int] | None:
        """The frame of each window at which its chirp begins; None if there is none.

        Once in the sum of all windows, which is less noisy, and then near there in each.
        """
        thin = [_thinned(window, self._step) for window in windows]
        together = [sum(samples) for samples in zip(*thin, strict=True)]
        places = range(len(together) - len(self._chirp))
        best, value = self._best(together, places)
        if value < self._least * math.sqrt(len(windows)):
            return None
        around = range(max(0, best - self._near), min(len(places), best + self._near + 1))
        return [self._best(window, around)[0] * self._step for window in thin]

    def _best(self, samples: list[int], places: range) -> tuple[int, int]:
        value, at = max((abs(self._at(samples, place)), -place) for place in places)
        return -at, value

    def _at(self, samples: list[int], place: int) -> int:
        return sum(map(mul, self._chirp, samples[place : place + len(self._chirp)]))


def _thinned(samples: Sequence[int], step: int) -> list[int]:
    """Each so many neighbours as their sum."""
    return [sum(some) for some in zip(*(samples[at::step] for at in range(step)), strict=False)]


def _energy(samples: Sequence[int]) -> float:
    return math.fsum(map(mul, samples, samples))


def _dbfs(power: float) -> float:
    return max(SILENT_DB, 10 * math.log10(power / 0x8000**2)) if power else SILENT_DB


def end_of(recorded_from: int, form: Format) -> int:
    """The frame of the recording behind the last one that `find` looks at."""
    return recorded_from + CHIRPS * form.frames_of(CHIRP_S + GAP_S)
