"""Techniques on the arms of a population, each with its own dose."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from dndiv import streams
from dndiv.checks import typed
from dndiv.population import Population
from dndiv.techniques import Dose, by_shape, gradients


def _shares(given: dict) -> None:
    for share in given.get("dropout", ()):
        if not 0 <= share < 1:
            raise ValueError(f"dropout is a share of units from 0 to below 1, not {share}")


class Dosing:
    """The doses of a population's arms: ``Population(..., techniques=Dosing(doses, ...))``.

    What happens to a network does not depend on the others. Beside the techniques, arms may have
    dropout (Srivastava et al. 2014) of their hidden units.

    Args:
        doses: one per arm, or None. Neighbours of the same technique are computed together.
        seeds: of the population; they fix the fresh weights that ``reinitialize`` draws.
        inputs: [samples, pixels], training images on which it looks for redundant units.
        held: per arm, whether the rows of its hidden layers are brought back to the norms that
            they had at the start, after every step: what is left of an effect is not scale.
        dropout: per arm, the share of hidden units that a mini-batch drops, input by input; those
            that are left are as much larger. Of a seed, all arms drop by the same draws.
    """

    @partial(typed, check=_shares)
    def __init__(
        self,
        doses: Sequence[Dose | None],
        seeds: Sequence[int],
        inputs: Tensor,
        held: Sequence[bool] = (),
        dropout: Sequence[float] = (),
    ):
        self.penalties: list[tuple[slice, list[Dose]]] = []
        self.changes: list[tuple[slice, list[Dose]]] = []
        start = 0
        for _, members in groupby(doses, key=lambda d: d.name if d and d.coefficient else None):
            group = list(members)
            arms = slice(start, start := start + len(group))
            acting = [d for d in group if d and d.coefficient]
            if acting:
                kind = self.penalties if acting[0].technique.penalty else self.changes
                kind.append((arms, acting))
        self.inputs = inputs
        self.held = [k for k, hold in enumerate(held) if hold]
        self._norms: list[Tensor] = []  # of the held arms, [S, held, units, 1]
        self._generators = [streams.generator("redraw", seed) for seed in seeds]
        self.noisy = any(dropout)
        self._dropout = inputs.new_tensor(dropout)[:, None, None]  # [A, 1, 1]
        self._masks: dict[int, Tensor] = {}  # of the step, until its gradients have them
        self._drops = [streams.generator("dropout", seed) for seed in seeds] if any(dropout) else []

    def __bool__(self) -> bool:
        """Whether there is anything to do at all."""
        return bool(self.penalties or self.changes or self.held or self.noisy)

    def gradients(
        self, trained: Population, hidden: list[Tensor]
    ) -> Iterator[tuple[slice, Sequence[Tensor | None], Sequence[Tensor | None]]]:
        """The penalties of this step: their arms, and their gradients by weights and by hidden."""
        for arms, doses in self.penalties:
            if any(d.due(trained.steps) for d in doses):
                strength = partial(self._strength, trained.steps, doses)
                weights, mine = ([v[:, arms] for v in part] for part in (trained.weights, hidden))
                bias = trained.biases[-1][:, arms]
                yield arms, *gradients(doses[0].technique, weights, mine, bias, strength)

    def _strength(self, step, doses, measured) -> Tensor:
        """Per network of a group and layer, [A, 1] or [S, A, layers]."""
        c = self.inputs.new_tensor([[d.at(step) if d.due(step) else 0.0] for d in doses])
        dynamic = [[d.schedule == "dynamic"] for d in doses]
        if not any(d for (d,) in dynamic):
            return c
        return c * torch.where(torch.tensor(dynamic, device=c.device), measured(), 1.0)

    def noise(self, l: int, h: Tensor) -> None:
        """Drops units, and the gradients of those that were dropped."""
        mask = self._masks.pop(l, None)
        if mask is None:
            drawn = torch.stack([torch.rand(h.shape[2:], generator=g) for g in self._drops])
            kept = drawn.to(h).unsqueeze(1) >= self._dropout
            mask = self._masks[l] = kept / (1 - self._dropout)
        h.mul_(mask)

    def after_step(self, trained: Population) -> None:
        """The changes of the weights that are due; and norms that are held."""
        draws = None
        for arms, doses in self.changes if trained.steps else ():
            if not any(d.due(trained.steps) for d in doses):
                continue
            strength = partial(self._strength, trained.steps, doses)
            if doses[0].technique.looks_at == "weights":
                self._change_rows(trained, arms, doses[0].technique, strength)
                continue
            if draws is None:  # every seed draws once for all: no network depends on the others
                draws = [self._draw(w) for w in trained.weights]
            self._change_units(trained, arms, doses[0].technique, strength, draws)
        if self.held:
            self._hold(trained)

    def _hold(self, trained: Population) -> None:
        rows = [w[:, self.held] for w in trained.weights[:-1]]
        norms = [torch.linalg.vector_norm(r, dim=-1, keepdim=True) for r in rows]
        if not trained.steps:
            self._norms = norms
        else:
            for w, r, now, then in zip(trained.weights, rows, norms, self._norms):
                w[:, self.held] = r * (then / now.where(now > 0, 1))

    def _draw(self, weights: Tensor) -> Tensor:
        drawn = [torch.randn(weights.shape[2:], generator=g) for g in self._generators]
        return torch.stack(drawn).to(weights)

    @staticmethod
    def _change_rows(trained, arms, technique, strength) -> None:
        for same, rows in by_shape([w[:, arms] for w in trained.weights[:-1]]):
            c = strength(partial(technique.redundancy, rows)).expand(rows.shape[:3])
            for k, moved in zip(same, technique.change(rows, c).unbind(2)):
                trained.weights[k][:, arms] = moved

    def _change_units(self, trained, arms, technique, strength, draws) -> None:
        layers = trained.activations(self.inputs, arms)
        for l, h in enumerate(layers):
            S, A = h.shape[:2]
            parts = [trained.weights[l], trained.biases[l], trained.weights[l + 1]]
            w, b, out = (p[:, arms].flatten(0, 1).clone() for p in parts)
            before = layers[l - 1].flatten(0, 1) if l else self.inputs.T.unsqueeze(0)
            c = strength(lambda: technique.redundancy(h).unsqueeze(-1))[..., 0].expand(S, A)
            draw = draws[l].unsqueeze(1).expand(-1, A, -1, -1).flatten(0, 1)
            seen = before.mean(-1), h.flatten(0, 1)
            redrawn = technique.change(w, b, out, *seen, c.flatten(), draw).view(h.shape[:3])
            for part, changed in zip(parts, (w, b, out)):
                part[:, arms] = changed.view_as(part[:, arms])
            for weights, biases in trained.moments():
                weights[l][:, arms].masked_fill_(redrawn.unsqueeze(-1), 0)
                biases[l][:, arms].masked_fill_(redrawn, 0)
                weights[l + 1][:, arms].masked_fill_(redrawn.unsqueeze(-2), 0)
