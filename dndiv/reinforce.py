r"""Techniques that reinforce the diversity of hidden neurons during training, in any PyTorch loop.

Example::

    diverse = dndiv.Reinforcement(model, optimizer, "activation_decorrelation", 0.1)  # before the loop
    ...
    loss = F.cross_entropy(model(x), y) + diverse.penalty()                           # in the loop
    ...
    diverse.remove()                                                                  # the model is as it was

Four techniques add a penalty to the loss (``PENALTIES``), two change the weights after the optimizer has (``STEPS``).
The formulas are functions of stacked tensors, weights [..., units, fan-in] and activations [..., units, samples], whose
leading dimensions are networks: what acts on your model is what acts on the populations of the experiments.

The coefficient *c* is the factor of a penalty, the damping of ``orthogonal_step`` in (0, 1], and of ``reinitialize``
the distance from 1 at which a cosine counts as a duplicate; a technique whose *c* is 0 does nothing at all. Its
schedule: ``constant``; ``annealed``, linearly to 0 over the first steps; ``dynamic``, times the redundancy of the layer at
the moment, from 0 to 1: the mean \|cosine\| of its weight rows for techniques that look at weights, and the mean
\|correlation\| of its activations for those that look at activations.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCHEDULES = ("constant", "annealed", "dynamic")
STREAM = 2 ** 40  # added to the seed of redrawn weights, so that they are not those that the same seed has begun with
RIDGE = 1e-4  # added to Gram matrices before their determinant is taken, which bounds its gradient


# ---------------------------------------------------------------------------------------------------- penalties
def negative_correlation(activations: Tensor, outgoing: Tensor) -> Tensor:
    r"""Negative correlation learning (Liu & Yao 1999; Brown 2004), the neurons being the members of an ensemble.

    With :math:`f_i = H v_i h_i + b`, the mean over units, summed over outputs and averaged over samples, of
    :math:`p_i = (f_i - \bar f) \sum_{j \ne i} (f_j - \bar f) = -(f_i - \bar f)^2`, which is
    :math:`\|\sum_j v_j h_j\|^2 - H \sum_i \|v_i\|^2 h_i^2`: minus the ambiguity, so never positive. It has no lower
    bound, and with a loss that grows more slowly than squared error only a small or annealed coefficient is safe.

    activations: [..., units, samples]; outgoing: [..., outputs, units], the weights of the next layer. Returns [...].
    """
    sums = outgoing @ activations                                                    # [..., outputs, samples]
    squares = outgoing.square().sum(-2).unsqueeze(-2) @ activations.square()         # [..., 1, samples]
    return sums.square().sum(-2).mean(-1) - activations.shape[-2] * squares.mean((-2, -1))


def weight_cosine(weights: Tensor) -> Tensor:
    """The mean squared cosine of the pairs of rows; zero rows are orthogonal to all. [..., units, fan-in] → [...]."""
    n = weights.shape[-2]
    return _off_diagonal(_cosines(weights).square()) / max(n * (n - 1), 1)


def activation_decorrelation(activations: Tensor) -> Tensor:
    r"""DeCov (Cogswell et al. 2016): :math:`\frac12 (\|C\|_F^2 - \|\mathrm{diag}\, C\|^2)` of the batch covariance C.

    activations: [..., units, samples]. Returns [...].
    """
    return _off_diagonal(_covariance(activations).square()) / 2


def log_volume(weights: Tensor) -> Tensor:
    r"""−log det of the Gram matrix of the unit rows: 0 where they are orthogonal, and larger the more they depend.

    :math:`-\log\det\,(G + \epsilon I)/(1 + \epsilon)` with the small ridge ``RIDGE``, so that duplicate and zero
    rows have a finite value and gradient. Where units > fan-in *d*, whose rows must depend, G is the d×d matrix
    :math:`\frac{d}{n} U^T U` of the unit rows U, and a tight frame has the value 0. [..., units, fan-in] → [...].
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
    norms = _norms(products)
    return products / (norms.unsqueeze(-1) * norms.unsqueeze(-2))


def _norms(products: Tensor) -> Tensor:
    """Of the rows whose products these are, [..., units]; 1 where a row is zero."""
    squares = products.diagonal(dim1=-2, dim2=-1)
    return squares.where(squares > 0, 1).sqrt()


