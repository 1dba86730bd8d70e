"""The settings: one TOML file, read once, checked whole, frozen. Pure but for `read` and `key`.

Every key has a default, so the empty file is a box that works; only an entry of [[tools]] has to
say what it is. Unknown keys are faults, because a misspelt key that is passed over is a setting
that its owner believes in, and so is every other key that could have no effect beside the rest.
All faults come in one `ConfigError`, each with file, section, key, value and what was wanted:
how they are found is `config_reader`'s, what is known of the agent's tables `config_wire`'s, and
what is known of lamps and boards `config_panel`'s, of buttons `config_buttons`'s.

The API key is no setting and never part of a message.
"""

import ipaddress
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, Struct, field

from appliance.agent import early_access, v1
from appliance.agent.dialect import is_early_access
from appliance.config_buttons import Buttons, Gestures, compare_buttons, compare_gestures
from appliance.config_panel import Face, beneath, compare_face
from appliance.config_reader import Reader, Table, rule, shown
from appliance.config_wire import WORDLESS, json_fault, rate_fault, refusals
from appliance.errors import ConfigError
from appliance.sound.names import ECHO_RATES_HZ, RATES_HZ
from appliance.sound.sentences import LANGUAGES

CREDENTIAL: Final = "deepgram-api-key"
VARIABLE: Final = "DEEPGRAM_API_KEY"
KEY_LIMIT_BYTES = 4096  # no key is near it; a credential may be any file by mistake
# Functions that the box has itself; no entry of [[tools]] may be called so.
BUILT_IN_TOOLS: Final = ("set_volume", "end_conversation", "mute_microphone", "get_status")


ARGV = 'a list of texts, the first an absolute path, as ["/usr/bin/date", "+%H:%M"]'
TOOL_NAME = "1 to 64 letters, digits, _ and -"
TOOL_DESCRIPTION = "a sentence that tells the agent when to call it"
SECRETS = f"wanted the API key in the credential {CREDENTIAL} or in {VARIABLE}"
# Names that are the API's, and where they go.
ELSEWHERE = {
    "language": "it belongs in [agent.listen.provider], with Nova; Flux has language_hints; "
    "that of what the box says by itself belongs in [cues]",
    "keyterms": "it belongs in [agent.listen.provider]",
    "model": "it belongs in a provider of [agent] listen, think or speak",
    "functions": "those of this box are [[tools]]",
}


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


def _split(url: str, *schemes: str) -> SplitResult | None:
    """`url` in parts; None if it has another scheme, no host, or cannot be read at all."""
    # urlsplit drops tabs and line ends in silence; what it drops is not what would be dialled.
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in schemes and parts.hostname and port != 0 else None


def _url(url: str) -> str:
    parts = _split(url, "ws", "wss")
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
    return ""


def _proxy(url: str) -> str:
    parts = _split(url, "http")
    is_bare = parts and parts.path in {"", "/"} and not parts.query + parts.fragment
    if not url or (is_bare and parts and parts.port):
        return ""
    return "wanted an address like http://HOST:PORT, or http://NAME:PASSWORD@HOST:PORT"


def _agent_id(name: str) -> str:
    shape = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    return "" if not name or re.fullmatch(shape, name) else "wanted the UUID of a stored agent"


def _argv(argv: tuple[str, ...]) -> str:
    is_one = argv[:1] != () and argv[0].startswith("/") and not any("\0" in word for word in argv)
    return "" if is_one else f"wanted {ARGV}"


def _argv_or_none(argv: tuple[str, ...]) -> str:
    return _argv(argv) if argv else ""


def _tool_name(name: str) -> str:
    if name in BUILT_IN_TOOLS:
        return "the box has a function of this name itself; wanted another"
    return "" if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) else f"wanted {TOOL_NAME}"


def _tool_description(words: str) -> str:
    return "" if words.strip() else f"wanted {TOOL_DESCRIPTION}"


