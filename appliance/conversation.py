"""READ SECOND. What the box does, whatever happens: phases, events, actions, and the one table.

Rule 1: everything that changes the phase is a cell of `TABLE`. Every cell is written, also those
in which nothing happens, so that each of them is a decision. `README.md` prints it.

Rule 2: what decides is pure. Time comes in as an argument and goes out as `next_deadline_s`;
randomness is handed in; sound never passes through. `Conversation.handle` (`mind.py`: a method for
each cell) is told what happened and answers with what is to be done, in order; the daemon does it
before anything else happens.

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
    for 3 s, and where the microphone opens then, until its sentence has been said. A missing
    microphone or speaker shows until it is back.
  * In `open` nobody presses to learn why nobody answers. So while its link is to stand and does
    not, what was last wrong with it shows until it stands, somebody presses or mutes; and the cap
    as long as the money is spent, from the start on. In `hold` and `tap` the box that failed, or is
    capped, is asleep after 30 s, and dark: nothing is open and nothing waits; a press tells again.
  * Without a card nobody rests: when the turn is over the box hangs up, in `tap` and `open` at once
    if it only listens. `open` dials again when the card is back, and not before.
  * Backoff starts anew with a press and with an answer that was played, not with a connection that
    merely came to stand: a server that accepts and then fails is not dialled in a loop.
  * An answer withheld under a held button that belongs to an earlier utterance (its text came
    meanwhile) gives way to the new one when the button is let go.
  * `ask` and `say` wake an asleep box, as a press would; while somebody talks they are declined.
  * `forget` in the middle of a turn forgets at once and hangs up after the answer, or at the next
    press, which dials anew: the agent's own memory of it ends only with the session.
  * A press while the box asks for a permission gives it, and means nothing else.
  * Muted, what was said before and not sent is not sent either, nor sent again on another
    connection. Who was heard whole is still answered.
  * A finger can always unmute: in `open` any press does, in `tap` a long one, which then means
    nothing else; in `hold` a double press, which `fingers.py` knows.
  * In `open` a muted box hangs up after `hang_up_after_s` and dials nothing, from its start on.
  * A conversation that is full hangs up after the answer, or a minute later whatever goes on; but a
    press goes on with it. Not at the cap: there a press silences the box and hangs up.
  * An answer that dries up before its end was told may mean that nobody is there any more: the
    far end has to prove itself. It counts as over after 1.5 s, as the design has it; but if the
    connection turns out to be dead within 10 s of that, it was lost while it spoke, and the box
    says so instead of falling asleep in silence over half an answer.
  * In `tap` words are known from the agent, which says that somebody speaks; over a link that is
    lost or dead it says nothing. So the box listens for itself: sound that is no silence, sent in
    the last 7 s, is reason enough to dial again, and to wait 4 s before it hangs up out of quiet,
    once, while the far end has to prove itself.
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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from types import MappingProxyType
from typing import Protocol

from appliance.errors import Trouble

TAIL_S = 0.2  # last syllables: what the microphone still hears after the release
TEXT_LATE_S = 2.5  # no text of an ended turn: its end is said once more
TEXT_MISSING_S = 6.0  # no text at all: the agent heard nothing
THINK_S = 15.0  # from the user's text to the first sound
THINK_MORE_S = 5.0  # for each sign that the agent is still at it
THINK_MAX_S = 60.0
WAIT_S = 30.0  # an ended utterance waits so long for a connection and to be taken
SOUND_GAP_S = 1.5  # an answer without its end: so long after the last sample it is over
DOUBT_S = 4.0  # words that begin as the box hangs up: until the agent must have spoken of them
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
    def unheard(self) -> bool:
        """The open utterance holds what may be speech, and the agent has not spoken of it."""

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
    """What an event does in a phase. The name is its method in `mind.py`, the value its words."""

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
    OPEN_UP = "listen, dial, if it is to be open; at the cap: trouble"
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
    REST_ONCE_SAID = "rest, once it has been said"
    REST_UNTOLD = "rest, its end was not told"
    HANG_UP = "hang up, sleep"
    HANG_UP_IF_QUIET = "hang up, sleep; if somebody seems to speak, 4 s later"
    HANG_UP_AFTER = "hang up after the answer"
    HANG_UP_NOW = "silence, hang up"
    CAP_IN_QUIET = "hang up after the turn; trouble: cap reached"
    LOST_ASLEEP = "trouble, redial, if it is to be open"
    SHOW_CAP = "trouble: cap reached, if it is to be open"
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
    E.TROUBLE_OVER:     (_,             _,                 _,               _,               _,               C.REST_ONCE_SAID),
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
    E.SPEAKER_LOST:     (C.MOUTH_LOST,  _,                 _,               C.MOUTH_LOST,    C.MOUTH_LOST,    _),
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
    E.QUIET_OVER:       (_,             C.HANG_UP_IF_QUIET, _,              _,               C.HANG_UP,       _),
    E.CONVERSATION_OVER: (_,            C.HANG_UP,         C.HANG_UP_AFTER, C.HANG_UP_AFTER, C.HANG_UP,       C.HANG_UP_AFTER),
    E.MICROPHONE_LOST:  (C.EAR_LOST,    C.EAR_LOST,        _,               _,               C.EAR_LOST,      _),
    E.MICROPHONE_FOUND: (_,             _,                 _,               _,               _,               C.EAR_BACK),
    E.SPEAKER_LOST:     (C.MOUTH_LOST,  C.MOUTH_LOST,      _,               C.MOUTH_LOST,    C.MOUTH_LOST,    _),
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
    E.CAP_REACHED:      (C.SHOW_CAP,    C.CAP_IN_QUIET,    C.HANG_UP_AFTER, C.HANG_UP_AFTER, C.HANG_UP_CAPPED, C.HANG_UP_AFTER),
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
