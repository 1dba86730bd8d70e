"""By what the far end knows us: when a token is fetched, how long it is kept, what fails."""

import base64
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import AgentRefused, DeviceError, Retry, Trouble
from appliance.host import credential
from appliance.host.command import Output
from appliance.host.credential import COMMAND_LIMIT_S, TOKEN_MAX, Credential

NOW_S = 1_800_000_000.0
COMMAND = ("/usr/local/bin/token", "--secret", "sesame")


def part(claims: object) -> str:
    raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(number: int = 0, **claims: object) -> str:
    return f"{part({'alg': 'HS256'})}.{part({'number': number, **claims})}.c2lnbmVk"


class Commands:
    """Runs nothing: gives what the script says, the next each time and the last for ever."""

    def __init__(self, *script: str | bytes | Output | DeviceError, takes_s: float = 0) -> None:
        self.script = list(script)
        self.takes_s = takes_s
        self.count = 0
        self.at_once = 0
        self.now_s = NOW_S

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        output_max: int,
        environ: Mapping[str, str],
    ) -> Output:
        assert (argv, stdin, environ) == (COMMAND, b"", {"PATH": "/bin"})
        assert (timeout_s, output_max) == (COMMAND_LIMIT_S, TOKEN_MAX)
        self.count += 1
        self.at_once += 1
        assert self.at_once == 1
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, DeviceError):
            raise said
        if isinstance(said, Output):
            return said
        raw = said if isinstance(said, bytes) else said.encode()
        return ran(0, raw, b"")

    def credential(self) -> Credential:
        return Credential(None, COMMAND, environ={"PATH": "/bin"}, run=self, now=lambda: self.now_s)


def ran(status: int | None, stdout: bytes, stderr: bytes, *, truncated: bool = False) -> Output:
    return Output(status, stdout, stderr, truncated, timed_out=status is None)


async def test_a_key_goes_as_token() -> None:
    assert await Credential("sesame", environ={}).authorization() == "Token sesame"


async def test_without_a_key_nothing_goes() -> None:
    assert await Credential(None, environ={}).authorization() is None


async def test_what_the_command_prints_goes_as_bearer() -> None:
    commands = Commands(jwt() + "\r\n")
    assert await commands.credential().authorization() == f"Bearer {jwt()}"


async def test_the_command_goes_before_the_key() -> None:
    commands = Commands("opaque")
    who = Credential("sesame", COMMAND, environ={"PATH": "/bin"}, run=commands)
    assert await who.authorization() == "Bearer opaque"


async def test_a_token_is_used_again_until_five_seconds_before_its_end() -> None:
    first, second = jwt(1, exp=NOW_S + 30), jwt(2, exp=NOW_S + 60)
    commands = Commands(first, second)
    who = commands.credential()
    assert await who.authorization() == f"Bearer {first}"
    commands.now_s += 24.9
    assert await who.authorization() == f"Bearer {first}"
    assert commands.count == 1
    commands.now_s += 0.1
    assert await who.authorization() == f"Bearer {second}"
    assert await who.authorization() == f"Bearer {second}"
    assert commands.count == 2


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "two.parts",
        jwt(),
        jwt(exp=None),
        jwt(exp="soon"),
        jwt(exp=True),
        jwt(exp=NOW_S + 5),  # too near
        jwt(exp=0),
        f"x.{part([1])}.y",
        f"x.{part(b'no JSON')}.y",
        f"x.{part(bytes([255]))}.y",
        f"x.{part(b'[' * 5000)}.y",
        "x.y.z",
        "x.!.z",
        "..",
        "a.b.c.d.e",
    ],
)
async def test_a_token_that_does_not_say_how_long_it_is_good_is_used_once(token: str) -> None:
    commands = Commands(token)
    who = commands.credential()
    assert await who.authorization() == f"Bearer {token}"
    assert await who.authorization() == f"Bearer {token}"
    assert commands.count == 2


async def test_a_refused_token_is_not_used_again() -> None:
    first, second = jwt(1, exp=NOW_S + 3600), jwt(2, exp=NOW_S + 3600)
    who = Commands(first, second).credential()
    assert await who.authorization() == f"Bearer {first}"
    who.forget()
    assert await who.authorization() == f"Bearer {second}"


async def test_to_forget_a_key_changes_nothing() -> None:
    who = Credential("sesame", environ={})
    who.forget()
    assert await who.authorization() == "Token sesame"


