"""A server on this machine that is told of alerts."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["SECRET", "Receiver", "receiving"]

SECRET = "tok-SECRET-en"


class Receiver(ThreadingHTTPServer):
    """Answers with what `answers` says next (a status, or `drip`), else 200; keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.came: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int | str] = []

    def url(self, scheme: str = "http") -> str:
        """Its address, with a secret in it."""
        return f"{scheme}://127.0.0.1:{self.server_port}/hook/{SECRET}"


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """One that listens."""
    with Receiver() as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if isinstance(status, str):
            with contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            return
        if status == 200:
            self.server.came.append(json.loads(body))
            self.server.headers.append(dict(self.headers))
        self.send_response(status)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, *about: object) -> None:
        """Nothing."""
