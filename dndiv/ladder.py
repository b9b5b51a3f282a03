"""The arms that the experiments compare: initializations of whole networks, by name, from the draw of a seed."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dndiv import init


def _each(function: Callable[[Tensor], Tensor]) -> Callable:
    """A step that applies ``function`` to every weight."""
    return lambda module, inputs, generator: [function(layer.weight) for _, layer in init.layers(module)]


def _drawn(function: Callable[..., Tensor], **options) -> tuple[Callable, ...]:
    """A start with weights of ``torch.nn.init`` and zero biases."""
    def draw(module, inputs, generator):
        for _, layer in init.layers(module):
            function(layer.weight, generator=generator, **options)
        init.zero_bias_(module)
    return (draw,)


@torch.no_grad()
def _sparse_(weight: Tensor, generator: torch.Generator) -> Tensor:
    """15 incoming connections per unit, from a unit Gaussian (Martens 2010).

    ``torch.nn.init.sparse_`` thins out the other dimension, and not by its generator.
    """
    kept = torch.rand(weight.shape, generator=generator).argsort(1) < 15
    return weight.normal_(generator=generator).mul_(kept)


# Every arm is a sequence of steps (module, inputs, generator), each of which changes one thing.
_DEFAULT = (lambda module, inputs, generator: init.default_(module, generator),)
_DECORRELATED = (_each(init.decorrelated_),)
_SIMPLEX = (_each(init.simplex_),)
_STANDARDIZED = (lambda module, inputs, generator: init.standardized_(module, inputs),)
_ALIVE = (lambda module, inputs, generator: init.alive_(module, inputs),)
_ZERO_BIAS = (*_DEFAULT, lambda module, inputs, generator: init.zero_bias_(module))
# PyTorch's uniform draw has variance 1/(3 fan-in), He's is 2/fan-in: the same draw times sqrt(6)
_HE_SCALE = (*_ZERO_BIAS, _each(torch.no_grad()(lambda weight: weight.mul_(math.sqrt(6)))))
_EQUAL_NORMS = (*_HE_SCALE, _each(init.equalized_))

# The ladder: each arm differs from the one before it in one thing, from the same draw.
LADDER = {
    "default": _DEFAULT,
    "zero_bias": _ZERO_BIAS,
    "he_scale": _HE_SCALE,
    "equal_norms": _EQUAL_NORMS,
    "decorrelated": _EQUAL_NORMS + _DECORRELATED,
    "standardized": _EQUAL_NORMS + _DECORRELATED + _STANDARDIZED,
    "alive": _EQUAL_NORMS + _DECORRELATED + _ALIVE,
}
ARMS: dict[str, tuple[Callable, ...]] = LADDER | {
    # the upper rungs with negatively correlated directions
    "simplex": _EQUAL_NORMS + _SIMPLEX,
    "simplex_standardized": _EQUAL_NORMS + _SIMPLEX + _STANDARDIZED,
    "simplex_alive": _EQUAL_NORMS + _SIMPLEX + _ALIVE,
    # directions alone, at the default scale: the draw's own norms and biases
    "default_decorrelated": _DEFAULT + _DECORRELATED,
    "default_simplex": _DEFAULT + _SIMPLEX,
    "default_gram": _DEFAULT + (_each(init.gram_),),
}
# Initializations of the literature, with zero biases.
OTHERS = {
    "glorot": _drawn(nn.init.xavier_uniform_),
    "he": _drawn(nn.init.kaiming_normal_, nonlinearity="relu"),
    "orthogonal": _drawn(nn.init.orthogonal_),
    "sparse": _drawn(_sparse_),
    "lsuv": (lambda module, inputs, generator: init.lsuv_(module, inputs, generator=generator),),
    "standard_normal": _drawn(nn.init.normal_),
}
for _name, _steps in OTHERS.items():  # each with its norm-matched twin
    ARMS |= {_name: _steps, f"{_name}_decorrelated": _steps + _DECORRELATED}


def initialize_(module: nn.Module, arm: str, inputs: Tensor, generator: torch.Generator) -> nn.Module:
    """Initialize ``module`` as the arm of that name does, from the draw of ``generator``."""
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; choose from {', '.join(ARMS)}")
    for step in ARMS[arm]:
        step(module, inputs, generator)
    return module
