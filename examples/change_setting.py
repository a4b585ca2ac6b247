"""Change one setting with every check, read it back, and show how to undo it.

python change_setting.py jbd+serial:///dev/ttyUSB0 cell_ovp 3.6 --chemistry lfp
"""

import argparse
import sys

import bmslink

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("target")
parser.add_argument("key", help="as `bmslink settings show` names it")
parser.add_argument("value", type=float, help="in the unit of the setting")
parser.add_argument("--chemistry", help="what the cells are: lfp, nmc, lto, na-ion")
parser.add_argument("--yes", action="store_true", help="do not ask")
args = parser.parse_args()

with bmslink.blocking.connect(args.target) as device:
    setting = device.settings()[args.key]
    print(f"{setting.title}: {setting}, may be {setting.minimum} to {setting.maximum}")

    plan = device.plan({args.key: args.value}, chemistry=args.chemistry)  # this only reads
    for check in plan.blocked:
        print(f"refused by {check.name}: {check.sentence}")
    if plan.blocked:
        sys.exit(3)
    for frame in plan.frames:
        print("would send", frame.hex(" "))
    if not args.yes and input("Write it? [y/N] ") != "y":
        sys.exit(3)

    outcome = device.apply(plan)  # journalled, read back, or set back
    print(outcome.sentence)
    print(f"now {device.settings()[args.key]}; device.undo() goes back")