def _tool_parameters(schema: Table) -> str:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("type") != "object":
        return 'wanted a JSON schema with type = "object"'
    if not (
        isinstance(properties, dict)
        and all(isinstance(schema, dict) for schema in properties.values())
    ):
        return "wanted a JSON schema: properties is a table of tables"
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        return "wanted a JSON schema: required is a list of names"
    return json_fault(schema)


def _card(name: str) -> str:
    return "" if name.isprintable() and name else "wanted the name of an ALSA card on one line"


def _control(name: str) -> str:
    wanted = (
        'wanted "auto", "none" or the name of a control of the card, as `amixer scontrols` has it'
    )
    return "" if name.isprintable() and name and "'" not in name else wanted


def _language(name: str) -> str:
    ours = ", ".join(LANGUAGES)
    return "" if name in ("", *LANGUAGES) else f'wanted "" (no sentences) or one of {ours}'


def _tags(tags: tuple[str, ...]) -> str:
    return "" if all(tags) else "wanted no empty tag"


def _conversation(limit_s: float) -> str:
    # Sessions of the agent end after two hours, whoever talks (changelog of 31 July 2026).
    return "" if limit_s == 0 or limit_s >= 10 else "wanted 0 (no limit) or 10 to 7000 seconds"


# The sections. Units are in the names.

Cap = Annotated[float, Meta(ge=0, le=1_000_000)]  # 0: none


class Agent(Struct, frozen=True):
    """Whom to call and what to say first.

    `listen`, `think` and `speak` reach the wire as they stand: one that is given replaces the
    dialect's own whole, so that a new model needs no new version of this program. None is that
    default.
    """

    url: Annotated[str, rule(_url)] = "wss://agent.deepgram.com/v1/agent/converse"
    dialect: Literal["auto", "v1", "early-access"] = "auto"  # auto: by the path of `url`
    id: Annotated[str, rule(_agent_id)] = ""  # of a stored agent: it has all of the next six
    greeting: str = ""  # spoken by `open` only
    prompt: str = "You are a helpful voice assistant. Answer in one or two short spoken sentences."
    listen: Annotated[Table | None, rule(json_fault)] = None
    think: Annotated[Table | list[Table] | None, rule(json_fault)] = None
    speak: Annotated[Table | list[Table] | None, rule(json_fault)] = None
    think_live: Annotated[Table | None, rule(json_fault)] = None  # by invitation of Deepgram's
    # 128 characters is the documented limit of a tag.
    tags: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], rule(_tags)] = ()
    mip_opt_out: bool = False  # of Deepgram's model improvement programme
    experimental: bool = False
    flags: Annotated[Table | None, rule(json_fault)] = None  # as { history = false }
    remember_over_restart: bool = False
    key_command: Annotated[tuple[str, ...], rule(_argv_or_none, wanted=ARGV)] = ()
    ca_file: str = ""  # PEM certificates to trust instead of the system's; "" the system's
    proxy: Annotated[str, rule(_proxy)] = ""  # HTTP CONNECT; "" none

    @property
    def spoken_dialect(self) -> str:
        """The name of the dialect: that of `dialect`, or by the path of `url`."""
        if self.dialect == "auto":
            return early_access.NAME if is_early_access(self.url) else v1.NAME
        return self.dialect


class Talk(Struct, frozen=True):
    """When the box listens, and when it stops."""

    mode: Literal["hold", "tap", "open"] = "hold"
    tap_ms: Annotated[int, Meta(ge=0, le=2000)] = 250
    long_press_s: Annotated[float, Meta(ge=1, le=10)] = 3.0
    preroll_ms: Annotated[int, Meta(ge=0, le=5000)] = 0
    duplex: Literal["half", "full"] = "half"
    hang_up_after_s: Annotated[float, Meta(ge=1, le=600)] = 20.0
    remember_for_s: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    max_turn_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    max_conversation_s: Annotated[float, Meta(ge=0, le=7000), rule(_conversation)] = 600.0


