"""The seam between a card's sound and the wire's."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sound.pcm import Format, Sample, to_card, to_mono

FORMS = [Format(16000, channels, sample) for channels in (1, 2, 10) for sample in Sample]
SAMPLES = (0, 1, -1, 255, -256, 0x1234, -0x1234, 32767, -32768)


def wire(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


@pytest.mark.parametrize("form", FORMS, ids=str)
@given(samples=st.lists(st.integers(-32768, 32767), max_size=50))
def test_what_goes_to_a_card_comes_back_the_same(form: Format, samples: list[int]) -> None:
    spread = to_card(wire(*samples), form)
    assert len(spread) == len(samples) * form.frame_bytes
    assert to_mono(spread, form) == wire(*samples)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_as_loud_on_every_card(sample: int) -> None:
    """Against the formats as ALSA documents them: full scale is full scale."""
    said = wire(sample)
    assert to_card(said, Format(16000, 1, Sample.S32_LE)) == struct.pack("<i", sample << 16)
    assert to_card(said, Format(16000, 1, Sample.S24_LE)) == struct.pack("<i", sample << 8)
    three = (sample << 8).to_bytes(3, "little", signed=True)
    assert to_card(said, Format(16000, 1, Sample.S24_3LE)) == three
    assert to_card(said, Format(16000, 2)) == said * 2


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_first_channel_is_heard_and_no_other(form: Format) -> None:
    ours = Format(16000, 1, form.sample)
    loud = to_card(wire(-0x1234), ours)
    others = b"\xff" * form.sample.width * (form.channels - 1)
    assert to_mono((loud + others) * 3, form) == wire(-0x1234) * 3


def test_a_wider_sample_is_cut() -> None:
    assert to_mono(struct.pack("<2i", 0x1234FFFF, -1), Format(16000, 1, Sample.S32_LE)) == wire(
        0x1234, -1
    )


def test_a_form_is_told_in_words() -> None:
    assert str(Format(48000, 2, Sample.S24_3LE)) == "48000 Hz, 2 x S24_3LE"
