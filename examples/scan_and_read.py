"""Find packs, and read each of them.

python scan_and_read.py                                   # Bluetooth and all serial ports
python scan_and_read.py /dev/ttyUSB0 tcp://192.168.1.20:8899
"""

import asyncio
import sys

import bmslink


async def main(ports: list[str]) -> None:
    for found in await bmslink.scan(ports=ports):
        if found.protocol is None:
            print(f"{found.target}: {found.why}")
            continue
        try:
            async with bmslink.connect(found.target) as device:
                reading = await device.read()
        except bmslink.BmsError as error:
            print(error)
        else:
            print(f"{found.target}: {reading.voltage} V, {reading.current} A, {reading.soc} %")


asyncio.run(main(sys.argv[1:]))
