"""Sound cards, through ALSA. Alone imports alsaaudio (pyalsaaudio 0.11, from source).

What had to be learned of it, each point measured:

  * What was asked is not what was granted, and no error says so: `info()` is compared.
  * One code path for hw, plughw, dmix, pulse and pipewire: all descriptors of a stream in a
    private epoll, whose own descriptor trio waits on. A playback stream of dmix, pulse or pipewire
    asks for POLLIN, so what to wait for is never guessed; `polldescriptors_revents` is asked after
    each wake, because dmix empties its timer queue there.
  * A capture stream becomes readable only after a first `read()`, also after each overrun. Reading
    more than whole periods doubles the interval of the wakes.
  * `drop()` before `close()`, else close drains. `drain()` never: it blocks on some plugins.
  * Errors carry words only, and a dead PipeWire 1.4 raises none: it returns -32 for ever.
  * PipeWire 0.3's descriptor is always ready (5,000 wakes a second): such a card is waited for by
    a timer. `null` and `file` have none that can be waited on, and keep no time either: they are
    paced by the clock, and so is whatever else gives or takes sound faster than its rate
    (`appliance.sound.pace`).
  * PulseAudio's count stands where it was after a drop, and a start with the whole buffer full
    counts that buffer as played at once: so ask for the state first, and start with a period free.
  * alsa-lib converts rates linearly where no plugin does it better: what lies above half the new
    rate is folded into speech, as loud as it came. (From 48 to 16 kHz, tones of 9, 11 and 14 kHz:
    speexrate leaves -77 dB of them or less, and so do lavrate and samplerate.) Nothing in ALSA's
    answers tells which it was, `dumpinfo` neither, so the kernel is asked; linear is refused.

A name that converts nothing (`hw:`) may grant other samples and more channels than were asked:
`appliance.sound.pcm` changes those. Another rate it may not: changing rates is alsa-lib's work.
"""

import contextlib
import errno
import logging
import os
import select
import time
from dataclasses import replace
from typing import Any

import alsaaudio
import trio

from appliance.errors import DeviceError
from appliance.sound import kernel
from appliance.sound.complaints import said_once
from appliance.sound.names import RATES_HZ, advice, bare, converting, missing
from appliance.sound.pace import Pace
from appliance.sound.pcm import Chain, Format, Sample

log = logging.getLogger("appliance.sound")

BUFFER_PERIODS = 10
FAULTS_MAX = 20  # under- or overruns without a frame between them: the sound server is dead
WAKES_MAX = 4  # a period, on average over a second
BURST_S = 1.0  # a microphone may bring so much at once
JUDGED_EACH = 8  # times that a speaker's count is asked: that it keeps no time is soon known
SPARE_S = 2.0  # and so much more, after a stall: a longer one is a failure
_OTHERS = "the other card and the voice"


