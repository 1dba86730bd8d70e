"""Functions that the agent calls: each call is answered once, in words, or was cancelled.

Commands are played on the virtual clock; the last tests run real ones, on the real clock.
"""

import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.agent import tools, v1
from appliance.agent.messages import Call, Function, FunctionAnswer, Settings
from appliance.agent.tools import (
    BUILT_IN,
    CONFIRM_LIMIT_S,
    END_CONVERSATION,
    GET_STATUS,
    MUTE_MICROPHONE,
    RUNNING_MAX,
    SET_VOLUME,
    Arguments,
    Run,
    Tool,
    Tools,
)
from appliance.errors import DeviceError
from appliance.host import command
from appliance.host.command import Output

ENVIRON = {"PATH": os.environ["PATH"]}
LEVEL = {
    "type": "object",
    "properties": {
        "level": {"type": "integer", "minimum": 0, "maximum": 10},
        "room": {"type": "string", "enum": ["hall", "attic"]},
    },
    "required": ["level"],
}
LAMPS = Tool("lamps", "Dims the lamps.", LEVEL, ("/usr/local/bin/lamps", "--all"))
DOOR = Tool("door", "Opens the door.", tools.NOTHING, ("/usr/local/bin/door",), confirm="button")


class Commands:
    """Runs nothing: each command takes its time and leaves what it is told to leave."""

    def __init__(self, left: Output | DeviceError | None = None, takes_s: float = 0) -> None:
        self.left = left or ran(0, b"It is done.\n")
        self.takes_s = takes_s
        self.begun: list[tuple[tuple[str, ...], bytes]] = []
        self.killed = 0

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        output_max: int,
        environ: Mapping[str, str],
    ) -> Output:
        assert environ == ENVIRON
        self.begun.append((tuple(argv), stdin))
        try:
            with trio.move_on_after(timeout_s):
                await trio.sleep(self.takes_s)
                if isinstance(self.left, DeviceError):
                    raise self.left
                return self.left
        except trio.Cancelled:
            self.killed += 1
            raise
        return ran(None, b"half")


def ran(
    status: int | None, stdout: bytes = b"", stderr: bytes = b"", *, truncated: bool = False
) -> Output:
    return Output(status, stdout, stderr, truncated, timed_out=status is None)


class Desk:
    """The agent's side of it, and the person's at the button."""

    def __init__(self, *owners: Tool, run: Run, **builtins: Callable[[Arguments], str]) -> None:
        self.answers: list[FunctionAnswer] = []
        self.asked: list[tuple[float, str, Callable[[bool], None]]] = []
        self.tools = Tools(owners, builtins, run=run, environ=ENVIRON, ask_confirmation=self._ask)
        self._ids = count(1)

    def _ask(self, name: str, tell: Callable[[bool], None]) -> None:
        self.asked.append((trio.current_time(), name, tell))

    def call(
        self,
        name: str,
        arguments: object = None,
        *,
        call_id: str = "",
        is_ours: bool = True,
        signature: str | None = None,
    ) -> None:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        call = Call(call_id or f"fc_{next(self._ids)}", name, text, is_ours, signature)
        self.tools.call(call, self.answers.append)

    @property
    def said(self) -> list[str]:
        return [answer.content for answer in self.answers]

    async def hear(self, name: str, arguments: object = None) -> str:
        """What one call comes to."""
        self.call(name, arguments)
        await trio.testing.wait_all_tasks_blocked()
        assert len(self.answers) == 1
        return self.answers.pop().content


@asynccontextmanager
async def desk(
    *owners: Tool, run: Run | None = None, **builtins: Callable[[Arguments], str]
) -> AsyncIterator[Desk]:
    """A desk that is served."""
    one = Desk(*(owners or (LAMPS, DOOR)), run=run or Commands(), **builtins)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tools.serve)
        yield one
        nursery.cancel_scope.cancel()


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


# ── what is offered ──────────────────────────────────────────────────────────────────────────────


