"""What Bluetooth stacks throw, and what is shown of it."""

from __future__ import annotations

import asyncio

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
)

import bmslink
from ble_memory import OPENED
from ble_support import ADDRESS, board, clear_air, opening
from bmslink.errors import (
    LinkClosed,
    PortBusy,
    PortDenied,
    PortNotFound,
    TargetError,
    TransportError,
    UnknownDevice,
)
from bmslink.link.gatt import uuid16
from bmslink.transports.ble.errors import explain
from support import virtual_run


@pytest.fixture(autouse=True)
def air(monkeypatch):
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    clear_air()
    yield
    clear_air()


_Why = BleakBluetoothNotAvailableReason


@pytest.mark.parametrize(
    ("step", "thrown", "kind", "words"),
    [
        ("scan", BleakBluetoothNotAvailableError("x", _Why.NO_BLUETOOTH), PortNotFound, "no Blue"),
        ("scan", BleakBluetoothNotAvailableError("x", _Why.POWERED_OFF), PortNotFound, "is off"),
        (
            "scan",
            BleakBluetoothNotAvailableError("x", _Why.NO_BLE_CENTRAL_ROLE),
            PortNotFound,
            "too old",
        ),
        ("scan", BleakBluetoothNotAvailableError("x", _Why.DENIED_BY_USER), PortDenied, "not let"),
        ("scan", BleakBluetoothNotAvailableError("odd", _Why.UNKNOWN), PortNotFound, "odd"),
        ("scan", FileNotFoundError(2, "No such file"), PortNotFound, "needs BlueZ"),
        (
            "scan",
            BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["bluez"]),
            PortNotFound,
            "needs BlueZ",
        ),
        (
            "scan",
            BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", ["no"]),
            PortDenied,
            "group bluetooth",
        ),
        ("scan", BleakDBusError("org.bluez.Error.NotReady", []), PortNotFound, "is off"),
        ("scan", PermissionError(1, "no"), PortDenied, "does not let you"),
        ("scan", EOFError(), LinkClosed, "went away"),
        ("scan", TimeoutError(), TransportError, "does not answer"),
        ("scan", AssertionError("inner\nthing"), TransportError, "inner?thing"),
        ("scan", asyncio.CancelledError(), LinkClosed, "went away"),
        ("connect", TimeoutError(), PortBusy, "close the phone app"),
        ("connect", BleakError("le-connection-abort-by-local"), PortBusy, "one at a time"),
        ("connect", asyncio.CancelledError(), PortBusy, "one at a time"),
        ("connect", FileNotFoundError(2, "No such thing"), TransportError, "No such thing"),
        ("connect", BleakDeviceNotFoundError("x"), PortNotFound, "gone again"),
        ("connect", BleakDBusError("org.bluez.Error.InProgress", []), PortBusy, "Another program"),
        (
            "connect",
            BleakDBusError("org.bluez.Error.AuthenticationFailed", []),
            PortDenied,
            "passkey",
        ),
        ("notify", BleakGATTProtocolError(0x05), PortDenied, "wants to be paired"),
        ("notify", BleakDBusError("org.bluez.Error.NotPermitted", []), PortDenied, "to be paired"),
        ("notify", OSError(5, "I/O error"), TransportError, "I/O error"),
        ("write", BleakError("odd thing"), TransportError, "odd thing"),
        ("write", BleakGATTProtocolError(0x0F), PortDenied, "wants to be paired"),
    ],
)
def test_whatever_a_stack_throws_becomes_a_sentence(step, thrown, kind, words):
    module = board("jbd")
    module.broken[step] = thrown
    error = opening()
    assert type(error) is kind
    assert words in str(error)
    assert "Error." not in str(error)


@pytest.mark.parametrize(
    ("step", "thrown", "tries"),
    [
        ("scan", BleakBluetoothNotAvailableError("x", _Why.POWERED_OFF), 1),
        ("scan", PermissionError(1, "no"), 1),
        ("notify", BleakGATTProtocolError(0x05), 1),
        ("connect", TimeoutError(), 1),
        ("connect", BleakError("le-connection-abort-by-local"), 3),
    ],
)
def test_what_does_not_pass_is_not_tried_again(step, thrown, tries):
    board("jbd").broken[step] = thrown
    opening()
    assert OPENED.count("open") == tries


def test_a_failure_that_passes_is_tried_again():
    module = board("jbd")
    module.broken["connect"] = BleakError("Software caused connection abort")

    async def main():
        asyncio.get_running_loop().call_later(0.2, module.broken.clear)
        async with bmslink.connect(f"jbd+ble://{ADDRESS}").board as device:
            return await device.read()

    assert virtual_run(main()).soc is not None


def test_a_device_that_is_not_there_names_those_that_are():
    for number in range(9):
        board("jbd", name=f"pack {number}\x1b[31m", address=f"A5:C2:37:00:00:0{number}")
    error = opening()
    assert isinstance(error, PortNotFound)
    assert "was not seen in 10 s (seen were pack 0?[31m, pack 1" in str(error)
    assert "and 3 more" in str(error)
    assert "\x1b" not in str(error)
    clear_air()
    assert "nothing else was seen" in str(opening())


def test_a_device_of_another_kind_says_what_it_is():
    table = [(uuid16(0x180A), []), ("12345678-0000-0000-0000-000000000000", [])]
    board("jbd", table=table)
    error = opening()
    assert isinstance(error, UnknownDevice)
    assert "its services are 180A, 12345678-0000-0000-0000-000000000000" in str(error)
    assert "FF00 or FFF0" in str(error)
    clear_air()
    board(
        "jbd", table=[(uuid16(0xFF00), [(uuid16(0xFF01), ["read"]), (uuid16(0xFF02), ["write"])])]
    )
    assert "FF01 (read), FF02 (write)" in str(opening())
    clear_air()
    board("jbd").table = []
    assert "shows no services" in str(opening())


def test_what_cannot_be_a_backend_is_a_sentence(monkeypatch):
    for text, words in [
        ("no_such_module:x", "cannot be loaded"),
        ("ble_memory:nothing", "cannot be loaded"),
        ("ble_memory:cut", "no bmslink Bluetooth backend"),
        (":", "cannot be loaded"),
        ("os:getcwd", "os:getcwd failed"),
    ]:
        monkeypatch.setenv("BMSLINK_BLE_BACKEND", text)
        error = opening()
        assert isinstance(error, TargetError)
        assert words in str(error)


@pytest.mark.parametrize("connecting", [False, True])
def test_no_error_of_any_kind_has_no_sentence(connecting):
    everything = [
        kind("x") if kind is not UnicodeDecodeError else ValueError()
        for kind in (ValueError, KeyError, RuntimeError, AttributeError, NotImplementedError)
    ]
    for thrown in [
        *everything,
        OSError(22, "odd"),
        BleakError(),
        ConnectionResetError(),
        EOFError(),
    ]:
        text = str(explain(thrown, "X", connecting=connecting))
        assert text[-1] in ".?"
        assert "Error:" not in text
