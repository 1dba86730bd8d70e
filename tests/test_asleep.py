"""A box that is asleep sleeps: what it does in an hour, counted in virtual time."""

from collections import Counter
from collections.abc import Callable

import trio
from trio.testing import MockClock

from appliance.conversation import Phase
from tests.box import a_box

HOUR_S = 3600.0


class Steps(trio.abc.Instrument):
    """Counts what every task does, by its name."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task is run for a moment."""
        if not task.name.startswith("<test "):  # ourselves
            self.of[task.name.rpartition(".")[2]] += 1


async def an_hour(watch_cards: Callable[..., object] | None) -> Counter[str]:
    async with a_box(watch_cards=watch_cards) as box:  # type: ignore[arg-type]
        await trio.sleep(5.0)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(HOUR_S)
        trio.lowlevel.remove_instrument(steps)
        assert box.at(Phase.ASLEEP)
        return steps.of


async def test_asleep_it_only_looks_at_its_two_cards(autojump_clock: MockClock) -> None:
    steps = await an_hour(None)
    assert steps.keys() == {"run"}, steps
    assert steps.total() <= HOUR_S  # each every 2 s


async def test_where_the_kernel_tells_of_cards_it_looks_every_30_seconds(
    autojump_clock: MockClock,
) -> None:
    async def watch(changed: Callable[[], None]) -> None:
        changed()
        await trio.sleep_forever()

    steps = await an_hour(watch)
    assert steps.keys() == {"run"}, steps
    assert steps.total() <= 2 * HOUR_S / 30
