"""The settings file: defaults, faults told all at once, secrets kept; and the API key."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from appliance import config
from appliance.config import Settings, is_loopback, key, parse, read
from appliance.errors import ConfigError

SAMPLE = """
[agent]
url = "wss://agent.deepgram.com/v1/agent/converse"   # a path of /agent speaks ...
greeting = ""            # spoken by `open` only
prompt = "You are a helpful voice assistant. Answer in one or two short spoken sentences."
[talk]
mode = "hold"            # hold | tap | open
[audio]
capture = "default"      # an ALSA name; plughw:CARD=... on a box
playback = "default"
rate_hz = 16000          # both ways; 0 finds one that the card has
[panel]
lamp = { kind = "led", pin = 25 }
[panel.buttons]          # GPIO numbers (BCM)
talk = 17
[log]
level = "info"
[spend]
usd_per_hour = 4.50
usd_per_day_max = 0      # 0: no cap; usd_per_month_max
"""

EVERY_KEY = """
[agent]
url = "ws://127.0.0.1:8080/v1/agent/converse"
greeting = "Hello."
prompt = "Be brief."
listen = { provider = { type = "deepgram", version = "v1", model = "nova-3" } }
think = [{ provider = { type = "open_ai", model = "a" } }, { provider = { type = "b" } }]
speak = { provider = { type = "deepgram", model = "aura-2-orion-en" } }
tags = ["kitchen", "second floor"]
ca_file = ""
[talk]
mode = "tap"
tap_ms = 0
preroll_ms = 5000
duplex = "full"
hang_up_after_s = 1
max_turn_s = 30.5
max_conversation_s = 0
[audio]
capture = "plughw:CARD=seeed2micvoicec,DEV=0"
playback = "plughw:CARD=seeed2micvoicec,DEV=0"
rate_hz = 48000
period_ms = 10
message_ms = 80
prebuffer_ms = 100
lead_in_ms = 200
[panel.lamp]
kind = "none"
[panel.buttons]
talk = 25
[log]
level = "debug"
[spend]
usd_per_hour = 0
usd_per_day_max = 0
usd_per_month_max = 0
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "box.toml")
    return list(caught.value.faults)


def only_fault(text: str) -> str:
    (fault,) = faults(text)
    assert "\n" not in fault
    return fault


# Reading


def test_the_empty_file_is_a_working_box() -> None:
    settings = parse("", "box.toml")
    assert settings == Settings()
    assert settings.agent.url == "wss://agent.deepgram.com/v1/agent/converse"
    assert settings.agent.greeting == ""
    assert settings.agent.tags == ()
    assert settings.agent.listen == {
        "provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
    }
    assert settings.agent.think == {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}}
    assert settings.agent.speak == {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}
    talk = settings.talk
    assert (talk.mode, talk.tap_ms, talk.preroll_ms, talk.duplex) == ("hold", 250, 0, "half")
    assert (talk.hang_up_after_s, talk.max_turn_s, talk.max_conversation_s) == (20.0, 60.0, 600.0)
    audio = settings.audio
    assert (audio.capture, audio.playback, audio.rate_hz) == ("default", "default", 16000)
    assert (audio.period_ms, audio.message_ms) == (20, 40)
    assert (audio.prebuffer_ms, audio.lead_in_ms) == (60, 0)
    assert (settings.panel.lamp.kind, settings.panel.lamp.pin) == ("led", 25)
    assert settings.panel.buttons.talk == 17
    assert settings.log.level == "info"
    assert settings.spend.usd_per_hour == 4.50


def test_the_sample_of_the_design_reads_clean_and_says_the_defaults() -> None:
    assert parse(SAMPLE, "box.toml") == Settings()


def test_every_key_can_be_set() -> None:
    settings = parse(EVERY_KEY, "box.toml")
    assert settings.agent.tags == ("kitchen", "second floor")
    assert isinstance(settings.agent.think, list)
    assert settings.talk.hang_up_after_s == 1.0
    assert isinstance(settings.talk.hang_up_after_s, float)
    assert settings.panel.lamp.kind == "none"
    named = {f"{section}.{name}" for section, names in config.KEYS.items() for name in names}
    said, section = set(), ""
    for line in EVERY_KEY.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            said.add(f"{section}.{line.split()[0]}")
    assert named - said == {"panel.lamp.pin"}, "a key without an example"


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        parse("", "box.toml").talk.tap_ms = 3  # type: ignore[misc]


