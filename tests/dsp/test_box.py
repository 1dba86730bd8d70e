"""The daemon with WebRTC's canceller, as processes on real ALSA: PulseAudio carries its voice back.

What is judged is whether the box interrupts itself. The voice comes back 60 ms later and half as
loud, as in no room, yet with the buffers, the pieces and the pace of real cards.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paced.conftest import lab
from tests.paced.test_run import House, house, spoken, until
from tests.sdk.environment import python_with

__all__ = ["house", "lab"]  # fixtures

pytestmark = [pytest.mark.dsp, pytest.mark.paced]

HERE = Path(__file__).parent
TALK = '[talk]\nmode = "tap"\nduplex = "full"\n'
NEEDED_DB = 17.0


@pytest.fixture(scope="module")
def packages() -> Path:
    """Where livekit lies, for a Python of our version."""
    place = python_with(HERE / "livekit.txt").parent.parent
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return place / "lib" / version / "site-packages"


@pytest.fixture
def echoing(house: House) -> Iterator[House]:
    with house.lab.echo(latency_ms=60, gain_db=-6):
        yield house


def converse(house: House, settings: str) -> list[str]:
    """Ask, and let the answer be said: the events."""
    _, url = house.start_agent()
    house.start_box(url, settings=settings)
    watch = house.start_watch()
    house.ask("press")
    house.ask("release")
    house.say(spoken("question.wav") * 3)
    until(lambda: any(event["event"] == "turn" for event in watch.told))
    return [str(event["event"]) for event in watch.told]


def test_with_a_canceller_the_box_hears_its_own_answer_out(echoing: House, packages: Path) -> None:
    echoing.settle(PYTHONPATH=str(packages))
    events = converse(echoing, f'echo = "webrtc"\n{TALK}')
    assert events.count("user started speaking") == 1
    assert "last sample played" in events
    echo = echoing.status["echo"]
    assert echo["canceller"] == "webrtc"
    assert echo["frames"] > 300
    assert echo["erle_db"] > NEEDED_DB


def test_without_one_it_interrupts_itself(echoing: House) -> None:
    events = converse(echoing, TALK)
    assert events.count("user started speaking") > 1
    assert "last sample played" not in events
