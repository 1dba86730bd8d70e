"""Companded sound, held to ITU-T G.711: every sample and every code, by digests of the tables.

The digests were made from the tables of the recommendation by another program than ours.
"""

import hashlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sound.companding import compress, expand

ENCODINGS = ("mulaw", "alaw")
EVERY_SAMPLE = struct.pack("<65536h", *range(-32768, 32768))
EVERY_CODE = bytes(range(256))
SILENCE = {"mulaw": 0xFF, "alaw": 0xD5}
LOUDEST = {"mulaw": 32124, "alaw": 32256}

samples = st.lists(st.integers(-32768, 32767), max_size=200)


def packed(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def unpacked(sound: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(sound) // 2}h", sound))


@pytest.mark.parametrize(
    ("encoding", "digest"),
    [
        ("mulaw", "81d633c9e6972a18c74a58720b96cb8ca0bdd096d4060b646dd708c3b846019a"),
        ("alaw", "38488f6fd710f4686360edc4d38639f96c491595ef93f8eb8d62d5e07ca6ce7b"),
    ],
)
def test_every_sample_has_the_code_of_the_recommendation(encoding: str, digest: str) -> None:
    assert hashlib.sha256(compress(EVERY_SAMPLE, encoding)).hexdigest() == digest


@pytest.mark.parametrize(
    ("encoding", "digest"),
    [
        ("mulaw", "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"),
        ("alaw", "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174"),
    ],
)
def test_every_code_has_the_sample_of_the_recommendation(encoding: str, digest: str) -> None:
    assert hashlib.sha256(expand(EVERY_CODE, encoding)).hexdigest() == digest


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_companded_once_is_not_changed_by_it_again(encoding: str) -> None:
    once = expand(compress(EVERY_SAMPLE, encoding), encoding)
    assert expand(compress(once, encoding), encoding) == once


def test_every_code_comes_back_but_for_the_second_zero_of_mu_law() -> None:
    assert compress(expand(EVERY_CODE, "alaw"), "alaw") == EVERY_CODE
    back = compress(expand(EVERY_CODE, "mulaw"), "mulaw")
    assert [code for code in range(256) if back[code] != code] == [0x7F]
    assert back[0x7F] == 0xFF


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_silence_is_silence(encoding: str) -> None:
    assert compress(bytes(320), encoding) == bytes([SILENCE[encoding]]) * 160
    # A-law has no zero: its smallest step is all that is left of silence.
    assert {abs(one) for one in unpacked(expand(compress(bytes(320), encoding), encoding))} == {
        0 if encoding == "mulaw" else 8
    }


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_louder_stays_louder_and_nothing_changes_its_sign(encoding: str) -> None:
    back = unpacked(expand(compress(EVERY_SAMPLE, encoding), encoding))
    assert back == sorted(back)
    assert all(one <= 0 for one in back[:32768])
    assert all(one >= 0 for one in back[32768:])
    assert (back[0], back[-1]) == (-LOUDEST[encoding], LOUDEST[encoding])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_sample_is_off_by_a_thirty_second_of_itself_or_a_smallest_step(encoding: str) -> None:
    back = unpacked(expand(compress(EVERY_SAMPLE, encoding), encoding))
    smallest_step = 8 if encoding == "mulaw" else 16
    for sample, heard in zip(range(-32768, 32768), back, strict=True):
        # … and by the two bits that mu-law begins with leaving away.
        clipped = max(-LOUDEST[encoding], min(LOUDEST[encoding], sample))
        assert abs(heard - clipped) <= max(smallest_step, abs(sample) / 32 + 8), sample


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_tone_is_heard_36_decibels_above_what_companding_adds(encoding: str) -> None:
    tone = [round(10_000 * math.sin(n / 7)) for n in range(16_000)]
    back = unpacked(expand(compress(packed(tone), encoding), encoding))
    noise = sum((a - b) ** 2 for a, b in zip(tone, back, strict=True))
    assert 10 * math.log10(sum(one * one for one in tone) / noise) > 36


@given(samples, st.sampled_from(ENCODINGS))
def test_a_sample_is_a_byte_and_a_byte_is_a_sample(values: list[int], encoding: str) -> None:
    sound = packed(values)
    codes = compress(sound, encoding)
    assert len(codes) == len(values)
    assert len(expand(codes, encoding)) == len(sound)


@given(samples, samples, st.sampled_from(ENCODINGS))
def test_it_makes_no_difference_where_sound_is_cut(
    one: list[int], other: list[int], encoding: str
) -> None:
    first, second = packed(one), packed(other)
    codes = compress(first + second, encoding)
    assert codes == compress(first, encoding) + compress(second, encoding)
    cut = len(one)
    assert expand(codes, encoding) == expand(codes[:cut], encoding) + expand(codes[cut:], encoding)


@given(st.binary(max_size=400), st.sampled_from(ENCODINGS))
def test_whatever_bytes_come_they_are_sound(codes: bytes, encoding: str) -> None:
    again = compress(expand(codes, encoding), encoding)
    assert expand(again, encoding) == expand(codes, encoding)


def test_another_encoding_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        compress(b"\0\0", "linear16")
    with pytest.raises(KeyError):
        expand(b"\0", "opus")
