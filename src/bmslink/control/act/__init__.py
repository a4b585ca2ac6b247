"""Acting: what was decided, carried out on the switches of a board, and remembered.

```
Decision + Ledger + SwitchFacts + sinks + now ─▶ reconcile ─▶ SwitchCommands, Ledger', Remarks
Commands ─▶ Actuator.off / .on ─▶ Sent ─▶ Ledger.heard_of ─▶ the next cycle
```

`reconciler`, `ledger` and what lies beside them are pure: no I/O, no clock, no asyncio. Only
`store` and `consent` touch the disk, and only an `Actuator` touches the board.
"""
