"""A simulated Acme board."""

from __future__ import annotations

from acme_bms.framing import (
    ALL,
    ANSWER,
    DONE,
    SET,
    ToyFrame,
    ToyFramer,
    values_layout,
)
from bmslink.model import Switch
from bmslink.protocols.common.fields import build
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["ToyResponder"]


class ToyResponder(Responder):
    """Answers 01 and 02."""

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._framer = ToyFramer()

    def receive(self, data: bytes) -> list[Answer]:
        asked = [frame for frame in self._framer.feed(data) if frame.code in (ALL, SET)]
        return [Answer(0.02, self._answer(frame)) for frame in asked]

    def _answer(self, frame: ToyFrame) -> bytes:
        if frame.code == SET:
            which, on = frame.data
            self.pack.switch((Switch.CHARGE, Switch.DISCHARGE)[which], bool(on))
            return self._framer.encode(ToyFrame(code=DONE))
        truth = self.pack.truth()
        values = {
            "voltage": truth.voltage,
            "current": truth.current,
            "soc": round(truth.soc or 0),
            "fets": bool(truth.charging_allowed) | bool(truth.discharging_allowed) << 1,
            "cell_voltages": list(truth.cell_voltages),
        }
        layout = values_layout(6 + 2 * len(truth.cell_voltages))
        return self._framer.encode(ToyFrame(code=ANSWER, data=build(layout, values, "answer")))
