"""What the box lets hear by itself: three short cues, and a sentence for each trouble.

The conversation decides *when* (its actions `CUE_…` and `PROMPT`); here it is made and played.

  * The lamp goes on to show the trouble while its sentence sounds: *speaking* is for answers. The
    conversation hears nothing of it, no turn and no money belongs to it.
  * It gives way: every press, every microphone that opens, every cut and the first sound of an
    answer silence it within the same call. It is never begun over an answer.
  * A sentence is not begun again within 30 s; a press that meets the same trouble so soon gets
    the trouble cue, and a retry of our own gets nothing.
  * Without a language, or where a sentence cannot be read, the trouble cue stands for it.
  * The listening cue sounds while the microphone is open, so the agent hears it too: cutting it
    out would cost the first word of whoever speaks at once. It is off unless the owner wants it.
  * The recordings have 16 kHz. They are expanded and brought to the card's rate in pieces of a
    fraction of a millisecond, between which the loop turns, and only then begun; nothing is kept.
    No thread: it would hold the interpreter for 5 ms at a time. The cues that the owner wants are
    made at the start, because a press cannot wait for them.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from appliance.config import Cues as Settings
from appliance.conversation import Action
from appliance.errors import DeviceError, Trouble
from appliance.sound import chimes
from appliance.sound.pcm import Format
from appliance.sound.recordings import recording
from appliance.sound.resample import resampled
from appliance.sound.sentences import TOLD
from appliance.sound.speaker import Speaker
from appliance.sound.voice import Voice

REPEAT_S = 30.0

log = logging.getLogger("appliance")


def wanted(settings: Settings) -> frozenset[Action]:
    """Those of the conversation's actions that can be heard, with these settings."""
    return frozenset(
        action
        for action, is_wanted in (
            (Action.CUE_LISTENING, settings.listening),
            (Action.CUE_DONE, settings.done),
            (Action.CUE_TROUBLE, settings.trouble or settings.language),
            (Action.PROMPT, settings.language),
        )
        if is_wanted
    )


class Cues:
    """The cues and the sentences. `run` prepares them; all else never waits.

    Args:
        settings: what the owner wants to hear.
        form: the card's, one channel.
        voice: where it is put to be played.
        speaker: woken when there is something to play, hushed when there is not any more.
        publish: takes "cue" or "prompt" when one is begun, and its `name`.
    """

    def __init__(
        self,
        settings: Settings,
        form: Format,
        voice: Voice,
        speaker: Speaker,
        publish: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._form = form
        self._voice = voice
        self._speaker = speaker
        self._publish = publish
        self._cues: dict[Action, bytes] = {}
        self._is_made = False  # the cues are, at this rate
        self._wish: str | None = None  # the sentence that is being prepared
        self._wished = trio.Event()
        self._begun_s: dict[str, float] = {}  # when each sentence was begun last

    async def run(self) -> None:
        """Make the cues, then each sentence that is wanted, until cancelled."""
        while True:
            if not self._is_made:
                await self._make()
            await self._wished.wait()
            self._wished = trio.Event()
            if self._wish is not None:
                await self._prepare(self._wish)

    async def _make(self) -> None:
        self._is_made = True  # unless the rate changes meanwhile
        for action, tones, is_wanted in self._chimes():
            sound = bytearray()
            for piece in chimes.chime(tones, self._form.rate_hz) if is_wanted else ():
                await trio.lowlevel.checkpoint()
                if not self._is_made:
                    return
                sound += piece
            self._cues[action] = bytes(sound)

    def retune(self, form: Format) -> None:
        """The card has another rate from now on: the cues are made anew. Nothing sounds."""
        self._form = form
        self._cues.clear()
        self._is_made = False
        self._wished.set()

    def do(self, action: Action, trouble: Trouble | None) -> None:
        """One of the conversation's actions; `trouble` is what a complaint is about."""
        if action in (Action.CUE_LISTENING, Action.CUE_DONE):
            self._sound(action)
            return
        assert trouble is not None, action
        name = TOLD[trouble]
        if name is None:
            return
        if name and self._settings.language and not self._said_lately(name):
            self.say(name)
        elif action is Action.CUE_TROUBLE:
            self._sound(action)

    @property
    def is_busy(self) -> bool:
        """Something sounds, or a sentence is being made."""
        return self._voice.is_own or self._wish is not None

    def say(self, name: str) -> None:
        """A sentence, if there is a language to say it in."""
        if self._settings.language:
            self._wish = name
            self._wished.set()

    def hush(self) -> bool:
        """Silence; what was to be said is not. Whether anything had sounded."""
        self._wish = None
        return self.end()

    def end(self) -> bool:
        """What sounds is over; what is being made goes on. Whether anything had sounded."""
        was_heard = self._voice.stop()
        if was_heard:
            self._speaker.hush()
        return was_heard

    def _chimes(self) -> Sequence[tuple[Action, Sequence[chimes.Tone], bool]]:
        return (
            (Action.CUE_LISTENING, chimes.LISTENING, self._settings.listening),
            (Action.CUE_DONE, chimes.DONE, self._settings.done),
            (Action.CUE_TROUBLE, chimes.TROUBLE, self._settings.trouble),
        )

    def _said_lately(self, name: str) -> bool:
        return trio.current_time() < self._begun_s.get(name, float("-inf")) + REPEAT_S

    def _sound(self, action: Action) -> None:
        """A cue, if it is wanted; one that is not made yet is not missed."""
        self._wish = None
        if self._voice.say(self._cues.get(action, b"")):
            self._publish("cue", name=action.name.removeprefix("CUE_").lower())
            self._speaker.wake()

    async def _prepare(self, name: str) -> None:
        """Read a sentence and begin it, unless something came between."""
        try:
            spoken = recording(name, self._settings.language, self._settings.prompts_dir)
        except DeviceError as error:
            log.warning("%s", error)
            self._sound(Action.CUE_TROUBLE)
            return
        sound = bytearray()
        for piece in resampled(spoken.pieces(), spoken.rate_hz, self._form.rate_hz):
            await trio.lowlevel.checkpoint()
            if self._wish != name:
                return
            sound += piece
        self._wish = None
        if self._voice.say(bytes(sound)):
            self._begun_s[name] = trio.current_time()
            self._publish("prompt", name=name)
            self._speaker.wake()
