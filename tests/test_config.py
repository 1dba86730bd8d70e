"""The settings file: defaults, faults told all at once, secrets kept; and the API key."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from appliance import config
from appliance.agent.tools import BUILT_IN
from appliance.config import Settings, is_loopback, key, parse, read
from appliance.config_panel import KEYS
from appliance.config_reader import keys
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

# The keys that the sample names in its comments only.
COMMENTED = """
[agent]
ca_file = ""
proxy = ""
tags = []
dialect = "auto"
key_command = []
[talk]
tap_ms = 250
long_press_s = 3
preroll_ms = 0
duplex = "half"
hang_up_after_s = 20
remember_for_s = 600
max_turn_s = 60
max_conversation_s = 600
[audio]
period_ms = 20
message_ms = 40
prebuffer_ms = 60
lead_in_ms = 0
volume = 100
mixer = "auto"
echo = "none"
[cues]
listening = false
done = false
trouble = true
language = "en"
prompts_dir = ""
[spend]
usd_per_month_max = 0
[keep]
transcript = false
audio = false
"""

EVERY_KEY = """
[agent]
url = "wss://example.org/v1/agent/converse"
dialect = "v1"
id = ""
greeting = "Hello."
prompt = "Be brief."
listen = { provider = { type = "deepgram", version = "v1", model = "nova-3" } }
think = [{ provider = { type = "open_ai", model = "a" } }, { provider = { type = "b" } }]
speak = { provider = { type = "deepgram", model = "aura-2-orion-en" } }
tags = ["kitchen", "second floor"]
mip_opt_out = true
think_live = { provider = { type = "deepgram", version = "v1" } }
experimental = true
flags = { history = false }
remember_over_restart = true
key_command = ["/usr/local/bin/mint", "--seconds", "60"]
ca_file = ""
proxy = "http://proxy.example:3128"
[talk]
mode = "open"
tap_ms = 0
long_press_s = 1.5
preroll_ms = 5000
duplex = "full"
hang_up_after_s = 1
remember_for_s = 86400
max_turn_s = 30.5
max_conversation_s = 0
[audio]
capture = "plughw:CARD=seeed2micvoicec,DEV=0"
playback = "plughw:CARD=seeed2micvoicec,DEV=0"
rate_hz = 8000
encoding = "mulaw"
period_ms = 10
message_ms = 80
prebuffer_ms = 100
lead_in_ms = 200
echo = "webrtc"
volume = 40
mixer = "Digital"
[panel]
pins = "lgpio"
kit = "respeaker-2mic-v2"
brightness = 50
night = "22:30-07:00"
night_brightness = 0
[cues]
listening = true
done = false
trouble = false
language = "de"
prompts_dir = "/var/lib/sentences"
[panel.lamp]
kind = "apa102"
[panel.buttons.talk]
pin = 25
active = "high"
pull = "none"
[panel.buttons.mute]
pin = 22
active = "low"
pull = "up"
kind = "switch"
[panel.buttons.volume_up]
pin = 5
active = "high"
pull = "down"
[panel.buttons.volume_down]
pin = 6
active = "low"
pull = "none"
[panel.buttons.forget]
pin = 13
active = "low"
pull = "auto"
[panel.gestures]
double_press = "none"
[log]
level = "debug"
[spend]
usd_per_hour = 3.90
usd_per_day_max = 2
usd_per_month_max = 0.5
[keep]
transcript = true
audio = true
max_mb = 1
max_days = 3650
[[tools]]
name = "open-the_Door1"
description = "Opens the door of the house."
parameters = { type = "object", properties = { side = { type = "string" } }, required = ["side"] }
command = ["/usr/local/bin/door", "--open"]
defer_until_eot = true
confirm = "button"
timeout_s = 60
output_bytes = 65536
[[tools]]
name = "time"
description = "Tells the time."
command = ["/usr/bin/date"]
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
    agent = settings.agent
    assert (agent.listen, agent.think, agent.speak) == (None, None, None), "the dialect's own"
    assert (agent.dialect, agent.spoken_dialect, agent.id) == ("auto", "v1", "")
    assert (agent.mip_opt_out, agent.remember_over_restart) == (False, False)
    assert (agent.key_command, agent.ca_file, agent.proxy) == ((), "", "")
    talk = settings.talk
    assert (talk.mode, talk.tap_ms, talk.preroll_ms, talk.duplex) == ("hold", 250, 0, "half")
    assert (talk.long_press_s, talk.remember_for_s) == (3.0, 600.0)
    assert (talk.hang_up_after_s, talk.max_turn_s, talk.max_conversation_s) == (20.0, 60.0, 600.0)
    audio = settings.audio
    assert (audio.capture, audio.playback, audio.rate_hz) == ("default", "default", 16000)
    assert (audio.encoding, audio.period_ms, audio.message_ms) == ("linear16", 20, 40)
    assert (audio.prebuffer_ms, audio.lead_in_ms) == (60, 0)
    assert (settings.panel.lamp.kind, settings.panel.lamp.pin) == ("led", 25)
    assert settings.panel.buttons.talk.pin == 17
    assert settings.log.level == "info"
    spend, keep = settings.spend, settings.keep
    assert (spend.usd_per_hour, spend.usd_per_day_max, spend.usd_per_month_max) == (4.50, 0, 0)
    assert (keep.transcript, keep.audio, keep.max_mb, keep.max_days) == (False, False, 100, 30)
    assert settings.tools == ()


