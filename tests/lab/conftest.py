"""The machine for whoever asks, the mark `lab` on all that lies here, and what was measured."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.table import Figure, figure, lines

from . import machine
from .box import PINS, Box

FIGURES = pytest.StashKey[list[Figure]]()
Measured = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("lab")


@pytest.fixture(scope="session")
def lab() -> Iterator[machine.Machine]:
    """One machine for all, with the appliance in it as it is here."""
    with machine.restored() as restored:
        restored.push(machine.tar_of_the_appliance())
        yield restored


@pytest.fixture(params=PINS)
def box(lab: machine.Machine, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    """The daemon in the machine, by each way to the pins, asleep and with all parts open."""
    with Box(lab, tmp_path, pins=request.param) as box:
        yield box
        sys.stdout.write(box.log)  # for whoever reads of a failure


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Measured:
    """Takes the name of a figure, its unit, values: told at the end, judged by nobody."""
    figures = pytestconfig.stash.setdefault(FIGURES, [])
    return lambda name, unit, values: figures.append(figure(name, unit, values))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = terminalreporter.config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("on the emulated machine")
        for line in lines(figures):
            terminalreporter.line(line)
