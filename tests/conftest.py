"""What every test stands on: a scheduler that can be replayed, and no clock to be late by.

trio shuffles the tasks that may run, so that nobody relies on their order. From a seed it does so
the same way each time; `SEED=n` tries another order, and a failure is replayed by its seed. So it
is with hypothesis: its examples are the same in each run, and with `SEED=n` they are new ones.

What needs the emulated machine is looked at only with `--lab`, which `deploy/test.sh` prepares for.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from trio._core import _run

# How long an example takes is the machine's affair: no test asserts a duration.
hypothesis.settings.register_profile(
    "ours",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="SEED" not in os.environ,
)
hypothesis.settings.load_profile("ours")


@pytest.fixture(autouse=True)
def _a_scheduler_from_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(_run, "_r", random.Random(int(os.environ.get("SEED", "1"))))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab", action="store_true", help="also what needs the emulated machine")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_lab = collection_path == Path(__file__).parent / "lab"
    return True if is_lab and not config.getoption("--lab") else None


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: the path of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
