"""Ask independent programs about all captures (`make verify`).

python tools/verify.py            writes tests/fixtures/independent.json
python tools/verify.py --check    fails where that file is stale, or a disagreement unexplained

Each program gets an environment of its own below .venv-verify, with the first Python of the
variable VERIFY_PYTHONS that it runs on, and is asked by its adapter in tools/peers. A program that
cannot be asked keeps its record, is named, and lets the command fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import goldens
from bmslink.link.capture import CaptureHeader, Piece
from recorded_verdicts import RECORD, comparisons, live_frames

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".venv-verify"
PYTHONS = [*os.environ.get("VERIFY_PYTHONS", "python3.13 python3.12").split(), sys.executable]


@dataclass(frozen=True)
class Program:
    """An independent decoder that can be installed."""

    name: str
    version: str
    needs: tuple[int, int] = (3, 11)
    """The oldest Python it runs on."""
    below: tuple[int, int] = (4, 0)
    """The first Python that it refuses."""
    alone: tuple[str, ...] | None = None
    """What it is installed with in place of all that it declares."""

    @property
    def adapter(self) -> Path:
        """The script that asks it."""
        return PEERS / f"ask_{self.name.replace('-', '_')}.py"

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ENVIRONMENTS / f"{self.name}-{self.version}" / "bin" / "python"


PROGRAMS = (
    Program("aiobmsble", "0.31.0", (3, 12)),
    Program("bmstools", "1.2.0"),
    Program("dalybms", "0.5.0", alone=("pyserial",)),  # which it uses, and does not declare
    Program("ecoworthy-logger", "1.0.0", (3, 13), alone=("attrs", "construct")),  # without bluepy
    Program("jkctl", "0.2.0"),
    Program("mppsolar", "0.16.56"),
    Program("powermon", "1.0.18", below=(3, 13)),
    Program("pydalybms", "0.1.0"),
)


def interpreter(program: Program) -> str:
    """The first Python that a program runs on.

    Raises LookupError where there is none.
    """
    test = f"import sys; sys.exit(not {program.needs} <= sys.version_info < {program.below})"
    for name in PYTHONS:
        path = shutil.which(name)
        if (
            path
            and subprocess.run([path, "-c", test], capture_output=True, check=False).returncode == 0
        ):
            return path
    first, end = (".".join(map(str, v)) for v in (program.needs, program.below))
    limit = f", below {end}" if program.below < (4, 0) else ""
    raise LookupError(f"needs Python {first} or newer{limit}: name one in VERIFY_PYTHONS")


def install(program: Program) -> None:
    """An environment for a program, if it has none yet.

    Raises LookupError without a Python for it, subprocess.CalledProcessError where pip fails.
    """
    done = program.python.parent.parent / ".installed"
    if done.exists():
        return
    path = interpreter(program)
    subprocess.run([path, "-m", "venv", str(done.parent)], check=True)
    pip = [str(program.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if program.alone is not None:
        subprocess.run([*pip, *program.alone], check=True)
        pip.append("--no-deps")
    subprocess.run([*pip, f"{program.name}=={program.version}"], check=True)
    done.touch()


def ask(program: Program, python: str, captures: str) -> dict[str, list[dict[str, Any]]]:
    """What a program says, by capture; `python` is an interpreter that has it.

    Raises subprocess.CalledProcessError where it cannot be asked.
    """
    answer = subprocess.run(
        [python, str(program.adapter)],
        input=captures,
        capture_output=True,
        text=True,
        check=True,
    )
    heard = json.loads(answer.stdout)
    said: dict[str, list[dict[str, Any]]] = {}
    for capture, verdicts in heard["said"].items():
        seen = []
        for verdict in verdicts:
            content = verdict.get("values", verdict.get("refused"))
            if content not in seen:  # a stream repeats itself; each answer counts once
                seen.append(content)
                said.setdefault(capture, []).append({"program": heard["program"], **verdict})
    return said


def whole_capture(path: Path) -> tuple[CaptureHeader, list[Piece]]:
    """A capture, with bare payloads put back into frames."""
    found = goldens.decode(path)
    return found.header, [goldens.whole(found.header, p) for p in found.pieces]


def as_asked(header: CaptureHeader, pieces: list[Piece]) -> dict[str, Any]:
    """A capture as the adapters get it."""
    frames = [
        {
            "hex": live.raw.hex(),
            "asked": live.asked.hex(),
            "variant": str(live.record.values.get("variant", header.variant)),
        }
        for live in live_frames(header, pieces)
    ]
    return {
        "id": header.id,
        "protocol": header.protocol,
        "firmware": header.firmware,
        "frames": frames,
    }


def gathered(captures: str) -> tuple[dict[str, list[Any]], list[str]]:
    """What all programs say, and which could not be asked."""
    record: dict[str, list[Any]] = {}
    unasked = []
    old = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for program in PROGRAMS:
        title = f"{program.name} {program.version}"
        try:
            install(program)
            said = ask(program, str(program.python), captures)
        except (LookupError, OSError, subprocess.CalledProcessError) as exc:
            detail = getattr(exc, "stderr", None) or exc
            unasked.append(f"{title} could not be asked: {str(detail).strip()[-400:]}")
            said = {k: [v for v in said if v["program"] == title] for k, said in old.items()}
        for capture, verdicts in said.items():
            record.setdefault(capture, []).extend(verdicts)
    return {k: v for k, v in record.items() if v}, unasked


def main(arguments: list[str]) -> int:
    """Write or check."""
    captures = [whole_capture(path) for path in goldens.captures()]
    record, unasked = gathered(json.dumps([as_asked(*one) for one in captures]))
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(record.items())]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    stale = not RECORD.exists() or RECORD.read_text() != text
    if stale and "--check" not in arguments:
        RECORD.write_text(text)
        stale = False
    doubts = [
        f"{header.id}: {one}"
        for header, pieces in captures
        for one in comparisons(header, pieces)
        if not one.explained
    ]
    summary = f"{len(record)} captures, {len(doubts)} unexplained disagreements"
    print(*doubts, *unasked, summary, sep="\n")
    if stale:
        print(f"{RECORD.name} is not what the programs say: run tools/verify.py")
    return int(bool(doubts or unasked or stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
