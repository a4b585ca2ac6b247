"""Finding packs: Bluetooth adverts and serial ports together, and what a bare target speaks.

```python
for found in await bmslink.scan():
    print(found.target, found.why)
```

Nothing but reads is ever sent (`discovery.probes` says which), and nothing at all where another
master speaks. Adverts are only listened to, unless `connect` asks for more.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

from bmslink import registry
from bmslink.arguments import checked
from bmslink.discovery.ble import SPOKEN, advertised, ask_radio, wanted
from bmslink.discovery.probe_line import Hit
from bmslink.discovery.serial import cells, described, search, steps_for, target_of, where
from bmslink.errors import BmsError, TargetError, UnknownDevice
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import Endpoint, Pin, make_transport, parse_target
from bmslink.model import Identity
from bmslink.protocols import VENDORS, load_driver

__all__ = ["Found", "by_confidence", "detect", "scan"]

CERTAIN, SERVED, OVERHEARD, ALSO, LIKELY, POSSIBLE = 1.0, 0.95, 0.9, 0.8, 0.7, 0.3

Tell = Callable[[str], None]
_WIRED = ("serial", "tcp", "rfc2217")
_BLE_TIMEOUT = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A pack that was found, or a port where none was (`protocol` is `None` then)."""

    target: str
    """What every command takes."""
    protocol: str | None = None
    """As in targets; `None`: nothing that we know answered."""
    name: str | None = None
    """The advertised name, or the model that the board names."""
    confidence: float = 0.0
    """1: it gave a checked answer; 0.95: a running service has it; 0.9: overheard; 0.8: answers
    too, another protocol of the same board is better; 0.7 and 0.3: an advert that only such boards
    send, or others as well; 0: not found."""
    signal: int | None = None
    """Strength of the radio signal, dBm."""
    tried: tuple[str, ...] = ()
    """What was sent and heard on the way."""
    why: str = ""
    """Why it is taken for this, or what prevented it."""


OnFound = Callable[[Found], None]


def _quiet(text: str) -> None:
    """Nobody wants to know."""


# ---------------------------------------------------------------------------------- one target


async def detect(endpoint: Endpoint, *, pin: Pin | None = None, tell: Tell = _quiet) -> Endpoint:
    """The same target with the protocol, speed and address that were found by reading.

    `endpoint.protocol` may be a vendor. What was found is reported. Raises what keeps the line from
    being opened, and `UnknownDevice` with the reason where nothing is found.
    """
    if endpoint.scheme == "scan":
        return await _find_one(endpoint.protocol, pin, tell)
    if endpoint.scheme == "ble":
        name, identity, _ = await ask_radio(endpoint, pin, tell)
        found = replace(endpoint, protocol=name)
        tell(f"{endpoint.place}: found {name}{_model(identity)}{_next_time(found)}")
        return found
    result = await search(endpoint, tell, thorough=False)
    if not result.hits:
        for one in result.tried:
            tell(f"{endpoint.place}: {one}")
        raise UnknownDevice(f"No pack was found on {endpoint}. {result.why}")
    best = result.hits[0]
    found = target_of(endpoint, best)
    if not best.question and not best.pushes and not load_driver(best.protocol).yields:
        raise UnknownDevice(
            f"Somebody else already asks {described(best)} on {endpoint}. Take him off the line, "
            f"or write {shlex.quote(str(found))} to ask beside him."
        )
    others = [hit for hit in result.hits[1:] if hit.address != best.address]
    more = f"; {len(others)} more answer, see `bmslink scan`" if others else ""
    why = f" ({result.why})" if result.why else ""
    tell(f"{endpoint.place}: found {described(best)}{why}{more}{_next_time(found)}")
    return found


def _next_time(found: Endpoint) -> str:
    return f"; next time write {shlex.quote(str(found))}"


def meant(results: Sequence[Found]) -> list[Found]:
    """The packs among what was found, each once: the surest protocol of a board, and an advert
    that others send too only where nothing is surer."""
    packs = [one for one in results if one.confidence in (CERTAIN, SERVED, OVERHEARD, LIKELY)]
    return packs or [one for one in results if one.confidence == POSSIBLE]


async def _find_one(protocol: str | None, pin: Pin | None, tell: Tell) -> Endpoint:
    """The only pack of a vendor or protocol in reach."""
    results = await scan(protocol=protocol, pin=pin, on_progress=tell)
    packs = meant(results)
    if not packs:
        ports = " ".join(f"{one.target}: {one.why}" for one in results[:3])
        raise UnknownDevice(f"No {protocol} pack was found. {ports}".strip())
    if len(packs) > 1:
        raise TargetError(
            f"{len(packs)} packs may be meant; name one: "
            f"{', '.join(one.target for one in packs[:6])}."
        )
    found = parse_target(packs[0].target)
    if found.scheme == "ble":  # so far it was only seen
        return await detect(replace(found, protocol=protocol), pin=pin, tell=tell)
    tell(f"found {packs[0].target} ({packs[0].why})")
    return found


