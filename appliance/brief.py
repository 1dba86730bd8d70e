"""What the agent is told first on each connection, and what changes it on the way.

The owner's settings are where it begins; a command may change prompt and voice, for the connection
that stands and for those that follow. What was said is told again, but for words that go again by
themselves.

Behind the owner's prompt, as it stands, goes one sentence: whether the user can interrupt by voice,
or has to press. A model that is not told offers what the box cannot do. It is left out where the
prompt is not ours to write, because there is none, it is a stored agent's (`id`), or it stands in
the owner's `think`; and where both together would be longer than the API takes.

Another prompt is said as `UpdatePrompt`, which the API's pages describe twice: one says that it
adds to the prompt, one that it replaces it. `UpdateThink` would surely replace, but with it the
model and the functions of whoever stored the agent. The next connection has the new one alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

import msgspec

from appliance.agent import early_access, v1
from appliance.agent.dialect import Dialect
from appliance.agent.history import History
from appliance.agent.messages import (
    Ask,
    ChangeListen,
    ChangePrompt,
    ChangeThink,
    ChangeThinkLive,
    ChangeVoice,
    Function,
    Improvise,
    Say,
    Settings,
    Table,
    ToAgent,
)
from appliance.config import Settings as Config
from appliance.sound.pcm import Format
from appliance.words import WORDS_MAX

BY_PRESSING = "The user cannot interrupt you by voice, only by pressing a button."
BY_SPEAKING = "The user can interrupt you at any time by speaking."
PROMPT_MAX = WORDS_MAX

DIALECTS: dict[str, Dialect] = {v1.NAME: v1, early_access.NAME: early_access}

Block = Literal["listen", "think", "speak", "think_live"]
BLOCKS: tuple[Block, ...] = get_args(Block)


class Brief:
    """The settings of the next connection. Nothing here waits.

    Args:
        config: the owner's.
        history: what was said.
        functions: what the agent may call on this box.
        name: the box's, always one of its tags.
        form: the sound's.
    """

    def __init__(
        self,
        config: Config,
        history: History,
        functions: tuple[Function, ...],
        name: str,
        form: Format,
    ) -> None:
        agent = config.agent
        self.dialect = DIALECTS[agent.spoken_dialect]
        self.can_force_end_turn = True  # until this server has refused it
        self._history = history
        self._to_say: list[ToAgent] = []
        self.changes: list[ToAgent] = []  # to be said once the settings are accepted
        self._greets = agent.greeting if config.talk.mode == "open" else ""
        is_full = config.talk.duplex == "full" and config.talk.mode != "hold"
        self._manners = "" if agent.id else BY_SPEAKING if is_full else BY_PRESSING
        is_v1 = self.dialect is v1
        self._settings = Settings(
            rate_hz=form.rate_hz,
            encoding=config.audio.encoding,
            prompt=self._with_manners(agent.prompt),
            listen=agent.listen,
            think=agent.think,
            speak=agent.speak,
            think_live=agent.think_live,
            agent_id=agent.id,
            functions=functions,
            tags=tuple(dict.fromkeys((*agent.tags, *filter(None, [name])))) if is_v1 else (),
            mip_opt_out=agent.mip_opt_out,
            experimental=agent.experimental,
            flags=agent.flags,
            ends_are_ours=config.talk.mode == "hold",
        )

    def settings(self, now_s: float, *, goes_again: bool) -> Settings:
        """What is said first now.

        Args:
            now_s: now.
            goes_again: the user's last words will be asked again: they are no history yet.
        """
        history = self._history.replay(now_s, without_last=goes_again)
        is_greeted = goes_again or self._history.is_greeted(now_s)
        greeting = "" if is_greeted else self._greets
        if greeting:
            self._history.expect_greeting()
        return replace(
            self._settings,
            history=history,
            greeting=greeting,
            force_end_turn=self.can_force_end_turn,
        )

    def retune(self, form: Format) -> None:
        """The sound has another rate, from the next connection on."""
        self._settings = replace(self._settings, rate_hz=form.rate_hz)

    def change_prompt(self, prompt: str) -> ToAgent:
        """Another prompt from now on; what to tell the connection that stands."""
        think = self._settings.think
        if isinstance(think, Mapping):
            think = _without_prompt(think)
        elif think is not None:
            think = [_without_prompt(entry) for entry in think]
        prompt = self._with_manners(prompt)
        self._settings = replace(self._settings, prompt=prompt, think=think)
        return self._changed(ChangePrompt(prompt))

    def _with_manners(self, prompt: str) -> str:
        """The owner's prompt, and behind it how the user can interrupt."""
        whole = f"{prompt}\n\n{self._manners}"
        return whole if prompt and self._manners and len(whole) <= PROMPT_MAX else prompt

    def change_voice(self, model: str) -> ToAgent:
        """Another voice from now on; what to tell the connection that stands.

        A server was seen to acknowledge the change and to go on as before: then the next
        connection has it.
        """
        self._settings = replace(self._settings, speak=self.dialect.voice(model))
        return self._changed(ChangeVoice(model))

    def change_block(self, block: Block, table: Table) -> ToAgent:
        """Another block of the agent from now on; what to tell the connection that stands.

        Raises:
            CannotSay: the dialect has no words for it.
        """
        change: ToAgent
        match block:
            case "listen":
                change, wanted = ChangeListen(table), replace(self._settings, listen=table)
            case "think":  # it takes the place of prompt and functions too: they are told again
                wanted = replace(self._settings, think=table)
                change = ChangeThink(self.dialect.think(wanted))
            case "speak":
                change, wanted = ChangeVoice(table), replace(self._settings, speak=table)
            case "think_live":
                change, wanted = ChangeThinkLive(table), replace(self._settings, think_live=table)
        self.dialect.encode(change)
        self._settings = wanted
        return self._changed(change)

    def _changed(self, change: ToAgent) -> ToAgent:
        """A stored agent has settings of its own: it is told each change on each connection."""
        if self._settings.agent_id:
            kept = [one for one in self.changes if type(one) is not type(change)]
            self.changes = [*kept, change]
        return change

    def keep(self, message: Say | Ask | Improvise) -> None:
        """To be said as soon as the connection stands.

        Raises:
            CannotSay: the dialect has no words for it.
        """
        self.dialect.encode(message)
        self._to_say = [message]

    def take_words(self) -> list[ToAgent]:
        """What was kept to be said, once."""
        words, self._to_say = self._to_say, []
        return words


def _without_prompt(think: Table) -> Table:
    return {name: value for name, value in think.items() if name != "prompt"}


def stands_in(config: Config, url: str) -> Config:
    """The settings for a stand-in agent at `url`: nothing that only the real one understands."""
    agent = msgspec.structs.replace(
        config.agent,
        url=url,
        dialect="auto",
        proxy="",
        ca_file="",
        id="",
        key_command=(),
        listen=None,
        think=None,
        speak=None,
        think_live=None,
        flags=None,
    )
    return msgspec.structs.replace(config, agent=agent)
