"""The doctor: looks, judges, and gives back an `Examination`. It writes nothing to any board.

```python
examination = await bmslink.reports.doctor.examine("van")
for finding in examination.findings:
    print(finding.severity, finding.what, finding.command or finding.fix)
```
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from bmslink.board import Board
from bmslink.device import Device
from bmslink.errors import BmsError
from bmslink.link.transport import Endpoint, Pin
from bmslink.packs import NamedPack, find_pack, find_pin, load_packs
from bmslink.reports.doctor.examination import Examination
from bmslink.reports.doctor.facts import HostFacts, PackFacts
from bmslink.reports.doctor.finding import DoctorFinding, LookedAt
from bmslink.reports.doctor.host import look_at_host
from bmslink.reports.doctor.look import look_at_pack
from bmslink.reports.doctor.table import HOST_CHECKS, PACK_CHECKS, judge
from bmslink.target import resolve_each

__all__ = ["examine", "examine_all", "examine_host", "judged"]

JudgedItem = DoctorFinding | tuple[bool, LookedAt]


async def examine(
    target: str | os.PathLike[str] | Endpoint | Board | Device,
    *,
    pin: Pin | None = None,
    host: bool = True,
    quick: bool = False,
    named: NamedPack | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Examination:
    """One pack (or those of a range of addresses), and this computer with `host`. A device or board
    that is open stays open; what only a recording of its line shows is not known then. `quick`
    looks at less of the line (a few seconds instead of up to a minute).

    Raises `TargetError` for a target that cannot be; everything else that is wrong is a finding.
    """
    board = target.board if isinstance(target, Device) else target
    if isinstance(board, Board):
        facts = await look_at_pack(
            board.target, named=named or board.named, tell=tell, quick=quick, board=board
        )
        return judged([facts], await look_at_host() if host else None)
    word = board if isinstance(board, str) else None
    return await examine_all(
        resolve_each(board),
        named=named or (find_pack(word) if word is not None else None),
        pin=pin or find_pin(word),
        host=host,
        quick=quick,
        tell=tell,
    )


async def examine_all(
    endpoints: Sequence[Endpoint],
    *,
    named: NamedPack | None = None,
    pin: Pin | None = None,
    host: bool = True,
    quick: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Examination:
    """The same of packs whose targets are resolved, one after the other."""
    look = partial(look_at_pack, named=named, pin=pin, tell=tell, quick=quick)
    found = [await look(each) for each in endpoints]
    return judged(found, await look_at_host() if host else None)


async def examine_host(
    *, packs: bool = True, tell: Callable[[str], None] = lambda text: None
) -> Examination:
    """This computer, and each pack of bmslink.toml in short. Raises nothing."""
    host = await look_at_host()
    found: list[PackFacts] = []
    for name, pack in (load_packs() if packs and not host.config else {}).items():
        try:
            endpoints = resolve_each(name)
        except BmsError as error:
            host.config = str(error)
            continue
        secret = find_pin(name)
        look = partial(look_at_pack, named=pack, pin=secret, tell=tell, quick=True)
        found += [await look(each) for each in endpoints]
    return judged(found, host)


def judged(packs: Iterable[PackFacts], host: HostFacts | None) -> Examination:
    """What the checks make of what was gathered: pure."""
    packs = list(packs)
    said: list[JudgedItem] = []
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
        packs=tuple(packs),
        computer=host,
    )
