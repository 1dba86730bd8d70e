"""The scripts of deploy/ as they are, in a root of a test's own.

They are copied, and what they call /etc, /opt, /boot and so on leads below the test's folder: so
they run whole, by anybody, and there is no second root in what a box runs. What they call in turn,
and the tests do not want to run, are scripts of a line each, which come first in PATH.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TOP = Path(__file__).parent.parent
PLACES = re.compile(
    r"(?<![\w/.}])/(boot|etc|opt|run|sys|usr/local|var)\b(?=[/\s\"';)]|$)", re.MULTILINE
)
LIMIT_S = 60.0


class Root:
    """A root of its own, with the scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deploy = folder / "deploy"
        self.tools = folder / "tools"
        self.tools.mkdir()
        shutil.copytree(
            TOP / "deploy", self.deploy, ignore=shutil.ignore_patterns("fleet", "__pycache__")
        )
        for script in self.deploy.rglob("*.sh"):
            script.write_text(PLACES.sub(rf"{folder}/\1", script.read_text()))

    def write(self, path: str, text: str) -> Path:
        """A file of this root."""
        file = self.folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def tool(self, name: str, line: str) -> None:
        """A program that the scripts find by its name."""
        self._program(self.tools / name, line)

    def appliance(self, line: str = "") -> None:
        """The appliance, as it is here, where a box has it."""
        program = self.write("/opt/voice-appliance/current/bin/voice-appliance", "")
        here = f'cd {TOP} && exec {sys.executable} -m appliance "$@"'
        self._program(program, f"{line}\n{here}")

    @staticmethod
    def _program(file: Path, line: str) -> None:
        file.write_text(f"#!/usr/bin/env bash\n{line}\n")
        file.chmod(0o755)

    def run(
        self, script: str, *words: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts to its end; what it said on both ways out."""
        path = f"{self.tools}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", self.deploy / script, *words],
            env={"PATH": path, "HOME": str(self.folder), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            text=True,
            check=False,
        )
