"""`bmslink report`: the commissioning sheet of a pack or a bank."""

from __future__ import annotations

from typing import Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions
from bmslink.cli.output import FAILED

__all__ = ["command"]


def command(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET|BANK|FILE]...",
            help="Packs, a bank of bmslink.toml, or what `log` or `capture` wrote; else "
            "BMSLINK_TARGET.",
        ),
    ] = None,
    *,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="The .html file to write."),
    ],
    force: o.Force = False,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Compare the settings with this profile; else with the preset of the chemistry.",
        ),
    ] = None,
    pack: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this pack of a file; repeatable."),
    ] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="The heading.")] = "",
    customer: Annotated[str, typer.Option(metavar="TEXT", help="Who it is for.")] = "",
    installer: Annotated[str, typer.Option(metavar="TEXT", help="Who installed it.")] = "",
    connection: ConnectionOptions,
) -> None:
    """Write the commissioning report of packs: one HTML file to print, sign and hand over.

    It says who each pack is, how its settings compare with the profile, what was changed by whom,
    which tests were done, and what the doctor finds. It only reads. What is not known is said.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.outfile import on_stdout, write_text
    from bmslink.cli.verbosity import start_logging
    from bmslink.config.files.profile import load_profile
    from bmslink.errors import TargetError
    from bmslink.reports.sheet import sheet_html
    from bmslink.reports.sheet.chosen import sheet_of
    from bmslink.reports.sheet.html_page import require_jinja2
    from bmslink.storage.credentials import read_pin

    session = o.session_of(ctx)
    session.no_trace("report")
    if not output.lower().endswith((".html", ".htm")) and not on_stdout(output):
        raise TargetError(f"{output} should end in .html: that is what a report is.")
    require_jinja2()
    start_logging(session)
    words = o.some_targets(sources)
    chosen = None if profile is None else load_profile(profile)
    pin = read_pin(connection.pin_file) if connection.pin_file is not None else None
    sheet = run(
        sheet_of(
            words,
            connection.endpoints,
            profile=chosen,
            only=pack or (),
            title=title,
            customer=customer,
            installer=installer,
            pin=pin,
            tell=session.progress,
        )
    )
    write_text(output, sheet_html(sheet), force=force)
    failed = [each for each in sheet.packs if each.error]
    if session.json:
        session.record(
            {
                "file": output,
                "title": sheet.title,
                "packs": [
                    {"pack": each.title, "target": each.target, "error": each.error or None,
                     "findings": len(each.findings)}
                    for each in sheet.packs
                ],
            }
        )  # fmt: skip
    elif not on_stdout(output):
        session.say(f"{output} is the report of {_counted(len(sheet.packs))}.")
    for each in failed:
        session.complain(f"{each.title}: {each.error}")
    if failed:
        raise typer.Exit(FAILED)


def _counted(count: int) -> str:
    return "1 pack" if count == 1 else f"{count} packs"
