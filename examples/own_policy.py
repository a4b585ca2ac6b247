"""Judge a pack by the shipped policies and one of one's own; nothing is sent to the BMS.

python own_policy.py jbd+serial:///dev/ttyUSB0 --reserve 40
"""

import argparse
import asyncio
import time

import bmslink
from bmslink import control


def policies(cells: int, reserve: float) -> bmslink.PolicySet:
    own = control.Policy(
        name="night_reserve",
        title="a reserve is kept for the night",
        quantity="soc",  # control.QUANTITIES has all of them, with units
        over=False,
        trip=reserve,
        release=reserve + 5,
        samples=2,
        severity=control.Severity.TRIP,
        acts=(control.Action.DISCHARGE,),
        mode=control.Mode.ENFORCE,
    )
    shipped = control.preset_policies("lfp", "solar", cells=cells, capacity=280)
    return shipped.changing("cell_delta_top", mode=control.Mode.OFF).adding(own)


async def main(target: str, reserve: float, interval: float, count: int | None) -> None:
    async with bmslink.connect(target) as device:
        cells = len((await device.read()).cell_voltages)
        limits = (await device.settings()).numbers()  # the policies act inside the BMS's own limits
        engine = control.Engine(policies(cells, reserve), limits, poll=interval)
        async for reading in device.stream(interval, reconnect=True):
            decision = engine.step(reading, time.monotonic())
            for event in decision.events:
                print(f"{event.policy} ({event.mode}): {event.what}, {event.text}", flush=True)
            allowed = "may" if decision.discharge.allowed else "may not"
            print(f"{reading.soc} %: it {allowed} be discharged", flush=True)
            if count is not None and (count := count - 1) <= 0:
                return


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("target")
parser.add_argument("--reserve", type=float, default=40.0, help="%% that are kept")
parser.add_argument("--interval", type=float, default=5.0, help="seconds between readings")
parser.add_argument("--count", type=int, help="end after so many readings")
args = parser.parse_args()
asyncio.run(main(args.target, args.reserve, args.interval, args.count))
