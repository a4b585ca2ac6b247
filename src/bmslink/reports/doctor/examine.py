"""The doctor: looks, judges, and gives back an `Examination`. It writes nothing to any board.

```python
examination = await bmslink.reports.doctor.examine("van")
for finding in examination.findings:
    print(finding.severity, finding.what, finding.command or finding.fix)
```
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from bmslink.board import Board
from bmslink.device import Device
from bmslink.errors import BmsError
from bmslink.link.transport import Endpoint, Pin
from bmslink.packs import NamedPack, find_pack, find_pin, load_packs
from bmslink.reports.doctor.facts import HostFacts, PackFacts
from bmslink.reports.doctor.finding import DoctorFinding, Examination, Looked
from bmslink.reports.doctor.host import look_at_host
from bmslink.reports.doctor.look import look_at_pack
from bmslink.reports.doctor.table import HOST_CHECKS, PACK_CHECKS, judge
from bmslink.target import resolve

__all__ = ["examine", "examine_host", "judged"]

Said = DoctorFinding | tuple[bool, Looked]


async def examine(
    target: str | os.PathLike[str] | Endpoint | Board | Device,
    *,
    pin: Pin | None = None,
    host: bool = True,
    quick: bool = False,
    named: NamedPack | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Examination:
    """One pack, and this computer with `host`. A device or board that is open stays open, and
    what only a recording of the line shows is not known then. `quick` looks at less of the line
    (a few seconds instead of half a minute).

    Raises `TargetError` for a target that cannot be; everything else that is wrong is a finding.
    """
    board = target.board if isinstance(target, Device) else target
    if isinstance(board, Board):
        facts = await look_at_pack(
            board.target, named=board.named, tell=tell, quick=quick, board=board
        )
    else:
        endpoint = resolve(board)
        word = str(board) if isinstance(board, str) else None
        facts = await look_at_pack(
            endpoint,
            named=named or (find_pack(word) if word is not None else None),
            pin=pin or find_pin(word),
            tell=tell,
            quick=quick,
        )
    return judged([facts], await look_at_host() if host else None)


async def examine_host(
    *, packs: bool = True, tell: Callable[[str], None] = lambda text: None
) -> Examination:
    """This computer, and each pack of bmslink.toml in short."""
    host = await look_at_host()
    found: list[PackFacts] = []
    try:
        named = load_packs() if packs and not host.config else {}
    except BmsError:
        named = {}
    for name, pack in named.items():
        endpoint = resolve(name)
        found.append(
            await look_at_pack(endpoint, named=pack, pin=find_pin(name), tell=tell, quick=True)
        )
    return judged(found, host)


def judged(packs: Iterable[PackFacts], host: HostFacts | None) -> Examination:
    """What the checks make of what was gathered: pure."""
    packs = list(packs)
    said: list[Said] = []
    for facts in packs:
        said += judge(PACK_CHECKS, facts, facts.target.word)
    if host is not None:
        said += judge(HOST_CHECKS, host)
    findings = [each for each in said if isinstance(each, DoctorFinding)]
    looked = [each for each in said if not isinstance(each, DoctorFinding)]
    return Examination(
        target=str(packs[0].target) if len(packs) == 1 else "",
        findings=tuple(sorted(findings, key=lambda each: -each.severity.rank)),
        right=tuple(each for fine, each in looked if fine),
        not_known=tuple(each for fine, each in looked if not fine),
        facts=_facts(packs, host),
    )


def _facts(packs: list[PackFacts], host: HostFacts | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "packs": [
            {
                "target": str(facts.target),
                "name": facts.target.name or None,
                "identity": None if facts.identity is None else facts.identity.to_dict(),
                "reading": None if facts.reading is None else facts.reading.to_dict(),
            }
            for facts in packs
        ]
    }
    if host is not None:
        found["versions"] = dict(host.versions)
    return found
