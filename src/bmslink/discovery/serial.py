"""Packs on a serial line: which questions it is asked, and the targets of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from bmslink.discovery.ble import wanted
from bmslink.discovery.probe_line import Hit
from bmslink.discovery.probes import PROBES, STEPS, ProbeStep
from bmslink.discovery.search import Survey, survey
from bmslink.errors import TargetError
from bmslink.link.transport import Endpoint, Transport, make_transport
from bmslink.model import Identity
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.probe import Probe

__all__ = ["cells", "described", "search", "steps_for", "target_of", "where"]

_GATEWAY_PATIENCE = 0.15
"""s that a network and the gateway in it may add to each answer."""
_MOST_PATIENCE = 0.5


def steps_for(endpoint: Endpoint) -> list[ProbeStep]:
    """The questions for a line: those of the vendor, speed and address that the target names.

    `TargetError` if no protocol has such an address.
    """
    address, rate = endpoint.integer("address"), endpoint.integer("baudrate")
    names = {name for name in DRIVERS if wanted(name, endpoint.protocol)}
    names |= {
        step.probe.after for step in STEPS if step.probe.after and names & {*step.probe.protocols}
    }
    steps = [step for step in STEPS if names & {*step.probe.protocols}]
    if address is not None:
        steps = _at_address(steps, address)
        if not steps:
            raise TargetError(f"No protocol has boards at address {address} (target {endpoint}).")
    if endpoint.scheme == "tcp":
        rate = 0  # the gateway has its own speed, which nobody tells us
    return steps if rate is None else _at_one_speed(steps, rate)


def _at_one_speed(steps: Sequence[ProbeStep], rate: int) -> list[ProbeStep]:
    """What is asked at two speeds is asked once; what is asked twice to wake a board, twice; and
    what is a write by its form only at the one speed that it has, or where nobody knows (0)."""
    found: list[ProbeStep] = []
    for step in steps:
        if step.probe.after and rate not in (0, step.baudrate):
            continue
        one = replace(step, baudrate=rate)
        if one.address is None or one not in found:
            found.append(one)
    return found


def _at_address(steps: Sequence[ProbeStep], address: int) -> list[ProbeStep]:
    found: dict[ProbeStep, None] = {}
    for step in steps:
        name = step.probe.protocol
        usable = address in load_driver(name).addresses and (
            address != 0 or _knows_zero(step.probe)
        )
        if usable and step.probe in PROBES:
            found[replace(step, address=address)] = None
    return list(found)


def _knows_zero(probe: Probe) -> bool:
    """Whether address 0 is one board's; on other buses it is that of all, or of none."""
    return any(0 in turn.addresses for turn in probe.turns)


def _open_at(endpoint: Endpoint, rate: int) -> Transport:
    return make_transport(endpoint.with_query(baudrate=rate or None))


async def search(
    endpoint: Endpoint, tell: Callable[[str], None], *, thorough: bool, within: float | None = None
) -> Survey:
    patience = 0.0
    if endpoint.scheme != "serial":  # a patient target is believed up to half a second
        wished = endpoint.number("timeout") or 0.0
        patience = min(max(wished, _GATEWAY_PATIENCE), _MOST_PATIENCE)
    return await survey(
        endpoint.place,
        partial(_open_at, endpoint),
        steps_for(endpoint),
        patience=patience,
        tell=tell,
        thorough=thorough,
        within=within,
    )


def target_of(endpoint: Endpoint, hit: Hit) -> Endpoint:
    """The target of a pack on a line; what its driver assumes anyway is left out."""
    usual = load_driver(hit.protocol).timing.baudrate
    rate = hit.baudrate if hit.baudrate not in (0, usual) else None
    named = replace(endpoint, protocol=hit.protocol)
    return named.with_query(baudrate=rate, address=hit.address)


def described(hit: Hit) -> str:
    words = [hit.identity.model or "", cells(hit.identity)]
    about = ", ".join(word for word in words if word)
    return f"{hit.protocol}{where(hit)}" + (f" ({about})" if about else "")


def where(hit: Hit) -> str:
    rate = f" at {hit.baudrate} baud" if hit.baudrate else ""
    return rate + ("" if hit.address is None else f", address {hit.address}")


def cells(identity: Identity) -> str:
    return f"{identity.cell_count} cells" if identity.cell_count else ""
