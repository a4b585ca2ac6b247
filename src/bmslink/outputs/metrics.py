"""Prometheus metrics of the packs, in base units: V, A, W, J, C, °C, s, and ratios from 0 to 1.

A pack that is not read has no values, so a graph shows a gap and never the last value. What a BMS
does not say is left out too. This needs prometheus-client, which the extra `service` brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.registry import Collector

from bmslink.model import Reading
from bmslink.outputs.pack_now import PackNow

__all__ = ["PackCollector", "expose"]

_AT_ONCE = 16
"""Packs whose values of one kind are written in one go, about 0.5 ms: commands come in between."""
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


class PackCollector(Collector):
    """The metrics of these packs, for a registry of prometheus-client."""

    def __init__(self, packs: Sequence[PackNow]) -> None:
        self._packs = packs

    def collect(self) -> Iterator[Metric]:
        """Each family that has a value."""
        for family in _FAMILIES:
            metric = _metric(family, self._packs)
            if metric.samples:
                yield metric


class _One(Collector):
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


async def expose(
    packs: Sequence[PackNow], accept: str, *, version: str, began: datetime
) -> tuple[bytes, str]:
    """The text of a scrape and its content type: OpenMetrics where `accept` asks for it, else the
    classic format. It is written in pieces, and whatever else the loop has to do comes in between.
    """
    encode, content_type = _encoder(accept)
    pieces = [encode(_One(each)) for each in _of_service(version, began)]
    for family in _FAMILIES:
        begun = False
        for first in range(0, len(packs), _AT_ONCE):
            metric = _metric(family, packs[first : first + _AT_ONCE])
            if metric.samples:
                text = encode(_One(metric))
                pieces.append(_samples(text) if begun else text)
                begun = True
                await asyncio.sleep(0)
    text = b"".join(pieces)
    if not content_type.startswith(_OPEN_METRICS):
        return text, content_type
    return text.replace(_END, b"") + _END, content_type


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """prometheus-client's choice. All our names are plain, so replacing what is not plain by
    underscores changes nothing; but in OpenMetrics it would take half of the time."""
    encode, content_type = choose_encoder(accept)
    if not isinstance(encode, partial) or not content_type.startswith(_OPEN_METRICS):
        return encode, content_type
    if encode.keywords.get("escaping") == UNDERSCORES:
        encode = partial(encode.func, **{**encode.keywords, "escaping": ALLOWUTF8})
    return encode, content_type


_OPEN_METRICS = "application/openmetrics-text"
_END = b"# EOF\n"
"""The last line of OpenMetrics; it cannot be in a value, where a line break is escaped."""


def _samples(text: bytes) -> bytes:
    """A text without its comments."""
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"# "))


def _metric(family: _Family, packs: Sequence[PackNow]) -> Metric:
    metric = Metric(family.name, family.help, family.kind)
    name = family.name + {"counter": "_total", "info": "_info"}.get(family.kind, "")
    for pack in packs:
        for labels, value in family.values(pack):
            if value is not None:
                metric.add_sample(name, {"pack": pack.name, **labels}, value)
    return metric


def _of_service(version: str, began: datetime) -> Iterator[Metric]:
    info = Metric("bmslink_service", "The service that answers.", "info")
    info.add_sample("bmslink_service_info", {"version": version}, 1)
    yield info
    start = Metric("bmslink_service_start_time_seconds", "When the service began.", "gauge")
    start.add_sample(start.name, {}, began.timestamp())
    yield start


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