def _covariance(activations: Tensor) -> Tensor:
    centred = activations - activations.mean(-1, keepdim=True)
    return centred @ centred.mT / activations.shape[-1]


def _off_diagonal(matrix: Tensor) -> Tensor:
    """The sum of the entries off the diagonal, [...]."""
    return matrix.sum((-2, -1)) - matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


@torch.no_grad()
def redundancy(values: Tensor, of_weights: bool) -> Tensor:
    """How redundant the units of a layer are, [...] from 0 to 1: the mean |cosine| of the pairs of weight rows, or the
    mean |correlation| of activations, where a constant unit counts as wholly redundant."""
    return _redundancy(_cosines(values) if of_weights else _covariance(values), of_weights)


def _redundancy(matrix, of_weights):
    n = matrix.shape[-1]
    if not of_weights:
        variance = matrix.diagonal(dim1=-2, dim2=-1)
        varies = variance > 1e-12 * variance.amax(-1, keepdim=True)
        scale = variance.where(varies, 1).sqrt()
        matrix = torch.where(varies.unsqueeze(-1) & varies.unsqueeze(-2), matrix / (scale.unsqueeze(-1) * scale.unsqueeze(-2)), 1)
    return _off_diagonal(matrix.abs()).clamp_min(0) / max(n * (n - 1), 1)


@torch.no_grad()
def gradients(name: str, weights: Sequence[Tensor], hidden: Sequence[Tensor],
              coefficient: Callable[[Callable[[], Tensor]], Tensor]) -> tuple[list, list]:
    r"""The gradients of the sum over hidden layers of coefficient × penalty, (by weights, by hidden), None where there is none.

    What autograd gives, from closed forms, in half its time: all are products of small matrices, units × units, with
    the weights or activations. weights: of all layers, [..., units, fan-in]; hidden: [..., units, samples].
    ``coefficient`` gives [..., layers or 1] from a function that computes the redundancies of some layers, [..., layers].
    """
    by_weights, by_hidden = [None] * len(weights), [None] * len(hidden)
    if name == "negative_correlation":  # tr(VᵀV K(hhᵀ)) / samples, where K(M) = M − units · diag M; only of the last hidden layer
        h, v = hidden[-1], weights[-1]
        c = coefficient(lambda: redundancy(h, False).unsqueeze(-1)).unsqueeze(-1) * (2 / h.shape[-1])
        inner, outer = h @ h.mT, v.mT @ v
        for products in (inner, outer):
            products.diagonal(dim1=-2, dim2=-1).mul_(1 - h.shape[-2])
        by_weights[-1], by_hidden[-1] = v @ (c * inner), c * outer @ h
        return by_weights, by_hidden
    of_weights = name in OF_WEIGHTS
    layers, found = (weights[:-1], by_weights) if of_weights else (hidden, by_hidden)
    for same, rows in by_shape(layers):
        n, d = rows.shape[-2:]
        if of_weights:
            if name == "log_volume" and n > d:  # dependent rows, kept apart by the ridge alone
                rows = rows.double()
            products = rows @ rows.mT
            norms = _norms(products)
            scale = norms.unsqueeze(-1) * norms.unsqueeze(-2)
            matrix = products / scale
            slope = _slope(name, matrix, d)
            # the part of a row's gradient that would change its norm is taken away
            slope.diagonal(dim1=-2, dim2=-1).sub_((slope * matrix).sum(-1))
            slope /= scale
        else:
            rows = rows - rows.mean(-1, keepdim=True)
            matrix = rows @ rows.mT / d
            slope = _slope(name, matrix, d)
        c = 2 * coefficient(lambda: _redundancy(matrix, of_weights))[..., None, None]
        for k, gradient in zip(same, ((c * slope) @ rows).to(layers[same[0]].dtype).unbind(-3)):
            found[k] = gradient
    return by_weights, by_hidden


def by_shape(layers: Sequence[Tensor]) -> Iterator[tuple[list[int], Tensor]]:
    """The layers of one shape in one go: which ones, and their values as one, [..., layers, units, ·]."""
    for shape in dict.fromkeys(values.shape[-2:] for values in layers):
        same = [k for k, values in enumerate(layers) if values.shape[-2:] == shape]
        yield same, torch.stack([layers[k] for k in same], -3)