def test_one_reading_does_not_change_the_defaults_of_the_next() -> None:
    parse("", "box.toml").agent.listen["provider"]["model"] = "another"
    assert parse("", "box.toml").agent.listen["provider"]["model"] == "flux-general-en"


def test_a_table_for_the_wire_replaces_its_default_whole() -> None:
    settings = parse('[agent.listen.provider]\nmodel = "nova-3"', "box.toml")
    assert settings.agent.listen == {"provider": {"model": "nova-3"}}


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[talk]\r\ntap_ms = 300\r\n")
    assert read(path).talk.tap_ms == 300


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.faults == (f"{path}: cannot be read: No such file or directory",)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"[talk]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        read(path)


# Faults


def test_all_faults_are_told_at_once() -> None:
    told = faults("""
        [agent]
        url = "http://a.example"
        greetign = "hello"
        [talk]
        tap_ms = "soon"
        mode = "open"
        [audoi]
        rate_hz = 16000
        [panel.buttons]
        talk = 40
    """)
    assert told == [
        'box.toml: [agent] url = "http://a.example": wanted an address like wss://HOST/PATH',
        'box.toml: [agent] greetign = "hello": no such key; the nearest is greeting',
        'box.toml: [talk] tap_ms = "soon": wanted a whole number of milliseconds from 0 to 2000',
        'box.toml: [talk] mode = "open": this version has no "open"; wanted one of "hold", "tap"',
        "box.toml: [audoi]: no such section; the nearest is [audio]",
        "box.toml: [panel.buttons] talk = 40: wanted a whole number from 0 to 27",
    ]


