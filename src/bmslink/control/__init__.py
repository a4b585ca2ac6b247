"""Protection policies over a pack's own BMS: decided here, tried before they act, carried out
elsewhere.

The BMS keeps its own protection; this layer is a supervisor that can only withdraw permission and
take back its own withdrawal. It is no certified safety function, and a short circuit is over
before a host hears of it: there it only remembers.

```
Reading + now ─▶ Qualifier ─▶ Sample ─▶ quantities ─▶ rules ─▶ effects ─▶ meet ─▶ ramp ─▶ Decision
                 (quality)              (numbers)     (one mechanism)      (most restrictive wins)
```

Everything is one small mechanism (`rule.py`): a measured quantity beyond `trip` for a delay and
some good samples, back inside `release` for a delay, lockout, latch. A policy is the numbers of one
level for it; the levels of a quantity (warn, curve, trip, critical) are a record (`catalogue.py`,
thresholds per chemistry in `thresholds.py`). A policy file overrides numbers (`fields.py`).

Four rules hold everywhere:

* Only a fresh and good value releases or raises anything. What is suspect, assumed, missing, old
  or frozen holds what is, or restricts.
* A restriction takes effect in the cycle that confirms it; what recovers, recovers slowly.
* The order of policies never matters: permits meet by AND, limits by minimum (DVL: maximum).
* No I/O, no clock, no randomness: the same readings at the same times give the same decisions.

`Engine` is the way in: `step(reading, now)` and `tick(now)` give a `Decision`.

```python
from bmslink import control

policies = control.preset_policies("lfp", "van", cells=4, capacity=200)
policies = policies.changing("soc_floor", trip=25.0, release=30.0)
policies = policies.adding(control.Policy(
    name="night_reserve", title="keep a reserve for the night", quantity="soc", over=False,
    severity=control.Severity.TRIP, acts=(control.Action.DISCHARGE,), trip=40.0, release=45.0,
))
engine = control.Engine(policies, (await device.settings()).numbers(), poll=1.0)
async for reading in device.stream(interval=1.0):
    decision = engine.step(reading, time.monotonic())
    decision.discharge.allowed, decision.limits.ccl.value, decision.events
```

* `preset_policies(chemistry, use)`, `load_policies(path)` and `parse_policies(text, path)` give a
  `PolicySet`; `PolicySet.changing` and `.adding` give another with the change, `.records` has the
  levels by quantity. A row names its
  quantity (`QUANTITIES`: name -> title, unit) and the gate outside of which it rests (`GATES`).
* `engine.step(reading, now)` judges a reading, `engine.tick(now)` that none came; `now` is in
  seconds that never go back. `save` and `load` carry latches and heat over a restart.
* `judge(readings, policies)` does the same for readings that have their `time`: a log
  (`Reading.from_dict` of each line of `read --json`), or some that a test makes up.
* `offload(policies, await device.settings())` gives the board's own settings for what the policies
  stop, with a reason for each; `.wanted` goes to `device.plan`.
* `Decision`: `charge`, `discharge`, `balance` (each `allowed` and its `reasons`), `limits` (V, A;
  each with its `kind`: it protects, or is a phase), `phase` (of charging: a `ChargePhase`),
  `verdicts` (the policies that are not content), `events` (what changed), `to_dict()`. Nothing is
  carried out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bmslink.control.decide.decision import Decision, Event, Limits, PolicyVerdict
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.lasting.phase import ChargePhase
from bmslink.control.decide.limits import Kind, Limit, Permit, Reason
from bmslink.control.decide.policy import (
    Action,
    Battery,
    Demand,
    Mode,
    OnMissing,
    Policy,
    PolicyRecord,
    PolicySet,
    Reset,
    Severity,
)
from bmslink.control.decide.quantities import GATES, QUANTITIES, Quantity
from bmslink.control.decide.sample import Quality, Sample

if TYPE_CHECKING:
    from bmslink.control.files import load_policies, parse_policies
    from bmslink.control.offload import Offered, Offload, offload
    from bmslink.control.programs import Judged, judge, preset_policies

__all__ = [
    "GATES",
    "QUANTITIES",
    "Action",
    "Battery",
    "ChargePhase",
    "Decision",
    "Demand",
    "Engine",
    "Event",
    "Judged",
    "Kind",
    "Limit",
    "Limits",
    "Mode",
    "Offered",
    "Offload",
    "OnMissing",
    "Permit",
    "Policy",
    "PolicyRecord",
    "PolicySet",
    "PolicyVerdict",
    "Quality",
    "Quantity",
    "Reason",
    "Reset",
    "Sample",
    "Severity",
    "judge",
    "load_policies",
    "offload",
    "parse_policies",
    "preset_policies",
]

_LATER = {
    "load_policies": "files",
    "parse_policies": "files",
    "Offered": "offload",
    "Offload": "offload",
    "offload": "offload",
    "Judged": "programs",
    "judge": "programs",
    "preset_policies": "programs",
}
"""What the pure part does not need: loaded when it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(f"bmslink.control.{_LATER[name]}"), name)
    raise AttributeError(f"module 'bmslink.control' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
