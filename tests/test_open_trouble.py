"""In `open` nobody presses to learn why nobody answers: what is wrong stays told, until it is not.

The machine first, then whole boxes in virtual time, whose lamp and `status` are read.
"""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import Action, Event, Link, Mode, Phase
from appliance.errors import AgentUnreachable, Retry, Trouble
from appliance.host import doctor
from appliance.host.doctor import State
from appliance.panel.looks import DARK, HALTING, HOLLOW, STEADY, TRIPLE
from appliance.standin.agent import Manners
from tests.box import Box, Network, a_box, tone
from tests.test_conversation import Desk
from tests.test_cues_decided import Audible

OPEN = '[talk]\nmode = "open"\nmax_conversation_s = 0\n'
CAP = "[spend]\nusd_per_hour = 3.6\nusd_per_day_max = 0.01\n"  # ten seconds
DAY_S = 86_400.0


def failing(why: Trouble) -> Desk:
    """Its first dial has failed so, and nobody has pressed."""
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.tell(Event.LINK_LOST, why)
    return desk


def shown(desk: Desk) -> tuple[Phase, Trouble | None]:
    return desk.talk.phase, desk.talk.trouble


def fail_on(desk: Desk, why: Trouble, seconds: float) -> None:
    """Time passes, and each dial fails."""
    for _ in range(round(seconds)):
        desk.wait(1.0)
        if desk.talk.link is Link.DIALING:
            desk.tell(Event.LINK_LOST, why)


LINKS = [it for it in Trouble if it.retry is not Retry.ON_PRESS]
REFUSALS = [
    *(Trouble.KEY_REFUSED, Trouble.NO_CREDIT, Trouble.CERTIFICATE),
    *(Trouble.NOT_FOUND, Trouble.SETTINGS_REFUSED),
]


@pytest.mark.parametrize("why", [*LINKS, *REFUSALS])
def test_what_keeps_an_open_box_unconnected_is_told_until_it_is_connected(why: Trouble) -> None:
    desk = failing(why)
    fail_on(desk, why, 1000.0)
    assert shown(desk) == (Phase.TROUBLE, why)
    if why in REFUSALS:
        assert desk.talk.next_deadline_s == float("inf"), "nobody wakes for it"
        desk.tell(Event.PRESSED)
        desk.tell(Event.RELEASED)
    while desk.talk.link is not Link.DIALING:
        desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)
    assert desk.talk.trouble is None


def test_what_is_wrong_by_now_is_told_and_not_what_was() -> None:
    desk = failing(Trouble.NO_NETWORK)
    fail_on(desk, Trouble.NO_NETWORK, 100.0)
    fail_on(desk, Trouble.SERVER_ERROR, 100.0)
    assert desk.talk.trouble is Trouble.SERVER_ERROR


def test_a_dial_that_takes_for_ever_is_told_of_too() -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    for _ in range(20):
        desk.wait(31.0)
        if desk.talk.link is Link.CLOSING:
            desk.tell(Event.LINK_DOWN)
    assert desk.talk.trouble is Trouble.NO_CONNECTION


def test_a_dial_is_not_given_up_because_a_trouble_has_been_shown() -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.THINK_FAILED)
    assert desk.talk.trouble is Trouble.NO_ANSWER  # for three seconds
    desk.ear.unanswered = False
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert Action.DIAL in desk.wait(1.0)
    assert Action.ABORT not in desk.wait(60.0)
    assert (desk.talk.link, desk.talk.trouble) == (Link.DIALING, Trouble.LINK_LOST)


def test_who_mutes_it_wants_no_link_and_has_no_trouble_with_it() -> None:
    desk = failing(Trouble.KEY_REFUSED)
    desk.wait(100.0)
    desk.tell(Event.MUTED)
    desk.wait(30.0)
    assert shown(desk) == (Phase.ASLEEP, None)
    assert Action.DIAL in desk.tell(Event.UNMUTED)


def test_a_card_that_is_missing_comes_first_and_the_link_again_after_it() -> None:
    desk = failing(Trouble.KEY_REFUSED)
    desk.tell(Event.MICROPHONE_LOST)
    desk.wait(30.0)
    assert shown(desk) == (Phase.TROUBLE, Trouble.MICROPHONE_MISSING)
    desk.tell(Event.MICROPHONE_FOUND)
    assert shown(desk) == (Phase.TROUBLE, Trouble.KEY_REFUSED)


