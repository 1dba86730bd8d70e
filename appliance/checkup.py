"""`voice-appliance doctor`: looks at one thing after the other, and tells what it found.

Never needs root, opens no billed connection and changes nothing: to the agent it goes as far as the
certificate, since an upgrade would be billed; with that, whether the key is good and whether the
settings are accepted is found out by the first press only. Where a daemon runs, cards and pins are
its own, and its status says how they are; where none runs they are opened here, and given back.

At the door, because it knows cards, pins, agent and machine alike; what the findings mean is
decided in `host.doctor`. All that is looked at comes in through `Hands`.
"""

import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trio

from appliance import assembly, config
from appliance.agent.dialer import REACH_LIMIT_S, Address, Dialer
from appliance.errors import AgentError, AgentUnreachable, ConfigError, DeviceError, Trouble
from appliance.host import doctor, machine, remote
from appliance.host.credential import Credential
from appliance.host.doctor import Finding, fault, ok, skipped
from appliance.loudness import Mixer
from appliance.parts import Button, Lamp, Touched
from appliance.sound import kernel, mixer
from appliance.sound.complaints import unheard
from appliance.sound.microphone import Capture
from appliance.sound.names import advice
from appliance.sound.sounding import hear
from appliance.sound.speaker import Playback
from appliance.sound.tuning import HALVES

DIAL_LIMIT_S = 15.0  # for name, TCP, proxy and TLS together
LISTEN_S = 1.0

Tell = Callable[[Finding], None]


@dataclass(frozen=True)
class Hands:
    """What looks. Cards and pins raise `DeviceError`, the way to the agent `AgentError`."""

    authorize: Callable[[], Awaitable[str | None]]
    prepare: Callable[[], Awaitable[None]]
    dial: Callable[[], Awaitable[trio.abc.Stream]]
    open_microphone: Callable[[], Capture]
    open_speaker: Callable[[], Playback]
    find_mixer: Callable[[], Mixer | None]
    open_lamp: Callable[[], Lamp | None]
    open_button: Callable[[str, Touched], Button]
    pins: Callable[[], str | None]
    has_chip: Callable[[], bool]
    card_ids: Callable[[], Mapping[int, str]]
    now: Callable[[], float] = time.time  # Unix time


def real_hands(settings: config.Settings, environ: Mapping[str, str]) -> Hands:
    """Those of this machine. `authorize` raises `ConfigError` if there is no key."""
    agent = settings.agent
    with unheard():
        audio = assembly.with_rate(settings)[0].audio
    dialer = Dialer(Address.of(agent.url), ca_file=agent.ca_file, proxy=agent.proxy)
    open_microphone, open_speaker = assembly.cards(audio)
    panel = assembly.RealPanel(settings.panel)

    async def authorize() -> str | None:
        key = None if agent.key_command else config.key(agent.url, environ)
        return await Credential(key, agent.key_command, environ=environ).authorization()

    return Hands(
        authorize=authorize,
        prepare=dialer.prepare,
        dial=dialer,
        open_microphone=unheard()(open_microphone),
        open_speaker=unheard()(open_speaker),
        find_mixer=unheard()(lambda: mixer.find(audio.playback, audio.mixer)),
        open_lamp=panel.open_lamp,
        open_button=panel.open_button,
        pins=panel.pins,
        has_chip=lambda: any(Path("/dev").glob("gpiochip*")),
        card_ids=kernel.card_ids,
    )


@dataclass(frozen=True)
class Patient:
    """The box: its settings, what its daemon says if one runs, and where it stands.

    `status` is None where no daemon answers, and `silence` then says why. `unit` has the properties
    of the service, if there is one.
    """

    settings: config.Settings
    environ: Mapping[str, str]
    status: Mapping[str, object] | None
    silence: str
    unit: Mapping[str, str]

    @property
    def key_file(self) -> doctor.KeyFile | None:
        """The one that the service takes its key from."""
        return machine.key_file(self.unit, config.CREDENTIAL)


