"""Techniques that reinforce the diversity of hidden neurons during training, as records.

A technique is one record in ``TECHNIQUES``: a *penalty* (``penalties.py``), which is added to the
loss, or a *change* of the weights (``changes.py``) after the optimizer's step; what it looks at;
and how often it acts. How strongly it acts is a ``Dose``: a coefficient *c* and its schedule. What
acts on your model (``reinforcement.py``) is what acts on the populations of the experiments
(``dosing.py``).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dndiv import changes, penalties
from dndiv.checks import choose, typed
from dndiv.penalties import Strength

SCHEDULES = ("constant", "annealed", "dynamic")


# ------------------------------------------------------------------------------------ the records
@dataclass(frozen=True)
class Technique:
    """What reinforces diversity: a penalty, or a change of the weights, and how it is applied.

    Attributes:
        looks_at: "weights" or "activations", each hidden layer by itself; or "outputs", the units
            of the last hidden layer together with their outgoing weights and the bias.
        penalty: what is added to the loss, a function of what it looks at, [...] per network.
        gradient: of strength × penalty by what it looks at, in closed form; else autograd's.
        change: what is done after the optimizer's step instead, in place: of weights, a function
            (rows, c); of activations, with the arguments of ``reinitialize_``.
        every: optimizer steps between two actions. most: the largest coefficient.
    """

    looks_at: str
    penalty: Callable[..., Tensor] | None = None
    gradient: Callable | None = None
    change: Callable[..., Tensor] | None = None
    every: int = 1
    most: float = math.inf

    def redundancy(self, values: Tensor) -> Tensor:
        """What a dynamic coefficient is multiplied by, [...], from 0 to 1."""
        of_weights = self.looks_at == "weights"
        return (
            penalties.weight_redundancy(values)
            if of_weights
            else penalties.activation_redundancy(values)
        )


TECHNIQUES = {
    "negative_correlation": Technique(
        "outputs", penalties.negative_correlation, penalties.correlation_gradient
    ),
    "prediction_diversity": Technique(
        "outputs", penalties.prediction_diversity, penalties.prediction_gradient
    ),
    "weight_cosine": Technique(
        "weights", penalties.weight_cosine, penalties.along_rows(penalties.cosine_slope)
    ),
    "activation_decorrelation": Technique(
        "activations", penalties.activation_decorrelation, penalties.decorrelation_gradient
    ),
    "log_volume": Technique("weights", penalties.negative_log_volume, penalties.volume_gradient),
    "orthogonal_step": Technique("weights", change=changes.orthogonal_step_, every=10, most=1.0),
    "reinitialize": Technique("activations", change=changes.reinitialize_, every=100, most=1.0),
    # peers of the literature
    "orthoreg": Technique(
        "weights", penalties.orthoreg, penalties.along_rows(penalties.orthoreg_slope)
    ),
    "soft_orthogonality": Technique(
        "weights", penalties.soft_orthogonality, penalties.orthogonality_gradient
    ),
    "srip": Technique("weights", penalties.srip, penalties.srip_gradient),
    "mma": Technique("weights", penalties.mma, penalties.along_rows(penalties.mma_slope)),
    "redo": Technique("activations", change=changes.redo_, every=100, most=1.0),
}


@torch.no_grad()
def gradients(
    technique: Technique,
    weights: Sequence[Tensor],
    hidden: Sequence[Tensor],
    bias: Tensor,
    strength: Strength,
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """The gradients of strength × penalty, summed over hidden layers: (by weights, by hidden).

    weights: of all layers, [..., units, fan-in]; hidden: of the hidden ones, [..., units, samples];
    bias: of the last layer, [..., outputs]. None where there is no gradient.
    """
    by_weights: list[Tensor | None] = [None] * len(weights)
    by_hidden: list[Tensor | None] = [None] * len(hidden)
    gradient = technique.gradient or _by_autograd(technique)
    if technique.looks_at == "outputs":
        by_hidden[-1], by_weights[-1] = gradient(hidden[-1], weights[-1], bias, strength)
        return by_weights, by_hidden
    of_weights = technique.looks_at == "weights"
    layers, found = (weights[:-1], by_weights) if of_weights else (hidden, by_hidden)
    for same, values in by_shape(layers):
        for k, g in zip(same, gradient(values, strength).to(values.dtype).unbind(-3)):
            found[k] = g
    return by_weights, by_hidden


def _by_autograd(technique: Technique) -> Callable:
    """The gradient of a technique that has no closed form."""
    penalty_of = technique.penalty
    assert penalty_of is not None, "only penalties have gradients"

    def gradient(*given):
        *values, strength = given
        together = technique.looks_at == "outputs"  # one layer, whose strength is [..., 1]
        by = values[:2] if together else values
        with torch.enable_grad():
            by = [v.detach().requires_grad_() for v in by]
            penalty = penalty_of(*by, *values[len(by) :])
            penalty = penalty.unsqueeze(-1) if together else penalty
            measured = technique.redundancy(values[0].detach())
            c = strength(lambda: measured.unsqueeze(-1) if together else measured)
            found = torch.autograd.grad((c * penalty).sum(), by)
        return found if together else found[0]

    return gradient


def by_shape(layers: Sequence[Tensor]) -> Iterator[tuple[list[int], Tensor]]:
    """Layers of one shape in one go: which ones, and their values as one, [..., layers, units,
    ·]."""
    for shape in dict.fromkeys(values.shape[-2:] for values in layers):
        same = [k for k, values in enumerate(layers) if values.shape[-2:] == shape]
        yield same, torch.stack([layers[k] for k in same], -3)


# ---------------------------------------------------------------------------- strength in time
@typed
@dataclass(frozen=True)
class Dose:
    """How strongly a technique acts.

    The coefficient *c* is the factor of a penalty, the damping of ``orthogonal_step`` in (0, 1],
    and of ``reinitialize`` the distance from 1 at which a cosine counts as a duplicate; a technique
    whose *c* is 0 does nothing at all. Its schedule: ``constant``; ``annealed``, linearly to 0 over
    the first steps; ``dynamic``, times the redundancy of the layer at the moment.

    Attributes:
        name: in ``TECHNIQUES``. over: the steps that ``annealed`` takes to reach 0.
        every: steps between two actions; 0: what the technique's record says. A penalty that does
            not act at every step is as much stronger where it does (lazy regularization, Karras
            et al. 2020).

    Raises ValueError for unknown names, and numbers out of range.
    """

    name: str
    coefficient: float
    schedule: str = "constant"
    over: int = 0
    every: int = 0

    def __post_init__(self):
        choose("technique", self.name, TECHNIQUES)
        choose("schedule", self.schedule, SCHEDULES)
        most = self.technique.most
        if not 0 <= self.coefficient <= most or self.coefficient == math.inf:
            limit = "" if most == math.inf else f" to {most:g}"
            raise ValueError(
                f"the coefficient of {self.name} is a finite number from 0{limit}, "
                f"not {self.coefficient}"
            )
        if self.every < 0:
            raise ValueError(f"every is a number of steps from 1, not {self.every}")
        if self.schedule == "annealed" and self.over < 1:
            raise ValueError(
                "an annealed coefficient needs the number of steps until it is 0: over=, "
                f"not {self.over}"
            )

    @property
    def technique(self) -> Technique:
        """The record of its name."""
        return TECHNIQUES[self.name]

    def due(self, step: int) -> bool:
        """Whether it acts at a step: penalties on steps from 0, changes after steps from 1."""
        return step % (self.every or self.technique.every) == 0 and self.at(step) > 0

    def at(self, step: int) -> float:
        """The coefficient at a step, before the redundancy of a layer is looked at."""
        lazily = self.every if self.every and self.technique.penalty else 1
        strength = self.coefficient * lazily
        return strength * (max(0.0, 1 - step / self.over) if self.schedule == "annealed" else 1.0)
