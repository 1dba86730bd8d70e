"""How the stand-in agent behaves: obedient, or in the ways in which real servers are not. Pure."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

EVERY_TURN = 0


class ForceEndTurn(Enum):
    """What a server does when it is told that the turn has ended."""

    HONOUR = auto()  # ends the turn; with Nova it warns, as the real one does
    WARN = auto()  # `FORCE_END_TURN_UNSUPPORTED`, and the turn stays open
    UNPARSABLE = auto()  # an older server: it does not know the message, and closes
    IGNORE = auto()


class Call(NamedTuple):
    """A function to call in place of an answer; the answer follows what the function gave."""

    turn: int  # from 1, over all connections; `EVERY_TURN`
    name: str
    arguments: str = "{}"  # should be a JSON object; models do not always write one
    signature: str | None = None  # to be given back with what the function gave


@dataclass(frozen=True, slots=True)
class Manners:
    """How this agent behaves. The defaults are obedient."""

    refuse_status: int | None = None  # answers the upgrade with this HTTP status
    force_end_turn: ForceEndTurn = ForceEndTurn.HONOUR
    settings_delay_s: float = 0.0  # between the settings and SettingsApplied
    think_s: float = 0.3  # from the user's text to the first sound
    text_delay_s: float = 0.0  # from the end of the turn to the user's text
    pace: float = 8.0  # sound is sent so many times faster than real time
    audio_done: bool = True  # sends AgentAudioDone
    announces: bool = True  # sends AgentThinking, AgentStartedSpeaking and FunctionCalling
    stops_when_interrupted: bool = True  # False: the old answer goes on; a real fault, seen
    answer_s: float | None = None  # the heard sound is repeated so long; None: once
    mute_turns: frozenset[int] = frozenset()  # from 1, over all connections: text, no answer
    deaf: bool = False  # takes sound and never hears a word in it
    greets: bool = True  # honours agent.greeting, and context.replay of early access
    calls: tuple[Call, ...] = ()  # beside those that are asked for in words: see `calls`
    calls_undeclared: bool = False  # False: NON_EXISTENT_FUNCTION_CALLED, as the real server
    stored_agents: bool = False  # takes any UUID for a stored agent: Flux, functions unknown
