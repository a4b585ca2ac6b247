"""Transports and protocols of other packages, found by their entry points when they are named.

A package lists them in its pyproject.toml, as the example under `examples/acme-bms` does:

```toml
[project.entry-points."bmslink.transports"]
acme-udp = "acme_bms.transport:UdpTransport"
[project.entry-points."bmslink.protocols"]
toy = "acme_bms.driver:Toy"
```
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from bmslink.errors import TargetError

__all__ = ["load_plugin", "plugins"]

Group = Literal["bmslink.protocols", "bmslink.transports"]


@cache
def plugins(group: Group) -> dict[str, str]:
    """Name -> "module:Class" of what is installed; of two with one name the first counts."""
    from importlib.metadata import entry_points  # it looks at all that is installed

    found: dict[str, str] = {}
    for each in entry_points(group=group):
        found.setdefault(each.name, each.value)
    return found


def load_plugin(group: Group, name: str, base: type) -> type:
    """The class; `TargetError` where the package cannot be loaded or the class is none of those."""
    from importlib.metadata import EntryPoint

    value = plugins(group)[name]
    try:
        found = EntryPoint(name, value, group).load()
    except Exception as error:
        raise TargetError(
            f"{name!r} comes from another package ({value}), which cannot be loaded: "
            f"{type(error).__name__}: {error}. Install it again, or ask whoever made it."
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TargetError(
            f"{name!r} comes from another package, but {value} is no {base.__name__}."
        )
    return found
