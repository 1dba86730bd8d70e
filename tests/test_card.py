"""ALSA without a card: what it leaves behind, and what its conversions do to sound.

The converters are alsa-lib's real ones. Each is tried in a process of its own, because alsa-lib
keeps its libraries and settings; what the kernel would tell of the card is put there by hand. A
file can stand for a card that plays, but not for one that records (read through a conversion it
skips samples); alsa-lib has the same converters both ways, so both steps of the rate are played.
"""

import json
import math
import subprocess
import sys
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import alsaaudio
import pytest

from appliance import cli
from appliance.assembly import Cards, with_rate
from appliance.config import Audio, parse
from appliance.errors import DeviceError
from appliance.sound import card, kernel
from appliance.sound.card import AlsaCapture, AlsaPlayback, native_rates
from appliance.sound.complaints import unheard
from appliance.sound.kernel import Hardware

LEVEL = 6000
ALIASES_HZ = {9000: 7000, 11000: 5000, 14000: 2000}  # a tone at 48 kHz, and where it folds to
REJECTION_DB = 60
LIMIT_S = 60.0  # for what takes a fraction of a second
PLUGINS = list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_rate_speexrate.so"))

SETTINGS = """</usr/share/alsa/alsa.conf>
defaults.pcm.rate_converter "{converter}"
pcm.card {{ type file slave.pcm "null" file "{out}" format "raw" }}
pcm.wire {{ type plug slave {{ pcm "card" rate {card_hz} channels 1 format S16_LE }} }}
"""

PROGRAM = """
import json, sys, trio, trio.testing
from appliance.errors import DeviceError
from appliance.sound import kernel
from appliance.sound.card import AlsaCapture, AlsaPlayback

card_hz, wire_hz, said = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
kernel.hardware = lambda *_, capture: kernel.Hardware(card_hz, 1, "S16_LE")

async def convert():
    ear = AlsaCapture("wire", wire_hz, wire_hz // 50)
    ear.close()
    mouth = AlsaPlayback("wire", wire_hz, wire_hz // 50)
    sound = open(said, "rb").read()
    while sound:
        sound = sound[2 * mouth.write(sound[: wire_hz // 25]) :]
        await trio.sleep(0.02)  # the file behind it keeps no time
    mouth.close()
    return {"converters": [ear.chain.converter, mouth.chain.converter]}

try:
    print(json.dumps(trio.run(convert, clock=trio.testing.MockClock(autojump_threshold=0))))
except DeviceError as error:
    print(json.dumps({"refused": str(error)}))
"""


def tones(rate_hz: int, *pitches_hz: int, seconds: float = 2.0) -> bytes:
    """Some tones at once, each at LEVEL."""
    steps = [2 * math.pi * pitch / rate_hz for pitch in pitches_hz]
    return array(
        "h",
        (
            round(LEVEL * sum(math.sin(step * n) for step in steps))
            for n in range(round(seconds * rate_hz))
        ),
    ).tobytes()


