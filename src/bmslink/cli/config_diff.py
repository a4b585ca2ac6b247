"""`bmslink config diff`: packs, backups and profiles, set side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import config_files as files
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.output import FAILED, FOUND, Session
from bmslink.cli.several import at_once
from bmslink.errors import BmsError, TargetError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.config.files.compare import Side

__all__ = ["diff"]


def diff(
    ctx: typer.Context,
    sides: Annotated[
        list[str],
        typer.Argument(metavar="A [B]...", help="Packs, backups, profiles; B else BMSLINK_TARGET."),
    ],
    whole: Annotated[
        bool, typer.Option("--all", help="Also show what is the same on all sides.")
    ] = False,
    *,
    connection: ConnectionOptions,
) -> None:
    """Compare packs, backups and profiles.

    Shows every setting that differs; exit code 5 if there is one. A board that lacks a setting is
    shown as missing it. A profile counts only for what it names. Values that change by themselves,
    or belong to one board, are not compared.
    """
    from bmslink.cli.render import differences, text
    from bmslink.config.files.compare import compare, compared

    session = o.session_of(ctx)
    spread = _spread(sides, connection)
    if len(spread) == 1:
        spread.append((o.one_target(None),) * 2)
    names = [name for name, _place in spread]
    if any(len(set(words)) < len(words) for words in zip(*spread, strict=True)):
        raise TargetError("One of them is named twice.")
    found = _sides(session, dict(spread), connection)
    result = compare(found, whole=whole)
    differ = any(each.differs for each in result)
    if not differ and not compared(found):
        raise TargetError(f"Nothing was compared: no setting is in all of {', '.join(names)}.")
    if session.json:
        for each in result:
            session.record(each.to_dict(names))
    elif result:
        glyphs = text.glyphs(ascii_only=session.ascii)
        session.show(differences.table(result, names, glyphs, session.console.width))
    if not differ:
        session.say("No difference.")
        return
    raise typer.Exit(FOUND)


@dataclass(slots=True)
class _ComparedPack:
    """A pack that is compared."""

    name: str
    device: Board
    side: Side | None = None
    error: BmsError | None = None


def _sides(session: Session, names: Mapping[str, str], connection: ConnectionOptions) -> list[Side]:
    """The sides of a comparison: a file if there is one of that name, else a pack. `names`: what
    each is called -> its file or target."""
    live = [name for name in names if not _is_file(name)]
    if not live:
        session.no_trace("config diff with files only")
    kept = {name: _file(name) for name in names if name not in live}
    places = [names[name] for name in live]
    devices = connect_all(session, places, connection) if live else []
    packs = {name: _ComparedPack(name, device) for name, device in zip(live, devices, strict=True)}
    _read(session, list(packs.values()))
    found = [kept[name] if name in kept else packs[name].side for name in names]
    return [side for side in found if side is not None]


def _read(session: Session, packs: Sequence[_ComparedPack]) -> None:
    """Read all packs; each that fails is reported, and ends the command once all were read."""
    from bmslink.cli.loop import run
    from bmslink.config.files.compare import side_of_table

    async def look(pack: _ComparedPack) -> None:
        try:
            async with pack.device:
                _identity, table = await files.look(pack.device)
            pack.side = side_of_table(pack.name, table)
        except BmsError as error:
            pack.error = error

    if packs:
        run(at_once(packs, lambda pack: pack.device, look))
    failed = [pack for pack in packs if pack.error is not None]
    for pack in failed:
        if pack.error is not None and len(packs) == 1:
            session.target = pack.device.target
            raise pack.error
        if pack.error is not None:
            files.failed(session, pack.device.target, pack.error)
    if failed:
        raise typer.Exit(FAILED)


def _spread(names: Sequence[str], connection: ConnectionOptions) -> list[tuple[str, str]]:
    """What the sides are called and where they are; a target that means several packs is one side
    for each, with the name that it has (`rack 2`)."""
    found: list[tuple[str, str]] = []
    for name in names:
        several = [] if _is_file(name) else connection.endpoints(name)
        if len(several) > 1:
            found += [(each.name or str(each), str(each)) for each in several]
        else:
            found.append((name, name))
    return found


def _is_file(name: str) -> bool:
    if "://" in name:
        return False
    file = Path(name)
    if file.suffix in (".toml", ".json") and not file.exists():
        raise TargetError(f"There is no file {name}.")
    return file.is_file()


def _file(name: str) -> Side:
    from bmslink.config.files.backup import load_backup
    from bmslink.config.files.compare import side_of_backup, side_of_profile
    from bmslink.config.files.profile import load_profile

    if Path(name).suffix == ".toml":
        return side_of_profile(name, load_profile(name))
    return side_of_backup(name, load_backup(name))
