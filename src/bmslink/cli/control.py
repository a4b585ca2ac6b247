"""`bmslink control`: protection policies over a pack's own BMS.

Protection policies over a pack's own BMS: a starting file for a chemistry and a use, what is
doubtful about it, what it would have done on a recording, and what it says of live packs.
Nothing here writes to a BMS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.control_run import run, status
from bmslink.cli.control_try import backtest, explain
from bmslink.cli.control_upgrade import UpgradeOptions, upgrade
from bmslink.cli.outfile import on_stdout, write_text
from bmslink.cli.output import FOUND, Session

if TYPE_CHECKING:
    from bmslink.model import Reading

__all__ = ["COMMANDS"]


PolicyFile = Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")]


def presets(
    ctx: typer.Context,
    chemistry: Annotated[
        str, typer.Option(metavar="NAME", help="lfp, nmc, lto or na-ion.")
    ] = "lfp",
    use: Annotated[str, typer.Option(metavar="NAME", help="ups, solar, van or boat.")] = "solar",
    cells: Annotated[
        int | None, typer.Option(min=1, max=48, metavar="N", help="Cells in series.")
    ] = None,
    capacity: Annotated[
        float | None, typer.Option(parser=o.number, metavar="AH", help="Capacity in Ah.")
    ] = None,
    *,
    output: o.OutputOptions,
) -> None:
    """Write a commented policy file to start from; everything in it is in shadow."""
    from bmslink.control.files import parse_policies
    from bmslink.control.presets import preset

    session = o.session_of(ctx)
    session.no_trace("control presets")
    text = preset(chemistry, use, cells=cells, capacity=capacity)
    parse_policies(text, Path(output.output or "preset"))  # a capacity that cannot be is said here
    path = None if on_stdout(output.output) else output.output
    if path is not None:
        write_text(path, text, force=output.force)
    values = {"chemistry": chemistry, "use": use, "path": path}
    if session.json:
        session.record(values if path is not None else {**values, "text": text})
    elif path is None:
        session.write(*text.rstrip("\n").split("\n"))
    else:
        session.print(f"{path} is written; set its [battery], then `control check {path}`.")


def check(
    ctx: typer.Context,
    file: PolicyFile,
    target: o.Target = None,
    *,
    connection: ConnectionOptions,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="What `settings show --json` said; else TARGET is asked."
        ),
    ] = None,
    upgrading: UpgradeOptions,
) -> None:
    """Find what is doubtful about a policy file, and about the pack it is for and its settings.

    --upgrade writes a file of an older version anew, with your own values, order and comments. It
    shows what changes and asks first; the old file stays beside the new one.
    """
    from bmslink.cli.render import control as render
    from bmslink.control.check import check_pack, check_policies, check_settings
    from bmslink.control.files import load_policies
    from bmslink.control.settings import load_settings

    session = o.session_of(ctx)
    if target is None:
        session.no_trace("control check without a TARGET")
    if upgrading.wanted(target, settings):
        upgrade(session, file, upgrading)
        return
    policies = load_policies(Path(file))
    known = None if settings is None else load_settings(Path(settings))
    reading = None
    if target is not None:
        reading, live = _look(session, target, connection, settings=known is None)
        known = live if known is None else known
    found = check_policies(policies, known)
    if known is not None:
        found += check_settings(known, policies)
    if reading is not None:
        found += check_pack(reading, policies)
    for finding in found:
        if session.json:
            session.record(finding.to_dict())
        else:
            session.print(render.finding(finding))
    if not found and not session.json:
        session.print(f"{file}: nothing doubtful was found.")
    if any(finding.level for finding in found):
        raise typer.Exit(FOUND)


COMMANDS = {
    "presets": presets,
    "check": check,
    "backtest": backtest,
    "explain": explain,
    "run": run,
    "status": status,
}
"""`bmslink control WORD` -> what it does."""


def _look(
    session: Session, target: str, connection: ConnectionOptions, *, settings: bool
) -> tuple[Reading, dict[str, float] | None]:
    """A reading, and the settings that are numbers; `None` where the pack does not tell them."""
    from bmslink.cli.loop import run as run_loop
    from bmslink.errors import BmsError

    device = connect_one(session, target, connection)

    async def look() -> tuple[Reading, dict[str, float] | None]:
        async with device:
            reading = await device.read()
            if not settings:
                return reading, None
            try:
                table = await device.settings()
            except BmsError as error:
                session.say(f"Its settings were left out: {error}")
                return reading, None
            values = table.values().items()
            return reading, {key: value for key, value in values if type(value) is float}

    return run_loop(look())
