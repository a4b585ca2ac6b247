"""Who a pack is, as a table."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from bmslink.cli.render.fit import Column, Table
from bmslink.cli.render.text import Glyphs, clean
from bmslink.model import Identity

__all__ = ["table"]


def table(identity: Identity, g: Glyphs) -> RenderableType:
    """One line per fact; what the BMS does not say has the sign for that."""
    result = Table(Column(), Column(prose=True))
    facts = (
        ("vendor", identity.vendor),
        ("model", identity.model),
        ("hardware", identity.hardware),
        ("firmware", identity.firmware),
        ("serial number", identity.serial_number),
        ("cells", identity.cell_count),
        ("chemistry", identity.chemistry),
        ("protocol", identity.protocol or None),
        ("variant", identity.variant),
    )
    for label, value in facts:
        result.add(Text(label, "dim"), Text(g.none if value is None else clean(str(value))))
    for name, capability in identity.capabilities.items():
        text = Text("yes", "green") if capability.supported else Text("no", "yellow")
        if capability.reason:
            text.append(f": {clean(capability.reason)}", "none")
        result.add(Text(clean(name), "dim"), text)
    if identity.map.get("name"):
        evidence = identity.map.get("evidence") or "no evidence"
        result.add(Text("settings map", "dim"), Text(clean(f"{identity.map['name']}: {evidence}")))
    return result
