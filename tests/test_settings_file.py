"""`deploy/config.toml` names every key there is, each with the default that the code has.

A line that begins with `#` and no space is a key. What has no default (None) is an example there,
and so is the whole of [[tools]].
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import config

FILE = Path(__file__).parent.parent / "deploy/config.toml"
COMMENTED = re.compile(r"^#(?=[\[\w])", re.MULTILINE)

Table = dict[str, Any]
Missing = object()


def builtins(value: object) -> Any:
    """As a TOML file would have it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def uncommented() -> str:
    return COMMENTED.sub("", FILE.read_text())


def leaves(table: Table, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key by its path, with its value; tables that are values are not gone into."""
    for name, value in table.items():
        if isinstance(value, dict) and value and (*path, name) not in values():
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def values() -> set[tuple[str, ...]]:
    """The keys whose value is a table of the owner's, or has no default."""
    agent = builtins(config.DEFAULTS.agent)
    return {("agent", name) for name, value in agent.items() if value is None}


def said() -> dict[tuple[str, ...], Any]:
    table = tomllib.loads(uncommented())
    table.pop("tools")
    return dict(leaves(table))


def real() -> dict[tuple[str, ...], Any]:
    table = builtins(config.DEFAULTS)
    del table["tools"]
    return dict(leaves(table))


def line(path: tuple[str, ...], value: Any) -> str:
    section, key = ".".join(path[:-1]), path[-1]
    return f"[{section}] #{key} = {msgspec.json.encode(value).decode()}"


def test_every_key_is_there_with_its_default() -> None:
    there, wanted = said(), real()
    faults = [f"lacks a line: {line(*it)}" for it in wanted.items() if it[0] not in there]
    faults += [
        f"has what no code knows: {line(*it)}" for it in there.items() if it[0] not in wanted
    ]
    faults += [
        f"says {line(path, there[path])}; the code has {msgspec.json.encode(value).decode()}"
        for path, value in wanted.items()
        if path in there and value is not None and there[path] != value
    ]
    assert not faults, "deploy/config.toml\n" + "\n".join(faults)


def test_an_entry_of_tools_shows_every_key_with_its_default() -> None:
    (entry,) = tomllib.loads(uncommented())["tools"]
    fields = {it.name: it for it in msgspec.structs.fields(config.Tool)}
    faults = [f"[[tools]] lacks {name}" for name in fields.keys() - entry.keys()]
    faults += [
        f"[[tools]] has {name}, which no code knows" for name in entry.keys() - fields.keys()
    ]
    tool = msgspec.convert({"name": "x", "description": "x", "command": ["/x"]}, config.Tool)
    faults += [
        f"[[tools]] says {name} = {entry[name]!r}; the code has {value!r}"
        for name, value in builtins(tool).items()
        if not fields[name].required and entry.get(name, Missing) != value
    ]
    assert not faults, "\n".join(faults)


def test_as_it_is_it_changes_nothing() -> None:
    assert config.parse(FILE.read_text(), str(FILE)) == config.DEFAULTS


def test_it_can_be_read_with_every_key_uncommented() -> None:
    settings = config.parse(uncommented(), str(FILE))
    assert settings.tools
    assert settings.agent.think


@pytest.mark.parametrize("text", FILE.read_text().splitlines())
def test_a_line_is_prose_or_a_key(text: str) -> None:
    """A stray space would make prose of a key, and the other way round."""
    assert re.match(r"$|# |#?\[+[\w.]+\]+$|#\w+ = ", text), text
    assert not re.match(r"# \w+ = ", text), f"a key with a space: {text}"
