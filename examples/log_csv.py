"""Write readings of several packs into one CSV file.

python log_csv.py packs.csv jbd+serial:///dev/ttyUSB0 jk02+ble://C8:47:8C:E4:55:12 --interval 10
"""

import argparse
import csv
import time
from contextlib import ExitStack
from pathlib import Path

import bmslink

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("file", type=Path)
parser.add_argument("targets", nargs="+")
parser.add_argument("--interval", type=float, default=10.0, help="seconds between readings")
parser.add_argument("--count", type=int, default=6, help="readings of each pack")
args = parser.parse_args()

with ExitStack() as stack:
    packs = [stack.enter_context(bmslink.blocking.connect(target)) for target in args.targets]
    rows = [pack.read().to_row() for pack in packs]  # V, A, °C, Ah, %; None is an empty field
    columns = list(dict.fromkeys(column for row in rows for column in row))

    file = stack.enter_context(args.file.open("w", newline="", encoding="utf-8"))
    table = csv.DictWriter(file, columns, extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    for _ in range(args.count - 1):
        time.sleep(args.interval)
        table.writerows(pack.read().to_row() for pack in packs)
        file.flush()
