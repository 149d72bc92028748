"""A server that takes connections and never says a word, as a host behind a broken load balancer does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .postgres import HOST


@contextmanager
def silent_server() -> Iterator[int]:
    """Its port."""
    listener = socket.create_server((HOST, 0))
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        # close() alone would leave the thread in accept().
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        taker.join()
        for connection in taken:
            connection.close()