def _model(identity: Identity) -> str:
    return f" ({identity.model})" if identity.model else ""


async def _search_line(
    endpoint: Endpoint, tell: Tell, found: OnFound, within: float | None
) -> None:
    """All packs on one line, or why there are none. A line that a service owns is left alone."""
    place = str(endpoint)
    try:
        if owned := await asyncio.to_thread(registry.on_line, endpoint):
            for one in owned:
                found(_served(one, endpoint.protocol))
            return
        result = await search(endpoint, tell, thorough=True, within=within)
    except BmsError as error:
        found(Found(target=place, why=str(error)))
        return
    tried = tuple(result.tried)
    if not result.hits:
        found(Found(target=place, tried=tried, why=result.why))
    for number, hit in enumerate(result.hits):
        better = [other for other in result.hits[:number] if other.protocol != hit.protocol]
        also = any(None in (o.address, hit.address) or o.address == hit.address for o in better)
        found(_found_at(endpoint, hit, tried, result.why, also=also))


def _served(one: registry.Served, protocol: str | None) -> Found:
    """A pack that a running service owns: nothing is asked of it here. It is no find where another
    `protocol` or vendor is looked for."""
    speaks = parse_target(one.target).protocol
    meant = speaks is not None and wanted(speaks, protocol)
    return Found(
        target=one.target,
        protocol=speaks if meant else None,
        name=one.name,
        confidence=SERVED if meant else 0.0,
        why=f"the service (process {one.service.pid}) owns its line and serves it as {one.name}; "
        "commands go through it",
    )


def _found_at(
    endpoint: Endpoint, hit: Hit, tried: tuple[str, ...], remark: str, *, also: bool
) -> Found:
    what = f"answered {hit.question}" if hit.question else "overheard"
    why = ", ".join(w for w in (f"{what}{where(hit)}", cells(hit.identity)) if w)
    if also:
        why += "; the same board answers the protocol above, which is better"
    return Found(
        target=str(target_of(endpoint, hit)),
        protocol=hit.protocol,
        name=hit.identity.model or hit.identity.serial_number,
        confidence=ALSO if also else CERTAIN if hit.question else OVERHEARD,
        tried=tried,
        why=f"{why}; {remark[0].lower()}{remark[1:]}" if remark else why,
    )


# ------------------------------------------------------------------------------------ Bluetooth


def _vendor(protocol: str) -> str:
    """The vendor of a protocol, or the vendor itself; `TargetError` for neither."""
    return protocol if protocol in VENDORS else load_driver(protocol).vendor


def _found_in(seen: SeenDevice, protocol: str | None) -> Found | None:
    """What an advert makes a pack of, if any."""
    likely = advertised(seen)
    if likely is None:
        return None
    name, certain = likely
    maker = load_driver(name).vendor
    if protocol is not None and maker != _vendor(protocol):
        return None
    family = [n for n in SPOKEN if load_driver(n).vendor == maker]
    title = load_driver(name).vendor_name or maker
    why = f"advertises as {title} modules do" + ("" if certain else ", and others too")
    if len(family) > 1:
        why += f"; connecting tells whether it speaks {' or '.join(family)}"
    return Found(
        target=str(Endpoint("ble", seen.address, name)),
        protocol=name,
        name=seen.name or None,
        confidence=LIKELY if certain else POSSIBLE,
        signal=seen.rssi,
        tried=("listened for adverts",),
        why=why,
    )


async def _search_radio(
    tell: Tell,
    found: OnFound,
    within: float,
    *,
    connect: bool,
    protocol: str | None,
    pin: Pin | None,
) -> None:
    from bmslink.transports.ble.transport import scan_adverts  # not everybody has Bluetooth

    named: set[str] = set()

    def heard(seen: SeenDevice) -> None:
        pack = _found_in(seen, protocol)
        if pack is not None and seen.address not in named:
            named.add(seen.address)
            tell(f"Bluetooth: {seen.name or seen.address} {pack.why.partition(';')[0]}")

    tell("Bluetooth: listening for adverts")
    reach = await scan_adverts(within, heard)
    packs = [pack for seen in reach if (pack := _found_in(seen, protocol)) is not None]
    tell(_in_reach(len(reach), len(packs)))
    for one in await asyncio.to_thread(registry.served_by_radio):
        found(_served(one, protocol))
    for pack in packs:
        found(await _connected(pack, tell, pin) if connect else pack)


