"""The further sections of bmslink.toml: `[history]`, `[alerts]`, `[banks]`. One that is absent is
off."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

import msgspec

from bmslink.arguments import did_you_mean
from bmslink.named_banks import Banks, load_banks, require_known
from bmslink.storage.toml import Document

__all__ = ["SECTIONS", "load_sections", "section_remarks"]

SECTIONS: Mapping[str, str] = {
    "alerts": "bmslink.outputs.alerts.options:AlertOptions",
    "banks": "bmslink.named_banks:Banks",
    "history": "bmslink.runtime.history.options:HistoryOptions",
}
"""Each section -> the `msgspec.Struct` that it is checked against, loaded where the section is
there. `ServicePlan.section` hands it out."""


def load_sections(document: Document, packs: Sequence[str]) -> tuple[msgspec.Struct, ...]:
    """The sections that are there. `packs`: the names of all that may be served. Raises
    `TargetError` for anything that is wrong in one."""
    content = document.content
    found = tuple(
        load_banks(document)
        if name == "banks"
        else document.convert(_schema_of(place), content[name], (name,))
        for name, place in SECTIONS.items()
        if name in content
    )
    if "alerts" in content:
        _require_packs(document, found, packs)
    for section in found:
        if isinstance(section, Banks):
            require_known(document, section, packs)
    return found


def _require_packs(
    document: Document, sections: Sequence[msgspec.Struct], packs: Sequence[str]
) -> None:
    """A receiver that waits for a pack that there is not would never be sent anything."""
    from bmslink.outputs.alerts.options import AlertOptions

    for section in sections:
        for name, receiver in section.to.items() if isinstance(section, AlertOptions) else ():
            for pack in receiver.packs:
                if pack not in packs:
                    raise document.wrong(
                        ("alerts", "to", name, "packs"),
                        f"[alerts.to.{name}] packs: there is no pack {pack[:60]!r} here."
                        f"{did_you_mean(pack, packs)} There are: {', '.join(packs[:20])}",
                    )


def section_remarks(document: Document) -> tuple[str, ...]:
    """About a section that does nothing."""
    alerts = document.content.get("alerts")
    if isinstance(alerts, dict) and not alerts.get("to"):
        return ("[alerts] sends nothing, because it names no receiver ([alerts.to.NAME]).",)
    return ()


def _schema_of(place: str) -> type[msgspec.Struct]:
    """The class that a row of `SECTIONS` names."""
    module, _, name = place.partition(":")
    kind: type[msgspec.Struct] = getattr(importlib.import_module(module), name)
    return kind
