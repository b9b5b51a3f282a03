r"""Techniques that reinforce the diversity of hidden neurons during training: formulas and records.

The formulas are functions of stacked tensors, weights [..., units, fan-in] and activations [...,
units, samples], whose leading dimensions are networks: what acts on your model
(``reinforcement.py``) is what acts on the populations of the experiments (``dosing.py``).

A technique is one record in ``TECHNIQUES``: a *penalty*, which is added to the loss, or a *change*
of the weights after the optimizer's step; what it looks at; and how often it acts. How strongly it
acts is a ``Dose``: a coefficient *c* and its schedule.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dndiv.checks import choose, typed

SCHEDULES = ("constant", "annealed", "dynamic")
RIDGE = 1e-4  # added to Gram matrices before their determinant is taken, which bounds its gradient

# The coefficients of some layers, [..., layers or 1], from a function that computes their
# redundancies, [..., layers], which only a dynamic schedule calls.
Strength = Callable[[Callable[[], Tensor]], Tensor]


# --------------------------------------------------------------------------------- the penalties
def negative_correlation(activations: Tensor, outgoing: Tensor, bias: Tensor) -> Tensor:
    r"""Negative correlation learning (Liu & Yao 1999; Brown 2004), units as ensemble members: the
    historical form, on the logits.

    With :math:`f_i = H v_i h_i + b`, the mean over units, summed over outputs and averaged over
    samples, of :math:`p_i = (f_i - \bar f) \sum_{j \ne i} (f_j - \bar f) = -(f_i - \bar f)^2`,
    which is :math:`\|\sum_j v_j h_j\|^2 - H \sum_i \|v_i\|^2 h_i^2`: minus the ambiguity, so never
    positive. It has no lower bound, and with a loss that grows more slowly than squared error only
    a small or annealed coefficient is safe.

    activations: [..., units, samples]; outgoing: [..., outputs, units], the weights of the next
    layer, whose bias [..., outputs] drops out. Returns [...].
    """
    sums = outgoing @ activations  # [..., outputs, samples]
    squares = outgoing.square().sum(-2).unsqueeze(-2) @ activations.square()  # [..., 1, samples]
    return sums.square().sum(-2).mean(-1) - activations.shape[-2] * squares.mean((-2, -1))


def prediction_diversity(activations: Tensor, outgoing: Tensor, bias: Tensor) -> Tensor:
    r"""Minus the ambiguity of the Brier score, units as ensemble members: bounded, in (−1, 0].

    With :math:`f_i = H v_i h_i + b` and :math:`q_i = \mathrm{softmax}(f_i)`, the mean over units
    and samples of :math:`-\|q_i - \bar q\|^2`: the decomposition of Krogh & Vedelsby (1995) for the
    squared error of predicted probabilities. Unlike ``negative_correlation`` it cannot grow without
    bound. The bias, which all members share, is taken as given: it has no gradient.

    activations: [..., units, samples]; outgoing: [..., outputs, units]; bias: [..., outputs].
    Returns [...].
    """
    q, mean = _members(activations, outgoing, bias)
    return -(q - mean).square().sum(-2).mean((-2, -1))


def _members(activations, outgoing, bias) -> tuple[Tensor, Tensor]:
    """What each unit predicts by itself, [..., units, outputs, samples], and their mean."""
    votes = outgoing.mT.unsqueeze(-1) * activations.unsqueeze(-2)
    logits = activations.shape[-2] * votes + bias.detach()[..., None, :, None]
    q = torch.softmax(logits, -2)
    return q, q.mean(-3, keepdim=True)


def weight_cosine(weights: Tensor) -> Tensor:
    """The mean squared cosine of the pairs of rows; zero rows are orthogonal to all.

    weights: [..., units, fan-in]. Returns [...].
    """
    n = weights.shape[-2]
    return _off_diagonal(_cosines(weights).square()) / max(n * (n - 1), 1)


def activation_decorrelation(activations: Tensor) -> Tensor:
    r"""DeCov (Cogswell et al. 2016), :math:`\frac12 (\|C\|_F^2 - \|\mathrm{diag}\, C\|^2)`.

    C is the covariance over the batch. activations: [..., units, samples]. Returns [...].
    """
    return _off_diagonal(_covariance(activations).square()) / 2


def negative_log_volume(weights: Tensor) -> Tensor:
    r"""−log det of the Gram matrix of the unit rows: 0 where they are orthogonal, or else larger.

    :math:`-\log\det\,(G + \epsilon I)/(1 + \epsilon)` with the small ridge ``RIDGE``, so that
    duplicate and zero rows have a finite value and gradient. Where units > fan-in *d*, whose rows
    must depend, G is the d×d matrix :math:`\frac{d}{n} U^T U` of the unit rows U, and a tight frame
    has the value 0. weights: [..., units, fan-in]. Returns [...].
    """
    n, d = weights.shape[-2:]
    if n <= d:
        gram = _cosines(weights)
    else:
        norms = torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
        unit = weights / norms.where(norms > 0, 1)
        gram = unit.mT @ unit * (d / n)
    eye = torch.eye(min(n, d), dtype=gram.dtype, device=gram.device)
    return -torch.linalg.slogdet((gram + RIDGE * eye) / (1 + RIDGE)).logabsdet


def _cosines(weights: Tensor) -> Tensor:
    products = weights @ weights.mT
    return products / _scale(products)


def _scale(products: Tensor) -> Tensor:
    """Products of the norms of the rows whose products these are; the norm of a zero row is 1."""
    squares = products.diagonal(dim1=-2, dim2=-1)
    norms = squares.where(squares > 0, 1).sqrt()
    return norms.unsqueeze(-1) * norms.unsqueeze(-2)


def _covariance(activations: Tensor) -> Tensor:
    centred = activations - activations.mean(-1, keepdim=True)
    return centred @ centred.mT / activations.shape[-1]


def _off_diagonal(matrix: Tensor) -> Tensor:
    """The sum of the entries off the diagonal, [...]."""
    return matrix.sum((-2, -1)) - matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


def _mean_of_pairs(matrix: Tensor) -> Tensor:
    n = matrix.shape[-1]
    return _off_diagonal(matrix.abs()).clamp_min(0) / max(n * (n - 1), 1)


def _mean_correlation(covariance: Tensor) -> Tensor:
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    varies = variance > 1e-12 * variance.amax(-1, keepdim=True)
    scale = variance.where(varies, 1).sqrt()
    both = varies.unsqueeze(-1) & varies.unsqueeze(-2)
    scaled = covariance / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    return _mean_of_pairs(torch.where(both, scaled, 1))


@torch.no_grad()
def weight_redundancy(weights: Tensor) -> Tensor:
    """How redundant the units of a layer are, from 0 to 1: the mean \\|cosine\\| of their rows.

    weights: [..., units, fan-in]. Returns [...].
    """
    return _mean_of_pairs(_cosines(weights))


@torch.no_grad()
def activation_redundancy(activations: Tensor) -> Tensor:
    """The same by activations: the mean \\|correlation\\|, a constant unit being wholly redundant.

    activations: [..., units, samples]. Returns [...].
    """
    return _mean_correlation(_covariance(activations))


# ------------------------------------------------------------------- their gradients in closed form
# What autograd gives, in half its time: products of small matrices, units × units, with the values.
def _along_rows(slope: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, Strength], Tensor]:
    """The gradient by weights of a penalty of cosines, from its slope by them (and the fan-in)."""

    def gradient(weights: Tensor, strength: Strength) -> Tensor:
        products = weights @ weights.mT
        scale = _scale(products)
        cosines = products / scale
        by_cosines = slope(cosines, weights.shape[-1])
        # the part of a row's gradient that would change its norm is taken away
        by_cosines.diagonal(dim1=-2, dim2=-1).sub_((by_cosines * cosines).sum(-1))
        by_cosines /= scale
        c = 2 * strength(lambda: _mean_of_pairs(cosines))[..., None, None]
        return (c * by_cosines) @ weights

    return gradient


def _cosine_slope(cosines: Tensor, fan_in: int) -> Tensor:
    n = cosines.shape[-1]
    slope = cosines * (2 / max(n * (n - 1), 1))
    slope.diagonal(dim1=-2, dim2=-1).zero_()
    return slope


def _volume_slope(cosines: Tensor, fan_in: int) -> Tensor:
    # by Sylvester's theorem the determinant of U Uᵀ is, but for a factor, the one of Uᵀ U
    share = min(1.0, fan_in / cosines.shape[-1])
    eye = torch.eye(cosines.shape[-1], dtype=cosines.dtype, device=cosines.device)
    return torch.linalg.inv_ex(share * cosines + RIDGE * eye).inverse.mul_(-share)


def _volume_gradient(weights: Tensor, strength: Strength) -> Tensor:
    if weights.shape[-2] > weights.shape[-1]:  # dependent rows, kept apart by the ridge alone
        weights = weights.double()
    return _along_rows(_volume_slope)(weights, strength)


def _decorrelation_gradient(activations: Tensor, strength: Strength) -> Tensor:
    centred = activations - activations.mean(-1, keepdim=True)
    covariance = centred @ centred.mT / activations.shape[-1]
    slope = covariance * (1 / activations.shape[-1])
    slope.diagonal(dim1=-2, dim2=-1).zero_()
    c = 2 * strength(lambda: _mean_correlation(covariance))[..., None, None]
    return (c * slope) @ centred


# By activations and by outgoing weights, of the last hidden layer h, the weights v and the bias b.
def _correlation_gradient(
    h: Tensor, v: Tensor, b: Tensor, strength: Strength
) -> tuple[Tensor, Tensor]:
    """Of tr(VᵀV K(hhᵀ)) / samples, where K(M) = M − units · diag M."""
    c = strength(lambda: activation_redundancy(h).unsqueeze(-1)).unsqueeze(-1) * (2 / h.shape[-1])
    inner, outer = h @ h.mT, v.mT @ v
    for products in (inner, outer):
        products.diagonal(dim1=-2, dim2=-1).mul_(1 - h.shape[-2])
    return c * outer @ h, v @ (c * inner)


def _prediction_gradient(
    h: Tensor, v: Tensor, b: Tensor, strength: Strength
) -> tuple[Tensor, Tensor]:
    """Through the softmax: with g = −2 (q − q̄) / (H · samples), the gradient by the logits of a
    member is q ⊙ (g − Σ q g); the mean q̄ adds nothing, for the deviations from it sum to zero."""
    q, mean = _members(h, v, b)
    H, samples = h.shape[-2:]
    g = (q - mean) * (-2 / (H * samples))
    by_logits = q * (g - (q * g).sum(-2, keepdim=True))  # [..., units, outputs, samples]
    c = strength(lambda: activation_redundancy(h).unsqueeze(-1)).unsqueeze(-1) * H
    by_h = (by_logits * v.mT.unsqueeze(-1)).sum(-2)
    by_v = (by_logits * h.unsqueeze(-2)).sum(-1).mT
    return c * by_h, c * by_v


# ------------------------------------------------------------------------ changes of the weights
@torch.no_grad()
def orthogonal_step_(weights: Tensor, damping: Tensor | float) -> Tensor:
    r"""One damped Newton–Schulz step of the rows towards decorrelation, in place; norms stay.

    :math:`U \leftarrow U + \frac{c}{2}(I - UU^T)U` of the unit rows (Higham 2008, section 8.3),
    which moves them towards the polar factor that ``decorrelated_`` starts from. Singular values
    above 1 are scaled to 1 first, for the step diverges beyond √3.

    weights: [..., units, fan-in]; damping: c from 0 to 1, a number or [...].
    """
    c = torch.as_tensor(damping, dtype=weights.dtype, device=weights.device)[..., None, None]
    norms = torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
    unit = weights / norms.where(norms > 0, 1)
    gram = unit @ unit.mT
    scale = gram.abs().sum(-1).amax(-1)[..., None, None].clamp_min(1)  # bounds the eigenvalues
    moved = unit + c / 2 * (unit - gram / scale @ unit)
    length = torch.linalg.vector_norm(moved, dim=-1, keepdim=True)
    moved = moved * (norms / length.where(norms > 0, 1))
    return weights.copy_(torch.where(c > 0, moved, weights))


def redundant(activations: Tensor, outgoing: Tensor, distance: Tensor | float) -> Tensor:
    """Which units are dead, or the weaker one of a nearly duplicate pair: bool [..., units].

    A pair is nearly duplicate if the cosine of its activations is above 1 − distance. The weaker
    unit is the one that contributes less to the next layer, by ‖outgoing weights‖ · ‖activations‖.

    activations: [..., units, samples]; outgoing: [..., outputs, units]; distance: a number or
    [...].
    """
    norms = torch.linalg.vector_norm(activations, dim=-1)
    dead = norms == 0
    unit = activations / norms.where(~dead, 1).unsqueeze(-1)
    strength = norms * torch.linalg.vector_norm(outgoing, dim=-2)
    index = torch.arange(strength.shape[-1], device=strength.device)
    mine, others = strength.unsqueeze(-1), strength.unsqueeze(-2)  # [..., i, j]: is j the stronger?
    stronger = (others > mine) | ((others == mine) & (index < index.unsqueeze(-1)))
    distance = torch.as_tensor(distance, device=activations.device)[..., None, None]
    duplicate = ((unit @ unit.mT > 1 - distance) & stronger).any(-1)
    return (dead | duplicate) & (distance[..., 0] > 0)


def fresh_rows(weights: Tensor, draw: Tensor, redrawn: Tensor) -> Tensor:
    """The weights with the chosen rows redrawn orthogonal to the rest, with the typical norm of it.

    Where units > fan-in and nothing orthogonal is left, each is (KᵀK / λ + 0.1 I)⁻¹ times its draw,
    of the kept rows K and the mean eigenvalue λ of KᵀK: it leans towards the directions that the
    rest covers least. weights, draw: [networks, units, fan-in]; redrawn: bool [networks, units].
    """
    n, d = weights.shape[-2:]
    order = redrawn.long().argsort(dim=-1, stable=True)  # the kept ones first
    order = order.unsqueeze(-1).expand_as(weights)
    kept = weights.where(~redrawn.unsqueeze(-1), 0)
    if n <= d:  # Gram–Schmidt: the last columns of Q are orthogonal to all that stand before them
        stack = draw.where(redrawn.unsqueeze(-1), weights).gather(-2, order)
        q, r = torch.linalg.qr(stack.mT)
        # the side that the draw is on
        new = (q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)).mT
    else:
        coverage = kept.mT @ kept
        mean = coverage.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        eye = torch.eye(d, dtype=weights.dtype, device=weights.device)
        drawn = draw.gather(-2, order)
        new = torch.linalg.solve(coverage / mean.where(mean > 0, 1) + 0.1 * eye, drawn.mT).mT
        new = new / torch.linalg.vector_norm(new, dim=-1, keepdim=True)
    new = torch.empty_like(weights).scatter_(-2, order, new)
    of = torch.where(redrawn.all(-1, keepdim=True), True, ~redrawn)  # none kept: the norms of all
    typical = ((weights.square().sum(-1) * of).sum(-1) / of.sum(-1)).sqrt()
    return torch.where(redrawn.unsqueeze(-1), new * typical[:, None, None], weights)


@torch.no_grad()
def reinitialize_(
    incoming: Tensor,
    bias: Tensor | None,
    outgoing: Tensor,
    inputs: Tensor,
    activations: Tensor,
    distance: Tensor | float,
    draw: Tensor,
) -> Tensor:
    """Give redundant units of a layer a fresh start, in place; returns which, bool [networks,
    units].

    Their incoming weights are redrawn orthogonal to the rest of the layer, their biases set so that
    the mean pre-activation is zero (a rectifier is on for about half of the inputs), their outgoing
    weights zeroed, so that what they did is gone and what they will do is learnt (compare ReDo,
    Sokar et al. 2023, which redraws dormant units alone).

    incoming, draw: [networks, units, fan-in]; bias: [networks, units]; outgoing: [networks,
    outputs, units]; inputs: [networks or 1, fan-in], their mean over samples; activations:
    [networks, units, samples]; distance: as in ``redundant``.
    """
    redrawn = redundant(activations, outgoing, distance)
    if some := redrawn.any(-1).nonzero().flatten().tolist():
        rows = fresh_rows(incoming[some], draw[some], redrawn[some])
        incoming[some] = rows
        if bias is not None:
            mean = inputs.expand(len(incoming), -1)[some].unsqueeze(-1)
            bias[some] = torch.where(redrawn[some], -(rows @ mean).squeeze(-1), bias[some])
        outgoing.masked_fill_(redrawn.unsqueeze(-2), 0)
    return redrawn


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
        return weight_redundancy(values) if of_weights else activation_redundancy(values)


TECHNIQUES = {
    "negative_correlation": Technique("outputs", negative_correlation, _correlation_gradient),
    "prediction_diversity": Technique("outputs", prediction_diversity, _prediction_gradient),
    "weight_cosine": Technique("weights", weight_cosine, _along_rows(_cosine_slope)),
    "activation_decorrelation": Technique(
        "activations", activation_decorrelation, _decorrelation_gradient
    ),
    "log_volume": Technique("weights", negative_log_volume, _volume_gradient),
    "orthogonal_step": Technique("weights", change=orthogonal_step_, every=10, most=1.0),
    "reinitialize": Technique("activations", change=reinitialize_, every=100, most=1.0),
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
