"""Prometheus metrics of the packs, in base units: V, A, W, J, C, °C, s, and ratios from 0 to 1.

A pack that is not read has no values, so a graph shows a gap and never the last value. What a BMS
does not say is left out too. This needs prometheus-client, which the extra `service` brings.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.registry import Collector

from bmslink.model import Reading
from bmslink.outputs.pack_now import PackNow

__all__ = ["expose"]

_PACKS, _AT_ONCE = 4, 64
"""Packs whose values of one kind are written in one go, and samples after which commands come in
between: 0.1 ms, and 1 ms for what is written for the first time."""
_MOST = 200_000
"""Samples whose labels are remembered."""
_AMPERE_HOUR = 3600
"""C."""

_Labels = Mapping[str, str]
_Values = Iterable[tuple[_Labels, float | None]]


class _Family(NamedTuple):
    """One metric: all its samples, of all packs."""

    name: str
    kind: str
    """`gauge`, `counter` (its samples end in `_total`) or `info` (in `_info`)."""
    help: str
    values: Callable[[PackNow], _Values]


class _One(Collector):
    """A registry of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """It."""
        yield self._metric


async def expose(
    packs: Sequence[PackNow],
    accept: str,
    *,
    version: str,
    began: datetime,
    banks: Mapping[str, Mapping[str, float]] = {},
) -> tuple[bytes, str]:
    """The text of a scrape and its content type: OpenMetrics where `accept` asks for it, else the
    classic format. It is written in pieces, and whatever else the loop has to do comes in between.
    `banks`: the limits of each bank, V and A.
    """
    encode, content_type = choose_encoder(_ESCAPING.sub("escaping=underscores", accept))
    pieces = [_text(encode, each) for each in (*_of_service(version, began), *_of_banks(banks))]
    waiting = 0
    for family in _FAMILIES:
        begun = False
        for first in range(0, len(packs), _PACKS):
            lines = _lines(family, packs[first : first + _PACKS])
            if lines and not begun:
                pieces.append(_text(encode, Metric(family.name, family.help, family.kind)))
                begun = True
            pieces += lines
            waiting += len(lines)
            if waiting >= _AT_ONCE:
                waiting = 0
                await asyncio.sleep(0)
    if content_type.startswith("application/openmetrics-text"):
        pieces.append(_END)
    return "".join(pieces).encode(), content_type


_ESCAPING = re.compile(r"escaping=(dots|values)")
"""Ways to write what is no plain name; all of ours are."""
_END = "# EOF\n"
"""The last line of OpenMetrics; it cannot be in a value, where a line break is escaped."""
_BEGINNINGS: dict[tuple[str, ...], str] = {}
"""Name and labels of each sample, as prometheus-client writes them: it takes most of the time."""


def _text(encode: Callable[[Collector], bytes], metric: Metric) -> str:
    return encode(_One(metric)).decode().removesuffix(_END)


def _lines(family: _Family, packs: Sequence[PackNow]) -> list[str]:
    """The samples of some packs."""
    found: list[str] = []
    for pack in packs:
        for labels, value in family.values(pack):
            if value is not None:
                key = family.name, pack.name, *labels.values()
                beginning = _BEGINNINGS.get(key) or _beginning(key, family, pack, labels)
                found.append(f"{beginning} {float(value)!r}\n")
    return found


def _beginning(key: tuple[str, ...], family: _Family, pack: PackNow, labels: _Labels) -> str:
    metric = Metric(family.name, family.help, family.kind)
    name = family.name + {"counter": "_total", "info": "_info"}.get(family.kind, "")
    metric.add_sample(name, {"pack": pack.name, **labels}, 0)
    if len(_BEGINNINGS) >= _MOST:
        _BEGINNINGS.clear()
    line = _text(generate_latest, metric).rstrip("\n").rpartition("\n")[2]
    return _BEGINNINGS.setdefault(key, line.rpartition(" ")[0])


