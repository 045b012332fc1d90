"""A proxy that makes an S3 server slow, has it do things twice, or loses its answers."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}


class OddStore(ThreadingHTTPServer):
    """A proxy of `endpoint`; a block that uses it as a context finds it at `self.endpoint`.

    Args:
        delay: seconds that each answer takes.
        twice: each request that writes is carried out twice.
        lost: so many answers to requests that write are never sent; the requests are carried out.
    """

    daemon_threads = True

    def __init__(self, endpoint: str, delay: float = 0.0, twice: bool = False, lost: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.delay, self.twice, self.lost = urlsplit(endpoint).netloc, delay, twice, lost
        self.lock, self.wrote = threading.Lock(), 0  # requests that write

    @property
    def endpoint(self) -> str:
        """Its address, for AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "OddStore":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OddStore

    def handle_request(self) -> None:
        body = self._body()
        writes = self.command in ("PUT", "POST", "DELETE")
        status, headers, content = self._forwarded(body)
        if writes:
            with self.server.lock:
                self.server.wrote += 1
                loses, self.server.lost = self.server.lost > 0, max(0, self.server.lost - 1)
            if self.server.twice:
                status, headers, content = self._forwarded(body)
            if loses:
                self.close_connection = True
                return
        time.sleep(self.server.delay)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request

    def _body(self) -> bytes:
        """The request's body as it came, chunks and all."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while True:
            size = self.rfile.readline()
            parts += [size, self.rfile.read(int(size.split(b";")[0], 16) + 2)]
            if parts[-1] == b"\r\n":
                return b"".join(parts)

    def _forwarded(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """The real server's answer; the host that the client signed stays in the headers."""
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""