def native_rates(name: str, *, capture: bool) -> set[int] | None:
    """Those of our rates that a card has without a conversion; None if that cannot be told.

    Of a bare card (`hw`, `plughw`) all of them are told; of another name the one that its hardware
    runs at when it is asked for the best. Where the kernel knows of no hardware the name itself is
    asked: a sound server takes any rate, and the plugin of a headset the one that it has.

    Raises:
        DeviceError: it does not open.
    """
    kind = alsaaudio.PCM_CAPTURE if capture else alsaaudio.PCM_PLAYBACK
    with contextlib.closing(_open(kind, bare(name) or name, RATES_HZ[0], RATES_HZ[0] // 50)) as pcm:
        try:
            info: dict[str, Any] = pcm.info()
            if not bare(name):
                if runs := _hardware(info, capture=capture):
                    return {runs.rate_hz} & set(RATES_HZ)
                if info["rate"] != RATES_HZ[0]:  # what was not asked for is what it has
                    return {info["rate"]} & set(RATES_HZ)
                if kernel.has_card(info["card_no"]):
                    return None
            return {rate_hz for rate_hz in RATES_HZ if _has_rate(pcm.getrates(), rate_hz)}
        except alsaaudio.ALSAAudioError as error:
            log.info("%r does not tell its rates: %s", name, error)
            return None


def _has_rate(told: Any, rate_hz: int) -> bool:
    """What `getrates` tells: the only rate, all between two, or a list of them."""
    if isinstance(told, tuple):
        return bool(told[0] <= rate_hz <= told[1])
    return rate_hz in (told if isinstance(told, list) else [told])


def _open(kind: int, name: str, rate_hz: int, period_frames: int) -> Any:
    """Open a stream, whatever it grants.

    Raises:
        DeviceError: it does not open; the message says why, and who holds it.
    """
    if words := missing(name, kernel.card_ids()):  # ALSA would tell the journal, at each try
        raise DeviceError(f"{name!r} does not open: {words}")
    try:
        with said_once(name):
            return alsaaudio.PCM(
                type=kind,
                mode=alsaaudio.PCM_NONBLOCK,
                device=name,
                rate=rate_hz,
                channels=1,
                format=alsaaudio.PCM_FORMAT_S16_LE,
                periodsize=period_frames,
                periods=BUFFER_PERIODS,
            )
    except alsaaudio.ALSAAudioError as error:
        words = f"{name!r} does not open: {str(error).removesuffix(f' [{name}]')}"
        if os.strerror(errno.EBUSY) in str(error):
            holder = kernel.holder(name, capture=kind == alsaaudio.PCM_CAPTURE)
            words += f": {holder} holds it"
        raise DeviceError(words) from error


def _granted(name: str, info: dict[str, Any], rate_hz: int) -> Format:
    """What an open stream grants, if it can be used."""
    sample, rate = info["format_name"], info["rate"]
    if rate != rate_hz:
        raise DeviceError(
            f"{name!r} grants {rate} Hz; wanted is {rate_hz} Hz: {converting(name)} converts,"
            f" or set [audio] rate_hz = {rate} if {_OTHERS} have it too"
        )
    if sample not in Sample.__members__:
        raise DeviceError(f"{name!r} grants {sample} only; {converting(name)} converts")
    return Format(rate_hz, info["channels"], Sample[sample])


def _leave_zeros(size: int) -> None:
    """Let zeros lie in the memory that the next bytes of that size will take.

    `null` fills in nothing, and alsaaudio hands out what lay there: keys and words of ours would
    leave the box as sound. The memory that is given back last is the next to be taken.
    """
    zeros = b"\0" * size  # not bytes(size), which has its memory from elsewhere
    del zeros


def _hardware(info: dict[str, Any], *, capture: bool) -> kernel.Hardware | None:
    place = (info["card_no"], info["device_no"], info["subdevice_no"])
    return kernel.hardware(*place, capture=capture)


def _chain(name: str, info: dict[str, Any], form: Format, *, capture: bool) -> Chain:
    """What runs beneath an open stream.

    Raises:
        DeviceError: alsa-lib would convert the rate linearly.
    """
    runs = _hardware(info, capture=capture)
    if runs is None:
        is_kernels = kernel.has_card(info["card_no"])
        converter = "unknown" if is_kernels else "sound server"
        return Chain(form.rate_hz, form.channels, form.sample.name, converter, is_kernels)
    converter = "none" if runs.rate_hz == form.rate_hz else kernel.converter()
    if converter == "linear":
        raise DeviceError(
            f"{name!r} runs at {runs.rate_hz} Hz, and ALSA would convert that to"
            f" {form.rate_hz} Hz without a filter, which spoils speech: install"
            f" libasound2-plugins, or set [audio] rate_hz = {runs.rate_hz} if {_OTHERS} have it too"
        )
    return Chain(runs.rate_hz, runs.channels, runs.sample, converter)


class _Stream:
    """A stream of a card: opened, compared with what was asked, and waited on."""

    def __init__(self, kind: int, name: str, rate_hz: int, period_frames: int) -> None:
        self.name = name
        self.xruns = 0
        self._faults = 0
        began_s = time.monotonic()
        self._pcm = _open(kind, name, rate_hz, period_frames)
        took_s = time.monotonic() - began_s
        try:
            info: dict[str, Any] = self._pcm.info()
            self.form = _granted(name, info, rate_hz)
            self.chain = _chain(name, info, self.form, capture=kind == alsaaudio.PCM_CAPTURE)
            self._wait_for_descriptors()
        except DeviceError:
            self._pcm.close()
            raise
        except (alsaaudio.ALSAAudioError, OSError) as error:  # pulled out at this very moment
            self._pcm.close()
            raise DeviceError(f"{name!r} opened, and then failed: {error}") from error
        self.period_frames = int(info["period_size"])
        self.buffer_frames = int(info["buffer_size"])
        self._pace = self._make_pace()
        if self._timed:
            self._take_over()
        log.info("%r is open after %.2f s: %s", name, took_s, self.chain)
        if words := advice(name, kernel.card_ids()):
            log.warning("%s", words)

    def _make_pace(self) -> Pace:
        raise NotImplementedError

    def _take_over(self) -> None:
        """The card keeps no time, so the clock paces it from now on."""
        self._timed = self._pace.by_clock = True
        converter = self.chain.converter if self.chain.is_kernels else "unknown"
        self.chain = replace(self.chain, converter=converter, paced_by="timer")
        log.warning(
            "%r keeps no time, sound passes as fast as it is asked for: paced by a timer at %d Hz",
            self.name,
            self.form.rate_hz,
        )

    def _wait_for_descriptors(self) -> None:
        self._descriptors: list[tuple[int, int]] = self._pcm.polldescriptors()
        self._epoll = select.epoll()
        self._timed = False
        try:
            for descriptor, events in self._descriptors:
                self._epoll.register(descriptor, events)
        except PermissionError:  # `null` and `file` have none that can be waited on
            self._timed = True
        self._wakes = 0
        self._wakes_since_s = 0.0

    async def wait(self) -> None:
        """Wait for the card, or half a period where its descriptors are of no use."""
        if self._timed:
            await trio.sleep(self.period_frames / self.form.rate_hz / 2)
            return
        await trio.lowlevel.wait_readable(self._epoll.fileno())
        self._ask(dict(self._epoll.poll(0)))
        self._count_wake(trio.current_time())

    def _ask(self, ready: dict[int, int]) -> None:
        """Let ALSA look at what its descriptors say; who has lost his sound server says so then."""
        try:
            self._pcm.polldescriptors_revents(
                [(descriptor, ready.get(descriptor, 0)) for descriptor, _ in self._descriptors]
            )
        except alsaaudio.ALSAAudioError as error:
            raise DeviceError(f"{self.name!r}: {error}") from error

    def _count_wake(self, now_s: float) -> None:
        self._wakes += 1
        if now_s - self._wakes_since_s < 1.0:
            return
        periods = (now_s - self._wakes_since_s) * self.form.rate_hz / self.period_frames
        self._timed = self._wakes > WAKES_MAX * periods
        self._wakes, self._wakes_since_s = 0, now_s

    def _fault(self, *, lost: bool = True) -> None:
        """An xrun, that lost sound or not. A card that gives nothing else is dead."""
        self.xruns += lost
        if lost and self.xruns == 1:
            log.warning("%r had an xrun, sound was lost; `status` counts them", self.name)
        self._faults += 1
        if self._faults > FAULTS_MAX:
            raise DeviceError(f"{self.name!r} answers nothing but xruns")

    def check(self) -> None:
        """Fail if the card is gone, or its sound server: one that stands still says nothing.

        Raises:
            DeviceError: so it is.
        """
        self._count()
        self._ask({})

    def _count(self) -> int:
        """Frames that could be read or written; or a negative errno: not yet started, an xrun."""
        available = int(self._pcm.avail())
        if available == -errno.ENODEV:
            raise DeviceError(f"{self.name!r}: unplugged")
        return available

    def drop(self) -> None:
        """Stand still, and forget what the card holds."""
        self._pace.stop()
        try:
            self._pcm.drop()
        except alsaaudio.ALSAAudioError as error:
            raise DeviceError(f"{self.name!r}: {error}") from error

    def close(self) -> None:
        """Give the card back, without draining it. A second call does nothing."""
        if self._epoll.closed:
            return
        trio.lowlevel.notify_closing(self._epoll.fileno())
        self._epoll.close()
        with contextlib.suppress(alsaaudio.ALSAAudioError):  # it is gone; what is left is freed
            self._pcm.drop()
        self._pcm.close()


class AlsaCapture(_Stream):
    """A capture stream; see `appliance.sound.microphone.Capture`.

    Raises:
        DeviceError: there is no such card, it is busy, or it does not grant the rate.
    """

    def __init__(self, name: str, rate_hz: int, period_frames: int) -> None:
        super().__init__(alsaaudio.PCM_CAPTURE, name, rate_hz, period_frames)
        self._is_short = False  # the last wake came before a period was whole
        self.drop()  # PulseAudio's runs from the start, and fills memory with what nobody reads

    def _make_pace(self) -> Pace:
        frames_of = self.form.frames_of
        return Pace(
            self.form.rate_hz, burst_frames=frames_of(BURST_S), spare_frames=frames_of(SPARE_S)
        )

    async def wait(self) -> None:
        """Wait for a period; on a card that wakes in the middle of one, for the rest of it too."""
        await super().wait()
        if self._pace.by_clock:
            return
        missing = self.period_frames - self._count()
        self._is_short = 0 < missing <= self.period_frames
        if self._is_short:
            await trio.sleep(missing / self.form.rate_hz)

    def start(self) -> None:
        """Begin to record: the first read makes the stream run."""
        self.drop()
        self._faults = 0
        if not self._pace.by_clock:  # whose first read brings sound already
            self._read()
        self._pace.start(trio.current_time())

    def stop(self) -> None:
        """Stand still and forget what was not read."""
        self.drop()

    def read(self) -> bytes:
        """The whole periods that are there.

        After a wake in the middle of one also what is there of the next: that moves the wakes to
        where the periods end. Else the descriptor would stay ready, and we would spin.
        """
        now_s = trio.current_time()
        available = self._count()
        if self._pace.by_clock:
            available, self._is_short = self._due(now_s), False
        pieces = []
        whole = available // self.period_frames if available >= 0 else 1
        for _ in range(whole + self._is_short):
            piece = self._read()
            if not piece:
                break
            pieces.append(piece)
        sound = b"".join(pieces)
        self._pace.move(len(sound) // self.form.frame_bytes)
        if self._pace.finds_out(now_s):
            self._take_over()
            self._pace.start(now_s)  # what came too early was heard: nothing is due for it
        return sound

    def _due(self, now_s: float) -> int:
        """Frames that the clock has brought; no more than a card would have kept for us."""
        due = -self._pace.ahead(now_s)
        self._pace.move(max(0, due - self.buffer_frames))
        return min(due, self.buffer_frames)

    def _read(self) -> bytes:
        if self._pace.by_clock:
            _leave_zeros(self.period_frames * self.form.frame_bytes)
        try:
            frames, sound = self._pcm.read()
            if frames == -errno.EPIPE:
                self._fault()
                frames, sound = self._pcm.read()  # runs again only after a read
        except alsaaudio.ALSAAudioError as error:
            raise DeviceError(f"{self.name!r}: {error}") from error
        if frames <= 0:
            return b""
        self._faults = 0
        return bytes(sound)


class AlsaPlayback(_Stream):
    """A playback stream; see `appliance.sound.speaker.Playback`.

    Raises:
        DeviceError: there is no such card, it is busy, or it does not grant the rate.
    """

    def __init__(self, name: str, rate_hz: int, period_frames: int) -> None:
        self._asked = 0
        super().__init__(alsaaudio.PCM_PLAYBACK, name, rate_hz, period_frames)

    def _make_pace(self) -> Pace:
        return Pace(self.form.rate_hz, burst_frames=2 * self.buffer_frames)

    def write(self, sound: bytes) -> int:
        """Give it sound, the first period of which starts the stream; the frames it took."""
        now_s = trio.current_time()
        if not self._pace.runs:
            self._pace.start(now_s)
        elif self._pace.by_clock:
            sound = sound[: self._room(now_s, lost=any(sound)) * self.form.frame_bytes]
        while True:
            startable = len(sound)
            if not self._runs:
                startable = (self.buffer_frames - self.period_frames) * self.form.frame_bytes
            try:
                frames = int(self._pcm.write(sound[:startable]))
            except alsaaudio.ALSAAudioError as error:
                raise DeviceError(f"{self.name!r}: {error}") from error
            if frames != -errno.EPIPE:
                break
            # Nothing was taken, and the stream is prepared again. If what comes is silence the card
            # had played all that there was: a sound server's count tells so up to 20 ms late. What
            # a card says of that which keeps no time says nothing.
            self._fault(lost=any(sound) and not self._pace.by_clock)
        if frames > 0:
            self._faults = 0
            self._pace.move(frames)
        return max(frames, 0)

    def _room(self, now_s: float, *, lost: bool) -> int:
        """Frames that a card would have room for that has played what the clock says."""
        ahead = self._pace.ahead(now_s)
        if ahead < 0:  # it has run empty
            self._fault(lost=lost)
            self._pace.start(now_s)
        return self.buffer_frames - max(0, ahead)

    def queued_frames(self) -> int:
        """Frames that have not left the card; none after an underrun or a drop."""
        available = self._count()
        queued = max(0, self.buffer_frames - available) if available >= 0 and self._runs else 0
        if not self._pace.by_clock:
            self._asked += 1
            if self._asked % JUDGED_EACH:
                return queued
        now_s = trio.current_time()
        if self._pace.finds_out(now_s, held=queued):
            self._take_over()
        return max(queued, self._pace.ahead(now_s)) if self._pace.by_clock else queued

    @property
    def _runs(self) -> bool:
        return bool(self._pcm.state() == alsaaudio.PCM_STATE_RUNNING)
