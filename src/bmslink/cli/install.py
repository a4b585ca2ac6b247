"""What `bmslink service install` prints or writes, and what it says to do next."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bmslink.cli.output import Session
from bmslink.errors import GateError, TargetError, TransportError
from bmslink.runtime.unit import ACCOUNT, CREDENTIAL, UNIT, Installation, sysusers, unit
from bmslink.storage.atomic import replace_file

__all__ = ["install_service"]

_SERIAL_GROUPS = ("dialout", "uucp")
"""Who may open serial ports: on Debian and Fedora, on Arch."""
_SYSTEM_UNIT = Path("/etc/systemd/system") / UNIT
_SYSUSERS = Path("/etc/sysusers.d/bmslink.conf")
_CONFIG = "/etc/bmslink/bmslink.toml"
_SYSTEM_STEPS = (
    f"sudo systemd-sysusers                     # makes the account {ACCOUNT}",
    f"sudo install -d /etc/bmslink && sudo install -m 640 -g {ACCOUNT} bmslink.toml {_CONFIG}",
    f"sudo install -m 640 -g {ACCOUNT} POLICIES.toml /etc/bmslink/   # each file that it names",
    f"sudo systemctl daemon-reload && sudo systemctl enable --now {UNIT}",
    f"sudo usermod -aG {ACCOUNT} $USER            # who may ask it; log in again",
)
_USER_STEPS = (
    f"systemctl --user daemon-reload && systemctl --user enable --now {UNIT}",
    "sudo loginctl enable-linger $USER         # so that it runs while you are logged out",
)


def install_service(
    session: Session, *, user: bool, write: bool, force: bool, credentials: Sequence[str] = ()
) -> None:
    """Print the unit, or write it and what belongs to it; `credentials` are `NAME:FILE`.

    Raises `TargetError` where systemd cannot be, `GateError` for a file that is there already,
    `TransportError` where it cannot be written.
    """
    if sys.platform in ("win32", "darwin"):
        raise TargetError(
            "There is no systemd on this system: have its own means run `bmslink serve` (the Task "
            "Scheduler, launchd)."
        )
    command = program()
    groups = () if user else _serial_groups()
    secrets = [_credential(each) for each in credentials]
    text = unit(Installation(command=command, user=user, groups=groups, credentials=secrets))
    if not user and _in_home(command):
        session.say(
            f"{command[0]} is in somebody's home: a service of the machine is better installed for "
            "all, as with `sudo pipx install --global bmslink`."
        )
    steps = _USER_STEPS if user else _SYSTEM_STEPS
    if not write:
        _show(session, text)
        session.say("--write puts it into its place; then:")
    else:
        files = {_user_unit(): text} if user else {_SYSTEM_UNIT: text, _SYSUSERS: sysusers(groups)}
        _write(files, force=force)
        if session.json:
            session.record({"written": [str(path) for path in files], "next": list(steps)})
        for path in files:
            session.say(f"Written: {path}")
        session.say("Next:")
    for step in steps:
        session.say(f"  {step}")


def program() -> list[str]:
    """How this very bmslink is started from anywhere."""
    found = shutil.which(sys.argv[0]) if Path(sys.argv[0]).name.startswith("bmslink") else None
    if found is not None:
        return [str(Path(found).absolute())]
    return [sys.executable, "-m", "bmslink"]


def _credential(text: str) -> tuple[str, str]:
    """A secret's name and its file. Raises `TargetError`."""
    name, _, file = text.partition(":")
    known = name == CREDENTIAL or re.fullmatch(r"pin\.[A-Za-z0-9_-]{1,64}", name)
    if not known or not Path(file).is_absolute() or any(c in file for c in "\n\r:"):
        raise TargetError(
            f"{text!r} is no NAME:FILE: NAME is pin.PACK or {CREDENTIAL}, FILE begins with /."
        )
    return name, file


def _show(session: Session, text: str) -> None:
    if session.json:
        session.record({"unit": text})
    else:
        session.write(*text.rstrip("\n").split("\n"))


def _write(files: dict[Path, str], *, force: bool) -> None:
    there = [path for path, text in files.items() if path.exists() and path.read_text() != text]
    if there and not force:
        names = ", ".join(map(str, there))
        raise GateError(f"{names} is there and says something else; --force replaces it.")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode(), mode=0o644)
        except OSError as exc:
            hint = " Write it as root, or use --user." if isinstance(exc, PermissionError) else ""
            raise TransportError(f"{path} cannot be written: {exc.strerror or exc}.{hint}") from exc


def _user_unit() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "systemd" / "user" / UNIT


def _in_home(command: Sequence[str]) -> bool:
    return str(Path(command[0]).resolve()).startswith(("/home/", "/root/"))


def _serial_groups() -> tuple[str, ...]:
    """Those of this system; the usual one where none is there."""
    try:
        import grp
    except ImportError:
        return _SERIAL_GROUPS[:1]
    known = {each.gr_name for each in grp.getgrall()}
    return tuple(name for name in _SERIAL_GROUPS if name in known) or _SERIAL_GROUPS[:1]
