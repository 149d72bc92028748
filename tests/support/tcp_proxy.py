"""A TCP proxy on loopback that makes a link slow, dead or cut.

with tcp_proxy(port) as proxy:
    connect to proxy.port
    proxy.bytes_per_second = 50_000
    proxy.cut()            # ends all connections
    proxy.refuse(); proxy.accept()
    proxy.cut_after = 100_000   # each connection is ended after so many bytes
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .postgres import HOST

PIECE_BYTES = 16 << 10


class TCPProxy:
    """Relays each connection in two threads."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.bytes_per_second = 0
        """Of each connection and direction; 0 is unlimited."""
        self.cut_after = 0
        """Bytes from the client after which a connection is ended; 0 is never."""
        self.refusing = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._take, name="tcp-proxy", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._pairs)

    def cut(self) -> int:
        """Ends all connections; how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)
        return len(pairs)

    def refuse(self) -> None:
        """Ends all connections and every new one."""
        self.refusing = True
        self.cut()

    def accept(self) -> None:
        self.refusing = False

    def close(self) -> None:
        # close() alone would leave the thread in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def _take(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            try:
                if self.refusing:
                    raise ConnectionRefusedError
                server = socket.create_connection((HOST, self.target))
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            threading.Thread(target=self._relay, args=(pair, client, server), daemon=True).start()
            threading.Thread(target=self._relay, args=(pair, server, client), daemon=True).start()

    def _relay(self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                sink.sendall(data)
                passed += len(data)
                if self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                if source is pair[0] and self.cut_after and passed > self.cut_after:
                    break
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for each in pair:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def tcp_proxy(target: int) -> Iterator[TCPProxy]:
    """A proxy in front of a port on loopback."""
    proxy = TCPProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
