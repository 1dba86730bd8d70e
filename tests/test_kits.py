"""The known boards as data, and what `voice-appliance kits` says of them."""

import json
import tomllib
from dataclasses import fields

import pytest

from appliance import cli
from appliance.config import parse
from appliance.panel.kits import FACTS, KITS, Kit, nearest
from appliance.sound.names import RATES_HZ

BUTTONS = {"talk", "mute", "volume_up", "volume_down"}
RATES = set(RATES_HZ)


@pytest.fixture(params=KITS)
def kit(request: pytest.FixtureRequest) -> Kit:
    return KITS[request.param]


def test_a_kit_is_sound(kit: Kit) -> None:
    assert KITS[kit.name] is kit
    assert kit.title
    assert kit.card.isalnum() or not kit.card
    assert len(kit.card) <= 15, "the kernel cuts longer ids"
    assert kit.rate_hz in RATES
    assert not kit.rates_hz or kit.rate_hz in kit.rates_hz
    assert set(kit.rates_hz) <= RATES
    assert set(kit.buttons) <= BUTTONS
    assert len(set(kit.buttons.values())) == len(kit.buttons)
    assert all(line.startswith(("dtoverlay=", "dtparam=", "#")) for line in kit.config_txt)
    if kit.lamp.get("kind") == "apa102":
        assert "dtparam=spi=on" in kit.config_txt


def test_a_fact_has_a_source_or_is_told_as_unverified(kit: Kit) -> None:
    assert set(kit.sources) <= set(FACTS)
    assert all(getattr(kit, name) for name in kit.sources), "a source of nothing"
    said = {name for name in FACTS if getattr(kit, name)}
    assert said == set(kit.sources) | set(kit.unverified)
    assert not set(kit.sources) & set(kit.unverified)
    assert kit.is_verified == (said == set(kit.sources))


def test_facts_are_fields() -> None:
    assert set(FACTS) <= {field.name for field in fields(Kit)}


def test_no_echo_is_cancelled_where_nothing_says_so(kit: Kit) -> None:
    says = any("cancels its own echo" in note for note in kit.notes) or "XMOS" in kit.title
    assert (kit.duplex == "full") == says


def test_the_nearest_of_a_name() -> None:
    assert nearest("respeaker-2mic-v3") == "respeaker-2mic-v2"
    assert nearest("") in KITS


# The command


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(list(words)) == 0
    return capsys.readouterr().out


def test_the_table_names_all_and_what_is_unverified(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "kits").splitlines()
    assert lines[0].split() == ["KIT", "CARD", "UNVERIFIED", "BOARD"]
    rows = {line.split()[0]: line for line in lines[1 : 1 + len(KITS)]}
    assert rows.keys() == KITS.keys()
    column, end = lines[0].index("UNVERIFIED"), lines[0].index("BOARD")
    for name, row in rows.items():
        assert (row[column:end].strip() == "-") == KITS[name].is_verified
        assert row.endswith(KITS[name].title)
    assert any("tried on hardware" in line for line in lines)


def test_one_kit_is_told_whole(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, "kits", kit.name)
    for fact in (kit.title, *kit.config_txt, *kit.notes, *kit.sources.values()):
        assert fact in told
    assert told.count("UNVERIFIED") == len(kit.unverified)
    for name, to in kit.mixer:
        assert f"amixer -c {kit.card} sset '{name}' {to}" in told


def test_the_settings_that_are_told_can_be_pasted(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, "kits", kit.name)
    begin = told.index("wins.\n") + len("wins.\n")
    toml = told[begin : told.index("\n\n", begin)]
    said = tomllib.loads(toml)
    by_hand = {"panel": {"buttons": {}}} | said
    by_hand["panel"] = {"buttons": {}} | by_hand["panel"]
    assert by_hand == kit.settings
    if set(kit.buttons) <= {"talk"}:
        pasted, named = parse(toml, "pasted"), parse(f"panel.kit = '{kit.name}'", "named")
        assert (pasted.audio, pasted.talk) == (named.audio, named.talk)
        assert pasted.panel.lamp == named.panel.lamp


def test_programs_are_told_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in run(capsys, "kits", "--json").splitlines()]
    assert [one["name"] for one in told] == list(KITS)
    assert not any(one["tried"] for one in told)
    [one] = map(json.loads, run(capsys, "kits", "codec-zero", "--json").splitlines())
    assert one in told
    assert (one["verified"], one["unverified"]) == (True, [])
    assert one["settings"]["panel"]["lamp"] == {"kind": "leds", "listening": 23, "trouble": 24}


def test_a_name_that_is_none_is_refused_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["kits", "codec"])
    assert "no such kit: codec; the nearest is codec-zero" in capsys.readouterr().err


def test_check_says_over_which_kit(
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "x" * 40)
    file = tmp_path_factory.mktemp("settings") / "config.toml"
    file.write_text("panel.kit = 'codec-zero'")
    said = run(capsys, "check", "--config", str(file))
    assert said.startswith("the settings can be used, over those of the kit codec-zero\n")
    told = json.loads(run(capsys, "check", "--json", "--config", str(file)))
    assert (told["ok"], told["kit"], told["rate_hz"]) == (True, "codec-zero", 16000)
    assert ["no card 'Zero'" in words for words in told["advice"]] == [True]
