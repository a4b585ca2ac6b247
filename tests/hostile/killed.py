"""A command whose process dies: `python -m hostile.killed DIALECT FOLDER WHEN N ARGV...`

It dies of SIGKILL when the board has carried out its N-th write (WHEN is `write`) or has heard N
more requests since the first write (`request`; 0 is that write). What the
board holds then is in FOLDER/memory.json, the journal in FOLDER/journal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from hostile.bench import Bench, hurried
from hostile.board import Board, Effect, Quirk, Timed
from hostile.line import BOARDS

__all__ = ["killed"]


class _Dies(Quirk):
    def __init__(self, when: str, nth: int, file: Path) -> None:
        self._when, self._nth, self._file = when, nth, file
        self._first: int | None = None

    def written(self, board: Board, effect: Effect) -> None:
        self._first = self._first or board.requests
        self._look(board, "write", effect.number)

    def answers(self, board: Board, answers: Timed) -> Timed:
        if self._first is not None:
            self._look(board, "request", board.requests - self._first)
        return answers

    def _look(self, board: Board, what: str, number: int) -> None:
        if (what, number) == (self._when, self._nth):
            held = {str(at): raw.hex() for at, raw in board.unit.memory.items()}
            self._file.write_text(json.dumps(held))
            os.kill(os.getpid(), signal.SIGKILL)


def killed(
    dialect: str, folder: Path, when: str, nth: int, argv: list[str]
) -> dict[int, bytes] | None:
    """Run it in a process of its own and let it die; what the board holds then, `None` where it
    came to its end before."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent / "tools")])
    command = [sys.executable, "-m", "hostile.killed", dialect, str(folder), when, str(nth), *argv]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    if ended.returncode == 0:
        return None
    if ended.returncode != -signal.SIGKILL:
        raise RuntimeError(f"it was not killed: {ended}")
    held = json.loads((folder / "memory.json").read_text())
    return {int(at): bytes.fromhex(raw) for at, raw in held.items()}


def main(argv: list[str]) -> None:
    """The process that dies."""
    dialect, folder, when, nth, *words = argv
    board = BOARDS[dialect](_Dies(when, int(nth), Path(folder) / "memory.json"))
    with hurried():
        sys.exit(Bench(board, Path(folder)).run(*words).code)


if __name__ == "__main__":
    main(sys.argv[1:])
