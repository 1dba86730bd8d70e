"""By what the far end knows us: a key, or a token that a command of the owner's prints.

A key goes as `Token KEY`. A company that will not have its key on every box keeps it on a server
of its own, and the box asks there: the command prints a token (a JWT that lives for seconds to an
hour), which goes as `Bearer JWT`. It has to be valid at the handshake only; a connection outlives
it. Source: Deepgram's pages "Token-based authentication" and `auth/grant` (mid-2026 copies).

Nothing here is ever told: not what the command printed, and of its last complaint no run of
characters that is long enough to be a key.
"""

import base64
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import trio

from appliance.errors import AgentRefused, DeviceError, Trouble
from appliance.host import command

COMMAND_LIMIT_S = 10.0
TOKEN_MAX = 8192  # bytes; what servers take in a header
MARGIN_S = 5.0  # a token is not used so near to its end: the handshake may take as long


class _Claims(msgspec.Struct):
    exp: float | None = None  # Unix time; RFC 7519, 4.1.4


_decode_claims = msgspec.json.Decoder(_Claims).decode


class Credential:
    """What to send as `Authorization`.

    Args:
        key: an API key; None where the agent wants none (on loopback).
        key_command: what prints a token; if there is one, `key` is not used.
        environ: for the command; `host.command` takes our secrets out of it.
        run: how a command is run.
        now: Unix time, for the end of a token. With a clock that is wrong a token may be used too
            long, and is refused, or not be kept: hence `forget`.
    """

    def __init__(
        self,
        key: str | None,
        key_command: Sequence[str] = (),
        *,
        environ: Mapping[str, str],
        run: Callable[..., Awaitable[command.Output]] = command.run,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._command = tuple(key_command)
        self._environ = environ
        self._run = run
        self._now = now
        self._token = ""  # the last one, if it said until when it is good
        self._until_s = 0.0  # Unix time
        self._running = trio.Lock()

    async def authorization(self) -> str | None:
        """The header's value, or None if none is to be sent. Waits for the command, at most 10 s.

        Raises:
            AgentRefused: the command failed or printed no token.
        """
        if not self._command:
            return None if self._key is None else f"Token {self._key}"
        async with self._running:
            if not self._token or self._now() >= self._until_s:
                return f"Bearer {await self._fetch()}"
            return f"Bearer {self._token}"

    def forget(self) -> None:
        """Use the token that is kept no more: the server refused it. Never waits."""
        self._token = ""

    async def _fetch(self) -> str:
        """A new token; kept if it says how long it is good."""
        self._token = ""
        try:
            output = await self._run(
                self._command,
                stdin=b"",
                timeout_s=COMMAND_LIMIT_S,
                output_max=TOKEN_MAX,
                environ=self._environ,
            )
        except DeviceError as error:
            raise _failed(str(error)) from error
        if output.timed_out:
            raise _failed(f"it did not finish within {COMMAND_LIMIT_S:g} s")
        if output.status != 0:
            complaint = f": {output.complaint}" if output.complaint else ""
            raise _failed(output.ending + complaint)
        token = output.stdout.decode("ascii", "replace").strip()
        if output.truncated or not _is_sendable(token):
            raise _failed("it printed no token; wanted one line of printable characters")
        ends_s = _end_of(token)
        if ends_s is not None:
            self._token, self._until_s = token, ends_s - MARGIN_S
        return token


def _failed(how: str) -> AgentRefused:
    return AgentRefused(Trouble.KEY_COMMAND, f"key_command: {how}")


def _is_sendable(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _end_of(token: str) -> float | None:
    """When a JWT ends, by its own words: it is the server's business to verify them."""
    _, dot, rest = token.partition(".")
    payload, second, _ = rest.partition(".")
    if not (dot and second):
        return None
    try:
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return _decode_claims(raw).exp
    except (ValueError, RecursionError):  # binascii's, msgspec's and unicode's are all ValueErrors
        return None
