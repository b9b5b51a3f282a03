r"""Weight initializations that decorrelate the neurons of a layer, as in ``torch.nn.init``.

The weight of a layer is read as one row per unit: [units, fan-in], kernels flattened. Two kinds of
functions:

* of one **tensor** of two or more dimensions, in place: ``decorrelated_``, ``simplex_``, ``gram_``
  (directions) and ``equalized_`` (norms). The values in the tensor are the random draw that is
  decorrelated; with ``generator`` a fresh draw is made first. Nothing here is deterministic: a new
  draw gives new weights.
* of a **module**, every linear and convolutional layer of it: ``decorrelate_``, ``default_``,
  ``zero_bias_``, ``initialize_`` (by a function of one tensor), and those that look at a batch of
  inputs: ``lsuv_``, ``standardized_``, ``alive_``, ``relayed_``, ``balanced_``.

All computations are on the device of the weights, which depend on it by rounding alone.

Example::

    model = torchvision.models.resnet18()
    dndiv.decorrelate_(model)                   # PyTorch's own draw and norms, rows decorrelated
    dndiv.decorrelate_(model, inputs=batch)     # and most units alive on a batch of inputs
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dndiv import probe
from dndiv.checks import typed

# what can be treated; the weights of transposed ones are [in, out / groups, *kernel]
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
LAST = 1.25  # times the spread of the last layer's outputs over inputs: the most that it may become
SMALL = 64  # rows or fan-in, up to which all is computed in float64, from singular values


# ---------------------------------------------------------------------------------- of one tensor
@typed
def decorrelated_(
    tensor: Tensor, gain: float | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Decorrelate the rows of a random draw: the nearest orthonormal rows, or a tight frame.

    Rows ≤ fan-in: the directions become the polar factor :math:`(UU^T)^{-1/2}U` of the draw's unit
    rows *U*, which is the nearest matrix with orthonormal rows (symmetric orthogonalization, Löwdin
    1950; Higham 1986). Rows > fan-in, where *n* rows of dimension *d* cannot all be orthogonal:
    :math:`U` becomes a unit-norm tight frame, which attains the Welch bound
    :math:`\sum_{ij}\cos^2(w_i, w_j) = n^2/d` of the total coherence (Welch 1974; Benedetto & Fickus
    2003). It is what polar factor and row normalization in turn lead to (Tropp et al. 2005): the
    rows :math:`Uu` are mapped by the one linear map *M* after which their normalized images are a
    tight frame (:math:`(M^TM)^{-1}` is Tyler's (1987) estimate of their scatter), found by Newton's
    method, and turned so that they are nearest to the draw.
    The directions of a Gaussian draw stay isotropic, for the construction commutes with every
    rotation.

    Computed on the tensor's device: in float64 if that is its type, or if units or fan-in are at
    most 64, and in float32 otherwise. Cosines, and the sums of the bound by row, are exact to
    1e-9 in the one, 1e-5 in the other, beside the rounding to the tensor's own type.

    Args:
        tensor: the weight, [units, fan-in or channels, *kernel]; its values are the draw.
        gain: the norm that every row gets; by default the rows keep the norms of the draw.
        generator: if given, a fresh draw is made first, Gaussian of PyTorch's default variance
            1/(3 fan-in).

    Returns the tensor. Raises ValueError for fewer than two dimensions, non-finite values, zero or
    linearly dependent rows, and a gain that is not positive.

    >>> w = decorrelated_(torch.randn(3, 5, dtype=torch.float64), gain=1.0)
    >>> bool(torch.allclose(w @ w.T, torch.eye(3, dtype=torch.float64)))
    True
    """
    return _redirect_(tensor, _tight_frame, gain, generator)


