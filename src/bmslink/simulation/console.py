"""The commands a running `bmslink simulate` takes on its standard input."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple, Protocol

from bmslink.errors import BmsError, TargetError
from bmslink.model import Condition, Switch
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.pack.surroundings import HAPPENINGS, LIMITS
from bmslink.simulation.transport import SimDevice
from bmslink.simulation.wire import FAULTS

__all__ = ["COMMANDS", "Faults", "execute", "execute_on", "raised"]

_AT = "@N COMMAND  the same for the pack at address N; without it, for the first"


class Faults(Protocol):
    """Damages the wire on request; raises `TargetError` for a name it does not know."""

    def enable(self, spec: str) -> None:
        """Begin a fault, `NAME` or `NAME:ARG`."""

    def disable(self, name: str) -> None:
        """End a fault."""


class _Call(NamedTuple):
    pack: Pack
    words: list[str]
    faults: Faults | None


class _ConsoleCommand(NamedTuple):
    usage: str
    summary: str
    words: tuple[int, ...]
    """How many words may follow the name."""
    run: Callable[[_Call], str | None]
    """The answer; `None` where `ok` says it all."""


def execute(pack: Pack, line: str, faults: Faults | None = None) -> str:
    """Carry out one line; the answer is `ok`, what was asked for, or a sentence `error: …`.

    Empty lines and lines that begin with `#` do nothing and answer nothing. Never raises for
    what is written in the line.
    """
    name, *words = line.split() or ["#"]
    if name.startswith("#"):
        return ""
    row = COMMANDS.get(name)
    if row is None:
        return f"error: There is no command {name[:40]!r}; `help` lists them."
    if len(words) not in row.words:
        return f"error: The command is written `{row.usage}`."
    try:
        return row.run(_Call(pack, words, faults)) or "ok"
    except BmsError as error:
        return f"error: {error}"


def raised(line: str) -> tuple[Condition, str] | None:
    """The condition that a line (which `execute` has carried out) makes the pack report, and as
    what: alarm, protection or fault."""
    match line.split():
        case ["raise", name, *severity]:
            return Condition(name), severity[0] if severity else "alarm"
        case ["temperature", _, "broken"]:
            return Condition.TEMPERATURE_SENSE, "fault"
        case ["fault", spec]:
            fault, _, argument = spec.partition(":")
            if fault == "probe":
                return Condition.TEMPERATURE_SENSE, "fault"
            name, _, severity_named = argument.partition(":")
            return (
                (Condition(name), severity_named or "protection") if fault == "condition" else None
            )
    return None


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TargetError(f"{what} is a number, not {text[:40]!r}.") from None


def _choice(text: str, what: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise TargetError(f"{what} is one of {', '.join(choices)}, not {text[:40]!r}.")
    return text


def _condition(text: str) -> Condition:
    return Condition(_choice(text, "The condition", tuple(Condition)))


def _help(call: _Call) -> str:
    if call.words:
        _choice(call.words[0], "What is explained", ("fault",))
        width = max(map(len, FAULTS))
        return "\n".join(f"{name:<{width}}  {does}" for name, does in FAULTS.items())
    width = max(len(row.usage) for row in COMMANDS.values())
    return "\n".join(f"{row.usage:<{width}}  {row.summary}" for row in COMMANDS.values())


def _state(call: _Call) -> str:
    return json.dumps(call.pack.truth().to_dict())


def _cell(call: _Call) -> None:
    number, volts = call.words
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise TargetError(f"The cell number is a whole number from 1, not {number[:40]!r}.")
    value = None if volts == "auto" else _number(volts, "The cell voltage in V")
    call.pack.set_cell_voltage(int(number), value)


def _temperature(call: _Call) -> None:
    name, celsius = call.words
    if celsius == "broken":
        call.pack.break_probe(name)
    else:
        value = None if celsius == "auto" else _number(celsius, "The temperature in °C")
        call.pack.set_temperature(name, value)


def _load(call: _Call) -> None:
    call.pack.set_load(call.words[0])


def _soc(call: _Call) -> None:
    call.pack.set_soc(_number(call.words[0], "The state of charge in %"))


def _ambient(call: _Call) -> None:
    call.pack.set_ambient(_number(call.words[0], "The ambient temperature in °C"))


def _switch(call: _Call) -> None:
    which = Switch(_choice(call.words[0], "The switch", tuple(Switch)))
    call.pack.switch(which, _choice(call.words[1], "Its state", ("on", "off")) == "on")


def _app(call: _Call) -> None:
    switch, state = call.words
    call.pack.around.enable(f"app:{switch}:{state}")


def _limits(call: _Call) -> None:
    found: dict[str, float] = {}
    for word in call.words if call.words != ["off"] else ():
        name, equals, value = word.partition("=")
        if not equals or name not in (*LIMITS, "ttl") or name in found:
            raise TargetError(f"Limits are written {COMMANDS['limits'].usage}.")
        found[name] = _number(value, name)
    ttl = {"ttl": found.pop("ttl")} if "ttl" in found else {}
    call.pack.around.give_limits(found, **ttl)


def _counters(call: _Call) -> str:
    return json.dumps(call.pack.around.counters())


def _raise(call: _Call) -> None:
    condition, *severity = call.words
    call.pack.raise_condition(severity[0] if severity else "alarm", _condition(condition))


def _clear(call: _Call) -> None:
    which = call.words[0]
    for condition in Condition if which == "all" else (_condition(which),):
        call.pack.clear_condition(condition)


def _fault(call: _Call) -> None:
    if call.words[0].partition(":")[0] in HAPPENINGS:
        if len(call.words) == 1:
            call.pack.around.enable(call.words[0])
        else:
            _choice(call.words[1], "What follows the name of the fault", ("off",))
            call.pack.around.disable(call.words[0])
        return
    if call.faults is None:
        raise TargetError("Faults are not available here: there is no wire to damage.")
    if len(call.words) == 1:
        call.faults.enable(call.words[0])
    else:
        _choice(call.words[1], "What follows the name of the fault", ("off",))
        call.faults.disable(call.words[0])


def _advance(call: _Call) -> None:
    call.pack.advance(_number(call.words[0], "The seconds to advance"))


_ROWS = (
    _ConsoleCommand("help [fault]", "list the commands, or the faults", (0, 1), _help),
    _ConsoleCommand("state", "what a perfect BMS would say now, one line of JSON", (0,), _state),
    _ConsoleCommand("cell N VOLTS|auto", "hold what is measured of a cell", (2,), _cell),
    _ConsoleCommand("temperature NAME C|auto|broken", "hold or break a probe", (2,), _temperature),
    _ConsoleCommand(
        "load AMPS|cycle|idle", "what hangs on the pack; positive charges", (1,), _load
    ),
    _ConsoleCommand("soc PERCENT", "fill the cells", (1,), _soc),
    _ConsoleCommand("ambient C", "the air around the pack", (1,), _ambient),
    _ConsoleCommand(
        "switch charge|discharge|balance on|off", "the software switches", (2,), _switch
    ),
    _ConsoleCommand("app SWITCH on|off", "somebody sets a switch in an app", (2,), _app),
    _ConsoleCommand(
        "limits [cvl=V] [ccl=A] [dcl=A] [ttl=S]|off",
        "what chargers and loads obey for so long (10 s), then they stop",
        (1, 2, 3, 4),
        _limits,
    ),
    _ConsoleCommand("counters", "what was counted, one line of JSON", (0,), _counters),
    _ConsoleCommand(
        "raise CONDITION [alarm|protection|fault]", "report a condition", (1, 2), _raise
    ),
    _ConsoleCommand(
        "clear CONDITION|all", "take it back, and reset what has tripped", (1,), _clear
    ),
    _ConsoleCommand("fault NAME[:ARG] [off]", "begin or end one of `--fault list`", (1, 2), _fault),
    _ConsoleCommand("advance SECONDS", "let virtual time pass at once", (1,), _advance),
)
COMMANDS: dict[str, _ConsoleCommand] = {row.usage.split()[0]: row for row in _ROWS}
"""Every command by its first word."""


def execute_on(device: SimDevice, line: str) -> str:
    """Carry out a console line on one pack of a device: `@2 state`
    is for the pack at address 2, without `@` the first is meant."""
    if not line.lstrip().startswith("@"):
        text = execute(device.pack, line, device.faults)
        return f"{text}\n{_AT}" if line.split() == ["help"] and len(device.packs) > 1 else text
    where, _, command = line.strip()[1:].partition(" ")
    known = where.isascii() and where.isdigit() and len(where) < 4
    pack = device.packs.get(int(where)) if known else None
    if pack is None:
        there = ", ".join(f"@{number}" for number in device.packs)
        return f"error: There is no pack @{where[:40]} here" + (
            f"; there are {there}." if there else "."
        )
    match command.split():
        case ["fault", spec, *_] if spec.partition(":")[0] not in HAPPENINGS:
            if pack is not device.pack:
                return (
                    "error: This fault is of the line; leave the @ away. "
                    "One pack has `temperature` and `raise` for what is wrong with it."
                )
    return execute(pack, command, device.faults)
