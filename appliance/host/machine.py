"""What this machine says of itself: its clock, its disk, its service. Looks, and changes nothing.

Never needs root; what this user may not see is told as unknown.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from appliance.errors import DeviceError
from appliance.host import command
from appliance.host.doctor import UNIT, KeyFile, Store

ASK_LIMIT_S = 5.0  # of systemctl and timedatectl, which ask others
ANSWER_MAX = 65536
PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts")

Run = Callable[..., Awaitable[command.Output]]


def installed_s(package: Path) -> float:
    """When this program came here, in Unix time: earlier than that it cannot be now."""
    return package.stat().st_ctime  # a wheel brings its own mtime along


async def is_synchronized(environ: Mapping[str, str], run: Run = command.run) -> bool | None:
    """Whether the clock follows another; None if that is not known. Waits for at most 6 s."""
    told = await _ask(["timedatectl", "show", "-p", "NTPSynchronized"], environ, run)
    return {"yes": True, "no": False}.get(told.get("NTPSynchronized", ""))


async def unit(environ: Mapping[str, str], run: Run = command.run) -> dict[str, str]:
    """The service's file, and how it is; empty where no service manager runs.

    Waits for at most 12 s. `systemctl show` has no words for credentials, so the file is asked too.
    """
    how = await _ask(["systemctl", "show", UNIT, "-p", ",".join(PROPERTIES)], environ, run)
    if how.get("LoadState") != "loaded":
        return how
    return {**await _ask(["systemctl", "cat", UNIT], environ, run), **how}


async def _ask(argv: list[str], environ: Mapping[str, str], run: Run) -> dict[str, str]:
    """The lines "Name=value" in what a program answers; several of a name follow one another."""
    try:
        output = await run(
            argv, stdin=b"", timeout_s=ASK_LIMIT_S, output_max=ANSWER_MAX, environ=environ
        )
    except DeviceError:  # there is no such program here
        return {}
    if output.status != 0:
        return {}
    told: dict[str, str] = {}
    for line in output.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        told[name] = f"{told[name]} {value}" if name in told else value
    return told


def key_file(unit: Mapping[str, str], name: str) -> KeyFile | None:
    """The file behind the service's credential of that name; None if none is seen.

    Args:
        unit: as `unit` tells it. What a drop-in says comes last and counts.
        name: the credential's.
    """
    entries = [unit.get(kind, "") for kind in ("LoadCredentialEncrypted", "LoadCredential")]
    for entry in reversed(" ".join(entries).split()):
        credential, _, path = entry.partition(":")
        if credential == name and path.startswith("/"):
            try:
                found = Path(path).stat()
            except FileNotFoundError:
                return KeyFile(path)
            except OSError:  # not for us to see
                return None
            return KeyFile(path, found.st_mode, found.st_size)
    return None


def store(folder: Path, *, is_ours: bool) -> Store:
    """Where the state lies, or will lie.

    Args:
        folder: need not be there yet.
        is_ours: whether the daemon would run as this user.
    """
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    disk = os.statvfs(nearest)
    return Store(
        folder=str(folder),
        free_bytes=disk.f_bavail * disk.f_frsize,
        is_read_only=bool(disk.f_flag & os.ST_RDONLY),
        is_writable=os.access(nearest, os.W_OK | os.X_OK) if is_ours else None,
    )
