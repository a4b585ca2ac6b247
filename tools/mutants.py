"""Small mistakes put into the code, one at a time, and whether the tests find them.

    python tools/mutants.py [--only N ...] [--list] [--check] [--draw SEED]

`mutants.toml` beside this file is the list. A mutant is found by the function it is in and by the
text of its line, wherever the module lies and whatever it is called, so that the list outlives a
move of files; where the code itself was changed, `--check` says which rows to renew. Its tests are
named by function or by file, in any folder.

Nothing is changed in the tree: each mutant is put into one temporary copy of it and taken out
again. The tests have to pass in the copy as it is first. The exit code is 1 where a mutant is not
found, or survives although the list says that it was killed.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIST", "Index", "Lost", "Mutant", "check", "draw", "load"]

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("mutants.toml")
COUNT = 60
_PACKAGE = Path("src", "bmslink")
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "build", "dist", ".coverage*"
)
_PATIENCE = 180.0
"""A mutant whose tests take longer never ends: it is killed, s."""
_PASSED, _NOTHING_RUN = 0, 5
"""Exit codes of pytest. Where a module cannot even be imported any more it is another one."""


class Lost(Exception):
    """A mutant, or a test that judges it, is not found exactly once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One small change of the code."""

    where: str
    """The qualified name of the function or class around the line; empty: the module itself."""
    line: str
    """The line as it is, without its indentation."""
    instead: str
    nth: int = 0
    """Which of several equal lines in that function, from 1; 0: it is the only one."""
    tests: tuple[str, ...]
    """Functions (`test_x`) or files (`test_x.py`)."""
    killed: bool = True
    """How it went when the list was made."""

    def __str__(self) -> str:
        return f"{self.where or 'module'}: {self.line}  ->  {self.instead}"


def load(path: Path = LIST) -> list[Mutant]:
    """The mutants of a list."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]


# ------------------------------------------------------------------------------------- finding


