"""The kernel's messages: which are heard, and what becomes of the others."""

import errno
from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.host import uevents
from appliance.host.uevents import is_of_sound

KERNEL = (0, 1)


def message(action: str = "add", subsystem: str = "sound", device: str = "snd/pcmC1D0c") -> bytes:
    path = "/devices/pci0000:00/usb1/1-1/1-1:1.0/sound/card1/pcmC1D0c"
    pairs = [f"{action}@{path}", f"ACTION={action}", f"DEVPATH={path}", f"SUBSYSTEM={subsystem}"]
    return "\0".join(
        [*pairs, "MAJOR=116", "MINOR=4", f"DEVNAME={device}", "SEQNUM=4711", ""]
    ).encode()


@pytest.mark.parametrize("action", ["add", "remove", "change"])
def test_a_sound_device_that_comes_or_goes_is_of_sound(action: str) -> None:
    assert is_of_sound(message(action))


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\0",
        b"add@",
        b"libudev\0\xfe\xed\xca\xfe\0\0\0(SUBSYSTEM=sound\0",
        message(subsystem="net"),
        message(subsystem="soundwire"),
        message(action="bind"),
        message(action="unbind"),
        message(action="ad\N{LATIN SMALL LETTER E WITH ACUTE}"),
        b"add\0SUBSYSTEM=sound\0",
        b"add@/x\0XSUBSYSTEM=sound\0",
        b"add@/x\0SUBSYSTEM=sound/\0",
        b"SUBSYSTEM=sound",
    ],
)
def test_nothing_else_is(other: bytes) -> None:
    assert not is_of_sound(other)


@given(st.binary(max_size=300))
def test_no_message_is_too_strange(other: bytes) -> None:
    assert not is_of_sound(other) or b"SUBSYSTEM=sound" in other


class Told:
    """A receiver whose messages a test sends, and what came of them."""

    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[tuple[bytes, Any] | OSError](100)
        self.changed = 0
        self.is_closed = False

    def recvfrom(self, most: int, /) -> Awaitable[tuple[bytes, Any]]:
        return self._next()

    async def _next(self) -> tuple[bytes, Any]:
        came = await self._receive.receive()
        if isinstance(came, OSError):
            raise came
        return came

    def close(self) -> None:
        self.is_closed = True

    def count(self) -> None:
        self.changed += 1

    async def watch(self) -> None:
        async def opens() -> Told:
            return self

        await uevents.watch(self.count, opens=opens)

    async def hear(self, *came: tuple[bytes, Any] | OSError) -> int:
        """How often it was told of a change for these."""
        before = self.changed
        for one in came:
            self.send.send_nowait(one)
        await wait_all_tasks_blocked()
        return self.changed - before


@pytest.fixture
async def told(nursery: trio.Nursery) -> Told:
    told = Told()
    nursery.start_soon(told.watch)
    await wait_all_tasks_blocked()
    return told


async def test_it_tells_once_at_the_start_and_of_each_change(
    told: Told, autojump_clock: MockClock
) -> None:
    assert told.changed == 1
    assert await told.hear((message(), KERNEL), (message("remove"), KERNEL)) == 2
    assert await told.hear((message(subsystem="net"), KERNEL), (b"\xff", KERNEL)) == 0


@pytest.mark.parametrize("sender", [(4711, 1), (4711, 2), (1, 0)])
async def test_what_another_process_sends_is_not_heard(
    told: Told, sender: tuple[int, int], autojump_clock: MockClock
) -> None:
    assert await told.hear((message(), sender)) == 0


async def test_where_messages_were_lost_one_may_have_been_ours(
    told: Told, autojump_clock: MockClock
) -> None:
    assert await told.hear(OSError(errno.ENOBUFS, "No buffer space available")) == 1
    assert await told.hear((message(), KERNEL)) == 1


async def test_a_socket_that_fails_is_closed_and_nothing_else_happens(
    told: Told, autojump_clock: MockClock
) -> None:
    assert await told.hear(OSError(errno.EBADF, "Bad file descriptor")) == 0
    assert told.is_closed


async def test_a_socket_that_cannot_be_had_is_no_trouble(autojump_clock: MockClock) -> None:
    async def opens() -> uevents.Receiver:
        raise PermissionError(errno.EACCES, "Permission denied")

    changes: list[None] = []
    await uevents.watch(lambda: changes.append(None), opens=opens)
    assert changes == []


async def test_the_real_socket_opens_and_is_closed_again() -> None:
    try:
        receiver = await uevents.open_kernel()
    except OSError:
        pytest.skip("this machine lets nobody listen to its kernel")

    async def opens() -> uevents.Receiver:
        return receiver

    with trio.CancelScope() as scope:
        await uevents.watch(scope.cancel, opens=opens)
    assert scope.cancelled_caught
    with pytest.raises(OSError, match="Bad file descriptor"):
        await receiver.recvfrom(1)
