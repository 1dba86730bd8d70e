"""What passes through to the agent, and what it would refuse: told when the settings are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.agent import early_access, v1
from appliance.config import parse, rates_taken
from appliance.config_wire import rate_fault, refusals
from appliance.errors import ConfigError

EARLY = "wss://agent.deepgram.com/agent"
FLUX = "type = 'deepgram', version = 'v2', model = 'flux-general-en'"
MULTI = "type = 'deepgram', version = 'v2', model = 'flux-general-multi'"
NOVA = "type = 'deepgram', model = 'nova-3'"
AURA = "type = 'deepgram', model = 'aura-2-thalia-en'"
KIT = "type = 'deepgram', version = 'v2', model = 'flux-kit-en'"
OPEN_AI = "type = 'open_ai', model = 'gpt-4o-mini'"
UUID = "01234567-89ab-cdef-0123-456789ABCDEF"


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "box.toml")
    return [fault.removeprefix("box.toml: ") for fault in caught.value.faults]


def only_fault(text: str) -> str:
    (fault,) = faults(text)
    return fault


def test_the_defaults_of_both_dialects_would_not_be_refused() -> None:
    for url, dialect in ((EARLY, early_access), ("wss://example.org/v1/agent/converse", v1)):
        lines = [f"[agent]\nurl = '{url}'"]
        for block in (dialect.LISTEN, dialect.THINK, dialect.SPEAK):
            assert isinstance(block, dict)
        lines += [f"listen = {toml(dialect.LISTEN)}", f"think = {toml(dialect.THINK)}"]
        parse("\n".join([*lines, f"speak = {toml(dialect.SPEAK)}"]), "box.toml")


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + " }"
    return f"'{value}'"


@pytest.mark.parametrize(
    "lines",
    [
        f"listen = {{ provider = {{ {FLUX}, eot_threshold = 1.0, eot_timeout_ms = 60000 }} }}",
        f"listen = {{ provider = {{ {FLUX}, eot_threshold = 1, eager_eot_threshold = 0.3 }} }}",
        f"listen = {{ provider = {{ {FLUX}, keyterms = ['Deepgram'] }} }}",
        f"listen = {{ provider = {{ {MULTI}, language_hints = ['de', 'en'] }} }}",
        f"listen = {{ provider = {{ {NOVA}, language = 'multi', smart_format = true }} }}",
        f"listen = {{ provider = {{ {NOVA}, version = 'v1', keyterms = ['Deepgram'] }} }}",
        "listen = { provider = { type = 'deepgram' } }",
        "listen = {}",
        # what nobody knows yet
        "listen = { provider = { type = 'deepgram', version = 'v3', language = 'y' } }",
        "listen = { provider = { type = 'whisper', version = 2, eot_threshold = 7 } }",
        "listen = { provider = { type = 'deepgram', version = 'v2', model = 'next', new = 1 } }",
        f"think = {{ provider = {{ {OPEN_AI}, temperature = 2, reasoning_mode = 'xhigh' }} }}",
        "think = { provider = { type = 'anthropic', model = 'a', temperature = 0.5 } }",
        "think = { provider = { type = 'nvidia', model = 'a' } }",
        "think = { provider = { type = 'next', temperature = 9 } }",
        "think = { provider = { type = 'groq', model = 'a' }, endpoint = { url = 'https://b' } }",
        f"think = {{ provider = {{ {OPEN_AI} }}, endpoint = {{}}, context_length = 'max' }}",
        f"think = {{ provider = {{ {OPEN_AI} }}, endpoint = {{}}, context_length = 8000 }}",
        f"think = [{{ provider = {{ {OPEN_AI} }}, prompt = 'a' }}, {{ provider.type = 'b' }}]",
        f"speak = {{ provider = {{ {AURA}, speed = 0.7 }} }}",
        f"speak = {{ provider = {{ {KIT}, speed = 0.5, expressivity = -2 }} }}",
        f"speak = [{{ provider = {{ {KIT} }} }}, {{ provider = {{ {AURA} }} }}]",
        "speak = { provider = { type = 'cartesia', model_id = 'a', voice = { id = 'b' } } }",
        (
            "speak = { provider = { type = 'eleven_labs', model_id = 'a', language = 'de' }, "
            "endpoint = { url = 'wss://api.elevenlabs.io/a' } }"
        ),
        (
            "speak = { provider = { type = 'open_ai', model = 'tts-1', voice = 'a' }, "
            "endpoint = { url = 'https://api.openai.com/a' } }"
        ),
        "speak = { provider = { type = 'next', speed = 9 } }",
        "speak = { provider = { type = 'deepgram', version = 'v3', model = 'x', language = 'y' } }",
    ],
)
def test_a_table_that_may_be_taken_passes(lines: str) -> None:
    parse(f"[agent]\n{lines}", "box.toml")


LISTENS = [
    (
        "type = 'deepgram', model = 'flux-general-en'",
        'model = "flux-general-en": no version means no Flux; wanted version = "v2"',
    ),
    (
        "type = 'deepgram', version = 'v1', model = 'flux-general-en'",
        ('model = "flux-general-en": version = "v1" means no Flux; wanted version = "v2"'),
    ),
    (
        f"{NOVA}, version = 'v2'",
        'version = "v2": model = "nova-3" is no Flux; wanted version = "v1", or a Flux model',
    ),
    (f"{NOVA}, version = 2", "version = 2: wanted text"),
    ("type = 'deepgram', model = 3", "model = 3: wanted text"),
    ("type = 'deepgram', version = 'v2'", 'model: missing; version = "v2" cannot do without it'),
    (
        f"{FLUX}, language = 'en'",
        (
            'language = "en": model = "flux-general-en" takes none; '
            "wanted it left out, or language_hints and flux-general-multi"
        ),
    ),
    (f"{FLUX}, smart_format = true", "smart_format = true: model = "),
    (
        f"{FLUX}, language_hints = ['de']",
        (
            'language_hints = ["de"]: model = "flux-general-en" takes none; '
            "wanted it left out, or flux-general-multi"
        ),
    ),
    (f"{NOVA}, language_hints = ['de']", 'model = "nova-3" takes none'),
    (f"{NOVA}, eot_threshold = 0.8", 'eot_threshold = 0.8: model = "nova-3" finds no turns'),
    (f"{NOVA}, eot_timeout_ms = 800", 'eot_timeout_ms = 800: model = "nova-3" finds no turns'),
    (
        f"{FLUX}, eot_threshold = 0.49",
        'eot_threshold = 0.49: model = "flux-general-en": wanted a number from 0.5 to 1',
    ),
    (f"{FLUX}, eot_threshold = 1.01", "wanted a number from 0.5 to 1"),
    (f"{FLUX}, eot_threshold = 'high'", 'eot_threshold = "high": model = '),
    (f"{FLUX}, eot_threshold = true", "eot_threshold = true: model = "),
    (f"{FLUX}, eager_eot_threshold = 0.91", "wanted a number from 0.3 to 0.9"),
    (f"{FLUX}, eot_timeout_ms = 499", "wanted a whole number from 500 to 60000"),
    (f"{FLUX}, eot_timeout_ms = 5000.0", "eot_timeout_ms = 5000.0: model = "),
    ("model = 'nova-3'", 'type: missing; model = "nova-3" says not whose; wanted listen = {'),
]


@pytest.mark.parametrize(("provider", "words"), LISTENS)
def test_ears_that_contradict_themselves_are_refused(provider: str, words: str) -> None:
    fault = only_fault(f"[agent.listen]\nprovider = {{ {provider} }}")
    assert fault.startswith("[agent] listen.provider.")
    assert words in fault


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("provider = { type = 'open_ai' }", 'think.provider.model: missing; provider.type = "open'),
        (
            f"provider = {{ {OPEN_AI}, temperature = 2.1 }}",
            'temperature = 2.1: provider.type = "open_ai": wanted a number from 0 to 2',
        ),
        (
            "provider = { type = 'anthropic', model = 'a', temperature = 1.1 }",
            'provider.type = "anthropic": wanted a number from 0 to 1',
        ),
        ("provider = { type = 'google', model = 'a', temperature = -0.1 }", "from 0 to 2"),
        (
            "provider = { type = 'groq', model = 'a' }",
            'think.endpoint: missing; provider.type = "groq" cannot do without it',
        ),
        ("provider = { type = 'aws_bedrock', model = 'a' }", 'type = "aws_bedrock" cannot do'),
        (
            f"provider = {{ {OPEN_AI} }}\ncontext_length = 'max'",
            'think.context_length = "max": wanted an endpoint beside it',
        ),
        (
            f"provider = {{ {OPEN_AI} }}\nendpoint = {{}}\ncontext_length = 'all'",
            'context_length = "all": wanted a number of characters, or "max"',
        ),
        (f"provider = {{ {OPEN_AI} }}\nendpoint = {{}}\ncontext_length = 0", "number of char"),
        ("provider = { type = 'custom', url = 'https://a' }", 'type = "custom": that was early a'),
        ("provider = { type = 'open_ai', model = {} }", "think.provider.model = {}: wanted text"),
        ("prompt = 'a'", "think.provider: missing; wanted think = { provider = {"),
        ("provider = 3", "think.provider = 3: wanted think = { provider = {"),
    ],
)
def test_a_mind_that_contradicts_itself_is_refused(lines: str, words: str) -> None:
    assert words in only_fault(f"[agent.think]\n{lines}")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "provider = { type = 'deepgram', model = 'flux-kit-en' }",
            'provider.model = "flux-kit-en": no version means no Flux',
        ),
        (
            f"provider = {{ {AURA}, version = 'v2' }}",
            'provider.version = "v2": model = "aura-2-thalia-en" is no Flux',
        ),
        ("provider = { type = 'deepgram' }", "provider.model: missing; provider.type = "),
        (f"provider = {{ {AURA}, language = 'en' }}", 'provider.language = "en": model = "aura-2'),
        (f"provider = {{ {KIT}, language = 'en' }}", 'language = "en": model = "flux-kit-en" has'),
        (
            f"provider = {{ {KIT}, container = 'wav' }}",
            (
                '[agent] speak.provider.container = "wav": model = "flux-kit-en" is asked for bare '
                "sound, by [audio] encoding and rate_hz; wanted it left out"
            ),
        ),
        (f"provider = {{ {KIT} }}\ncontainer = 'wav'", '[agent] speak.container = "wav": model = '),
        (f"provider = {{ {KIT} }}\nbitrate = 48000", "[agent] speak.bitrate = 48000: model = "),
        (f"provider = {{ {KIT}, bitrate = 48000 }}", "speak.provider.bitrate = 48000: model = "),
        (
            f"provider = {{ {AURA}, speed = 0.69 }}",
            'speed = 0.69: model = "aura-2-thalia-en": wanted a number from 0.7 to 1.5',
        ),
        (f"provider = {{ {KIT}, speed = 0.49 }}", "wanted a number from 0.5 to 1.5"),
        (f"provider = {{ {KIT}, speed = 1.51 }}", "wanted a number from 0.5 to 1.5"),
        (
            f"provider = {{ {AURA}, expressivity = 1 }}",
            'expressivity = 1: model = "aura-2-thalia-en" has none; wanted it left out, or a Flux',
        ),
        (f"provider = {{ {KIT}, expressivity = 3 }}", "wanted a whole number from -2 to 2"),
        (f"provider = {{ {KIT}, expressivity = 0.5 }}", "wanted a whole number from -2 to 2"),
        (
            "provider = { type = 'eleven_labs', model_id = 'a' }",
            'speak.endpoint: missing; provider.type = "eleven_labs" cannot do without it',
        ),
        (
            "provider = { type = 'eleven_labs', model_id = 'a' }\nendpoint.url = 'http://a'",
            (
                'endpoint.url = "http://a": provider.type = "eleven_labs": wanted an address like '
                "https://… or wss://…"
            ),
        ),
        (
            "provider = { type = 'open_ai', model = 'a', voice = 'b' }\nendpoint.url = 'wss://a'",
            'provider.type = "open_ai": wanted an address like https://…',
        ),
        (
            "provider = { type = 'open_ai', model = 'a' }\nendpoint.url = 'https://a'",
            'provider.voice: missing; provider.type = "open_ai" cannot do without it',
        ),
        (
            "provider = { type = 'cartesia', model_id = 'a', voice = {}, volume = 2.5 }",
            'volume = 2.5: provider.type = "cartesia": wanted a number from 0.5 to 2',
        ),
        ("endpoint = {}", "speak.provider: missing; wanted speak = { provider = {"),
    ],
)
def test_a_voice_that_contradicts_itself_is_refused(lines: str, words: str) -> None:
    assert words in only_fault(f"[agent.speak]\n{lines}")


def test_each_entry_of_a_list_is_told_by_its_number() -> None:
    told = faults(f"""
        [[agent.think]]
        provider = {{ {OPEN_AI} }}
        [[agent.think]]
        provider = {{ type = 'groq', model = 'a', temperature = 3 }}
        [[agent.speak]]
        provider = {{ {AURA}, speed = 9 }}
    """)
    groq = 'provider.type = "groq"'
    assert told == [
        f"[[agent.think]] 2 provider.temperature = 3: {groq}: wanted a number from 0 to 2",
        f"[[agent.think]] 2 endpoint: missing; {groq} cannot do without it",
        (
            '[[agent.speak]] 1 provider.speed = 9: model = "aura-2-thalia-en": '
            "wanted a number from 0.7 to 1.5"
        ),
    ]


@pytest.mark.parametrize("block", ["think", "speak"])
def test_a_list_of_none_is_refused(block: str) -> None:
    assert (
        only_fault(f"[agent]\n{block} = []") == f"[agent] {block} = []: wanted at least one table"
    )


NAMES = "provider endpoint url type version model language speed temperature context_length"
VALUES = st.recursive(
    st.sampled_from(["deepgram", "open_ai", "groq", "v1", "v2", "flux-x", "aura-x", "custom"])
    | st.integers()
    | st.floats(allow_nan=False)
    | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES.split()), inner),
)


@given(
    st.sampled_from([v1.NAME, early_access.NAME]),
    st.sampled_from(["listen", "think", "speak"]),
    st.dictionaries(st.sampled_from(NAMES.split()), VALUES),
)
def test_any_table_is_judged(dialect: str, block: str, table: dict[str, object]) -> None:
    for refusal in refusals(dialect, block, table):
        assert refusal.words
    assert isinstance(rate_fault(dialect, "linear16", 44100, table), str)


# Shapes of the other dialect


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("listen = { model = 'nova-3' }", 'listen.model = "nova-3": that is the early-access sh'),
        (
            "think = { provider = { type = 'open_ai' }, model = 'a' }",
            (
                'think.model = "a": that is the early-access shape; '
                'wanted think = { provider = { type = "open_ai", model = … } }'
            ),
        ),
        ("speak = { model = 'aura-asteria-en' }", 'speak.model = "aura-asteria-en": that is the'),
    ],
)
def test_tables_of_early_access_are_refused_by_v1(lines: str, words: str) -> None:
    assert words in only_fault(f"[agent]\n{lines}")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            f"listen = {{ provider = {{ {NOVA} }} }}",
            (
                "listen.provider = {…}: that is the shape of V1; "
                'the early-access dialect wanted listen = { model = "nova-3" }'
            ),
        ),
        (
            f"think = {{ provider = {{ {OPEN_AI} }} }}",
            (
                'think.provider.model = "gpt-4o-mini": that is the shape of V1; the early-access '
                'dialect wanted think = { provider = { type = "open_ai" }, model = "gpt-4o-mini" }'
            ),
        ),
        (
            "think = { provider = { type = 'open_ai' }, model = 'a', prompt = 'b' }",
            'think.prompt = "b": that is the shape of V1; wanted instructions',
        ),
        ("think = { provider = { type = 'open_ai' } }", "think.model: missing; the early-access"),
        ("think = { model = 'a' }", "think.provider.type: missing; the early-access dialect want"),
        (
            f"speak = {{ provider = {{ {AURA} }} }}",
            'the early-access dialect wanted speak = { model = "aura-asteria-en" }',
        ),
        (
            "speak = [{ model = 'a' }]",
            "speak = […]: the early-access dialect knows no fallbacks; wanted speak = {",
        ),
        ("think = [{ model = 'a' }]", "the early-access dialect knows no fallbacks; wanted think"),
        (
            f"id = '{UUID}'",
            f'id = "{UUID}": url = "{EARLY}" means early-access, which has none; wanted',
        ),
        ("mip_opt_out = true", "mip_opt_out = true: url = "),
        ("tags = ['kitchen']", 'tags = ["kitchen"]: url = '),
    ],
)
def test_tables_and_keys_of_v1_are_refused_by_early_access(lines: str, words: str) -> None:
    assert words in only_fault(f"[agent]\nurl = '{EARLY}'\n{lines}")


def test_the_key_that_chose_the_dialect_is_told() -> None:
    assert 'dialect = "early-access" means early-access, which has none' in only_fault(
        "[agent]\ndialect = 'early-access'\nmip_opt_out = true"
    )


@pytest.mark.parametrize(
    "lines",
    [
        "listen = { model = 'nova-3', keyterms = ['a'] }",
        "think = { provider = { type = 'custom', url = 'https://a' }, model = 'b' }",
        "speak = { provider = 'eleven_labs', voice_id = 'a' }",
        "greeting = 'Hello.'",
    ],
)
def test_tables_of_early_access_pass_there(lines: str) -> None:
    parse(f"[agent]\nurl = '{EARLY}'\n{lines}", "box.toml")


def test_no_table_is_judged_by_a_dialect_that_is_not_known() -> None:
    assert len(faults("[agent]\nurl = 'agent'\nlisten = { model = 'nova-3' }")) == 1
    assert len(faults("[agent]\ndialect = 'v2'\nlisten = { model = 'nova-3' }")) == 1


# A stored agent


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"listen = {{ provider = {{ {FLUX} }} }}", "listen = {…}"),
        (f"think = [{{ provider = {{ {OPEN_AI} }} }}]", "think = […]"),
        (f"speak = {{ provider = {{ {AURA} }} }}", "speak = {…}"),
        ("greeting = 'Hello.'", 'greeting = "Hello."'),
        ("prompt = 'Be brief.'", 'prompt = "Be brief."'),
    ],
)
def test_a_stored_agent_has_its_own_words_and_models(line: str, words: str) -> None:
    fault = only_fault(f"[agent]\nid = '{UUID}'\n{line}")
    assert fault == (
        f'[agent] {words}: id = "{UUID}" is an agent that has its own; wanted one of the two'
    )


def test_a_stored_agent_may_have_the_functions_of_the_box() -> None:
    tool = "[[tools]]\nname = 'a'\ndescription = 'b'\ncommand = ['/c']"
    assert parse(f"[agent]\nid = '{UUID}'\n{tool}", "box.toml").agent.id == UUID


# Prompts


@pytest.mark.parametrize(
    ("url", "think", "name"),
    [
        (EARLY, "{ provider = { type = 'a' }, model = 'b', instructions = 'c' }", "instructions"),
        ("wss://a.example", "{ provider = { type = 'a' }, prompt = 'c' }", "prompt"),
        ("wss://a.example", "[{ provider = { type = 'a' }, prompt = 'c' }]", "prompt"),
    ],
)
def test_a_prompt_that_would_reach_nobody_is_refused(url: str, think: str, name: str) -> None:
    fault = only_fault(f"[agent]\nurl = '{url}'\nprompt = 'Be brief.'\nthink = {think}")
    assert fault == (
        f'[agent] prompt = "Be brief.": think.{name} goes in its place; wanted one of the two'
    )
    parse(f"[agent]\nurl = '{url}'\nthink = {think}", "box.toml")


# Forms of sound


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
@pytest.mark.parametrize("rate_hz", [24000, 32000, 44100, 48000])
def test_companded_sound_has_two_rates(encoding: str, rate_hz: int) -> None:
    fault = only_fault(f"[audio]\nencoding = '{encoding}'\nrate_hz = {rate_hz}")
    assert fault == (
        f'[audio] rate_hz = {rate_hz}: encoding = "{encoding}" has not this rate; '
        "wanted one of 8000, 16000"
    )
    for rate in (8000, 16000):
        parse(f"[audio]\nencoding = '{encoding}'\nrate_hz = {rate}", "box.toml")


@pytest.mark.parametrize(
    ("agent", "voice"),
    [
        ("", "aura-2-thalia-en"),
        ("speak = { provider = { type = 'deepgram', model = 'aura-orion-en' } }", "aura-orion-en"),
        (f"speak = [{{ provider = {{ {KIT} }} }}, {{ provider = {{ {AURA} }} }}]", "aura-2-thalia"),
        (f"url = '{EARLY}'", "aura-asteria-en"),
        (f"url = '{EARLY}'\nspeak = {{ model = 'aura-luna-en' }}", "aura-luna-en"),
    ],
)
def test_only_flux_voices_have_the_rate_of_the_compact_disc(agent: str, voice: str) -> None:
    fault = only_fault(f"[agent]\n{agent}\n[audio]\nrate_hz = 44100")
    assert fault.startswith(f'[audio] rate_hz = 44100: [agent] speak has the voice "{voice}')
    assert fault.endswith("has not this rate; wanted one of 8000, 16000, 24000, 32000, 48000")


@pytest.mark.parametrize(
    "agent",
    [
        f"speak = {{ provider = {{ {KIT} }} }}",
        "speak = { provider = { type = 'cartesia', model_id = 'a', voice = {} } }",
        f"id = '{UUID}'",
    ],
)
def test_a_voice_that_may_have_a_rate_is_asked_for_it(agent: str) -> None:
    assert parse(f"[agent]\n{agent}\n[audio]\nrate_hz = 44100", "box.toml").audio.rate_hz == 44100


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ("", {8000, 16000, 24000, 32000, 48000}),
        ("encoding = 'mulaw'", {8000, 16000}),
        (
            "echo = 'webrtc'\n[talk]\nmode = 'tap'\nduplex = 'full'",
            {8000, 16000, 32000, 48000},
        ),
        (f"[agent]\nid = '{UUID}'", {8000, 16000, 24000, 32000, 44100, 48000}),
    ],
)
def test_zero_is_no_rate_but_asks_for_one_of_these(settings: str, taken: set[int]) -> None:
    found = parse(f"[audio]\nrate_hz = 0\n{settings}", "box.toml")
    assert found.audio.rate_hz == 0
    assert rates_taken(found) == taken