def functions(*owners: Tool, **builtins: Callable[[Arguments], str]) -> tuple[Function, ...]:
    return Desk(*owners, run=Commands(), **builtins).tools.functions()


def test_the_agent_is_told_of_the_owners_functions_but_not_of_their_commands() -> None:
    late = Tool("late", "Waits.", LEVEL, ("sesame",), defer_until_eot=True)
    assert functions(LAMPS, late) == (
        Function("lamps", "Dims the lamps.", LEVEL),
        Function("late", "Waits.", LEVEL, defer_until_eot=True),
    )
    frame = v1.encode(Settings(16000, functions=functions(LAMPS, late)))
    assert "sesame" not in frame


def test_what_is_built_in_is_offered_only_where_somebody_does_it() -> None:
    assert functions() == ()
    assert functions(LAMPS, end_conversation=lambda _: "", get_status=lambda _: "") == (
        END_CONVERSATION,
        GET_STATUS,
        Function("lamps", "Dims the lamps.", LEVEL),
    )


def test_what_would_spoil_an_unfinished_turn_waits_for_its_end() -> None:
    assert [name for name, it in BUILT_IN.items() if it.defer_until_eot] == [
        SET_VOLUME.name,
        END_CONVERSATION.name,
        MUTE_MICROPHONE.name,
    ]


def test_names_that_mean_two_things_are_our_mistake() -> None:
    own = Tool("get_status", "Better.", tools.NOTHING, ("/bin/status",))
    with pytest.raises(AssertionError):
        functions(LAMPS, LAMPS)
    with pytest.raises(AssertionError):
        functions(own)
    with pytest.raises(AssertionError):
        functions(make_coffee=lambda _: "")


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_gets_the_arguments_as_json_and_its_output_is_the_answer() -> None:
    commands = Commands(ran(0, "  Es ist getan: ½.\n".encode()))
    async with desk(run=commands) as one:
        assert await one.hear("lamps", {"level": 3, "room": "attic"}) == "Es ist getan: ½."
    [(argv, stdin)] = commands.begun
    assert argv == LAMPS.command
    assert json.loads(stdin) == {"level": 3, "room": "attic"}


async def test_an_answer_carries_what_the_call_did() -> None:
    async with desk() as one:
        one.call("lamps", {"level": 1}, call_id="fc_7", signature="sig")
        one.call("nothing", call_id="fc_8", signature="gis")
        await settle()
    answers = {(it.id, it.name, it.signature) for it in one.answers}
    assert answers == {("fc_7", "lamps", "sig"), ("fc_8", "nothing", "gis")}


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (ran(0), "done"),
        (ran(0, b" \n"), "done"),
        (ran(0, b"caf\xff"), "caf\N{REPLACEMENT CHARACTER}"),
        (ran(0, b"abc", truncated=True), "abc … (the output was longer than 4096 bytes)"),
        # The limit has cut a character in two: its half is left out.
        (ran(0, b"caf\xc3", truncated=True), "caf … (the output was longer than 4096 bytes)"),
        (ran(3), "It failed with exit status 3."),
        (ran(3, b"much", b"a\nno lamp\n"), "It failed with exit status 3: no lamp"),
        (ran(-9), "It failed with signal 9."),
        (DeviceError("'/x' cannot be run"), "It failed: its command cannot be run on this box."),
    ],
)
async def test_whatever_a_command_leaves_is_told_in_words(
    left: Output | DeviceError, words: str
) -> None:
    async with desk(run=Commands(left)) as one:
        assert await one.hear("lamps", {"level": 1}) == words


async def test_a_command_that_hangs_is_answered_when_its_time_is_up(
    autojump_clock: object,
) -> None:
    slow = Tool("slow", "", tools.NOTHING, ("/bin/slow",), timeout_s=2.5)
    async with desk(LAMPS, slow, run=Commands(takes_s=60)) as one:
        one.call("lamps", {"level": 1})
        one.call("slow")
        await trio.sleep(2.6)
        assert one.said == ["It did not finish within 2.5 s and was stopped."]
        await trio.sleep(7.5)
        assert one.said[1:] == ["It did not finish within 10 s and was stopped."]


