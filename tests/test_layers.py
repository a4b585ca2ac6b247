"""Imports point down, and each foreign library has one owner (docs/architecture.md)."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bmslink.errors import TargetError
from bmslink.link.transport import SCHEMES, Endpoint, Scheme, make_transport
from bmslink.protocols import DRIVERS, VENDORS, load_driver
from bmslink.protocols.base import Driver
from bmslink.protocols.daly.registers.driver import DalyRegisters
from bmslink.protocols.jk.jk02.stream import JKStream
from bmslink.protocols.jk.nw.driver import JKNW
from bmslink.protocols.parts import ClockSoc, SettingsAccess, Switches
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import RESPONDERS, make_responder
from support import ROOT

SOURCE = ROOT / "src" / "bmslink"

ORDER = (
    "errors",
    "arguments",
    "moments",
    "jsonable",
    "events",
    "model",
    "past",
    "link",
    "settings",
    "storage",
    "transports",
    "protocols",
    "named_banks",
    "config_place",
    "packs",
    "switched_off",
    "target",
    "places",
    "registry",
    "discovery",
    "connection",
    "embedding",
    "board",
    "survey",
    "polling",
    "decoding",
    "decoder",
    "app_values",
    "contribution",
    "simulation",
    "testing",
    "pytest_plugin",
    "config",
    "service_client",
    "service_values",
    "service_tables",
    "service_forms",
    "service_errors",
    "served_changes",
    "served_recording",
    "served_board",
    "device",
    "background",
    "blocking",
    "analysis",
    "control",
    "outputs",
    "runtime",
    "reports",
    "cli",
    "__init__",
    "__main__",
)
"""From the bottom to the top; each imports only from before itself."""
OWNERS: dict[str, tuple[str, ...]] = {
    "typer": ("cli",),
    "rich": ("cli",),
    "textual": ("cli.dashboard.app", "cli.dashboard.canvas", "cli.dashboard.driver"),
    "serial": ("transports.serial", "transports.rfc2217", "transports.ports"),
    "pymodbus": ("transports.modbus_tcp",),
    "bleak": ("transports.ble",),
    "bumble": ("simulation.ble", "transports.ble.bumble", "transports.ble.bumble_host"),
    "construct": ("protocols",),
    "duckdb": ("storage.readings.parquet",),
    "dbus_fast": ("transports.ble.pairing",),
    "msgspec": (
        "runtime.acting",
        *("analysis", "config", "control", "link", "model", "named_banks", "packs"),
        *(
            "outputs.alerts.options",
            "runtime.history.options",
            "runtime.service_file",
            "runtime.service_sections",
            "service_forms",
            "service_tables",
            "service_values",
            "storage.toml",
        ),
    ),
    "jinja2": ("reports.sheet.html_page",),
    "plotext": ("reports.pictures.terminal",),
    "prometheus_client": ("outputs.metrics",),
    "pytest": ("pytest_plugin",),
    "starlette": ("runtime.api",),
    "uvicorn": ("runtime.api.server",),
    "platformdirs": ("storage.state", "config_place", "registry", "storage.journal"),
    "tomlkit": ("packs", "control.upgrade"),
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All of a module; it is parsed once."""
    return [*ast.walk(ast.parse(path.read_text()))]


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__") or "__init__"


