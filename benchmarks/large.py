"""Input that is large, deep or nothing but noise: what it costs in time and memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bmslink.decoding import decode
from bmslink.errors import FrameError, TargetError
from bmslink.protocols import DRIVERS, load_driver
from bmslink.storage.toml import Document

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
NOISE = 1_000_000
"""Bytes of noise that are decoded."""
SAMPLE = 1 << 15
"""Bytes by which the slowest noise is found."""
CAPTURE = 27.7
"""MB of a capture that is replayed."""
DEPTH = 50_000

SESSIONS = {
    "JBD, requests and answers": "jbd/jbd-syssi-sp04s034-btsnoop-mos-1",
    "JBD, answers only": "jbd/jbd-aces-4s",
    "JK02, a stream": "jk02/sess-jk02-32s-b2a20s20p-11.288H-port-heating",
}
DEEP = {
    "lists": "a = " + "[" * DEPTH + "]" * DEPTH,
    "inline tables": "a = " + "{a=" * DEPTH + "1" + "}" * DEPTH,
    "a key": ".".join(["a"] * DEPTH) + " = 1",
    "a table": "[" + ".".join(["a"] * DEPTH) + "]",
    "a quoted key": ".".join(['"a"'] * DEPTH) + " = 1",
}
_REPLAYED = """
import resource, sys
from pathlib import Path
from bmslink.cli.app import main

code = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = Path("/proc/self/status")
if status.exists():  # there the other one counts the process that started this one, too
    peak = next(int(l.split()[1]) for l in status.read_text().splitlines() if "VmHWM" in l)
print(code, peak, file=sys.stderr)
"""


class Replayed(NamedTuple):
    """A session that was read from a recording by a process of its own."""

    name: str
    size: int
    """Bytes of the file."""
    peak: float
    """Memory of the process, MB."""
    alone: float
    """The same for the session as it was recorded, some 20 kB: interpreter and modules."""
    seconds: float


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _refused(byte: int, size: int) -> float:
    data = bytes([byte]) * size

    def work() -> None:
        try:
            decode(data)
        except FrameError:
            return
        raise ValueError(f"a reading was found in bytes {byte:02x}")

    return _cpu(work)


def noise(*, all_bytes: bool) -> list[tuple[int, float]]:
    """The bytes whose megabyte takes longest to decode, with the CPU time, s."""
    for name in DRIVERS:
        load_driver(name)
    step = 1 if all_bytes else 16
    sample = {byte: _refused(byte, SAMPLE) for byte in {3, *range(0, 256, step)}}
    slowest = sorted(sample, key=lambda byte: -sample[byte])[:3]
    found = [(byte, _refused(byte, NOISE)) for byte in slowest]
    return sorted(found, key=lambda entry: -entry[1])


def replays(size: float) -> Iterator[Replayed]:
    """Long captures, read by the command; `size` in MB."""
    with tempfile.TemporaryDirectory() as folder:
        for name, capture in SESSIONS.items():
            source, path = FIXTURES / f"{capture}.jsonl", Path(folder, "long.jsonl")
            tool = str(ROOT / "tools" / "long_capture.py")
            subprocess.run([sys.executable, tool, source, path, str(size)], check=True)
            alone = _peak(source)
            begun = time.perf_counter()
            peak = _peak(path)
            yield Replayed(name, path.stat().st_size, peak, alone, time.perf_counter() - begun)


def _peak(path: Path) -> float:
    """The memory of `bmslink read` from a recording, MB."""
    target = f"replay://{path}?speed=1000&timeout=60"
    argv = ["read", target, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", _REPLAYED, *argv], check=True, capture_output=True, text=True
    )
    *said, last = done.stderr.splitlines()
    code, peak = map(int, last.split())
    if not done.stdout:
        raise ValueError(f"{path} gave no reading (exit code {code}): {said}")
    return peak / 1024


def deep() -> Iterator[tuple[str, float]]:
    """TOML nested very deeply, with the CPU time until it is refused, s."""
    for name, text in DEEP.items():
        yield name, _cpu(partial(_not_read, text))


def _not_read(text: str) -> None:
    try:
        Document(text, Path("deep.toml"))
    except TargetError:
        return
    raise ValueError("this was read")
