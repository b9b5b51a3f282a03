r"""Weight initializations that decorrelate the neurons of a layer, as in ``torch.nn.init``.

The weight of a layer is read as one row per unit: [units, fan-in], kernels flattened. Two kinds of
functions:

* of one **tensor** of two or more dimensions, in place: ``decorrelated_``, ``simplex_``, ``gram_``
  (directions) and ``equalized_`` (norms). The values in the tensor are the random draw that is
  decorrelated; with ``generator`` a fresh draw is made first. Nothing here is deterministic: a new
  draw gives new weights.
* of a **module**, every linear and convolutional layer of it: ``decorrelate_``, ``default_``, and
  those that look at a batch of inputs: ``lsuv_``, ``standardized_``, ``alive_``.

All computations are in float64 on the CPU, so that the weights do not depend on the device.

Example::

    model = torchvision.models.resnet18()
    dndiv.decorrelate_(model)                   # PyTorch's own draw and norms, rows decorrelated
    dndiv.decorrelate_(model, inputs=batch)     # and most units alive on a batch of inputs
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

# what can be treated; the weights of transposed ones are [in, out / groups, *kernel]
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed


# ---------------------------------------------------------------------------------------------- of
# one tensor
def decorrelated_(
    tensor: Tensor, gain: float | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Decorrelate the rows of a random draw: the nearest orthonormal rows, or a tight frame.

    Rows ≤ fan-in: the directions become the polar factor :math:`(UU^T)^{-1/2}U` of the draw's unit
    rows *U*, which is the nearest matrix with orthonormal rows (symmetric orthogonalization, Löwdin
    1950; Higham 1986). Rows > fan-in, where *n* rows of dimension *d* cannot all be orthogonal:
    polar factor and row normalization in turn, with momentum, until the rows are a unit-norm tight
    frame (Tropp et al. 2005), which attains the Welch bound
    :math:`\sum_{ij}\cos^2(w_i, w_j) = n^2/d` of the total coherence (Welch 1974; Benedetto & Fickus
    2003). The directions of a Gaussian draw stay isotropic, for the construction commutes with
    every rotation.

    Args:
        tensor: the weight, [units, fan-in or channels, *kernel]; its values are the draw.
        gain: the norm that every row gets; by default the rows keep the norms of the draw.
        generator: if given, a fresh draw is made first, Gaussian of PyTorch's default variance
            1/(3 fan-in).

    Returns the tensor. Raises ValueError for fewer than two dimensions, non-finite values, zero or
    linearly dependent rows, and a gain that is not positive.

    >>> w = decorrelated_(torch.empty(3, 5, dtype=torch.float64), 1.,
    generator=torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(w @ w.T, torch.eye(3, dtype=torch.float64)))
    True
    """
    return _redirect_(tensor, _tight_frame, gain, generator)


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
        basis, coordinates = torch.linalg.qr(
            unit.T
        )  # the ascent never leaves the span of the draw's rows
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
        draw = torch.empty(tensor.shape, dtype=torch.float64)
        tensor.copy_(draw.normal_(std=(3 * tensor[0].numel()) ** -0.5, generator=generator))
    rows = _rows(tensor)
    norms = rows.norm(dim=1, keepdim=True)
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
    """The units' weights as float64 rows on the CPU, [units, fan-in], checked."""
    _check_shape(tensor)
    rows = tensor.detach().to("cpu", torch.float64).flatten(1)
    if not rows.isfinite().all():
        raise ValueError("the weight holds non-finite values; draw it at random first")
    if zero := (rows.norm(dim=1) == 0).nonzero().flatten().tolist():
        raise ValueError(
            f"rows {zero[:5]} of the weight are zero and have no direction; draw it at random first"
        )
    return rows


def _write_(tensor, rows):
    return tensor.copy_(rows.reshape(tensor.shape))


def _unit(rows):
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _svd(unit, rank=None):
    """The thin SVD of unit rows, to their expected ``rank``; linear dependence is an error."""
    u, s, vh = torch.linalg.svd(unit, full_matrices=False)
    rank = min(unit.shape) if rank is None else rank
    if (values := s.tolist())[rank - 1] <= 1e-6 * values[0]:
        raise ValueError(
            f"the {len(unit)} rows of the weight are linearly dependent (equal units?); "
            "draw it at random first"
        )
    return u[:, :rank], s[:rank], vh[:rank]


