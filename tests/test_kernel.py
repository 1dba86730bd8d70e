"""What the kernel's files tell of cards, read from a folder that looks like them."""

import os
from pathlib import Path

import pytest

from appliance.sound import kernel
from appliance.sound.kernel import Hardware

HW_PARAMS = """access: RW_INTERLEAVED
format: S32_LE
subformat: STD
channels: 2
rate: 48000 (48000/1)
period_size: 960
buffer_size: 9600
"""
STATUS = """state: RUNNING
owner_pid   : {}
trigger_time: 10.482921330
delay       : 1472
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path / "proc"


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    for number, card in ((0, "PCH"), (1, "Device"), (10, "Ten")):
        write(tmp_path / f"sys/card{number}/id", f"{card}\n")
    (tmp_path / "sys/controlC0").mkdir()
    (tmp_path / "sys/card7").mkdir()  # it is on its way out
    return tmp_path / "sys"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_cards_are_listed_by_number_and_id(sys: Path, tmp_path: Path) -> None:
    assert kernel.card_ids(sys) == {0: "PCH", 1: "Device", 10: "Ten"}
    assert kernel.card_ids(tmp_path / "nowhere") == {}


def test_the_hardware_says_how_it_runs(proc: Path) -> None:
    write(proc / "asound/card1/pcm0c/sub0/hw_params", HW_PARAMS)
    write(proc / "asound/card1/pcm0p/sub0/hw_params", "closed\n")
    assert kernel.hardware(1, 0, 0, capture=True, proc=proc) == Hardware(48000, 2, "S32_LE")
    assert kernel.hardware(1, 0, 0, capture=False, proc=proc) is None
    assert kernel.hardware(-1, 0, 0, capture=True, proc=proc) is None
    assert kernel.has_card(1, proc)
    assert not kernel.has_card(-1, proc)


@pytest.mark.parametrize(
    ("maps", "converter"),
    [
        ("7f00-7f01 r-xp 0 0:1 1 /usr/lib/x/alsa-lib/libasound_module_rate_speexrate.so\n", None),
        ("7f00-7f01 r-xp 0 0:1 1 /usr/lib/x/libasound.so.2\n", "linear"),
        ("", "linear"),
    ],
)
def test_a_converter_that_is_a_library_is_seen(
    proc: Path, maps: str, converter: str | None
) -> None:
    write(proc / "self/maps", maps)
    assert kernel.converter(proc) == (converter or "speexrate")


def test_without_a_map_nothing_good_is_assumed(proc: Path) -> None:
    assert kernel.converter(proc) == "linear"


def a_holder(proc: Path, stream: str, pid: int = 612, group: int = 600) -> None:
    write(proc / "asound" / stream / "sub0/status", STATUS.format(pid))
    write(proc / f"{pid}/status", f"Name:\talsa-sink\nTgid:\t{group}\nPid:\t{pid}\n")
    write(proc / f"{group}/comm", "pulseaudio\n")


@pytest.mark.parametrize(
    "name", ["plughw:CARD=Device", "hw:1", "plughw:Device,0", "default", "hw:CARD=Device,DEV=0"]
)
def test_who_holds_a_card_is_named(name: str, proc: Path, sys: Path) -> None:
    a_holder(proc, "card1/pcm0c")
    words = kernel.holder(name, capture=True, proc=proc, sys=sys)
    assert words == "pulseaudio (process 600)"


@pytest.mark.parametrize("name", ["plughw:CARD=PCH", "hw:1,1", "plughw:CARD=gone"])
def test_who_holds_another_card_does_not_matter(name: str, proc: Path, sys: Path) -> None:
    a_holder(proc, "card1/pcm0c")
    assert kernel.holder(name, capture=True, proc=proc, sys=sys) == "another program"


def test_who_holds_the_other_direction_does_not_matter(proc: Path, sys: Path) -> None:
    a_holder(proc, "card1/pcm0p")
    assert kernel.holder("hw:1", capture=True, proc=proc, sys=sys) == "another program"


def test_a_holder_that_cannot_be_looked_at_has_a_number(proc: Path, sys: Path) -> None:
    write(proc / "asound/card1/pcm0c/sub0/status", STATUS.format(612))
    words = kernel.holder("hw:1", capture=True, proc=proc, sys=sys)
    assert words == "another program (process 612)"


@pytest.mark.parametrize("status", ["closed\n", STATUS.format(0), STATUS.format("?"), "\0\n:"])
def test_what_is_not_told_is_another_program(status: str, proc: Path, sys: Path) -> None:
    write(proc / "asound/card1/pcm0c/sub0/status", status)
    assert kernel.holder("hw:1", capture=True, proc=proc, sys=sys) == "another program"


def test_we_ourselves_are_no_other_program(proc: Path, sys: Path) -> None:
    a_holder(proc, "card1/pcm0c", pid=os.getpid())
    assert kernel.holder("hw:1", capture=True, proc=proc, sys=sys) == "another program"
