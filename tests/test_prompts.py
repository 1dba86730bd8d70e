"""The sentences that ship, the files they lie in, and the arithmetic that makes them sound."""

import hashlib
import math
import shutil
import struct
import subprocess
import tomllib
import wave
from array import array
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.conversation import BRIEF, ECHO_S, SHOW_BRIEFLY_S
from appliance.errors import Trouble
from appliance.sound import chimes
from appliance.sound.answer import Answers, Heard
from appliance.sound.pcm import Format
from appliance.sound.recordings import permission, recording
from appliance.sound.resample import resampled
from appliance.sound.sentences import LANGUAGES, TOLD, UPDATED
from appliance.sound.voice import Voice
from appliance.sound.wav import STEPS, NotReadable, Recording, parse

TOP = Path(__file__).parent.parent
PROMPTS = TOP / "appliance/sound/prompts"
RATES = (8000, 16000, 24000, 32000, 44100, 48000)
FORM = Format(16000)


def text(language: str) -> dict[str, object]:
    return tomllib.loads((PROMPTS / language / "prompts.toml").read_text())


def sentences(language: str) -> dict[str, str]:
    found = text(language)["prompts"]
    assert isinstance(found, dict)
    return found


def samples(sound: bytes) -> "array[int]":
    return array("h", sound)


# ── what ships ───────────────────────────────────────────────────────────────────────────────────


def test_each_trouble_is_decided() -> None:
    assert set(TOLD) == set(Trouble)


