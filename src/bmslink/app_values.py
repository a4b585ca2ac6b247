"""What the vendor's app shows while a pack is recorded, beside what is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bmslink.errors import UsageError

__all__ = ["WORDS", "agreeing", "agrees", "read_shown"]

WORDS = ("app", "remark")
"""Keys of what is no value."""
_NUMBERS = frozenset(
    {
        *("voltage", "current", "power", "soc", "soh", "remaining_capacity", "full_capacity"),
        *("nominal_capacity", "cycles", "min_cell_voltage", "max_cell_voltage", "cell_delta"),
        *("balance_current", "cycle_capacity"),
    }
)
_OF_SEVERAL = re.compile(r"(cell_voltages|cell_resistances)\.[1-9][0-9]?|temperatures\.[a-z0-9_]+")


def read_shown(words: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` of what an app shows: keys of a reading (`cell_voltages` takes all cells,
    separated by spaces or commas), `app` and `remark`. `UsageError` for anything else."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key, text = key.strip(), text.strip()
        if key == "cell_voltages" and equals:
            cells = re.split(r"[\s,;]+", text)
            found |= {f"{key}.{n}": _number(key, cell) for n, cell in enumerate(cells, 1)}
        elif equals and key in WORDS:
            found[key] = text[:200]
        elif equals and (key in _NUMBERS or _OF_SEVERAL.fullmatch(key)):
            found[key] = _number(key, text)
        else:
            raise UsageError(
                f"{word[:60]!r} is not KEY=VALUE of what an app shows. Keys are those of a "
                f"reading: {', '.join(sorted(_NUMBERS))}, cell_voltages, cell_voltages.1, "
                "temperatures.NAME; app and remark take words."
            )
    return found


def _number(key: str, text: str) -> str:
    if not re.fullmatch(r"[+-]?\d{1,7}(\.\d{1,4})?", text):
        raise UsageError(f"{key} is a number as the app shows it, not {text[:40]!r}.")
    return text


def agreeing(readings: Collection[Mapping[str, Any]], shown: Mapping[str, str]) -> dict[str, bool]:
    """Whether some reading (as `Reading.to_dict`) says what the app showed, by key."""
    return {
        key: any(agrees(_look(values, key), text) for values in readings)
        for key, text in shown.items()
        if key not in WORDS
    }


def _look(values: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(values, list) and part.isdecimal():
            values = values[int(part) - 1] if int(part) <= len(values) else None
        else:
            values = values.get(part) if isinstance(values, Mapping) else None
    return values


def agrees(value: Any, text: str) -> bool:
    """Whether a value is what somebody read off an app, to the digits that it shows: rounded or
    cut, one of the last digit away."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    digits = len(text.partition(".")[2])
    return abs(value - float(text)) <= 1.0001 * 10.0**-digits