def _of_service(version: str, began: datetime) -> Iterator[Metric]:
    info = Metric("bmslink_service", "The service that answers.", "info")
    info.add_sample("bmslink_service_info", {"version": version}, 1)
    yield info
    start = Metric("bmslink_service_start_time_seconds", "When the service began.", "gauge")
    start.add_sample(start.name, {}, began.timestamp())
    yield start


def _of_banks(banks: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    for kind, what, names in (("amperes", "Current", ("ccl", "dcl")),
                              ("volts", "Voltage", ("cvl", "dvl"))):  # fmt: skip
        metric = Metric(f"bmslink_bank_limit_{kind}", f"{what} limit of a bank.", "gauge")
        for bank, limits in banks.items():
            for name in names:
                if name in limits:
                    metric.add_sample(metric.name, {"bank": bank, "limit": name}, limits[name])
        if metric.samples:
            yield metric


# -- values of one pack --------------------------------------------------------------------------

_NONE: _Labels = {}


def _one(get: Callable[[Reading], float | None], pack: PackNow) -> _Values:
    if pack.reading is not None:
        yield _NONE, get(pack.reading)


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)


def _coulombs(ampere_hours: float | None) -> float | None:
    return None if ampere_hours is None else round(ampere_hours * _AMPERE_HOUR, 3)


def _cells(get: Callable[[Reading], Sequence[float | None] | None], pack: PackNow) -> _Values:
    found = None if pack.reading is None else get(pack.reading)
    for number, value in enumerate(found or (), 1):
        yield {"cell": str(number)}, value


def _temperatures(pack: PackNow) -> _Values:
    for sensor, value in () if pack.reading is None else pack.reading.temperatures.items():
        yield {"sensor": sensor}, value


def _info(pack: PackNow) -> _Values:
    identity = pack.identity
    if identity is not None:
        names = ("protocol", "vendor", "model", "hardware", "firmware", "serial_number")
        yield {name: getattr(identity, name) or "" for name in names}, 1


def _switches(pack: PackNow) -> _Values:
    for name in ("charge", "discharge", "balance") if pack.reading is not None else ():
        yield {"switch": name}, getattr(pack.reading, f"{name}_switch")


def _paths(pack: PackNow) -> _Values:
    if pack.reading is not None:
        yield {"direction": "charge"}, pack.reading.charging_allowed
        yield {"direction": "discharge"}, pack.reading.discharging_allowed


_LEVELS = {"alarm": "alarms", "protection": "protections", "fault": "faults"}


def _conditions(pack: PackNow) -> _Values:
    for level, key in _LEVELS.items() if pack.reading is not None else ():
        for condition in dict.fromkeys(getattr(pack.reading, key)):
            yield {"level": level, "condition": str(condition)}, 1


def _condition_counts(pack: PackNow) -> _Values:
    if pack.reading is not None and pack.reading.conditions_known:
        for level, key in _LEVELS.items():
            yield {"level": level}, len(getattr(pack.reading, key))


def _limits(names: Sequence[str], pack: PackNow) -> _Values:
    for name in names:
        yield {"limit": name}, pack.limits.get(name)


def _by_direction(get: Callable[[PackNow], Mapping[str, float]], pack: PackNow) -> _Values:
    for direction, value in get(pack).items():
        yield {"direction": direction}, value


def _requests(pack: PackNow) -> _Values:
    for result, key in (("answered", "answers"), ("timeout", "timeouts")):
        yield {"result": result}, pack.link.get(key)


def _reading(name: str, text: str, get: Callable[[Reading], float | None]) -> _Family:
    return _Family(f"bmslink_{name}", "gauge", text, partial(_one, get))


