"""Random modules and training loops: as a plain computation has it, or a clear ValueError."""

import copy
import warnings

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from dndiv import changes, penalties
from dndiv.init import blocks
from dndiv.reinforcement import Reinforcement
from dndiv.techniques import SCHEDULES, TECHNIQUES, Dose

BATCH, SIDE, CLASSES = 12, 6, 3
ACTIVATIONS = [nn.ReLU, nn.GELU, nn.Tanh, nn.Identity, lambda: nn.SiLU(inplace=True)]


@st.composite
def networks(draw):
    """Layers in a row, from convolutions to linear ones, with whatever may stand between them."""
    torch.manual_seed(draw(st.integers(0, 99)))
    parts, channels, side = [], draw(st.integers(1, 2)), SIDE
    first = channels
    convolutions = draw(st.integers(0, 2))
    for _ in range(convolutions):
        units, groups = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, channels]))
        kind = draw(st.sampled_from([nn.Conv2d, nn.Conv2d, nn.ConvTranspose2d]))
        bias = draw(st.booleans())
        parts.append(kind(channels, units * groups, 3, padding=1, groups=groups, bias=bias))
        channels = units * groups
        if draw(st.booleans()):
            parts.append(nn.BatchNorm2d(channels))
        parts.append(draw(st.sampled_from(ACTIVATIONS))())
        if side > 3 and draw(st.booleans()):
            parts.append(nn.MaxPool2d(2))
            side //= 2
    width = channels * side * side
    parts.append(nn.Flatten())
    for _ in range(draw(st.integers(0, 3))):
        units = draw(st.integers(1, 6))
        parts.append(nn.Linear(width, units, bias=draw(st.booleans())))
        parts.append(draw(st.sampled_from([nn.LayerNorm, nn.BatchNorm1d, nn.Identity]))(units))
        parts.append(draw(st.sampled_from(ACTIVATIONS))())
        parts.append(nn.Dropout(draw(st.sampled_from([0.0, 0.4]))))
        width = units
    parts.append(nn.Linear(width, CLASSES))
    return nn.Sequential(*parts), first


@st.composite
def doses(draw):
    name = draw(st.sampled_from([*TECHNIQUES]))
    coefficient = draw(st.sampled_from([0.0, 0.003, 0.2, 1.0]))
    schedule = draw(st.sampled_from(SCHEDULES))
    over = draw(st.integers(1, 4)) if schedule == "annealed" else 0
    return Dose(name, coefficient, schedule, over, draw(st.integers(0, 2)))


def is_layer(part):
    return isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)


def walked(model, x):
    """The output, and by layer what it receives, by the parts in a row."""
    received = []
    for part in model:
        if is_layer(part):
            received.append(x)
        x = part(x.clone())  # what acts in place does so on a copy
    return x, received


def plain_penalty(model, received, dose, step):
    """By the definitions, one layer at a time."""
    t = dose.technique
    if t.penalty is None or not dose.due(step):
        return 0.0
    *hidden, last = [part for part in model if is_layer(part)]
    if t.looks_at == "weights":
        values = [(b.flatten(1),) for h in hidden for b in blocks(h, h.weight)]
    elif t.looks_at == "outputs":
        values = [(received[-1].T, last.weight, last.bias)]
    else:
        values = []
        for h, seen in zip(hidden, received[1:]):
            units = h.out_features if isinstance(h, nn.Linear) else h.out_channels
            values.append((seen.unflatten(1, (units, -1)).movedim(1, 0).flatten(1),))
    total = 0.0
    for v in values:
        c = dose.at(step) * (t.redundancy(v[0]) if dose.schedule == "dynamic" else 1.0)
        total = total + c * t.penalty(*v)
    return total


def plain_change(model, dose, step):
    if dose.name != "orthogonal_step" or not dose.due(step):
        return
    for part in [part for part in model if is_layer(part)][:-1]:
        for block in blocks(part, part.weight.detach()):
            rows = block.flatten(1).clone()
            redundancy = penalties.weight_redundancy(rows) if dose.schedule == "dynamic" else 1.0
            block.copy_(changes.orthogonal_step_(rows, dose.at(step) * redundancy).view_as(block))


