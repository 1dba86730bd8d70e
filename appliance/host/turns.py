"""When things happened in a turn: one record for each, for the journal and for `watch`. Pure.

A turn is what one person says at one time, and what becomes of it. There is at most one at a time:
the number of its utterance is its number.

It begins
  * with the press that begins to listen, in every profile. Not with one that goes on with the same
    utterance, nor with one in `tap` that asks for the end, nor with one that opens no ear;
  * in `tap` and `open` also when the agent hears somebody speak while no turn is open, or while an
    older one is thought about or answered: nobody pressed then, and nobody knows which was its
    first byte;
  * with the user's text, where no turn is open and an answer is awaited: words that were understood
    after all, or that were typed.

It ends, and is told,
  * when the box goes on to rest, to sleep or to trouble, or listens again after an answer: the
    last sample has been played, or there will be none;
  * when the next turn begins before that.

What is said without being asked (a greeting, `say`) is no turn. Times are seconds of the house's
clock, the first time that a thing happened in the turn; of the last sample, the last. None is
"not known", never 0. There are no words in a record.
"""

from dataclasses import dataclass, field
from enum import Enum

from appliance.conversation import Event, Phase
from appliance.errors import Trouble

Record = dict[str, object]

OVER = frozenset({Phase.RESTING, Phase.ASLEEP, Phase.TROUBLE})


class Moment(Enum):
    """What is noted. The value is its key in a record."""

    PRESS = "press_s"
    FIRST_BYTE_SENT = "first_byte_sent_s"  # of the utterance
    TURN_END = "turn_end_s"  # its end was sent; nobody knows where the agent finds the ends
    USER_TEXT = "user_text_s"
    FIRST_ANSWER_BYTE = "first_answer_byte_s"
    FIRST_SAMPLE = "first_sample_s"  # of the answer, written to the card
    LAST_SAMPLE = "last_sample_s"  # has left the card, or was silenced in it


SHORT = {
    Moment.FIRST_BYTE_SENT: "sent",
    Moment.TURN_END: "end",
    Moment.USER_TEXT: "text",
    Moment.FIRST_ANSWER_BYTE: "answer",
    Moment.FIRST_SAMPLE: "sound",
    Moment.LAST_SAMPLE: "silence",
}
EXPECTED = {Moment.TURN_END, Moment.USER_TEXT}  # after one of them an answer is to be expected


class Outcome(Enum):
    """What became of a turn, where no trouble has ended it; that goes by its own word."""

    ANSWERED = "answered"  # as far as there was an answer
    INTERRUPTED = "interrupted"  # a press, or somebody who spoke, stopped the answer
    SUPERSEDED = "superseded"  # the same, before there was one
    UNANSWERED = "unanswered"  # it ended with nothing, and nothing went wrong
    WITHDRAWN = "withdrawn"  # nothing of it was sent: a mere tap, or muted in time


@dataclass
class _Turn:
    number: int
    request_id: str
    at_s: dict[Moment, float] = field(default_factory=dict)


