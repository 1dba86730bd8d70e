"""Known boards: what is soldered where, and what the kernel calls it. Data. Pure.

**Nothing here was tried on hardware by us.** A field is *verified* if a source that we read states
it; `sources` says which, by the field's name. What has no source is from memory or from sellers'
pages, and is told as unverified wherever a kit is shown. No text was copied from the sources.

A kit's ALSA id is what stands in /sys/class/sound/card*/id: at most 15 letters and digits of the
card's name, so it follows where the name is stated. Where it is "" (USB devices differ), capture
and playback stay as they are.

`rate_hz` is one that the hardware has natively, both ways: without libasound2-plugins ALSA
converts badly. `duplex` is "full" only where the board itself cancels the echo of its speaker.

Left out, and why: the AIY Voice Bonnet v2 (its drivers are outside of the kernel's tree and its
repository was closed in 2023), boards with displays and no microphone, and rings of WS2812 pixels
(they need root or the pins of the sound; the box's lamp stays dark there).
"""

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

LIT_HOW: Final = (
    'No document says at which level its LEDs are lit: lamp.active = "low" if they are inverted.'
)
NO_ECHO: Final = "No echo cancelling: a press interrupts an answer, a voice does not."
COMPILE: Final = (
    "The overlay is not in the kernel: get {0}-overlay.dts from Seeed-Studio/seeed-linux-dtoverlays"
    " (overlays/rpi), then dtc -I dts -O dtb -o /boot/firmware/overlays/{0}.dtbo {0}-overlay.dts"
)

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Kit:
    """One board. Pins are BCM numbers."""

    name: str  # what [panel] kit calls it
    title: str
    card: str = ""  # ALSA id; "": it differs
    plays: bool = True  # and records: some are microphones only
    config_txt: tuple[str, ...] = ()  # lines of /boot/firmware/config.txt
    rates_hz: tuple[int, ...] = ()  # native ones, as far as they are known
    rate_hz: int = 16000  # of those, what the box runs at
    duplex: Literal["half", "full"] = "half"
    buttons: Mapping[str, int] = field(default_factory=dict)
    lamp: Mapping[str, object] = field(default_factory=dict)  # as [panel.lamp]
    brightness: int | None = None
    mixer: tuple[tuple[str, str], ...] = ()  # (simple control, value as amixer takes it)
    alsa_state: str = ""  # a file for `alsactl restore -f`, and where it is
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)  # by field

    @property
    def unverified(self) -> tuple[str, ...]:
        """The fields that say something and have no source."""
        return tuple(name for name in FACTS if getattr(self, name) and name not in self.sources)

    @property
    def is_verified(self) -> bool:
        """Whether every fact has a source. Not: whether anybody of us tried it."""
        return not self.unverified

    @property
    def settings(self) -> Settings:
        """What lies beneath the owner's settings, as the file would say it; the caller's own."""
        card = f"plughw:CARD={self.card}" if self.card else ""
        audio: dict[str, Any] = {"rate_hz": self.rate_hz}
        if card:
            audio["capture"] = card
            if self.plays:
                audio["playback"] = card
        panel: dict[str, Any] = {"buttons": dict(self.buttons)}
        if self.lamp:
            panel["lamp"] = copy.deepcopy(dict(self.lamp))
        if self.brightness is not None:
            panel["brightness"] = self.brightness
        return {"audio": audio, "talk": {"duplex": self.duplex}, "panel": panel}


# The fields that are facts of a board; `rate_hz`, `duplex` and `brightness` are our choice.
FACTS: Final = ("card", "config_txt", "rates_hz", "buttons", "lamp", "mixer", "alsa_state")

_SEEED_V1 = "wiki.seeedstudio.com, ReSpeaker 2-Mics Pi HAT v1, Raspberry Pi (29 January 2026)"
_SEEED_V2 = "wiki.seeedstudio.com, ReSpeaker 2-Mics Pi HAT v2, Raspberry Pi (29 January 2026)"
_XVF = "wiki.seeedstudio.com, reSpeaker XVF3800 USB Mic Array (24 August 2026)"
_LVA = "OHF-Voice/linux-voice-assistant, examples"
_PI_AUDIO = "raspberrypi/documentation, accessories/audio"
_VOICEHAT = "raspberrypi/linux, googlevoicehat-soundcard-overlay.dts"
_WM8960 = "raspberrypi/linux, wm8960-soundcard-overlay.dts"
_NONE: Mapping[str, object] = {"kind": "none"}
_THREE_PIXELS: Mapping[str, object] = {
    "kind": "apa102",
    "device": "/dev/spidev0.0",
    "pixels": 3,
}