class Audio(Struct, frozen=True):
    """The cards, by their ALSA names, and the form of sound in both directions."""

    capture: Annotated[str, rule(_card)] = "default"
    playback: Annotated[str, rule(_card)] = "default"
    rate_hz: Literal[0, 8000, 16000, 24000, 32000, 44100, 48000] = 16000  # 0: one is found
    encoding: Literal["linear16", "mulaw", "alaw"] = "linear16"  # of the wire, not of the cards
    period_ms: Annotated[int, Meta(ge=5, le=100)] = 20
    message_ms: Annotated[int, Meta(ge=20, le=200)] = 40
    prebuffer_ms: Annotated[int, Meta(ge=0, le=1000)] = 60
    volume: Annotated[int, Meta(ge=0, le=100)] = 100  # of the first start; then what was set last
    mixer: Annotated[str, rule(_control)] = "auto"  # a control of the card; "none": a software gain
    lead_in_ms: Annotated[int, Meta(ge=0, le=2000)] = 0
    echo: Literal["none", "webrtc"] = "none"  # what takes the box's own voice out of the uplink


class Cues(Struct, frozen=True):
    """What the box lets hear by itself."""

    listening: bool = False  # the agent hears it too
    done: bool = False
    trouble: bool = True
    language: Annotated[str, rule(_language)] = "en"  # of its sentences; "": none are spoken
    prompts_dir: str = ""  # sentences of the owner's, NAME.wav, in place of ours of that name


class Panel(Face, frozen=True):
    """Face and fingers, and the way to their pins: by itself, or that and no other."""

    pins: Literal["auto", "gpiod", "lgpio", "rpigpio", "pigpio", "native"] = "auto"
    buttons: Buttons = field(default_factory=Buttons)
    gestures: Gestures = field(default_factory=Gestures)


class Log(Struct, frozen=True):
    """How much is told to the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Spend(Struct, frozen=True):
    """What an hour of open connection costs, and how much may be spent; 0 is no cap."""

    usd_per_hour: Annotated[float, Meta(ge=0, le=1000)] = 4.50
    usd_per_day_max: Cap = 0.0
    usd_per_month_max: Cap = 0.0


class Keep(Struct, frozen=True):
    """What of the conversations is kept on the box, and how much of it for how long."""

    transcript: bool = False
    audio: bool = False
    max_mb: Annotated[int, Meta(ge=1, le=100_000)] = 100
    max_days: Annotated[int, Meta(ge=1, le=3650)] = 30


class Tool(Struct, frozen=True, kw_only=True):
    """A function that the agent may call: a command of this machine.

    `command` is no line for a shell: a program by its absolute path, and its arguments.
    """

    name: Annotated[str, rule(_tool_name, wanted=TOOL_NAME)]
    description: Annotated[str, rule(_tool_description, wanted=TOOL_DESCRIPTION)]
    parameters: Annotated[Table, rule(_tool_parameters)] = field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    command: Annotated[tuple[str, ...], rule(_argv, wanted=ARGV)]
    defer_until_eot: bool = False
    confirm: Literal["", "button"] = ""
    timeout_s: Annotated[float, Meta(ge=1, le=60)] = 10.0
    output_bytes: Annotated[int, Meta(ge=1, le=65_536)] = 4096


class Settings(Struct, frozen=True):
    """The whole file."""

    agent: Agent = field(default_factory=Agent)
    talk: Talk = field(default_factory=Talk)
    audio: Audio = field(default_factory=Audio)
    cues: Cues = field(default_factory=Cues)
    panel: Panel = field(default_factory=Panel)
    log: Log = field(default_factory=Log)
    spend: Spend = field(default_factory=Spend)
    keep: Keep = field(default_factory=Keep)
    tools: tuple[Tool, ...] = ()


DEFAULTS: Final = Settings()


def read(path: Path) -> Settings:
    """Settings from the file at `path`; beside it only `ca_file` and `prompts_dir` are looked at.

    An optional package that they ask for is looked for as well, but not imported.

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
    reader, settings = _parse(text, str(path))
    _look_at_certificates(reader, settings.agent.ca_file)
    _look_at_prompts(reader, settings.cues.prompts_dir)
    _look_for_canceller(reader, settings.audio.echo)
    return _unless_faulty(reader, settings)


