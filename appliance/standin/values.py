"""Judges the values of what could be read: what the real server refuses, this one refuses. Pure.

Mostly that is `INVALID_SETTINGS`. Where the real server has more than this one (encodings,
containers) the refusal says so in words.
"""

import uuid
from typing import NoReturn

from msgspec import UNSET

from appliance.standin.schema import (
    Anthropic,
    Bedrock,
    Cartesia,
    Deepgram,
    Groq,
    Input,
    Listen,
    Output,
    Settings,
    Speak,
    Think,
)
from appliance.standin.terms import Fault

LINEAR16_HZ = frozenset({8000, 16000, 24000, 32000, 48000})  # Aura's
FLUX_LINEAR16_HZ = LINEAR16_HZ | {44100}
COMPANDED_HZ = frozenset({8000, 16000})
ENCODINGS = ("linear16", "mulaw", "alaw")  # that this stand-in has
INPUT_HZ_MIN = 1000  # 20 samples in the 20 ms that are judged at a time
INPUT_HZ_MAX = 192_000


def check(settings: Settings, *, stored_agents: bool = False) -> None:
    """Judge the values of settings that could be read.

    Args:
        settings: as they were read.
        stored_agents: any UUID names an agent.

    Raises:
        Fault: a value that the server does not take, or one that this stand-in does not have.
    """
    agent = settings.agent
    if isinstance(agent, str):
        _check_name(agent, stored_agents=stored_agents)
        has_flux_voice = True  # which has every rate
    else:
        check_listen(settings.listen)
        check_think([] if agent.think is UNSET else agent.think)
        speak = [] if agent.speak is UNSET else agent.speak
        check_speak(speak)
        has_flux_voice = _has_flux_voice(speak)
    _check_input(settings.audio.input)
    _check_output(settings.audio.output, has_flux_voice=has_flux_voice)


def check_listen(listen: Listen) -> None:
    """Raise a `Fault` for values of speech recognition that the server does not take."""
    if listen.model.startswith("flux") != listen.is_flux:
        _invalid(f"model {listen.model!r} needs another `version` than {listen.version!r}")
    for name, low, high in (
        ("eot_threshold", 0.5, 1.0),
        ("eager_eot_threshold", 0.3, 0.9),
        ("eot_timeout_ms", 500, 60_000),
    ):
        value = getattr(listen, name)
        if value is not UNSET and not low <= value <= high:
            _invalid(f"{name} is {value}, and must be from {low} to {high}")


def check_think(think: Think | list[Think]) -> None:
    """Raise a `Fault` for values of a language model that the server does not take."""
    for each in think if isinstance(think, list) else [think]:
        mind = each.provider
        has_endpoint = each.endpoint is not UNSET
        hottest = 1.0 if isinstance(mind, Anthropic) else 2.0
        if not 0.0 <= mind.temperature <= hottest:
            _invalid(f"temperature is {mind.temperature}, and must be from 0 to {hottest}")
        if isinstance(mind, Groq | Bedrock) and not has_endpoint:
            _invalid("this think provider needs an `endpoint`")
        if each.context_length is not UNSET and not has_endpoint:
            _invalid("`context_length` needs an own think `endpoint`")


def check_speak(speak: Speak | list[Speak]) -> None:
    """Raise a `Fault` for values of a voice that the server does not take."""
    for each in speak if isinstance(speak, list) else [speak]:
        voice = each.provider
        if isinstance(voice, Deepgram):
            _check_deepgram_voice(voice)
        elif isinstance(voice, Cartesia):
            if not 0.5 <= voice.volume <= 2.0:
                _invalid(f"volume is {voice.volume}, and must be from 0.5 to 2.0")
        elif each.endpoint is UNSET:
            _invalid("a voice of another maker needs an `endpoint`")


def _check_deepgram_voice(voice: Deepgram) -> None:
    is_flux = voice.version == "v2"
    if voice.model.startswith("flux") != is_flux:
        _invalid(f"voice {voice.model!r} needs another `version` than {voice.version!r}")
    if voice.expressivity is not UNSET and not -2 <= voice.expressivity <= 2:
        _invalid(f"expressivity is {voice.expressivity}, and must be from -2 to 2")
    low = 0.5 if is_flux else 0.7
    if not low <= voice.speed <= 1.5:
        raise Fault("FAILED_TO_SPEAK", f"speed is {voice.speed}, and must be from {low} to 1.5")


def _has_flux_voice(speak: Speak | list[Speak]) -> bool:
    """Whether a Flux voice speaks; it does where no voice is named."""
    voices = [each.provider for each in (speak if isinstance(speak, list) else [speak])]
    return not voices or any(
        isinstance(voice, Deepgram) and voice.version == "v2" for voice in voices
    )


def _check_input(audio: Input) -> None:
    if audio.encoding not in ENCODINGS:
        _invalid(f"this stand-in hears linear16, mulaw and alaw only, not {audio.encoding}")
    if not INPUT_HZ_MIN <= audio.sample_rate <= INPUT_HZ_MAX:
        _invalid(f"nothing is recorded at an input sample_rate of {audio.sample_rate}")


def _check_output(audio: Output, *, has_flux_voice: bool) -> None:
    if audio.encoding not in ENCODINGS:
        _invalid(f"this stand-in speaks linear16, mulaw and alaw only, not {audio.encoding}")
    if audio.container != "none":
        _invalid(f"this stand-in and Flux voices have no container {audio.container!r}")
    if audio.bitrate is not UNSET:
        _invalid(f"{audio.encoding} has no `bitrate`")
    rates = FLUX_LINEAR16_HZ if has_flux_voice else LINEAR16_HZ
    if audio.encoding != "linear16":
        rates = COMPANDED_HZ
    if audio.rate_hz not in rates:
        _invalid(f"{audio.encoding} has no output sample_rate of {audio.rate_hz} with this voice")


def _check_name(name: str, *, stored_agents: bool) -> None:
    try:
        uuid.UUID(name)
    except ValueError:
        raise Fault("INVALID_AGENT_ID", f"{name!r} is not the id of an agent") from None
    if not stored_agents:
        raise Fault("AGENT_ID_NOT_SUPPORTED", "this stand-in keeps no agents to be named")


def _invalid(description: str) -> NoReturn:
    raise Fault("INVALID_SETTINGS", description)
