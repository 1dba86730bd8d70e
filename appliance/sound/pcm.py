"""Arithmetic of raw sound: formats, durations, channels. Pure.

Raw sound is bytes: signed 16-bit little-endian samples, frame after frame, no header. The wire
speaks one channel; a card may have more, and this is the seam between the two.
"""

from array import array
from dataclasses import dataclass

SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Format:
    """How raw sound is laid out: s16le, interleaved."""

    rate_hz: int
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: a sample for each channel."""
        return SAMPLE_BYTES * self.channels

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
        return f"{self.rate_hz} Hz x {self.channels}, 16 bit"


def amplified(sound: bytes, gain: float) -> bytes:
    """Sound at a gain of 0 to 1."""
    if gain == 1.0:
        return sound
    factor = round(gain * 0x8000)
    return array("h", [sample * factor >> 15 for sample in array("h", sound)]).tobytes()


def first_channel(sound: bytes, channels: int) -> bytes:
    """One channel of interleaved sound; the others are left out, not mixed.

    The first one, because a codec with one microphone puts it there, and two microphones mixed
    cancel each other at some pitches.
    """
    if channels == 1:
        return sound
    return array("h", sound)[::channels].tobytes()


def on_all_channels(sound: bytes, channels: int) -> bytes:
    """One channel of sound, given to each of `channels`."""
    if channels == 1:
        return sound
    one = array("h", sound)
    spread = array("h", bytes(len(sound) * channels))
    for channel in range(channels):
        spread[channel::channels] = one
    return spread.tobytes()
