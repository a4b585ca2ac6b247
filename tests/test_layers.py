"""Imports point down, and each foreign library has one owner (docs/architecture.md)."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmslink.errors import TargetError
from bmslink.protocols import DRIVERS, load_driver
from bmslink.simulation.pack import Pack
from bmslink.simulation.responder import RESPONDERS, make_responder
from bmslink.transport import SCHEMES, Endpoint, Scheme, make_transport

SOURCE = Path(__file__).parent.parent / "src" / "bmslink"

FLOORS: dict[str, int] = {
    "errors": 0,
    "arguments": 1,
    "model": 1,
    "chain": 1,
    "chemistry": 1,
    "setting": 1,
    "bands": 1,
    "rules": 1,
    "limit_rules": 2,
    "lint": 2,
    "plausibility": 2,
    "journal": 2,
    "gatt": 1,
    "tomlfile": 1,
    "wholefile": 1,
    "transport": 1,
    "framing": 1,
    "link": 2,
    "capture": 2,
    "sharing": 2,
    "transports": 2,
    "protocols": 3,
    "packs": 3,
    "resolving": 4,
    "board": 4,
    "device": 4,
    "decoding": 4,
    "probing": 4,
    "survey": 4,
    "radio": 4,
    "wired": 4,
    "discovery": 4,
    "simulation": 4,
    "blocking": 5,
    "config": 5,
    "control": 6,
    "runtime": 7,
    "cli": 8,
    "__init__": 9,
    "__main__": 9,
}
OWNERS: dict[str, tuple[str, ...]] = {
    "typer": ("cli",),
    "rich": ("cli",),
    "serial": ("transports.serial", "transports.rfc2217", "transports.ports"),
    "pymodbus": ("transports.modbus_tcp",),
    "bleak": (
        "transports.ble",
        "transports.ble_backend",
        "transports.ble_bumble",
        "transports.ble_bumble_host",
        "transports.ble_errors",
        "transports.ble_scan",
    ),
    "bumble": (
        "simulation.gatt",
        "simulation.gatt_air",
        "transports.ble_bumble",
        "transports.ble_bumble_host",
    ),
    "construct": ("protocols",),
    "dbus_fast": ("transports.ble_pairing",),
    "msgspec": ("capture", "config", "control", "framing", "packs", "tomlfile"),
    "platformdirs": ("control.status", "journal", "packs"),
    "tomlkit": ("packs",),
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__") or "__init__"


def imports(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    here = name_of(path)
    assert room(here) in FLOORS, f"{here} is in no room of docs/architecture.md"
    for target in imports(path):
        if target == "bmslink":
            continue
        if not target.startswith("bmslink."):
            continue
        there = room(target.removeprefix("bmslink."))
        if there == room(here):
            continue
        assert FLOORS[there] <= FLOORS[room(here)], f"{here} imports {target} above it"
        if FLOORS[there] == FLOORS[room(here)]:
            packages = {p.name for p in SOURCE.iterdir() if p.is_dir()}
            assert not {there, room(here)} <= packages, f"{here} imports {target} on its floor"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_foreign_libraries_have_one_owner(path: Path) -> None:
    here = name_of(path)
    for target in imports(path):
        library = room(target)
        if library in OWNERS:
            assert any(here == o or here.startswith(f"{o}.") for o in OWNERS[library]), (
                f"{here} imports {target}; only {OWNERS[library]} may"
            )


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_of_typer_only_the_public_names_are_used(path: Path) -> None:
    """Its modules (core, main, its own click) change between releases; `typer.X` does not."""
    assert not {m for m in imports(path) if m.startswith("typer.") or room(m) == "click"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 420, "this module asks to be two"


def test_no_command_is_a_coroutine() -> None:
    """typer would exit 0 without running its body."""
    for path in (SOURCE / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef):
                names = {ast.unparse(d) for d in node.decorator_list}
                assert not any("command" in n for n in names), f"{path.name}: {node.name}"


def test_a_wrong_entry_in_a_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lazy strings name is checked when it is loaded."""
    monkeypatch.setitem(DRIVERS, "wrong", "bmslink.model:Reading")
    monkeypatch.setitem(RESPONDERS, "wrong", "bmslink.model:Reading")
    monkeypatch.setitem(SCHEMES, "wrong", Scheme("bmslink.model:Command"))
    with pytest.raises(TypeError, match="no driver"):
        load_driver("wrong")
    with pytest.raises(TypeError, match="no Responder"):
        make_responder("wrong", Pack(cells=8))
    with pytest.raises(TypeError):
        make_transport(Endpoint("wrong"))
    for table, tool in (
        (DRIVERS, load_driver),
        (RESPONDERS, lambda n: make_responder(n, Pack(cells=8))),
    ):
        for name in table:
            if name != "wrong":
                assert tool(name)
    with pytest.raises(TargetError, match="known: jk02"):
        load_driver("pylontech")


def test_public_names_are_documented() -> None:
    import bmslink

    for name in bmslink.__all__:
        assert inspect.getdoc(getattr(bmslink, name)), name