@pytest.mark.parametrize("ends", [Event.ENDED, Event.TURN_FULL, Event.CONVERSATION_OVER])
def test_what_somebody_ended_is_no_trouble(ends: Event) -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    desk.ear.speaking = False
    desk.tell(ends)
    desk.tell(Event.LINK_LOST, Trouble.NO_NETWORK)
    desk.wait(100.0)
    assert shown(desk) == (Phase.ASLEEP, None)


def test_a_connection_that_a_word_brought_is_kept_up_again() -> None:
    """What had refused it has taken it back."""
    desk = failing(Trouble.NO_CREDIT)
    desk.tell(Event.ASKED)
    desk.connect()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    desk.wait(1.0)
    desk.ear.speaking = False
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert Action.DIAL in desk.wait(1.0)


def test_it_is_said_once_and_only_to_who_is_there() -> None:
    desk = Audible(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.tell(Event.LINK_LOST, Trouble.KEY_REFUSED)
    desk.wait(1000.0)
    assert desk.heard == []
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.tell(Event.LINK_LOST, Trouble.KEY_REFUSED)
    desk.wait(1000.0)
    assert desk.complaints() == [Trouble.KEY_REFUSED]


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.TAP])
def test_in_the_other_profiles_a_trouble_has_its_time(mode: Mode) -> None:
    desk = Desk(mode)
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.tell(Event.LINK_LOST, Trouble.KEY_REFUSED)
    desk.tell(Event.RELEASED)
    assert shown(desk) == (Phase.TROUBLE, Trouble.KEY_REFUSED)
    desk.wait(31.0)
    assert shown(desk) == (Phase.ASLEEP, None)


# ── the cap ──────────────────────────────────────────────────────────────────────────────────────


def test_capped_at_its_start_an_open_box_says_so_and_dials_nothing() -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.CAP_REACHED)
    assert desk.tell(Event.STARTED) == []
    desk.wait(1000.0)
    assert shown(desk) == (Phase.TROUBLE, Trouble.CAP_REACHED)
    assert Action.DIAL not in desk.done
    desk.tell(Event.CAP_LIFTED)
    assert Action.DIAL in desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)


def test_unmuted_at_the_cap_it_says_so() -> None:
    desk = Desk(Mode.OPEN)
    desk.talk.muted = True
    desk.tell(Event.CAP_REACHED)
    desk.tell(Event.STARTED)
    assert desk.at(Phase.ASLEEP)
    desk.tell(Event.UNMUTED)
    desk.wait(1000.0)
    assert desk.talk.trouble is Trouble.CAP_REACHED


def test_a_cap_that_comes_while_it_comes_back_is_told() -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    desk.tell(Event.FORGOTTEN)
    assert (desk.talk.phase, desk.talk.link) == (Phase.ASLEEP, Link.CLOSING)
    desk.tell(Event.CAP_REACHED)
    desk.tell(Event.LINK_DOWN)
    desk.wait(1000.0)
    assert desk.talk.trouble is Trouble.CAP_REACHED


def test_who_pressed_at_the_cap_is_listened_to_when_it_is_lifted() -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    desk.tell(Event.CONVERSATION_OVER)
    desk.tell(Event.LINK_DOWN)
    desk.tell(Event.CAP_REACHED)
    assert desk.at(Phase.ASLEEP), "it had ended by itself"
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.wait(1000.0)
    assert desk.talk.trouble is Trouble.CAP_REACHED
    desk.tell(Event.CAP_LIFTED)
    assert Action.DIAL in desk.wait(1.0)


# ── whole boxes ──────────────────────────────────────────────────────────────────────────────────


def told(box: Box) -> tuple[object, object, object]:
    status = box.daemon.status()
    assert status["look"] == box.look.name
    return status["phase"], status["trouble"], box.look


