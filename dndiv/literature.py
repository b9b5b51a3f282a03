r"""Initializations of the literature that ``torch.nn.init`` lacks, as peers of those in ``init``.

Of one **weight** of two or more dimensions [units, fan-in or channels, *kernel], in place, kernels
flattened: ``rai_``, ``looks_linear_``, ``rewired_`` (random) and ``deep_narrow_`` (nothing is
drawn). Of a **module**: ``sinusoidal_`` and ``anyinit_``, which run their authors' own package.

Left out, because their formulas could not be established for certain: the anti-correlated weights
of Singh & Sreejith (2021, arXiv 2103.12499), with and without RAI, for the strength of the
correlation and the variances that they use with it; and the start on the Stiefel manifold of Lee,
Kim & Choi (2025, arXiv 2509.00362), for the closed form that they sample from.
"""

import math
from importlib import import_module

import torch
from torch import Tensor, nn

from dndiv import init


# ---------------------------------------------------------------------------------- of one weight
@torch.no_grad()
def rai_(
    tensor: Tensor, bias: Tensor | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Randomized asymmetric initialization, against units that are born dead (Lu, Shin, Su &
    Karniadakis 2020, arXiv 1903.06733).

    Every row of [W, b], the unit's weights and its bias, is drawn from
    :math:`N(0, 0.6007^2 / \text{fan-in})`; then one entry of the row, any with equal probability,
    is replaced by a draw of Beta(2, 1), which is positive. The constant keeps the second moment of
    the activations from growing with depth. The fan-in does not count the bias.

    Args:
        tensor: the weight, [units, fan-in or channels, *kernel].
        bias: [units]; without one, rows are those of W alone.
        generator: of the draw; PyTorch's own by default.

    Returns the weight. Raises ValueError for fewer than two dimensions and a bias of another
    length.
    """
    init._check_shape(tensor)
    units, fan_in = tensor.flatten(1).shape
    if bias is not None and bias.shape != (units,):
        raise ValueError(f"the bias of {units} units has not the shape {tuple(bias.shape)}")
    columns = fan_in + (bias is not None)
    rows = torch.randn(units, columns, dtype=torch.float64, generator=generator)
    rows *= 0.6007 * fan_in**-0.5
    replaced = torch.randint(columns, (units, 1), generator=generator)
    # the distribution function of Beta(2, 1) is x²
    beta = torch.rand(units, 1, dtype=torch.float64, generator=generator).sqrt()
    rows.scatter_(1, replaced, beta)
    if bias is not None:
        bias.copy_(rows[:, -1])
    return init._write_(tensor, rows[:, :fan_in])


@torch.no_grad()
def looks_linear_(
    tensor: Tensor,
    *,
    first: bool = False,
    last: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Mirrored blocks, with which a rectifier network starts as a linear one (Balduzzi, Frean,
    Leary, Lewis, Ma & McWilliams 2017, arXiv 1702.08591).

    The weight is :math:`\begin{pmatrix}W & -W\\ -W & W\end{pmatrix}` with a random (semi-)
    orthogonal *W* of half the units and half the fan-in. Units come in pairs of opposite sign, of
    which one passes the signal on where the other is silent:
    :math:`\mathrm{relu}(z) - \mathrm{relu}(-z) = z`. With zero biases the network is the product of
    its *W*. Of *n* units only *n*/2 directions differ, so it is as redundant as such a start can
    be, and no twin of it with decorrelated rows exists.

    Args:
        tensor: the weight, [units, fan-in or channels, *kernel].
        first: the inputs are not mirrored, as they are not activations: :math:`(W; -W)`.
        last: the units are not mirrored, as no rectifier follows: :math:`(W, -W)`.
        generator: of the draw; PyTorch's own by default.

    Returns the weight. Raises ValueError for fewer than two dimensions, and for an odd number of
    units or inputs that would be mirrored: a unit without its partner would break the identity.
    """
    init._check_shape(tensor)
    shape = list(tensor.shape)
    for dim, what, whole in ((0, "units", last), (1, "inputs", first)):
        if not whole and shape[dim] % 2:
            raise ValueError(
                f"looks_linear_ mirrors {what} in pairs, and {shape[dim]} is odd; make the width "
                f"even, or pass {'last' if dim == 0 else 'first'}=True where they are not mirrored"
            )
        shape[dim] //= 1 if whole else 2
    weight = nn.init.orthogonal_(torch.empty(shape, dtype=torch.float64), generator=generator)
    if not first:
        weight = torch.cat((weight, -weight), 1)
    if not last:
        weight = torch.cat((weight, -weight))
    return tensor.copy_(weight)


@torch.no_grad()
def rewired_(tensor: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Move the weights of a draw between connections until the units' strengths are alike
    (preferential attachment rewiring; Scabini, De Baets & Bruno 2022, arXiv 2207.08148).

    The strength of an input is the sum of its weights. Row by row, from the second one on, the
    strengths *s* of the inputs over all rows before it give probabilities proportional to
    :math:`s + |\min s| + 1`; the inputs are drawn by them without replacement, and get the weights
    of the row in ascending order, so that the strongest input is likely to get the most negative
    one. Then the same is done to the columns, for the strengths of the units. The values stay those
    of the draw, whatever its distribution.

    Args:
        tensor: the weight, [units, fan-in or channels, *kernel]; its values are the draw.
        generator: of the order of the inputs; PyTorch's own by default.

    Returns the weight. Raises ValueError for fewer than two dimensions, non-finite values and rows
    of zeros.
    """
    rows = init._rows(tensor)
    _attach_(rows, generator)
    _attach_(rows.T, generator)
    return init._write_(tensor, rows)


def _attach_(rows, generator):
    """One pass of rewiring, over the rows, in place."""
    strength = torch.zeros_like(rows[0])
    for before, row in zip(rows, rows[1:]):
        strength += before
        chances = strength + strength.min().abs() + 1
        row[torch.multinomial(chances, len(row), generator=generator)] = row.sort().values


@torch.no_grad()
def deep_narrow_(tensor: Tensor, epsilon: float = 0.1) -> Tensor:
    r"""The deterministic (semi-)orthogonal start for deep and narrow rectifier networks (Lee, Kim,
    Yang & Choi 2024, arXiv 2311.03733).

    With the *k* × *k* matrix of ones :math:`J_k` and
    :math:`Q_k R_k = J_k + \varepsilon I_k`, the weight is :math:`Q_m I_{m \times n} Q_n^T`. It is
    orthogonal, and nearly constant inputs stay so: rows sum to about
    :math:`\sqrt{n/m}`. A square weight is the identity. Units beyond the fan-in start alike.

    Second-hand: the formula is that of public code which cites the paper, whose own text was not
    to be had. So are the signs of *Q*, those of LAPACK's factorization (all diagonal entries of *R*
    but the last are negative), and ε = 0.1: with other signs, the direction of one singular value
    is turned round.

    Args:
        tensor: the weight, [units, fan-in or channels, *kernel].
        epsilon: ε, positive; the sums are the more even the smaller it is.

    Returns the weight. Raises ValueError for fewer than two dimensions and ε that is not positive.
    """
    init._check_shape(tensor)
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be a positive number, not {epsilon}")

    units, fan_in = tensor.flatten(1).shape
    rank = min(units, fan_in)

    def q(k):  # the columns that count: later ones do not change them
        return torch.linalg.qr(1 + epsilon * torch.eye(k, rank, dtype=torch.float64)).Q

    return init._write_(tensor, q(units) @ q(fan_in).T)


# ---------------------------------------------------------------------------------- of a module
def sinusoidal_(module: nn.Module) -> nn.Module:
    """Sinusoidal weights, zero biases (Fernández-Hernández, Mestre, Dolz, Duato & Quintana-Ortí
    2025, arXiv 2505.12909), by their package AnyInit; nothing is drawn.

    Each unit's weights are a sampled sine wave. Those of AnyInit differ from the paper's in that
    frequencies stay below the sampling limit and units that share one are shifted in phase; scales
    follow from the network's activations, without data. The waves of *d* weights span
    2 ⌊(d−1)/2⌋ dimensions, two where *d* is 3 or 4: there, units are linearly dependent.

    Returns the module. Raises ImportError where AnyInit is missing.
    """
    _anyinit().initialize(module, distribution="sinusoidal")
    return module


def anyinit_(
    module: nn.Module, inputs: Tensor, *, generator: torch.Generator | None = None
) -> nn.Module:
    """AnyInit's own data-driven mode: Gaussian weights, zero biases, and one scale per layer that
    gives the activations behind it a second moment of 1 on ``inputs`` (the layer-sequential unit
    variance of Mishkin & Matas 2016, for any graph; by the authors of ``sinusoidal_``).

    Args:
        module: any module that AnyInit can trace.
        inputs: a batch of training inputs, as the module takes them.
        generator: of the seed that AnyInit draws from; PyTorch's own by default.

    Returns the module. Raises ImportError where AnyInit is missing.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    _anyinit().initialize(module, "empirical", inputs, seed=seed)
    return module


def _anyinit():
    try:
        return import_module("anyinit")
    except ImportError as error:
        raise ImportError(
            "this start is its authors' own: pip install dndiv[peers] brings their package AnyInit"
        ) from error
