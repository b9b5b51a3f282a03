"""Techniques on any PyTorch module, in a training loop of yours.

Example:

    diverse = dndiv.Reinforcement(model, optimizer, "activation_decorrelation", 0.1)  # before it
    ...
    loss = F.cross_entropy(model(x), y) + diverse.penalty()                           # in the loop
    ...
    diverse.remove()                                                 # the model is as it was

For Lightning, transformers and skorch there are adapters in ``dndiv.integrations``.
"""

import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import LBFGS, Optimizer

from dndiv import streams
from dndiv.checks import choose, typed
from dndiv.init import Layer, blocks
from dndiv.recording import PACKED, Choice, Recorder, Watch, inputs, refuse_sharded, units_first
from dndiv.techniques import Dose, by_shape

PATIENCE = 1000  # training passes without a step of the optimizer, until something is said
_AT_WORK: weakref.WeakSet["Reinforcement"] = weakref.WeakSet()


class Reinforcement:
    """One technique on the hidden layers of a model, in a training loop of yours.

    The hidden layers are the linear and convolutional ones but for the last, in the order in which
    they are called; for techniques that look at outputs the last one must be linear. Positions of a
    convolution count as samples. Hooks record the layers while the model is in training mode with
    gradients on, and act after ``optimizer.step()``. The model's class, parameters and state dict
    stay as they are; layers that the optimizer does not train are left alone.

    The activations of a layer are what the following layer receives, after normalization, pooling
    and dropout. Those of all calls count where a pass calls a layer several times, as a siamese
    network does. Which layer follows, that it receives nothing else, and that it receives the units
    in their order, those of a flattened convolution as ``nn.Flatten`` has them, is read off the
    graph of autograd; where a residual, an attention or a concatenation joins in, the first forward
    pass raises a ValueError that names the layers to choose from. What is added without a gradient,
    such as the model's input, cannot be seen there: leave such a layer out by ``layers``.

    ``reinitialize`` and ``redo`` act after every 100th step, if ``every`` says nothing else, on
    units that are dead: what reaches the following layer was 0 in every forward pass since the last
    action. Which are duplicates, or dormant, is judged by the latest mini-batch; where it has fewer
    samples than twice the units (positions counted), dead ones alone are redrawn, and a warning
    says so. Both zero what a redrawn unit passes on, and warn where the following layer is not
    trained.

    Beside a plain loop it is at home in:

    * gradient accumulation: divide the penalty as you divide the loss; steps are the optimizer's.
    * closures (``LBFGS``), ``GradScaler``, and autocast: penalties are in single precision.
    * ``torch.compile``, if the reinforcement is made first. A technique that looks at activations
      or outputs breaks the compiled graph at each layer.
    * ``DistributedDataParallel``: pass the wrapped model; ``reinitialize`` acts by what the first
      rank sees, and calls dead what is dead on all. Sharded models are refused.
    * copies: a deep copy, an average of the weights or a loaded pickle of the model is not watched
      and disturbs nothing; a copy of the reinforcement has no penalty to give, and says so.
      ``state_dict`` resumes a run to the last bit.

    Args:
        model: any module with two or more linear or convolutional layers.
        optimizer: the one that trains it; changes of the weights come after its steps.
            ``reinitialize`` resets its state (moments) for the weights that it redraws. Of several,
            a sequence, the last is the one whose step ends a step.
        technique, coefficient, schedule, over, every: a ``techniques.Dose``.
        layers: the hidden layers to treat, by their names in the model, or by a function (name,
            layer) that says whether; by default all. The one that is called last is never treated.
        activation: what the model applies to the outputs of its hidden layers, for
            ``activation_decorrelation`` to look at in place of what the following layer receives.
        seed: of the fresh weights that ``reinitialize`` draws.

    Raises ValueError, when it is made or at the first forward pass, for unknown names, coefficients
    out of range, schedules by which it never acts, an optimizer that trains none of the hidden
    layers, and models that a technique cannot act on.
    """

    @typed
    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        technique: str,
        coefficient: float,
        *,
        schedule: str = "constant",
        over: int = 0,
        every: int = 0,
        layers: Choice = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ):
        self.dose = Dose(technique, coefficient, schedule, over, every)
        _refuse_idle(self.dose)
        self.optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
        self.activation, self.steps = activation, 0
        self._passes, self._stepping, self._copied = 0, False, False
        self._asked = coefficient == 0  # whether somebody has added the penalty to a loss
        self._added_to: set[nn.Module] = set()
        self._judged: set[Layer] = set()  # of which some mini-batch was large enough
        self._generator = streams.generator("redraw", seed)
        of_weights = self.dose.technique.looks_at == "weights"
        self._redraws = self.dose.technique.change is not None and not of_weights
        self._record = Recorder(
            model, layers, not of_weights, activation is not None, self._redraws, self._seen
        )
        self._refuse_at_once()
        # the order of calls, which layers are treated then, and which receive their outputs
        self._order: list[Layer] = []
        self._frozen: list[bool] = []
        self._hidden: list[Layer] = []
        self._receivers: dict[Layer, Layer] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        if coefficient > 0:  # at 0 not even a hook is left
            self._warn_of_another()
            last = self.optimizers[-1]
            before = last.register_step_pre_hook(Watch(self._before_step))
            after = last.register_step_post_hook(Watch(self._after_step))
            self._handles = [*self._record.attach(), before, after]
            _AT_WORK.add(self)
        packed = [n for n, m in self._record.model.named_modules() if isinstance(m, PACKED)]
        if packed and layers is None and self.dose.technique.looks_at != "outputs":
            warnings.warn(
                f"{technique} leaves the packed weights of {', '.join(map(repr, packed))} alone; "
                "choose the layers to treat by layers=, and this is not said",
                stacklevel=2,
            )

    def remove(self) -> None:
        """Take all hooks away; the model is an ordinary one again, with the weights it has now."""
        if self._handles and self.steps and self.dose.technique.penalty and not self._asked:
            warnings.warn(
                f"{self.dose.name} has changed nothing in {self.steps} steps: its penalty() was "
                "never added to a loss",
                stacklevel=2,
            )
        self._warn_of_no_step()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._record.calls.clear()
        _AT_WORK.discard(self)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()

    def __getstate__(self):  # a copy has no hooks, for the copy of the model has none
        return self.__dict__ | {"_handles": [], "_added_to": set(), "_copied": True}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside the states of model and optimizer: steps, random stream,
        and which units were seen alive. Of several processes each has its own."""
        names, alive = self._record.names, self._record.alive
        return {
            "technique": self.dose.name,
            "steps": self.steps,
            "random": self._generator.get_state(),
            "alive": {names[layer]: seen.clone() for layer, seen in alive.items()},
        }

    @typed
    def load_state_dict(self, state: dict) -> None:
        """Go on where ``state_dict`` was taken, bit for bit as the uninterrupted run.

        Raises ValueError if the state lacks something, or is of another technique or another model.
        """
        if missing := [key for key in self.state_dict() if key not in state]:
            raise ValueError(
                f"the state has no {', '.join(map(repr, missing))}: pass what state_dict() of a "
                "Reinforcement returned"
            )
        if state["technique"] != self.dose.name:
            raise ValueError(f"a state of {state['technique']!r} is not one of {self.dose.name!r}")
        layers, alive = {name: layer for layer, name in self._record.names.items()}, {}
        for name, seen in state["alive"].items():
            choose("layer in the state", name, layers)
            layer = layers[name]
            if len(seen) != inputs(layer):
                raise ValueError(
                    f"layer {name!r} has {inputs(layer)} inputs, and {len(seen)} in the state"
                )
            alive[layer] = seen.to(layer.weight.device, copy=True)
        if not isinstance(state["steps"], int) or state["steps"] < 0:
            raise ValueError(f"the state's steps are {state['steps']!r}, not a number of steps")
        self.steps, self._record.alive = state["steps"], alive
        self._generator.set_state(state["random"].cpu())

    # -------------------------------------------------------------------------------- the penalty
    def penalty(self) -> Tensor:
        """What to add to the loss of the latest forward pass: a scalar; 0 if nothing is due, and
        after ``remove``, so that a loop may go on. Where a step calls the whole model several times
        it is taken after each call. Raises RuntimeError before any training pass, and of a copy,
        which watches no model."""
        if self._copied:
            raise RuntimeError(
                "this Reinforcement is a copy and watches no model: make a new one of the copied "
                "model and optimizer, and give it the state_dict() of the first"
            )
        technique, self._asked = self.dose.technique, True
        total = torch.zeros((), device=next(self._record.model.parameters()).device)
        if not self._handles or technique.penalty is None or not self.dose.due(self.steps):
            return total
        hidden, outgoing = self._treated(), []
        if technique.looks_at == "weights":
            values = [b.flatten(1) for h in self._trained(hidden) for b in blocks(h, h.weight)]
        elif technique.looks_at == "activations":
            values = [self._activations(h) for h in hidden]
        else:
            last = self._order[-1]
            values = [self._record.given(last)]
            bias = last.weight.new_zeros(len(last.weight)) if last.bias is None else last.bias
            outgoing = [last.weight, bias]
        with torch.autocast(total.device.type, enabled=False):
            outgoing = [_at_least_single(v) for v in outgoing]
            # of an empty mini-batch there is nothing to say
            for _, rows in by_shape([_at_least_single(v) for v in values if v.numel()]):
                c = self._coefficient(partial(technique.redundancy, rows))
                total = total + (c * technique.penalty(rows, *outgoing)).sum()
            return total

    @typed
    def add_to(self, criterion: nn.Module) -> None:
        """Add the penalty to the loss that a module returns, for a loop that cannot be edited.

        What ``criterion(model(x), y)`` returns has the penalty in it, so that its gradient is right
        however the loop scales and accumulates the loss; where the criterion is called several
        times in a step, each time. After an evaluation pass, and without gradients, nothing is
        added. Raises ValueError unless the criterion is a module, such as
        ``nn.CrossEntropyLoss()``, and its loss a mean over samples, and where the penalty is added
        to it already.
        """
        if criterion in self._added_to:
            raise ValueError(
                f"the penalty is added to this {type(criterion).__name__} already, and would count "
                "twice"
            )
        if getattr(criterion, "reduction", "mean") != "mean":
            raise ValueError(
                f"{type(criterion).__name__} has reduction={criterion.reduction!r}; a penalty is "
                "added to a mean over samples"
            )

        def add(criterion, args, loss):
            record = self._record
            if not (record.training and record.calls and torch.is_grad_enabled()):
                return None
            if not isinstance(loss, Tensor) or loss.dim():
                raise ValueError(
                    f"{type(criterion).__name__} does not return a scalar to add a penalty to"
                )
            return loss + self.penalty()

        if self._handles:  # else there is nothing to add
            self._added_to.add(criterion)
            self._handles.append(criterion.register_forward_hook(Watch(add)))

    def _coefficient(self, measured: Callable[[], Tensor]) -> Tensor | float:
        c = self.dose.at(self.steps)
        return c * measured() if self.dose.schedule == "dynamic" else c

    def _activations(self, layer: Layer) -> Tensor:
        """[units, samples]"""
        if layer in self._receivers:
            return self._record.received(layer, self._receivers[layer])
        assert self.activation is not None
        outputs = [self.activation(call.output) for call in self._record.of(layer)]
        return torch.cat([units_first(layer, output) for output in outputs], 1)

    # ---------------------------------------------------------------------------- what is treated
    def _treated(self) -> list[Layer]:
        """The hidden layers that are treated, in the order of their calls; looked at again where
        that has changed, or what of them is frozen."""
        order = list(self._record.calls) or self._order
        if not order:
            self._record.of(next(iter(self._record.names)))  # there is none
        frozen = [not layer.weight.requires_grad for layer in order]
        if order != self._order or frozen != self._frozen and self._record.calls:
            self._plan(order)
            self._order, self._frozen = order, frozen
        return self._hidden

    def _seen(self) -> None:
        """After every training pass."""
        self._treated()
        self._passes += 1
        if self._passes == PATIENCE:
            self._warn_of_no_step()

    def _warn_of_no_step(self) -> None:
        due = self.dose.every or self.dose.technique.every  # by then something was to be done
        waited = self._handles and self._passes >= due and not self.steps
        if waited and self.dose.technique.change:
            warnings.warn(
                f"{self.dose.name} has changed nothing in {self._passes} passes: no step() of the "
                f"{type(self.optimizers[-1]).__name__} that it was given was seen; give it the "
                "optimizer whose step() the loop calls",
                stacklevel=3,
            )

    def _warn_of_another(self) -> None:
        for other in _AT_WORK:
            same = other.dose.technique is self.dose.technique
            if same and {*other._record.chosen} & {*self._record.chosen}:
                warnings.warn(
                    f"{self.dose.name} is at work on these layers already, and would act twice: "
                    "remove() the other Reinforcement first",
                    stacklevel=4,
                )

    def _plan(self, order: list[Layer]) -> None:
        refuse_sharded(self._record.model)
        technique, names, last = self.dose.technique, self._record.names, order[-1]
        self._hidden = [h for h in order[:-1] if h in self._record.chosen]
        if not self._hidden:
            raise ValueError(
                f"no layer that could be treated was called before the last, {names[last]!r}; "
                "under activation checkpointing set use_reentrant=False"
            )
        if technique.looks_at != "outputs":  # they depend on the last layer's weights, too
            self._refuse_untrained(self._hidden)
        if technique.looks_at == "outputs" and not isinstance(last, nn.Linear):
            raise ValueError(
                f"{self.dose.name} takes the inputs of the last layer for members: layer "
                f"{names[last]!r} must be linear, not {type(last).__name__}"
            )
        if technique.looks_at != "activations" or self.activation and not technique.change:
            return
        self._receivers = self._record.receivers(self._hidden)
        self._hidden = list(self._receivers)
        if self._redraws:
            self._refuse_tied({**self._receivers, **dict.fromkeys(self._receivers.values())})
        for layer in {**self._receivers, **dict.fromkeys(self._receivers.values())}:
            if self._redraws and not _redrawable(layer):
                raise ValueError(
                    f"{self.dose.name} treats linear layers and plain two-dimensional "
                    f"convolutions, not layer {names[layer]!r}, {layer}; choose others by layers="
                )

    def _refuse_tied(self, layers: Iterable[Layer]) -> None:
        """Raise ValueError where what is redrawn, or zeroed, is a weight of something else, too."""
        model = self._record.model
        by_name = dict(model.named_parameters(remove_duplicate=False))
        for layer in layers:
            tied = [name for name, p in by_name.items() if p is layer.weight]
            if len(tied) > 1:
                raise ValueError(
                    f"{self.dose.name} would change {' and '.join(map(repr, tied))}, which are one "
                    f"weight: leave layer {self._record.names[layer]!r} and the one before it out "
                    "by layers="
                )

    def _parameters(self) -> dict[Tensor, None]:
        """What the optimizers train, or would if it were not frozen."""
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        return dict.fromkeys(p for group in groups for p in group["params"])

    def _trained(self, layers: Iterable[Layer]) -> list[Layer]:
        """Those whose weights the optimizers train now."""
        trained = {p for p in self._parameters() if p.requires_grad}
        return [layer for layer in layers if layer.weight in trained]

    def _refuse_untrained(self, layers: Collection[Layer]) -> None:
        """Raise ValueError if the optimizers hold nothing of layers that a technique changes."""
        technique, held = self.dose.technique, self._parameters()
        weights = technique.change or technique.looks_at == "weights"
        if not any(p in held for l in layers for p in ([l.weight] if weights else l.parameters())):
            raise ValueError(
                f"the optimizer holds no {'weight' if weights else 'parameter'} of the layers "
                f"{', '.join(repr(self._record.names[l]) for l in layers)}, and {self.dose.name} "
                "would change nothing: pass the one that trains them"
            )

    def _refuse_at_once(self) -> None:
        """What a technique cannot act on, as far as it can be told without a forward pass."""
        technique, chosen = self.dose.technique, self._record.chosen
        if technique.looks_at == "outputs" and chosen != self._record.names:
            raise ValueError(f"{self.dose.name} acts on the last hidden layer; leave layers= out")
        of_weights = technique.change or technique.looks_at != "activations"
        touched = ["weight"] * bool(of_weights) + ["bias"] * self._redraws
        for layer, name, key in ((*named, k) for named in chosen.items() for k in touched):
            value = getattr(layer, key)
            computed = value is not None and not isinstance(value, nn.Parameter)
            if computed or nn.utils.parametrize.is_parametrized(layer, key):
                raise ValueError(
                    f"layer {name!r}: its {key} is computed by a parametrization; leave it out by "
                    "layers=, or remove the parametrization"
                )
        self._refuse_untrained(chosen)
        parameters = self._parameters()
        held = [layer for layer in chosen if layer.weight in parameters]
        hidden = held[:-1] if chosen == self._record.names else held  # the last is not treated
        if hidden and technique.looks_at != "outputs" and not self._trained(hidden):
            warnings.warn(
                f"the weights of all layers that {self.dose.name} would treat are frozen: it "
                "changes nothing until requires_grad is True",
                stacklevel=4,
            )
        if not self._redraws:
            return
        if any(isinstance(optimizer, LBFGS) for optimizer in self.optimizers):
            raise ValueError(
                f"{self.dose.name} cannot make LBFGS, which remembers all weights together, forget "
                "a unit; choose another optimizer"
            )
        together = distributed.is_available() and distributed.is_initialized()
        if together and distributed.get_world_size() > 1 and self._record.group is None:
            raise ValueError(
                f"{self.dose.name} would decide on each of {distributed.get_world_size()} "
                "processes by itself: pass the model as DistributedDataParallel wraps it"
            )

    # -------------------------------------------------------------------------------- the changes
    def _before_step(self, *_) -> None:
        self._stepping = True

    @torch.no_grad()
    def _after_step(self, *_) -> None:
        if not self._stepping:  # a step that calls that of its superclass ends twice
            return
        self._stepping = False
        self.steps += 1
        technique = self.dose.technique
        if technique.change and self.dose.due(self.steps):
            treated = self._trained(self._treated())
            if self._redraws and self._record.calls and self._some_samples():
                for layer in treated:
                    following = self._receivers[layer]
                    if self._trained([following]):
                        self._renew(layer, following)
                    else:  # Python says the same but once
                        warnings.warn(
                            f"{self.dose.name} does not act on layer {self._record.names[layer]!r}"
                            f" while the weights of layer {self._record.names[following]!r}, which "
                            "receives its outputs, are not trained: train them, or choose others "
                            "by layers=",
                            stacklevel=2,
                        )
                self._record.alive.clear()
            elif self._redraws and not self._record.calls:
                warnings.warn(
                    f"{self.dose.name} is due and looks at nothing, for no training pass was seen "
                    "since the last step: call the model in training mode, with gradients on",
                    stacklevel=2,
                )
            elif not self._redraws:
                for block in [b for layer in treated for b in blocks(layer, layer.weight)]:
                    # whatever the strides of the weight
                    rows = _at_least_single(block.flatten(1).clone())
                    c = self._coefficient(partial(technique.redundancy, rows))
                    block.copy_(technique.change(rows, c).view_as(block))
        self._record.calls.clear()

    def _some_samples(self) -> bool:
        """Whether the first process's latest mini-batch is not empty."""
        calls = [call for of_layer in self._record.calls.values() for call in of_layer]
        some = all(call.given.numel() for call in calls)
        return bool(self._of_first_rank(torch.tensor([some], device=calls[0].given.device).int()))

    def _renew(self, layer: Layer, following: Layer) -> None:
        """Change redundant units of a layer, and forget what the optimizers remember of them."""
        weight, onward, units = layer.weight, following.weight, len(layer.weight)
        hidden = _at_least_single(self._activations(layer))
        alive = self._of_any_rank(self._record.alive[following]).unflatten(0, (units, -1)).any(1)
        if enough := (samples := hidden.shape[1]) >= 2 * units:
            self._judged.add(layer)
            # one that is silent on this mini-batch alone was on, by itself, in an earlier one
            hidden = torch.cat([hidden, (alive & ~hidden.any(1)).diag().to(hidden)], 1)
        else:  # all that is certain: whether they were on, each by itself
            hidden = alive.diag().to(hidden)
            if layer not in self._judged:
                warnings.warn(
                    f"{self.dose.name} redraws of layer {self._record.names[layer]!r} dead units "
                    f"alone: to judge more of its {units} units takes mini-batches of "
                    f"{2 * units}, not {samples}",
                    stacklevel=2,
                )
        hidden = hidden.to(_at_least_single(weight).dtype)
        c = self._coefficient(partial(self.dose.technique.redundancy, hidden))
        c = c if enough else c / 2  # at 1 ``redo`` would call all dormant that are equally on

        def copied(values):  # of one network, in the precision of the computation
            return values[None].to(hidden.dtype, copy=True)

        per_unit = onward.unflatten(1, (units, -1)).flatten(2)  # [outputs, units, ·]
        outgoing = copied(per_unit.transpose(1, 2).flatten(0, 1))  # [1, ·, units]
        rows, bias = copied(weight.flatten(1)), None if layer.bias is None else copied(layer.bias)
        draw = torch.randn(rows.shape, generator=self._generator).to(rows)
        given = [call.given.to(rows.dtype) for call in self._record.of(layer)]
        mean = copied(_mean_input(layer, given))
        change = self.dose.technique.change
        assert change is not None  # or it would not have come to this
        redrawn = change(rows, bias, outgoing, mean, hidden[None], c, draw)[0]
        redrawn = self._of_first_rank(redrawn.int()) > 0
        if not redrawn.any():
            return
        for parameter, values in ((weight, rows), (layer.bias, bias)):
            if parameter is not None and values is not None:
                parameter.copy_(self._of_first_rank(values)[0].view_as(parameter))
        for values in (onward, *self._moments(onward)):
            values.unflatten(1, (units, -1))[:, redrawn] = 0
        for values in (*self._moments(weight), *self._moments(layer.bias)):
            values[redrawn] = 0

    def _moments(self, parameter: Tensor | None) -> Iterable[Tensor]:
        """What the optimizers keep of a parameter, value by value."""
        if parameter is None:
            return
        for optimizer in self.optimizers:
            for name, kept in optimizer.state.get(parameter, {}).items():
                # the step sizes of Rprop, and the averages of ASGD, are no memory of gradients
                of_gradients = name not in ("step_size", "ax")
                if of_gradients and isinstance(kept, Tensor) and kept.shape == parameter.shape:
                    yield kept

    def _of_first_rank(self, values: Tensor) -> Tensor:
        if self._record.group is not None:
            distributed.broadcast(values, group=self._record.group, group_src=0)
        return values

    def _of_any_rank(self, true: Tensor) -> Tensor:
        counts = true.int()
        if self._record.group is not None:
            distributed.all_reduce(counts, group=self._record.group)
        return counts > 0