def level_db(samples: list[int], rate_hz: int, pitch_hz: int) -> float:
    """How loud a pitch is in half a second of sound, against LEVEL: one bin, windowed."""
    some = samples[rate_hz // 8 :][: rate_hz // 2]
    real = imaginary = 0.0
    for n, sample in enumerate(some):
        window = 1 - math.cos(2 * math.pi * n / len(some))  # else the loud tones leak
        turn = 2 * math.pi * pitch_hz * n / rate_hz
        real += window * sample * math.cos(turn)
        imaginary += window * sample * math.sin(turn)
    return 20 * math.log10(max(2 * math.hypot(real, imaginary) / len(some) / LEVEL, 1e-6))


@dataclass
class Outcome:
    """What came of an attempt: words, or what left the file that stands for the card."""

    refused: str = ""
    converters: list[str] = field(default_factory=list)
    sound: list[int] = field(default_factory=list)


def convert(folder: Path, converter: str, said: bytes, *, wire_hz: int, card_hz: int) -> Outcome:
    """Send sound through a card's name that converts it, in a process of its own."""
    (folder / "said").write_bytes(said)
    (folder / "asoundrc").write_text(
        SETTINGS.format(converter=converter, out=folder / "out", card_hz=card_hz)
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(card_hz), str(wire_hz), str(folder / "said")],
        env={"ALSA_CONFIG_PATH": str(folder / "asoundrc")},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    came = Outcome(**json.loads(done.stdout))
    if not came.refused:
        came.sound = array("h", (folder / "out").read_bytes()).tolist()
    return came


needs_plugins = pytest.mark.skipif(not PLUGINS, reason="needs libasound2-plugins")


@needs_plugins
@pytest.mark.parametrize("converter", ["speexrate_medium", "samplerate_medium", "lavrate"])
def test_from_48_to_16_khz_nothing_is_folded_into_speech(converter: str, tmp_path: Path) -> None:
    said = tones(48000, 1000, *ALIASES_HZ)
    came = convert(tmp_path, converter, said, wire_hz=48000, card_hz=16000)
    assert came.converters == [converter.partition("_")[0]] * 2
    assert level_db(came.sound, 16000, 1000) == pytest.approx(0, abs=0.5), "what is said passes"
    for tone, alias in ALIASES_HZ.items():
        assert level_db(came.sound, 16000, alias) < -REJECTION_DB, f"{tone} Hz"


@needs_plugins
def test_from_16_to_48_khz_nothing_is_added_above_speech(tmp_path: Path) -> None:
    came = convert(tmp_path, "speexrate_medium", tones(16000, 3000), wire_hz=16000, card_hz=48000)
    assert level_db(came.sound, 48000, 3000) == pytest.approx(0, abs=0.5)
    for image in (13000, 19000):
        assert level_db(came.sound, 48000, image) < -REJECTION_DB


def test_a_linear_conversion_is_refused_with_what_to_do(tmp_path: Path) -> None:
    came = convert(tmp_path, "linear", b"", wire_hz=16000, card_hz=48000)
    assert came.refused.startswith("'wire' runs at 48000 Hz, and ALSA would convert that to 16000")
    assert "libasound2-plugins" in came.refused
    assert "rate_hz = 48000" in came.refused


def test_at_the_rate_of_the_card_nothing_is_converted(tmp_path: Path) -> None:
    said = tones(16000, 3000)
    came = convert(tmp_path, "linear", said, wire_hz=16000, card_hz=16000)
    assert came.converters == ["none", "none"]
    assert array("h", came.sound).tobytes() == said


# What alsa-lib says by itself


def test_what_is_wrong_with_a_name_is_said_once_and_not_at_each_try(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("nowhere", "elsewhere"):
        for turn in range(3):
            with pytest.raises(DeviceError, match="does not open"):
                AlsaPlayback(name, 16000, 320)
            said = capfd.readouterr().err
            assert ("ALSA lib" in said and name in said) is (turn == 0)


async def test_once_a_card_has_been_open_it_is_said_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    pcm, names = alsaaudio.PCM, ["gone", "gone", "null", "gone", "gone"]

    def opened(*, device: str, **more: object) -> object:
        asked.append(device)
        return pcm(device=names[len(asked) - 1], **more)

    monkeypatch.setattr(alsaaudio, "PCM", opened)
    said = []
    for name in names:
        try:
            AlsaPlayback("a server's", 16000, 320).close()
        except DeviceError:
            assert name == "gone"
        said.append("ALSA lib" in capfd.readouterr().err)
    assert said == [True, False, False, True, False]


def test_who_wants_to_hear_none_of_it_hears_none_and_others_do_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(DeviceError), unheard():
        AlsaPlayback("unheard", 16000, 320)
    with pytest.raises(DeviceError), unheard(), unheard():
        AlsaPlayback("unheard of", 16000, 320)
    assert capfd.readouterr().err == ""
    with pytest.raises(DeviceError):
        AlsaPlayback("heard of", 16000, 320)
    assert "ALSA lib" in capfd.readouterr().err


# What is left behind


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_thousand_plugs_leave_no_descriptor() -> None:
    before = 0
    for turn in range(1000):
        for opens in (AlsaCapture, AlsaPlayback):
            with pytest.raises(DeviceError, match="there is no card 'Nowhere'"):
                opens("plughw:CARD=Nowhere", 16000, 320)
            opens("null", 16000, 320).close()
        before = before or (open_descriptors() if turn == 10 else 0)
    assert open_descriptors() == before


async def test_what_is_refused_after_it_was_opened_leaves_none_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "hardware", lambda *_, capture: Hardware(48000, 2, "S16_LE"))
    monkeypatch.setattr(kernel, "converter", lambda: "linear")
    before = open_descriptors()
    for opens in (AlsaCapture, AlsaPlayback) * 20:
        with pytest.raises(DeviceError, match="without a filter"):
            opens("null", 16000, 320)
    assert open_descriptors() == before


# Which rate


@pytest.mark.parametrize("told", [48000, [44100, 48000], (48000, 192000)])
def test_the_rates_that_alsa_tells_in_three_ways(told: object) -> None:
    assert card._has_rate(told, 48000)
    assert not card._has_rate(told, 16000)


def test_behind_a_sound_server_any_rate_will_do() -> None:
    assert native_rates("null", capture=True) == {8000, 16000, 24000, 32000, 44100, 48000}


class Headset:
    """A plugin's PCM behind which the kernel knows of no card."""

    def __init__(self, granted: int, told: object) -> None:
        self._granted, self._told = granted, told

    def info(self) -> dict[str, object]:
        places = dict.fromkeys(("card_no", "device_no", "subdevice_no"), -1)
        sizes = {"channels": 2, "period_size": 960, "buffer_size": 9600}
        return {"rate": self._granted, "format_name": "S32_LE", **places, **sizes}

    def getrates(self) -> object:
        return self._told

    def polldescriptors(self) -> list[tuple[int, int]]:
        return []

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("granted", "told", "found"),
    [
        (48000, 48000, {48000}),
        (44100, (4000, 4294967295), {44100}),
        (96000, 96000, set()),
        (16000, [16000, 48000], {16000, 48000}),
        (16000, 16000, {16000}),
    ],
)
def test_a_plugin_that_no_card_of_the_kernels_stands_behind_is_asked_itself(
    granted: int, told: object, found: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "_open", lambda *_: Headset(granted, told))
    assert native_rates("headset", capture=True) == found


