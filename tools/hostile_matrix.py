"""The matrix of hostile boards: into `docs/configuration.md`, by hand, or with chance.

    python tools/hostile_matrix.py [--check]            the table of the page
    python tools/hostile_matrix.py --run [WORD...]      the cells whose names hold these words
    python tools/hostile_matrix.py --prune              takes mended cells off the list of open ones
    python tools/hostile_matrix.py --sweep N [--seed S] N cells with quirks by chance
    python tools/hostile_matrix.py --kills N [--seed S] N changes killed at a request, then resumed

With `--check` nothing is written, and the exit code is 1 if the page is not what it would be. The
others print what is not true, and end with 1 if anything is.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile.bench import hurried
from hostile.judge import judge
from hostile.matrix import (
    COMMANDS,
    DIALECTS,
    OPEN_CELLS,
    QUIRKS,
    Cell,
    cells,
    open_cells,
)
from hostile.world import World

__all__ = ["main", "page"]

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN, END = "<!-- generated: tools/hostile_matrix.py -->", "<!-- end of the matrix -->"


def table() -> str:
    """The count of the matrix: what the board does, by dialect."""
    count: Counter[tuple[str, str]] = Counter()
    variants: dict[str, set[str]] = {}
    for cell in cells():
        kind = QUIRKS[cell.quirk].kind
        count[kind, cell.dialect] += 1
        variants.setdefault(kind, set()).add(cell.quirk)
    lines = [
        f"| What the board does | Variants | {' | '.join(DIALECTS)} |",
        f"|---|---|{'---|' * len(DIALECTS)}",
    ]
    for kind, names in variants.items():
        numbers = " | ".join(str(count[kind, dialect]) for dialect in DIALECTS)
        lines.append(f"| {kind} | {len(names)} | {numbers} |")
    totals = [sum(n for (_, d), n in count.items() if d == dialect) for dialect in DIALECTS]
    lines.append(f"| all | {len(QUIRKS)} | {' | '.join(map(str, totals))} |")
    left = len(open_cells())
    commands = ", ".join(f"`{name}`" for name in COMMANDS)
    verdict = (
        "In all of them the command says the truth: 0 silent differences, 0 untruthful sentences."
        if not left
        else f"In {left} of them something is not true yet (`tests/hostile/open_cells.txt`)."
    )
    return (
        f"{sum(totals)} cells: dialect x quirk x command ({commands}). {verdict}\n\n"
        + "\n".join(lines)
        + "\n"
    )


def page(text: str) -> str:
    """The page with the table as it is now."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for the table.")
    return f"{head}{BEGIN}\n\n{table()}\n{END}{tail}"


def _report(asked: Iterable[tuple[Cell, str | None]]) -> int:
    known, wrong, count = open_cells(), 0, 0
    with tempfile.TemporaryDirectory() as folder, hurried():
        world = World(Path(folder))
        for cell, quirks in asked:
            count += 1
            outcome = world.run(cell, quirks)
            found = judge(outcome, quirks)
            if not found:
                continue
            wrong += 1
            mark = "known" if str(cell) in known and quirks is None else "NEW"
            how = f" [{quirks}]" if quirks is not None else ""
            print(f"{mark} | {cell}{how} | exit {outcome.result.code} | {'; '.join(found)}")
            print(f"      said: {outcome.result.said[-400:]}")
    print(f"{count} cells, {wrong} of them not true")
    return int(wrong > 0)


def _prune() -> int:
    known, still = open_cells(), set()
    with tempfile.TemporaryDirectory() as folder, hurried():
        world = World(Path(folder))
        still = {str(c) for c in cells() if str(c) in known and judge(world.run(c))}
    lines = OPEN_CELLS.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.startswith("#") or line in still]
    OPEN_CELLS.write_text("\n".join(kept) + "\n", encoding="utf-8")
    print(f"{len(known) - len(still)} cells were mended, {len(still)} are still open")
    return 0


