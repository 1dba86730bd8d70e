"""A fleet of three, rolled out to and back: the canary first, and nobody after one that is not
healthy."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import config
from tests.sdk.environment import python_with

from .conftest import KEY, TOP
from .container import Container, tree
from .network import PASSWORD, Laptop, boxes
from .releases import make_wheels
from .test_install import UNIT, VERSION, files, is_active
from .test_provision import main_pid
from .test_update import CHANGES, FALLS, LABS, LIMITS, NEXT, current, write

FLEET = TOP / "deploy/fleet"
NAMES = ("kitchen", "hall", "attic")  # the first is the canary
TOLERATED = ["microphone-missing", "speaker-missing"]  # there are no cards here
SETTINGS = '[agent]\ntags = ["{{ inventory_hostname }}"]\n'
KITLESS = "wants lines in config.txt, and there is none"


@pytest.fixture(scope="session")
def suite() -> str:
    """One is enough here: the installer is tried on both."""
    return "trixie"


@pytest.fixture(scope="session")
def tools() -> Path:
    """Where ansible's programs lie, as requirements.txt pins them."""
    return python_with(FLEET / "requirements.txt").parent


class Fleet:
    """Three boxes, an inventory of them, and who rolls out."""

    def __init__(
        self, folder: Path, laptop: Laptop, tools: Path, addresses: list[str], sockets: Path
    ) -> None:
        self.folder = folder
        self._sockets = sockets
        self._laptop = laptop
        self._tools = tools
        (folder / "password").write_text("vault\n")
        self.all: dict[str, object] = {
            "ansible_user": "maker",
            "ansible_become_password": PASSWORD,
            "voice_appliance_payload": str(folder / "payload.tar"),
            "voice_appliance_settings": SETTINGS,
            "voice_appliance_tolerated_troubles": TOLERATED,
            "voice_appliance_settled_s": 3,
        }
        self.own: dict[str, dict[str, object]] = {name: {} for name in NAMES}
        self._addresses = dict(zip(NAMES, addresses, strict=True))
        self._vault()

    def _vault(self) -> None:
        """The key, as it would lie in a repository."""
        file = self.folder / "group_vars/voice_appliances/vault.yml"
        file.parent.mkdir(parents=True)
        file.write_text(f"voice_appliance_key: {KEY}\n")
        password = ("--vault-password-file", self.folder / "password")
        assert (
            self._laptop.run(self._tools / "ansible-vault", "encrypt", *password, file).returncode
            == 0
        )
        assert KEY not in file.read_text()

    def play(self, book: str, *words: str) -> tuple[int, str]:
        """The exit status and what was said, by a playbook."""
        hosts = {
            name: {"ansible_host": self._addresses[name], **own} for name, own in self.own.items()
        }
        groups = {
            "canaries": {"hosts": {NAMES[0]: hosts[NAMES[0]]}},
            "others": {"hosts": {name: hosts[name] for name in NAMES[1:]}},
        }
        inventory = {"voice_appliances": {"children": groups, "vars": self.all}}
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        ran = self._laptop.run(
            self._tools / "ansible-playbook",
            FLEET / book,
            *("-vv", "-i", str(self.folder / "hosts.json"), *words),
            *("--vault-password-file", str(self.folder / "password")),
            environ={
                "ANSIBLE_CONFIG": str(FLEET / "ansible.cfg"),
                "ANSIBLE_HOME": str(self.folder / "ansible"),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._sockets),
                "SSH_ASKPASS_REQUIRE": "never",
            },
        )
        assert KEY not in ran.stdout
        assert PASSWORD not in ran.stdout
        return ran.returncode, ran.stdout


def pack(wheelhouse: Path, file: Path) -> str:
    subprocess.run([TOP / "deploy/payload.sh", file, "--wheelhouse", wheelhouse], check=True)
    return str(file)


@pytest.fixture
def three(
    suite: str, tmp_path: Path, folder: Path, tools: Path, wheelhouse: Path
) -> Iterator[tuple[list[Container], Fleet]]:
    """Blank boxes, and what is rolled out to them."""
    (at := tmp_path / "laptop").mkdir()
    (fleet := tmp_path / "fleet").mkdir()
    pack(wheelhouse, fleet / "payload.tar")
    laptop = Laptop(at)
    with boxes(len(NAMES), [tree(suite)], tmp_path, laptop) as made:
        for box, _ in made:
            box.run("mkdir", LABS[0])
            write(box, f"{LABS[0]}/lab.conf", LIMITS)
            box.run("systemctl", "daemon-reload")
        addresses = [address for _, address in made]
        yield [box for box, _ in made], Fleet(fleet, laptop, tools, addresses, folder)


def settings(box: Container) -> str:
    return box.run("cat", "/etc/voice-appliance/config.toml")


