"""Arithmetic of raw sound: formats, durations, channels. Pure.

Raw sound is bytes: signed 16-bit little-endian samples, frame after frame, no header. The wire
speaks one channel; a card may have more of them, or wider samples, and `to_mono` and `to_card` are
the seam between the two. All formats that are known here are signed, little-endian and linear, so
a sample of ours is two bytes of the card's, and slices do it: for 20 ms at 48 kHz on two channels
of 32 bits some 10 to 30 us. A wider sample is cut to 16 bits, not rounded: half a step, at -96 dB.
"""

from array import array
from dataclasses import dataclass
from enum import Enum

SAMPLE_BYTES = 2


class Sample(Enum):
    """A sample of a card, by ALSA's name: (its bytes, where in them our two begin)."""

    S16_LE = (2, 0)
    S24_3LE = (3, 1)
    S24_LE = (4, 1)  # three bytes, and the sign once more
    S32_LE = (4, 2)

    def __init__(self, width: int, offset: int) -> None:
        self.width = width
        self.offset = offset


@dataclass(frozen=True)
class Format:
    """How raw sound is laid out, interleaved: the wire's is s16le on one channel."""

    rate_hz: int
    channels: int = 1
    sample: Sample = Sample.S16_LE

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: a sample for each channel."""
        return self.sample.width * self.channels

    def bytes_of(self, seconds: float) -> int:
        """Whole frames in so many seconds, in bytes."""
        return round(seconds * self.rate_hz) * self.frame_bytes

    def frames_of(self, seconds: float) -> int:
        """Whole frames in so many seconds."""
        return round(seconds * self.rate_hz)

    def seconds_of(self, sound_bytes: int) -> float:
        """How long so many bytes sound."""
        return sound_bytes / self.frame_bytes / self.rate_hz

    def silence(self, frames: int) -> bytes:
        """So many frames of zeros."""
        return bytes(frames * self.frame_bytes)

    def __str__(self) -> str:
        return f"{self.rate_hz} Hz, {self.channels} x {self.sample.name}"


@dataclass(frozen=True)
class Chain:
    """What really runs beneath a stream of a card.

    Args:
        rate_hz: the card's own, as far as it is known; else the stream's. So also
        channels: how many, and
        sample: its format, by ALSA's name.
        converter: who changes the rate between card and stream: "none", alsa-lib's converter by its
            name, "sound server", which is asked for our rate and does as it likes, or "unknown".
        is_kernels: a card of the kernel's, which tells when it comes or goes.
        paced_by: "card", or "timer" where it keeps no time of its own (`appliance.sound.pace`).
    """

    rate_hz: int
    channels: int = 1
    sample: str = Sample.S16_LE.name
    converter: str = "none"
    is_kernels: bool = True
    paced_by: str = "card"

    def __str__(self) -> str:
        words = f"{self.rate_hz} Hz, {self.channels} x {self.sample}, converter: {self.converter}"
        return words if self.paced_by == "card" else f"{words}, paced by a {self.paced_by}"


def amplified(sound: bytes, gain: float) -> bytes:
    """Sound at a gain of 0 to 1."""
    if gain == 1.0:
        return sound
    factor = round(gain * 0x8000)
    return array("h", [sample * factor >> 15 for sample in array("h", sound)]).tobytes()


def to_mono(sound: bytes, form: Format) -> bytes:
    """The first channel of a card's sound, as the wire has it; the others are left out, not mixed.

    The first one, because a codec with one microphone puts it there, and two microphones mixed
    cancel each other at some pitches.
    """
    stride = form.frame_bytes
    if stride == SAMPLE_BYTES:
        return sound
    mono = bytearray(len(sound) // stride * SAMPLE_BYTES)
    for byte in range(SAMPLE_BYTES):
        mono[byte::SAMPLE_BYTES] = sound[form.sample.offset + byte :: stride]
    return bytes(mono)


_SIGN = bytes(128) + b"\xff" * 128  # of the upper byte of a sample


def to_card(sound: bytes, form: Format) -> bytes:
    """One channel as the wire has it, given to each channel of a card."""
    stride = form.frame_bytes
    if stride == SAMPLE_BYTES:
        return sound
    spread = bytearray(len(sound) // SAMPLE_BYTES * stride)
    for channel in range(form.channels):
        first = channel * form.sample.width + form.sample.offset
        for byte in range(SAMPLE_BYTES):
            spread[first + byte :: stride] = sound[byte::SAMPLE_BYTES]
        if form.sample is Sample.S24_LE:
            spread[first + SAMPLE_BYTES :: stride] = sound[1::SAMPLE_BYTES].translate(_SIGN)
    return bytes(spread)
