"""Two values that tables hold as text: an arm, and the place of a number in a network."""

from dataclasses import dataclass

from dndiv.checks import typed


@typed
@dataclass(frozen=True)
class Arm:
    """One treatment of a network: how it starts, and a technique that acts while it trains.

    As text: ``start``, ``start+technique:schedule``, or ``start+technique:schedule@coefficient``;
    without a coefficient, the one that coefficients.yml registers for the setting. With ``|held``
    behind it, the norms of the hidden layers' rows are held: brought back after every step.
    """

    start: str
    technique: str = ""
    schedule: str = ""
    coefficient: float | None = None
    held: bool = False

    @classmethod
    def parse(cls, text: str) -> "Arm":
        """The arm of a text. Raises ValueError for what is none."""
        whole, bar, ending = text.partition("|")
        start, plus, rest = whole.partition("+")
        rest, at, given = rest.partition("@")
        technique, colon, schedule = rest.partition(":")
        try:
            coefficient = float(given) if at else None
        except ValueError:
            raise ValueError(f"arm {text!r}: {given!r} is no coefficient") from None
        if (
            not start
            or bool(plus) != bool(technique and colon and schedule)
            or ending != ("held" if bar else "")
        ):
            raise ValueError(
                f"arm {text!r} is not one: start, start+technique:schedule, or …@coefficient, "
                "each with |held or without"
            )
        return cls(start, technique, schedule, coefficient, bool(bar))

    def __str__(self) -> str:
        text = f"{self.start}+{self.technique}:{self.schedule}" if self.technique else self.start
        if self.coefficient is not None:
            text = f"{text}@{self.coefficient:g}"
        return f"{text}|held" if self.held else text


@dataclass(frozen=True)
class Place:
    """Where in a network a value belongs: to all of it, to a layer (from 1), to a unit of the layer
    (from 0), or to one of the unit's inputs or partners (``other``). As text: "", "2", "2.7",
    "2.7.300"."""

    layer: int | None = None
    unit: int | None = None
    other: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Place":
        return cls(*map(int, text.split("."))) if text else cls()

    def __str__(self) -> str:
        return ".".join(str(k) for k in (self.layer, self.unit, self.other) if k is not None)
