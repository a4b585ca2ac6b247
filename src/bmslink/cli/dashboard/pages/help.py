"""Every key, and what the signs mean."""

from __future__ import annotations

from rich.text import Text

from bmslink.cli.dashboard.pages.fit import rule, wrapped
from bmslink.cli.render.text import Glyphs

__all__ = ["help_lines"]

_KEYS = (
    ("Everywhere", (
        ("up down PgUp PgDn Home End", "move; the mouse and its wheel do too"),
        ("Enter", "zoom into the chosen pack"),
        ("Esc", "back"),
        ("x", "switch off: then c charge, d discharge, a both. It goes out at once"),
        ("p", "hold the screen still; reading goes on, and what gets worse is said"),
        ("+ -", "read more often, less often"),
        ("?", "this page"),
        ("q", "quit"),
    )),
    ("The list", (
        ("/", "show only packs with these words; Esc shows all again"),
        ("s", "sort: worst first, as given, name, SOC, delta, current, warmest"),
    )),
    ("One pack", (
        ("Tab, 1 to 6", "live, over time, settings, policies, events, link"),
        ("e", "settings: change the chosen one: plan, checks, question, proof"),
        ("r", "settings: read them again"),
        ("[ ]", "over time: a shorter, a longer span"),
        ("b", "link: the bytes"),
        ("a", "accept another board that answers at this place"),
        ("< >", "a recording: 60 s back, 60 s on"),
        ("( )", "a recording: slower, faster"),
    )),
)  # fmt: skip
_MEANING = (
    "!! a protection has tripped or something is broken   ?? no answer, or another board answers   "
    "! it warns   o something is off   . nothing came yet"
)
_BARS = (
    "Cells: the bars are honest, 2 mV look like 2 mV. H and L are the board's over- and "
    "under-voltage protection, W w its warnings, R r where it releases, B where balancing begins; "
    "h and l are where policies act. The scale is written above the bars."
)


def help_lines(width: int, g: Glyphs) -> list[Text]:
    """All of it."""
    lines: list[Text] = []
    for title, keys in _KEYS:
        lines.append(rule(title, width, g))
        for key, what in keys:
            for n, line in enumerate(wrapped(what, max(10, width - 30))):
                head = "" if n else key
                lines.append(Text(f" {head:<28} ", "bold").append_text(line))
    lines.append(rule("Signs", width, g))
    lines += wrapped(_MEANING, width)
    lines += wrapped(f"{_BARS} {_marks(g)}", width)
    return lines


def _marks(g: Glyphs) -> str:
    return f"{g.high} is the highest cell, {g.low} the lowest, {g.balance} one that is balanced."
