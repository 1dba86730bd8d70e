"""The voice appliance: press, talk, be answered.

Begin with `daemon.py` (every part, every wire, one nursery), then `conversation.py` (the one
table that decides everything; `mind.py` obeys it). The folders are what a person can point at:

    agent/    the far end: what is said, two ways of writing it, one connection, functions
    sound/    ear and mouth: utterances kept until heard, answers until played, the cards and
              their rate and pace, the box's own sentences, the echo
    panel/    face and fingers: buttons, lamps, what they show and mean, known boards
    host/     the machine beneath: service manager, control socket, files, commands, money
    standin/  a box without a box, for `demo` and for tests

Beside `daemon.py` stand the rooms that it hands things to: `line` lives with one connection after
the other, `face` tells outside what is true, `fingers` does what buttons mean, `cues` lets the box
speak for itself, `loudness` is the volume, `knobs` keeps it and the mute over a restart, `novelty`
says that the box was updated, `brief` tells the agent what it must know first, `chronicle` writes
down, `functions` does what the agent wants done, `purse` minds the money, `orders` are the
commands, `words` and `typed` judge what is said to them. `assembly` makes the parts, `checkup`
looks for the fault.

Imports go down only: `cli` > `daemon` > parts that wait > parts that are pure. A test holds that,
and that each foreign library has one room.
"""

__version__ = "0.1.0"
