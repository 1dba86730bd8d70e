"""Hears speech and its end by energy alone, in the time of the sound and not of the clock.

The sound is cut into blocks of 20 ms, counted from its first byte, and each block is loud or it is
not. So the same sound gives the same turns however it was cut into messages and however fast it
came: real time, a burst after a reconnect, or virtual time. Echoes and noise are not told from
speech; a cough is a turn here as it is at the real server.

Positions are in bytes of the sound since it began, so that whoever keeps the sound can cut out
what was said. Pure.
"""

import struct
from dataclasses import dataclass
from operator import mul

BLOCKS_PER_S = 50
SAMPLE_BYTES = 2  # linear16, one channel
LOUD_RMS = 328  # -40 dBFS: above a quiet room's hiss, below a voice across a table
ONSET_BLOCKS = 3  # 60 ms of energy: a click is no speech
LEAD_S = 0.2  # kept from before the onset, where the soft beginning of a word is


@dataclass(frozen=True, slots=True)
class Onset:
    """Somebody began to speak."""

    at_byte: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody spoke: `sound[start_byte:end_byte]` is what was said, with its lead."""

    start_byte: int
    end_byte: int
    speech_s: float  # from the onset to the last loud block

    @property
    def span(self) -> tuple[int, int]:
        """Its first byte, and the one after its last."""
        return self.start_byte, self.end_byte


class Ears:
    """Finds the turns in linear16 sound, one channel, at `rate_hz`.

    A turn ends when `pause_s` of quiet sound have followed its last loud block, or by `end_turn`.
    `pause_s` may be changed at any time.
    """

    def __init__(self, rate_hz: int, pause_s: float) -> None:
        self.pause_s = pause_s
        self._bytes_per_s = rate_hz * SAMPLE_BYTES
        self._block_bytes = rate_hz // BLOCKS_PER_S * SAMPLE_BYTES
        self._unjudged = bytearray()
        self._judged_bytes = 0
        self._loud_blocks = 0  # in a row
        self._loud_end_byte = 0
        self._onset_byte: int | None = None
        self._onset_told = False
        self._last_turn_end_byte = 0

    @property
    def is_turn_open(self) -> bool:
        """Whether somebody is speaking."""
        return self._onset_byte is not None

    def hear(self, sound: bytes) -> list[Onset | Turn]:
        """Listen to the next bytes; odd counts are welcome. Returns what they made certain."""
        self._unjudged += sound
        found: list[Onset | Turn] = []
        while len(self._unjudged) >= self._block_bytes:
            block = bytes(self._unjudged[: self._block_bytes])
            del self._unjudged[: self._block_bytes]
            self._judged_bytes += self._block_bytes
            happening = self._loud() if is_loud(block) else self._quiet()
            if happening is not None:
                found.append(happening)
        return found

    def end_turn(self) -> Turn | None:
        """End the open turn with all the sound so far, or do nothing where none is open."""
        if self._onset_byte is None:
            return None
        heard_bytes = self._judged_bytes + len(self._unjudged)
        return self._close(heard_bytes - heard_bytes % SAMPLE_BYTES)

    def startle(self) -> None:
        """Tell the onset of an open turn once more, if its speech goes on."""
        self._onset_told = False
        self._loud_blocks = 0

    def _loud(self) -> Onset | None:
        self._loud_blocks += 1
        self._loud_end_byte = self._judged_bytes
        if self._loud_blocks < ONSET_BLOCKS or self._onset_told:
            return None
        self._onset_told = True
        began_byte = self._judged_bytes - self._loud_blocks * self._block_bytes
        if self._onset_byte is None:
            self._onset_byte = began_byte
        return Onset(began_byte)

    def _quiet(self) -> Turn | None:
        self._loud_blocks = 0
        quiet_bytes = self._judged_bytes - self._loud_end_byte
        if self._onset_byte is None or quiet_bytes < self.pause_s * self._bytes_per_s:
            return None
        return self._close(self._loud_end_byte)

    def _close(self, end_byte: int) -> Turn:
        assert self._onset_byte is not None, "only an open turn can end"
        lead_bytes = round(LEAD_S * self._bytes_per_s) // SAMPLE_BYTES * SAMPLE_BYTES
        turn = Turn(
            start_byte=max(self._onset_byte - lead_bytes, self._last_turn_end_byte),
            end_byte=end_byte,
            speech_s=(self._loud_end_byte - self._onset_byte) / self._bytes_per_s,
        )
        self._last_turn_end_byte = end_byte
        self._onset_byte = None
        self._onset_told = False
        self._loud_blocks = 0
        return turn


def is_loud(block: bytes) -> bool:
    """Whether the whole samples of `block` have an rms above -40 dBFS."""
    samples = struct.unpack(f"<{len(block) // SAMPLE_BYTES}h", block)
    energy: int = sum(map(mul, samples, samples))
    return energy > LOUD_RMS * LOUD_RMS * len(samples)