def parse(text: str, source: str) -> Settings:
    """Settings from `text`, which faults call `source`. Looks at no file.

    Raises:
        ConfigError: something in it is wrong; its `faults` are all that could be found.
    """
    return _unless_faulty(*_parse(text, source))


def _parse(text: str, source: str) -> tuple[Reader, Settings]:
    reader = Reader(source, Settings, secrets=SECRETS, elsewhere=ELSEWHERE)
    settings: Settings = reader.read(text, lambda given: beneath(given, Buttons))
    _compare(reader, settings)
    return reader, settings


def _unless_faulty(reader: Reader, settings: Settings) -> Settings:
    """`settings`, or all faults at once."""
    if reader.faults:
        raise ConfigError(reader.faults)
    return settings


def _look_at_certificates(reader: Reader, ca_file: str) -> None:
    """Find a `ca_file` that cannot be used now, not at the first press."""
    if not ca_file:
        return
    try:
        content = Path(ca_file).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        words = error.strerror if isinstance(error, OSError) else str(error)
        reader.tell("[agent]", "ca_file", ca_file, f"cannot be read: {words}")
        return
    if b"-----BEGIN" not in content:
        reader.tell("[agent]", "ca_file", ca_file, "wanted a file of PEM certificates")


def _look_at_prompts(reader: Reader, folder: str) -> None:
    if folder and not Path(folder).is_dir():
        reader.tell("[cues]", "prompts_dir", folder, "wanted a folder with WAV files")


def _look_for_canceller(reader: Reader, echo: str) -> None:
    """Find out now that a package is not there, not when the box is to start."""
    is_there = find_spec("livekit") is not None and find_spec("livekit.rtc") is not None
    if echo == "webrtc" and not is_there:
        words = "it needs the extra dsp: pip install 'voice-appliance[dsp]', install.sh --extra dsp"
        reader.tell("[audio]", "echo", echo, words)


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
        parts = _split(url, "ws", "wss")
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


# What keys are to one another. Only sound ones are compared.


def _compare(reader: Reader, settings: Settings) -> None:
    """Tell what contradicts itself."""
    if reader.is_sound("panel"):
        compare_face(reader, settings.panel)
        compare_buttons(reader, settings.panel.lamp, settings.panel.buttons)
        compare_gestures(reader, settings.panel.gestures, settings.panel.buttons, settings.talk)
    for name in ("usd_per_day_max", "usd_per_month_max"):
        cap = getattr(settings.spend, name)
        if cap and not settings.spend.usd_per_hour and reader.is_sound("spend"):
            words = "usd_per_hour = 0 counts nothing, so no cap is ever reached; wanted a price"
            reader.tell("[spend]", name, cap, words)
    if reader.is_sound("talk", "audio"):
        _compare_echo(reader, settings)
    _compare_agent(reader, settings)
    _compare_cues(reader, settings)
    if reader.is_sound("agent.url", "agent.dialect"):
        _compare_dialect(reader, settings)
    if reader.is_sound("agent.prompt", "agent.think", "tools"):
        _compare_think(reader, settings)


def _compare_cues(reader: Reader, settings: Settings) -> None:
    """What [cues] asks for in vain."""
    cues, mode = settings.cues, settings.talk.mode
    if cues.done and mode != "hold" and reader.is_sound("talk.mode"):
        words = f'[talk] mode = "{mode}" finds the end with an open microphone; wanted false'
        reader.tell("[cues]", "done", True, words)
    if cues.prompts_dir and not cues.language and reader.is_sound("cues.language"):
        words = 'language = "" speaks no sentences; wanted one of the two'
        reader.tell("[cues]", "prompts_dir", cues.prompts_dir, words)


