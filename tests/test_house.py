"""The house keeps its floors: who may import whom, who owns which library, what stays pure.

The tables are the law, and they are complete: a new module finds its floor here before it passes,
and an entry that fits nothing any more fails too. The tools that judge style run here as well, so
that `pytest` is all there is to run.
"""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
HOUSE = TOP / "appliance"

# Imports go down. On the ground floor, and inside a room's own folder, a module may lean on its
# neighbours; nowhere in a circle.
FLOORS = ("ground", "hands", "household", "door")
FLOOR_OF = {
    # ground: decides and calculates. It waits for nothing and touches no device.
    "errors": "ground",
    "config": "ground",
    "config_buttons": "ground",
    "config_panel": "ground",
    "config_reader": "ground",
    "config_wire": "ground",
    "conversation": "ground",
    "mind": "ground",
    "words": "ground",
    "agent.messages": "ground",
    "agent.v1": "ground",
    "agent.dialect": "ground",
    "agent.early_access": "ground",
    "agent.history": "ground",
    "sound.pcm": "ground",
    "sound.utterance": "ground",
    "sound.answer": "ground",
    "sound.volume": "ground",
    "sound.chimes": "ground",
    "sound.resample": "ground",
    "sound.sentences": "ground",
    "sound.voice": "ground",
    "sound.wav": "ground",
    "sound.edges": "ground",
    "sound.names": "ground",
    "sound.pace": "ground",
    "panel.looks": "ground",
    "panel.gestures": "ground",
    "panel.catalogue": "ground",
    "panel.dimmer": "ground",
    "panel.kits": "ground",
    "host.doctor": "ground",
    "host.spend": "ground",
    "host.turns": "ground",
    "sound.companding": "ground",
    "sound.chirp": "ground",
    # hands: each holds one thing of the world. They do not know each other.
    "agent.dialer": "hands",
    "agent.upgrade": "hands",
    "agent.session": "hands",
    "agent.tools": "hands",
    "sound.card": "hands",
    "sound.complaints": "hands",
    "sound.mixer": "hands",
    "sound.kernel": "hands",
    "sound.plug": "hands",
    "sound.sounding": "hands",
    "sound.tuning": "hands",
    "sound.echo": "hands",
    "sound.microphone": "hands",
    "sound.recordings": "hands",
    "sound.speaker": "hands",
    "panel.button": "hands",
    "panel.kinds": "hands",
    "panel.lamp": "hands",
    "panel.lines": "hands",
    "panel.pins": "hands",
    "panel.pixels": "hands",
    "panel.player": "hands",
    "host.service": "hands",
    "host.command": "hands",
    "host.credential": "hands",
    "host.keep": "hands",
    "host.machine": "hands",
    "host.journal": "hands",
    "host.crash": "hands",
    "host.state": "hands",
    "host.control": "hands",
    "host.remote": "hands",
    "host.uevents": "hands",
    "standin.agent": "hands",
    "standin.calls": "hands",
    "standin.certificate": "hands",
    "standin.converse": "hands",
    "standin.early": "hands",
    "standin.manners": "hands",
    "standin.terms": "hands",
    "standin.tongue": "hands",
    "standin.card": "hands",
    "standin.conduct": "hands",
    "standin.ears": "hands",
    "standin.echo": "hands",
    "standin.panel": "hands",
    "standin.schema": "hands",
    "standin.values": "hands",
    "standin.voice": "hands",
    # household: every part and every wire
    "parts": "household",
    "face": "household",
    "fingers": "household",
    "brief": "household",
    "chronicle": "household",
    "cues": "household",
    "functions": "household",
    "knobs": "household",
    "loudness": "household",
    "novelty": "household",
    "line": "household",
    "orders": "household",
    "purse": "household",
    "daemon": "household",
    # door: where words come in and real parts are chosen
    "assembly": "door",
    "checkup": "door",
    "cli": "door",
    "demo": "door",
    "typed": "door",
    "__main__": "door",
}

# A foreign library has one room, or one on either side of a wire; its errors end at that door.
OWNERS = {
    "alsaaudio": {"sound.card", "sound.mixer"},
    "gpiod": {"panel.lines"},
    "gpiozero": {"panel.lines", "panel.pins"},  # beneath it and above
    "h11": {"agent.session", "agent.upgrade", "standin.agent"},
    "livekit": {"sound.echo"},
    "systemd": {"host.service"},
    "trio_websocket": {"agent.session", "standin.agent", "standin.conduct"},
    "wsproto": {"agent.session", "standin.agent", "standin.conduct"},
}

