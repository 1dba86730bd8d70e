"""What the agent would refuse of the owner's tables, found before the first press. Pure.

`listen`, `think` and `speak` reach the wire as they stand, so that a new model or a new vendor
needs no new version of this program: a kind of provider, a version or a field that we do not know
passes. What a known one certainly refuses is told here, in words, beside the key that it
contradicts. The server would say it at the first press, and end the session.

Sources: the official AsyncAPI of July 2026, the newest official SDK for Python and Deepgram's own
notes of autumn 2026 for V1; the official AsyncAPI of March 2025 for early access.
"""

import datetime as dt
import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from appliance.agent import early_access, v1
from appliance.config_reader import MISSING, Table, is_secret, shown

# What every voice has, in Hz; Flux voices have 44100 besides.
LINEAR16_HZ = (8000, 16000, 24000, 32000, 48000)
COMPANDED_HZ = (8000, 16000)
OLDER_MODELS = ("nova", "aura")  # of version v1: what Flux came after

HOTTEST = {"open_ai": 2, "anthropic": 1, "google": 2, "groq": 2, "aws_bedrock": 2}
THINKS_ELSEWHERE = ("groq", "aws_bedrock")  # never on Deepgram's account
# Voices of other makers, and what each cannot do without.
VOICE_NEEDS = {
    "eleven_labs": ("model_id",),
    "cartesia": ("model_id", "voice"),
    "open_ai": ("model", "voice"),
    "aws_polly": ("voice", "language", "engine", "credentials"),
}
SPEAKS_HERE = ("cartesia",)  # also on Deepgram's account

V1_SHAPES = {
    "listen": 'listen = { provider = { type = "deepgram", model = … } }',
    "think": 'think = { provider = { type = "open_ai", model = … } }',
    "speak": 'speak = { provider = { type = "deepgram", model = … } }',
}
EARLY_SHAPES = {
    "listen": 'listen = { model = "nova-3" }',
    "think": 'think = { provider = { type = "open_ai" }, model = "gpt-4o-mini" }',
    "speak": 'speak = { model = "aura-asteria-en" }',
}
# Keys of [agent] that a dialect has no words for.
EARLY_WORDLESS = ("id", "tags", "mip_opt_out", "experimental", "flags", "think_live")
WORDLESS: Final = {v1.NAME: (), early_access.NAME: EARLY_WORDLESS}


class Refusal(NamedTuple):
    """Where, which key, its value or MISSING, and what was wanted."""

    at: str
    name: str
    value: object
    words: str


class _Entry:
    """One table of a block, with its place; it knows how to say what is wrong in it."""

    def __init__(self, block: str, number: int, table: Table) -> None:
        self.block = block
        self.table = table
        self._at = f"[[agent.{block}]] {number}" if number else "[agent]"
        self._around = () if number else (block,)

    def refusal(self, name: str, words: str) -> Refusal:
        """A fault of `name`, which is dotted if it lies deeper."""
        value: object = self.table
        for step in name.split("."):
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        return Refusal(self._at, ".".join((*self._around, name)), value, words)

    @property
    def provider(self) -> Table:
        """Its provider; empty if that is none."""
        provider = self.table.get("provider")
        return provider if isinstance(provider, dict) else {}

    def refuse(self, names: tuple[str, ...], words: str) -> Iterator[Refusal]:
        """A fault of each of these that is in the provider."""
        for name in names:
            if name in self.provider:
                yield self.refusal(f"provider.{name}", words)

    def need(self, names: tuple[str, ...], beside: str) -> Iterator[Refusal]:
        """A fault of each of these that is not in the provider."""
        for name in names:
            if name not in self.provider:
                yield self.refusal(f"provider.{name}", f"{beside} cannot do without it")

    def limit(self, name: str, low: float, high: float, beside: str) -> Iterator[Refusal]:
        """A fault of a number in the provider that is none from `low` to `high`."""
        value = self.provider.get(name, low)
        whole = "whole " if isinstance(low, int) else ""
        if not (_is_number(value, whole=bool(whole)) and low <= value <= high):
            words = f"{beside}: wanted a {whole}number from {low:g} to {high:g}"
            yield self.refusal(f"provider.{name}", words)


