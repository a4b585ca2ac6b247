"""`bmslink control drill`: try the switches of a pack at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.control_people import require_unserved
from bmslink.errors import TargetError, VerifyError

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["drill"]

_SWITCHES = ("charge", "discharge")


def drill(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The pack.")],
    switches: Annotated[
        list[str] | None,
        typer.Argument(metavar="[charge] [discharge]", help="Which; else charge."),
    ] = None,
    untested: Annotated[
        bool, typer.Option("--untested", help="Also set switches that nobody has tried on a board.")
    ] = False,
    *,
    yes: c.Yes = False,
    connection: ConnectionOptions,
) -> None:
    """Switch a pack at rest off and on once, and measure how long each takes to be read back.

    It needs an approved policy file (`control approve`), and for discharge one that says that
    something else feeds this computer. Exit code 4: something was not read back.
    """
    from bmslink.cli.loop import run_open
    from bmslink.runtime.acting.drill import drill as try_switches
    from bmslink.storage.journal import actor_name

    session = o.session_of(ctx)
    chosen = list(dict.fromkeys(switches or ["charge"]))
    for name in chosen:
        if name not in _SWITCHES:
            raise TargetError(f"{name[:40]!r} is not drilled: charge or discharge is.")
    device = connect_one(session, target, connection)
    require_unserved(device)

    async def work(board: Board) -> None:
        what = " and ".join(chosen)
        await c.agree(session, f"Switch {what} of {target} off and on once?", yes=yes)
        waive = {"untested"} if untested else set[str]()
        found = await try_switches(board, chosen, actor_name(), waive=waive)
        for each in found:
            if session.json:
                session.record(each.to_dict())
                continue
            words = [
                f"{name} read back after {took:.1f} s"
                if took is not None
                else f"{name} NOT READ BACK"
                for name, took in (("off", each.off), ("on", each.on))
            ]
            session.print(f"{each.switch}: {', '.join(words)}")
        if not all(each.passed for each in found):
            raise VerifyError("A switch was not read back: look at the pack.")

    run_open(device, work)


def _words(name: str, took: float | None) -> str:
    return f"{name} NOT READ BACK" if took is None else f"{name} read back after {took:.1f} s"
