"""Who a pack is, as a table."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bmslink.cli.render.text import Glyphs, clean
from bmslink.model import Identity

__all__ = ["table"]


def table(identity: Identity, g: Glyphs) -> RenderableType:
    """One line per fact; what the BMS does not say has the sign for that."""
    result = Table.grid(padding=(0, 2))
    result.add_column(style="dim", no_wrap=True)
    result.add_column()
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
        result.add_row(label, Text(g.none if value is None else clean(str(value))))
    for name, capability in identity.capabilities.items():
        text = Text("yes", "green") if capability.supported else Text("no", "yellow")
        if capability.reason:
            text.append(f": {clean(capability.reason)}", "none")
        result.add_row(clean(name), text)
    if identity.map.get("name"):
        evidence = identity.map.get("evidence") or "no evidence"
        result.add_row("settings map", Text(clean(f"{identity.map['name']}: {evidence}")))
    return result
