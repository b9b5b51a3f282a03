"""Measures of the diversity of neurons, of one layer or of many networks at once.

Weights are [..., units, fan-in], one row per unit; activations [..., units, samples], over held-out
inputs. Leading dimensions are networks, and every result has them. What a measure cannot be
computed for is left out and counted: zero rows of weights, units that are constant over the inputs.
Where fewer than two units remain there is no pair, and the result is NaN beside that count.

Half precision is computed in float32, everything else in its own type. On the CPU and on CUDA.
"""

import math

import torch
from torch import Tensor

from dndiv.checks import typed

# a unit is constant if its standard deviation is below this share of its largest absolute value
CONSTANT = 1e-6


@typed
def weight_similarity(weights: Tensor) -> dict[str, Tensor]:
    """Cosines of the pairs i < j of rows: ``mean`` and ``max`` of their absolute values, and their
    ``signed`` mean.

    weights: [..., units, fan-in]. ``left_out``: the number of zero rows, which have no direction.
    """
    w = _real(weights)
    norms = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
    alive = norms[..., 0] > 0
    unit = w / norms.where(norms > 0, 1)
    return _pairs(unit @ unit.mT, alive) | {"left_out": (~alive).sum(-1)}


@typed
def activation_correlation(activations: Tensor) -> dict[str, Tensor]:
    """Pearson correlations of the pairs i < j of units: ``mean`` and ``max`` of their absolute
    values, ``signed`` mean.

    activations: [..., units, samples]. ``left_out``: the number of constant units (dead ones among
    them).
    """
    correlation, alive = correlation_matrix(activations)
    return _pairs(correlation, alive) | {"left_out": (~alive).sum(-1)}


@typed
def correlation_matrix(activations: Tensor) -> tuple[Tensor, Tensor]:
    """(Pearson correlations [..., units, units], which units vary [..., units]); zero in rows of
    constant units."""
    h = _real(activations)
    centred, deviation, alive = _centred(h)
    unit = torch.where(alive[..., None], centred / deviation.where(deviation > 0, 1), 0)
    return unit @ unit.mT, alive


