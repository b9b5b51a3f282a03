"""How diverse the units of a network are at this moment, layer by layer::

    report = dndiv.diagnose(model, batch)
    print(report)               # a table; HTML in a notebook
    report.assert_healthy()     # in a test
    dndiv.diagnose(model, batch, change="weight_cosine")    # and what a technique would change

Nothing of the model is changed.
"""

import copy
import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dndiv import diversity, init, probe
from dndiv.checks import choose, typed
from dndiv.reinforcement import Reinforcement
from dndiv.techniques import TECHNIQUES

STEPS = 10  # of a technique alone, with Adam at its usual rate
POSITIONS = 4096  # samples × positions of a convolution that are looked at, evenly spread
TITLES = {
    "name": "layer",
    "units": "units",
    "fan_in": "fan-in",
    "weights": "similarity of weights",
    "weights_after": "after",
    "activations": "correlation of activations",
    "activations_after": "after",
    "rank": "effective rank",
    "dead": "dead",
    "duplicates": "duplicates",
    "signal": "signal",
    "gradient": "gradient",
}


@dataclass(frozen=True)
class Layer:
    """One linear or convolutional layer; activations are after batch norm and rectifier, if any.

    NaN stands for what is not defined: of a single unit, or without a gradient. Where outputs are
    not finite, the signal is infinite and all else of them NaN; such a gradient is infinite, too.
    """

    name: str
    units: int
    fan_in: int
    weights: float  # mean |cosine| of two units' weights; random ones have √(2/(π fan-in))
    weights_after: float  # the same after the change that was asked for
    activations: float  # mean |correlation| of two units' activations
    activations_after: float  # the same after that change
    rank: float  # effective rank of the activations, at most the units
    dead: float  # share of units that are zero on all inputs
    duplicates: float  # share of units with a correlation above 0.95 to another
    signal: float  # root mean square over units of the pre-activations' standard deviations
    gradient: float  # root mean square of the gradient by the weights


@dataclass(frozen=True)
class Report:
    """What ``diagnose`` found; ``layers`` in the order of the forward pass."""

    layers: tuple[Layer, ...]
    note: str = ""  # what "after" is after, or why the model refuses that change

    def _cells(self) -> list[list[str]]:
        def shown(key, value):
            if not isinstance(value, float):
                return str(value)
            form = {"signal": ".3g", "gradient": ".3g", "rank": ".1f"}.get(key, ".3f")
            return "–" if math.isnan(value) else f"{value:{form}}"

        rows = [[shown(k, getattr(layer, k)) for k in TITLES] for layer in self.layers]
        return [list(TITLES.values()), *rows]

    def __str__(self) -> str:
        columns = list(zip(*self._cells()))
        words = [title.split() for title in TITLES.values()]
        # titles over several lines, one word each, above their numbers
        height = max(map(len, words))
        columns = [
            (*[""] * (height - len(w)), *w, *column[1:]) for w, column in zip(words, columns)
        ]
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "  ".join(
                cell.rjust(w) if k else cell.ljust(w)
                for k, (cell, w) in enumerate(zip(line, widths))
            ).rstrip()
            for line in zip(*columns)
        ]
        return "\n".join(lines + ([self.note] if self.note else []))

    def _repr_html_(self) -> str:
        titles, *rows = [[html.escape(c) for c in line] for line in self._cells()]
        head = "".join(f'<th scope="col">{c}</th>' for c in titles)
        body = "".join(
            f'<tr><th scope="row">{c[0]}</th>{"".join(f"<td>{x}</td>" for x in c[1:])}</tr>'
            for c in rows
        )
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def assert_healthy(
        self,
        *,
        weights: float | None = 0.9,
        activations: float | None = 0.9,
        rank: float | None = 0.1,
        dead: float | None = 0.5,
        duplicates: float | None = 0.5,
        signal: float | None = 1000.0,
        gradient: float | None = 10_000.0,
    ) -> None:
        """AssertionError that lists every layer beyond a threshold; None switches one off.

        What is not finite is always listed: the first signal that is not names where it began.

        Args:
            weights, activations: the largest similarity and correlation.
            rank: the smallest effective rank, as a share of the units.
            dead, duplicates: the largest share of the units.
            signal, gradient: the largest ratio of two layers' scales, of those that are defined.
        """
        limits = {"weights": weights, "activations": activations}
        limits |= {"dead": dead, "duplicates": duplicates}
        found = []
        for layer in self.layers:
            for key in ("signal", "gradient"):
                if math.isinf(getattr(layer, key)):
                    found.append(f"{layer.name}: {key} not finite")
            for key, limit in limits.items():
                if limit is not None and getattr(layer, key) > limit:
                    found.append(f"{layer.name}: {key} {getattr(layer, key):.3g} > {limit:g}")
            if rank is not None and layer.rank < rank * layer.units:
                found.append(f"{layer.name}: rank {layer.rank:.3g} < {rank:g} × {layer.units}")
        for key, limit in {"signal": signal, "gradient": gradient}.items():
            scales = [s for layer in self.layers if math.isfinite(s := getattr(layer, key))]
            if limit is not None and scales and not max(scales) <= limit * min(scales):
                found.append(
                    f"{key}: from {min(scales):.3g} to {max(scales):.3g}, more than {limit:g}-fold"
                )
        if found:
            raise AssertionError("\n".join(found))


