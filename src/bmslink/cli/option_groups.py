"""Groups of options: one parameter of a command is several options, declared once.

A group is a frozen dataclass, a subclass of `OptionGroup`, whose fields are typed as typer options
and have defaults. A command takes it as one parameter (`*, connection: ConnectionOptions`), and
`with_groups` shows typer the options in its place, in the order of the fields.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import get_type_hints

__all__ = ["OptionGroup", "with_groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionGroup:
    """The base of all groups. What a group refuses when it is made is wrong usage, before the
    command begins."""


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer has to see it: each group of options spread out.

    It is called by keyword, as typer calls. Raises `ValueError` where two options share a name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {
        name: kind
        for name, kind in hints.items()
        if isinstance(kind, type) and issubclass(kind, OptionGroup)
    }
    if not groups:
        return command
    spread: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            spread += _options(groups[name])
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            spread.append(parameter.replace(kind=keyword, annotation=hints[name]))

    @functools.wraps(command)
    def gathered(**values: object) -> None:
        for name, group in groups.items():
            make: Callable[..., OptionGroup] = group
            values[name] = make(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    gathered.__dict__["__signature__"] = inspect.Signature(spread)
    gathered.__annotations__ = {each.name: each.annotation for each in spread}
    return gathered


def _options(group: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
