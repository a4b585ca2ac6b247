"""What `history` and `events` share: they ask the running services, and read times as people write
them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from bmslink.cli.output import Session
from bmslink.errors import PortNotFound, TargetError, UsageError
from bmslink.registry import ServiceAddress

__all__ = [
    "Since",
    "Socket",
    "Until",
    "ask",
    "find_served",
    "instant",
    "local",
    "running",
    "say_what_lacks",
    "what_lacks",
]

Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        "--last",
        metavar="TIME",
        help="Start: 2h (ago), 3d, yesterday, 06:30, 2026-01-31, 2026-01-31T06:30.",
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="End, in the same form.")]
Socket = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The socket of the service, if several run."),
]
_PACKS = "the packs here"


def running(socket: str | None) -> list[ServiceAddress]:
    """The services that run. Raises `PortNotFound` where there is none."""
    from bmslink.registry import services

    found = [each for each in services() if socket is None or each.socket == socket]
    if not found:
        raise PortNotFound(
            "No service runs here, and only a service remembers: `bmslink serve --history FOLDER` "
            "starts one that does, and [history] in bmslink.toml has an installed one do it."
        )
    return found


def instant(text: str | None) -> str | None:
    """A time as people write it, by the clock of this computer, as the interface takes it. Raises
    `UsageError`."""
    from bmslink.runtime.history.when import moment

    return None if text is None else moment(text, datetime.now(UTC)).isoformat()


async def ask(
    address: ServiceAddress, path: str, parameters: Mapping[str, str | Sequence[str] | None]
) -> dict[str, Any]:
    """The answer of one service. Raises the error that it had."""
    from bmslink.service_client import ServiceClient
    from bmslink.service_errors import error_of

    given = {name: value for name, value in parameters.items() if value is not None}
    whole = f"{path}?{urlencode(given, doseq=True)}"
    status, found = await ServiceClient(address, _PACKS).ask("GET", whole)
    if status == 400:
        raise TargetError(f"{found.get('error')} {found.get('hint') or ''}".rstrip())
    if status >= 400:
        raise error_of(found)
    return found


async def find_served(addresses: Sequence[ServiceAddress], pack: str) -> tuple[ServiceAddress, str]:
    """Which service serves a pack, by its name or target, and its name there; the first service
    where none does now: it may remember it. Raises `UsageError` for no name at all."""
    if not pack.strip():
        raise UsageError(
            "Name a pack, as in `bmslink history van`; `bmslink service status` shows the names."
        )
    for address in addresses:
        found = await ask(address, "/api/v1/packs", {})
        for each in found.get("packs") or ():
            if pack in (each.get("name"), each.get("target")):
                return address, str(each.get("name"))
    return addresses[0], pack


def say_what_lacks(session: Session, found: Mapping[str, Any]) -> None:
    """That the latest is not stored, where an answer says so."""
    for sentence in what_lacks(found):
        session.say(sentence)


def what_lacks(found: Mapping[str, Any]) -> Iterator[str]:
    """The same as sentences."""
    if found.get("trouble"):
        yield f"What came last is not stored, and not shown: {found['trouble']}"


def local(text: object) -> str:
    """A time of the interface, by the clock of this computer."""
    try:
        return f"{datetime.fromisoformat(str(text)).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return "?"
