"""A battery's life, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bmslink.cli.render.clean import clean

__all__ = ["life_lines"]

_Life = Mapping[str, Any]
_WIDTH = 20


def life_lines(pack: str, life: _Life) -> Iterator[str]:
    """All of it. `life` is what the interface gives."""
    since, until = _day(life["since"]), _minute(life["until"])
    yield f"{clean(pack)}: the life of its battery since {since}, as of {until}"
    yield from _throughput(life["throughput"])
    yield from _capacity(life["capacity"], life["chemistry"])
    yield from _full(life["full"])
    yield from _resistance(life["resistance"])
    yield from _imbalance(life["imbalance"])
    yield from _bands("hours by charge", life["soc_hours"], "%")
    yield from _bands("hours by °C", life["temperature_hours"], "°C")
    yield from _rates(life["rates"])


def _line(title: str, text: str) -> str:
    return f"  {title:<{_WIDTH}}{text}"


def _throughput(flow: _Life) -> Iterator[str]:
    for title, way in (("charged", "charged"), ("discharged", "discharged")):
        charge = _sure(flow, f"{way}_capacity", 1, 1)
        energy = _sure(flow, f"{way}_energy", 1000, 2)
        yield _line(title, f"{charge} Ah, {energy} kWh")
    if flow["equivalent_cycles"] is None:
        yield _line("full cycles", "unknown: the board does not report its nominal capacity")
    else:
        cycles, capacity = _sure(flow, "equivalent_cycles", 1, 1), flow["capacity"]
        yield _line("full cycles", f"{cycles} (of {capacity:g} Ah), as counted here")
    board, since = flow["board_cycles"], flow["board_cycles_since"]
    if board is not None:
        moved = flow["board_cycle_capacity"]
        more = "" if moved is None else f", {moved:.0f} Ah"
        yield _line("", f"{board} over its life{more}, {since} of them since then, says the board")
    known, unknown = flow["known_seconds"] / 3600, flow["unknown_seconds"] / 3600
    yield _line("counted", f"{_hours(known)}; of {_hours(unknown)} more nothing is known")


def _sure(flow: _Life, name: str, unit: float, digits: int) -> str:
    value, sure = flow[name], flow[f"{name}_uncertainty"]
    return f"{_number(value / unit, digits)} ± {_number(sure / unit, digits)}"


def _capacity(found: _Life, chemistry: str | None) -> Iterator[str]:
    now, share = found["now"], found["of_nominal"]
    nominal = "" if share is None else f", {share:.1f} % of nominal"
    yield _line("capacity", _estimate(now, "Ah", 1, 1, "pass|passes", nominal))
    if now["value"] is not None:
        if not found["judged"]:
            yield _line("", f"not proven: the method was judged for LFP, not for {chemistry}")
        yield _line("  it changes", _trend(found["trend"], "% a year", 1))
    offset = found["offset"]
    if offset["value"] is not None:
        loops = "loop from full to full|loops from full to full"
        yield _line("  current is off", _estimate(offset, "A", 1, 3, loops))
    if found["unused"]:
        yield _line("", f"{_count(found['unused'], 'pass|passes')} too uncertain, not used")


def _full(full: _Life) -> Iterator[str]:
    if full["days"] is None:
        watched = _hours(24 * full["watched_days"])
        yield _line("full last", f"unknown: {full['why']} It was watched for {watched}.")
        return
    often = _count(full["count"], "time|times")
    yield _line("full last", f"{full['days']:.1f} days ago; {often} in this record")


def _resistance(found: _Life) -> Iterator[str]:
    yield _line("cell resistance", _estimate(found["median"], "mΩ", 1000, 3, "step|steps"))
    if found["median"]["value"] is None:
        return
    warm, soc, delay = found["temperature"], found["soc"], found["delay"]
    at = [f"{delay:.0f} s after a step"] if delay is not None else []
    at += [f"at {warm:.0f} °C"] if warm is not None else []
    at += [f"{soc:.0f} % charge"] if soc is not None else []
    yield _line("", ", ".join(at))
    for cell in found["cells"]:
        change = "" if cell["change"] is None else f", {cell['change']:+.1f} since the first block"
        value, sure = 1000 * cell["value"], 1000 * cell["uncertainty"]
        yield _line(
            f"  cell {cell['cell']}",
            f"{value:.3f} ± {sure:.3f} mΩ, {cell['of_median']:.0f} % of the median{change}",
        )
    yield _line("  it changes", _trend(found["trend"], "% a year", 1))


def _imbalance(found: _Life) -> Iterator[str]:
    for name, title in (("rest", "cells differ at rest"), ("top", "cells differ full")):
        yield _line(title, " " + _estimate(found[name], "mV", 1, 1, "sample|samples"))
        if found[name]["value"] is not None:
            yield _line("  it changes", _trend(found[f"{name}_trend"], "mV a year", 1))


def _bands(title: str, bands: Iterable[_Life], unit: str) -> Iterator[str]:
    parts = []
    for band in bands:
        if not band["hours"]:
            continue
        low, high = band["low"], band["high"]
        if low is None and high is None:
            name = "unknown"
        elif low is None:
            name = f"below {high:g}"
        else:
            name = f"above {low:g}" if high is None else f"{low:g} to {high:g}"
        parts.append(f"{name} {unit}: {_number(band['hours'], 1)}" if name != "unknown" else
                     f"unknown: {_number(band['hours'], 1)}")  # fmt: skip
    yield _line(title, "; ".join(parts) or "none yet")


def _rates(rates: Iterable[_Life]) -> Iterator[str]:
    for rate in rates:
        hours = rate["hours_charging"] + rate["hours_discharging"]
        if not hours:
            continue
        low, high = rate["low"], rate["high"]
        name = f"above {low:g} C" if high is None else f"{low:g} to {high:g} C"
        yield _line(
            f"current {name}",
            f" {_number(hours, 1)} h, {_number(rate['charged_capacity'], 1)} Ah in, "
            f"{_number(rate['discharged_capacity'], 1)} Ah out",
        )


def _estimate(found: _Life, unit: str, scale: float, digits: int, of: str, more: str = "") -> str:
    value, sure = found["value"], found["uncertainty"]
    if value is None:
        return f"unknown: {found['why']}"
    doubt = "" if sure is None else f" ± {scale * sure:.{digits}f}"
    return f"{scale * value:.{digits}f}{doubt} {unit}{more} ({_count(found['evidence'], of)})"


def _count(number: int, words: str) -> str:
    """`words`: for one, and for several."""
    one, several = words.split("|")
    return f"{number} {one if number == 1 else several}"


def _trend(found: _Life, unit: str, digits: int) -> str:
    if found["per_year"] is None:
        return f"unknown: {found['why']}"
    value, sure = found["per_year"], found["uncertainty"]
    return f"{value:+.{digits}f} ± {sure:.{digits}f} {unit} (over {found['days']:.0f} days)"


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _day(text: object) -> str:
    return str(text)[:10]


def _minute(text: object) -> str:
    return f"{str(text)[:16].replace('T', ' ')} UTC"


def _number(value: float, digits: int) -> str:
    """With so many digits after the point; of less than one of the last, the first two that are
    not zero."""
    if 0 < abs(value) < 10**-digits:
        return f"{value:.2g}"
    return f"{value:.{digits}f}"
