"""Other releases than this one, made of the checkout with a few words of it changed."""

import re
import shutil
import subprocess
from collections.abc import Sequence
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

Change = tuple[str, str, str]  # files, as a pattern; words in them; those in place of them


def make_wheels(version: str, changes: Sequence[Change], wheelhouse: Path, folder: Path) -> Path:
    """A wheelhouse of a release of that version, made in a folder.

    The wheels of others are those of `wheelhouse`, which is this checkout's.
    """
    source, wheels = folder / f"source-{version}", folder / version
    source.mkdir()
    for part in PARTS:
        if (TOP / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(TOP / part, source / part, ignore=ignored)
        else:
            shutil.copy(TOP / part, source)
    for name in ("appliance/__init__.py", "pyproject.toml"):
        file = source / name
        text, times = re.subn(
            r'(?m)^((?:__)?version(?:__)? = ").*"$', rf'\g<1>{version}"', file.read_text()
        )
        assert times == 1, file
        file.write_text(text)
    for pattern, old, new in changes:
        times = 0
        for file in source.glob(pattern):
            text = file.read_text()
            times += text.count(old)
            file.write_text(text.replace(old, new))
        assert times, (pattern, old)
    wheels.mkdir()
    for wheel in wheelhouse.glob("*.whl"):
        if not wheel.name.startswith("voice_appliance-"):
            shutil.copy(wheel, wheels)
    subprocess.run(["bash", "-c", BUILD, "bash", wheels], cwd=source, check=True)
    return wheels
