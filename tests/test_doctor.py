"""What the doctor makes of what was seen: words, and what to do."""

import os
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.errors import AgentUnreachable, DeviceError, Trouble
from appliance.host import doctor, machine
from appliance.host.command import Output
from appliance.host.doctor import Finding, KeyFile, State, Store

NOW_S = 1_800_000_000.0
DAY_S = 86400.0
MIB = 2**20


def sound(*samples: int) -> bytes:
    return array("h", samples * 1000).tobytes()


@pytest.mark.parametrize(
    ("finding", "state", "words"),
    [
        (doctor.clock(NOW_S, NOW_S, is_synchronized=True), State.OK, "synchronized"),
        (doctor.clock(NOW_S, NOW_S, is_synchronized=False), State.WARNING, "not synchronized"),
        (doctor.clock(NOW_S, NOW_S, is_synchronized=None), State.OK, "is not known"),
        (doctor.clock(0, NOW_S, is_synchronized=True), State.FAULT, "57.1 years before"),
        (doctor.state(Store("/s", 100 * MIB, False, True)), State.OK, "/s: 100 MiB free"),
        (doctor.state(Store("/s", 100 * MIB, False, None)), State.OK, "only the service can tell"),
        (doctor.state(Store("/s", 1 * MIB, False, True)), State.WARNING, "1 MiB free"),
        (doctor.state(Store("/s", 100 * MIB, False, False)), State.FAULT, "cannot be written"),
        (doctor.state(Store("/s", 100 * MIB, True, None)), State.FAULT, "read-only"),
        (doctor.service({}), State.SKIPPED, "not installed"),
        (doctor.service({"LoadState": "masked"}), State.FAULT, "masked"),
        (doctor.key_file(KeyFile("/k"), is_wanted=True), State.FAULT, "/k is missing"),
        (doctor.key_file(KeyFile("/k", 0o100644, 9), is_wanted=True), State.FAULT, "mode 0644"),
        (doctor.key_file(KeyFile("/k", 0o100600, 0), is_wanted=True), State.FAULT, "empty"),
        (doctor.key_file(KeyFile("/k", 0o100600, 0), is_wanted=False), State.OK, "/k"),
        (doctor.key_file(KeyFile("/k", 0o100600, 9), is_wanted=True), State.OK, "/k"),
        (doctor.certificate(NOW_S + 90 * DAY_S, NOW_S, "TLSv1.3"), State.OK, "90 days more"),
        (doctor.certificate(NOW_S + DAY_S, NOW_S, "TLSv1.3"), State.WARNING, "1 days more"),
        (doctor.level(sound(0)), State.FAULT, "nothing but zeros"),
        (doctor.level(b""), State.FAULT, "nothing but zeros"),
        (doctor.level(sound(1, -1)), State.WARNING, "very quiet: -90 dBFS"),
        (doctor.level(sound(3277, -3277)), State.OK, "-20 dBFS, its peak -20 dBFS"),
        (doctor.level(sound(32767, -32768)), State.WARNING, "it clips"),
        (doctor.no_pins("GPIO 17: taken", has_chip=True), State.FAULT, "GPIO 17: taken"),
        (doctor.no_pins("…", has_chip=False), State.WARNING, "has no pins"),
        (
            doctor.panel_told({"trouble": "no way", "details": "lgpio: none"}),
            State.FAULT,
            "no way (tried besides: lgpio: none)",
        ),
        (doctor.panel_told({"trouble": "GPIO 17"}), State.FAULT, "GPIO 17"),
        (doctor.panel_told({"trouble": None, "pins": "gpiod"}), State.OK, "through gpiod"),
    ],
)
def test_what_was_seen_becomes_words(finding: Finding, state: State, words: str) -> None:
    assert finding.state is state
    assert words in finding.words
    assert bool(finding.advice) is (state in {State.FAULT, State.WARNING})


