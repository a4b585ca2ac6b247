"""`bmslink` on the command line, and `python -m bmslink`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        from bmslink import __version__

        if sys.stdout is not None:
            sys.stdout.write(f"bmslink {__version__}\n")
        return
    from bmslink.cli.app import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
