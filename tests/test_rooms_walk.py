"""The conversation with the real utterances and answers, led at random through what may happen.

`test_conversation.py` walks with an ear and a mouth that say what they like. Here they are the
rooms themselves, so that what the lamp says can be held against what is kept, sent and heard.
"""

import random
from collections.abc import Callable
from itertools import count

import pytest

from appliance.conversation import HARDWARE, Action, Event, Link, Mode, Phase, Talk
from appliance.errors import Trouble
from appliance.mind import Conversation
from appliance.sound.answer import Answers, Heard
from appliance.sound.pcm import Format
from appliance.sound.utterance import EndOfTurn, Utterances

FORM = Format(16000)
STEPS = 150
OF_THE_LINK = sorted(set(Trouble) - HARDWARE, key=lambda it: it.slug)
TICK_S = 0.3
WAITS_S = (0.05, 0.25, 0.5, 1.0, 3.0, 10.0, 31.0, 70.0)
AT_ANY_TIME = (
    *(Event.PRESSED, Event.RELEASED) * 3,
    *(Event.MUTED, Event.UNMUTED, Event.FORGOTTEN, Event.ENDED, Event.CAP_REACHED),
    *(Event.MICROPHONE_LOST, Event.MICROPHONE_FOUND) * 2,
    *(Event.SPEAKER_LOST, Event.SPEAKER_FOUND) * 2,
)
PLAIN_NEWS = (
    *(Event.USER_SPOKE, Event.STILL_THINKING),
    *(Event.THINK_FAILED, Event.SAY_REFUSED),
)


