"""All measurements, each beside something measured in the same run.

    python benchmarks/run.py [--quick] [decode] [wire] [config] [change] [many] [ble] [scan]
                             [control] [backtest] [large] [serve] [off] [history] [scrape]
                             [screen] [start] [size]

Contestants are interleaved round by round and medians are compared, so that a busy machine
disturbs all alike. Ratios that differ by less than a third mean nothing. Peers need the
dependency group `bench`; one that cannot run here is named.
"""

from __future__ import annotations

import asyncio
import platform
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

import backtests
import configuring
import control
import decoders
import everything
import finding
import large
import many
import peers
import remembering
import screen
import served_off
import serving
import wire

ROOT = Path(__file__).parent.parent
CALLS = 20
"""Times that a decoder runs in each round: one run is near what the clock can tell."""
Measured = dict[str, list[float]]


def interleaved(contestants: dict[str, Callable[[], object]], rounds: int, calls: int) -> Measured:
    """Seconds per call of each contestant, one after the other in every round."""
    times: Measured = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            start = time.perf_counter()
            for _ in range(calls):
                work()
            times[name].append((time.perf_counter() - start) / calls)
    return times


def table(title: str, *columns: str) -> Table:
    """A table whose first column is text."""
    made = Table(title=title, title_justify="left")
    made.add_column(columns[0])
    for column in columns[1:]:
        made.add_column(column, justify="right")
    return made


