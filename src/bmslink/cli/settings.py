"""`bmslink settings`: parameters by name.

Parameters by canonical name, with units, limits and evidence. `set` plans first, shows every
check, asks, writes, reads back, and sets everything back if anything differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.output import identified
from bmslink.errors import TargetError, UsageError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.cli.output import Session
    from bmslink.model import Adjustment
    from bmslink.protocols.common.settings_map import SettingsSnapshot

__all__ = ["COMMANDS"]

Keys = Annotated[
    list[str] | None, typer.Argument(metavar="[TARGET] [KEY]...", help="The pack, then names.")
]
Pairs = Annotated[
    list[str], typer.Argument(metavar="[TARGET] KEY=VALUE...", help="The pack, then values.")
]


def show_settings(
    ctx: typer.Context,
    target: o.Target = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Show every setting of a pack: value, limits, whether it may be written, and the evidence."""
    _show(ctx, target, [], connection)


def get_settings(
    ctx: typer.Context,
    words: Keys = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Show some settings by name, in their own units.

    One name prints only the value; several print KEY=VALUE, as `settings set` takes it.
    """
    target, keys = _split(words or [], _is_key)
    if not keys:
        raise TargetError("Which settings? Name them, e.g. cell_ovp charge_utp.")
    _show(ctx, target, keys, connection)


def set_settings(
    ctx: typer.Context,
    words: Pairs,
    *,
    options: c.ChangeOptions,
    connection: ConnectionOptions,
) -> None:
    """Write settings: KEY=VALUE, the value in the setting's unit or with one (3.6, "3600 mV").

    clock=now (or an ISO time) and soc=PERCENT set the clock and the charge, if the board allows it.
    """
    from bmslink.cli.loop import run_open

    session = o.session_of(ctx)
    target, pairs = _split(words, lambda word: _is_key(word.partition("=")[0]) and "=" in word)
    if not pairs:
        raise TargetError("Which values? Write KEY=VALUE, e.g. cell_ovp=3.6.")
    wanted = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not _is_key(key):
            raise TargetError(
                f"{pair!r} is no KEY=VALUE: write the one pack first, then e.g. cell_ovp=3.6."
            )
        if not sign:
            raise TargetError(f"{pair!r} has no value: write {key}=VALUE.")
        if key in wanted:
            raise TargetError(f"{key} is given twice.")
        wanted[key] = value.strip()
    device = connect_one(session, target, connection)
    if wanted.keys() & set(_ADJUSTED):
        wish, now = _wish(wanted)
        run_open(device, partial(_adjust, session, options, wish, now=now))
        return

    async def write(device: Board) -> None:
        async with device.conversation():
            await change(device)

    async def change(device: Board) -> None:
        found = await device.settings_map(await device.identify())
        values = {}
        for key, text in wanted.items():
            row = found.setting(key)
            try:
                values[key] = c.value_of(row.kind, row.unit, text, name=key)
            except UsageError as exc:
                said = str(exc)
                raise UsageError(said if key in said else f"{key}: {said}") from exc
        await c.change(session, device, values, options, command="settings set", settings=found)

    run_open(device, write)


COMMANDS = {"show": show_settings, "get": get_settings, "set": set_settings}
"""`bmslink settings WORD` -> what it does."""


def _is_key(word: str) -> bool:
    return word.isidentifier() and word == word.lower()


def _split(words: list[str], fits: Any) -> tuple[str | None, list[str]]:
    """The target, if the first word is none of the others, and the others."""
    if words and not fits(words[0]):
        return words[0], words[1:]
    import os

    if len(words) > 1 and not os.environ.get("BMSLINK_TARGET"):
        return words[0], words[1:]
    return None, words


# ------------------------------------------------------------------------- clock and charge

_ADJUSTED = ("clock", "soc")


def _wish(wanted: Mapping[str, str]) -> tuple[Adjustment, bool]:
    """What is asked of the clock and the charge; whether the clock is set to the present."""
    from bmslink.model import Adjustment

    if others := sorted(wanted.keys() - set(_ADJUSTED)):
        raise TargetError(f"clock and soc are set by themselves: leave {others[0]} for later.")
    clock, now, soc = wanted.get("clock"), False, None
    moment = None
    if clock == "now":
        now = True
    elif clock is not None:
        try:
            moment = datetime.fromisoformat(clock).astimezone()
        except (ValueError, OverflowError):
            raise UsageError(
                f"clock is now or a time like 2026-05-01T12:00, not {clock!r}."
            ) from None
    if "soc" in wanted:
        soc = float(c.value_of("number", "%", wanted["soc"]))
    return Adjustment(clock=moment, soc=soc), now


async def _adjust(
    session: Session, options: c.ChangeOptions, wish: Adjustment, device: Board, *, now: bool
) -> None:
    from bmslink.cli.render import config, text
    from bmslink.config import adjust, draft_adjustment

    wanted = await draft_adjustment(
        device, wish, now=now, waive=options.waived(), chemistry=options.chemistry
    )
    if not session.json:
        glyphs = text.glyphs(ascii_only=session.ascii)
        whole = options.dry_run or session.verbosity > 0
        session.show(config.adjustment(wanted, glyphs, whole=whole))
    elif options.dry_run or wanted.plan.blocked:
        session.record({**identified(device.target), "plan": wanted.to_dict()})
    c.stop_if_blocked(wanted.plan)
    if options.dry_run:
        session.say(c.DRY_RUN)
        return
    await c.agree(session, f"Set it on {device.target.label}?", yes=options.yes)
    outcome = await c.under_way(session, device, adjust(device, wanted))
    c.show_outcome(session, device, outcome)


def _show(
    ctx: typer.Context, target: str | None, keys: list[str], connection: ConnectionOptions
) -> None:
    from bmslink.cli.loop import run_open
    from bmslink.config import believe
    from bmslink.survey import survey

    session = o.session_of(ctx)
    device = connect_one(session, target, connection)

    _identity, table = run_open(device, partial(survey, keys=keys))
    _print(session, device, table, keys)
    believe(table)  # shown all the same: it helps to find the fault


def _print(session: Session, device: Board, table: SettingsSnapshot, keys: list[str]) -> None:
    rows = [table.map.setting(k) for k in keys] or list(table.map.settings)
    if session.json:
        from bmslink.protocols.common.settings_now import Settings

        held = Settings(table)
        for row in rows:
            session.record(held[row.key].to_dict())
        return
    from bmslink.cli.render import settings as render
    from bmslink.cli.render import text

    if not keys:
        glyphs = text.glyphs(ascii_only=session.ascii)
        session.show(render.settings(table, glyphs, device.target.label))
        return
    values = table.values()
    shown = [(row.key, render.bare(row, values[row.key])) for row in rows]
    alone = len(shown) == 1
    session.write(*(value if alone else f"{key}={value}" for key, value in shown))