def _by_chance(count: int, seed: int) -> Iterator[tuple[Cell, str]]:
    """Cells with one or two quirks of random parameters."""
    chance = random.Random(seed)
    names = [name for name in COMMANDS if not COMMANDS[name].reads]
    words = ("cell_ovp", "cell_uvp", "charge_otp", "charge_utp", "cell_count")
    for _ in range(count):
        recipes = [
            f"late-by-one=after:{chance.randrange(90)}",
            (
                f"late=seconds:{chance.uniform(0.05, 2.5):.2f},first:{chance.randrange(40)},"
                f"last:{chance.randrange(40, 120)}"
            ),
            f"delayed-view=low:{chance.uniform(0.5, 4):.1f},high:{chance.uniform(4, 6):.1f}",
            f"forgets=seconds:{chance.uniform(0.2, 4):.1f},nth:{chance.randrange(1, 4)}",
            f"acks-and-ignores=times:{chance.randrange(1, 9)}",
            f"rounds=step:{chance.choice((4, 7, 16, 50))}",
            f"clamps=share:{chance.uniform(0, 1.5):.2f}",
            (
                f"neighbour=register:{chance.choice(words)},add:{chance.choice((-3, -1, 1, 2))},"
                f"nth:{chance.randrange(1, 4)},seconds:{chance.uniform(0, 4):.1f}"
            ),
            f"refuses=nth:{chance.randrange(1, 5)},stuck:{chance.choice(('yes', 'no'))}",
            (
                f"loses-link=nth:{chance.randrange(1, 4)},seconds:{chance.uniform(0.1, 9):.1f},"
                f"applied:{chance.choice(('yes', 'no'))},hangs_up:{chance.choice(('yes', 'no'))}"
            ),
            f"answers-twice=seconds:{chance.uniform(0, 0.9):.2f}",
            f"garbage=before:{chance.choice(('yes', 'no'))},every:{chance.randrange(1, 6)}",
            f"flickers=register:cell_uvp,add:40,after:{chance.randrange(60)}",
            (
                f"foreign-master=register:{chance.choice(words)},add:{chance.choice((-9, 5))},"
                f"nth:{chance.randrange(1, 4)},seconds:{chance.uniform(0, 4):.1f}"
            ),
            f"restarts=seconds:{chance.uniform(0, 3):.1f},nth:{chance.randrange(1, 4)}",
            f"truncates-texts=after:{chance.randrange(60)}",
        ]
        picked = chance.sample(recipes, chance.choice((1, 1, 2)))
        dialect = chance.choice(list(DIALECTS))
        fitting = [name for name in names if dialect in COMMANDS[name].dialects]
        command = chance.choice(fitting)
        yield Cell(dialect, "by chance", command), " ".join(picked)


def _kills(count: int, seed: int) -> int:
    chance, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder, hurried():
        world = World(Path(folder))
        for _ in range(count):
            dialect, back = chance.choice(list(DIALECTS)), chance.random() < 0.5
            request = chance.randrange(60 if dialect == "jbd" else 12)
            if found := world.kill(dialect, request, back=back):
                wrong += 1
                print(f"{dialect}, request {request}, {'back' if back else 'on'}: {found}")
    print(f"{count} changes killed, {wrong} of them not ended as they should be")
    return int(wrong > 0)


def main(argv: list[str]) -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--run", nargs="*", metavar="WORD")
    parser.add_argument("--sweep", type=int, metavar="N")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--kills", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.run is not None:
        return _report((c, None) for c in cells() if all(w in str(c) for w in options.run))
    if options.sweep is not None:
        return _report(_by_chance(options.sweep, options.seed))
    if options.prune:
        return _prune()
    if options.kills is not None:
        return _kills(options.kills, options.seed)
    text = PAGE.read_text(encoding="utf-8")
    new = page(text)
    if new != text and not options.check:
        PAGE.write_text(new, encoding="utf-8")
    return int(new != text and options.check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
