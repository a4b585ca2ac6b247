"""`bmslink life`: how a battery is used and worn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.looking_back import Socket, ask, find_served, running
from bmslink.cli.output import Session
from bmslink.errors import UsageError

__all__ = ["command"]


def command(
    ctx: typer.Context,
    pack: Annotated[
        str | None,
        typer.Argument(metavar="[PACK]", help="A served pack: its name; with --from, one of it."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Not of the service, but of a log, a capture, or the history.db of a service.",
        ),
    ] = None,
    chemistry: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --from: lfp, nmc, lto or na-ion."),
    ] = None,
    capacity: Annotated[
        float | None,
        typer.Option(
            metavar="AH",
            min=0.5,
            max=20000.0,
            help="With --from: nominal, where the file does not say it.",
        ),
    ] = None,
    socket: Socket = None,
) -> None:
    """How the battery of a pack is used and worn: throughput, hours by charge and temperature,
    capacity as found, resistance, imbalance.

    Each number comes with its uncertainty (for 95 %) and with what it rests on. What is not known
    is said to be unknown, and why.
    """
    session = o.session_of(ctx)
    session.no_trace("life")
    if file is not None:
        _from_file(session, Path(file), pack, chemistry, capacity)
        return
    if pack is None:
        raise UsageError("Say which pack: `bmslink life PACK`.")
    if chemistry is not None:
        raise UsageError(
            "--chemistry goes with --from: a service takes it from bmslink.toml "
            '(chemistry = "lfp" in [packs.NAME]).'
        )
    if capacity is not None:
        raise UsageError("--capacity goes with --from: a service takes it from the board.")
    from bmslink.cli.loop import run

    run(_of_service(session, pack, socket))


async def _of_service(session: Session, pack: str, socket: str | None) -> None:
    from urllib.parse import quote

    address, name = await find_served(running(socket), pack)
    found = await ask(address, f"/api/v1/packs/{quote(name, safe='')}/life", {})
    _show(session, str(found["pack"]), found["life"])


def _from_file(
    session: Session, path: Path, pack: str | None, kind: str | None, capacity: float | None
) -> None:
    from bmslink.runtime.life.from_file import lives_in
    from bmslink.settings.chemistry import chemistry

    known = None if kind is None else chemistry(kind).name
    found = lives_in(path, chemistry=known, capacity=capacity)
    chosen = [each for each in found if pack in (None, each.pack, each.board)]
    if not chosen:
        there = ", ".join(sorted({each.pack for each in found})[:20])
        raise UsageError(f"{path} has nothing of {str(pack)[:60]!r}; it has: {there}.")
    for each in chosen:
        _show(session, each.pack, each.facts.to_dict())


def _show(session: Session, pack: str, life: dict[str, Any] | None) -> None:
    if session.json:
        session.record({"pack": pack, "life": life})
    elif life is None:
        session.say(f"Nothing is known yet of the battery of {pack}: it was not read.")
    else:
        from bmslink.cli.render.life import life_lines

        session.print(*life_lines(pack, life))
