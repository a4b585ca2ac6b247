"""Build the wheel, install it into an empty environment, and run the command a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Raises when the installed command does not work."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        build = [sys.executable, "-m", "build", "--wheel", "--sdist", "--no-isolation"]
        _run(*build, "--outdir", folder, str(ROOT))
        (sdist,) = place.glob("bmslink-*.tar.gz")
        _whole(sdist)
        (wheel,) = place.glob("bmslink-*.whl")
        venv.create(place / "empty", with_pip=True)
        scripts = place / "empty" / ("Scripts" if os.name == "nt" else "bin")
        python = scripts / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        _run(*pip, "install", "--quiet", str(wheel))
        command = str(scripts / "bmslink")
        for arguments in (
            ["--version"],
            ["--help"],
            ["read", "--help"],
            ["info", "sim://jbd"],
            ["read", "sim://jk02", "--json"],
            ["read", "sim://daly-a5"],
            ["read", "sim://jk-nw"],
            ["packs", "path"],
            ["decode", "--hex", "dd03001b053600004ff253340001309b00000000000044600302 "],
        ):
            expected = 1 if arguments[0] == "decode" else 0
            done = subprocess.run(
                [command, *arguments],
                capture_output=True,
                text=True,
                cwd=folder,
                timeout=60,
                check=False,
            )
            text = done.stdout + done.stderr
            if done.returncode != expected or not text.strip() or "Traceback" in text:
                sys.exit(f"bmslink {' '.join(arguments)}: exit {done.returncode}\n{text}")
            print("ok: bmslink", *arguments)


def _whole(sdist: Path) -> None:
    """What README leads to, and what its two commands need, is in the source distribution."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([^)#:]+)\)", text)) | set(re.findall(r"tests/fixtures/\S+", text))
    named |= {"Makefile", "pyproject.toml", "requirements-dev.lock", "tests/conftest.py"}
    folders = {str(parent) for name in held for parent in Path(name).parents}
    if lost := sorted(name for name in named if name.rstrip("/") not in held | folders):
        sys.exit(f"The source distribution lacks {', '.join(lost)}, which README names.")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