def test_the_sample_of_the_design_reads_clean_and_says_the_defaults() -> None:
    assert parse(SAMPLE, "box.toml") == Settings()
    assert parse(COMMENTED, "box.toml") == Settings()


def test_every_key_can_be_set() -> None:
    settings = parse(EVERY_KEY, "box.toml")
    assert settings.agent.tags == ("kitchen", "second floor")
    assert isinstance(settings.agent.think, list)
    assert settings.agent.key_command == ("/usr/local/bin/mint", "--seconds", "60")
    door, time = settings.tools
    assert (door.name, door.confirm, door.defer_until_eot) == ("open-the_Door1", "button", True)
    assert (door.command, door.timeout_s) == (("/usr/local/bin/door", "--open"), 60.0)
    assert time.parameters == {"type": "object", "properties": {}}
    assert (time.confirm, time.defer_until_eot) == ("", False)
    assert (time.timeout_s, time.output_bytes) == (10.0, 4096)
    assert settings.talk.hang_up_after_s == 1.0
    assert isinstance(settings.talk.hang_up_after_s, float)
    assert settings.panel.lamp.kind == "apa102"
    assert settings.panel.pins == "lgpio"
    named = {f"{section}.{name}" for section, names in keys(Settings).items() for name in names}
    said, section = set(), ""
    for line in EVERY_KEY.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            said.add(f"{section}.{line.split()[0]}")
    told = {f"panel.lamp.{name}" for names in KEYS.values() for name in names}  # each by its kind
    assert named - said == told, "a key without an example"


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        parse("", "box.toml").talk.tap_ms = 3  # type: ignore[misc]


def test_one_reading_does_not_change_the_defaults_of_the_next() -> None:
    tool = "[[tools]]\nname = 'a'\ndescription = 'b'\ncommand = ['/c']"
    parse(tool, "box.toml").tools[0].parameters["type"] = "another"
    assert parse(tool, "box.toml").tools[0].parameters["type"] == "object"


