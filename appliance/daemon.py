"""READ FIRST. The household: every part, every wire, one nursery.

    button ──pressed──▶ ╲                                       ╱──▶ lamp.show(look)
    agent  ──news─────▶  tell ─▶ Conversation.handle ─▶ actions ──▶ speaker: hush, play
    speaker ─dry──────▶ ╱   (pure; time comes in as an argument)  ╲──▶ session: dial, hang up
    control ─command──▶╱

    microphone ══20 ms══▶ utterances (kept until taken) ══▶ session ══▶ server
    server ══▶ session ══▶ answers (generations, cuts) ══▶ speaker ══▶ card

Whatever happens is *told*: the conversation decides, its actions are done within the same call,
then the lamp shows what is true now. Nothing in that call waits, so a press silences the card in
the turn of the loop in which it arrives, whatever else hangs. Sound goes its own way, by plain
calls between rooms that never wait either; the only queues are the utterances and the answers.
What the box says by itself (`cues.py`) gives way to all of it.

The line to the agent (`line.py`) is one task, so there cannot be two sockets.

The parts come in from outside (`Parts`), so that this file opens no device and the whole house
runs in a test, on stand-ins, in virtual time.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from appliance import __version__
from appliance.agent.session import Session
from appliance.brief import Brief
from appliance.chronicle import Chronicle
from appliance.config import Settings as Config
from appliance.config import rates_taken
from appliance.conversation import Action, Event, Link, Mode, Phase, Talk
from appliance.cues import Cues, wanted
from appliance.errors import AgentError, DeviceError, Trouble
from appliance.face import Face, Watcher
from appliance.fingers import Fingers
from appliance.functions import Functions
from appliance.host import control
from appliance.host.turns import Moment
from appliance.knobs import Knobs
from appliance.line import Line
from appliance.loudness import Loudness
from appliance.mind import Conversation
from appliance.novelty import Novelty
from appliance.orders import commands
from appliance.parts import Lamp, Parts
from appliance.purse import Purse
from appliance.sound.answer import Answers, Heard
from appliance.sound.echo import Echo
from appliance.sound.edges import EDGE_S
from appliance.sound.microphone import Microphone
from appliance.sound.pcm import Format
from appliance.sound.speaker import Speaker
from appliance.sound.tuning import Tuning
from appliance.sound.utterance import Utterances
from appliance.sound.voice import Voice
from appliance.sound.volume import stepped

log = logging.getLogger("appliance")

LATE_LIMIT_S = 5.0  # a deadline that is so late means that the loop is not well


def _talk_of(config: Config) -> Talk:
    """The owner's choices, in seconds."""
    talk = config.talk
    return Talk(
        mode=Mode(talk.mode),
        tap_s=talk.tap_ms / 1000,
        half_duplex=talk.duplex == "half",
        hang_up_after_s=talk.hang_up_after_s,
        max_turn_s=talk.max_turn_s,
        max_conversation_s=talk.max_conversation_s,
        long_press_s=talk.long_press_s,
        audible=wanted(config.cues),
    )


