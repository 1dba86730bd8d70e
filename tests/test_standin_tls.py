"""The stand-in agent over `wss://`: a certificate of its own, and clients that check it."""

import contextlib
import os
import ssl
import stat
import tempfile
from pathlib import Path

import pytest
import trio
from trio_websocket import open_websocket

from appliance import cli
from appliance.errors import DeviceError
from appliance.standin import certificate
from appliance.standin.agent import PATH, Manners, StandinAgent
from tests.agent_client import Client


async def serve(nursery: trio.Nursery, agent: StandinAgent, tls: ssl.SSLContext) -> int:
    async def listen(task_status: trio.TaskStatus[int]) -> None:
        await agent.listen(tls=tls, task_status=task_status)

    port: int = await nursery.start(listen)
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_it_converses_with_a_client_that_trusts_its_certificate_and_no_other(
    host: str, nursery: trio.Nursery, tmp_path: Path
) -> None:
    agent = StandinAgent(Manners(think_s=0.01, pace=100.0))
    port = await serve(nursery, agent, certificate.make(tmp_path / "ca.pem"))
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with trio.fail_after(10):
        async with open_websocket(host, port, PATH, use_ssl=trusting) as websocket:
            client = Client(websocket)
            nursery.start_soon(client.read)
            await client.converse()
        while agent.connections[0].closed_s is None:
            await trio.lowlevel.checkpoint()
    assert agent.connections[0].close_code == 1000
    nursery.cancel_scope.cancel()


async def test_a_client_that_does_not_trust_it_does_not_get_in(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    agent = StandinAgent()
    port = await serve(nursery, agent, certificate.make(tmp_path / "ca.pem"))
    certificate.make(tmp_path / "another.pem")
    for cafile in (None, tmp_path / "another.pem"):
        strange = ssl.create_default_context(cafile=cafile)
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=strange)
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError) as refused:
            await stream.do_handshake()
        assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
        await trio.aclose_forcefully(stream)
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    await tcp.send_all(b"GET /v1/agent/converse HTTP/1.1\r\n\r\n")  # without TLS
    with trio.fail_after(10):
        while await tcp.receive_some():
            pass
    await tcp.aclose()
    assert agent.connections == []
    nursery.cancel_scope.cancel()


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(there, here, server_hostname=name)
    theirs = server.wrap_bio(here, there, server_side=True)
    for side in (ours, theirs, ours):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()


def test_it_is_for_this_machine_only(tmp_path: Path) -> None:
    server = certificate.make(tmp_path / "ca.pem")
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    for name in ("localhost", "127.0.0.1", "::1"):
        shake_hands(client, server, name)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"agent\.deepgram\.com"):
        shake_hands(client, server, "agent.deepgram.com")


def test_no_key_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, certfile: Path, keyfile: Path) -> None:
        modes.append(stat.S_IMODE(keyfile.parent.stat().st_mode))
        load(self, certfile, keyfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    certificate.make(tmp_path / "ca.pem")
    assert modes == [0o700]
    assert os.listdir(tmp_path) == ["ca.pem"]  # noqa: PTH208
    assert "PRIVATE" not in (tmp_path / "ca.pem").read_text()


def test_what_is_missing_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"nowhere/ca\.pem: No such file"):
        certificate.make(tmp_path / "nowhere" / "ca.pem")
    broken = tmp_path / "openssl"
    broken.write_text('#!/bin/sh\necho "it is broken$DEEPGRAM_API_KEY" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DEEPGRAM_API_KEY", "secret")  # of which no child hears
    with pytest.raises(DeviceError, match=r"makes no certificate: it is broken$"):
        certificate.make(tmp_path / "ca.pem")
    broken.unlink()
    with pytest.raises(DeviceError, match="there is no `openssl` here"):
        certificate.make(tmp_path / "ca.pem")


@pytest.mark.parametrize("port", ["x", "", "-1", "65536", "1.5"])
def test_a_port_that_is_none_is_refused_with_what_was_wanted(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["agent", f"--port={port}"])
    assert "argument --port: wanted 0 to 65535" in capsys.readouterr().err
