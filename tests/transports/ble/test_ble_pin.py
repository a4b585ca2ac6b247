"""JBD authentication and pairing: the pin opens, and stands nowhere."""

from __future__ import annotations

import io
import json
import logging

import pytest
from bleak.exc import (
    BleakDBusError,
    BleakGATTProtocolError,
)

import ble_memory
import bmslink
from ble_memory import AIR
from ble_support import ADDRESS, board, clear_air, opening, read
from bmslink.config import switch
from bmslink.errors import (
    PortDenied,
    TargetError,
)
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import Pin
from bmslink.model import Command
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.jbd.auth import hide, take_apart
from bmslink.protocols.jbd.framing import JBDFrame, JBDFramer
from bmslink.simulation.transport import SimLine, make_device
from bmslink.storage.journal import Journal
from support import virtual_run

pytestmark = pytest.mark.counted


@pytest.fixture(autouse=True)
def air(monkeypatch):
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    clear_air()
    yield
    clear_air()


SECRET = "135790"
KEY = "abcdefghijklmno"
MAC = bytes.fromhex(ADDRESS.replace(":", ""))


class Locked:
    """A JBD board behind a module that wants its password, written from the byte table."""

    def __init__(self, device, say, key: str, mac: bytes) -> None:
        self.say, self.key, self.passed, self.random = say, key, False, 0x40
        self.mac = mac
        self.inner = SimLine(device, say)
        self.commands: list[int] = []

    def receive(self, data: bytes) -> None:
        if data[:2] != b"\xff\xaa":
            if self.passed:
                self.inner.receive(data)
            return
        command, size = data[2], data[3]
        body = data[4 : 4 + size]
        assert data[4 + size] == sum(data[2:-1]) & 0xFF
        self.commands.append(command)
        if command == 0x15:
            answer = 0 if body == b"000000" else 1
        elif command == 0x17:
            self.random = self.random + 0x62 & 0xFF
            answer = self.random
        else:
            secret = SECRET if command == 0x18 else self.key
            right = bytes(
                ((a ^ ord(s)) + self.random) & 255
                for a, s in zip(self.mac + bytes(9), secret, strict=False)
            )
            answer = 0 if body == right else 1
            self.passed = answer == 0 and (command == 0x1D or not self.key)
        reply = bytes([command, 1, answer])
        self.say(b"\xff\xaa" + reply + bytes([sum(reply) & 255]))

    def close(self) -> None:
        self.inner.close()


def locked(key: str = "", mac: bytes = MAC) -> list[Locked]:
    """Such a board in reach; the list gets its connections."""
    connections: list[Locked] = []
    device = make_device("jbd")

    def line(say):
        connections.append(Locked(device, say, key, mac))
        return connections[-1]

    board("jbd").line = line
    return connections


def test_the_formula_hides_a_secret():
    mac = bytes.fromhex("020000000001")
    assert hide(b"123456", mac, 0x62) == bytes.fromhex("959495969799")
    assert hide(b"1" * 15, mac, 0xFF)[6:] == b"0" * 9  # the address is filled up with zeros
    assert take_apart("123456").key == b""
    assert take_apart("123456:" + "00ff" * 7 + "11").key == bytes.fromhex("00ff" * 7 + "11")
    for wrong in ("12345", "1234567", "123456:short", "12345é", "123456:"):
        with pytest.raises(PortDenied) as caught:
            take_apart(wrong)
        assert wrong not in str(caught.value)


@pytest.mark.parametrize(("key", "pin"), [("", SECRET), (KEY, f"{SECRET}:{KEY}")])
def test_jbd_lets_in_who_knows_the_pin(key, pin):
    connections = locked(key)
    assert read(f"jbd+ble://{ADDRESS}", pin=pin)[1].soc is not None
    assert connections[0].commands == [0x15, 0x17, 0x18] + ([0x17, 0x1D] if key else [])


def test_jbd_with_a_wrong_pin_is_refused_once():
    connections = locked()
    error = opening(pin="000000")
    assert isinstance(error, PortDenied)
    assert "refused the password" in str(error)
    assert "000000" not in str(error)
    assert connections[0].commands.count(0x18) == 1


