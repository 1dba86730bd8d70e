"""What the agent is told first: the owner's prompt, and whether the user can interrupt by voice."""

import json
from typing import Any

import pytest

from appliance import config
from appliance.agent.history import History
from appliance.brief import BY_PRESSING, BY_SPEAKING, PROMPT_MAX, Brief
from appliance.sound.pcm import Format

EARLY = "url = 'wss://sts.sandbox.deepgram.com/agent'"
STORED = "id = '01234567-89ab-cdef-0123-456789abcdef'"
MINI = "provider = { type = 'open_ai', model = 'gpt-4o-mini' }"
DEFAULT = config.DEFAULTS.agent.prompt


def a_brief(settings: str) -> Brief:
    return Brief(config.parse(settings, "test"), History(600.0), (), "box", Format(16000))


def think(brief: Brief) -> Any:
    agent = json.loads(brief.dialect.encode(brief.settings(0.0, goes_again=False)))["agent"]
    return agent["think"] if isinstance(agent, dict) else agent


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        ("", BY_PRESSING),
        ("duplex = 'full'", BY_PRESSING),  # in `hold` nobody is heard who does not press
        ("mode = 'tap'", BY_PRESSING),
        ("mode = 'open'", BY_PRESSING),
        ("mode = 'tap'\nduplex = 'full'", BY_SPEAKING),
        ("mode = 'open'\nduplex = 'full'", BY_SPEAKING),
    ],
)
def test_the_model_is_told_how_it_can_be_interrupted(talk: str, sentence: str) -> None:
    wanted = f"{DEFAULT}\n\n{sentence}"
    assert think(a_brief(f"[talk]\n{talk}"))["prompt"] == wanted
    assert think(a_brief(f"[agent]\n{EARLY}\n[talk]\n{talk}"))["instructions"] == wanted


def test_the_owners_prompt_stands_before_it_as_it_was_written() -> None:
    prompt = ' Sage "Grüß Gott" 🎙\n'
    told = think(a_brief(f"[agent]\nprompt = '''{prompt}'''"))["prompt"]
    assert told == f"{prompt}\n\n{BY_PRESSING}"


def test_no_prompt_is_no_prompt() -> None:
    assert "prompt" not in think(a_brief("[agent]\nprompt = ''"))


def test_a_stored_agent_is_told_nothing_of_it() -> None:
    brief = a_brief(f"[agent]\n{STORED}")
    assert think(brief) == "01234567-89ab-cdef-0123-456789abcdef"
    assert "Be brief." in repr(brief.change_prompt("Be brief."))
    assert BY_PRESSING not in repr(brief.change_prompt("Be brief."))


def test_a_prompt_in_the_owners_think_is_left_alone() -> None:
    chain = f"think = [{{ {MINI}, prompt = 'In rhymes.' }}, {{ {MINI} }}]"
    own, ours = think(a_brief(f"[agent]\n{chain}"))
    assert own["prompt"] == "In rhymes."
    assert ours["prompt"] == f"{DEFAULT}\n\n{BY_PRESSING}"


def test_another_prompt_is_told_the_same_way_now_and_later() -> None:
    brief = a_brief("")
    change = json.loads(brief.dialect.encode(brief.change_prompt("Be brief.")))
    assert change["prompt"] == think(brief)["prompt"] == f"Be brief.\n\n{BY_PRESSING}"


def test_a_prompt_as_long_as_the_api_takes_is_sent_alone() -> None:
    longest = "a" * (PROMPT_MAX - len(BY_PRESSING) - 2)
    assert len(think(a_brief(f"[agent]\nprompt = '{longest}'"))["prompt"]) == PROMPT_MAX
    assert think(a_brief(f"[agent]\nprompt = '{longest}b'"))["prompt"] == f"{longest}b"
