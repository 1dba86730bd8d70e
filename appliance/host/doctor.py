"""What is wrong, and what to do: from what was seen to words. Pure.

`appliance.checkup` looks, in what order is its affair; here is what it means. A fault is what keeps
the box from a conversation, a warning what will, or spoils one. What could not be looked at is
skipped, and says why: a check that was not made is never told as a good one.
"""

import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from appliance.errors import AgentError, Trouble

UNIT = "voice-appliance.service"
JOURNAL = "journalctl -u voice-appliance -n 50"
DAY_S = 86400.0
ENDS_SOON_S = 14 * DAY_S
FREE_MIN_BYTES = 20 * 1024 * 1024
FULL_SCALE = 32767
CLIPPED_SHARE = 0.001
QUIET_DBFS = -75.0  # below the noise of any room with a microphone of any kind
XRUNS_MANY = 10  # a few come at the start of a sound server's stream
RESTARTS_MANY = 3


class State(Enum):
    """How it is with what was looked at."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, in words, and what to do; `advice` is "" if nothing is."""

    check: str
    state: State
    words: str
    advice: str = ""

    @property
    def told(self) -> dict[str, object]:
        """The same for a program."""
        advice = self.advice or None
        return {
            "check": self.check,
            "state": self.state.value,
            "words": self.words,
            "advice": advice,
        }

    @property
    def lines(self) -> list[str]:
        """The same for people: a line, and below it what to do."""
        first = f"{self.state.value:8} {self.check:12} {self.words}"
        return [first, f"{'':21} -> {self.advice}"] if self.advice else [first]


def ok(check: str, words: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, State.OK, words)


def warning(check: str, words: str, advice: str) -> Finding:
    """It will be wrong, or spoils something."""
    return Finding(check, State.WARNING, words, advice)


def fault(check: str, words: str, advice: str = "") -> Finding:
    """It keeps the box from a conversation."""
    return Finding(check, State.FAULT, words, advice)


def skipped(check: str, words: str) -> Finding:
    """It was not looked at."""
    return Finding(check, State.SKIPPED, words)


def summary(findings: Sequence[Finding]) -> str:
    """All in one line."""
    faults, warnings = (
        sum(finding.state is state for finding in findings)
        for state in (State.FAULT, State.WARNING)
    )
    if not faults and not warnings:
        return "nothing is wrong, as far as can be seen without a conversation"
    counts = ((faults, "fault"), (warnings, "warning"))
    return ", ".join(f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count)


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


def clock(now_s: float, built_s: float, *, is_synchronized: bool | None) -> Finding:
    """The clock, by which a certificate is valid and money has its day.

    Args:
        now_s: what it says, in Unix time.
        built_s: when this program was installed: earlier it cannot be.
        is_synchronized: whether the kernel's clock follows another; None if that is not known.
    """
    if now_s < built_s - DAY_S:
        years = (built_s - now_s) / (365 * DAY_S)
        words = f"it is {years:.1f} years before this program was installed"
        return fault("clock", words, "timedatectl set-ntp true, and a network that lets NTP out")
    if is_synchronized is None:
        return ok("clock", "plausible; whether it is synchronized is not known")
    if not is_synchronized:
        advice = "timedatectl timesync-status: without NTP it will drift"
        return warning("clock", "plausible, but not synchronized", advice)
    return ok("clock", "synchronized")


@dataclass(frozen=True)
class Store:
    """Where the state lies: the folder, or the nearest one above it that there is."""

    folder: str
    free_bytes: int
    is_read_only: bool  # its file system
    is_writable: bool | None  # by the daemon; None if this user cannot tell


def state(store: Store) -> Finding:
    """Whether what is to outlive the program can be kept."""
    if store.is_read_only:
        advice = "the disk may be dying, or is mounted so: dmesg, mount"
        return fault("state", f"{store.folder} is on a disk that is read-only", advice)
    if store.is_writable is False:
        words = f"{store.folder} cannot be written: money, volume and history are forgotten"
        return fault("state", words, "give it to the user of the daemon, or set STATE_DIRECTORY")
    room = f"{store.free_bytes / 2**20:.0f} MiB free"
    if store.free_bytes < FREE_MIN_BYTES:
        return warning("state", f"{store.folder}: {room}", "make room: journalctl --vacuum-size")
    seen = "" if store.is_writable else "; whether it can be written only the service can tell"
    return ok("state", f"{store.folder}: {room}{seen}")