def test_a_fleet_is_rolled_out_to_looked_at_and_spared_a_bad_release(
    three: tuple[list[Container], Fleet], wheelhouse: Path, tmp_path: Path
) -> None:
    made, fleet = three
    canary, *others = made

    # A canary that cannot be reached is none that is well.
    fleet.own["kitchen"] = {"ansible_port": 23}
    status, said = fleet.play("roll-out.yml")
    assert status != 0
    assert "kitchen cannot be reached any more: nobody else is touched" in said
    assert not [box for box in made if is_active(box)]
    fleet.own["kitchen"] = {}

    status, said = fleet.play("roll-out.yml")
    assert status == 0, said
    for name, box in zip(NAMES, made, strict=True):
        assert is_active(box)
        assert settings(box) == f'[agent]\ntags = ["{name}"]'
        assert box.run("cat", "/etc/voice-appliance/deepgram-api-key") == KEY
        assert "payload" not in box.run("ls", "/var/cache")
        assert KEY not in box.run("journalctl", "--no-pager", "-o", "verbose")

    before = [main_pid(box) for box in made]
    status, said = fleet.play("roll-out.yml", "--limit", "kitchen")
    assert status == 0, said
    assert "changed=0" in said
    status, said = fleet.play("drift.yml")
    assert status == 0, said
    assert f"{len(NAMES)} boxes are as the inventory wants them" in said

    # Settings of the canary that are wrong: told there before anything happens, and nobody else is
    # asked.
    fleet.own["kitchen"] = {"voice_appliance_settings": '[talk]\nmode = "hald"\n'}
    status, said = fleet.play("roll-out.yml")
    assert status != 0
    assert "kitchen did not take it, at: Install it, or let the box try it" in said
    assert "wanted one of" in said
    assert "hall" not in said.partition("PLAY RECAP")[2]
    assert settings(canary) == '[agent]\ntags = ["kitchen"]'
    assert [main_pid(box) for box in made] == before
    fleet.own["kitchen"] = {}

    # A release that falls: the canary takes it back, and the settings that came with it. Then one
    # that is good, with a board that cannot be made ready: it is put back.
    for version, wanted, reason in (
        (FALLS, '[talk]\nmode = "tap"\n', "was tried with new settings"),
        (NEXT, '[panel]\nkit = "codec-zero"\n', KITLESS),
    ):
        wheels = make_wheels(version, CHANGES[version], wheelhouse, tmp_path)
        fleet.all["voice_appliance_payload"] = pack(wheels, tmp_path / "payload.tar")
        fleet.all["voice_appliance_settings"] = SETTINGS + wanted
        status, said = fleet.play("roll-out.yml")
        assert status != 0
        assert reason in said
        assert f"It runs releases/{VERSION} again, with its settings." in said
        assert "hall" not in said.partition("PLAY RECAP")[2]
        assert current(canary) == VERSION
        assert is_active(canary)
        assert settings(canary) == '[agent]\ntags = ["kitchen"]'

    # One that only its owner finds bad: those who have it go back.
    fleet.all["voice_appliance_settings"] = SETTINGS + '[talk]\nmode = "tap"\n'
    status, said = fleet.play(
        "roll-out.yml", "--limit", "kitchen", "-e", "voice_appliance_now=true"
    )
    assert status == 0, said
    assert current(canary) == NEXT
    assert "tap" in settings(canary)
    status, said = fleet.play("roll-back.yml", "-e", f"voice_appliance_bad_release={NEXT}")
    assert status == 0, said
    assert current(canary) == VERSION
    assert settings(canary) == '[agent]\ntags = ["kitchen"]'
    assert [main_pid(box) for box in others] == before[1:]

    # What somebody did by hand is told, and left as it is.
    fleet.all["voice_appliance_settings"] = SETTINGS
    others[0].run("systemctl", "stop", UNIT)
    others[1].run("sh", "-c", "echo '#edited' >>/etc/voice-appliance/config.toml")
    edited = files(others[1])
    status, said = fleet.play("drift.yml")
    assert status != 0
    assert "hall: the service is inactive" in said
    assert "attic: the settings differ" in said
    assert "kitchen:" not in said.partition("What differs")[2].partition("PLAY RECAP")[0]
    assert not is_active(others[0])
    assert {line for line in files(others[1]) ^ edited if "/home/maker" not in line} == set()


def test_ansible_lint_finds_nothing(tools: Path) -> None:
    ran = subprocess.run(
        [tools / "ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor"],
        cwd=FLEET,
        env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_example_of_an_inventory_can_be_used(tools: Path) -> None:
    words: list[str | Path] = [
        tools / "ansible-inventory",
        "-i",
        FLEET / "inventory.example",
        "--list",
    ]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert set(told["voice_appliances"]["children"]) == {"canaries", "others"}
    for host, values in told["_meta"]["hostvars"].items():
        text = values["voice_appliance_settings"].replace("{{ inventory_hostname }}", host)
        for name in ("voice_appliance_kit", "voice_appliance_mode"):
            text = text.replace(f"{{{{ {name} }}}}", values[name])
        assert config.parse(text, host).panel.kit == values["voice_appliance_kit"]
