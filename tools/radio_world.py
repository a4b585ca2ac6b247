"""A radio in this process: simulated modules, and bmslink's own Bluetooth transport on bumble.

For tests, benchmarks and fuzzing: everything between `bmslink.connect` and the module's line to
its board is real (our transport, bleak, bumble's GATT client, ATT, L2CAP, HCI and GATT server);
only the air is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from bumble.att import Attribute
from bumble.device import Connection
from bumble.transport.common import Transport

from bmslink.discovery.ble import SPOKEN
from bmslink.simulation.ble.air import Air, VirtualController
from bmslink.simulation.ble.catalogue import Module, Radio
from bmslink.simulation.ble.module import ServedModule, address_of, host_on
from bmslink.simulation.transport import SimDevice, SimLine, make_device
from bmslink.transports.ble.bumble import BumbleBackend

__all__ = ["BACKEND", "PROTOCOLS", "World", "backend", "world"]

BACKEND = "radio_world:backend:here"
"""What `BMSLINK_BLE_BACKEND` has to be."""
PROTOCOLS = SPOKEN

_airs: list[Air] = []


def backend(spec: str) -> BumbleBackend:
    """bumble on the radio of the world that was made last."""

    async def opener(_: str) -> Transport:
        return _airs[-1].transport()

    return BumbleBackend(spec, opener)


class World:
    """One simulated pack on the air."""

    def __init__(self, air: Air, device: SimDevice, served: ServedModule, protocol: str) -> None:
        self.air = air
        self.device = device
        self.served = served
        self.protocol = protocol
        self.address = ""
        self.notified: list[bytes] = []
        """Every notification since it was made."""

    async def start(self, seed: int) -> None:
        """Begin to advertise."""
        address = address_of(self.served.module, seed)
        self.address = await self.served.start(host_on(self.air, address))
        notify = self.served.bumble.notify_subscriber

        async def spy(
            connection: Connection,
            attribute: Attribute[Any],
            value: Any = None,
            force: bool = False,
        ) -> None:
            self.notified.append(value)
            await notify(connection, attribute, value, force)

        self.served.bumble.__dict__["notify_subscriber"] = spy

    @property
    def target(self) -> str:
        """What `bmslink.connect` takes, without the pauses that simulated boards do not need."""
        return f"{self.protocol}+ble://{self.address}?gap=0&timeout=0.5"

    @property
    def controller(self) -> VirtualController:
        """The module's own controller."""
        for controller in self.air.controllers:
            shown = controller.public_address.to_string(False)
            if isinstance(controller, VirtualController) and shown == self.address:
                return controller
        raise LookupError(self.address)


@asynccontextmanager
async def world(
    protocol: str,
    *,
    module: Module | None = None,
    air: Air | None = None,
    cells: int | None = 8,
    seed: int = 1,
    faults: Sequence[str] = (),
    radio: Radio | None = None,
    **changes: Any,
) -> AsyncIterator[World]:
    """A pack on a radio of its own, or on that of another one; `changes` are of its `Radio`."""
    settings = replace(radio or Radio(transport="here"), **changes)
    kind = module or settings.settled(protocol)
    device = make_device(protocol, cells=cells, seed=seed, faults=faults)
    served = ServedModule(partial(SimLine, device), device, kind, settings, seed=seed)
    made = World(air or Air(), device, served, protocol)
    _airs.append(made.air)
    await made.start(seed)
    try:
        yield made
    finally:
        await served.close()
        for controller in list(made.air.controllers) if air is None else []:
            if isinstance(controller, VirtualController):
                controller.leave()
        _airs.remove(made.air)
