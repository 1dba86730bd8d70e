"""The commands: parse, print, exit. Thin.

Exit status: 0 done, 1 it failed, 2 wrong words, 78 wrong settings (EX_CONFIG, so that systemd
does not start us again). With `--json` what failed is told by an object too, {"error": "..."}, on
stderr: on stdout are answers and nothing else. What a command needs is imported when it runs:
`press` must not wait for the libraries of the daemon.
"""

import argparse
import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import __version__, typed
from appliance.errors import ApplianceError, ConfigError

if TYPE_CHECKING:
    from appliance.config import Settings
    from appliance.daemon import Daemon
    from appliance.demo import Report

FAILED, WRONG_SETTINGS = 1, 78
SETTINGS = Path("/etc/voice-appliance/config.toml")
SYSTEM_SOCKET = Path("/run/voice-appliance/control.sock")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    typed.Parser.is_json = "--json" in (sys.argv if argv is None else argv)
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except ConfigError as error:
        typed.tell_error("; ".join(error.faults), "\n".join(error.faults), faults=error.faults)
        return WRONG_SETTINGS
    except ApplianceError as error:
        typed.tell_error(str(error), f"voice-appliance: {error}")
        return FAILED
    except BrokenPipeError:  # whoever read us has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    everywhere = typed.Parser(add_help=False)
    everywhere.add_argument(
        "--config", type=Path, metavar="FILE", help=f"the settings (else {SETTINGS})"
    )
    everywhere.add_argument(
        "--socket", type=Path, metavar="PATH", help=f"the control socket (else {_socket()})"
    )
    printing = typed.Parser(add_help=False)
    printing.add_argument("--json", action="store_true", help="print JSON, one object a line")

    parser = typed.Parser(prog="voice-appliance", description="Press, talk, be answered.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, words: str, run: Callable[[argparse.Namespace], int], *, prints: bool = True
    ) -> argparse.ArgumentParser:
        parents = [everywhere, printing] if prints else [everywhere]
        made = commands.add_parser(name, help=words, description=words, parents=parents)
        made.set_defaults(run=run, command=name)
        return made

    command("run", "run the daemon, in the foreground", _run, prints=False)
    demo = command("demo", "live through a conversation, on stand-ins where need be", _demo)
    demo.add_argument("--standin", action="store_true", help="nothing real, and by itself")
    demo.add_argument(
        "--output",
        type=Path,
        metavar="WAV",
        default=Path("voice-appliance-demo.wav"),
        help="where the speaker's sound goes (else %(default)s)",
    )
    agent = command("agent", "run the stand-in agent alone, on loopback", _agent)
    agent.add_argument("--host", default="127.0.0.1", help="a loopback address (%(default)s)")
    agent.add_argument("--port", type=typed.port, default=8765, help="0 finds one (%(default)s)")
    trusted = "speak TLS, with a certificate made now; [agent] ca_file = FILE trusts it"
    agent.add_argument("--ca-file", type=Path, metavar="FILE", help=trusted)
    agent.epilog = "In a prompt or a question, 'call NAME {…}' has it call that function."
    command("echo", "measure how loud the box hears itself, and what duplex that allows", _echo)
    command("check", "read the settings and the key, and say what is wrong", _check)
    command("doctor", "look at everything, and say what is wrong and what to do", _doctor)
    kits = command("kits", "the boards that [panel] kit knows, or all of one", _kits)
    kits.add_argument("kit", metavar="KIT", nargs="?", type=typed.kit)
    _add_what_a_daemon_is_asked(command)
    return parser


