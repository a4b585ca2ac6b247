"""A pack under policies that act: a simulated board of one dialect, the service, a policy file that
a person approved. On virtual time, real bytes below."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bmslink
from bmslink.control.files import parse_policies
from bmslink.control.presets import preset
from bmslink.link.transport import parse_target
from bmslink.runtime.acting.start import approve_policies
from bmslink.runtime.feed import PackEvent
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import PackPlan, PolicyFile, ServicePlan
from bmslink.testing import SimulatedPack
from service_support import serving

__all__ = ["PROBES", "VENDORS", "EnforcedBench", "approve", "enforced", "policy_text"]

VENDORS = ("jk02", "daly-a5", "jbd")
"""One dialect of each vendor."""
PROBES = {"jk02": "cell_1", "daly-a5": "sensor_1", "jbd": "sensor_1"}
"""The probe that counts in the policies of each."""


_BEFORE_THE_BMS = {
    "ov_warning": "3.66 V -> 3.50 V",
    "ov_trip": "3.70 V -> 3.55 V",
    "ov_critical": "3.75 V -> 3.62 V",
    "uv_trip": "2.70 V -> 2.90 V",
    "charge_ut_trip": "0 °C -> 3 °C",
    "charge_ut_release": "3 °C -> 6 °C",
    "charge_ot_trip": "55 °C -> 50 °C",
    "charge_ot_release": "50 °C -> 47 °C",
    "discharge_ot_trip": "60 °C -> 55 °C",
    "discharge_ot_release": "55 °C -> 52 °C",
}
"""Thresholds that lie inside those of the simulated BMS, so that ours act first."""


def policy_text(protocol: str = "jk02", *, host_power: str | None = "other", cells: int = 4) -> str:
    """The preset for LFP, with everything enforced, before the BMS acts itself."""
    text = preset("lfp", "solar", cells=cells, capacity=100.0)
    text = text.replace('mode = "shadow"', 'mode = "enforce"')
    for name, change in _BEFORE_THE_BMS.items():
        old, _, new = change.partition(" -> ")
        assert f'{name} = "{old}"' in text
        text = text.replace(f'{name} = "{old}"', f'{name} = "{new}"')
    battery = [f'sensors = ["{PROBES[protocol]}"]']
    if host_power is not None:
        battery.append(f'host_power = "{host_power}"')
    return text.replace('chemistry = "lfp"', "\n".join(['chemistry = "lfp"', *battery]))


class EnforcedBench:
    """One pack under the service."""

    def __init__(self, pack: SimulatedPack, text: str, *, enforce: bool = True) -> None:
        self.pack = pack
        self.text = text
        file = PolicyFile("lfp.toml", "0" * 64, parse_policies(text, Path("lfp.toml")), text)
        target = pack.target
        plan = PackPlan("pack", target, parse_target(target), policies=file, enforce=enforce)
        self.service = Service(ServicePlan((plan,)))
        self.events: list[PackEvent] = []

    @property
    def served(self) -> ServedPack:
        return self.service.packs["pack"]

    def switch(self, name: str) -> Mapping[str, Any]:
        """How the status shows a switch."""
        found: Mapping[str, Any] = self.served.status()["acting"]["switches"][name]
        return found

    def on(self, name: str) -> bool:
        """How the switch really is."""
        found: bool = self.pack.truth().to_dict()[f"{name}_switch"]
        return found

    def said(self, change: str) -> list[str]:
        return [e.text for e in self.events if e.what == "acting" and e.data["change"] == change]

    async def until(self, truth: Any, within: float) -> float:
        """Wait until something holds; how long that took, s."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not truth():
            assert loop.time() - begun < within, self.trouble()
            await asyncio.sleep(0.1)
        return loop.time() - begun

    async def stays(self, truth: Any, seconds: float) -> bool:
        """Whether something holds from now to then, but for the first ten seconds."""
        await asyncio.sleep(10)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            if not truth():
                return False
            await asyncio.sleep(1)
        return True

    def trouble(self) -> str:
        return "\n".join([*(e.text for e in self.events[-30:]), str(self.served.status())])

    async def _listen(self) -> None:
        with self.service.feed.subscribe(size=100_000) as news:
            async for item in news:
                if isinstance(item.data, PackEvent):
                    self.events.append(item.data)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[EnforcedBench]:
        async with serving(self.service, self._listen):
            yield self


async def approve(pack: SimulatedPack, text: str) -> None:
    async with bmslink.connect(pack.target) as device:
        approve_policies(device.board, await device.identify(), text, "lfp.toml", "anna")


@asynccontextmanager
async def enforced(
    protocol: str, *, cells: int = 4, text: str | None = None, **more: Any
) -> AsyncIterator[EnforcedBench]:
    """An approved file, and 65 s of peace: then everything may act."""
    pack = SimulatedPack(protocol, cells=cells, **more)
    text = policy_text(protocol, cells=cells) if text is None else text
    await approve(pack, text)
    async with EnforcedBench(pack, text).running() as bench:
        await bench.until(lambda: bench.served.judge.enforcing, 30)
        await asyncio.sleep(65)
        yield bench
