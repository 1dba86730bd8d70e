"""What WebRTC's canceller makes of synthetic rooms: run by a Python of its own, with livekit.

Takes the top of the repository. Prints a line of JSON for each room: by how many decibels the echo
fell once the canceller had learned the room, while only the box spoke; how much of a voice that
speaks at the same time came through; and by how many samples that voice was late.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np  # type: ignore[import-not-found]  # comes with livekit

sys.path.insert(0, sys.argv[1])

from appliance.sound.echo import Echo, WebRtc
from appliance.sound.pcm import Format

SECONDS = 16
LEARNT_S = 8  # the echo is judged from here on,
DOUBLE_S = 12  # and the other voice from here on
ECHO_DB = -6.0  # as loud as that voice
ODD_PIECES = (1, 37, 160, 2560, 333, 320, 959)  # samples; a sound server was seen to give these
Sound = Any  # an array of numpy: floats, in steps of 16 bit
# The sizes of their pieces, the lumps in which the speaker's count moves, another rate before this.
Cards = tuple[tuple[int, ...], int, int]


def voice(dice: Any, rate_hz: int, seconds: float, level_db: float) -> Sound:
    """Noise that comes and goes as syllables do, with the spectrum of a voice."""
    count = int(rate_hz * seconds)
    spectrum = np.fft.rfft(dice.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum *= (hz > 100) / (1 + (hz / 600) ** 2)
    noise = np.fft.irfft(spectrum, count)
    syllables = np.repeat(dice.random(int(seconds * 5) + 1) ** 2, rate_hz // 5)[:count]
    smooth = np.convolve(syllables, np.hanning(rate_hz // 20), "same")
    sound = noise * smooth
    return sound * 32768 * 10 ** (level_db / 20) / np.sqrt(np.mean(sound**2))


def response(dice: Any, rate_hz: int, delay_s: float, decay_s: float) -> Sound:
    """A room: what comes straight, and what the walls give back; energy 1."""
    count = int(rate_hz * decay_s * 1.5)
    walls = dice.standard_normal(count) * 10 ** (-3 * np.arange(count) / (rate_hz * decay_s))
    walls[0] = 4.0
    walls /= np.sqrt(np.sum(walls**2))
    return np.concatenate([np.zeros(int(rate_hz * delay_s)), walls])


class Wire:
    """Both cards, on one clock: what the speaker has given by now, and what the microphone has."""

    def __init__(self, rate_hz: int, played: bytes, lump: int) -> None:
        self.now = 0  # samples
        self._lump = lump  # samples by which the speaker's card counts
        self.rate_hz = rate_hz
        self._played = played
        self._told = 0
        self.tell: Callable[[bytes], None] = lambda _: None

    def look(self) -> bool:
        out = self.now - self.now % self._lump
        self.tell(self._played[self._told * 2 : out * 2])
        self._told = out
        return True

    def clock(self) -> float:
        return self.now / self.rate_hz


def raw(sound: Sound) -> bytes:
    return bytes(np.clip(np.round(sound), -32768, 32767).astype("<i2"))


def pieces(count: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    at, turn = 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        yield at, size
        at, turn = at + size, turn + 1


def lived_at(rate_hz: int) -> WebRtc:
    """One that has worked for a second at that rate, as before another card was put in."""
    canceller, frame = WebRtc(), bytes(rate_hz // 50)
    for _ in range(100 if rate_hz else 0):
        canceller.played(frame)
        canceller.heard(frame)
    return canceller


def cancelled(rate_hz: int, played: Sound, heard: Sound, cards: Cards) -> tuple[Sound, Echo]:
    sizes, lump, was_hz = cards
    wire = Wire(rate_hz, raw(played), lump)
    echo = Echo(lived_at(was_hz), Format(rate_hz), look=wire.look, clock=wire.clock)
    wire.tell = echo.played
    microphone, out = raw(heard), bytearray()
    echo.hear(bytes(rate_hz // 50 * 2))  # a moment before the speaker begins to move
    echo.played(b"")
    for at, size in pieces(len(heard), sizes):
        wire.now = at + size
        out += echo.hear(microphone[at * 2 : (at + size) * 2])
    out += echo.flush()
    assert len(microphone) + rate_hz // 50 <= len(out) < len(microphone) + rate_hz // 25
    return np.frombuffer(bytes(out[: len(microphone)]), "<i2").astype(float), echo


def level_db(sound: Sound) -> float:
    return float(10 * np.log10(np.mean(sound**2) + 1e-9))


def similarity(rate_hz: int, one: Sound, other: Sound) -> tuple[float, float]:
    """How alike two sounds are at the best shift of the second, and that shift in milliseconds.

    From 500 to 3000 Hz: below, the canceller's high-pass filter moves what it lets through.
    """
    count = 1 << (2 * len(one)).bit_length()
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    band = (hz > 500) & (hz < 3000)
    first, second = (np.fft.rfft(sound, count) * band for sound in (one, other))
    both = np.fft.irfft(np.conj(first) * second, count)
    both *= count / 2 / np.sqrt(np.sum(np.abs(first) ** 2) * np.sum(np.abs(second) ** 2))
    most = rate_hz // 50
    shifts = np.concatenate([both[-most:], both[: most + 1]])
    best = int(np.argmax(shifts))
    return float(shifts[best]), 1000 * (best - most) / rate_hz


def room(seed: int, rate_hz: int, cards: Cards) -> dict[str, object]:
    dice = np.random.default_rng(seed)
    delay_s, decay_s = dice.uniform(0.001, 0.06), dice.uniform(0.15, 0.4)
    far = voice(dice, rate_hz, SECONDS, -20)
    near = voice(dice, rate_hz, SECONDS, -26)
    near[: DOUBLE_S * rate_hz] = 0
    way = response(dice, rate_hz, delay_s, decay_s)
    count = 1 << (len(far) + len(way)).bit_length()
    back = np.fft.irfft(np.fft.rfft(far, count) * np.fft.rfft(way, count), count)[: len(far)]
    noise = dice.standard_normal(len(far)) * 32768 * 10 ** (-65 / 20)
    heard = back * 10 ** (ECHO_DB / 20) + near + noise
    out, echo = cancelled(rate_hz, far, heard, cards)
    alone = slice(LEARNT_S * rate_hz, DOUBLE_S * rate_hz)
    both = slice(DOUBLE_S * rate_hz, None)
    alike, _ = similarity(rate_hz, near[both], out[both])
    clear, _ = cancelled(rate_hz, np.zeros_like(far), near + noise, cards)
    clear_alike, late_ms = similarity(rate_hz, near[both], clear[both])
    return {
        "delay_ms": round(1000 * delay_s, 1),
        "decay_ms": round(1000 * decay_s),
        "erle_db": round(level_db(heard[alone]) - level_db(out[alone]), 1),
        "first_second_db": round(level_db(heard[:rate_hz]) - level_db(out[:rate_hz]), 1),
        "told_erle_db": None if echo.erle_db is None else round(echo.erle_db, 1),
        "voice_db": round(level_db(out[both]) - level_db(near[both]), 1),
        "alike": round(alike, 2),
        "clear_alike": round(clear_alike, 2),
        "late_ms": round(late_ms, 2),
        "frames": echo.frames,
        "lead_ms": echo.delay_ms,
    }


def main() -> None:
    for rate_hz, other_hz in ((8000, 48000), (16000, 48000), (32000, 16000), (48000, 16000)):
        period = rate_hz // 50
        kinds: dict[str, Cards] = {
            "plain": ((period,), 1, 0),
            "odd": (ODD_PIECES, 1, 0),
            "lumps": ((period,), period - 7, 0),
            "changed": ((period,), 1, other_hz),
        }
        for name, cards in kinds.items():
            for seed in range(2):
                known = {"rate_hz": rate_hz, "card": name, "seed": seed}
                print(json.dumps({**known, **room(seed, rate_hz, cards)}))


if __name__ == "__main__":
    main()
