"""What is written down when the program ends by a mistake of its own: enough to find it.

A recorder keeps the last events in memory, without anybody's words. When the program falls, one
report says in which phase, after what, and of which versions; it goes to the journal and, for
boxes whose journal forgets, into a file beside the state.
"""

import logging
import os
import platform
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EVENTS_MAX = 50
REPORTS_MAX = 5  # files that are kept, the newest
KEPT = ("t", "event", "phase", "link", "muted", "trouble")  # of an event: never its words
PACKAGES = ("voice-appliance", "trio", "trio-websocket", "pyalsaaudio", "gpiozero", "msgspec")
MODE = 0o600

log = logging.getLogger("appliance.crash")


class Recorder:
    """Watches a daemon: call it with each event. Never waits."""

    def __init__(self) -> None:
        self._events: deque[tuple[object, ...]] = deque(maxlen=EVENTS_MAX)

    def __call__(self, event: Mapping[str, object]) -> None:
        """Keep what happened, and nothing that was said."""
        self._events.append(tuple(event.get(name) for name in KEPT))

    def report(self, error: BaseException, secrets: Iterable[str] = ()) -> str:
        """All there is to tell of a fall, in lines. `secrets` are in none of them."""
        phase = self._events[-1][KEPT.index("phase")] if self._events else "starting"
        lines = [
            f"the program fell while it was {phase}: {_name(error)}",
            "versions: " + ", ".join(_versions()),
            f"the last {len(self._events)} events ({', '.join(KEPT)}):",
            *("  " + "  ".join(map(str, event)) for event in self._events),
            "".join(traceback.format_exception(error)).rstrip(),
        ]
        text = "\n".join(lines)
        for secret in filter(None, secrets):
            text = text.replace(secret, "…")
        return text


def keep(folder: Path, report: str, name: str) -> Path | None:
    """Write a report into `folder`, for its owner only, beside the newest that are there.

    Waits for the disk. Never fails: None if there is no room or no folder.
    """
    path = folder / f"crash-{name}.txt"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, MODE), "w") as file:
            file.write(report + "\n")
        for old in sorted(folder.glob("crash-*.txt"))[:-REPORTS_MAX]:
            old.unlink()
        return path
    return None


def _name(error: BaseException) -> str:
    """Of what is at the bottom of it: tasks wrap it in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


def _versions() -> Iterable[str]:
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            yield f"{package} {version(package)}"
    yield f"Python {platform.python_version()}"
    yield f"{platform.system()} {platform.release()} {platform.machine()}"
    if sys.flags.optimize:
        yield "without assertions"
