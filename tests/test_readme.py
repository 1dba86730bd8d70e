"""The README says what the code does."""

import re
from pathlib import Path

import pytest

from appliance import cli, config
from appliance.conversation import PHASES, TABLE, Event, Mode
from appliance.errors import Trouble
from appliance.panel.looks import LOOKS

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "compares -->\n", "<!-- the end of the table -->"
TOLD = (
    (Mode.HOLD, Event.PRESSED),
    (Mode.HOLD, Event.RELEASED),
    (Mode.TAP, Event.PRESSED),
    (Mode.TAP, Event.RELEASED),
    (Mode.OPEN, Event.PRESSED),
    (Mode.HOLD, Event.MUTED),
    (Mode.TAP, Event.MUTED),
    (Mode.HOLD, Event.USER_SPOKE),
    (Mode.TAP, Event.USER_SPOKE),
    (Mode.HOLD, Event.ANSWER_BEGAN),
    (Mode.HOLD, Event.SPEAKER_DRY),
    (Mode.HOLD, Event.LINK_LOST),
    (Mode.HOLD, Event.TEXT_MISSING),
    (Mode.HOLD, Event.THINK_OVER),
    (Mode.HOLD, Event.WAIT_OVER),
    (Mode.HOLD, Event.QUIET_OVER),
    (Mode.HOLD, Event.MICROPHONE_LOST),
    (Mode.HOLD, Event.SPEAKER_LOST),
)


def table() -> str:
    """The rows that an owner wants to know, from the table that decides."""
    lines = [
        "| | " + " | ".join(phase.value for phase in PHASES) + " |",
        "|---" * (len(PHASES) + 1) + "|",
    ]
    for mode, event in TOLD:
        differs = TABLE[Mode.HOLD][event] != TABLE[Mode.TAP][event]
        name = f"{event.value}, `{mode.value}`" if differs else event.value
        cells = " | ".join(TABLE[mode][event][phase].value for phase in PHASES)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def test_its_table_is_the_one_that_decides() -> None:
    text = README.read_text()
    printed = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert printed == table(), f"the README's table should be\n{table()}"


def test_it_is_no_longer_than_a_reader_is_patient() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_its_settings_can_be_used() -> None:
    [toml] = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    config.parse(toml, "README.md")


def test_its_troubles_exist() -> None:
    text = README.read_text()
    rows = text[text.index("| trouble | look at |") : text.index("## The rooms")].splitlines()[2:]
    told = {
        word for row in rows if row.strip() for word in re.findall(r"`(.+?)`", row.split("|")[1])
    }
    assert len(told) > 10
    by_themselves = {Trouble.GOING_AWAY.slug, Trouble.END_TURN_REFUSED.slug}  # tried again at once
    assert told == {trouble.slug for trouble in Trouble} - by_themselves


def test_its_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    helped = capsys.readouterr().out
    for command in re.findall(r"voice-appliance ([a-z]+)", README.read_text()):
        assert f"\n    {command} " in helped, command


def test_its_looks_are_those_of_the_lamp() -> None:
    assert len(LOOKS) == len(PHASES)
    for phase in PHASES:
        assert f"{phase.value}" in README.read_text().lower()
