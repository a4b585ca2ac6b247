"""bmslink: JK, Daly and JBD battery management systems over every wire, one vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bmslink import blocking
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
    from bmslink.settings.setting import Setting

_WHERE = {
    "connect": "device",
    "Device": "device",
    "decode": "decoding",
    "Decoder": "decoder",
    "encode": "decoder",
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
    "Command",
    "Condition",
    "Decoder",
    "Device",
    "Found",
    "FrameError",
    "GateError",
    "Identity",
    "LinkClosed",
    "LinkTimeout",
    "PortBusy",
    "PortDenied",
    "PortNotFound",
    "Reading",
    "Refused",
    "RollbackError",
    "Setting",
    "SettingError",
    "Switch",
    "TargetError",
    "TransportError",
    "UnknownDevice",
    "UsageError",
    "VerifyError",
    "blocking",
    "connect",
    "decode",
    "encode",
    "scan",
]


def __getattr__(name: str) -> Any:
    # loaded on first use, so that `bmslink --version` does not wait for the codecs
    if name in _WHERE or name == "blocking":
        import importlib

        module = importlib.import_module(f"bmslink.{_WHERE.get(name, name)}")
        return getattr(module, name) if name in _WHERE else module
    raise AttributeError(f"module 'bmslink' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