def test_a_table_for_the_wire_replaces_its_default_whole() -> None:
    provider = '[agent.listen.provider]\ntype = "deepgram"\nmodel = "nova-3"'
    listen = {"provider": {"type": "deepgram", "model": "nova-3"}}
    assert parse(provider, "box.toml").agent.listen == listen


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
        mode = "closed"
        [audoi]
        rate_hz = 16000
        [panel.buttons]
        talk = 40
        [[tools]]
        name = "time"
        description = "Tells the time."
        command = ["/usr/bin/date"]
        [[tools]]
        name = "tell time"
        command = "date"
    """)
    assert told == [
        'box.toml: [agent] url = "http://a.example": wanted an address like wss://HOST/PATH',
        'box.toml: [agent] greetign = "hello": no such key; the nearest is greeting',
        'box.toml: [talk] tap_ms = "soon": wanted a whole number of milliseconds from 0 to 2000',
        'box.toml: [talk] mode = "closed": wanted one of "hold", "open", "tap"',
        "box.toml: [audoi]: no such section; the nearest is [audio]",
        "box.toml: [panel.buttons] talk = 40: wanted a whole number from 0 to 27",
        'box.toml: [[tools]] 2 name = "tell time": wanted 1 to 64 letters, digits, _ and -',
        (
            "box.toml: [[tools]] 2 command = …: wanted a list of texts, "
            'the first an absolute path, as ["/usr/bin/date", "+%H:%M"]'
        ),
        (
            "box.toml: [[tools]] 2 description: missing; "
            "wanted a sentence that tells the agent when to call it"
        ),
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
        ("loudness = 3", "loudness = 3: no such key; the nearest is ["),
        ("talk = 3", "talk = 3: wanted a section [talk]"),
        ("[[talk]]", "talk = […]: wanted a section [talk]"),
        ("[panel]\nlamp = 25", "[panel] lamp = 25: wanted a section [panel.lamp]"),
        (
            "[panel.lamp]\nkind = 'neon'",
            '[panel.lamp] kind = "neon": wanted one of "apa102", "led"',
        ),
        ("[panel.buttons]\ntlak = 4", "[panel.buttons] tlak = 4: no such key; the nearest is talk"),
        ("[panel.buttons]\ntalk = 3.0", "talk = 3.0: wanted a whole number from 0 to 27"),
        ("[panel.buttons]\ntalk = -1", "talk = -1: wanted a whole number from 0 to 27"),
        ("[panel.buttons]\ntalk = true", "talk = true: wanted a whole number from 0 to 27"),
        ("[audio]\nrate_hz = 22050", "rate_hz = 22050: wanted one of 0, 8000, 16000, 24000"),
        ("[audio]\nencoding = 'opus'", 'encoding = "opus": wanted one of "alaw", "linear16"'),
        ("[audio]\nrate_hz = false", "rate_hz = false: wanted one of"),
        ("[audio]\nperiod_ms = 4", "wanted a whole number of milliseconds from 5 to 100"),
        ("[audio]\nmessage_ms = 201", "wanted a whole number of milliseconds from 20 to 200"),
        ("[audio]\nprebuffer_ms = 1001", "wanted a whole number of milliseconds from 0 to 1000"),
        ("[audio]\nvolume = 101", "from 0 to 100"),
        ("[audio]\nmixer = ''", 'mixer = "": wanted "auto", "none" or the name of a control'),
        ("[audio]\nmixer = \"'PCM',0\"", 'wanted "auto", "none" or the name of a control'),
        ("[audio]\nmixer = false", "mixer = false: wanted"),
        ("[audio]\nlead_in_ms = 2001", "wanted a whole number of milliseconds from 0 to 2000"),
        ("[audio]\ncapture = ''", 'capture = "": wanted the name of an ALSA card'),
        ('[audio]\ncapture = "a\\u0000"', 'capture = "a�": wanted the name of an ALSA card'),
        ("[talk]\nmode = 3", 'mode = 3: wanted one of "hold", "open", "tap"'),
        ("[talk]\nlong_press_s = 0.9", "= 0.9: wanted a number of seconds from 1 to 10"),
        ("[talk]\nremember_for_s = 86401", "= 86401: wanted a number of seconds from 0 to 86400"),
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
        ("[spend]\nusd_per_day_max = -2", "usd_per_day_max = -2: wanted a number from 0"),
        ("[spend]\nusd_per_month_max = '9'", 'usd_per_month_max = "9": wanted a number from 0'),
        ("[keep]\ntranscript = 1", "transcript = 1: wanted true or false"),
        ("[keep]\nmax_mb = 0", "max_mb = 0: wanted a whole number of megabytes from 1 to 100000"),
        ("[keep]\nmax_days = 3651", "wanted a whole number of days from 1 to 3650"),
        ("[agent]\ndialect = 'v2'", 'dialect = "v2": wanted one of "auto", "early-access", "v1"'),
        ("[agent]\nid = 'kitchen'", 'id = "kitchen": wanted the UUID of a stored agent'),
        ("[agent]\nmip_opt_out = 'yes'", 'mip_opt_out = "yes": wanted true or false'),
        ("[agent]\nkey_command = 'mint'", "key_command = …: wanted a list of texts, the first"),
        ("[agent]\nkey_command = ['mint']", "key_command = …: wanted a list of texts, the first"),
        ("[agent]\nkey_comand = ['/mint']", "key_comand = …: no such key; the nearest is key_co"),
        ("[talk]\nkey_command = ['/mint']", "key_command = …: no such key; it belongs in [agent]"),
        ("[agent]\nlanguage = 'de'", 'language = "de": no such key; it belongs in [agent.listen'),
        ("[agent]\nkeyterms = ['a']", "keyterms = …: no such key; it belongs in [agent.listen"),
        ("[agent]\nmodel = 'nova-3'", "no such key; it belongs in a provider of [agent]"),
        ("[agent]\ndescription = 'a'", "no such key; it belongs in [[tools]]"),
        ("[[agent.tools]]\nname = 'a'", "tools = …: no such key; [[tools]] stands by itself"),
        ("[agent.keep]\naudio = true", "keep = {…}: no such key; [keep] stands by itself"),
        ("[agent]\nlsiten = []", "lsiten = …: no such key; the nearest is listen"),
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
    assert parse("[panel]\nlamp.kind = 'none'", "box.toml").panel.buttons.talk.pin == 17


def test_keys_that_are_wrong_themselves_are_not_compared() -> None:
    assert len(faults("[panel]\nlamp.pin = 99\nbuttons.talk = 25")) == 1
    assert len(faults("[panel]\nlamp = 3\nbuttons.talk = 25")) == 1


def test_a_cap_needs_a_price() -> None:
    fault = only_fault("[spend]\nusd_per_hour = 0\nusd_per_day_max = 2")
    assert "[spend] usd_per_day_max = 2.0: usd_per_hour = 0 counts nothing" in fault


def test_what_is_forgotten_at_once_is_not_remembered_over_a_restart() -> None:
    fault = only_fault("[agent]\nremember_over_restart = true\n[talk]\nremember_for_s = 0")
    assert "remember_over_restart = true: [talk] remember_for_s = 0 remembers nothing" in fault


# Functions

TOOL = {"name": "'time'", "description": "'Tells it.'", "command": "['/usr/bin/date']"}


def tool(**keys: str) -> str:
    lines = (f"{name} = {value}" for name, value in (TOOL | keys).items() if value)
    return "\n".join(["[[tools]]", *lines, ""])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "''"}, '[[tools]] 1 name = "": wanted 1 to 64 letters'),
        ({"name": f"'{'x' * 65}'"}, "wanted 1 to 64 letters"),
        ({"name": '"time\\n"'}, 'name = "time�": wanted 1 to 64 letters'),
        ({"name": "3"}, "name = 3: wanted 1 to 64 letters"),
        ({"name": ""}, "[[tools]] 1 name: missing; wanted 1 to 64 letters"),
        ({"name": "'set_volume'"}, "the box has a function of this name itself"),
        ({"description": "' '"}, 'description = " ": wanted a sentence'),
        ({"command": ""}, "[[tools]] 1 command: missing; wanted a list of texts"),
        ({"command": "[]"}, "[[tools]] 1 command = …: wanted a list of texts, the first"),
        ({"command": "['date']"}, "command = …: wanted a list of texts, the first an absolute"),
        ({"command": "['/usr/bin/date', 3]"}, "command = …: wanted a list of texts"),
        ({"command": '["/usr/bin/date", "a\\u0000"]'}, "command = …: wanted a list of texts"),
        ({"parameters": "3"}, "parameters = 3: wanted a table"),
        ({"parameters": "{}"}, 'parameters = {}: wanted a JSON schema with type = "object"'),
        ({"parameters": "{ type = 'array' }"}, 'wanted a JSON schema with type = "object"'),
        ({"parameters": "{ type = 'object', properties = 3 }"}, "properties is a table of tables"),
        ({"parameters": "{ type = 'object', properties = { a = 3 } }"}, "is a table of tables"),
        ({"parameters": "{ type = 'object', required = 'a' }"}, "required is a list of names"),
        ({"parameters": "{ type = 'object', default = nan }"}, "JSON, which has no nan"),
        ({"confirm": "'voice'"}, 'confirm = "voice": wanted one of "", "button"'),
        ({"defer_until_eot": "1"}, "defer_until_eot = 1: wanted true or false"),
        ({"timeout_s": "61"}, "timeout_s = 61: wanted a number of seconds from 1 to 60"),
        ({"output_bytes": "0"}, "output_bytes = 0: wanted a whole number of bytes from 1 to 65536"),
        ({"timeuot_s": "3"}, "[[tools]] 1 timeuot_s = 3: no such key; the nearest is timeout_s"),
    ],
)
def test_a_faulty_function_is_told_with_its_number(keys: dict[str, str], words: str) -> None:
    assert words in only_fault(tool(**keys))


def test_the_names_that_are_taken_are_those_of_the_box() -> None:
    assert set(config.BUILT_IN_TOOLS) == BUILT_IN.keys()


def test_no_two_functions_have_one_name() -> None:
    fault = only_fault(tool() + tool(name="'date'") + tool())
    assert fault == 'box.toml: [[tools]] 3 name = "time": [[tools]] 1 has it; wanted another'


@pytest.mark.parametrize("text", ["tools = 3", "tools = [3]", "[tools]\nname = 'a'"])
def test_functions_are_a_list_of_sections(text: str) -> None:
    assert "wanted a section [[tools]] for each" in only_fault(text)


def test_a_list_of_functions_that_is_misspelt_is_a_fault() -> None:
    assert "[[tool]]: no such section; the nearest is [[tools]]" in only_fault("[[tool]]\na = 1")


def test_functions_of_a_table_for_the_wire_and_those_of_the_box_contradict_each_other() -> None:
    think = "[agent.think]\nprovider = { type = 'x' }\nfunctions = [{ name = 'a' }]\n"
    assert "think.functions = […]: they go in the place of those of [[tools]]" in only_fault(
        think + tool()
    )
    assert parse(think, "box.toml").tools == ()


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


@pytest.mark.parametrize(
    ("lines", "dialect"),
    [
        ("", "v1"),
        ("url = 'wss://agent.deepgram.com/agent'", "early-access"),
        ("url = 'wss://agent.deepgram.com/agent/'", "early-access"),
        ("url = 'ws://localhost:8080/some/agent'", "early-access"),
        ("url = 'wss://example.org/v1/agent'", "v1"),
        ("url = 'wss://example.org/agent'\ndialect = 'v1'", "v1"),
        ("url = 'wss://example.org/talk'\ndialect = 'early-access'", "early-access"),
    ],
)
def test_the_dialect_is_that_of_the_path_unless_it_is_said(lines: str, dialect: str) -> None:
    assert parse(f"[agent]\n{lines}", "box.toml").agent.spoken_dialect == dialect


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


# The way there


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.example:3128",
        "http://proxy.example:3128/",
        "http://[2001:db8::1]:8080",
        "http://me:hunter2@10.0.0.1:80",
    ],
)
def test_a_proxy_is_taken(proxy: str) -> None:
    settings = parse(f"[agent]\nproxy = '{proxy}'", "box.toml")
    assert settings.agent.proxy == proxy


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy.example:3128",
        "http://proxy.example",
        "https://proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?a=b",
        "http://proxy.example:3128#a",
        "http://:3128",
        "http://proxy.example:0",
        "http://pro xy.example:3128",
    ],
)
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    assert "wanted an address like http://HOST:PORT" in only_fault(f"[agent]\nproxy = '{proxy}'")


def test_no_proxy_stands_between_the_box_and_itself() -> None:
    fault = only_fault(
        "[agent]\nurl = 'ws://localhost:8080/v1/agent'\nproxy = 'http://me:hunter2@p.example:3128'"
    )
    assert fault == (
        'box.toml: [agent] proxy = "http://…@p.example:3128": '
        'url = "ws://localhost:8080/v1/agent" is this machine, and no proxy\'s; '
        "wanted one of the two"
    )


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
        "[agent]\nthink = { endpoint = { headers = { x-mine = 2022-02-02 } } }",
        "[agent]\nproxy = 'http://me:hunter2@host'",
        "[agent]\nproxy = 'me:hunter2@host:3128'",
        "[agent]\nproxy = 'http://me:hun?hunter2@host:3128'",
        "[agent]\nproxy = 'http://me:hun#hunter2@host:3128'",
        "[agent]\nproxy = 'http://me:a@hunter2@:3128'",
        "[agent]\nproxi = 'http://me:hunter2@host:3128'",
        "[agent]\nurl = 'wss://host/v1#hunter2'",
        "[agent]\nurl = 'ws://host/v1?token=a@hunter2'",
        "[agent]\nurl = 'host?token=hunter2'",
        "[agent]\nkey_command = ['mint', '--password', 'hunter2']",
        "[agent]\nkey_command = 'mint --password hunter2'",
        "[agent]\nkey_comand = '/mint --password hunter2'",
        "[agent]\nmint = ['/mint', '--password', 'hunter2']",
        "[[tools]]\nname = 'a'\ndescription = 'b'\ncommand = ['curl', 'hunter2']",
        "[[tools]]\nname = 'a'\ndescription = 'b'\ncommand = 'curl hunter2'",
        "[[tools]]\nname = 'a'\ndescription = 'b'\ncomand = 'curl hunter2'",
        "[[tools]]\nname = 'a'\ndescription = 'b'\napi_token = 'hunter2'",
        (
            "[agent.speak]\nprovider = { type = 'open_ai', model = 'a', voice = 'b' }\n"
            "endpoint = { url = 'http://me:hunter2@host', headers = { a = 'hunter2' } }"
        ),
    ],
)
def test_a_secret_in_the_file_is_in_no_message(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "box.toml")
    assert "hunter2" not in str(caught.value)
    assert "2022" not in str(caught.value)


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


# [cues]


def test_an_unknown_language_is_told_which_there_are() -> None:
    fault = only_fault("[cues]\nlanguage = 'fr'")
    assert fault == ('box.toml: [cues] language = "fr": wanted "" (no sentences) or one of en, de')
    assert parse("[cues]\nlanguage = ''", "box.toml").cues.language == ""


@pytest.mark.parametrize("mode", ["tap", "open"])
def test_the_cue_for_the_end_of_a_turn_needs_a_shut_microphone(mode: str) -> None:
    fault = only_fault(f"[talk]\nmode = '{mode}'\n[cues]\ndone = true")
    assert "[cues] done = true: [talk] mode" in fault
    assert "wanted false" in fault


def test_sentences_of_the_owners_need_a_language_and_a_folder(tmp_path: Path) -> None:
    fault = only_fault("[cues]\nlanguage = ''\nprompts_dir = '/x'")
    assert '[cues] prompts_dir = "/x": language = "" speaks no sentences' in fault
    file = tmp_path / "box.toml"
    file.write_text(f"[cues]\nprompts_dir = '{tmp_path}'")
    assert read(file).cues.prompts_dir == str(tmp_path)
    file.write_text("[cues]\nprompts_dir = '/no/such'")
    with pytest.raises(ConfigError, match="wanted a folder with WAV files"):
        read(file)
