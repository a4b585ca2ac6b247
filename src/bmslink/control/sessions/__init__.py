"""The balancing session: the cells of a pack brought together at the top of charge. Pure.

```
Reading ─▶ CellsNow ─▶ checks, plan                  (before: `preflight`, `plan`, `estimate`)
CellsNow + SessionState + time ─▶ step ─▶ SessionState', ChargeWish, Ending?       (`machine`)
```

A `ChargeWish` is a charge voltage and current that bind downwards only: whoever carries limits out
takes the lowest of all (`wishes.narrowed`), so a session never permits what a policy forbids.
Nothing in here sends, waits, or knows a clock; only `kept` touches the disk.
"""
