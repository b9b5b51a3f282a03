"""What the layers of a model were called with in its latest forward pass, and which feeds which.

``reinforcement.py`` acts by it. Hooks do the recording, so that the model's class stays as it is.
"""

from collections.abc import Callable, Iterable
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from dndiv.checks import choose
from dndiv.init import Layer, refuse_untouchable

# what holds several weights in one, and is called without its layers
PACKED = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
# wrappers that shard or replicate a model, by name, for some of them are installed by few
REFUSED = ("DataParallel", "FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine")

# How many units of a layer are followed to the next one; and what is the unit's own, of what its
# inputs there depend on: not nothing, and in the mean more than a third, which three channels have
# that come last
TRIED, LEAST, MEAN = 8, 1e-4, 0.36

Choice = Iterable[str] | Callable[[str, Layer], bool] | None


class Call(NamedTuple):
    """A call's input and output, and the output's node in the graph of autograd."""

    given: Tensor
    output: Tensor
    # noted at once: what acts in place on the output afterwards puts its own node there
    node: torch.autograd.graph.Node | None


class Recorder:
    """Hooks on a model that keep the latest training pass: in training mode, with gradients on.

    Of a layer that the pass calls several times all calls are kept; where the model is not called
    as a whole, so that nothing says where a pass begins, the latest.

    Args:
        model: a module, or what ``DistributedDataParallel`` or ``torch.compile`` made of it.
        layers: which of its layers are chosen, see ``Reinforcement``.
        values: whether inputs and outputs are kept, or only the order of calls.
        copied: whether outputs are kept as they were, whatever acts on them in place afterwards.
        alive: whether to remember which inputs of a layer were not 0 in any pass.
        checked: is called after every training pass, to refuse a model that cannot be treated.

    Attributes:
        names: all linear and convolutional layers, with their names. chosen: those that are chosen.
        calls: what was recorded, by layer in the order of first calls; nothing without values.
        alive: bool [inputs] by layer. group: the processes that train a copy each, or None.
        training: whether the latest pass was a training pass; another one leaves ``calls``.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Choice,
        values: bool,
        copied: bool,
        alive: bool,
        checked: Callable,
    ):
        self.group = None
        while isinstance(model, DistributedDataParallel) or hasattr(model, "_orig_mod"):
            self.group = getattr(model, "process_group", self.group)
            model = getattr(model, "_orig_mod", None) or model.module  # type: ignore[assignment]
        self.model = model
        refuse_sharded(model)
        refuse_untouchable(model)
        self.names = _named(model)
        if len(self.names) < 2:
            raise ValueError(
                f"{type(model).__name__} has {len(self.names)} linear or convolutional layer "
                "and so no hidden one"
            )
        self.chosen = _chosen(self.names, layers)
        self.training = True  # where the model is not called as a whole, nothing says otherwise
        self._within = False  # the forward pass of the model as a whole
        self.calls: dict[Layer, tuple[Call, ...]] = {}
        self.alive: dict[Layer, Tensor] = {}
        self._values, self._copied, self._remember, self._checked = values, copied, alive, checked

    def attach(self) -> list[RemovableHandle]:
        """Begin. A compiled graph would hide what feeds what, so values break it at each layer."""
        record = Watch(torch.compiler.disable(self._record) if self._values else self._record)
        return [
            self.model.register_forward_pre_hook(Watch(self._before)),
            self.model.register_forward_hook(Watch(self._after)),
            *(layer.register_forward_hook(record, with_kwargs=True) for layer in self.names),
        ]

    def __getstate__(self):  # of a copy, which is not attached
        return self.__dict__ | {"calls": {}, "group": None}

    def _before(self, model, args) -> None:
        self._within = True
        self.training = model.training and torch.is_grad_enabled()
        if self.training:
            self.calls.clear()

    def _after(self, *_) -> None:
        self._within = False
        if self.calls and not torch.compiler.is_compiling():
            self._checked()

    def _record(self, layer, args, kwargs, output) -> None:
        if not layer.training or not torch.is_grad_enabled():
            return
        weight = layer._parameters.get("weight")
        if weight is not None and not isinstance(weight, nn.Parameter):
            return  # ``torch.func.functional_call`` has put others in their place for a while
        if not self._values:
            self.calls[layer] = ()
            return
        given = args[0] if args else kwargs["input"]
        kept = output.clone() if self._copied else output
        earlier = self.calls.get(layer, ()) if self._within else ()
        self.calls[layer] = (*earlier, Call(given, kept, output.grad_fn))
        if self._remember:
            alive = (units_first(layer, given.detach()) != 0).any(1)
            self.alive[layer] = self.alive.get(layer, False) | alive

    def of(self, layer: Layer) -> tuple[Call, ...]:
        """The calls of a layer. Raises RuntimeError if there was no training pass."""
        if not (calls := self.calls.get(layer)):
            raise RuntimeError(
                "no forward pass was seen: first call the model in training mode, with gradients on"
            )
        return calls

    def given(self, layer: Layer) -> Tensor:
        """The inputs of a layer in all calls, [inputs, samples]."""
        return torch.cat([units_first(layer, call.given) for call in self.of(layer)], 1)

    def received(self, layer: Layer, by: Layer) -> Tensor:
        """The activations of a layer as the following one receives them, [units, samples]."""
        # where a layer was flattened, a unit has several inputs of the next: samples of it
        return self.given(by).unflatten(0, (units(layer), -1)).flatten(1)

    def receivers(self, hidden: Iterable[Layer]) -> dict[Layer, Layer]:
        """By layer: the only one that its outputs reach, and that never receives anything else.

        Layers without a gradient are left out. Raises ValueError, naming those that have one, for
        a layer that has none: a residual or an attention joins in, or units do not match.
        """
        hidden = [h for h in hidden if any(call.node for call in self.of(h))]
        fed = self._fed()
        found = {}
        for layer in hidden:
            reached = [other for other, calls in fed.items() if layer in set().union(*calls)]
            alone = len(reached) == 1 and all(call == {layer} for call in fed[reached[0]])
            match = alone and inputs(reached[0]) % units(layer) == 0
            if match and self._in_order(layer, reached[0]):
                found[layer] = reached[0]
        for layer in hidden:
            if layer not in found:
                into = ", ".join(repr(self.names[l]) for l in fed if layer in set().union(*fed[l]))
                others = [self.names[l] for l in found]
                raise ValueError(
                    f"the {units(layer)} units of layer {self.names[layer]!r} do not match the "
                    f"inputs of one following layer that receives them alone, and in their order, "
                    f"as nn.Flatten has [samples, units, …] (they reach {into or 'none'}); "
                    + (f"choose others by layers=, of {others}" if others else "no layer fits")
                )
        return found

    def _in_order(self, layer: Layer, by: Layer) -> bool:
        """Whether units of a layer reach those inputs of the following one that ``received`` takes
        for theirs, and not some others, as where they were transposed or concatenated.

        Asked of a few units, by gradients: a normalization in between mixes them, but of no unit's
        inputs is the unit itself without a part, and in the mean it has the largest. Yes, where
        there are no gradients."""
        n, given, parts = units(layer), self.of(by)[-1].given, []
        edges = [GradientEdge(call.node, 0) for call in self.of(layer) if call.node]
        # the same for all samples would vanish behind a batch normalization
        waves = torch.arange(given.numel(), device=given.device).mul(0.7).cos().view_as(given)
        positions = len(getattr(by, "kernel_size", ()))
        for unit in range(0, n, max(1, n // TRIED)):
            own = torch.zeros(n, inputs(by) // n, device=given.device)
            own[unit] = 1
            into = (own.view(-1, *[1] * positions) * waves).to(given.dtype)
            try:
                found = torch.autograd.grad(given, edges, into, True, allow_unused=True)
            except RuntimeError:  # a part that is compiled keeps no graph for a second pass
                return True
            some = [units_first(layer, g).float() for g in found if g is not None]
            whole = sum((g.square().sum(1) for g in some), torch.zeros(n, device=given.device))
            if whole.any() and whole.isfinite().all():
                parts.append((whole[unit] / whole.sum()).item())
        return not parts or min(parts) > LEAST and fmean(parts) > MEAN

    def _fed(self) -> dict[Layer, list[set[Layer | None]]]:
        """By layer, call by call: whose outputs reach its input in the graph of autograd, with no
        other layer in between. None stands for any other matrix of parameters."""
        ends = {call.node: layer for layer, calls in self.calls.items() for call in calls}
        return {
            layer: [_feeders(call.given.grad_fn, ends) for call in calls]
            for layer, calls in self.calls.items()
        }


def _feeders(node, ends: dict) -> set[Layer | None]:
    """The layers whose outputs' nodes, ``ends``, a node depends on."""
    found, seen, left = set(), {None}, [node]
    while left:
        if (node := left.pop()) in seen:
            continue
        seen.add(node)
        if node in ends:
            found.add(ends[node])
            continue
        if hasattr(node, "variable") and node.variable.squeeze().dim() > 1:
            found.add(None)
        left += [before for before, _ in node.next_functions]
    return found


