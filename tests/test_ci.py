"""What the CI runs says all, also when it is ended."""

import subprocess
from pathlib import Path

from .scripts import TOP

# Instead of the tests: boxes that say something and go on, and one beside them that ends the run.
TESTS = """#!/usr/bin/env bash
case "$*" in
    *collect-only*) ;;
    *ignore*) read -r _ <said && kill -TERM "$PPID" && exec sleep 60 ;;
    *) echo "a box fell" && echo >said && exec sleep 60 ;;
esac
"""


def test_a_run_that_is_ended_tells_what_was_said_of_the_boxes(tmp_path: Path) -> None:
    for folder in (".ci", "deploy", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".ci/run").write_text((TOP / ".ci/run").read_text())
    (tests := tmp_path / "deploy/test.sh").write_text(TESTS)
    tests.chmod(0o755)
    subprocess.run(["mkfifo", tmp_path / "said"], check=True)
    ran = subprocess.run(
        ["bash", tmp_path / ".ci/run"],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ran.returncode == 1
    assert ran.stdout == "a box fell\n"
    assert not list((tmp_path / "tmp").iterdir())
