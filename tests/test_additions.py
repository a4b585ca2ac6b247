"""What CONTRIBUTING says of additions, done to the letter on copies of the tree.

Each test edits exactly the places that the table names: `Copy` refuses any other. What is added
has to work from end to end, in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from additions import (
    BOARD,
    COMMAND,
    FIND,
    PROTOCOL,
    RENDER,
    SET_THEM,
    SETTINGS,
    SWITCH,
    VENDOR,
)
from support import ROOT

pytestmark = pytest.mark.slow

CODE, TESTS_DIR = "src/bmslink/", "tests/"
_ROW = re.compile(r"\| (?P<what>[^|]+) \| (?P<new>[^|]+) \| (?P<edit>[^|]+) \| (?P<tests>[^|]+) \|")


def table() -> dict[str, re.Match[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Where a newcomer adds things")
    section = section.partition("\n## ")[0]
    rows = [row for line in section.splitlines() if (row := _ROW.fullmatch(line))]
    return {row["what"].strip(): row for row in rows if row["what"] != "to add"}


def paths(cell: str) -> list[str]:
    """The paths that a cell names, from the root of the repository, with `<x>` for any name."""
    found = re.findall(r"`([^`]+)`", cell)
    names = [each for each in found if ("/" in each or each.endswith(".py")) and "://" not in each]
    outside = ("tests/", "tools/", "docs/")
    return [each if each.startswith(outside) else CODE + each for each in names]


def pattern(path: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in re.split(r"<\w+>", path)]
    whole = "[A-Za-z0-9_-]+".join(parts)
    return re.compile(whole + (".+" if path.endswith("/") else ""))


class Copy:
    """The package in a folder of its own, to be changed as rows of the table allow."""

    def __init__(self, folder: Path, *rows: str) -> None:
        self.folder = folder
        shutil.copytree(
            ROOT / CODE, folder / CODE, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
        cells = [table()[row] for row in rows]
        self.may_add = [pattern(path) for row in cells for path in paths(row["new"])]
        self.may_edit = [pattern(path) for row in cells for path in paths(row["edit"])]

    def add(self, path: str, text: str) -> Path:
        file = self.folder / path
        assert any(each.fullmatch(path) for each in self.may_add), f"{path}: not in the table"
        assert not file.exists(), f"{path} is not new"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def add_line(self, path: str, after: str, line: str) -> None:
        """One line more, behind the only one that ends like that."""
        assert any(each.fullmatch(path) for each in self.may_edit), f"{path}: not in the table"
        file = self.folder / path
        lines = file.read_text(encoding="utf-8").split("\n")
        (place,) = [number for number, each in enumerate(lines) if each.endswith(after)]
        lines.insert(place + 1, line)
        file.write_text("\n".join(lines), encoding="utf-8")

    def python(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The tree's own Python, which must end with that code."""
        home = self.folder / "home"
        places = {name: str(home) for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")}
        done = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | places | {"PYTHONPATH": f"{self.folder / 'src'}:{ROOT / 'tools'}"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def bmslink(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "bmslink", *arguments, code=code)


# ------------------------------------------------------------------------------------ the table


def test_the_paths_of_the_table_exist() -> None:
    rows = table()
    assert len(rows) >= 10
    for what, row in rows.items():
        named = [path for cell in ("new", "edit", "tests") for path in paths(row[cell])]
        assert named, what
        for path in named:
            glob = re.sub(r"<\w+>", "*", path.rstrip("/"))
            assert list(ROOT.glob(glob)), f"{what}: there is no {path}"


def test_the_names_of_the_table_are_in_their_files() -> None:
    for what, row in table().items():
        named = re.findall(r"`(\w+)` in `([^`]+)`", row[0])
        for name, path in named:
            (file,) = [ROOT / each for each in paths(f"`{path}`")]
            assert re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")), f"{what}: {name}"


# -------------------------------------------------------------- a badge of JBD, with a field more

_BADGE = """\
{"format":"bmslink-capture","version":1,"id":"jbd-acme","protocol":"jbd"}
{"dir":"rx","hex":"%s"}
"""
_BASIC = bytes.fromhex("05380283175c27de00092b94000000000000203b0304030b7f0b6c0b69")
_TAIL = bytes.fromhex("00 0000 27de 175c 0000 002a")


def test_a_badge_of_jbd_with_one_more_raw_field(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "another badge of a known protocol", "a field")
    copy.add_line(f"{CODE}protocols/jbd/radio.py", 'r"xiaoxiang BMS",', '    r"ACME-.*",')
    copy.add_line(
        f"{CODE}protocols/jbd/layouts.py",
        "9: _SHORT_TAIL,",
        '    11: (*_SHORT_TAIL, "acme_washers" / Int16ub),',
    )
    data = _BASIC + _TAIL
    body = bytes([0x00, len(data)]) + data
    frame = b"\xdd\x03" + body + (-sum(body) & 0xFFFF).to_bytes(2, "big") + b"\x77"
    capture = copy.add(f"{TESTS_DIR}fixtures/jbd/jbd-acme.jsonl", _BADGE % frame.hex())
    (line,) = copy.bmslink("--json", "decode", str(capture)).stdout.splitlines()
    reading = json.loads(line)
    assert reading["raw"]["acme_washers"] == 42
    assert reading["voltage"] == 13.36
    seen = "SeenDevice(address='A4:11:22:33:44:55', name='ACME-1', services={uuid16(0xFF00)})"
    names = "from bmslink.link.gatt import SeenDevice, uuid16"
    ask = f"{names}\nfrom bmslink.discovery.ble import advertised\nprint(advertised({seen}))"
    assert copy.python("-c", ask).stdout == "('jbd', False)\n"


# ------------------------------------------------------------------- a setting of each dialect


def test_a_setting_of_each_dialect(tmp_path: Path) -> None:
    """One row: it is read, planned, written and read back, and a value outside is refused."""
    copy = Copy(tmp_path, "a setting")
    for new in SETTINGS:
        copy.add_line(f"{CODE}protocols/{new.table}", new.after, f"    {new.row}")
    wishes = [(t, new.key, new.value, new.outside) for new in SETTINGS for t in new.targets]
    done = copy.python("-c", SET_THEM, json.dumps(wishes))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 10
    for (target, key, value, _), (at, title, unit, held, refused, now) in zip(
        wishes, found, strict=True
    ):
        assert at == target
        assert (title == "Acme") is key.endswith("acme")
        assert unit in ("V", "s", "")
        assert held is not None
        assert ("map" if value is None else "limits") in refused
        assert now == value


# ------------------------------------------------------------------------------------- a policy


def test_a_policy_with_a_threshold_of_its_own(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "a policy")
    copy.add_line(
        f"{CODE}control/decide/thresholds.py",
        '"ov_warning":              ("V",  3.66,  4.22,  2.72,  3.83),',
        '    "lazy_limit":              ("V",  3.20,  4.00,  2.50,  3.50),',
    )
    copy.add_line(
        f"{CODE}control/decide/catalogue.py",
        'slow: Fields = {"on_delay": 10.0}',
        '    yield from record("lazy_cells", "max_cell", _CHARGE, trip("the cells are not empty",\n'
        '                      name="lazy_cells", trip="lazy_limit", release=3.1))',
    )
    policies, log = str(tmp_path / "p.toml"), tmp_path / "log.jsonl"
    copy.bmslink("control", "presets", "--cells", "4", "-o", policies)
    text = Path(policies).read_text(encoding="utf-8")
    assert 'lazy_limit = "3.20 V"' in text
    assert "lazy_cells" in text
    reading = json.loads(copy.bmslink("--json", "read", "sim://jbd?cells=4").stdout)
    times = [f"2026-01-01T00:00:{second:02}+00:00" for second in range(10)]
    log.write_text("".join(json.dumps(reading | {"time": time}) + "\n" for time in times))
    done = copy.bmslink("--json", "control", "backtest", str(log), "--policies", policies)
    assert '"lazy_cells"' in done.stdout


# ------------------------------------------------------------------------------------ a command


def test_a_command(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "a command")
    copy.add(f"{CODE}cli/hottest.py", COMMAND)
    copy.add(f"{CODE}cli/render/hottest.py", RENDER)
    copy.add_line(
        f"{CODE}cli/app.py",
        '"switch": "Switch charging, discharging or balancing on or off.",',
        '    "hottest": "The warmest probe of a pack.",',
    )
    assert "hottest" in copy.bmslink("--help").stdout
    assert "--pin-file" in copy.bmslink("hottest", "--help").stdout
    assert re.fullmatch(r"\w+: [0-9.]+ C\n", copy.bmslink("hottest", "sim://jbd").stdout)
    done = copy.bmslink("hottest", "--json", "jbd+sim://")
    assert json.loads(done.stdout)["hottest"]
    assert "Did you mean hottest" in copy.bmslink("hotest", "sim://jbd", code=2).stderr


# ------------------------------------------------------------------------------ a fourth vendor


def test_the_protocol_of_a_fourth_vendor(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "a protocol", "what a protocol can change")
    copy.add(f"{CODE}protocols/acme/__init__.py", VENDOR)
    for name, text in PROTOCOL.items():
        copy.add(f"{CODE}protocols/acme/{name}.py", text)
    copy.add(f"{CODE}simulation/boards/toy.py", BOARD)
    copy.add_line(
        f"{CODE}protocols/__init__.py",
        '"jbd-up": "bmslink.protocols.jbd.up.driver:JBDUP",',
        '    "toy": "bmslink.protocols.acme.driver:Toy",',
    )
    reading = json.loads(copy.bmslink("--json", "read", "toy+sim://?cells=4").stdout)
    assert (reading["protocol"], len(reading["cell_voltages"])) == ("toy", 4)
    assert reading["voltage"] == pytest.approx(sum(reading["cell_voltages"]), abs=0.05)
    assert reading["target"] == "toy+sim://?cells=4"

    found = copy.python("-c", FIND).stdout.splitlines()
    assert found[:2] == ["toy+serial:///dev/ttyUSB9"] * 2
    assert found[2:] == ["toy True", "toy-{}", "toy"]

    wish = ("toy+sim://", "cell_ovp=3.6", "--yes", "--untested")
    refused = copy.bmslink("settings", "set", *wish, code=3)
    assert "nothing proves how its settings are written" in refused.stderr
    refused = copy.bmslink("switch", "toy+sim://", "balance", "off", "--yes", code=3)
    assert "balance cannot be switched, there is no balancer" in refused.stderr
    assert copy.python("-c", SWITCH).stdout.splitlines() == ["done False", "done True"]
    capable = json.loads(copy.bmslink("--json", "info", "toy+sim://").stdout)["capabilities"]
    able = {name for name, each in capable.items() if each["supported"]}
    assert able == {"read", "switch_charge", "switch_discharge"}