class Turns:
    """The record of the turn that is open. It holds nothing of those before."""

    def __init__(self) -> None:
        self._turn: _Turn | None = None
        self._request_id = ""
        self._text_of = 0  # the utterance whose text came last

    def connected(self, request_id: str) -> None:
        """A session of that id is there; "" if none is. A turn has the last that served it."""
        self._request_id = request_id
        if self._turn is not None and request_id:
            self._turn.request_id = request_id

    def mark(self, moment: Moment, now_s: float, number: int | None = None) -> None:
        """Something happened, if it is the open turn's.

        Args:
            moment: what.
            now_s: now.
            number: of the utterance that it belongs to, where that is known; an older one's is not
                the turn's. Nobody knows it of sound: an answer is the turn's if the turn's end
                was sent or its text is here.
        """
        if moment is Moment.USER_TEXT:
            self._text_of = number or 0
        turn = self._turn
        if turn is None or (number is not None and number < turn.number):
            return
        at_s = turn.at_s
        match moment:
            case Moment.FIRST_BYTE_SENT:
                is_ours = Moment.PRESS in at_s
            case Moment.FIRST_ANSWER_BYTE:
                is_ours = not at_s.keys().isdisjoint(EXPECTED)
            case Moment.FIRST_SAMPLE:
                is_ours = Moment.FIRST_ANSWER_BYTE in at_s
            case Moment.LAST_SAMPLE:
                is_ours = Moment.FIRST_SAMPLE in at_s
                at_s.pop(moment, None)
            case _:
                is_ours = True
        if is_ours:
            at_s.setdefault(moment, now_s)

    def handled(
        self,
        event: Event,
        before: Phase,
        after: Phase,
        now_s: float,
        *,
        number: int,
        trouble: Trouble | None,
    ) -> Record | None:
        """The conversation has handled an event, and its actions are done.

        Args:
            event: which.
            before: the phase in which it came.
            after: the phase that it led to.
            now_s: now.
            number: of the open utterance; 0 if none is.
            trouble: what went wrong, if something has.

        Returns:
            The record of the turn that ended with it, if one did: each is told once.
        """
        if event is Event.SPEAKER_DRY:
            self.mark(Moment.LAST_SAMPLE, now_s)
        begins_to_listen = after is Phase.LISTENING and before is not Phase.LISTENING
        was_busy = before in (Phase.THINKING, Phase.SPEAKING)
        stops = event in (Event.PRESSED, Event.USER_SPOKE)
        begins = after is Phase.LISTENING and (
            (event is Event.PRESSED and begins_to_listen)
            or (event is Event.USER_SPOKE and (was_busy or self._turn is None))
        )
        record = None
        if begins or after in OVER or (was_busy and begins_to_listen):
            if stops:  # silence is immediate
                self.mark(Moment.LAST_SAMPLE, now_s)
            failed = trouble if after is Phase.TROUBLE else None
            record = self._end(self._outcome(failed, stopped=stops))
        if begins:
            self._begin(number)
            if event is Event.PRESSED:
                self.mark(Moment.PRESS, now_s)
        elif event is Event.USER_TEXT and after is Phase.THINKING and self._turn is None:
            self._begin(self._text_of)
            self.mark(Moment.USER_TEXT, now_s)
        return record

    def _begin(self, number: int) -> None:
        self._turn = _Turn(number, self._request_id)

    def _outcome(self, trouble: Trouble | None, *, stopped: bool) -> str:
        at_s = self._turn.at_s if self._turn is not None else {}
        if trouble is not None:
            return trouble.slug
        if Moment.FIRST_ANSWER_BYTE in at_s:
            word = Outcome.INTERRUPTED if stopped else Outcome.ANSWERED
        elif stopped:
            word = Outcome.SUPERSEDED
        else:
            word = Outcome.UNANSWERED if at_s.keys() - {Moment.PRESS} else Outcome.WITHDRAWN
        return word.value

    def _end(self, outcome: str) -> Record | None:
        turn, self._turn = self._turn, None
        if turn is None:
            return None
        return {
            "turn": turn.number,
            "request_id": turn.request_id or None,
            "outcome": outcome,
            **{moment.value: turn.at_s.get(moment) for moment in Moment},
        }


def line(record: Record) -> str:
    """A record as a line of the journal: seconds since the press, or since the first that is known.

    What is not known is left out.
    """
    at_s = {moment: record[moment.value] for moment in Moment}
    known = [at for at in at_s.values() if isinstance(at, float)]
    parts = [
        f"{word} {at - min(known):+.3f} s"
        for moment, word in SHORT.items()
        if isinstance(at := at_s[moment], float)
    ]
    request = f"; request {record['request_id']}" if record["request_id"] else ""
    return f"turn {record['turn']}: " + ", ".join([str(record["outcome"]), *parts]) + request
