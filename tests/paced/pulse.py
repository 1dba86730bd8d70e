"""A sound card made of PulseAudio: real ALSA, real pace, real failures, no hardware.

    our process                 PulseAudio                        the test
    lab_play ───────────▶ null sink "speaker" ── its monitor ──▶ record()
    lab_cap  ◀─ its monitor ── null sink "mic" ◀──────────────── say()

Both sinks run at 16 kHz, mono, 16 bit, and sound passes them sample for sample. They are made with
`norewinds`: otherwise a null sink renders up to 2 s ahead of its clock while nobody asks for less,
and the first seconds are late or silent. (Measured with PulseAudio 16.1: sound flows 0.06 s after
the start instead of 2.0 s.) A reader on each monitor asks for 10 ms, always, so that the lab's own
share of any latency stays below that.

`ALSA_CONFIG_PATH` tells alsa-lib of the two devices. alsa-lib looks at it at every open, so it may
be set in a process that has used ALSA before; `environment()` has it for this one and for children.
All times are of `time.monotonic()`. Whatever the lab starts, it ends, and nothing else.
"""

import array
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

RATE_HZ = 16000
LATENCY_MS = 10  # what the lab's readers ask PulseAudio for
SAY_AHEAD_MS = 500  # what is said lies ready in PulseAudio, so that a busy machine tears no hole
START_LIMIT_S = 10.0  # it takes 0.1 s; a loaded machine may take its time
END_LIMIT_S = 5.0
LOUD = 500  # of 32767: above what is silence here, below any speech or tone
GAP_S = 0.03  # a silence this long parts two sounds

TOOLS = ("pulseaudio", "pactl", "parec", "pacat")
PLUGIN = "libasound_module_pcm_pulse.so"
SINKS = ("mic", "speaker")
FORMAT = ("--raw", f"--rate={RATE_HZ}", "--channels=1", "--format=s16le")