def refusals(dialect: str, block: str, given: Table | list[Table]) -> Iterator[Refusal]:
    """What a dialect refuses of the owner's `listen`, `think` or `speak`."""
    rules, knows_fallbacks = _RULES[dialect]
    if isinstance(given, dict):
        yield from rules[block](_Entry(block, 0, given))
    elif not given:
        yield Refusal("[agent]", block, given, "wanted at least one table")
    elif not knows_fallbacks:
        words = f"the early-access dialect knows no fallbacks; wanted {EARLY_SHAPES[block]}"
        yield Refusal("[agent]", block, given, words)
    else:
        for number, table in enumerate(given, 1):
            yield from rules[block](_Entry(block, number, table))


def rate_fault(dialect: str, encoding: str, rate_hz: int, speak: Table | list[Table] | None) -> str:
    """Why this encoding or one of these voices has not this rate; "" if nothing is known of it."""
    rates: tuple[int, ...]
    voice_of, default = _VOICES[dialect]
    if encoding != "linear16":
        rates, owner = COMPANDED_HZ, f"encoding = {shown(encoding)}"
    else:
        voices = speak if isinstance(speak, list) else [default if speak is None else speak]
        old = [name for name in map(voice_of, voices) if name]
        if not old:
            return ""
        rates, owner = LINEAR16_HZ, f"[agent] speak has the voice {old[0]}, which"
    if rate_hz in rates:
        return ""
    return f"{owner} has not this rate; wanted one of {', '.join(map(str, rates))}"


