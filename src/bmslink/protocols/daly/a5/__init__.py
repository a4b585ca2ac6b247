"""Daly UART and RS485: 13-byte frames behind A5."""
