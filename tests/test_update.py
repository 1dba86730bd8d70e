"""An update of a box that is not one: what it tells, what it changes, and what a cut leaves.

The releases are empty but for the scripts, and systemctl is a few lines; the rest is as it is.
Containers (tests/lab) go the whole way.
"""

import fcntl
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .scripts import Root

HOUSE, SETTINGS = "opt/voice-appliance", "etc/voice-appliance"
NAMES = ("config.toml", "deepgram-api-key")
OLD, NEW = "0.1.0", "0.2.0"
# Instead of making and checking wheels: the folder's last name is the version, and the kind of
# release that it is. Settings are read without starting a Python.
MAKING = """
choose_release() {{
    MADE_OF="of $wheelhouse"
    name_the_release "${{wheelhouse##*/}}" "$MADE_OF"
}}
make_release() {{
    local folder=$RELEASES/$1
    if [[ $(made_of "$1") == "$2" ]]; then return; fi
    remove_release "$1"
    mkdir -p "$folder/$SHARE" "$folder/bin"
    cp -r {0}/deploy {0}/systemd "$folder/$SHARE"
    printf '%s\\n' '#!/bin/sh' "cat {0}/status" >"$folder/bin/$NAME"
    chmod +x "$folder/bin/$NAME"
    echo "$2" >"$folder/made-of"
    did "release $1 lies in $folder"
}}
name_the_kit() {{ sed -n 's/^kit = //p' "$1"; }}
"""
INSTALLING = """
look_at_the_machine() { :; }
install_packages() { :; }
check_python() { :; }
try_settings() { ! grep -q wrong "$2" || exit "$WRONG_SETTINGS"; }
"""
# The service runs what is current; releases that are named so fall.
# Before each start comes what the unit wants before it.
SYSTEMCTL = """
settings={0}/etc/voice-appliance
start() {{
    [[ ! -L {0}/{1}/trial ]] || {0}/{1}/trial/share/voice-appliance/deploy/trial.sh --settle
    release=$(readlink {0}/{1}/current)
    echo "${{release##*/}} $(cat "$settings"/{{config.toml,deepgram-api-key}})" >>{0}/started
}}
case "$*" in
    *ActiveState*)
        case $(readlink {0}/{1}/current)$(cat "$settings/config.toml") in
            *falls*) echo ActiveState=activating; echo NRestarts=5 ;;
            *ends*) echo ActiveState=failed ;;
            *replaced*) rm {0}/{1}/trial; echo ActiveState=failed ;;
            *) echo ActiveState=active; echo MainPID=7; echo NRestarts=0 ;;
        esac ;;
    *ExecMainStatus*) cat {0}/check-status ;;
    *restart*) start ;;
    boot) start && exec "$0" start voice-appliance-trial.service ;;
    "start voice-appliance-check.service")
        cat {0}/run/systemd/system/*check*.d/zz* >{0}/checked
        ! grep -q BindReadOnlyPaths {0}/checked || : >>"$settings/config.toml"
        if [[ -e {0}/check-says ]]; then
            cp {0}/check-says {0}/run/voice-appliance-check
            exit 1
        fi ;;
    "start voice-appliance-trial.service")
        [[ ! -L {0}/{1}/trial ]] || {0}/{1}/trial/share/voice-appliance/deploy/trial.sh ;;
    *) echo "$@" >>{0}/told ;;
esac
"""
Ran = subprocess.CompletedProcess[str]
ASLEEP = '{"phase": "asleep", "mode": "hold", "link": "down", "panel": {"state": "open"}}'
# What a box has, and what it is given: settings and a key.
HAS, WANTS = ("[talk]", "old"), ("[cues]", "new")
# Ends one of the scripts, and all that it called, before the n-th command of those that change
# what runs.
CHANGING = (
    "swap|judge|lead|keep|fall_back|end_trial|remove_old|remove_release"
    "|keep_settings|try_them|withdraw|settle|note_settings|forget_the_trial|drop_settings"
)
CUT = f"""
set -T
COMMANDS=0
before() {{{{
    [[ $1 != @({CHANGING}) ]] || ((++COMMANDS < {{1}})) || kill -9 0
}}}}
case "${{{{0##*/}}}} ${{{{1-}}}}" in {{0}}) trap 'before "${{{{FUNCNAME-}}}}"' DEBUG ;; esac
"""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A box on which the old release runs."""
    return make_box(tmp_path)


def make_box(folder: Path) -> Root:
    root = Root(folder)
    for name in ("update.sh", "trial.sh", "install.sh"):
        script = root.deploy / name
        text = script.read_text()
        script.write_text(re.sub(r"\(\(EUID == 0\)\)", "true", text))
    with (root.deploy / "release.sh").open("a") as file:
        file.write(MAKING.format(folder))
    root.write("systemd/voice-appliance.service", "[Service]\nExecStart=run\n")
    root.write("systemd/voice-appliance-trial.service", "")
    root.write("systemd/voice-appliance-settings.service", "")
    root.write("run/systemd/system/x", "")
    root.write("run/lock/x", "")
    root.write("usr/local/bin/x", "")
    root.write("status", ASLEEP)
    root.write("check-status", "1")
    root.tool("systemctl", SYSTEMCTL.format(folder, HOUSE))
    root.tool("id", "echo voice-appliance audio gpio spi")
    root.tool("journalctl", "echo 'it said so'")
    root.tool("install", 'exec /usr/bin/install "${@/#voice-appliance/root}"')
    (root.folder / SETTINGS).mkdir(parents=True)
    give(root, SETTINGS, HAS)
    for name in ("getent", "sleep", "sync"):
        root.tool(name, "")
    install(root)
    return root


def give(root: Root, folder: str, what: tuple[str, str]) -> list[str]:
    """Write settings and a key into a folder; the words that name them."""
    for name, text in zip(NAMES, what, strict=True):
        root.write(f"{folder}/{name}", text)
    return [
        "--config",
        f"{root.folder}/{folder}/{NAMES[0]}",
        "--key-file",
        f"{root.folder}/{folder}/{NAMES[1]}",
    ]


def has(root: Root) -> tuple[str, ...]:
    """The settings and the key that are in place; nothing else lies there."""
    folder = root.folder / SETTINGS
    assert {file.name for file in folder.iterdir()} == set(NAMES)
    return tuple((folder / name).read_text() for name in NAMES)


def install(root: Root) -> None:
    """Put the old release there, as the installer does."""
    script = """
        set -euo pipefail
        cd "$1/.."
        for it in ground box wheels release; do source "deploy/$it.sh"; done
        wheelhouse=/wheels/$2
        choose_release
        make_release "$RELEASE" "$MADE_OF" "$wheelhouse"
        switch_to "$RELEASE"
        link_service
    """
    (root.deploy / "lay.sh").write_text(script)
    ran = root.run("lay.sh", str(root.deploy), OLD)
    assert ran.returncode == 0, ran.stdout


def update(root: Root, *words: str, cut: str = "", **environ: str) -> Ran:
    """Run it to its end; or until power is cut."""
    path = f"{root.tools}:{os.environ['PATH']}"
    cut_file = str(root.write("cut.sh", cut))
    return subprocess.run(
        ["bash", root.deploy / "update.sh", *words],
        env={"PATH": path, "TRIAL_SETTLED_S": "0", "BASH_ENV": cut_file, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        start_new_session=True,
    )


def boot(root: Root) -> None:
    """What the next start does: start the service, and judge, if something is on trial."""
    ran = subprocess.run(
        ["systemctl", "boot"],
        env={"PATH": f"{root.tools}:/usr/bin:/bin", "TRIAL_SETTLED_S": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def leads_to(root: Root, name: str) -> str:
    return (root.folder / HOUSE / name).readlink().name


def releases(root: Root) -> set[str]:
    return {file.name for file in (root.folder / HOUSE / "releases").iterdir()}


def is_on_trial(root: Root) -> bool:
    return (root.folder / HOUSE / "trial").is_symlink()


def test_a_good_one_stays(root: Root) -> None:
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}")
    assert ran.returncode == 0, ran.stdout
    assert f"release {NEW} is the current one, {OLD} was" in ran.stdout
    assert (leads_to(root, "current"), leads_to(root, "previous")) == (NEW, OLD)
    assert releases(root) == {OLD, NEW}
    assert not is_on_trial(root)
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}")
    assert ran.returncode == 0
    assert "nothing was to be done" in ran.stdout
    assert update(root, "--rollback").returncode == 0
    assert (leads_to(root, "current"), leads_to(root, "previous")) == (OLD, NEW)


def test_of_three_the_oldest_goes(root: Root) -> None:
    for version in (NEW, "0.3.0"):
        assert update(root, "--wheelhouse", f"/wheels/{version}").returncode == 0
    assert releases(root) == {NEW, "0.3.0"}


def test_there_may_be_nothing_to_go_back_to(root: Root) -> None:
    ran = update(root, "--rollback")
    assert ran.returncode == 1
    assert "there is no release to go back to" in ran.stdout


@pytest.mark.parametrize("kind", ["falls", "ends"])
def test_a_bad_one_is_put_back_marked_and_refused(root: Root, kind: str) -> None:
    reason = {"falls": "it fell 5 times", "ends": "it ended, and is not to be started again"}[kind]
    ran = update(root, "--wheelhouse", f"/wheels/{kind}")
    assert ran.returncode == 1
    assert f"is not good: {reason}. It said:\nit said so" in ran.stdout
    assert f"release {OLD} is back, and runs" in ran.stdout
    assert (leads_to(root, "current"), releases(root)) == (OLD, {OLD})
    ran = update(root, "--wheelhouse", f"/wheels/{kind}")
    assert ran.returncode == 1
    assert reason in ran.stdout
    assert "--force does it all the same" in ran.stdout
    assert "is on trial" not in ran.stdout
    assert "is on trial" in update(root, "--wheelhouse", f"/wheels/{kind}", "--force").stdout
    assert leads_to(root, "current") == OLD


def test_who_installs_meanwhile_has_the_last_word(root: Root) -> None:
    assert update(root, "--wheelhouse", "/wheels/replaced").returncode == 0
    assert leads_to(root, "current") == "replaced"
    assert not (root.folder / HOUSE / "bad").exists()


def test_one_update_at_a_time(root: Root) -> None:
    with (root.folder / "run/lock/voice-appliance-update").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = update(root, "--wheelhouse", f"/wheels/{NEW}")
    assert ran.returncode == 1
    assert "another update is at work" in ran.stdout
    assert releases(root) == {OLD}


@pytest.mark.parametrize("status", [1, 78])
def test_what_would_not_run_is_not_tried(root: Root, status: int) -> None:
    root.write("check-says", "[talk] tap_ms is not known\n")
    root.write("check-status", str(status))
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}")
    assert ran.returncode == status
    assert "[talk] tap_ms is not known\n" in ran.stdout
    assert "nothing was changed" in ran.stdout
    assert leads_to(root, "current") == OLD
    assert not is_on_trial(root)
    assert not list((root.folder / "run/systemd/system").glob("voice*"))


@pytest.mark.parametrize(
    ("told", "does"),
    [
        ('"phase": "speaking", "mode": "hold", "link": "up", "held": false', "speaking"),
        ('"phase": "resting", "mode": "hold", "link": "up", "held": false', "resting"),
        ('"phase": "resting", "mode": "open", "link": "up", "held": false', ""),
        ('"phase": "trouble", "mode": "hold", "link": "down", "held": true', "trouble"),
        ('"phase": "trouble", "mode": "hold", "link": "down", "held": false', ""),
    ],
)
def test_it_waits_while_somebody_would_lose_by_it(root: Root, told: str, does: str) -> None:
    root.write("status", f'{{{told}, "uplink": {{"pending": false}}}}')
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}", ASLEEP_LIMIT_S="0")
    assert (ran.returncode == 1) is bool(does), ran.stdout
    if does:
        assert f"was not asleep for 0 s (it is {does}): nothing was changed" in ran.stdout
        assert leads_to(root, "current") == OLD
        assert update(root, "--wheelhouse", f"/wheels/{NEW}", "--now").returncode == 0
    assert leads_to(root, "current") == NEW


def test_a_trouble_is_bad_only_if_it_is_new(root: Root) -> None:
    missing = ASLEEP.replace("open", "missing")
    root.write("status", missing)
    assert update(root, "--wheelhouse", f"/wheels/{NEW}").returncode == 0
    root.write("status", ASLEEP)
    program = f"cat {root.folder}/status; echo {missing!r} >{root.folder}/status"
    old = root.write(f"{HOUSE}/releases/{NEW}/bin/voice-appliance", f"#!/bin/sh\n{program}\n")
    old.chmod(0o755)
    ran = update(root, "--now", "--wheelhouse", "/wheels/0.3.0", TRIAL_LIMIT_S="2")
    assert ran.returncode == 1
    assert "panel: missing (None), and it was open before" in ran.stdout
    assert leads_to(root, "current") == NEW


def test_settings_come_with_a_release_and_go_back_with_it(root: Root) -> None:
    words = give(root, "wanted", WANTS)
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}", *words)
    assert ran.returncode == 0, ran.stdout
    assert f"release {NEW} is good with new settings" in ran.stdout
    assert has(root) == WANTS
    assert (root.folder / "started").read_text() == f"{NEW} {''.join(WANTS)}\n"
    assert (root.folder / SETTINGS / NAMES[1]).stat().st_mode & 0o777 == 0o600
    assert (root.folder / SETTINGS / NAMES[0]).stat().st_mode & 0o777 == 0o640
    checked = (root.folder / "checked").read_text()
    tried = f"{root.folder}/{SETTINGS}/tried.new"
    assert f"BindReadOnlyPaths={tried}/{NAMES[0]}:{root.folder}/{SETTINGS}/{NAMES[0]}" in checked
    assert f"LoadCredential={NAMES[1]}:{tried}/{NAMES[1]}" in checked
    # The key stays: an older one may be good no more.
    assert update(root, "--rollback").returncode == 0
    assert (leads_to(root, "current"), has(root)) == (OLD, (HAS[0], WANTS[1]))
    assert update(root, "--rollback").returncode == 0
    assert (leads_to(root, "current"), has(root)) == (NEW, WANTS)
    # What came without others stays on the way back.
    root.write(f"{SETTINGS}/config.toml", "[log]")
    assert update(root, "--wheelhouse", "/wheels/0.3.0").returncode == 0
    assert update(root, "--rollback").returncode == 0
    assert (leads_to(root, "current"), has(root)) == (NEW, ("[log]", WANTS[1]))


def test_settings_alone_are_tried_too(root: Root) -> None:
    words = give(root, "wanted", WANTS)
    ran = update(root, "--wheelhouse", f"/wheels/{OLD}", *words)
    assert ran.returncode == 0, ran.stdout
    assert f"release {OLD} has the new settings" in ran.stdout
    assert (leads_to(root, "current"), has(root)) == (OLD, WANTS)
    assert (root.folder / "started").read_text() == f"{OLD} {''.join(WANTS)}\n"
    ran = update(root, "--wheelhouse", f"/wheels/{OLD}", *words)
    assert "nothing was to be done" in ran.stdout
    assert (root.folder / "started").read_text().count("\n") == 1
    assert has(root) == WANTS
    assert "there is no release to go back to" in update(root, "--rollback").stdout


@pytest.mark.parametrize("version", [OLD, NEW])
def test_settings_that_are_not_good_go_back_with_what_they_came_with(
    root: Root, version: str
) -> None:
    words = ("--wheelhouse", f"/wheels/{version}", *give(root, "wanted", ("#falls", "new")))
    ran = update(root, *words)
    assert ran.returncode == 1
    assert f"release {version} was tried with new settings on" in ran.stdout
    assert "is not good: it fell 5 times" in ran.stdout
    assert f"release {OLD} is back, and runs" in ran.stdout
    assert (leads_to(root, "current"), has(root)) == (OLD, HAS)
    started = (root.folder / "started").read_text()
    assert started.splitlines() == [f"{version} #fallsnew", f"{OLD} {''.join(HAS)}"]
    assert "--force does it all the same" in update(root, *words).stdout
    assert (root.folder / "started").read_text() == started
    # With other settings it is another trial.
    assert update(root, *words[:2], *give(root, "wanted", WANTS)).returncode == 0
    assert (leads_to(root, "current"), has(root)) == (version, WANTS)


def test_what_the_owner_writes_while_it_waits_is_what_it_goes_back_to(root: Root) -> None:
    root.write("status", '{"phase": "speaking", "mode": "hold", "link": "up"}')
    root.write("then", ASLEEP)
    writes = f"[[ -L {HOUSE}/trial ]] || printf '[log]' >{SETTINGS}/config.toml"
    root.tool("sleep", f"cd {root.folder} && cp then status && {{ {writes}; }}")
    ran = update(root, "--wheelhouse", "/wheels/falls", *give(root, "wanted", WANTS))
    assert "waiting until the box is asleep; it is speaking" in ran.stdout
    assert "is back, with its settings" in ran.stdout
    assert (leads_to(root, "current"), has(root)) == (OLD, ("[log]", HAS[1]))


def test_settings_that_it_does_not_know_are_told_and_leave_nothing(root: Root) -> None:
    root.write("check-says", "[cues] is not known\n")
    root.write("check-status", "78")
    for words in (["--wheelhouse", f"/wheels/{NEW}"], ["--wheelhouse", f"/wheels/{OLD}"]):
        ran = update(root, *words, *give(root, "wanted", WANTS))
        assert ran.returncode == 78
        assert "[cues] is not known\n" in ran.stdout
        assert ran.stdout.endswith("as it says above; nothing was changed\n")
        assert (leads_to(root, "current"), has(root)) == (OLD, HAS)
    assert not (root.folder / "started").exists()


def test_settings_may_come_through_a_pipe(root: Root) -> None:
    words = give(root, "wanted", WANTS)
    reads, writes = os.pipe()
    os.write(writes, WANTS[0].encode())
    os.close(writes)
    words[1] = f"/proc/{os.getpid()}/fd/{reads}"
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}", *words)
    os.close(reads)
    assert ran.returncode == 0, ran.stdout
    assert has(root) == WANTS


def test_who_installs_is_told_that_settings_are_read_more_than_once(root: Root) -> None:
    os.mkfifo(fifo := root.folder / "fifo")
    ran = install_over(root, OLD, "--config", str(fifo))
    assert ran.returncode == 1
    assert f"{fifo}, are read more than once: a file is wanted" in ran.stdout
    assert has(root) == HAS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_good", [True, False])
def test_what_is_missing_is_mended_and_goes_back_to_nothing(
    root: Root, name: str, is_good: bool
) -> None:
    (root.folder / SETTINGS / name).unlink()
    wants = WANTS if is_good else ("#falls", "new")
    ran = update(root, "--wheelhouse", f"/wheels/{OLD}", *give(root, "wanted", wants))
    assert (ran.returncode == 0) is is_good, ran.stdout
    assert "No such file" not in ran.stdout
    if is_good:
        assert has(root) == WANTS
    else:
        assert "is back, with its settings" in ran.stdout
        assert {file.name for file in (root.folder / SETTINGS).iterdir()} == {*NAMES} - {name}
    assert not is_on_trial(root)


@pytest.mark.parametrize("wants", [WANTS, ("#falls", "new")])
def test_settings_that_find_no_room_stay_on_trial(root: Root, wants: tuple[str, str]) -> None:
    is_good = wants == WANTS
    # The disk is full when what applies is put in place: at first, or on the way back.
    full = "true" if is_good else f"[[ ! -e {root.folder}/{SETTINGS}/tried/release ]]"
    root.tool("cp", f'[[ ${{@: -1}} != *.new ]] || ! {full} || exit 1\nexec /usr/bin/cp "$@"')
    words = ("--wheelhouse", f"/wheels/{OLD}", *give(root, "wanted", wants))
    for _ in range(2):
        ran = update(root, *words)
        assert ran.returncode == 1
        assert "nobody has judged" in ran.stdout
        assert is_on_trial(root)
        assert (root.folder / SETTINGS / "kept" / NAMES[0]).read_text() == HAS[0]
    (root.tools / "cp").unlink()
    boot(root)
    assert has(root) == (WANTS if is_good else HAS)
    assert not is_on_trial(root)


def install_over(root: Root, version: str, *words: str) -> Ran:
    """The installer, on a machine that has all it wants."""
    with (root.deploy / "release.sh").open("a") as file:
        file.write(INSTALLING)
    words = ("--wheelhouse", f"/wheels/{version}", "--replace-config", "--no-start", *words)
    return root.run("install.sh", *words)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_who_installs_ends_a_trial_when_the_settings_are_good(root: Root, version: str) -> None:
    cut = CUT.format("'trial.sh '", 1)
    update(root, "--wheelhouse", f"/wheels/{NEW}", *give(root, "wanted", WANTS), cut=cut)
    assert (is_on_trial(root), leads_to(root, "current")) == (True, NEW)
    ran = install_over(root, version, *give(root, "wrong", ("#wrong", "key")))
    assert ran.returncode == 78
    assert is_on_trial(root)
    assert (root.folder / SETTINGS / "kept" / NAMES[0]).read_text() == HAS[0]
    ran = install_over(root, version, *give(root, "wanted", ("[log]", "key")))
    assert ran.returncode == 0, ran.stdout
    assert not is_on_trial(root)
    boot(root)
    assert (leads_to(root, "current"), has(root)) == (version, ("[log]", "key"))


def test_a_key_that_is_none_is_refused(root: Root) -> None:
    ran = update(root, "--wheelhouse", f"/wheels/{NEW}", *give(root, "wanted", ("[cues]", "a b")))
    assert ran.returncode == 1
    assert "that is no API key" in ran.stdout
    assert (leads_to(root, "current"), has(root)) == (OLD, HAS)


def test_another_board_has_no_card_before_it_is_made_ready(root: Root) -> None:
    missing = ASLEEP.replace("open", "missing")
    root.write("trial-status", missing)
    root.tool("sync", f"cd {root.folder} && [[ ! -L {HOUSE}/trial ]] || cp trial-status status")
    words = ("--wheelhouse", f"/wheels/{OLD}")
    wanted = give(root, "wanted", ("[panel]\nbuttons = { talk = 5 }", "old"))
    assert "it was open before" in update(root, *words, *wanted, TRIAL_LIMIT_S="2").stdout
    assert has(root) == HAS
    root.write("status", ASLEEP)
    wanted = give(root, "wanted", ('[panel]\nkit = "codec-zero"', "old"))
    ran = update(root, *words, *wanted)
    assert ran.returncode == 0, ran.stdout
    assert "deploy/kit.sh makes it ready" in ran.stdout
    assert "codec-zero" in has(root)[0]


def cut_at_every_other(
    folder: Path, script: str, version: str, wants: tuple[str, str], number: int
) -> int:
    """Update a box whose power is cut before a command, then start it and update again; from that
    number of a command on, with every other. The number that was too high."""
    folder.mkdir()
    root = make_box(folder)
    house, blank, started = root.folder / HOUSE, root.folder / "blank", root.folder / "started"
    shutil.copytree(house, blank, symlinks=True)
    words = ("--now", "--wheelhouse", f"/wheels/{version}", *give(root, "wanted", wants))
    is_good = "falls" not in version + wants[0]
    belong = {f"{OLD} {''.join(HAS)}", f"{version} {''.join(wants)}"}
    while True:
        cut = update(root, *words, cut=CUT.format(script, number))
        assert (house / "current/made-of").read_text(), number
        boot(root)
        assert not is_on_trial(root), number
        assert leads_to(root, "current") in {OLD, version}, number
        ran = update(root, *words)
        if is_good:
            assert ran.returncode == 0, f"cut before command {number}: {ran.stdout}"
            assert (leads_to(root, "current"), has(root)) == (version, wants), number
            assert releases(root) == {OLD, version}
            if version != OLD:  # a way back, with its settings
                assert (house / "releases" / OLD / NAMES[0]).read_text() == HAS[0], number
        else:
            assert "is not good: it fell" in ran.stdout, number
            assert (leads_to(root, "current"), has(root)) == (OLD, HAS), number
        assert set(started.read_text().splitlines()) <= belong, number
        if cut.returncode in (0, 1):
            return number
        started.unlink()
        give(root, SETTINGS, HAS)
        shutil.rmtree(house)
        shutil.copytree(blank, house, symlinks=True)
        number += 2


@pytest.mark.parametrize(
    ("script", "version", "wants", "cuts"),
    [
        ("update.sh*", NEW, WANTS, 25),
        ("update.sh*", OLD, WANTS, 20),
        ("'trial.sh --settle'", NEW, WANTS, 8),
        ("'trial.sh '", NEW, WANTS, 20),
        ("'trial.sh '", "falls", WANTS, 25),
        ("'trial.sh '", OLD, ("#falls", "new"), 25),
    ],
)
def test_power_may_be_cut_before_any_command(
    tmp_path: Path, script: str, version: str, wants: tuple[str, str], cuts: int
) -> None:
    def from_number(number: int) -> int:
        return cut_at_every_other(tmp_path / str(number), script, version, wants, number)

    with ThreadPoolExecutor() as pool:
        assert min(pool.map(from_number, (1, 2))) > cuts
