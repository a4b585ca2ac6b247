"""What programs may rely on: it is shown, described, typed, and loaded only when it is used."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bmslink

MODULES = [
    "bmslink",
    *(f"bmslink.{name}" for name in ("blocking", "config", "control", "errors", "testing")),
]


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def public() -> Iterator[tuple[str, Any]]:
    """Every public name once."""
    seen: set[int] = set()
    for name in MODULES:
        for each in module(name).__all__:
            found = getattr(module(name), each)
            if not inspect.ismodule(found) and id(found) not in seen:
                seen.add(id(found))
                yield f"{name}.{each}", found


NAMES = dict(public())
CLASSES = {name: found for name, found in NAMES.items() if inspect.isclass(found)}


@cache
def classes_in(path: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(path).read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def fields(kind: type) -> Iterator[tuple[str, bool]]:
    """The public attributes that a class declares, and whether a text follows or the line says
    it (members of an enumeration do)."""
    body = classes_in(inspect.getfile(kind))[kind.__name__].body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not node.target.id.startswith("_"):
                yield node.target.id, described


@pytest.mark.parametrize("name", MODULES)
def test_dir_shows_what_there_is(name: str) -> None:
    found = module(name)
    assert set(found.__all__) <= set(dir(found))
    assert all(hasattr(found, each) for each in found.__all__)
    assert found.__doc__
    wrong = "nothing_such"
    with pytest.raises(AttributeError, match=f"'{name}' has no attribute '{wrong}'"):
        getattr(found, wrong)


def test_help_shows_what_there_is() -> None:
    code = "import bmslink, pydoc; print(pydoc.plain(pydoc.render_doc(bmslink)))"
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for name in bmslink.__all__:
        assert re.search(rf"\b{name}\b", shown), name
    assert 'device.plan({"cell_ovp": 3.6})' in shown


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = "import sys, bmslink; print(*(n for n in sys.modules if n.startswith('bmslink.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", [n for n, found in NAMES.items() if callable(found)])
def test_every_name_has_a_text(name: str) -> None:
    found = NAMES[name]
    text = inspect.getdoc(found) or ""
    assert text and not text.startswith(f"{found.__name__}("), "made by a decorator"
    if inspect.isclass(found):
        for each, member in vars(found).items():
            called = inspect.isfunction(member) or isinstance(member, property | classmethod)
            if called and not each.startswith("_"):
                assert inspect.getdoc(member), each


@pytest.mark.parametrize("name", CLASSES)
def test_every_attribute_has_a_text(name: str) -> None:
    assert [each for each, described in fields(CLASSES[name]) if not described] == []


@pytest.mark.parametrize("name", [n for n, found in NAMES.items() if callable(found)])
def test_no_signature_names_a_private_type(name: str) -> None:
    found = NAMES[name]
    functions = [found]
    if inspect.isclass(found):
        members = (m for n, m in vars(found).items() if not n.startswith("_"))
        functions = [m.fget if isinstance(m, property) else m for m in members]
    for function in functions:
        if inspect.isfunction(function):
            notes = inspect.get_annotations(inspect.unwrap(function))
            for parameter, note in notes.items():
                assert not re.search(r"(?<![\w.])_\w", str(note)), parameter