async def test_what_a_tool_may_take_is_handed_on() -> None:
    asked: dict[str, Any] = {}

    async def run(argv: Sequence[str], **limits: Any) -> Output:
        asked.update(limits)
        await trio.lowlevel.checkpoint()
        return ran(0)

    tight = Tool("tight", "", tools.NOTHING, ("/bin/tight",), timeout_s=1.5, output_bytes=7)
    async with desk(tight, run=run) as one:
        await one.hear("tight")
    assert (asked["timeout_s"], asked["output_max"]) == (1.5, 7)


async def test_several_calls_run_at_once(autojump_clock: object) -> None:
    async with desk(run=Commands(takes_s=3)) as one:
        for number in range(5):
            one.call("lamps", {"level": number}, call_id=f"fc_{number}")
        await trio.sleep(3.1)
    assert {it.id for it in one.answers} == {f"fc_{number}" for number in range(5)}


async def test_too_many_calls_are_answered_at_once(autojump_clock: object) -> None:
    commands = Commands(takes_s=3)
    async with desk(run=commands) as one:
        for _ in range(RUNNING_MAX + 2):
            one.call("lamps", {"level": 1})
        assert len(one.answers) == 2
        assert all("busy" in words for words in one.said)
        await trio.sleep(3.1)
        assert len(commands.begun) == RUNNING_MAX
        assert len(one.answers) == RUNNING_MAX + 2
        one.call("lamps", {"level": 1})
        await trio.sleep(3.1)
        assert one.said[-1] == "It is done."


async def test_a_call_that_comes_again_by_its_id_is_not_run_again(autojump_clock: object) -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        for _ in range(2):
            one.call("lamps", {"level": 1}, call_id="fc_7")
            await settle()
        assert len(commands.begun) == len(one.answers) == 1
        one.call("lamps", {"level": 2}, call_id="fc_7")
        await settle()
        assert len(commands.begun) == 2, "another call, though of the same id"
        for begin_anew in (
            one.tools.cancel_all,
            one.tools.turn_began,
            lambda: one.tools.cancel(["fc_7"]),
        ):
            begun = len(commands.begun)
            begin_anew()
            one.call("lamps", {"level": 1}, call_id="fc_7")
            await settle()
            assert len(commands.begun) == begun + 1


async def test_a_call_before_anybody_serves_is_kept() -> None:
    one = Desk(LAMPS, run=Commands())
    one.call("lamps", {"level": 1})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tools.serve)
        await settle()
        nursery.cancel_scope.cancel()
    assert one.said == ["It is done."]


async def test_calls_that_the_server_makes_itself_are_none_of_ours() -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        one.call("lamps", {"level": 1}, is_ours=False)
        await settle()
    assert not commands.begun
    assert not one.answers


# ── what the agent gets wrong ────────────────────────────────────────────────────────────────────


async def test_an_unknown_function_is_answered_with_those_that_there_are() -> None:
    async with desk(get_status=lambda _: "") as one:
        words = "This box has no function lights; it has: get_status, lamps, door."
        assert await one.hear("lights") == words
        assert len(await one.hear("x" * 5000)) < 200
    bare = Desk(run=Commands())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bare.tools.serve)
        assert await bare.hear("lights") == "This box has no function lights; it has: none."
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{", "the arguments are not JSON; wanted a JSON object"),
        ("level=3", "the arguments are not JSON; wanted a JSON object"),
        ('{"level": NaN}', "the arguments are not JSON; wanted a JSON object"),
        ("[" * 100_000, "the arguments are not JSON; wanted a JSON object"),
        ("\ud800", "the arguments are not JSON; wanted a JSON object"),
        ("[3]", "the arguments are not an object; wanted a JSON object"),
        ("3", "the arguments are not an object; wanted a JSON object"),
        ("", "the argument `level` is missing; wanted an integer from 0 up to 10"),
        ("null", "the argument `level` is missing; wanted an integer from 0 up to 10"),
        ("{}", "the argument `level` is missing; wanted an integer from 0 up to 10"),
        ('{"level": "3"}', "the argument `level` is wrong; wanted an integer from 0 up to 10"),
        ('{"level": true}', "the argument `level` is wrong; wanted an integer from 0 up to 10"),
        ('{"level": 3.5}', "the argument `level` is wrong; wanted an integer from 0 up to 10"),
        ('{"level": 11}', "the argument `level` is wrong; wanted an integer from 0 up to 10"),
        ('{"level": -1}', "the argument `level` is wrong; wanted an integer from 0 up to 10"),
        (
            '{"level": 1, "room": "cellar"}',
            'the argument `room` is wrong; wanted one of "hall", "attic"',
        ),
        (
            '{"room": 1}',
            (
                "the argument `level` is missing; wanted an integer from 0 up to 10; "
                'the argument `room` is wrong; wanted one of "hall", "attic"'
            ),
        ),
    ],
)
async def test_wrong_arguments_are_answered_with_what_was_wanted(
    arguments: str, words: str
) -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        assert await one.hear("lamps", arguments) == f"Not done: {words}."
    assert not commands.begun


