"""Bluetooth on the command line: sentences instead of tracebacks, and where a pin comes from."""

from __future__ import annotations

import sys
import time

import pytest
from test_ble_pin import SECRET, locked

from ble_memory import AIR
from ble_support import ADDRESS, board, clear_air, parrot
from bmslink.cli import asking
from cli_support import Cli

TARGET = f"jbd+ble://{ADDRESS}"
HASTY = f"{TARGET}?timeout=0.1&gap=0"


@pytest.fixture(autouse=True)
def air(monkeypatch):
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    monkeypatch.setattr("bmslink.transports.ble.transport.SCAN_TIMEOUT", 0.3)
    clear_air()
    yield
    clear_air()


@pytest.fixture
def cli(capsys):
    return Cli(capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="BlueZ is Linux")
@pytest.mark.parametrize("command", ["read", "info"])
def test_without_bluez_there_is_one_sentence(cli, monkeypatch, tmp_path, command):
    """Through bleak's own BlueZ backend, which finds no D-Bus."""
    monkeypatch.delenv("BMSLINK_BLE_BACKEND")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    start = time.monotonic()
    cli(command, TARGET).failed(1, TARGET, "Bluetooth needs BlueZ", "sudo apt install bluez")
    assert time.monotonic() - start < 5


def test_a_pack_is_read_over_bluetooth(cli):
    board("jbd")
    result = cli("read", "--json", TARGET)
    assert result.code == 0
    assert result.objects[0]["protocol"] == "jbd"


def test_a_pack_that_is_not_there_is_one_sentence(cli):
    board("jbd", name="other", address="A5:C2:37:00:00:09")
    cli("read", TARGET).failed(1, "was not seen", "other")


def test_a_protocol_without_a_radio_is_wrong_usage(cli):
    cli("read", f"jk-modbus+ble://{ADDRESS}").failed(2, "not spoken over Bluetooth")


def test_the_pin_comes_from_a_file(cli, tmp_path):
    locked()
    file = tmp_path / "pin"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o644)
    refused = cli("read", "--pin-file", str(file), TARGET)
    assert refused.code == 2 and SECRET not in refused.err
    assert f"`chmod o=,g-w {file}`" in " ".join(refused.err.split())
    file.chmod(0o640)
    result = cli("read", "-vv", "--pin-file", str(file), TARGET)
    assert result.code == 0
    assert SECRET not in result.out + result.err
    trace = tmp_path / "trace.jsonl"
    assert cli("info", "--trace", str(trace), "--pin-file", str(file), TARGET).code == 0
    assert "ffaa18" in trace.read_text()
    assert SECRET.encode().hex() not in trace.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\n123456", "holds no pin"), (b"\xff\xfe1", "holds no pin")],
)
def test_a_pin_file_without_a_pin_is_wrong_usage(cli, tmp_path, content, words):
    locked()
    file = tmp_path / "pin"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    result = cli("read", "--pin-file", str(file), TARGET)
    result.failed(2, words)
    assert "123456" not in result.err
    cli("read", "--pin-file", str(tmp_path), TARGET).failed(2, "cannot be read")


def test_a_pin_in_the_target_is_refused(cli):
    cli("read", f"{TARGET}?pin={SECRET}").failed(2, "A target holds no secrets")


def test_it_is_asked_for_only_at_a_terminal_and_only_when_wanted(cli, monkeypatch):
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return SECRET

    monkeypatch.setattr("getpass.getpass", ask)
    locked()
    cli("read", HASTY).failed(1, "wants its password", "--pin-file")
    assert asked == []
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr(asking, "forget_typed", lambda fd: True)
    assert cli("read", HASTY).code == 0
    assert asked == ["Password of the JBD Bluetooth module: "]
    AIR.clear()
    board("jbd")
    assert cli("read", HASTY).code == 0
    assert len(asked) == 1


def test_silence_over_the_air_asks_for_no_wires(cli):
    parrot(lambda data: b"", "daly-d2")
    result = cli("read", f"daly-d2+ble://{ADDRESS}?timeout=0.1&gap=0")
    result.failed(1, "board behind the Bluetooth module")
    assert "TX" not in result.err
