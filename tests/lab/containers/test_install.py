"""The installer on a blank box without network and compiler; what it leaves, and what not."""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from .conftest import DEPLOY, KEY, TOP, WHEELHOUSE, TellOf, install
from .container import Container, LabError, tree
from .releases import PARTS

UNIT = "voice-appliance"
CONFIG = "/etc/voice-appliance/config.toml"
KEY_FILE = "/etc/voice-appliance/deepgram-api-key"
RELEASES = "/opt/voice-appliance/releases"
VERSION = "0.1.0"
OF_THE_NETWORK = re.compile(r"(?i)(pip|uv)_.*index|https?_proxy$")
# What the machine writes while it runs, what it was lent, and the copies that the tools make which
# write users and groups: all else on the box's own disk is looked at.
NOT_OURS = (
    *("/mnt", "/tmp", "/var/log", "/var/lib/systemd", "/var/cache/ldconfig"),
    *("/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-"),
)
# A trial that is over sooner.
TRIAL = "/etc/systemd/system/voice-appliance-trial.service.d"
SOON = "[Service]\\nEnvironment=TRIAL_SETTLED_S=2\\n"
NAMES, TIMES = (r"%p %M %u %g %l\n", r"%p %M %u %g %l %T@ %s\n")
USERS = ("cat", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")


def files(box: Container, what: str = NAMES) -> set[str]:
    """All files of the box."""
    pruned = [word for path in NOT_OURS for word in ("-path", path, "-prune", "-o")]
    return set(box.run("find", "/", "-xdev", *pruned, "-printf", what).splitlines())


def uninstall(box: Container, *words: str) -> str:
    return box.run(f"{DEPLOY}/install.sh", "--uninstall", *words)


def is_active(box: Container) -> bool:
    return box.run("systemctl", "is-active", UNIT, check=False) == "active"


def test_a_blank_box_is_installed_watched_and_undone(pristine: Container) -> None:
    before, users = files(pristine), pristine.run(*USERS)
    assert not pristine.run("sh", "-c", "command -v gcc pip pip3 || true")
    said = install(pristine, sudo="maker")
    assert is_active(pristine)
    assert UNIT in pristine.run("id", "-nG", "maker").split()
    assert f"release {VERSION} is the current one" in said
    assert "phase" in said
    assert KEY not in said
    assert "settings, key and state are gone" in uninstall(pristine, "--purge")
    assert pristine.run(*USERS) == users
    assert files(pristine) == before
    assert "nothing was to be done" in uninstall(pristine, "--purge")


def test_settings_and_state_outlive_the_rest(pristine: Container) -> None:
    before = files(pristine)
    install(pristine)
    pristine.run("sh", "-c", f"echo '#edited' >>{CONFIG}")
    edited = pristine.run("cat", CONFIG)
    uninstall(pristine)
    left = {line.split()[0] for line in files(pristine) - before}
    assert left
    assert all(it.startswith(("/etc/voice-appliance", "/var/lib/voice-appliance")) for it in left)
    # Nobody's but root's: the number of its user may be another's soon.
    assert pristine.run("stat", "-c", "%U:%G %a", KEY_FILE) == "root:root 600"
    install(pristine, key="")
    assert is_active(pristine)
    assert pristine.run("cat", CONFIG) == edited
    assert pristine.run("cat", KEY_FILE) == KEY


def test_a_second_run_changes_nothing(box: Container) -> None:
    before = files(box, TIMES)
    pid = box.run("systemctl", "show", "--value", "-p", "MainPID", UNIT)
    said = install(box)
    assert f"nothing was to be done: release {VERSION} is installed" in said
    assert files(box, TIMES) == before
    assert box.run("systemctl", "show", "--value", "-p", "MainPID", UNIT) == pid


def test_what_was_interrupted_is_done_again(box: Container) -> None:
    box.run("rm", f"{RELEASES}/{VERSION}/made-of", KEY_FILE)
    box.run("rm", "-r", f"{RELEASES}/{VERSION}/lib")
    install(box)
    assert is_active(box)
    assert "nothing was to be done" in install(box)


def test_a_wheelhouse_that_is_not_whole_is_refused(box: Container) -> None:
    box.run("cp", "-r", WHEELHOUSE, "/srv/wheels")
    box.run("sh", "-c", "truncate -s 1000 /srv/wheels/trio-*.whl")
    pid = box.run("systemctl", "show", "--value", "-p", "MainPID", UNIT)
    with pytest.raises(LabError, match=r"trio-.*FAILED[\s\S]*did not arrive whole: copy it again"):
        box.run(f"{DEPLOY}/install.sh", "--wheelhouse", "/srv/wheels")
    assert box.run("systemctl", "show", "--value", "-p", "MainPID", UNIT) == pid


def test_another_build_of_a_version_lies_beside_it(box: Container) -> None:
    box.run("sh", "-c", f"echo another >{RELEASES}/{VERSION}/made-of")
    said = install(box)
    assert f"is the current one, {VERSION} was" in said
    current = box.run("readlink", "/opt/voice-appliance/current")
    assert current.startswith(f"releases/{VERSION}+")
    assert box.run("ls", RELEASES).split() == [VERSION, current.removeprefix("releases/")]
    assert is_active(box)


def test_it_says_what_to_do_about_a_key_that_is_none(pristine: Container) -> None:
    with pytest.raises(LabError, match="that is no API key"):
        install(pristine, key="two words")
    with pytest.raises(LabError, match=r"no API key: nothing in[\s\S]*mend that, then: systemctl"):
        install(pristine, key="")
    # Where none is needed its file is empty, and that is enough.
    pristine.run("sh", "-c", f"echo '[agent]\nurl = \"ws://127.0.0.1:1/\"' >{CONFIG}")
    install(pristine, key="")
    assert is_active(pristine)
    assert "the key is stored" in install(pristine)
    assert is_active(pristine)


def test_it_asks_for_the_key_and_does_not_show_it(box: Container) -> None:
    box.run("truncate", "-s", "0", KEY_FILE)
    other = KEY[::-1]
    words = (f"{DEPLOY}/install.sh", "--wheelhouse", WHEELHOUSE)
    said = box.talk(*words, question="API key", answer=other + "\n")
    assert f"the key is stored in {KEY_FILE}" in said
    assert other not in said
    assert box.run("cat", KEY_FILE) == other


def test_without_wheels_they_are_built_on_the_box(tmp_path: Path, tell_of: TellOf) -> None:
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    trusted = Path(os.environ.get("SSL_CERT_FILE", certificates)).resolve()
    ours = [f"{name}={value}" for name, value in os.environ.items() if OF_THE_NETWORK.match(name)]
    binds = {"/mnt/checkout": TOP, certificates: trusted}
    with Container([tree("trixie")], tmp_path, binds=binds, network=True) as box:
        words = ("env", *ours, "/mnt/checkout/deploy/install.sh")
        began_s = time.monotonic()
        box.run(*words, "--key-file", "/dev/stdin", stdin=KEY.encode())
        tell_of("trixie")("installed from a checkout", time.monotonic() - began_s)
        assert is_active(box)
        assert "nothing was to be done" in box.run(*words)
        # A checkout that was changed since is tried as any release is.
        box.run("cp", "-r", *(f"/mnt/checkout/{part}" for part in PARTS), "/srv")
        box.run("sh", "-c", "echo >>/srv/appliance/__init__.py")
        box.run("sh", "-c", f"mkdir {TRIAL} && printf '{SOON}' >{TRIAL}/lab.conf")
        began_s = time.monotonic()
        said = box.run("env", *ours, "/srv/deploy/update.sh")
        tell_of("trixie")("updated from a checkout", time.monotonic() - began_s)
        current = box.run("readlink", "/opt/voice-appliance/current").removeprefix("releases/")
        assert current.startswith(f"{VERSION}+")
        assert f"release {current} is the current one, {VERSION} was" in said
        assert "nothing was to be done" in box.run("env", *ours, "/srv/deploy/update.sh")
        left = box.run("find", "/root/.cache", "/var/tmp", "-type", "f", check=False)
        assert left.startswith("find")


def test_an_image_is_installed_without_being_started(
    suite: str, binds: Mapping[str, Path], tmp_path: Path
) -> None:
    """In a chroot, as who makes an image does; then it is booted for the first time."""
    image = tmp_path / "image"
    subprocess.run(["cp", "-a", "--reflink=auto", tree(suite), image], check=True)
    script = f"""
        mount --bind {binds[DEPLOY].parent} {image}/mnt
        mkdir {image}/srv/wheels
        cp {binds[WHEELHOUSE]}/* {image}/srv/wheels
        mount -t proc none {image}/proc
        chroot {image} /mnt/deploy/install.sh --no-start --wheelhouse /srv/wheels \
            --key-file /dev/stdin
    """
    words = ["unshare", "--mount", "sh", "-e", "-c", script]
    ran = subprocess.run(words, input=KEY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    with Container([image], tmp_path, binds=binds) as box:
        assert is_active(box)
        assert "nothing was to be done" in install(box)
