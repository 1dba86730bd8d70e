"""The lab for whoever asks, and the mark `paced` on all that lies here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pulse import Lab, missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("paced")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """One lab for all; this process finds its devices `lab_play` and `lab_cap` while it stands."""
    lacking = missing()
    if lacking and "CI" not in os.environ:
        pytest.skip(f"needs {', '.join(lacking)}: deploy/test.sh installs them")
    with Lab() as lab, pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        yield lab


@pytest.fixture(autouse=True)
def _mended_lab(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test may leave the lab dead or stopped: the next one finds it running."""
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").mend()
