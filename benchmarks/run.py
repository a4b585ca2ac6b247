"""Start-up, size and decode times, each as a ratio to something measured in the same run.

    python benchmarks/run.py [--quick]

Competitors are interleaved round by round and medians are compared, so that a busy machine
disturbs all alike. Differences under a third mean nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

import decoders

ROOT = Path(__file__).parent.parent
Measured = dict[str, list[float]]


def interleaved(contestants: dict[str, Callable[[], object]], rounds: int) -> Measured:
    """Seconds of each contestant, one after the other in every round."""
    times: Measured = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return times


def report(console: Console, title: str, times: Measured, base: str, unit: str) -> None:
    """One table; ratios to `base`."""
    factor = {"ms": 1e3, "µs": 1e6}[unit]
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for column in (f"median {unit}", "min", "max", f"ratio to {base}"):
        table.add_column(column, justify="right")
    reference = statistics.median(times[base])
    for name, values in times.items():
        median = statistics.median(values)
        table.add_row(
            name,
            f"{median * factor:.1f}",
            f"{min(values) * factor:.1f}",
            f"{max(values) * factor:.1f}",
            f"{median / reference:.2f}",
        )
    console.print(table)


def start_up(rounds: int) -> Measured:
    """Wall time of whole processes."""
    command = str(Path(sys.executable).parent / "bmslink")
    runs = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bmslink --version": [command, "--version"],
        "bmslink --help": [command, "--help"],
        "bmslink read --help": [command, "read", "--help"],
        "bmslink read sim://jbd --json": [command, "read", "sim://jbd", "--json"],
    }

    def runner(arguments: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)

    contestants = {name: runner(arguments) for name, arguments in runs.items()}
    interleaved(contestants, 2)  # warm the file cache
    return interleaved(contestants, rounds)


def installed_size() -> float:
    """MB that `pip install bmslink` adds to an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "empty"
        venv.create(place, with_pip=True)
        before = _size(place)
        python = str(place / "bin" / "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-compile", str(ROOT)], check=True
        )
        return (_size(place) - before) / 1e6


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def main() -> None:
    """Print all tables."""
    console = Console()
    quick = "--quick" in sys.argv
    report(console, "Start-up", start_up(5 if quick else 21), "python -c pass", "ms")
    for title, (base, contestants) in decoders.contests().items():
        times = interleaved(contestants, 50 if quick else 400)
        report(console, title, times, base, "µs")
    if not quick:
        console.print(f"Core install: {installed_size():.1f} MB beyond an empty environment")


if __name__ == "__main__":
    main()