def _add_what_a_daemon_is_asked(command: Callable[..., argparse.ArgumentParser]) -> None:
    command("status", "what is true now", _ask)
    command("watch", "what happens, as it happens", _watch)
    command("press", "press the button", _ask)
    command("release", "let the button go", _ask)
    command("mute", "shut the microphone", _ask)
    command("unmute", "open it again", _ask)
    command("forget", "forget the conversation", _ask)
    command("spend", "what open connections have cost", _ask)
    said = (("say", "let the agent say this"), ("ask", "ask the agent this"))
    for name, words in (*said, ("prompt", "give the agent another prompt")):
        command(name, words, _ask).add_argument("text", metavar="TEXT", type=typed.text)
    volume = command("volume", "how loud the box speaks", _volume)
    said_of_n = "0 (silent) to 100; +N or -N louder or softer by so much; without it, what it is"
    volume.add_argument("level", metavar="N", type=typed.level, nargs="?", help=said_of_n)
    voice = command("voice", "give the agent another voice", _ask)
    voice.add_argument("model", metavar="MODEL", type=typed.model)


def _socket() -> Path:
    """Where a daemon of the system listens, or one of this user's."""
    user = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0 or not user or SYSTEM_SOCKET.parent.is_dir():
        return SYSTEM_SOCKET
    return Path(user) / "voice-appliance" / "control.sock"


def _settings(arguments: argparse.Namespace) -> "Settings":
    """The file that was named; else the usual one, and without it the defaults."""
    from appliance import config

    if arguments.config is None and not SETTINGS.exists():
        return config.parse("", "the defaults")
    return config.read(arguments.config or SETTINGS)


def _source(arguments: argparse.Namespace) -> str:
    """What was read as the settings, in words."""
    if arguments.config is None and not SETTINGS.exists():
        return f"the defaults: there is no {SETTINGS}"
    return str(arguments.config or SETTINGS)


def _print_json(value: object) -> None:
    print(json.dumps(value), flush=True)


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────


