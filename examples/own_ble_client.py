"""Read a pack over a Bluetooth connection of one's own, as an integration of Home Assistant does.

python own_ble_client.py C8:47:8C:E4:55:12 jk02
"""

import asyncio
import sys
from collections.abc import Callable

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak_retry_connector import establish_connection

import bmslink


async def connect(device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
    """How this program connects; Home Assistant has its own BleakClient, and chooses the proxy."""
    return await establish_connection(BleakClient, device, device.name or device.address, gone)


async def read(found: BLEDevice, protocol: str) -> bmslink.Reading:
    async with bmslink.connect(found, protocol=protocol, client=connect) as device:
        return await device.read()


async def main(address: str, protocol: str) -> None:
    found = await BleakScanner.find_device_by_address(address)  # Home Assistant has it already
    if found is None:
        sys.exit(f"{address} is not heard.")
    reading = await read(found, protocol)
    print(f"{reading.voltage} V, {reading.soc} %")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