def _compare_echo(reader: Reader, settings: Settings) -> None:
    """A canceller that would have nothing to do, or could not do it."""
    talk, audio = settings.talk, settings.audio
    if audio.echo == "none":
        return
    words = ""
    if talk.mode == "hold":
        words = '[talk] mode = "hold" hears nothing while an answer sounds; wanted "tap" or "open"'
    elif talk.duplex == "half":
        words = '[talk] duplex = "half" hears nothing while an answer sounds; wanted "full"'
    elif audio.rate_hz and audio.rate_hz not in ECHO_RATES_HZ:
        rates = ", ".join(map(str, ECHO_RATES_HZ))
        words = f"it cannot work at rate_hz = {audio.rate_hz}; wanted one of {rates}"
    if words:
        reader.tell("[audio]", "echo", audio.echo, words)


def _compare_agent(reader: Reader, settings: Settings) -> None:
    """What [agent] says twice, or in vain."""
    agent = settings.agent
    for name in ("prompt", "greeting", "listen", "think", "speak", "think_live"):
        value = getattr(agent, name)
        if agent.id and value != getattr(DEFAULTS.agent, name):
            words = f"id = {shown(agent.id)} is an agent that has its own; wanted one of the two"
            reader.tell("[agent]", name, value, words)
    if agent.proxy and agent.url.lower().startswith("ws:") and reader.is_sound("agent.url"):
        words = f"url = {shown(agent.url)} is this machine, and no proxy's; wanted one of the two"
        reader.tell("[agent]", "proxy", agent.proxy, words)
    if agent.remember_over_restart and settings.talk.remember_for_s == 0:
        words = "[talk] remember_for_s = 0 remembers nothing; wanted one of the two"
        reader.tell("[agent]", "remember_over_restart", True, words)


def _compare_dialect(reader: Reader, settings: Settings) -> None:
    """What the dialect has no words for, and what the far end would refuse."""
    agent, audio = settings.agent, settings.audio
    dialect = agent.spoken_dialect
    chosen = "dialect" if agent.dialect != "auto" else "url"
    for name in WORDLESS[dialect]:
        value = getattr(agent, name)
        if value:
            words = f"{chosen} = {shown(getattr(agent, chosen))} means {dialect}, which has none"
            reader.tell("[agent]", name, value, f"{words}; wanted it left out")
    for block in ("listen", "think", "speak"):
        given = getattr(agent, block)
        if given is not None:
            for refusal in refusals(dialect, block, given):
                reader.tell(*refusal)
    if reader.is_sound("agent.speak", "audio.rate_hz", "audio.encoding"):
        fault = _rate_fault(settings, audio.rate_hz)
        if audio.rate_hz and fault:
            reader.tell("[audio]", "rate_hz", audio.rate_hz, fault)


def _rate_fault(settings: Settings, rate_hz: int) -> str:
    """Why the far end would not take this rate; "" if nothing speaks against it."""
    agent = settings.agent
    speak = [] if agent.id else agent.speak  # nobody knows the voice of a stored agent
    return rate_fault(agent.spoken_dialect, settings.audio.encoding, rate_hz, speak)


def rates_taken(settings: Settings) -> frozenset[int]:
    """The rates, in Hz, that the far end takes with these settings, and an echo canceller too."""
    works_at = RATES_HZ if settings.audio.echo == "none" else ECHO_RATES_HZ
    return frozenset(rate_hz for rate_hz in works_at if not _rate_fault(settings, rate_hz))


def _compare_think(reader: Reader, settings: Settings) -> None:
    """What a `think` of the owner's takes the place of."""
    think, prompt = settings.agent.think, settings.agent.prompt
    entries = [think] if isinstance(think, dict) else think or []
    own = [name for name in ("prompt", "instructions") if all(name in one for one in entries)]
    if entries and own and prompt != DEFAULTS.agent.prompt:
        words = f"think.{own[0]} goes in its place; wanted one of the two"
        reader.tell("[agent]", "prompt", prompt, words)
    functions = [one["functions"] for one in entries if "functions" in one]
    if functions and settings.tools:
        words = "they go in the place of those of [[tools]]; wanted one of the two"
        reader.tell("[agent]", "think.functions", functions[0], words)