# What the ground floor may not know: clocks, chance, tasks, the system. They are handed in.
IMPURE = {
    *("asyncio", "multiprocessing", "threading", "trio"),
    *("os", "select", "selectors", "signal", "socket", "ssl", "subprocess"),
    *("random", "secrets", "time", "uuid"),
}

# "module.function" -> why it catches everything. Our own mistakes are to end the process.
CATCHES_ALL = {"cli._run": "it tells what the box was doing, and ends the process"}

FUNCTION_LIMIT = 60  # lines of the longest function, a screen
FILE_LIMIT = 550  # lines of the longest file
LONGER = {"mind": 1050}  # a method for each cell of the table: one machine, read beside it

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the appliance by its name below `appliance`; a package by its folder's."""
    found = {}
    for path in sorted(HOUSE.rglob("*.py")):
        *rooms, name = path.relative_to(HOUSE).with_suffix("").parts
        parts = rooms if name == "__init__" else [*rooms, name]
        found[".".join(parts) or "__init__"] = ast.parse(path.read_text(), str(path))
    return found


def packages() -> set[str]:
    return {".".join(path.parent.relative_to(HOUSE).parts) for path in HOUSE.rglob("__init__.py")}


def rooms() -> dict[str, ast.Module]:
    """The modules that need a floor: a package's `__init__` says what is in it, no more."""
    return {
        name: tree
        for name, tree in modules().items()
        if name != "__init__" and name not in packages()
    }


def absolute(name: str, node: ast.ImportFrom) -> str:
    """The full name of what `from … import` names, dots resolved as seen from module `name`."""
    if node.level == 0:
        return node.module or ""
    folder = f"appliance.{name}".split(".")
    if name not in packages():
        folder.pop()
    folder = folder[: len(folder) - (node.level - 1)]
    return ".".join([*folder, *([node.module] if node.module else [])])


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Full names that a module imports, wherever in it, each with its line."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(name, node)
            yield from ((f"{source}.{alias.name}", node.lineno) for alias in node.names)


def leans_on(name: str) -> Iterator[tuple[str, int]]:
    """Those of our own modules that a module imports."""
    for imported, line in imports(name):
        if imported.partition(".")[0] == "appliance":
            ours = imported.partition(".")[2]
            while ours and ours not in modules():  # from the thing imported to its module
                ours = ours.rpartition(".")[0]
            if ours and ours != name:
                yield ours, line


def foreign(name: str) -> Iterator[tuple[str, int]]:
    """First names of all that a module imports from outside."""
    for imported, line in imports(name):
        if (library := imported.partition(".")[0]) != "appliance":
            yield library, line


def functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    """Every function, nested ones too, by its full name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef):
            if not isinstance(node, ast.ClassDef):
                yield f"{prefix}.{node.name}", node
            yield from functions(node, f"{prefix}.{node.name}")
        else:
            yield from functions(node, prefix)


def is_below(low: str, high: str) -> bool:
    """Whether module `high` may lean on module `low`."""
    if low in packages():
        return True
    low_floor, high_floor = (FLOORS.index(FLOOR_OF.get(name, "door")) for name in (low, high))
    if low_floor != high_floor:
        return low_floor < high_floor
    return low_floor == 0 or low.rpartition(".")[0] == high.rpartition(".")[0]


def test_every_module_has_a_floor_and_every_entry_a_module() -> None:
    homeless = [
        f"{name} has no floor: give it one in FLOOR_OF" for name in rooms().keys() - FLOOR_OF
    ]
    dead = [f"{name} is no module: a dead entry of FLOOR_OF" for name in FLOOR_OF.keys() - rooms()]
    assert not homeless + dead, "\n".join(sorted(homeless + dead))


def test_imports_go_down() -> None:
    faults = [
        f"{name}:{line} ({FLOOR_OF.get(name)}) may not lean on {ours} ({FLOOR_OF.get(ours)})"
        for name in rooms()
        for ours, line in leans_on(name)
        if not is_below(ours, name)
    ]
    assert not faults, "\n".join(faults)


def test_nobody_imports_in_a_circle() -> None:
    settled: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " > ".join([*path[path.index(name) :], name])
        if name not in settled:
            for ours, _ in leans_on(name):
                walk(ours, (*path, name))
            settled.add(name)

    for name in modules():
        walk(name, ())


def test_a_package_says_what_is_in_it_and_imports_nothing() -> None:
    faults = [
        f"appliance/{name.replace('.', '/')} imports {imported} in its __init__, line {line}"
        for name in modules().keys() - rooms()
        for imported, line in imports(name)
    ]
    assert not faults, "\n".join(faults)


def test_a_library_has_one_room() -> None:
    strays = [
        f"{name}:{line} imports {library}, which belongs to {', '.join(sorted(OWNERS[library]))}"
        for name in modules()
        for library, line in foreign(name)
        if library in OWNERS and name not in OWNERS[library]
    ]
    idle = [
        f"{owner} does not import {library}: a dead entry of OWNERS"
        for library, owners in OWNERS.items()
        for owner in sorted(owners)
        if owner not in modules() or library not in dict(foreign(owner))
    ]
    assert not strays + idle, "\n".join(strays + idle)


def test_the_ground_floor_is_pure() -> None:
    faults = [
        f"{name}:{line} is on the ground floor and may not know {library}"
        for name in rooms()
        if FLOOR_OF.get(name) == "ground"
        for library, line in foreign(name)
        if library in IMPURE | OWNERS.keys()
    ]
    assert not faults, "\n".join(faults)


def is_everything(kind: ast.expr | None) -> bool:
    """Whether an `except`, or a `suppress`, names all errors there are.

    A group is not everything: who catches one splits it, and lets go what is not expected.
    """
    if kind is None:
        return True
    if isinstance(kind, ast.Tuple):
        return any(is_everything(element) for element in kind.elts)
    return ast.unparse(kind).rpartition(".")[2] in {"Exception", "BaseException"}


def catches_all(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and is_everything(node.type):
            yield node.lineno
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] == "suppress"
            and any(is_everything(kind) for kind in node.args)
        ):
            yield node.lineno


def test_nobody_catches_everything() -> None:
    faults = []
    excused = set()
    for name, tree in modules().items():
        inside = list(functions(tree, name))
        for line in catches_all(tree):
            around = [
                (node.lineno, full)
                for full, node in inside
                if node.lineno <= line <= (node.end_lineno or line)
            ]
            where = max(around, default=(0, name))[1]  # the innermost begins last
            if where in CATCHES_ALL:
                excused.add(where)
            else:
                faults.append(f"{where}, line {line}, catches everything: name what it expects")
    faults += [f"{dead}: a dead entry of CATCHES_ALL" for dead in CATCHES_ALL.keys() - excused]
    assert not faults, "\n".join(faults)


def undocumented(node: ast.AST, name: str) -> Iterator[str]:
    """The public names in a module or class, itself included, that have no docstring."""
    if isinstance(node, Function | ast.ClassDef | ast.Module) and ast.get_docstring(node) is None:
        yield name
    if isinstance(node, ast.ClassDef | ast.Module):
        for child in node.body:
            if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
                yield from undocumented(child, f"{name}.{child.name}")


def test_every_public_name_says_what_it_is() -> None:
    faults = [missing for name, tree in modules().items() for missing in undocumented(tree, name)]
    assert not faults, "without a docstring:\n" + "\n".join(faults)


def test_no_function_and_no_file_is_too_long() -> None:
    faults = []
    for name, tree in modules().items():
        for full, node in functions(tree, name):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LIMIT:
                faults.append(f"{full} has {length} lines; {FUNCTION_LIMIT} are a screen")
    for path in HOUSE.rglob("*.py"):
        length = len(path.read_text().splitlines())
        limit = LONGER.get(path.stem, FILE_LIMIT)
        if length > limit:
            faults.append(f"{path.relative_to(TOP)} has {length} lines, more than {limit}")
    assert not faults, "\n".join(faults)


def test_the_folder_of_units_hides_no_library() -> None:
    assert not (TOP / "systemd/__init__.py").exists(), "it would hide the library `systemd`"


def test_the_lock_names_no_address() -> None:
    lines = (TOP / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line]


def find_tool(*words: str) -> list[str]:
    """The command of a tool, of our own Python if it is a module there; in the CI it must be."""
    if importlib.util.find_spec(words[0]):
        return [sys.executable, "-m", *words]
    if shutil.which(words[0]) is None and "CI" not in os.environ:
        pytest.skip(f"needs {words[0]}: deploy/test.sh installs it")
    return list(words)


@pytest.mark.parametrize(
    "words",
    [
        ("ruff", "check", "--quiet", "."),
        ("ruff", "format", "--check", "--quiet", "."),
        ("mypy", "--no-error-summary"),
        (
            "shellcheck",
            "-x",
            *map(str, (*TOP.glob("deploy/**/*.sh"), *TOP.glob("tests/**/*.sh"))),
            ".ci/run",
        ),
    ],
    ids=["ruff-check", "ruff-format", "mypy", "shellcheck"],
)
def test_the_tools_find_nothing(words: tuple[str, ...]) -> None:
    found = subprocess.run(find_tool(*words), cwd=TOP, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
