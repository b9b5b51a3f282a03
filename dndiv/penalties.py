r"""Penalties on the diversity of hidden neurons: formulas, and their gradients in closed form.

Functions of stacked tensors, weights [..., units, fan-in] and activations [..., units, samples],
whose leading dimensions are networks; rows of weights are units. ``techniques.py`` makes records of
them. The second half of the penalties are peers of the literature.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE = 1e-4  # added to Gram matrices before their determinant is taken, which bounds its gradient
STEEPNESS = 10.0  # of OrthoReg, its authors' λ
CLOSEST = 0.99999  # cosine beyond which MMA sees no angle, as its authors have it

# The coefficients of some layers, [..., layers or 1], from a function that computes their
# redundancies, [..., layers], which only a dynamic schedule calls.
Strength = Callable[[Callable[[], Tensor]], Tensor]


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


def orthoreg(weights: Tensor) -> Tensor:
    r"""OrthoReg (Rodríguez et al. 2017): :math:`\sum_{i \ne j} \log(1 + e^{10 (c_{ij} - 1)})` of
    the cosines c of the rows, which only positive ones feel.

    weights: [..., units, fan-in]. Returns [...].
    """
    return _off_diagonal(F.softplus(STEEPNESS * (_cosines(weights) - 1)))


def soft_orthogonality(weights: Tensor) -> Tensor:
    r"""SO (Bansal et al. 2018), :math:`\|W W^T - I\|_F^2`; where units > fan-in, of WᵀW.

    It moves the norms of rows towards 1 as well. weights: [..., units, fan-in]. Returns [...].
    """
    return _deviation(weights).square().sum((-2, -1))


def srip(weights: Tensor) -> Tensor:
    r"""SRIP (Bansal et al. 2018), the spectral norm of :math:`W W^T - I`, exactly, where they take
    two steps of the power iteration; where units > fan-in, of WᵀW.

    weights: [..., units, fan-in]. Returns [...].
    """
    return torch.linalg.eigvalsh(_or_nothing(_deviation(weights))).abs().amax(-1)


def mma(weights: Tensor) -> Tensor:
    r"""MMA (Wang et al. 2020): minus the mean over rows of the angle to the nearest other one.

    Cosines beyond ±0.99999 count as that, where the angle has no slope. weights: [..., units,
    fan-in]. Returns [...], in radians.
    """
    if weights.shape[-2] < 2:
        return 0 * weights.sum((-2, -1))
    eye = torch.eye(weights.shape[-2], dtype=torch.bool, device=weights.device)
    nearest = _cosines(weights).masked_fill(eye, -2).amax(-1)
    return -nearest.clamp(-CLOSEST, CLOSEST).acos().mean(-1)


def _or_nothing(symmetric: Tensor) -> Tensor:
    """Zeros in place of what is not finite, which a decomposition would refuse for all networks:
    one that has diverged is lost, and disturbs no other."""
    return symmetric.where(symmetric.isfinite().all(-1, keepdim=True).all(-2, keepdim=True), 0)


def _deviation(weights: Tensor) -> Tensor:
    """The smaller Gram matrix less the identity."""
    n, d = weights.shape[-2:]
    gram = weights @ weights.mT if n <= d else weights.mT @ weights
    return gram - torch.eye(min(n, d), dtype=gram.dtype, device=gram.device)


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
def along_rows(slope: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, Strength], Tensor]:
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


def cosine_slope(cosines: Tensor, fan_in: int) -> Tensor:
    """Of ``weight_cosine`` by the cosines."""
    n = cosines.shape[-1]
    slope = cosines * (2 / max(n * (n - 1), 1))
    slope.diagonal(dim1=-2, dim2=-1).zero_()
    return slope


def _volume_slope(cosines: Tensor, fan_in: int) -> Tensor:
    # by Sylvester's theorem the determinant of U Uᵀ is, but for a factor, the one of Uᵀ U
    share = min(1.0, fan_in / cosines.shape[-1])
    eye = torch.eye(cosines.shape[-1], dtype=cosines.dtype, device=cosines.device)
    return torch.linalg.inv_ex(share * cosines + RIDGE * eye).inverse.mul_(-share)


def volume_gradient(weights: Tensor, strength: Strength) -> Tensor:
    """Of ``negative_log_volume`` by the weights."""
    if weights.shape[-2] > weights.shape[-1]:  # dependent rows, kept apart by the ridge alone
        weights = weights.double()
    return along_rows(_volume_slope)(weights, strength)


def orthoreg_slope(cosines: Tensor, fan_in: int) -> Tensor:
    """Of ``orthoreg`` by the cosines."""
    slope = STEEPNESS * torch.sigmoid(STEEPNESS * (cosines - 1))
    slope.diagonal(dim1=-2, dim2=-1).zero_()
    return slope


def mma_slope(cosines: Tensor, fan_in: int) -> Tensor:
    """Of −mean arccos by the largest cosine of each row, half of it to either side of a pair."""
    n = cosines.shape[-1]
    others = cosines.clone()
    others.diagonal(dim1=-2, dim2=-1).fill_(-2)
    nearest = others.amax(-1, keepdim=True)
    equal = others == nearest
    steep = torch.where(nearest.abs() < CLOSEST, (1 - nearest.square()).rsqrt() / n, 0)
    slope = equal * (steep / equal.sum(-1, keepdim=True))
    return (slope + slope.mT) / 2


def orthogonality_gradient(weights: Tensor, strength: Strength) -> Tensor:
    """Of ``soft_orthogonality`` by the weights."""
    return _by_gram(weights, strength, lambda deviation: 2 * deviation)


def srip_gradient(weights: Tensor, strength: Strength) -> Tensor:
    """Of ``srip`` by the weights: of the eigenvector that stretches or shrinks most."""

    def slope(deviation):
        values, vectors = torch.linalg.eigh(_or_nothing(deviation))
        most = values.abs().argmax(-1, keepdim=True)
        v = vectors.gather(-1, most.unsqueeze(-2).expand_as(vectors[..., :1]))
        return values.gather(-1, most).sign().unsqueeze(-1) * (v @ v.mT)

    return _by_gram(weights, strength, slope)


def _by_gram(weights: Tensor, strength: Strength, slope: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient by weights of a function of ``_deviation``, from its symmetric slope by it."""
    by_gram = slope(_deviation(weights))
    wide = weights.shape[-2] <= weights.shape[-1]
    c = 2 * strength(lambda: weight_redundancy(weights))[..., None, None]
    return c * (by_gram @ weights if wide else weights @ by_gram)


def decorrelation_gradient(activations: Tensor, strength: Strength) -> Tensor:
    """Of ``activation_decorrelation`` by the activations."""
    centred = activations - activations.mean(-1, keepdim=True)
    covariance = centred @ centred.mT / activations.shape[-1]
    slope = covariance * (1 / activations.shape[-1])
    slope.diagonal(dim1=-2, dim2=-1).zero_()
    c = 2 * strength(lambda: _mean_correlation(covariance))[..., None, None]
    return (c * slope) @ centred


# By activations and by outgoing weights, of the last hidden layer h, the weights v and the bias b.
def correlation_gradient(
    h: Tensor, v: Tensor, b: Tensor, strength: Strength
) -> tuple[Tensor, Tensor]:
    """Of tr(VᵀV K(hhᵀ)) / samples, where K(M) = M − units · diag M."""
    c = strength(lambda: activation_redundancy(h).unsqueeze(-1)).unsqueeze(-1) * (2 / h.shape[-1])
    inner, outer = h @ h.mT, v.mT @ v
    for products in (inner, outer):
        products.diagonal(dim1=-2, dim2=-1).mul_(1 - h.shape[-2])
    return c * outer @ h, v @ (c * inner)


def prediction_gradient(
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