def test_jbd_without_a_pin_asks_for_one_only_when_the_board_stays_mute():
    locked()
    error = opening()
    assert isinstance(error, PortDenied)
    assert "wants its password" in str(error)
    asked = []
    pin = Pin(ask=lambda what: asked.append(what) or SECRET)
    assert read(f"jbd+ble://{ADDRESS}", pin=pin)[1].soc is not None
    assert asked == ["Password of the JBD Bluetooth module"]
    clear_air()
    module = board("jbd")
    read(f"jbd+ble://{ADDRESS}", pin=Pin(ask=asked.append))
    assert len(asked) == 1
    writes = [data for step, data in module.log if step.startswith("write")]
    assert not any(data.startswith(b"\xff\xaa") for data in writes)


@pytest.mark.parametrize("pin", [None, SECRET])
def test_switching_off_knocks_at_a_module_that_wants_its_password(pin, tmp_path):
    """The question before an off is the first one on its link."""
    locked()

    async def off():
        asking = Pin(ask=lambda what: pin)
        async with bmslink.connect(f"jbd+ble://{ADDRESS}", pin=asking).board as device:
            return await switch(device, Command("charge", False), journal=Journal(tmp_path))

    if pin:
        assert virtual_run(off()).result == "done"
    else:
        with pytest.raises(PortDenied, match="wants its password: give it with --pin-file"):
            virtual_run(off())


def test_a_pin_does_not_hinder_a_module_without_passwords():
    board("jbd")
    assert read(f"jbd+ble://{ADDRESS}", pin=SECRET)[1].soc is not None


def test_where_the_system_hides_the_address_the_advert_may_tell():
    uuid = "12345678-1234-1234-1234-1234567890AB"
    locked(mac=bytes.fromhex("a4c138010203"))
    AIR[0].seen = SeenDevice(address=uuid, name="pack", manufacturers={0x004C: bytes(20)})
    error = opening(f"jbd+ble://{uuid}", pin=SECRET)
    assert isinstance(error, PortDenied)
    assert "hides the address" in str(error)
    AIR[0].seen = SeenDevice(address=uuid, manufacturers={0x0203: bytes.fromhex("0138c1a4ff")})
    assert read(f"jbd+ble://{uuid}", pin=SECRET)[1].soc is not None


def test_an_answer_of_the_module_does_not_disturb_one_of_the_board():
    framer = JBDFramer()
    module = board("jbd")
    module_answer = framer.encode(JBDFrame(module=True, code=0x15, data=b"\x02"))
    module.cut = lambda data: iter((module_answer, data, module_answer))
    assert read(f"jbd+ble://{ADDRESS}")[1].soc is not None


