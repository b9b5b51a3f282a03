"""Techniques on any PyTorch module, in a training loop of yours.

Example::

    diverse = dndiv.Reinforcement(model, optimizer, "activation_decorrelation", 0.1)  # before it
    ...
    loss = F.cross_entropy(model(x), y) + diverse.penalty()                           # in the loop
    ...
    diverse.remove()                                                 # the model is as it was
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from dndiv import streams
from dndiv.init import Layer, blocks, layers
from dndiv.techniques import Dose, by_shape


class Reinforcement:
    """One technique on the hidden layers of a model, in a training loop of yours.

    The hidden layers are the linear and convolutional ones but for the last, in the order in which
    they are first called; for ``reinitialize`` each must feed the next, and for techniques that
    look at outputs the last one must be linear. Positions of a convolution count as samples. Hooks
    record the layers' outputs while the model is in training mode with gradients on, and act after
    ``optimizer.step()``. The model's class, parameters and state dict stay as they are; layers that
    the optimizer does not train are left alone. On a GPU nothing differs, and under autocast
    penalties are computed in single precision. With ``torch.compile``, make the reinforcement
    first, for a compiled model does not see hooks that come later.

    ``reinitialize`` looks at what reaches the following layer, after activations, normalization and
    pooling: a unit is dead if that was 0 in every forward pass since the last action, and a
    duplicate by the latest mini-batch; mini-batches of fewer samples than twice the units
    (positions counted) are passed over.

    Args:
        model: any module with two or more linear or convolutional layers.
        optimizer: the one that trains it; changes of the weights come after its steps.
            ``reinitialize`` resets its state (moments) for the weights that it redraws.
        technique, coefficient, schedule, over, every: a ``techniques.Dose``.
        activation: what the model applies to the outputs of its hidden layers, for
            ``activation_decorrelation``.
        seed: of the fresh weights that ``reinitialize`` draws.

    Raises ValueError for unknown names, coefficients out of range, and models that a technique
    cannot act on.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        technique: str,
        coefficient: float,
        *,
        schedule: str = "constant",
        over: int = 0,
        activation: Callable[[Tensor], Tensor] = torch.relu,
        every: int = 0,
        seed: int = 0,
    ):
        self.dose = Dose(technique, coefficient, schedule, over, every)
        self.names = {layer: name for name, layer in layers(model)}
        if len(self.names) < 2:
            raise ValueError(
                f"{type(model).__name__} has {len(self.names)} linear or convolutional layer "
                "and so no hidden one"
            )
        self.optimizer, self.activation, self.steps = optimizer, activation, 0
        self._generator = streams.generator("redraw", seed)
        # by layer: its (input, output), as called; which inputs were not 0 since the last action
        self._calls: dict[Layer, tuple[Tensor, Tensor]] = {}
        self._active: dict[Layer, Tensor] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        if coefficient > 0:  # at 0 not even a hook is left
            self._handles = [
                model.register_forward_pre_hook(lambda *_: self._calls.clear()),
                optimizer.register_step_post_hook(lambda *_: self._after_step()),
                *(layer.register_forward_hook(self._record) for layer in self.names),
            ]

    def remove(self) -> None:
        """Take all hooks away; the model is an ordinary one again, with the weights it has now."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._calls.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()

    def penalty(self) -> Tensor:
        """What to add to the loss of the latest forward pass: a scalar; 0 if nothing is due."""
        technique = self.dose.technique
        if technique.penalty is None or not self.dose.due(self.steps):
            return torch.zeros((), device=next(iter(self.names)).weight.device)
        *hidden, last = self._chain()
        outgoing: list[Tensor] = []
        if technique.looks_at == "weights":
            values = [block.flatten(1) for h in hidden for block in blocks(h, h.weight)]
        elif technique.looks_at == "activations":
            outputs = [(h, self.activation(self._calls[h][1])) for h in hidden]
            values = [_units_first(h, out) for h, out in outputs]
        elif isinstance(last, nn.Linear):
            values = [_units_first(last, self._calls[last][0])]
            bias = last.weight.new_zeros(len(last.weight)) if last.bias is None else last.bias
            outgoing = [last.weight, bias]
        else:
            raise ValueError(
                f"{self.dose.name} takes the inputs of the last layer for members: layer "
                f"{self.names[last]!r} must be linear, not {type(last).__name__}"
            )
        with torch.autocast(last.weight.device.type, enabled=False):
            outgoing = [_at_least_single(v) for v in outgoing]
            total = torch.zeros((), device=last.weight.device)
            for _, rows in by_shape([_at_least_single(v) for v in values]):
                c = self._coefficient(partial(technique.redundancy, rows))
                total = total + (c * technique.penalty(rows, *outgoing)).sum()
            return total

    def _coefficient(self, measured: Callable[[], Tensor]) -> Tensor | float:
        c = self.dose.at(self.steps)
        return c * measured() if self.dose.schedule == "dynamic" else c

    def _record(self, layer, args, output):
        if layer.training and torch.is_grad_enabled():
            self._calls[layer] = args[0], output
            if self.dose.technique.change and self.dose.technique.looks_at == "activations":
                active = (_units_first(layer, args[0].detach()) != 0).any(1)
                self._active[layer] = self._active.get(layer, False) | active

    def _chain(self) -> list[Layer]:
        """The layers in the order in which they were called."""
        if len(self._calls) < 2:
            raise RuntimeError(
                "no forward pass was seen: first call the model in training mode, with gradients on"
            )
        return list(self._calls)

    @torch.no_grad()
    def _after_step(self) -> None:
        self.steps += 1
        technique = self.dose.technique
        if technique.change and self.dose.due(self.steps):
            groups = self.optimizer.param_groups
            trained = {id(p) for group in groups for p in group["params"] if p.requires_grad}
            chain = self._chain()
            for layer, following in zip(chain, chain[1:]):
                if id(layer.weight) not in trained:
                    continue
                if technique.looks_at == "weights":
                    for block in blocks(layer, layer.weight):
                        rows = block.flatten(1)
                        c = self._coefficient(partial(technique.redundancy, rows))
                        block.copy_(technique.change(rows, c).view_as(block))
                elif id(following.weight) in trained:
                    self._renew(layer, following)
            self._active.clear()
        self._calls.clear()

    def _renew(self, layer: Layer, following: Layer) -> None:
        """Change redundant units of a layer, and forget what the optimizer remembers of them."""
        weight, onward = self._plain(layer), self._plain(following)
        units = len(weight)
        if onward.shape[1] % units:
            raise ValueError(
                f"reinitialize needs layers that feed one another: the {units} units of layer "
                f"{self.names[layer]!r} do not match the {onward.shape[1]} inputs of layer "
                f"{self.names[following]!r}"
            )
        # where a layer was flattened, a unit has several inputs of the next: samples of it
        hidden = _units_first(following, self._calls[following][0]).float()
        hidden = hidden.unflatten(0, (units, -1)).flatten(1)
        if hidden.shape[1] < 2 * units:
            return
        # one that is silent on this mini-batch alone was on, by itself, in an earlier one
        active = self._active[following].unflatten(0, (units, -1)).any(1)
        earlier = (active & ~hidden.any(1)).diag().to(hidden)
        hidden = torch.cat([hidden, earlier], 1).to(weight.dtype)
        c = self._coefficient(partial(self.dose.technique.redundancy, hidden))

        per_unit = onward.unflatten(1, (units, -1)).flatten(2)  # [outputs, units, ·]
        outgoing = per_unit.transpose(1, 2).flatten(0, 1)[None].clone()  # [1, ·, units]
        rows = weight.flatten(1)[None].clone()
        bias = None if layer.bias is None else layer.bias.detach()[None]
        draw = torch.randn(rows.shape, generator=self._generator).to(rows)
        inputs = _mean_input(layer, self._calls[layer][0].to(weight.dtype))[None]
        change = self.dose.technique.change
        assert change is not None  # or it would not have come to this
        redrawn = change(rows, bias, outgoing, inputs, hidden[None], c, draw)[0]
        if not redrawn.any():
            return
        weight.copy_(rows[0].view_as(weight))
        onward.unflatten(1, (units, -1))[:, redrawn] = 0
        for parameter in (layer.weight, layer.bias, following.weight):
            for state in self._moments(parameter):
                if parameter is following.weight:
                    state.unflatten(1, (units, -1))[:, redrawn] = 0
                else:
                    state[redrawn] = 0

    def _moments(self, parameter: Tensor | None) -> Iterable[Tensor]:
        """What the optimizer keeps of a parameter, value by value."""
        if parameter is None:
            return []
        kept = self.optimizer.state.get(parameter, {}).values()
        return [s for s in kept if isinstance(s, Tensor) and s.shape == parameter.shape]

    def _plain(self, layer: Layer) -> Tensor:
        """The weight [units, inputs, *kernel] of a layer whose units can be redrawn."""
        plain = isinstance(layer, nn.Linear) or (
            isinstance(layer, nn.Conv2d)
            and layer.groups == 1
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
        )
        if not plain:
            raise ValueError(
                "reinitialize treats linear layers and plain two-dimensional convolutions, not "
                f"layer {self.names[layer]!r}, {layer}"
            )
        return layer.weight.detach()


def _units_first(layer: Layer, values: Tensor) -> Tensor:
    """Outputs or inputs of a layer as [units, samples]; positions of a convolution are samples."""
    positions = len(getattr(layer, "kernel_size", ()))
    return values.movedim(values.dim() - 1 - positions, 0).flatten(1)


def _mean_input(layer: Layer, seen: Tensor) -> Tensor:
    """The mean over samples of what each unit of a layer is a product with, [fan-in]."""
    if not isinstance(layer, nn.Conv2d):
        return seen.flatten(0, -2).mean(0)
    size, dilation, padding, stride = (
        getattr(layer, name) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    return nn.functional.unfold(seen, size, dilation, padding, stride).mean((0, 2))


def _at_least_single(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
