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

There is one link task, so there cannot be two sockets. It takes a session when one is dialled,
lives with it to the end of its close, and only then says that the link is down.

The parts come in from outside (`Parts`), so that this file opens no device and the whole house
runs in a test, on stand-ins, in virtual time.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from appliance.agent.dialer import Address
from appliance.agent.messages import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentText,
    Failed,
    FromAgent,
    FunctionsWanted,
    Settings,
    SettingsApplied,
    TurnSent,
    UserStartedSpeaking,
    UserText,
    Warned,
)
from appliance.agent.session import Session
from appliance.conversation import Action, Conversation, Event, Link, Mode, Talk
from appliance.errors import AgentError, DeviceError, Trouble
from appliance.face import Face, Watcher
from appliance.host import control
from appliance.host.spend import Meter
from appliance.parts import Button, Lamp, Parts
from appliance.sound.answer import Answers, Heard
from appliance.sound.microphone import Microphone
from appliance.sound.pcm import Format
from appliance.sound.speaker import Speaker
from appliance.sound.utterance import Utterances

log = logging.getLogger("appliance")

HURRY_S = 0.5  # a press may wait so long for an old connection to close
STOP_LIMIT_S = 0.3  # the close frame when the box is told to stop
LATE_LIMIT_S = 5.0  # a deadline that is so late means that the loop is not well