def ask_daemon(path: Path) -> tuple[Mapping[str, object] | None, str]:
    """The status of the daemon that listens at `path`, or None and why there is none.

    Waits for at most 5 s.
    """
    try:
        told = remote.call(path, "status")
    except (DeviceError, remote.CommandError) as error:
        return None, str(error)
    return (told, "") if isinstance(told, dict) else (None, f"{path}: a status that is none")


def look_at_rate(settings: config.Settings, path: Path) -> tuple[int | None, str]:
    """The rate of a box with these settings, in Hz, and how it is known; None: nobody can tell.

    Where the owner leaves it to the cards a daemon that runs on the same ones is asked, because it
    holds them; else they are opened, and given back.
    """
    audio = settings.audio
    if audio.rate_hz:
        return audio.rate_hz, ""
    status, _ = ask_daemon(path)
    if status is not None and (told := _rate_of(status, audio)) is not None:
        return told, f"the daemon that runs has found {told} Hz"
    with unheard():
        found, silent = assembly.with_rate(settings)
    rate_hz, why = found.audio.rate_hz, "; ".join(silent)
    if len(silent) == len(HALVES):
        return None, f"no card can be asked now: {why}"
    words = f"with the cards that are here now it would be {rate_hz} Hz"
    return rate_hz, f"{words}; one could not be asked: {why}" if why else words


def _rate_of(status: Mapping[str, object], audio: config.Audio) -> int | None:
    """What a daemon's status says of the rate of these cards; None if it has not asked them."""
    told = _table(status, "rate")
    names = [_table(status, half).get("card") for half in HALVES]
    rate_hz = told.get("rate_hz")
    asked = told.get("found") and names == [audio.capture, audio.playback]
    return rate_hz if asked and isinstance(rate_hz, int) else None


async def examine(
    read: Callable[[], config.Settings], source: str, socket_path: Path, tell: Tell
) -> None:
    """Look at this machine, and tell each finding as soon as it is known. Takes some seconds.

    Args:
        read: the settings; raises `ConfigError`.
        source: what they are called.
        socket_path: where the daemon listens.
        tell: what is found.
    """
    environ = os.environ
    try:
        settings = read()
    except ConfigError as error:
        for words in error.faults:
            tell(fault("settings", words))
        settings = config.DEFAULTS
        are_ours = False
    else:
        tell(ok("settings", source))
        are_ours = True
    status, silence = ask_daemon(socket_path)
    unit = await machine.unit(environ)
    patient = Patient(settings, environ, status, silence, unit)
    if are_ours:
        hands = real_hands(settings, environ)
        await look_at_key(patient, hands, tell)
    await _look_at_machine(patient, tell)
    if are_ours:
        await look_at_way(patient, hands, tell)
        await look_at_cards(patient, hands, tell)
        look_at_panel(patient, hands, tell)
    look_at_daemon(patient, tell)


async def _look_at_machine(patient: Patient, tell: Tell) -> None:
    environ, unit = patient.environ, patient.unit
    built_s = machine.installed_s(Path(__file__))
    is_synchronized = await machine.is_synchronized(environ)
    tell(doctor.clock(time.time(), built_s, is_synchronized=is_synchronized))
    is_service = unit.get("LoadState") == "loaded" and "STATE_DIRECTORY" not in environ
    folder = Path("/var/lib/voice-appliance") if is_service else assembly.state_name(environ)
    tell(doctor.state(machine.store(folder, is_ours=not is_service)))
    tell(doctor.service(unit))
    if (file := patient.key_file) is not None:
        tell(doctor.key_file(file, is_wanted=_wants_key(patient.settings)))


def _wants_key(settings: config.Settings) -> bool:
    agent = settings.agent
    return not agent.key_command and not config.is_loopback(Address.of(agent.url).host)


