"""What was said and has not been taken by the agent yet: the only queue of the uplink. Pure.

An utterance is kept whole from its first sample until the agent has *taken* it, and read by a
cursor that starts anew on each connection: so each sample goes out exactly once a connection, in
order, as fast as the connection takes it until it has caught up.

In `hold` an utterance begins with the press and ends after the release; its end goes out as the
end of the turn, and nothing after it until it was taken, was dropped, or was let pass: sound that
followed at once would be recognised together with it.

In `tap` one utterance stays open while the microphone is. What has been sent is kept for as long
as it may take to know that nobody was there to hear it, and then let go. When the agent says that
somebody speaks, which it may say late over a bad network, or when the connection turns out to have
been dead before it could, we judge ourselves where that began: from a second before the first sound
that is not silence everything is kept, until the user's text takes it, and goes again.

What is not wanted any more is *erased*: not sent again, not waited for, and kept only so that its
text, which may still come, is not taken for the text of later words.

An utterance is taken by the user's text, a function call or the first sound of its answer, if it
ended, and its end was sent, before that. Until then it is *pending*, for 30 s after its end: an
answer to older words would only startle.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from appliance.sound.pcm import Format

KEEP_ENDED_S = 30.0
BEFORE_SPEECH_S = 1.0  # words may begin softly
UNHEARD_S = 7.0  # a dead link is known by then
UNSENT_MATTERS_S = 0.3  # more than a message that is being filled: the connection was stuck
JUDGED_S = 0.02  # so much at a time is speech, or silence
QUIET_PEAK = 1036  # -30 dBFS: above a quiet room, below the peaks of a voice across a table


@dataclass(frozen=True)
class EndOfTurn:
    """Read in place of sound: the utterance of this number is out, and its turn is over."""

    number: int


@dataclass(slots=True)
class Utterance:
    """Sound of one turn. Positions count bytes from its first sample, also when that is gone."""

    number: int
    sendable: bool
    sound: bytearray = field(default_factory=bytearray)
    gone: int = 0  # bytes let go at the front
    cursor: int = 0  # next byte to be read on this connection
    ever_sent: bool = False
    ended_s: float | None = None
    end_sent: bool = False
    passed: bool = False  # the next one need not wait for this one's text
    erased: bool = False  # not wanted any more: it waits only for its end to go out, and its text
    speech: bool = False
    taken: int = 0  # what lies before belonged to an earlier turn
    spared: int = 0  # what lies before has been judged, and is no silence
    turn_begins: int = 0  # a turn is bounded from here on
    heard_early: bool = False
    marks: deque[tuple[int, float]] = field(default_factory=deque)  # (cursor, when it got there)

    @property
    def length(self) -> int:
        """Bytes heard so far, those let go included."""
        return self.gone + len(self.sound)

    def erase(self) -> None:
        """Nothing more of it is to be sent but its end."""
        self.erased = True
        del self.sound[self.cursor - self.gone :]

    def let_go(self, position: int) -> None:
        """Forget what lies before `position`."""
        if position > self.gone:
            del self.sound[: position - self.gone]
            self.gone = position
            self.cursor = max(self.cursor, position)


class Utterances:
    """The utterances, oldest first; at most the last one is open. Nothing here waits.

    Args:
        form: the sound's format on the wire.
        streams: the agent finds the ends (`tap`), so that there is old silence to let go.
        limit_s: no more unsent sound than this, beside the preroll, is kept in an open utterance;
            where the agent finds the ends the oldest silence goes first, else the oldest sound.
        preroll_s: how much of the sound before the press belongs to the utterance.
    """

    def __init__(
        self, form: Format, *, streams: bool, limit_s: float = 60.0, preroll_s: float = 0.0
    ) -> None:
        self.first_sent: Callable[[int], None] = lambda _: None  # told an utterance's number
        self.shut = False  # zeros are kept for what the microphone hears
        self.heard_bytes = 0  # ever
        self.lost_bytes = 0  # let go unsent and untaken
        self._form = form
        self._streams = streams
        self._limit_s = limit_s
        self._preroll_s = preroll_s
        self._preroll = bytearray()
        self._queue: deque[Utterance] = deque()
        self._open: Utterance | None = None
        self._count = 0
        self._newest_ended = 0
        self._heard: list[Utterance] = []  # whose text came, and no answer yet
        self._owed = 0  # the utterance that was taken without its text, which may still come
        self.retune(form)

    def retune(self, form: Format) -> None:
        """The sound has another rate from now on. Nothing of it is kept, or the preroll at most."""
        assert not self.keeps
        self.heard_bytes = form.bytes_of(self._form.seconds_of(self.heard_bytes))
        self.lost_bytes = form.bytes_of(self._form.seconds_of(self.lost_bytes))
        self._form = form
        self._limit = form.bytes_of(self._limit_s + self._preroll_s)
        self._preroll_limit = form.bytes_of(self._preroll_s)
        self._judged_bytes = form.bytes_of(JUDGED_S)
        self._queue.clear()
        self._preroll.clear()

    # ── what the conversation asks ───────────────────────────────────────────────────────────

    @property
    def pending(self) -> bool:
        """An ended utterance has not been taken."""
        return any(one.ended_s is not None and not one.erased for one in self._queue)

    @property
    def keeps(self) -> bool:
        """There is sound that is said, is to be sent, or may have to be sent again."""
        return self.is_open or self.pending or self.unanswered

    @property
    def unanswered(self) -> bool:
        """The agent has taken an utterance, and nothing of its answer has begun."""
        return bool(self._heard)

    @property
    def unanswered_sound(self) -> bytes:
        """What the agent has taken last, and not answered yet."""
        return b"".join(bytes(one.sound) for one in self._heard)

    @property
    def speaking(self) -> bool:
        """The open utterance holds speech, or more unsent sound than a message in the making."""
        one = self._open
        if one is None:
            return False
        unsent = one.length - one.cursor
        return one.speech or not one.ever_sent or unsent > self._form.bytes_of(UNSENT_MATTERS_S)

    @property
    def unheard(self) -> bool:
        """Somebody seems to speak in the open utterance, of whom the agent says nothing yet."""
        one = self._open
        return one is not None and not one.speech and self._first_loud(one) < one.length

    @property
    def sent(self) -> bool:
        """Some of the open utterance has been sent, on whichever connection."""
        return self._open is not None and self._open.ever_sent

    @property
    def heard_early(self) -> bool:
        """The agent has sent the text of the open utterance."""
        return self._open is not None and self._open.heard_early

    @property
    def unsent(self) -> bool:
        """Some sound of an ended utterance has not been sent on this connection."""
        return any(
            one.ended_s is not None and not one.erased and one.cursor < one.length
            for one in self._queue
        )

    def fills(self, message_bytes: int) -> bool:
        """Whether a whole message of the open utterance waits."""
        one = self._open
        return one is not None and one.length - one.cursor >= message_bytes

    @property
    def is_open(self) -> bool:
        """Whether sound is being kept."""
        return self._open is not None

    @property
    def open_number(self) -> int:
        """The number of the open utterance; 0 if none is."""
        return self._open.number if self._open is not None else 0

    @property
    def open_sound(self) -> bytes:
        """What is kept of the open utterance."""
        return bytes(self._open.sound) if self._open is not None else b""

    @property
    def newest_ended(self) -> int:
        """The number of the newest utterance that ended or was taken; 0 before the first."""
        return self._newest_ended

    @property
    def waiting_s(self) -> float:
        """Seconds of kept sound that this connection has not been given."""
        return self._form.seconds_of(sum(one.length - one.cursor for one in self._queue))

    # ── the microphone's side ────────────────────────────────────────────────────────────────

    def begin(self, *, sendable: bool) -> None:
        """Open an utterance, with the preroll; one that is open stays so, and is heard again."""
        self.shut = False
        if self._open is None:
            self._count += 1
            self._open = Utterance(self._count, sendable)
            self._open.sound += self._preroll
            self._queue.append(self._open)
        self._preroll.clear()

    def forget_preroll(self) -> None:
        """What was heard before a press will belong to none."""
        self._preroll.clear()

    def hear(self, sound: bytes, now_s: float) -> bool:
        """Keep a piece of sound: in the open utterance, else in the preroll, else nowhere.

        Returns:
            Whether the turn became as long as one may be, with this piece. The clock bounds it as
            well; but not every card gives a second of sound in a second.
        """
        one = self._open
        if one is None:
            self._preroll += sound
            del self._preroll[: max(0, len(self._preroll) - self._preroll_limit)]
            return False
        left = one.turn_begins + self._limit - one.length
        self.heard_bytes += len(sound)
        one.sound += bytes(len(sound)) if self.shut else sound
        self._let_sent_go(one, now_s - UNHEARD_S)
        surplus = one.length - one.cursor - self._limit
        if surplus > 0 and self._streams:
            surplus -= self._let_unsent_silence_go(one, surplus)
        if surplus > 0:
            self.lost_bytes += surplus
            one.let_go(one.cursor + surplus)
        is_turn = one.speech or not self._streams
        return is_turn and 0 < left <= len(sound)

    def _let_unsent_silence_go(self, one: Utterance, surplus: int) -> int:
        """The oldest silence goes first, from between the words; how many bytes went."""
        gone = 0
        one.spared = max(one.spared, one.cursor)
        while gone < surplus and one.spared < one.length:
            start = one.spared - one.gone
            piece = one.sound[start : start + self._judged_bytes]
            if is_quiet(piece):
                del one.sound[start : start + len(piece)]
                gone += len(piece)
            else:
                one.spared += len(piece)
        self.lost_bytes += gone
        return gone

    def _let_sent_go(self, one: Utterance, until_s: float) -> None:
        """What was sent by then."""
        position = one.gone
        while one.marks and one.marks[0][1] <= until_s:
            position = one.marks.popleft()[0]
        if self._streams and not one.speech:
            one.let_go(position)

    def _let_sent_silence_go(self, one: Utterance) -> None:
        """All that was sent, but from a second before the first sound that is none.

        And all that was taken: who went on before his text was here loses that beginning, rather
        than be answered twice.
        """
        if self._streams and not one.speech:
            before = self._first_loud(one) - self._form.bytes_of(BEFORE_SPEECH_S)
            one.let_go(min(max(before, one.taken), one.cursor))

    def _first_loud(self, one: Utterance) -> int:
        """Where the open turn begins to be louder than a quiet room; its length if nowhere."""
        for position in range(max(one.gone, one.taken), one.length, self._judged_bytes):
            start = position - one.gone
            if not is_quiet(one.sound[start : start + self._judged_bytes]):
                return position
        return one.length

    def send(self) -> None:
        """The open utterance may be read."""
        if self._open is not None:
            self._open.sendable = True

    def mark_speech(self) -> None:
        """Somebody speaks: from a second before, all is kept until it was taken."""
        if self._open is not None:
            self._let_sent_silence_go(self._open)
            self._open.speech = True
            self._open.turn_begins = self._open.length

    def end(self, now_s: float, *, erase_unsent: bool = False) -> None:
        """End the open utterance; with `erase_unsent` only what is out already counts as said."""
        one, self._open = self._open, None
        if one is None:
            return
        one.ended_s, one.sendable = now_s, True
        self._newest_ended = one.number
        if erase_unsent:
            one.erase()

    def discard(self) -> None:
        """Forget the open utterance, as if it had not been said."""
        if self._open is not None:
            self._queue.remove(self._open)
            self._open = None

    # ── the agent's side ─────────────────────────────────────────────────────────────────────

    def connection_over(self) -> None:
        """Nobody will say any more that he has heard what was sent: it is let go by no clock."""
        for one in self._queue:
            one.marks.clear()

    def new_connection(self) -> None:
        """Every cursor goes back to the first sample that is kept."""
        self._owed = 0
        self._queue = deque(one for one in self._queue if not one.erased)
        for one in self._queue:
            if one is self._open:
                self._let_sent_silence_go(one)
            one.cursor, one.end_sent, one.passed, one.heard_early = one.gone, False, False, False
            one.marks.clear()

    def read(self, message_bytes: int, now_s: float) -> bytes | EndOfTurn | None:
        """The next thing to be sent, and step past it; None if there is nothing (yet).

        Sound comes in pieces of `message_bytes`, the last piece of an utterance in what is left.
        """
        for one in list(self._queue):
            if not one.sendable:
                return None
            start = one.cursor - one.gone
            left = len(one.sound) - start
            if left >= message_bytes or (left and one.ended_s is not None):
                piece = bytes(one.sound[start : start + message_bytes])
                one.cursor += len(piece)
                if not one.ever_sent:
                    one.ever_sent = True
                    self.first_sent(one.number)
                if self._streams:
                    one.marks.append((one.cursor, now_s))
                return piece
            if one.ended_s is None:
                return None
            if not one.end_sent:
                one.end_sent = True
                return EndOfTurn(one.number)
            if not one.passed and not one.erased:
                return None
        return None

    def pass_on(self) -> bool:
        """Let what follows the sent utterances be read before their texts are here.

        Returns:
            Whether something follows that had to wait.
        """
        waited = any(one.end_sent and not one.passed for one, _ in pairwise(self._queue))
        for one in self._queue:
            one.passed = one.passed or one.end_sent
        return waited

    def ask_again(self) -> None:
        """What was taken and not answered is pending again, for an agent that hears only sound."""
        self._queue.extendleft(reversed(self._heard))
        self._heard = []
        self.new_connection()

    def take(self, *, by_text: bool, now_s: float) -> int:
        """The agent has them: those whose end was sent, or what the open one has sent so far.

        Args:
            by_text: it was the user's text; one that took no ended utterance is of the open one.
                If not, something of the answer has begun, which is not to be repeated.
            now_s: now.

        Returns:
            The number of the utterance that this was about.
        """
        taken = [one for one in self._queue if one.end_sent]
        for one in taken:
            self._queue.remove(one)
        if not by_text:
            self._heard = []
        if taken:
            if by_text:
                self._heard = [one for one in taken if not one.erased]
            self._owed = 0 if by_text else taken[-1].number
            return taken[-1].number
        if by_text and self._owed:  # of words that the sound of their answer had taken before
            number, self._owed = self._owed, 0
            return number
        one_open = self._open
        if one_open is None or one_open.cursor == one_open.gone:
            return self._newest_ended
        if self._streams:
            return self._take_stream(one_open, by_text=by_text, now_s=now_s)
        one_open.heard_early = one_open.heard_early or by_text
        return one_open.number

    def _take_stream(self, one: Utterance, *, by_text: bool, now_s: float) -> int:
        """What follows is the next turn of the same stream."""
        if not by_text and not one.speech:
            return self._newest_ended
        if by_text:
            said = bytearray(one.sound[: one.cursor - one.gone])
            self._heard = [Utterance(one.number, sendable=True, sound=said, ended_s=now_s)]
        else:
            self._owed = one.number
        one.speech = one.heard_early = False
        one.taken = one.cursor
        self._let_sent_go(one, now_s - BEFORE_SPEECH_S)
        self._newest_ended = one.number
        self._count += 1
        one.number = self._count
        return self._newest_ended

    def call_off(self) -> None:
        """The ended utterances want no answer any more; a turn that the agent has still ends."""
        self._queue = deque(
            one for one in self._queue if one.ended_s is None or one.cursor > one.gone
        )
        for one in self._queue:
            if one.ended_s is not None:
                one.erase()
        self._heard = []

    def drop_sent(self) -> None:
        """Wait no longer for the ended utterances that are out; what was never sent waits on."""
        for one in self._queue:
            if one.end_sent:
                one.erase()
        self._heard = []

    def drop_all(self) -> None:
        """Forget every ended utterance."""
        self._queue = deque(one for one in self._queue if one is self._open)
        self._heard = []

    def expire(self, now_s: float) -> None:
        """Forget what nobody would remember having asked."""
        self._queue = deque(one for one in self._queue if not _is_old(one, now_s))
        self._heard = [one for one in self._heard if not _is_old(one, now_s)]


def is_quiet(sound: bytes | bytearray) -> bool:
    """Whether nobody speaks in these samples: none is louder than a quiet room."""
    samples = memoryview(sound[: len(sound) // 2 * 2]).cast("h")
    return max(samples, default=0) <= QUIET_PEAK and min(samples, default=0) >= -QUIET_PEAK


def _is_old(one: Utterance, now_s: float) -> bool:
    return one.ended_s is not None and now_s - one.ended_s >= KEEP_ENDED_S
