"""Can a board hold this at all? Wide physical bounds for each kind of setting.

They judge what was read, not what is wanted: a line that mixes up answers gives 355 °C or 3200 s,
and such a table is neither planned on, nor kept as a backup, nor set back to. Factory tables of
recorded boards are inside, odd ones too. Whether a value is wise is the business of `lint`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from bmslink.settings.setting import Setting, Value

__all__ = ["implausible"]

_Bounds = tuple[float, float]

_BOUNDS: tuple[tuple[str, str, _Bounds], ...] = (
    # unit, part of the key, lowest and highest; the first that fits
    # 48 cells are the most that any vendor's board counts, 5 V the most that one measures; Daly
    # takes 250 V. The board's own count is not used here: a board that was set up for another
    # number of cells must be mendable.
    ("V", "pack_", (0, 250)),
    ("V", "", (0, 5)),
    ("A", "short_circuit", (0, 65535)),  # Daly's register can hold it, and no document says "off"
    ("A", "balance", (0, 100)),
    ("A", "", (0, 2000)),  # JK goes to 1200
    ("Ah", "", (0, 20000)),  # the end of JK's range
    ("°C", "", (-60, 160)),  # what thermistors and silicon can mean
    ("K", "", (0, 255)),
    ("s", "short_circuit_delay", (0, 1)),  # the end of JK's range
    ("s", "sleep_delay", (0, 655360)),
    ("s", "", (0, 1000)),  # JK goes to 600, JBD ships 600
    ("min", "", (0, 1440)),
    ("h", "", (0, 255)),
    ("%", "", (0, 100)),
    ("", "cell_count", (0, 64)),
)
_NONE = {"pack_uvp": 500.0, "pack_uvp_warning": 500.0}
"""What a board holds that has no such limit (`daly-d2-balancer-btsnoop`), V."""


def implausible(
    rows: Iterable[Setting], values: Mapping[str, Value | None], slots: Collection[int] = ()
) -> list[str]:
    """What no board can mean, in a sentence for each value; empty where all of it can be.

    `values` by key, `None` is unknown; `slots` are those that the board answered for: a switch in
    one of them that is neither on nor off is as impossible as a number. Rows that are read-only
    are left out: boards keep other things there.
    """
    found = []
    for row in rows:
        if not row.writable or row.live:
            continue
        value = values.get(row.key)
        if row.kind == "switch" and row.bit is None:
            if value is None and row.slot in slots:
                found.append(f"{row.key} is neither on nor off.")
        elif isinstance(value, float | int) and (bounds := _bounds(row)) is not None:
            low, high = bounds
            if not low <= value <= high and value != _NONE.get(row.key):
                found.append(f"{row.key} = {row.show(value)} is outside {low:g} to {high:g}.")
    return found


def _bounds(row: Setting) -> _Bounds | None:
    return next(
        (limits for unit, part, limits in _BOUNDS if row.unit == unit and part in row.key), None
    )