def imports(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, in functions and under TYPE_CHECKING too."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def imported(path: Path) -> Iterator[str]:
    """The same, with `from package import module` as the module."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                file = SOURCE.parent.joinpath(*inner.split("."))
                is_module = file.with_suffix(".py").exists() or file.is_dir()
                yield inner if is_module else node.module


def room(module: str) -> str:
    return module.split(".")[0]


def test_imports_point_down() -> None:
    assert {room(name_of(path)) for path in modules()} == set(ORDER)
    wrong = [
        f"{name_of(path)} imports {target}"
        for path in modules()
        for target in imports(path)
        if target.startswith("bmslink.")
        if (there := room(target.removeprefix("bmslink."))) != (here := room(name_of(path)))
        if ORDER.index(there) > ORDER.index(here)
    ]
    assert not wrong


def test_only_drivers_and_simulated_packs_know_a_vendor() -> None:
    """All that others need of a protocol is data on its driver, so a new one needs no more."""
    own = tuple(f"bmslink.protocols.{vendor}" for vendor in VENDORS)
    wrong = [
        f"{here} imports {target}"
        for path in modules()
        if not (here := name_of(path)).startswith(("protocols.", "simulation."))
        for target in imported(path)
        if target.startswith(own)
    ]
    assert not wrong


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Typing included: a circle means that two modules are one, or one too many."""
    names = {f"bmslink.{name_of(path)}": path for path in modules()}
    names["bmslink"] = names.pop("bmslink.__init__")
    graph = {name: {t for t in imported(path) if t in names} for name, path in names.items()}
    for name in graph:
        reached, ahead = set[str](), list(graph[name] - {name})
        while ahead:
            if (each := ahead.pop()) not in reached:
                reached.add(each)
                ahead += graph[each]
        assert name not in reached, f"{name} is part of a circle"


def test_foreign_libraries_have_one_owner() -> None:
    wrong = [
        f"{here} imports {target}"
        for path in modules()
        for target in imports(path)
        if (owners := OWNERS.get(room(target))) is not None
        if (here := name_of(path)) not in owners
        if not here.startswith(tuple(f"{owner}." for owner in owners))
    ]
    assert not wrong


def test_of_typer_only_the_public_names_are_used() -> None:
    """Its modules (core, main, its own click) change between releases; `typer.X` does not."""
    for path in modules():
        private = {m for m in imports(path) if m.startswith("typer.") or room(m) == "click"}
        assert not private, name_of(path)


def test_modules_and_folders_stay_small() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 400, f"{name_of(path)} asks to be two"
    packages = {path.parent for path in modules()} - {SOURCE}
    assert len([p for p in packages if p.parent == SOURCE]) <= 14
    for package in packages - {SOURCE / "cli", SOURCE / "cli" / "render"}:
        inside = [p for p in package.glob("*.py") if p.name != "__init__.py"]
        assert len(inside) <= 14, f"{name_of(package / '__init__.py')} asks to be two"


def test_no_class_name_is_defined_twice() -> None:
    """A class name says whose it is; only `blocking.Device` is public under the name of another."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name_of(path))
    assert homes.pop("Device") == ["blocking", "device"]
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_command_is_a_coroutine() -> None:
    """typer would exit 0 without running its body."""
    for path in (SOURCE / "cli").rglob("*.py"):
        for node in nodes(path):
            if isinstance(node, ast.AsyncFunctionDef):
                names = {ast.unparse(d) for d in node.decorator_list}
                assert not any("command" in n for n in names), f"{path.name}: {node.name}"


def test_a_wrong_entry_in_a_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lazy strings name is checked when it is loaded."""
    monkeypatch.setitem(DRIVERS, "wrong", "bmslink.model:Reading")
    monkeypatch.setattr(JKNW, "responder", "bmslink.model:Reading")
    with pytest.raises(TypeError, match="no driver"):
        load_driver("wrong")
    with pytest.raises(TypeError, match="no Responder"):
        make_responder("jk-nw", Pack(cells=8))
    monkeypatch.undo()
    monkeypatch.setitem(SCHEMES, "wrong", Scheme("bmslink.model:Command"))
    with pytest.raises(TypeError):
        make_transport(Endpoint("wrong"))
    for table, tool in (
        (DRIVERS, load_driver),
        (RESPONDERS, lambda n: make_responder(n, Pack(cells=8))),
    ):
        for name in table:
            assert tool(name)
    with pytest.raises(TargetError, match="known: jk02"):
        load_driver("pylontech")


def test_public_names_are_documented() -> None:
    import bmslink

    for name in bmslink.__all__:
        assert inspect.getdoc(getattr(bmslink, name)), name


READING_BASES = {JKStream, DalyRegisters}
"""What several drivers inherit: how their boards are asked."""


def test_what_a_driver_can_change_it_has_and_does_not_inherit() -> None:
    parts = (SettingsAccess, Switches, ClockSoc)
    theirs = {name for part in parts for name, what in vars(part).items() if callable(what)} - vars(
        Driver
    ).keys()
    assert {"find_map", "fetch", "write_command", "command", "off_command", "clock"} <= theirs
    for name in DRIVERS:
        driver = load_driver(name)
        bases = [each for each in driver.__mro__ if each.__module__.startswith("bmslink.protocols")]
        assert bases[-1] is Driver, name
        assert set(bases[1:-1]) <= READING_BASES, name
        for each in bases:
            assert not theirs & vars(each).keys(), f"{each.__name__} is a part of itself"
    for path in (SOURCE / "protocols").rglob("*.py"):
        for node in nodes(path):
            assert not (isinstance(node, ast.ClassDef) and "Writing" in node.name), name_of(path)


def test_parts_send_nothing_and_only_the_driver_performs() -> None:
    """What changes something goes through `Driver.perform`, which a dry run keeps."""
    sending = {"collect", "exchange", "request", "send"}
    for path in (SOURCE / "protocols").rglob("*.py"):
        here = name_of(path)
        calls = {
            node.func.attr
            for node in nodes(path)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert "exchange" not in calls or here == "protocols.base", here
        if here.endswith((".writing", ".parts", ".switches")):
            assert not calls & sending, here


def test_a_driver_says_whose_it_is() -> None:
    """The folder says it too, so that the vendors are known before a driver is loaded."""
    for name, path in DRIVERS.items():
        assert load_driver(name).name == name
        assert load_driver(name).vendor == path.split(".")[2]
    assert set(VENDORS) == {load_driver(name).vendor for name in DRIVERS}
    assert set(RESPONDERS) == set(DRIVERS)
