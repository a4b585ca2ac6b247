"""Banks: packs that are wired together, as bmslink.toml names them.

```toml
[banks.house]
packs = ["left", "middle", "right"]
connection = "parallel"                # or "series"
resistance = { left = 0.012 }          # Ω of a pack with its cables, where somebody measured it
apart = ["right"]                      # disconnected by a person: it counts for nothing
sink_command = "/usr/bin/my-inverter"  # gets the limits of the bank as JSON lines
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from bmslink.arguments import did_you_mean
from bmslink.model import Switch
from bmslink.storage.toml import Document

__all__ = [
    "BankConnection",
    "BankOptions",
    "Banks",
    "JoinGate",
    "in_parallel",
    "load_banks",
    "require_known",
]

_NAME = re.compile(r"[^\W_][\w-]{0,63}")
_SECTION = "banks"


class BankConnection(StrEnum):
    """How the packs of a bank are wired."""

    PARALLEL = "parallel"
    """One voltage for all; the current is shared."""
    SERIES = "series"
    """One current for all; the voltages add up."""


class JoinGate(Protocol):
    """Says of one pack whether a switch may close beside the other packs of its bank."""

    def why_not(self, switch: Switch, *, opened: bool = False) -> str:
        """Why it may not now, with numbers, in a sentence; empty: it may. One that is closed may,
        unless it is asked for as if it were open (`opened`)."""

    async def freshen(self) -> None:
        """Have the pack read, where its latest reading may be too old to say how it is."""

    def began(self, switch: Switch) -> None:
        """A switch of this pack closes now: the others wait."""


_Ohms = Annotated[float, msgspec.Meta(gt=0)]
_HIGHEST = 10.0
"""Ω."""
_LEAST, _MOST = 2, 64
"""Packs of one bank."""


class BankOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One `[banks.NAME]`."""

    packs: tuple[str, ...]
    """Names of packs, 2 to 64."""
    connection: BankConnection
    resistance: dict[str, _Ohms] = {}
    """Ω of a pack with its cables, by its name, where that is known."""
    apart: tuple[str, ...] = ()
    """Packs that a person has disconnected from the others."""
    sink_command: str | None = None
    """The program that gets the limits of the bank as JSON lines."""


class Banks(msgspec.Struct, frozen=True):
    """All `[banks.NAME]`, by their names."""

    banks: dict[str, BankOptions] = {}


def load_banks(document: Document) -> Banks:
    """The banks of a file, each checked by itself. Raises `TargetError`."""
    content = document.content.get(_SECTION, {})
    tables = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(each, dict) for each in tables):
        raise document.wrong(
            (_SECTION,), f"each bank is a table with its own name: [{_SECTION}.house], for instance"
        )
    for name, table in content.items():
        if "packs" not in table:
            raise document.wrong(
                (_SECTION, name),
                f"[{_SECTION}.{name}] 'packs' is missing: write the names of all packs that are "
                'wired together, as in packs = ["left", "right"]',
            )
    found = document.convert(Banks, {_SECTION: content})
    taken: dict[str, str] = {}
    for name, bank in found.banks.items():
        if not _NAME.fullmatch(name):
            raise document.wrong(
                (_SECTION, name),
                f"{name!r} cannot name a bank: use letters, digits, - and _, beginning with a "
                "letter or digit, at most 64",
            )
        _require_packs(document, name, bank, taken)
        if bank.sink_command is not None and bank.connection is BankConnection.SERIES:
            raise document.wrong(
                (_SECTION, name, "sink_command"),
                f"[{_SECTION}.{name}] sink_command: the limits of packs in series are only "
                "reported",
            )
    return found


def _require_packs(document: Document, name: str, bank: BankOptions, taken: dict[str, str]) -> None:
    """`TargetError` for packs that are too few, twice there, or of another bank. `taken`: pack ->
    its bank, which is added to."""

    def require(right: bool, field: str, why: str) -> None:
        if not right:
            raise document.wrong((_SECTION, name, field), f"[{_SECTION}.{name}] {field}: {why}")

    count = len(bank.packs)
    require(
        _LEAST <= count <= _MOST,
        "packs",
        f"a bank has {_LEAST} to {_MOST} packs, not {count}: name all that are wired together",
    )
    for pack in bank.packs:
        other = taken.get(pack)
        require(other != name, "packs", f"{pack!r} is named twice")
        require(
            other is None,
            "packs",
            f"{pack!r} is in the bank {other!r} already, and a pack is in one bank: take it out of "
            "the other",
        )
        taken[pack] = name
    for pack, ohms in bank.resistance.items():
        require(
            ohms <= _HIGHEST,
            "resistance",
            f"{pack} cannot have {ohms:g} Ω; 12 mΩ, for instance, are 0.012",
        )
    for field in ("resistance", "apart"):
        for pack in getattr(bank, field):
            require(
                pack in bank.packs,
                field,
                f"{pack!r} is no pack of this bank.{did_you_mean(pack, bank.packs)} It has: "
                f"{', '.join(bank.packs)}",
            )


def require_known(document: Document, banks: Banks, packs: Sequence[str]) -> None:
    """`TargetError` for a bank with a pack that there is not, or with the name of one."""
    for name, bank in banks.banks.items():
        if name in packs:
            raise document.wrong(
                (_SECTION, name),
                f"[{_SECTION}.{name}] a pack has that name, and history and events are asked for "
                "by it: name the bank otherwise",
            )
        for pack in bank.packs:
            if pack not in packs:
                raise document.wrong(
                    (_SECTION, name, "packs"),
                    f"[{_SECTION}.{name}] packs: there is no pack {pack[:60]!r} here."
                    f"{did_you_mean(pack, packs)} There are: {', '.join(packs[:20])}",
                )


def in_parallel(banks: Banks) -> Mapping[str, str]:
    """Pack -> the bank of packs in parallel that it is in."""
    return {
        pack: name
        for name, bank in banks.banks.items()
        for pack in bank.packs
        if bank.connection is BankConnection.PARALLEL
    }
