"""The ear, in a room of virtual time: what it hears, and what it says of a card that fails."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.errors import DeviceError
from appliance.sound.microphone import Capture, Microphone
from appliance.sound.pcm import Format
from appliance.standin.card import Room, StandinCapture
from tests.test_cards import FORM, has_any_of, noise


@dataclass
class Ear:
    """A microphone that runs, and all that it told."""

    room: Room
    opens: Callable[[], Capture]
    heard: bytearray = field(default_factory=bytearray)
    told: list[tuple[float, str]] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)  # when it tried to open the card

    def __post_init__(self) -> None:
        self.microphone = Microphone(
            self._open,
            heard=self.heard.extend,
            found=lambda: self.told.append((trio.current_time(), "found")),
            lost=lambda: self.told.append((trio.current_time(), "lost")),
        )

    def _open(self) -> Capture:
        self.tries.append(trio.current_time())
        return self.opens()


@pytest.fixture
async def ear(autojump_clock: MockClock, nursery: trio.Nursery) -> Ear:
    room = Room(FORM.rate_hz)
    ear = Ear(room, room.open_microphone)
    nursery.start_soon(ear.microphone.run)
    await wait_all_tasks_blocked()
    return ear


# What it hears


async def test_the_card_is_open_before_anybody_wants_it_and_nothing_is_heard(
    autojump_clock: MockClock, ear: Ear
) -> None:
    assert ear.told == [(0.0, "found")]
    ear.room.say(noise(5.0))
    await trio.sleep(10.0)
    assert ear.heard == b""
    assert ear.tries == [0.0]


async def test_from_its_start_on_every_sample_is_heard_in_order(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.room.say(noise(3.0))
    await trio.sleep(1.0)
    ear.microphone.on()
    await trio.sleep(1.01)
    assert ear.heard == noise(3.0)[32000:64000]


async def test_after_its_end_nothing_is_heard(autojump_clock: MockClock, ear: Ear) -> None:
    ear.room.say(noise(3.0))
    ear.microphone.on()
    await trio.sleep(0.99)
    ear.microphone.off()
    await trio.sleep(1.0)
    assert ear.heard == noise(3.0)[: 49 * 640]  # the period that was not over is not heard


@pytest.mark.parametrize("pause_ms", [0, 1, 5, 10, 11, 19, 20, 21, 40, 500])
@pytest.mark.parametrize("after_ms", [7, 10, 100])
async def test_however_soon_it_is_on_again_it_hears_all_from_then_on(
    autojump_clock: MockClock, ear: Ear, pause_ms: int, after_ms: int
) -> None:
    ear.microphone.on()
    await trio.sleep(after_ms / 1000)
    ear.microphone.off()
    await trio.sleep(pause_ms / 1000)
    ear.microphone.on()
    ear.room.say(noise(0.3))
    await trio.sleep(0.4)
    assert noise(0.3) in ear.heard


async def test_to_switch_off_what_is_off_changes_nothing(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.off()
    await trio.sleep(0.5)
    ear.microphone.on()
    ear.microphone.off()
    ear.microphone.off()
    await trio.sleep(0.5)
    ear.microphone.on()
    ear.microphone.on()
    ear.room.say(noise(0.3))
    await trio.sleep(0.31)
    assert ear.heard == noise(0.3)


async def test_what_was_said_while_it_was_off_is_not_heard_later(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    await trio.sleep(0.1)
    ear.microphone.off()
    await trio.sleep(0.1)
    ear.room.say(noise(0.5))
    await trio.sleep(0.5)
    ear.microphone.on()
    await trio.sleep(1.0)
    assert not has_any_of(noise(0.5), bytes(ear.heard))


async def test_of_a_card_with_two_channels_the_first_is_heard(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Stereo(StandinCapture):
        def __init__(self, room: Room) -> None:
            super().__init__(room)
            self.form = Format(FORM.rate_hz, channels=2)

        def read(self) -> bytes:
            left = array("h", super().read())
            both = array("h", bytes(4 * len(left)))
            both[::2], both[1::2] = left, array("h", [1] * len(left))
            return both.tobytes()

    room = Room(FORM.rate_hz)
    ear = Ear(room, lambda: Stereo(room))
    nursery.start_soon(ear.microphone.run)
    ear.microphone.on()
    room.say(noise(0.3))
    await trio.sleep(0.31)
    assert ear.heard == noise(0.3)


# A card that fails


async def test_a_card_that_is_pulled_out_is_announced_once_and_at_once(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    await trio.sleep(1.234)
    ear.room.unplug()
    await trio.sleep(60.0)
    assert ear.told == [(0.0, "found"), (1.234, "lost")]


async def test_it_is_tried_again_after_1_2_4_and_then_each_5_seconds(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    await trio.sleep(10.0)
    ear.room.unplug()
    await trio.sleep(22.5)
    assert ear.tries == [0.0, 11.0, 13.0, 17.0, 22.0, 27.0, 32.0]
    ear.room.plug()
    await trio.sleep(5.0)
    assert ear.told == [(0.0, "found"), (10.0, "lost"), (37.0, "found")]
    ear.room.unplug()
    await trio.sleep(1.5)
    assert ear.tries[-2:] == [37.0, 38.5], "after a success the waits begin anew"


async def test_put_back_it_hears_again_without_being_told(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    await trio.sleep(1.0)
    ear.room.unplug()
    await trio.sleep(0.5)
    ear.room.plug()
    await trio.sleep(0.51)
    assert [word for _, word in ear.told] == ["found", "lost", "found"]
    ear.room.say(noise(0.5))
    await trio.sleep(0.6)
    assert noise(0.5) in ear.heard


async def test_put_back_while_it_is_off_it_stays_off(autojump_clock: MockClock, ear: Ear) -> None:
    ear.microphone.on()
    await trio.sleep(1.0)
    ear.room.unplug()
    ear.microphone.off()
    heard = bytes(ear.heard)
    ear.room.plug()
    ear.room.say(noise(5.0))
    await trio.sleep(5.0)
    assert ear.heard == heard


async def test_a_card_that_is_pulled_out_while_nobody_wants_it_is_missed_all_the_same(
    autojump_clock: MockClock, ear: Ear
) -> None:
    await trio.sleep(10.5)
    ear.room.unplug()
    ear.room.plug()
    await trio.sleep(5.0)
    assert ear.told == [(0.0, "found"), (12.0, "lost"), (13.0, "found")]
    ear.microphone.on()
    ear.room.say(noise(0.5))
    await trio.sleep(0.6)
    assert noise(0.5) in ear.heard


async def test_where_the_kernel_tells_it_is_missed_at_once_and_hardly_looked_at(
    autojump_clock: MockClock, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    monkeypatch.setattr(StandinCapture, "check", lambda _card: looks.append(trio.current_time()))
    ear.microphone.cards_changed()
    await trio.sleep(100.0)
    assert looks == [0.0, 30.0, 60.0, 90.0]
    monkeypatch.undo()
    await trio.sleep(0.5)
    ear.room.unplug()
    ear.microphone.cards_changed()
    await trio.sleep(0.05)
    assert ear.told[1:] == [(100.5, "lost")]
    ear.room.plug()
    await trio.sleep(0.1)
    assert ear.told[2:] == [(100.6, "found")]


async def test_a_missing_card_is_announced_at_the_start(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    room.unplug()
    ear = Ear(room, room.open_microphone)
    nursery.start_soon(ear.microphone.run)
    await trio.sleep(4.0)
    room.plug()
    await trio.sleep(4.0)
    assert ear.told == [(0.0, "lost"), (7.0, "found")]


async def test_a_card_that_says_nothing_for_two_seconds_has_failed(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    await trio.sleep(1.01)
    ear.room.stall()
    ear.room.say(noise(2.0))
    await trio.sleep(2.49)
    assert ear.told == [(0.0, "found"), (3.0, "lost")]
    heard = len(ear.heard)
    ear.room.go_on()
    ear.room.say(noise(0.5, seed=2), after_s=1.0)
    await trio.sleep(2.0)
    assert ear.told[2:] == [(4.0, "found")]
    assert noise(0.5, seed=2) in ear.heard
    assert not has_any_of(noise(2.0), bytes(ear.heard[heard:])), "what piled up is old"


async def test_what_piled_up_for_two_seconds_is_old_whoever_stood_still(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    ear.room.say(noise(3.0))
    await trio.sleep(0.51)
    autojump_clock.jump(2.2)  # something held up the whole loop
    await trio.sleep(0.5)
    assert ear.heard == noise(3.0)[:16000]
    assert [word for _, word in ear.told] == ["found", "lost"]


async def test_a_card_that_stalls_for_less_loses_nothing(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    ear.room.say(noise(4.0))
    await trio.sleep(1.0)
    ear.room.stall()
    await trio.sleep(1.9)
    ear.room.go_on()
    await trio.sleep(1.11)
    assert ear.told == [(0.0, "found")]
    assert ear.heard == noise(4.0)


async def test_it_may_stand_still_for_as_long_as_nobody_wants_it(
    autojump_clock: MockClock, ear: Ear
) -> None:
    ear.microphone.on()
    await trio.sleep(1.0)
    ear.microphone.off()
    await trio.sleep(3600.0)
    ear.microphone.on()
    await trio.sleep(1.0)
    assert ear.told == [(0.0, "found")]


async def test_a_card_that_opens_and_never_starts_is_tried_once_a_second(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Mute(StandinCapture):
        def start(self) -> None:
            raise DeviceError("no clock")

    room = Room(FORM.rate_hz)
    ear = Ear(room, lambda: Mute(room))
    nursery.start_soon(ear.microphone.run)
    ear.microphone.on()
    await trio.sleep(2.5)
    assert ear.tries == [0.0, 1.0, 2.0]
    assert [word for _, word in ear.told] == ["found", "lost"] * 3


async def test_that_it_is_lost_is_told_before_a_close_that_may_hang(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Slow(StandinCapture):
        def close(self) -> None:
            owner.told.append((trio.current_time(), "closed"))
            super().close()

    room = Room(FORM.rate_hz)
    owner = Ear(room, lambda: Slow(room))
    nursery.start_soon(owner.microphone.run)
    owner.microphone.on()
    await trio.sleep(0.5)
    room.unplug()
    await trio.sleep(0.5)
    assert [word for _, word in owner.told] == ["found", "lost", "closed"]


async def test_whatever_fails_one_stream_is_open_and_at_the_end_none(
    autojump_clock: MockClock,
) -> None:
    room = Room(FORM.rate_hz)
    ear = Ear(room, room.open_microphone)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ear.microphone.run)
        for turn in range(20):
            await wait_all_tasks_blocked()
            assert len(room.streams) == 1
            ear.microphone.on()
            await trio.sleep(0.31)
            if turn % 2:
                ear.microphone.off()
            if turn % 3:
                room.stall()
                await trio.sleep(2.0)
                room.go_on()
            room.unplug()
            await trio.sleep(2.0)
            assert room.streams == []
            room.plug()
            await trio.sleep(5.0)
        assert room.opened > 20
        nursery.cancel_scope.cancel()
    assert room.streams == []
