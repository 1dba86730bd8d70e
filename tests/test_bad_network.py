"""No word is lost (promise 1): the box in a network that delays, loses, stalls and breaks off."""

import random
from array import array
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import groupby, pairwise

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import BACKOFF_MAX_S, BACKOFF_MIN_S, WAIT_S, Link, Phase
from appliance.errors import AgentUnreachable, Trouble
from appliance.sound.pcm import Format
from appliance.standin.agent import Call, Manners
from tests.bad_network import Air, BadNetwork, Weather
from tests.box import RATE_HZ, Box, a_box

FORM = Format(RATE_HZ)
EARLY = '[agent]\nurl = "ws://127.0.0.1:9/agent"\n'
TEXT = "you said"
BEGAN = "answer's first sound"


def speech(seconds: float, seed: int) -> bytes:
    """Noise without a silent sample: what lies between two of them in a stream is seen."""
    dice = random.Random(seed)
    samples = array("h", dice.randbytes(round(seconds * RATE_HZ) * 2))
    return array("h", (sample // 2 | 1 for sample in samples)).tobytes()


def words(seconds: float) -> str:
    """What the agent makes of it."""
    return f"you spoke for {seconds:.1f} s"


def runs(heard: bytes) -> list[bytes]:
    """The stretches of sound without a silent sample."""
    samples = array("h", heard[: len(heard) // 2 * 2])
    split = groupby(samples, key=bool)
    return [array("h", run).tobytes() for is_loud, run in split if is_loud]


def asked(box: Box, number: int = -1) -> list[str]:
    """What was asked in words on a connection."""
    messages = box.agent.connections[number].messages
    return [it["content"] for it in messages if it["type"] == "InjectUserMessage"]


def texts(box: Box) -> list[str]:
    return [str(event["text"]) for event in box.events if event["event"] == TEXT]


def times(box: Box, name: str) -> list[float]:
    return [float(str(event["t"])) for event in box.events if event["event"] == name]


def outcomes(box: Box) -> list[object]:
    return [event["outcome"] for event in box.events if event["event"] == "turn"]


def air_of(box: Box) -> Air:
    assert isinstance(box.network, BadNetwork)
    return box.network.air


def a_bad_box(
    settings: str = "", manners: Manners | None = None
) -> AbstractAsyncContextManager[Box]:
    return a_box(settings, manners, BadNetwork)


async def until(is_so: Callable[[], bool], limit_s: float = 120.0) -> None:
    """Wait for it, in virtual time."""
    with trio.fail_after(limit_s):
        while not is_so():  # noqa: ASYNC110  # there is no event for most of what is waited for
            await trio.sleep(0.01)


async def until_text(box: Box) -> None:
    """Until the next text of what was said."""
    count = len(texts(box))
    await until(lambda: len(texts(box)) > count)


async def until_settled(box: Box) -> None:
    """Until nobody waits for anything."""
    busy = (Phase.LISTENING, Phase.THINKING, Phase.SPEAKING)
    await until(lambda: box.phase not in busy)


# ── the invariant ────────────────────────────────────────────────────────────────────────────────


async def trouble_makes(box: Box, dice: random.Random, until_s: float) -> None:
    """Outages of all kinds, none for ever, and none after `until_s`."""
    air = air_of(box)
    while trio.current_time() < until_s:
        await trio.sleep(dice.expovariate(0.7))
        length_s = dice.choice([0.3, 1.0, 3.0, 5.0, 8.0, 11.0])
        length_s = max(0.0, min(length_s, until_s - trio.current_time()))
        match dice.choice(["cut", "cut", "stall", "down", "still and cut", "thin"]):
            case "cut":
                air.cut()
            case "stall":
                air.stall()
                await trio.sleep(length_s)
                air.go_on()
            case "still and cut":
                air.stall()
                await trio.sleep(length_s / 2)
                air.cut()
                air.go_on()
            case "down":
                box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
                air.cut()
                await trio.sleep(length_s)
                box.network.fails = None
            case "thin":
                calm = air.weather
                air.weather = Weather(calm.latency_s, calm.jitter_s, calm.loss, 0.25, 40_000)
                await trio.sleep(length_s)
                air.weather = calm


def check(box: Box, said: dict[str, bytes], given_up: set[str]) -> None:
    """Promise 1, from what the agent was given, and from what the box was answered.

    Args:
        box: the box.
        said: all that was said, in order, by what the agent makes of it.
        given_up: those for which nobody was reached in 30 s.
    """
    assert box.network.open_most <= 1, "two sockets"
    assert box.daemon.utterances.lost_bytes == 0
    order = list(said)
    whole: dict[str, list[float]] = {name: [] for name in said}
    for connection in box.agent.connections:
        heard = runs(bytes(connection.heard))
        names = []
        for at, run in enumerate(heard):
            [name] = [name for name, sound in said.items() if sound.startswith(run[:400])]
            names.append(name)
            if run == said[name]:
                whole[name].append(connection.opened_s)
            else:
                assert at == len(heard) - 1, f"{name}: a part, and then more"
                assert said[name].startswith(run), name
        assert names == sorted(set(names), key=order.index), "out of order, or twice"
        in_words = asked(box, connection.number - 1)
        assert len(set(in_words)) == len(in_words)
        for name in in_words:
            assert whole.get(name), f"asked {name!r}, which it had never heard"

    answered: dict[str, list[float]] = {name: [] for name in said}
    about, is_begun = "", False
    for event in box.events:
        if event["event"] in ("link ready", TEXT):  # what sounds then is another answer
            about, is_begun = str(event.get("text", about)), False
        elif event["event"] == BEGAN and not is_begun:
            assert about in said, "an answer to nothing"
            answered[about].append(float(str(event["t"])))
            is_begun = True
    for name in order:
        if name in given_up:
            continue
        assert whole[name], f"{name}: not received whole"
        assert len(answered[name]) == 1, f"{name}: answered {len(answered[name])} times"
        assert max(whole[name]) <= answered[name][0], f"{name}: said again though answered"


@pytest.mark.parametrize("settings", ["", EARLY], ids=["v1", "early access"])
@pytest.mark.parametrize("fifty", range(3))
async def test_random_outages_lose_no_word(
    fifty: int, settings: str, autojump_clock: MockClock
) -> None:
    for seed in range(50 * fifty, 50 * fifty + 50):
        await a_conversation_in_trouble(seed, settings)


async def a_conversation_in_trouble(seed: int, settings: str) -> None:
    """One to three questions; outages begin with each, and may last until after its end."""
    dice = random.Random(seed)
    manners = Manners(
        think_s=dice.choice([0.1, 0.5, 2.0]), text_delay_s=dice.choice([0.0, 0.5, 1.0])
    )
    said: dict[str, bytes] = {}
    given_up: set[str] = set()
    async with a_bad_box(settings, manners) as box:
        air = air_of(box)
        air.dice = dice
        air.weather = Weather(dice.choice([0.0, 0.02, 0.2]), dice.choice([0.0, 0.1]), loss=0.01)
        lengths_s = dice.sample([0.5, 0.7, 0.9, 1.5, 2.5, 3.5], dice.randint(1, 3))
        for number, length_s in enumerate(lengths_s):
            said[words(length_s)] = sound = speech(length_s, 10 * seed + number)
            async with trio.open_nursery() as nursery:
                calm_s = trio.current_time() + length_s + dice.choice([0.0, 1.0, 4.0, 8.0])
                nursery.start_soon(trouble_makes, box, dice, calm_s)
                await box.say(sound)
                ended_s = trio.current_time()
            await until_settled(box)
            if box.daemon.conversation.trouble is Trouble.NO_CONNECTION:
                assert trio.current_time() >= ended_s + WAIT_S
                given_up.add(words(length_s))
            await trio.sleep(dice.choice([0.0, 1.0, 25.0]))
        try:
            check(box, said, given_up)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("mode", ["hold", "tap", "open"])
async def test_impatient_fingers_in_outages_hang_nothing_and_open_no_second_socket(
    mode: str, autojump_clock: MockClock
) -> None:
    for seed in range(25):
        dice = random.Random(seed)
        async with a_bad_box(f'[talk]\nmode = "{mode}"', Manners(think_s=1.0)) as box:
            air_of(box).dice = dice
            air_of(box).weather = Weather(dice.choice([0.0, 0.2]), 0.1, loss=0.02)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trouble_makes, box, dice, trio.current_time() + 40.0)
                for number in range(12):
                    box.button.press()
                    box.room.say(speech(1.0, 100 * seed + number))
                    await trio.sleep(dice.choice([0.1, 0.3, 1.0, 1.5]))
                    box.button.release()
                    await trio.sleep(dice.choice([0.0, 0.2, 1.0, 4.0]))
            assert box.network.open_most <= 1, seed
            assert box.daemon.utterances.waiting_s <= 60.0, seed
            if mode != "open":
                await box.until(Phase.ASLEEP, limit_s=300.0)
                await trio.sleep(1.1)  # for the close frame
                assert not box.daemon.utterances.pending, seed
                assert not box.network.open, seed


# ── words of which a part was taken ──────────────────────────────────────────────────────────────


async def test_a_question_asked_in_an_outage_is_answered_after_it_once(
    autojump_clock: MockClock,
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box() as box:
        air_of(box).stall()
        await box.say(said)
        await trio.sleep(12.0)
        air_of(box).go_on()
        await box.until(Phase.SPEAKING, limit_s=15.0)
        await until_settled(box)
        check(box, {words(2.0): said}, set())
        assert outcomes(box) == ["answered"]


async def test_two_questions_asked_in_an_outage_are_answered_in_order(
    autojump_clock: MockClock,
) -> None:
    first, second = speech(1.0, 1), speech(1.5, 2)
    async with a_bad_box() as box:
        box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
        await box.say(first)
        await trio.sleep(3.0)
        await box.say(second)
        await trio.sleep(3.0)
        box.network.fails = None
        await until(lambda: len(texts(box)) == 2, 30.0)
        await until_settled(box)
        assert texts(box) == [words(1.0), words(1.5)]
        assert runs(bytes(box.connection.heard)) == [first, second]


async def test_the_answer_to_words_that_were_understood_is_asked_for_once_on_each_connection(
    autojump_clock: MockClock,
) -> None:
    async with a_bad_box(manners=Manners(think_s=3.0)) as box:
        await box.say(speech(1.0, 1))
        await until_text(box)
        air_of(box).cut()
        await until_text(box)
        air_of(box).cut()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        assert [asked(box, number) for number in range(3)] == [[], [words(1.0)], [words(1.0)]]
        assert [len(runs(bytes(one.heard))) for one in box.agent.connections] == [1, 0, 0]
        assert len(times(box, BEGAN)) == 1


async def test_in_early_access_the_sound_goes_again_once_on_each_connection(
    autojump_clock: MockClock,
) -> None:
    said = speech(1.0, 1)
    async with a_bad_box(EARLY, Manners(think_s=3.0)) as box:
        await box.say(said)
        await until_text(box)
        air_of(box).cut()
        await until_text(box)
        air_of(box).cut()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        assert [runs(bytes(one.heard)) for one in box.agent.connections] == [[said]] * 3
        assert len(times(box, BEGAN)) == 1


async def test_words_whose_answer_came_as_text_only_are_asked_again(
    autojump_clock: MockClock,
) -> None:
    async with a_bad_box(manners=Manners(think_s=60.0)) as box:
        await box.say(speech(1.0, 1))
        await until_text(box)
        await box.connection.say(
            {"type": "ConversationText", "role": "assistant", "content": "Nobody hears this."}
        )
        await trio.sleep(0.1)
        box.agent.manners = Manners()
        air_of(box).cut()
        await box.until(Phase.SPEAKING)
        assert asked(box) == [words(1.0)]
        assert "Nobody hears this." not in str(box.connection.settings)


async def test_an_answer_that_had_begun_is_not_repeated_though_the_link_was_half_open(
    autojump_clock: MockClock,
) -> None:
    async with a_bad_box(manners=Manners(answer_s=20.0, pace=1.0)) as box:
        await box.say(speech(1.0, 1))
        await box.until(Phase.SPEAKING)
        await trio.sleep(2.0)
        air_of(box).stall()
        stalled_s = trio.current_time()
        # It dries up, the far end proves nothing, and the box says that the answer was lost.
        assert await box.until(Phase.TROUBLE, limit_s=15.0) < stalled_s + 6.0
        assert box.daemon.conversation.trouble is Trouble.LINK_LOST
        air_of(box).go_on()
        await trio.sleep(60.0)
        assert len(box.network.dials) == 1


async def test_a_function_that_had_begun_is_not_called_again(autojump_clock: MockClock) -> None:
    manners = Manners(calls=(Call(1, "get_status"),), think_s=2.0)
    async with a_bad_box(manners=manners) as box:
        await box.say(speech(1.0, 1))
        await until(lambda: box.connection.messages[-1]["type"] == "FunctionCallResponse", 10.0)
        air_of(box).cut()
        await box.until(Phase.TROUBLE, limit_s=1.0)
        assert box.daemon.conversation.trouble is Trouble.LINK_LOST
        await trio.sleep(60.0)
        assert len(box.network.dials) == 1


# ── dead links ───────────────────────────────────────────────────────────────────────────────────


async def test_a_link_that_dies_while_somebody_talks_is_known_in_6_seconds(
    autojump_clock: MockClock,
) -> None:
    said = speech(15.0, 1)
    async with a_bad_box() as box:
        box.button.press()
        over_s = box.room.say(said)
        await trio.sleep(3.0)
        air_of(box).stall()
        await trio.sleep(6.05)
        assert times(box, "link lost") == [pytest.approx(9.0, abs=0.05)]
        assert box.at(Phase.LISTENING)
        air_of(box).go_on()
        await trio.sleep_until(over_s)
        box.button.release()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        check(box, {words(15.0): said}, set())


async def test_a_link_that_dies_at_rest_is_known_in_10_seconds_and_nobody_is_told(
    autojump_clock: MockClock,
) -> None:
    async with a_bad_box() as box:
        await box.say(speech(1.0, 1))
        still_s = await box.until(Phase.RESTING)
        air_of(box).stall()
        assert await box.until(Phase.ASLEEP) <= still_s + 10.0
        assert len(box.network.dials) == 1


async def test_a_link_that_dies_before_the_text_costs_no_word(autojump_clock: MockClock) -> None:
    said = speech(2.0, 1)
    async with a_bad_box(manners=Manners(text_delay_s=1.0)) as box:
        await box.say(said)
        await trio.sleep(0.5)  # the end of the turn has arrived
        assert box.connection.messages[-1]["type"] == "ForceEndTurn"
        air_of(box).stall()
        await trio.sleep(9.0)
        assert Trouble.HEARD_NOTHING.slug not in {event.get("trouble") for event in box.events}
        air_of(box).go_on()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        check(box, {words(2.0): said}, set())


async def test_a_stall_that_ends_costs_nothing_but_its_time(autojump_clock: MockClock) -> None:
    said = speech(6.0, 1)
    async with a_bad_box() as box:
        box.button.press()
        over_s = box.room.say(said)
        for _ in range(3):
            await trio.sleep(0.8)
            air_of(box).stall()
            await trio.sleep(0.9)
            air_of(box).go_on()
        await trio.sleep_until(over_s)
        box.button.release()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        assert runs(bytes(box.connection.heard)) == [said]
        assert len(box.network.dials) == 1


# ── dialling again ───────────────────────────────────────────────────────────────────────────────


async def test_it_backs_off_with_full_jitter_up_to_30_seconds(autojump_clock: MockClock) -> None:
    settings = '[talk]\nmode = "open"'
    async with a_bad_box(settings) as box:
        box.network.fails = AgentUnreachable(Trouble.UNREACHABLE, "test")
        await trio.sleep(1.0)
        air_of(box).cut()
        await trio.sleep(3600.0)
        dials = box.network.dials[1:]
        gaps = [later - sooner for sooner, later in pairwise(dials)]
        for number, gap in enumerate(gaps[:6], 1):
            assert gap <= BACKOFF_MIN_S * 2**number + 0.001
        settled = gaps[8:]
        assert max(settled) <= BACKOFF_MAX_S + 0.001
        assert sum(settled) / len(settled) == pytest.approx(BACKOFF_MAX_S / 2, rel=0.2)
        assert min(settled) < 5.0


async def test_a_server_that_goes_away_is_dialled_at_once_but_once(
    autojump_clock: MockClock,
) -> None:
    said = speech(9.0, 1)
    async with a_bad_box() as box:
        box.button.press()
        over_s = box.room.say(said)
        lost: list[float] = []
        for _ in range(3):
            await trio.sleep(2.0)
            await until(lambda: box.daemon.conversation.link is Link.UP, 10.0)
            await box.connection.fail("SERVER_GOING_AWAY", "Restarting.")
            lost.append(trio.current_time())
        await trio.sleep_until(over_s)
        box.button.release()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        check(box, {words(9.0): said}, set())
        waits = [dial - went for dial, went in zip(box.network.dials[1:], lost, strict=True)]
        assert waits[0] == pytest.approx(0.0, abs=0.002)
        assert all(0.002 < wait <= 2.0 for wait in waits[1:])


async def test_a_full_account_is_asked_each_second_while_words_wait(
    autojump_clock: MockClock,
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box() as box:
        box.button.press()
        over_s = box.room.say(said)
        await trio.sleep(1.0)
        box.agent.manners = Manners(refuse_status=429)
        air_of(box).cut()
        await trio.sleep_until(over_s)
        box.button.release()
        await trio.sleep(5.5)
        box.agent.manners = Manners()
        await box.until(Phase.SPEAKING)
        await until_settled(box)
        dials = box.network.dials[1:]
        gaps = [later - sooner for sooner, later in pairwise(dials)]
        assert len(gaps) >= 5
        assert gaps == [pytest.approx(1.0, abs=0.002)] * len(gaps)
        check(box, {words(2.0): said}, set())


async def test_a_key_refused_on_the_way_is_not_tried_before_the_next_press(
    autojump_clock: MockClock,
) -> None:
    async with a_bad_box() as box:
        box.button.press()
        box.room.say(speech(2.0, 1))
        await trio.sleep(1.0)
        box.agent.manners = Manners(refuse_status=401)
        air_of(box).cut()
        await box.until(Phase.TROUBLE, limit_s=3.0)
        assert box.daemon.conversation.trouble is Trouble.KEY_REFUSED
        box.button.release()
        await trio.sleep(300.0)
        assert len(box.network.dials) == 2
        box.agent.manners = Manners()
        said = speech(1.0, 2)
        await box.say(said)
        await box.until(Phase.SPEAKING)
        assert runs(bytes(box.connection.heard))[-1] == said


# ── a far end that is slow to take our sound ─────────────────────────────────────────────────────


async def test_a_slow_server_costs_old_silence_first_and_never_speech(
    autojump_clock: MockClock,
) -> None:
    settings = '[talk]\nmode = "tap"\nhang_up_after_s = 600\nmax_turn_s = 10'
    said = speech(2.0, 1)
    async with a_bad_box(settings) as box:
        air_of(box).weather = Weather(uplink_bytes_per_s=24_000)  # three quarters of what comes
        box.button.press()
        box.button.release()
        await trio.sleep(60.0)
        assert box.daemon.utterances.lost_bytes > FORM.bytes_of(1.0)
        assert box.daemon.utterances.waiting_s <= 10.0 + 0.02
        box.room.say(said)
        await trio.sleep(2.0)
        await box.until(Phase.SPEAKING)
        assert said in bytes(box.connection.heard)
        assert texts(box) == [words(2.0)]
        assert air_of(box).carried_most <= 2**15 + 2**12
        assert len(box.network.dials) == 1


async def test_a_server_that_takes_nothing_costs_no_word_of_a_held_button(
    autojump_clock: MockClock,
) -> None:
    said = speech(8.0, 1)
    async with a_bad_box("[talk]\npreroll_ms = 500\nmax_turn_s = 8") as box:
        box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
        await trio.sleep(1.0)
        box.button.press()
        box.room.say(said)
        await box.until(Phase.THINKING)
        assert box.daemon.utterances.lost_bytes == 0
        assert box.daemon.utterances.waiting_s == pytest.approx(8.5, abs=0.05)
        box.network.fails = None
        box.button.release()
        await box.until(Phase.SPEAKING)
        heard = bytes(box.connection.heard)
        assert heard.strip(b"\0") in said


async def test_a_thin_link_costs_no_word_of_a_held_button(autojump_clock: MockClock) -> None:
    said = speech(20.0, 1)
    async with a_bad_box() as box:
        air_of(box).weather = Weather(latency_s=0.1, uplink_bytes_per_s=20_000)
        await box.say(said)
        await until_settled(box)
        check(box, {words(20.0): said}, set())
        assert outcomes(box) == ["answered"]
        assert len(box.network.dials) == 1


async def test_what_waits_in_the_box_is_bounded(autojump_clock: MockClock) -> None:
    async with a_bad_box('[talk]\nmode = "open"\nmax_turn_s = 10') as box:
        await trio.sleep(1.0)
        air_of(box).weather = Weather(uplink_bytes_per_s=4_000)
        box.room.say(speech(5.0, 1))
        most_s = 0.0
        for _ in range(300):
            await trio.sleep(1.0)
            most_s = max(most_s, box.daemon.utterances.waiting_s)
        assert most_s <= 10.0 + 5.0
        assert not box.gone.is_set()
