"""`[alerts]` of bmslink.toml: who is told what.

```toml
[alerts]
delay = 30               # s that a condition has to last before it is sent; critical: at once
settle = 60              # s that it has to be gone before that is sent; until then it may come back
quiet = "22:00-07:00"    # local time in which only critical alerts are sent; the rest comes then
most_per_hour = 20       # to each receiver; how many more there were is sent when it calms down

[alerts.to.phone]
apprise_file = "phone"   # a file (0600) with the address, as apprise writes it; also apprise_env
severity = "alarm"       # info, warning, alarm or critical, and worse
kinds = ["condition"]    # only these; else all
packs = ["van"]          # only these; else all

[alerts.to.desk]
webhook = "http://127.0.0.1:9000/bmslink"    # also webhook_file, webhook_env
token_env = "DESK_TOKEN"                     # sent as `Authorization: Bearer`; also token_file
severity = "info"
over = false                                 # not what is over again
```
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated

import msgspec

from bmslink.errors import UsageError
from bmslink.events import OUTPUT, EventSeverity, kinds_of

__all__ = ["AlertOptions", "ReceiverOptions"]

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_WAYS = ("apprise", "webhook")


class ReceiverOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[alerts.to.NAME]`. What may be a secret is in no text that this makes."""

    webhook: str | None = None
    webhook_file: str | None = None
    webhook_env: str | None = None
    apprise: str | None = None
    apprise_file: str | None = None
    apprise_env: str | None = None
    token_file: str | None = None
    token_env: str | None = None
    severity: EventSeverity = EventSeverity.ALARM
    kinds: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    over: bool = True
    delay: _Seconds | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` unless it says one place."""
        given = [way for way in _WAYS for end in ("", "_file", "_env") if getattr(self, way + end)]
        if len(given) != 1:
            known = ", ".join(f"{way}{end}" for way in _WAYS for end in ("", "_file", "_env"))
            raise ValueError(f"it needs one of {known}")
        if (self.token_file or self.token_env) and given != ["webhook"]:
            raise ValueError("a token goes with webhook only")
        try:
            kinds = self.all_kinds
        except UsageError as error:
            raise ValueError(f"kinds: {error}") from error
        if OUTPUT in kinds:
            raise ValueError(
                f"kinds: no alert is made of {OUTPUT}: `bmslink service status` shows it"
            )

    @property
    def all_kinds(self) -> frozenset[str]:
        """The kinds of events that it wants; none: all. Raises `UsageError`."""
        return frozenset(kind for name in self.kinds for kind in kinds_of(name))

    @property
    def way(self) -> str:
        """`apprise` or `webhook`."""
        return next(
            way for way in _WAYS if any(getattr(self, way + e) for e in ("", "_file", "_env"))
        )

    def __repr__(self) -> str:
        return f"ReceiverOptions({self.way}, {self.severity})"


class AlertOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section."""

    to: dict[str, ReceiverOptions] = {}
    delay: _Seconds = 30.0
    settle: _Seconds = 60.0
    quiet: str = ""
    most_per_hour: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20

    def __post_init__(self) -> None:
        """Raises `ValueError`."""
        if not all(map(_NAME.fullmatch, self.to)):
            raise ValueError("to: the name of a receiver is of letters, digits, - and _, up to 40")
        if self.quiet and not _QUIET.fullmatch(self.quiet):
            raise ValueError('quiet: it looks like "22:00-07:00"')
        begin, _, end = self.quiet.partition("-")
        if self.quiet and begin == end:
            raise ValueError("quiet: it ends when it begins, so no time is meant")

    def is_quiet(self, now: time) -> bool:
        """Whether only critical alerts are sent at this time of the day."""
        found = _QUIET.fullmatch(self.quiet)
        if found is None:
            return False
        hours = [int(word) for word in found.groups()]
        begin, end = time(hours[0], hours[1]), time(hours[2], hours[3])
        return begin <= now < end if begin <= end else now >= begin or now < end
