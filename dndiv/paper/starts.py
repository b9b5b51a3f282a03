"""How networks start, by name: initializations of whole networks, from the draw of a seed."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dndiv import init, literature
from dndiv.checks import choose

# A start is a sequence of steps (module, inputs, generator), each of which changes one thing.
Step = Callable[[nn.Module, Tensor, torch.Generator], object]


def _each(function: Callable[[Tensor], Tensor]) -> Step:
    """A step that applies ``function`` to every weight."""

    def step(module, inputs, generator):
        for _, layer in init.layers(module):
            function(layer.weight)

    return step


def _drawn(function: Callable[..., Tensor], **options) -> tuple[Step, ...]:
    """A start with weights of ``torch.nn.init`` and zero biases."""

    def step(module, inputs, generator):
        for _, layer in init.layers(module):
            function(layer.weight, generator=generator, **options)
        init.zero_bias_(module)

    return (step,)


def _default(module, inputs, generator):
    init.default_(module, generator)


def _zero(module, inputs, generator):
    init.zero_bias_(module)


def _standardized(module, inputs, generator):
    init.standardized_(module, inputs)


def _alive(module, inputs, generator):
    init.alive_(module, inputs)


def _relayed(module, inputs, generator):
    init.relayed_(module, inputs)


def _balanced(module, inputs, generator):
    init.balanced_(module, inputs)


def _lsuv(module, inputs, generator):
    init.lsuv_(module, inputs, generator=generator)


def _rai(module, inputs, generator):
    for _, layer in init.layers(module):
        literature.rai_(layer.weight, layer.bias, generator=generator)


def _looks_linear(module, inputs, generator):
    weights = [layer.weight for _, layer in init.layers(module)]
    for weight in weights:
        first, last = weight is weights[0], weight is weights[-1]
        literature.looks_linear_(weight, first=first, last=last, generator=generator)


def _rewired(module, inputs, generator):
    for _, layer in init.layers(module):
        literature.rewired_(layer.weight, generator=generator)


def _sinusoidal(module, inputs, generator):
    literature.sinusoidal_(module)


def _anyinit(module, inputs, generator):
    literature.anyinit_(module, inputs, generator=generator)


@torch.no_grad()
def _he_scale_(weight: Tensor) -> Tensor:
    """PyTorch's uniform draw has variance 1/(3 fan-in), He's is 2/fan-in: the same times √6."""
    return weight.mul_(math.sqrt(6))


def _alike(share: float, noise: float) -> Step:
    """A step that makes this share of every hidden layer's units, at least two, near duplicates of
    its first one: its row and bias, but for noise of this share of the row's norm."""

    @torch.no_grad()
    def step(module, inputs, generator):
        for _, layer in init.layers(module)[:-1]:
            units, fan_in = layer.weight.shape
            alike = max(2, round(share * units))
            row = layer.weight[0].clone()
            drawn = torch.randn(alike - 1, fan_in, generator=generator) * fan_in**-0.5
            layer.weight[1:alike] = row + noise * row.norm() * drawn
            layer.bias[1:alike] = layer.bias[0]

    return step


@torch.no_grad()
def _sparse_(weight: Tensor, generator: torch.Generator) -> Tensor:
    """15 incoming connections per unit, from a unit Gaussian (Martens 2010).

    ``torch.nn.init.sparse_`` thins out the other dimension, and not by its generator.
    """
    kept = torch.rand(weight.shape, generator=generator).argsort(1) < 15
    return weight.normal_(generator=generator).mul_(kept)


_DECORRELATED, _SIMPLEX = _each(init.decorrelated_), _each(init.simplex_)
_DEFAULT = (_default,)
_ZERO_BIAS = (*_DEFAULT, _zero)
_HE_SCALE = (*_ZERO_BIAS, _each(_he_scale_))
_EQUAL_NORMS = (*_HE_SCALE, _each(init.equalized_))
_GLOROT = _drawn(nn.init.xavier_uniform_)
_HE = _drawn(nn.init.kaiming_normal_, nonlinearity="relu")
_ORTHOGONAL = _drawn(nn.init.orthogonal_)
_SPARSE = _drawn(_sparse_)
_NORMAL = _drawn(nn.init.normal_)

