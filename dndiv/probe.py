"""One forward pass through a module, in the mode in which it will train, that leaves no trace."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

FORMS = (
    "inputs= is a tensor, a tuple of the module's arguments, a dict of them by name, or a batch of "
    "a DataLoader, [x, y], whose labels are left out"
)
RECTIFIERS = {
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "gelu",
    "silu", "mish", "softplus", "prelu", "rrelu", "threshold", "hardswish",
}  # fmt: skip
NORMALIZATIONS = {"batch_norm", "instance_norm"}  # each unit's own mean and scale are undone


def arguments(module: nn.Module, inputs: Any) -> tuple[tuple, dict]:
    """(positional, by name) arguments of ``module``; labels beside them are left out.

    A tuple is taken as it is, but for what the module has no place for; of a list, which is how a
    DataLoader yields a batch, as many as the module requires. Raises ValueError where there is not
    enough, and for empty or non-finite inputs.
    """
    by_name = dict(inputs) if isinstance(inputs, Mapping) else {}
    given = () if by_name else tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if not by_name and not given:
        raise ValueError(f"the inputs are empty: {FORMS}")
    wrapped = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(module, wrapped) or hasattr(module, "_orig_mod"):  # these take anything
        module = module.module if isinstance(module, wrapped) else module._orig_mod  # type: ignore
    parameters = inspect.signature(module.forward).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in places if p.default is p.empty]
    kinds = {p.kind for p in parameters}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        by_name = {k: v for k, v in by_name.items() if k in {p.name for p in parameters}}
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        given = given[: max(1, len(needed)) if isinstance(inputs, list) else len(places)]
    missing = [n for n in needed[len(given) :] if n not in by_name]
    if missing:
        raise ValueError(
            f"{type(module).__name__} takes {', '.join(needed)}, and the inputs have no "
            f"{missing[0]}: {FORMS}"
        )
    for tensor in _tensors((given, by_name)):
        if tensor.numel() == 0:
            raise ValueError(f"the inputs are empty: a tensor of shape {tuple(tensor.shape)}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError("the inputs hold non-finite values; clean the batch first")
    return given, by_name


def _tensors(value) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, tuple, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def forward(module: nn.Module, inputs: Any, layers: Iterable[nn.Module], hook: Callable) -> Any:
    """The module's output, with ``hook(layer, args, kwargs, output)`` at every call of a layer.

    Inputs stay, also where the module changes them in place. Other errors than ValueError become
    one that says what was run, and on what.
    """
    args, kwargs = tree_map_only(Tensor, Tensor.clone, arguments(module, inputs))
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter):
            raise ValueError(f"{name!r} is lazy and has no values yet; run the module once first")
    handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer in layers]
    try:
        return module(*args, **kwargs)
    except ValueError:
        raise
    except Exception as error:
        shapes = [f"{t.dtype} {tuple(t.shape)}" for t in _tensors((args, kwargs))]
        raise ValueError(
            f"{type(module).__name__} cannot be run on these inputs ({', '.join(shapes)}): "
            f"{type(error).__name__}: {error}. {FORMS}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def training(module: nn.Module) -> Iterator[None]:
    """Training mode, in which batch norm takes the statistics of the batch, but without dropout.

    Modes, buffers (running statistics) and the global random streams are then as they were. Under
    autocast, weights are cast at every use: a cached one would not know of a change.
    """
    modes = [(m, m.training) for m in module.modules()]
    buffers = [
        (m, *b, b[1].clone())
        for m in module.modules()
        for b in m._buffers.items()
        if b[1] is not None
    ]
    cached = torch.is_autocast_cache_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of what remains random: the same result every time
        try:
            torch.set_autocast_cache_enabled(False)
            torch.clear_autocast_cache()
            module.train()
            for m in module.modules():
                if isinstance(m, nn.modules.dropout._DropoutNd):
                    m.eval()
            yield
        finally:
            torch.set_autocast_cache_enabled(cached)
            for m, mode in modes:
                m.training = mode
            with torch.no_grad():
                for m, name, buffer, value in buffers:
                    m._buffers[name] = buffer.copy_(value)  # type: ignore[union-attr]


@contextmanager
def unchanged_on_error(module: nn.Module) -> Iterator[None]:
    """Parameters are as they were if an error leaves the block."""
    lazy = nn.UninitializedParameter
    before = [(p, p.detach().clone()) for p in module.parameters() if not isinstance(p, lazy)]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)
        raise


class Following(TorchFunctionMode):
    """Which rectifier or normalization reads a tensor: ``name(tensor)``, or "", and
    ``result(tensor)``, what is left of it after all of these.

    Watched tensors are kept alive, so that no other one gets their id.
    """

    def __init__(self):
        super().__init__()
        self._watched: dict[int, Tensor] = {}
        self._read: dict[int, tuple[str, Tensor]] = {}

    def watch(self, tensor: Tensor) -> None:
        """Notice what reads a tensor from now on."""
        self._watched[id(tensor)] = tensor

    def name(self, tensor: Tensor) -> str:
        """What reads it: the name of a rectifier or normalization, or ""."""
        return self._read.get(id(tensor), ("", tensor))[0]

    def result(self, tensor: Tensor) -> Tensor:
        """What is left of it after all rectifiers and normalizations."""
        after = self._read.get(id(tensor), ("", tensor))[1]
        return tensor if after is tensor else self.result(after)

    def rectified(self, tensor: Tensor) -> bool:
        """Whether a rectifier reads it, or what a normalization makes of it."""
        name, after = self._read.get(id(tensor), ("", tensor))
        return name in RECTIFIERS or (after is not tensor and self.rectified(after))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        out = func(*args, **(kwargs or {}))
        if name in RECTIFIERS | NORMALIZATIONS:
            for tensor in (*args[:1], *(kwargs or {}).values()):
                if id(tensor) in self._watched:
                    self._read.setdefault(id(tensor), (name, out))
                    self.watch(out)
        return out


class Branches(TorchFunctionMode):
    """Which batch norms residual branches end in: ``ends``, one for each addition.

    Of two tensors that are added, the branch is the one that has passed more layers; ``passed`` is
    to be called, as a forward hook, at each of them, and at each batch norm.
    """

    def __init__(self):
        super().__init__()
        self.ends: list[nn.modules.batchnorm._BatchNorm] = []

    def passed(self, layer: nn.Module, args, kwargs, out: Any) -> None:
        """Note that a tensor is the output of a layer or a batch norm."""
        if isinstance(out, Tensor):
            self._mark(out, getattr(out, "_passed", (0,))[0] + 1, layer)

    def _mark(self, tensor, layers: int, last: nn.Module | None) -> None:
        tensor._passed = layers, last  # on the tensor itself, which nothing else keeps alive

    def __torch_function__(self, func, types, args=(), kwargs=None):
        tensors = _tensors((args, kwargs or {}))
        passed = sorted([t._passed for t in tensors if hasattr(t, "_passed")], key=lambda p: p[0])
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name == "add" and len(passed) == 2:
            (less, _), (more, last) = passed
            if less < more and isinstance(last, nn.modules.batchnorm._BatchNorm):
                self.ends.append(last)
        if passed and isinstance(out, Tensor):
            # what only scales, as stochastic depth does, is the same branch
            same = name == "mul" and len(passed) == 1
            self._mark(out, passed[-1][0], passed[0][1] if same else None)
        return out
