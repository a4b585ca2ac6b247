"""`bmslink plot`: a picture of readings over time, in the terminal or as a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.looking_back import Since, Socket, Until, ask, find_served, running
from bmslink.cli.output import Session
from bmslink.errors import PortNotFound, TargetError, UsageError

if TYPE_CHECKING:
    from bmslink.reports.pictures import Picture
    from bmslink.reports.pictures.gathering import Ask

__all__ = ["command"]

_TYPES = (".html", ".htm", ".svg")
_SVG_SLOTS = 400


def command(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="What `log` or `capture` wrote, a replay:// of one, the history.db of a service "
            "or its folder, or the name of a served pack.",
        ),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .html or .svg file."),
    ] = None,
    force: o.Force = False,
    since: Since = None,
    until: Until = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            metavar="cells|difference|voltage|current|power|soc|temperatures|events",
            help="Only this; repeatable.",
        ),
    ] = None,
    cells: Annotated[
        str,
        typer.Option(
            metavar="deviation|voltage", help="Cells as they differ from their mean, or in volts."
        ),
    ] = "deviation",
    pack: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this pack of the sources; repeatable."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Draw these limits: what `bmslink settings show --json` said of the pack.",
        ),
    ] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="The heading.")] = "",
    socket: Socket = None,
) -> None:
    """Draw readings over time: cells, current, temperatures, events, with the packs side by side.

    An .html file holds all it needs and works offline: drag to zoom, and all charts follow. Times
    like 2h count back from the last reading of a file, and from now for a served pack.
    """
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    session.no_trace("plot")
    kind = None if output is None else _kind(output)
    if cells not in ("deviation", "voltage"):
        raise UsageError(f"--cells is deviation or voltage, not {cells[:40]!r}.")
    if kind is None and not session.json:
        from bmslink.reports.pictures.terminal import require_plotext

        require_plotext()

    async def draw() -> None:
        from bmslink.reports import pictures
        from bmslink.reports.pictures.panels import require_quantities

        require_quantities(show or ())
        known = _limits(settings)
        found = await pictures.gather(
            sources, partial(_served, socket), since=since, until=until, only=pack or ()
        )
        picture = pictures.make_picture(
            [*found.tracks.values()],
            title=title,
            show=show or (),
            cells="voltage" if cells == "voltage" else "deviation",
            limits=known,
            notes=found.notes,
            slots=6000 if kind == ".html" else _SVG_SLOTS,
        )
        _give(session, picture, output, kind, force=force)

    run(draw())


def _kind(output: str) -> str:
    ending = Path(output).suffix.lower()
    if ending not in _TYPES:
        raise TargetError(f"{output} should end in .html or .svg: that is what it becomes.")
    return ".svg" if ending == ".svg" else ".html"


def _limits(file: str | None) -> dict[str, float]:
    if file is None:
        return {}
    from bmslink.control.settings import load_settings

    return load_settings(Path(file))


async def _served(socket: str | None, pack: str) -> tuple[Ask, str]:
    """The service that remembers a pack."""
    try:
        addresses = running(socket)
    except PortNotFound as error:
        if "://" in pack:
            raise UsageError(
                f"{pack[:80]} is a pack, and a picture needs readings over time: "
                f"`bmslink log '{pack[:80]}' -o FILE.jsonl` keeps some."
            ) from error
        raise PortNotFound(
            f"There is no file {pack[:80]}, and no service runs here that may know a pack of that "
            "name."
        ) from error
    address, name = await find_served(addresses, pack)
    return partial(ask, address), name


def _give(
    session: Session, picture: Picture, output: str | None, kind: str | None, *, force: bool
) -> None:
    if output is not None:
        from bmslink.cli.outfile import on_stdout, write_text
        from bmslink.reports.pictures import picture_html, picture_svg

        text = picture_svg(picture) if kind == ".svg" else picture_html(picture)
        write_text(output, text, force=force)
        if not on_stdout(output):
            count = len(picture.packs)
            size = len(text.encode()) / 1e6
            session.say(f"{output}: {count} pack{'s' if count != 1 else ''}, {size:.1f} MB.")
    if session.json:
        session.record(_summary(picture, output))
    elif output is None:
        _show(session, picture)


def _show(session: Session, picture: Picture) -> None:
    from rich.console import Group
    from rich.text import Text

    from bmslink.reports.pictures import picture_lines

    console = session.console
    lines = picture_lines(
        picture,
        width=console.width,
        colour=console.is_terminal and console.color_system is not None,
        ascii_only=session.ascii,
    )
    session.show(Group(*map(Text.from_ansi, lines)))


def _summary(picture: Picture, output: str | None) -> dict[str, Any]:
    """What is drawn, for programs."""
    from bmslink.control.backtest.logs import written

    return {
        "title": picture.title,
        "file": output,
        "start": written(picture.start),
        "end": written(picture.end),
        "packs": [*picture.packs],
        "panels": [
            {
                "title": panel.title,
                "unit": panel.unit,
                "curves": [
                    {"title": curve.title, "pack": curve.pack,
                     "minimum": round(min(curve.known()), panel.digits),
                     "maximum": round(max(curve.known()), panel.digits)}
                    for curve in panel.curves
                ],
            }
            for panel in picture.shown()
        ],
        "events": [
            {"title": lane.title, "pack": lane.pack, "severity": lane.severity.value,
             "start": written(band.start), "end": written(band.end), "lasting": band.lasting}
            for lane in picture.lanes
            for band in lane.bands
        ],
        "notes": [*picture.notes],
    }  # fmt: skip