STARTS: dict[str, tuple[Step, ...]] = {
    # the ladder: each differs from the one before it in one thing, from the same draw
    "default": _DEFAULT,
    "zero_bias": _ZERO_BIAS,
    "he_scale": _HE_SCALE,
    "equal_norms": _EQUAL_NORMS,
    "decorrelated": (*_EQUAL_NORMS, _DECORRELATED),
    "standardized": (*_EQUAL_NORMS, _DECORRELATED, _standardized),
    "alive": (*_EQUAL_NORMS, _DECORRELATED, _alive),
    # its upper rungs with negatively correlated directions
    "simplex": (*_EQUAL_NORMS, _SIMPLEX),
    "simplex_standardized": (*_EQUAL_NORMS, _SIMPLEX, _standardized),
    "simplex_alive": (*_EQUAL_NORMS, _SIMPLEX, _alive),
    "relayed": (*_EQUAL_NORMS, _SIMPLEX, _relayed),
    # directions alone, at the default scale: the draw's own norms and biases
    "default_decorrelated": (*_DEFAULT, _DECORRELATED),
    "default_simplex": (*_DEFAULT, _SIMPLEX),
    "default_gram": (*_DEFAULT, _each(init.gram_)),
    # as ``dndiv.decorrelate_(model, inputs=)`` leaves them
    "balanced": (*_DEFAULT, _DECORRELATED, _balanced),
    # redundancy that is put there: half or all units near duplicates, but for 1 % or 10 %
    "half_alike_1": (*_DEFAULT, _alike(0.5, 0.01)),
    "half_alike_10": (*_DEFAULT, _alike(0.5, 0.1)),
    "all_alike_1": (*_DEFAULT, _alike(1.0, 0.01)),
    "all_alike_10": (*_DEFAULT, _alike(1.0, 0.1)),
    # initializations of the literature, with zero biases, each with its norm-matched twin
    "glorot": _GLOROT,
    "glorot_decorrelated": (*_GLOROT, _DECORRELATED),
    "he": _HE,
    "he_decorrelated": (*_HE, _DECORRELATED),
    "orthogonal": _ORTHOGONAL,
    "orthogonal_decorrelated": (*_ORTHOGONAL, _DECORRELATED),
    "sparse": _SPARSE,
    "sparse_decorrelated": (*_SPARSE, _DECORRELATED),
    "lsuv": (_lsuv,),
    "lsuv_decorrelated": (_lsuv, _DECORRELATED),
    "standard_normal": _NORMAL,
    "standard_normal_decorrelated": (*_NORMAL, _DECORRELATED),
    # peers that say what they are better at; RAI draws biases too, the others have none. Where rows
    # are dependent by design (looks-linear, sinusoidal, deep-narrow) there is no twin.
    "rai": (_rai,),
    "rai_decorrelated": (_rai, _DECORRELATED),
    "looks_linear": (_looks_linear, _zero),
    "rewired": (*_HE, _rewired),
    "rewired_decorrelated": (*_HE, _rewired, _DECORRELATED),
    "deep_narrow": (_each(literature.deep_narrow_), _zero),
    "sinusoidal": (_sinusoidal,),
    "anyinit": (_anyinit,),
    "anyinit_decorrelated": (_anyinit, _DECORRELATED),
}


def start_(
    module: nn.Module, name: str, inputs: Tensor | None, generator: torch.Generator
) -> nn.Module:
    """Initialize ``module`` as the start of that name does, from the draw of ``generator``.

    inputs: [samples, pixels], training inputs that data-aware starts look at.
    """
    choose("start", name, STARTS)
    for step in STARTS[name]:
        step(module, inputs, generator)
    return module