def test_toml_that_is_none_is_told_with_its_line() -> None:
    fault = only_fault("[talk]\ntap_ms = = 3")
    assert fault.startswith("box.toml: ")
    assert "line 2" in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('mode = "hold"', 'mode = "hold": no such key; it belongs in [talk]'),
        ("[talk]\nrate_hz = 8000", "[talk] rate_hz = 8000: no such key; it belongs in [audio]"),
        ("volume = 3", "volume = 3: no such key; the nearest is ["),
        ("talk = 3", "talk = 3: wanted a section [talk]"),
        ("[[talk]]", "talk = […]: wanted a section [talk]"),
        ("[panel]\nlamp = 25", "[panel] lamp = 25: wanted a section [panel.lamp]"),
        ("[panel.lamp]\nkind = 'rgb'", '[panel.lamp] kind = "rgb": wanted one of "led", "none"'),
        ("[panel.buttons]\ntlak = 4", "[panel.buttons] tlak = 4: no such key; the nearest is talk"),
        ("[panel.buttons]\ntalk = 3.0", "talk = 3.0: wanted a whole number from 0 to 27"),
        ("[panel.buttons]\ntalk = -1", "talk = -1: wanted a whole number from 0 to 27"),
        ("[panel.buttons]\ntalk = true", "talk = true: wanted a whole number from 0 to 27"),
        ("[audio]\nrate_hz = 44100", "rate_hz = 44100: wanted one of 8000, 16000, 24000"),
        ("[audio]\nrate_hz = false", "rate_hz = false: wanted one of"),
        ("[audio]\nrate_hz = 0", "this version finds no rate by itself"),
        ("[audio]\nperiod_ms = 4", "wanted a whole number of milliseconds from 5 to 100"),
        ("[audio]\nmessage_ms = 201", "wanted a whole number of milliseconds from 20 to 200"),
        ("[audio]\nprebuffer_ms = 1001", "wanted a whole number of milliseconds from 0 to 1000"),
        ("[audio]\nlead_in_ms = 2001", "wanted a whole number of milliseconds from 0 to 2000"),
        ("[audio]\ncapture = ''", 'capture = "": wanted the name of an ALSA card'),
        ('[audio]\ncapture = "a\\u0000"', 'capture = "a�": wanted the name of an ALSA card'),
        ("[talk]\nmode = 3", 'mode = 3: wanted one of "hold", "tap"'),
        ("[talk]\nduplex = 'half-ish'", 'duplex = "half-ish": wanted one of "full", "half"'),
        ("[talk]\npreroll_ms = 5001", "wanted a whole number of milliseconds from 0 to 5000"),
        ("[talk]\nhang_up_after_s = 0.5", "= 0.5: wanted a number of seconds from 1 to 600"),
        ("[talk]\nhang_up_after_s = true", "= true: wanted a number of seconds from 1 to 600"),
        ("[talk]\nhang_up_after_s = nan", "= nan: wanted a number of seconds from 1 to 600"),
        ("[talk]\nmax_turn_s = inf", "= inf: wanted a number of seconds from 1 to 600"),
        ("[talk]\nmax_conversation_s = 9.5", "wanted 0 (no limit) or 10 to 7000 seconds"),
        ("[talk]\nmax_conversation_s = 7200", "wanted a number of seconds from 0 to 7000"),
        ("[log]\nlevel = 'loud'", 'level = "loud": wanted one of "debug", "error", "info"'),
        ("[spend]\nusd_per_hour = -1", "usd_per_hour = -1: wanted a number from 0"),
        ("[spend]\nusd_per_hour = inf", "usd_per_hour = inf: wanted a number from 0"),
        ("[spend]\nusd_per_day_max = 2", "usd_per_day_max = 2: this version keeps no cap"),
        ("[spend]\nusd_per_month_max = 0.5", "= 0.5: this version keeps no cap; wanted 0"),
        ("[agent]\ntags = 'one'", 'tags = "one": wanted a list of texts'),
        ("[agent]\ntags = ['a', 3]", 'tags = ["a", 3]: wanted a list of texts'),
        ("[agent]\ntags = ['']", "wanted no empty tag"),
        (f"[agent]\ntags = ['{'x' * 129}']", "tags = […]: wanted a list of texts of at most 128"),
        ("[agent]\nprompt = 1979-05-27", "prompt = 1979-05-27: wanted text"),
        ("[agent]\nlisten = 'flux'", 'listen = "flux": wanted a table'),
        ("[agent]\nthink = 3", "think = 3: wanted a table or a list of tables"),
        ("[agent]\nthink = [3]", "think = [3]: wanted a table or a list of tables"),
        ("[agent]\nspeak.since = 1979-05-27", "speak = {…}: it goes to the agent as JSON, which"),
        ("[agent]\nspeak.at = 07:32:00", "no dates; wanted 07:32:00 in quotes"),
        ("[agent]\nthink = [{ a = [nan] }]", "JSON, which has no nan"),
        ("[agent]\nthink.a = 9223372036854775808", "wanted whole numbers of at most 64 bits"),
        ("[agent]\nprompt = 9223372036854775808", "= (a number of more than 64 bits): wanted text"),
        (f"[agent]\nurl = '{'x' * 99}'", f'url = "{"x" * 60}…": wanted an address'),
        ('[agent]\n"a\\nb" = 3', "[agent] a�b = 3: no such key"),
        ('"" = 3', '"" = 3: no such key'),
    ],
)
def test_a_fault_names_section_key_value_and_what_was_wanted(text: str, words: str) -> None:
    assert words in only_fault(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "a." * 5000 + "b = 1",
        "[agent.think]\n" + "a." * 5000 + "b = 1",
        "a = " + "9" * 5000,
        "a = 0x" + "f" * 5000,
    ],
)
def test_text_of_a_kind_that_nobody_writes_is_one_fault(text: str) -> None:
    assert len(only_fault(text)) < 300


@given(st.text() | st.from_regex(r'(\[[a-z.]*\]\n)?([a-z_"]+ = [0-9a-z"\[{}\]., =-]*\n)*'))
def test_any_text_is_settings_or_faults(text: str) -> None:
    with suppress(ConfigError):
        json.encode(parse(text, "box.toml"))


def test_a_pin_has_one_owner() -> None:
    fault = only_fault("[panel]\nlamp = { kind = 'led', pin = 17 }")
    assert fault == (
        "box.toml: [panel.buttons] talk = 17: [panel.lamp] has this pin; wanted another"
    )
    assert parse("[panel]\nlamp.kind = 'none'\nlamp.pin = 17", "box.toml").panel.buttons.talk == 17