def _tight_frame(unit):
    """Polar factor and row normalization in turn, to 1e-8: one pass where n ≤ d, some 50 to 500
    otherwise."""
    before = unit
    goal = math.sqrt(len(unit) / min(unit.shape))  # n is the sum of the squared singular values
    for _ in range(2000):
        # plain turns converge slowly where n is little more than d; momentum takes a tenth of them
        # at 65×64
        ahead = _unit(unit + 0.9 * (unit - before))
        u, s, vh = _svd(ahead)
        if (s - goal).abs().max() < 1e-8:
            return ahead
        before, unit = unit, _unit(u @ vh)
        if len(unit) <= unit.shape[1]:
            break
    return unit


def _simplex(unit):
    n, d = unit.shape
    if n == 1 or n - 1 > d:
        return _tight_frame(unit)
    u, _, vh = _svd(unit - unit.mean(0), rank=n - 1)
    return math.sqrt(n / (n - 1)) * (u @ vh)


# ---------------------------------------------------------------------------------- of a module
def decorrelate_(
    module: nn.Module,
    inputs: Tensor | tuple | None = None,
    *,
    directions: Callable[..., Tensor] = decorrelated_,
    start: Callable[..., nn.Module] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Decorrelate the units of every linear and convolutional layer of ``module``, in place.

    The present weights are the draw, and rows keep their norms and biases. With ``inputs`` it goes
    on to the data-aware start, ``start(module, inputs)``, by default ``alive_``.

    Args:
        module: any module with linear or (transposed) convolutional layers; groups are treated one
            by one.
        inputs: a batch of training inputs, as the module takes them (a tuple is unpacked).
        directions: ``decorrelated_``, ``simplex_``, ``gram_``, or any function of a weight and
            ``generator``.
        start: ``alive_``, for rectifiers, or ``standardized_``, for activations that saturate;
            needs ``inputs``.
        generator: if given, every layer is drawn anew first.

    Returns the module. Raises ValueError, naming the layer, where there is nothing to treat, a
    weight is computed by a parametrization, or ``directions`` refuses the weight.
    """
    if start is not None and inputs is None:
        raise ValueError("a data-aware start looks at a batch of inputs: pass inputs=")
    for name, layer in layers(module):
        for block in blocks(layer, layer.weight.detach()):
            try:
                directions(block, generator=generator)
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
    return module if inputs is None else (start or alive_)(module, inputs)


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


@torch.no_grad()
def lsuv_(
    module: nn.Module, inputs: Tensor | tuple, *, generator: torch.Generator | None = None
) -> nn.Module:
    """Layer-sequential unit variance (Mishkin & Matas 2016, arXiv 1511.06422).

    Orthogonal weights, zero biases; then, layer by layer, the weights are divided by the standard
    deviation of the layer's outputs (over units, inputs and positions). A layer that is silent on
    all inputs keeps its scale.
    """
    for _, layer in layers(module):
        nn.init.orthogonal_(layer.weight, generator=generator)
    zero_bias_(module)

    def scale(name, layer, out, last):
        std = out.double().std(correction=0)
        if std > 0:
            layer.weight.div_(std)

    return _layer_by_layer(module, inputs, scale)


def standardized_(module: nn.Module, inputs: Tensor | tuple) -> nn.Module:
    """Bring each unit's pre-activation to zero mean and unit variance on a batch of inputs, layer
    by layer.

    What LSUV does per layer, per unit: weights are divided by the standard deviation that the
    unit's output has over the inputs (and positions), and the bias is set so that its mean is zero.
    A layer without biases is only scaled. The module is run once, in evaluation mode and without
    gradients; directions of weights stay.

    Args:
        module: any module with linear or convolutional layers that are called in its forward pass.
        inputs: a batch of training inputs, as the module takes them (a tuple is unpacked).

    Returns the module. Raises ValueError, naming layer and unit, where a unit is constant over the
    inputs.
    """
    return _standardize(module, inputs, raise_by=0.0)


def alive_(module: nn.Module, inputs: Tensor | tuple) -> nn.Module:
    """As ``standardized_``, with the biases of all but the last layer raised by one standard
    deviation.

    About five in six pre-activations are then positive, so that most units of a rectifier network
    pass their signal on at the start (compare the looks-linear start of Balduzzi et al. 2017, arXiv
    1702.08591).
    """
    return _standardize(module, inputs, raise_by=1.0)


@torch.no_grad()
def _standardize(module, inputs, raise_by):
    def adjust(name, layer, out, last):
        # the dimension that counts the units
        units = out.dim() - 1 - len(getattr(layer, "kernel_size", ()))
        if units == 0:
            raise ValueError(f"layer {name!r} got a single input; pass a batch of them")
        others = [k for k in range(out.dim()) if k != units]
        std, mean = torch.std_mean(out.double(), dim=others, correction=0)
        if still := (std <= 1e-6 * mean.abs()).nonzero().flatten().tolist():
            raise ValueError(
                f"unit {still[0]} of layer {name!r} is constant over the {len(out)} inputs and "
                "cannot be standardized; pass a larger or more varied batch, or draw it anew"
            )
        parts = blocks(layer, layer.weight.detach())
        for block, s in zip(parts, std.chunk(len(parts))):
            block.div_(s.reshape(-1, *[1] * (block.dim() - 1)))
        if layer.bias is not None:
            layer.bias.copy_((layer.bias - mean) / std + (0.0 if last else raise_by))

    return _layer_by_layer(module, inputs, adjust)


@torch.no_grad()
def zero_bias_(module: nn.Module) -> nn.Module:
    """Set every bias to zero."""
    for _, layer in layers(module):
        if layer.bias is not None:
            layer.bias.zero_()
    return module


def layers(module: nn.Module) -> list[tuple[str, Layer]]:
    """The layers that can be treated, each with its name; a shared weight counts once."""
    found, weights = [], set()
    for name, layer in module.named_modules():
        if isinstance(layer, Layer):
            computed = nn.utils.parametrize.is_parametrized(layer, "weight")
            if computed or not isinstance(layer.weight, nn.Parameter):
                raise ValueError(
                    f"layer {name!r}: its weight is computed by a parametrization; remove it, "
                    "initialize, and register it again"
                )
            if isinstance(layer.weight, nn.UninitializedParameter):
                raise ValueError(
                    f"layer {name!r} is lazy and has no weight yet; run the module once first"
                )
            if layer.weight not in weights:
                weights.add(layer.weight)
                found.append((name, layer))
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no linear or convolutional layer to initialize"
        )
    return found


def blocks(layer: Layer, weight: Tensor) -> list[Tensor]:
    """Views [units, fan-in, *kernel] of a layer's weight, one per group: units of one group share
    their inputs."""
    # [units, ...], or [in, units, ...] where transposed
    parts = weight.chunk(getattr(layer, "groups", 1))
    return [p.transpose(0, 1) for p in parts] if isinstance(layer, Transposed) else list(parts)


def _layer_by_layer(module, inputs, adjust) -> nn.Module:
    """Run ``adjust(name, layer, output, last)`` on each layer in the order of the forward pass.

    One pass does them all: each layer's output is computed again after its adjustment, and passed
    on.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    names = {layer: name for name, layer in layers(module)}
    modes = [(m, m.training) for m in module.modules()]
    module.eval()

    def run(hook: Callable):
        handles = [layer.register_forward_hook(hook) for layer in names]
        try:
            module(*inputs)
        finally:
            for handle in handles:
                handle.remove()

    order = []
    try:
        run(lambda layer, args, out: None if layer in order else order.append(layer))
        left = list(order)

        def hook(layer, args, out):
            if layer in left:  # a layer that is called again keeps what its first call gave it
                left.remove(layer)
                adjust(names[layer], layer, out, last=layer is order[-1])
                return layer.forward(*args)

        run(hook)
    finally:
        for m, training in modes:
            m.training = training
    return module


def weights(module: nn.Module) -> Iterator[Tensor]:
    """The weights of the treated layers as rows, [units, fan-in], in order of definition."""
    return (layer.weight.detach().flatten(1) for _, layer in layers(module))
