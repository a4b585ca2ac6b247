"""What every request passes before it reaches a route: who may ask, from where, how much.

A program on the local socket got there by the socket's permissions. A request over TCP is a
stranger's: it needs the token, and names of hosts and origins that a foreign page in a browser
cannot have. Everything that is refused here has not been looked at by anything else.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from bmslink.errors import BmsError
from bmslink.runtime.api.access.peer import Peer, peer_of
from bmslink.runtime.api.access.rates import Kind, Rates
from bmslink.runtime.api.access.tokens import Access
from bmslink.runtime.api.answers import Refusal, internal, of_bms_error, of_refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BODY_TIME", "HEALTH", "LONGEST_BODY", "LONGEST_HEAD", "TRUSTED", "RequestGuard"]

LONGEST_BODY = 1 << 18
"""Bytes of a request; a profile has at most a quarter of that."""
BODY_TIME = 10.0
"""How long a request may take to arrive whole, s."""
LONGEST_HEAD = 1 << 14
"""Bytes of a request's first line and headers."""
HEALTH = "/healthz"
"""May be asked without a token; it names packs only to who has one."""
TRUSTED = "trusted"
"""In the state of a request: whether it came over a local socket or with the token."""

_METHODS = ("GET", "HEAD", "POST")
_SECRETS = frozenset({"token", "access_token", "auth", "authorization", "key", "pin", "password"})
_TRICKS = re.compile(rb"%2f|%5c|%00|%0a|%0d|\\|/\.{1,2}(?:/|$)|%2e|//", re.IGNORECASE)
_LENT = re.compile(r"/lend/[0-9a-f]+\Z")
_CLOSE = {"connection": "close"}
_logger = logging.getLogger(__name__)


class RequestGuard:
    """An ASGI application around another one. It raises nothing."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # there is nothing to start up, and no web socket
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            body = await self._admit(scope, receive)
            await self._app(scope, _replayed(body, receive), sending)
        except Refusal as refusal:
            refused = of_refusal(refusal)
        except BmsError as problem:
            refused = of_bms_error(problem)
        except Exception:
            where = f"{scope['method']} {scope['path']!r}"
            _logger.exception("The service could not answer %s: internal error.", where)
            refused = internal()
        else:
            return
        if not begun:
            await refused(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request that may go on. Raises `Refusal`."""
        headers = _headers(scope)
        peer = peer_of(scope)
        _check_form(scope, headers)
        known = "authorization" in headers or scope["path"] != HEALTH
        if not peer.local:
            self._check_stranger(scope, headers, peer, token=known)
        scope.setdefault("state", {})[TRUSTED] = peer.local or known
        self._rates.count(peer.key, _kind(scope["path"]))
        if scope["method"] != "POST":
            return b""
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(
                415,
                "A command is a JSON object.",
                "Send content-type: application/json.",
                headers=_CLOSE,
            )
        return await _whole(receive, headers)

    def _check_stranger(
        self, scope: Scope, headers: Mapping[str, str], peer: Peer, *, token: bool
    ) -> None:
        host = headers.get("host", "")
        if not self._access.allows_host(host):
            raise Refusal(
                421,
                "This service does not answer to that name.",
                "Use its address, or list the name under hosts in [service].",
                headers=_CLOSE,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(403, "A page of another site asked.", headers=_CLOSE)
        site = headers.get("sec-fetch-site", "same-origin")
        if scope["method"] == "POST" and site not in ("same-origin", "none"):
            raise Refusal(403, "A page of another site asked.", headers=_CLOSE)
        if token:
            self._check_token(headers.get("authorization", ""), peer)

    def _check_token(self, given: str, peer: Peer) -> None:
        wanted = self._access.token
        kind, _, word = given.partition(" ")
        if wanted is not None and kind.lower() == "bearer" and _same(word.strip(), wanted):
            return  # never refused because somebody else guesses: a token has 256 bits
        self._rates.count(peer.key, "wrong")
        raise Refusal(
            401,
            "The token is wrong." if given else "A token is needed.",
            "Send the header authorization: Bearer TOKEN; `bmslink service status` says which "
            "file holds it.",
            headers={**_CLOSE, "www-authenticate": "Bearer"},
        )


def _kind(path: str) -> Kind:
    """What a request is counted as."""
    if path.endswith("/switch"):
        return "off"
    return "line" if _LENT.search(path) else "any"


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name. Raises `Refusal` for one that must not come twice and does, and for
    very long ones: h11 only limits what has not come whole."""
    first = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    if first + sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEAD:
        raise Refusal(431, "The headers of the request are too long.", headers=_CLOSE)
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found and key in ("host", "origin", "authorization", "content-type"):
            raise Refusal(400, f"There are two headers {key}.", headers=_CLOSE)
        found[key] = value.decode("latin-1")
    return found


def _check_form(scope: Scope, headers: Mapping[str, str]) -> None:
    """Raises `Refusal` for a method, path or query that nothing here takes."""
    if scope["method"] not in _METHODS:
        raise Refusal(
            405,
            f"{scope['method']} is for no path here.",
            f"It takes {', '.join(_METHODS)}.",
            headers={**_CLOSE, "allow": ", ".join(_METHODS)},
        )
    if _TRICKS.search(scope.get("raw_path") or scope["path"].encode()):
        raise Refusal(404, "There is no such path.", headers=_CLOSE)
    query = scope["query_string"].decode("latin-1")
    if any(name.lower() in _SECRETS for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise Refusal(
            400,
            "A secret does not go into an address: addresses are logged.",
            "Send the header authorization: Bearer TOKEN.",
            headers=_CLOSE,
        )
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if scope["method"] != "POST" and has_body:
        raise Refusal(400, f"{scope['method']} takes no body.", headers=_CLOSE)


async def _whole(receive: Receive, headers: Mapping[str, str]) -> bytes:
    """The body, as soon as it is complete. Raises `Refusal` for one that is too long or slow."""
    too_long = Refusal(413, f"A request may have {LONGEST_BODY} bytes.", headers=_CLOSE)
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > LONGEST_BODY:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refusal(400, "The request was broken off.", headers=_CLOSE)
                body += message.get("body", b"")
                if len(body) > LONGEST_BODY:
                    raise too_long
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refusal(
            408, f"The request was not complete after {BODY_TIME:g} s.", headers=_CLOSE
        ) from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once more, then whatever comes behind it (that the client has gone)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _same(given: str, wanted: str) -> bool:
    """In a time that does not depend on how much of it is right."""
    return hmac.compare_digest(given.encode(), wanted.encode())
