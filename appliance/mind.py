"""What each cell of the table does: the machine itself, a method for each cell. Pure.

`conversation.py` has the words, the table and the decisions; it is to be read first, and nothing
is decided here that is not said there.
"""

from collections.abc import Callable, Iterator

from appliance.conversation import (
    ATTENDED_S,
    BACKOFF_MAX_S,
    BACKOFF_MIN_S,
    BRIEF,
    DOUBT_S,
    ECHO_S,
    GRACE_S,
    HARDWARE,
    LAST_ANSWER_S,
    PERMISSION_S,
    RENEWAL_AGAIN_S,
    RENEWAL_S,
    SHOW_BRIEFLY_S,
    SHOW_S,
    SOUND_GAP_S,
    TABLE,
    TAIL_S,
    TEXT_LATE_S,
    TEXT_MISSING_S,
    THINK_MAX_S,
    THINK_MORE_S,
    THINK_S,
    UNTOLD_S,
    WAIT_S,
    Action,
    Ear,
    Event,
    Link,
    Mode,
    Mouth,
    Phase,
    Talk,
)
from appliance.errors import Retry, Trouble

# Deadlines that are let go together: of an utterance, its text, an awaited answer, a session, and
# of quiet and trouble.
_TURN = (Event.TAP_OVER, Event.TAIL_OVER, Event.TURN_FULL)
_TEXT = (Event.TEXT_LATE, Event.TEXT_MISSING)
_AWAITING = (Event.THINK_OVER, *_TEXT, Event.WAIT_OVER)
_SESSION = (Event.CONVERSATION_OVER, Event.LAST_OVER, Event.RENEWAL_DUE)
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
        self.is_telling: Callable[[], bool] = lambda: False  # the box itself speaks, or is about to
        self._told = False  # it did, when it was last asked
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
        self._in_doubt = False  # hangs up, unless the agent speaks of somebody
        self._forgotten = False  # but this session remembers
        self._asked = False  # there is something to say to the agent
        self._again = False  # dial again when the link is down: it was only renewed
        self._stands = False  # `open`: the link is wanted
        self._fault: Trouble | None = None  # and so it does not stand
        self._barred = False  # nor is dialled before a press
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
            self.asks_permission = self._ending = False
            self._disarm(Event.PERMISSION_OVER)
            self._do(Action.ALLOW)
            return self._actions
        if event in _ATTENDED:
            self._attended_s = now_s
        self._take_note(event)
        getattr(self, f"_{self._table[event][self.phase].name.lower()}")()
        self._keep_standing()
        self._keep_trouble()
        if self.link is Link.UP and self.phase is not Phase.TROUBLE:
            self.trouble = None  # what was wrong with the link is over
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
                self._want_link()
            case Event.CAP_REACHED | Event.CAP_LIFTED:
                self.capped = event is Event.CAP_REACHED
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
                self._fault, self._barred = None, False
                self._arm(Event.RENEWAL_DUE, RENEWAL_S)
                if self._talk.max_conversation_s:
                    self._arm(Event.CONVERSATION_OVER, self._talk.max_conversation_s)
            case Event.CONVERSATION_OVER | Event.TURN_FULL | Event.ENDED:
                self._stands = False  # somebody has to press again
            case Event.LINK_DOWN | Event.LINK_LOST:
                self.link = Link.DOWN
                self._fault = self._why or self._fault
                self.asks_permission = False
                self._disarm(Event.PERMISSION_OVER, *_TEXT, *_SESSION)
                self._last = self._forgotten = False
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
        self._want_link()
        if not self._hold and (self.muted or self.phase is not Phase.SPEAKING):
            self._arm(Event.LONG_PRESS, self._talk.long_press_s)
        if self.link is Link.UP and self._talk.max_conversation_s:
            self._arm(Event.CONVERSATION_OVER, self._talk.max_conversation_s)
        if not self.capped and not self._forgotten:
            self._last = False
            self._disarm(Event.LAST_OVER)

    def _want_link(self) -> None:
        """In `open`, at its start or by a person: what was wrong is to be seen anew."""
        self._stands, self._fault, self._barred = self._talk.mode is Mode.OPEN, None, False

    def _mute(self) -> None:
        self.muted = True
        self._disarm(Event.LONG_PRESS)  # a press from before does not unmute
        if self.link is not Link.UP:
            self._do(Action.CALL_OFF)
        elif self._ear.unsent:
            self._do(Action.CUT, Action.CALL_OFF)
            if self.phase is Phase.SPEAKING:
                self._settle()
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
        if self.muted:
            self._want_link()
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
            self._leave_missing()
            return
        if not self._mouth.dry and self.phase is not Phase.SPEAKING:
            self._do(Action.CUT)
        if self.capped:
            self._hang_up_capped()
            return
        if self._forgotten and self.link is Link.UP:
            self._do(Action.HANG_UP)
            self.link = Link.CLOSING
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
                self._count_down()
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
        else:
            self._show_cap()

    def _show_cap(self) -> None:
        if self._lasting is Trouble.CAP_REACHED:
            self._fail(Trouble.CAP_REACHED)

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
        self._last = self._forgotten = True

    def _ask(self) -> None:
        """Something is to be said to the agent, in words."""
        if self.missing & {Trouble.SPEAKER_MISSING}:
            self._leave()
            return
        if self.capped:
            self._hang_up_capped()
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

    def _close_ear(self) -> None:
        """In `tap` and `open` it may be open outside of a turn."""
        if not self._hold:
            self._do(Action.DISCARD)

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
                self._count_down()

    def _think_anew(self) -> None:
        self._disarm(Event.WAIT_OVER)
        self._thinking_since_s = self._now
        self._arm(Event.THINK_OVER, THINK_S)

    def _opened(self) -> None:
        """`open` is connected again, and nobody had pressed."""
        (self._settle if self._is_to_stand else self._not_wanted)()

    @property
    def _is_to_stand(self) -> bool:
        hindered = self._barred or self.capped or self.muted or self.missing
        return self._stands and not hindered

    @property
    def _lasting(self) -> Trouble | None:
        """Why `open` is not connected. It shows until it is: nobody presses to learn it."""
        if not self._stands or self.muted or self.missing:
            return None
        return Trouble.CAP_REACHED if self.capped else self._fault

    def _keep_trouble(self) -> None:
        """Any other ends by itself, but for a missing card."""
        lasts = self.trouble in {self._lasting, *HARDWARE} or self.armed(Event.TROUBLE_OVER)
        if self.phase is Phase.TROUBLE and not lasts:
            self._arm(Event.TROUBLE_OVER, SHOW_S)

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
        if self.capped:
            self._hang_up_after()
        elif self.link is Link.DOWN and (wanted or self._is_to_stand):
            self._dial()

    @property
    def _wants_words(self) -> bool:
        """Thinking of something that goes, or goes again, as words."""
        return self.phase is Phase.THINKING and (self._asked or self._unanswered)

    def _redial(self) -> bool:
        """Arm the next dial; False if it waits for a person."""
        assert self._why is not None
        self._barred = self._why.retry is Retry.ON_PRESS
        if self._barred or self.capped:
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
        is_said = self._ear.speaking or self._ear.unheard
        wanted = self._hold or self._is_to_stand or is_said or self._pending
        if wanted and self._redial():
            self.trouble = self._why  # told by `status`; the lamp goes on to say *listening*
            self._disarm(Event.QUIET_OVER)
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
            self._close_ear()
            self._fail(self._why)

    def _lost_in_trouble(self) -> None:
        assert self._why is not None
        self.trouble = self._why if self.trouble not in HARDWARE else self.trouble
        self._close_ear()  # the lamp does not say that anybody listens
        if self._pending or self._is_to_stand:
            self._redial()

    def _play_out(self) -> None:
        """What is here is played; `_rest` then finds no link."""
        self.trouble = self._why
        if self._mouth.dry:
            self._rest()

    def _fall_asleep(self) -> None:
        again, self._again = self._again, False
        if again and not self.muted and not self.capped:  # only renewed: nobody is to notice
            self._dial()
            return
        self._close_ear()
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
            self._disarm(*_TEXT, Event.WAIT_OVER)

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
        self._fault = self._fault or Trouble.NO_CONNECTION
        self._fail(Trouble.NO_CONNECTION)

    def _no_answer(self) -> None:
        self._fail(Trouble.NO_ANSWER)

    def _think(self) -> None:
        if self._mouth.discarding:  # the text of words whose answer is not wanted any more
            self._expect_text()
            return
        self.phase, self.trouble = Phase.THINKING, None
        self._disarm(*_IDLE, *_TEXT, Event.TURN_FULL)
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
            self._disarm(*_TEXT, Event.WAIT_OVER)
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

    def _rest_once_said(self) -> None:
        """In `tap` and `open` the microphone opens then, and that would cut the sentence off."""
        was_telling, self._told = self._told, not self._hold and self.is_telling()
        if self._told or was_telling:
            self._arm(Event.TROUBLE_OVER, ECHO_S)  # the walls still have it
        else:
            self._rest()

    def _rest(self) -> None:
        """Nobody talks any more: stay connected for a while, or go to sleep."""
        waits = self.trouble is not None and self.trouble.retry is Retry.ON_PRESS
        refused = self.link is Link.DOWN and (waits or self.capped)
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
        elif self.missing:
            self._leave_missing()
        else:
            self.phase, self.trouble = Phase.RESTING, None
            self._count_down()
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
        self._close_ear()
        done = self._mouth.done
        (self._sleep if self._is_to_stand else self._leave)()  # who comes back goes on with it
        if spoke and not done and why is not None:
            self._fail(why)

    def _renew(self) -> None:
        """Between two turns: the next session is told what was said in this one."""
        if self.phase is Phase.LISTENING and self._ear.speaking:
            self._renew_later()
            return
        self._do(Action.HANG_UP)
        self.link, self._again = Link.CLOSING, True
        if self.phase is Phase.LISTENING:  # what is said meanwhile is kept
            self._disarm(Event.QUIET_OVER)
            self._arm(Event.WAIT_OVER, WAIT_S)

    def _renew_later(self) -> None:
        self._arm(Event.RENEWAL_DUE, RENEWAL_AGAIN_S)

    def _hang_up_capped(self) -> None:
        self._close_ear()
        self._do(Action.DROP_ALL)
        self._leave()
        self._fail(Trouble.CAP_REACHED)

    def _hang_up(self) -> None:
        if self.capped:
            self._hang_up_capped()
            return
        self._close_ear()
        self._leave()

    def _count_down(self) -> None:
        self._in_doubt = False
        self._arm(Event.QUIET_OVER, self._talk.hang_up_after_s)

    def _hang_up_if_quiet(self) -> None:
        if self._in_doubt or not self._ear.unheard:
            self._hang_up()
            return
        self._in_doubt = True
        self._do(Action.PROVE)
        self._arm(Event.QUIET_OVER, DOUBT_S)

    def _hang_up_muted(self) -> None:
        if self.muted:
            self._hang_up()

    def _hang_up_after(self) -> None:
        """After what goes on; and a minute later whatever goes on."""
        if self.capped and self.link is Link.DOWN and self.phase is not Phase.SPEAKING:
            self._disarm(*_TURN)
            self._do(Action.DISCARD)
            self._hang_up_capped()
        elif not self._last:
            self._last = True
            self._arm(Event.LAST_OVER, LAST_ANSWER_S)

    def _hang_up_now(self) -> None:
        self._disarm(*_TURN)
        self._do(Action.CUT, Action.DISCARD, Action.DROP_ALL)
        self._hang_up()

    def _cap_in_quiet(self) -> None:
        """In `tap` and `open` the box listens while nobody talks, and that costs."""
        if not self._hold and not self._ear.speaking:
            self._hang_up_capped()
        else:
            self._hang_up_after()

    def _lost_asleep(self) -> None:
        assert self._why is not None
        if self._is_to_stand:
            self._redial()
            self._fail(self._why)

    # ── sleep and trouble ────────────────────────────────────────────────────────────────────

    def _sleep(self) -> None:
        """Asleep, or in trouble if something keeps it from being as it is to be."""
        kept = {Event.LONG_PRESS, Event.PERMISSION_OVER} | self._standing
        self._disarm(*(event for event in Event if event not in kept))
        self._ending = self._last = self._forgotten = self._asked = False
        cards = (Trouble.SPEAKER_MISSING, Trouble.MICROPHONE_MISSING)
        self.trouble = next((it for it in cards if it in self.missing), self._lasting)
        self.phase = Phase.ASLEEP if self.trouble is None else Phase.TROUBLE

    def _fail(self, trouble: Trouble) -> None:
        """Show it; `_keep_trouble` knows for how long."""
        self.phase, self.trouble = Phase.TROUBLE, trouble
        kept = {*_SESSION, Event.LONG_PRESS, Event.ECHO_OVER} | self._standing
        self._asked = False
        self._disarm(*(event for event in Event if event not in kept))
        if trouble in BRIEF:
            self._arm(Event.TROUBLE_OVER, SHOW_BRIEFLY_S)
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

    def _leave_missing(self) -> None:
        """A card went in a turn that is over now: nobody pays for a box that cannot talk."""
        self._close_ear()
        self._leave()  # and the lamp says what is missing
        self._complain(self.trouble)

    def _ear_lost(self) -> None:
        if self.phase is Phase.LISTENING:
            self._do(Action.DISCARD, Action.DROP_ALL)
        self._leave_missing()

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
        self._close_ear()
        self._do(Action.DROP_ALL)
        self._leave()

    def _mouth_back(self) -> None:
        if self.trouble is Trouble.SPEAKER_MISSING:
            self._rest()
