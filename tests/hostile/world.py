"""Running a cell of the matrix on a board of its own, and changes that are killed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hostile.bench import Bench, Result
from hostile.daly_d2 import DalyD2Board
from hostile.killed import killed
from hostile.line import BOARDS
from hostile.matrix import COMMANDS, DIALECTS, QUIRKS, Cell, Command, Memory, all_asked
from hostile.quirks import parse

__all__ = ["Outcome", "World"]

SETTLE = 60.0
"""How long what was said has to hold, s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell came to: the command's word, and the board's."""

    cell: Cell
    result: Result
    factory: Memory
    before: Memory
    goal: Memory
    at_end: Memory
    later: Memory
    accepted: int
    """Writes over the wire that the board carried out."""
    written: frozenset[int]
    """The registers that these changed."""
    acknowledged: int
    stranger: int
    """Of them, on a board that is another one than the one that was planned for."""
    open_changes: int
    healthy: Result | None = None
    """Of a reading command: the same without the quirk."""
    slots: dict[int, bytes] | None = None
    clock: datetime | None = None


class World:
    """The files that the cells begin with, made once per dialect on boards without quirks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ready: dict[str, Memory] = {}
        self._shown: dict[tuple[str, str, tuple[tuple[int, bytes], ...]], Result] = {}
        self._count = 0
        self._changed: tuple[str, str, Bench] | None = None
        """Dialect, quirks, and the bench that went through `config apply` last."""

    def prepare(self, name: str) -> Memory:
        """A profile, a backup of a board that holds what is asked, a change that was cut off, and
        one that was made; gives what the board holds after the one that was cut off."""
        if name in self._ready:
            return self._ready[name]
        dialect, files = DIALECTS[name], self.folder / name
        files.mkdir(parents=True)
        lines = [f"{key} = {text}" for key, (text, _, _) in dialect.asked.items()]
        profile = files / "profile.toml"
        profile.write_text("schema = 1\n[settings]\n" + "\n".join(lines) + "\n")
        wished = BOARDS[name]()
        wished.units[0].memory |= all_asked(dialect, wished.snapshot())
        made = Bench(wished, files / "bench").run(
            "config", "backup", "T", "-o", str(files / "backup.json")
        )
        assert made.code == 0, made
        cut = Bench(BOARDS[name](), files / "cut")
        argv = self.argv(COMMANDS["config apply"], name, cut)
        held = killed(name, cut.folder, "write", 2, argv)
        assert held is not None
        assert cut.open_changes() == 1
        cut.board.units[0].memory = held
        healthy = Bench(BOARDS[name](), files / "done")
        assert healthy.run(*self.argv(COMMANDS["config apply"], name, healthy)).code == 0
        self._ready[name] = cut.board.snapshot()
        return self._ready[name]

    def kill(self, name: str, request: int, *, back: bool) -> list[str]:
        """A change is killed some requests after its first write, and another process ends it; what
        is not right then.

        Empty as well where the change was over by then.
        """
        self.prepare(name)
        self._count += 1
        bench = Bench(BOARDS[name](), self.folder / f"kill-{self._count}")
        argv = self.argv(COMMANDS["config apply"], name, bench)
        held = killed(name, bench.folder, "request", request, argv)
        if held is None:
            return []
        bench.board.units[0].memory, factory = held, bench.board.snapshot()
        goal = all_asked(DIALECTS[name], factory)
        cut, found = bench.open_changes(), []
        if not cut and bench.board.snapshot() not in (factory, goal):
            found.append("the change was forgotten")
        words = ("--rollback",) if back else ()
        result = bench.run("config", "resume", "T", *words, "--yes", "--json")
        bench.wait(SETTLE)
        wanted = (factory if back else goal) if cut else bench.board.snapshot()
        if result.code != 0 or bench.open_changes():
            found.append(f"resume: exit {result.code}, {result.said[-300:]}")
        if bench.board.snapshot() != wanted:
            found.append("the board holds neither what was asked nor what it held")
        shutil.rmtree(bench.folder, ignore_errors=True)
        return found

    def argv(self, command: Command, name: str, bench: Bench) -> list[str]:
        """The command line with its files filled in."""
        key, (text, _, _) = next(iter(DIALECTS[name].asked.items()))
        words = {
            "{set}": f"{key}={text}",
            "{profile}": str(self.folder / name / "profile.toml"),
            "{backup}": str(self.folder / name / "backup.json"),
            "{out}": str(bench.folder / "out.json"),
        }
        return [words.get(word, word) for word in command.argv]

    def changed(self, cell: Cell, quirks: str | None = None) -> Bench:
        """The bench that went through `config apply` a minute ago, as the cell before left it."""
        kept, self._changed = self._changed, None
        if kept is not None and kept[:2] == (cell.dialect, self._quirks(cell, quirks)):
            return kept[2]
        bench = self.bench(replace(cell, command="config apply"), quirks)
        bench.run(*self.argv(COMMANDS["config apply"], cell.dialect, bench))
        bench.wait(SETTLE)
        return bench

    def _quirks(self, cell: Cell, quirks: str | None) -> str:
        text = QUIRKS[cell.quirk].quirks if quirks is None else quirks
        return text.format(**DIALECTS[cell.dialect].words)

    def bench(self, cell: Cell, quirks: str | None = None) -> Bench:
        """A board at the start of a cell."""
        cut = self.prepare(cell.dialect)
        dialect, command = DIALECTS[cell.dialect], COMMANDS[cell.command]
        if command.start == "changed":
            return self.changed(cell, quirks)
        text = self._quirks(cell, quirks)
        board = BOARDS[cell.dialect](*(parse(each) for each in text.split()))
        self._count += 1
        folder = self.folder / f"cell-{self._count}"
        if command.start in ("cut", "done"):
            shutil.copytree(self.folder / cell.dialect / command.start, folder)
            untouched = BOARDS[cell.dialect]().snapshot()
            held = cut if command.start == "cut" else all_asked(dialect, untouched)
            own = board.snapshot()  # what a quirk put there stays
            board.units[0].hold({at: x for at, x in held.items() if own[at] == untouched[at] != x})
        if command.start == "off":
            off = COMMANDS["switch off"].goal(dialect, {})
            board.units[0].memory |= off
        return Bench(board, folder)

    def run(self, cell: Cell, quirks: str | None = None) -> Outcome:
        """Run one cell; `quirks` instead of its own."""
        dialect, command = DIALECTS[cell.dialect], COMMANDS[cell.command]
        bench = self.bench(cell, quirks)
        board = bench.board
        untouched = BOARDS[cell.dialect]().snapshot()
        factory = before = board.snapshot(board.at)
        begun, acknowledged = len(board.log), board.acknowledged
        if command.start == "cut":  # by the journal all that was planned stood as it left the works
            changed = all_asked(dialect, {})
            factory = {at: untouched[at] if at in changed else raw for at, raw in before.items()}
        if command.start == "changed":
            factory = untouched
        try:
            result = bench.run(*self.argv(command, cell.dialect, bench))
            at_end = board.snapshot(board.at)
            shown = bench.folder / "out.json"
            slots = None
            if cell.command == "config backup" and shown.exists():
                kept = json.loads(shown.read_text())["slots"]
                slots = {int(at, 16): bytes.fromhex(raw) for at, raw in kept.items()}
            clock = board.clock if isinstance(board, DalyD2Board) else None
            bench.wait(SETTLE)
            asked = [write for write in board.log[begun:] if write.by == "asked"]
            healthy = None
            if command.reads:
                healthy = self._healthy(cell, at_end, bench.folder)
            return Outcome(
                cell=cell,
                result=result,
                factory=factory,
                before=before,
                goal=command.goal(dialect, untouched if command.restores else factory),
                at_end=at_end,
                later=board.snapshot(board.at),
                accepted=len(asked),
                written=frozenset(write.register for write in asked),
                acknowledged=board.acknowledged - acknowledged,
                stranger=sum(write.unit > 0 for write in asked),
                open_changes=bench.open_changes(),
                healthy=healthy,
                slots=slots,
                clock=clock,
            )
        finally:
            self._put_away(cell, quirks, bench)

    def _put_away(self, cell: Cell, quirks: str | None, bench: Bench) -> None:
        done = bench
        if cell.command == "config apply":  # what comes of it later is looked at next
            kept, self._changed = self._changed, (cell.dialect, self._quirks(cell, quirks), bench)
            if kept is None:
                return
            done = kept[2]
        shutil.rmtree(done.folder, ignore_errors=True)

    def _healthy(self, cell: Cell, memory: Memory, folder: Path) -> Result:
        """The same command on a board without quirks that holds the same."""
        key = (cell.dialect, cell.command, tuple(sorted(memory.items())))
        if key not in self._shown:
            bench = Bench(BOARDS[cell.dialect](), folder / "healthy")
            bench.board.units[0].memory |= memory
            argv = self.argv(COMMANDS[cell.command], cell.dialect, bench)
            self._shown[key] = bench.run(*argv)
        return self._shown[key]
