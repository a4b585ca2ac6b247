"""The screen: exactly so many lines, each exactly so wide, from the state of the desk. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from bmslink.cli.dashboard.desk import TABS, Desk, LineInput
from bmslink.cli.dashboard.model.bank import sums_of
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.model.ranking import trouble
from bmslink.cli.dashboard.pages.events import event_lines
from bmslink.cli.dashboard.pages.fit import button, exactly, rule, wrapped
from bmslink.cli.dashboard.pages.help import help_lines
from bmslink.cli.dashboard.pages.linkage import link_lines
from bmslink.cli.dashboard.pages.listing import SIGNS, bank_lines, below, header, row
from bmslink.cli.dashboard.pages.live import live_lines, state_words
from bmslink.cli.dashboard.pages.policies import policy_lines
from bmslink.cli.dashboard.pages.trend import trend_lines
from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs
from bmslink.events import PackEvent

__all__ = ["draw"]

_TALL = 10
"""Lines from which on the bank has three of them."""


def draw(desk: Desk, width: int, height: int, now: float, clock: datetime, g: Glyphs) -> list[Text]:
    """The lines of the screen; also tells the desk how much fits."""
    desk.columns = width
    foot = _foot(desk, width, now, clock, g)[-max(1, height // 2) :]
    room = max(0, height - len(foot))
    if desk.dialog is not None:
        lines = _dialog(desk, width, room, g)
    elif desk.helping:
        lines = _window(desk, help_lines(width, g), room, g)
    elif desk.zoomed is not None:
        lines = _zoom(desk, desk.zoomed, width, room, now, clock, g)
    else:
        lines = _list(desk, width, room, now, g)
    lines = [*lines[:room], *(Text() for _ in range(room - len(lines))), *foot]
    return [exactly(line, width, g) for line in lines[:height]]


# ----------------------------------------------------------------------------------- the list


def _list(desk: Desk, width: int, room: int, now: float, g: Glyphs) -> list[Text]:
    packs = [desk.shown(pack) for pack in desk.packs]
    head = bank_lines(sums_of(packs, now), width, now, g)
    head = head if room >= _TALL else head[: max(0, min(2, room - 4))]
    listed, current = desk.listed(now), desk.current(now)
    if desk.words:
        head.append(
            Text(f"only packs with: {desk.words} ({len(listed)} of {len(packs)})", "yellow")
        )
    head.append(header(packs, width))
    space = max(1, room - len(head))
    rows = [
        row(
            desk.shown(pack), packs, width, now, g,
            chosen=pack is current and desk.keys, paused=desk.held_at is not None,
        )
        for pack in listed
    ]  # fmt: skip
    desk.page_rows = max(1, space - 2)
    index = listed.index(current) if current in listed else 0
    begin, end = _fitting(rows, index, desk.top, space)
    desk.top = begin
    shown = [line for each in rows[begin:end] for line in each]
    if begin:
        shown.insert(0, below([desk.shown(p) for p in listed[:begin]], now, g, "above"))
    if end < len(rows):
        shown.append(below([desk.shown(p) for p in listed[end:]], now, g))
    return [*head, *shown]


def _fitting(rows: Sequence[Sequence[Text]], index: int, top: int, space: int) -> tuple[int, int]:
    """From which pack to which there is room, with that of the cursor among them, and a line for
    those above and for those below."""
    begin = min(top, index, max(0, len(rows) - 1))
    while True:
        left = space - (begin > 0)
        end = begin
        while end < len(rows):
            more = len(rows[end])
            if more + (end + 1 < len(rows)) > left:
                break
            left -= more
            end += 1
        if index < end or begin >= index:
            return begin, max(end, begin + (space > 1))
        begin += 1


# ------------------------------------------------------------------------------------ one pack


def _zoom(
    desk: Desk, real: WatchedPack, width: int, room: int, now: float, clock: datetime, g: Glyphs
) -> list[Text]:
    pack, more = desk.shown(real), desk.more(real)
    head = [_title(desk, pack, width, now, g), _tabs(desk)]
    space, bounds = max(1, room - len(head)), desk.bounds_of(pack)
    line: int | None = None
    if desk.tab == "live":
        body = live_lines(pack, bounds, width, space, now, clock, g)
    elif desk.tab == "over time":
        source = more.stored_from or "What this monitor saw."
        then = desk.held_at or now
        body = trend_lines(pack, more.stored, source, desk.span, width, space, then, clock, g)
    elif desk.tab == "settings":
        from bmslink.cli.dashboard.pages.settings import settings_page  # it loads construct

        page = settings_page(pack, desk.setting, width, clock, g)
        desk.setting_keys, body = page.keys, page.lines
        line = page.line_of.get(desk.setting)
    elif desk.tab == "policies":
        body = policy_lines(pack, more.margins, width, g)
    elif desk.tab == "events":
        body = event_lines(*_events(desk, real), width, clock)
    else:
        body = link_lines(pack, more.raw, width, g)
    return [*head, *_window(desk, body, space, g, line)]


def _events(desk: Desk, real: WatchedPack) -> tuple[list[PackEvent], str]:
    """What happened, and who saw it: a service that watched for longer knows more."""
    own, stored = [*desk.shown(real).events], desk.more(real).events
    if not stored:
        return own, "what this monitor saw since it began"
    here = [event for event in own if event.what in ("change", "renamed", "switch_here")]
    return [*stored, *here], "what the service saw in the last day, and what was done here"


def _title(desk: Desk, pack: WatchedPack, width: int, now: float, g: Glyphs) -> Text:
    """The name on the left, how fresh the values are on the right."""
    state, style = state_words(pack, now)
    if desk.held_at is not None:
        live = state.startswith("live, ")
        state = f"HELD, {state.removeprefix('live, ')} old" if live else f"HELD, {state}"
        style = "bold magenta"
    sign, mark = SIGNS[trouble(pack, now)]
    sign = f"{sign.strip()} " if sign.strip() not in ("", ".") else ""
    room = max(0, width - len(state) - len(sign) - 2)
    name = t.shorten(t.clean(pack.name), room, g)
    if pack.identity is not None:
        for detail in filter(None, (pack.identity.model, pack.identity.firmware)):
            if cell_len(name) + 2 + cell_len(detail) > room:
                break
            name += f"  {t.clean(detail)}"
    text = Text().append(sign, mark).append(f"{name} ", "bold")
    text.append(g.rule * max(0, width - text.cell_len - len(state) - 1), "not bold dim")
    return text.append(f" {state}", style)


def _tabs(desk: Desk) -> Text:
    parts = []
    for n, name in enumerate(TABS, 1):
        chosen = name == desk.tab
        label = f"[{name}]" if chosen else f" {name} "
        parts.append(button(f"{n}{label}", "bold reverse" if chosen else "none", tab=name))
    return Text(" ").join(parts)


def _window(
    desk: Desk, body: list[Text], room: int, g: Glyphs, line: int | None = None
) -> list[Text]:
    """The part of a page that fits, with a line that says how much is below."""
    desk.page_rows, desk.page_length = room, len(body)
    if len(body) <= room:
        desk.top = 0
        return body
    shown = max(1, room - 1)
    if line is not None:
        desk.top = min(desk.top, line)
        desk.top = max(desk.top, line - shown + 2)
    desk.top = max(0, min(desk.top, len(body) - shown))
    rest = len(body) - desk.top - shown
    tail = f"{rest} more lines below" if rest else "the end"
    head = f"{desk.top} above, " if desk.top else ""
    return [*body[desk.top : desk.top + shown], Text(f"{g.rule * 2} {head}{tail}", "dim")]


def _dialog(desk: Desk, width: int, room: int, g: Glyphs) -> list[Text]:
    dialog = desk.dialog
    if dialog is None:
        return []
    lines = [rule(dialog.title, width, g), *dialog.lines]
    if dialog.busy:
        lines.append(Text(dialog.busy, "bold"))
    shown = max(1, room)
    dialog.top = max(0, min(dialog.top, len(lines) - shown))
    return lines[dialog.top : dialog.top + shown]


# ------------------------------------------------------------------------------------ the foot


def _foot(desk: Desk, width: int, now: float, clock: datetime, g: Glyphs) -> list[Text]:
    """What is asked or said, and the keys."""
    lines: list[Text] = []
    if desk.held_at is not None:
        said = f"HELD for {t.duration(now - desk.held_at)}: what you see is old; p lets it go"
        lines += wrapped(said, width, "bold magenta reverse")
        if worse := desk.worse(now):
            lines += wrapped(f"!! meanwhile worse: {'; '.join(worse)}", width, "bold red")
    if desk.message:
        lines += wrapped(desk.message, width, desk.message_style or "bold")
    if desk.typing is not None:
        lines.append(_typed(desk.typing, width, g))
        lines.append(Text("Enter takes it   Esc gives it up", "dim"))
    elif desk.question is not None:
        lines.append(_off_question(desk.question.pack, width, g))
    elif desk.dialog is not None:
        lines.append(_dialog_keys(desk, width, g))
    else:
        lines.append(_keys(desk, width, clock))
    return lines


def _typed(line: LineInput, width: int, g: Glyphs) -> Text:
    """What is typed, to its end: a long prompt gives way to it."""
    prompt = t.shorten(line.prompt, max(width // 3, width - cell_len(line.text) - 1), g)
    return Text(t.ending(f"{prompt}{line.text}_", width), "bold")


def _off_question(pack: WatchedPack, width: int, g: Glyphs) -> Text:
    """A long name gives way to the keys."""
    keys = Text()
    for key, title in (("c", "charge"), ("d", "discharge"), ("a", "both")):
        keys.append_text(button(f"{key} {title}", "bold reverse", key=key)).append("  ")
    keys.append_text(button("Esc no", "", key="escape"))
    asked = "Switch off on {}, at once?  "
    room = min(24, max(1, width - keys.cell_len - len(asked) + 2))
    name = t.shorten(t.clean(pack.name), room, g)
    return Text(asked.format(name), "bold red").append_text(keys)


def _dialog_keys(desk: Desk, width: int, g: Glyphs) -> Text:
    dialog = desk.dialog
    if dialog is None or dialog.busy:
        return Text("it is under way ...", "dim")
    if not dialog.question:
        return button("Enter closes this", "bold", key="enter")
    keys = button("y yes", "bold reverse", key="y").append("  ")
    keys.append_text(button("n no", "", key="n"))
    # A long question gives way: the plan above it says the whole target.
    question = t.shorten(dialog.question, max(1, width - keys.cell_len - 2), g)
    return Text(f"{question}  ", "bold").append_text(keys)


def _keys(desk: Desk, width: int, clock: datetime) -> Text:
    if not desk.keys:
        return Text(f"Ctrl-C quits   {clock:%H:%M:%S}", "dim")
    several = len(desk.packs) > 1
    if desk.helping:
        parts = [("Esc back", "escape")]
    elif desk.zoomed is not None:
        parts = [("Esc list", "escape")] if several else []
        parts.append(("Tab next", "tab"))
        own = {
            "settings": ("e change", "e"),
            "over time": ("[ ] span", "]"),
            "link": ("b bytes", "b"),
        }
        if desk.tab in own:
            parts.append(own[desk.tab])
        if desk.zoomed.recording is not None:
            parts.append(("< > seek", ">"))
    else:
        parts = [("Enter zoom", "enter"), ("/ find", "/"), (f"s {desk.sort}", "s")]
    parts += [("x OFF", "x"), ("p hold", "p"), (f"+- {desk.interval:g}s", "+"), ("? help", "?")]
    end = f"{clock:%H:%M:%S}"
    text = Text("", "dim")
    last = ("q quits", "q")
    for label, key in [*parts, last]:
        after = len(end) if (label, key) == last else len(last[0]) + 2 + len(end)
        if text.cell_len + len(label) + 2 + after > width and (label, key) != last:
            continue
        text.append_text(button(label, "bold" if key == "x" else "none", key=key)).append("  ")
    return text.append(" " * max(0, width - text.cell_len - len(end))).append(end)
