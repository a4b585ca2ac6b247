"""`bmslink packs`: names for packs.

Names for packs, so that `bmslink read van` is enough. They stand in bmslink.toml, for which `path`
shows the place; BMSLINK_CONFIG names another one.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.output import Session
from bmslink.errors import TargetError

__all__ = ["COMMANDS", "added"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the pack is called.")]


def list_packs(ctx: typer.Context) -> None:
    """List the named packs."""
    from bmslink.cli.render import packs as render
    from bmslink.packs import config_path, load_packs
    from bmslink.storage.credentials import require_private

    session = _session(ctx)
    path = config_path()
    packs = load_packs()
    if session.json:
        for pack in packs.values():
            session.record({"name": pack.name, "target": pack.target, "pin": pack.pin is not None})
    elif packs:
        session.print(*render.table(packs.values()))
    else:
        session.say(f"{path} names no packs yet; `bmslink packs add NAME TARGET` does.")
    if any(p.pin is not None for p in packs.values()):
        try:
            require_private(path, "pins")
        except TargetError as error:
            session.say(str(error))


def add_pack(
    ctx: typer.Context,
    name: Name,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Its target.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the target of an existing name.")
    ] = False,
    chemistry: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Chemistry of its cells: lfp, nmc, lto, na-ion."),
    ] = None,
) -> None:
    """Name a pack. A PIN is never an argument: add it to the file by hand, as pin = "…"."""
    from bmslink.settings.chemistry import chemistry as find_chemistry

    session = _session(ctx)
    if chemistry is not None:
        find_chemistry(chemistry)  # before anything is written
    added(session, name, target, force=force, chemistry=chemistry)


def added(
    session: Session, name: str, target: str, *, force: bool = False, chemistry: str | None = None
) -> None:
    """Name a pack, and say so."""
    from bmslink.packs import add, remember_chemistry

    path = add(name, target, force=force)
    if chemistry is not None:
        remember_chemistry(name, chemistry)
    _done(session, {"name": name, "target": target, "path": str(path)}, f"{name} is in {path}.")


def remove_pack(ctx: typer.Context, name: Name) -> None:
    """Forget the name of a pack."""
    from bmslink.packs import remove

    session = _session(ctx)
    path = remove(name)
    _done(session, {"removed": name, "path": str(path)}, f"{name} is gone from {path}.")


def show_path(ctx: typer.Context) -> None:
    """Show where the file with the names is, whether it exists or not."""
    from bmslink.packs import config_path

    session = _session(ctx)
    path = config_path()
    if session.json:
        session.record({"path": str(path), "exists": path.exists()})
    else:
        session.write(str(path))


COMMANDS = {"list": list_packs, "add": add_pack, "remove": remove_pack, "path": show_path}
"""`bmslink packs WORD` -> what it does."""


def _session(ctx: typer.Context) -> Session:
    session = o.session_of(ctx)
    session.no_trace("packs")
    return session


def _done(session: Session, values: dict[str, str], sentence: str) -> None:
    if session.json:
        session.record(values)
    else:
        session.print(sentence)
