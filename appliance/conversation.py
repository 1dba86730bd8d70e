"""READ SECOND. What the box does, whatever happens: phases, events, actions, and the one table.

Rule 1: everything that changes the phase is a cell of `TABLE`. Every cell is written, also those
in which nothing happens, so that each of them is a decision. `README.md` prints it.

Rule 2: this file is pure. Time comes in as an argument and goes out as `next_deadline_s`;
randomness is handed in; sound never passes through here. `handle` is told what happened and
answers with what is to be done, in order; the daemon does it before anything else happens.

Beside the phase stand facts that every phase may have: the `link` (down, dialing, up, closing),
whether the button is `held`, whether the box is `muted`, which half of the card is missing. What
is kept to be sent and what waits to be played are asked of their rooms (`Ear`, `Mouth`), not
remembered a second time. A held press without a connection is *listening*, because its sound is
being kept; how far the connection has come is the link's business.

Rule 3: each phase that is busy has a deadline armed, with a named outcome. A hypothesis test
walks at random and holds us to it.

Three profiles share the table and differ in the rows of the finger: in `hold` the utterance ends
when the button is let go; in `tap` and `open` the microphone stays open and the agent finds the
ends; `open` is connected from the start and comes back by itself.

Decided here, where the design left room:
  * In `tap` the box listens again after an answer: sound is kept then, and the lamp says so.
    *Resting* there lasts only for the 300 ms until the room is quiet, and while muted.
  * In half duplex the microphone is shut from an answer's first sound until 300 ms after the last
    sample that has left the card, whatever phase that is by then: an answer that goes on shuts it
    again, a press opens it at once, and it waits for nobody who has yet to say that it was the end.
  * A failure of the link shows for 30 s or until the next press; *heard nothing* and *no answer*
    for 3 s. A missing microphone or speaker shows until it is back.
  * Backoff starts anew with a press and with an answer that was played, not with a connection that
    merely came to stand: a server that accepts and then fails is not dialled in a loop.
  * An answer withheld under a held button that belongs to an earlier utterance (its text came
    meanwhile) gives way to the new one when the button is let go.
  * `ask` and `say` wake an asleep box, as a press would; while somebody talks they are declined.
  * `forget` in the middle of a turn forgets at once and hangs up after the answer: the agent's own
    memory of it ends only with the session.
  * A press while the box asks for a permission gives it, and means nothing else.
  * Muted, what was said before and not sent is not sent either, nor sent again on another
    connection. Who was heard whole is still answered.
  * A finger can always unmute: in `open` any press does, in `tap` a long one, which then means
    nothing else; in `hold` a double press, which `fingers.py` knows.
  * In `open` a muted box hangs up after `hang_up_after_s` and dials nothing, from its start on.
  * A conversation that is full hangs up after the answer, or a minute later whatever goes on.
  * An answer that dries up before its end was told may mean that nobody is there any more: the
    far end has to prove itself. It counts as over after 1.5 s, as the design has it; but if the
    connection turns out to be dead within 10 s of that, it was lost while it spoke, and the box
    says so instead of falling asleep in silence over half an answer.
  * A trouble is heard as well as shown: only within two minutes of a press or a word, so that
    nothing talks to an empty house at night, and never under a held button, but when it is let go.
    Missing hardware that nobody was there to hear of is told by the lamp, and said at the next
    press. Words that wait for a connection in `hold` are told why, once; in `tap` and `open` sound
    is being kept meanwhile, so there only the end of the waiting is said. Where the microphone is
    open beside a complaint (*no answer* in `tap`), it sends zeros until the box listens again.
  * The listening cue is for a press, not for the box listening again by itself; in `tap` and
    `open` not once connected, where it would go straight to the agent. The cue for the end of a
    turn is `hold`'s alone: elsewhere the microphone is open then.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import Protocol

from appliance.errors import Retry, Trouble

TAIL_S = 0.2  # last syllables: what the microphone still hears after the release
TEXT_LATE_S = 2.5  # no text of an ended turn: its end is said once more
TEXT_MISSING_S = 6.0  # no text at all: the agent heard nothing
THINK_S = 15.0  # from the user's text to the first sound
THINK_MORE_S = 5.0  # for each sign that the agent is still at it
THINK_MAX_S = 60.0
WAIT_S = 30.0  # an ended utterance waits so long for a connection and to be taken
SOUND_GAP_S = 1.5  # an answer without its end: so long after the last sample it is over
UNTOLD_S = 10.0  # and so long its end may have been lost with the link: what a dead one takes
ECHO_S = 0.3  # a room is quiet so long after the speaker
GRACE_S = 1.5  # an impatient second press ends nothing
LAST_ANSWER_S = 60.0  # a full conversation: so long may what goes on go on
PERMISSION_S = 10.0
RENEWAL_S = 6600.0  # sessions end after two hours, with a warning at 1:55
RENEWAL_AGAIN_S = 10.0  # somebody is at it: look again
SHOW_BRIEFLY_S = 3.0
SHOW_S = 30.0
ATTENDED_S = 120.0  # somebody is there, so long after a press or a word
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0

BRIEF = frozenset({Trouble.HEARD_NOTHING, Trouble.NO_ANSWER})
HARDWARE = frozenset({Trouble.MICROPHONE_MISSING, Trouble.SPEAKER_MISSING})


class Mode(Enum):
    """A talk profile."""

    HOLD = "hold"
    TAP = "tap"
    OPEN = "open"


class Phase(Enum):
    """What the box is doing, as its owner would say it."""

    ASLEEP = "asleep"  # no connection, nothing kept
    LISTENING = "listening"  # sound is being kept
    THINKING = "thinking"  # words are with the agent, or on their way
    SPEAKING = "speaking"  # an answer sounds, until its last sample has left the card
    RESTING = "resting"  # connected and billed, nobody talks
    TROUBLE = "trouble"  # something failed, and `Conversation.trouble` says what


class Link(Enum):
    """The connection to the agent. At most one socket exists in any state but *down*."""

    DOWN = "down"
    DIALING = "dialing"
    UP = "up"
    CLOSING = "closing"


class Event(Enum):
    """What can happen. The value is its word in the journal and in the README."""

    STARTED = "start"
    PRESSED = "press"
    RELEASED = "release"
    MUTED = "mute"
    UNMUTED = "unmute"
    ASKED = "ask or say"
    ENDED = "end of the conversation"
    FORGOTTEN = "forget"
    CAP_REACHED = "cap reached"
    CAP_LIFTED = "cap lifted"
    PERMISSION_ASKED = "permission asked"
    PERMISSION_OFF = "permission not needed"
    LINK_UP = "link ready"
    LINK_DOWN = "link closed"
    LINK_LOST = "link lost"
    TURN_SENT = "end of turn sent"
    USER_SPOKE = "user started speaking"
    USER_TEXT = "user text"
    STILL_THINKING = "still thinking"
    THINK_FAILED = "thinking failed"
    SAY_REFUSED = "not said"
    ANSWER_BEGAN = "answer's first sound"
    AUDIO_DONE = "answer sent whole"
    SPEAKER_DRY = "last sample played"
    MICROPHONE_LOST = "microphone gone"
    MICROPHONE_FOUND = "microphone open"
    SPEAKER_LOST = "speaker gone"
    SPEAKER_FOUND = "speaker open"
    # Deadlines, each armed by a cell
    TAP_OVER = "longer than a tap"
    LONG_PRESS = "long press"
    TAIL_OVER = "end of the tail"
    TURN_FULL = "utterance full"
    TEXT_LATE = "text is late"
    TEXT_MISSING = "no text came"
    THINK_OVER = "thought too long"
    WAIT_OVER = "waited too long"
    SOUND_OVER = "no more sound"
    ECHO_OVER = "room is quiet"
    QUIET_OVER = "quiet for long"
    CONVERSATION_OVER = "conversation full"
    LAST_OVER = "last answer too long"
    RENEWAL_DUE = "session grows old"
    PERMISSION_OVER = "no permission"
    REDIAL_DUE = "time to redial"
    TROUBLE_OVER = "trouble shown"


class Action(Enum):
    """What is to be done, at once and without waiting."""

    LISTEN = "open the microphone and begin an utterance, if none is open"
    SEND = "let the open utterance be sent"
    MARK_SPEECH = "keep the open utterance from a second before now"
    END = "shut the microphone; the utterance ends, and so does the turn"
    ERASE = "as END, but what was not yet sent is erased"
    DISCARD = "shut the microphone and forget the open utterance"
    END_AGAIN = "let the next utterance pass, or say the end of the turn once more"
    CALL_OFF = "the ended utterances want no answer any more"
    DROP_SENT = "forget the ended utterances that were sent"
    DROP_ALL = "forget every utterance"
    FORGET = "forget what was ever said"
    ASK_AGAIN = "ask in words what was asked before the connection was lost"
    SAY = "say to the agent what it was to be told"
    ALLOW = "the permission is given"
    DENY = "the permission is not given"
    SHUT = "send zeros for the microphone"
    PROVE = "let the far end prove that it is there"
    HEAR = "send what the microphone hears again"
    CUT = "silence at once; this answer stays dead"
    CUT_BY_SERVER = "silence at once; the agent has stopped by itself"
    PLAY = "play the withheld answer"
    FINISH = "the answer is over: let the speaker rest"
    DIAL = "connect, but without the upgrade that opens the bill"
    UPGRADE = "allow the upgrade"
    HURRY = "let the closing end within half a second"
    HANG_UP = "close the connection with a close frame"
    ABORT = "give up the connection that is being made"
    CUE_LISTENING = "the listening cue"
    CUE_DONE = "the cue for the end of a turn"
    CUE_TROUBLE = "say what `complaint` is about, or the trouble cue"
    PROMPT = "say what `complaint` is about, if there are words for it"


@dataclass(frozen=True)
class Talk:
    """The settings that this machine reads; seconds."""

    mode: Mode = Mode.HOLD
    tap_s: float = 0.25
    half_duplex: bool = True
    hang_up_after_s: float = 20.0
    max_turn_s: float = 60.0
    max_conversation_s: float = 600.0  # 0: none
    long_press_s: float = 3.0
    audible: frozenset[Action] = frozenset()  # the cues and prompts that the owner wants to hear


class Ear(Protocol):
    """What is asked of the utterances."""

    @property
    def pending(self) -> bool:
        """An ended utterance has not been taken."""

    @property
    def speaking(self) -> bool:
        """The open utterance holds speech, or sound that was never sent."""

    @property
    def sent(self) -> bool:
        """Some sound of the open utterance has been sent."""

    @property
    def unanswered(self) -> bool:
        """The agent has taken an utterance, and nothing of its answer has begun."""

    @property
    def heard_early(self) -> bool:
        """The agent has sent the text of the utterance that is still open."""

    @property
    def unsent(self) -> bool:
        """Some sound of an ended utterance waits to be sent on this connection."""


class Mouth(Protocol):
    """What is asked of the answers."""

    @property
    def withheld(self) -> bool:
        """An answer came while the button was held, and waits."""

    @property
    def discarding(self) -> bool:
        """Sound that comes now belongs to a dead answer."""

    @property
    def done(self) -> bool:
        """The agent has sent the last byte of the answer."""

    @property
    def dry(self) -> bool:
        """Nothing waits, and the last sample has left the card."""


@unique
class Cell(Enum):
    """What an event does in a phase. The name is the method that does it, the value its words."""

    STAY = "-"
    BEGIN = "listen, dial"
    GO_ON = "the same utterance goes on"
    ASK_MUTE = "(its release mutes); unconnected: dial now"
    MUTE_IF_ASKED = "mute, if the press was meant so"
    FORGET_ALL = "forget, hang up"
    FORGET_SOON = "forget; hang up after the answer"
    ASK = "think, dial"
    DECLINE = "declined"
    NOT_SAID = "rest, it was not said"
    HANG_UP_CAPPED = "hang up; trouble: cap reached"
    RENEW = "hang up and dial again"
    RENEW_LATER = "renew it after this"
    OPENED = "listen, if it is open"
    OPEN_UP = "listen, dial, if it is to be open"
    HANG_UP_MUTED = "hang up, sleep, if it is muted"
    APPEND = "discard the awaited answer, listen; unconnected: one more utterance"
    INTERRUPT = "silence, listen"
    ASK_END = "(its release hangs up)"
    END_TURN = "end of turn, think; after a mere tap nothing is sent"
    END_CONVERSATION = "hang up, if the press was meant so"
    FULL = "as a release"
    CLOSE_TURN = "end of turn, think"
    COMMIT = "send, allow the upgrade"
    ERASE_TURN = "erase, rest"
    SHUT_EAR = "shut the microphone"
    ERASE_WORDS = "shut the microphone; unsent words: erase them, rest"
    OPEN_EAR = "open the microphone"
    REOPEN = "listen again"
    CONNECTED = "send what is kept"
    RECONNECTED = "send what is kept, think"
    NOT_WANTED = "hang up again"
    DIAL_NOW = "dial, if words wait"
    KEEP_AND_REDIAL = "keep listening, redial; refused: trouble"
    RESEND = "redial, send again; nothing kept: trouble"
    LOST_IN_TROUBLE = "redial if words wait"
    PLAY_OUT = "play what is here"
    FALL_ASLEEP = "sleep; within 10 s of half an answer: trouble"
    EXPECT_TEXT = "wait for the text"
    NOTE_TEXT = "listen on"
    SAY_AGAIN = "say the end again"
    HEARD_NOTHING = "trouble: heard nothing"
    FORGET_SENT = "forget that utterance"
    GIVE_UP = "trouble: no connection"
    NO_ANSWER = "trouble: no answer"
    THINK = "think"
    THINK_LONGER = "think 5 s longer"
    SPEAK = "speak"
    SPEAK_ON = "speak on"
    THINK_IF_DRY = "speak on; played already: think"
    WITHHOLD = "withhold it while the button is held"
    HUSH = "silence"
    HUSH_AND_REST = "silence, rest"
    HUSH_AND_LISTEN = "silence, listen on"
    MARK = "keep from 1 s before"
    END_IF_DRY = "rest once it has been played"
    END_IF_DONE = "rest; after 1.5 s if its end was not told"
    REST_UNHEARD = "rest, if it was the awaited one"
    REST = "rest"
    REST_UNTOLD = "rest, its end was not told"
    HANG_UP = "hang up, sleep"
    HANG_UP_AFTER = "hang up after the answer"
    HANG_UP_NOW = "silence, hang up"
    CAP_IN_QUIET = "hang up after the turn; trouble: cap reached"
    LOST_ASLEEP = "redial, if it is open"
    EAR_LOST = "hang up; trouble: microphone missing"
    END_DEAF = "as a release, unheard"
    MOUTH_LOST = "hang up; trouble: speaker missing"
    EAR_BACK = "sleep, if that was the trouble"
    MOUTH_BACK = "sleep, if that was it"


C, E, P = Cell, Event, Phase
PHASES = (P.ASLEEP, P.LISTENING, P.THINKING, P.SPEAKING, P.RESTING, P.TROUBLE)
Row = tuple[Cell, Cell, Cell, Cell, Cell, Cell]
_ = C.STAY

# fmt: off
# What means the same in all profiles.
#                        asleep         listening          thinking         speaking         resting          trouble
_ALL: Mapping[Event, Row] = {
    E.LINK_UP:          (C.NOT_WANTED,  C.CONNECTED,       C.CONNECTED,     C.CONNECTED,     _,               C.RECONNECTED),
    E.LINK_DOWN:        (_,             C.DIAL_NOW,        C.DIAL_NOW,      _,               C.FALL_ASLEEP,   _),
    E.LINK_LOST:        (_,             C.KEEP_AND_REDIAL, C.RESEND,        C.PLAY_OUT,      C.FALL_ASLEEP,   C.LOST_IN_TROUBLE),
    E.REDIAL_DUE:       (_,             C.DIAL_NOW,        C.DIAL_NOW,      _,               _,               C.DIAL_NOW),
    E.ASKED:            (C.ASK,         C.DECLINE,         C.DECLINE,       C.DECLINE,       C.ASK,           C.ASK),
    E.ENDED:            (_,             C.HANG_UP_AFTER,   C.HANG_UP_AFTER, C.HANG_UP_AFTER, C.HANG_UP,       C.HANG_UP_AFTER),
    E.LAST_OVER:        (_,             C.HANG_UP_NOW,     C.HANG_UP_NOW,   C.HANG_UP_NOW,   C.HANG_UP_NOW,   C.HANG_UP_NOW),
    E.CAP_REACHED:      (_,             C.CAP_IN_QUIET,    C.HANG_UP_AFTER, C.HANG_UP_AFTER, C.HANG_UP_CAPPED, C.HANG_UP_AFTER),
    E.CAP_LIFTED:       (_,             _,                 _,               _,               _,               _),
    E.PERMISSION_ASKED: (_,             _,                 _,               _,               _,               _),
    E.PERMISSION_OFF:   (_,             _,                 _,               _,               _,               _),
    E.PERMISSION_OVER:  (_,             _,                 _,               _,               _,               _),
    E.SAY_REFUSED:      (_,             _,                 C.NOT_SAID,      _,               _,               _),
    E.TURN_SENT:        (_,             C.EXPECT_TEXT,     C.EXPECT_TEXT,   C.EXPECT_TEXT,   _,               _),
    E.TEXT_LATE:        (_,             C.SAY_AGAIN,         C.SAY_AGAIN,       C.SAY_AGAIN,       _,               _),
    E.TEXT_MISSING:     (_,             C.FORGET_SENT,     C.HEARD_NOTHING, C.FORGET_SENT,   _,               _),
    E.WAIT_OVER:        (_,             C.GIVE_UP,         C.GIVE_UP,       C.FORGET_SENT,   _,               C.GIVE_UP),
    E.STILL_THINKING:   (_,             _,                 C.THINK_LONGER,  _,               _,               _),
    E.THINK_FAILED:     (_,             _,                 C.NO_ANSWER,     _,               _,               _),
    E.THINK_OVER:       (_,             _,                 C.NO_ANSWER,     _,               _,               _),
    E.AUDIO_DONE:       (_,             _,                 C.REST_UNHEARD,  C.END_IF_DRY,    _,               _),
    E.SPEAKER_DRY:      (_,             _,                 _,               C.END_IF_DONE,   _,               _),
    E.SOUND_OVER:       (_,             _,                 _,               C.REST_UNTOLD,   _,               _),
    E.TROUBLE_OVER:     (_,             _,                 _,               _,               _,               C.REST),
    E.SPEAKER_LOST:     (C.MOUTH_LOST,  _,                 _,               C.MOUTH_LOST,    C.MOUTH_LOST,    _),
    E.SPEAKER_FOUND:    (_,             _,                 _,               _,               _,               C.MOUTH_BACK),
}

_HOLD: Mapping[Event, Row] = {
    E.STARTED:          (_,             _,                 _,               _,               _,               _),
    E.PRESSED:          (C.BEGIN,       C.GO_ON,           C.APPEND,        C.INTERRUPT,     C.BEGIN,         C.BEGIN),
    E.RELEASED:         (_,             C.END_TURN,        _,               _,               _,               _),
    E.TAP_OVER:         (_,             C.COMMIT,          _,               _,               _,               _),
    E.LONG_PRESS:       (_,             _,                 _,               _,               _,               _),
    E.FORGOTTEN:        (C.FORGET_ALL,  C.FORGET_SOON,     C.FORGET_SOON,   C.FORGET_SOON,   C.FORGET_ALL,    C.FORGET_ALL),
    E.RENEWAL_DUE:      (_,             C.RENEW_LATER,     C.RENEW_LATER,   C.RENEW_LATER,   C.RENEW,         C.RENEW_LATER),
    E.TAIL_OVER:        (_,             C.CLOSE_TURN,      _,               _,               _,               _),
    E.TURN_FULL:        (_,             C.FULL,            _,               _,               _,               _),
    E.MUTED:            (_,             C.ERASE_TURN,      C.ERASE_WORDS,   _,               _,               _),
    E.UNMUTED:          (_,             _,                 _,               _,               _,               _),
    E.USER_SPOKE:       (_,             C.HUSH,            C.HUSH,          C.HUSH_AND_REST, C.HUSH,          C.HUSH),
    E.USER_TEXT:        (_,             C.NOTE_TEXT,       C.THINK,         C.THINK_IF_DRY,  C.THINK,         C.THINK),
    E.ANSWER_BEGAN:     (_,             C.WITHHOLD, C.SPEAK,       C.SPEAK_ON,      C.SPEAK,         C.SPEAK),
    E.ECHO_OVER:        (_,             _,                 _,               _,               _,               _),
    E.QUIET_OVER:       (_,             _,                 _,               _,               C.HANG_UP,       _),
    E.CONVERSATION_OVER: (_,            C.HANG_UP_AFTER,   C.HANG_UP_AFTER, C.HANG_UP_AFTER, C.HANG_UP,       C.HANG_UP_AFTER),
    E.MICROPHONE_LOST:  (C.EAR_LOST,    C.END_DEAF,        _,               _,               C.EAR_LOST,      _),
    E.MICROPHONE_FOUND: (_,             _,                 _,               _,               _,               C.EAR_BACK),
}

# What the finger does not change: the agent finds the ends.
_STREAMS: Mapping[Event, Row] = {
    E.TAP_OVER:         (_,             _,                 _,               _,               _,               _),
    E.LONG_PRESS:       (C.FORGET_ALL,  C.FORGET_ALL,      _,               _,               C.FORGET_ALL,    C.FORGET_ALL),
    E.FORGOTTEN:        (C.FORGET_ALL,  C.FORGET_ALL,      C.FORGET_SOON,   C.FORGET_SOON,   C.FORGET_ALL,    C.FORGET_ALL),
    E.RENEWAL_DUE:      (_,             C.RENEW,           C.RENEW_LATER,   C.RENEW_LATER,   C.RENEW,         C.RENEW_LATER),
    E.TAIL_OVER:        (_,             _,                 _,               _,               _,               _),
    E.TURN_FULL:        (_,             C.HANG_UP,         _,               _,               _,               _),
    E.MUTED:            (_,             C.ERASE_TURN,      C.ERASE_WORDS,   C.SHUT_EAR,      C.SHUT_EAR,      C.SHUT_EAR),
    E.UNMUTED:          (_,             _,                 C.OPEN_EAR,      C.OPEN_EAR,      C.REOPEN,        _),
    E.USER_SPOKE:       (_,             C.MARK,            C.HUSH_AND_LISTEN, C.HUSH_AND_LISTEN, C.HUSH_AND_LISTEN, C.HUSH_AND_LISTEN),
    E.USER_TEXT:        (_,             C.THINK,           C.THINK,         C.THINK_IF_DRY,  C.THINK,         C.THINK),
    E.ANSWER_BEGAN:     (_,             C.SPEAK,           C.SPEAK,         C.SPEAK_ON,      C.SPEAK,         C.SPEAK),
    E.ECHO_OVER:        (_,             _,                 _,               _,               C.REOPEN,        _),
    E.QUIET_OVER:       (_,             C.HANG_UP,         _,               _,               C.HANG_UP,       _),
    E.CONVERSATION_OVER: (_,            C.HANG_UP,         C.HANG_UP_AFTER, C.HANG_UP_AFTER, C.HANG_UP,       C.HANG_UP_AFTER),
    E.MICROPHONE_LOST:  (C.EAR_LOST,    C.EAR_LOST,        _,               _,               _,               _),
    E.MICROPHONE_FOUND: (_,             _,                 _,               _,               C.REOPEN,        C.EAR_BACK),
}

_TAP: Mapping[Event, Row] = {
    E.STARTED:          (_,             _,                 _,               _,               _,               _),
    E.PRESSED:          (C.BEGIN,       C.ASK_END,         C.APPEND,        C.INTERRUPT,     C.BEGIN,         C.BEGIN),
    E.RELEASED:         (_,             C.END_CONVERSATION, _,              _,               _,               _),
}

_OPEN: Mapping[Event, Row] = {
    E.STARTED:          (C.OPEN_UP,     _,                 _,               _,               _,               _),
    E.PRESSED:          (C.BEGIN,       C.ASK_MUTE,        C.APPEND,        C.INTERRUPT,     C.BEGIN,         C.BEGIN),
    E.RELEASED:         (_,             C.MUTE_IF_ASKED,   _,               _,               _,               _),
    E.LINK_UP:          (C.OPENED,      C.CONNECTED,       C.CONNECTED,     C.CONNECTED,     C.OPENED,        C.OPENED),
    E.LINK_LOST:        (C.LOST_ASLEEP, C.KEEP_AND_REDIAL, C.RESEND,        C.PLAY_OUT,      C.FALL_ASLEEP,   C.LOST_IN_TROUBLE),
    E.REDIAL_DUE:       (C.DIAL_NOW,    C.DIAL_NOW,        C.DIAL_NOW,      C.DIAL_NOW,      C.DIAL_NOW,      C.DIAL_NOW),
    E.UNMUTED:          (C.OPEN_UP,     _,                 C.OPEN_EAR,      C.OPEN_EAR,      C.REOPEN,        _),
    E.QUIET_OVER:       (_,             _,                 _,               _,               C.HANG_UP_MUTED, _),
}
# fmt: on

_ROWS: Mapping[Mode, Mapping[Event, Row]] = {
    Mode.HOLD: {**_ALL, **_HOLD},
    Mode.TAP: {**_ALL, **_STREAMS, **_TAP},
    Mode.OPEN: {**_ALL, **_STREAMS, **_OPEN},
}
TABLE: Mapping[Mode, Mapping[Event, Mapping[Phase, Cell]]] = MappingProxyType(
    {
        mode: MappingProxyType(
            {
                event: MappingProxyType(dict(zip(PHASES, row, strict=True)))
                for event, row in rows.items()
            }
        )
        for mode, rows in _ROWS.items()
    }
)

# Deadlines that are let go together: of an utterance, of an awaited answer, of quiet and trouble.
_TURN = (Event.TAP_OVER, Event.TAIL_OVER, Event.TURN_FULL)
_AWAITING = (Event.THINK_OVER, Event.TEXT_LATE, Event.TEXT_MISSING, Event.WAIT_OVER)
_OF_LINK = (
    Event.TEXT_LATE,
    Event.TEXT_MISSING,
    Event.CONVERSATION_OVER,
    Event.LAST_OVER,
    Event.RENEWAL_DUE,
)
_ATTENDED = {Event.PRESSED, Event.RELEASED, Event.USER_SPOKE, Event.USER_TEXT, Event.ASKED}
_IDLE = (Event.QUIET_OVER, Event.SOUND_OVER, Event.TROUBLE_OVER)


class Conversation:
    """The machine. `handle` and `due` are the only ways in; they never wait.

    Args:
        talk: the owner's choices.
        ear: the utterances, asked and never changed.
        mouth: the answers, asked and never changed.
        random: a number of [0, 1), for the jitter of redialling.
    """

    def __init__(self, talk: Talk, ear: Ear, mouth: Mouth, *, random: Callable[[], float]) -> None:
        self.phase = Phase.ASLEEP
        self.link = Link.DOWN
        self.held = False
        self.muted = False  # or as the box was left, set before it starts
        self.trouble: Trouble | None = None
        self.missing: set[Trouble] = set()
        self.capped = False  # the owner's money is spent: nothing is dialled
        self.asks_permission = False  # a press would allow what the agent wants to do
        self.complaint: Trouble | None = None  # what is to be heard of last
        self._talk = talk
        self._ear = ear
        self._mouth = mouth
        self._random = random
        self._table = TABLE[talk.mode]
        self._deadlines: dict[Event, float] = {}
        self._failures = 0  # connections since the last press, or the last answer that was played
        self._unsaid: Action | None = None  # a complaint that waits for the button to be let go
        self._attended_s = float("-inf")  # somebody was there
        self._began_s = 0.0  # the press that began to listen
        self._stopped_s = float("-inf")  # the press that last stopped an answer
        self._thinking_since_s = 0.0
        self._untold_s = float("-inf")  # when an answer was taken to be over, untold
        self._answers_earlier = False  # what is withheld is about an utterance before this one
        self._ending = False  # a press that asks for the end when it is let go
        self._last = False  # hang up after this answer
        self._asked = False  # there is something to say to the agent
        self._again = False  # dial again when the link is down: it was only renewed
        self._stood = False  # and would stand, but for the cap
        self._stands = False  # `open`: the link is to stand, whatever happens
        self._why: Trouble | None = None  # what the event that is being handled says went wrong
        self._now = 0.0
        self._actions: list[Action] = []

    # ── ways in ──────────────────────────────────────────────────────────────────────────────

    def handle(self, event: Event, now_s: float, why: Trouble | None = None) -> list[Action]:
        """Take note of what happened and say what to do now, in order.

        Args:
            event: what happened; a second press of a held button is none, nor is a second release.
            now_s: a monotonic clock, the same for all calls.
            why: the trouble of `LINK_LOST`, which needs one.
        """
        assert (event is Event.LINK_LOST) == (why is not None), (event, why)
        if event in (Event.PRESSED, Event.RELEASED):
            if self.held is (event is Event.PRESSED):
                return []
            self.held = event is Event.PRESSED
        self._now, self._actions, self._why = now_s, [], why
        self._deadlines.pop(event, None)
        if event is Event.LONG_PRESS and self.muted:
            event = Event.UNMUTED
        if event is Event.PRESSED and self.asks_permission:
            self.asks_permission = False
            self._disarm(Event.PERMISSION_OVER)
            self._do(Action.ALLOW)
            return self._actions
        if event in _ATTENDED:
            self._attended_s = now_s
        self._take_note(event)
        getattr(self, f"_{self._table[event][self.phase].name.lower()}")()
        self._keep_standing()
        return self._actions

    def due(self, now_s: float) -> Iterator[Event]:
        """The deadlines that have passed, oldest first; each is to be handled before the next."""
        while self._deadlines:
            event, due_s = min(self._deadlines.items(), key=lambda item: item[1])
            if due_s > now_s:
                return
            del self._deadlines[event]
            yield event

    @property
    def next_deadline_s(self) -> float:
        """When `due` will have something; infinity if nothing is awaited."""
        return min(self._deadlines.values(), default=float("inf"))

    def armed(self, event: Event) -> bool:
        """Whether this deadline runs."""
        return event in self._deadlines

    # ── facts ────────────────────────────────────────────────────────────────────────────────

    def _take_note(self, event: Event) -> None:
        """Keep the facts that hold in every phase."""
        match event:
            case Event.MUTED | Event.UNMUTED:
                (self._mute if event is Event.MUTED else self._unmute)()
            case Event.STARTED:
                self._stands = self._talk.mode is Mode.OPEN
            case Event.CAP_REACHED | Event.CAP_LIFTED:
                was_capped, self.capped = self.capped, event is Event.CAP_REACHED
                if self.capped and not was_capped:
                    self._stood, self._stands = self._stands, False
                elif was_capped and not self.capped:
                    self._stands = self._stands or self._stood
                self._disarm(Event.REDIAL_DUE)
            case Event.PERMISSION_ASKED:
                self.asks_permission = True
                self._arm(Event.PERMISSION_OVER, PERMISSION_S)
            case Event.PERMISSION_OFF | Event.PERMISSION_OVER:
                if event is Event.PERMISSION_OVER and self.asks_permission:
                    self._do(Action.DENY)
                self.asks_permission = False
                self._disarm(Event.PERMISSION_OVER)
            case Event.RELEASED:
                self._disarm(Event.LONG_PRESS)
                self._say_unsaid()
            case Event.AUDIO_DONE | Event.USER_TEXT | Event.USER_SPOKE:
                self._untold_s = float("-inf")  # somebody is there
            case Event.LINK_UP:
                self.link = Link.UP
                self._arm(Event.RENEWAL_DUE, RENEWAL_S)
                if self._talk.max_conversation_s:
                    self._arm(Event.CONVERSATION_OVER, self._talk.max_conversation_s)
            case Event.CONVERSATION_OVER | Event.TURN_FULL | Event.ENDED:
                self._stands = False  # somebody has to press again
            case Event.LINK_DOWN | Event.LINK_LOST:
                self.link = Link.DOWN
                self.asks_permission = False
                self._disarm(Event.PERMISSION_OVER)
                self._disarm(*_OF_LINK)
                self._last = False
                if self.muted:
                    self._do(Action.CALL_OFF)
            case Event.PRESSED:
                self._note_press()
            case Event.MICROPHONE_LOST:
                self.missing.add(Trouble.MICROPHONE_MISSING)
            case Event.MICROPHONE_FOUND:
                self.missing.discard(Trouble.MICROPHONE_MISSING)
            case Event.SPEAKER_LOST:
                self.missing.add(Trouble.SPEAKER_MISSING)
            case Event.SPEAKER_FOUND:
                self.missing.discard(Trouble.SPEAKER_MISSING)
            case Event.SPEAKER_DRY:
                self._failures = 0
                self._await_quiet()
            case Event.ECHO_OVER:
                self._do(Action.HEAR)
            case _:
                pass

    def _note_press(self) -> None:
        """Somebody is there: what was counted and limited begins anew."""
        self._failures, self._untold_s = 0, float("-inf")
        self._stands = self._talk.mode is Mode.OPEN and not self.capped
        if not self._hold and (self.muted or self.phase is not Phase.SPEAKING):
            self._arm(Event.LONG_PRESS, self._talk.long_press_s)
        if self.link is Link.UP and self._talk.max_conversation_s:
            self._arm(Event.CONVERSATION_OVER, self._talk.max_conversation_s)
            self._last = False

    def _mute(self) -> None:
        self.muted = True
        self._disarm(Event.LONG_PRESS)  # a press from before does not unmute
        if self.link is not Link.UP:
            self._do(Action.CALL_OFF)
        elif self._ear.unsent:
            self._do(Action.CUT, Action.CALL_OFF)
        if self.phase in (Phase.ASLEEP, Phase.TROUBLE) and self.link is Link.DIALING:
            self._do(Action.ABORT)  # `open` was coming back, or words waited
            self.link = Link.CLOSING

    @property
    def _pending(self) -> bool:
        """An ended utterance has not been taken, and still may be."""
        called_off = self.muted and (self.link is not Link.UP or self._ear.unsent)
        return self._ear.pending and not called_off

    @property
    def _unanswered(self) -> bool:
        """What the agent has taken may still be answered, or said again to another session."""
        return self._ear.unanswered and not (self.muted and self.link is not Link.UP)

    def _unmute(self) -> None:
        if self.muted and self._talk.mode is Mode.OPEN:
            self._stands, self._stood = not self.capped, True
        self.muted = False

    def _do(self, *actions: Action) -> None:
        self._actions.extend(actions)

    def _arm(self, event: Event, after_s: float) -> None:
        self._deadlines[event] = self._now + after_s

    def _disarm(self, *events: Event) -> None:
        for event in events:
            self._deadlines.pop(event, None)

    @property
    def _hold(self) -> bool:
        return self._talk.mode is Mode.HOLD

    # ── the finger ───────────────────────────────────────────────────────────────────────────

    def _stay(self) -> None:
        """Nothing happens, and that is a decision."""

    def _begin(self) -> None:
        if self._talk.mode is Mode.OPEN:
            self._unmute()
        if self.muted:
            return  # the lamp says why
        if self.missing:
            self._leave()  # and the lamp says what is missing
            self._complain(self.trouble)
            return
        if self.capped and self.link is not Link.UP:
            self._leave()
            self._fail(Trouble.CAP_REACHED)
            return
        if not self._mouth.dry and self.phase is not Phase.SPEAKING:
            self._do(Action.CUT)
        self._listen()

    def _listen(self) -> None:
        self.phase, self.trouble = Phase.LISTENING, None
        self._disarm(*_IDLE, Event.THINK_OVER, Event.ECHO_OVER)
        self._began_s, self._ending, self._answers_earlier = self._now, False, False
        self._do(Action.LISTEN)
        if self.held and (self._hold or self.link is not Link.UP):
            self._cue(Action.CUE_LISTENING)
        if self._hold:
            self._arm(Event.TAP_OVER, self._talk.tap_s)
            self._arm(Event.TURN_FULL, self._talk.max_turn_s)
        else:
            self._do(Action.SEND)
            if self.link is Link.UP:
                self._arm(Event.QUIET_OVER, self._talk.hang_up_after_s)
        if self.link is Link.DOWN:
            self._dial()
        elif self.link is Link.CLOSING:
            self._do(Action.HURRY)
        if not self._hold and self.link is not Link.UP:
            self._arm(Event.WAIT_OVER, WAIT_S)

    def _dial(self) -> None:
        self._disarm(Event.REDIAL_DUE)
        self._again = False
        self.link = Link.DIALING
        self._do(Action.DIAL)
        if not self.armed(Event.TAP_OVER) or self._pending or self._asked:
            self._do(Action.UPGRADE)

    def _open_up(self) -> None:
        if self._is_to_stand:
            self._begin()

    def _go_on(self) -> None:
        """Pressed again within the tail: one utterance, not two."""
        self._disarm(Event.TAIL_OVER)

    def _append(self) -> None:
        """Pressed while words are with the agent, or still on their way to it."""
        if self.muted and self._talk.mode is not Mode.OPEN:
            return
        if self.link is Link.UP:
            self._do(Action.CUT, Action.DROP_SENT)
            self._stopped_s = self._now
        self._begin()

    def _interrupt(self) -> None:
        self._do(Action.CUT)
        self._stopped_s = self._now
        if self.missing or (self.muted and self._talk.mode is not Mode.OPEN):
            self._rest()
        else:
            self._begin()

    def _ask_mute(self) -> None:
        """A press while `open` listens."""
        if self.link is Link.DOWN:
            self._dial()
        self._ending = self.link is Link.UP and self._now - self._stopped_s >= GRACE_S

    def _mute_if_asked(self) -> None:
        if self._ending:
            self._ending = False
            self._mute()
            self._erase_turn()

    def _forget_all(self) -> None:
        """What was said is forgotten here, and there with the session."""
        self._ending = False
        self._do(Action.DISCARD, Action.DROP_ALL, Action.FORGET)
        self._leave()

    def _forget_soon(self) -> None:
        self._do(Action.FORGET)
        self._last = True

    def _ask(self) -> None:
        """Something is to be said to the agent, in words."""
        if self.missing & {Trouble.SPEAKER_MISSING}:
            self._leave()
            return
        if self.capped and self.link is not Link.UP:
            self._leave()
            self._fail(Trouble.CAP_REACHED)
            return
        self._asked = True
        self._disarm(*_IDLE)
        self.trouble = None
        self._await_answer()
        if self.link is Link.CLOSING:
            self._do(Action.HURRY)
        elif self.link is Link.UP:
            self._connected()

    def _decline(self) -> None:
        """Not while somebody talks; the command says so."""

    def _not_said(self) -> None:
        if not self._pending:
            self._settle()

    def _ask_end(self) -> None:
        """A press while `tap` listens: it acts when let go, so that a long one can mean more."""
        since_s = self._stopped_s if self.link is Link.UP else self._began_s
        self._ending = self._now - since_s >= GRACE_S

    def _end_conversation(self) -> None:
        if self._ending:
            self._do(Action.DISCARD, Action.DROP_ALL)
            self._leave()

    def _leave(self) -> None:
        """Go to sleep and let go of the connection, as far as there is one."""
        if self.link is Link.UP:
            self._do(Action.HANG_UP)
            self.link = Link.CLOSING
        elif self.link is Link.DIALING:
            self._do(Action.ABORT)
            self.link = Link.CLOSING
        self._sleep()

    def _end_turn(self) -> None:
        """Let go in `hold`."""
        if self.armed(Event.TAP_OVER):
            self._withdraw()
        elif self._mouth.withheld and not self._answers_earlier:
            self._play_withheld()
        else:
            self._arm(Event.TAIL_OVER, TAIL_S)

    def _withdraw(self) -> None:
        """It was only a tap: nothing was said."""
        self._disarm(*_TURN)
        if self._mouth.withheld:
            self._play_withheld()
            return
        self._do(Action.DISCARD)
        if self._mouth.discarding and self.link is Link.UP:
            self._do(Action.CALL_OFF)  # it stopped an answer, or one that was awaited
            self._settle()
        elif self._pending:
            self._await_answer()
        elif self.link is Link.UP:
            self._settle()
        else:
            self._leave()

    def _play_withheld(self) -> None:
        self._disarm(*_TURN)
        self._do(Action.PLAY, Action.DISCARD)
        self._speak()

    def _full(self) -> None:
        """The utterance is as long as one may be: a stuck button bills."""
        if self.armed(Event.TAP_OVER):  # a tap may be set to last longer than that
            self._commit()
        self._close_turn()

    def _close_turn(self) -> None:
        """The tail is over."""
        self._disarm(*_TURN)
        if self._mouth.withheld and not self._answers_earlier:
            self._play_withheld()
            return
        self._drop_withheld()
        self._do(Action.END)
        self._cue(Action.CUE_DONE)
        self._arm(Event.WAIT_OVER, WAIT_S)
        self._await_answer()
        if self.link is Link.DOWN and self.trouble is not None:
            self._complain(self.trouble, Action.PROMPT)

    def _drop_withheld(self) -> None:
        if self._mouth.withheld:
            self._do(Action.CUT)

    def _await_answer(self) -> None:
        self.phase = Phase.THINKING
        if not self.armed(Event.WAIT_OVER):
            self._arm(Event.WAIT_OVER, WAIT_S)
        if self.link is Link.DOWN and not self.armed(Event.REDIAL_DUE):
            self._dial()

    def _commit(self) -> None:
        """It is no tap: the sound may go, and the bill may begin."""
        self._do(Action.SEND, Action.UPGRADE)

    def _erase_turn(self) -> None:
        """Muted in the middle of it."""
        self._disarm(*_TURN, Event.WAIT_OVER)
        self._drop_withheld()
        self._erase()
        if self.link is Link.UP:
            self._settle()
        elif self._pending:
            self._await_answer()
        else:
            self._leave()

    def _erase(self) -> None:
        if self._ear.sent and (self._hold or self._ear.speaking):
            self._do(Action.ERASE, Action.CUT)
        else:
            self._do(Action.DISCARD)

    def _shut_ear(self) -> None:
        """Muted in `tap`, while the agent is at it."""
        if self._ear.speaking and self._ear.sent:
            self._do(Action.ERASE)
        else:
            self._do(Action.DISCARD)

    def _erase_words(self) -> None:
        """Muted before what was said has gone out."""
        self._shut_ear()
        if not self._asked and (self.link is not Link.UP or self._ear.unsent):
            self._settle()

    def _open_ear(self) -> None:
        if not self.missing:
            self._do(Action.LISTEN, Action.SEND)
            if self._echoes:
                self._do(Action.SHUT)

    def _reopen(self) -> None:
        """The room is quiet again, or the box may hear again as soon as it is."""
        if self._echoes:
            return
        if self.link is Link.UP and not self.muted and not self.missing:
            self.phase = Phase.LISTENING
            self._do(Action.LISTEN, Action.SEND)

    # ── the link ─────────────────────────────────────────────────────────────────────────────

    def _connected(self) -> None:
        if self._asked:
            self._asked = False
            self._do(Action.SAY)
            self._think_anew()
        elif self.phase is Phase.THINKING and self._unanswered and not self._pending:
            self._do(Action.ASK_AGAIN)
            self._think_anew()
        if not self._hold:
            self._disarm(Event.WAIT_OVER)
            if self.phase is Phase.LISTENING:
                self._arm(Event.QUIET_OVER, self._talk.hang_up_after_s)

    def _think_anew(self) -> None:
        self._disarm(Event.WAIT_OVER)
        self._thinking_since_s = self._now
        self._arm(Event.THINK_OVER, THINK_S)

    def _opened(self) -> None:
        """`open` is connected again, and nobody had pressed."""
        if self._is_to_stand:
            self._settle()
        else:
            self._not_wanted()

    @property
    def _is_to_stand(self) -> bool:
        return self._stands and not self.muted

    def _keep_standing(self) -> None:
        """`open` comes back by itself, if nothing else has asked for it."""
        if self._is_to_stand and self.link is Link.DOWN and not self.armed(Event.REDIAL_DUE):
            if self._again:
                self._again = False
                self._dial()
            else:
                self._arm_redial(Retry.BACKOFF)

    def _reconnected(self) -> None:
        if self._pending:
            self.trouble = None
            self._disarm(Event.TROUBLE_OVER)
            self._await_answer()
        else:
            self._not_wanted()

    @property
    def _standing(self) -> set[Event]:
        """What is not put off in `open`, whatever is shown meanwhile."""
        return {Event.REDIAL_DUE} if self._stands else set()

    def _not_wanted(self) -> None:
        self._do(Action.HANG_UP)
        self.link = Link.CLOSING

    def _dial_now(self) -> None:
        wanted = self.phase is Phase.LISTENING or self._pending or self._wants_words
        if self.link is Link.DOWN and (wanted or self._is_to_stand):
            self._dial()

    @property
    def _wants_words(self) -> bool:
        """Thinking of something that goes, or goes again, as words."""
        return self.phase is Phase.THINKING and (self._asked or self._unanswered)

    def _redial(self) -> bool:
        """Arm the next dial; False if it waits for a person."""
        assert self._why is not None
        if self._why.retry is Retry.ON_PRESS or self.capped:
            self._stands = False
            return False
        self._arm_redial(self._why.retry)
        return True

    def _arm_redial(self, retry: Retry) -> None:
        if retry is Retry.EACH_SECOND:
            delay_s = 1.0
        elif retry is Retry.AT_ONCE and not self._failures:
            delay_s = 0.0
        else:
            ceiling_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** min(self._failures, 10))
            delay_s = self._random() * ceiling_s
        self._failures += 1
        self._arm(Event.REDIAL_DUE, delay_s)

    def _keep_and_redial(self) -> None:
        assert self._why is not None
        wanted = self._hold or self._stands or self._ear.speaking or self._pending
        if wanted and self._redial():
            self.trouble = self._why  # told by `status`; the lamp goes on to say *listening*
            if not self._hold and not self.armed(Event.WAIT_OVER):
                self._arm(Event.WAIT_OVER, WAIT_S)
        elif not wanted and self._why in (Trouble.LINK_LOST, Trouble.GOING_AWAY):
            self._do(Action.DISCARD)
            self._sleep_unless_cut_short()
        else:
            self._disarm(*_TURN)
            self._drop_withheld()
            self._do(Action.END if self._hold else Action.DISCARD)
            self._fail(self._why)

    def _resend(self) -> None:
        assert self._why is not None
        wanted = self._pending or self._wants_words
        if wanted and self._redial():
            self.trouble = self._why
            if self._hold:
                self._complain(self._why, Action.PROMPT)
            self._disarm(Event.THINK_OVER)
            if not self.armed(Event.WAIT_OVER):
                self._arm(Event.WAIT_OVER, WAIT_S)
        else:
            if not self._hold:
                self._do(Action.DISCARD)
            self._fail(self._why)

    def _lost_in_trouble(self) -> None:
        assert self._why is not None
        self.trouble = self._why if self.trouble not in HARDWARE else self.trouble
        if self._pending or self._is_to_stand:
            self._redial()

    def _play_out(self) -> None:
        """What is here is played; `_rest` then finds no link."""
        self.trouble = self._why
        if self._mouth.dry:
            self._rest()

    def _fall_asleep(self) -> None:
        again, self._again = self._again, False
        if again and not self.muted:  # only renewed: nobody is to notice
            self._dial()
            return
        if not self._hold:
            self._do(Action.DISCARD)
        self._sleep_unless_cut_short()

    def _sleep_unless_cut_short(self) -> None:
        if self._why is Trouble.LINK_LOST and self._now - self._untold_s <= UNTOLD_S:
            self._fail(self._why)
        else:
            self._sleep()

    # ── the turn ─────────────────────────────────────────────────────────────────────────────

    def _expect_text(self) -> None:
        if self._pending:
            self._arm(Event.TEXT_LATE, TEXT_LATE_S)
            self._arm(Event.TEXT_MISSING, TEXT_MISSING_S)
        else:  # its text is here, and nothing else was sent
            self._disarm(Event.TEXT_LATE, Event.TEXT_MISSING, Event.WAIT_OVER)

    def _note_text(self) -> None:
        """Under a held button: of these words, if the agent did not wait for their end."""
        self._answers_earlier = not self._ear.heard_early
        self._expect_text()

    def _say_again(self) -> None:
        self._do(Action.END_AGAIN)

    def _forget_sent(self) -> None:
        self._do(Action.DROP_SENT)

    def _heard_nothing(self) -> None:
        self._do(Action.DROP_SENT)
        self._fail(Trouble.HEARD_NOTHING)

    def _give_up(self) -> None:
        """Nobody took the words in time."""
        if self._hold and self.phase is Phase.LISTENING:
            self._do(Action.DROP_SENT)  # an earlier utterance; this one goes on
            return
        self._do(Action.DISCARD, Action.DROP_ALL)
        self._leave()
        self._fail(Trouble.NO_CONNECTION)

    def _no_answer(self) -> None:
        self._fail(Trouble.NO_ANSWER)

    def _think(self) -> None:
        if self._mouth.discarding:  # the text of words whose answer is not wanted any more
            self._expect_text()
            return
        self.phase, self.trouble = Phase.THINKING, None
        self._disarm(*_IDLE, Event.TURN_FULL, Event.TEXT_LATE, Event.TEXT_MISSING)
        if not self._pending:
            self._disarm(Event.WAIT_OVER)
        self._thinking_since_s = self._now
        self._arm(Event.THINK_OVER, THINK_S)

    def _think_longer(self) -> None:
        due_s = self._deadlines.get(Event.THINK_OVER)
        if due_s is None:
            if not self._pending:  # taken without a text
                self._think()
        else:
            limit_s = self._thinking_since_s + THINK_MAX_S
            self._deadlines[Event.THINK_OVER] = min(due_s + THINK_MORE_S, limit_s)

    # ── the answer ───────────────────────────────────────────────────────────────────────────

    def _speak(self) -> None:
        if Trouble.SPEAKER_MISSING in self.missing:
            self._mouth_lost()
            return
        self.phase, self.trouble = Phase.SPEAKING, None
        self._disarm(*_IDLE, Event.THINK_OVER, Event.TURN_FULL)
        if not self._pending:
            self._disarm(Event.WAIT_OVER, Event.TEXT_LATE, Event.TEXT_MISSING)
        self._shut()

    def _speak_on(self) -> None:
        self._disarm(Event.SOUND_OVER)
        self._shut()

    def _shut(self) -> None:
        """In half duplex nobody is heard over an answer."""
        if self._shuts:
            self._disarm(Event.ECHO_OVER)
            self._do(Action.SHUT)

    def _await_quiet(self) -> None:
        """The last sample there was has left the card: the walls still have it."""
        if self._shuts:
            self._arm(Event.ECHO_OVER, ECHO_S)

    @property
    def _shuts(self) -> bool:
        return not self._hold and self._talk.half_duplex

    @property
    def _echoes(self) -> bool:
        """What the microphone hears now is, in half duplex, the box itself."""
        sounds = self.phase is Phase.SPEAKING and not self._mouth.dry
        return self._shuts and (sounds or self.armed(Event.ECHO_OVER))

    def _think_if_dry(self) -> None:
        """A text while the last answer may not be over: it is, if all of it has been played."""
        if self._mouth.dry:
            self._do(Action.FINISH)
            self._think()

    def _withhold(self) -> None:
        """Under a held button an answer waits; the answers know that and keep it."""

    def _hush(self) -> None:
        self._do(Action.CUT_BY_SERVER)

    def _hush_and_rest(self) -> None:
        self._do(Action.CUT_BY_SERVER)
        if self._pending:
            self._await_answer()
        else:
            self._rest()

    def _hush_and_listen(self) -> None:
        self._do(Action.CUT_BY_SERVER)
        if self._last:
            self._hang_up()
            return
        if self.muted or self.missing:
            self._rest()
            return
        self.phase, self.trouble = Phase.LISTENING, None
        self._disarm(*_IDLE, Event.THINK_OVER, Event.ECHO_OVER)
        self._do(Action.LISTEN, Action.SEND)
        self._mark()

    def _mark(self) -> None:
        """Somebody talks in `tap`."""
        self._do(Action.CUT_BY_SERVER, Action.MARK_SPEECH)
        self._disarm(Event.QUIET_OVER)
        self._arm(Event.TURN_FULL, self._talk.max_turn_s)

    def _end_if_dry(self) -> None:
        if self._mouth.dry:
            self._rest()

    def _end_if_done(self) -> None:
        if self._mouth.done or self.link is not Link.UP:
            self._rest()
        else:
            self._do(Action.PROVE)
            self._arm(Event.SOUND_OVER, SOUND_GAP_S)

    def _rest_untold(self) -> None:
        self._rest()
        self._untold_s = self._now

    def _rest_unheard(self) -> None:
        """The answer had no sound; but the end of a dead answer, or of none, says nothing."""
        if self.armed(Event.THINK_OVER) and not self._mouth.discarding:
            self._rest()

    def _rest(self) -> None:
        """Nobody talks any more: stay connected for a while, or go to sleep."""
        refused = (
            self.link is Link.DOWN
            and self.trouble is not None
            and self.trouble.retry is Retry.ON_PRESS
        )
        if self._pending and not refused:
            if self.phase is Phase.SPEAKING:
                self._do(Action.FINISH)
            self._disarm(*_IDLE, Event.THINK_OVER)
            self._await_answer()
        else:
            self._settle()

    def _settle(self) -> None:
        spoke = self.phase is Phase.SPEAKING
        if spoke:
            self._do(Action.FINISH)
        self._disarm(*_IDLE, *_AWAITING)
        if self.link is not Link.UP:
            self._end_unconnected(spoke=spoke)
        elif self._last:
            self._hang_up()
        else:
            self.phase, self.trouble = Phase.RESTING, None
            self._arm(Event.QUIET_OVER, self._talk.hang_up_after_s)
            if not self._hold:
                self._reopen()

    def _end_unconnected(self, *, spoke: bool) -> None:
        """The connection went while it spoke, or stayed away while the trouble showed."""
        why = self.trouble
        is_said = self._ear.speaking and not self.muted
        if not self._hold and self.link is Link.DIALING and is_said:
            self.phase = Phase.LISTENING  # it spoke before it took the settings
            self._arm(Event.WAIT_OVER, WAIT_S)
            return
        if not self._hold:
            self._do(Action.DISCARD)
        done = self._mouth.done
        self._leave()
        if spoke and not done and why is not None:
            self._fail(why)

    def _renew(self) -> None:
        """Between two turns: the next session is told what was said in this one."""
        if self.phase is Phase.LISTENING and self._ear.speaking:
            self._renew_later()
            return
        self._do(Action.HANG_UP)
        self.link, self._again = Link.CLOSING, True

    def _renew_later(self) -> None:
        self._arm(Event.RENEWAL_DUE, RENEWAL_AGAIN_S)

    def _hang_up_capped(self) -> None:
        if not self._hold:
            self._do(Action.DISCARD)
        self._do(Action.DROP_ALL)
        self._leave()
        self._fail(Trouble.CAP_REACHED)

    def _hang_up(self) -> None:
        if self.capped:
            self._hang_up_capped()
            return
        if not self._hold:
            self._do(Action.DISCARD)
        self._leave()

    def _hang_up_muted(self) -> None:
        if self.muted:
            self._hang_up()

    def _hang_up_after(self) -> None:
        """After what goes on; and a minute later whatever goes on."""
        if self.capped and self.link is Link.DOWN:
            self._disarm(*_TURN)
            self._do(Action.DISCARD)
            self._hang_up_capped()
        elif not self._last:
            self._last = True
            self._arm(Event.LAST_OVER, LAST_ANSWER_S)

    def _hang_up_now(self) -> None:
        self._disarm(*_TURN)
        self._do(Action.CUT, Action.DISCARD, Action.DROP_ALL)
        if self.capped:
            self._hang_up_capped()
        else:
            self._leave()

    def _cap_in_quiet(self) -> None:
        """In `tap` and `open` the box listens while nobody talks, and that costs."""
        if not self._hold and not self._ear.speaking:
            self._hang_up_capped()
        else:
            self._hang_up_after()

    def _lost_asleep(self) -> None:
        assert self._why is not None
        if self._is_to_stand and not self._redial():
            self._fail(self._why)

    # ── sleep and trouble ────────────────────────────────────────────────────────────────────

    def _sleep(self) -> None:
        """Asleep, or in trouble if there is nothing to wake up with."""
        kept = {Event.LONG_PRESS, Event.PERMISSION_OVER} | self._standing
        self._disarm(*(event for event in Event if event not in kept))
        self._ending = self._last = self._asked = False
        self.phase, self.trouble = Phase.ASLEEP, None
        for trouble in (Trouble.SPEAKER_MISSING, Trouble.MICROPHONE_MISSING):
            if trouble in self.missing:
                self.phase, self.trouble = Phase.TROUBLE, trouble
                return

    def _fail(self, trouble: Trouble) -> None:
        """Show it. A missing card shows until it is back."""
        self.phase, self.trouble = Phase.TROUBLE, trouble
        kept = {Event.CONVERSATION_OVER, Event.LAST_OVER, Event.RENEWAL_DUE} | self._standing
        kept |= {Event.LONG_PRESS, Event.ECHO_OVER}
        self._asked = False
        self._disarm(*(event for event in Event if event not in kept))
        if trouble not in HARDWARE:
            self._arm(Event.TROUBLE_OVER, SHOW_BRIEFLY_S if trouble in BRIEF else SHOW_S)
        self._complain(trouble)

    def _can_be_heard(self, action: Action) -> bool:
        return action in self._talk.audible and Trouble.SPEAKER_MISSING not in self.missing

    def _cue(self, action: Action) -> None:
        if self._can_be_heard(action):
            self._do(action)

    def _complain(self, trouble: Trouble | None, action: Action = Action.CUE_TROUBLE) -> None:
        """Let it be heard, where somebody is there to hear it."""
        if self._now - self._attended_s <= ATTENDED_S:
            self.complaint, self._unsaid = trouble, action
            if not self.held:
                self._say_unsaid()

    def _say_unsaid(self) -> None:
        """Say it now, if it still is so and nothing else sounds or is kept."""
        action, self._unsaid = self._unsaid, None
        if action is None or self.phase not in (Phase.THINKING, Phase.TROUBLE):
            return
        if self._can_be_heard(action):
            if not self._hold and self._talk.half_duplex and self.link is Link.UP:
                self._do(Action.SHUT)
            self._do(action)

    def _ear_lost(self) -> None:
        if self.phase is Phase.LISTENING:
            self._do(Action.DISCARD, Action.DROP_ALL)
        self._leave()
        self._complain(Trouble.MICROPHONE_MISSING)

    def _end_deaf(self) -> None:
        """The microphone went under a held button: what was heard so far is sent."""
        if self.armed(Event.TAP_OVER):
            self._withdraw()
        else:
            self._close_turn()
        self._complain(Trouble.MICROPHONE_MISSING)

    def _ear_back(self) -> None:
        if self.trouble is Trouble.MICROPHONE_MISSING:
            self._rest()

    def _mouth_lost(self) -> None:
        self._do(Action.CUT)
        if not self._hold:
            self._do(Action.DISCARD)
        self._do(Action.DROP_ALL)
        self._leave()

    def _mouth_back(self) -> None:
        if self.trouble is Trouble.SPEAKER_MISSING:
            self._rest()
