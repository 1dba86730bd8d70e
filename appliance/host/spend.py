"""Seconds -> money. Pure: time comes in as an argument.

The far end bills from the opening of a socket to its closing, whatever is said meanwhile. The
count lives in memory: it begins at nothing with each start of the program.
"""


class Meter:
    """Counts the seconds for which a socket was open, at `usd_per_hour`.

    All times are seconds of one clock that never goes back.
    """

    def __init__(self, usd_per_hour: float) -> None:
        assert usd_per_hour >= 0
        self._usd_per_hour = usd_per_hour
        self._closed_s = 0.0  # of all sockets that are closed again
        self._since_s: float | None = None  # when the open one was opened

    @property
    def is_open(self) -> bool:
        """Whether a socket is open, and billed."""
        return self._since_s is not None

    def opened(self, now_s: float) -> None:
        """A socket was opened at `now_s`. There is never a second one."""
        assert self._since_s is None, "two sockets at once"
        self._since_s = now_s

    def closed(self, now_s: float) -> None:
        """The socket was closed at `now_s`; if none was open nothing happens.

        So every way out of a connection may say it, also one that never came to be.
        """
        self._closed_s = self.open_s(now_s)
        self._since_s = None

    def open_s(self, now_s: float) -> float:
        """For how many seconds, up to `now_s`, a socket was open."""
        if self._since_s is None:
            return self._closed_s
        assert now_s >= self._since_s, "time went back"
        return self._closed_s + now_s - self._since_s

    def usd(self, now_s: float) -> float:
        """What `open_s` costs, in US dollars, by the owner's figure."""
        return self.open_s(now_s) * self._usd_per_hour / 3600
