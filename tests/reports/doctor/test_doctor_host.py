"""What the doctor gathers of this computer: the disk, ports, and what was left unfinished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmslink.reports.doctor import Examination, examine_host, ports
from bmslink.reports.doctor.ports import look_at_port
from bmslink.storage.journal import Journal
from bmslink.transports import port_owner

NOBODY = 4_000_001
"""No process has so high a number."""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("JOURNAL", "STATE", "RUNTIME"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    return tmp_path


def named(examination: Examination, name: str) -> list[str]:
    return [each.command or each.what for each in examination.findings if each.name == name]


async def test_an_empty_computer_has_no_trouble() -> None:
    assert not [f for f in (await examine_host()).findings if f.name not in ("ports", "bluetooth")]


async def test_a_change_that_was_cut_off() -> None:
    change = [{"slot": 36, "old": "00", "new": "01", "settings": []}]
    Journal().begin("jbd+serial:///dev/ttyUSB0?a=1&b", {"vendor": "JBD"}, change)
    (command,) = named(await examine_host(), "unfinished")
    assert command == "bmslink config resume 'jbd+serial:///dev/ttyUSB0?a=1&b'"


async def test_a_line_of_the_journal_that_somebody_changed(folder: Path) -> None:
    Journal().append("note", text="one")
    Journal().append("note", text="two")
    (month,) = (folder / "journal").glob("*.jsonl")
    month.write_text(month.read_text().replace("one", "0ne"))
    assert named(await examine_host(), "journal") == ["bmslink config journal"]


async def test_a_folder_that_is_none(folder: Path) -> None:
    (folder / "journal").write_text("")
    assert named(await examine_host(), "folders") == [f"ls -ld {folder / 'journal'}"]


async def test_what_a_dead_service_left(folder: Path) -> None:
    entry = {"schema": 1, "socket": "/none", "pid": NOBODY, "version": "0", "packs": []}
    (folder / "runtime").mkdir(mode=0o700)
    (folder / "runtime" / f"service-{NOBODY}.json").write_text(json.dumps(entry))
    (note,) = named(await examine_host(), "service")
    assert str(NOBODY) in note


async def test_a_pin_that_others_may_read(folder: Path) -> None:
    (folder / "bmslink.toml").write_text('[packs.van]\ntarget = "sim://jbd"\npin = "493817"\n')
    (folder / "bmslink.toml").chmod(0o644)
    (command,) = named(await examine_host(packs=False), "private-files")
    assert command == f"chmod o=,g-w {folder / 'bmslink.toml'}"


async def test_two_services_or_a_mistake_in_the_file(folder: Path) -> None:
    (folder / "bmslink.toml").write_text("[service]\ntcp = 3\n[packs.v]\ntarget = 'sim://jbd'\n")
    (folder / "bmslink.toml").chmod(0o600)
    assert named(await examine_host(packs=False), "configuration") == ["bmslink packs path"]


def test_a_slow_adapter_and_a_stale_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, device = folder / "ttyUSB0", folder / "sys" / "ttyUSB0" / "device"
    port.touch()
    device.mkdir(parents=True)
    (device / "latency_timer").write_text("16\n")
    (device.parent.parent / "idVendor").write_text("0403\n")
    monkeypatch.setattr(ports, "_TTYS", folder / "sys")
    monkeypatch.setattr(port_owner, "DIRECTORIES", (str(folder),))
    lock = folder / f"LCK..{str(port).strip('/').replace('/', '_')}"
    lock.write_text(f"{NOBODY:10d} minicom\n")
    facts = look_at_port(str(port))
    assert facts.latency == 16
    assert facts.usb.startswith("0403:")
    assert facts.stale_lock == str(lock)
    assert not look_at_port(str(folder / "none")).exists
