"""What the stand-in agent says, in which order, and when. Pure: the clock is handed in.

What it says is a `Script`: messages and pieces of sound in their order, and between them moments
before which nothing more may go. The one task that sends asks `Voice.next` what is due; so an
answer is stopped at once by forgetting its script, and nothing ever has to be cancelled in the
middle of a frame. A script is made as it is sent: sound never piles up.

Beside the script there are notes: acknowledgements, and the texts of what was heard. They do not
wait for an answer that is being sent, and are not stopped with it.

What it says is worded by a `Tongue`, and here only where both dialects have the same words.

Order of a turn: API documentation, "message flow"; of a greeting, whose text precedes
`SettingsApplied`: a log in deepgram/voice-agent-python-client, pull request 2.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from appliance.standin.calls import SERVED
from appliance.standin.echo import beeps, pieces, repeated
from appliance.standin.manners import Manners
from appliance.standin.terms import Message, Terms
from appliance.standin.tongue import Called, Tongue

Script = Iterator[float | Message | bytes]


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
        while not (self._notes and self._notes[0][0] <= now_s):
            if self._script is None or self._not_before_s > now_s:
                note_s = self._notes[0][0] if self._notes else math.inf
                return min(note_s, math.inf if self._script is None else self._not_before_s)
            script = self._script
            step = next(script, None)
            if isinstance(step, float):
                self._not_before_s = step
            elif step is not None:
                return step
            elif self._script is script:  # and not one that its last step has put in its place
                self._script = self._waiting.popleft() if self._waiting else None
        return heapq.heappop(self._notes)[2]


class Scripts:
    """Writes the scripts of one conversation, on its `terms`, in its `tongue`, as `manners` are."""

    def __init__(
        self,
        terms: Terms,
        tongue: Tongue,
        manners: Manners,
        chance: random.Random,
        now: Callable[[], float],
    ) -> None:
        self._tongue = tongue
        self._manners = manners
        self._chance = chance
        self._now = now
        self._greeting = terms.greeting if manners.greets else ""
        self._heard_hz = terms.heard.rate_hz
        self._spoken = terms.spoken

    def opening(self, applied: Callable[[], None]) -> Script:
        """Accept the settings and greet; `applied` is called when it is said that they hold."""
        is_early = self._tongue.GREETS_BEFORE_APPLIED
        if self._greeting and is_early:
            yield from self.words("assistant", self._greeting)
        yield self._now() + self._manners.settings_delay_s
        applied()
        yield {"type": "SettingsApplied"}
        if self._greeting and not is_early:
            yield from self.words("assistant", self._greeting)
        if self._greeting:
            yield from self._aloud(iter([beeps(self._greeting, self._spoken.rate_hz)]), 0.0)

    def words(self, role: str, content: str) -> Iterator[Message]:
        """The text of what somebody said."""
        yield {"type": "ConversationText", "role": role, "content": content}
        yield from self._tongue.remembered(role, content)

    def answer(self, text: str, sound: bytes, at_s: float) -> Script:
        """From `at_s` on: `text`, and the sound that was heard, or beeps where there was none.

        The sound is linear16, as it is everywhere before it is sent.
        """
        yield at_s
        yield from self.words("assistant", text)
        spoken_hz = self._spoken.rate_hz
        heard_hz = self._heard_hz if sound else spoken_hz
        heard = sound or beeps(text, spoken_hz)
        latency_s = self._manners.text_delay_s + self._manners.think_s
        blocks = repeated(heard, heard_hz, spoken_hz, self._manners.answer_s)
        yield from self._aloud(blocks, latency_s)

    def speech(self, text: str, sound: bytes = b"") -> Script:
        """Something unprompted: `text` if there is any, and `sound` as it is, or beeps."""
        if text:
            yield from self.words("assistant", text)
        yield from self._aloud(iter([sound or beeps(text, self._spoken.rate_hz)]), 0.0)

    def calling(
        self,
        calls: Sequence[Called],
        at_s: float,
        *,
        begun: Callable[[], None],
        ended: Callable[[], None],
    ) -> Script:
        """From `at_s` on: call functions. `begun` is called before the first word, `ended` after.

        What they gave may have come before `ended`.
        """
        yield at_s
        begun()
        yield from self._call_told()
        yield from self._tongue.call(calls)
        for call in calls:
            if not call.is_client_side:
                yield from self._tongue.served(call, SERVED)
        ended()

    def called(self, made: Sequence[tuple[Called, str]], then: Script) -> Script:
        """Functions have given what they gave; `then` follows."""
        yield from self._call_told()
        yield from self._tongue.calls_remembered(made)
        yield from then

    def _call_told(self) -> Iterator[Message]:
        if self._manners.announces:
            yield from self._tongue.call_told()

    def _aloud(self, blocks: Iterator[bytes], latency_s: float) -> Script:
        think_s = min(latency_s, self._manners.think_s)
        if self._manners.announces:
            latencies = {"total_latency": latency_s, "tts_latency": 0.0, "ttt_latency": think_s}
            yield {"type": "AgentStartedSpeaking", **latencies}
        began_s = self._now()
        sent_bytes = 0
        for piece in pieces(map(self._spoken.from_linear, blocks), self._chance):
            sent_s = sent_bytes / (self._spoken.rate_hz * self._spoken.sample_bytes)
            yield began_s + sent_s / self._manners.pace
            yield piece
            sent_bytes += len(piece)
        if self._manners.audio_done:
            yield {"type": "AgentAudioDone"}
        latencies = {"ttt_text_latency": think_s, "tts_latency": 0.0, "total_latency": latency_s}
        yield from self._tongue.latencies(latencies)