def test_keys_that_are_wrong_themselves_are_not_compared() -> None:
    assert len(faults("[panel]\nlamp.pin = 99\nbuttons.talk = 25")) == 1
    assert len(faults("[panel]\nlamp = 3\nbuttons.talk = 25")) == 1


# The address


@pytest.mark.parametrize(
    "url",
    [
        "wss://agent.deepgram.com/v1/agent/converse",
        "wss://box.example:8443/v1/agent/converse",
        "WSS://Agent.Deepgram.Com/v1/agent/converse",
        "ws://localhost:8080/v1/agent/converse",
        "ws://127.9.9.9/v1/agent/converse",
        "ws://[::1]:8080/v1/agent/converse",
        "wss://[2001:db8::1]/v1/agent/converse",
        "ws://localhost",
        "wss://example.org/v1/agent",
        "wss://example.org/agents",
    ],
)
def test_an_address_is_taken(url: str) -> None:
    assert parse(f"[agent]\nurl = '{url}'", "box.toml").agent.url == url


@pytest.mark.parametrize(
    "url",
    [
        "ws://agent.deepgram.com/v1/agent/converse",
        "ws://192.168.1.10:8080/v1/agent/converse",
        "ws://localhost.example.com/v1/agent/converse",
        "ws://127.0.0.1.example.com/v1/agent/converse",
        "ws://0.0.0.0/v1/agent/converse",
        "ws://[::]/v1/agent/converse",
        "ws://[::ffff:8.8.8.8]/v1/agent/converse",
        "WS://example.com/v1/agent/converse",
        "ws://127.1/v1/agent/converse",
    ],
)
def test_the_key_does_not_travel_in_the_clear(url: str) -> None:
    assert "the API key would travel in the clear" in only_fault(f"[agent]\nurl = '{url}'")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "agent.deepgram.com",
        "https://agent.deepgram.com/v1/agent/converse",
        "wss://",
        "wss:///v1/agent/converse",
        "wss://:8080/v1",
        "wss://host:99999/v1",
        "wss://host:0/v1",
        "wss://host:port/v1",
        "wss://[::1/v1",
        "wss://a b/v1",
        "wss://agent.deepgram.com/v1 ",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    assert "wanted an address like" in only_fault(f"[agent]\nurl = '{url}'")


def test_a_line_end_in_an_address_is_not_passed_over() -> None:
    assert "wanted an address like" in only_fault('[agent]\nurl = "wss://a\\n.example/v1"')


@pytest.mark.parametrize("path", ["/agent", "/agent/", "/some/agent"])
def test_the_early_access_dialect_is_refused_in_words(path: str) -> None:
    fault = only_fault(f"[agent]\nurl = 'wss://agent.deepgram.com{path}'")
    assert "the early-access dialect is not spoken by this version" in fault


def test_a_fragment_is_refused() -> None:
    assert "#fragment" in only_fault("[agent]\nurl = 'wss://a.example/v1#x'")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.255.255.255", "::1", "0:0:0:0:0:0:0:1"]
)
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [None, "", "example.com", "10.0.0.1", "::", "::2", "localhost.a"])
def test_what_is_not_loopback_is_known(host: str | None) -> None:
    assert not is_loopback(host)


# Certificates


def test_certificates_are_looked_at_when_the_file_is_read(tmp_path: Path) -> None:
    path, pem = tmp_path / "config.toml", tmp_path / "ca.pem"
    path.write_text(f"[agent]\nca_file = '{pem}'\n[talk]\ntap_ms = -1")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert len(caught.value.faults) == 2, "no fault hides another"
    assert "ca_file" in caught.value.faults[1]
    assert "cannot be read: No such file" in caught.value.faults[1]
    path.write_text(f"[agent]\nca_file = '{pem}'")
    pem.write_text("not a certificate")
    with pytest.raises(ConfigError, match="wanted a file of PEM certificates"):
        read(path)
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    assert read(path).agent.ca_file == str(pem)


