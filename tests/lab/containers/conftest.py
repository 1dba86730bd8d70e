"""The wheels as they are here, pristine boxes, and boxes that the appliance is installed on."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from .container import Container, tree

TOP = Path(__file__).parents[3]
SUITES = ("bookworm", "trixie")  # systemd 252 and 257, Python 3.11 and 3.13
DEPLOY, WHEELHOUSE = "/mnt/deploy", "/mnt/wheelhouse"
KEY = "k3y-0123456789abcdef0123456789abcdef"

TIMES = pytest.StashKey[list[str]]()
Tell = Callable[[str, float], None]
TellOf = Callable[[str], Tell]


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels for both suites, for this machine and for a Raspberry Pi."""
    folder = tmp_path_factory.mktemp("wheels") / "wheelhouse"
    script = TOP / "deploy/wheelhouse.sh"
    subprocess.run([script, "--arch", "arm64", "--arch", "amd64", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def binds(wheelhouse: Path) -> Mapping[str, Path]:
    """What every box is given to read."""
    return {DEPLOY: TOP / "deploy", WHEELHOUSE: wheelhouse}


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """The name of a Debian."""
    return str(request.param)


@pytest.fixture
def pristine(suite: str, binds: Mapping[str, Path], tmp_path: Path) -> Iterator[Container]:
    """A blank box."""
    with Container([tree(suite)], tmp_path, binds=binds) as box:
        yield box


@pytest.fixture(scope="session")
def layers(
    suite: str, binds: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory, tell: Tell
) -> list[Path]:
    """What a box stands on where the appliance was installed, with a key."""
    with Container([tree(suite)], tmp_path_factory.mktemp("installed"), binds=binds) as box:
        began_s = time.monotonic()
        install(box)
        tell("installed from a wheelhouse", time.monotonic() - began_s)
        box.power_off()
    return [box.layer, *box.layers]


@pytest.fixture
def box(
    layers: list[Path], binds: Mapping[str, Path], tmp_path: Path, tell: Tell
) -> Iterator[Container]:
    """A box where it was installed, that was then switched off and on."""
    began_s = time.monotonic()
    with Container(layers, tmp_path, binds=binds) as box:
        tell("booted, with the service ready", time.monotonic() - began_s)
        yield box


@pytest.fixture(scope="session")
def tell_of(pytestconfig: pytest.Config) -> TellOf:
    """Takes the name of a Debian, then what took so many seconds: told at the end."""
    times = pytestconfig.stash.setdefault(TIMES, [])

    def of(suite: str) -> Tell:
        return lambda what, took_s: times.append(f"{suite:9} {what:32} {took_s:6.2f} s")

    return of


@pytest.fixture(scope="session")
def tell(suite: str, tell_of: TellOf) -> Tell:
    """Takes what took so many seconds: told at the end, judged by nobody."""
    return tell_of(suite)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    times = terminalreporter.config.stash.get(TIMES, [])
    if times:
        terminalreporter.section("in containers")
        for line in sorted(times):
            terminalreporter.line(line)


def install(box: Container, *words: str, key: str = KEY, sudo: str = "") -> str:
    """What the installer says, with a key if one is given, as if somebody had called it by sudo."""
    more = ("--key-file", "/dev/stdin") if key else ()
    script = f"{DEPLOY}/install.sh"
    stdin = key.encode() + b"\n" if key else b""
    return box.run(
        "env", f"SUDO_USER={sudo}", script, "--wheelhouse", WHEELHOUSE, *more, *words, stdin=stdin
    )
