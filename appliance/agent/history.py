"""What was said, bounded; what a new session is told of it. Pure.

A session knows nothing of the one before it, so the turns are told again with the settings: those
of the last `remember_for_s`, without the greeting. An answer that was cut counts as far as it was
heard: a sentence is remembered if its sound had begun. The wire binds no sound to text, so the
sound of a sentence is taken to begin where the answer's sound stood when its text came.

Words that nobody has answered are left out of a replay: they go again by themselves, as sound or
as text.

A function that was called is told again as well, so that the model knows what it has done. That
goes over connections, not over restarts: then only words do.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from appliance.agent.messages import Called, Said, Side

TURNS_MAX = 40  # Deepgram's own device remembers as many
CHARACTERS_MAX = 6000  # of all turns: the model reads them before each answer
RESPONSE_MAX = 500  # characters of what a function gave
VERSION = 1  # of the file


@dataclass(frozen=True)
class _Sentence:
    text: str
    begins_bytes: int  # of the answer's sound that had come before it


class _Turn(msgspec.Struct):
    who: Side
    text: str


class _File(msgspec.Struct):
    """How it survives a restart. Times are of the wall clock: no other does."""

    version: int
    saved_s: float
    turns: list[_Turn]


class History:
    """The turns of a conversation, oldest first. Times are seconds of one monotonic clock.

    Args:
        remember_for_s: so long after the newest turn everything is forgotten.
    """

    def __init__(self, remember_for_s: float) -> None:
        self._remember_for_s = remember_for_s
        self._turns: deque[Said | Called] = deque()
        self._answer: list[_Sentence] = []  # of the answer that has not ended
        self._newest_s = float("-inf")
        self._greeted_s = float("-inf")
        self._is_greeting = False

    # ── what is said ─────────────────────────────────────────────────────────────────────────

    def expect_greeting(self) -> None:
        """The next thing that the agent says is no part of the conversation."""
        self._is_greeting = True

    def session_began(self, now_s: float) -> None:
        """The agent has taken what it was told first, the greeting with it."""
        if self._is_greeting:
            self._greeted_s = now_s

    def user_said(self, text: str, now_s: float) -> None:
        """The user's text; the answer before it is over."""
        self.answer_ended()
        self._is_greeting = False
        self._newest_s = now_s
        self._add(Said(Side.USER, text))

    def agent_said(self, text: str, sound_bytes: int, now_s: float) -> None:
        """A sentence of the answer, when so many bytes of its sound had come."""
        self._newest_s = now_s
        self._answer.append(_Sentence(text, sound_bytes))

    def called(self, call: Called) -> None:
        """A function was called and answered, in the middle of an answer."""
        self._add(replace(call, response=call.response[:RESPONSE_MAX]))

    def answer_ended(self) -> None:
        """All of its sentences count."""
        self._close(self._answer)

    def answer_cut(self, played_bytes: int) -> None:
        """It was stopped after so many bytes had been heard: only what had begun counts."""
        self._close([one for one in self._answer if one.begins_bytes < played_bytes])

    def forget(self) -> None:
        """Nothing was ever said."""
        self._turns.clear()
        self._answer.clear()
        self._newest_s = self._greeted_s = float("-inf")

    def _close(self, sentences: Sequence[_Sentence]) -> None:
        if sentences and not self._is_greeting:
            self._add(Said(Side.AGENT, " ".join(one.text for one in sentences)))
        self._is_greeting = self._is_greeting and not self._answer
        self._answer = []

    def _add(self, one: Said | Called) -> None:
        self._turns.append(one)
        while len(self._turns) > 1 and (
            len(self._turns) > TURNS_MAX or sum(map(_length, self._turns)) > CHARACTERS_MAX
        ):
            self._turns.popleft()

    # ── what is asked ────────────────────────────────────────────────────────────────────────

    def is_remembered(self, now_s: float) -> bool:
        """Whether there is something that a new session should be told."""
        return bool(self._turns) and now_s - self._newest_s < self._remember_for_s

    def is_greeted(self, now_s: float) -> bool:
        """Whether this conversation has begun with the greeting, or without."""
        begun_s = max(self._newest_s, self._greeted_s)
        return now_s - begun_s < self._remember_for_s

    def replay(self, now_s: float, *, without_last: bool = False) -> tuple[Said | Called, ...]:
        """What a new session is told.

        Args:
            now_s: now.
            without_last: leave the user's last words out: they go again by themselves.
        """
        self.answer_ended()
        if not self.is_remembered(now_s):
            self._turns.clear()
            return ()
        turns = tuple(self._turns)
        if without_last and _is_question(turns[-1]):
            turns = turns[:-1]
        return turns

    @property
    def last_question(self) -> str:
        """The user's last words, if nothing of an answer to them was heard or told; else ""."""
        last = self._turns[-1] if self._turns and not self._answer else None
        return last.text if isinstance(last, Said) and last.who is Side.USER else ""

    # ── over a restart ───────────────────────────────────────────────────────────────────────

    def save(self, wall_s: float, now_s: float) -> bytes:
        """As a file, with the time of the newest turn by the wall clock."""
        self.answer_ended()
        turns = [_Turn(one.who, one.text) for one in self._turns if isinstance(one, Said)]
        age_s = now_s - self._newest_s if turns else 0.0
        return msgspec.json.encode(_File(VERSION, wall_s - age_s, turns))

    def load(self, file: bytes, wall_s: float, now_s: float) -> None:
        """What `save` gave, if it is not too old; a clock that went back makes it too old.

        Raises:
            ValueError: it is not ours, or of a version that is newer than ours.
        """
        saved = msgspec.json.decode(file, type=_File)
        if saved.version > VERSION:
            raise ValueError(f"version {saved.version} is newer than ours, which is {VERSION}")
        age_s = wall_s - saved.saved_s
        if 0 <= age_s < self._remember_for_s:
            self._turns = deque(Said(one.who, one.text) for one in saved.turns)
            self._newest_s = now_s - age_s


def _is_question(one: Said | Called) -> bool:
    return isinstance(one, Said) and one.who is Side.USER


def _length(one: Said | Called) -> int:
    """Characters that the model reads."""
    return len(one.text) if isinstance(one, Said) else len(one.arguments) + len(one.response)
