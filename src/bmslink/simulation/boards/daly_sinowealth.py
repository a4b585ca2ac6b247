"""A simulated Daly board with a Sinowealth chip: one value for each question.

Facts: `docs/protocols/daly-sinowealth.md`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bmslink.errors import TargetError
from bmslink.model import Reading
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.daly.sinowealth import (
    BATTERY_STATUS,
    FIELDS,
    PACK_STATUS,
    SinowealthFrame,
    SinowealthFramer,
)
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["SinowealthResponder"]

_DELAY = 0.02  # s; of real boards only known to be below 0.5
_FEWEST, _MOST = 3, 10  # what the configuration word can say, and the commands can read
_TWO_SENSORS = 1 << 6
_DISCHARGING, _CHARGING = 1 << 3, 1 << 2
_ABSENT = -273.1


class SinowealthResponder(Responder):
    """Answers each command of `FIELDS` that is asked with its right length; silent otherwise."""

    default_cells: ClassVar[int] = 8

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        if not _FEWEST <= pack.cell_count <= _MOST:
            raise TargetError(
                f"A Daly board with a Sinowealth chip has {_FEWEST} to {_MOST} cells, not "
                f"{pack.cell_count} (say cells=8)."
            )
        self._framer = SinowealthFramer()

    def receive(self, data: bytes) -> list[Answer]:
        questions = [frame for frame in self._framer.feed(data) if frame.request]
        return [Answer(_DELAY, self._answer(frame)) for frame in questions]

    def _answer(self, question: SinowealthFrame) -> bytes:
        layout = FIELDS[question.command]
        values = parse(layout, bytes(layout.sizeof()), "answer")
        said = _values(self.pack.truth())
        values |= {key: said[key] for key in values if key in said}
        data = build(layout, values, "answer")
        return self._framer.encode(SinowealthFrame(command=question.command, data=data))


def _values(truth: Reading) -> dict[str, Any]:
    """Every value that can be asked for; slots beyond the last cell read 0."""
    probes = dict(truth.temperatures)
    two = "cell_2" in probes
    return {
        **{
            f"cell_voltage_{i}": _fit(v, 1000, 0xFFFF) for i, v in enumerate(truth.cell_voltages, 1)
        },
        "voltage": _fit(truth.voltage, 1000, 0xFFFF),
        "temperature_1": _known(probes.get("cell_1")),
        "temperature_2": _known(probes.get("cell_2")),
        "ic_temperature": _known(probes.get("mosfet")),
        "current": _fit(truth.current, 1000, 0x7FFFFFFF, -0x80000000),
        "full_capacity": _fit(truth.full_capacity, 1000, 0xFFFFFFFF),
        "remaining_capacity": _fit(truth.remaining_capacity, 1000, 0xFFFFFFFF),
        "soc": min(max(round(truth.soc or 0.0), 0), 100),
        "cycles": min(truth.cycles or 0, 0xFFFF),
        "pack_status": _pack_status(truth),
        "battery_status": _word(truth, BATTERY_STATUS),
        "pack_config": len(truth.cell_voltages) - _FEWEST | _TWO_SENSORS * two,
    }


def _pack_status(truth: Reading) -> int:
    word = _word(truth, PACK_STATUS)
    word |= bool(truth.charging_allowed) | bool(truth.discharging_allowed) << 1
    current = truth.current or 0.0
    return word | _CHARGING * (current > 0) | _DISCHARGING * (current < 0)


def _word(truth: Reading, table: dict[int, tuple[str, Any]]) -> int:
    levels = {"alarm": truth.alarms, "protection": truth.protections, "fault": truth.faults}
    first = {(level, condition): bit for bit, (level, condition) in reversed(table.items())}
    return sum(1 << bit for (level, c), bit in first.items() if c in levels[level])


def _known(temperature: float | None) -> float:
    return _ABSENT if temperature is None else temperature


def _fit(value: float | None, per: int, high: int, low: int = 0) -> float:
    """What is beyond the word stops at its end."""
    return min(max(round((value or 0.0) * per), low), high) / per
