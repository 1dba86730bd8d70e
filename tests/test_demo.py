"""What the demo takes for a card, and what it says first. How it plays out is in `paced/`."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance import demo
from appliance.assembly import why_no_card
from appliance.config import parse
from appliance.sound import kernel

ON_STANDINS = "on stand-ins, by itself, and Enter does nothing: "
NO_CARD = "this machine has no sound card, and "


class Enough(Exception):
    """The first line has been said."""


async def first_line(settings: str, folder: Path, *, standin: bool = False) -> str:
    said: list[str] = []

    def say(words: str) -> None:
        said.append(words)
        raise Enough

    with pytest.raises(Enough):
        await run(settings, folder, say, standin=standin)
    return said[0]


async def run(settings: str, folder: Path, say: demo.Say, *, standin: bool = False) -> demo.Report:
    return await demo.run(
        parse(settings, "test"),
        {"STATE_DIRECTORY": str(folder)},
        standin=standin,
        output=folder / "out.wav",
        say=say,
        tell=lambda _: None,
    )


@pytest.fixture(params=[{}])
def cards(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Mapping[int, str]:
    """The cards that the kernel knows."""
    here: dict[int, str] = dict(request.param)
    monkeypatch.setattr(kernel, "card_ids", lambda: here)
    return here


@pytest.mark.parametrize(
    ("audio", "why"),
    [
        ("", f"{NO_CARD}[audio] capture and playback name none"),
        ("capture = 'default'", f"{NO_CARD}[audio] capture and playback name none"),
        ("capture = 'pulse'", ""),
        ("playback = 'bluealsa:DEV=00:11'", ""),
        ("capture = 'hw:PCH'", f"{NO_CARD}capture = 'hw:PCH' is not here"),
        ("capture = 'hw:0'\nplayback = 'null'", ""),
    ],
)
def test_a_card_is_what_the_kernel_knows_or_the_owner_names(
    audio: str, why: str, cards: Mapping[int, str]
) -> None:
    assert why_no_card(parse(f"[audio]\n{audio}", "test").audio) == why


@pytest.mark.parametrize("cards", [{0: "PCH"}], indirect=True)
def test_where_there_is_a_card_it_is_tried_whatever_is_named(cards: Mapping[int, str]) -> None:
    for audio in ("", "capture = 'hw:CARD=Device'"):
        assert why_no_card(parse(f"[audio]\n{audio}", "test").audio) == ""


async def test_on_standins_the_first_line_says_so_and_why(
    tmp_path: Path, cards: Mapping[int, str]
) -> None:
    said = await first_line("", tmp_path)
    assert said == f"{ON_STANDINS}{NO_CARD}[audio] capture and playback name none"
    named = "[audio]\ncapture = 'null'\nplayback = 'null'"
    assert await first_line(named, tmp_path, standin=True) == f"{ON_STANDINS}--standin"
    assert "stand-ins" not in await first_line(named, tmp_path)


async def test_with_named_cards_a_person_presses(
    tmp_path: Path, cards: Mapping[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    said: list[str] = []

    def say(words: str) -> None:
        said.append(words)

    await run("[audio]\ncapture = 'null'\nplayback = 'null'", tmp_path, say)
    assert "Enter presses the button" in said[-1]
    assert not [words for words in said if "stand-ins" in words]