@typed
def diagnose(
    model: nn.Module,
    inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    change: str | Callable[[nn.Module], Any] = "decorrelate_",
) -> Report:
    """Redundancy, dead units and scales of each layer on a batch, and what a change would do to it.

    Args:
        model: any module with linear or convolutional layers that are called in its forward pass.
        inputs: a batch, as ``decorrelate_`` takes it; 100 inputs or more, for correlations.
        loss: of the model's output, for the gradients; by default the sum of its outputs with
            random signs, over the square root of the number of inputs.
        change: what is tried on a copy of the model: ``"decorrelate_"``, on the batch; the name of
            a technique, for ten steps of its own; or any function of a model, such as
            ``lambda m: dndiv.alive_(m, batch)``.

    A copy of the model is run as it trains, but without dropout; where it cannot be copied, the
    model itself is, and no change is tried. Raises ValueError for inputs that are empty, not finite
    or do not fit, where no layer is called, and for an unknown change.
    """
    if isinstance(change, str):
        choose("change", change, ("decorrelate_", *TECHNIQUES))
    what = change if isinstance(change, str) else getattr(change, "__name__", "the change")
    after, note = {}, f"after: {what}"
    try:
        copied = copy.deepcopy(model)  # which no ``Reinforcement`` watches
    except Exception as error:  # it may keep anything: a lock, a tensor of a graph
        copied, note = None, f"{what} is not tried, for this model cannot be copied: {error}"
    init.refuse_untouchable(model if copied is None else copied)
    layers = {} if copied is None else _measured(copied, inputs, loss)
    # a function in place of the model's forward calls layers of the model from the copy, too
    layers = layers or _measured(model, inputs, loss)
    if not layers:
        raise ValueError(
            f"no linear or convolutional layer of {type(model).__name__} is called as a module"
        )
    if copied is not None:
        try:
            _change(copied, inputs, change)
            after = _measured(copied, inputs, loss)
        except (ValueError, RuntimeError) as error:
            note = f"{what} does not treat this model: {error}"
    rows = []
    for name, row in layers.items():
        changed = {
            f"{k}_after": after.get(name, {}).get(k, math.nan) for k in ("weights", "activations")
        }
        rows.append(Layer(name, int(row.pop("units")), int(row.pop("fan_in")), **row, **changed))
    return Report(tuple(rows), note)


