"""What is typed: wrong words are 2, and whoever wants JSON is told in JSON; what a box tells."""

import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from trio.testing import MockClock

from appliance import brief, cli, words
from appliance.daemon import Daemon
from appliance.errors import DeviceError
from appliance.host import control
from appliance.host.remote import CommandError
from tests.box import a_box

LIMIT_S = 60.0  # for what takes a second; a loaded machine may take its time

WRONG = [
    ["volume", "abc"],
    ["volume", "101"],
    ["volume", "+101"],
    ["volume", "-101"],
    ["say", ""],
    ["say", " "],
    ["ask", ""],
    ["prompt", ""],
    ["prompt", "x" * (words.WORDS_MAX + 1)],
    ["voice", ""],
    ["voice", "bad voice!"],
    ["voice", "-en"],
    ["voice", "aura\n"],
    ["voice", "a" * 101],
    ["kits", "no-such-kit"],
    ["dance"],
    ["say"],
]


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    it = capsys.readouterr()
    return it.out, it.err


@pytest.mark.parametrize("line", WRONG, ids=lambda it: " ".join(it)[:20])
def test_wrong_words_are_told_as_such(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(line)
    out, err = said(capsys)
    assert out == ""
    assert err.startswith("usage: voice-appliance")
    assert ": error: " in err
    with pytest.raises(SystemExit, match="2"):
        cli.main([*line, "--json"])
    out, err = said(capsys)
    assert out == ""
    assert set(json.loads(err)) == {"error"}


RIGHT = [
    ["volume"],
    ["volume", "0"],
    ["volume", "100"],
    ["volume", "-100"],
    ["say", "x"],
    ["voice", "aura-2-thalia-en"],
    ["voice", "eleven_turbo_v2.5"],
    ["voice", "polly:Joanna"],
    ["voice", "a"],
    ["status"],
    ["watch"],
]


@pytest.mark.parametrize("line", RIGHT, ids=" ".join)
def test_without_a_daemon_the_same_is_told_to_people_and_to_programs(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ["--socket", str(tmp_path / "none.sock")]
    assert cli.main([*line, *to]) == 1
    out, err = said(capsys)
    assert out == ""
    assert err.startswith("voice-appliance: ")
    assert cli.main([*line, *to, "--json"]) == 1
    out, told = said(capsys)
    assert out == ""
    assert json.loads(told) == {"error": err.removeprefix("voice-appliance: ").strip()}


def test_wrong_settings_are_told_in_json_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[talk]\nmode = 3\ntap_ms = -1\n")
    assert cli.main(["echo", "--json", "--config", str(file)]) == 78
    out, err = said(capsys)
    assert out == ""
    told = json.loads(err)
    assert len(told["faults"]) == 2
    assert told["error"] == "; ".join(told["faults"])
    assert cli.main(["check", "--json", "--config", str(file)]) == 78
    out, _ = said(capsys)
    assert json.loads(out) == {"ok": False, **told}


def test_words_are_as_long_as_the_api_takes_them() -> None:
    assert brief.PROMPT_MAX == words.WORDS_MAX


async def test_what_comes_by_the_socket_is_judged_too(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        commands = box.daemon.commands()
        for name, given in (
            ("voice", {"model": "bad voice!"}),
            ("voice", {"model": 3}),
            ("say", {"text": " "}),
            ("volume", {"level": 101}),
            ("volume", {"change": True}),
        ):
            with pytest.raises(CommandError, match="wanted"):
                commands[name](**given)
        commands["voice"](model="aura-2-luna-en")
        await box.say(bytes(32000))
        speak = (box.connection.settings or {})["agent"]["speak"]
        assert "aura-2-luna-en" in json.dumps(speak)


# ── what is told of a box ────────────────────────────────────────────────────────────────────────


async def test_a_snapshot_has_its_time_as_events_have(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        before = box.daemon.status()["t"]
        box.button.press()
        box.button.release()
        after = box.daemon.status()["t"]
        assert isinstance(before, float)
        assert isinstance(after, float)
        assert all(before <= float(str(event["t"])) <= after for event in box.events)


@pytest.mark.parametrize(("path", "can"), [("/v1/agent/converse", True), ("/agent", False)])
async def test_the_end_of_a_turn_can_be_told_only_where_there_are_words_for_it(
    path: str, can: bool, autojump_clock: MockClock
) -> None:
    async with a_box(f'[agent]\nurl = "ws://127.0.0.1:9{path}"\n') as box:
        assert box.daemon.status()["can_force_end_turn"] is can


# ── a second daemon ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    with closing(socket.socket(socket.AF_UNIX)) as living:
        living.bind(str(path))
        living.listen()
        yield path


def test_a_second_daemon_looks_at_the_socket_before_all_else(
    taken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[object] = []
    monkeypatch.setattr(Daemon, "__init__", lambda _self, parts: made.append(parts))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("DEEPGRAM_API_KEY", "x")
    (tmp_path / "c.toml").write_text("")
    words_ = ["run", "--config", str(tmp_path / "c.toml"), "--socket", str(taken)]
    with caplog.at_level(logging.WARNING):
        assert cli.main(words_) == 1
    assert made == []
    assert caplog.records == []
    assert not (tmp_path / "state").exists()
    assert "another daemon answers here" in capsys.readouterr().err
    assert taken.exists()


def test_a_place_is_free_where_nothing_is_or_a_daemon_has_died(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    control.expect_free(path)
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    control.expect_free(path)
    assert path.exists()
    path.unlink()
    path.write_text("")
    with pytest.raises(DeviceError, match="something else"):
        control.expect_free(path)
    control.expect_free(path / "below" / "a-file")  # is told when the socket is made


# ── the stand-in agent, as a process ─────────────────────────────────────────────────────────────

UPGRADE = (
    "GET /v1/agent/converse HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CLOSE_1001 = b"\x88\x02\x03\xe9"
CLOSE_MASKED = b"\x88\x82\0\0\0\0\x03\xe9"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_is_stopped_says_so_to_its_clients_and_has_not_failed(
    how: signal.Signals,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "agent", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            port = int(url.rpartition(":")[2].partition("/")[0])
            with socket.create_connection(("127.0.0.1", port), LIMIT_S) as client:
                client.sendall(UPGRADE.encode())
                heard = b""
                while b"Welcome" not in heard:
                    heard += client.recv(4096)
                process.send_signal(how)
                while CLOSE_1001 not in heard:
                    piece = client.recv(4096)
                    assert piece, heard
                    heard += piece
                client.sendall(CLOSE_MASKED)
                assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
