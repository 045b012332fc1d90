"""A load generator for one HTTP service, run as a process of its own.

    python -m benchmarks.load.generator --port 3000 --path /recommend --bodies bodies.jsonl --rate 50 --seconds 20

With `--rate` requests are sent at their due times, whether or not earlier ones are answered, and a latency counts from the due
time, so that a stall shows in it. Without it, each connection sends the next request when it has the last answer: the highest
rate. It prints one line of JSON. Bounded by `--seconds`, `--connections` and, at a fixed rate, by 10 s for the last answers. An
API key is read from the environment variable LIVEALIGN_LOAD_KEY.
"""

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import uvloop

from benchmarks.json_rows import JsonRows, add_json_option

GRACE_SECONDS = 10.0
KEY_VARIABLE = "LIVEALIGN_LOAD_KEY"  # the API key; an argument would be visible to all and saved with the rows
UNITS = {
    "requests": "requests",
    "answered": "requests",
    "per_second": "requests/s",
    "milliseconds": "ms",
    "statuses": "requests",
    "lost": "requests",
    "bytes": "bytes",
    "first_error": "text",
    "seconds": "s",
}


@dataclass
class Tally:
    """The outcomes of the requests: latencies, statuses, losses, bytes."""

    latencies: list[float] = field(default_factory=list)  # seconds, of answers with a status below 400
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0  # no answer at all
    received: int = 0  # bytes of bodies
    first_error: str = ""
    seconds: float = 0.0

    def add(self, status: int, body: bytes, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        self.received += len(body)
        if status < 400:
            self.latencies.append(seconds)
        elif not self.first_error:
            self.first_error = f"{status} {body[:300].decode(errors='replace')}"

    def summary(self) -> dict[str, object]:
        """Rates a second and latencies in milliseconds."""
        milliseconds = np.sort(np.array(self.latencies)) * 1000
        quantiles = (
            {f"p{q}": round(float(np.percentile(milliseconds, q)), 2) for q in (50, 90, 99)} if len(milliseconds) else {}
        )
        return {
            "requests": sum(self.statuses.values()) + self.lost,
            "answered": len(milliseconds),
            "per_second": round(len(milliseconds) / self.seconds, 1) if self.seconds else 0.0,
            "milliseconds": {**quantiles, "max": round(float(milliseconds[-1]), 2)} if len(milliseconds) else {},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "lost": self.lost,
            "bytes": self.received,
            "first_error": self.first_error,
            "seconds": round(self.seconds, 2),
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = bytearray()
        self._head = -1  # where the body begins
        self._length = 0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; returns the status and body of the answer."""
        assert self._transport is not None
        self._buffer.clear()
        self._head, self._length = -1, 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = end + 4
            for line in bytes(self._buffer[:end]).lower().split(b"\r\n")[1:]:
                if line.startswith(b"content-length:"):
                    self._length = int(line[15:])
        if len(self._buffer) >= self._head + self._length and self._answer is not None and not self._answer.done():
            body = bytes(self._buffer[self._head : self._head + self._length])
            self._answer.set_result((int(self._buffer[9:12]), body))


class Load:
    """Requests to one path, their bodies in rotation, over kept connections."""

    def __init__(self, host: str, port: int, path: str, bodies: list[bytes], key: str | None, connections: int) -> None:
        head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        if key:
            head += f"authorization: Bearer {key}\r\n"
        self._requests = [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._host, self._port, self._most = host, port, connections
        self._free: list[Connection] = []
        self._made = 0
        self._returned = asyncio.Condition()
        self.tally = Tally()

    async def at_rate(self, rate: float, seconds: float) -> Tally:
        """Send `rate` requests a second for `seconds`, each at its due time."""
        start, tasks = time.perf_counter(), set()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.add(asyncio.ensure_future(self._one(self._requests[number % len(self._requests)], due)))
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
            self.tally.lost += len(late)
        self.tally.seconds = seconds
        return self.tally

    async def at_most(self, seconds: float, requests: int | None = None) -> Tally:
        """Send as fast as answers come, on all connections.

        Ends after `seconds`, or when `requests` have been sent.
        """
        start, sent = time.perf_counter(), 0

        async def loop() -> None:
            nonlocal sent
            while time.perf_counter() - start < seconds and (requests is None or sent < requests):
                sent += 1
                await self._one(self._requests[(sent - 1) % len(self._requests)], time.perf_counter())

        await asyncio.gather(*(loop() for _ in range(self._most)))
        self.tally.seconds = time.perf_counter() - start
        return self.tally

    async def _one(self, request: bytes, since: float) -> None:
        connection = await self._take()
        try:
            status, body = await connection.send(request)
            self.tally.add(status, body, time.perf_counter() - since)
        except OSError as error:
            self.tally.lost += 1
            self.tally.first_error = self.tally.first_error or repr(error)
        finally:
            async with self._returned:
                if connection.is_open:
                    self._free.append(connection)
                else:
                    self._made -= 1
                self._returned.notify()

    async def _take(self) -> Connection:
        async with self._returned:
            while not self._free and self._made >= self._most:
                await self._returned.wait()
            while self._free:
                connection = self._free.pop()
                if connection.is_open:
                    return connection
                self._made -= 1
            self._made += 1
        _, made = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        return made


async def _send(arguments: argparse.Namespace) -> Tally:
    bodies = arguments.bodies.read_bytes().splitlines() if arguments.bodies else [b"{}"]
    key = os.environ.get(KEY_VARIABLE)
    load = Load(arguments.host, arguments.port, arguments.path, bodies, key, arguments.connections)
    if arguments.rate:
        return await load.at_rate(arguments.rate, arguments.seconds)
    return await load.at_most(arguments.seconds, arguments.requests)


def main() -> None:
    """Send the load and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/recommend")
    parser.add_argument("--bodies", type=Path, help="one JSON body a line, sent in turn; default: {}")
    parser.add_argument("--rate", type=float, help="requests a second; default: as many as are answered")
    parser.add_argument("--requests", type=int, help="without --rate: stop after so many")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json)
    summary = uvloop.run(_send(arguments)).summary()
    print(json.dumps(summary))
    out.add_all(arguments.path, summary, UNITS)
    out.write()


if __name__ == "__main__":
    main()
