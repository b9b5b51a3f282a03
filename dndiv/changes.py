"""Changes of the weights that reinforce the diversity of hidden neurons, after an optimizer's step.

As in ``penalties.py``, tensors are stacked: leading dimensions are networks, rows are units.
``techniques.py`` makes records of these.
"""

import torch
from torch import Tensor


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


@torch.no_grad()
def redo_(
    incoming: Tensor,
    bias: Tensor | None,
    outgoing: Tensor,
    inputs: Tensor,
    activations: Tensor,
    threshold: Tensor | float,
    draw: Tensor,
) -> Tensor:
    """ReDo (Sokar et al. 2023): give dormant units a fresh start, in place; returns which, bool
    [networks, units].

    A unit is dormant whose mean \\|activation\\| is at most ``threshold`` times its layer's mean of
    that. Its incoming weights are drawn anew, with the variance of PyTorch's default, its bias is
    zero, and so are its outgoing weights. Arguments: as of ``reinitialize_``.
    """
    mean = activations.abs().mean(-1)
    threshold = torch.as_tensor(threshold, device=activations.device)[..., None]
    dormant = (mean <= threshold * mean.mean(-1, keepdim=True)) & (threshold > 0)
    fresh = draw * (3 * incoming.shape[-1]) ** -0.5
    incoming.copy_(fresh.where(dormant.unsqueeze(-1), incoming))
    if bias is not None:
        bias.masked_fill_(dormant, 0)
    outgoing.masked_fill_(dormant.unsqueeze(-2), 0)
    return dormant