@typed
def effective_rank(activations: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values of the centred activations (Roy &
    Vetterli 2007).

    activations: [..., units, samples]. From 1, all units proportional, to min(units, samples − 1);
    0 where no unit varies.
    """
    s = _spectrum(activations).sqrt()
    share = s / s.sum(-1, keepdim=True).where(s.sum(-1, keepdim=True) > 0, 1)
    return torch.where(s.sum(-1) > 0, torch.special.entr(share).sum(-1).exp(), 0)


@typed
def participation_ratio(activations: Tensor) -> Tensor:
    """(Σλ)² / Σλ² of the eigenvalues λ of the covariance of the activations; 0 where no unit
    varies.

    activations: [..., units, samples].
    """
    h = _real(activations)
    covariance = _centred(h)[0]
    covariance = covariance @ covariance.mT
    # Σλ is the trace, Σλ² the squared Frobenius norm
    total = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    squares = covariance.square().sum((-1, -2))
    return torch.where(squares > 0, total.square() / squares.where(squares > 0, 1), 0)


@typed
def dead_fraction(activations: Tensor) -> Tensor:
    """The share of units that are 0 on all inputs. activations: [..., units, samples]."""
    return (activations == 0).all(-1).to(_real(activations).dtype).mean(-1)


@typed
def duplicate_fraction(activations: Tensor, above: float = 0.95) -> Tensor:
    """The share of units whose |correlation| with another unit of the layer exceeds ``above``;
    constant ones do not."""
    correlation, _ = correlation_matrix(activations)
    return (_nearest(correlation) > above).to(correlation.dtype).mean(-1)


@typed
def nearest_similarity(activations: Tensor) -> Tensor:
    """Per unit, the largest |correlation| with another unit of its layer, [..., units]; NaN for
    constant units."""
    correlation, alive = correlation_matrix(activations)
    if correlation.shape[-1] < 2:
        return torch.full_like(correlation[..., 0], math.nan)
    pairs = alive & (alive.sum(-1, keepdim=True) > 1)
    return torch.where(pairs, _nearest(correlation), math.nan)


def _nearest(correlation: Tensor) -> Tensor:
    """Per unit, its largest |correlation| with another one."""
    own = torch.eye(correlation.shape[-1], device=correlation.device)
    return (correlation.abs() - 2 * own).amax(-1)


@typed
def log_volume(weights: Tensor) -> Tensor:
    """log det of the Gram matrix of the unit rows: 0 if they are orthogonal, −inf if dependent or
    zero, NaN where a norm is not finite.

    weights: [..., units, fan-in], units ≤ fan-in; ValueError otherwise.
    """
    w = _real(weights)
    if weights.shape[-2] > weights.shape[-1]:
        raise ValueError(
            f"{weights.shape[-2]} rows of fan-in {weights.shape[-1]} are dependent: "
            "their volume is zero"
        )
    norms = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
    finite = norms.isfinite().all(-2, keepdim=True)  # one network that has diverged stops no other
    s = torch.linalg.svdvals(torch.where(finite, w / norms.where(norms > 0, 1), 0))
    # a singular value that is zero but for rounding
    floor = s.shape[-1] * torch.finfo(s.dtype).eps
    volume = 2 * s.clamp_min(torch.finfo(s.dtype).tiny).log().sum(-1)
    volume = torch.where((s > floor).all(-1), volume, -math.inf)
    return torch.where(finite[..., 0, 0], volume, math.nan)


@typed
def ensemble_members(activations: Tensor, outgoing: Tensor, bias: Tensor) -> Tensor:
    """The neurons as ensemble members, f_i = H · v_i · h_i + b, whose mean is the layer's output.

    activations: [..., units, samples]; outgoing: [..., classes, units], the next layer's weight;
    bias: [..., classes].
    Returns [..., units, classes, samples].
    """
    units = activations.shape[-2]
    members = units * outgoing.mT[..., :, :, None] * activations[..., :, None, :]
    return members + bias[..., None, :, None]


@typed
def ambiguity(members: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The ambiguity decomposition (Krogh & Vedelsby 1995): ``ensemble`` = ``member`` −
    ``ambiguity``.

    (f̄ − y)² = mean_i (f_i − y)² − mean_i (f_i − f̄)², each summed over outputs and averaged over
    samples. Exact for squared error. members: [..., units, classes, samples]; target: [classes,
    samples].
    """
    mean = members.mean(-3, keepdim=True)

    def error(x):
        return x.square().sum(-2).mean(-1)

    return {
        "ensemble": error(mean.squeeze(-3) - target),
        "member": error(members - target).mean(-1),
        "ambiguity": error(members - mean).mean(-1),
    }


@typed
def bias_variance_covariance(members: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The decomposition of Ueda & Nakano (1996) over runs: ``error`` = ``bias``² + ``variance``/H +
    (1 − 1/H) ``covariance``.

    members: [runs, units, classes, samples], runs at least 2, the expectation being over runs;
    target: [classes, samples]. ``bias`` is the squared mean bias. Each is summed over outputs and
    averaged over samples; with one unit the covariance is 0.
    """
    if len(members) < 2:
        raise ValueError(f"an expectation over runs needs at least two, not {len(members)}")
    H = members.shape[1]
    expected = members.mean(0)  # [units, classes, samples]
    deviation = members - expected
    own = deviation.square().sum(1).mean(0)  # Σ_i E[(f_i − E f_i)²]
    together = deviation.sum(1).square().mean(0)  # E[(Σ_i (f_i − E f_i))²], all pairs

    def total(x):
        return x.sum(-2).mean(-1)

    return {
        "error": total((members.mean(1) - target).square().mean(0)),
        "bias": total((expected.mean(0) - target).square()),
        "variance": total(own / H),
        "covariance": total((together - own) / max(H * (H - 1), 1)),
    }


def _real(x: Tensor) -> Tensor:
    if not x.is_floating_point() or x.dim() < 2 or 0 in x.shape[-2:]:
        raise ValueError(
            f"expected floating-point values [..., units, fan-in or samples], not {x.dtype} of "
            f"shape {tuple(x.shape)}"
        )
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _centred(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(centred activations, their norms [..., units, 1], which units vary); constant units are
    exactly zero."""
    centred = h - h.mean(-1, keepdim=True)
    deviation = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    alive = deviation[..., 0] > CONSTANT * math.sqrt(h.shape[-1]) * h.abs().amax(-1)
    return torch.where(alive[..., None], centred, 0), deviation, alive


def _spectrum(activations: Tensor) -> Tensor:
    """Eigenvalues of the scatter matrix of the centred activations, in float64, none negative."""
    centred = _centred(_real(activations))[0].double()
    if centred.shape[-2] > centred.shape[-1]:
        return torch.linalg.svdvals(centred).square()
    # much cheaper than singular values
    return torch.linalg.eigvalsh(centred @ centred.mT).clamp_min(0)


def _pairs(matrix: Tensor, alive: Tensor) -> dict[str, Tensor]:
    """Over the pairs i < j of units that count: mean and max of absolute values, and the signed
    mean."""
    n = matrix.shape[-1]
    counts = (alive[..., :, None] & alive[..., None, :]).triu(1)
    pairs = counts.sum((-1, -2))
    absolute = matrix.abs()
    none = pairs == 0
    divisor = pairs.where(~none, 1)

    def or_nan(x):
        return torch.where(none, math.nan, x)

    if n:
        top = torch.where(counts, absolute, -1).flatten(-2).amax(-1)
    else:
        top = matrix.new_full(matrix.shape[:-2], math.nan)
    return {
        "mean": or_nan(torch.where(counts, absolute, 0).sum((-1, -2)) / divisor),
        "max": or_nan(top),
        "signed": or_nan(torch.where(counts, matrix, 0).sum((-1, -2)) / divisor),
    }