def _slope(name, matrix, d):
    """The gradient of a penalty by the matrix that it is a function of: cosines, or the covariance of d samples (over d)."""
    n = matrix.shape[-1]
    if name == "log_volume":  # by Sylvester's theorem the determinant of U Uᵀ is, but for a factor, the one of Uᵀ U
        share = min(1.0, d / n)
        eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
        return torch.linalg.inv_ex(share * matrix + RIDGE * eye).inverse.mul_(-share)
    slope = matrix * (2 / max(n * (n - 1), 1) if name == "weight_cosine" else 1 / d)
    slope.diagonal(dim1=-2, dim2=-1).zero_()
    return slope


# -------------------------------------------------------------------------------------------- changes of the weights
@torch.no_grad()
def orthogonal_step_(weights: Tensor, damping: Tensor | float) -> Tensor:
    r"""One damped Newton–Schulz step of the rows towards decorrelation, in place; rows keep their norms.

    :math:`U \leftarrow U + \frac{c}{2}(I - UU^T)U` of the unit rows (Higham 2008, section 8.3), which moves them towards
    the polar factor that ``decorrelated_`` starts from. Singular values above 1 are scaled to 1 first, for the step diverges
    beyond √3. weights: [..., units, fan-in]; damping: c from 0 to 1, a number or [...].
    """
    c = torch.as_tensor(damping, dtype=weights.dtype, device=weights.device)[..., None, None]
    norms = torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
    unit = weights / norms.where(norms > 0, 1)
    gram = unit @ unit.mT
    scale = gram.abs().sum(-1).amax(-1)[..., None, None].clamp_min(1)  # bounds the largest eigenvalue
    moved = unit + c / 2 * (unit - gram / scale @ unit)
    moved = moved * (norms / torch.linalg.vector_norm(moved, dim=-1, keepdim=True).where(norms > 0, 1))
    return weights.copy_(torch.where(c > 0, moved, weights))


def redundant(activations: Tensor, outgoing: Tensor, distance: Tensor | float) -> Tensor:
    """Which units are dead, or the weaker one of a nearly duplicate pair: bool [..., units].

    A pair is nearly duplicate if the cosine of its activations is above 1 − distance. The weaker unit is the one that
    contributes less to the next layer, by ‖outgoing weights‖ · ‖activations‖. activations: [..., units, samples];
    outgoing: [..., outputs, units]; distance: a number or [...].
    """
    norms = torch.linalg.vector_norm(activations, dim=-1)
    dead = norms == 0
    unit = activations / norms.where(~dead, 1).unsqueeze(-1)
    strength = norms * torch.linalg.vector_norm(outgoing, dim=-2)
    index = torch.arange(strength.shape[-1], device=strength.device)
    stronger = (strength.unsqueeze(-2) > strength.unsqueeze(-1)) | (
        (strength.unsqueeze(-2) == strength.unsqueeze(-1)) & (index < index.unsqueeze(-1)))  # [..., i, j]: j than i
    distance = torch.as_tensor(distance, device=activations.device)[..., None, None]
    return (dead | ((unit @ unit.mT > 1 - distance) & stronger).any(-1)) & (distance[..., 0] > 0)


def fresh_rows(weights: Tensor, draw: Tensor, redrawn: Tensor) -> Tensor:
    """The weights with the chosen rows redrawn orthogonal to the rest of the layer, with the others' typical norm.

    Where units > fan-in and nothing orthogonal is left, each is (KᵀK / λ + 0.1 I)⁻¹ times its draw, of the kept rows K and
    the mean eigenvalue λ of KᵀK: it leans towards the directions that the rest covers least.
    weights, draw: [networks, units, fan-in]; redrawn: bool [networks, units].
    """
    n, d = weights.shape[-2:]
    order = redrawn.long().argsort(dim=-1, stable=True)  # the kept ones first
    kept = weights.where(~redrawn.unsqueeze(-1), 0)
    if n <= d:  # Gram–Schmidt: the last columns of Q are orthogonal to all that stand before them
        stack = draw.where(redrawn.unsqueeze(-1), weights).gather(-2, order.unsqueeze(-1).expand_as(weights))
        q, r = torch.linalg.qr(stack.mT)
        new = (q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)).mT  # the side that the draw is on
    else:
        coverage = kept.mT @ kept
        mean = coverage.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        eye = torch.eye(d, dtype=weights.dtype, device=weights.device)
        drawn = draw.gather(-2, order.unsqueeze(-1).expand_as(draw))
        new = torch.linalg.solve(coverage / mean.where(mean > 0, 1) + 0.1 * eye, drawn.mT).mT
        new = new / torch.linalg.vector_norm(new, dim=-1, keepdim=True)
    new = torch.empty_like(weights).scatter_(-2, order.unsqueeze(-1).expand_as(weights), new)
    of = torch.where(redrawn.all(-1, keepdim=True), True, ~redrawn)  # none kept: the norms of all
    typical = ((weights.square().sum(-1) * of).sum(-1) / of.sum(-1)).sqrt()
    return torch.where(redrawn.unsqueeze(-1), new * typical[:, None, None], weights)


