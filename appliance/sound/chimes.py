"""The three short sounds of the box, made of a few tones. Pure.

They are soft (a fifth of full scale), short, and each tone swells and fades within 8 ms, so that
none of them clicks. What rises says *speak*, what falls says *done*, and what falls low and slowly
says that something is wrong. An overtone carries them through speakers of a few centimetres.
"""

import math
from array import array
from collections.abc import Iterator, Sequence

LEVEL = 0.2  # of full scale, the peak: soft in a quiet room, and 14 dB below the loudest speech
OVERTONE = 0.25  # of the tone, an octave above it
FADE_S = 0.008
PIECE = 128  # samples

Tone = tuple[float, float]  # (hertz, seconds)

LISTENING: Sequence[Tone] = ((660.0, 0.04), (880.0, 0.05))
DONE: Sequence[Tone] = ((880.0, 0.04), (660.0, 0.05))
TROUBLE: Sequence[Tone] = ((440.0, 0.12), (370.0, 0.12), (311.0, 0.18))


def chime(tones: Sequence[Tone], rate_hz: int) -> Iterator[bytes]:
    """The tones one after the other: one channel of raw sound, in pieces of at most 128 samples."""
    fade = round(FADE_S * rate_hz)
    peak = 0x7FFF * LEVEL / (1 + OVERTONE)
    for hz, seconds in tones:
        frames, step = round(seconds * rate_hz), 2 * math.pi * hz / rate_hz
        for start in range(0, frames, PIECE):
            piece = array("h")
            for frame in range(start, min(start + PIECE, frames)):
                swell = min(frame + 1, frames - frame, fade) / fade
                wave = math.sin(step * frame) + OVERTONE * math.sin(2 * step * frame)
                piece.append(round(peak * wave * (1 - math.cos(math.pi * swell)) / 2))
            yield piece.tobytes()
