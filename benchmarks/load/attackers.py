"""The attacks of `load/attacks.py`: what a client without a key may try.

An attack is a function of the port and of an event that ends it. It runs in several threads at once, and expects to be
refused: only what happens to others counts.
"""

import json
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

Stop = threading.Event
Attack = Callable[[int, Stop], None]

SLOW = 600  # connections of one attack, over all its threads
THREADS = 4
_PIECE = b"x" * 65_536
_DEEP = b'{"user_id": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"  # within the bound of a body


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _request(path: str, body: bytes = b'{"user_id": 17}', length: int | None = None, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json"]
    lines += [f"content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answered(connection: socket.socket) -> bool:
    """Whether an answer came; its body is read as far as one part goes."""
    return bool(connection.recv(65_536))


def _flood(make: Callable[[], bytes]) -> Attack:
    """The same request again and again, as fast as answers come; a closed connection is opened anew."""

    def attack(port: int, stop: Stop) -> None:
        while not stop.is_set():
            with suppress(OSError), _connect(port) as connection:
                while not stop.is_set():
                    connection.sendall(make())
                    if not _answered(connection):
                        break

    return attack


def _held(begin: bytes, drip: bytes, *, reads: bool = True) -> Attack:
    """Many connections that send `begin`, then a byte each second; a closed one is opened anew.

    `reads`: whether answers are read.
    """

    def attack(port: int, stop: Stop) -> None:
        held: list[socket.socket] = []
        while not stop.is_set():
            while len(held) < SLOW // THREADS and not stop.is_set():
                with suppress(OSError):
                    held.append(_connect(port))
                    held[-1].sendall(begin)
            for connection in tuple(held):
                try:
                    connection.setblocking(False)
                    connection.send(drip)
                    if not reads or connection.recv(65_536):
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                connection.close()
                held.remove(connection)
            stop.wait(1.0)
        for connection in held:
            connection.close()

    return attack


def large_header(port: int, stop: Stop) -> None:
    """A header of 100 MB, as far as the server reads it."""
    while not stop.is_set():
        with suppress(OSError), _connect(port) as connection:
            connection.sendall(b"GET /rooms HTTP/1.1\r\nhost: x\r\nx-more: ")
            for _ in range(100_000_000 // len(_PIECE)):
                if stop.is_set():
                    break
                connection.sendall(_PIECE)


def dropped_connections(port: int, stop: Stop) -> None:
    """Connections that are opened and dropped at once."""
    while not stop.is_set():
        with suppress(OSError):
            _connect(port).close()
        time.sleep(0.002)


def _bomb() -> bytes:
    """A gzip of 256 MB of zeros, in a quarter of a megabyte."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])


def attacks() -> dict[str, Attack]:
    """Every attack by name."""
    bomb, many = _bomb(), json.dumps({"user_ids": list(range(100)), "k": 100}).encode()
    oversized = json.dumps({"user_id": 17, "surface": "x" * 8_000_000}).encode()
    return {
        "large_header": large_header,
        "slow_headers": _held(b"POST /recommend HTTP/1.1\r\nhost: x\r\nx-slow: ", b"x"),
        "slow_bodies": _held(_request("/recommend", b'{"user_id": ', length=1_000), b" "),
        "idle_connections": _held(b"", b""),
        "dropped_connections": dropped_connections,
        "slow_readers": _held(b"GET /rooms?limit=200 HTTP/1.1\r\nhost: x\r\n\r\n" * 20, b"", reads=False),
        "flood": _flood(lambda: _request("/recommend")),
        "flood_of_many_lists": _flood(lambda: _request("/recommend/many", many)),
        "flood_of_metrics": _flood(lambda: b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"),
        "flood_of_probes": _flood(lambda: b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n" * 50),
        "forged_addresses": _flood(lambda: _request("/recommend", x_forwarded_for=f"203.0.113.{secrets.randbelow(256)}")),
        "guessed_keys": _flood(lambda: _request("/events", authorization=f"Bearer {secrets.token_urlsafe(24)}")),
        "gzip_bomb": _flood(lambda: _request("/recommend", bomb, content_encoding="gzip")),
        "oversized_json": _flood(lambda: _request("/recommend", oversized)),
        "deep_json": _flood(lambda: _request("/recommend", _DEEP)),
        "no_http": _flood(lambda: secrets.token_bytes(1_000) + b"\r\n\r\n"),
    }
