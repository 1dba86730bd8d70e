"""The service manager, as a real datagram socket."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.host import service
from tests.post import Post

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@pytest.fixture(autouse=True)
def no_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    post = Post(folder / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", post.path)
    yield post
    post.socket.close()


# The service manager


def test_the_manager_is_told(manager: Post) -> None:
    service.ready()
    service.status("listening")
    service.stopping()
    assert manager.came() == ["READY=1", "STATUS=listening", "STOPPING=1"]


@pytest.mark.parametrize("words", ["a\nREADY=1", "a\r\n\0b", "a\u2028b", "a\x1b[2Jb", "\udc80"])
def test_a_status_is_one_line(manager: Post, words: str) -> None:
    service.status(words)
    (came,) = manager.came()
    assert came.startswith("STATUS=")
    assert came.isprintable()
    assert len(came) == len("STATUS=") + len(words)


def test_words_in_other_scripts_stay(manager: Post) -> None:
    service.status("hört zu: 聞いている")
    assert manager.came() == ["STATUS=hört zu: 聞いている"]


def test_without_a_manager_nothing_happens() -> None:
    service.ready()
    service.status("alone")
    service.stopping()


def test_a_manager_that_has_gone_harms_nobody(manager: Post, folder: Path) -> None:
    manager.socket.close()
    (folder / "notify").unlink()
    service.ready()
    service.status("alone")


# The watchdog


async def test_without_a_watchdog_its_task_returns_at_once(
    manager: Post, autojump_clock: trio.testing.MockClock
) -> None:
    await service.run_watchdog(lambda: True)
    assert manager.came() == []


@pytest.mark.parametrize(
    ("limit_us", "pid"), [("0", ""), ("soon", ""), ("-5", ""), ("", ""), ("9000000", "1")]
)
async def test_a_watchdog_that_is_not_ours_is_not_pinged(
    manager: Post,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    limit_us: str,
    pid: str,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    await service.run_watchdog(lambda: True)
    assert manager.came() == []


@pytest.mark.parametrize("pid", ["", str(os.getpid())])
async def test_the_watchdog_is_pinged_three_times_in_its_limit(
    manager: Post,
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    pid: str,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "15000000")
    monkeypatch.setenv("WATCHDOG_PID", pid)
    nursery.start_soon(service.run_watchdog, lambda: True)
    await trio.sleep(14.9)
    assert manager.came() == ["WATCHDOG=1"] * 3
    await trio.sleep(15)
    assert manager.came() == ["WATCHDOG=1"] * 3


async def test_a_box_that_does_not_move_is_not_pinged(
    manager: Post,
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    moving = True
    nursery.start_soon(service.run_watchdog, lambda: moving)
    await trio.sleep(1.5)
    assert len(manager.came()) == 2
    moving = False
    await trio.sleep(60)
    assert manager.came() == []
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    moving = True
    await trio.sleep(1)
    assert manager.came() == ["WATCHDOG=1"]
