"""Build the wheel, install it into an empty environment, and run the command a user would."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Raises when the installed command does not work."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
        _run(*build, "--outdir", folder, str(ROOT))
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


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