def _run(arguments: argparse.Namespace) -> int:
    import trio

    from appliance import assembly
    from appliance.daemon import Daemon
    from appliance.host import control, crash
    from appliance.host.journal import Log

    settings, path = _settings(arguments), arguments.socket or _socket()
    control.expect_free(path)  # before the files of a state that may be another's are read
    parts = assembly.real_parts(settings, os.environ, path)
    log, recorder = Log(settings.log.level), crash.Recorder()
    faulthandler.enable()  # the watchdog ends who hangs with SIGABRT: then the journal has a stack

    def make() -> Daemon:
        daemon = Daemon(parts)
        daemon.subscribe(recorder)
        log.facts = daemon.facts
        return daemon

    try:
        trio.run(_until_told, make)
    except (ApplianceError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  # our own mistake: tell all there is, once
        _raise_if_ours(error)
        report = recorder.report(error, _secrets())
        crash.log.critical("%s", report)
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        crash.keep(assembly.state_folder(os.environ) / "crashes", report, name)
        return FAILED
    finally:
        log.stop()
    return 0


def _secrets() -> list[str]:
    """What no report may have in it."""
    from appliance import config

    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    found = [os.environ.get(config.VARIABLE, "")]
    if directory:
        with suppress(OSError, UnicodeDecodeError):
            found.append((Path(directory) / config.CREDENTIAL).read_text())
    return [secret.strip() for secret in found]


async def _until_told(make: "Callable[[], Daemon]") -> None:
    """Live until SIGTERM or SIGINT."""
    import trio

    daemon = make()
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

            async def live() -> None:
                await daemon.run()
                nursery.cancel_scope.cancel()

            nursery.start_soon(live)
            async for _ in signals:
                daemon.stop()


def _raise_if_ours(error: BaseException) -> None:
    """An error that has words for its owner is raised out of its group, to be told in them."""
    if not isinstance(error, BaseExceptionGroup):
        return
    ours, rest = error.split((ApplianceError, KeyboardInterrupt))
    if rest is not None or ours is None:
        return
    leaf: BaseException = ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    raise leaf


# ── stand-ins ────────────────────────────────────────────────────────────────────────────────────


def _demo(arguments: argparse.Namespace) -> int:
    import functools

    import trio

    from appliance import demo

    began_s: list[float] = []

    def tell(event: dict[str, object]) -> None:
        if arguments.json:
            _print_json(event)
            return
        began_s.append(float(str(event["t"])))
        print(_event_line({**event, "t": began_s[-1] - began_s[0]}), flush=True)

    def say(words: str) -> None:
        if not arguments.json:
            print(f"-- {words}", flush=True)

    try:
        report = trio.run(
            functools.partial(
                demo.run,
                _settings(arguments),
                os.environ,
                standin=arguments.standin,
                output=arguments.output,
                say=say,
                tell=tell,
            )
        )
    except BaseExceptionGroup as group:
        _raise_if_ours(group)
        raise
    if arguments.json:
        _print_json({"event": "report", **vars(report)})
    else:
        print("\n".join(_report_lines(report)))
    return 0


def _report_lines(report: "Report") -> list[str]:
    kept = f"{report.kept_s:.2f} s of microphone, lost {report.lost_s:.2f} s"
    if report.received_s is not None:
        kept += f", the agent received {report.received_s:.2f} s"
    silence = report.press_to_silence_ms
    return [
        "",
        f"words kept         {kept}",
        "press to silence   " + ("not measured" if silence is None else f"{silence:.1f} ms"),
        f"socket open        {report.open_s:.1f} s, billed at about ${report.usd:.4f}",
        f"speaker's sound    {report.file}",
        "",
        "On a real box: a button between GPIO 17 and ground, an LED with its resistor between",
        "GPIO 25 and ground, a microphone and a speaker that ALSA knows. Then",
        "  export DEEPGRAM_API_KEY=…",
        f"  {Path(sys.executable).with_name('voice-appliance')} run",
    ]


def _event_line(event: dict[str, object]) -> str:
    text = event.get("text", event.get("name"))
    words = f"{event['event']}" + (f": {text}" if text is not None else "")
    trouble = f"  ({event['trouble']})" if event.get("trouble") else ""
    state = f"{event['phase']:9}  link {event['link']:7}  lamp: {event['look']}"
    return f"{event['t']:9.3f}  {words:38}  {state}{trouble}"


def _agent(arguments: argparse.Namespace) -> int:
    import functools

    import trio

    from appliance.standin import certificate
    from appliance.standin.agent import EARLY_PATH, PATH, Connection, StandinAgent

    def tell(connection: Connection, words: str) -> None:
        if arguments.json:
            _print_json({"connection": connection.number, "event": words})
        else:
            print(f"connection {connection.number}: {words}", flush=True)

    async def listen() -> None:
        agent = StandinAgent(tell=tell)
        file = arguments.ca_file
        tls = None if file is None else certificate.make(file)
        serve = functools.partial(agent.listen, arguments.host, arguments.port, tls=tls)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                port = await nursery.start(serve)
                host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
                for path in (PATH, EARLY_PATH):
                    url = f"{'ws' if tls is None else 'wss'}://{host}:{port}{path}"
                    if arguments.json:
                        _print_json({"event": "listening", "url": url})
                    else:
                        print(f'listening: [agent] url = "{url}"', flush=True)
                await anext(signals)
                await agent.go_away()
                nursery.cancel_scope.cancel()

    try:
        trio.run(listen)
    except BaseExceptionGroup as group:
        _raise_if_ours(group)
        raise
    return 0


# ── the echo ─────────────────────────────────────────────────────────────────────────────────────


def _echo(arguments: argparse.Namespace) -> int:
    import functools

    import trio

    from appliance import assembly
    from appliance.sound import sounding

    settings, _ = assembly.with_rate(_settings(arguments))
    _refuse_beside_a_daemon(arguments.socket or _socket())
    microphone, speaker = assembly.cards(settings.audio)
    volume = assembly.kept_volume(settings.audio, os.environ)
    gain = assembly.playing_gain(settings.audio, volume)
    found = trio.run(functools.partial(sounding.sound_out, microphone, speaker, gain=gain))
    if arguments.json:
        verdict = {"verdict": found.verdict.name.lower(), "reason": found.reason}
        _print_json({**vars(found), "volume": volume, **verdict})
    else:
        print("\n".join(found.lines))
        print(f"at the volume       {volume}")
    return 0


def _refuse_beside_a_daemon(path: Path) -> None:
    """A daemon holds the cards, also while it is asleep."""
    from appliance.errors import DeviceError
    from appliance.host import remote

    try:
        remote.call(path, "status")
    except DeviceError:
        return
    raise DeviceError(
        f"the daemon that listens at {path} holds the cards: stop it first"
        " (systemctl stop voice-appliance), and start it again afterwards"
    )


# ── questions ────────────────────────────────────────────────────────────────────────────────────


def _check(arguments: argparse.Namespace) -> int:
    from appliance import assembly, checkup, config
    from appliance import daemon as _whole  # noqa: F401  # an update asks whether it all imports

    try:
        settings = _settings(arguments)
        if not settings.agent.key_command:
            config.key(settings.agent.url, os.environ)
    except ConfigError as error:
        if arguments.json:
            _print_json({"ok": False, "error": "; ".join(error.faults), "faults": error.faults})
            return WRONG_SETTINGS
        raise
    kit = settings.panel.kit
    rate_hz, how = checkup.look_at_rate(settings, arguments.socket or _socket())
    advice = assembly.card_advice(settings)
    if arguments.json:
        told = {"ok": True, "kit": kit or None, "rate_hz": rate_hz, "rate": how or None}
        _print_json({**told, "advice": advice})
        return 0
    over = f", over those of the kit {kit}" if kit else ""
    print(f"the settings can be used ({_source(arguments)}){over}")
    if how:
        print(f"[audio] rate_hz = 0: {how}")
    for words in advice:
        print(f"advice: {words}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    import functools
    import logging

    import trio

    from appliance import checkup
    from appliance.host import doctor

    logging.getLogger("appliance").addHandler(logging.NullHandler())  # the findings tell it
    findings: list[doctor.Finding] = []

    def tell(finding: doctor.Finding) -> None:
        findings.append(finding)
        if arguments.json:
            _print_json(finding.told)
        else:
            print("\n".join(finding.lines), flush=True)

    read = functools.partial(_settings, arguments)
    socket_path = arguments.socket or _socket()
    trio.run(checkup.examine, read, _source(arguments), socket_path, tell)
    if not arguments.json:
        print(f"\n{doctor.summary(findings)}")
    wrong = [it.check for it in findings if it.state is doctor.State.FAULT]
    if not wrong:
        return 0
    return WRONG_SETTINGS if "settings" in wrong else FAILED


def _kits(arguments: argparse.Namespace) -> int:
    from appliance.panel import catalogue
    from appliance.panel.kits import KITS

    if arguments.json:
        for kit in [KITS[arguments.kit]] if arguments.kit else KITS.values():
            _print_json(catalogue.told(kit))
    else:
        kit = arguments.kit
        print("\n".join(catalogue.details(KITS[kit]) if kit else catalogue.overview()))
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    return _ask_with(
        arguments,
        {name: getattr(arguments, name) for name in ("text", "model") if name in arguments},
    )


def _volume(arguments: argparse.Namespace) -> int:
    return _ask_with(arguments, arguments.level or {})


def _ask_with(arguments: argparse.Namespace, given: dict[str, object]) -> int:
    from appliance.host import remote

    answer = remote.call(arguments.socket or _socket(), arguments.command, **given)
    if arguments.json:
        _print_json(answer)
    else:
        _print_table(answer)
    return 0


def _print_table(value: object, indent: str = "") -> None:
    if not isinstance(value, dict):
        print(f"{indent}{value}")
        return
    for name, entry in value.items():
        if isinstance(entry, dict):
            print(f"{indent}{name}")
            _print_table(entry, indent + "  ")
        else:
            print(f"{indent}{name:20} {'-' if entry is None else entry}")


def _watch(arguments: argparse.Namespace) -> int:
    from appliance.host import remote

    for event in remote.watch(arguments.socket or _socket()):
        if arguments.json:
            _print_json(event)
        elif event["event"] == "snapshot":
            _print_table(event)
        else:
            print(_event_line(event), flush=True)
    return 0
