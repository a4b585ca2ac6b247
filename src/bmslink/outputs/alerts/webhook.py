"""A POST of one JSON object to an address, by the standard library. Redirects are not followed:
they would hand the token on."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from bmslink.errors import TargetError
from bmslink.jsonable import to_json
from bmslink.outputs.alerts.message import Alert
from bmslink.outputs.alerts.sender import NotDelivered

__all__ = ["Webhook"]

_TIMEOUT = 10.0
"""s for each step."""
_WHOLE = 30.0
"""s for all of it: an answer may come byte by byte."""
_AGAIN = (408, 425, 429)


class Webhook:
    """One address; no text that this makes holds more of it than its host."""

    def __init__(
        self, url: str, token: str = "", *, timeout: float = _TIMEOUT, whole: float = _WHOLE
    ) -> None:
        """Raises `TargetError` for what is no address."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise TargetError("The webhook is no address of the form https://HOST/PATH.") from None
        plain = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise TargetError("The webhook is no address of the form https://HOST/PATH.")
        if parts.username is not None or not (token.isascii() and token.isprintable()):
            raise TargetError("A webhook takes no name in its address; give a token instead.")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._token = token
        self._timeout, self._whole = timeout, whole

    def __call__(self, alert: Alert) -> None:
        """See `Deliver`."""
        connection = self._connection()
        late = threading.Timer(self._whole, _cut, [connection])
        late.daemon = True
        late.start()
        try:
            status = self._post(connection, to_json(alert.to_dict()).encode())
        except (OSError, http.client.HTTPException) as exc:
            raise NotDelivered(f"{self._host}: {_why(exc)}") from None
        finally:
            late.cancel()
            connection.close()
        if not 200 <= status < 300:
            refused = status < 500 and status not in _AGAIN
            raise NotDelivered(f"{self._host} answers {status}", refused=refused)

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _post(self, connection: http.client.HTTPConnection, body: bytes) -> int:
        headers = {"content-type": "application/json", "user-agent": "bmslink"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        connection.request("POST", self._path, body, headers)
        return connection.getresponse().status


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a connection that another thread waits for."""
    with suppress(OSError, AttributeError):  # not connected yet, or closed already
        connection.sock.shutdown(socket.SHUT_RDWR)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__
