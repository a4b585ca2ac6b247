"""`bmslink control`: protection policies over a pack's own BMS.

Protection policies over a pack's own BMS: a starting file for a chemistry and a use, what is
doubtful about it, what it would have done on a recording, and what it says of live packs. Nothing
here writes to a BMS but `run --enforce`, and that only switches what a person approved.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.control_approve import approve
from bmslink.cli.control_drill import drill
from bmslink.cli.control_offload import offload
from bmslink.cli.control_people import emergency_stop, override, reset, resume
from bmslink.cli.control_run import run, status
from bmslink.cli.control_try import backtest, explain
from bmslink.cli.control_upgrade import UpgradeOptions, upgrade
from bmslink.cli.outfile import on_stdout, write_text
from bmslink.cli.output import FOUND, Session
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.model import Identity, Reading
    from bmslink.protocols.common.settings_map import SettingsSnapshot

__all__ = ["COMMANDS"]


PolicyFile = Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")]


def presets(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A use, a chemistry, or both: van, nmc, lfp-boat."),
    ] = None,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="The pack it is made for.")
    ] = None,
    chemistry: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="lfp, nmc, lto or na-ion; else the pack's, or lfp."),
    ] = None,
    use: Annotated[
        str | None, typer.Option(metavar="NAME", help="ups, solar, van or boat; else solar.")
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(min=1, max=48, metavar="N", help="Cells in series; else the pack's."),
    ] = None,
    capacity: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="AH", help="Capacity in Ah; else the pack's."),
    ] = None,
    *,
    output: o.OutputOptions,
    connection: ConnectionOptions,
) -> None:
    """Write a commented policy file to start from; everything in it is in shadow.

    With a TARGET its [battery] is filled from that pack and from bmslink.toml, with a comment on
    where each value is from. What the cells are made of is never guessed.
    """
    from bmslink.control.files import parse_policies
    from bmslink.control.presets import named_preset, preset
    from bmslink.packs import find_pack

    session = o.session_of(ctx)
    named = None if name is None else named_preset(name)
    if name is not None and named is None:
        if target is not None:
            raise TargetError(
                f"There is no preset {name[:40]!r}; write it as van, nmc or lfp-boat."
            )
        target = name  # the one word is the pack
    if named is not None and target is None and find_pack(str(name)) is not None:
        raise TargetError(
            f"{name} is a preset and one of your packs: write `bmslink control presets --use "
            f"{name}` for the preset, or `bmslink control presets solar {name}` for one that is "
            "filled from the pack."
        )
    if named is not None:
        chemistry = _once("chemistry", named[0], chemistry)
        use = _once("use", named[1], use)
    what = use or "solar"
    if target is None:
        session.no_trace("control presets without a TARGET")
        text = preset(chemistry or "lfp", what, cells=cells, capacity=capacity)
    else:
        text = _for_pack(session, what, target, chemistry, cells, capacity, connection)
    policies = parse_policies(text, Path(output.output or "preset"))  # numbers that cannot be
    path = None if on_stdout(output.output) else output.output
    if path is not None:
        write_text(path, text, force=output.force)
    values = {"chemistry": policies.battery.chemistry, "use": what, "path": path}
    if session.json:
        session.record(values if path is not None else {**values, "text": text})
    elif path is None:
        session.write(*text.rstrip("\n").split("\n"))
    else:
        look = "look at" if target is not None else "set"
        session.print(
            f"{path} is written; {look} its [battery], then `bmslink control check "
            f"{shlex.quote(str(path))}`."
        )


def _once(what: str, one: str | None, other: str | None) -> str | None:
    """A word that may be in the name and in an option."""
    if None not in (one, other) and one != other:
        raise TargetError(f"The {what} is {one} or {other}: say it once.")
    return one or other


def _for_pack(
    session: Session,
    use: str,
    target: str,
    chemistry: str | None,
    cells: int | None,
    capacity: float | None,
    connection: ConnectionOptions,
) -> str:
    """The preset with the battery of one pack."""
    from bmslink.cli.config_files import look
    from bmslink.cli.loop import run_open
    from bmslink.cli.render.clean import clean
    from bmslink.control.board_battery import battery_of
    from bmslink.control.presets import preset_for, use_of
    from bmslink.errors import Refused, SettingError

    kind = use_of(use)  # before anything is opened
    device = connect_one(session, target, connection)

    async def ask(board: Board) -> tuple[Identity, SettingsSnapshot | None, Reading]:
        try:
            return (*await look(board), await board.read())
        except (SettingError, Refused) as error:
            session.say(f"Its settings were left out: {error}")
            return await board.identify(), None, await board.read()

    identity, table, reading = run_open(device, ask)
    found = battery_of(
        kind, identity, table, reading,
        named=device.named, stated=chemistry, cells=cells, capacity=capacity,
    )  # fmt: skip
    for remark in found.remarks:
        session.say(remark)
    return preset_for(found.battery, use, found.notes, clean(device.target.label))


def check(
    ctx: typer.Context,
    file: PolicyFile,
    target: o.Target = None,
    *,
    connection: ConnectionOptions,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="What `bmslink settings show --json` said; else TARGET is asked."
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
    "approve": approve,
    "run": run,
    "offload": offload,
    "drill": drill,
    "status": status,
    "emergency-stop": emergency_stop,
    "reset": reset,
    "override": override,
    "resume": resume,
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