async def test_a_refused_key_shows_all_night_and_the_doctor_names_it(
    autojump_clock: MockClock,
) -> None:
    async with a_box(OPEN, Manners(refuse_status=401)) as box:
        for wait_s in (10.0, 65.0, 10_000.0):
            await trio.sleep(wait_s)
            assert told(box) == ("trouble", "key-refused", TRIPLE)
        assert len(box.network.dials) == 1
        found = doctor.daemon(box.daemon.status())
        assert found.state is State.FAULT
        assert Trouble.KEY_REFUSED.sentence in found.words
        assert box.manager.told[-1] == f"trouble: {Trouble.KEY_REFUSED.sentence}"
        box.agent.manners = Manners()
        box.button.press()
        box.button.release()
        await trio.sleep(1.0)
        assert told(box) == ("listening", None, STEADY)


class Dropping(Network):
    """The agent takes every connection and drops it before it has taken the settings."""

    drops = True

    async def reach(self) -> trio.abc.Stream:
        stream = await super().reach()
        if self.drops:
            self._nursery.start_soon(self._drop, stream)
        return stream

    async def _drop(self, stream: trio.abc.Stream) -> None:
        await trio.sleep(0.2)
        await trio.aclose_forcefully(stream)


async def silent(box: Box) -> None:
    await trio.sleep(2.0)
    box.agent.manners = Manners(settings_delay_s=1e6)
    await box.connection.cut()


async def unreachable(box: Box) -> None:
    await trio.sleep(2.0)
    box.network.fails = AgentUnreachable(Trouble.UNREACHABLE, "test")
    await box.connection.cut()


async def nothing(_box: Box) -> None:
    """It has been so from the start."""


@pytest.mark.parametrize(
    ("between", "befalls"), [(Dropping, nothing), (Network, silent), (Network, unreachable)]
)
async def test_while_it_goes_on_dialling_in_vain_it_is_never_asleep(
    between: type[Network], befalls: Callable[[Box], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with a_box(OPEN, Manners(settings_delay_s=1.0), between) as box:
        await befalls(box)
        await trio.sleep(60.0)
        for _ in range(200):
            await trio.sleep(1.7)
            phase, trouble, look = told(box)
            assert (phase, look) == ("trouble", TRIPLE)
            assert trouble is not None
        assert len(box.network.dials) > 5
        box.agent.manners, box.network.fails = Manners(), None
        Dropping.drops = False
        await box.until(Phase.LISTENING, limit_s=90.0)
        assert told(box) == ("listening", None, STEADY)
    Dropping.drops = True


async def test_at_the_cap_an_open_box_shows_it_until_the_money_is_there_again(
    autojump_clock: MockClock,
) -> None:
    async with a_box(OPEN + CAP) as box:
        await trio.sleep(12.0)
        for wait_s in (1.0, 130.0, 3600.0):
            await trio.sleep(wait_s)
            assert told(box) == ("trouble", "cap-reached", HALTING)
            assert box.daemon.status()["capped"] is True
        assert len(box.network.dials) == 1
        box.daemon.tell(Event.CAP_LIFTED)
        await trio.sleep(1.0)
        assert told(box) == ("listening", None, STEADY)


@pytest.mark.parametrize("mode", ["hold", "tap"])
async def test_at_the_cap_the_others_are_asleep_and_dark_and_a_press_shows_it(
    mode: str, autojump_clock: MockClock
) -> None:
    async with a_box(f'[talk]\nmode = "{mode}"\n' + CAP) as box:
        if mode == "hold":
            await box.say(tone(12.0))
        else:
            box.button.press()
            box.button.release()
        with trio.fail_after(60.0):
            while box.look is not HALTING:  # noqa: ASYNC110  # looks are not events
                await trio.sleep(0.5)
        await trio.sleep(130.0)
        assert told(box) == ("asleep", None, DARK)
        status = box.daemon.status()
        assert status["capped"] is True
        assert Trouble.CAP_REACHED.sentence in str(status["sentence"])
        assert "voice-appliance spend" in doctor.daemon(status).advice
        box.button.press()
        assert told(box) == ("trouble", "cap-reached", HALTING)
        box.button.release()


async def test_muted_the_lamp_says_muted(autojump_clock: MockClock) -> None:
    async with a_box(OPEN, Manners(refuse_status=401)) as box:
        await trio.sleep(60.0)
        box.daemon.tell(Event.MUTED)
        await trio.sleep(60.0)
        assert told(box) == ("asleep", None, HOLLOW)
