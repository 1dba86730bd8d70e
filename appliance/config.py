"""The settings: one TOML file, read once, checked whole, frozen. Pure but for `read` and `key`.

Every key has a default, so the empty file is a box that works. Each key is judged by itself, so
that no fault hides another: all of them come in one `ConfigError`, each with file, section, key,
value and what was wanted. Unknown keys are faults, because a misspelt key that is passed over is
a setting that its owner believes in. Only then are keys compared with one another, and only
sound ones.

What a key accepts stands in its type, and what is said of a wrong value is made from that type.
A rule that no type can say is a function beside it: it answers what was wanted, or nothing.

The API key is no setting and never part of a message. Whatever looks like a secret in a file of
settings is told without its value, and so are whole tables, where a key of the owner's may lie.
"""

import datetime as dt
import difflib
import ipaddress
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, Struct, ValidationError, convert, field, inspect
from msgspec.structs import fields

from appliance.errors import ConfigError

CREDENTIAL: Final = "deepgram-api-key"
VARIABLE: Final = "DEEPGRAM_API_KEY"
KEY_LIMIT_BYTES = 4096  # no key is near it; a credential may be any file by mistake
SHOWN_CHARACTERS = 60  # of a wrong value: enough to find it
DEPTH_LIMIT = 32  # tables in tables; `a.b.c…` nests as deep as a line is long
SECRET_WORDS = ("key", "secret", "token", "passw", "credential", "auth")
UNITS = {"_ms": " of milliseconds", "_s": " of seconds", "_hz": " of Hz"}

Check = Callable[[Any], str]
Table = dict[str, Any]