async def test_the_pin_stands_nowhere(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    locked(KEY)
    record = io.BytesIO()
    kept = bytearray()
    monkeypatch.setattr(record, "close", lambda: kept.extend(record.getvalue()))
    pin = f"{SECRET}:{KEY}"

    device = bmslink.connect(f"jbd+ble://{ADDRESS}", pin=pin, record=record).board
    async with device:
        await device.read()
    shown = repr(device.driver.options) + str(device.target)
    lines = [json.loads(line) for line in bytes(kept).splitlines()]
    sent = b"".join(bytes.fromhex(x["hex"]) for x in lines if x.get("dir") == "tx")
    assert b"\xff\xaa\x18\x06" + bytes(6) in sent
    assert b"\xff\xaa\x1d\x0f" + bytes(15) in sent
    for text in (shown, caplog.text, bytes(kept).decode()):
        assert SECRET not in text
        assert KEY not in text
        assert SECRET.encode().hex() not in text


def test_a_pin_comes_from_the_environment_and_from_the_file(monkeypatch, tmp_path):
    locked()
    monkeypatch.setenv("BMSLINK_PIN", SECRET)
    assert read(f"jbd+ble://{ADDRESS}")[1].soc is not None
    assert isinstance(opening(pin="111111"), PortDenied)  # what is said outright wins
    monkeypatch.delenv("BMSLINK_PIN")
    config = tmp_path / "bmslink.toml"
    config.write_text(f'[packs.van]\ntarget = "jbd+ble://{ADDRESS}"\npin = "{SECRET}"\n')
    monkeypatch.setenv("BMSLINK_CONFIG", str(config))
    assert read("van")[1].soc is not None
    for wrong in ("", "x" * 65, "a\nb"):
        with pytest.raises(TargetError, match="1 to 64 characters") as caught:
            bmslink.connect(f"jbd+ble://{ADDRESS}", pin=wrong)
        assert not wrong or wrong not in str(caught.value)


def test_a_module_that_wants_to_be_paired_gets_the_passkey(monkeypatch):
    told = []

    async def pair(self, client, passkey):
        told.append(passkey)
        await client.pair()

    monkeypatch.setattr(ble_memory.Memory, "pair", pair)
    module = board("jk02")
    module.broken["notify"] = BleakGATTProtocolError(0x05)
    assert "give its passkey" in str(opening(f"jk02+ble://{ADDRESS}"))
    assert read(f"jk02+ble://{ADDRESS}", pin="123456")[1].soc is not None
    assert told == ["123456"]
    assert module.paired
    module.broken["notify"] = BleakDBusError("org.bluez.Error.NotAuthorized", [])
    assert read(f"jk02+ble://{ADDRESS}", pin="123456")[1].soc is not None
    module.broken["notify"] = BleakGATTProtocolError(0x05)
    module.broken["pair"] = TimeoutError()
    assert "did not accept the pairing" in str(opening(f"jk02+ble://{ADDRESS}", pin="123456"))
    module.broken["pair"] = BleakDBusError("org.bluez.Error.AuthenticationFailed", [])
    error = opening(f"jk02+ble://{ADDRESS}", pin="123456")
    assert isinstance(error, PortDenied)
    assert "did not accept the pairing" in str(error)
    assert "123456" not in str(error)


@pytest.mark.real_time
async def test_bluez_gets_the_passkey_as_it_wants_it():
    from dbus_fast import Message, MessageType

    from bmslink.transports.ble.pairing import agent, answer

    def call(member: str, interface: str = "org.bluez.Agent1") -> Message:
        return Message(
            path="/org/bmslink/agent",
            interface=interface,
            member=member,
            sender=":1.1",
            serial=1,
            signature="o",
            body=["/org/bluez/hci0/dev_C8"],
        )

    asked = answer(call("RequestPasskey"), "012345")
    assert (asked.signature, asked.body) == ("u", [12345])
    asked = answer(call("RequestPinCode"), "012345")
    assert (asked.signature, asked.body) == ("s", ["012345"])
    assert answer(call("Cancel"), "012345").body == []
    refusal = answer(call("AuthorizeService"), "012345")
    assert refusal.message_type is MessageType.ERROR
    assert answer(call("RequestPasskey", "org.example.Other"), "012345") is None

    async def enter(passkey):
        async with agent(passkey):
            pass

    for wrong in ("12345x", "1234567", "", "١٢٣"):
        with pytest.raises(PortDenied, match="up to six digits") as caught:
            await enter(wrong)
        assert not wrong or wrong not in str(caught.value)


def test_a_secret_in_a_damaged_frame_is_blanked():
    codec = load_driver("jbd").make_codec(Options())
    for command in (0x15, 0x16, 0x18, 0x1D):
        frame = JBDFrame(module=True, code=command, data=SECRET.encode())
        data = b"noise" + JBDFramer().encode(frame)[:-1]  # no checksum
        assert SECRET.encode() not in codec.scrub_noise(data)
        assert SECRET.encode() not in (codec.scrub(frame) or b"")
    hello = JBDFrame(module=True, code=0x15, data=b"000000")
    assert codec.scrub(hello) is None  # the vendor's app says this to every module
    assert codec.scrub(JBDFrame(module=True, code=0x18, data=b"\x01")) is None