def _refuse_idle(dose: Dose) -> None:
    """Raise ValueError where over= would do nothing, or let nothing be done."""
    every = dose.every or dose.technique.every
    if dose.schedule != "annealed" and dose.over:
        raise ValueError(
            f"over={dose.over} is for schedule='annealed', not for {dose.schedule!r}; leave it out"
        )
    if dose.schedule == "annealed" and dose.technique.change and dose.over <= every:
        raise ValueError(
            f"{dose.name} never acts: the first time is after step {every}, and annealed over "
            f"{dose.over} it is 0 by then; make over= more than every="
        )


def _redrawable(layer: Layer) -> bool:
    """Whether units of a layer can be redrawn."""
    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _mean_input(layer: Layer, given: list[Tensor]) -> Tensor:
    """The mean over samples of what each unit of a layer is a product with, [fan-in]."""
    if not isinstance(layer, nn.Conv2d):
        return torch.cat([seen.flatten(0, -2) for seen in given]).mean(0)
    size, dilation, padding, stride = (
        getattr(layer, name) for name in ("kernel_size", "dilation", "padding", "stride")
    )
    seen = [nn.functional.unfold(x, size, dilation, padding, stride) for x in given]
    total = torch.stack([x.sum((0, 2)) for x in seen]).sum(0)
    return total / sum(x.numel() / x.shape[1] for x in seen)


def _at_least_single(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
