"""What the stand-in agent's answers are made of: the sound it heard, or beeps. Pure.

Everything here is linear16, one channel, and made piece by piece as it is sent, so that a long
answer is never held as a whole.
"""

import math
import random
import struct
from collections.abc import Iterator

SAMPLE_BYTES = 2
# Odd, as the real server's pieces now and then are: whoever forgets to carry a byte hears it.
PIECE_MIN_BYTES = 301
PIECE_MAX_BYTES = 4097
BLOCK_SAMPLES = 1024  # so much is resampled at a time

BEEP_HZ = 440
BEEP_S = 0.12
BEEP_GAP_S = 0.06
BEEP_FADE_S = 0.005  # no click at either end
BEEP_PEAK = 8000  # -12 dBFS
BEEPS_MAX = 12


def repeated(
    sound: bytes, heard_hz: int, spoken_hz: int, length_s: float | None = None
) -> Iterator[bytes]:
    """The same sound at another rate, once, or over and over for `length_s`.

    At the same rate every byte comes back as it was. Otherwise it is resampled by straight lines
    between samples, which lets aliases through: good enough to be recognised, no more.
    """
    if heard_hz == spoken_hz:
        left_bytes = len(sound)
        if length_s is not None:
            left_bytes = round(length_s * spoken_hz) * SAMPLE_BYTES
        while left_bytes > 0:
            yield sound[:left_bytes]
            left_bytes -= len(sound)
        return
    heard = struct.unpack(f"<{len(sound) // SAMPLE_BYTES}h", sound)
    samples = len(heard) * spoken_hz // heard_hz
    if length_s is not None:
        samples = round(length_s * spoken_hz)
    for first in range(0, samples, BLOCK_SAMPLES):
        block = []
        for number in range(first, min(first + BLOCK_SAMPLES, samples)):
            index, part = divmod(number * heard_hz, spoken_hz)
            left, right = heard[index % len(heard)], heard[(index + 1) % len(heard)]
            block.append(left + (right - left) * part // spoken_hz)
        yield struct.pack(f"<{len(block)}h", *block)


def pieces(blocks: Iterator[bytes], chance: random.Random) -> Iterator[bytes]:
    """The same bytes in pieces of uneven, odd sizes; only the last may be shorter or even."""
    rest = bytearray()
    size = chance.randrange(PIECE_MIN_BYTES, PIECE_MAX_BYTES + 1, 2)
    for block in blocks:
        rest += block
        while len(rest) > size:
            yield bytes(rest[:size])
            del rest[:size]
            size = chance.randrange(PIECE_MIN_BYTES, PIECE_MAX_BYTES + 1, 2)
    if rest:
        yield bytes(rest)


def beeps(text: str, rate_hz: int) -> bytes:
    """What this agent has for a voice: a short tone for each word of `text`, at most twelve."""
    fade = round(BEEP_FADE_S * rate_hz)
    length = round(BEEP_S * rate_hz)
    tone = [
        round(
            BEEP_PEAK
            * min(1.0, number / fade, (length - number) / fade)
            * math.sin(math.tau * BEEP_HZ * number / rate_hz)
        )
        for number in range(length)
    ]
    beep = struct.pack(f"<{length}h", *tone) + bytes(round(BEEP_GAP_S * rate_hz) * SAMPLE_BYTES)
    return beep * max(1, min(len(text.split()), BEEPS_MAX))
