"""The `bmslink` command: which commands there are, and which of them a command line needs.

A command's module is imported when the command is used; the list of commands costs nothing. Typer
has no such thing of its own, so we look for the command's name first and give Typer only names and
lines of the others.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import typer

from bmslink.arguments import did_you_mean
from bmslink.cli.common_options import find_word, with_common_options
from bmslink.cli.completion.scripts import shell_script
from bmslink.cli.option_groups import with_groups
from bmslink.cli.output import Session
from bmslink.cli.two_words import refuse_two_words

__all__ = ["COMMANDS", "main", "whole"]

COMMANDS: dict[str, str] = {
    "scan": "Find packs over Bluetooth and on serial ports.",
    "info": "Show who a pack is: vendor, model, firmware, serial number.",
    "doctor": "Find out what is wrong with a pack, its link or this computer.",
    "read": "Read packs once, or every S seconds.",
    "monitor": "Watch packs live, full screen.",
    "decode": "Turn captured bytes into readings, offline.",
    "capture": "Record every byte both ways, with times.",
    "log": "Write readings to a file: CSV, JSON lines, SQLite or Parquet.",
    "simulate": "Simulate a pack that other software can talk to.",
    "replay": "Serve a recorded pack to other software.",
    "settings": "Show, get and set parameters by name.",
    "config": "Back up, plan, apply and compare whole configurations.",
    "switch": "Switch charging, discharging or balancing on or off.",
    "control": "Try protection policies, approve them, and let them act.",
    "balance": "Balance the cells of a pack at the top of charge.",
    "serve": "Run the service: it reads packs and lets other programs in.",
    "service": "Manage the service: status, reload, stop, install, lend, release.",
    "history": "Show what the service stored about a pack.",
    "plot": "Draw readings over time, in the terminal or in a file to zoom in.",
    "report": "Write the commissioning report of a pack or bank, to sign.",
    "life": "Show how a battery is used and worn, and how certain that is.",
    "events": "Show a board's own history and what the service saw.",
    "packs": "Name packs, so that `bmslink read van` is enough.",
}
"""Command name -> its line in the list; `bmslink.cli.<name>:command` is what it does.

A module with `COMMANDS` of its own (word -> function) is a group of commands instead.
"""

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_UNKNOWN = "unknown"


def _root() -> None:
    """Talk to JK, Daly and JBD battery management systems: read, watch, configure, simulate.

    A TARGET names a pack, e.g. jbd+serial:///dev/ttyUSB0, jk02+tcp://192.168.1.20:8899 or, without
    any hardware, sim://jbd. BMSLINK_TARGET replaces a missing one.
    """


def _group() -> None:
    """A noun does nothing by itself; its help is its module's."""


def _application(arguments: list[str]) -> typer.Typer:
    """The command line, with the command that the arguments name; the others are names only.

    A word among the arguments that should be a command and is none gives place to one that refuses.
    """
    app = _typer()
    app.callback()(with_common_options(_root))
    place = find_word(arguments)
    word = None if place is None else arguments[place]
    for name, line in COMMANDS.items():
        if place is not None and name == word:
            _load(app, name, line, arguments, place + 1)
        else:
            app.command(name, short_help=line)(_not_loaded)
    _refuse_unknown(app, arguments, place, COMMANDS)
    return app


def whole() -> typer.Typer:
    """The command line with every command, all loaded: for what looks at all of them."""
    app = _typer()
    app.callback()(with_common_options(_root))
    for name, line in COMMANDS.items():
        _load(app, name, line, [name], 1)
    return app


def _to_complete() -> list[str] | None:
    """The words of the command line that a shell asks to complete; `None` where none does.

    Bash names its words, the other shells' scripts are typer's.
    """
    if "_BMSLINK_COMPLETE" not in os.environ:
        return None
    words = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return words.split()[1:]


def _typer(**more: Any) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=_CONTEXT,
        **more,
    )


def _not_loaded() -> None:
    raise RuntimeError("typer found another command on this command line than bmslink did")


def _load(app: typer.Typer, name: str, line: str, arguments: list[str], rest: int) -> None:
    """Import a command's module, and add what is in it."""
    module = importlib.import_module(f"bmslink.cli.{name}")
    commands = getattr(module, "COMMANDS", None)
    if commands is None:
        _add(app, name, module.command, short_help=line)
        return
    group = _typer(help=(module.__doc__ or "").partition("\n\n")[2], short_help=line)
    group.callback()(with_common_options(_group))
    for each, function in commands.items():
        _add(group, each, function)
    _refuse_unknown(group, arguments, find_word(arguments, rest), commands)
    app.add_typer(group, name=name)


def _add(app: typer.Typer, name: str, command: Callable[..., None], **more: Any) -> None:
    app.command(name, context_settings=_CONTEXT, **more)(with_common_options(with_groups(command)))


def _refuse_unknown(
    app: typer.Typer, arguments: list[str], place: int | None, known: Collection[str]
) -> None:
    """A word that is no command becomes one that says so, in our words instead of typer's."""
    if place is None or arguments[place] in known:
        return
    word, arguments[place] = arguments[place], _UNKNOWN

    def refuse(ctx: typer.Context) -> None:
        ask = did_you_mean(word, known) or f" There are: {', '.join(known)}."
        (ctx.parent or ctx).fail(f"There is no command {word!r}.{ask}")

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(_UNKNOWN, hidden=True, add_help_option=False, context_settings=anything)(refuse)


def main(argv: Sequence[str]) -> int:
    """Run a command line; gives back the exit code and raises nothing."""
    session = Session()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal of another encoding must not end the program
            reconfigure(errors="backslashreplace")
    with session:
        arguments = list(argv)
        if shell_script(arguments, session):
            return 0
        refuse_two_words(arguments)
        app = _application(_to_complete() or arguments)
        code = app(arguments, prog_name="bmslink", standalone_mode=False, obj=session)
        session.code = code if isinstance(code, int) else 0
        session.finish()
    return session.code
