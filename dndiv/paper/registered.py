"""What tuning has chosen, by held-out inputs: coefficients.yml of the techniques, rates.yml of the
starts."""

from functools import cache
from pathlib import Path

from dndiv.paper import files


@cache
def read(file: Path) -> dict:
    """What coefficients.yml or rates.yml says, by the file's path."""
    from dndiv.paper import schema  # it asks experiments, which ask here

    return {files.COEFFICIENTS: schema.coefficients, files.RATES: schema.rates}[file](file)


def coefficient(technique: str, schedule: str, setting: str, optimizer: str) -> float:
    """The coefficient of a technique; 0 where it is off. ValueError where none is registered."""
    place = f"{setting} {optimizer}"
    try:
        return read(files.COEFFICIENTS)[technique][schedule][place]
    except KeyError:
        raise ValueError(
            f"{files.COEFFICIENTS.name} has no {schedule} coefficient for {place} of {technique}; "
            "give one as …@coefficient, or tune it with `python -m dndiv tune`"
        ) from None


def rate(name: str, setting: str, optimizer: str, start: str, later: bool = False) -> float:
    """The best learning rate of a start in a cell, in the first epochs; later: after the last one.
    ValueError where none is registered."""
    cell = f"{name} {setting} {optimizer}" + " later" * later
    try:
        return read(files.RATES)[cell][start]
    except KeyError:
        raise ValueError(
            f"{files.RATES.name} has no learning rate for {start} on {cell}; find it with "
            "`python -m dndiv tune`"
        ) from None
