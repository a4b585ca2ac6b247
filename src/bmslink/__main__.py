"""`bmslink` on the command line, and `python -m bmslink`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        from bmslink import __version__

        try:
            if sys.stdout is not None:
                sys.stdout.write(f"bmslink {__version__}\n")
                sys.stdout.flush()
            return
        except OSError:
            pass  # a closed pipe, a full disk: the long way knows what to say
    shell = os.environ.get("_BMSLINK_COMPLETE", "")
    if shell in ("bash", "zsh", "fish"):  # at every press of TAB: typer alone takes too long
        from bmslink.cli.completion.answer import answer

        answer(shell)
        return
    try:
        from bmslink.cli.app import main as run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules are loaded; from then on `run` lets nothing through
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
