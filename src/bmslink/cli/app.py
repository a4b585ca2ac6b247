"""The `bmslink` command: which commands there are, and the options that work everywhere.

A command's module is imported when the command is used; the list of commands costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from bmslink.cli.output import Session

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, str] = {
    "scan": "Find packs over Bluetooth and on serial ports.",
    "info": "Who the pack is: vendor, model, firmware, serial number.",
    "read": "One reading, or one every S seconds.",
    "monitor": "The live full-screen dashboard.",
    "decode": "Captured bytes into readings, offline.",
    "capture": "Record every byte both ways, with times.",
    "simulate": "A simulated pack for other software to talk to.",
    "replay": "A recorded pack for other software to talk to.",
    "settings": "Parameters by name: show, get, set.",
    "config": "Whole configurations: backup, plan, apply, compare.",
    "switch": "Charging, discharging and balancing, on or off.",
    "control": "Protection policies, tried before they act.",
    "packs": "Names for packs, so that `read van` is enough.",
}
"""Command name -> its line in the list; `bmslink.cli.<name>:command` is what it does.

A module with `COMMANDS` of its own (word -> function) is a group of commands instead.
"""

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _flag(name: str, help_text: str, **more: Any) -> TyperOption:
    """An option that is kept in the session, wherever on the command line it stands."""

    def keep(ctx: typer.Context, _param: Any, value: Any) -> None:
        if not value or ctx.resilient_parsing:
            return
        if name == "verbosity":
            value += ctx.obj.verbosity
        setattr(ctx.obj, name, value)

    more.setdefault("param_decls", [f"--{name}"])
    more.setdefault("is_flag", not more.get("count") and "metavar" not in more)
    return TyperOption(callback=keep, expose_value=False, help=help_text, **more)


def _show_version(ctx: typer.Context, _param: Any, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from bmslink import __version__

        ctx.obj.print(f"bmslink {__version__}")
        raise typer.Exit


def everywhere() -> list[TyperOption]:
    """The options of every command."""
    return [
        _flag("json", "One JSON object per line on stdout, and nothing else."),
        _flag("quiet", "No progress and no remarks on stderr; errors remain."),
        _flag(
            "verbosity",
            "Say on stderr what happens; twice: in detail.",
            param_decls=["-v", "--verbose", "verbosity"],
            count=True,
            default=0,
        ),
        _flag("trace", "Write every byte both ways to a capture file.", metavar="FILE"),
        _flag("debug", "Show the traceback of an error."),
        TyperOption(
            param_decls=["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ]


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is used."""

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"bmslink.cli.{cmd_name}")
        commands = getattr(module, "COMMANDS", None)
        return _command(cmd_name, module.command) if commands is None else _group(module, commands)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        _check_word(ctx, args[0], COMMANDS)
        return super().resolve_command(ctx, args)


class Group(TyperGroup):
    """Commands of one noun, as `packs list`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        _check_word(ctx, args[0], self.commands)
        return super().resolve_command(ctx, args)


def _check_word(ctx: Any, word: str, known: Collection[str]) -> None:
    if word in known:
        return
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    ask = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(known)}."
    ctx.fail(f"There is no command {word!r}.{ask}")


def _command(name: str, function: Callable[..., None]) -> TyperCommand:
    maker = typer.Typer(add_completion=False, rich_markup_mode=None)
    maker.command(name, context_settings=_CONTEXT)(function)
    command = get_command(maker)
    if not isinstance(command, TyperCommand):
        raise TypeError(f"{name} is no single command")
    command.params.extend(everywhere())
    return command


def _group(module: ModuleType, commands: Mapping[str, Callable[..., None]]) -> TyperGroup:
    group = Group(
        name=module.__name__.rpartition(".")[2],
        commands={name: _command(name, function) for name, function in commands.items()},
        help=(module.__doc__ or "").partition("\n\n")[2],
        context_settings=_CONTEXT,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.params.extend(everywhere())
    return group


def _root() -> None:
    """Talk to JK, Daly and JBD battery management systems: read, watch, configure, simulate.

    A TARGET names a pack, e.g. jbd+serial:///dev/ttyUSB0, jk02+tcp://192.168.1.20:8899 or, without
    any hardware, sim://jbd. BMSLINK_TARGET stands in for a missing one.
    """


def _make() -> TyperGroup:
    app = typer.Typer(
        cls=LazyGroup, rich_markup_mode=None, no_args_is_help=True, context_settings=_CONTEXT
    )
    app.callback()(_root)
    group = get_command(app)
    if not isinstance(group, TyperGroup):
        raise TypeError("the command line is no group")
    group.params[:0] = everywhere()
    return group


def main(argv: Sequence[str]) -> int:
    """Run a command line; gives back the exit code and raises nothing."""
    session = Session()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal of another encoding must not end the program
            reconfigure(errors="backslashreplace")
    with session:
        code = _make().main(list(argv), prog_name="bmslink", standalone_mode=False, obj=session)
        session.code = code if isinstance(code, int) else 0
        session.finish()
    return session.code