def test_a_name_of_certificates_that_no_file_can_have_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[agent]\nca_file = "a\\u0000b"')
    with pytest.raises(ConfigError, match=r"ca_file = .*cannot be read"):
        read(path)


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        "[agent]\napi_key = 'hunter2'",
        "api_key = 'hunter2'",
        "[talk]\ndeepgram_token = 'hunter2'",
        "[agent]\nurl = 'wss://me:hunter2@host/v1/agent/converse'",
        "[agent]\nurl = 'ws://me:hunter2@host/v1/agent/converse'",
        "[agent]\nurl = 'ws://host/v1/agent/converse?token=hunter2'",
        "[agent]\nthink = [{ endpoint = { headers = { authorization = 'hunter2' } } }, 3]",
        "[agent]\nthink = { endpoint = { headers = { authorization = 'hunter2' } }, a = nan }",
        "[keys]\ndeepgram = 'hunter2'",
    ],
)
def test_a_secret_in_the_file_is_in_no_message(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "box.toml")
    assert "hunter2" not in str(caught.value)


def test_a_key_among_the_settings_is_sent_where_it_belongs() -> None:
    fault = only_fault("[agent]\napi_key = 'hunter2'")
    assert "DEEPGRAM_API_KEY" in fault
    assert "deepgram-api-key" in fault


# The API key

DEEPGRAM = "wss://agent.deepgram.com/v1/agent/converse"
STANDIN = "ws://127.0.0.1:8080/v1/agent/converse"


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    return tmp_path


def test_the_credential_comes_before_the_variable(credentials: Path) -> None:
    (credentials / "deepgram-api-key").write_text("  from-systemd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "DEEPGRAM_API_KEY": "from-shell"}
    assert key(DEEPGRAM, environ) == "from-systemd"


def test_the_variable_serves_where_there_is_no_credential(credentials: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "DEEPGRAM_API_KEY": " from-shell\n"}
    assert key(DEEPGRAM, environ) == "from-shell"
    assert key(DEEPGRAM, {"DEEPGRAM_API_KEY": "from-shell"}) == "from-shell"


@pytest.mark.parametrize("variable", [{}, {"DEEPGRAM_API_KEY": " "}])
def test_no_key_is_a_fault_that_says_where_it_was_looked_for(
    credentials: Path, variable: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"no API key: .*DEEPGRAM_API_KEY"):
        key(DEEPGRAM, variable)
    with pytest.raises(ConfigError, match=str(credentials / "deepgram-api-key")):
        key(DEEPGRAM, {"CREDENTIALS_DIRECTORY": str(credentials), **variable})


def test_a_standin_on_loopback_needs_no_key(credentials: Path) -> None:
    assert key(STANDIN, {}) is None
    assert key(STANDIN, {"CREDENTIALS_DIRECTORY": str(credentials)}) is None
    assert key(STANDIN, {"DEEPGRAM_API_KEY": "given"}) == "given"


@pytest.mark.parametrize("raw", [b"hunter2 hunter2", b"hunter2\nhunter2", b"hunter2\x00", b"\xff"])
def test_a_key_that_cannot_be_sent_is_a_fault_that_does_not_show_it(
    credentials: Path, raw: bytes
) -> None:
    (credentials / "deepgram-api-key").write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        key(STANDIN, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert "deepgram-api-key: wanted an API key" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_variable_that_cannot_be_sent_is_a_fault_that_does_not_show_it() -> None:
    with pytest.raises(ConfigError) as caught:
        key(DEEPGRAM, {"DEEPGRAM_API_KEY": "hunter\x1b2"})
    assert str(caught.value).startswith("$DEEPGRAM_API_KEY: wanted an API key")
    assert "hunter" not in str(caught.value)


def test_a_credential_without_end_is_a_fault(credentials: Path) -> None:
    (credentials / "deepgram-api-key").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="at most 4096 bytes"):
        key(DEEPGRAM, {"CREDENTIALS_DIRECTORY": str(credentials)})


def test_a_credential_that_cannot_be_read_is_a_fault(credentials: Path) -> None:
    (credentials / "deepgram-api-key").mkdir()
    with pytest.raises(ConfigError, match="deepgram-api-key: cannot be read: Is a directory"):
        key(DEEPGRAM, {"CREDENTIALS_DIRECTORY": str(credentials)})
