"""What is written down of a conversation: for the agent, for its owner, and for the journal.

Three books with different readers. The *history* is told to the agent's next session; what the
owner keeps are transcripts and recordings, off by default; a *turn's record* has times and no
words. Nothing here waits but `load` and `run`.
"""

import logging
from pathlib import Path

import trio

from appliance.agent.history import History
from appliance.agent.messages import Side
from appliance.config import Settings as Config
from appliance.conversation import Event, Phase
from appliance.host.keep import Keeper
from appliance.host.turns import Moment, Record, Turns, line
from appliance.mind import Conversation
from appliance.parts import Parts
from appliance.sound.pcm import Format

LAST_WRITE_LIMIT_S = 0.3

log = logging.getLogger("appliance")


class Chronicle:
    """The books of the house.

    Args:
        config: the owner's.
        parts: where things are kept, and by which clock.
        form: the sound's.
    """

    def __init__(self, config: Config, parts: Parts, form: Format) -> None:
        self.history = History(config.talk.remember_for_s)
        self.turns = Turns()
        self._parts = parts
        self._form = form
        self._to_save = trio.Event()
        keeps = parts.keep_in is not None
        self._keeper = Keeper(
            parts.keep_in or Path(),
            transcript=config.keep.transcript and keeps,
            audio=config.keep.audio and keeps,
            max_mb=config.keep.max_mb,
            max_days=config.keep.max_days,
            form=form,
            wall=parts.wall,
        )

    def retune(self, form: Format) -> None:
        """The sound has another rate from now on. No answer sounds."""
        self._form = form
        self._keeper.retune(form)

    async def run(self) -> None:
        """Write what is kept, until cancelled; then the history, if the disk is quick."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keeper.run)
            try:
                while True:
                    await self._to_save.wait()
                    self._to_save = trio.Event()
                    await self._save()
            finally:
                with trio.move_on_after(LAST_WRITE_LIMIT_S, shield=True):
                    await self._save()

    # ── what is said ─────────────────────────────────────────────────────────────────────────

    def user_said(self, text: str, utterance: int) -> None:
        """The user's text, of that utterance."""
        now_s = trio.current_time()
        self.history.user_said(text, now_s)
        self._keeper.said(Side.USER, text, self._parts.wall())
        self.turns.mark(Moment.USER_TEXT, now_s, utterance)

    def agent_said(self, text: str, sound_bytes: int, *, is_dead: bool) -> None:
        """A sentence of the answer, when so many bytes of its sound had come."""
        if not is_dead:
            self.history.agent_said(text, sound_bytes, trio.current_time())
        self._keeper.said(Side.AGENT, text, self._parts.wall())

    def utterance(self, number: int, sound: bytes) -> None:
        """What somebody said, whole, now that it has ended."""
        began_s = self._parts.wall() - self._form.seconds_of(len(sound))
        self._keeper.utterance(number, sound, began_s)

    def answer_sound(self, sound: bytes) -> None:
        """A piece of an answer."""
        self._keeper.answer_sound(sound, self._parts.wall())

    def answer_ended(self) -> None:
        """It was played to its end."""
        self.history.answer_ended()
        self._keeper.answer_ended()

    def answer_cut(self, played_bytes: int) -> None:
        """It was stopped when so much of it had been heard."""
        self.history.answer_cut(played_bytes)
        self._keeper.answer_ended()

    def mark(self, moment: Moment, utterance: int | None = None) -> None:
        """Something of the turn happened just now."""
        self.turns.mark(moment, trio.current_time(), utterance)

    def handled(
        self, event: Event, before: Phase, talk: Conversation, utterance: int
    ) -> Record | None:
        """The conversation has handled an event; the record of the turn that ended with it."""
        record = self.turns.handled(
            event,
            before,
            talk.phase,
            trio.current_time(),
            number=utterance,
            trouble=talk.trouble,
        )
        if record is not None:
            log.info("%s", line(record))
        return record

    # ── over a restart ───────────────────────────────────────────────────────────────────────

    def load(self) -> None:
        """The history of before the restart, if the owner wants that. Waits for the disk."""
        book = self._parts.history_book
        saved = book.read() if book is not None else None
        if saved is not None and book is not None:
            try:
                self.history.load(saved, self._parts.wall(), trio.current_time())
            except ValueError as error:
                book.set_aside(str(error))

    def save(self) -> None:
        """The history is worth saving: a session has ended. Does not wait."""
        self._to_save.set()

    async def _save(self) -> None:
        """A few kilobytes, if the owner wants that, in a thread: a card may take its time."""
        book = self._parts.history_book
        if book is not None:
            content = self.history.save(self._parts.wall(), trio.current_time())
            await trio.to_thread.run_sync(book.write, content, abandon_on_cancel=True)