def of_units(dose):
    return dose.technique.change and dose.technique.looks_at == "activations"


@settings(max_examples=250, deadline=None, suppress_health_check=[*HealthCheck], derandomize=True)
@given(
    made=networks(),
    dose=doses(),
    dtype=st.sampled_from([torch.float64, torch.float64, torch.float32, torch.bfloat16]),
    momentum=st.sampled_from([0.0, 0.9]),  # Adam would make steps of rounding errors
    parts=st.integers(1, 2),
    last_frozen=st.booleans(),
)
def test_random_networks_and_loops(made, dose, dtype, momentum, parts, last_frozen):
    model, channels = made
    model = model.to(dtype)
    if last_frozen:
        model[-1].requires_grad_(False)
    plain = copy.deepcopy(model)
    # of a model that is frozen as a whole, its optimizer has something else
    trained = [[p for p in m.parameters() if p.requires_grad] for m in (model, plain)]
    both = [
        torch.optim.SGD(of or [torch.zeros(1, requires_grad=True)], 0.01, momentum)
        for of in trained
    ]
    g = torch.Generator().manual_seed(0)
    try:
        diverse = Reinforcement(
            model, both[0], dose.name, dose.coefficient, schedule=dose.schedule, over=dose.over,
            every=dose.every,
        )  # fmt: skip
    except ValueError as error:
        idle = not any(map(dose.due, range(1, 1000))) and "never acts" in str(error)
        assert idle or "no hidden one" in str(error) or "holds no " in str(error)
        return
    for step in range(3):
        for _ in range(parts):
            x = torch.randn(BATCH, channels, SIDE, SIDE, generator=g).to(dtype)
            y = torch.randint(CLASSES, (BATCH,), generator=g)
            torch.manual_seed(step)  # of dropout
            try:
                out = model(x)
            except ValueError as error:
                assert dose.coefficient and str(error).startswith(
                    f"{dose.name} treats linear layers and plain two-dimensional convolutions"
                )
                return
            ((F.cross_entropy(out, y) + diverse.penalty()) / parts).backward()
            if not of_units(dose) and dtype == torch.float64:
                torch.manual_seed(step)
                out, received = walked(plain, x)
                penalty = plain_penalty(plain, received, dose, step)
                ((F.cross_entropy(out, y) + penalty) / parts).backward()
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            plain_change(plain, dose, step + 1)
    assert diverse.steps == (3 if dose.coefficient else 0)
    assert all(p.isfinite().all() for p in model.parameters())
    if not of_units(dose) and dtype == torch.float64:
        for p, q in zip(model.parameters(), plain.parameters()):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-8)
    diverse.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


JUNK = st.one_of(
    st.floats(), st.integers(-3, 3), st.sampled_from(["", "weight_cosine", "constant", "every"])
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    technique=st.one_of(JUNK, st.sampled_from([*TECHNIQUES])),
    coefficient=st.floats(),
    schedule=st.one_of(JUNK, st.sampled_from(SCHEDULES)),
    over=st.integers(-2, 3),
    every=st.integers(-2, 3),
    layers=st.one_of(st.none(), st.lists(st.sampled_from(["0", "2", "4", "x"]))),
    seed=st.integers(-1, 2**29),
)
def test_random_arguments_are_taken_or_refused(
    technique, coefficient, schedule, over, every, layers, seed
):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    before = copy.deepcopy(model.state_dict())
    try:
        with warnings.catch_warnings(action="error"):
            diverse = Reinforcement(
                model, optimizer, technique, coefficient, schedule=schedule, over=over, every=every,
                layers=layers, seed=seed,
            )  # fmt: skip
            model(torch.randn(16, 4))
    except ValueError as error:
        assert str(error)
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        return
    assert diverse.penalty().dim() == 0
    optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())