def service(unit: Mapping[str, str]) -> Finding:
    """The service manager's unit, by its properties; none where there is no service manager."""
    if unit.get("LoadState", "not-found") == "not-found":
        return skipped("service", "not installed as a service")
    active, sub = unit.get("ActiveState", ""), unit.get("SubState", "")
    how = f"{active} ({sub})"
    if active == "failed" or (active == "activating" and sub == "auto-restart"):
        if unit.get("ExecMainStatus") == "78":
            return fault("service", f"{how}: wrong settings", "voice-appliance check; then start")
        return fault("service", f"{how}: {unit.get('Result', '')}", JOURNAL)
    if unit.get("LoadState") != "loaded":
        words = f"its unit is {unit['LoadState']}"
        return fault("service", words, f"systemctl cat {UNIT}")
    if active != "active":
        return warning("service", how, "systemctl start voice-appliance")
    restarts = unit.get("NRestarts", "0")
    if restarts.isdecimal() and int(restarts) > RESTARTS_MANY:
        return warning("service", f"{how}, but was restarted {restarts} times", JOURNAL)
    return ok("service", how)


@dataclass(frozen=True)
class KeyFile:
    """The file that the service takes its key from. `mode` and `size` are None without it."""

    path: str
    mode: int | None = None
    size_bytes: int | None = None  # the key in it is never looked at


def key_file(file: KeyFile, *, is_wanted: bool) -> Finding:
    """The service's credential; `is_wanted` says whether the settings need a key at all."""
    if file.mode is None or file.size_bytes is None:
        words = f"{file.path} is missing: the service does not start without it"
        return fault("key file", words, "put the key there, with mode 0600")
    if file.mode & 0o077:
        words = f"{file.path} can be read by others (mode {file.mode & 0o777:04o})"
        return fault("key file", words, f"chmod 600 {file.path}")
    if is_wanted and not file.size_bytes:
        return fault("key file", f"{file.path} is empty", "put the key there")
    return ok("key file", f"{file.path}, for its owner only")


# ── the way to the agent ─────────────────────────────────────────────────────────────────────────

_WAY = {
    Trouble.NO_NETWORK: "is there a network? ip address; ip route",
    Trouble.NOT_FOUND: "mend [agent] url",
    Trouble.UNREACHABLE: "a firewall in between, or the wrong [agent] url or proxy",
    Trouble.SILENT: "a firewall in between, or the wrong [agent] url or proxy",
    Trouble.CLOCK_WRONG: "set the clock: timedatectl",
    Trouble.CERTIFICATE: "if this network inspects TLS, its root goes into [agent] ca_file",
    Trouble.GARBAGE: "something else listens there: look at the host and port of [agent] url",
}


def no_name(host: str, words: str) -> Finding:
    """A name that cannot be looked up."""
    advice = f"is there a network? ip address; resolvectl query {host}"
    return fault("name", f"{host} cannot be looked up: {words}", advice)


def no_way(check: str, error: AgentError) -> Finding:
    """There is no connection."""
    return fault(check, f"{error.trouble.sentence}: {error}", _WAY.get(error.trouble, JOURNAL))


def certificate(ends_s: float, now_s: float, version: str) -> Finding:
    """A certificate that was verified, and when it ends."""
    days = (ends_s - now_s) / DAY_S
    words = f"trusted, {version}, good for {days:.0f} days more"
    if ends_s - now_s < ENDS_SOON_S:
        advice = "whoever runs that server has to renew it; is the clock right?"
        return warning("certificate", words, advice)
    return ok("certificate", words)


# ── cards and pins ───────────────────────────────────────────────────────────────────────────────

KEYS = {"microphone": ("capture", "arecord -L"), "speaker": ("playback", "aplay -L")}


def no_card(what: str, words: str, here: Collection[str]) -> Finding:
    """A card that cannot be used.

    Args:
        what: microphone or speaker.
        words: why.
        here: the ids of the kernel's cards.
    """
    key, lists = KEYS[what]
    if not here:
        return fault(what, words, "the kernel knows no sound card at all: the plug, or its overlay")
    cards = ", ".join(here)
    return fault(what, words, f"[audio] {key}: {lists} lists the names; the cards here: {cards}")