def is_loopback(host: str | None) -> bool:
    """Whether `host` is this machine by its name alone: localhost, 127.0.0.0/8 or ::1."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address == ipaddress.IPv6Address("::1") or (
        isinstance(address, ipaddress.IPv4Address) and address.is_loopback
    )


# What no type can say. Each answers what was wanted, or "".


def _split(url: str) -> SplitResult | None:
    """`url` in parts; None if it has no scheme of ours, no host, or cannot be read at all."""
    # urlsplit drops tabs and line ends in silence; what it drops is not what would be dialled.
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in {"ws", "wss"} and parts.hostname and port != 0 else None


def _url(url: str) -> str:
    parts = _split(url)
    if parts is None:
        return "wanted an address like wss://HOST/PATH"
    if parts.username is not None:
        return f"wanted an address without a name or password; the API key goes into {VARIABLE}"
    if parts.fragment:
        return "wanted an address without a #fragment"
    if parts.scheme == "ws" and not is_loopback(parts.hostname):
        return (
            "the API key would travel in the clear; wanted wss:// "
            "(ws:// only to localhost, 127.0.0.0/8 or ::1)"
        )
    steps = [step for step in parts.path.split("/") if step]
    if steps[-1:] == ["agent"] and "v1" not in steps:
        return (
            "the early-access dialect is not spoken by this version; "
            "wanted a path like /v1/agent/converse"
        )
    return ""


def _wire(table: Table | list[Table]) -> str:
    """What goes to the agent as it stands has to be JSON, which knows less than TOML."""
    waiting: list[object] = [table]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dt.date | dt.time):
            return f"it goes to the agent as JSON, which has no dates; wanted {value} in quotes"
        elif isinstance(value, float) and not math.isfinite(value):
            return f"it goes to the agent as JSON, which has no {value}; wanted a number"
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return "it goes to the agent as JSON; wanted whole numbers of at most 64 bits"
    return ""


def _card(name: str) -> str:
    return "" if name.isprintable() and name else "wanted the name of an ALSA card on one line"


def _tags(tags: tuple[str, ...]) -> str:
    return "" if all(tags) else "wanted no empty tag"


def _conversation(limit_s: float) -> str:
    # Sessions of the agent end after two hours, whoever talks (PROTOCOL.md, limits).
    return "" if limit_s == 0 or limit_s >= 10 else "wanted 0 (no limit) or 10 to 7000 seconds"


def _no_cap(usd: float) -> str:
    return "" if usd == 0 else "this version keeps no cap; wanted 0"


def _by(check: Check) -> Meta:
    return Meta(extra={"check": check})


def _refusing(words: dict[str | int, str]) -> Meta:
    return Meta(extra={"refused": words})


# The sections. Units are in the names.

Pin = Annotated[int, Meta(ge=0, le=27)]  # BCM numbers of the 40-pin header
Cap = Annotated[float, Meta(ge=0, le=1_000_000), _by(_no_cap)]


class Agent(Struct, frozen=True):
    """Whom to call and what to say first.

    `listen`, `think` and `speak` reach the wire as they stand: one that is given replaces its
    default whole, so that a new model needs no new version of this program.
    """

    url: Annotated[str, _by(_url)] = "wss://agent.deepgram.com/v1/agent/converse"
    greeting: str = ""
    prompt: str = "You are a helpful voice assistant. Answer in one or two short spoken sentences."
    listen: Annotated[Table, _by(_wire)] = field(
        default_factory=lambda: {
            "provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
        }
    )
    think: Annotated[Table | list[Table], _by(_wire)] = field(
        default_factory=lambda: {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}}
    )
    speak: Annotated[Table | list[Table], _by(_wire)] = field(
        default_factory=lambda: {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}
    )
    # 128 characters is the documented limit of a tag.
    tags: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], _by(_tags)] = ()
    ca_file: str = ""  # PEM certificates to trust instead of the system's; "" the system's


class Talk(Struct, frozen=True):
    """When the box listens, and when it stops."""

    mode: Annotated[
        Literal["hold", "tap"],
        _refusing({"open": 'this version has no "open"; wanted one of "hold", "tap"'}),
    ] = "hold"
    tap_ms: Annotated[int, Meta(ge=0, le=2000)] = 250
    preroll_ms: Annotated[int, Meta(ge=0, le=5000)] = 0
    duplex: Literal["half", "full"] = "half"
    hang_up_after_s: Annotated[float, Meta(ge=1, le=600)] = 20.0
    max_turn_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    max_conversation_s: Annotated[float, Meta(ge=0, le=7000), _by(_conversation)] = 600.0


class Audio(Struct, frozen=True):
    """The cards, by their ALSA names, and the rate of sound in both directions."""

    capture: Annotated[str, _by(_card)] = "default"
    playback: Annotated[str, _by(_card)] = "default"
    rate_hz: Annotated[
        Literal[8000, 16000, 24000, 32000, 48000],
        _refusing({0: "this version finds no rate by itself; wanted one that the card has"}),
    ] = 16000
    period_ms: Annotated[int, Meta(ge=5, le=100)] = 20
    message_ms: Annotated[int, Meta(ge=20, le=200)] = 40
    prebuffer_ms: Annotated[int, Meta(ge=0, le=1000)] = 60
    lead_in_ms: Annotated[int, Meta(ge=0, le=2000)] = 0


class Lamp(Struct, frozen=True):
    """One LED on `pin`, or no lamp; then `pin` means nothing."""

    kind: Literal["led", "none"] = "led"
    pin: Pin = 25


class Buttons(Struct, frozen=True):
    """The pin of each button."""

    talk: Pin = 17


class Panel(Struct, frozen=True):
    """Face and fingers."""

    lamp: Lamp = field(default_factory=Lamp)
    buttons: Buttons = field(default_factory=Buttons)


class Log(Struct, frozen=True):
    """How much is told to the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Spend(Struct, frozen=True):
    """What an hour of open connection costs."""

    usd_per_hour: Annotated[float, Meta(ge=0, le=1000)] = 4.50
    usd_per_day_max: Cap = 0.0
    usd_per_month_max: Cap = 0.0


class Settings(Struct, frozen=True):
    """The whole file."""

    agent: Agent = field(default_factory=Agent)
    talk: Talk = field(default_factory=Talk)
    audio: Audio = field(default_factory=Audio)
    panel: Panel = field(default_factory=Panel)
    log: Log = field(default_factory=Log)
    spend: Spend = field(default_factory=Spend)