_ROWS: Final = (
    Kit(
        "respeaker-2mic-v2",
        "Seeed ReSpeaker 2-Mics Pi HAT v2 (TLV320AIC3104)",
        card="seeed2micvoicec",
        config_txt=("dtparam=spi=on", "dtoverlay=respeaker-2mic-v2_0"),
        rates_hz=(8000, 16000, 24000, 32000, 48000),
        buttons={"talk": 17},
        lamp=_THREE_PIXELS,
        brightness=40,
        mixer=(
            ("PCM", "100%"),
            ("Line DAC", "80%"),
            ("Line", "80%"),
            ("Left Line Mixer DACL1", "on"),
            ("Right Line Mixer DACR1", "on"),
            ("Left PGA Mixer Line1L", "on"),
            ("Right PGA Mixer Line1R", "on"),
            ("PGA", "60%"),
        ),
        notes=(
            COMPILE.format("respeaker-2mic-v2_0"),
            "The speaker's plug hangs on the line output, the headphones on HP.",
            "One project reports that recording silences playing on this board, others do not.",
            NO_ECHO,
        ),
        sources={
            "card": f"{_SEEED_V2}; its overlay names the card",
            "config_txt": _SEEED_V2,
            "buttons": _SEEED_V2,
            "lamp": f"{_SEEED_V2} (APA102, SPI); three, on CE0: {_LVA}/ReSpeaker 2mic HAT",
            "rates_hz": "Seeed's overlay: the codec is master of a fixed clock of 24.576 MHz",
        },
    ),
    Kit(
        "respeaker-2mic-v1",
        "Seeed ReSpeaker 2-Mics Pi HAT v1, Keyestudio (WM8960)",
        card="seeed2micvoicec",
        config_txt=("dtparam=spi=on", "dtoverlay=respeaker-2mic-v1_0"),
        rates_hz=(8000, 16000, 32000, 48000),
        buttons={"talk": 17},
        lamp=_THREE_PIXELS,
        brightness=40,
        mixer=(
            ("Left Output Mixer PCM", "on"),
            ("Right Output Mixer PCM", "on"),
            ("Playback", "100%"),
            ("Speaker", "80%"),
            ("Capture", "80%"),
        ),
        notes=(
            COMPILE.format("respeaker-2mic-v1_0"),
            "With the kernel's own wm8960-soundcard overlay the card is called wm8960soundcard.",
            "The older seeed-voicecard driver breaks with new kernels.",
            NO_ECHO,
        ),
        sources={
            "card": _SEEED_V1,
            "config_txt": _SEEED_V1,
            "buttons": "wiki.seeedstudio.com, ReSpeaker 2-Mics Pi HAT, overview",
            "lamp": f"the same overview (3 APA102, SPI); on CE0: {_LVA}/ReSpeaker 2mic HAT",
        },
    ),
    Kit(
        "respeaker-4mic",
        "Seeed ReSpeaker 4-Mic Array (microphones only)",
        card="seeed4micvoicec",
        plays=False,
        config_txt=("dtparam=spi=on",),
        rates_hz=(16000, 48000),
        lamp={"kind": "apa102", "device": "/dev/spidev0.1", "pixels": 12, "power_pin": 5},
        brightness=30,
        notes=(
            "No speaker: [audio] playback names another card.",
            "No button: wire one, and name its pin in [panel.buttons] talk.",
            "Needs Seeed's driver seeed-voicecard, which new kernels break.",
        ),
        sources={
            "card": f"{_LVA}/ReSpeaker 4mic HAT",
            "config_txt": f"{_LVA}/ReSpeaker 4mic HAT",
            "lamp": f"{_LVA}/ReSpeaker 4mic HAT (12, CE1); power on GPIO 5, high:"
            " rhasspy/wyoming-satellite, examples/4mic_service.py",
        },
    ),
    Kit(
        "respeaker-lite",
        "Seeed ReSpeaker Lite (USB, XMOS XU316)",
        card="Lite",
        rates_hz=(16000,),
        duplex="full",
        lamp=_NONE,
        mixer=(("Headphone", "100%"), ("Speaker", "100%")),
        notes=(
            "The board cancels its own echo: play through it, not beside it.",
            "Its pixels are driven by its firmware; its buttons are not seen by this box.",
            "Linux Voice Assistant reports a problem of it with the Zero 2 W.",
        ),
        sources={
            "card": "OHF-Voice/linux-voice-assistant, docs/install_audioserver.md",
            "mixer": "OHF-Voice/linux-voice-assistant, docs/install_audioserver.md",
        },
    ),
    Kit(
        "respeaker-xvf3800",
        "Seeed reSpeaker XVF3800 4-Mic Array (USB)",
        card="Array",
        rates_hz=(16000,),
        duplex="full",
        lamp=_NONE,
        notes=(
            "The board cancels its own echo: play through it, not beside it.",
            "Its ring of LEDs is driven over USB, not by this box.",
        ),
        sources={
            "card": f"{_XVF}, recording on a Raspberry Pi",
            "rates_hz": f"{_XVF}, recording on a Raspberry Pi",
            "lamp": f"{_XVF}, the control over USB",
        },
    ),
    Kit(
        "satellite1",
        "FutureProofHomes Satellite1 HAT (XMOS, USB)",
        rates_hz=(16000,),
        duplex="full",
        buttons={"talk": 23, "mute": 22, "volume_up": 17, "volume_down": 27},
        lamp=_NONE,
        notes=(
            "Name the cards yourself, as arecord -L and aplay -L list them.",
            "Its ring (WS2812 or SK6812 on GPIO 12) needs root, so it stays dark here.",
        ),
        sources={
            "buttons": f"{_LVA}/Satellite1 HAT Board",
            "lamp": f"{_LVA}/Satellite1 HAT Board",
        },
    ),
    Kit(
        "codec-zero",
        "Raspberry Pi Codec Zero (DA7212)",
        card="Zero",
        config_txt=("#dtparam=audio=on",),
        rates_hz=(8000, 16000, 32000, 44100, 48000),
        buttons={"talk": 27},
        lamp={"kind": "leds", "listening": 23, "trouble": 24},
        alsa_state="Codec_Zero_OnboardMIC_record_and_SPK_playback.state of raspberrypi/Pi-Codec",
        notes=(
            "Found by its EEPROM; config.txt has dtparam=audio=on commented out, no overlay.",
            "Silent until its mixer is set, at each start: alsactl restore -f the state.",
            LIT_HOW,
            NO_ECHO,
        ),
        sources={
            "card": f"{_PI_AUDIO}/configuration.adoc; raspberrypi/linux, rpi-codeczero-overlay.dts",
            "config_txt": f"{_PI_AUDIO}/configuration.adoc",
            "rates_hz": f"{_PI_AUDIO}/codec_zero.adoc (common rates of 8 to 96 kHz)",
            "buttons": f"{_PI_AUDIO}/codec_zero.adoc, getting_started.adoc (to ground)",
            "lamp": f"{_PI_AUDIO}/codec_zero.adoc (green 23, red 24)",
            "alsa_state": f"{_PI_AUDIO}/configuration.adoc",
        },
    ),
    Kit(
        "iqaudio-codec-zero",
        "IQaudIO Codec Zero, the black board (DA7212)",
        card="Zero",
        config_txt=("#dtparam=audio=on", "dtoverlay=", "dtoverlay=rpi-codeczero"),
        rates_hz=(8000, 16000, 32000, 44100, 48000),
        buttons={"talk": 27},
        lamp={"kind": "leds", "listening": 23, "trouble": 24},
        alsa_state="Codec_Zero_OnboardMIC_record_and_SPK_playback.state of raspberrypi/Pi-Codec",
        notes=(
            "The empty dtoverlay= keeps its old EEPROM from loading another overlay.",
            "Silent until its mixer is set, at each start: alsactl restore -f the state.",
            LIT_HOW,
            NO_ECHO,
        ),
        sources={
            "card": f"{_PI_AUDIO}/configuration.adoc; raspberrypi/linux, rpi-codeczero-overlay.dts",
            "config_txt": f"{_PI_AUDIO}/configuration.adoc",
            "rates_hz": f"{_PI_AUDIO}/codec_zero.adoc; electrically equal: configuration.adoc",
            "buttons": f"{_PI_AUDIO}/codec_zero.adoc; electrically equal: configuration.adoc",
            "lamp": f"{_PI_AUDIO}/codec_zero.adoc; electrically equal: configuration.adoc",
            "alsa_state": f"{_PI_AUDIO}/configuration.adoc",
        },
    ),
    Kit(
        "aiy-voice-hat-v1",
        "Google AIY Voice HAT v1",
        card="sndrpigooglevoi",
        config_txt=("dtoverlay=googlevoicehat-soundcard",),
        rates_hz=(48000,),
        rate_hz=48000,
        buttons={"talk": 23},
        lamp={"kind": "led", "pin": 25},
        notes=(
            "No mixer: the box's own volume is the only one.",
            "GPIO 16 belongs to the amplifier.",
            NO_ECHO,
        ),
        sources={
            "card": "raspberrypi/linux, rpi-simple-soundcard.c names the card",
            "config_txt": _VOICEHAT,
            "rates_hz": "raspberrypi/linux, googlevoicehat-codec.c",
            "buttons": "google/aiyprojects-raspbian, src/aiy/board.py",
            "lamp": "google/aiyprojects-raspbian, src/aiy/board.py",
        },
    ),
    Kit(
        "i2s-max98357a",
        "I2S microphone (ICS-43432, SPH0645, INMP441) and MAX98357A amplifier",
        card="sndrpigooglevoi",
        config_txt=("dtoverlay=googlevoicehat-soundcard",),
        rates_hz=(48000,),
        rate_hz=48000,
        notes=(
            "Wired by yourself: clock GPIO 18, frame 19, microphone 20, amplifier 21, its SD 16.",
            "No mixer: the box's own volume is the only one. Button and LED as on a bare Pi.",
            NO_ECHO,
        ),
        sources={
            "card": "raspberrypi/linux, rpi-simple-soundcard.c names the card",
            "config_txt": _VOICEHAT,
            "rates_hz": "raspberrypi/linux, googlevoicehat-codec.c",
        },
    ),
    Kit(
        "waveshare-wm8960",
        "Waveshare WM8960 Audio HAT",
        card="wm8960soundcard",
        config_txt=("dtoverlay=wm8960-soundcard",),
        rates_hz=(8000, 16000, 32000, 48000),
        buttons={"talk": 17},
        lamp=_NONE,
        mixer=(
            ("Left Output Mixer PCM", "on"),
            ("Right Output Mixer PCM", "on"),
            ("Playback", "100%"),
            ("Speaker", "80%"),
            ("Capture", "80%"),
        ),
        notes=(
            "Silent until the DAC is on the output mixer; alsactl store keeps it.",
            NO_ECHO,
        ),
        sources={"card": _WM8960, "config_txt": _WM8960},
    ),
    Kit(
        "adafruit-voice-bonnet",
        "Adafruit Voice Bonnet (WM8960)",
        card="wm8960soundcard",
        config_txt=("dtoverlay=wm8960-soundcard",),
        rates_hz=(8000, 16000, 32000, 48000),
        buttons={"talk": 17},
        lamp=_NONE,
        notes=(
            "Its three DotStars hang on GPIO 5 and 6, where the kernel has no SPI: they stay dark.",
            NO_ECHO,
        ),
    ),
    Kit(
        "raspiaudio-mic",
        "Raspiaudio MIC+",
        card="sndrpigooglevoi",
        config_txt=("dtoverlay=googlevoicehat-soundcard",),
        rates_hz=(48000,),
        rate_hz=48000,
        buttons={"talk": 23},
        lamp={"kind": "led", "pin": 25},
        notes=("No mixer: the box's own volume is the only one.", NO_ECHO),
    ),
    Kit(
        "usb-speakerphone",
        "USB speakerphone (Jabra Speak, Anker PowerConf)",
        rates_hz=(16000,),
        duplex="full",
        notes=(
            "It cancels its own echo: the best interrupting by voice for the least work.",
            "Name the cards yourself, as arecord -L and aplay -L list them.",
            "Its own button and lights are not used; wire a button and an LED as on a bare Pi.",
            "Many have 16 kHz for the microphone and 48 kHz for the speaker only.",
        ),
    ),
    Kit(
        "usb-microphone",
        "USB microphone, and a speaker on USB, HDMI or the headphone plug",
        rates_hz=(48000,),
        rate_hz=48000,
        notes=(
            "Name the cards yourself, as arecord -L and aplay -L list them.",
            "HDMI takes default:CARD=vc4hdmi0, not plughw. Button and LED as on a bare Pi.",
            NO_ECHO,
        ),
    ),
)

KITS: Final[Mapping[str, Kit]] = MappingProxyType({kit.name: kit for kit in _ROWS})


def nearest(name: str) -> str:
    """The kit whose name is most like that."""
    return difflib.get_close_matches(name, KITS, n=1, cutoff=0)[0]
