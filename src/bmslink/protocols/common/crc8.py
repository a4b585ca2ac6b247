"""The CRC-8 of SMBus."""

from __future__ import annotations

__all__ = ["crc8"]


def _table() -> bytes:
    values = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
        values.append(crc)
    return bytes(values)


_TABLE = _table()


def crc8(data: bytes) -> int:
    """CRC-8: polynomial 07, start 00 (as in SMBus)."""
    crc = 0
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc
