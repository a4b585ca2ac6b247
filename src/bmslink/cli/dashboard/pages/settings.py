"""The settings of a pack, by what they protect; each line is one that `e` changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.pages.fit import duty, rule, wrapped
from bmslink.cli.render import text as t
from bmslink.cli.render.settings import limits, shown
from bmslink.cli.render.text import Glyphs
from bmslink.protocols.common.settings_now import Settings
from bmslink.settings.groups import grouped
from bmslink.settings.packed import words_of

__all__ = ["SettingsPage", "settings_page"]


@dataclass(frozen=True, slots=True)
class SettingsPage:
    """The lines, and which of them is which setting."""

    lines: list[Text]
    keys: list[str]
    """In the order of the lines."""
    line_of: dict[str, int]


def settings_page(
    pack: WatchedPack, chosen: str, width: int, clock: datetime, g: Glyphs
) -> SettingsPage:
    """All settings as they were read last; `chosen` is the key of the line the cursor is on."""
    if pack.settings is None:
        why = pack.settings_error or "reading the settings ..."
        return SettingsPage(
            wrapped(why, width, "magenta" if pack.settings_error else "dim"), [], {}
        )
    held = Settings(pack.settings)
    at = pack.settings_at
    age = "" if at is None else f"read {t.duration((clock - at).total_seconds())} ago, "
    head = f"{age}{t.clean(pack.settings.map.name)}; e changes one, r reads them again"
    lines, keys, line_of = [Text(head, "dim")], [], dict[str, int]()
    if pack.settings_error:
        lines += wrapped(pack.settings_error, width, "magenta")
    key_width = min(34, max(map(len, held), default=10))
    for subject, names in grouped(pack.settings.map.by_key):
        lines.append(rule(subject.heading, width, g))
        for key in names:
            now = held[key]
            mark = ">" if key == chosen else " "
            text = Text(f"{mark}{key:<{key_width}} ", "bold" if key == chosen else "none")
            text.append(f"{shown(now.setting, now.value, g):>14}", "bold")
            tail = words_of(key, now.value) or (limits(now.setting) if now.writable else "")
            text.append(f"  {tail}" if tail else "", "dim")
            if not now.writable:
                text.append("  read-only", "dim")
            elif now.setting.danger:
                text.append(f"  {now.setting.danger}", "magenta")
            if key == chosen:
                text.stylize("reverse")
            line_of[key] = len(lines)
            keys.append(key)
            lines.append(duty(text, {"setting": key}))
            if key == chosen and now.reason:
                lines += [Text("   ").append_text(x) for x in wrapped(now.reason, width - 3, "dim")]
    return SettingsPage(lines, keys, line_of)
