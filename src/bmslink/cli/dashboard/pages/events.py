"""What happened to a pack, the latest first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.text import Text

from bmslink.cli.dashboard.pages.fit import wrapped
from bmslink.cli.render import text as t
from bmslink.events import EventSeverity, PackEvent

__all__ = ["event_lines"]

_SIGNS = {
    EventSeverity.CRITICAL: ("!!", "bold red"),
    EventSeverity.ALARM: ("!!", "bold red"),
    EventSeverity.WARNING: ("! ", "yellow"),
    EventSeverity.INFO: ("  ", ""),
}


def event_lines(
    events: Iterable[PackEvent], source: str, width: int, clock: datetime
) -> list[Text]:
    """One event a line, or more where it needs them; `source` is who saw them."""
    lines = [Text(source, "dim")]
    for event in sorted(events, key=lambda each: each.time, reverse=True):
        local = event.time.astimezone(clock.tzinfo)
        day = "" if local.date() == clock.date() else f"{local:%m-%d} "
        sign, style = _SIGNS[event.severity]
        head = f"{day}{local:%H:%M:%S} {sign} "
        text = event.text
        if event.since is not None and event.until is not None:
            text += f" after {t.duration(max(0.0, (event.until - event.since).total_seconds()))}"
        if event.count > 1:
            text += f" ({event.count} times)"
        for n, line in enumerate(wrapped(text, max(10, width - len(head)), style)):
            lines.append(Text(" " * len(head) if n else head, "dim").append_text(line))
    if len(lines) == 1:
        lines.append(Text("nothing happened"))
    return lines