@pytest.mark.parametrize(
    ("schema", "right", "wrong", "words"),
    [
        ({"type": "string"}, ["", "x"], [1, None, []], "text"),
        ({"type": "number"}, [1, 1.5], ["1", True], "a number"),
        ({"type": "number", "minimum": 0.5}, [0.5], [0], "a number from 0.5"),
        ({"type": "integer", "maximum": 2}, [2, -5, 1.0], [3], "an integer up to 2"),
        ({"type": "boolean"}, [True, False], [0, "true"], "true or false"),
        ({"type": "array"}, [[], [1]], [{}, "x"], "a list"),
        ({"type": "object"}, [{}], [[]], "an object"),
        ({"type": "null"}, [None], [0], "null"),
        ({"type": ["string", "null"]}, ["x", None], [1], "text or null"),
        ({"enum": [1, "a", None]}, [1, 1.0, "a", None], [True, "b"], 'one of 1, "a", null'),
        ({"enum": [True]}, [True], [1], "one of true"),
        ({"type": "date"}, ["x", 1, None], [], ""),
        ({"type": {"odd": 1}, "enum": "ab", "minimum": "x"}, ["c", 0], [], ""),
        ({}, [1, "x"], [], ""),
        (True, [1, "x"], [], ""),
    ],
)
def test_of_a_schema_this_much_is_checked(
    schema: object, right: list[object], wrong: list[object], words: str
) -> None:
    whole = {"type": "object", "properties": {"it": schema}}
    for value in right:
        assert tools._read(json.dumps({"it": value, "more": 1}), whole)[1] == []
    for value in wrong:
        faults = tools._read(json.dumps({"it": value}), whole)[1]
        assert faults == [f"the argument `it` is wrong; wanted {words}"]


def test_a_schema_that_is_none_checks_nothing() -> None:
    for schema in ({}, {"required": "it", "properties": []}, {"required": [["it"], 1]}):
        assert tools._read('{"other": 1}', schema) == ({"other": 1}, [])
    missing = "the argument `it` is missing; wanted a value"
    assert tools._read("{}", {"required": ["it"]})[1] == [missing]


def test_a_whole_number_with_a_point_arrives_as_an_integer() -> None:
    arguments, faults = tools._read('{"level": 3.0}', LEVEL)
    assert not faults
    assert isinstance(arguments["level"], int)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["level", "room", "type", "enum", "required", "properties"]), inner
        )
    ),
)


@given(
    st.text(max_size=30) | JSON.map(json.dumps),
    st.just(LEVEL) | st.fixed_dictionaries({"properties": JSON, "required": JSON}),
)
def test_whatever_the_agent_writes_ends_nothing(text: str, schema: dict[str, Any]) -> None:
    arguments, faults = tools._read(text, schema)
    assert isinstance(arguments, dict)
    assert all("wanted" in fault for fault in faults)


