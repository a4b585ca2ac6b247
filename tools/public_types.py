"""How many of the public names have types that every type checker sees alike.

    python tools/public_types.py            # needs pyright (and node) on the PATH

`pyright --verifytypes` counts every module that has no underscore. Public are the names of the
modules below and the classes behind them, with their members: 98 % of these must be known.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

PUBLIC = ("", ".blocking", ".config", ".control", ".errors", ".testing")
LEAST = 0.98


def names() -> Iterator[str]:
    """The public names, as their module and as the module that defines them spell them."""
    for part in PUBLIC:
        module = importlib.import_module(f"bmslink{part}")
        for name in module.__all__:
            found = getattr(module, name)
            yield f"{module.__name__}.{name}"
            if inspect.isclass(found) or inspect.isfunction(found):
                yield f"{found.__module__}.{found.__qualname__}"


def symbols() -> list[dict[str, Any]]:
    """What pyright says of every symbol of the package."""
    command = ["pyright", "--pythonpath", sys.executable, "--verifytypes", "bmslink"]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*command, "--ignoreexternal", "--outputjson"],
        capture_output=True,
        text=True,
        check=False,  # it fails below 100 % of all modules
        env=os.environ | path,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    return found


def main() -> int:
    """Print the share and what is not known."""
    modules = {f"bmslink{part}" for part in PUBLIC}
    owners = tuple(name for name in set(names()) if name not in modules)
    known = {True: 0, False: 0}
    for symbol in symbols():
        name = symbol["name"]
        if name in owners or name.startswith(tuple(f"{owner}." for owner in owners)):
            fine = symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
            known[fine] += 1
            if not fine:
                print(name)
    total = sum(known.values())
    print(f"{known[True]} of {total} public symbols: {known[True] / total:.1%}")
    return 0 if known[True] >= LEAST * total else 1


if __name__ == "__main__":
    sys.exit(main())
