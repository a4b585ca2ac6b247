"""A policy file of an older schema, written anew in today's: the owner's values, order and comments
stay, and it means exactly what the old text meant."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bmslink.control.decide.catalogue import SPLIT
from bmslink.control.decide.policy import AsShipped, PolicySet
from bmslink.control.files import load_policies, parse_policies
from bmslink.control.schema import COMMENTS, SCHEMA
from bmslink.control.written import record_title, row_comment
from bmslink.errors import TargetError
from bmslink.storage.atomic import replace_file
from bmslink.storage.toml import loads, read_text

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["Upgrade", "upgrade_of", "write_upgrade"]

_MOST_KEPT = 100


class Upgrade(msgspec.Struct, frozen=True):
    """A policy file as it will be, and what that changes."""

    path: Path
    old: str
    text: str
    schema: int
    """Of the file as it is."""
    changes: tuple[AsShipped, ...]
    added: tuple[str, ...]
    """Policies that were a part of another one."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to write."""
        return self.schema != SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "policies": str(self.path),
            "schema": {"was": self.schema, "now": SCHEMA},
            "changes": [each.to_dict() for each in self.changes],
            "added": list(self.added),
        }


def upgrade_of(path: Path) -> Upgrade:
    """What an upgrade of a policy file would write; nothing is written.

    Raises `TargetError` for a file that is no policy file, that has a mistake, or that is laid out
    in a way that cannot be edited.
    """
    policies = load_policies(path)
    text = read_text(path, "policy file")
    content = loads(text)
    if content["schema"] == SCHEMA:
        return Upgrade(path, text, text, SCHEMA, (), ())
    rows = content.get("policies", {})
    added = tuple(
        part for name, parts in SPLIT.items() if name in rows
        for part in parts if part not in rows and part in policies.policies
    )  # fmt: skip
    edited = _edited(text, policies, added)
    texts = [edited and _by_quantity(edited, policies), edited]  # the same, by its own names
    new = next((each for each in texts if each and _means(each, policies, path)), None)
    if new is None:
        raise TargetError(
            f"{path} is laid out in a way that cannot be upgraded here. Write `schema = {SCHEMA}` "
            "into it yourself, and set what `bmslink control check FILE` lists to today's values."
        )
    return Upgrade(path, text, new, content["schema"], policies.as_shipped, added)


def write_upgrade(upgrade: Upgrade) -> Path:
    """Replace the file as a whole, and keep the old one beside it: its new name is given back.

    Raises `TargetError` where it cannot be written, or was changed since it was read.
    """
    if read_text(upgrade.path, "policy file") != upgrade.old:
        raise TargetError(f"{upgrade.path} was changed in the meantime; try again.")
    try:
        path = upgrade.path.resolve()  # a link goes on pointing to it
        kept = _keep(path, upgrade)
        replace_file(path, upgrade.text.encode(), mode=None)
    except (OSError, RuntimeError) as exc:
        raise TargetError(f"{upgrade.path} cannot be written: {_why(exc)}.") from exc
    return kept


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _keep(path: Path, upgrade: Upgrade) -> Path:
    data = upgrade.old.encode()
    for number in range(1, _MOST_KEPT):
        end = f".schema-{upgrade.schema}" + (f".{number}" if number > 1 else "")
        kept = path.with_name(path.name + end)
        try:
            replace_file(kept, data, mode=path.stat().st_mode & 0o777, overwrite=False)
        except FileExistsError:
            continue
        return kept
    raise OSError(errno.EEXIST, f"{_MOST_KEPT} old files are kept beside it already")


def _means(text: str, policies: PolicySet, path: Path) -> bool:
    """Whether a text is the same policies, with nothing left that only counts as shipped."""
    try:
        found = parse_policies(text, path)
    except TargetError:
        return False
    return found == msgspec.structs.replace(policies, as_shipped=())


def _edited(text: str, policies: PolicySet, added: tuple[str, ...]) -> str | None:
    """The text with today's values; `None` where tomlkit cannot do it."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
        document["schema"] = SCHEMA
        for each in policies.as_shipped:
            _set(document, each)
        for name in added:
            _add(document, name, policies)
        return _with_true_comments(tomlkit.dumps(document), policies)
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _set(document: TOMLDocument, change: AsShipped) -> None:
    from tomlkit.items import InlineTable

    *above, last = change.key
    parent: Any = None
    table: Any = document
    for name in above:
        parent, table = table, table[name]
    if change.now is not None:
        table[last] = change.now
        return
    del table[last]
    if isinstance(table, InlineTable):  # without the gap of what is gone
        parent[above[-1]] = _inline(table)


def _add(document: TOMLDocument, name: str, policies: PolicySet) -> None:
    """The row of a policy that was a part of another one, with what the owner said of both."""
    import tomlkit

    whole = next(old for old, parts in SPLIT.items() if name in parts)
    rows: Any = document["policies"]
    line = row_comment(policies.policies[name])
    rows.add(tomlkit.comment(line.removeprefix("# ")))
    rows[name] = _inline(rows[whole])


def _by_quantity(text: str, policies: PolicySet) -> str | None:
    """The text with a table for each quantity, at its end; each line keeps its comments. `None` for
    rows that are not written in one line each."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import Comment, InlineTable, Table, Whitespace

    try:
        document = tomlkit.parse(text)
        rows = document.get("policies")
        if not isinstance(rows, Table):
            return None
        records: dict[str, list[str]] = {}
        above = [rows.trivia.comment] if rows.trivia.comment else []
        for key, item in rows.value.body:
            if isinstance(item, (Comment, Whitespace)):
                above += [item.as_string().strip()] if isinstance(item, Comment) else []
                continue
            if key is None or not isinstance(item, InlineTable):
                return None
            row = policies.policies[key.key]
            end = f"{item.trivia.comment_ws}{item.trivia.comment}"
            line = f"{row.level} = {item.as_string()}{end}"
            records.setdefault(row.record, []).extend((*above, line))
            above = []
        del document["policies"]
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    titles = {name: record_title(record) for name, record in policies.records.items()}
    parts = ["\n".join((f"[policies.{name}]  # {titles[name]}", *lines))
             for name, lines in records.items()]  # fmt: skip
    return "\n\n".join((tomlkit.dumps(document).rstrip(), *parts, *above)) + "\n"


def _inline(table: Any) -> Any:
    """A table in one line, as presets write them."""
    import tomlkit

    pairs = ", ".join(f"{name} = {table[name].as_string()}" for name in table)
    return tomlkit.parse(f"row = {{ {pairs} }}\n" if pairs else "row = {}\n")["row"]


def _with_true_comments(text: str, policies: PolicySet) -> str:
    """Comment lines of the old preset that are untrue today say what is true."""
    lines = text.split("\n")
    new = {
        old: row_comment(policies.policies[name])
        for name, old in COMMENTS.items()
        if name in policies.policies
    }
    return "\n".join(new.get(line, line) for line in lines)