async def look_at_key(patient: Patient, hands: Hands, tell: Tell) -> None:
    """Whether there is a key; it is never told, and only the agent knows whether it is good."""
    command = patient.settings.agent.key_command
    file = patient.key_file
    seen = doctor.key_told(patient.status or {})
    if seen.state is doctor.State.FAULT:
        tell(seen)
        return
    try:
        found = await hands.authorize()
    except ConfigError as error:
        if patient.status is not None or patient.unit.get("ActiveState") == "active":
            tell(seen)
        elif file is not None and file.size_bytes:
            tell(ok("key", f"the service takes it from {file.path}"))
        else:
            advice = f"export {config.VARIABLE}=…, or for the service a credential"
            tell(fault("key", "; ".join(error.faults), advice))
    except AgentError as error:
        tell(fault("key", str(error), f"run it by hand, as the service's user: {command[0]}"))
    else:
        words = "key_command printed a token" if command else "there is one"
        tell(ok("key", words if found else "none is wanted: the agent is on loopback"))


async def look_at_way(patient: Patient, hands: Hands, tell: Tell) -> None:
    """Name, connection, certificate; no further, for there the bill begins."""
    agent = patient.settings.agent
    address = Address.of(agent.url)
    proxy = urlsplit(agent.proxy) if agent.proxy else None
    host = proxy.hostname or "" if proxy else address.host
    if not await _look_up(host, tell):
        _mention_proxy(patient, tell)
        return
    where = f"{address.host}:{address.port}" + (f" through the proxy {host}" if proxy else "")
    try:
        await hands.prepare()
        with trio.fail_after(DIAL_LIMIT_S):
            stream = await hands.dial()
    except trio.TooSlowError:
        silent = AgentUnreachable(Trouble.SILENT, f"{where}: nothing in {DIAL_LIMIT_S:.0f} s")
        tell(doctor.no_way("connection", silent))
    except AgentUnreachable as error:
        is_tls = error.trouble in {Trouble.CERTIFICATE, Trouble.CLOCK_WRONG, Trouble.GARBAGE}
        tell(doctor.no_way("certificate" if is_tls else "connection", error))
        if not is_tls:
            _mention_proxy(patient, tell)
    else:
        tell(ok("connection", where))
        tell(_certificate(stream, hands.now()))
        await trio.aclose_forcefully(stream)
        tell(skipped("upgrade", "not asked for, since it is billed: the first press tells"))


async def _look_up(host: str, tell: Tell) -> bool:
    try:
        with trio.fail_after(REACH_LIMIT_S):
            found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except trio.TooSlowError:
        tell(doctor.no_name(host, f"no answer in {REACH_LIMIT_S:.0f} s"))
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        tell(doctor.no_name(host, words))
    else:
        tell(ok("name", f"{host} is {', '.join(sorted({str(entry[4][0]) for entry in found}))}"))
        return True
    return False


def _mention_proxy(patient: Patient, tell: Tell) -> None:
    """A proxy in the environment is not used, which its owner may not expect."""
    names = [name for name in ("https_proxy", "HTTPS_PROXY") if patient.environ.get(name)]
    if names and not patient.settings.agent.proxy:
        tell(doctor.warning("proxy", f"${names[0]} is not looked at", "set [agent] proxy"))


def _certificate(stream: trio.abc.Stream, now_s: float) -> Finding:
    if not isinstance(stream, trio.SSLStream):
        return ok("certificate", "none is wanted: ws:// to loopback")
    ends = stream.getpeercert()["notAfter"]
    return doctor.certificate(ssl.cert_time_to_seconds(ends), now_s, stream.version())


