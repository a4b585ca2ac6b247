"""`bmslink settings`: parameters by name.

Parameters by canonical name, with units, limits and evidence. `set` plans first, shows every
check, asks, writes, reads back, and sets everything back if anything differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import changing as c
from bmslink.cli import options as o
from bmslink.errors import SettingError, TargetError

if TYPE_CHECKING:
    from bmslink.device import Device
    from bmslink.protocols.settings import Table

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
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Show every setting of a pack: value, limits, whether it may be written, and the evidence."""
    line = o.Line(protocol=protocol, address=address, baudrate=baudrate, timeout=timeout)
    _show(ctx, target, [], line)


def get_settings(
    ctx: typer.Context,
    words: Keys = None,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Show some settings by name; alone on a terminal line, for scripts."""
    line = o.Line(protocol=protocol, address=address, baudrate=baudrate, timeout=timeout)
    target, keys = _split(words or [], _is_key)
    if not keys:
        raise TargetError("Which settings? Name them, e.g. cell_ovp charge_utp.")
    _show(ctx, target, keys, line)


def set_settings(
    ctx: typer.Context,
    words: Pairs,
    untested: c.Untested = False,
    waive: c.Waive = None,
    chemistry: c.Chemistry = None,
    yes: c.Yes = False,
    dry_run: c.DryRun = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Write settings: KEY=VALUE, the value in the setting's unit or with one (3.6, "3600 mV")."""
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    line = o.Line(protocol=protocol, address=address, baudrate=baudrate, timeout=timeout)
    target, pairs = _split(words, lambda word: _is_key(word.partition("=")[0]) and "=" in word)
    if not pairs:
        raise TargetError("Which values? Write KEY=VALUE, e.g. cell_ovp=3.6.")
    wanted = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in wanted:
            raise TargetError(f"{key} stands twice.")
        wanted[key] = value.strip()
    device = c.open_one(session, target, line)

    async def write(device: Device) -> None:
        async with device:
            found = await device.settings_map(await device.identify())
            values = {}
            for key, text in wanted.items():
                row = found.setting(key)
                try:
                    values[key] = c.value_of(row.kind, row.unit, text)
                except SettingError as exc:
                    raise SettingError(f"{key}: {exc}") from exc
            await c.change(
                session,
                device,
                values,
                waive=c.waivers(waive, untested=untested),
                chemistry=chemistry,
                yes=yes,
                dry_run=dry_run,
            )

    run(write(device))


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


def _show(ctx: typer.Context, target: str | None, keys: list[str], line: o.Line) -> None:
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    device = c.open_one(session, target, line)

    async def fetch(device: Device) -> Table:
        async with device:
            return await device.settings()

    table = run(fetch(device))
    for key in keys:
        table.map.setting(key)
    rows = [s for s in table.map.settings if not keys or s.key in keys]
    if session.json:
        from bmslink.cli.render.config import setting_object

        for row in rows:
            session.record(setting_object(table, row))
        return
    from bmslink.cli.render import config, text

    glyphs = text.glyphs(ascii_only=session.ascii)
    if keys:
        session.print("\n".join(config.one_line(table, row, glyphs) for row in rows))
        return
    session.show(config.settings(table, glyphs))
