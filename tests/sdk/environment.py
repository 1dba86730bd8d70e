"""Pythons of their own, for the official clients and for what is too large for our environment.

Each is made from a file of requirements, by pip from PyPI, and kept in the user's cache under the
hash of that file: the first run takes some ten seconds, later ones nothing.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OFFLINE = "connection broken"  # what pip says of every way in which a server cannot be reached


def python_with(file: Path) -> Path:
    """The Python of an environment that has exactly what a file of requirements names.

    Skips the test if PyPI cannot be reached; not in the CI.
    """
    name = hashlib.sha256(file.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = cache() / f"sdk-{name}"
    python = place / "bin" / "python"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be at it
        if not (place / "complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            fill(place, python, file)
            (place / "complete").touch()
    return python


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "voice-appliance"


def fill(place: Path, python: Path, requirements: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    words = ("install", "--quiet", "--no-deps", "--require-hashes", "--retries", "2")
    command: list[str | Path] = [python, "-m", "pip", *words, "--requirement", requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and OFFLINE in done.stderr and "CI" not in os.environ:
        pytest.skip("needs PyPI, which cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
