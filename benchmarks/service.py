"""What the service costs: CPU time and memory of one process.

    python benchmarks/service.py links [--seconds 30] [--policies]
    python benchmarks/service.py fleet [--seconds 60] [--packs 1000] [--policies]

`links`: the sixteen packs of `many.py` on sixteen pseudo-terminals, asked once a second; every byte
comes at its time from another process. `fleet`: simulated JBD packs in the same process, which
costs about half of it, every five seconds. The state and the journal go to a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from boards import boards
from many import PACKS

POLICY = """schema = 2
[battery]
chemistry = "lfp"
cells = 16
capacity = "100 Ah"
"""
FLEET_INTERVAL = 5.0  # s
LINKS_CPU, LINKS_MEMORY, FLEET_CPU = 0.12, 80.0, 0.40
"""The targets: of one core, and MB."""


def memory() -> float:
    """What this process has in memory now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(
    targets: list[str], interval: float, seconds: float, settle: float
) -> tuple[float, Counter[str], Service]:
    """CPU of one core, readings of each pack."""
    folder = Path(os.environ["BMSLINK_STATE"])
    lines = ["[service]", f"interval = {interval}"]
    if (folder / "policy.toml").exists():
        lines.append(f'policies = "{folder / "policy.toml"}"')
    (folder / "bmslink.toml").write_text("\n".join(lines))
    service = Service(load_plan(targets, folder / "bmslink.toml"))
    readings: Counter[str] = Counter()

    async def listen() -> None:
        with service.feed.subscribe(kinds=["reading"], size=100_000) as news:
            async for item in news:
                readings[item.pack] += 1

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(service.run())
        group.create_task(listen())
        await asyncio.sleep(settle)
        readings.clear()
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        share = (time.process_time() - cpu) / (time.perf_counter() - start)
        counted = readings.copy()
        service.stop()
        await serving
    return share, counted, service


def links(seconds: float) -> bool:
    """Sixteen packs on sixteen links, once a second."""
    with boards(*PACKS) as targets:
        share, readings, service = asyncio.run(measure(targets, 1.0, seconds, 10.0))
    found = memory()
    print(f"16 packs on 16 links, once a second, {seconds:g} s:")
    print(f"  CPU {share:.1%} of a core (target {LINKS_CPU:.0%}), memory {found:.0f} MB")
    for kind in dict.fromkeys(PACKS):
        counts = {readings[n] for n, p in service.packs.items() if p.board.target.protocol == kind}
        print(f"  readings on each {kind} link: {min(counts)} to {max(counts)}")
    return share <= LINKS_CPU and found <= LINKS_MEMORY


def fleet(packs: int, seconds: float) -> bool:
    """Simulated JBD packs in this process, every five seconds."""
    targets = [f"sim://jbd?seed={number}" for number in range(1, packs + 1)]
    share, readings, _ = asyncio.run(measure(targets, FLEET_INTERVAL, seconds, 20.0))
    each = share * seconds / readings.total()
    whole = each * packs / FLEET_INTERVAL
    print(f"{packs} simulated JBD packs, every {FLEET_INTERVAL:g} s, {seconds:g} s:")
    print(f"  CPU {share:.1%} of a core, {1000 * each:.2f} ms a reading, memory {memory():.0f} MB")
    print(f"  at the full rate {whole:.1%} of a core (target {FLEET_CPU:.0%})")
    least, most = min(readings.values(), default=0), max(readings.values(), default=0)
    due = seconds / FLEET_INTERVAL
    print(f"  readings of each pack: {least} to {most} of {due:g}; fewer: the machine was busy")
    return whole <= FLEET_CPU and len(readings) == packs


def main() -> int:
    """Measure; 0 where the targets are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["links", "fleet"])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--packs", type=int, default=1000)
    parser.add_argument("--policies", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BMSLINK_STATE"] = folder
        os.environ["BMSLINK_JOURNAL"] = str(Path(folder) / "journal")
        if chosen.policies:
            (Path(folder) / "policy.toml").write_text(POLICY)
        if chosen.what == "links":
            return not links(chosen.seconds)
        return not fleet(chosen.packs, chosen.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