def test_the_languages_are_those_that_ship() -> None:
    assert {path.name for path in PROMPTS.iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_sentence_is_there_and_no_other(language: str) -> None:
    wanted = {name for name in TOLD.values() if name} | {UPDATED}
    assert set(sentences(language)) == wanted
    assert {path.stem for path in (PROMPTS / language).glob("*.wav")} == wanted


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_recording_was_made_from_its_words(language: str) -> None:
    _, *lines = (PROMPTS / language / "made-of.txt").read_text().splitlines()
    made_of = dict(line.split() for line in lines)
    voice, speed = text(language)["voice"], text(language)["speed_wpm"]
    for name, words in sentences(language).items():
        hashed = hashlib.sha256(f"{voice}\n{speed}\n{words}\n".encode()).hexdigest()
        assert made_of.pop(name) == hashed, f"{name}: ./deploy/prompts.sh {language}"
    assert made_of == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_versions_give_the_same_bytes(language: str, tmp_path: Path) -> None:
    if not (shutil.which("espeak-ng") and shutil.which("sox")):
        pytest.skip("needs espeak-ng and sox")
    script = TOP / "deploy/prompts.sh"
    subprocess.run([script, language, tmp_path], check=True)
    ours = (PROMPTS / language / "made-of.txt").read_text()
    if (tmp_path / "made-of.txt").read_text().splitlines()[0] != ours.splitlines()[0]:
        pytest.skip("needs the versions that made them")
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (PROMPTS / language / path.name).read_bytes(), path.name


def test_what_it_lacks_the_script_says(tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    script = TOP / "deploy/prompts.sh"

    def fails(*words: str) -> str:
        done = subprocess.run(
            [script, *words],
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    assert "wanted a language" in fails()
    assert "appliance/sound/prompts/xx/prompts.toml" in fails("xx")
    assert "espeak-ng is missing: apt-get install espeak-ng sox" in fails("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_small_and_its_sentences_are_short_and_loud(language: str) -> None:
    files = list((PROMPTS / language).glob("*.wav"))
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        spoken = recording(path.stem, language, "")
        sound = b"".join(spoken.pieces())
        assert spoken.rate_hz == 16000
        assert 1.0 < FORM.seconds_of(len(sound)) < 5.0, path.stem
        assert 16000 < max(map(abs, samples(sound))) < 32000, path.stem


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_short_troubles_are_said_before_tap_listens_again(language: str) -> None:
    for trouble in BRIEF:
        name = TOLD[trouble]
        assert name
        sound = b"".join(recording(name, language, "").pieces())
        assert FORM.seconds_of(len(sound)) <= SHOW_BRIEFLY_S - ECHO_S, name


def test_the_question_is_asked_in_the_language_of_the_box() -> None:
    assert permission("open-the_Door", "en") == (
        "May I run open the Door? Press the button to allow it."
    )
    assert permission("licht", "de") == (
        "Darf ich licht ausführen? Zum Erlauben bitte den Knopf drücken."
    )
    assert permission("x", "") == permission("x", "en")
    for language in LANGUAGES:
        assert "{" not in permission("x", language)
        assert " x" in permission("x", language)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def wav(sound: bytes, *, rate_hz: int = 16000, channels: int = 1, width: int = 2) -> bytes:
    kept = BytesIO()
    with wave.open(kept, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(sound)
    return kept.getvalue()


def test_pcm_comes_as_it_is() -> None:
    sound = bytes(range(256)) * 40
    spoken = parse(wav(sound, rate_hz=22050))
    assert spoken.rate_hz == 22050
    assert b"".join(spoken.pieces()) == sound


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "no WAV file"),
        (b"OggS" + bytes(40), "no WAV file"),
        (b"RIFF\4\0\0\0WAVE", "without a format"),
        (wav(bytes(8), channels=2), "wanted one channel"),
        (wav(bytes(8), width=1), "wanted one channel"),
        (wav(bytes(8), rate_hz=4000), "4000 Hz; wanted 8000 to 48000"),
        (wav(b""), "wanted sound"),
        (wav(bytes(2 * 8000 * 31), rate_hz=8000), "at most 30 s"),
    ],
)
def test_what_is_no_sentence_is_refused_in_words(file: bytes, words: str) -> None:
    with pytest.raises(NotReadable, match=words):
        parse(file)


@given(st.binary(max_size=300), st.sampled_from([1, 0x11]), st.integers(0, 600))
def test_whatever_a_file_holds_it_is_sound_or_refused(
    data: bytes, kind: int, block_bytes: int
) -> None:
    form = struct.pack("<HHIIHH", kind, 1, 16000, 0, block_bytes, 16 if kind == 1 else 4)
    file = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form
    file += b"data" + struct.pack("<I", len(data)) + data
    try:
        spoken = parse(file)
    except NotReadable:
        return
    assert len(b"".join(spoken.pieces())) % 2 == 0


def test_adpcm_is_expanded_as_the_standard_says() -> None:
    # The example of the standard: each code moves the sample by (code + 1/2) steps / 4.
    block = struct.pack("<hBx", 100, 10) + bytes([0x71, 0x8F])
    sound = b"".join(Recording(16000, 0x11, 256, memoryview(block)).pieces())
    first = 100 + STEPS[10] // 8 + STEPS[10] // 4
    second = first + sum(STEPS[9] // n for n in (8, 4, 2, 1))
    third = second - sum(STEPS[17] // n for n in (8, 4, 2, 1))
    fourth = third - STEPS[25] // 8
    assert list(samples(sound)) == [100, first, second, third, fourth]


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_expansion_is_that_of_sox(language: str) -> None:
    if not shutil.which("sox"):
        pytest.skip("needs sox")
    path = PROMPTS / language / "no-network.wav"
    command = ["sox", "-D", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-"]
    theirs = subprocess.run(command, capture_output=True, check=True).stdout
    ours = b"".join(parse(path.read_bytes()).pieces())
    assert ours[: len(theirs)] == theirs
    assert len(theirs) > 60_000


# ── another rate ─────────────────────────────────────────────────────────────────────────────────


def sine(hz: float, rate_hz: int, seconds: float = 0.4) -> bytes:
    step = 2 * math.pi * hz / rate_hz
    return array(
        "h", (round(16000 * math.sin(step * n)) for n in range(round(seconds * rate_hz)))
    ).tobytes()


def pieces(sound: bytes, size: int = 1010) -> Iterator[bytes]:
    for start in range(0, len(sound), size):
        yield sound[start : start + size]


def level(sound: "array[int]") -> float:
    """The root of the mean square of its middle half."""
    middle = sound[len(sound) // 4 : len(sound) * 3 // 4]
    return math.sqrt(sum(sample * sample for sample in middle) / len(middle))


@pytest.mark.parametrize("to_hz", RATES)
@pytest.mark.parametrize("hz", [200.0, 1000.0, 2900.0])
def test_a_tone_stays_the_same_tone_at_the_same_time(hz: float, to_hz: int) -> None:
    made = samples(b"".join(resampled(pieces(sine(hz, 16000)), 16000, to_hz)))
    wanted = samples(sine(hz, to_hz))
    assert len(made) == len(wanted)
    off = array("h", (a - b for a, b in zip(made, wanted, strict=True)))
    assert level(off) < level(wanted) / 300  # 50 dB


@pytest.mark.parametrize("hz", [4800.0, 6000.0, 7500.0])
def test_what_the_lower_rate_cannot_hold_does_not_fold_back(hz: float) -> None:
    made = samples(b"".join(resampled(pieces(sine(hz, 16000)), 16000, 8000)))
    assert level(made) < 16000 / 1000  # 60 dB


@given(
    st.lists(st.binary(max_size=400), max_size=6), st.sampled_from(RATES), st.sampled_from(RATES)
)
def test_however_it_is_cut_it_is_the_same_and_as_long(
    cut: list[bytes], from_hz: int, to_hz: int
) -> None:
    cut = [piece[: len(piece) // 2 * 2] for piece in cut]
    whole = b"".join(cut)
    made = b"".join(resampled(iter(cut), from_hz, to_hz))
    assert made == b"".join(resampled(iter([whole]), from_hz, to_hz))
    assert len(made) // 2 == -(-len(whole) // 2 * to_hz // from_hz)


def test_it_comes_in_small_pieces() -> None:
    made = list(resampled(pieces(sine(1000, 16000)), 16000, 48000))
    assert max(map(len, made)) <= 256


# ── cues ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("tones", [chimes.LISTENING, chimes.DONE, chimes.TROUBLE])
def test_a_cue_is_short_soft_and_does_not_click(
    tones: list[tuple[float, float]], rate_hz: int
) -> None:
    made = list(chimes.chime(tones, rate_hz))
    assert max(map(len, made)) <= 256
    sound = samples(b"".join(made))
    seconds = sum(lasts_s for _, lasts_s in tones)
    assert len(sound) == pytest.approx(seconds * rate_hz, abs=len(tones))
    assert seconds < 0.1 or tones is chimes.TROUBLE
    peak = max(map(abs, sound))
    assert 0.5 < peak / (32767 * chimes.LEVEL) <= 1
    # No step is larger than the tone's own steepest, and it begins and ends at nothing.
    steepest = max(hz for hz, _ in tones) * 2 * math.pi / rate_hz * (1 + 2 * chimes.OVERTONE)
    edges = array("h", [0, *sound, 0])
    jump = max(abs(b - a) for a, b in pairwise(edges))
    assert jump <= 32767 * chimes.LEVEL * steepest + 2
    assert max(abs(sound[0]), abs(sound[-1])) < 100


# ── what the speaker is given ────────────────────────────────────────────────────────────────────


def test_what_the_box_says_gives_way_to_an_answer() -> None:
    answers = Answers(FORM, prebuffer_s=0.0)
    voice = Voice(FORM, answers)
    assert voice.say(bytes(1000))
    assert voice.sounding
    assert voice.flows(0.0)
    assert len(voice.read(401)) == 400
    assert answers.hear(bytes(640), 0.0) is Heard.BEGAN
    assert voice.stop()
    assert voice.read(10_000) == bytes(640)
    assert not voice.say(bytes(1000)), "over an answer"
    voice.played()
    assert answers.dry
    assert voice.say(bytes(1000))


def test_of_the_box_s_own_words_the_answers_hear_nothing() -> None:
    answers = Answers(FORM)
    voice = Voice(FORM, answers)
    voice.say(b"\1\2" * 100)
    voice.read(1000)
    voice.starve()
    voice.played()
    assert (answers.gaps, answers.read_bytes, answers.sounding) == (0, 0, False)
    assert voice.sounding, "until the card has been told"
    assert not voice.flows(0.0)
    assert voice.waiting_s == 0
    assert voice.stop()
    assert not voice.stop()
    assert not voice.say(b"")
