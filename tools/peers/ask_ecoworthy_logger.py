"""ecoworthy-logger: JBD's basic information, cells and name.

Its Bluetooth library, bluepy, is C that today's compilers refuse. A stand-in without content takes
its place, because no radio is used here.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

from answering import Capture, Question, main


def library() -> Any:
    """Its module, which it installs under the name `lib`."""
    radio = ModuleType("bluepy.btle")
    for name in ("Peripheral", "DefaultDelegate", "Characteristic", "Service"):
        setattr(radio, name, type(name, (), {}))
    sys.modules["bluepy"] = ModuleType("bluepy")
    sys.modules["bluepy.btle"] = radio
    logging.disable()
    return importlib.import_module("lib")


LIBRARY = library()


def answered(raw: bytes) -> dict[str, Any]:
    """The event that it makes of one frame."""
    events: list[Any] = []
    delegate = LIBRARY.JbdDelegate("00:11:22:33:44:55", events.append)
    delegate.handleNotification(0, raw)
    delegate.consume()
    if not events:
        raise ValueError("no event")
    (event,) = events
    if isinstance(event, LIBRARY.JbdCellVoltages):
        return {"values.cell_voltages": event.cells_v}
    if isinstance(event, LIBRARY.JbdHardwareInfo):
        return {"values.model": event.name} if event.name else {}
    return {
        "voltage": event.battery_voltage,
        "current": event.active_current,
        "remaining_capacity": event.remaining_capacity,
        "nominal_capacity": event.nominal_capacity,
        "cycles": event.cycles,
        "soc": event.soc,
        "values.cell_count": event.n_cells,
        "values.temperatures": event.ntc_temps,
    }


def questions(capture: Capture) -> Iterator[Question]:
    """Registers 03, 04 and 05."""
    if capture.protocol != "jbd":
        return
    for frame in capture.frames:
        if frame.raw[0] == 0xDD and frame.raw[1] in (3, 4, 5) and frame.raw[2] == 0:
            yield Question((frame,), partial(answered, frame.raw))


if __name__ == "__main__":
    main("ecoworthy-logger", questions, (ValueError,))