@torch.no_grad()
def reinitialize_(incoming: Tensor, bias: Tensor | None, outgoing: Tensor, inputs: Tensor, activations: Tensor,
                  distance: Tensor | float, draw: Tensor) -> Tensor:
    """Give redundant units of a layer a fresh start, in place; returns which ones, bool [networks, units].

    Their incoming weights are redrawn orthogonal to the rest of the layer, their biases set so that the mean
    pre-activation is zero (a rectifier is on for about half of the inputs), their outgoing weights zeroed, so that what they
    did is gone and what they will do is learnt (compare ReDo, Sokar et al. 2023, which redraws dormant units alone).

    incoming, draw: [networks, units, fan-in]; bias: [networks, units]; outgoing: [networks, outputs, units]; inputs:
    [networks or 1, fan-in], their mean over samples; activations: [networks, units, samples]; distance: as in ``redundant``.
    """
    redrawn = redundant(activations, outgoing, distance)
    if some := redrawn.any(-1).nonzero().flatten().tolist():
        rows = fresh_rows(incoming[some], draw[some], redrawn[some])
        incoming[some] = rows
        if bias is not None:
            centring = -(rows @ inputs.expand(len(incoming), -1)[some].unsqueeze(-1)).squeeze(-1)
            bias[some] = torch.where(redrawn[some], centring, bias[some])
        outgoing.masked_fill_(redrawn.unsqueeze(-2), 0)
    return redrawn


PENALTIES: dict[str, Callable] = {f.__name__: f for f in (negative_correlation, weight_cosine, activation_decorrelation, log_volume)}
STEPS = {"orthogonal_step": 10, "reinitialize": 100}  # the number of steps between two actions
TECHNIQUES = (*PENALTIES, *STEPS)
OF_WEIGHTS = ("weight_cosine", "log_volume", "orthogonal_step")  # the others look at activations


# ------------------------------------------------------------------------------------------- strength in time
@dataclass(frozen=True)
class Technique:
    """A technique with its coefficient and schedule, see the head of the module."""

    name: str
    coefficient: float
    schedule: str = "constant"
    over: int = 0   # steps that ``annealed`` takes to reach 0
    every: int = 0  # steps between two actions; 0: every step, or what STEPS says

    def __post_init__(self):
        for what, value, valid in (("technique", self.name, TECHNIQUES), ("schedule", self.schedule, SCHEDULES)):
            if value not in valid:
                raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(valid)}")
        most = 1.0 if self.name in STEPS else math.inf
        if not 0 <= self.coefficient <= most or self.coefficient == math.inf:
            raise ValueError(f"the coefficient of {self.name} is a finite number from 0{' to 1' if most == 1 else ''}, "
                             f"not {self.coefficient}")
        if self.every < 0:
            raise ValueError(f"every is a number of steps from 1, not {self.every}")
        if self.schedule == "annealed" and self.over < 1:
            raise ValueError(f"an annealed coefficient needs the number of steps until it is 0: over=, not {self.over}")

    def due(self, step: int) -> bool:
        """Whether it acts at a step: penalties on steps counted from 0, changes of the weights after steps from 1."""
        return step % (self.every or STEPS.get(self.name, 1)) == 0 and self.at(step) > 0

    def at(self, step: int) -> float:
        """The coefficient at a step, before the redundancy of a layer is looked at.

        A penalty that does not act at every step is as much stronger where it does (lazy regularization, Karras et al. 2020).
        """
        strength = self.coefficient * (self.every if self.every and self.name in PENALTIES else 1)
        return strength * (max(0.0, 1 - step / self.over) if self.schedule == "annealed" else 1.0)
