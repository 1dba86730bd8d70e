"""A card that comes and goes: when it is tried, looked at, and what is known of it."""

from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.errors import DeviceError
from appliance.sound.pcm import Chain
from appliance.sound.plug import DEAD_S, LOOK_RARELY_S, LOOK_S, Plug


@dataclass
class Card:
    """A stream that fails when it is told to."""

    chain: Chain = Chain(48000, 2, "S32_LE", "speexrate")  # noqa: RUF009  # it is frozen
    xruns: int = 0
    is_open: bool = True
    broken: trio.Event = field(default_factory=trio.Event)

    def close(self) -> None:
        self.is_open = False


class Owner:
    """One that has a plug, and a socket to put cards into."""

    def __init__(self) -> None:
        self.socket: Card | None = None
        self.tries: list[float] = []
        self.told: list[tuple[float, str]] = []
        self.plug = Plug(
            "microphone",
            self._open,
            self._use,
            found=lambda: self.told.append((trio.current_time(), "found")),
            lost=lambda: self.told.append((trio.current_time(), "lost")),
            stir=self._stir,
        )
        self.stirred = trio.Event()

    def _stir(self) -> None:
        self.told.append((trio.current_time(), "stirred"))
        self.stirred.set()

    def _open(self) -> Card:
        self.tries.append(round(trio.current_time(), 6))
        if self.socket is None:
            raise DeviceError("there is none")
        return self.socket

    async def _use(self, card: Card) -> None:
        while not self.plug.is_to_close:
            self.stirred = trio.Event()
            with trio.move_on_after(60.0):
                await self.stirred.wait()
            if card.broken.is_set():
                raise DeviceError("it was pulled out")

    def pull(self) -> None:
        assert self.socket is not None
        self.socket.broken.set()
        self.stirred.set()
        self.socket = None


@pytest.fixture
async def owner(autojump_clock: MockClock, nursery: trio.Nursery) -> Owner:
    owner = Owner()
    nursery.start_soon(owner.plug.run)
    await wait_all_tasks_blocked()
    return owner


async def test_a_card_the_kernel_told_of_is_tried_soon_and_a_few_times(
    owner: Owner, autojump_clock: MockClock
) -> None:
    await trio.sleep(9.0)
    assert owner.tries == [0.0, 1.0, 3.0, 7.0]
    owner.plug.cards_changed()
    await trio.sleep(8.0)
    assert owner.tries[4:] == [9.1, 9.3, 9.7, 10.5, 15.5]


async def test_it_is_found_when_the_device_may_be_opened(
    owner: Owner, autojump_clock: MockClock
) -> None:
    await trio.sleep(7.5)
    owner.plug.cards_changed()
    await trio.sleep(0.25)
    owner.socket = Card()  # now the system has set its permissions
    await trio.sleep(0.06)
    assert owner.told[-1][1] == "found"


async def test_however_often_the_kernel_tells_no_try_is_put_off(
    owner: Owner, autojump_clock: MockClock
) -> None:
    await trio.sleep(2.0)
    before = len(owner.tries)
    for _ in range(1000):
        owner.plug.cards_changed()
        await trio.sleep(0.01)
    tries = owner.tries[before:]
    assert 95 <= len(tries) <= 101, "each 0.1 s, and no more often"


async def test_the_waits_begin_anew_after_a_success(
    owner: Owner, autojump_clock: MockClock
) -> None:
    await trio.sleep(7.5)
    owner.socket = Card()
    await trio.sleep(5.0)
    owner.pull()
    await trio.sleep(3.5)
    assert owner.tries == [0.0, 1.0, 3.0, 7.0, 12.0, 13.5, 15.5]


async def test_a_stream_that_stands_still_is_looked_at_often_unless_the_kernel_tells(
    owner: Owner, autojump_clock: MockClock
) -> None:
    owner.socket = Card()
    await trio.sleep(1.5)
    assert owner.plug.look_s == LOOK_S
    owner.plug.cards_changed()
    assert owner.told[-1] == (1.5, "stirred"), "so that whoever uses it looks now"
    assert owner.plug.look_s == LOOK_RARELY_S
    owner.pull()
    owner.socket = Card(Chain(16000, converter="sound server", is_kernels=False))
    await trio.sleep(1.0)
    assert owner.plug.look_s == LOOK_S, "of a server's end the kernel knows nothing"


