"""Whether the packs that the file puts into one bank can be one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bmslink.control.decide.policy import Battery
from bmslink.errors import TargetError
from bmslink.named_banks import BankConnection, BankOptions, Banks
from bmslink.runtime.acting.limit_sinks import CommandSink
from bmslink.storage.toml import Document

__all__ = ["carriers"]


def carriers(
    document: Document,
    sections: Sequence[object],
    batteries: Mapping[str, Battery],
    sinks: Collection[str],
) -> Mapping[str, str]:
    """Pack -> the bank whose command carries its limits out. `sections`: those of the file, `Banks`
    among them; `batteries`: what policy files say of packs, by their names; `sinks`: packs with a
    command of their own.

    Raises `TargetError` for packs in parallel that are not alike, a command that is none, and one
    beside another.
    """
    found: dict[str, str] = {}
    banks = next((each for each in sections if isinstance(each, Banks)), Banks())
    for name, bank in banks.banks.items():
        _require_alike(document, name, bank, batteries)
        if bank.sink_command is None:
            continue
        key = ("banks", name, "sink_command")
        try:
            CommandSink(bank.sink_command)
        except TargetError as error:
            raise document.wrong(key, f"[banks.{name}] sink_command: {error}") from error
        for pack in bank.packs:
            if pack in sinks:
                raise document.wrong(
                    key,
                    f"[banks.{name}] sink_command: {pack} has one too, and one of them carries "
                    "its limits out",
                )
            found[pack] = name
    return found


def _require_alike(
    document: Document, name: str, bank: BankOptions, batteries: Mapping[str, Battery]
) -> None:
    known = [(pack, batteries[pack]) for pack in bank.packs if pack in batteries]
    if bank.connection is BankConnection.SERIES or not known:
        return
    first, other = known[0]
    for pack, battery in known[1:]:
        for what, one, two in (
            ("cells in series", other.cells, battery.cells),
            ("chemistry", other.chemistry, battery.chemistry),
        ):
            if one != two:
                raise document.wrong(
                    ("banks", name, "packs"),
                    f"[banks.{name}] packs in parallel are alike, and by their policy files "
                    f"{first} has {what} {one}, {pack} {two}",
                )