async def look_at_cards(patient: Patient, hands: Hands, tell: Tell) -> None:
    """Microphone and speaker: by the daemon's word, or by opening them."""
    audio, ids = patient.settings.audio, hands.card_ids()
    if patient.status is not None:
        for what, name in (("microphone", audio.capture), ("speaker", audio.playback)):
            tell(doctor.card_told(what, _table(patient.status, what), name, ids.values()))
        tell(ok("mixer", f"{_table(patient.status, 'speaker').get('mixer')}, by the daemon"))
    else:
        await _listen(audio.capture, hands, tell)
        _open_speaker(audio.playback, hands, tell)
    for name in dict.fromkeys((audio.capture, audio.playback)):
        if _is_number(name, ids):
            tell(doctor.warning("card name", advice(name, ids), "then it is found wherever it is"))


def _is_number(name: str, ids: Mapping[int, str]) -> bool:
    """Whether a name is of a card that is here, by a number that may be another's tomorrow."""
    words = advice(name, ids)
    return bool(words) and "number" in words


async def _listen(name: str, hands: Hands, tell: Tell) -> None:
    try:
        microphone = hands.open_microphone()
    except DeviceError as error:
        tell(doctor.no_card("microphone", str(error), hands.card_ids().values()))
        tell(skipped("level", "there is no microphone"))
        return
    chain = microphone.chain
    try:
        sound = await hear(microphone, LISTEN_S)
    except DeviceError as error:
        tell(doctor.no_card("microphone", str(error), hands.card_ids().values()))
    else:
        tell(ok("microphone", f"{name}: {chain}"))
        tell(doctor.level(sound))
    finally:
        microphone.close()


def _open_speaker(name: str, hands: Hands, tell: Tell) -> None:
    try:
        speaker = hands.open_speaker()
    except DeviceError as error:
        tell(doctor.no_card("speaker", str(error), hands.card_ids().values()))
        tell(skipped("mixer", "there is no speaker"))
        return
    tell(ok("speaker", f"{name}: {speaker.chain}"))
    speaker.close()
    try:
        found = hands.find_mixer()
    except DeviceError as error:
        tell(fault("mixer", str(error), "[audio] mixer: one of those, auto or none"))
    else:
        tell(ok("mixer", found.name if found else "none of the card's: a software gain"))


def look_at_panel(patient: Patient, hands: Hands, tell: Tell) -> None:
    """Lamp and buttons: by the daemon's word, or by taking their pins for a moment."""
    if patient.status is not None:
        told = _table(patient.status, "panel")
        if told.get("trouble") and not hands.has_chip():
            tell(doctor.no_pins("", has_chip=False))
        else:
            tell(doctor.panel_told(told))
        return
    wrong: dict[str, str] = {}  # with the details: without a way all say the same
    names: Collection[str] = patient.settings.panel.buttons.present()
    for name in ("lamp", *names):
        try:
            part = hands.open_lamp() if name == "lamp" else hands.open_button(name, _untold)
        except DeviceError as error:
            wrong[str(error)] = error.details
        else:
            if part is not None:
                part.close()
    if wrong:
        details = "; ".join(filter(None, wrong.values()))
        words = "; ".join(wrong)
        tell(doctor.no_pins(words, has_chip=hands.has_chip(), details=details))
    else:
        buttons = ", ".join(names) or "no buttons"
        tell(ok("panel", f"lamp and {buttons}, through {hands.pins() or 'no pins'}"))


def _untold(_: object) -> None:
    """Nobody wants to know of a press now."""


def look_at_daemon(patient: Patient, tell: Tell) -> None:
    """Whether one runs, and how it is."""
    if patient.status is not None:
        tell(doctor.daemon(patient.status))
    elif patient.unit.get("ActiveState") == "active":
        advice = "who is in the group may ask: sudo usermod -aG voice-appliance $USER"
        tell(fault("daemon", patient.silence, f"{advice}; {doctor.JOURNAL}"))
    else:
        tell(skipped("daemon", f"none runs ({patient.silence})"))


def _table(status: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = status.get(name)
    return found if isinstance(found, dict) else {}