class World:
    """A box without cards and without a network, and whatever befalls it."""

    def __init__(self, mode: Mode, seed: int) -> None:
        self.mode = mode
        self.chance = random.Random(seed)
        self.now_s = 100.0
        self.ear = Utterances(FORM, streams=mode is not Mode.HOLD)
        self.mouth = Answers(FORM)
        self.talk = Conversation(Talk(mode=mode), self.ear, self.mouth, random=self.chance.random)
        self.has_socket = self.is_allowed = False
        self.is_stuck = False  # the network takes nothing
        if mode is Mode.OPEN:
            self.tell(Event.STARTED)

    def tell(self, event: Event, why: Trouble | None = None) -> None:
        self.ear.expire(self.now_s)
        for action in self.talk.handle(event, self.now_s, why):
            self.do(action)
        self.mind_promises()

    def do(self, action: Action) -> None:
        """As the daemon does it."""
        ear, mouth, now_s = self.ear, self.mouth, self.now_s
        match action:
            case Action.CUT:
                mouth.cut(now_s, after=ear.newest_ended)
            case Action.CUT_BY_SERVER:
                mouth.cut_by_server(now_s)
            case Action.PLAY:
                mouth.release(now_s)
            case Action.LISTEN:
                ear.begin(sendable=False)
                if self.mode is Mode.HOLD:
                    mouth.withhold()
            case Action.DISCARD:
                ear.discard()
                mouth.drop_withheld()
            case Action.END | Action.ERASE:
                ear.end(now_s, erase_unsent=action is Action.ERASE)
                mouth.drop_withheld()
            case Action.SHUT | Action.HEAR:
                ear.shut = action is Action.SHUT
            case Action.DIAL:
                assert not self.has_socket, "two sockets at once"
                assert not self.talk.capped, "dialled for money that is spent"
                self.has_socket, self.is_allowed = True, False
                mouth.new_connection()
                ear.new_connection()
            case Action.UPGRADE:
                self.is_allowed = True
            case _:
                plain = {
                    Action.SEND: ear.send,
                    Action.MARK_SPEECH: ear.mark_speech,
                    Action.CALL_OFF: ear.call_off,
                    Action.DROP_SENT: ear.drop_sent,
                    Action.DROP_ALL: ear.drop_all,
                    Action.END_AGAIN: ear.pass_on,
                }
                plain.get(action, lambda: None)()

    # ── what must be so ──────────────────────────────────────────────────────────────────────

    def mind_promises(self) -> None:
        talk, phase, keeps = self.talk, self.talk.phase, self.ear.is_open
        if self.mode is Mode.HOLD:
            assert keeps is (phase is Phase.LISTENING)
        assert keeps or phase is not Phase.LISTENING, "listens, and keeps nothing"
        assert not (keeps and talk.muted), "hears while it is muted"
        if talk.link in (Link.DOWN, Link.CLOSING):
            assert not (keeps and phase in (Phase.ASLEEP, Phase.TROUBLE)), "keeps it for nobody"
        assert phase is Phase.SPEAKING or not self.mouth.sounding, f"sounds while {phase}"
        if phase is Phase.SPEAKING:
            assert self.mouth.sounding or talk.armed(Event.SOUND_OVER), "speaks for ever"
        if phase is Phase.THINKING:
            assert talk.armed(Event.THINK_OVER) or talk.armed(Event.WAIT_OVER) or self.ear.pending
            assert talk.next_deadline_s < float("inf"), "thinks for ever"
        if talk.link is Link.UP and phase is not Phase.TROUBLE:
            assert talk.trouble is None
        if talk.link is Link.DOWN and phase in (Phase.LISTENING, Phase.THINKING):
            assert talk.armed(Event.REDIAL_DUE), "waits for a link that nobody makes"
        if talk.link is Link.DIALING and not self.is_allowed:
            assert talk.armed(Event.TAP_OVER), "will never be allowed to connect"

    # ── what befalls it ──────────────────────────────────────────────────────────────────────

    def step(self) -> None:
        self.chance.choice(self.possible())()

    def possible(self) -> list[Callable[[], object]]:
        link = self.talk.link
        steps: list[Callable[[], object]] = []
        steps += [self.wait] * 5 + [self.finger] * 12
        if self.talk.phase in (Phase.ASLEEP, Phase.RESTING, Phase.TROUBLE):
            steps.append(lambda: self.tell(Event.ASKED))
        if self.talk.capped:
            steps.append(lambda: self.tell(Event.CAP_LIFTED))
        if link is Link.DIALING and self.is_allowed:
            steps += [self.connect] * 6
        if link in (Link.DIALING, Link.UP):
            steps.append(self.lose)
        if link is Link.CLOSING:
            steps += [self.close] * 4
        if link is Link.UP:
            steps += [self.text] * 4 + [self.sound] * 5 + [self.sent_whole] * 3 + [self.news] * 5
            steps += [self.send, self.jam, self.mouth.agent_turns]
        if self.mouth.sounding:
            steps += [self.play_all] * 5
        return steps

    def finger(self) -> None:
        self.tell(self.chance.choice(AT_ANY_TIME))

    def news(self) -> None:
        self.tell(self.chance.choice(PLAIN_NEWS))

    def wait(self) -> None:
        end_s = self.now_s + self.chance.choice(WAITS_S)
        while self.now_s < end_s:
            before_s = self.now_s
            next_s = min(end_s, self.talk.next_deadline_s, self.now_s + TICK_S)
            self.now_s = max(next_s, before_s)
            if self.ear.is_open:
                self.ear.hear(bytes(FORM.bytes_of(self.now_s - before_s)), self.now_s)
            for event in self.talk.due(self.now_s):
                self.tell(event)
            self.send()

    def send(self) -> None:
        while self.talk.link is Link.UP and not self.is_stuck:
            piece = self.ear.read(1280, self.now_s)
            if piece is None:
                return
            if isinstance(piece, EndOfTurn):
                self.tell(Event.TURN_SENT)

    def jam(self) -> None:
        self.is_stuck = not self.is_stuck

    def connect(self) -> None:
        self.ear.new_connection()
        self.tell(Event.LINK_UP)

    def lose(self) -> None:
        self.has_socket = False
        self.tell(Event.LINK_LOST, self.chance.choice(OF_THE_LINK))

    def close(self) -> None:
        self.has_socket = False
        self.tell(Event.LINK_DOWN)

    def text(self) -> None:
        self.mouth.user_text(self.ear.take(by_text=True, now_s=self.now_s))
        self.tell(Event.USER_TEXT)

    def sound(self) -> None:
        heard = self.mouth.hear(bytes(6400), self.now_s)
        if heard is Heard.BEGAN:
            self.ear.take(by_text=False, now_s=self.now_s)
        if heard in (Heard.BEGAN, Heard.WITHHELD):
            self.tell(Event.ANSWER_BEGAN)

    def sent_whole(self) -> None:
        self.mouth.sent_whole()
        self.tell(Event.AUDIO_DONE)

    def play_all(self) -> None:
        for _ in count():
            if not self.mouth.read(65536):
                break
        self.mouth.played()
        self.tell(Event.SPEAKER_DRY)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("seed", range(25))
def test_whatever_befalls_it_what_it_shows_is_so(mode: Mode, seed: int) -> None:
    world = World(mode, seed)
    for _ in range(STEPS):
        world.step()
