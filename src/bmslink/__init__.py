"""JK, Daly and JBD battery management systems over every wire, in one vocabulary.

```python
async with bmslink.connect("jbd+serial:///dev/ttyUSB0") as device:
    reading = await device.read()                       # V, A (positive charges), °C, Ah, %
    settings = await device.settings()                  # settings["cell_ovp"].value
    plan = await device.plan({"cell_ovp": 3.6})         # reads only: every check, every byte
    outcome = await device.apply(plan)                  # written, read back, or set back
```

* `connect`, `scan`, `Device`: packs; `blocking` has the same for plain scripts.
* `Reading`, `Identity`, `Settings`, `Setting`, `Command`, `Switch`, `Condition`: what is said.
* `Plan`, `Check`, `Outcome`: changes (`bmslink.config` has all of it).
* `decode`, `Decoder`, `encode`: bytes without a connection.
* `PolicySet`, `Engine`: protection policies (`bmslink.control` has all of it).
* `bmslink.testing.SimulatedPack`: a pack for tests. `bmslink.errors`: the tree under `BmsError`.

Public are the names here and those in `bmslink.blocking`, `bmslink.config`, `bmslink.control`,
`bmslink.errors` and `bmslink.testing`; what authors of protocols and transports need is in
docs/python.md. All else may change with any version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bmslink import blocking, config, control, errors, testing
    from bmslink.config.checks.check import Check
    from bmslink.config.outcome import Outcome
    from bmslink.config.plan import Plan
    from bmslink.control.decide.decision import Decision
    from bmslink.control.decide.engine import Engine
    from bmslink.control.decide.policy import PolicySet
    from bmslink.decoder import Decoder, encode
    from bmslink.decoding import decode
    from bmslink.device import Device, connect
    from bmslink.discovery.scan import Found, scan
    from bmslink.errors import (
        BmsError,
        CaptureError,
        FrameError,
        GateError,
        LinkClosed,
        LinkTimeout,
        PortBusy,
        PortDenied,
        PortNotFound,
        Refused,
        RollbackError,
        SettingError,
        TargetError,
        TransportError,
        UnknownDevice,
        UsageError,
        VerifyError,
    )
    from bmslink.model import Capability, Command, Condition, Identity, Reading, Switch
    from bmslink.protocols.common.settings_now import SettingNow, Settings
    from bmslink.settings.setting import Setting

_MODULES = ("blocking", "config", "control", "errors", "testing")
_WHERE = {
    "Check": "config.checks.check",
    "connect": "device",
    "Device": "device",
    "decode": "decoding",
    "Decoder": "decoder",
    "encode": "decoder",
    "Decision": "control.decide.decision",
    "Engine": "control.decide.engine",
    "PolicySet": "control.decide.policy",
    "Outcome": "config.outcome",
    "Plan": "config.plan",
    "SettingNow": "protocols.common.settings_now",
    "Settings": "protocols.common.settings_now",
    "Found": "discovery.scan",
    "scan": "discovery.scan",
    "Setting": "settings.setting",
    **dict.fromkeys(
        ("Capability", "Command", "Condition", "Identity", "Reading", "Switch"), "model"
    ),
    **dict.fromkeys(
        (
            "BmsError",
            "CaptureError",
            "FrameError",
            "GateError",
            "LinkClosed",
            "LinkTimeout",
            "PortBusy",
            "PortDenied",
            "PortNotFound",
            "Refused",
            "RollbackError",
            "SettingError",
            "TargetError",
            "TransportError",
            "UnknownDevice",
            "UsageError",
            "VerifyError",
        ),
        "errors",
    ),
}

__all__ = [
    "BmsError",
    "Capability",
    "CaptureError",
    "Check",
    "Command",
    "Condition",
    "Decision",
    "Decoder",
    "Device",
    "Engine",
    "Found",
    "FrameError",
    "GateError",
    "Identity",
    "LinkClosed",
    "LinkTimeout",
    "Outcome",
    "Plan",
    "PolicySet",
    "PortBusy",
    "PortDenied",
    "PortNotFound",
    "Reading",
    "Refused",
    "RollbackError",
    "Setting",
    "SettingError",
    "SettingNow",
    "Settings",
    "Switch",
    "TargetError",
    "TransportError",
    "UnknownDevice",
    "UsageError",
    "VerifyError",
    "blocking",
    "config",
    "connect",
    "control",
    "decode",
    "encode",
    "errors",
    "scan",
    "testing",
]


def __getattr__(name: str) -> Any:
    # loaded on first use, so that `bmslink --version` does not wait for the codecs
    if name in _WHERE or name in _MODULES:
        import importlib

        module = importlib.import_module(f"bmslink.{_WHERE.get(name, name)}")
        return getattr(module, name) if name in _WHERE else module
    raise AttributeError(f"module 'bmslink' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
