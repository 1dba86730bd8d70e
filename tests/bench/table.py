"""The table: each figure beside its floor and its budget."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Spread:
    """What is said of many measurements of one thing."""

    count: int
    p50: float
    p95: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """By rank, so that each of them is a value that was measured; not-a-number is the most."""
        assert values, "nothing was measured"
        ordered = sorted(values, key=lambda value: math.inf if math.isnan(value) else value)

        def rank(part: float) -> float:
            return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]

        return cls(len(ordered), rank(0.5), rank(0.95), ordered[-1])


Rule = Callable[[Spread, Spread | None], bool]


@dataclass(frozen=True)
class Budget:
    """What is allowed: in words, and as a rule for a figure and its floor."""

    words: str
    holds: Rule


def at_most(limit: float, unit: str) -> Budget:
    """The 95th percentile, whatever the floor."""
    return Budget(f"<= {limit:g} {unit}", lambda ours, _: ours.p95 <= limit)


def floor_and(more: float, unit: str) -> Budget:
    """The 95th percentile, `more` above that of the floor."""

    def holds(ours: Spread, floor: Spread | None) -> bool:
        assert floor is not None
        return ours.p95 <= floor.p95 + more

    return Budget(f"<= floor + {more:g} {unit}", holds)


def floor_times(factor: float) -> Budget:
    """The median, against that of the floor."""

    def holds(ours: Spread, floor: Spread | None) -> bool:
        assert floor is not None
        return ours.p50 <= factor * floor.p50

    return Budget(f"<= {factor:g} x floor", holds)


NONE = Budget("", lambda _ours, _floor: True)


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    name: str
    unit: str
    ours: Spread
    floor: Spread | None = None
    budget: Budget = NONE

    @property
    def holds(self) -> bool:
        """Whether the budget is kept; true where there is none."""
        return self.budget.holds(self.ours, self.floor)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "figure": self.name,
            "unit": self.unit,
            "ours": asdict(self.ours),
            "floor": asdict(self.floor) if self.floor else None,
            "budget": self.budget.words or None,
            "holds": self.holds if self.budget.words else None,
        }


def figure(
    name: str,
    unit: str,
    ours: Sequence[float],
    floor: Sequence[float] = (),
    budget: Budget = NONE,
) -> Figure:
    """A figure of what was measured."""
    return Figure(name, unit, Spread.of(ours), Spread.of(floor) if floor else None, budget)


HEAD = ("", "n", "p50", "p95", "max", "floor p50", "p95", "max", "unit", "budget", "")


def lines(figures: Sequence[Figure]) -> list[str]:
    """The table, for a terminal."""
    rows = [HEAD]
    for one in figures:
        floor = _numbers(one.floor) if one.floor else ("-", "-", "-")
        verdict = ("holds" if one.holds else "MISSED") if one.budget.words else ""
        count = str(one.ours.count)
        rows.append(
            (one.name, count, *_numbers(one.ours), *floor, one.unit, one.budget.words, verdict)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = {0, 8, 9, 10}
    return [
        "  ".join(
            cell.ljust(width) if place in words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _numbers(spread: Spread) -> tuple[str, str, str]:
    return _number(spread.p50), _number(spread.p95), _number(spread.most)


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 9.995 and value != round(value) else f"{value:.1f}"
