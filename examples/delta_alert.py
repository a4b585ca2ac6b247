"""Say so when the cells of a pack drift apart, for months: a lost link is opened again.

python delta_alert.py jbd+serial:///dev/ttyUSB0 --limit 0.05
"""

import argparse
import asyncio

import bmslink


def trouble(error: bmslink.BmsError, wait: float) -> None:
    print(f"{error} Next try in {wait:g} s.", flush=True)


async def watch(target: str, limit: float, interval: float, count: int | None) -> None:
    high = False
    async with bmslink.connect(target) as device:
        async for reading in device.stream(interval, reconnect=True, on_trouble=trouble):
            delta = reading.cell_delta  # None: the BMS does not say
            if delta is not None and (delta > limit) != high:
                high = delta > limit
                word = "ALERT" if high else "fine again"
                print(f"{reading.time}: {word}, {delta * 1000:.0f} mV", flush=True)
            if count is not None and (count := count - 1) <= 0:
                return


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("target")
parser.add_argument("--limit", type=float, default=0.05, help="V between lowest and highest cell")
parser.add_argument("--interval", type=float, default=5.0, help="seconds between readings")
parser.add_argument("--count", type=int, help="end after so many readings")
args = parser.parse_args()
asyncio.run(watch(args.target, args.limit, args.interval, args.count))
