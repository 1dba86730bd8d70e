"""What waits to be played, and what may never be played again. Pure.

Sound comes without a name: nothing in either dialect says which answer a frame belongs to. So a
*cut* (a press, or the agent's word that the user speaks) empties the queue and closes a latch:
what comes then belongs to the dead answer, until one of

  * the text of an utterance later than the cut;
  * a new connection;
  * ten seconds without any sound;
  * the assistant text after our own words to it;
  * only once the agent has said that the user speaks, and so has stopped by itself: its next
    `AgentStartedSpeaking` or assistant text.

`AgentAudioDone` ends no cut: it may be the dead answer's own, or never come. (410 kB of a stopped
answer were seen to arrive over 14 s.)

Everything that arrives is taken at once, whatever its length: the receive loop must not wait for
the speaker, or the very message that should silence it would queue behind the sound.

An answer flows when `prebuffer_s` of it are here beside the newest piece (for as long as a piece
is, nothing comes), when it is here whole, or when its first sound is `prebuffer_s` old; then it
flows on for as long as the card has sound of it left. When the card has to play silence before
its end it is prebuffered anew, so that one gap in the network is one gap in the sound.
"""

from collections import deque
from enum import Enum, auto

from appliance.errors import AgentLost, Trouble
from appliance.sound.pcm import Format

QUIET_ENDS_CUT_S = 10.0
PIECE_BYTES = 4096
LIMIT_S = 600.0  # sound that waits; an agent that sends more is broken


class Heard(Enum):
    """What became of a piece of sound."""

    DISCARDED = auto()  # of a dead answer
    WITHHELD = auto()  # the first of an answer that waits, because the button is held
    BEGAN = auto()  # the first of an answer, or of what follows a gap
    MORE = auto()


