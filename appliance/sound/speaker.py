"""The mouth: a supervised part that plays what waits, and knows when the last sample is out.

  * It starts with the prebuffer in one write: the first period written starts the card.
  * The card's buffer (about 200 ms) is filled with sound as far as there is any, so that a busy
    moment of ours is not heard. Silence is never filled in ahead: when an answer runs dry before
    its end, a period at a time keeps the card going, and what comes next is heard at once.
  * It is *dry* when the last sample has left the card, by the card's own count.
  * `hush` drops what the card holds within the call. An answer's natural end is a drop as well,
    with silence behind its last sample: a drain holds the interpreter on some cards, and a card
    left to run empty plays old content of its ring.
  * Beside that cut nothing clicks: `appliance.sound.edges`.

Failures are handled as the microphone's are. A card whose count stands still for 2 s has failed.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from appliance.errors import DeviceError
from appliance.sound.answer import Answers
from appliance.sound.edges import Edges, Glide, padded
from appliance.sound.microphone import STALL_S
from appliance.sound.pcm import SAMPLE_BYTES, Chain, Format, to_card
from appliance.sound.plug import Plug
from appliance.sound.voice import Voice
from appliance.sound.volume import Gains

log = logging.getLogger("appliance.sound")

# A card that has no more sound left than this is given silence. A sound server's count moves in
# lumps (PulseAudio's of a period, so that 7 of 8 answers ran empty), which comes on top of it where
# nothing more is to come. Where more may come it does not: that would make each late packet a gap.
MARGIN_S = 0.005
WAIT_MIN_S = 0.001  # a card's count may lag behind the clock by a little


class Playback(Protocol):
    """An open playback stream of a card."""

    @property
    def form(self) -> Format:
        """What the card grants."""

    @property
    def chain(self) -> Chain:
        """What runs beneath it."""

    @property
    def xruns(self) -> int:
        """How often it ran empty, so that there was a gap."""

    @property
    def period_frames(self) -> int:
        """Frames between two interrupts of the card."""

    @property
    def buffer_frames(self) -> int:
        """Frames that the card holds at most."""

    def write(self, sound: bytes) -> int:
        """Give it sound; the frames that it took. Never waits."""

    def queued_frames(self) -> int:
        """Frames written that have not left the card."""

    def drop(self) -> None:
        """Silence at once, and forget what was written. Need not wake who waits."""

    def check(self) -> None:
        """Fail if it is known to be gone. Never waits."""

    async def wait(self) -> None:
        """Wait until a period of room may be there. May wake for nothing."""

    def close(self) -> None:
        """Give the card back."""


class Speaker:
    """Plays the answers.

    Args:
        opens: opens the card, raising `DeviceError`; it may hold up everything for a while.
        answers: what waits to be played.
        dry: told when the last sample that there was has left the card.
        began: told when the first sample of an answer was written.
        found: told when the card is open.
        lost: told when it failed, once each time.
        edge_s: how long silence rises to sound that begins with a step, and falls from its end.
        lead_in_s: silence before the first sample, for amplifiers that wake slowly.
        played: takes what has really left the card, one channel, in order: the reference that an
            echo canceller wants, and a recording of the box. An empty piece is told when the card
            begins to move.
    """

    def __init__(
        self,
        opens: Callable[[], Playback],
        answers: Answers | Voice,
        *,
        dry: Callable[[], None],
        began: Callable[[], None],
        found: Callable[[], None],
        lost: Callable[[], None],
        edge_s: float = 0.0,
        lead_in_s: float = 0.0,
        played: Callable[[bytes], None] | None = None,
    ) -> None:
        self._plug = Plug("speaker", opens, self._use, found=found, lost=lost, stir=self.wake)
        self._answers = answers
        self._dry = dry
        self._began = began
        self._edge_s = edge_s
        self._edges, self._glide = Edges(0), Glide(0)
        self._lead_in_s = lead_in_s
        self._lead_in = 0  # frames of it that are still to be written
        self._tap = _Tap(played) if played is not None else None
        self._gains = Gains()
        self._card: Playback | None = None
        self._lump = 0  # frames in which the card's count moves
        self._runs = False  # the card's stream moves
        self._written = 0  # frames since the stream began to move
        self._first_real = 0  # the count of `_written` before the sound that was written last,
        self._last_real = 0  # and behind it: between is no silence of ours
        self._out = 0  # frames that had left the card when it was last looked at,
        self._moved_s = 0.0  # and when that count last moved
        self._woken = trio.Event()
        self._waiting = trio.CancelScope()  # for room

    # ── plain calls ──────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """There may be something to play."""
        self._woken.set()

    def set_gains(self, gains: Gains) -> None:
        """The software's share of the volume, from the next sound written on."""
        self._gains = gains

    def is_alive(self) -> bool:
        """Whether somebody looks after the card while its stream moves."""
        return self._plug.is_alive(busy=self._runs)

    def cards_changed(self) -> None:
        """The kernel says that a card came or went, and will say so again. Never waits."""
        self._plug.cards_changed()

    def status(self) -> dict[str, object]:
        """What is known of the card; see `Plug.status`."""
        return self._plug.status()

    @property
    def plug(self) -> Plug[Playback]:
        """What keeps the card open."""
        return self._plug

    def look(self) -> bool:
        """Hand on what has left the card by now; whether more may follow. Never waits."""
        if self._runs and self._card is not None and self._tap is not None:
            with suppress(DeviceError):  # `run` meets it as well, and tells
                self._tap.left(self._written - self._card.queued_frames())
        return self._runs

    def hush(self) -> int:
        """Silence, within this call. What waits is the answers' business.

        Returns:
            Bytes of the answer that the card had and that were never heard.
        """
        unheard = 0
        if self._runs and self._card is not None:
            self._runs = False
            try:
                out = self._written - self._card.queued_frames()
                unheard = max(0, self._last_real - max(out, self._first_real)) * SAMPLE_BYTES
                if self._tap is not None:
                    self._tap.cut(out)
                self._card.drop()
            except DeviceError as error:
                log.warning("the speaker could not be silenced: %s", error)
        self._woken.set()
        self._waiting.cancel()
        return unheard

    # ── its life ─────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Open, play, and open again when the card fails. Lives as long as the box."""
        await self._plug.run()

    async def _use(self, card: Playback) -> None:
        frames = card.form.frames_of(self._edge_s)
        self._card, self._edges, self._glide = card, Edges(frames), Glide(frames)
        self._lump = 0 if card.chain.is_kernels else card.period_frames
        try:
            await self._play(card)
        finally:
            self._card, self._runs = None, False

    async def _play(self, card: Playback) -> None:
        while True:
            while not self._answers.flows(trio.current_time()):
                await self._wait_until(
                    min(self._answers.flows_s, trio.current_time() + self._plug.look_s)
                )
                if self._plug.is_to_close:
                    return
                card.check()
            self._start(card)
            while self._runs:
                await self._step(card)

    async def _step(self, card: Playback) -> None:
        """Give the card what it has room for, tell what has left it, wait for more of either."""
        self._plug.moved()
        self._fill(card)
        # Asked anew: a sound server's count leaps when it is written to.
        queued = card.queued_frames()
        self._report(self._written - queued)
        if self._runs:  # telling it may have led to a hush
            stalls_s = self._check_pace(self._written - queued)
            if card.buffer_frames - queued < card.period_frames:
                with trio.CancelScope(deadline=stalls_s) as self._waiting:
                    await card.wait()
            else:
                await self._wait_until(trio.current_time() + self._spare_s(card, queued))

    async def _wait_until(self, time_s: float) -> None:
        """Wait to be woken, at most until then."""
        with trio.CancelScope(deadline=time_s):
            await self._woken.wait()
        self._woken = trio.Event()

    def _spare_s(self, card: Playback, queued: int) -> float:
        """How long nothing need be done, if no sound comes: until silence has to be written.

        Or until the last sample of what there was leaves the card: the lamp goes by it.
        """
        spare = queued - self._margin(card)
        left = self._last_real - (self._written - queued)
        if left > 0:
            spare = min(spare, left)
        return max(spare / card.form.rate_hz, WAIT_MIN_S)

    def _margin(self, card: Playback) -> int:
        """Frames that may be left when silence is written."""
        return card.form.frames_of(MARGIN_S) + (self._lump if self._answers.done else 0)

    def _check_pace(self, out: int) -> float:
        """When the card will have stood still for too long."""
        now_s = trio.current_time()
        if out != self._out:
            self._out, self._moved_s = out, now_s
        elif now_s >= self._moved_s + STALL_S:
            raise DeviceError(f"its count stood still for {STALL_S:.0f} s")
        return self._moved_s + STALL_S

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def _start(self, card: Playback) -> None:
        """The first write: what is prebuffered, behind the lead-in."""
        self._runs, self._written, self._first_real, self._last_real = True, 0, 0, 0
        self._out, self._moved_s = -1, trio.current_time()
        self._edges.start()
        self._glide.start()
        if self._tap is not None:
            self._tap.start()
        self._lead_in = card.form.frames_of(self._lead_in_s)
        self._fill(card)

    def _fill(self, card: Playback) -> None:
        """Write what there is, as far as there is room; silence only when the card runs empty.

        As late as that, because what the network is late with may still come in time.
        """
        self._lead(card)
        queued = card.queued_frames()
        room = card.buffer_frames - queued - max(self._lead_in, self._edges.room)
        if room > 0 and self._answers.flows(trio.current_time()):
            self._give(card, room)
        elif queued <= self._margin(card):
            self._answers.starve()
            # Behind a sound server's count the last sample may be out already: an edge would be a
            # blip within the gap.
            is_late = self._lump and not self._answers.done
            if (edge := self._edges.after()) and not is_late:
                self._write(card, edge)
                self._last_real = self._written
            to_border = -self._written % card.period_frames
            self._write(card, bytes((to_border + card.period_frames) * SAMPLE_BYTES))

    def _lead(self, card: Playback) -> None:
        """As much of a long lead-in as there is room for; its end is written with the sound."""
        if self._lead_in and (self._written or self._lead_in > card.buffer_frames // 2):
            room = card.buffer_frames - card.queued_frames()
            silence = max(0, min(self._lead_in - self._edges.room, room))
            self._write(card, bytes(silence * SAMPLE_BYTES))
            self._lead_in -= silence

    def _give(self, card: Playback, room: int) -> None:
        """Sound for so many frames, behind the lead-in and the rise to it."""
        gain = self._gains.cues if self._answers.is_own else self._gains.answers
        sound = self._glide.amplified(self._answers.read(room * SAMPLE_BYTES), gain)
        is_first, follows = not self._last_real, self._written == self._last_real > 0
        self._write(card, padded(self._edges.before(sound), self._lead_in) + sound)
        self._lead_in, self._last_real = 0, self._written
        if not follows:
            self._first_real = self._written - len(sound) // SAMPLE_BYTES
        if is_first:
            self._began()

    def _write(self, card: Playback, sound: bytes) -> None:
        """All of it: room was asked for before."""
        rest = to_card(sound, card.form)
        while rest:
            frames = card.write(rest)
            if frames == 0:
                raise DeviceError("it takes no sound, though it has room")
            rest = rest[frames * card.form.frame_bytes :]
        self._written += len(sound) // SAMPLE_BYTES
        if self._tap is not None:
            self._tap.wrote(sound)

    def _report(self, out: int) -> None:
        """Tell what has left the card: `out` frames since the stream began to move."""
        if self._tap is not None:
            self._tap.left(out)
        if self._answers.sounding and not self._answers.waiting_s and out >= self._last_real:
            self._answers.played()
            self._dry()


class _Tap:
    """What was written and has not left the card yet; hands on what has."""

    def __init__(self, played: Callable[[bytes], None]) -> None:
        self._played = played
        self._held = bytearray()
        self._out = 0

    def start(self) -> None:
        self._held.clear()
        self._out = 0
        self._played(b"")

    def wrote(self, sound: bytes) -> None:
        self._held += sound

    def left(self, out: int) -> None:
        count = max(0, out - self._out) * SAMPLE_BYTES
        if count:
            self._played(bytes(self._held[:count]))
            del self._held[:count]
            self._out = out

    def cut(self, out: int) -> None:
        self.left(out)
        self._held.clear()