async def test_the_command_runs_once_for_all_who_wait(autojump_clock: object) -> None:
    commands = Commands(jwt(exp=NOW_S + 3600), takes_s=1)
    who = commands.credential()
    got: list[str | None] = []

    async def ask() -> None:
        got.append(await who.authorization())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert len(got) == 5
    assert len(set(got)) == 1
    assert commands.count == 1
    assert trio.current_time() == 1


async def test_who_gives_up_waiting_leaves_the_way_free(autojump_clock: object) -> None:
    commands = Commands(jwt(), takes_s=2)
    who = commands.credential()
    with trio.move_on_after(1):
        await who.authorization()
    assert await who.authorization() == f"Bearer {jwt()}"


async def refusal(said: str | bytes | Output | DeviceError) -> str:
    """The message of what comes of it, once it is clear that it gives nothing away."""
    with pytest.raises(AgentRefused) as refused:
        await Commands(said).credential().authorization()
    assert refused.value.trouble is Trouble.KEY_COMMAND
    assert "sesame" not in str(refused.value)
    return str(refused.value)


def test_a_failed_command_is_worth_another_try() -> None:
    assert Trouble.KEY_COMMAND.retry is Retry.BACKOFF


async def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    failed = ran(7, b"sesame", b"trying\ncurl: (7) Failed to connect\n")
    assert await refusal(failed) == "key_command: exit status 7: curl: (7) Failed to connect"
    assert await refusal(ran(1, b"sesame", b"")) == "key_command: exit status 1"
    assert await refusal(ran(-9, b"sesame", b"")) == "key_command: signal 9"


async def test_a_key_in_its_last_words_is_left_out() -> None:
    key = "5e5a6e" * 7
    said = await refusal(ran(22, b"", f"> Authorization: Token {key}\n".encode()))
    assert said == "key_command: exit status 22: > Authorization: Token …"


async def test_a_command_that_hangs_is_told() -> None:
    hung = ran(None, b"sesame", b"waiting\n")
    assert await refusal(hung) == "key_command: it did not finish within 10 s"


async def test_a_command_that_is_not_there_is_told() -> None:
    missing = DeviceError("'/usr/local/bin/token' cannot be run: No such file or directory")
    assert await refusal(missing) == f"key_command: {missing}"


@pytest.mark.parametrize(
    "printed",
    [b"", b" \n", b"sesame open", b"sesame\nopen", b"ses\xc3\xa4me", b"sesame\xff", b"sesame\0"],
)
async def test_what_is_no_token_is_told_and_not_shown(printed: bytes) -> None:
    assert "it printed no token" in await refusal(printed)


async def test_what_is_too_long_for_a_token_is_told() -> None:
    assert "it printed no token" in await refusal(ran(0, b"sesame", b"", truncated=True))


async def test_after_a_failure_the_next_one_asks_again() -> None:
    commands = Commands(ran(1, b"", b""), jwt())
    who = commands.credential()
    with pytest.raises(AgentRefused):
        await who.authorization()
    assert await who.authorization() == f"Bearer {jwt()}"


async def test_nothing_secret_is_shown_of_a_credential(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = jwt(exp=NOW_S + 60)
    keyed = Credential("sesame", environ={})
    fetching = Commands(token).credential()
    await keyed.authorization()
    await fetching.authorization()
    shown = f"{keyed!r} {fetching} {caplog.text}"
    assert "sesame" not in shown
    assert token not in shown


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda it: f"x.{part(it)}.y"))
def test_whatever_is_printed_as_a_token_ends_nothing(token: str) -> None:
    assert isinstance(credential._end_of(token), float | None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=5,
    )
)
def test_whatever_a_token_claims_ends_nothing(exp: Any) -> None:
    ends_s = credential._end_of(jwt(exp=exp))
    if isinstance(exp, int) and not isinstance(exp, bool) and abs(exp) < 2**53:
        assert ends_s == exp


async def test_a_real_command_is_run_without_our_key(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os; print('DEEPGRAM_API_KEY' in os.environ, end='.')"
    who = Credential(
        None,
        (sys.executable, "-c", script),
        environ={**os.environ, "DEEPGRAM_API_KEY": "sesame"},
    )
    with trio.fail_after(10):
        assert await who.authorization() == "Bearer False."
