"""`deploy/config.toml` names every key there is, each with the default that the code has.

A line that begins with `#` and no space is a key. Lines with `#or` that follow one another are a
choice: they take the places of what they name in their section. What has no default (None) is an
example there, and so is the whole of [[tools]].
"""

import re
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import config

FILE = Path(__file__).parent.parent / "deploy/config.toml"
LINES = FILE.read_text().splitlines()
CHOICES = [
    [number for number, _ in lines]
    for is_choice, lines in groupby(enumerate(LINES), lambda it: it[1].startswith("#or "))
    if is_choice
]

Table = dict[str, Any]
Key = tuple[str, ...]


def uncommented(choice: list[int] | None = None) -> str:
    """The file with every key, but for the choices; or with one of them, and without what it takes
    the place of."""
    places = {place_of(number) for number in choice or []}
    text = []
    for number, line in enumerate(LINES):
        if line.startswith("#or "):
            text.append(line.removeprefix("#or ") if number in (choice or []) else "")
        elif re.match(r"#[\[\w]", line):
            text.append(line[1:] if place_of(number) not in places else "")
        else:
            text.append(line)
    return "\n".join(text)


def place_of(number: int) -> tuple[str, str]:
    """Section and key of a line."""
    section = next(line for line in reversed(LINES[: number + 1]) if re.match(r"#?\[", line))
    return section, LINES[number].removeprefix("#or ").lstrip("#").partition(" =")[0]


def builtins(value: object) -> Any:
    """As a TOML file would have it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def leaves(table: Table, to: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key by the way to it, with its value; tables of the owner's are values."""
    for name, value in table.items():
        is_owners = to == ("agent",) and getattr(config.DEFAULTS.agent, name, "") is None
        if isinstance(value, dict) and value and not is_owners:
            yield from leaves(value, (*to, name))
        else:
            yield (*to, name), value


def said() -> dict[Key, list[Any]]:
    """What the file says of each key, in all its choices."""
    found: dict[Key, list[Any]] = {}
    for choice in (None, *CHOICES):
        table = tomllib.loads(uncommented(choice))
        del table["tools"]
        for key, value in leaves(table):
            found.setdefault(key, []).append(value)
    return found


def line(key: Key, value: Any) -> str:
    words = f"{key[-1]} = {msgspec.json.encode(value).decode()}"
    return f"[{'.'.join(key[:-1])}] {words}"


def test_every_key_is_there_with_its_default() -> None:
    table = builtins(config.DEFAULTS)
    del table["tools"]
    there, wanted = said(), dict(leaves(table))
    faults = [f"lacks {line(*it)}" for it in wanted.items() if it[0] not in there]
    faults += [f"no code knows {line(*it)}" for it in there.items() if it[0] not in wanted]
    faults += [
        f"says {line(key, there[key][0])}; the code has {msgspec.json.encode(value).decode()}"
        for key, value in wanted.items()
        if key in there and value is not None and value not in there[key]
    ]
    assert not faults, "deploy/config.toml\n" + "\n".join(faults)


def test_an_entry_of_tools_shows_every_key_with_its_default() -> None:
    (entry,) = tomllib.loads(uncommented())["tools"]
    fields = {it.name: it for it in msgspec.structs.fields(config.Tool)}
    faults = [f"[[tools]] lacks {name}" for name in fields.keys() - entry.keys()]
    faults += [f"no code knows [[tools]] {name}" for name in entry.keys() - fields.keys()]
    tool = msgspec.convert({"name": "x", "description": "x", "command": ["/x"]}, config.Tool)
    faults += [
        f"[[tools]] says {name} = {entry[name]!r}; the code has {value!r}"
        for name, value in builtins(tool).items()
        if name in entry and not fields[name].required and entry[name] != value
    ]
    assert not faults, "deploy/config.toml\n" + "\n".join(faults)


def test_as_it_is_it_changes_nothing() -> None:
    assert config.parse(FILE.read_text(), str(FILE)) == config.DEFAULTS


@pytest.mark.parametrize("choice", [None, *CHOICES], ids=str)
def test_it_can_be_read_with_every_key_uncommented(choice: list[int] | None) -> None:
    settings = config.parse(uncommented(choice), str(FILE))
    assert settings.tools
    assert settings.agent.think


def test_each_line_is_prose_or_a_key() -> None:
    """A stray space would make prose of a key, and the other way round."""
    for text in LINES:
        assert re.match(r"$|# |#?\[+[\w.]+\]+$|#(or )?\w+ = ", text), text
        assert not re.match(r"# ?(or )? +\w+ = ", text), f"a key with a space: {text}"