_FAMILIES = (
    _Family("bmslink_pack_up", "gauge", "1 while the pack is read, else 0.",
            lambda pack: [(_NONE, pack.polled)]),
    _Family("bmslink_pack_state", "gauge", "How the pack is, in one word; 1 for that word.",
            lambda pack: [({"state": pack.state}, 1)]),
    _Family("bmslink_pack", "info", "Who the pack says it is.", _info),
    _Family("bmslink_pack_reading_timestamp_seconds", "gauge", "When the latest reading came.",
            lambda pack: [(_NONE, None if pack.heard is None else pack.heard.timestamp())]),
    _reading("pack_voltage_volts", "Voltage of the pack.", lambda r: r.voltage),
    _reading("pack_current_amperes", "Current, positive while charging.", lambda r: r.current),
    _reading("pack_power_watts", "Power, positive while charging.", lambda r: r.power),
    _reading("pack_charge_ratio", "State of charge, 0 to 1.", lambda r: _ratio(r.soc)),
    _reading("pack_health_ratio", "State of health, 0 to 1.", lambda r: _ratio(r.soh)),
    _reading("pack_remaining_charge_coulombs", "Charge that is left in the pack.",
             lambda r: _coulombs(r.remaining_capacity)),
    _reading("pack_full_charge_coulombs", "Charge of a full pack, as the BMS believes today.",
             lambda r: _coulombs(r.full_capacity)),
    _reading("pack_nominal_charge_coulombs", "Charge that the pack was designed for.",
             lambda r: _coulombs(r.nominal_capacity)),
    _Family("bmslink_pack_cycles", "counter", "Full cycles that the BMS has counted.",
            partial(_one, lambda r: r.cycles)),
    _Family("bmslink_cell_voltage_volts", "gauge", "Voltage of a cell.",
            partial(_cells, lambda r: r.cell_voltages)),
    _Family("bmslink_cell_resistance_ohms", "gauge", "Resistance of a balance wire.",
            partial(_cells, lambda r: r.cell_resistances)),
    _Family("bmslink_temperature_celsius", "gauge", "Temperature of a probe.", _temperatures),
    _reading("pack_balance_current_amperes", "Current of the balancer.",
             lambda r: r.balance_current),
    _reading("pack_balancing", "1 while a cell is balanced.", lambda r: r.balancing_active),
    _Family("bmslink_pack_switch", "gauge", "1 where the BMS reports its switch on.", _switches),
    _Family("bmslink_pack_conducting", "gauge", "1 where the path conducts.", _paths),
    _Family("bmslink_pack_conditions", "gauge",
            "How many conditions the BMS reports; no value where it does not say.",
            _condition_counts),
    _Family("bmslink_pack_condition", "gauge", "1 for each condition that is there.", _conditions),
    _Family("bmslink_limit_amperes", "gauge", "Current limit of the policies: ccl, dcl.",
            partial(_limits, ("ccl", "dcl"))),
    _Family("bmslink_limit_volts", "gauge", "Voltage limit of the policies: cvl, dvl.",
            partial(_limits, ("cvl", "dvl"))),
    _Family("bmslink_permit", "gauge", "1 where the policies permit it.",
            lambda pack: [({"permit": name}, value) for name, value in pack.permits.items()]),
    _Family("bmslink_energy_joules", "counter", "Energy through the pack while it was read.",
            partial(_by_direction, lambda pack: pack.energy)),
    _Family("bmslink_charge_coulombs", "counter", "Charge through the pack while it was read.",
            partial(_by_direction, lambda pack: pack.charge)),
    _Family("bmslink_link_requests", "counter", "Requests by their result.", _requests),
    _Family("bmslink_link_damaged_frames", "counter", "Frames with a wrong checksum.",
            lambda pack: [(_NONE, pack.link.get("checksum_errors"))]),
    _Family("bmslink_link_openings", "counter", "How often the link was opened.",
            lambda pack: [(_NONE, pack.link.get("openings"))]),
    _Family("bmslink_link_turnaround_seconds", "gauge",
            "From a request to the end of its answer, a mean of the last ones.",
            lambda pack: [(_NONE, pack.link.get("turnaround"))]),
)  # fmt: skip