def _in_reach(devices: int, packs: int) -> str:
    count = "1 device" if devices == 1 else f"{devices or 'no'} devices"
    if packs:
        return f"Bluetooth: {count} in reach, {packs} may be {'a pack' if packs == 1 else 'packs'}"
    return (
        f"Bluetooth: {count} in reach, none known as a pack. A pack that sleeps, or that a phone "
        "app is connected to, does not advertise: close the app, and wake the pack."
    )


async def _connected(pack: Found, tell: Tell, pin: Pin | None) -> Found:
    """The same after it was asked."""
    endpoint = parse_target(pack.target)
    try:
        vendor = load_driver(endpoint.protocol or "").vendor
        name, identity, tried = await ask_radio(replace(endpoint, protocol=vendor), pin, tell)
    except BmsError as error:
        return replace(pack, confidence=POSSIBLE, why=f"{pack.why}; asked, but: {error}")
    return replace(
        pack,
        target=str(replace(endpoint, protocol=name)),
        protocol=name,
        name=pack.name or identity.model,
        confidence=CERTAIN,
        tried=(*pack.tried, *tried),
        why=", ".join(w for w in (f"answered as {name}", identity.model, cells(identity)) if w),
    )


# ----------------------------------------------------------------------------------- everything


def port_of(text: str, protocol: str | None = None) -> Endpoint:
    """What is looked at for a port or gateway; `TargetError` for what is none."""
    endpoint = parse_target(text)
    if endpoint.scheme not in _WIRED:
        raise TargetError(
            f"{text!r} is no serial port or gateway: scan takes e.g. /dev/ttyUSB0, COM3 or "
            "tcp://192.168.1.20:8899."
        )
    wanted = endpoint.protocol or protocol
    if wanted is not None:
        _vendor(wanted)
    return replace(endpoint, protocol=wanted)


def _own_ports(tell: Tell, protocol: str | None) -> list[Endpoint]:
    """The ports of this machine, without those that lead nowhere."""
    from bmslink.transports.ports import serial_ports

    chosen = []
    for port in serial_ports():
        if port.skip_reason:
            tell(f"{port.device}: left out, it {port.skip_reason}")
        else:
            chosen.append(Endpoint("serial", port.device, protocol))
    if not chosen:
        tell("No serial port is there to be looked at.")
    return chosen


def _each_once(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """One port by two names is one port."""
    found: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        line = make_transport(endpoint).line()
        found.setdefault(line.name if line is not None else str(endpoint), endpoint)
    return list(found.values())


@checked(TargetError)
async def scan(
    *,
    ble: bool | None = None,
    serial: bool | None = None,
    ports: Sequence[str] = (),
    protocol: str | None = None,
    timeout: float | None = None,
    connect: bool = False,
    pin: str | Pin | None = None,
    on_found: Callable[[Found], None] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[Found]:
    """Look for packs over Bluetooth and on serial ports at once; the surest first.

    `ble` and `serial` choose (neither: both, and Bluetooth that does not work is a remark);
    `ports` names the ports and gateways instead of all ports of this machine, and leaves
    Bluetooth out unless it is asked for; `protocol` may be a vendor. `timeout` is how long adverts
    are listened to (8 s) and how long one port may take (as long as its questions take, some
    25 s). `connect` asks what an advert leaves open. Ports where nothing was found come last, with
    the reason.

    Raises `TargetError` for a port that cannot be, and what keeps Bluetooth from working where
    `ble` asks for it.
    """
    tell = on_progress or _quiet
    if protocol is not None:
        _vendor(protocol)
    secret = pin if isinstance(pin, Pin) else Pin(pin)
    chosen = ble or serial or bool(ports)
    results: list[Found] = []

    def found(one: Found) -> None:
        results.append(one)
        if on_found is not None:
            on_found(one)

    lines = [port_of(text, protocol) for text in ports]
    if not ports and (serial or not chosen):
        lines = _own_ports(tell, protocol)
    for endpoint in lines:
        steps_for(endpoint)
    work = [_search_line(line, tell, found, timeout) for line in _each_once(lines)]
    if ble or not chosen:
        radio = _search_radio(
            tell, found, timeout or _BLE_TIMEOUT, connect=connect, protocol=protocol, pin=secret
        )
        work.append(radio if ble else _or_remark(radio, tell))
    await _together(work)
    return by_confidence(results)


def by_confidence(results: Sequence[Found]) -> list[Found]:
    """The surest first, then the nearest."""
    return sorted(results, key=lambda one: (-one.confidence, -(one.signal or -999), one.target))


async def _or_remark(radio: Coroutine[None, None, None], tell: Tell) -> None:
    try:
        await radio
    except BmsError as error:
        tell(f"Bluetooth was left out: {error}")


async def _together(work: Sequence[Coroutine[None, None, None]]) -> None:
    """All at once; a failure is raised when the others have come to their end."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
