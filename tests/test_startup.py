"""A command with a named protocol loads that protocol, and neither the search nor the others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bmslink.protocols import DRIVERS
from support import ROOT

BUILT_ON: dict[str, frozenset[str]] = {
    "jk-modbus": frozenset({"jk02"}),
    "jk-bus": frozenset({"jk02", "jk-modbus"}),
    "jk04": frozenset({"jk02"}),
    "daly-d2": frozenset({"daly-a5"}),
    "daly-p81": frozenset({"daly-a5"}),
}
"""Whose layouts or registers a dialect shares."""
_BLOCKING = """
import sys
import bmslink.blocking
with bmslink.blocking.connect("jbd+sim://") as device:
    device.read()
print(*(name for name in sys.modules if name.startswith("bmslink.")))
"""
_LOADED = """
import io, runpy, sys
sys.argv = ["bmslink", *sys.argv[1:]]
out, sys.stdout = sys.stdout, io.StringIO()
try:
    runpy.run_module("bmslink", run_name="__main__")
except SystemExit as exit:
    assert not exit.code, exit.code
print(*(name for name in sys.modules if name.startswith("bmslink.")), file=out)
"""


def home_of(protocol: str) -> str:
    """The module or package that belongs to one protocol alone."""
    module = DRIVERS[protocol].partition(":")[0]
    package = module.removesuffix(".driver")
    return module if package in {"bmslink.protocols.jbd"} else package


def loaded_by(*arguments: str, program: str = _LOADED) -> set[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("protocol", DRIVERS)
def test_a_named_protocol_loads_neither_the_search_nor_other_protocols(protocol: str) -> None:
    loaded = loaded_by("read", f"sim://{protocol}?cells=4")
    assert DRIVERS[protocol].partition(":")[0] in loaded
    assert not {name for name in loaded if name.startswith("bmslink.discovery")}
    others = DRIVERS.keys() - {protocol} - BUILT_ON.get(protocol, frozenset())
    homes = tuple(home_of(other) for other in others)
    assert not {n for n in loaded if any(n == home or n.startswith(f"{home}.") for home in homes)}
    vendor = DRIVERS[protocol].split(".")[2]
    vendors = {name.split(".")[2] for name in loaded if name.startswith("bmslink.protocols.")}
    assert vendors & {path.split(".")[2] for path in DRIVERS.values()} == {vendor}


def test_the_other_commands_do_the_same() -> None:
    for command in (("info",), ("settings", "show")):
        loaded = loaded_by(*command, "jbd+sim://")
        assert not {name for name in loaded if name.startswith("bmslink.discovery")}
        assert "bmslink.protocols.jk" not in loaded


def test_a_plain_script_does_the_same() -> None:
    loaded = loaded_by(program=_BLOCKING)
    assert "bmslink.protocols.jbd.driver" in loaded
    assert not {name for name in loaded if name.startswith("bmslink.discovery")}
    assert "bmslink.protocols.jk" not in loaded


def test_a_plain_script_finds_the_search_when_it_asks_for_it() -> None:
    program = """
import sys
from bmslink.blocking import *
names = set(sys.modules)
assert scan(ports=["/dev/no-such-port"])[0].protocol is None
print(*(name for name in sys.modules if name.startswith("bmslink.") and name not in names))
"""
    assert "bmslink.discovery.scan" in loaded_by(program=program)
