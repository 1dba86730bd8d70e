"""Functions that the agent may call on this box: the owner's commands, and a few built in.

Whatever the agent asks for is answered in words that it can make something of: what it did wrong,
what failed, what took too long. A call that is never answered is a turn that never ends. There
are three exceptions, because nobody waits any more, or for one answer only: a call that was
cancelled, a conversation that is over, and a call that comes a second time in one turn.

A command gets the arguments as JSON on its standard input and answers on its standard output.
How it is run is handed in (`host.command.run`).

Of the JSON schema of an owner's function the box itself checks this much, at the top level only:
that `required` arguments are there; their `type`, if it is one of JSON's or a list of those;
`enum`; `minimum` and `maximum`. Arguments that the schema does not name pass.

What is asked for and what came out are somebody's words: the journal has names and outcomes only.
"""

import codecs
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeGuard

import msgspec
import trio

from appliance.agent.messages import Call, Function, FunctionAnswer, Table
from appliance.errors import DeviceError

RUNNING_MAX = 16  # calls at once; agents were seen to ask for three
CONFIRM_LIMIT_S = 10.0
NAME_CHARACTERS = 64  # of a name that the agent made up, told back to it

NOTHING: Table = {"type": "object", "properties": {}}
LEVEL: Table = {
    "type": "integer",
    "minimum": 0,
    "maximum": 100,
    "description": "How loud: 100 is as loud as it goes. Below 10 it stays at 10, to be heard.",
}
CHANGE: Table = {
    "type": "integer",
    "minimum": -100,
    "maximum": 100,
    "description": "In place of level: louder by so much, softer if negative. 10 is a small step.",
}

# Deferred is what would spoil the turn if the agent had only guessed that it is over.
SET_VOLUME = Function(
    "set_volume",
    "Set how loud this box speaks: to a level, or by a change.",
    {"type": "object", "properties": {"level": LEVEL, "change": CHANGE}},
    defer_until_eot=True,
)
END_CONVERSATION = Function(
    "end_conversation",
    "End this conversation. Call it when the user says goodbye or has no further wish.",
    NOTHING,
    defer_until_eot=True,
)
MUTE_MICROPHONE = Function(
    "mute_microphone",
    "Switch the microphone of this box off. Only a person at the box can switch it on again.",
    NOTHING,
    defer_until_eot=True,
)
GET_STATUS = Function(
    "get_status",
    "What this box is doing, what fails on it, and what this conversation has cost.",
    NOTHING,
)
BUILT_IN = {it.name: it for it in (SET_VOLUME, END_CONVERSATION, MUTE_MICROPHONE, GET_STATUS)}

log = logging.getLogger("appliance.tools")

Arguments = Mapping[str, object]
Answer = Callable[[FunctionAnswer], None]
AskConfirmation = Callable[[str, Callable[[bool], None]], None]

_encode = msgspec.json.encode


@dataclass(frozen=True)
class Tool:
    """An owner's function: a command, and what the agent is told of it."""

    name: str
    description: str
    parameters: Table  # a JSON schema of an object
    command: tuple[str, ...]
    defer_until_eot: bool = False
    confirm: Literal["", "button"] = ""
    timeout_s: float = 10.0
    output_bytes: int = 4096


class Ran(Protocol):
    """What a command left: `host.command.Output`."""

    @property
    def status(self) -> int | None:
        """Its exit status; None if its time was up."""

    @property
    def stdout(self) -> bytes:
        """The beginning of what it wrote."""

    @property
    def truncated(self) -> bool:
        """Whether there was more."""

    @property
    def timed_out(self) -> bool:
        """Whether it had to be ended."""

    @property
    def ending(self) -> str:
        """How it ended, in words."""

    @property
    def complaint(self) -> str:
        """Its last line on stderr."""


class Run(Protocol):
    """How a command is run: `host.command.run`."""

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        output_max: int,
        environ: Mapping[str, str],
    ) -> Ran:
        """Run it to its end; raises `DeviceError` if it cannot be started."""


class _Outcome(NamedTuple):
    word: str  # for the journal
    content: str  # for the agent


