"""The service's HTTP interface: JSON and a stream of events over a local socket.

It needs the extra `service`, and is imported only by what serves.
"""

from __future__ import annotations

from importlib.util import find_spec

from bmslink.errors import BmsError

__all__: list[str] = []

if not all(map(find_spec, ("h11", "starlette", "uvicorn"))):
    raise BmsError(
        "The service needs starlette and uvicorn: install them with `pip install "
        "'bmslink[service]'`."
    )