def read(path: Path) -> Settings:
    """Settings from the file at `path`; it and `ca_file` are the only files looked at.

    Raises:
        ConfigError: the file cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors on a PC put a mark before the text
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line}: not UTF-8; wanted text"]) from error
    reader = _Reader(str(path))
    settings = reader.settings(text)
    reader.look_at_certificates(settings.agent.ca_file)
    return reader.unless_faulty(settings)


def parse(text: str, source: str) -> Settings:
    """Settings from `text`, which faults call `source`. Looks at no file.

    Raises:
        ConfigError: something in it is wrong; its `faults` are all that could be found.
    """
    reader = _Reader(source)
    return reader.unless_faulty(reader.settings(text))


def key(url: str, environ: Mapping[str, str]) -> str | None:
    """The API key for `url`: the credential of systemd, else the variable; None if none is needed.

    A stand-in agent on loopback needs none. Reads at most one file, of this machine.

    Raises:
        ConfigError: there is no key, or it is none that could be sent. Its message never has it.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    found, where = "", ""
    if directory:
        found, where = _credential(Path(directory) / CREDENTIAL)
    if not found:
        found, where = environ.get(VARIABLE, "").strip(), f"${VARIABLE}"
    if not found:
        parts = _split(url)
        if parts is not None and is_loopback(parts.hostname):
            return None
        looked = f"nothing in {Path(directory) / CREDENTIAL}" if directory else "no credential"
        raise ConfigError(
            [f"no API key: {looked}, and ${VARIABLE} is not set; wanted one of the two"]
        )
    if not (found.isascii() and found.isprintable() and " " not in found):
        raise ConfigError(
            [f"{where}: wanted an API key: printable characters, without spaces or line ends"]
        )
    return found