@pytest.mark.parametrize(
    ("active", "sub", "more", "state", "advice"),
    [
        ("active", "running", {"NRestarts": "0"}, State.OK, ""),
        ("active", "running", {"NRestarts": "9"}, State.WARNING, "journalctl"),
        ("inactive", "dead", {}, State.WARNING, "systemctl start"),
        ("failed", "failed", {"ExecMainStatus": "78"}, State.FAULT, "check"),
        ("failed", "failed", {"Result": "watchdog"}, State.FAULT, "journalctl"),
        ("activating", "auto-restart", {"Result": "exit-code"}, State.FAULT, "journalctl"),
    ],
)
def test_a_service_is_told_as_it_is(
    active: str, sub: str, more: dict[str, str], state: State, advice: str
) -> None:
    unit = {"LoadState": "loaded", "ActiveState": active, "SubState": sub, **more}
    finding = doctor.service(unit)
    assert finding.state is state
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("more", "state", "words"),
    [
        ({}, State.OK, "hw:A is open, by the daemon: 16000 Hz, 1 x S16_LE"),
        ({"state": "missing", "trouble": "'hw:A': pulled"}, State.FAULT, "'hw:A': pulled"),
        ({"card": "hw:B"}, State.WARNING, "the daemon has hw:B, the settings say hw:A"),
        ({"xruns": 99}, State.WARNING, "99 xruns lost sound"),
    ],
)
def test_a_card_of_the_daemons_is_told_by_its_status(
    more: dict[str, object], state: State, words: str
) -> None:
    known = {"rate_hz": 16000, "channels": 1, "format": "S16_LE", "converter": "none", "xruns": 1}
    told = {"card": "hw:A", "state": "open", "trouble": None, **known, **more}
    finding = doctor.card_told("microphone", told, "hw:A", ["A"])
    assert finding.state is state
    assert words in finding.words


def test_where_a_card_is_missing_those_that_are_here_are_told() -> None:
    some = doctor.no_card("speaker", "'hw:A' does not open", ["PCH", "Device"])
    assert some.advice == "[audio] playback: aplay -L lists the names; the cards here: PCH, Device"
    assert "no sound card at all" in doctor.no_card("microphone", "…", []).advice


@pytest.mark.parametrize(
    ("more", "state", "advice"),
    [
        ({}, State.OK, ""),
        ({"trouble": "no-answer"}, State.FAULT, "no-answer"),
        ({"trouble": "cap-reached"}, State.FAULT, "voice-appliance spend"),
        ({"capped": True}, State.FAULT, "voice-appliance spend"),
        ({"muted": True}, State.WARNING, "unmute"),
    ],
)
def test_a_daemon_is_told_by_its_status(more: dict[str, object], state: State, advice: str) -> None:
    told = {"version": "1", "uptime_s": 2.0, "phase": "asleep", "sentence": "asleep", **more}
    assert doctor.daemon(told).state is state
    assert advice in doctor.daemon(told).advice


@pytest.mark.parametrize("trouble", list(Trouble))
def test_whatever_is_wrong_with_the_way_there_is_something_to_do(trouble: Trouble) -> None:
    finding = doctor.no_way("connection", AgentUnreachable(trouble, "so it was"))
    assert finding.words == f"{trouble.sentence}: so it was"
    assert finding.advice


def test_a_finding_is_told_to_people_and_to_programs() -> None:
    finding = doctor.fault("key", "there is none", "put one there")
    first, second = finding.lines
    assert first == "fault    key          there is none"
    assert second.strip() == "-> put one there"
    assert second.index("->") == first.index("there")
    told = {"check": "key", "state": "fault", "words": "there is none", "advice": "put one there"}
    assert finding.told == told
    assert doctor.ok("clock", "well").lines == ["ok       clock        well"]
    assert doctor.ok("clock", "well").told["advice"] is None


