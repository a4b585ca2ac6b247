"""Answers of the service: JSON objects, and `{"error", "hint"}` for what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bmslink.errors import (
    BmsError,
    GateError,
    Refused,
    RollbackError,
    SettingError,
    TargetError,
    TransportError,
    UnknownDevice,
    UsageError,
    VerifyError,
)
from bmslink.jsonable import dumps, to_json
from bmslink.service_errors import error_form

__all__ = [
    "Refusal",
    "answer",
    "answer_list",
    "answer_text",
    "error",
    "internal",
    "of_bms_error",
    "of_refusal",
    "on_exception",
]

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_AT_ONCE = 16  # objects of a list, about 1 ms

_STATUS: tuple[tuple[type[BmsError], int], ...] = (
    (TargetError, 400),
    (UsageError, 400),
    (GateError, 409),
    (SettingError, 422),
    (VerifyError, 502),
    (RollbackError, 502),
    (Refused, 502),
    (UnknownDevice, 502),
    (TransportError, 504),
    (BmsError, 502),
)
"""The first that fits. 409: a check refused, nothing was sent. 502 and 504: the pack or its link
failed."""


class Refusal(Exception):
    """A request that is not done; becomes an answer with this status."""

    def __init__(
        self,
        status: int,
        sentence: str,
        hint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.hint = hint
        self.headers = dict(headers or {})


def answer(
    values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON object. Nothing that the service says is to be kept by a cache."""
    return _response(to_json(values), status, headers)


def answer_text(text: str) -> Response:
    """A JSON object that somebody else made a text of."""
    return _response(text)


async def answer_list(key: str, items: Iterable[Mapping[str, Any]], **more: Any) -> Response:
    """An object whose `key` is a list, perhaps of a thousand packs: made piece by piece, so that no
    pack and no command waits for the whole of it."""
    texts: list[str] = []
    for number, item in enumerate(items, 1):
        texts.append(dumps(item))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return _response(f'{to_json(more)[:-1]},"{key}":[{",".join(texts)}]}}')


def _response(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        f"{text}\n",
        status_code=status,
        headers={**_HEADERS, **(headers or {})},
        media_type="application/json",
    )


def error(
    status: int,
    sentence: str,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """What went wrong, and what to do next; `more` are further keys of the object."""
    return answer({"error": sentence, "hint": hint, **more}, status, headers)


def of_refusal(refusal: Refusal) -> Response:
    """The answer of a request that was refused."""
    return error(refusal.status, str(refusal), refusal.hint, refusal.headers)


def of_bms_error(problem: BmsError) -> Response:
    """The answer where a pack, its link or a check failed, from which a client raises the same."""
    status = next(code for kind, code in _STATUS if isinstance(problem, kind))
    return answer({"hint": "", **error_form(problem)}, status)


def internal() -> Response:
    """The answer to what must not happen; nothing of it is told to who asked."""
    return error(500, "Internal error of the service.", "Its log says where; please report it.")


def of_http_error(problem: HTTPException, method: str) -> Response:
    """What starlette refuses by itself: no such path, a method that the path does not have."""
    if problem.status_code == 404:
        return error(404, "There is no such path.", "GET /api/v1/packs lists the packs.")
    if problem.status_code == 405:
        allowed = (problem.headers or {}).get("Allow", "")
        hint = f"It takes {allowed}." if allowed else ""
        return error(405, f"{method} is not for this path.", hint, problem.headers)
    return error(problem.status_code, str(problem.detail), headers=problem.headers)


async def on_exception(request: Request, problem: Exception) -> Response:
    """The answer to whatever a route raised."""
    if isinstance(problem, Refusal):
        return of_refusal(problem)
    if isinstance(problem, BmsError):
        return of_bms_error(problem)
    if isinstance(problem, HTTPException):
        return of_http_error(problem, request.method)
    return internal()
