"""Statistics of a recording (`bmslink capture TARGET -o FILE`) with pandas.

python capture_to_pandas.py session.jsonl
"""

import sys
from pathlib import Path

import pandas as pd

import bmslink

readings = bmslink.decode(Path(sys.argv[1]))
table = pd.DataFrame([reading.to_row() for reading in readings])
table["time"] = pd.to_datetime(table["time"])

cells = table.filter(regex=r"^cell_voltage_\d+$")
print(cells.agg(["min", "mean", "max"]).T)
print(table.set_index("time")[["voltage", "current", "soc", "cell_delta"]].describe())