@dataclass(eq=False)  # the agent may give two calls the same id, or none
class _Running:
    call: Call
    answer: Answer
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Tools:
    """The functions of this box. `serve` runs the calls; all else are plain calls, none waits.

    Args:
        tools: the owner's, no two of one name and none named as a built-in function.
        builtins: what the built-in functions do, by names of `BUILT_IN`; a function that is not
            there is not offered. It takes checked arguments, does not wait, and returns what to
            tell the agent; it may raise `DeviceError`.
        run: how a command is run.
        environ: what a command finds there, cleaned by `run`.
        confirmation_over: told when a person need not be asked any more, answered or not.
        ask_confirmation: asks a person whether the function of this name may run, and tells the
            answer at any time later, at once even. Whatever it tells after 10 s, or after
            `cancel`, counts for nothing. It is asked one thing at a time.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        builtins: Mapping[str, Callable[[Arguments], str]],
        *,
        run: Run,
        environ: Mapping[str, str],
        ask_confirmation: AskConfirmation,
        confirmation_over: Callable[[], None] = lambda: None,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        assert len(self._tools) == len(tools), "two tools of one name"
        assert builtins.keys() <= BUILT_IN.keys(), "a built-in function that nobody described"
        assert not self._tools.keys() & BUILT_IN.keys(), "a tool named as a built-in function"
        self._builtins = dict(builtins)
        self._run = run
        self._environ = environ
        self._ask_confirmation = ask_confirmation
        self._confirmation_over = confirmation_over
        self._asking = trio.Lock()
        self._running: set[_Running] = set()  # and those that wait to be
        self._called: set[Call] = set()  # in this turn; ids alone may be anything
        self._begin, self._begun = trio.open_memory_channel[_Running](RUNNING_MAX)

    def functions(self) -> tuple[Function, ...]:
        """What the agent is told when a conversation begins."""
        owners = (
            Function(tool.name, tool.description, tool.parameters, tool.defer_until_eot)
            for tool in self._tools.values()
        )
        return (*(BUILT_IN[name] for name in self._builtins), *owners)

    @property
    def is_busy(self) -> bool:
        """Whether a call runs, or waits to."""
        return bool(self._running)

    async def serve(self) -> None:
        """Run what is called, until cancelled; then everything that runs is ended."""
        async with trio.open_nursery() as nursery:
            async for running in self._begun:
                nursery.start_soon(self._live, running)

    def call(self, call: Call, answer: Answer) -> None:
        """Have a function called, and `answer` with what came of it, once.

        Calls that the server makes itself are none of ours, and a request that comes twice in one
        turn is done once.
        """
        if not call.is_ours:
            return
        if call in self._called:
            log.warning("a function was called again by the id of an earlier call: it is not run")
            return
        if call.id:
            self._called.add(call)
        if len(self._running) >= RUNNING_MAX:
            log.warning("a call of a function found %d running", RUNNING_MAX)
            words = "This box is busy with other functions; try again later."
            answer(FunctionAnswer(call.id, call.name, words, call.signature))
            return
        running = _Running(call, answer)
        self._running.add(running)
        self._begin.send_nowait(running)

    def cancel(self, ids: Iterable[str]) -> None:
        """End the calls of these ids, their commands too, and answer nothing to them."""
        unwanted = set(ids)
        self._called = {call for call in self._called if call.id not in unwanted}
        for running in self._running:
            if running.call.id in unwanted:
                running.scope.cancel()

    def turn_began(self) -> None:
        """The user said something else: what is called now is called anew."""
        self._called.clear()

    def cancel_all(self) -> None:
        """End every call and answer nothing: the connection is over."""
        self._called.clear()
        for running in self._running:
            running.scope.cancel()

    async def _live(self, running: _Running) -> None:
        call, outcome = running.call, _Outcome("cancelled", "")
        try:
            with running.scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                outcome = await self._outcome(call)
        finally:
            self._running.discard(running)
        known = call.name in self._tools or call.name in self._builtins
        name = call.name if known else "(unknown)"  # what the agent makes up may be anything
        if running.scope.cancel_called:
            log.info("function %s: cancelled", name)
            return
        log.info("function %s: %s", name, outcome.word)
        running.answer(FunctionAnswer(call.id, call.name, outcome.content, call.signature))

    async def _outcome(self, call: Call) -> _Outcome:
        tool = self._tools.get(call.name)
        if tool is None and call.name not in self._builtins:
            known = ", ".join([*self._builtins, *self._tools]) or "none"
            asked = call.name[:NAME_CHARACTERS]
            return _Outcome("unknown", f"This box has no function {asked}; it has: {known}.")
        schema = BUILT_IN[call.name].parameters if tool is None else tool.parameters
        arguments, faults = _read(call.arguments, schema)
        if faults:
            return _Outcome("wrong arguments", f"Not done: {'; '.join(faults)}.")
        if tool is None:
            try:
                return _Outcome("done", self._builtins[call.name](arguments))
            except DeviceError as error:
                return _Outcome(f"failed: {error}", f"It failed: {error}.")
        if tool.confirm and not await self._is_allowed(tool.name):
            return _Outcome("not allowed", "Not done: the user did not allow it.")
        return await self._command(tool, arguments)

    async def _is_allowed(self, name: str) -> bool:
        """Ask a person; whoever says nothing within 10 s says no."""
        told: list[bool] = []
        heard = trio.Event()

        def tell(allowed: bool) -> None:
            told.append(allowed)
            heard.set()

        async with self._asking:  # one press allows one thing
            self._ask_confirmation(name, tell)
            try:
                with trio.move_on_after(CONFIRM_LIMIT_S):
                    await heard.wait()
            finally:
                self._confirmation_over()
            return told[:1] == [True]

    async def _command(self, tool: Tool, arguments: Arguments) -> _Outcome:
        try:
            ran = await self._run(
                tool.command,
                stdin=_encode(arguments),
                timeout_s=tool.timeout_s,
                output_max=tool.output_bytes,
                environ=self._environ,
            )
        except DeviceError as error:
            return _Outcome(str(error), "It failed: its command cannot be run on this box.")
        if ran.timed_out:
            words = f"did not finish within {tool.timeout_s:g} s"
            return _Outcome(words, f"It {words} and was stopped.")
        if ran.status != 0:
            complaint = f": {ran.complaint}" if ran.complaint else "."
            return _Outcome(ran.ending, f"It failed with {ran.ending}{complaint}")
        # A character that the limit has cut in two is left out; bytes that are no text are shown.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        content = decoder.decode(ran.stdout, final=not ran.truncated).strip()
        if ran.truncated:
            content += f" … (the output was longer than {tool.output_bytes} bytes)"
        return _Outcome("done", content or "done")


# ── arguments ────────────────────────────────────────────────────────────────────────────────────

# What JSON schema calls it: what we call it, and what JSON's reader makes of it.
KINDS: Mapping[object, tuple[str, tuple[type, ...]]] = {
    "string": ("text", (str,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "array": ("a list", (list,)),
    "object": ("an object", (dict,)),
    "null": ("null", (type(None),)),
}


def _read(text: str, schema: Table) -> tuple[dict[str, object], list[str]]:
    """The arguments, and what is wrong with them. No text at all, or `null`, are no arguments."""
    try:
        arguments = msgspec.json.decode(text) if text.strip() else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}, ["the arguments are not JSON; wanted a JSON object"]
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return {}, ["the arguments are not an object; wanted a JSON object"]
    required, properties = schema.get("required"), schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    faults = [
        f"the argument `{name}` is missing; wanted {_wanted(known.get(name))}"
        for name in (required if isinstance(required, list | tuple) else ())
        if isinstance(name, str) and name not in arguments
    ]
    faults += [
        f"the argument `{name}` is wrong; wanted {_wanted(wanted)}"
        for name, wanted in known.items()
        if name in arguments and not _is_right(arguments[name], wanted)
    ]
    for name, value in arguments.items():
        if isinstance(value, float) and value.is_integer() and "integer" in _kinds(known.get(name)):
            arguments[name] = int(value)  # 3.0 is an integer in a schema, and seldom elsewhere
    return arguments, faults


def _wanted(schema: object) -> str:
    """What a property accepts, in words."""
    if not isinstance(schema, Mapping):
        return "a value"
    if isinstance(choices := schema.get("enum"), list | tuple):
        return "one of " + ", ".join(_encode(choice).decode() for choice in choices)
    words = " or ".join(KINDS[kind][0] for kind in _kinds(schema)) or "a value"
    low, high = schema.get("minimum"), schema.get("maximum")
    words += f" from {low}" if _is_number(low) else ""
    return words + (f" up to {high}" if _is_number(high) else "")


def _is_right(value: object, schema: object) -> bool:
    """Whether a property accepts a value, as far as we look."""
    if not isinstance(schema, Mapping):
        return True
    kinds = _kinds(schema)
    if kinds and not any(_is_a(value, kind) for kind in kinds):
        return False
    choices = schema.get("enum")
    if isinstance(choices, list | tuple) and not any(_is_same(value, it) for it in choices):
        return False
    if not _is_number(value):
        return True
    low, high = schema.get("minimum"), schema.get("maximum")
    return not (_is_number(low) and value < low) and not (_is_number(high) and value > high)


def _kinds(schema: object) -> list[object]:
    """The types that a property may have; empty if it may have any, or some that we do not know."""
    kinds = schema.get("type") if isinstance(schema, Mapping) else None
    named = kinds if isinstance(kinds, list | tuple) else [kinds]
    return list(named) if all(isinstance(kind, str) and kind in KINDS for kind in named) else []


def _is_a(value: object, kind: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, KINDS[kind][1])


def _is_same(value: object, other: object) -> bool:
    """Python's `==`, but `true` is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
