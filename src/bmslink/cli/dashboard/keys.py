"""What a key does: to the desk at once, or as a wish to the program behind it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bmslink.cli.dashboard.desk import INTERVALS, TABS, Desk, KeyWish, LineInput, OffQuestion
from bmslink.cli.dashboard.model.ranking import SORTS
from bmslink.cli.dashboard.pages.trend import SPANS
from bmslink.cli.render.clean import clean

__all__ = ["Keyboard"]

_LONGEST = 200
_SWITCHES = {"c": ("charge",), "d": ("discharge",), "a": ("charge", "discharge")}
_SKIP = 60.0
_SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
_STEPS: Mapping[str, Callable[[Desk], int]] = {
    "up": lambda desk: -1,
    "k": lambda desk: -1,
    "down": lambda desk: 1,
    "j": lambda desk: 1,
    "pageup": lambda desk: -desk.page_rows,
    "pagedown": lambda desk: desk.page_rows,
    "home": lambda desk: -100000,
    "end": lambda desk: 100000,
}
_Action = Callable[[str, float], KeyWish | None]


class Keyboard:
    """Keys and clicks of one desk. A key is its character or its name (`up`, `enter`, `tab`, …)."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._everywhere: Mapping[str, _Action] = {
            **dict.fromkeys(_STEPS, self._move),
            "escape": self._back,
            "?": self._help,
            **dict.fromkeys("xX", self._off),
            "p": self._hold,
            **dict.fromkeys("+=-_", self._interval),
        }
        self._in_list: Mapping[str, _Action] = {
            **dict.fromkeys(("enter", "right"), self._zoom),
            "/": self._find,
            "s": self._sort,
            "a": self._accept,
        }
        self._in_pack: Mapping[str, _Action] = {
            **dict.fromkeys(("tab", "shift+tab", "left", "right", *"123456"), self._tab),
            "backspace": self._back,
            **dict.fromkeys("[]", self._span),
            "a": self._accept,
            **dict.fromkeys(("e", "enter"), self._edit),
            "r": self._read_settings,
            "b": self._bytes,
            **dict.fromkeys("<>,.", self._seek),
            **dict.fromkeys("()", self._speed),
        }

    def press(self, key: str, now: float) -> KeyWish | None:
        """A key."""
        desk = self.desk
        if key == "ctrl+c":
            return KeyWish("interrupt")
        if key == "ctrl+z":
            return KeyWish("suspend")
        if desk.typing is not None:
            return self._type(desk.typing, key)
        if desk.question is not None:
            return self._answer(desk.question, key)
        if desk.dialog is not None:
            return self._in_dialog(key, now)
        desk.say("")
        if key in ("q", "Q"):
            return KeyWish("quit")
        action = self._everywhere.get(key)
        if action is None:
            if desk.helping:
                table: Mapping[str, _Action] = {"enter": self._back}
            else:
                table = self._in_list if desk.zoomed is None else self._in_pack
            action = table.get(key)
        return None if action is None else action(key, now)

    def paste(self, text: str) -> None:
        """Text that was pasted counts only where a line is typed."""
        typing = self.desk.typing
        if typing is not None:
            typing.text = clean(typing.text + " ".join(text.split()))[:_LONGEST]
            self._live(typing)

    def click(self, meta: Mapping[str, object], now: float) -> KeyWish | None:
        """A click on something; one on the chosen pack zooms."""
        desk = self.desk
        if isinstance(key := meta.get("key"), str):
            return self.press(key, now)
        if desk.typing is not None or desk.question is not None or desk.dialog is not None:
            return None
        if meta.get("tab") in TABS:
            return self._show_tab(str(meta["tab"]))
        if isinstance(setting := meta.get("setting"), str):
            desk.setting = setting
        pack = next((p for p in desk.packs if id(desk.shown(p)) == meta.get("pack")), None)
        if pack is not None and desk.zoomed is None:
            if pack is desk.chosen:
                return self._zoom("enter", now)
            desk.chosen = pack
        return None

    # --------------------------------------------------------------- while something is asked

    def _type(self, typing: LineInput, key: str) -> KeyWish | None:
        if key in ("enter", "escape"):
            self.desk.typing = None
            typing.done(typing.text if key == "enter" else None)
            return None
        if key in ("backspace", "ctrl+h"):
            typing.text = typing.text[:-1]
        elif key == "ctrl+u":
            typing.text = ""
        elif len(key) == 1 and key.isprintable() and len(typing.text) < _LONGEST:
            typing.text += key
        self._live(typing)
        return None

    def _live(self, typing: LineInput) -> None:
        if typing.live:
            self.desk.words = typing.text

    def _answer(self, question: OffQuestion, key: str) -> KeyWish | None:
        self.desk.question = None
        names = _SWITCHES.get(key.lower())
        if names is None:
            self.desk.say("Nothing was switched.")
            return None
        return KeyWish("off", question.pack, names)

    def _in_dialog(self, key: str, now: float) -> KeyWish | None:
        dialog = self.desk.dialog
        if dialog is None:
            return None
        if key in ("x", "X"):  # off waits for no change; a question is answered with no by it
            if not dialog.busy:
                self.desk.dialog = None
                dialog.done(False)
            return self._off(key, now)
        if dialog.busy:
            return None
        step = _STEPS.get(key)
        if step is not None:
            dialog.top += step(self.desk)
            return None
        self.desk.dialog = None
        dialog.done(key in ("y", "Y"))
        return None

    # --------------------------------------------------------------------------------- moving

    def _move(self, key: str, now: float) -> KeyWish | None:
        desk, step = self.desk, _STEPS[key](self.desk)
        if desk.helping or (desk.zoomed is not None and desk.tab != "settings"):
            desk.top = max(0, desk.top + step)
        elif desk.zoomed is not None:
            keys = desk.setting_keys
            if keys:
                at = keys.index(desk.setting) if desk.setting in keys else -1 if step > 0 else 0
                desk.setting = keys[min(max(at + step, 0), len(keys) - 1)]
        else:
            listed, current = desk.listed(now), desk.current(now)
            if current is not None:
                at = listed.index(current) + step
                desk.chosen = listed[min(max(at, 0), len(listed) - 1)]
        return None

    def _zoom(self, key: str, now: float) -> KeyWish | None:
        pack = self.desk.current(now)
        if pack is None:
            return None
        self.desk.zoomed = self.desk.chosen = pack
        return self._show_tab(TABS[0])

    def _back(self, key: str, now: float) -> KeyWish | None:
        desk = self.desk
        if desk.helping:
            desk.helping, desk.top = False, 0
        elif desk.zoomed is None:
            desk.words = ""
        elif len(desk.packs) > 1:
            desk.zoomed, desk.top = None, 0
        return None

    def _show_tab(self, name: str) -> KeyWish | None:
        desk = self.desk
        if desk.zoomed is None:
            return None
        desk.tab, desk.top = name, 0
        return KeyWish("tab", desk.zoomed, name)

    def _tab(self, key: str, now: float) -> KeyWish | None:
        if key.isdigit():
            return self._show_tab(TABS[int(key) - 1])
        step = -1 if key in ("shift+tab", "left") else 1
        return self._show_tab(TABS[(TABS.index(self.desk.tab) + step) % len(TABS)])

    def _help(self, key: str, now: float) -> KeyWish | None:
        self.desk.helping, self.desk.top = not self.desk.helping, 0
        return None

    # ---------------------------------------------------------------------------------- doing

    def _off(self, key: str, now: float) -> KeyWish | None:
        pack = self.desk.current(now)
        if pack is None:
            return None
        if pack.target.partition("://")[0].endswith("replay"):
            self.desk.say("Nothing was switched: this is a recording.")
        elif pack.other:
            self.desk.say(
                "Nothing was switched: another board answers here. Look at it, then a accepts it."
            )
        else:
            self.desk.question = OffQuestion(pack)
        return None

    def _hold(self, key: str, now: float) -> KeyWish | None:
        self.desk.hold(now)
        return KeyWish("hold", value=self.desk.held_at is not None)

    def _interval(self, key: str, now: float) -> KeyWish | None:
        desk, step = self.desk, -1 if key in ("+", "=") else 1
        at = min(range(len(INTERVALS)), key=lambda n: abs(INTERVALS[n] - desk.interval))
        desk.interval = INTERVALS[min(max(at + step, 0), len(INTERVALS) - 1)]
        return KeyWish("interval", value=desk.interval)

    def _sort(self, key: str, now: float) -> KeyWish | None:
        desk, names = self.desk, list(SORTS)
        desk.sort, desk.top = names[(names.index(desk.sort) + 1) % len(names)], 0
        desk.say(f"sorted: {desk.sort}")
        return None

    def _find(self, key: str, now: float) -> KeyWish | None:
        desk = self.desk

        def done(text: str | None) -> None:
            desk.words = text or ""

        desk.typing = LineInput("only packs with: ", done, desk.words, live=True)
        return None

    def _span(self, key: str, now: float) -> KeyWish | None:
        desk = self.desk
        if desk.tab != "over time":
            return None
        at = SPANS.index(desk.span) + (1 if key == "]" else -1)
        desk.span = SPANS[min(max(at, 0), len(SPANS) - 1)]
        return KeyWish("tab", desk.zoomed, desk.tab)

    def _accept(self, key: str, now: float) -> KeyWish | None:
        pack = self.desk.current(now)
        return KeyWish("accept", pack) if pack is not None and pack.other else None

    def _edit(self, key: str, now: float) -> KeyWish | None:
        desk, pack = self.desk, self.desk.zoomed
        if pack is None or desk.tab != "settings":
            return None
        if pack.other:
            desk.say("Another board answers here: look at it, then a accepts it.")
        elif desk.setting in desk.setting_keys:
            return KeyWish("edit", pack, desk.setting)
        elif desk.setting_keys:
            desk.say("Choose a setting with the arrows first.")
        return None

    def _read_settings(self, key: str, now: float) -> KeyWish | None:
        return KeyWish("settings", self.desk.zoomed) if self.desk.tab == "settings" else None

    def _bytes(self, key: str, now: float) -> KeyWish | None:
        return KeyWish("raw", self.desk.zoomed) if self.desk.tab == "link" else None

    def _seek(self, key: str, now: float) -> KeyWish | None:
        pack = self.desk.zoomed
        if pack is None or pack.recording is None:
            return None
        return KeyWish("seek", pack, -_SKIP if key in "<," else _SKIP)

    def _speed(self, key: str, now: float) -> KeyWish | None:
        pack = self.desk.zoomed
        if pack is None or pack.recording is None:
            return None
        speed = pack.recording[2]
        at = min(range(len(_SPEEDS)), key=lambda n: abs(_SPEEDS[n] - speed))
        at += 1 if key == ")" else -1
        return KeyWish("speed", pack, _SPEEDS[min(max(at, 0), len(_SPEEDS) - 1)])
