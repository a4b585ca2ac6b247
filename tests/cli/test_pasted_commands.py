"""What messages say to type works as it is pasted: it begins with `bmslink`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bmslink
from bmslink.cli.app import COMMANDS

_SOURCES = Path(bmslink.__file__).parent
_NAMES = ("`control run`", "`log`", "`capture`", "`scan`")
"""Things that are called so, and that nobody is asked to type."""
_PERSONS = ("reset", "resume", "override", "approve", "emergency-stop")
"""What a person says to what acts: it needs the pack."""


def _messages() -> Iterator[tuple[str, str]]:
    for path in sorted(_SOURCES.rglob("*.py")):
        tree = ast.parse(path.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", "") for part in node.values)
                yield path.name, "".join(p if isinstance(p, str) else "PART" for p in parts)
            elif isinstance(node, ast.Constant) and id(node) not in alone:  # no docstring
                yield path.name, str(node.value)


def test_a_command_that_is_named_begins_with_bmslink() -> None:
    words = "|".join(re.escape(word) for word in COMMANDS)
    bare = re.compile(rf"`(?:{words})(?: [^`]*)?`")
    found = [
        (where, each)
        for where, text in _messages()
        for each in bare.findall(text)
        if each not in _NAMES
    ]
    assert not found


def test_what_people_say_to_what_acts_names_the_pack() -> None:
    bare = re.compile(rf"`bmslink control (?:{'|'.join(_PERSONS)})`")
    assert not [(where, text) for where, text in _messages() if bare.search(text)]
