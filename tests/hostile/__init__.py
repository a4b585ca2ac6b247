"""Hostile devices: a JBD board, a Daly D2 board and a JK Modbus slave that can misbehave.

They are written from the public protocol descriptions and from real captures alone and share no
code with bmslink: their framing, checksums, registers and factory contents are their own. So what
bmslink believes about a board can be compared with what the board really holds.

* `board`: what all three have in common: memory, the log of accepted writes, the hooks for quirks
* `quirks`: the ways to misbehave, each a switch with parameters; they can be combined
* `jbd`, `daly_d2`, `jk_modbus`: the boards
* `line`: the boards behind a bmslink transport under virtual time, and behind TCP or a pty for
  the installed command: `PYTHONPATH=tests python -m hostile.line jbd --quirk late-by-one=after:9`
"""
