"""The doctor at simulated packs: what is well stays without alarm, and each fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import bmslink
from bmslink.errors import TargetError
from bmslink.protocols import DRIVERS
from bmslink.reports.doctor import Examination, examine

LIFE = ("load=0.0", "load=30", "load=-40", "load=20&soc=99.5", "load=0.0&soc=100")


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_RUNTIME", str(tmp_path / "run"))


async def look(target: str, *, quick: bool = False) -> Examination:
    return await examine(target, host=False, quick=quick)


@pytest.mark.parametrize("name", DRIVERS)
async def test_an_ordinary_life_is_no_trouble(name: str) -> None:
    for query in LIFE:
        examination = await look(f"sim://{name}?{query}", quick=query != LIFE[0])
        assert not examination.trouble, (query, examination.findings)
        assert {"answer", "cell-delta"} <= {row.name for row in examination.right}


FAULTS = {
    "silent": "answer",
    "noise:5": "frames",
    "echo": "echo",
    "corrupt": "frames",
    "glue": "frames",
    "foreign": "strangers",
    "duplicate": "strangers",
    "probe:cell_1": "probes",
    "app:charge:off": "switches",
}
ASKED = {"cut": "frames", "late:0.35": "link-quality", "sleepy": "link-quality"}
CASES = [
    *[("jbd", fault, name) for fault, name in (FAULTS | ASKED).items()],
    *[("jk02", fault, name) for fault, name in FAULTS.items()],
    *[("jk-modbus", fault, FAULTS[fault]) for fault in ("echo", "foreign", "duplicate", "glue")],
    *[("daly-a5", fault, FAULTS[fault]) for fault in ("noise:5", "echo", "foreign", "duplicate")],
    ("jk-modbus", "second_master", "second-master"),
    ("daly-a5", "second_master", "second-master"),
    ("daly-a5", "condition:cell_overvoltage", "conditions"),
    ("jk02", "condition:wire_resistance:alarm", "conditions"),
]


@pytest.mark.parametrize(("protocol", "fault", "name"), CASES)
async def test_a_fault_is_called_by_its_cause(protocol: str, fault: str, name: str) -> None:
    examination = await look(f"sim://{protocol}?load=0.0&fault={fault}")
    assert name in {each.name for each in examination.findings}
    others = {each.name for each in examination.findings} - {name, "conditions", "link-quality"}
    assert others <= {"frames"} if fault == "probe:cell_1" else not others


async def test_an_open_device_stays_open() -> None:
    async with bmslink.connect("sim://jbd?load=0.0&cells=4") as device:
        examination = await examine(device, host=False)
        assert (await device.read()).voltage
    assert not examination.trouble
    assert "echo" not in {row.name for row in examination.right}  # nobody recorded the line


async def test_a_target_that_cannot_be_is_wrong_usage() -> None:
    with pytest.raises(TargetError):
        await look("sim://jbd?fault=nonsense")


async def test_the_doctor_only_reads() -> None:
    examination = await look("sim://jk-modbus?load=0.0&cells=8")
    sent = [line for line in examination.packs[0].capture.splitlines() if b'"tx"' in line]
    assert sent
    for line in sent:
        asked = bytes.fromhex(line.partition(b'"hex":"')[2].partition(b'"')[0].decode())
        assert asked[1] == 0x03 or asked[2:4] in (b"\x16\x1e", b"\x16\x20", b"\x16\x1c"), asked
