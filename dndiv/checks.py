"""Refusals that say what was wrong and what would be right. No torch, so that all may use it."""

from collections.abc import Collection


def choose(what: str, value: object, valid: Collection) -> None:
    """Refuse a value that is not among the valid ones: ValueError names it, and them."""
    if value not in valid:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(map(str, valid))}")
