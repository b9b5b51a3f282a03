"""Refusals that say what was wrong and what would be right. No torch, so that all may use it."""

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T", bound=Callable)


def choose(what: str, value: object, valid: Collection) -> None:
    """Refuse a value that is not among the valid ones: ValueError names it, and them."""
    if value not in valid:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(map(str, valid))}")


def typed(of: T, check: Callable[[dict], None] = lambda given: None) -> T:
    """A function, or a dataclass, that refuses what is not of its annotated types: ValueError.

    Lists become tuples, and numbers of NumPy or torch Python's, where those are asked for. What is
    only refused changes no result: this decorator is no part of a key.

    check: of what is given, by name, once its types are right.
    """
    make = of.__init__ if isinstance(of, type) else of  # type: ignore[misc]
    called = of.__qualname__.removesuffix(".__init__").split(".")[-1]
    signature = inspect.signature(make)
    hints = cache(lambda: get_type_hints(of))  # once it is called: they may name what comes later

    @wraps(make)
    def checked(*words, **more):
        bound = signature.bind(*words, **more)
        for name, value in bound.arguments.items():
            if name in hints():
                where = f"{called}: {name}"
                bound.arguments[name] = _fitted(value, hints()[name], where)
        check(bound.arguments)
        return make(*bound.args, **bound.kwargs)

    if not isinstance(of, type):
        return checked  # type: ignore[return-value]
    of.__init__ = checked  # type: ignore[misc]
    return of


def _fitted(value: Any, kind: Any, where: str) -> Any:
    """A value as an annotation has it."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        for one in inner:
            try:
                return _fitted(value, one, where)
            except ValueError:
                pass
    elif kind is Any or isinstance(origin, TypeVar):
        return value
    elif origin in (str, bool, int, float, tuple):
        value = value.tolist() if hasattr(value, "tolist") else value
        if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str | bytes):
            each = inner[:1] * len(value) if inner[1:] == (...,) else inner
            if len(each) == len(value):
                pairs = enumerate(zip(value, each))
                return tuple(_fitted(v, k, f"{where}[{n}]") for n, (v, k) in pairs)
        taken = (int, float) if origin is float else origin
        fits = isinstance(value, taken) and isinstance(value, bool) == (origin is bool)
        if fits and origin is not tuple and not (origin is float and not math.isfinite(value)):
            return value
    elif isinstance(value, origin) or isinstance(value, str) and hasattr(origin, "parse"):
        for n, v in enumerate(value if inner and isinstance(value, Sequence) else ()):
            _fitted(v, inner[0], f"{where}[{n}]")
        return value
    raise ValueError(f"{where} must be {_said(kind)}, not {value!r:.99}")


def _said(kind: Any) -> str:
    """An annotation in words."""
    said = {str: "a text", bool: "True or False", int: "a whole number", float: "a finite number"}
    said |= {NoneType: "None", Any: "anything"}
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_said, inner))
    if origin in (tuple, Sequence, Iterable):
        return f"a list, each {_said(inner[0])}"
    name = origin.__name__.lower()
    return said.get(origin) or f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
