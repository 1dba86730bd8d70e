"""What the stand-in agent says, in which order, and when. Pure: the clock is handed in.

What it says is a `Script`: messages and pieces of sound in their order, and between them moments
before which nothing more may go. The one task that sends asks `Voice.next` what is due; so an
answer is stopped at once by forgetting its script, and nothing ever has to be cancelled in the
middle of a frame. A script is made as it is sent: sound never piles up.

Beside the script there are notes: acknowledgements, and the texts of what was heard. They do not
wait for an answer that is being sent, and are not stopped with it.

Order of a turn: API documentation, "message flow"; of a greeting, whose text precedes
`SettingsApplied`: a log in deepgram/voice-agent-python-client, pull request 2.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import Any

from appliance.standin.echo import SAMPLE_BYTES, beeps, pieces, repeated
from appliance.standin.schema import Settings

Message = dict[str, Any]
Script = Iterator[float | Message | bytes]


class ForceEndTurn(Enum):
    """What a server does when it is told that the turn has ended."""

    HONOUR = auto()  # ends the turn; with Nova it warns, as the real one does
    WARN = auto()  # `FORCE_END_TURN_UNSUPPORTED`, and the turn stays open
    UNPARSABLE = auto()  # an older server: it does not know the message, and closes
    IGNORE = auto()


@dataclass(frozen=True, slots=True)
class Manners:
    """How this agent behaves. The defaults are obedient."""

    refuse_status: int | None = None  # answers the upgrade with this HTTP status
    force_end_turn: ForceEndTurn = ForceEndTurn.HONOUR
    settings_delay_s: float = 0.0  # between Settings and SettingsApplied
    think_s: float = 0.3  # from the user's text to the first sound
    text_delay_s: float = 0.0  # from the end of the turn to the user's text
    pace: float = 8.0  # sound is sent so many times faster than real time
    audio_done: bool = True  # sends AgentAudioDone
    announces: bool = True  # sends AgentThinking and AgentStartedSpeaking
    stops_when_interrupted: bool = True  # False: the old answer goes on; a real fault, seen
    answer_s: float | None = None  # the heard sound is repeated so long; None: once
    mute_turns: frozenset[int] = frozenset()  # from 1, over all connections: text, no answer
    deaf: bool = False  # takes sound and never hears a word in it
    greets: bool = True  # honours agent.greeting


class Voice:
    """What is being said, what waits behind it, and the notes beside it."""

    def __init__(self) -> None:
        self._notes: list[tuple[float, int, Message]] = []
        self._order = count()
        self._script: Script | None = None
        self._waiting: deque[Script] = deque()
        self._not_before_s = -math.inf

    @property
    def is_speaking(self) -> bool:
        """Whether an answer is being thought of or sent."""
        return self._script is not None

    @property
    def backlog(self) -> int:
        """How many notes and scripts wait."""
        return len(self._notes) + len(self._waiting)

    def note(self, message: Message, at_s: float = -math.inf) -> None:
        """Send `message` at `at_s`, before any script; by default as soon as can be."""
        heapq.heappush(self._notes, (at_s, next(self._order), message))

    def say(self, script: Script) -> None:
        """Say this now, in place of everything that was being said or waited."""
        self.hush()
        self._script = script

    def queue(self, script: Script) -> None:
        """Say this when all that came before has been said."""
        if self._script is None:
            self.say(script)
        else:
            self._waiting.append(script)

    def hush(self) -> None:
        """Say no more; notes stay."""
        self._script = None
        self._waiting.clear()
        self._not_before_s = -math.inf

    def next(self, now_s: float) -> Message | bytes | float:
        """The next thing to send, or the moment before which there is none (`inf`: none at all)."""
        if self._notes and self._notes[0][0] <= now_s:
            return heapq.heappop(self._notes)[2]
        while self._script is not None and self._not_before_s <= now_s:
            step = next(self._script, None)
            if step is None:
                self._script = self._waiting.popleft() if self._waiting else None
            elif isinstance(step, float):
                self._not_before_s = step
            else:
                return step
        note_s = self._notes[0][0] if self._notes else math.inf
        return min(note_s, self._not_before_s if self._script is not None else math.inf)


class Scripts:
    """Writes the scripts of one conversation, as `settings` ask for them and `manners` allow."""

    def __init__(
        self,
        settings: Settings,
        manners: Manners,
        chance: random.Random,
        now: Callable[[], float],
    ) -> None:
        self._manners = manners
        self._chance = chance
        self._now = now
        self._greeting = settings.greeting if manners.greets else ""
        self._has_history = settings.flags.history
        self._heard_hz = settings.audio.input.sample_rate
        self._spoken_hz = settings.audio.output.sample_rate

    def opening(self, applied: Callable[[], None]) -> Script:
        """Accept the settings and greet; `applied` is called when it is said that they hold."""
        if self._greeting:
            yield from self.words("assistant", self._greeting)
        yield self._now() + self._manners.settings_delay_s
        applied()
        yield {"type": "SettingsApplied"}
        if self._greeting:
            yield from self._aloud(iter([beeps(self._greeting, self._spoken_hz)]), 0.0)

    def words(self, role: str, content: str) -> Iterator[Message]:
        """The text of what somebody said."""
        yield {"type": "ConversationText", "role": role, "content": content}
        if self._has_history:
            yield {"type": "History", "role": role, "content": content}

    def answer(self, text: str, sound: bytes, at_s: float) -> Script:
        """From `at_s` on: `text`, and the sound that was heard, or beeps where there was none."""
        yield at_s
        yield from self.words("assistant", text)
        heard_hz = self._heard_hz if sound else self._spoken_hz
        heard = sound or beeps(text, self._spoken_hz)
        latency_s = self._manners.text_delay_s + self._manners.think_s
        blocks = repeated(heard, heard_hz, self._spoken_hz, self._manners.answer_s)
        yield from self._aloud(blocks, latency_s)

    def speech(self, text: str, sound: bytes = b"") -> Script:
        """Something unprompted: `text` if there is any, and `sound` as it is, or beeps."""
        if text:
            yield from self.words("assistant", text)
        yield from self._aloud(iter([sound or beeps(text, self._spoken_hz)]), 0.0)

    def _aloud(self, blocks: Iterator[bytes], latency_s: float) -> Script:
        think_s = min(latency_s, self._manners.think_s)
        if self._manners.announces:
            latencies = {"total_latency": latency_s, "tts_latency": 0.0, "ttt_latency": think_s}
            yield {"type": "AgentStartedSpeaking", **latencies}
        began_s = self._now()
        sent_bytes = 0
        for piece in pieces(blocks, self._chance):
            sent_s = sent_bytes / (self._spoken_hz * SAMPLE_BYTES)
            yield began_s + sent_s / self._manners.pace
            yield piece
            sent_bytes += len(piece)
        if self._manners.audio_done:
            yield {"type": "AgentAudioDone"}
        latencies = {"ttt_text_latency": think_s, "tts_latency": 0.0, "total_latency": latency_s}
        yield {"type": "LatencyReport", **latencies}
