"""A command whose process dies: `python -m hostile.killed DIALECT FOLDER N ARGV...`

It dies of SIGKILL when the board has carried out its N-th write. What the board holds then is in
FOLDER/memory.json, the journal in FOLDER/journal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from hostile.bench import Bench, hurried
from hostile.board import Board, Effect, Quirk
from hostile.line import BOARDS

__all__ = ["killed"]


class _Dies(Quirk):
    def __init__(self, nth: int, file: Path) -> None:
        self._nth, self._file = nth, file

    def written(self, board: Board, effect: Effect) -> None:
        if effect.number == self._nth:
            held = {str(at): raw.hex() for at, raw in board.unit.memory.items()}
            self._file.write_text(json.dumps(held))
            os.kill(os.getpid(), signal.SIGKILL)


def killed(dialect: str, folder: Path, nth: int, argv: list[str]) -> dict[int, bytes]:
    """Run it in a process of its own and let it die; what the board holds then."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent / "tools")])
    command = [sys.executable, "-m", "hostile.killed", dialect, str(folder), str(nth), *argv]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    if ended.returncode != -signal.SIGKILL:
        raise RuntimeError(f"it was not killed: {ended}")
    held = json.loads((folder / "memory.json").read_text())
    return {int(at): bytes.fromhex(raw) for at, raw in held.items()}


def main(argv: list[str]) -> None:
    """The process that dies."""
    dialect, folder, nth, *words = argv
    board = BOARDS[dialect](_Dies(int(nth), Path(folder) / "memory.json"))
    with hurried():
        Bench(board, Path(folder)).run(*words)


if __name__ == "__main__":
    main(sys.argv[1:])