def test_who_is_granted_another_rate_is_told_which_and_never_to_have_one_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(card, "_open", lambda *_: Headset(48000, 48000))
    words = "'headset' grants 48000 Hz; wanted is 16000 Hz: \"plug:'headset'\" converts"
    with pytest.raises(DeviceError) as refused:
        AlsaCapture("headset", 16000, 320)
    also = "or set [audio] rate_hz = 48000 if the other card and the voice have it too"
    assert str(refused.value) == f"{words}, {also}"


def test_a_card_behind_another_name_tells_the_rate_it_runs_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "hardware", lambda *_, capture: Hardware(44100, 2, "S32_LE"))
    assert native_rates("null", capture=False) == {44100}
    monkeypatch.setattr(kernel, "hardware", lambda *_, capture: Hardware(96000, 2, "S32_LE"))
    assert native_rates("null", capture=False) == set()


def test_a_card_that_is_missing_cannot_be_asked() -> None:
    with pytest.raises(DeviceError, match="there is no card 'Nowhere'"):
        native_rates("plughw:CARD=Nowhere", capture=True)


def rates(monkeypatch: pytest.MonkeyPatch, capture: set[int] | None, playback: set[int]) -> None:
    def told(
        _name: str, *, capture: bool, both: tuple[object, object] = (playback, capture)
    ) -> object:
        return both[capture]

    monkeypatch.setattr("appliance.assembly.native_rates", told)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("", 16000),
        ("[audio]\nrate_hz = 24000", 24000),
        ("[audio]\nrate_hz = 0", 48000),
        ("[audio]\nrate_hz = 0\nencoding = 'mulaw'", 16000),
    ],
)
def test_only_zero_asks_for_a_rate_to_be_found(
    settings: str, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates(monkeypatch, {48000}, {44100, 48000})
    with_one, silent = with_rate(parse(settings, "test"))
    assert with_one.audio.rate_hz == found
    assert not silent


# What `check` says of the cards


def check(text: str, tmp_path: Path, *words: str) -> int:
    file = tmp_path / "config.toml"
    file.write_text(f"[agent]\nurl = 'ws://127.0.0.1:1/v1/agent/converse'\n[audio]\n{text}")
    return cli.main(["check", "--config", str(file), *words])


def test_check_tells_the_rate_and_the_names_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel, "card_ids", lambda: {0: "PCH", 1: "Device"})
    rates(monkeypatch, {48000}, {48000})
    text = "rate_hz = 0\ncapture = 'plughw:1,0'\nplayback = 'plughw:CARD=Headset'"
    assert check(text, tmp_path) == 0
    said = capsys.readouterr().out
    assert "rate_hz = 0: with the cards that are here now it would be 48000 Hz" in said
    assert "wanted 'plughw:CARD=Device,DEV=0'" in said
    assert "there is no card 'Headset'; the cards here: PCH, Device" in said
    assert check(text, tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["rate_hz"], len(told["advice"])) == (True, 48000, 2)