# ── built in ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_built_in_function_answers_for_itself() -> None:
    levels: list[object] = []

    def set_volume(arguments: Arguments) -> str:
        levels.append(arguments["level"])
        return "The volume is 40 %."

    async with desk(set_volume=set_volume) as one:
        assert await one.hear("set_volume", {"level": 40}) == "The volume is 40 %."
        wanted = "the argument `level` is wrong; wanted an integer from 0 up to 100"
        assert await one.hear("set_volume", {"level": 400}) == f"Not done: {wanted}."
    assert levels == [40]


async def test_a_built_in_function_that_fails_is_told() -> None:
    def set_volume(arguments: Arguments) -> str:
        raise DeviceError("the card 'box' has no mixer")

    async with desk(set_volume=set_volume) as one:
        words = "It failed: the card 'box' has no mixer."
        assert await one.hear("set_volume", {"level": 40}) == words


async def test_a_function_that_ends_the_conversation_is_answered_no_more() -> None:
    def end_conversation(arguments: Arguments) -> str:
        one.tools.cancel_all()
        return "Goodbye."

    one = Desk(run=Commands(), end_conversation=end_conversation)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.tools.serve)
        one.call("end_conversation")
        await settle()
        nursery.cancel_scope.cancel()
    assert not one.answers


# ── the button ───────────────────────────────────────────────────────────────────────────────────


async def test_what_needs_a_button_runs_when_it_was_pressed(autojump_clock: object) -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        one.call("door")
        await trio.sleep(CONFIRM_LIMIT_S - 0.1)
        [(_, name, tell)] = one.asked
        assert name == "door"
        assert not commands.begun
        tell(True)
        tell(False)  # too late
        await settle()
    assert one.said == ["It is done."]


async def test_what_was_not_allowed_does_not_run(autojump_clock: object) -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        one.call("door")
        await settle()
        one.asked[0][2](False)
        one.asked[0][2](True)  # too late
        await settle()
        assert one.said == ["Not done: the user did not allow it."]
        one.call("door")
        await trio.sleep(CONFIRM_LIMIT_S + 0.1)
        assert one.said[1:] == ["Not done: the user did not allow it."]
        one.asked[1][2](True)  # too late as well
        await settle()
    assert len(one.answers) == 2
    assert not commands.begun


async def test_an_answer_may_come_from_within_the_question() -> None:
    commands = Commands()
    answers: list[FunctionAnswer] = []
    ours = Tools(
        [DOOR], {}, run=commands, environ=ENVIRON, ask_confirmation=lambda _, tell: tell(True)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.serve)
        ours.call(Call("fc_1", "door"), answers.append)
        await settle()
        nursery.cancel_scope.cancel()
    assert [it.content for it in answers] == ["It is done."]


async def test_one_press_allows_one_thing(autojump_clock: object) -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        one.call("door", call_id="a")
        one.call("door", call_id="b")
        await trio.sleep(4)
        assert len(one.asked) == 1
        one.asked[0][2](True)
        await settle()
        assert len(one.asked) == 2
        assert len(commands.begun) == 1
        await trio.sleep(CONFIRM_LIMIT_S + 0.1)
    assert sorted(one.said) == ["It is done.", "Not done: the user did not allow it."]


async def test_nobody_is_asked_about_wrong_arguments() -> None:
    async with desk() as one:
        assert "not JSON" in await one.hear("door", "{")
        assert not one.asked


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_call_is_ended_and_not_answered(autojump_clock: object) -> None:
    commands = Commands(takes_s=3)
    async with desk(run=commands) as one:
        for call_id in "abc":
            one.call("lamps", {"level": 1}, call_id=call_id)
        await trio.sleep(1)
        one.tools.cancel(["a", "c", "nobody"])
        await trio.sleep(5)
        assert [it.id for it in one.answers] == ["b"]
        assert commands.killed == 2
        one.tools.cancel(["b"])  # it is answered already


