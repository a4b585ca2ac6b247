"""`bmslink service`: the service that runs.

What runs for months: how its packs are, a new configuration, its end, and the systemd unit that
starts it. `bmslink serve` is the service itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.output import FOUND, Session
from bmslink.cli.service_line import lend, release
from bmslink.errors import LinkTimeout, PortNotFound, TargetError

if TYPE_CHECKING:
    from bmslink.registry import ServiceAddress

__all__ = ["COMMANDS"]

_STOPPING = 30.0
"""s that a service may take to end."""
_LOOK = 0.1  # s between two looks whether it has
_PACKS = "the packs here"

Socket = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The socket of the service, if several run."),
]


def show_status(ctx: typer.Context, socket: Socket = None) -> None:
    """Show the state of the service and its packs.

    Exit code 5 if none runs or a pack is not read.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.render.service import status

    session = _session(ctx)
    addresses = _running(socket)
    if not addresses:
        _say_that_none_runs(session)
        raise typer.Exit(FOUND)
    worst = 0
    for address in addresses:
        found = run(_ask(address, "GET", "/api/v1/status"))
        if session.json:
            session.record({"running": True, "socket": address.socket, **found})
        else:
            session.print(*status(found, address.socket))
        if any(not pack.get("polled") for pack in found.get("packs", ())):
            worst = FOUND
    raise typer.Exit(worst)


def reload(ctx: typer.Context, socket: Socket = None) -> None:
    """Make the service read its file again; only what changed restarts.

    A file with a mistake changes nothing.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.render.service import reloaded

    session = _session(ctx)
    found = run(_ask(_the_one(socket), "POST", "/api/v1/reload"))
    if session.json:
        session.record(found)
    else:
        session.print(*reloaded(found))


def stop(ctx: typer.Context, socket: Socket = None) -> None:
    """Stop the service. Under systemd use `systemctl stop`, or it is started again."""
    from bmslink.cli.loop import run

    session = _session(ctx)
    address = _the_one(socket)

    run(_ask(address, "POST", "/api/v1/stop"))
    _wait_for_the_end_of(address)
    if session.json:
        session.record({"stopped": address.socket, "pid": address.pid})
    else:
        session.print(f"The service (process {address.pid}) has ended.")


def install(
    ctx: typer.Context,
    user: Annotated[
        bool,
        typer.Option(
            "--user", help="Install for you alone, without root [default: for the machine]."
        ),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the files instead of printing the unit.")
    ] = False,
    credential: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:FILE",
            help="A secret that root passes on: pin.PACK (a Bluetooth PIN) or bmslink-token.",
        ),
    ] = None,
    force: o.Force = False,
) -> None:
    """Print the systemd unit, or write it, and say what to do next. Starts nothing."""
    from bmslink.cli.install import install_service

    install_service(
        _session(ctx), user=user, write=write, force=force, credentials=credential or ()
    )


def test_alerts(ctx: typer.Context, socket: Socket = None) -> None:
    """Make the service send a test to each receiver of alerts.

    Exit code 5 if one did not arrive.
    """
    from bmslink.cli.loop import run

    session = _session(ctx)
    found = run(_ask(_the_one(socket), "POST", "/api/v1/alerts/test"))
    if session.json:
        session.record(found)
    for each in found.get("receivers", ()):
        if not session.json:
            session.print(f"{each['to']}: {each['error'] or 'arrived'}")
    if not all(each["arrived"] for each in found.get("receivers", ())):
        raise typer.Exit(FOUND)


COMMANDS = {
    "status": show_status,
    "reload": reload,
    "stop": stop,
    "install": install,
    "test-alerts": test_alerts,
    "lend": lend,
    "release": release,
}
"""`bmslink service WORD` -> what it does."""


def _session(ctx: typer.Context) -> Session:
    session = o.session_of(ctx)
    session.no_trace("service")
    return session


def _running(socket: str | None) -> list[ServiceAddress]:
    from bmslink.registry import services

    return [each for each in services() if socket is None or each.socket == socket]


def _say_that_none_runs(session: Session) -> None:
    if session.json:
        session.record({"running": False})
    else:
        session.print(
            "No service runs: `bmslink serve` starts one, `bmslink service install` "
            "has systemd do it."
        )


def _the_one(socket: str | None) -> ServiceAddress:
    """The service that is meant. Raises `PortNotFound` where none runs, `TargetError` where it is
    not clear which."""
    found = _running(socket)
    if not found:
        raise PortNotFound("No service runs here; `bmslink serve` starts one.")
    if len(found) > 1:
        sockets = ", ".join(each.socket for each in found)
        raise TargetError(f"{len(found)} services run: name one with --socket ({sockets}).")
    return found[0]


async def _ask(address: ServiceAddress, method: str, path: str) -> dict[str, Any]:
    """The answer. Raises the error that the service had."""
    from bmslink.service_client import ServiceClient

    client = ServiceClient(address, _PACKS)
    status, found = await client.ask(method, path, {} if method == "POST" else None)
    if status >= 400:
        from bmslink.service_errors import error_of

        raise error_of(found)
    return found


def _wait_for_the_end_of(address: ServiceAddress) -> None:
    """Until nothing answers there any more. Raises `LinkTimeout`."""
    from bmslink.registry import services

    until = time.monotonic() + _STOPPING
    while any(each.file == address.file for each in services()):
        if time.monotonic() > until:
            raise LinkTimeout(
                f"The service (process {address.pid}) has not ended after {_STOPPING:g} s; `kill "
                f"{address.pid}` ends it."
            )
        time.sleep(_LOOK)