def _credential(path: Path) -> tuple[str, str]:
    """(the stripped text of the credential or "", what to call it)."""
    try:
        with path.open("rb") as file:
            raw = file.read(KEY_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return "", str(path)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    if len(raw) > KEY_LIMIT_BYTES:
        raise ConfigError([f"{path}: wanted an API key, at most {KEY_LIMIT_BYTES} bytes"])
    # Bytes that are no text become characters that no key has.
    return raw.decode("utf-8", "replace").strip(), str(path)


class _Reader:
    """One reading of one file: collects its faults."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._faults: list[str] = []
        self._unsound: set[str] = set()  # keys with a fault, as "section.key"

    def settings(self, text: str) -> Settings:
        """What `text` says; a faulty key has its default."""
        given = self._document(text)
        settings: Settings = self._section(Settings, given, "")
        self._compare(settings)
        return settings

    def unless_faulty(self, settings: Settings) -> Settings:
        """`settings`, or all faults at once."""
        if self._faults:
            raise ConfigError(self._faults)
        return settings

    def look_at_certificates(self, ca_file: str) -> None:
        """Find a `ca_file` that cannot be used now, not at the first press."""
        if not ca_file:
            return
        try:
            content = Path(ca_file).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            words = error.strerror if isinstance(error, OSError) else str(error)
            self._tell("agent", "ca_file", ca_file, f"cannot be read: {words}")
            return
        if b"-----BEGIN" not in content:
            self._tell("agent", "ca_file", ca_file, "wanted a file of PEM certificates")

    def _document(self, text: str) -> Table:
        try:
            given = tomllib.loads(text)
        except RecursionError:
            self._faults.append(f"{self._source}: nested too deep; wanted sections with keys")
        except ValueError as error:  # TOMLDecodeError is one, and numbers without end are others
            self._faults.append(f"{self._source}: {error}; wanted TOML")
        else:
            if not _is_too_deep(given):
                return given
            self._faults.append(f"{self._source}: nested too deep; wanted sections with keys")
        return {}

    def _section(self, kind: type[Any], given: Table, section: str) -> Any:
        """A `kind` made of the sound keys of `given`."""
        known = {known.name: known.type for known in fields(kind)}
        sound = {}
        for name, value in given.items():
            path = f"{section}.{name}" if section else name
            if name not in known:
                self._tell_unknown(section, name, value, known)
            elif isinstance(known[name], type) and issubclass(known[name], Struct):
                if isinstance(value, dict):
                    sound[name] = self._section(known[name], value, path)
                else:
                    self._unsound.add(path)
                    self._tell(section, name, value, f"wanted a section [{path}]")
            else:
                fault, judged = _judge(name, known[name], value)
                if fault:
                    self._unsound.add(path)
                    self._tell(section, name, value, fault)
                else:
                    sound[name] = judged
        return kind(**sound)

    def _compare(self, settings: Settings) -> None:
        """What keys are to one another."""
        lamp, talk = settings.panel.lamp, settings.panel.buttons.talk
        ours = {"panel.lamp", "panel.lamp.kind", "panel.lamp.pin", "panel.buttons.talk"}
        if lamp.kind == "led" and lamp.pin == talk and not ours & self._unsound:
            self._tell("panel.buttons", "talk", talk, "[panel.lamp] has this pin; wanted another")

    def _tell_unknown(self, section: str, name: str, value: object, known: Iterable[str]) -> None:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        if not section:
            if isinstance(value, dict | list):
                at = _bare(name)
                self._faults.append(
                    f"{self._source}: [{at}]: no such section; the nearest is [{nearest}]"
                )
                return
            nearest = f"[{nearest}]"
        if any(word in name.lower() for word in SECRET_WORDS):
            at = f"[{section}] " if section else ""
            self._faults.append(
                f"{self._source}: {at}{_bare(name)}: no such key; secrets are not settings: "
                f"wanted the API key in the credential {CREDENTIAL} or in {VARIABLE}"
            )
            return
        home = [at for at, names in KEYS.items() if name in names]
        words = f"it belongs in [{home[0]}]" if home else f"the nearest is {nearest}"
        self._tell(section, name, value, f"no such key; {words}")

    def _tell(self, section: str, name: str, value: object, words: str) -> None:
        at = f"[{section}] " if section else ""
        self._faults.append(f"{self._source}: {at}{_bare(name)} = {_shown(value)}: {words}")


def _judge(name: str, kind: Any, value: object) -> tuple[str, Any]:
    """(what was wanted, None), or ("", the value as the settings keep it)."""
    info = inspect.type_info(kind)
    extra: dict[str, Any] = {}
    if isinstance(info, inspect.Metadata):
        extra, info = info.extra or {}, info.type
    try:
        judged = convert(value, kind)
    except ValidationError:
        refused: dict[object, str] = extra.get("refused", {})
        if type(value) in {str, int} and value in refused:  # false is 0 to a dictionary
            return refused[value], None
        return f"wanted {_wanted(name, info)}", None
    check: Check | None = extra.get("check")
    return (check(judged) if check else ""), judged


def _wanted(name: str, info: inspect.Type) -> str:
    """What a type accepts, in words."""
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    match info:
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(_shown(value) for value in values)
        case inspect.IntType(ge=low, le=high):
            return f"a whole number{unit} from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number{unit} from {low:g} to {high:g}"
        case inspect.StrType():
            return "text"
        case inspect.VarTupleType(item_type=inspect.StrType(max_length=length)):
            return f"a list of texts of at most {length} characters"
        case inspect.DictType():
            return "a table"
        case _:
            return "a table or a list of tables"


def _is_too_deep(table: Table) -> bool:
    layer: list[object] = [table]
    for _ in range(DEPTH_LIMIT):
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(layer)


def _bare(name: str) -> str:
    """A key as its owner wrote it, on one line."""
    return _shown(name)[1:-1] or '""'


def _shown(value: object) -> str:
    """A value as its owner wrote it, or nearly: on one line and short."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            shown = _without_secrets(value)
            cut = len(shown) > SHOWN_CHARACTERS
            shown = shown[:SHOWN_CHARACTERS]
            shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
            return f'"{shown}…"' if cut else f'"{shown}"'
        case int():
            return str(value) if -(2**63) <= value < 2**63 else "(a number of more than 64 bits)"
        case dict():
            return "{…}" if value else "{}"
        case list():
            # A list of lists or tables may hold a secret as any table may.
            plain = not any(isinstance(item, dict | list) for item in value)
            shown = ", ".join(_shown(item) for item in value) if plain else "…"
            return f"[{shown}]" if len(shown) <= SHOWN_CHARACTERS else "[…]"
        case _:
            return str(value)


def _without_secrets(text: str) -> str:
    """An address without who is asked in at its door and with what; any other text as it is."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    place, question, _ = rest.partition("?")
    _, at, place = place.rpartition("@")
    return f"{scheme}://{'…@' if at else ''}{place}{'?…' if question else ''}"


def _keys(kind: type[Any], section: str) -> dict[str, frozenset[str]]:
    """Every key that there is, by its section."""
    inner: dict[str, frozenset[str]] = {}
    plain = []
    for known in fields(kind):
        if isinstance(known.type, type) and issubclass(known.type, Struct):
            inner |= _keys(known.type, f"{section}.{known.name}" if section else known.name)
        else:
            plain.append(known.name)
    return {section: frozenset(plain), **inner} if plain else inner


KEYS: Final = _keys(Settings, "")