class Daemon:
    """The box. `run` is its life; `stop` ends it."""

    def __init__(self, parts: Parts) -> None:
        config, talk = parts.config, parts.config.talk
        self._parts = parts
        self._mode = Mode(talk.mode)
        self._form = Format(config.audio.rate_hz)
        self.utterances = Utterances(
            self._form,
            streams=self._mode is not Mode.HOLD,
            limit_s=talk.max_turn_s,
            preroll_s=talk.preroll_ms / 1000,
        )
        self.answers = Answers(self._form, prebuffer_s=config.audio.prebuffer_ms / 1000)
        self.conversation = Conversation(
            Talk(
                mode=self._mode,
                tap_s=talk.tap_ms / 1000,
                half_duplex=talk.duplex == "half",
                hang_up_after_s=talk.hang_up_after_s,
                max_turn_s=talk.max_turn_s,
                max_conversation_s=talk.max_conversation_s,
            ),
            self.utterances,
            self.answers,
            random=parts.random,
        )
        self.meter = Meter(config.spend.usd_per_hour)
        self._face = Face(
            parts,
            self.conversation,
            utterances=self.utterances,
            answers=self.answers,
            meter=self.meter,
            form=self._form,
        )
        self._microphone = Microphone(
            parts.open_microphone,
            heard=self._heard,
            found=lambda: self.tell(Event.MICROPHONE_FOUND),
            lost=lambda: self.tell(Event.MICROPHONE_LOST),
        )
        self._speaker = Speaker(
            parts.open_speaker,
            self.answers,
            dry=lambda: self.tell(Event.SPEAKER_DRY),
            began=lambda: self._face.publish("sound begins"),
            found=lambda: self.tell(Event.SPEAKER_FOUND),
            lost=lambda: self.tell(Event.SPEAKER_LOST),
            lead_in_s=config.audio.lead_in_ms / 1000,
            played=parts.played,
        )
        self._address = Address.of(config.agent.url)
        self._session: Session | None = None
        self._dialled = trio.Event()
        self._idle = trio.Event()  # no session lives
        self._idle.set()
        self._moved = trio.Event()  # a deadline may be another than it was
        self._stopped = trio.Event()
        self._can_force_end_turn = True  # until this server has refused it
        self._button: Button | None = None
        self._request_id = ""

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
            house.start_soon(self._keep_link)
            house.start_soon(self._microphone.run)
            house.start_soon(self._speaker.run)
            house.start_soon(self._parts.manager.run_watchdog, self.is_alive)
            if self._preroll_runs:
                self._microphone.on()
            self._face.show()
            self._parts.manager.ready()
            task_status.started()
            house.start_soon(self._prepare)
            await self._stopped.wait()
            self._parts.manager.stopping()
            self._speaker.hush()
            if self._button is not None:
                self._button.close()
            await self._let_go_of_the_link()
            house.cancel_scope.cancel()

    def stop(self) -> None:
        """End it: silence, a close frame, and out. Never waits."""
        self._stopped.set()

    def is_alive(self) -> bool:
        """Whether the loop keeps the conversation's deadlines."""
        return trio.current_time() < self.conversation.next_deadline_s + LATE_LIMIT_S

    def _open_panel(self, house: trio.Nursery) -> None:
        """The box answers to its control socket also where it has no pins, or too few."""
        try:
            lamp = self._parts.open_lamp()
        except DeviceError as error:
            self._face.miss_panel(error)
        else:
            if lamp is not None:
                house.start_soon(self._keep_lamp, lamp)
        try:
            self._button = self._parts.open_button(
                lambda: self.tell(Event.PRESSED), lambda: self.tell(Event.RELEASED)
            )
        except DeviceError as error:
            self._face.miss_panel(error)

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
        for action in self.conversation.handle(event, now_s, why):
            self._do(action, now_s)
        if event in (Event.MUTED, Event.UNMUTED):
            self._mind_mute()
        if self._session is not None:  # what may be sent now is another thing than before
            self._session.wake()
        after = self.conversation.phase
        if after is not before:
            log.info("%s: %s -> %s", event.value, before.value, after.value)
        self._face.show()
        self._face.publish(event.value)
        self._moved.set()

    def _do(self, action: Action, now_s: float) -> None:
        match action:
            case Action.CUT:
                self.answers.cut(now_s, after=self.utterances.newest_ended)
                self._speaker.hush()
            case Action.CUT_BY_SERVER:
                self.answers.cut_by_server(now_s)
                self._speaker.hush()
            case Action.FINISH:
                self._speaker.hush()
            case Action.PLAY:
                self.answers.release(now_s)
                self._speaker.wake()
            case Action.LISTEN:
                self.utterances.begin(sendable=False)
                if self._mode is Mode.HOLD:
                    self.answers.withhold()
                self._microphone.on()
            case Action.SEND:
                self.utterances.send()
            case Action.MARK_SPEECH:
                self.utterances.mark_speech()
            case Action.SHUT:
                self.utterances.shut = True
            case Action.END | Action.ERASE | Action.DISCARD:
                self._end_utterance(action, now_s)
            case Action.CALL_OFF:
                self.utterances.call_off()
            case Action.DROP_SENT:
                self.utterances.drop_sent()
            case Action.DROP_ALL:
                self.utterances.drop_all()
            case Action.END_AGAIN:
                if not self.utterances.pass_on() and self._session is not None:
                    self._session.end_turn_again()
            case Action.DIAL:
                self._dial()
            case _:
                self._do_to_session(action)

    def _do_to_session(self, action: Action) -> None:
        session = self._session
        if session is None:
            return
        match action:
            case Action.UPGRADE:
                session.allow_upgrade()
            case Action.HURRY:
                session.hang_up(HURRY_S)
            case Action.HANG_UP | Action.ABORT:
                session.hang_up()

    def _end_utterance(self, action: Action, now_s: float) -> None:
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
        self.utterances.forget_preroll()
        if self.conversation.muted:
            self._microphone.off()
        elif self._preroll_runs:
            self._microphone.on()

    # ── sound ────────────────────────────────────────────────────────────────────────────────

    def _heard(self, sound: bytes) -> None:
        """A piece from the microphone."""
        self.utterances.hear(sound, trio.current_time())
        if self._session is not None:
            self._session.wake()

    def _answered(self, sound: bytes) -> None:
        """A piece from the agent."""
        try:
            heard = self.answers.hear(sound, trio.current_time())
        except AgentError:  # more than can be played in ten minutes: none of it is
            self._speaker.hush()
            raise
        if heard is Heard.BEGAN:
            self.utterances.take(by_text=False)
        if heard in (Heard.BEGAN, Heard.WITHHELD):
            self.tell(Event.ANSWER_BEGAN)
        self._speaker.wake()

    # ── the link ─────────────────────────────────────────────────────────────────────────────

    def _dial(self) -> None:
        config = self._parts.config
        assert self._session is None, "two sockets at once"
        self.answers.new_connection()
        self.utterances.new_connection()
        self._session = Session(
            settings=Settings(
                rate_hz=self._form.rate_hz,
                listen=config.agent.listen,
                think=config.agent.think,
                speak=config.agent.speak,
                prompt=config.agent.prompt,
                tags=tuple(dict.fromkeys((*config.agent.tags, *filter(None, [self._parts.name])))),
                ends_are_ours=self._mode is Mode.HOLD,
                force_end_turn=self._can_force_end_turn,
            ),
            uplink=self.utterances,
            connect=self._parts.connect,
            address=self._address,
            authorization=self._parts.authorization,
            message_s=config.audio.message_ms / 1000,
            hear=self._answered,
            tell=self._news,
            billed=self._bill,
        )
        self._idle = trio.Event()
        self._dialled.set()

    async def _keep_link(self) -> None:
        """Live with one session after the other."""
        while True:
            await self._dialled.wait()
            self._dialled = trio.Event()
            session = self._session
            assert session is not None
            why = None
            try:
                await session.run()
            except AgentError as error:
                why = error.trouble
                log.warning("%s: %s", why.sentence, error)
            self._can_force_end_turn = self._can_force_end_turn and not session.end_turn_refused
            self._session = None
            self._idle.set()
            if why is None or self.conversation.link is Link.CLOSING:
                self.tell(Event.LINK_DOWN)
            else:
                self.tell(Event.LINK_LOST, why)

    async def _let_go_of_the_link(self) -> None:
        if self._session is not None:
            self._session.hang_up(STOP_LIMIT_S)
        with trio.move_on_after(STOP_LIMIT_S + 0.1):
            await self._idle.wait()

    def _bill(self, since_s: float | None) -> None:
        if since_s is None:
            self.meter.closed(trio.current_time())
        else:
            self.meter.opened(since_s)

    def _news(self, message: FromAgent | TurnSent) -> None:
        """What the agent says, in the order in which it says it."""
        match message:
            case SettingsApplied():
                self._request_id = self._session.request_id if self._session else ""
                log.info("connected, request %s", self._request_id)
                self.tell(Event.LINK_UP)
            case TurnSent():
                self.tell(Event.TURN_SENT)
            case UserText(text):
                self.answers.user_text(self.utterances.take(by_text=True))
                self._face.publish("you said", text=text)
                self.tell(Event.USER_TEXT)
            case AgentText(text):
                self.answers.agent_turns()
                self._face.publish("agent says", text=text)
            case AgentStartedSpeaking():
                self.answers.agent_turns()
            case UserStartedSpeaking():
                self.tell(Event.USER_SPOKE)
            case AgentAudioDone():
                self.answers.sent_whole()
                self.tell(Event.AUDIO_DONE)
                self._speaker.wake()
            case FunctionsWanted():
                self.utterances.take(by_text=False)
                self.tell(Event.STILL_THINKING)
            case Warned("SLOW_THINK_REQUEST"):
                self.tell(Event.STILL_THINKING)
            case Failed("FAILED_TO_THINK"):
                self.tell(Event.THINK_FAILED)
            case _:
                pass

    # ── the control socket's side ────────────────────────────────────────────────────────────

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of every event from now on; what is returned ends it. Never waits."""
        return self._face.subscribe(watcher)

    def status(self) -> dict[str, object]:
        """What is true now."""
        return self._face.status(self._request_id, can_force_end_turn=self._can_force_end_turn)

    def commands(self) -> Mapping[str, Callable[..., object]]:
        """What may be asked through the control socket."""
        return {
            "press": lambda: self._told(Event.PRESSED),
            "release": lambda: self._told(Event.RELEASED),
            "mute": lambda: self._told(Event.MUTED),
            "unmute": lambda: self._told(Event.UNMUTED),
        }

    def _told(self, event: Event) -> dict[str, object]:
        self.tell(event)
        talk = self.conversation
        return {
            "phase": talk.phase.value,
            "link": talk.link.value,
            "trouble": talk.trouble.slug if talk.trouble else None,
        }
