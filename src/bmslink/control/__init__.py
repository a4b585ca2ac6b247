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
some good samples, back inside `release` for a delay, lockout, latch. A policy is a row of numbers
for it (`catalogue.py`, thresholds per chemistry in `thresholds.py`); a policy file overrides rows.

Four rules hold everywhere:

* Only a fresh and good value releases or raises anything. What is suspect, assumed, missing, old
  or frozen holds what is, or restricts.
* A restriction takes effect in the cycle that confirms it; what recovers, recovers slowly.
* The order of policies never matters: permits meet by AND, limits by minimum (DVL: maximum).
* No I/O, no clock, no randomness: the same readings at the same times give the same decisions.

`Engine` is the way in: `step(reading, now)` and `tick(now)` give a `Decision`.
"""

from __future__ import annotations

from bmslink.control.decide.decision import Decision, Event, Limits, PolicyVerdict
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.limits import Limit, Permit, Reason
from bmslink.control.decide.policy import (
    Action,
    Battery,
    Demand,
    Mode,
    OnMissing,
    Policy,
    PolicySet,
    Severity,
)
from bmslink.control.decide.sample import Quality, Sample

__all__ = [
    "Action",
    "Battery",
    "Decision",
    "Demand",
    "Engine",
    "Event",
    "Limit",
    "Limits",
    "Mode",
    "OnMissing",
    "Permit",
    "Policy",
    "PolicySet",
    "PolicyVerdict",
    "Quality",
    "Reason",
    "Sample",
    "Severity",
]