def level(sound: bytes) -> Finding:
    """What the microphone heard in a second of the room, one channel of 16 bits."""
    samples = array("h", sound)
    peak = max(map(abs, samples), default=0)
    if not peak:
        words = "it gives nothing but zeros"
        return fault("level", words, "is it muted, by a switch or in alsamixer (F4, capture)?")
    power = sum(sample * sample for sample in samples) / len(samples)
    dbfs = 10 * math.log10(power / FULL_SCALE**2)
    words = f"{dbfs:.0f} dBFS, its peak {20 * math.log10(peak / FULL_SCALE):.0f} dBFS"
    clipped = sum(abs(sample) >= FULL_SCALE - 1 for sample in samples)
    if clipped > CLIPPED_SHARE * len(samples):
        return warning("level", f"it clips: {words}", "less gain: alsamixer (F4, capture)")
    if dbfs < QUIET_DBFS:
        advice = "speak while it is measured; then more gain: alsamixer (F4, capture)"
        return warning("level", f"very quiet: {words}", advice)
    return ok("level", words)


def card_told(what: str, told: Mapping[str, object], wanted: str, here: Collection[str]) -> Finding:
    """A card, by the status of the daemon that holds it; `wanted` is its name in the settings."""
    name = told.get("card")
    if told.get("state") != "open":
        return no_card(what, str(told.get("trouble") or f"{name}: {told.get('state')}"), here)
    if name != wanted:
        words = f"the daemon has {name}, the settings say {wanted}"
        return warning(what, words, "they were changed since its start: restart it")
    runs = f"{told.get('rate_hz')} Hz, {told.get('channels')} x {told.get('format')}"
    words = f"{name} is open, by the daemon: {runs}, converter: {told.get('converter')}"
    xruns = told.get("xruns")
    if isinstance(xruns, int) and xruns > XRUNS_MANY:
        advice = "is the board too busy, or its power too weak? top; vcgencmd get_throttled"
        return warning(what, f"{words}; {xruns} xruns lost sound", advice)
    return ok(what, words)


def panel_told(told: Mapping[str, object]) -> Finding:
    """The panel, by the status of the daemon that holds it."""
    if told.get("trouble"):
        details = str(told.get("details") or "")
        return no_pins(str(told["trouble"]), has_chip=True, details=details)
    return ok("panel", f"held by the daemon, through {told.get('pins') or 'no pins'}")


def no_pins(words: str, *, has_chip: bool, details: str = "") -> Finding:
    """A panel that does not open; a machine without pins may be meant to have none."""
    words += f" (tried besides: {details})" if details else ""
    if has_chip:
        return fault("panel", words, "[panel] pins and buttons; gpioinfo says who holds a pin")
    advice = "none are needed: voice-appliance press and release do what the button does"
    return warning("panel", "this machine has no pins: no /dev/gpiochip*", advice)


KEY_TROUBLES = (Trouble.KEY_REFUSED, Trouble.KEY_COMMAND, Trouble.NO_CREDIT)


def key_told(told: Mapping[str, object]) -> Finding:
    """The key of a running daemon, by its status: the agent may have refused it."""
    for trouble in KEY_TROUBLES:
        if told.get("trouble") == trouble.slug:
            return fault("key", f"{trouble.sentence}, says the daemon", f"README: {trouble.slug}")
    return ok("key", "the running daemon has it")


def daemon(told: Mapping[str, object]) -> Finding:
    """What a running daemon says of itself."""
    sentence = str(told.get("sentence") or told.get("phase"))
    words = f"{told.get('version')}, up for {told.get('uptime_s')} s: {sentence}"
    trouble = told.get("trouble")
    if told.get("capped") or trouble == Trouble.CAP_REACHED.slug:
        return fault("daemon", words, "voice-appliance spend; [spend] raises the cap")
    if trouble:
        return fault("daemon", words, f"README: {trouble}; {JOURNAL}")
    if told.get("muted"):
        return warning("daemon", f"{words}; it is muted", "voice-appliance unmute")
    return ok("daemon", words)
