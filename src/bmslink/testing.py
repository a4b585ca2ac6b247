"""A simulated pack for other people's tests: real bytes of a real protocol, and no hardware.

```python
from bmslink.testing import SimulatedPack

pack = SimulatedPack("jbd", cells=4)
pack.set_cell_voltage(3, 3.7)
with bmslink.blocking.connect(pack.target) as device:
    assert device.read().max_cell_voltage == 3.7
```

In pytest the fixture `simulated_pack` makes them: `simulated_pack("jk02", cells=8)`. What is below
`connect` is what runs with hardware: requests are encoded, answers are decoded, damaged lines and
refusals included. So a read takes as long as with hardware, and a verified change up to half a
minute: `speed` hurries the pack, not the line. The pack has the physics of `bmslink simulate`; the
same `seed` gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from bmslink.arguments import checked
from bmslink.errors import TargetError
from bmslink.link.transport import Transport, parse_target
from bmslink.model import Condition, Reading, Switch
from bmslink.simulation.transport import SimDevice, SimTransport, make_device, name_device

__all__ = ["SimulatedPack"]


class SimulatedPack:
    """A pack in this process, at `target`, as long as the object lives.

    It may be connected to several times, one after the other or at once, and changed from any
    thread meanwhile. Time passes for it while somebody is connected, `speed` times as fast, and by
    `advance`. Wrong arguments raise `TargetError`.
    """

    @checked(TargetError)
    def __init__(
        self,
        protocol: str = "jbd",
        *,
        cells: int | None = None,
        chemistry: str = "lfp",
        capacity: float = 100.0,
        soc: float = 60.0,
        load: str | float = "idle",
        imbalance: float | None = None,
        seed: int = 1,
        speed: float = 1.0,
        address: int | None = None,
        firmware: str | None = None,
        faults: Sequence[str] = (),
    ) -> None:
        """`protocol` as in targets. `cells` 1 to 48 (as usual for the protocol if not given),
        `capacity` 1 to 10000 Ah, `soc` 0 to 100 %, `load` in A (positive charges), `idle`, or
        `cycle` (a day of sun and household), or `supply:AMPS:VOLTS`; `imbalance`, mV: so far apart
        the cells rest when the highest is full; `firmware` one that the board knows;
        `faults` as `fault` takes them."""
        self.protocol = protocol
        self._address = address
        self._device: SimDevice = make_device(
            protocol,
            cells=cells,
            chemistry=chemistry,
            capacity=capacity,
            soc=soc,
            seed=seed,
            address=address,
            firmware=firmware,
            speed=speed,
            load=load if isinstance(load, str) else repr(load),
            imbalance=imbalance,
            faults=tuple(faults),
        )
        self._name = name_device(self._device)

    @property
    def target(self) -> str:
        """What `connect`, and every command in this process, opens it by."""
        address = "" if self._address is None else f"&address={self._address}"
        return f"{self.protocol}+sim://?pack={self._name}{address}"

    def transport(self) -> Transport:
        """A new byte stream to it, for programs that bring their own."""
        return SimTransport(parse_target(self.target), self._device)

    # ------------------------------------------------------------------------ what is true

    def truth(self) -> Reading:
        """What a perfect BMS would say now."""
        with self._device.lock:
            return self._device.pack.truth()

    @property
    def settings(self) -> dict[str, float]:
        """The limits it obeys, by canonical key (`cell_ovp`); a copy. A verified write shows
        here."""
        with self._device.lock:
            return dict(self._device.pack.settings)

    @property
    def cell_count(self) -> int:
        """How many cells it has."""
        return self._device.pack.cell_count

    # ------------------------------------------------------------------------ hands on it

    @checked(TargetError)
    def advance(self, seconds: float) -> None:
        """Let time pass at once, 0 to 31 days, s."""
        with self._device.lock:
            self._device.pack.advance(seconds)

    @checked(TargetError)
    def set_cell_voltage(self, number: int, volts: float | None) -> None:
        """Hold what is measured of a cell (from 1) at 0 to 10 V; `None` measures it again."""
        with self._device.lock:
            self._device.pack.set_cell_voltage(number, volts)

    @checked(TargetError)
    def set_temperature(self, name: str, celsius: float | None) -> None:
        """Hold a probe (`cell_1`, `mosfet`) at -50 to 200 °C; `None` measures it again."""
        with self._device.lock:
            self._device.pack.set_temperature(name, celsius)

    @checked(TargetError)
    def set_load(self, load: str | float) -> None:
        """A, positive charges; or `idle`, or `cycle`."""
        with self._device.lock:
            self._device.pack.set_load(load)

    @checked(TargetError)
    def set_soc(self, percent: float) -> None:
        """Fill the cells to 0 to 100 %."""
        with self._device.lock:
            self._device.pack.set_soc(percent)

    @checked(TargetError)
    def set_ambient(self, celsius: float) -> None:
        """The air around it, -50 to 100 °C; the cells follow slowly."""
        with self._device.lock:
            self._device.pack.set_ambient(celsius)

    @checked(TargetError)
    def set_switch(self, switch: str, on: bool) -> None:
        """What somebody's app does: `charge`, `discharge` or `balance`, on or off."""
        with self._device.lock:
            self._device.pack.switch(_switch(switch), on)

    @checked(TargetError)
    def set_limits(
        self,
        *,
        cvl: float | None = None,
        ccl: float | None = None,
        dcl: float | None = None,
        ttl: float = 10.0,
    ) -> None:
        """What charger and load obey for `ttl` seconds, at most a day; then they let no current
        flow. `cvl` in V, `ccl` and `dcl` in A, 0 to 10000; what is not given limits nothing."""
        given = {"cvl": cvl, "ccl": ccl, "dcl": dcl}
        with self._device.lock:
            limits = {name: value for name, value in given.items() if value is not None}
            self._device.pack.around.give_limits(limits, ttl)

    @checked(TargetError)
    def ignore_commands(self, switch: str | None = None, *, acknowledged: bool = False) -> None:
        """Commands to a switch (to all, if none is named) have no effect from now on, and unless
        `acknowledged` no answer either. `repair("command_ignored")` or
        `repair("command_no_effect")` ends it."""
        name = "command_no_effect" if acknowledged else "command_ignored"
        self.fault(name if switch is None else f"{name}:{switch}")

    @checked(TargetError)
    def delay_commands(self, seconds: float) -> None:
        """Commands are acknowledged at once and obeyed later, 0.001 to 600 s."""
        self.fault(f"command_late:{seconds!r}")

    @checked(TargetError)
    def reboot(self, *, forgets: bool = False, after: float = 0.0) -> None:
        """The board restarts `after` so many seconds, is silent for two, and counts its uptime
        from 0. It keeps its switches or `forgets` them: then all are on."""
        self.fault(f"{'reboot_forgets' if forgets else 'reboot'}:{after!r}")

    @checked(TargetError)
    def second_host(self, after: float = 30.0) -> None:
        """Another program switches on again what has been off for so many seconds."""
        self.fault(f"second_host:{after!r}")

    @checked(TargetError)
    def disobey_limits(self) -> None:
        """Chargers and loads take no notice of `set_limits`."""
        self.fault("disobey")

    @checked(TargetError)
    def set_alternator(self, amps: float) -> None:
        """An alternator charges with 1 to 1000 A beside the load, and follows limits slowly."""
        self.fault(f"alternator:{amps!r}")

    @property
    def counters(self) -> dict[str, int]:
        """What was counted: `load_dumps` (a charge FET opened under the current of an
        alternator), `opened_under_load`, `commands` (frames with a switch in them), `boots`."""
        with self._device.lock:
            return self._device.pack.around.counters()

    @checked(TargetError)
    def set_condition(self, condition: str, severity: str | None) -> None:
        """Report a condition (`cell_overvoltage`) as `alarm`, `protection` (opens the FETs it is
        about) or `fault`; `None` takes it back, and resets a trip whose cause is gone. What has no
        bit of that severity in the protocol is read as the board says it, at worst as `other`."""
        known = _condition(condition)
        with self._device.lock:
            if severity is None:
                self._device.pack.clear_condition(known)
            else:
                self._device.pack.raise_condition(severity, known)

    @checked(TargetError)
    def fault(self, name: str) -> None:
        """Damage the line or a probe: `silent`, `noise`, `corrupt:50`, `late:0.5`, `probe:cell_1`…;
        `bmslink simulate --fault list` names them."""
        with self._device.lock:
            self._device.faults.enable(name)

    @checked(TargetError)
    def repair(self, name: str) -> None:
        """End a fault."""
        with self._device.lock:
            self._device.faults.disable(name)


def _switch(name: str) -> Switch:
    if name not in set(Switch):
        raise TargetError(f"There is no switch {name[:40]!r}; there are {', '.join(Switch)}.")
    return Switch(name)


def _condition(name: str) -> Condition:
    if name not in set(Condition):
        raise TargetError(f"There is no condition {name[:40]!r}; there are {', '.join(Condition)}.")
    return Condition(name)
