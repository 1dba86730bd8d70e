"""What a box is installed from comes in one file, the same for the same."""

import subprocess
import tarfile
from pathlib import Path

from .scripts import TOP


def pack(file: Path, wheelhouse: Path) -> subprocess.CompletedProcess[str]:
    words: list[str | Path] = [TOP / "deploy/payload.sh", file, "--wheelhouse", wheelhouse]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    (wheels := tmp_path / "any-name").mkdir()
    (wheels / "requirements.txt").write_text("")
    (wheels / "a.whl").write_text("wheel")
    files = tmp_path / "one.tar", tmp_path / "two.tar"
    for file in files:
        assert pack(file, wheels).returncode == 0
        (wheels / "a.whl").touch()
    assert files[0].read_bytes() == files[1].read_bytes()
    with tarfile.open(files[0]) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert {"deploy/install.sh", "deploy/kit.sh", "systemd/voice-appliance.service"} < set(members)
    assert {"wheelhouse/a.whl", "wheelhouse/requirements.txt"} < set(members)
    assert not [name for name in members if name.startswith("deploy/fleet")]
    assert members["deploy/install.sh"].mode & 0o111
    assert {(member.uid, member.mode & 0o022) for member in members.values()} == {(0, 0)}


def test_a_folder_that_is_no_wheelhouse_is_refused(tmp_path: Path) -> None:
    ran = pack(tmp_path / "one.tar", tmp_path)
    assert ran.returncode == 1
    assert "is no wheelhouse" in ran.stderr
