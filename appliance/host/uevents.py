"""What the kernel says of devices that come and go: a netlink socket, so that nobody has to poll.

A message is a line, `add@/devices/…`, and pairs `NAME=value`, each ended by a zero byte. Only what
the kernel itself sent is heard: a process may send such messages too, and its number is in the
sender's address. They come before the system's device manager has set permissions; who opens a
device at once must try again (the manager's own messages, in group 2, have a form of their own).

A socket that cannot be had (no such address family for this unit, no permission) is no trouble of
the owner's: the cards are looked at all the same, more often.
"""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

log = logging.getLogger("appliance.host")

NETLINK_KOBJECT_UEVENT = 15
FROM_KERNEL = 1  # the group of its messages; and 0 is its number among processes
MESSAGE_BYTES = 8192  # the kernel's are at most 2 kB
ACTIONS = frozenset({"add", "remove", "change"})


class Receiver(Protocol):
    """A datagram socket of trio's."""

    def recvfrom(self, most: int, /) -> Awaitable[tuple[bytes, Any]]:
        """Wait for the next message; it, and (sender, groups)."""

    def close(self) -> None:
        """Hear nothing more."""


async def open_kernel() -> Receiver:
    """The kernel's messages.

    Raises:
        OSError: they cannot be had.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    receiver = trio.socket.socket(socket.AF_NETLINK, kind, NETLINK_KOBJECT_UEVENT)
    try:
        await receiver.bind((0, FROM_KERNEL))
    except OSError:
        receiver.close()
        raise
    return receiver


async def watch(
    changed: Callable[[], None], *, opens: Callable[[], Awaitable[Receiver]] = open_kernel
) -> None:
    """Call `changed` for each sound device that came, went or changed; and once at the start.

    Returns when nothing more is to be had; else lives until it is cancelled.
    """
    try:
        receiver = await opens()
    except OSError as error:
        log.info("the kernel does not tell of sound cards: %s", error)
        return
    try:
        changed()
        while True:
            if await _is_ours(receiver):
                changed()
    except OSError as error:
        log.warning("the kernel tells no more of sound cards: %s", error)
    finally:
        receiver.close()


async def _is_ours(receiver: Receiver) -> bool:
    """Wait for a message; whether it may mean that a sound card came or went."""
    try:
        message, sender = await receiver.recvfrom(MESSAGE_BYTES)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return True  # more came than could be kept, and ours may have been among it
    return sender[0] == 0 and is_of_sound(message)


def is_of_sound(message: bytes) -> bool:
    """Whether a message tells of a sound device; nothing that is malformed does."""
    head, *pairs = message.split(b"\0")
    action, at, _ = head.partition(b"@")
    return bool(at) and action.decode("ascii", "replace") in ACTIONS and b"SUBSYSTEM=sound" in pairs