@dataclass(frozen=True, slots=True)
class Index:
    """Where each line and each test of a tree is."""

    lines: Mapping[tuple[str, str], Mapping[Path, Sequence[int]]]
    """Owner and text -> file -> its line numbers, from 0."""
    tests: Mapping[str, Sequence[str]]
    """Name of a test or of a file -> what pytest calls it."""

    @classmethod
    def of(cls, root: Path) -> Index:
        """Of the package and the tests below a folder."""
        lines: dict[tuple[str, str], dict[Path, list[int]]] = defaultdict(dict)
        for path in sorted((root / _PACKAGE).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            owners = _owners(ast.parse(text))
            for number, line in enumerate(text.splitlines()):
                if line.strip():
                    key = owners.get(number + 1, ""), line.strip()
                    lines[key].setdefault(path.relative_to(root), []).append(number)
        tests: dict[str, list[str]] = defaultdict(list)
        for path in sorted((root / "tests").rglob("test_*.py")):
            name = path.relative_to(root).as_posix()
            tests[path.name].append(name)
            found = re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
            for test in dict.fromkeys(found):
                tests[test].append(f"{name}::{test}")
        return cls(lines, tests)

    def place(self, mutant: Mutant) -> tuple[Path, int]:
        """The file and the line of a mutant; `Lost` where that is not exactly one."""
        files = self.lines.get((mutant.where, mutant.line), {})
        if len(files) != 1:
            raise Lost(f"in {len(files)} files")
        ((path, numbers),) = files.items()
        if not mutant.nth and len(numbers) != 1:
            raise Lost(f"{len(numbers)} times: `nth` has to say which")
        if mutant.nth > len(numbers):
            raise Lost(f"only {len(numbers)} times")
        return path, numbers[max(mutant.nth, 1) - 1]

    def judges(self, mutant: Mutant) -> list[str]:
        """Its tests as pytest takes them; `Lost` where one is not there."""
        found: list[str] = []
        for name in mutant.tests:
            if not self.tests.get(name):
                raise Lost(f"there is no test {name}")
            found += self.tests[name]
        return found


def _owners(tree: ast.Module) -> dict[int, str]:
    """Line -> the innermost function or class around it."""
    found: dict[int, str] = {}

    def walk(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                found.update(dict.fromkeys(range(first, (child.end_lineno or first) + 1), inner))
            walk(child, inner)

    walk(tree, "")
    return found


def check(mutants: Iterable[Mutant], index: Index) -> list[str]:
    """What of a list is not found, or changes nothing, a sentence for each."""
    told = []
    for number, mutant in enumerate(mutants, 1):
        try:
            index.place(mutant)
            index.judges(mutant)
        except Lost as error:
            told.append(f"{number} ({mutant}): {error}.")
        if mutant.line == mutant.instead:
            told.append(f"{number} ({mutant}) changes nothing.")
    return told


# ------------------------------------------------------------------------------------- running


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of the tree, for mutants only."""

    root: Path

    def pytest(self, tests: Sequence[str], patience: float | None = None) -> int | None:
        """The exit code of these tests; `None`: they took longer than `patience`, s."""
        call = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            return subprocess.run(
                call,
                cwd=self.root,
                env=self._surroundings(),
                capture_output=True,
                timeout=patience,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return None

    def _surroundings(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": str(self.root / "src"),
            # by its name the tests know that what lands there is none of theirs
            "PYTHONPYCACHEPREFIX": str(self.root / "__pycache__"),
        }

    def require_own(self) -> None:
        """`Lost` unless it is the copy that is imported there."""
        call = [sys.executable, "-c", "import bmslink; print(bmslink.__file__)"]
        told = subprocess.run(
            call,
            cwd=self.root,
            env=self._surroundings(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        if not Path(told.strip()).is_relative_to(self.root):
            raise Lost(f"the tests would judge {told.strip()}, not the copy")

    def judge(self, mutant: Mutant, index: Index, when: int) -> str:
        """`killed` or `survived`; `Lost` where it is not found. `when` makes its bytecode its own:
        that is told by the time of the file."""
        path, number = index.place(mutant)
        tests = index.judges(mutant)
        file = self.root / path
        text, was = file.read_text(encoding="utf-8"), file.stat()
        lines = text.splitlines(keepends=True)
        lines[number] = lines[number].replace(mutant.line, mutant.instead)
        file.write_text("".join(lines), encoding="utf-8")
        os.utime(file, (when, when))
        try:
            code = self.pytest(tests, _PATIENCE)
        finally:
            file.write_text(text, encoding="utf-8")
            os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
        if code == _NOTHING_RUN:
            raise Lost("pytest ran nothing")
        return "survived" if code == _PASSED else "killed"


def _run(mutants: Mapping[int, Mutant], *, trust: bool) -> int:
    index = Index.of(ROOT)
    found: dict[int, str] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = _Copy(Path(folder).resolve() / "tree")
        shutil.copytree(ROOT, copy.root, ignore=_LEFT_OUT)
        copy.require_own()
        if not (trust or _passes(copy, mutants, index)):
            return 1
        for number, mutant in mutants.items():
            begun = time.monotonic()
            try:
                found[number] = copy.judge(mutant, index, number)
            except Lost as error:
                found[number] = f"not found: {error}"
            took = time.monotonic() - begun
            print(f"{number:3} {found[number]:9} {took:5.1f} s  {mutant}", flush=True)
    killed = sum(each == "killed" for each in found.values())
    print(f"{killed} of {len(found)} killed ({killed / max(len(found), 1):.0%}).")
    worse = [n for n, each in found.items() if each != "killed" and mutants[n].killed]
    if worse:
        print(f"Killed when the list was made, and not now: {', '.join(map(str, worse))}.")
    return int(bool(worse))


def _passes(copy: _Copy, mutants: Mapping[int, Mutant], index: Index) -> bool:
    """Whether the tests pass while nothing is wrong."""
    tests: dict[str, None] = {}
    for mutant in mutants.values():
        try:
            tests.update(dict.fromkeys(index.judges(mutant)))
        except Lost:
            continue  # it is named with its mutant
    code = copy.pytest([*tests])
    if code != _PASSED:
        print(f"The tests do not pass without any mutant (exit code {code}): nothing can be said.")
    return code == _PASSED


# ------------------------------------------------------------------------------------- drawing

_FEW = 2
"""As many as a module may have of a list."""
_SPARED = {"simulation", "cli", "render", "__main__.py"}
_FLIPPED: Mapping[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
}
_Cut = tuple[int, int, int, str]
"""Line, first and last column (in bytes), and what goes there."""


def draw(root: Path, seed: int, count: int, within: str = "") -> list[Mutant]:
    """Mutants from all over the package, or from the modules whose path holds a match of `within`;
    the same for a seed and a tree. They have no tests yet.

    Whoever makes a list of them leaves out those that change nothing anybody can see.
    """
    index, picked = Index.of(root), random.Random(seed)
    pool = []
    for path in sorted((root / _PACKAGE).rglob("*.py")):
        name = path.relative_to(root / _PACKAGE)
        if not _SPARED & set(name.parts) and re.search(within, name.as_posix()):
            mutants = [m for m in _mutants_of(path) if _alone(index, m)]
            pool += picked.sample(mutants, min(_FEW, len(mutants)))
    return picked.sample(pool, min(count, len(pool)))


def _alone(index: Index, mutant: Mutant) -> bool:
    try:
        index.place(mutant)
    except Lost:
        return False
    return True


def _mutants_of(path: Path) -> Iterator[Mutant]:
    source = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    owners = _owners(tree)
    for number, first, last, new in _cuts(tree, lines):
        line = lines[number - 1]
        instead = (line.encode()[:first] + new.encode() + line.encode()[last:]).decode()
        if _is_code([*lines[: number - 1], instead, *lines[number:]]):
            where = owners.get(number, "")
            yield Mutant(where=where, line=line.strip(), instead=instead.strip(), tests=())


def _is_code(lines: Sequence[str]) -> bool:
    try:
        ast.parse("\n".join(lines))
    except SyntaxError:
        return False
    return True


def _cuts(tree: ast.Module, lines: Sequence[str]) -> Iterator[_Cut]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for op, one, other in zip(node.ops, sides, sides[1:], strict=False):
                yield from _flip(op, one, other, lines)
        elif isinstance(node, ast.BoolOp):
            yield from _flip(node.op, node.values[0], node.values[1], lines)
        elif isinstance(node, ast.BinOp):
            yield from _flip(node.op, node.left, node.right, lines)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node.lineno, node.col_offset, node.operand.col_offset, ""
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, int | float) and not isinstance(node.value, bool):
                yield node.lineno, node.col_offset, node.end_col_offset or 0, f"{node.value + 1}"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            yield from _cut(node, "pass")
        elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
            yield from _cut(node.test, "False")


def _cut(node: ast.expr | ast.Expr, new: str) -> Iterator[_Cut]:
    if node.lineno == node.end_lineno:
        yield node.lineno, node.col_offset, node.end_col_offset or 0, new


def _flip(op: ast.AST, one: ast.expr, other: ast.expr, lines: Sequence[str]) -> Iterator[_Cut]:
    if type(op) not in _FLIPPED or one.end_lineno != other.lineno:
        return
    old, new = _FLIPPED[type(op)]
    first, last = one.end_col_offset or 0, other.col_offset
    between = lines[other.lineno - 1].encode()[first:last].decode()
    if re.fullmatch(rf"[ )]*{re.escape(old)}[ (]*", between):
        yield other.lineno, first, last, between.replace(old, new)


# ----------------------------------------------------------------------------------------- main


def _row(mutant: Mutant) -> str:
    """A row of the list."""
    told = [f"{name} = {_quoted(getattr(mutant, name))}" for name in ("where", "line", "instead")]
    return "\n".join(["[[mutant]]", *told, "tests = []", ""])


def _quoted(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def main() -> int:
    """What was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="show the mutants, and run nothing")
    parser.add_argument("--check", action="store_true", help="only whether each is found once")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these rows of the list")
    parser.add_argument("--trust", action="store_true", help="the tests pass: do not try it first")
    parser.add_argument("--draw", type=int, metavar="SEED", help="rows for a new list")
    parser.add_argument("--within", default="", help="only from modules whose path matches this")
    parser.add_argument("--count", type=int, default=COUNT, help="how many are drawn")
    given = parser.parse_args()
    if given.draw is not None:
        print("\n".join(map(_row, draw(ROOT, given.draw, given.count, given.within))))
        return 0
    mutants = dict(enumerate(load(), 1))
    if given.only:
        mutants = {number: mutants[number] for number in given.only}
    if given.list:
        for number, mutant in mutants.items():
            print(f"{number:3} {mutant}  [{' '.join(mutant.tests)}]")
        return 0
    if given.check:
        told = check(mutants.values(), Index.of(ROOT))
        print("\n".join(told) or f"All {len(mutants)} are found, each once.")
        return int(bool(told))
    return _run(mutants, trust=given.trust)


if __name__ == "__main__":
    sys.exit(main())
