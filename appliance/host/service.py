"""The service manager: ready, status, alive, stop.

Everything here is harmless where no service manager is: then nobody is told and nothing fails.
"""

import logging
import os
from collections.abc import Callable, Mapping

import trio
from systemd import daemon

PINGS_PER_LIMIT = 3  # two may be late before the manager thinks us dead

log = logging.getLogger("appliance.service")


def ready() -> None:
    """Tell the service manager that we are up."""
    _notify("READY=1")


def status(words: str) -> None:
    """Tell the service manager what the box is doing, as `systemctl status` shows it.

    Whatever would end the line becomes a space.
    """
    _notify("STATUS=" + _one_line(words))


def stopping() -> None:
    """Tell the service manager that we are on our way out."""
    _notify("STOPPING=1")


async def run_watchdog(is_alive: Callable[[], bool]) -> None:
    """Ping the manager's watchdog while `is_alive()`; returns at once where there is none.

    A box that is not alive is not pinged, so that the manager starts it anew. That the task wakes
    up to ping at all is the proof that the loop turns.
    """
    limit_s = _watchdog_s(os.environ)
    if limit_s is None:
        return
    was_alive = True
    while True:
        if is_alive():
            _notify("WATCHDOG=1")
            was_alive = True
        elif was_alive:
            log.error("The watchdog gets no ping: a part has stopped moving.")
            was_alive = False
        await trio.sleep(limit_s / PINGS_PER_LIMIT)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """The limit of the watchdog, in seconds, if there is one and it is ours.

    Source: sd_watchdog_enabled(3).
    """
    for_whom = environ.get("WATCHDOG_PID", "")
    limit_us = environ.get("WATCHDOG_USEC", "")
    if for_whom and for_whom != str(os.getpid()):
        return None
    if not limit_us.isdecimal() or int(limit_us) == 0:
        return None
    return int(limit_us) / 1_000_000


def _one_line(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)


def _notify(state: str) -> None:
    try:
        daemon.notify(state)
    except OSError as error:
        log.debug("The service manager was not told %s: %s.", state, error)