class Answers:
    """The queue towards the speaker. Nothing here waits; times are seconds of one clock."""

    def __init__(self, form: Format, *, prebuffer_s: float = 0.06) -> None:
        self.done = False  # the last byte of what sounds has been sent
        self.sounding = False  # something waits, or has not left the card yet
        self.discarded_bytes = 0
        self.received_bytes = 0  # of the present answer,
        self.read_bytes = 0  # and how much of it was given to the card
        self.gaps = 0  # silences within answers
        self._form = form
        self._prebuffer_s = prebuffer_s
        self._queue: deque[memoryview] = deque()
        self._waiting = 0
        self._newest = 0  # bytes of the newest piece
        self._carry = b""  # half a frame: odd byte counts do arrive
        self._flows = False
        self._withholding = False
        self._began_s = 0.0
        self._last_sound_s = 0.0
        self._cut_after: int | None = None  # no text up to this utterance ends the cut
        self._stopped_itself = False
        self.retune(form)

    def retune(self, form: Format) -> None:
        """The wire has another rate from now on. Nothing sounds or waits."""
        assert self.dry
        self.discarded_bytes = form.bytes_of(self._form.seconds_of(self.discarded_bytes))
        self._form = form
        self._prebuffer = form.bytes_of(self._prebuffer_s)
        self._clear()

    # ── what is asked ────────────────────────────────────────────────────────────────────────

    @property
    def is_own(self) -> bool:
        """The box itself sounds: never here, see `voice`."""
        return False

    @property
    def discarding(self) -> bool:
        """Sound that comes now belongs to a dead answer."""
        return self._cut_after is not None

    @property
    def withheld(self) -> bool:
        """An answer waits for the button to be let go."""
        return self._withholding and self._waiting > 0

    @property
    def dry(self) -> bool:
        """Nothing waits, and the last sample has left the card."""
        return not self.sounding and not self._waiting

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that wait to be written to the card."""
        return self._form.seconds_of(self._waiting)

    # ── the agent's side ─────────────────────────────────────────────────────────────────────

    def hear(self, sound: bytes, now_s: float) -> Heard:
        """Take a piece of sound of any length, odd ones too.

        Raises:
            AgentLost: more than ten minutes wait.
        """
        quiet_s, self._last_sound_s = now_s - self._last_sound_s, now_s
        if self.discarding and quiet_s >= QUIET_ENDS_CUT_S:
            self._end_cut()
        if self.discarding:
            self.discarded_bytes += len(sound)
            return Heard.DISCARDED
        sound = self._carry + sound
        whole = len(sound) - len(sound) % self._form.frame_bytes
        self._carry = sound[whole:]
        began = not self.sounding and not self._waiting
        self.received_bytes += whole
        if whole:
            self._newest = whole
            self._keep(sound[:whole])
            self._waiting += whole
            self.done = False
        if self.waiting_s > LIMIT_S:
            self.cut(now_s, after=0)
            raise AgentLost(
                Trouble.GARBAGE, f"more than {LIMIT_S:.0f} s of sound wait to be played"
            )
        if not self._flows and self._waiting == whole:
            self._began_s = now_s
        if not whole or not began:
            return Heard.MORE
        if self._withholding:
            return Heard.WITHHELD
        self.sounding = True
        return Heard.BEGAN

    def _keep(self, sound: bytes) -> None:
        """Small pieces grow together: bounded are the bytes, not the pieces."""
        if self._queue and len(self._queue[-1]) + len(sound) <= PIECE_BYTES:
            sound = bytes(self._queue.pop()) + sound
        self._queue.append(memoryview(sound))

    def cut(self, now_s: float, *, after: int) -> None:
        """Stop: forget what waits, and let nothing of this answer in again.

        Args:
            now_s: now.
            after: the number of the newest utterance said before; only a later one's text ends it.
        """
        self._forget(now_s)
        self._cut_after, self._stopped_itself = after, False

    def cut_by_server(self, now_s: float) -> None:
        """Stop, because the agent says that the user speaks; it has stopped by itself."""
        self._forget(now_s)
        self._cut_after, self._stopped_itself = self._cut_after or 0, True

    def _forget(self, now_s: float) -> None:
        self._last_sound_s = now_s
        self._clear()

    def _clear(self) -> None:
        self._queue.clear()
        self._waiting, self._carry = 0, b""
        self.received_bytes = self.read_bytes = 0
        self.sounding = self.done = self._flows = False

    def _end_cut(self) -> None:
        self._cut_after, self._carry = None, b""

    def user_text(self, of_utterance: int) -> None:
        """The user's text of that utterance: what comes now answers it."""
        if self._cut_after is not None and of_utterance > self._cut_after:
            self._end_cut()

    def agent_turns(self) -> None:
        """`AgentStartedSpeaking` or assistant text: a new answer, if the old one is known dead."""
        if self._stopped_itself:
            self._end_cut()

    def expect_words(self) -> None:
        """The agent is to say something for us: its next text is that, not a dead answer's."""
        self._stopped_itself = True

    def new_connection(self) -> None:
        """Nothing of an earlier connection can arrive any more. What is here may still sound."""
        self._end_cut()

    def sent_whole(self) -> None:
        """`AgentAudioDone`: the last byte is here, unless it is a dead answer's."""
        if not self.discarding:
            self.done, self._carry = True, b""

    # ── the button's side ────────────────────────────────────────────────────────────────────

    def withhold(self) -> None:
        """From now on answers wait: the button is held."""
        self._withholding = True

    def release(self, now_s: float) -> None:
        """What was withheld begins."""
        self._withholding = False
        self._began_s = now_s
        if self._waiting:
            self.sounding = True

    def drop_withheld(self) -> None:
        """The button is let go, and what was withheld is not wanted."""
        if self._withholding:
            self._withholding = False
            self._clear()

    # ── the speaker's side ───────────────────────────────────────────────────────────────────

    def flows(self, now_s: float) -> bool:
        """Whether there is sound that may be played now."""
        if self._withholding or not self._waiting:
            return False
        newest = min(self._newest, self._prebuffer)
        enough = self._waiting - newest >= self._prebuffer or self.done
        self._flows = self._flows or enough or now_s >= self._began_s + self._prebuffer_s
        return self._flows

    @property
    def flows_s(self) -> float:
        """When sound that waits will flow, should nothing more come; infinity if none waits."""
        if self._withholding or not self._waiting:
            return float("inf")
        return self._began_s + self._prebuffer_s

    def read(self, limit_bytes: int) -> bytes:
        """Up to so many bytes, whole frames, and step past them."""
        pieces: list[memoryview] = []
        left = limit_bytes - limit_bytes % self._form.frame_bytes
        while left and self._queue:
            piece = self._queue.popleft()
            if len(piece) > left:
                self._queue.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        sound = b"".join(pieces)
        self._waiting -= len(sound)
        self.read_bytes += len(sound)
        return sound

    def starve(self) -> None:
        """Nothing flowed in time: the card is given silence."""
        self.gaps += self._flows and not self.done
        self._flows = False

    def played(self) -> None:
        """The last sample has left the card."""
        if not self._waiting:
            self.sounding = self._flows = False
            if self.done:
                self.received_bytes = self.read_bytes = 0