async def test_a_call_that_is_cancelled_at_once_never_begins() -> None:
    commands = Commands()
    done: list[Arguments] = []

    def get_status(arguments: Arguments) -> str:
        done.append(arguments)
        return ""

    async with desk(run=commands, get_status=get_status) as one:
        one.call("lamps", {"level": 1}, call_id="a")
        one.call("get_status", call_id="b")
        one.tools.cancel(["a", "b"])
        await settle()
    assert not commands.begun
    assert not done
    assert not one.answers


async def test_a_call_that_waits_for_the_button_can_be_cancelled(autojump_clock: object) -> None:
    commands = Commands()
    async with desk(run=commands) as one:
        one.call("door", call_id="a")
        one.call("door", call_id="b")
        await settle()
        one.tools.cancel(["a"])
        await settle()
        one.asked[0][2](True)  # of the one that was cancelled
        await settle()
        assert not commands.begun
        one.asked[1][2](True)
        await settle()
    assert [it.id for it in one.answers] == ["b"]


async def test_nothing_is_answered_when_the_conversation_is_over(autojump_clock: object) -> None:
    commands = Commands(takes_s=3)
    async with desk(run=commands) as one:
        for _ in range(RUNNING_MAX):
            one.call("lamps", {"level": 1})
        await trio.sleep(1)
        one.tools.cancel_all()
        await settle()
        assert commands.killed == RUNNING_MAX
        assert not one.answers
        one.call("lamps", {"level": 1})  # of the next conversation
        await trio.sleep(3.1)
    assert one.said == ["It is done."]


async def test_everything_ends_with_the_box(autojump_clock: object) -> None:
    commands = Commands(takes_s=3)
    async with desk(run=commands) as one:
        one.call("lamps", {"level": 1})
        await trio.sleep(1)
    assert commands.killed == 1
    assert not one.answers


async def test_the_journal_has_names_and_outcomes_but_no_words(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    commands = Commands(ran(3, b"secret-output", b"secret-complaint"))
    async with desk(run=commands) as one:
        one.call("lamps", {"level": 1, "more": "secret-argument"})
        one.call("lamps", {"level": "secret-argument"})
        one.call("secret-name")
        one.call("door")
        await settle()
        one.tools.cancel_all()
        await settle()
    assert "secret" not in caplog.text
    assert sorted(record.getMessage() for record in caplog.records) == [
        "function (unknown): unknown",
        "function door: cancelled",
        "function lamps: exit status 3",
        "function lamps: wrong arguments",
    ]


# ── real commands, on the real clock ─────────────────────────────────────────────────────────────


def real(*argv: str, timeout_s: float = 5) -> Tool:
    return Tool("real", "", tools.NOTHING, argv, timeout_s=timeout_s, output_bytes=50)


async def come_of(tool: Tool, arguments: object) -> str:
    async with desk(tool, run=command.run) as one:
        one.call("real", arguments)
        with trio.fail_after(10):
            while not one.answers:  # noqa: ASYNC110  # a real process moves by itself
                await trio.sleep(0.005)
        return one.said[0]


async def test_a_real_command_answers() -> None:
    assert await come_of(real("cat"), {"level": 3}) == '{"level":3}'
    assert await come_of(real("sh", "-c", "echo no >&2; exit 2"), {}) == (
        "It failed with exit status 2: no"
    )
    assert "did not finish within 0.2 s" in await come_of(real("sleep", "60", timeout_s=0.2), {})
    assert (
        await come_of(real("/nowhere"), {}) == "It failed: its command cannot be run on this box."
    )


async def test_a_real_command_ends_with_its_conversation(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"echo $$ >{file}.new; mv {file}.new {file}; exec sleep 60"

    def is_there() -> bool:
        return Path(f"/proc/{file.read_text().strip()}").exists()

    async with desk(real("sh", "-c", script), run=command.run) as one:
        one.call("real")
        with trio.fail_after(10):
            while not file.exists():  # noqa: ASYNC110  # nor does a shell tell of its files
                await trio.sleep(0.005)
            one.tools.cancel_all()
            while is_there():  # noqa: ASYNC110
                await trio.sleep(0.005)
    assert not one.answers
