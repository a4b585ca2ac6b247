"""The settings of JBD's UP packs, in the order of the two blocks that hold them.

No document names the words of these blocks; their values fall into place exactly in the one
recorded answer of each, and nobody was ever recorded writing them (`docs/protocols/jbd-up.md`).
So names that only fit the values are `jbd_up_…`, and none is written.
"""

from __future__ import annotations

from collections.abc import Iterator

from construct import Array, Bytes, Int16ub

from bmslink.protocols.common.fields import Layout, scaled
from bmslink.protocols.common.rows import Row, bare, record

__all__ = ["LAYOUTS", "ROWS"]

_MV = scaled(Int16ub, 1000)
_10MV = scaled(Int16ub, 100)
_DECI = scaled(Int16ub, 10)
_CELSIUS = scaled(Int16ub, 10, -500)
_S = scaled(Int16ub, 1000)
_PROTECTION, _PARAMETERS = 0x1800, 0x1C00
_NEVER = "no document names it, and nobody was ever recorded writing it"


def _row(name: str, wire: Layout, title: str, unit: str, at: int = _PROTECTION) -> Row:
    return Row(at, f"jbd_up_{name}", wire, title=title, unit=unit, reason=_NEVER)


def _three(name: str, wire: Layout, title: str, unit: str) -> Iterator[Row]:
    """Level, release, delay."""
    yield _row(name, wire, title, unit)
    yield _row(f"{name}_release", wire, f"{title} release", unit)
    yield _row(f"{name}_delay", _S, f"{title} delay", "s")


def _limit(name: str, wire: Layout, title: str, unit: str) -> Iterator[Row]:
    """Alarm and protection."""
    yield from _three(f"{name}_alarm", wire, f"{title} alarm", unit)
    yield from _three(name, wire, title, unit)


def _overcurrent(name: str, title: str) -> Iterator[Row]:
    yield from _three(f"{name}_alarm", _DECI, f"{title} alarm", "A")
    yield _row(name, _DECI, title, "A")
    yield _row(f"{name}_delay", _S, f"{title} delay", "s")
    yield _row(f"{name}_release", Int16ub, f"{title} release", "")  # a time, perhaps
    yield _row(f"{name}_count", Int16ub, f"{title} count", "")
    yield _row(f"{name}_2", _DECI, f"{title} 2", "A")
    yield _row(f"{name}_2_delay", _S, f"{title} 2 delay", "s")
    yield _row(f"{name}_2_release", Int16ub, f"{title} 2 release", "")


ROWS: tuple[Row, ...] = (
    *_limit("cell_ovp", _MV, "Cell over-voltage", "V"),
    *_limit("cell_uvp", _MV, "Cell under-voltage", "V"),
    *_limit("pack_ovp", _10MV, "Pack over-voltage", "V"),
    *_limit("pack_uvp", _10MV, "Pack under-voltage", "V"),
    *_overcurrent("charge_ocp", "Charge over-current"),
    *_overcurrent("discharge_ocp", "Discharge over-current"),
    *_limit("charge_otp", _CELSIUS, "Charge over-temperature", "°C"),
    *_limit("charge_utp", _CELSIUS, "Charge under-temperature", "°C"),
    *_limit("discharge_otp", _CELSIUS, "Discharge over-temperature", "°C"),
    *_limit("discharge_utp", _CELSIUS, "Discharge under-temperature", "°C"),
    *_limit("mosfet_otp", _CELSIUS, "MOSFET over-temperature", "°C"),
    *_limit("ambient_otp", _CELSIUS, "Ambient over-temperature", "°C"),
    *_limit("ambient_utp", _CELSIUS, "Ambient under-temperature", "°C"),
    *_limit("temperature_delta", Int16ub, "Temperature difference", ""),  # the scale is open
    *_limit("cell_delta", _MV, "Cell difference", "V"),
    *_limit("soc_low", Int16ub, "SOC low", "%"),
    bare(_PARAMETERS, "reserved_0", Bytes(4)),
    _row("balance_start_voltage", _MV, "Balancing begins above", "V", _PARAMETERS),  # 4
    _row("balance_delta", _MV, "Balancing begins at a difference of", "V", _PARAMETERS),
    bare(_PARAMETERS, "jbd_up_word_8", Int16ub),  # 500 and 600: 0 and 10 °C?
    bare(_PARAMETERS, "jbd_up_word_10", Int16ub),
    bare(_PARAMETERS, "jbd_up_word_12", Int16ub),
    bare(_PARAMETERS, "jbd_up_word_14", Int16ub),
    bare(_PARAMETERS, "board_serial_number", Bytes(30)),  # 16: begins with the model
    bare(_PARAMETERS, "board_date", Array(3, Int16ub)),  # 46: year, month, day
    bare(_PARAMETERS, "pack_serial_number", Bytes(30)),  # 52
    bare(_PARAMETERS, "pack_date", Array(3, Int16ub)),
    bare(_PARAMETERS, "customer", Bytes(30)),  # 88
)

_SIZES = {_PROTECTION: 0xD0, _PARAMETERS: 0x86}
LAYOUTS: dict[int, Layout] = {
    at: record((row for row in ROWS if row.at == at), size) for at, size in _SIZES.items()
}
"""The two blocks, as long as they were answered."""
