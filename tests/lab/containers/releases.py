"""Other releases than this one, made of the checkout with a few words of it changed."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

TOP = Path(__file__).parents[3]
PARTS = ("README.md", "pyproject.toml", "requirements.lock", "appliance", "deploy", "systemd")
BUILD = """
set -euo pipefail
source deploy/ground.sh
source deploy/wheels.sh
find_uv
quietly make_own_wheel "$1"
write_requirements "$1"
"""


def make_wheels(
    version: str, changes: Mapping[str, tuple[str, str]], wheelhouse: Path, folder: Path
) -> Path:
    """A wheelhouse of a release of that version.

    Args:
        version: what it calls itself.
        changes: for a file of the checkout, words that are in it, and those in place of them.
        wheelhouse: of this checkout, whose other wheels it has too.
        folder: to make it in.
    """
    source, wheels = folder / f"source-{version}", folder / version
    source.mkdir()
    for part in PARTS:
        if (TOP / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TOP / part, source / part, ignore=ignored)
        else:
            shutil.copy(TOP / part, source)
    init = "appliance/__init__.py"
    _change(source / init, '__version__ = "', f'__version__ = "{version}"  # instead of "')
    for name, (old, new) in changes.items():
        _change(source / name, old, new)
    wheels.mkdir()
    for wheel in wheelhouse.glob("*.whl"):
        if not wheel.name.startswith("voice_appliance-"):
            (wheels / wheel.name).hardlink_to(wheel)
    words = ["bash", "-c", BUILD, "bash", wheels]
    subprocess.run(words, cwd=source, check=True)
    return wheels


def _change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))
