"""Techniques on any PyTorch module, in a training loop of yours: hooks that are removed again."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dndiv.init import blocks, layers
from dndiv.reinforce import OF_WEIGHTS, PENALTIES, STEPS, STREAM, Technique, by_shape, orthogonal_step_, redundancy, reinitialize_


class Reinforcement:
    """One technique on the hidden layers of a model, in a training loop of yours.

    The hidden layers are the linear and convolutional ones but for the last, in the order in which they are first called; for
    ``reinitialize`` and ``negative_correlation`` each must feed the next. Positions of a convolution count as samples. Hooks
    record the layers' outputs while the model is in training mode with gradients on, and act after ``optimizer.step()``.
    The model's class, parameters and state dict stay as they are; layers that the optimizer does not train are left alone.
    On a GPU nothing differs, and under autocast penalties are computed in single precision. With ``torch.compile``, make the
    reinforcement first, for a compiled model does not see hooks that come later.

    ``reinitialize`` looks at what reaches the following layer, after activations, normalization and pooling: a unit is dead
    if that was 0 in every forward pass since the last action, and a duplicate by the latest mini-batch; mini-batches of fewer
    samples than twice the units (positions counted) are passed over.

    Args:
        model: any module with two or more linear or convolutional layers.
        optimizer: the one that trains it; after its steps the STEPS techniques act. ``reinitialize`` resets its state
            (moments) for the weights that it redraws.
        technique: a name in ``TECHNIQUES``. coefficient, schedule, over: see the head of the module.
        activation: what the model applies to the outputs of its hidden layers, for ``activation_decorrelation``.
        every: the number of optimizer steps between two actions; a penalty is as much stronger when it acts. By default 1 for
            penalties, and what ``STEPS`` says for the others.
        seed: of the fresh weights that ``reinitialize`` draws.

    Raises ValueError for unknown names, coefficients out of range, and models that a technique cannot act on.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, technique: str, coefficient: float, *,
                 schedule: str = "constant", over: int = 0, activation: Callable[[Tensor], Tensor] = torch.relu,
                 every: int = 0, seed: int = 0):
        self.technique = Technique(technique, coefficient, schedule, over, every)
        self.names = {layer: name for name, layer in layers(model)}
        if len(self.names) < 2:
            raise ValueError(f"{type(model).__name__} has {len(self.names)} linear or convolutional layer and so no hidden one")
        self.optimizer, self.activation, self.steps = optimizer, activation, 0
        self._generator = torch.Generator().manual_seed(STREAM + seed)
        self._calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # layer to its (input, output), as called
        self._active: dict[nn.Module, Tensor] = {}  # layer to which of its inputs were not 0 since the last action
        self._handles = []
        if coefficient > 0:  # at 0 not even a hook is left
            self._handles = [model.register_forward_pre_hook(lambda *_: self._calls.clear()),
                             optimizer.register_step_post_hook(lambda *_: self._after_step())]
            self._handles += [layer.register_forward_hook(self._record) for layer in self.names]

    def remove(self) -> None:
        """Take all hooks away; the model is an ordinary one again, with the weights that it has now."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._calls.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()

    def _record(self, layer, args, output):
        if layer.training and torch.is_grad_enabled():
            self._calls[layer] = args[0], output
            if self.technique.name == "reinitialize":
                active = (_units_first(args[0].detach(), layer) != 0).any(1)
                self._active[layer] = self._active.get(layer, False) | active

    def _layers(self) -> list[nn.Module]:
        if len(self._calls) < 2:
            raise RuntimeError("no forward pass was seen: call the model in training mode, with gradients on, first")
        return list(self._calls)

    def _coefficient(self, measured: Callable[[], Tensor]) -> Tensor | float:
        c = self.technique.at(self.steps)
        return c * measured() if self.technique.schedule == "dynamic" else c

    def penalty(self) -> Tensor:
        """What to add to the loss of the latest forward pass: a scalar, 0 for techniques that add nothing."""
        name = self.technique.name
        if name in STEPS or not self.technique.due(self.steps):
            return torch.zeros((), device=next(iter(self.names)).weight.device)
        *layers, last = self._layers()
        outgoing = ()
        if name in OF_WEIGHTS:
            values = [block.flatten(1) for layer in layers for block in blocks(layer, layer.weight)]
        elif name == "activation_decorrelation":
            values = [_units_first(self.activation(self._calls[layer][1]), layer) for layer in layers]
        elif isinstance(last, nn.Linear):
            values, outgoing = [_units_first(self._calls[last][0], last)], (last.weight,)
        else:
            raise ValueError(f"negative_correlation takes the inputs of the last layer for members: layer {self.names[last]!r} "
                             f"must be linear, not {type(last).__name__}")
        with torch.autocast(last.weight.device.type, enabled=False):
            values, outgoing = ([v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for v in part]
                                for part in (values, outgoing))
            return sum((self._coefficient(lambda: redundancy(rows, name in OF_WEIGHTS)) * PENALTIES[name](rows, *outgoing)).sum()
                       for _, rows in by_shape(values))

    @torch.no_grad()
    def _after_step(self) -> None:
        self.steps += 1
        if self.technique.name in STEPS and self.technique.due(self.steps):
            trained = {id(p) for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad}
            chain = self._layers()
            for layer, following in zip(chain, chain[1:]):
                if id(layer.weight) not in trained:
                    continue
                if self.technique.name == "orthogonal_step":
                    for block in blocks(layer, layer.weight):
                        rows = block.flatten(1)
                        block.copy_(orthogonal_step_(rows, self._coefficient(lambda: redundancy(rows, True))).view_as(block))
                elif id(following.weight) in trained:
                    self._reinitialize(layer, following)
            self._active.clear()
        self._calls.clear()

    def _reinitialize(self, layer, following):
        (weight,), (onward,) = self._single(layer), self._single(following)
        units = len(weight)
        if onward.shape[1] % units:
            raise ValueError(f"reinitialize needs layers that feed one another: the {units} units of layer {self.names[layer]!r} "
                             f"do not match the {onward.shape[1]} inputs of layer {self.names[following]!r}")
        # where a layer was flattened, a unit has several inputs of the next: they are samples of it
        hidden = _units_first(self._calls[following][0], following).float().unflatten(0, (units, -1)).flatten(1)
        if hidden.shape[1] < 2 * units:
            return
        # one that is silent on this mini-batch alone was on, by itself, in an earlier one
        earlier = self._active[following].unflatten(0, (units, -1)).any(1) & ~hidden.any(1)
        hidden = torch.cat([hidden, earlier.diag().to(hidden)], 1).to(weight.dtype)
        outgoing = onward.unflatten(1, (units, -1)).flatten(2).transpose(1, 2).flatten(0, 1)[None].clone()  # [1, ·, units]
        seen = self._calls[layer][0].to(weight.dtype)
        inputs = nn.functional.unfold(seen, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mean((0, 2)) \
            if isinstance(layer, nn.Conv2d) else seen.flatten(0, -2).mean(0)
        rows = weight.flatten(1)[None].clone()
        draw = torch.randn(rows.shape, generator=self._generator).to(rows)
        bias = None if layer.bias is None else layer.bias.detach()[None]
        c = self._coefficient(lambda: redundancy(hidden, False))
        redrawn = reinitialize_(rows, bias, outgoing, inputs[None], hidden[None], c, draw)[0]
        if not redrawn.any():
            return
        weight.copy_(rows[0].view_as(weight))
        onward.unflatten(1, (units, -1))[:, redrawn] = 0
        for parameter in (layer.weight, layer.bias, following.weight):
            for state in self.optimizer.state.get(parameter, {}).values() if parameter is not None else ():
                if isinstance(state, Tensor) and state.shape == parameter.shape:
                    if parameter is following.weight:
                        state.unflatten(1, (units, -1))[:, redrawn] = 0
                    else:
                        state[redrawn] = 0

    def _single(self, layer) -> list[Tensor]:
        if not (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1
                                                 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str))):
            raise ValueError(f"reinitialize treats linear layers and plain two-dimensional convolutions, not layer "
                             f"{self.names[layer]!r}, {layer}")
        return blocks(layer, layer.weight.detach())


def _units_first(values: Tensor, layer: nn.Module) -> Tensor:
    """Outputs or inputs of a layer as [units, samples]; positions of a convolution are samples."""
    dimensions = len(getattr(layer, "kernel_size", ()))
    return values.movedim(values.dim() - 1 - dimensions, 0).flatten(1)
