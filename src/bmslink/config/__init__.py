"""Changing what a BMS holds, so that it ends as planned, as it was, or says the truth about it.

```python
async with bmslink.connect("jbd+serial:///dev/ttyUSB0") as device:
    plan = await draft(device, {"cell_ovp": 3.6})     # reads only
    show(plan.to_dict())                              # changes in order, frames, every gate
    outcome = await apply(device, plan)               # writes, reads back, or sets all back
```

* `draft(device, wanted, *, raw=None, switches=False, waive=(), chemistry=None, settings=None,
  journal=None)` reads the pack and gives back a `Plan`. `wanted` holds values by canonical key, or
  is a `Profile` (`load_profile`), whose switches are set only with `switches`; `raw` is a
  `Backup` (`load_backup`, `make_backup`, `save_backup`) to go back to; `settings` is the map of
  this board, where it was read already. `chemistry` states what the cells are; a device
  that was opened by its name in bmslink.toml knows what is said there. `make_plan` is the same
  without a device: pure, from what was read.
* `draft_undo(device, *, keep_changed=False, waive=(), …) -> Plan` plans to go back to what was set
  before the last change of this pack, and `undo(device, …) -> Outcome` does it at once. `plan.raw`
  (an `Undo`) says which change that is, and what somebody else changed since.
* `async with device.conversation():` around both keeps JBD's factory mode open in between (one time
  in it less); not while a person looks at the plan, or after `await device.leave_session()`.
  `connect(target, on_progress=told)`: `told(doing, done, total)` is called while settings are read,
  written and checked.
* `Plan`: `changes` (in the order of writing; each with `slot`, `old`, `new` and its `edits`:
  key, old, asked and new value, and what it `follows` where it is not as asked), `unsupported`
  and `left_out` (key -> why), `checks`, `remarks`, `frames` (every byte that would change
  something; `numbered()` with the settings that each sets), `blocked` (the checks that block it),
  `to_dict()`.
* `Check`: `name`, `passed` (`None`: not applicable), `sentence`, `waiver` (what to put into `waive`
  to go on all the same; empty: nothing helps), `waived`, `blocks`. `WAIVERS` names all of them.
* `oddities(table)` says what of a table that was read is impossible (empty: nothing), `believe`
  raises `FrameError` instead.
* `apply(device, plan, *, confirm=None, journal=None, command="") -> Outcome`. `command` is noted in
  the journal: what the change was made with. `confirm(new_plan) -> bool` is
  asked only where the settings changed since the plan was made; without it that is an end.
* `resume(device, *, rollback=False, keep=False, agreed=False, waive=(), confirm=None,
  journal=None) -> Outcome` ends a change that was cut off: finishes it, sets it back, or (`keep`)
  only declares it over. `agreed`: a person has seen a record that an earlier version wrote without
  a check. `confirm(sentence) -> bool` is asked where a setting has neither its old nor its new
  value.
* `verify(device, *, journal=None) -> Verification` compares what the last change of this pack left
  with what the board holds now: `result`, `differences` (key, unit, written, now), `fine`.
* `open_change(device, identity=None, *, journal=None) -> str | None` says what was cut off earlier
  on this pack, and asks the pack nothing; `left_behind(device, *, journal=None) -> str` says it of
  a change that was interrupted (cancelled) a moment ago.
* `switch(device, command, *, waive=(), journal=None) -> Outcome`.
* `draft_adjustment(device, wish, *, now=False, waive=(), journal=None) -> AdjustmentPlan` and
  `adjust(device, plan, *, journal=None) -> Outcome` set the clock or the state of charge.
* `Outcome`: `result` (`done`, `nothing`: there was nothing to do, `rolled back`, `unknown`, `kept`;
  of a switch also `ignored` and `unproven`), `sentence`, `transaction`, `changes`, `notes`,
  `stands` (key -> value, of what the change was about, as read afterwards), `to_dict()`.

Errors: `GateError` (`checks`: nothing was sent; the CLI exits 3), `VerifyError` (it failed, and all
was written back and is as before), `RollbackError` (it failed, and that all is as before is not
proven: the message says what is read, and `resume` is next); both carry `outcome` and the CLI exits
4. Others (`LinkTimeout`, `Refused`, `JournalError`, …) are raised only while nothing was sent.
Whatever else ends it (Ctrl-C, a crash) leaves the transaction open in the journal, and until
somebody resumes it every other change of that pack is refused.
"""

from __future__ import annotations

from bmslink.config.apply import apply, draft
from bmslink.config.checks.check import WAIVERS, Check
from bmslink.config.checks.plausible import believe, oddities
from bmslink.config.clock_soc import AdjustmentPlan, adjust, draft_adjustment
from bmslink.config.files.backup import Backup, load_backup, make_backup, save_backup
from bmslink.config.files.profile import Profile, load_profile
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Change, Edit, Plan, make_plan
from bmslink.config.records.cut_off import CutOff, cut_off_change, unfinished
from bmslink.config.records.last_change import Undo
from bmslink.config.records.open_changes import left_behind, open_change
from bmslink.config.resume import resume
from bmslink.config.switching.switches import rehearse_switch, switch
from bmslink.config.undo import draft_undo, undo
from bmslink.config.verify import Deviation, Verification, verify
from bmslink.places import place_of

__all__ = [
    "WAIVERS",
    "AdjustmentPlan",
    "Backup",
    "Change",
    "Check",
    "CutOff",
    "Deviation",
    "Edit",
    "Outcome",
    "Plan",
    "Profile",
    "Undo",
    "Verification",
    "adjust",
    "apply",
    "believe",
    "cut_off_change",
    "draft",
    "draft_adjustment",
    "draft_undo",
    "left_behind",
    "load_backup",
    "load_profile",
    "make_backup",
    "make_plan",
    "oddities",
    "open_change",
    "place_of",
    "rehearse_switch",
    "resume",
    "save_backup",
    "switch",
    "undo",
    "unfinished",
    "verify",
]
