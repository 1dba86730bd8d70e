"""The floor on pins, run in the emulated machine: what is left when there is no house around it.

sleep   a trio loop in which nothing ever happens
edge    one thread that waits for the edge of line 17 and lights line 25 in the same breath;
        no contact is given time to settle, so it is quicker than any button may be
"""

import sys
from datetime import timedelta
from typing import Any

BUTTON, LAMP = 17, 25


def sleep() -> None:
    import trio  # noqa: PLC0415

    print("ready", flush=True)
    trio.run(trio.sleep_forever)


def edge() -> None:
    import gpiod  # noqa: PLC0415
    from gpiod.line import Bias, Direction, Edge, Value  # noqa: PLC0415

    contact = gpiod.LineSettings(
        direction=Direction.INPUT, bias=Bias.PULL_UP, edge_detection=Edge.BOTH
    )
    lamp = gpiod.LineSettings(direction=Direction.OUTPUT)
    config: Any = {BUTTON: contact, LAMP: lamp}
    with gpiod.request_lines("/dev/gpiochip0", consumer="floor", config=config) as request:
        print("ready", flush=True)
        while request.wait_edge_events(timedelta(days=1)):
            event = request.read_edge_events()[-1]
            pressed = event.event_type is event.Type.FALLING_EDGE
            request.set_value(LAMP, Value.ACTIVE if pressed else Value.INACTIVE)


if __name__ == "__main__":
    {"sleep": sleep, "edge": edge}[sys.argv[1]]()