def test_check_says_which_card_could_not_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(_name: str, *, capture: bool) -> set[int]:
        if capture or is_all_busy:
            raise DeviceError("busy: aplay (process 7) holds it")
        return {48000}

    is_all_busy = False
    monkeypatch.setattr("appliance.assembly.native_rates", told)
    assert check("rate_hz = 0", tmp_path) == 0
    words = "it would be 48000 Hz; one could not be asked: microphone: busy: aplay (process 7)"
    assert words in capsys.readouterr().out
    is_all_busy = True
    assert check("rate_hz = 0", tmp_path) == 0
    said = capsys.readouterr().out
    assert "rate_hz = 0: no card can be asked now: microphone: busy" in said
    assert "16000" not in said
    assert check("rate_hz = 0", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rate_hz"] is None


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ({"rate_hz": 48000, "found": True}, "the daemon that runs has found 48000 Hz"),
        ({"rate_hz": 48000, "found": False}, "with the cards that are here now it would be 24000"),
        ({}, "with the cards that are here now it would be 24000 Hz"),
    ],
)
def test_check_asks_the_daemon_that_holds_the_cards(
    runs: dict[str, object],
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = {"rate": runs, "microphone": {"card": "default"}, "speaker": {"card": "default"}}
    monkeypatch.setattr("appliance.checkup.ask_daemon", lambda _: (status, ""))
    rates(monkeypatch, {24000}, {24000})
    assert check("rate_hz = 0", tmp_path) == 0
    assert found in capsys.readouterr().out
    assert check("rate_hz = 0\ncapture = 'another'", tmp_path) == 0
    assert "would be 24000 Hz" in capsys.readouterr().out


def test_a_box_opens_a_card_that_cannot_be_asked_bare_as_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(_name: str, *, capture: bool) -> set[int]:
        raise DeviceError("Invalid argument")

    monkeypatch.setattr("appliance.assembly.native_rates", told)
    here = Cards(Audio(capture="plughw:CARD=Device", playback="default"))
    assert here.native_rates("microphone") is None
    with pytest.raises(DeviceError):
        here.native_rates("speaker")


def test_check_opens_no_card_where_the_rate_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("appliance.assembly.native_rates")
    assert check("", tmp_path) == 0
    assert capsys.readouterr().out == f"the settings can be used ({tmp_path}/config.toml)\n"


def test_check_tells_faults_to_a_program_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("rate_hz = 1\nvolume = 101", tmp_path, "--json") == 78
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["ok"] is False
    assert len(told["faults"]) == 2
    assert not captured.err


# ── pulled out while it is being opened ──────────────────────────────────────────────────────────


INFO = {
    "rate": 16000,
    "channels": 1,
    "format_name": "S16_LE",
    "period_size": 320,
    "buffer_size": 3200,
    "card_no": -1,
    "device_no": -1,
    "subdevice_no": -1,
}


@pytest.mark.parametrize("step", ["info", "polldescriptors"])
def test_a_card_that_fails_right_after_its_opening_is_one_that_does_not_open(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    class Pulled:
        """A stream whose card goes at one step."""

        def info(self) -> dict[str, object]:
            self._go_at("info")
            return INFO

        def polldescriptors(self) -> list[tuple[int, int]]:
            self._go_at("polldescriptors")
            return []

        def close(self) -> None:
            closed.append(step)

        def _go_at(self, here: str) -> None:
            if here == step:
                raise alsaaudio.ALSAAudioError("No such device")

    monkeypatch.setattr(card, "_open", lambda *_: Pulled())
    with pytest.raises(DeviceError, match="opened, and then failed: No such device"):
        AlsaPlayback("default", 16000, 320)
    assert closed == [step]
