"""What alsa-lib itself writes to the standard error when a card does not open, and how often.

It says there what its error numbers do not: that there is no such name, that a plugin is missing,
that a sound server refuses. So it is let speak, once: whoever waits for a card tries it every few
seconds, and would fill the journal with the same lines (17,000 a day and card, of a sound server
that is down). It speaks again when the card has been open since.

pyalsaaudio cannot set alsa-lib's handler of errors. The one set here in its place is a function of
alsa-lib's own that takes nothing and does nothing, and no Python: a sound server's plugin complains
in a thread of its own, while we hold the interpreter and wait for it.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

_said: set[str] = set()  # the names that do not open, and of which it has said why


@contextmanager
def unheard() -> Iterator[None]:
    """Within, alsa-lib writes nothing, in whichever thread."""
    alsa = ctypes.CDLL("libasound.so.2")  # the one that pyalsaaudio has loaded
    before = ctypes.c_void_p.in_dll(alsa, "snd_lib_error").value
    alsa.snd_lib_error_set_handler(alsa.snd_asoundlib_version)
    try:
        yield
    finally:
        alsa.snd_lib_error_set_handler(ctypes.c_void_p(before))


@contextmanager
def said_once(name: str) -> Iterator[None]:
    """Within, the card of that name is opened: what is wrong is said at the first try only."""
    with unheard() if name in _said else nullcontext():
        _said.add(name)
        yield
    _said.discard(name)
