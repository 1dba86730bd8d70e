"""The lab does what the other tests here build on."""

import array
import math
import time

import alsaaudio
import pytest

from .pulse import RATE_HZ, Lab

PERIOD = 320
LIMIT_S = 5.0  # for what takes less than one


def tone(seconds: float, hz: int = 440) -> bytes:
    turn = 2 * math.pi * hz / RATE_HZ
    # Begins at the crest, so that no sample of it is silence at either end.
    samples = (round(12000 * math.cos(turn * index)) for index in range(round(seconds * RATE_HZ)))
    return array.array("h", samples).tobytes()


def open_pcm(kind: int, device: str) -> alsaaudio.PCM:
    return alsaaudio.PCM(
        type=kind,
        mode=alsaaudio.PCM_NONBLOCK,
        device=device,
        rate=RATE_HZ,
        channels=1,
        format=alsaaudio.PCM_FORMAT_S16_LE,
        periodsize=PERIOD,
        periods=10,
    )


def capture(pcm: alsaaudio.PCM, seconds: float) -> bytes:
    sound = b""
    limit_s = time.monotonic() + seconds + LIMIT_S
    while len(sound) < 2 * seconds * RATE_HZ:
        assert time.monotonic() < limit_s, "capture has stalled"
        frames, piece = pcm.read()
        if frames > 0:
            sound += piece
        else:
            time.sleep(0.005)
    return sound


def play(pcm: alsaaudio.PCM, sound: bytes) -> None:
    limit_s = time.monotonic() + LIMIT_S
    while sound:
        assert time.monotonic() < limit_s, "playback has stalled"
        taken = max(0, pcm.write(sound[: 2 * PERIOD]))
        sound = sound[2 * taken :]
        if taken == 0:
            time.sleep(0.005)


def test_what_is_said_is_captured_to_the_sample(lab: Lab) -> None:
    said = tone(0.5)
    pcm = open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap")
    lab.say(said)
    heard = capture(pcm, 1.0)
    pcm.close()
    assert said in heard


def test_what_is_played_is_recorded_to_the_sample_and_at_once(lab: Lab) -> None:
    played = tone(0.3)
    pcm = open_pcm(alsaaudio.PCM_PLAYBACK, "lab_play")
    with lab.record() as recording:
        written_s = time.monotonic()
        play(pcm, played + bytes(PERIOD * 2 * 10))
        time.sleep(0.3)
    pcm.drop()
    pcm.close()
    assert played in recording.sound
    [(begin_s, end_s)] = recording.loud()
    assert begin_s - written_s < 0.1
    assert end_s - begin_s == pytest.approx(0.3, abs=0.03)


def test_a_killed_server_is_told_by_alsa_and_comes_back(lab: Lab) -> None:
    pcm = open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap")
    capture(pcm, 0.1)
    lab.kill_server()
    with pytest.raises(alsaaudio.ALSAAudioError):
        capture(pcm, 1.0)
    pcm.close()
    with pytest.raises(alsaaudio.ALSAAudioError):
        open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap")
    lab.restart()
    pcm = open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap")
    capture(pcm, 0.1)
    pcm.close()


def test_a_stopped_server_is_told_by_nobody_and_goes_on(lab: Lab) -> None:
    pcm = open_pcm(alsaaudio.PCM_CAPTURE, "lab_cap")
    capture(pcm, 0.1)
    lab.stop_server()
    time.sleep(0.1)
    capture_until_dry = [pcm.read()[0] for _ in range(20)]
    assert capture_until_dry[-1] == 0
    time.sleep(0.5)
    assert pcm.read() == (0, b"")
    lab.cont_server()
    capture(pcm, 0.6)
    pcm.close()