def json_fault(table: Table | list[Table]) -> str:
    """Why a table cannot be said in JSON, which knows less than TOML; "" if it can."""
    waiting: list[tuple[bool, object]] = [(False, table)]
    while waiting:
        is_hidden, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((is_hidden or is_secret(name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend((is_hidden, inner) for inner in value)
        elif isinstance(value, dt.date | dt.time):
            said = "it" if is_hidden else value
            return f"it goes to the agent as JSON, which has no dates; wanted {said} in quotes"
        elif isinstance(value, float) and not math.isfinite(value):
            return f"it goes to the agent as JSON, which has no {value}; wanted a number"
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return "it goes to the agent as JSON; wanted whole numbers of at most 64 bits"
    return ""


def _is_number(value: object, *, whole: bool = False) -> bool:
    kind = int if whole else int | float
    return isinstance(value, kind) and not isinstance(value, bool)


# ── V1 ───────────────────────────────────────────────────────────────────────────────────────────


def _v1_listen(listen: _Entry) -> Iterator[Refusal]:
    if not listen.table:  # the server chooses
        return
    misshapen = list(_v1_shape(listen, ("model", "keyterms")))
    yield from misshapen
    if misshapen:
        return
    provider = listen.provider
    if provider.get("type") != "deepgram":
        return
    beside = _model(provider)
    yield from _versions(listen)
    if _is_new(provider):
        return
    yield from listen.limit("eot_threshold", 0.5, 1.0, beside)
    yield from listen.limit("eager_eot_threshold", 0.3, 0.9, beside)
    yield from listen.limit("eot_timeout_ms", 500, 60_000, beside)
    is_flux = _is_flux(provider)
    if is_flux:
        yield from listen.need(("model",), beside)
        words = f"{beside} takes none; wanted it left out, or language_hints and flux-general-multi"
        yield from listen.refuse(("language",), words)
        yield from listen.refuse(("smart_format",), f"{beside} has none; wanted it left out")
    if is_flux is False:
        turns = ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms")
        words = f'{beside} finds no turns; wanted it left out, or a Flux model and version = "v2"'
        yield from listen.refuse(turns, words)
    if is_flux is False or (is_flux and "multi" not in str(provider.get("model"))):
        words = f"{beside} takes none; wanted it left out, or flux-general-multi"
        yield from listen.refuse(("language_hints",), words)


def _v1_think(think: _Entry) -> Iterator[Refusal]:
    misshapen = list(_v1_shape(think, ("model", "instructions")))
    yield from misshapen
    if misshapen:
        return
    kind = think.provider.get("type")
    beside = f"provider.type = {shown(kind)}"
    if kind == "custom":
        words = "that was early access; wanted the vendor whose API it has, and endpoint beside it"
        yield think.refusal("provider.type", words)
    if kind in HOTTEST:
        yield from think.need(("model",), beside)
        if not isinstance(think.provider.get("model", ""), str):
            yield think.refusal("provider.model", "wanted text")
        yield from think.limit("temperature", 0.0, HOTTEST[kind], beside)
    if kind in THINKS_ELSEWHERE and "endpoint" not in think.table:
        yield think.refusal("endpoint", f"{beside} cannot do without it")
    length = think.table.get("context_length", "max")
    if "endpoint" not in think.table and "context_length" in think.table:
        yield think.refusal("context_length", "wanted an endpoint beside it: only there it counts")
    elif length != "max" and not (_is_number(length) and length > 0):
        yield think.refusal("context_length", 'wanted a number of characters, or "max"')


def _v1_speak(speak: _Entry) -> Iterator[Refusal]:
    misshapen = list(_v1_shape(speak, ("model", "voice_id")))
    yield from misshapen
    if misshapen:
        return
    kind = speak.provider.get("type")
    beside = f"provider.type = {shown(kind)}"
    if kind == "deepgram":
        yield from _deepgram_voice(speak)
    elif kind in VOICE_NEEDS:
        yield from speak.need(VOICE_NEEDS[kind], beside)
        if kind == "cartesia":
            yield from speak.limit("volume", 0.5, 2.0, beside)
        if "endpoint" in speak.table:
            yield from _voice_endpoint(speak, beside)
        elif kind not in SPEAKS_HERE:
            yield speak.refusal("endpoint", f"{beside} cannot do without it")


def _deepgram_voice(speak: _Entry) -> Iterator[Refusal]:
    provider = speak.provider
    beside, is_flux = _model(provider), _is_flux(provider)
    yield from _versions(speak)
    if _is_new(provider):
        return
    yield from speak.need(("model",), 'provider.type = "deepgram"')
    yield from speak.refuse(("language",), f"{beside} has its language; wanted it left out")
    words = f"{beside} is asked for bare sound, by [audio] encoding and rate_hz; wanted it left out"
    yield from speak.refuse(("container", "bitrate"), words)
    for name in ("container", "bitrate"):
        if name in speak.table:
            yield speak.refusal(name, words)
    yield from speak.limit("speed", 0.7 if is_flux is False else 0.5, 1.5, beside)
    if is_flux is False:
        words = f'{beside} has none; wanted it left out, or a Flux voice and version = "v2"'
        yield from speak.refuse(("expressivity",), words)
    else:
        yield from speak.limit("expressivity", -2, 2, beside)


def _voice_endpoint(speak: _Entry, beside: str) -> Iterator[Refusal]:
    endpoint = speak.table["endpoint"]
    url = endpoint.get("url") if isinstance(endpoint, dict) else None
    schemes = ("https", "wss") if speak.provider["type"] == "eleven_labs" else ("https",)
    if not isinstance(url, str) or not url.startswith(tuple(f"{one}://" for one in schemes)):
        words = f"{beside}: wanted an address like {' or '.join(f'{one}://…' for one in schemes)}"
        yield speak.refusal("endpoint.url", words)


def _v1_shape(entry: _Entry, moved: tuple[str, ...]) -> Iterator[Refusal]:
    """Each key that is where early access has it, or the lack of a provider."""
    wanted = f"wanted {V1_SHAPES[entry.block]}"
    early = [name for name in moved if name in entry.table]
    for name in early:
        yield entry.refusal(name, f"that is the early-access shape; {wanted}")
    if early:
        return
    if not isinstance(entry.table.get("provider"), dict):
        yield entry.refusal("provider", wanted)
    elif not isinstance(entry.provider.get("type"), str):
        yield entry.refusal("provider.type", f"{_model(entry.provider)} says not whose; {wanted}")


def _versions(entry: _Entry) -> Iterator[Refusal]:
    """A version and a model that are not of one family: no version is v1, also for Flux."""
    version, model = entry.provider.get("version", "v1"), entry.provider.get("model", "")
    for name, value in (("version", version), ("model", model)):
        if not isinstance(value, str):
            yield entry.refusal(f"provider.{name}", "wanted text")
    if version == "v1" and str(model).startswith("flux"):
        said = 'version = "v1"' if "version" in entry.provider else "no version"
        words = f'{said} means no Flux; wanted version = "v2"'
        yield entry.refusal("provider.model", words)
    if version == "v2" and str(model).startswith(OLDER_MODELS):
        words = f'model = {shown(model)} is no Flux; wanted version = "v1", or a Flux model'
        yield entry.refusal("provider.version", words)


def _is_new(provider: Table) -> bool:
    """Whether it has a version of which nothing is known."""
    return provider.get("version", "v1") not in ("v1", "v2")


def _is_flux(provider: Table) -> bool | None:
    """Whether model and version are of Flux; None where they contradict each other."""
    version, model = provider.get("version", "v1"), str(provider.get("model", ""))
    if version == "v1" and not model.startswith("flux"):
        return False
    return True if version == "v2" and not model.startswith(OLDER_MODELS) else None


def _model(provider: Table) -> str:
    """What a fault calls the model."""
    name = "model" if "model" in provider else "version"
    return f"{name} = {shown(provider[name])}" if name in provider else "a provider without model"


def _v1_voice(voice: Table) -> str:
    """The name of a voice that has not Flux's rates; "" of any other."""
    provider = voice.get("provider")
    if isinstance(provider, dict) and provider.get("type") == "deepgram":
        return shown(provider.get("model", "")) if _is_flux(provider) is False else ""
    return ""


# ── early access ─────────────────────────────────────────────────────────────────────────────────


def _early_shape(entry: _Entry) -> Iterator[Refusal]:
    if isinstance(entry.table.get("provider"), dict):
        yield entry.refusal("provider", f"that is the shape of V1; {_early_wanted(entry)}")


def _early_think(think: _Entry) -> Iterator[Refusal]:
    wanted = _early_wanted(think)
    if "model" in think.provider:
        yield think.refusal("provider.model", f"that is the shape of V1; {wanted}")
    else:
        if not isinstance(think.provider.get("type"), str):
            yield think.refusal("provider.type", wanted)
        if not isinstance(think.table.get("model"), str):
            yield think.refusal("model", wanted)
    for name, early in (("prompt", "instructions"), ("endpoint", "provider.url")):
        if name in think.table:
            yield think.refusal(name, f"that is the shape of V1; wanted {early}")


def _early_wanted(entry: _Entry) -> str:
    return f"the early-access dialect wanted {EARLY_SHAPES[entry.block]}"


def _early_voice(voice: Table) -> str:
    return shown(voice.get("model", ""))


_RULES: Final = {
    v1.NAME: ({"listen": _v1_listen, "think": _v1_think, "speak": _v1_speak}, True),
    early_access.NAME: (
        {"listen": _early_shape, "think": _early_think, "speak": _early_shape},
        False,
    ),
}
_VOICES: Final = {
    v1.NAME: (_v1_voice, dict(v1.SPEAK)),
    early_access.NAME: (_early_voice, dict(early_access.SPEAK)),
}