async def test_what_is_known_of_a_card_is_told(owner: Owner, autojump_clock: MockClock) -> None:
    nothing = dict.fromkeys(("rate_hz", "format", "channels", "converter", "paced_by"))
    assert owner.plug.status() == {"trouble": "there is none", **nothing, "xruns": 0}
    owner.socket = card = Card()
    await trio.sleep(1.5)
    card.xruns = 2
    known = {"rate_hz": 48000, "format": "S32_LE", "channels": 2, "converter": "speexrate"}
    known["paced_by"] = "card"
    assert owner.plug.status() == {"trouble": None, **known, "xruns": 2}
    owner.pull()
    await trio.sleep(0.5)
    assert owner.plug.status() == {"trouble": "it was pulled out", **nothing, "xruns": 2}
    assert not card.is_open
    owner.socket = Card(xruns=1)
    await trio.sleep(2.0)
    assert owner.plug.status()["xruns"] == 3, "of all the cards there were"
    owner.pull()
    await trio.sleep(4.5)
    assert owner.plug.status()["trouble"] == "there is none", "the newest reason"
    assert [word for _, word in owner.told] == ["lost", "found", "lost", "found", "lost"]


async def test_the_journal_has_it_once(
    owner: Owner, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    owner.socket = Card()
    await trio.sleep(1.5)
    caplog.clear()
    owner.pull()
    await trio.sleep(60.0)
    assert caplog.messages == ["the microphone is gone: it was pulled out"]


async def test_a_stream_that_nobody_looks_after_is_dead_and_a_missing_card_is_not(
    owner: Owner, autojump_clock: MockClock
) -> None:
    await trio.sleep(60.0)
    assert owner.plug.is_alive(busy=True), "there is no card"
    owner.socket = Card()
    await trio.sleep(6.0)
    owner.plug.moved()
    await trio.sleep(DEAD_S - 0.1)
    assert owner.plug.is_alive(busy=True)
    await trio.sleep(0.2)
    assert not owner.plug.is_alive(busy=True)
    assert owner.plug.is_alive(busy=False)
    owner.plug.moved()
    assert owner.plug.is_alive(busy=True)


# ── given back ───────────────────────────────────────────────────────────────────────────────────


async def test_a_card_that_is_wanted_anew_is_closed_and_opened_and_nothing_is_told_as_lost(
    owner: Owner, autojump_clock: MockClock
) -> None:
    owner.socket = card = Card(xruns=2)
    await trio.sleep(1.5)
    owner.socket = Card()
    owner.plug.reopen()
    await wait_all_tasks_blocked()
    assert not card.is_open
    assert owner.tries == [0.0, 1.0, 1.5]
    assert [word for _, word in owner.told] == ["lost", "found", "stirred", "found"]
    assert owner.plug.status()["xruns"] == 2
    await trio.sleep(30.0)
    assert owner.tries == [0.0, 1.0, 1.5], "once"


async def test_a_card_that_is_given_back_is_closed_and_none_is_tried_until_that_is_over(
    owner: Owner, autojump_clock: MockClock
) -> None:
    owner.socket = Card()
    await trio.sleep(1.5)
    async with owner.plug.given_back():
        assert not owner.socket.is_open
        assert not owner.plug.is_open
        owner.plug.cards_changed()
        await trio.sleep(10.0)
        assert owner.tries == [0.0, 1.0]
        owner.socket = Card()
    await wait_all_tasks_blocked()
    assert owner.tries == [0.0, 1.0, 11.5]
    assert owner.plug.is_open


async def test_who_wants_a_card_back_does_not_wait_for_one_that_is_missing(
    owner: Owner, autojump_clock: MockClock
) -> None:
    with trio.fail_after(0.1):
        async with owner.plug.given_back():
            pass
    owner.socket = card = Card()
    await trio.sleep(1.5)
    card.broken.set()  # nobody has noticed
    with trio.fail_after(0.1):
        async with owner.plug.given_back():
            assert not card.is_open
    assert owner.plug.status()["trouble"] == "it was pulled out"


async def test_what_is_to_be_done_before_a_card_is_opened_may_fail_as_its_opening_does(
    owner: Owner, autojump_clock: MockClock
) -> None:
    async def fail() -> None:
        raise DeviceError("it cannot be asked")

    owner.socket = Card()
    owner.plug.about_to_open = fail
    await trio.sleep(2.0)
    assert owner.tries == [0.0]
    assert owner.plug.status()["trouble"] == "it cannot be asked"