def _change(model, inputs, change):
    """Make it: of a technique, steps of it alone at coefficient 1, or 0.1 if it changes weights."""
    if callable(change):
        return change(model)
    if change == "decorrelate_":
        return init.decorrelate_(model, inputs)
    coefficient = 0.1 if TECHNIQUES[change].change else 1.0
    optimizer = torch.optim.Adam(model.parameters())
    with (
        probe.training(model),
        torch.enable_grad(),
        Reinforcement(model, optimizer, change, coefficient, every=1) as diverse,
    ):
        for _ in range(STEPS):
            probe.forward(model, inputs, (), lambda *_: None)  # no layer is looked at
            optimizer.zero_grad()
            if (penalty := diverse.penalty()).requires_grad:
                penalty.backward()
            optimizer.step()


def _measured(model, inputs, loss) -> dict[str, dict[str, float]]:
    """The measures of each layer that is called, by name, in the order of the forward pass."""
    names: dict[Any, str] = {
        m: name for name, m in model.named_modules() if isinstance(m, init.Layer)
    }
    outputs: dict[Any, Tensor] = {}
    signals: dict[Any, float] = {}
    following = probe.Following()

    def look(layer, args, kwargs, out):
        if layer not in outputs and out.numel():  # of no rows there is nothing to see
            outputs[layer] = out
            # here, for rectifiers may work in place
            signals[layer] = _scale(_by_unit(layer, out).std(1, correction=0))
            following.watch(out)

    with probe.training(model), torch.enable_grad():
        with following:
            result = probe.forward(model, inputs, names, look)
        # read once and here: a parametrization, such as spectral norm, may move buffers
        weights = [layer.weight for layer in outputs]
        gradients = _gradients(result, weights, loss)
    measured = {}
    for layer, weight, gradient in zip(outputs, weights, gradients):
        h = _by_unit(layer, following.result(outputs[layer]))
        rectified = following.rectified(outputs[layer])
        blocks = [b.flatten(1) for b in init.blocks(layer, weight.detach())]
        row = dict.fromkeys(("weights", "activations", "rank", "dead", "duplicates"), math.nan)
        row |= {"units": len(h), "fan_in": blocks[0].shape[1]}
        row |= {"signal": math.inf, "gradient": gradient}
        if math.isfinite(signals[layer]) and h.isfinite().all():
            similar = torch.stack([diversity.weight_similarity(b)["mean"] for b in blocks])
            row |= {
                "weights": similar.mean().item(),
                "activations": diversity.activation_correlation(h)["mean"].item(),
                "rank": diversity.effective_rank(h).item(),
                "dead": diversity.dead_fraction(h).item() if rectified else 0.0,
                "duplicates": diversity.duplicate_fraction(h).item(),
                "signal": signals[layer],
            }
        measured[names[layer]] = row
    return measured


def _by_unit(layer, out) -> Tensor:
    """[units, samples × positions] of a layer's output, at most ``POSITIONS`` of them."""
    flat = out.detach().movedim(init._unit_dimension(layer, out), 0).flatten(1)
    return flat[:, :: -(-flat.shape[1] // POSITIONS)].float()


def _gradients(result, weights, loss) -> list[float]:
    """Root mean square of the gradient by each weight; NaN where there is none."""
    if loss is not None:
        value = loss(result)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            parts = [t for t in probe._tensors(result) if t.requires_grad]
            signs = [torch.randint_like(t, 2) * 2 - 1 for t in parts]
            # a scalar, such as the model's own loss, is one output
            value = sum(
                (t * s).sum() / math.sqrt(max((1, *t.shape[:1]))) for t, s in zip(parts, signs)
            )
    wanted = [w for w in weights if w.requires_grad]
    if not wanted or not isinstance(value, Tensor) or not value.requires_grad:
        return [math.nan] * len(weights)
    try:
        grads = torch.autograd.grad(value, wanted, allow_unused=True)
    except RuntimeError as error:
        raise ValueError(f"the model cannot be trained: {error}") from error
    found = dict(zip(map(id, wanted), grads))
    each = [found.get(id(w)) for w in weights]
    return [math.nan if g is None else _scale(g) for g in each]


def _scale(values) -> float:
    """Root mean square; infinite where a value is not finite, for NaN is what is not defined."""
    scale = values.double().square().mean().sqrt().item()
    return scale if math.isfinite(scale) else math.inf
