"""Writes table.py and setting_keys.py of cli/completion from the real commands (a test compares).

What a parameter takes is told by its name and its metavar; `_OF` has the exceptions. Run it after
a command or an option was added, renamed or removed.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from bmslink.cli import app
from bmslink.config.checks.check import WAIVERS
from bmslink.config.files.presets import PRESETS
from bmslink.control.presets import USES
from bmslink.events import KINDS, STATES
from bmslink.protocols import DRIVERS, VENDORS, load_driver
from bmslink.reports.doctor.explain import names
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.setting import ASKING
from bmslink.simulation.wire import FAULTS

FOLDER = Path(__file__).parents[1] / "src" / "bmslink" / "cli" / "completion"
TABLE, SETTING_KEYS = FOLDER / "table.py", FOLDER / "setting_keys.py"

_WORDS = {
    "settings get": "target key*",
    "settings set": "target assignment*",
    "switch": "target switch on_off",
    "config diff": "file|target*",
}
"""Commands that sort their words themselves."""
_OF = {
    ("config presets", "name"): "preset",
    ("control presets", "name"): "policy_preset",
    ("control approve", "policies"): "file",
    ("control offload", "policies"): "file",
    ("control drill", "policies"): "file",
    ("control drill", "only"): "switch*",
    ("control resume", "switch"): "switch",
    ("simulate", "protocol"): "protocol",
    ("packs remove", "name"): "pack",
    ("events", "what"): "kind",
    ("history", "field"): "field*",
    ("history", "pack"): "pack|bank",
    ("control status", "orphans"): "target",
    ("scan", "port"): "port*",
    ("doctor", "explain"): "check",
}
_BY_NAME = {
    "protocol": "protocol|vendor",
    "chemistry": "chemistry",
    "waive": "waiver*",
    "fault": "fault*",
    "use": "use",
    "compare": "file*",
    "credential": "file*",
}
_BY_METAVAR = {
    "TARGET": "target",
    "PACK": "pack",
    "LOG_OR_TARGET": "file|target",
    "TARGET|BANK|FILE": "target|bank|file",
    **dict.fromkeys(("FILE", "LINK", "PATH", "LOG", "FILE|FOLDER", "FOLDER", "SOURCE"), "file"),
}
_CONNECTION = "--protocol=protocol|vendor --address= --baudrate= --timeout= --pin-file=file"
"""Options of every command that talks to a pack; `@` stands for them."""
_BY_TYPER = ("--help", "-h", "--install-completion", "--show-completion")
_FIELDS = "main cells temperatures limits switches conditions energy"


def commands(root: Any) -> Iterator[tuple[str, Any, str]]:
    """Each command by its words, with what typer made of it and its line of help."""
    for name, line in app.COMMANDS.items():
        command = root.commands[name]
        for word, each in getattr(command, "commands", {}).items():
            yield f"{name} {word}", each, each.get_short_help_str(60)
        if not hasattr(command, "commands"):
            yield name, command, line


def kind_of(command: str, parameter: Any) -> str:
    """What a parameter takes; empty where nothing can be offered."""
    found = _OF.get((command, parameter.name)) or _BY_NAME.get(parameter.name)
    if found is None:
        metavar = (parameter.metavar or "").strip("[].").replace("]", "")
        found = _BY_METAVAR.get(metavar, "")
        if not found and "|" in metavar and metavar.islower():
            found = _literal(metavar)
    many = "*" if parameter.nargs == -1 or getattr(parameter, "multiple", False) else ""
    return found if found.endswith("*") else found + many


_LITERALS: dict[str, str] = {}


def _literal(metavar: str) -> str:
    """A list of words in a metavar (`info|warning`), under a name of its own."""
    name = metavar.replace("|", "_")
    _LITERALS[name] = metavar.replace("|", " ")
    return name


def _options(command: str, parameters: Iterable[Any]) -> list[str]:
    tokens = []
    for each in parameters:
        if each.param_type_name != "option":
            continue
        flag = each.is_flag or each.count
        value = "" if flag else f"={kind_of(command, each)}"
        tokens += [f"{name}{value}" for name in each.opts]
    return [token for token in tokens if not token.startswith(_BY_TYPER)]


def _row(command: str, found: Any, common: Iterable[str]) -> str:
    arguments = [kind_of(command, p) for p in found.params if p.param_type_name == "argument"]
    words = _WORDS.get(command) or " ".join(kind or "nothing" for kind in arguments)
    options = [o for o in _options(command, found.params) if o not in common]
    return f"{words} {' '.join(options)}".strip().replace(_CONNECTION, "@")


def keys_of(protocol: str) -> list[str]:
    """All settings of a protocol."""
    maps = load_driver(protocol).every_map()
    return sorted({setting.key for each in maps for setting in each.settings})


def tables() -> dict[str, Any]:
    """What the module holds."""
    root: Any = typer.main.get_command(app.whole())
    common = [*_options("", root.params), *_BY_TYPER[:2]]
    rows = {name: (_row(name, found, common), line) for name, found, line in commands(root)}
    values = {
        "protocol": " ".join(DRIVERS),
        "vendor": " ".join(VENDORS),
        "chemistry": " ".join(CHEMISTRIES),
        "switch": "charge discharge balance",
        "on_off": "on off",
        "waiver": " ".join(sorted({*WAIVERS, *ASKING})),
        "fault": " ".join(FAULTS),
        "check": " ".join(names()),
        "preset": " ".join(PRESETS),
        "use": " ".join(USES),
        "policy_preset": " ".join(f"{kind}-{use}" for use in USES for kind in USES[use].cells),
        "kind": " ".join(("state", *KINDS, *(s for s in STATES if s not in KINDS))),
        "field": _FIELDS,
        **_LITERALS,
    }
    return {
        "COMMON": " ".join(common),
        "CONNECTION": _CONNECTION,
        "COMMANDS": {name: row for name, (row, _) in rows.items()},
        "ABOUT": {**app.COMMANDS, **{n: line for n, (_, line) in rows.items() if " " in n}},
        "VALUES": values,
        "KEYS": {name: " ".join(keys_of(name)) for name in DRIVERS},
    }


def module(about: str, found: dict[str, Any]) -> str:
    """The text of a module that holds these."""
    names = ", ".join(f'"{name}"' for name in sorted(found))
    parts = [
        f'"""{about} Made by `tools/completion_table.py`: do not edit."""',
        "from __future__ import annotations",
        f"__all__ = [{names}]",
        *(
            _mapping(name, value) if isinstance(value, dict) else f"{name} = {_wrapped(value)}"
            for name, value in found.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


_WIDTH = 88
"""Signs that a key and its value may have on one line."""


def _mapping(name: str, values: dict[str, str]) -> str:
    lines = [f"    {key!r}: {_wrapped(value, len(key))}," for key, value in values.items()]
    return "\n".join([f"{name} = {{", *lines, "}"])


def _wrapped(text: str, before: int = 0) -> str:
    """A string as literals that fit into lines."""
    pieces = textwrap.wrap(text, 80, break_long_words=False, break_on_hyphens=False) or [""]
    spaced = [f"{piece} " for piece in pieces[:-1]] + pieces[-1:]
    body = "\n".join(f"        {piece!r}" for piece in spaced)
    fits = len(spaced) == 1 and before + len(text) <= _WIDTH
    return repr(text) if fits else f"(\n{body}\n    )"


def kinds(row: str) -> set[str]:
    """The kinds in a row."""
    tokens = row.replace("@", _CONNECTION).split()
    told = [t.partition("=")[2] if t.startswith("-") else t for t in tokens]
    return {kind for each in told for kind in each.removesuffix("*").split("|")}


def main() -> None:
    """Write it."""
    found = tables()
    keys = {"KEYS": found.pop("KEYS")}
    TABLE.write_text(module("What can be completed.", found), encoding="utf-8")
    SETTING_KEYS.write_text(module("Keys of settings by protocol.", keys), encoding="utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "--quiet", TABLE, SETTING_KEYS], check=True)


if __name__ == "__main__":
    main()
