"""bleak's own BlueZ backend on a D-Bus of our own: what is missing there is said in words."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import bmslink
from bmslink.errors import PortDenied, PortNotFound, TransportError
from cli_support import leash

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="BlueZ is Linux"),
    pytest.mark.needs(program="dbus-daemon"),
]

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>{rules}
</policy></busconfig>"""
TARGET = "jk02+ble://C8:47:8C:E4:55:12"


@pytest.fixture
def bus(tmp_path, monkeypatch):
    """Starts a bus daemon with these rules."""
    running = []

    def start(rules: str = "") -> None:
        path, config = tmp_path / "bus", tmp_path / "bus.conf"
        config.write_text(CONFIG.format(path=path, rules=rules))
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"]
        daemon = subprocess.Popen([*leash(), *command], stdout=subprocess.PIPE)
        running.append(daemon)
        assert daemon.stdout.readline()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")

    monkeypatch.delenv("BMSLINK_BLE_BACKEND", raising=False)
    yield start
    for daemon in running:
        daemon.terminate()
        daemon.wait(5)
        daemon.stdout.close()


class BlueZ:
    """What stands at `org.bluez`: adapters, and a place for agents."""

    def __init__(self, *adapters: bool) -> None:
        self.adapters = adapters
        """Whether each is on."""
        self.agents: list[str] = []

    async def __aenter__(self):
        from dbus_fast.aio import MessageBus
        from dbus_fast.constants import BusType

        self.bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        self.bus.add_message_handler(self.answer)
        await self.bus.request_name("org.bluez")
        return self

    async def __aexit__(self, *_) -> None:
        self.bus.disconnect()

    def answer(self, message):
        from dbus_fast import Message, Variant

        if message.member == "GetManagedObjects":
            found = {
                f"/org/bluez/hci{n}": {
                    "org.bluez.Adapter1": {
                        "Roles": Variant("as", ["central"]),
                        "Powered": Variant("b", on),
                        "Address": Variant("s", "00:00:00:00:00:01"),
                    }
                }
                for n, on in enumerate(self.adapters)
            }
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [found])
        if message.member in ("RegisterAgent", "RequestDefaultAgent", "UnregisterAgent"):
            self.agents.append(f"{message.member} {' '.join(message.body)}")
            self.owner = message.sender
            return Message.new_method_return(message)
        return None

    async def wants_passkey(self) -> int:
        """What the agent says."""
        from dbus_fast import Message

        reply = await self.bus.call(
            Message(
                destination=self.owner,
                path="/org/bmslink/agent",
                interface="org.bluez.Agent1",
                member="RequestPasskey",
                signature="o",
                body=["/org/bluez/hci0/dev_C8_47_8C_E4_55_12"],
            )
        )
        return reply.body[0]


async def opening() -> TransportError:
    with pytest.raises(TransportError) as caught:
        async with bmslink.connect(TARGET):
            pass
    return caught.value


@pytest.mark.real_time
async def test_a_bus_without_bluez(bus):
    bus()
    error = await opening()
    assert isinstance(error, PortNotFound)
    assert "systemctl start bluetooth" in str(error)


def test_a_bus_that_forbids_bluez(bus):
    bus('<deny send_destination="org.bluez"/>')

    async def main():
        async with BlueZ(True):
            return await opening()

    error = asyncio.run(main())
    assert isinstance(error, PortDenied)
    assert "join the group bluetooth" in str(error)


@pytest.mark.parametrize(
    ("adapters", "words"), [((), "has no Bluetooth adapter"), ((False,), "Bluetooth is off")]
)
def test_no_adapter_and_one_that_is_off(bus, adapters, words):
    bus()

    async def main():
        async with BlueZ(*adapters):
            return await opening()

    error = asyncio.run(main())
    assert isinstance(error, PortNotFound)
    assert words in str(error)


def test_bluez_asks_our_agent_for_the_passkey(bus):
    from bmslink.transports.ble.pairing import agent

    bus()

    async def main():
        async with BlueZ(True) as bluez:
            async with agent("012345"):
                passkey = await bluez.wants_passkey()
            return passkey, bluez.agents

    passkey, agents = asyncio.run(main())
    assert passkey == 12345
    assert agents == [
        "RegisterAgent /org/bmslink/agent KeyboardOnly",
        "RequestDefaultAgent /org/bmslink/agent",
        "UnregisterAgent /org/bmslink/agent",
    ]
