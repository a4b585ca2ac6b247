"""Numbers with a scale, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from construct import Adapter, Construct

__all__ = ["Layout", "Scaled"]

Layout: TypeAlias = "Construct[Any, Any]"
"""Any construct."""

if TYPE_CHECKING:
    _Base = Adapter[int, int, float, float]
else:
    _Base = Adapter


class Scaled(_Base):
    """`value = (raw + offset) / per`; building rounds to the nearest raw step.

    Dividing keeps decimals exact (`3300 / 1000 == 3.3`, while `3300 * 0.001` is not).
    """

    def __init__(self, subcon: Layout, per: int, offset: int = 0) -> None:
        super().__init__(subcon)
        self.per = per
        self.offset = offset

    def _decode(self, obj: int, context: Any, path: Any) -> float:
        return (obj + self.offset) / self.per

    def _encode(self, obj: float, context: Any, path: Any) -> int:
        return round(obj * self.per) - self.offset