class Daemon:
    """The box. `run` is its life; `stop` ends it."""

    def __init__(self, parts: Parts) -> None:
        config, talk = parts.config, parts.config.talk
        self._parts = parts
        self._mode = Mode(talk.mode)
        self.tuning = Tuning(
            config.audio.rate_hz,
            rates_taken(config),
            native=parts.native_rates,
            is_quiet=self._is_quiet,
            retune=self._retune,
        )
        self.knobs = Knobs(parts.knobs_book, config.audio.volume)
        self.utterances = Utterances(
            self.form,
            streams=self._mode is not Mode.HOLD,
            limit_s=talk.max_turn_s,
            preroll_s=talk.preroll_ms / 1000,
        )
        # The first sample leaves the card `EDGE_S` after the first write.
        prebuffer_s = max(0.0, config.audio.prebuffer_ms / 1000 - EDGE_S)
        self.answers = Answers(self.form, prebuffer_s=prebuffer_s)
        self.conversation = Conversation(
            _talk_of(config),
            self.utterances,
            self.answers,
            random=parts.random,
        )
        self.conversation.muted = self.knobs.muted
        self.chronicle = Chronicle(config, parts, self.form)
        self.functions = Functions(config.tools, parts, self)
        offered = self.functions.offered()
        self.brief = Brief(config, self.chronicle.history, offered, parts.name, self.form)
        self.purse = Purse(
            config.spend,
            parts.spend_book,
            wall=parts.wall,
            capped=lambda is_so: self.tell(Event.CAP_REACHED if is_so else Event.CAP_LIFTED),
        )
        self.meter = self.purse.ledger.meter
        self.utterances.first_sent = lambda number: self.chronicle.mark(
            Moment.FIRST_BYTE_SENT, number
        )
        self._face = Face(parts, self)
        self._fingers = Fingers(parts, self, self._face)
        self._make_ear_and_mouth()
        self._line = Line(parts, self, hear=self._answered)
        self._moved = trio.Event()  # a deadline may be another than it was
        self._stopped = trio.Event()
        self._was_muted = self.conversation.muted

    def _make_ear_and_mouth(self) -> None:
        """What is between the cards and the conversation."""
        parts, config = self._parts, self._parts.config
        self._microphone = Microphone(
            lambda: parts.open_microphone(self.form.rate_hz),
            heard=self._heard,
            found=lambda: self.tell(Event.MICROPHONE_FOUND),
            lost=lambda: self.tell(Event.MICROPHONE_LOST),
        )
        self._voice = Voice(self.form, self.answers)
        self._speaker = Speaker(
            lambda: parts.open_speaker(self.form.rate_hz),
            self._voice,
            dry=self._fell_dry,
            began=self._sound_begins,
            found=self._speaker_found,
            lost=self._lost_speaker,
            edge_s=EDGE_S,
            lead_in_s=config.audio.lead_in_ms / 1000,
            played=self._played if parts.played or parts.canceller else None,
        )
        self.loudness = Loudness(parts.open_mixer, self.knobs.volume, gains=self._speaker.set_gains)
        self._cues = Cues(config.cues, self.form, self._voice, self._speaker, self.publish)
        self.conversation.is_telling = lambda: self._cues.is_busy
        self._novelty = Novelty(parts.release_book, __version__, self._cues.say)
        self.echo: Echo | None = None
        if parts.canceller is not None:
            self.echo = Echo(
                parts.canceller, self.form, look=self._speaker.look, clock=trio.current_time
            )
        self.tuning.join(self._microphone.plug)
        self.tuning.join(self._speaker.plug)

    # ── its life ─────────────────────────────────────────────────────────────────────────────

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until `stop`. Ready means loop, panel and control socket: not cards, nor network.

        Raises:
            DeviceError: the control socket cannot be had.
        """
        async with trio.open_nursery() as house:
            if self._parts.socket_path is not None:
                await house.start(control.serve, self._parts.socket_path, self)
            self._open_panel(house)
            house.start_soon(self._keep_time)
            house.start_soon(self._line.run)
            house.start_soon(self._microphone.run)
            house.start_soon(self._speaker.run)
            house.start_soon(self._cues.run)
            if self._parts.watch_cards is not None:
                house.start_soon(self._parts.watch_cards, self._cards_changed)
            house.start_soon(self.functions.serve)
            house.start_soon(self.purse.run)
            house.start_soon(self.chronicle.run)
            house.start_soon(self.knobs.run)
            house.start_soon(self._novelty.run)
            house.start_soon(self._parts.manager.run_watchdog, self.is_alive)
            if self._preroll_runs:
                self._microphone.on()
            self._face.show()
            self._parts.manager.ready()
            task_status.started()
            house.start_soon(self._prepare)
            self.chronicle.load()
            self.purse.look()
            self.tuning.start()
            self.tell(Event.STARTED)
            await self._stopped.wait()
            self._parts.manager.stopping()
            self._fall_silent()
            self._speaker.hush()
            self.functions.cancel_all()
            self._fingers.close()
            await self._line.let_go()
            house.cancel_scope.cancel()

    def stop(self) -> None:
        """End it: silence, a close frame, and out. Never waits."""
        self._stopped.set()

    def is_alive(self) -> bool:
        """Whether the conversation's deadlines are kept, and running cards looked after.

        A missing card, a missing network, a hung sound server are no death: they are waited out.
        """
        in_time = trio.current_time() < self.conversation.next_deadline_s + LATE_LIMIT_S
        return in_time and self._microphone.is_alive() and self._speaker.is_alive()

    def _open_panel(self, house: trio.Nursery) -> None:
        """The box answers to its control socket also where it has no pins, or too few."""
        try:
            lamp = self._parts.open_lamp()
        except DeviceError as error:
            self._face.miss_panel(error)
        else:
            if lamp is not None:
                house.start_soon(self._keep_lamp, lamp)
        self._fingers.open()
        house.start_soon(self._fingers.run)

    async def _prepare(self) -> None:
        """Do now what would keep the first press waiting; what fails is told when it is dialled."""
        if self._parts.prepare is not None:
            with suppress(AgentError):
                await self._parts.prepare()

    async def _keep_lamp(self, lamp: Lamp) -> None:
        self._face.lamp = lamp
        self._face.show()
        try:
            await lamp.run()
        except DeviceError as error:
            self._face.lamp = None
            self._face.miss_panel(error)
        finally:
            lamp.close()

    async def _keep_time(self) -> None:
        """Tell the conversation of its deadlines."""
        while True:
            self._moved = trio.Event()
            with trio.move_on_at(self.conversation.next_deadline_s):
                await self._moved.wait()
            for event in self.conversation.due(trio.current_time()):
                self.tell(event)

    # ── what happens ─────────────────────────────────────────────────────────────────────────

    def tell(self, event: Event, why: Trouble | None = None) -> None:
        """Something happened: decide, do, show. Never waits."""
        now_s = trio.current_time()
        before = self.conversation.phase
        self.utterances.expire(now_s)
        if event is Event.PRESSED:
            self._fall_silent()
        for action in self.conversation.handle(event, now_s, why):
            self._do(action, now_s)
        if self.conversation.muted is not self._was_muted:
            self._mind_mute()
        self._line.wake()  # what may be sent now is another thing than before
        after = self.conversation.phase
        if after is not before:
            log.info("%s: %s -> %s", event.value, before.value, after.value)
        self._face.show()
        self._face.publish(event.value)
        self._novelty.happened(event, after, held=self.conversation.held)
        record = self.chronicle.handled(
            event, before, self.conversation, self.utterances.open_number
        )
        if record is not None:
            self._face.publish("turn", **record)
        self._moved.set()
        self._fingers.hold_mute()
        self.tuning.look()

    def _do(self, action: Action, now_s: float) -> None:
        match action:
            case Action.CUT | Action.CUT_BY_SERVER:
                self._cut(action, now_s)
            case Action.FINISH:
                self._speaker.hush()
                self.chronicle.answer_ended()
            case Action.PLAY:
                self.answers.release(now_s)
                self._speaker.wake()
            case Action.LISTEN:
                self._fall_silent()
                self.utterances.begin(sendable=False)
                if self._mode is Mode.HOLD:
                    self.answers.withhold()
                self._microphone.on()
            case Action.SEND:
                self.utterances.send()
            case Action.MARK_SPEECH:
                self.utterances.mark_speech()
            case Action.SHUT | Action.HEAR:
                self.utterances.shut = action is Action.SHUT
            case Action.END | Action.ERASE | Action.DISCARD:
                self._end_utterance(action, now_s)
            case Action.CALL_OFF:
                self.utterances.call_off()
            case Action.DROP_SENT:
                self.utterances.drop_sent()
            case Action.DROP_ALL:
                self.utterances.drop_all()
            case Action.FORGET:
                self.chronicle.history.forget()
                self.chronicle.save()
            case Action.ALLOW | Action.DENY:
                self.functions.decide(allowed=action is Action.ALLOW)
            case Action.CUE_LISTENING | Action.CUE_DONE | Action.CUE_TROUBLE | Action.PROMPT:
                self._cues.do(action, self.conversation.complaint)
            case _:
                self._line.do(action)

    def _cut(self, action: Action, now_s: float) -> None:
        """Silence first; then what is known of how far it was heard."""
        self._fall_silent()
        given = self.answers.read_bytes
        if action is Action.CUT:
            self.answers.cut(now_s, after=self.utterances.newest_ended)
        else:
            self.answers.cut_by_server(now_s)
        self.chronicle.answer_cut(given - self._speaker.hush())

    def _end_utterance(self, action: Action, now_s: float) -> None:
        if self.echo is not None:
            self.utterances.hear(self.echo.flush(), now_s)
        if action is Action.END:
            self.chronicle.utterance(self.utterances.open_number, self.utterances.open_sound)
        if action is Action.DISCARD:
            self.utterances.discard()
        else:
            self.utterances.end(now_s, erase_unsent=action is Action.ERASE)
        self.answers.drop_withheld()
        if not self._preroll_runs:
            self._microphone.off()

    @property
    def _preroll_runs(self) -> bool:
        return self._parts.config.talk.preroll_ms > 0 and not self.conversation.muted

    def _mind_mute(self) -> None:
        """A muted box hears nothing, and has forgotten what it had heard."""
        self._was_muted = self.conversation.muted
        self.knobs.mute(muted=self._was_muted)
        if self.echo is not None:
            self.echo.flush()
        self.utterances.forget_preroll()
        self._microphone.forget()
        if self.conversation.muted:
            self._microphone.off()
        elif self._preroll_runs:
            self._microphone.on()

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def _cards_changed(self) -> None:
        """The kernel tells that one came or went."""
        self._microphone.cards_changed()
        self._speaker.cards_changed()

    @property
    def form(self) -> Format:
        """Of the sound, on the wire and in every room: the cards' seam is theirs."""
        return self.tuning.form

    def _is_quiet(self) -> bool:
        """Nobody would notice another rate: no connection, nothing kept, nothing that sounds."""
        self.utterances.expire(trio.current_time())
        talk = self.conversation
        is_idle = talk.link is Link.DOWN and talk.phase in (Phase.ASLEEP, Phase.TROUBLE)
        is_silent = self.answers.dry and not self._cues.is_busy
        return is_idle and is_silent and not self.utterances.keeps

    def _retune(self, form: Format) -> None:
        """Everybody whose business the rate is. The cards are closed, and all is quiet."""
        self.utterances.retune(form)
        self.answers.retune(form)
        self._voice.retune(form)
        self._cues.retune(form)
        self.chronicle.retune(form)
        self.brief.retune(form)
        if self.echo is not None:
            self.echo.retune(form)
        self._face.publish("rate", rate_hz=form.rate_hz)

    def card_status(self) -> tuple[dict[str, object], dict[str, object]]:
        """What is known of the microphone's card, and of the speaker's."""
        return self._microphone.status(), self._speaker.status()

    def _heard(self, sound: bytes) -> None:
        """A piece from the microphone."""
        if self.echo is not None:
            sound = self.echo.hear(sound)
        if self.utterances.hear(sound, trio.current_time()):
            self.tell(Event.TURN_FULL)
        self._line.heard()

    def _played(self, sound: bytes) -> None:
        """A piece that has left the speaker."""
        if self.echo is not None:
            self.echo.played(sound)
        if self._parts.played is not None:
            self._parts.played(sound, self.form)

    def _answered(self, sound: bytes) -> None:
        """A piece from the agent."""
        now_s = trio.current_time()
        try:
            heard = self.answers.hear(sound, now_s)
        except AgentError:  # more than can be played in ten minutes: none of it is
            self._speaker.hush()
            raise
        if heard is not Heard.DISCARDED:
            self.chronicle.answer_sound(sound)
        if heard is Heard.BEGAN:
            self._fall_silent()
            self.chronicle.mark(Moment.FIRST_ANSWER_BYTE)
            self.utterances.take(by_text=False, now_s=now_s)
        if heard in (Heard.BEGAN, Heard.WITHHELD):
            self.tell(Event.ANSWER_BEGAN)
        self._speaker.wake()

    def answer_sent_whole(self) -> None:
        """The last byte of the answer has come."""
        self.answers.sent_whole()
        self.tell(Event.AUDIO_DONE)
        self._speaker.wake()

    def _speaker_found(self) -> None:
        self.loudness.card_opened()
        self.tell(Event.SPEAKER_FOUND)

    def _fall_silent(self) -> None:
        """The box says nothing by itself any more; what the microphone had of it is forgotten."""
        if self._cues.hush():
            self.utterances.forget_preroll()

    def _fell_dry(self) -> None:
        if self._voice.is_own:
            self._cues.end()
            self.utterances.forget_preroll()
            self.tuning.look()
        else:
            self.tell(Event.SPEAKER_DRY)

    def _lost_speaker(self) -> None:
        self._fall_silent()
        self.tell(Event.SPEAKER_LOST)

    def _sound_begins(self) -> None:
        if self._voice.is_own:
            return
        self.chronicle.mark(Moment.FIRST_SAMPLE)
        self._face.publish("sound begins")

    # ── the control socket's side ────────────────────────────────────────────────────────────

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of every event from now on; what is returned ends it. Never waits."""
        return self._face.subscribe(watcher)

    def publish(self, event: str, **more: object) -> None:
        """Tell those who watch."""
        self._face.publish(event, **more)

    def status(self) -> dict[str, object]:
        """What is true now."""
        return self._face.status(self._line.request_id)

    def facts(self) -> dict[str, str]:
        """What each line of the journal says besides: no words of anybody."""
        return {
            "session": self._line.request_id,
            "turn": str(self.utterances.open_number or self.utterances.newest_ended),
            "phase": self.conversation.phase.value,
        }

    @property
    def volume(self) -> int:
        """How loud the box speaks, 0 to 100."""
        return self.loudness.level

    def set_volume(self, level: int) -> None:
        """Speak that loud, 0 to 100, over a restart too. The card's control may hold things up."""
        self.loudness.set(level)
        self.knobs.turn(level)
        self._face.publish("volume", level=level)

    def step_volume(self, steps: int) -> None:
        """A button for louder, or softer, was pressed so many times; it never silences the box."""
        self.set_volume(stepped(self.volume, steps))

    def toggle_mute(self) -> None:
        """Mute it, or unmute it."""
        self.tell(Event.UNMUTED if self.conversation.muted else Event.MUTED)

    @property
    def session(self) -> Session | None:
        """The one that stands, if it can be spoken to."""
        return self._line.session if self.conversation.link is Link.UP else None

    def commands(self) -> Mapping[str, Callable[..., object]]:
        """What may be asked through the control socket."""
        return commands(self)
