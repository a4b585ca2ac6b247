"""The systemd unit of the service, for the whole machine or for one user.

The unit says which folders there are; the service itself only hears of them by its environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ACCOUNT", "CREDENTIAL", "UNIT", "Installation", "sysusers", "unit"]

UNIT = "bmslink.service"
ACCOUNT = "bmslink"
"""User and group of a system service; members of the group may talk to it."""
CREDENTIAL = "bmslink-token"
"""The name under which the token is handed over (`LoadCredential`), instead of `token_file`."""
WATCHDOG = 60
"""s without a sign of life after which systemd starts it again."""

_SYSTEM = f"""\
User={ACCOUNT}
Group={ACCOUNT}
ConfigurationDirectory=bmslink
RuntimeDirectory=bmslink
RuntimeDirectoryMode=0755
StateDirectory=bmslink
StateDirectoryMode=0750
UMask=0077
Environment=BMSLINK_CONFIG=/etc/bmslink/bmslink.toml
Environment=BMSLINK_RUNTIME=/run/bmslink
Environment=BMSLINK_STATE=/var/lib/bmslink/control
Environment=BMSLINK_JOURNAL=/var/lib/bmslink/journal
"""
_SANDBOX = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RemoveIPC=yes
# Serial adapters that are plugged in later need their place in the list too, so all character
# devices are; the group above decides which of them can be opened. Disks never can.
DevicePolicy=closed
DeviceAllow=char-* rw
"""
_ANYWHERE = """\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the unit depends on."""

    command: Sequence[str]
    """The program and its arguments up to the word `serve`."""
    user: bool
    """One user's service, not the machine's."""
    groups: Sequence[str] = ("dialout",)
    """Groups that may open serial ports (a system service; a user's own groups count as they
    are)."""
    credentials: Sequence[tuple[str, str]] = ()
    """Name and file of secrets that root hands over (`LoadCredential`)."""


def unit(installation: Installation) -> str:
    """The text of the unit file."""
    return "\n".join([_head(installation), _service(installation), _install(installation)])


def sysusers(groups: Sequence[str] = ()) -> str:
    """The text of the file from which systemd-sysusers makes the account."""
    lines = [f'u {ACCOUNT} - "bmslink service" /var/lib/bmslink']
    return "".join(f"{line}\n" for line in [*lines, *(f"m {ACCOUNT} {g}" for g in groups)])


def _head(installation: Installation) -> str:
    after = "" if installation.user else "After=network.target bluetooth.service dbus.service\n"
    return f"""\
# Written by `bmslink service install`.
[Unit]
Description=bmslink: battery packs polled, judged and served
{after}StartLimitIntervalSec=0
"""


def _service(installation: Installation) -> str:
    system = not installation.user
    arguments = [*installation.command, "serve", *(["--system"] if system else [])]
    lines = [
        "[Service]",
        "Type=notify",
        f"ExecStart={' '.join(map(_quoted, arguments))}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=always",
        "RestartSec=250ms",
        f"WatchdogSec={WATCHDOG}",
        "TimeoutStopSec=30",
        "Environment=PYTHONUNBUFFERED=1",
    ]
    text = "".join(f"{line}\n" for line in lines)
    if system:
        text += _SYSTEM
        text += f"SupplementaryGroups={' '.join(installation.groups)}\n" * bool(installation.groups)
    text += "".join(
        f"LoadCredential={name}:{_quoted(file)}\n" for name, file in installation.credentials
    )
    if system:
        text += _SANDBOX.format(home=_home(installation.command[0]))
        return text + _ANYWHERE.partition("\n")[2]
    return text + _ANYWHERE


def _install(installation: Installation) -> str:
    return f"""\
[Install]
WantedBy={"default.target" if installation.user else "multi-user.target"}
"""


def _home(program: str) -> str:
    """A program in somebody's home has to be readable there; else homes are not even seen."""
    places = ("/home/", "/root/", "/run/user/")
    return "read-only" if str(Path(program).resolve()).startswith(places) else "yes"


def _quoted(word: str) -> str:
    """A word of a command line as systemd reads it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = escaped == word and word and not any(c in word for c in " \t\n';")
    return word if plain else f'"{escaped}"'