def test_the_summary_counts() -> None:
    good, bad = doctor.ok("a", "b"), doctor.fault("a", "b", "c")
    assert doctor.summary([good]).startswith("nothing is wrong")
    assert doctor.summary([good, bad]) == "1 fault"
    assert doctor.summary([bad, bad, doctor.warning("a", "b", "c")]) == "2 faults, 1 warning"


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


class Program:
    """Answers as systemctl and timedatectl do, by their second word."""

    def __init__(self, status: int = 0, **said: str) -> None:
        self.said, self.status = said, status
        self.asked: list[Sequence[str]] = []

    async def __call__(self, argv: Sequence[str], **_: object) -> Output:
        self.asked.append(argv)
        if argv[1] not in self.said:
            raise DeviceError(f"{argv[0]!r} cannot be run: No such file or directory")
        said = self.said[argv[1]].encode()
        return Output(self.status, said, b"", truncated=False, timed_out=False)


FILE = """# /etc/systemd/system/voice-appliance.service
[Service]
LoadCredential=other:/x
LoadCredential=deepgram-api-key:/of/the/unit
# /etc/systemd/system/voice-appliance.service.d/override.conf
LoadCredential=
LoadCredential=deepgram-api-key:/of/the/drop-in
"""


async def test_the_unit_is_read_as_it_is_printed() -> None:
    program = Program(show="LoadState=loaded\nActiveState=active\n", cat=FILE)
    unit = await machine.unit({}, program)
    assert (unit["LoadState"], unit["ActiveState"]) == ("loaded", "active")
    assert [argv[:3] for argv in program.asked] == [
        ["systemctl", "show", "voice-appliance.service"],
        ["systemctl", "cat", "voice-appliance.service"],
    ]
    assert machine.key_file(unit, "deepgram-api-key") == KeyFile("/of/the/drop-in")


async def test_of_a_service_that_is_not_installed_no_file_is_asked_for() -> None:
    program = Program(show="LoadState=not-found\n")
    assert await machine.unit({}, program) == {"LoadState": "not-found"}
    assert len(program.asked) == 1


@pytest.mark.parametrize("program", [Program(), Program(1, show="System has not…")])
async def test_without_a_service_manager_nothing_is_known(program: Program) -> None:
    assert await machine.unit({}, program) == {}
    assert await machine.is_synchronized({}, program) is None


@pytest.mark.parametrize(("said", "known"), [("yes", True), ("no", False), ("", None)])
async def test_the_clock_is_asked_for(said: str, known: bool | None) -> None:
    assert await machine.is_synchronized({}, Program(show=f"NTPSynchronized={said}\n")) is known


def test_the_key_is_weighed_and_not_read(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sesame")
    file.chmod(0o200)
    for kind in ("LoadCredential", "LoadCredentialEncrypted"):
        found = machine.key_file({kind: f"x:/y deepgram-api-key:{file}"}, "deepgram-api-key")
        assert found is not None
        assert (found.path, found.size_bytes) == (str(file), 6)
        assert found.mode is not None
        assert found.mode & 0o777 == 0o200
    gone = machine.key_file({"LoadCredential": "deepgram-api-key:/no/where"}, "deepgram-api-key")
    assert gone == KeyFile("/no/where")
    assert (
        machine.key_file({"LoadCredential": "deepgram-api-key:shelf"}, "deepgram-api-key") is None
    )
    assert machine.key_file({}, "deepgram-api-key") is None


def test_a_store_need_not_be_there_yet(tmp_path: Path) -> None:
    found = machine.store(tmp_path / "a" / "b", is_ours=True)
    assert found.folder == str(tmp_path / "a" / "b")
    assert found.is_writable
    assert found.free_bytes > 0
    assert machine.store(tmp_path, is_ours=False).is_writable is None
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_of_somebody_else_cannot_be_written() -> None:
    assert machine.store(Path("/proc/1"), is_ours=True).is_writable is False
