"""How long packs are not polled when the service dies (SIGKILL) and is started again at once.

    python benchmarks/restart.py [--kills 20] [--protocols jbd,jk02,daly-a5]

One simulated board a protocol, on a pseudo-terminal of another process. Of each kill two times:
until the service could be asked, and until it said that it had read the pack; the target is
3 s. With `--detect` the targets leave the protocol open.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TARGET = 3.0
"""s."""


class Restart(NamedTuple):
    """After one SIGKILL."""

    ready: float
    """s until it could be asked."""
    read: float
    """s until the pack was read."""
    cpu: float
    """s of a processor that it had taken by then, which other work changes less (Linux)."""


@contextlib.contextmanager
def _board(protocol: str, folder: Path) -> Iterator[str]:
    port = folder / protocol
    command = [sys.executable, "-m", "bmslink", "simulate", protocol, "--pty", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as run:
        try:
            if run.stdout is None or "ready" not in run.stdout.readline():
                raise RuntimeError("no board")
            yield str(port)
        finally:
            run.terminate()


def _serve(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bmslink", "serve", "--json"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _until_read(service: subprocess.Popen[str], began: float) -> Restart:
    ready = 0.0
    for line in service.stdout or ():
        found = json.loads(line)
        if "ready" in found:
            ready = time.monotonic() - began
        elif found.get("event", {}).get("what") == "ok":
            return Restart(ready, time.monotonic() - began, _cpu(service.pid))
    raise RuntimeError("the service ended")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(protocol: str, kills: int, *, detect: bool) -> list[Restart]:
    """The first start is not counted."""
    with tempfile.TemporaryDirectory() as name, _board(protocol, Path(name)) as port:
        folder = Path(name)
        target = port if detect else f"{protocol}+serial://{port}"
        (folder / "bmslink.toml").write_text(f'[packs.house]\ntarget = "{target}"\n')
        own = {"RUNTIME": "r", "JOURNAL": "j", "STATE": "s", "CONFIG": "bmslink.toml"}
        where = {f"BMSLINK_{key}": str(folder / file) for key, file in own.items()}
        environment = {**os.environ, **where}
        service = _serve(environment)
        _until_read(service, time.monotonic())
        found = []
        for _ in range(kills):
            time.sleep(0.5)
            began = time.monotonic()
            service.kill()
            service.wait()
            service = _serve(environment)
            found.append(_until_read(service, began))
        service.terminate()
        service.wait()
    return found


def _shown(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s, longest {max(values):.2f} s"


def main() -> int:
    """Measure; 0 where the target is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--protocols", default="jbd,jk02,daly-a5")
    parser.add_argument("--detect", action="store_true")
    chosen = parser.parse_args()
    longest = 0.0
    for protocol in chosen.protocols.split(","):
        found = measure(protocol, chosen.kills, detect=chosen.detect)
        print(f"{protocol}: ready after {_shown([each.ready for each in found])}")
        print(f"{protocol}: polled after {_shown([each.read for each in found])}")
        print(f"{protocol}: CPU until then {_shown([each.cpu for each in found])}")
        longest = max(longest, *(each.read for each in found))
    return longest > TARGET


if __name__ == "__main__":
    raise SystemExit(main())
