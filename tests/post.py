"""A datagram socket, and what was sent to it."""

import socket
from pathlib import Path


class Post:
    """A datagram socket in a short path, and what was sent to it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def came(self) -> list[str]:
        return [raw.decode() for raw in self.raw()]

    def raw(self) -> list[bytes]:
        came = []
        while True:
            try:
                came.append(self.socket.recv(1 << 20))
            except BlockingIOError:
                return came
