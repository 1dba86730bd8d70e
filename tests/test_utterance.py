"""Nothing that was said is lost, and nothing goes out twice on a connection."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.sound.pcm import Format
from appliance.sound.utterance import EndOfTurn, Utterances

FORM = Format(16000)
PERIOD = 640
MESSAGE = 1280


def sound(periods: int, *, begins: int = 0) -> bytes:
    """Sound in which each sample is another."""
    samples = range(begins, begins + periods * PERIOD // 2)
    return b"".join((n % 60000).to_bytes(2, "little") for n in samples)


def drain(words: Utterances, now_s: float = 0.0) -> list[bytes | EndOfTurn]:
    out = []
    while (piece := words.read(MESSAGE, now_s)) is not None:
        out.append(piece)
    return out


def sent(pieces: list[bytes | EndOfTurn]) -> bytes:
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def held(words: Utterances, said: bytes, *, now_s: float = 0.0) -> None:
    """One utterance from its press to its end."""
    words.begin(sendable=False)
    words.hear(said, now_s)
    words.send()
    words.end(now_s)


def test_an_utterance_goes_out_whole_and_then_its_end() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(5))
    pieces = drain(words)
    assert sent(pieces) == sound(5)
    assert [len(piece) for piece in pieces if isinstance(piece, bytes)] == [1280, 1280, 640]
    assert pieces[-1] == EndOfTurn(1)
    assert drain(words) == []


def test_nothing_goes_out_before_it_may() -> None:
    words = Utterances(FORM, streams=False)
    words.begin(sendable=False)
    words.hear(sound(10), 0.0)
    assert drain(words) == []
    words.send()
    assert sent(drain(words)) == sound(10)


def test_what_was_not_taken_goes_out_again_on_the_next_connection() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(5))
    drain(words)
    words.new_connection()
    assert sent(drain(words)) == sound(5)
    words.take(by_text=True, now_s=0.0)
    words.new_connection()
    assert drain(words) == []


def test_the_next_utterance_waits_for_the_text_of_the_first() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    held(words, sound(3, begins=9000))
    assert sent(drain(words)) == sound(2)
    words.take(by_text=True, now_s=0.0)
    assert words.pending
    assert sent(drain(words)) == sound(3, begins=9000)


def test_the_next_utterance_may_be_let_pass() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    drain(words)
    held(words, sound(3, begins=9000))
    assert drain(words) == []
    assert words.pass_on()
    assert sent(drain(words)) == sound(3, begins=9000)


def test_what_follows_words_that_were_waited_for_long_enough_need_not_wait() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    drain(words)
    assert not words.pass_on()
    held(words, sound(3, begins=9000))
    assert sent(drain(words)) == sound(3, begins=9000)


def test_the_late_text_of_words_whose_answer_had_begun_is_theirs() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    drain(words)
    assert words.take(by_text=False, now_s=0.0) == 1
    words.begin(sendable=True)
    words.hear(sound(4), 0.0)
    drain(words)
    assert words.take(by_text=True, now_s=0.0) == 1
    assert not words.heard_early
    assert words.take(by_text=True, now_s=0.0) == 2


def test_words_of_which_nothing_was_sent_are_called_off_without_a_turn() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    words.call_off()
    assert drain(words) == []


def test_a_text_takes_only_what_was_sent_to_its_end() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    drain(words)
    words.begin(sendable=True)
    words.hear(sound(4), 0.0)
    assert words.take(by_text=True, now_s=0.0) == 1
    assert not words.pending
    assert not words.heard_early
    assert sent(drain(words)) == sound(4)
    assert words.take(by_text=True, now_s=0.0) == 2
    assert words.heard_early


def test_a_tap_leaves_nothing() -> None:
    words = Utterances(FORM, streams=False)
    words.begin(sendable=False)
    words.hear(sound(5), 0.0)
    words.discard()
    assert drain(words) == []
    assert not words.pending
    assert not words.is_open


def test_erased_is_what_was_not_sent_and_the_turn_still_ends() -> None:
    words = Utterances(FORM, streams=False)
    words.begin(sendable=True)
    words.hear(sound(2), 0.0)
    first = drain(words)
    words.hear(sound(3, begins=5000), 0.0)
    words.end(0.0, erase_unsent=True)
    assert not words.pending
    assert sent(first) == sound(2)
    assert drain(words) == [EndOfTurn(1)]
    words.new_connection()
    assert drain(words) == []


def test_words_whose_answer_was_lost_can_be_asked_again_by_their_sound() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(5))
    drain(words)
    words.take(by_text=True, now_s=0.0)
    assert (words.unanswered, words.pending) == (True, False)
    words.ask_again()
    assert (words.unanswered, words.pending) == (False, True)
    assert sent(drain(words)) == sound(5)


def test_words_of_a_stream_can_be_asked_again_by_their_sound() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    words.hear(sound(10), 0.0)
    words.mark_speech()
    drain(words)
    words.take(by_text=True, now_s=0.0)
    words.hear(sound(4, begins=9000), 0.0)
    words.ask_again()
    assert sent(drain(words)) == sound(10)
    words.take(by_text=True, now_s=0.0)
    assert sent(drain(words)).endswith(sound(4, begins=9000))


def test_what_has_begun_to_be_answered_is_not_asked_again() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(5))
    drain(words)
    words.take(by_text=True, now_s=0.0)
    words.take(by_text=False, now_s=0.0)
    assert not words.unanswered


def test_the_late_text_of_words_that_were_called_off_is_not_that_of_later_ones() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2))
    drain(words)
    words.call_off()
    assert not words.pending
    words.begin(sendable=True)
    words.hear(sound(4), 0.0)
    assert sent(drain(words)) == sound(4)
    assert words.take(by_text=True, now_s=0.0) == 1
    assert not words.heard_early


def test_words_grow_too_old_to_be_sent() -> None:
    words = Utterances(FORM, streams=False)
    held(words, sound(2), now_s=100.0)
    words.expire(129.9)
    assert words.pending
    words.expire(130.0)
    assert not words.pending


def test_the_preroll_belongs_to_the_utterance() -> None:
    words = Utterances(FORM, streams=False, preroll_s=0.04)
    words.hear(sound(10), 0.0)
    words.begin(sendable=True)
    words.hear(sound(1, begins=9000), 0.0)
    words.end(0.0)
    assert sent(drain(words)) == sound(10)[-2 * PERIOD :] + sound(1, begins=9000)


def test_a_stream_lets_old_silence_go_and_keeps_what_follows_a_second_before_speech() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    said = bytes(400 * PERIOD) + sound(100, begins=9000)
    for n in range(500):  # ten seconds
        now_s = (n + 1) * 0.02
        words.hear(said[n * PERIOD : (n + 1) * PERIOD], now_s)
        drain(words, now_s)
        if n == 399:
            words.mark_speech()
    words.new_connection()
    kept = sent(drain(words, 10.0))
    assert said.endswith(kept)
    assert 3.0 <= FORM.seconds_of(len(kept)) <= 3.1


def quiet_but(loud: int, count: int) -> bytes:
    """So many periods of silence, one of which is not."""
    return bytes(loud * PERIOD) + sound(1, begins=9000) + bytes((count - loud - 1) * PERIOD)


@pytest.mark.parametrize("loud", [60, 250, 398])
def test_what_may_be_speech_goes_again_from_a_second_before_if_nobody_spoke_of_it(
    loud: int,
) -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    said = quiet_but(loud, 400)
    for n in range(400):
        words.hear(said[n * PERIOD : (n + 1) * PERIOD], n * 0.02)
        drain(words, n * 0.02)
    assert words.unheard
    words.new_connection()
    kept = sent(drain(words, 8.0))
    begin = max(loud - 50, 50) * PERIOD  # a second before, or all of seven
    assert kept == said[begin : begin + len(kept)]
    assert len(said) - begin - len(kept) < MESSAGE


def test_what_is_silence_and_was_sent_does_not_go_again() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    for n in range(100):
        words.hear(bytes(PERIOD), n * 0.02)
        drain(words, n * 0.02)
    assert not words.unheard
    words.hear(bytes(10 * PERIOD), 2.0)
    words.new_connection()
    assert len(sent(drain(words, 2.2))) == 50 * PERIOD


def test_what_was_taken_is_not_taken_for_speech_again() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    words.hear(sound(100), 2.0)
    drain(words, 2.0)
    words.mark_speech()
    words.take(by_text=True, now_s=2.1)
    assert not words.unheard
    words.hear(sound(2, begins=9000), 2.2)
    assert words.unheard


def test_what_was_taken_does_not_go_again_with_what_follows() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    words.hear(sound(100, begins=9000), 2.0)
    drain(words, 2.0)
    words.mark_speech()
    words.take(by_text=True, now_s=2.3)
    words.hear(sound(10, begins=20000), 2.5)
    words.connection_over()
    words.new_connection()
    assert sent(drain(words, 3.0)) == sound(10, begins=20000)


def test_a_stream_keeps_everything_from_the_press_until_it_was_sent() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    said = sound(400)
    for n in range(400):  # eight seconds without a connection
        words.hear(said[n * PERIOD : (n + 1) * PERIOD], n * 0.02)
    assert words.speaking
    words.new_connection()
    assert sent(drain(words, 8.0)) == said


def test_a_text_takes_what_a_stream_holds_and_the_next_turn_is_another() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    words.hear(sound(10), 0.0)
    words.mark_speech()
    drain(words)
    assert words.take(by_text=True, now_s=0.0) == 1
    assert words.newest_ended == 1
    assert words.open_number == 2
    assert not words.speaking


def test_zeros_are_kept_for_a_shut_microphone() -> None:
    words = Utterances(FORM, streams=True)
    words.begin(sendable=True)
    words.shut = True
    words.hear(sound(2), 0.0)
    words.begin(sendable=True)
    words.hear(sound(2), 0.0)
    assert sent(drain(words)) == bytes(2 * PERIOD) + sound(2)


def full_after(words: Utterances, periods: int) -> list[int]:
    """After which of so many periods, sent as they come, the turn is said to be full."""
    told = []
    for period in range(1, periods + 1):
        if words.hear(sound(1), 0.0):
            told.append(period)
        drain(words)
    return told


def test_a_turn_that_becomes_as_long_as_one_may_be_is_told_once() -> None:
    words = Utterances(FORM, streams=False, limit_s=1.0, preroll_s=0.5)
    assert full_after(words, 100) == [], "what belongs to no turn"
    words.begin(sendable=True)
    assert full_after(words, 100) == [50]
    words.end(0.0)
    words.begin(sendable=True)
    assert words.hear(sound(100), 0.0), "at once"


def test_in_a_stream_a_turn_begins_with_the_word_that_somebody_speaks() -> None:
    words = Utterances(FORM, streams=True, limit_s=1.0)
    words.begin(sendable=True)
    assert full_after(words, 200) == []
    words.mark_speech()
    assert full_after(words, 100) == [50]


def test_unsent_sound_is_bounded_and_the_oldest_goes() -> None:
    words = Utterances(FORM, streams=True, limit_s=1.0)
    words.begin(sendable=False)
    said = sound(75)
    words.hear(said, 0.0)
    words.send()
    assert sent(drain(words)) == said[-50 * PERIOD :]
    assert words.lost_bytes == 25 * PERIOD


class Speech(RuleBasedStateMachine):
    """Presses, connections and texts at random: every sample that counts goes out once."""

    def __init__(self) -> None:
        super().__init__()
        self.words = Utterances(FORM, streams=False)
        self.now_s = 0.0
        self.counter = 0
        self.said: list[bytearray] = []  # utterances not taken, as they were said
        self.ended = 0  # how many of them ended
        self.out: list[bytearray] = []  # the same utterances, as this connection got them
        self.ends = 0  # how many of their ends this connection got
        self.is_open = False

    @precondition(lambda self: not self.is_open)
    @rule()
    def press(self) -> None:
        self.words.begin(sendable=True)
        self.said.append(bytearray())
        self.out.append(bytearray())
        self.is_open = True

    @precondition(lambda self: self.is_open)
    @rule(periods=st.integers(1, 7))
    def speak(self, periods: int) -> None:
        piece = sound(periods, begins=self.counter)
        self.counter += periods * PERIOD // 2
        self.words.hear(piece, self.now_s)
        self.said[-1] += piece

    @precondition(lambda self: self.is_open)
    @rule()
    def let_go(self) -> None:
        self.words.end(self.now_s)
        self.is_open = False
        self.ended = len(self.said)

    @precondition(lambda self: self.is_open)
    @rule()
    def only_a_tap(self) -> None:
        self.words.discard()
        self.said.pop()
        self.out.pop()
        self.is_open = False

    @rule(pieces=st.integers(1, 9))
    def the_connection_takes(self, pieces: int) -> None:
        for _ in range(pieces):
            piece = self.words.read(MESSAGE, self.now_s)
            if isinstance(piece, bytes):
                assert piece
                self.out[self.ends] += piece
            elif piece is not None:
                assert self.out[self.ends] == self.said[self.ends], "an end before its sound"
                self.ends += 1

    @rule()
    def the_connection_is_another(self) -> None:
        self.words.new_connection()
        self.out = [bytearray() for _ in self.said]
        self.ends = 0

    @rule()
    def its_text_comes(self) -> None:
        self.words.take(by_text=True, now_s=0.0)
        del self.said[: self.ends], self.out[: self.ends]
        self.ended = max(0, self.ended - self.ends)
        self.ends = 0

    @rule()
    def the_next_may_pass(self) -> None:
        self.words.pass_on()

    @invariant()
    def what_went_out_is_what_was_said(self) -> None:
        for said, out in zip(self.said, self.out, strict=True):
            assert said.startswith(out)

    @invariant()
    def what_was_not_taken_is_pending(self) -> None:
        assert self.words.pending == (self.ended > 0)


TestSpeech = Speech.TestCase
TestSpeech.settings = settings(max_examples=200, stateful_step_count=40)