@typed
def simplex_(
    tensor: Tensor, gain: float | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Make the rows negatively correlated: the regular simplex that is nearest to the draw.

    Every pair of the *n* rows has cosine −1/(n−1) and, for rows of equal norm, they sum to zero, so
    that no input leaves all units of the layer silent. The unit rows with the simplex' Gram matrix
    :math:`\frac{n}{n-1}(I - \frac{1}{n}11^T)` that are nearest to the draw *U* are
    :math:`\sqrt{n/(n-1)}` times the polar factor of the centred draw (orthogonal Procrustes
    problem, Schönemann 1966). Needs n−1 ≤ fan-in; a larger layer gets the tight frame of
    ``decorrelated_``. Arguments, return value and errors are those of ``decorrelated_``.
    """
    return _redirect_(tensor, _simplex, gain, generator)


@typed
def gram_(
    tensor: Tensor,
    gain: float | None = None,
    *,
    steps: int = 200,
    lr: float = 0.2,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Gradient ascent on the log determinant of the Gram matrix of the unit rows, from the draw.

    The idea of the follow-up (Kovalenko & Kordík 2023): a determinant near zero means correlated
    rows, so it is raised before training. The gradient of :math:`\log\det UU^T` along the unit
    sphere is, up to a factor of 2,
    :math:`U^{+T}` without its components along the rows; the same expression ascends the product of
    the nonzero eigenvalues where rows > fan-in. ``steps`` and ``lr`` are those of the ascent, and
    are our choice. Other arguments, return value and errors are those of ``decorrelated_``.
    """
    if steps < 1 or not lr > 0:
        raise ValueError(f"gram_ needs steps ≥ 1 and lr > 0, not steps={steps}, lr={lr}")

    def ascend(unit):
        # the ascent never leaves the span of the draw's rows
        basis, coordinates = torch.linalg.qr(unit.T)
        unit = coordinates.T
        for _ in range(steps):
            u, s, vh = _svd(unit)
            ascent = (u / s) @ vh  # the transposed pseudo-inverse
            ascent -= (ascent * unit).sum(1, keepdim=True) * unit
            unit = _unit(unit + lr * ascent)
            if ascent.abs().max() < 1e-9:
                break
        return unit @ basis.T

    return _redirect_(tensor, ascend, gain, generator)


@typed
@torch.no_grad()
def equalized_(tensor: Tensor) -> Tensor:
    """Give all rows the root mean square of their norms: directions and total variance stay."""
    rows = _rows(tensor)
    norms = rows.norm(dim=1, keepdim=True)
    return _write_(tensor, rows / norms * norms.square().mean().sqrt())


@torch.no_grad()
def _redirect_(tensor: Tensor, directions: Callable[[Tensor], Tensor], gain, generator) -> Tensor:
    """Replace the unit rows U of ``tensor`` by ``directions(U)``, with their own norms or
    ``gain``."""
    if gain is not None and not 0 < gain < math.inf:
        raise ValueError(f"gain must be a positive number, not {gain}")
    if generator is not None:
        _check_shape(tensor)
        draw = torch.empty(tensor.shape, dtype=torch.float64, device=generator.device)
        tensor.copy_(draw.normal_(std=(3 * tensor[0].numel()) ** -0.5, generator=generator))
    rows = _rows(tensor)
    norms = rows.norm(dim=1, keepdim=True)
    with torch.autocast(tensor.device.type, enabled=False):  # in the precision of the rows
        return _write_(tensor, directions(rows / norms) * (norms if gain is None else gain))


def _check_shape(tensor):
    if tensor.dim() < 2:
        raise ValueError(
            "a weight has two or more dimensions [units, fan-in, ...], not shape "
            f"{tuple(tensor.shape)}"
        )
    if tensor.numel() == 0 or tensor.is_meta or not tensor.is_floating_point():
        raise ValueError(
            f"a weight must hold floating-point values, not {tensor.dtype} of shape "
            f"{tuple(tensor.shape)} on {tensor.device}"
        )


def _rows(tensor) -> Tensor:
    """The units' weights as rows, [units, fan-in], checked: in float64 where the weight is, or is
    small, and in float32 otherwise."""
    _check_shape(tensor)
    rows = tensor.detach().flatten(1)
    exact = tensor.dtype == torch.float64 or min(rows.shape) <= SMALL
    device = "cpu" if tensor.device.type == "mps" else tensor.device  # it has no float64
    rows = rows.to(device, torch.float64 if exact else torch.float32)
    if not rows.isfinite().all():
        raise ValueError("the weight holds non-finite values; draw it at random first")
    if zero := (rows.norm(dim=1) == 0).nonzero().flatten().tolist():
        raise ValueError(
            f"rows {zero[:5]}{' and more' * (len(zero) > 5)} of the weight are zero and have no "
            "direction; draw it at random first, or leave it out by freezing it meanwhile "
            "(requires_grad = False), if it is to begin at zero"
        )
    return rows


def _write_(tensor, rows):
    return tensor.copy_(rows.reshape(tensor.shape))


def _unit(rows):
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _dependent(unit):
    return ValueError(
        f"the {len(unit)} rows of the weight are linearly dependent (equal units?); "
        "draw it at random first"
    )


def _svd(unit):
    """The thin SVD of rows; linear dependence is an error."""
    u, s, vh = torch.linalg.svd(unit, full_matrices=False)
    if (values := s.tolist())[-1] <= 1e-6 * values[0]:
        raise _dependent(unit)
    return u, s, vh


def _polar(rows):
    """The polar factor of rows, [n, d]: the nearest matrix with orthonormal rows (columns, n > d).

    From the SVD where they are few. Otherwise nearly by matrix products alone, a fraction of the
    work: three dynamically weighted Halley steps (Nakatsukasa, Bai & Gygi 2010), of which the first
    needs float64, and Newton–Schulz steps, whose residual is the check. What does not pass, for it
    is nearly dependent, has the SVD in float64.
    """
    if len(rows) > rows.shape[1]:
        return _polar(rows.T).T
    if len(rows) > SMALL and (factor := _halley(rows)) is not None:
        return factor
    u, _, vh = _svd(rows.double())
    return (u @ vh).to(rows.dtype)


def _halley(x, smallest=1e-5):
    """The polar factor of x, [n, d], n ≤ d, whose singular values are at least this share of the
    largest; or None."""
    gram = _gram(x.double())
    top = gram[0]
    for _ in range(10):  # the largest singular value, squared, but for some per cent
        top = gram @ (top / top.norm())
    x, gram = x / (1.1 * top.norm()).sqrt().to(x.dtype), gram / (1.1 * top.norm())
    for a, b, c in _halley_weights(smallest):
        # x (a + b xᵀx) (1 + c xᵀx)⁻¹, from the left
        inner = gram.mul_(c)
        inner.diagonal().add_(1)
        inner = _inverse(inner).mul_(a - b / c)
        inner.diagonal().add_(b / c)
        x = inner.to(x.dtype) @ x
        gram = _gram(x)
    for _ in range(4):
        residual = gram.neg_()
        residual.diagonal().add_(1)
        x = torch.addmm(x, residual, x, alpha=0.5)  # leaves at most 3/4 of its square
        left = residual.abs().sum(1).max()  # bounds its norm
        if not left < 0.9:
            return None
        # in fact they are some twenty times smaller than their bound
        if left < (3e-2 if x.dtype == torch.float32 else 1e-7):
            return x
        gram = _gram(x)
    return None


def _halley_weights(smallest):
    """(a, b, c) of the steps x (a + b x²)/(1 + c x²) that bring [smallest, 1] nearest to 1."""
    for _ in range(3):
        square = smallest**2
        root = math.sqrt(1 + (4 * (1 - square) / square**2) ** (1 / 3))
        a = root + math.sqrt(2 - (root**2 - 1) + 2 * (2 - square) / (square * root))
        b = (a - 1) ** 2 / 4
        yield a, b, a + b - 1
        smallest *= (a + b * square) / (1 + (a + b - 1) * square)


def _inverse(x):
    """The inverse of a positive definite matrix by halves, for it then is nearly all products: half
    the work of one of such matrices."""
    half = len(x) // 2
    if half < 64:
        return torch.cholesky_inverse(torch.linalg.cholesky_ex(x)[0])
    out, first, below = torch.empty_like(x), _inverse(x[:half, :half]), x[half:, :half]
    across = below @ first
    # of the second half without what the first explains: the Schur complement
    rest = _inverse(x[half:, half:] - _gram(across, below))
    both = rest @ across
    out[:half, :half] = first.add_(_gram(across.T, both.T))
    out[half:, half:], out[half:, :half], out[:half, half:] = rest, both.neg_(), both.T
    return out


def _gram(x, y=None):
    """x xᵀ, or an x yᵀ that is symmetric, its upper half copied from the lower: nine sixteenths of
    the work."""
    out, y = x.new_empty(len(x), len(x)), x if y is None else y
    size = max(64, -(-len(x) // 8))
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        torch.mm(x[part], y[: part.stop].T, out=out[part, : part.stop])
        out[:start, part] = out[part, :start].T
    return out


def _tight_frame(unit):
    """Orthonormal rows, n ≤ d, or a unit-norm tight frame, from unit rows [n, d]."""
    n, d = unit.shape
    if n <= d:
        return _polar(unit)
    frame = _frame(unit)
    if frame is None:
        frame = _frame(unit.double())
    if frame is None:
        raise ValueError(
            f"the {n} rows of the weight cannot become a tight frame of {d} dimensions: too many "
            "of them are linearly dependent (equal units?); draw it at random first"
        )
    frame = frame.to(unit.dtype)
    return _unit(frame @ _polar(frame.T @ unit))


def _frame(rows):
    """D U M with orthonormal columns and equal norms of its n rows, D being diagonal; or None.

    The squared norms of its rows are leverages h, d in sum, and they are equal where
    log det(Uᵀ D² U) − (d/n) Σ log D² is least. That is convex in log D², with the gradient h − d/n
    and the Hessian diag(h) − H∘H, the elementwise square of H = D U M Mᵀ Uᵀ D.
    """
    n, d = rows.shape
    tolerance = 1e-12 if rows.dtype == torch.float64 else 2e-6
    white = _whitened(rows.double())
    for attempt in range(100):
        if white is None:
            break
        white = white.to(rows.dtype)
        h = white.square().sum(1)
        if (h * n / d - 1).abs().max() < tolerance:
            return white
        if n <= 4 * SMALL:  # Newton's step
            hessian = (white @ white.T).square_().neg_().add_(d / n**2)  # the scale of all is free
            hessian.diagonal().add_(h)
            factor, failed = torch.linalg.cholesky_ex(hessian)
            step = torch.cholesky_solve((d / n - h)[:, None], factor)
        else:  # every row's own minimum, the others fixed: nearly the same with so many
            step = torch.log(d / (n - d) * (1 - h).clamp_min(1e-9) / h)[:, None]
            if attempt >= 20:  # two rows of each other's size would swap for ever
                step /= 2
        white = _whitened(white * (step.clamp(-2, 2) / 2).exp())
    return None


def _whitened(rows):
    """rows times the inverse of the Cholesky factor of their Gram matrix; None if dependent."""
    factor, failed = torch.linalg.cholesky_ex(rows.T @ rows)
    pivots = factor.diagonal()
    if failed or not pivots.min() > 1e-6 * pivots.max():
        return None
    return torch.linalg.solve_triangular(factor, rows.T, upper=False).T


def _simplex(unit):
    n, d = unit.shape
    if n == 1 or n - 1 > d:
        return _tight_frame(unit)
    # a reflection that takes the rows' mean to the first row, and back
    mirror = unit.new_full((n, 1), n**-0.5)
    mirror[0] -= 1
    mirror /= mirror.norm()
    centred = (unit - 2 * mirror @ (mirror.T @ unit))[1:]
    rows = torch.cat((torch.zeros_like(unit[:1]), _polar(centred)))
    return math.sqrt(n / (n - 1)) * (rows - 2 * mirror @ (mirror.T @ rows))


# ---------------------------------------------------------------------------------- of a module
def refuse_untouchable(module: nn.Module) -> None:
    """Raise ValueError, naming it, for a parameter or buffer that cannot be changed in place."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise ValueError(
                f"{name!r} is on the meta device and has no values; first give the module some, "
                "by to_empty(device=...) and load_state_dict or reset_parameters"
            )
        lazy = isinstance(tensor, (nn.UninitializedParameter, nn.UninitializedBuffer))
        if not lazy and tensor.is_inference() and not torch.is_inference_mode_enabled():
            raise ValueError(
                f"{name!r} was made under torch.inference_mode, and torch neither changes nor "
                "trains it; copy.deepcopy(module) outside of that mode makes an ordinary module"
            )


def _whole(given: dict) -> None:
    """Refuse what cannot be changed: of starts that set weights alone."""
    refuse_untouchable(given["module"])


def _with_biases(given: dict) -> None:
    """Refuse what cannot be changed, and biases that are computed: they would stay."""
    _whole(given)
    for name, layer in layers(given["module"]):
        if nn.utils.parametrize.is_parametrized(layer, "bias"):
            raise ValueError(
                f"layer {name!r}: its bias is computed by a parametrization; remove it, "
                "initialize, and register it again"
            )


@torch.no_grad()
def _on_a_batch(given: dict) -> None:
    """Refuse what else data-aware starts cannot treat: a layer that gets a single input, and one
    with a hook that changes its outputs, for it is run again without the hook.

    Where there is no such hook, and the batch is plainly one, nothing is run.
    """
    _with_biases(given)
    module, inputs = given["module"], given["inputs"]
    names = {layer: name for name, layer in layers(module)}
    hooked = [layer for layer in names if layer._forward_hooks]
    single = all(t.dim() < 2 or len(t) == 1 for t in probe._tensors(inputs))
    if not hooked and not single:
        return
    own: dict[Layer, Tensor] = {}

    def look(layer, args, kwargs, out):
        if single and out.numel() == out.shape[_unit_dimension(layer, out)]:
            raise ValueError(f"layer {names[layer]!r} got a single input; pass a batch of them")
        if layer in own and not torch.equal(out.nan_to_num(), own[layer].nan_to_num()):
            raise ValueError(
                f"layer {names[layer]!r} has a forward hook that changes its outputs, and this "
                "start runs the layer again without it: remove it, start, and register it again"
            )

    handles = [
        layer.register_forward_hook(lambda l, _, out: own.update({l: out.clone()}), prepend=True)
        for layer in hooked
    ]
    try:
        with probe.training(module):
            probe.forward(module, inputs, names, look)
    finally:
        for handle in handles:
            handle.remove()


def _fitting(given: dict) -> None:
    """Refuse what cannot be changed, and starts in each other's place."""
    _whole(given)
    module = given["module"]
    if given.get("inputs") is not None and not any(isinstance(m, Layer) for m in module.modules()):
        raise ValueError(
            f"{type(module).__name__} has no linear or convolutional layer that a data-aware start "
            "could treat: leave inputs= out"
        )
    for name, first, what in (
        ("directions", "tensor", "of one weight, as `decorrelated_`"),
        ("start", "module", "of a module and inputs, as `alive_`"),
    ):
        takes = _first_argument(function := given.get(name))
        if takes in ("tensor", "module") and takes != first:
            raise ValueError(
                f"decorrelate_: {name}={getattr(function, '__name__', function)} is a function of "
                f"a {takes}; {name}= takes one {what}"
            )


def _first_argument(function: Callable | None) -> str:
    """The name of it; "" where that cannot be told."""
    try:
        return next(iter(inspect.signature(function).parameters), "") if function else ""
    except (TypeError, ValueError):  # of a built-in one
        return ""


@partial(typed, check=_fitting)
@torch.no_grad()
def decorrelate_(
    module: nn.Module,
    inputs: Any = None,
    *,
    directions: Callable[..., Tensor] = decorrelated_,
    start: Callable[..., nn.Module] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Decorrelate the units of every layer of ``module``, in place.

    Treated are linear and (transposed) convolutional layers, groups one by one; the packed
    projections of ``nn.MultiheadAttention``, queries, keys and values one by one; and recurrent
    layers, gates one by one. The present weights are the draw, and rows keep their norms and
    biases. Left alone are frozen weights, and embeddings with what is tied to them. With ``inputs``
    it goes on to the data-aware start, ``start(module, inputs)``, by default ``balanced_``.

    Args:
        module: any module with such layers.
        inputs: a batch of training inputs: a tensor, a tuple of the module's arguments, a dict of
            them by name, or what a DataLoader yields, [x, y], labels included.
        directions: ``decorrelated_``, ``simplex_``, ``gram_``, or any function of a weight and
            ``generator``.
        start: ``balanced_``, at the scale of the draw; ``alive_``, for rectifiers, or
            ``standardized_``, for activations that saturate, at unit scale; needs ``inputs``.
        generator: if given, every layer is drawn anew first.

    Returns the module. Raises ValueError, naming the layer, where there is nothing to treat, a
    weight is computed by a parametrization, or ``directions`` refuses the weight; the module is
    then as it was.
    """
    if start is not None and inputs is None:
        raise ValueError("a data-aware start looks at a batch of inputs: pass inputs=")
    with probe.unchanged_on_error(module):
        for name, parts in _draws(module):
            _treat_(name, parts, directions, generator=generator)
        return module if inputs is None else (start or balanced_)(module, inputs)


@partial(typed, check=_with_biases)
@torch.no_grad()
def initialize_(
    module: nn.Module, scheme: Callable[..., Tensor], *, generator: torch.Generator | None = None
) -> nn.Module:
    """Give every linear and (transposed) convolutional layer of ``module`` weights by a scheme for
    one weight, and biases of zero, in place.

    Groups of a convolution are treated one by one. Left alone are frozen parameters, embeddings
    with what is tied to them, and attention's packed projections and recurrent layers.

    Args:
        module: any module with such layers.
        scheme: ``dndiv.literature.deep_narrow_`` or ``rewired_``, one of ``torch.nn.init``, or any
            function that changes a weight [units, fan-in or channels, *kernel] in place.
        generator: passed on to the scheme, if given.

    Returns the module. Raises ValueError, naming the layer, where there is nothing to treat, a
    weight or bias is computed by a parametrization, or ``scheme`` refuses the weight, returns
    another one in its place, or leaves values that are not finite; the module is then as it was.
    """
    options = {} if generator is None else {"generator": generator}
    with probe.unchanged_on_error(module):
        for name, layer in layers(module):
            _treat_(name, blocks(layer, layer.weight), partial(_in_place, scheme), **options)
        return zero_bias_(module)


def _in_place(scheme: Callable[..., Tensor], weight: Tensor, **options) -> Tensor:
    """Apply a scheme, and refuse what is none. ValueError says why."""
    before = weight.clone()
    try:
        made = scheme(weight, **options)
    except TypeError as error:
        raise ValueError(
            f"the scheme fails on one weight alone ({error}); starts of a module and inputs, as "
            "`alive_`, go to decorrelate_(model, inputs=batch, start=alive_)"
        ) from error
    elsewhere = isinstance(made, Tensor) and made.data_ptr() != weight.data_ptr()
    if elsewhere and torch.equal(weight.nan_to_num(), before.nan_to_num()):
        raise ValueError(
            "the scheme returns another tensor and leaves the weight as it was; let it change the "
            "weight in place, as weight.copy_(...) does"
        )
    if not weight.isfinite().all():
        raise ValueError("the scheme leaves values that are not finite")
    return weight


def _treat_(name: str, parts: list[Tensor], function: Callable[..., Tensor], **options) -> None:
    """Apply ``function`` to each of a layer's blocks; what it refuses names the layer."""
    for block in parts:
        whole = block.contiguous()  # those of torch.nn.init refuse views of transposed layers
        try:
            function(whole, **options)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
        block.copy_(whole)


@partial(typed, check=_with_biases)
@torch.no_grad()
def default_(module: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """Draw every layer anew as PyTorch does: weights and biases uniform in ±1/sqrt(fan-in).

    The same numbers as constructing the layers under ``torch.manual_seed`` of the generator's seed.
    """
    for _, layer in layers(module):
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        if layer.bias is not None:
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return module


@partial(typed, check=_on_a_batch)
@torch.no_grad()
def lsuv_(module: nn.Module, inputs: Any, *, generator: torch.Generator | None = None) -> nn.Module:
    """Layer-sequential unit variance (Mishkin & Matas 2016, arXiv 1511.06422).

    Orthogonal weights, zero biases; then, layer by layer, the weights are divided by the standard
    deviation of the layer's outputs (over units, inputs and positions). A layer that is silent on
    all inputs keeps its scale. Inputs and errors are those of ``standardized_``.
    """
    with probe.unchanged_on_error(module):
        for _, layer in layers(module):
            exact = torch.promote_types(layer.weight.dtype, torch.float32)  # what can be factored
            drawn = nn.init.orthogonal_(layer.weight.detach().to(exact), generator=generator)
            layer.weight.copy_(drawn)
        zero_bias_(module)

        def scale(call, out):
            std = out.double().std(correction=0)
            if std > 0:
                call.layer.weight.div_(std)

        return _layer_by_layer(module, inputs, scale)


@partial(typed, check=_on_a_batch)
def standardized_(module: nn.Module, inputs: Any) -> nn.Module:
    """Bring each unit's pre-activation to zero mean and unit variance on a batch of inputs, layer
    by layer.

    What LSUV does per layer, per unit: weights are divided by the standard deviation that the
    unit's output has over the inputs (and positions), and the bias is set so that its mean is zero.
    A layer without biases is only scaled. The module is run as it will train, so that batch norm
    has the statistics of the batch, but without gradients and dropout; running statistics, modes
    and directions of weights stay. Layers that are not called, or only within attention, stay.

    Args:
        module: any module with linear or convolutional layers that are called in its forward pass.
        inputs: a batch of training inputs, as ``decorrelate_`` takes them.

    Returns the module. Raises ValueError, naming layer and unit, where a unit is constant over the
    inputs; for a layer that gets a single input, or has a computed bias or a forward hook that
    changes its outputs; for inputs that are empty, not finite or do not fit; the module is then as
    it was.
    """
    return _standardize(module, inputs, raise_by=0.0)


@partial(typed, check=_on_a_batch)
def alive_(module: nn.Module, inputs: Any) -> nn.Module:
    """As ``standardized_``, with the biases of all but the last layer raised by one standard
    deviation.

    About five in six pre-activations are then positive, so that most units of a rectifier network
    pass their signal on at the start (compare the looks-linear start of Balduzzi et al. 2017, arXiv
    1702.08591). Not so behind layers without biases, or where a batch norm takes means away.
    """
    return _standardize(module, inputs, raise_by=1.0)


@partial(typed, check=_on_a_batch)
def relayed_(module: nn.Module, inputs: Any) -> nn.Module:
    """As ``alive_``, but for the first layer, which stays standardized, and the last, which starts
    small: where only one hidden layer is left to bend the signal, it must.

    The units of the first layer cut the inputs in half, those behind it mostly pass on what it
    found, and the outputs are divided by the square root of the number of layers before the last.
    Found by a search of this artifact, see its notebook 08_peers.
    """
    return _standardize(module, inputs, raise_by=1.0, relay=True)


def _standardize(module, inputs, raise_by, relay=False):
    done: list[str] = []

    def adjust(call, out):
        std, mean = _statistics(call, out)
        if still := (std <= 1e-6 * mean.abs()).nonzero().flatten().tolist():
            raise ValueError(
                f"unit {still[0]} of layer {call.name!r} is constant over the {len(out)} inputs "
                "and cannot be standardized; pass a larger or more varied batch, or draw it anew"
            )
        _rescale_(call.layer, std)
        raised = not call.last and (done or not relay)
        _set_bias_(call.layer, lambda bias: (bias - mean) / std + (raise_by if raised else 0.0))
        if relay and call.last and done:
            for parameter in filter(lambda p: p.requires_grad, call.layer.parameters()):
                parameter.div_(math.sqrt(len(done)))
        done.append(call.name)

    return _layer_by_layer(module, inputs, adjust)


@partial(typed, check=_on_a_batch)
def balanced_(module: nn.Module, inputs: Any) -> nn.Module:
    """Balance the units of each layer on a batch of inputs, at the scale that the layer has.

    For a start that in the mean is no worse than the draw's own: each unit's pre-activation gets
    zero mean and the standard deviation of its layer, the root mean square over the units of the
    module as it was given, so that gradients stay at the draw's scale. A unit that a rectifier
    reads is raised by that standard deviation, as by ``alive_``. The outputs of the last layer are
    centred, so that no class is preferred, and what their offsets had of their root mean square
    goes to what differs between inputs, up to 1.25 times its scale. What batch norm reads is left
    to it, and units or layers that are constant over the inputs are left alone. Where residual
    branches end in batch norm, its gains are divided by the square root of the number of branches,
    so that together they add what one did (compare Marion et al. 2025, arXiv 2206.06929).
    Arguments, return value and errors are those of ``standardized_``.
    """
    branches = _branches(module, inputs)
    gains = {m.weight for m in branches if m.weight is not None and m.weight.requires_grad}

    def adjust(call, out):
        while gains:  # now that the scales of all layers have been measured
            gains.pop().div_(math.sqrt(len(branches)))
        std, mean = _statistics(call, out)
        if call.followed_by in probe.NORMALIZATIONS:
            return
        # a layer that was constant as the module was given has no scale to bring its units to
        varies = (std > 1e-6 * mean.abs()) & (call.scale > 1e-6 * call.rms)
        goal = min(call.rms, LAST * call.scale) if call.last else call.scale
        factor = torch.where(varies, std / goal, 1.0)
        raised = goal if call.followed_by in probe.RECTIFIERS and not call.last else 0.0
        _rescale_(call.layer, factor)
        _set_bias_(
            call.layer, lambda bias: torch.where(varies, (bias - mean) / factor + raised, bias)
        )

    return _layer_by_layer(module, inputs, adjust)


@torch.no_grad()
def _branches(module, inputs) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norm that each residual branch ends in, where it ends in one."""
    found, norms = probe.Branches(), nn.modules.batchnorm._BatchNorm
    watched = [m for m in module.modules() if isinstance(m, (Layer, norms))]
    with probe.unchanged_on_error(module), probe.training(module), found:
        probe.forward(module, inputs, watched, found.passed)
    return found.ends


def _statistics(call, out):
    """(standard deviation, mean) of each unit over inputs and positions, in float64."""
    units = _unit_dimension(call.layer, out)
    if units == 0:
        raise ValueError(f"layer {call.name!r} got a single input; pass a batch of them")
    others = [k for k in range(out.dim()) if k != units]
    std, mean = torch.std_mean(out.double(), dim=others, correction=0)
    return std, mean


def _unit_dimension(layer, out) -> int:
    return out.dim() - 1 - len(getattr(layer, "kernel_size", ()))


def _rescale_(layer, divisor):
    parts = blocks(layer, layer.weight.detach())
    for block, s in zip(parts, divisor.chunk(len(parts))):
        block.div_(s.reshape(-1, *[1] * (block.dim() - 1)))


def _set_bias_(layer, change):
    if layer.bias is not None and layer.bias.requires_grad:
        layer.bias.copy_(change(layer.bias))


@torch.no_grad()
def zero_bias_(module: nn.Module) -> nn.Module:
    """Set every bias that is trained to zero."""
    for _, layer in layers(module):
        if layer.bias is not None and layer.bias.requires_grad:
            layer.bias.zero_()
    return module


def layers(module: nn.Module) -> list[tuple[str, Layer]]:
    """The linear and convolutional layers that can be treated, each with its name.

    A shared weight counts once; frozen weights, and those that are an embedding's, do not count.
    """
    found = [(name, layer) for name, layer, _ in _own_weights(module) if isinstance(layer, Layer)]
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no linear or convolutional layer to initialize"
        )
    return found


def _own_weights(module) -> Iterator[tuple[str, nn.Module, list[str]]]:
    """(name, layer, names of its weights) of all layers whose units can be decorrelated."""
    embeddings = (nn.Embedding, nn.EmbeddingBag)
    seen = {id(m.weight) for m in module.modules() if isinstance(m, embeddings)}
    for name, layer in module.named_modules():
        own = []
        for key in _weight_names(layer):
            weight = getattr(layer, key)
            computed = nn.utils.parametrize.is_parametrized(layer, key)
            if computed or not isinstance(weight, nn.Parameter):
                raise ValueError(
                    f"layer {name!r}: its {key} is computed by a parametrization; remove it, "
                    "initialize, and register it again"
                )
            if isinstance(weight, nn.UninitializedParameter):
                raise ValueError(
                    f"layer {name!r} is lazy and has no weight yet; run the module once first"
                )
            if id(weight) not in seen and weight.requires_grad:
                seen.add(id(weight))
                own.append(key)
        if own:
            yield name, layer, own


def _weight_names(layer) -> list[str]:
    if isinstance(layer, Layer):
        return ["weight"]
    if isinstance(layer, nn.MultiheadAttention):
        if layer._qkv_same_embed_dim:
            return ["in_proj_weight"]
        return ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    if isinstance(layer, nn.RNNBase):
        return [key for keys in layer._all_weights for key in keys if key.startswith("weight")]
    return ["weight_ih", "weight_hh"] if isinstance(layer, nn.RNNCellBase) else []


def _draws(module) -> Iterator[tuple[str, list[Tensor]]]:
    """(name, blocks [units, fan-in, ...] that share inputs and purpose) of each weight."""
    found = False
    for name, layer, keys in _own_weights(module):
        for key in keys:
            found, weight = True, getattr(layer, key).detach()
            if isinstance(layer, Layer):
                yield name, blocks(layer, weight)
                continue
            parts = 1  # queries, keys and values; gates of the hidden size, or a projection
            if key == "in_proj_weight":
                parts = 3
            elif isinstance(layer, (nn.RNNBase, nn.RNNCellBase)) and "_hr" not in key:
                parts = len(weight) // layer.hidden_size
            yield f"{name}.{key}" if name else key, list(weight.chunk(parts))
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no linear, convolutional, attention or recurrent layer "
            "to initialize, or they are frozen"
        )


def blocks(layer: Layer, weight: Tensor) -> list[Tensor]:
    """Views [units, fan-in, *kernel] of a layer's weight, one per group: units of one group share
    their inputs."""
    # [units, ...], or [in, units, ...] where transposed
    parts = weight.chunk(getattr(layer, "groups", 1))
    return [p.transpose(0, 1) for p in parts] if isinstance(layer, Transposed) else list(parts)


@dataclass
class _Call:
    """The first call of a layer in the forward pass."""

    name: str
    layer: Layer
    scale: float  # root mean square over units of their standard deviations, before any change
    rms: float  # root mean square of its outputs, then
    output: Tensor
    followed_by: str = ""  # the rectifier or normalization that reads its output, if any
    last: bool = False


@torch.no_grad()
def _layer_by_layer(module, inputs, adjust) -> nn.Module:
    """Run ``adjust(call, output)`` on each layer in the order of the forward pass.

    One pass does them all: each layer's output is computed again after its adjustment, and passed
    on. A layer that is called again keeps what its first call gave it.
    """
    names = {layer: name for name, layer in layers(module)}
    calls: dict[nn.Module, _Call] = {}
    called: dict[nn.Module, None] = {}  # in their order, those that are not treated, too
    following = probe.Following()

    def look(layer, args, kwargs, out):
        if out.numel() == 0:  # as an expert that no input is sent to
            return
        called.setdefault(layer)
        if layer in names and layer not in calls:
            units = _unit_dimension(layer, out)
            others = [k for k in range(out.dim()) if k != units]
            variance = out.double().var(dim=others, correction=0)
            scale = variance.mean().sqrt().item()
            rms = out.double().square().mean().sqrt().item()
            calls[layer] = _Call(names[layer], layer, scale, rms, out)
            following.watch(out)

    def change(layer, args, kwargs, out):
        if layer in calls:
            if not out.isfinite().all():
                raise ValueError(
                    f"the outputs of layer {names[layer]!r} are not finite on these inputs; "
                    "scale the inputs, or draw the module anew"
                )
            adjust(calls.pop(layer), out)
            return layer.forward(*args, **kwargs)

    with probe.unchanged_on_error(module), probe.training(module):
        with following:
            every = [m for m in module.modules() if isinstance(m, Layer)]
            probe.forward(module, inputs, every, look)
        if not calls:
            raise ValueError(
                f"no linear or convolutional layer of {type(module).__name__} is called as a "
                "module on these inputs; initialize without inputs"
            )
        for call in calls.values():
            call.followed_by = following.name(call.output)
            call.last = call.layer is [*called][-1]
        probe.forward(module, inputs, names, change)
    return module


def weights(module: nn.Module) -> Iterator[Tensor]:
    """The weights of the treated layers as rows, [units, fan-in], in order of definition."""
    return (layer.weight.detach().flatten(1) for _, layer in layers(module))