def missing() -> list[str]:
    """What this machine lacks for the lab: programs, or ALSA's way to PulseAudio."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not any(Path("/usr/lib").glob(f"*/alsa-lib/{PLUGIN}")):
        lacking.append(PLUGIN)
    return lacking


class Recording:
    """What a monitor gave, with the time of each piece; it grows until its block is left."""

    def __init__(self, parec: subprocess.Popen[bytes]) -> None:
        self._parec = parec
        self._pieces: list[tuple[float, bytes]] = []
        self._flowing = threading.Event()
        self._reader = threading.Thread(target=self._read, name="recording", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._parec.stdout is not None
        with self._parec.stdout as pipe:
            while piece := os.read(pipe.fileno(), 65536):
                self._pieces.append((time.monotonic(), piece))
                self._flowing.set()

    def wait_flowing(self) -> None:
        """Return once sound, or silence, has come; at most START_LIMIT_S."""
        assert self._flowing.wait(START_LIMIT_S), "the lab's reader gets nothing"

    def wait_ended(self) -> None:
        """Return once the reader has read what parec left; the caller has ended parec."""
        self._reader.join(END_LIMIT_S)
        assert not self._reader.is_alive(), "the lab's reader does not end"

    @property
    def sound(self) -> bytes:
        """All of it so far, silence included."""
        return b"".join(piece for _, piece in self._pieces)

    def loud(self) -> list[tuple[float, float]]:
        """When something was to be heard: begin and end of each sound, GAP_S of silence apart.

        A sample's time is counted back from the arrival of the piece that it came in, so it is late
        by up to LATENCY_MS and never early.
        """
        spans: list[tuple[float, float]] = []
        for arrived_s, piece in list(self._pieces):
            samples = array.array("h", piece)  # parec writes whole samples
            heard = [index for index, sample in enumerate(samples) if abs(sample) > LOUD]
            if not heard:
                continue
            begin_s = arrived_s - (len(samples) - heard[0]) / RATE_HZ
            end_s = arrived_s - (len(samples) - heard[-1] - 1) / RATE_HZ
            if spans and begin_s - spans[-1][1] < GAP_S:
                spans[-1] = (spans[-1][0], end_s)
            else:
                spans.append((begin_s, end_s))
        return spans


class Lab:
    """PulseAudio with a microphone to speak into and a speaker to record; see the top of the file.

    Entering starts it and waits until both monitors flow; leaving ends all and removes its folder.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="voice-appliance-lab-"))
        self._server: subprocess.Popen[bytes] | None = None
        self._clients: list[subprocess.Popen[bytes]] = []
        self._is_stopped = False
        server = f'type pulse server "unix:{self._folder}/socket"'
        (self._folder / "asoundrc").write_text(
            "</usr/share/alsa/alsa.conf>\n"
            f'pcm.lab_play {{ {server} device "speaker" }}\n'
            f'pcm.lab_cap {{ {server} device "mic.monitor" }}\n'
            f'ctl.lab_play {{ {server} sink "speaker" }}\n'
        )
        (self._folder / "lab.pa").write_text(
            f"load-module module-native-protocol-unix socket={self._folder}/socket"
            " auth-anonymous=1\n"
            + "".join(
                f"load-module module-null-sink sink_name={sink} rate={RATE_HZ}"
                " channels=1 format=s16le norewinds=1\n"
                for sink in SINKS
            )
        )

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find the lab's devices and sinks."""
        return {
            "ALSA_CONFIG_PATH": f"{self._folder}/asoundrc",
            "PULSE_SERVER": f"unix:{self._folder}/socket",
            "PULSE_RUNTIME_PATH": str(self._folder),  # nothing of ours in anybody's home
            "PULSE_COOKIE": f"{self._folder}/cookie",
        }

    def lend(self, place: str) -> tuple[Path, dict[str, str]]:
        """Our folder, and what whoever has it at `place`, as any user, needs in the environment."""
        devices = (self._folder / "asoundrc").read_text()
        (self._folder / "asoundrc.lent").write_text(devices.replace(str(self._folder), place))
        return self._folder, {"ALSA_CONFIG_PATH": f"{place}/asoundrc.lent"}

    def say(self, sound: bytes) -> subprocess.Popen[bytes]:
        """Play raw sound into the microphone; returns at once, `wait()` on it for its end."""
        with tempfile.TemporaryFile(dir=self._folder) as spoken:
            spoken.write(sound)
            spoken.seek(0)
            return self._client("pacat", "mic", SAY_AHEAD_MS, stdin=spoken.fileno())

    @contextlib.contextmanager
    def record(self, sink: str = "speaker") -> Iterator[Recording]:
        """Record what a sink plays, from before the block is entered to its end."""
        parec = self._client("parec", f"{sink}.monitor", stdout=subprocess.PIPE)
        recording = Recording(parec)
        try:
            recording.wait_flowing()
            yield recording
        finally:
            _end(parec)
            recording.wait_ended()

    @contextlib.contextmanager
    def echo(self, *, latency_ms: int, gain_db: int) -> Iterator[None]:
        """Let the microphone hear the speaker, while the block lasts."""
        wires = ("source=speaker.monitor", "sink=mic", f"latency_msec={latency_ms}")
        module = self._control("load-module", "module-loopback", *wires, "adjust_time=0").strip()
        self._control("set-sink-volume", "mic", f"{gain_db}dB")
        try:
            yield
        finally:
            self._control("set-sink-volume", "mic", "0dB")
            self._control("unload-module", module)

    def _control(self, *words: str) -> str:
        done = subprocess.run(
            ["pactl", *words],
            env=self._bare_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def kill_server(self) -> None:
        """End PulseAudio as a crash does: no farewell, its clients see a closed socket."""
        if self._server is not None:
            _end(self._server)
            self._server = None
        for client in self._clients:
            _end(client)
        self._clients.clear()
        self._is_stopped = False

    def restart(self) -> None:
        """A new PulseAudio in the old one's place, under the same names; waits until it flows."""
        self.kill_server()
        self._start()

    def stop_server(self) -> None:
        """PulseAudio stands still: no error, no sound, no end, until `cont_server`."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)
        self._is_stopped = True

    def cont_server(self) -> None:
        """PulseAudio goes on where it stood, with all that has piled up."""
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)
        self._is_stopped = False

    @contextlib.contextmanager
    def standing_still(self, sink: str) -> Iterator[None]:
        """A sink stands still, with its listeners, while the block lasts; the server answers."""
        self._control("suspend-sink", sink, "1")
        try:
            yield
        finally:
            self._control("suspend-sink", sink, "0")

    def mend(self) -> None:
        """Make a running lab of whatever a test has left: killed, dead or stopped."""
        if self._is_stopped or self._server is None or self._server.poll() is not None:
            self.restart()

    def close(self) -> None:
        """End every process of the lab and remove its folder; a second time does nothing."""
        self.kill_server()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        (self._folder / "socket").unlink(missing_ok=True)
        self._server = subprocess.Popen(
            [
                "pulseaudio",
                *("-n", "-F", f"{self._folder}/lab.pa", "--daemonize=no", "--use-pid-file=no"),
                *("--exit-idle-time=-1", "--high-priority=no", "--realtime=no"),
                f"--log-target=file:{self._folder}/log",
            ],
            env=self._bare_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_answering()
        self._folder.chmod(0o755)  # it closes it to others when it starts
        for sink in SINKS:
            self._client("parec", f"{sink}.monitor")
            with self.record(sink):
                pass  # it flows

    def _wait_answering(self) -> None:
        assert self._server is not None
        limit_s = time.monotonic() + START_LIMIT_S
        while not self._is_answering():
            if self._server.poll() is not None or time.monotonic() > limit_s:
                log = self._folder / "log"
                pytest.fail(f"no PulseAudio: {log.read_text() if log.exists() else 'no log'}")
            time.sleep(0.02)

    def _is_answering(self) -> bool:
        asked = subprocess.run(
            ["pactl", "info"], env=self._bare_environment(), capture_output=True, check=False
        )
        return asked.returncode == 0

    def _bare_environment(self) -> dict[str, str]:
        folder = str(self._folder)
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "HOME": folder, "XDG_RUNTIME_DIR": folder, **self.environment()}

    def _client(
        self,
        tool: str,
        device: str,
        latency_ms: int = LATENCY_MS,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        self._clients = [client for client in self._clients if client.poll() is None]
        client = subprocess.Popen(
            [tool, *FORMAT, f"--device={device}", f"--latency-msec={latency_ms}"],
            env=self._bare_environment(),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        )
        self._clients.append(client)
        return client


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(END_LIMIT_S)