class Watch:
    """A hook that stays where it was put: in copies and pickles of the module it does nothing."""

    def __init__(self, act: Callable | None = None):
        self.act = act

    def __call__(self, *args):
        return None if self.act is None else self.act(*args)

    def __reduce__(self):
        return Watch, ()


def refuse_sharded(model: nn.Module) -> None:
    """Raise ValueError where layers are not whole, or not the ones that are called."""
    remedy = "whole layers are looked at; use DistributedDataParallel, or one process"
    for name, module in model.named_modules():
        for kind in type(module).__mro__:
            if kind.__name__ in REFUSED:
                raise ValueError(f"{name or 'the model'!r} is under {kind.__name__}, and {remedy}")
    for name, parameter in model.named_parameters():
        if type(parameter.data).__name__ == "DTensor":
            raise ValueError(f"parameter {name!r} is sharded (a DTensor), and {remedy}")


def _named(model: nn.Module) -> dict[Layer, str]:
    """The layers that can be recorded; a shared weight counts once. Those of what is ``PACKED``
    are never called."""
    found, weights = {}, set()
    packed: set[nn.Module] = set()
    for name, layer in model.named_modules():
        if isinstance(layer, PACKED):
            packed.update(layer.modules())
        if not isinstance(layer, Layer) or layer in packed:
            continue
        weight = layer._parameters.get("weight")  # none, if a parametrization computes it
        if isinstance(weight, nn.UninitializedParameter):
            raise ValueError(f"layer {name!r} is lazy and has no weight yet; run the model once")
        if weight is not None and not weight.is_floating_point():
            raise ValueError(f"layer {name!r} holds {weight.dtype}, not floating-point values")
        if weight is None or weight not in weights:
            found[layer] = name
            weights.add(weight)
    return found


def _chosen(names: dict[Layer, str], layers: Choice) -> dict[Layer, str]:
    if layers is None:
        return names
    if callable(layers):
        found = {layer: name for layer, name in names.items() if layers(name, layer)}
    else:
        listed = [layers] if isinstance(layers, str) else list(layers)
        for name in listed:
            choose("layer", name, names.values())
        found = {layer: name for layer, name in names.items() if name in listed}
    if not found:
        raise ValueError(f"layers= chooses none of {', '.join(names.values())}")
    return found


def units_first(layer: Layer, values: Tensor) -> Tensor:
    """Outputs or inputs of a layer as [units, samples]; positions of a convolution are samples."""
    positions = len(getattr(layer, "kernel_size", ()))
    moved = values.movedim(values.dim() - 1 - positions, 0)
    return moved.flatten(1) if moved.dim() > 1 else moved[:, None]  # one sample without a batch


def units(layer: Layer) -> int:
    """The number of units, or output channels, of a layer."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def inputs(layer: Layer) -> int:
    """The number of inputs, or input channels, of a layer."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
