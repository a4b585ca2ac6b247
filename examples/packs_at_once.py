"""Read several packs at the same time; one that fails does not hold up the others.

python packs_at_once.py "jk-modbus+tcp://192.168.1.20:8899?address=1" van
"""

import asyncio
import sys

import bmslink


async def read(target: str) -> bmslink.Reading | None:
    try:
        async with bmslink.connect(target) as device:
            return await device.read()
    except bmslink.BmsError as error:
        print(error, file=sys.stderr)
        return None


async def main(targets: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read(target)) for target in targets]
    readings = [reading for task in tasks if (reading := task.result())]
    for reading in readings:
        print(f"{reading.target}: {reading.soc} %, {reading.power} W")
    known = [reading.power for reading in readings if reading.power is not None]
    print(f"{len(readings)} of {len(targets)} packs, {sum(known):.0f} W")


asyncio.run(main(sys.argv[1:]))
