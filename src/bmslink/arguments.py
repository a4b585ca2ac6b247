"""Wrong arguments of public functions end in a sentence, before anything is done.

The types that a function declares are what it takes; a text is never taken for a list of letters,
nor True for a number.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import numbers
import os
import re
import types
import typing
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from difflib import get_close_matches
from typing import IO, Any, ParamSpec, TypeVar, Union, cast, get_args, get_origin

from bmslink.errors import BmsError, UsageError

__all__ = ["checked", "decimal_comma", "did_you_mean"]

P = ParamSpec("P")
R = TypeVar("R")

_BYTES = (bytes, bytearray, memoryview)
_WORDS: dict[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    bytes: "bytes",
    type(None): "None",
}


_COMMA = re.compile(r"\s*([+-]?\d+),(\d+)")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question for a word that is nearly a known one, with a space before it; else empty."""
    near = get_close_matches(word.lower(), list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def decimal_comma(text: str) -> str:
    """What to do about a number with a comma, with a space before it; empty for any other text.

    `1,000` may be one or a thousand: then no number is proposed.
    """
    found = _COMMA.match(text)
    if found is None:
        return ""
    whole, rest = found.groups()
    meant = f" ({whole}.{rest})" if len(rest) != 3 else ", and nothing stands between thousands"
    return f" Decimals are written with a point{meant}."


def checked(error: type[BmsError] = UsageError) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function raises `error` for an argument of another type than declared."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        check = functools.partial(_check, function, error)
        if inspect.isasyncgenfunction(function):
            call = _checked_iterator(function, check)
        elif inspect.iscoroutinefunction(function):
            call = _checked_coroutine(function, check)
        else:
            call = _checked_call(function, check)
        return cast(Callable[P, R], functools.wraps(function)(call))

    return decorate


def _checked_call(function: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        return function(*args, **kwargs)

    return call


def _checked_coroutine(
    function: Callable[..., Any], check: Callable[..., None]
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        return await function(*args, **kwargs)

    return call


def _checked_iterator(
    function: Callable[..., Any], check: Callable[..., None]
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        check(args, kwargs)
        async with aclosing(function(*args, **kwargs)) as items:
            async for item in items:
                yield item

    return call


def _called(function: Callable[..., Any]) -> str:
    """What a caller wrote: the class, where its `__init__` is meant."""
    name = function.__name__
    return function.__qualname__.split(".")[-2] if name == "__init__" else name


def _check(
    function: Callable[..., Any],
    error: type[BmsError],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    signature, hints = _declared(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return  # too many, or one is missing: Python says so itself
    for name, value in given.items():
        hint = hints.get(name, Any)
        if not _fits(value, hint):
            got = "None" if value is None else type(value).__name__  # the value may be a secret
            raise error(f"{_called(function)}(): {name} must be {_named(hint)}, not {got}.")


@functools.cache
def _declared(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    signature = inspect.signature(function)
    hints: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        try:
            alone = types.SimpleNamespace(__annotations__={name: annotation})
            hints |= typing.get_type_hints(alone, function.__globals__)
        except (NameError, TypeError):  # known to the type checker only
            hints[name] = Any
    return signature, hints


def _fits(value: object, hint: Any) -> bool:
    if hint is Any or hint is object:
        return True
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in args)
    if origin is typing.Literal:
        return value in args
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is IO:
        return hasattr(value, "write")
    if origin is not None:
        return _holds(value, origin, args)
    return _is(value, hint)


def _is(value: object, hint: Any) -> bool:
    if hint is None:
        return value is None
    if isinstance(value, bool) and hint in (int, float):
        return False
    if hint is int:
        return isinstance(value, numbers.Integral)
    if hint is float:
        return isinstance(value, numbers.Real) and _finite(value)
    if hint is bytes:
        return isinstance(value, _BYTES)
    try:
        return not isinstance(hint, type) or isinstance(value, hint)
    except TypeError:  # an interface that is known to the type checker only
        return True


def _finite(value: numbers.Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _holds(value: object, origin: type, args: tuple[Any, ...]) -> bool:
    """Whether it is such a container, of such things."""
    if isinstance(value, (str, *_BYTES)) or not isinstance(value, origin):
        return False
    if isinstance(value, Mapping) and len(args) == 2:
        return all(_fits(k, args[0]) and _fits(v, args[1]) for k, v in value.items())
    if isinstance(value, Collection) and len(args) == 1:
        return all(_fits(each, args[0]) for each in value)
    return True


def _named(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        *first, last = (_named(each) for each in args)
        return f"{', '.join(first)} or {last}"
    if origin is typing.Literal:
        return " or ".join(map(repr, args))
    if origin is collections.abc.Callable:
        return "a function"
    if origin is IO:
        return "an open file"
    if origin is os.PathLike:
        return "a path"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if origin is not None:
        return f"a list of {_named(args[0])}" if args else "a list"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))
