"""WAV files as recorded sentences come in: 16-bit PCM, or IMA ADPCM; one channel. Pure.

IMA ADPCM (IMA Digital Audio Focus Group, 1992; Microsoft's framing of 1994) keeps four bits a
sample: a sentence of three seconds is 24 kB at 16 kHz, which mu-law reaches only at 8 kHz, where
an *f* and an *s* are the same. It is ours because the standard library has lost `audioop` with
Python 3.13, and `wave` reads nothing but PCM.
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

PCM, IMA_ADPCM = 1, 0x11
PIECE_BYTES = 2048  # of PCM: about as long as a block of ADPCM
LIMIT_S = 30.0  # nobody listens to more

_STEPS = """
7 8 9 10 11 12 13 14 16 17 19 21 23 25 28 31 34 37 41 45 50 55 60 66 73 80 88 97 107 118 130
143 157 173 190 209 230 253 279 307 337 371 408 449 494 544 598 658 724 796 876 963 1060 1166
1282 1411 1552 1707 1878 2066 2272 2499 2749 3024 3327 3660 4026 4428 4871 5358 5894 6484 7132
7845 8630 9493 10442 11487 12635 13899 15289 16818 18500 20350 22385 24623 27086 29794 32767
"""
STEPS = tuple(map(int, _STEPS.split()))
MOVES = (-1, -1, -1, -1, 2, 4, 6, 8) * 2  # of the place in STEPS, by the code


class NotReadable(ValueError):
    """It is no WAV file of the kinds above; the message says what was wanted."""


@dataclass(frozen=True)
class Recording:
    """A sentence as its file has it."""

    rate_hz: int
    _kind: int
    _block_bytes: int  # of ADPCM
    _data: memoryview

    def pieces(self) -> Iterator[bytes]:
        """Its sound, raw s16le in pieces of about 30 ms: each takes a fraction of a ms to make."""
        size = self._block_bytes if self._kind == IMA_ADPCM else PIECE_BYTES
        for start in range(0, len(self._data), size):
            piece = self._data[start : start + size]
            yield _expand(piece) if self._kind == IMA_ADPCM else bytes(piece)


def parse(file: bytes) -> Recording:
    """What a WAV file holds.

    Raises:
        NotReadable: it holds something else, or more than half a minute.
    """
    if file[:4] != b"RIFF" or file[8:12] != b"WAVE":
        raise NotReadable("no WAV file")
    form, data = b"", memoryview(b"")
    at = 12
    while at + 8 <= len(file):
        name, size = struct.unpack_from("<4sI", file, at)
        body = memoryview(file)[at + 8 : at + 8 + size]
        if name == b"fmt ":
            form = bytes(body)
        elif name == b"data":
            data = body
        at += 8 + size + size % 2
    if len(form) < 16:
        raise NotReadable("a WAV file without a format")
    kind, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", form)
    if (kind, channels, bits) not in {(PCM, 1, 16), (IMA_ADPCM, 1, 4)} or block_bytes < 2:
        raise NotReadable("wanted one channel of 16-bit PCM, or of IMA ADPCM")
    if not 8000 <= rate_hz <= 48000:
        raise NotReadable(f"{rate_hz} Hz; wanted 8000 to 48000")
    samples = len(data) * 2 if kind == IMA_ADPCM else len(data) // 2
    if not 0 < samples <= LIMIT_S * rate_hz:
        raise NotReadable(f"wanted sound, at most {LIMIT_S:.0f} s of it")
    whole = len(data) - len(data) % 2 if kind == PCM else len(data)
    return Recording(rate_hz, kind, block_bytes, data[:whole])


def _expand(block: memoryview) -> bytes:
    """A block of ADPCM: its first sample and place among the steps, then two samples a byte."""
    if len(block) < 4:
        return b""
    sample, place = struct.unpack_from("<hB", block)
    place = min(place, len(STEPS) - 1)
    sound = array("h", (sample,))
    for both in block[4:]:
        for code in (both & 0x0F, both >> 4):
            step = STEPS[place]
            change = step >> 3
            if code & 4:
                change += step
            if code & 2:
                change += step >> 1
            if code & 1:
                change += step >> 2
            sample += -change if code & 8 else change
            sample = max(-0x8000, min(0x7FFF, sample))
            place = max(0, min(len(STEPS) - 1, place + MOVES[code]))
            sound.append(sample)
    return sound.tobytes()
