"""A command line as far as it is written, and what may come next. Pure, but for `world`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from bmslink.cli.completion import world
from bmslink.cli.completion.table import ABOUT, COMMANDS, COMMON, CONNECTION, VALUES

__all__ = ["FILES", "KINDS", "Choice", "choices"]

Choice = tuple[str, str]
"""What to write, and what it is; something that goes on ends in `=`, `:`, `+` or `/`."""
FILES: Choice = ("", "")
"""In its place the shell offers files."""

_SCHEMES = ("serial://", "tcp://", "rfc2217://", "modbus-tcp://", "ble://", "sim://", "replay://")


def choices(words: list[str], current: str) -> list[Choice]:
    """What `current` may become, after these words (without the program's name)."""
    path, rest = _command(words)
    row = COMMANDS.get(path)
    if row is None:
        return _starting(_next_words(path, current), current)
    positional, options = _parts(row)
    open_option, place, used = _walk(rest, options)
    if open_option is not None:
        return _of_kind(open_option, current, rest)
    name, equals, value = current.partition("=")
    if equals and options.get(name):
        return [
            (f"{name}={v}", about) if v else (v, about)
            for v, about in _of_kind(options[name] or "", value, rest)
        ]
    if current.startswith("-"):
        return _starting(((o, "") for o in options if o not in used), current)
    kinds = _expected(positional, place)
    found = [choice for kind in kinds for choice in _of_kind(kind, current, rest)]
    return list(dict.fromkeys(found))


def _command(words: list[str]) -> tuple[str, list[str]]:
    """The command that the words name, and the words behind it."""
    at, path = 0, ""
    while at < len(words):
        word = words[at]
        at += 1
        if word.startswith("-"):
            at += word in _VALUED  # its value is no command
            continue
        path = f"{path} {word}".lstrip()
        if path in COMMANDS or not any(name.startswith(f"{path} ") for name in COMMANDS):
            return path, words[at:]
    return path, []


def _next_words(path: str, current: str) -> Iterator[Choice]:
    """The words that may follow, or the options of every command."""
    seen = set()
    for name in COMMANDS:
        if not path or name.startswith(f"{path} "):
            word = name[len(path) :].split()[0]
            if word not in seen:
                seen.add(word)
                yield word, ABOUT.get(f"{path} {word}".lstrip(), "")
    if current.startswith("-"):
        yield from ((option, "") for option in _COMMON)


def _parts(row: str) -> tuple[list[str], dict[str, str | None]]:
    """Positional kinds, and options with the kind of their value (`None`: a flag)."""
    positional: list[str] = []
    options: dict[str, str | None] = {}
    for token in f"{row.replace('@', CONNECTION)} {COMMON}".split():
        if not token.startswith("-"):
            positional.append(token)
            continue
        name, equals, kind = token.partition("=")
        options[name] = kind if equals else None
    return positional, options


_COMMON = _parts("")[1]
_VALUED = {name for name, kind in _COMMON.items() if kind is not None}


def _walk(rest: Iterable[str], options: dict[str, str | None]) -> tuple[str | None, int, set[str]]:
    """The kind of the option that waits for its value, how many positionals are written, and which
    options that come only once."""
    waiting: str | None = None
    place, used = 0, set()
    for word in rest:
        if waiting is not None:
            waiting = None
            continue
        name, equals, _ = word.partition("=")
        if not word.startswith("-"):
            place += 1
            continue
        kind = options.get(name)
        if not (kind or "").endswith("*"):
            used.add(name)
        if kind is not None and not equals:
            waiting = kind
    return waiting, place, used


def _expected(positional: list[str], place: int) -> list[str]:
    """What may be at that place: a TARGET may be left out where BMSLINK_TARGET names one."""
    given = bool(os.environ.get("BMSLINK_TARGET"))
    shift = 1 if given and positional[:1] == ["target"] and len(positional) > 1 else 0
    found = []
    for at in {place, place + shift}:
        if at < len(positional):
            found.append(positional[at])
        elif positional and positional[-1].endswith("*"):
            found.append(positional[-1])
    return found


def _starting(found: Iterable[Choice], current: str) -> list[Choice]:
    return [(word, about) for word, about in found if word.startswith(current)]


def _of_kind(kind: str, current: str, rest: list[str]) -> list[Choice]:
    """Values of a kind; several kinds are joined by `|`."""
    found: list[Choice] = []
    for each in kind.removesuffix("*").split("|"):
        maker = KINDS.get(each)
        if maker is not None:
            found += maker(current, rest)
        elif each in VALUES:
            found += _starting(((word, "") for word in VALUES[each].split()), current)
    return list(dict.fromkeys(found))


def _files(_current: str, _rest: list[str]) -> list[Choice]:
    return [FILES]


def _packs(current: str, _rest: list[str]) -> list[Choice]:
    return _starting(world.targets_of().items(), current)


def _banks(current: str, _rest: list[str]) -> list[Choice]:
    return _starting(((name, "a bank") for name in world.banks()), current)


def _ports(current: str, _rest: list[str]) -> list[Choice]:
    return _starting(((port, "") for port in world.ports()), current)


def _targets(current: str, rest: list[str]) -> list[Choice]:
    """Names, ports, and targets piece by piece: protocol, scheme, place."""
    head, plus, tail = current.rpartition("+")
    scheme, sign, place = tail.partition("://")
    if sign:
        return _places(f"{head}{plus}{scheme}{sign}", scheme, place)
    if plus:
        return _starting(((f"{head}{plus}{each}", "") for each in _SCHEMES), current)
    protocols = VALUES["protocol"].split()
    return [
        *_packs(current, rest),
        *_ports(current, rest),
        *_starting(((each, "") for each in _SCHEMES), current),
        *_starting(((f"{each}+", "") for each in protocols), current),
        *(_starting(((each, "all its protocols") for each in VALUES["vendor"].split()), current)),
        *([FILES] if current.startswith(("/", ".", "~")) else []),
    ]


def _places(start: str, scheme: str, place: str) -> list[Choice]:
    if scheme == "sim" and "+" not in start:
        known = VALUES["protocol"].split()
    elif scheme == "serial":
        known = world.ports()
    else:
        known = []
    return [(f"{start}{each}", "") for each in known if each.startswith(place)]


def _keys(current: str, rest: list[str]) -> list[Choice]:
    """Setting keys, of the protocol that the target names where it does."""
    from bmslink.cli.completion.setting_keys import KEYS

    protocol = ""
    for word in rest[:1]:
        target = word if "+" in word or "://" in word else world.targets_of().get(word, word)
        protocol = target.partition("+")[0]
        if target.startswith("sim://"):
            protocol = target.removeprefix("sim://").partition("?")[0]
    keys = KEYS.get(protocol) or " ".join(KEYS.values())
    return _starting(((key, "") for key in sorted(set(keys.split()))), current)


def _assignments(current: str, rest: list[str]) -> list[Choice]:
    key, equals, value = current.partition("=")
    if not equals:
        return [(f"{key}=", about) for key, about in _keys(current, rest)]
    if not key.endswith("_switch"):
        return []
    return [(f"{key}={word}", "") for word in ("on", "off") if word.startswith(value)]


KINDS: dict[str, Callable[[str, list[str]], list[Choice]]] = {
    "target": _targets,
    "pack": _packs,
    "bank": _banks,
    "port": _ports,
    "file": _files,
    "key": _keys,
    "assignment": _assignments,
}
"""What makes the choices of a kind that is no plain list; takes the word and those before it."""