def spread(values: list[float], factor: float) -> tuple[str, str]:
    """The median, and from where to where nine in ten values reach."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    return (
        f"{statistics.median(values) * factor:.1f}",
        f"{low * factor:.1f}-{high * factor:.1f}",
    )


# ---------------------------------------------------------------------------------- decoding


def decode(console: Console, *, quick: bool) -> None:
    """The contests, and what we do beyond them."""
    against = table(
        "Decoding: the same frames, the same work; target: 2 or more", "who", "µs", "90 %", "ratio"
    )
    alone = table("Decoding: what bmslink does on a live link", "what", "µs", "90 %", "ratio")
    for title, ours, rivals, more in decoders.contests():
        own = {"bmslink": ours}
        times = interleaved({**own, **rivals, **more}, 30 if quick else 300, CALLS)
        base = statistics.median(times["bmslink"])
        for report, names in ((against, rivals), (alone, more)):
            if names:
                report.add_section()
                report.add_row(f"[bold]{title}")
            for name in (*own, *names) if names else ():
                ratio = statistics.median(times[name]) / base
                report.add_row(f"  {name}", *spread(times[name], 1e6), f"{ratio:.2f}")
    console.print(against, alone)
    for name, why in peers.MISSING.items():
        console.print(f"{name} did not take part: {why}")


# ---------------------------------------------------------------------------------- the wire


def cycle(console: Console, *, quick: bool) -> None:
    """Polls on paced pseudo-terminals."""
    columns = ("poll", "limit ms", "ms", "90 %", "of the limit", "CPU ms")
    report = table("Poll cycle at 9600 baud; target: 97 % or more", *columns)
    for name, limit, times, cpu in wire.cycles(8 if quick else 30):
        share = limit / statistics.median(times)
        report.add_row(
            name, f"{limit * 1e3:.1f}", *spread(times, 1e3), f"{share:.1%}", f"{cpu * 1e3:.1f}"
        )
    console.print(report)


def config(console: Console, *, quick: bool) -> None:
    """A change of ten settings on a paced pseudo-terminal."""
    columns = ("what", "bytes", "requests", "s")
    report = table("JBD at 9600 baud: read, plan, write 10 settings, prove", *columns)
    found = [configuring.measure() for _ in range(1 if quick else 3)]
    took, one = statistics.median(change.took for change in found), found[0]
    report.add_row("must", str(one.must.size), str(one.must.requests), f"{one.limit:.2f}")
    report.add_row("bmslink", str(one.sent.size), str(one.sent.requests), f"{took:.2f}")
    console.print(report)
    console.print(f"{took / one.limit:.2f} times what wire and pauses allow (target: 1.5).")


def change(console: Console, *, quick: bool) -> None:
    """One value changed on each simulated board, on virtual time."""
    sys.path.insert(0, str(ROOT / "tools"))
    import change_cost

    title = "One value changed; target: 2 identifications, 3 tables, 2 brackets, 1.3 times"
    columns = ("board", "asked", "bytes", "who", "tables", "brackets", "s", "must", "ratio")
    report = table(title, *columns)
    for protocol in change_cost.PROTOCOLS[: 1 if quick else None]:
        c = change_cost.measure(protocol)
        counts = c.requests, c.size, c.identifies, c.tables, c.brackets
        times = f"{c.seconds:.1f}", f"{c.floor:.1f}", f"{c.ratio:.2f}"
        report.add_row(protocol, *map(str, counts), *times)
    console.print(report)


def links(console: Console, *, quick: bool) -> None:
    """Many packs in one process."""
    found = many.share(10 if quick else 30)
    title = f"{len(many.PACKS)} packs on {len(many.PACKS)} links in one process"
    report = table(
        f"{title}: {found.cpu:.1%} of one core; target: under 25 %",
        "packs",
        "readings on each link",
        "per s",
    )
    for name, counts in found.readings.items():
        rate = statistics.mean(counts) / found.seconds
        shown = f"{min(counts)} to {max(counts)} in {found.seconds:.0f} s"
        report.add_row(f"{len(counts)} {name}", shown, f"{rate:.2f}")
    console.print(report)
    console.print(f"Longest wait for a reading: {found.latest:.2f} times the natural one.")


# ---------------------------------------------------------------------------------- Bluetooth


def ble(console: Console, *, quick: bool) -> None:
    """Exchanges through our whole road, beside bleak alone on the same stack."""
    try:
        import air
    except ImportError as error:
        console.print(f"Bluetooth was not measured: {error}.")
        return
    columns = ("exchange", "bmslink µs", "90 %", "bleak µs", "90 %", "ratio")
    report = table("Bluetooth: bumble's stack, a radio that takes no time", *columns)
    for contest in air.contests(200 if quick else 2000):
        report.add_row(
            contest.name,
            *spread(contest.ours, 1e6),
            *spread(contest.bleak, 1e6),
            f"{air.ratio(contest):.2f}",
        )
    console.print(report)


# ---------------------------------------------------------------------------------- finding


def scan(console: Console, *, quick: bool) -> None:
    """From a bare port to what hangs there."""
    report = table("Finding a pack on a bare port", "what", "s", "right")
    for name, seconds, right in asyncio.run(finding.searches(usual_only=quick)):
        report.add_row(name, f"{seconds:.1f}", "yes" if right else "NO")
    console.print(report)


# ------------------------------------------------------------------------------------ control


def policies(console: Console, *, quick: bool) -> None:
    """One cycle of the control engine, and of all that acts on what it decides."""
    title = f"One cycle of deciding, {control.CELLS} cells; target with the reconciler: 80 µs"
    report = table(title, "pack", "µs", "90 %", "readings per s")
    for name, times in control.cycles(3 if quick else 20):
        report.add_row(name, *spread(times, 1e6), f"{1 / statistics.median(times):.0f}")
    console.print(report)


def backtest(console: Console, *, quick: bool) -> None:
    """Logs through the policies."""
    report = table("Back-test on one core", "what", "µs per sample", "samples/s", "a year of 10 s")
    for name, seconds in backtests.costs(2_000 if quick else 20_000):
        year = seconds * 365 * 8640 / 60
        report.add_row(name, f"{seconds * 1e6:.0f}", f"{1 / seconds:.0f}", f"{year:.1f} min")
    console.print(report)


# ---------------------------------------------------------------------------------- large input


def largest(console: Console, *, quick: bool) -> None:
    """Noise, long captures, deep nesting."""
    report = table("Large input", "what", "measured", "target", "remark")
    for byte, seconds in large.noise(all_bytes=not quick):
        what = f"decode: {large.NOISE / 1e6:g} MB of {byte:02X}"
        report.add_row(what, f"{seconds:.2f} s", "3 s", "CPU time")
    report.add_section()
    for found in large.replays(large.CAPTURE / 4 if quick else large.CAPTURE):
        remark = f"{found.alone:.1f} MB for a short one"
        what = f"replay {found.size / 1e6:.1f} MB: {found.name}"
        report.add_row(what, f"{found.peak:.1f} MB", "64 MB", remark)
    report.add_section()
    for name, seconds in large.deep():
        what = f"TOML nested {large.DEPTH} deep: {name}"
        report.add_row(what, f"{seconds * 1e3:.1f} ms", "at once", "refused")
    console.print(report)


# ---------------------------------------------------------------------------------- the service


def serve(console: Console, *, quick: bool) -> None:
    """What commands take through a service, and what its interface needs."""
    if not Path("/proc/self/statm").exists():
        console.print("The service was not measured: memory is looked up in /proc.")
        return
    columns = ("command", "ms alone", "ms served", "more", "CPU ms alone", "served", "more")
    report = table("A command through the service; target: at most 50 ms more", *columns)
    with tempfile.TemporaryDirectory() as folder:
        for each in serving.commands(Path(folder), 5 if quick else 21):
            cells: list[str] = []
            for times in (each.wall, each.cpu):
                alone, through = (statistics.median(values) * 1e3 for values in times)
                cells += [f"{alone:.0f}", f"{through:.0f}", f"{through - alone:+.0f}"]
            report.add_row(each.name, *cells)
    console.print(report)
    with tempfile.TemporaryDirectory() as folder:
        found = serving.interface(Path(folder), 50 if quick else 300, 5 if quick else 20)
    report = table("The interface of a service of one pack", "what", "median", "90 %")
    report.add_row("GET /api/v1/packs, connection included, ms", *spread(found.calls, 1e3))
    report.add_row("memory, MB", f"{found.idle / 1e6:.0f}", "")
    many = f"{serving.LISTENERS} listeners"
    report.add_row(f"memory with {many}, MB", f"{found.listening / 1e6:.0f}", "")
    report.add_row(f"of a core with {many}, pack and simulator included", f"{found.cpu:.1%}", "")
    console.print(report)


def off(console: Console, *, quick: bool) -> None:
    """How soon an off that is asked of the service reaches the board."""
    report = table(
        f"Off through the service while {served_off.READERS} others read; target: p99 at most "
        "10 ms after the exchange under way",
        "protocol",
        "ms in all",
        "ms after it",
        "p90",
        "p99",
        "offs",
    )
    times = 8 if quick else 100
    with tempfile.TemporaryDirectory() as folder:
        for protocol in served_off.QUIET:
            found = served_off.measure(Path(folder), protocol, times)
            after = sorted(found.after)
            report.add_row(
                protocol,
                f"{statistics.median(found.whole) * 1e3:.1f}",
                *(f"{after[round(at * (len(after) - 1))] * 1e3:.1f}" for at in (0.5, 0.9, 0.99)),
                str(len(after)),
            )
    console.print(report)


# ----------------------------------------------------------------------------------- history


def history(console: Console, *, quick: bool) -> None:
    """What it costs to remember, and how long an answer takes."""
    report = table(
        f"History of {remembering.PACKS} packs of 16 cells, each read every {remembering.EVERY} s",
        "what",
        "measured",
        "target",
    )
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        day = remembering.written(folder, 1 if quick else 3)
        report.add_row("MB written a day", f"{day.asked:.0f}", "250")
        report.add_row("the same as the kernel counts it at the disk", f"{day.disk:.0f}", "250")
        share = remembering.share_of_core(folder, 0.2 if quick else 1)
        report.add_row("% of a core, without polling", f"{share * 100:.2f}", "-")
        waits = remembering.delays(folder, 100 if quick else 400)
        for state, found in waits.items():
            report.add_row(
                f"decision to frame, ms at p50 and p99; history: {state}",
                " and ".join(f"{remembering.at(found, share):.2f}" for share in (0.5, 0.99)),
                "" if state == "none" else "+1 at p99",
            )
        days = 30 if quick else 365
        asked = remembering.answers(folder, days, 20)
        report.add_row(f"MB of {days} days of minutes", f"{asked.size:.0f}", "-")
        report.add_row(
            "a day in minutes, 5 values: ms, highest", remembering.worst(asked.some), "100"
        )
        report.add_row("the same, all values", remembering.worst(asked.all), "100")
        report.add_row(f"{days} days in hours, 5 values", remembering.worst(asked.year), "100")
    console.print(report)


# ---------------------------------------------------------------------------------- everything on


def everything_on(console: Console, *, quick: bool) -> None:
    """A scrape, and the needs of a service with everything on."""
    report = table(
        f"{everything.PACKS} packs, each read every {everything.EVERY} s, with everything on",
        "what",
        "measured",
        "target",
    )
    with tempfile.TemporaryDirectory() as name:
        found = everything.measure(Path(name), 20 if quick else 100, 20 if quick else 60)
    for kind, times in found.scrapes.items():
        middle, *ends = (f(times) * 1e3 for f in (statistics.median, min, max))
        report.add_row(
            f"scrape, {kind}: ms", "{:.1f} ({:.1f} to {:.1f})".format(middle, *ends), "5"
        )
    report.add_row("% of a core, the simulated packs included", f"{found.share * 100:.1f}", "15")
    report.add_row("MB resident", f"{found.memory / 1e6:.0f}", "100")
    console.print(report)


# ---------------------------------------------------------------------------------- start-up


def start(console: Console, *, quick: bool) -> None:
    """Wall time of whole processes."""
    command = str(Path(sys.executable).parent / "bmslink")
    runs = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bmslink --version": [command, "--version"],
        "bmslink --help": [command, "--help"],
        "bmslink read --help": [command, "read", "--help"],
        "bmslink read sim://jbd --json": [command, "read", "sim://jbd", "--json"],
    }
    if not Path(command).exists():
        console.print("Start-up was not measured: bmslink is not installed beside this Python.")
        return

    def runner(arguments: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)

    contestants = {name: runner(arguments) for name, arguments in runs.items()}
    interleaved(contestants, 2, 1)  # warm the file cache
    times = interleaved(contestants, 5 if quick else 21, 1)
    base = statistics.median(times["python -c pass"])
    report = table("Start-up", "what", "ms", "90 %", "ratio")
    for name, values in times.items():
        report.add_row(name, *spread(values, 1e3), f"{statistics.median(values) / base:.2f}")
    console.print(report)


def size(console: Console, *, quick: bool) -> None:
    """What `pip install bmslink` adds to an empty environment."""
    if quick:
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "empty"
        venv.create(place, with_pip=True)
        before = _size(place)
        python = str(place / "bin" / "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-compile", str(ROOT)], check=True
        )
        added = (_size(place) - before) / 1e6
    console.print(f"Core install: {added:.1f} MB beyond an empty environment")


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def dashboard(console: Console, *, quick: bool) -> None:
    """What a person waits for, and what watching costs."""
    found = [screen.first_paint() for _ in range(3 if quick else 9)]
    times = table("monitor: from the start of the process", "until", "median ms", "range")
    times.add_row("the first frame", *spread([each.frame for each in found], 1000))
    times.add_row("the same, of CPU time", *spread([each.frame_cpu for each in found], 1000))
    times.add_row("the values of a simulated pack", *spread([each.values for each in found], 1000))
    times.add_row("the same, of CPU time", *spread([each.values_cpu for each in found], 1000))
    console.print(times)
    cost = screen.watching(8.0 if quick else 30.0)
    console.print(
        f"monitor with {screen.PACKS} simulated packs at 2 Hz: {cost.cpu:.1%} of a core, "
        f"{cost.megabytes:.0f} MB, {cost.output:.0f} bytes/s to the terminal"
    )


SECTIONS = {
    "decode": decode,
    "wire": cycle,
    "config": config,
    "change": change,
    "many": links,
    "ble": ble,
    "scan": scan,
    "control": policies,
    "backtest": backtest,
    "large": largest,
    "serve": serve,
    "off": off,
    "history": history,
    "scrape": everything_on,
    "screen": dashboard,
    "start": start,
    "size": size,
}


def main(arguments: list[str]) -> int:
    """Print the tables that were asked for, or all."""
    chosen = [a for a in arguments if a != "--quick"] or list(SECTIONS)
    console = Console()
    if unknown := [name for name in chosen if name not in SECTIONS]:
        console.print(f"There is no {unknown[0]!r}; sections are {', '.join(SECTIONS)}.")
        return 2
    console.print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in chosen:
        SECTIONS[name](console, quick="--quick" in arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
