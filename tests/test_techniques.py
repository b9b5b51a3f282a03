"""The techniques: formulas against slow references, populations against one network at a time, and
your own loop."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
from torch import nn
from torch.nn import functional as F

import dndiv
from dndiv import changes, diversity, penalties, population, streams
from dndiv.dosing import Dosing
from dndiv.population import Optimizer, Population, network
from dndiv.reinforcement import Reinforcement
from dndiv.techniques import TECHNIQUES, Dose, gradients

PENALTIES = [name for name, t in TECHNIQUES.items() if t.penalty]
WITHOUT_OUTPUTS = [n for n in PENALTIES if TECHNIQUES[n].looks_at != "outputs"]
CHANGES = [name for name, t in TECHNIQUES.items() if t.change]
INPUTS, CLASSES, BATCH, SAMPLES = 12, 5, 16, 200


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --------------------------------------------------------------------------------------------------
# --- the formulas
def slow_weight_cosine(w):
    pairs = [
        (w[i] @ w[j] / np.linalg.norm(w[i]) / np.linalg.norm(w[j])) ** 2
        for i in range(len(w))
        for j in range(i)
    ]
    return np.mean(pairs)


def slow_decorrelation(h):
    c = np.cov(h, bias=True)
    return sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j) / 2


def slow_log_volume(w):
    u = w / np.linalg.norm(w, axis=1, keepdims=True)
    n, d = u.shape
    gram = u @ u.T if n <= d else d / n * u.T @ u
    return -np.log(
        np.linalg.det((gram + penalties.RIDGE * np.eye(len(gram))) / (1 + penalties.RIDGE))
    )


def slow_prediction_diversity(h, v, b):
    total = 0
    for sample in h.T:
        q = [scipy.special.softmax(len(h) * v[:, i] * sample[i] + b) for i in range(len(h))]
        total -= np.mean([((p - sum(q) / len(q)) ** 2).sum() for p in q])
    return total / h.shape[1]


def slow_negative_correlation(h, v, b):
    total = 0
    for sample in h.T:
        members = [len(h) * v[:, i] * sample[i] for i in range(len(h))]
        mean = sum(members) / len(members)
        total += np.mean(
            [
                ((f - mean) * sum(g - mean for j, g in enumerate(members) if j != i)).sum()
                for i, f in enumerate(members)
            ]
        )
    return total / h.shape[1]


def slow_cosines(w):
    u = w / np.linalg.norm(w, axis=1, keepdims=True)
    return [[float(np.dot(a, b)) for j, b in enumerate(u) if j != i] for i, a in enumerate(u)]


def slow_orthoreg(w):
    return sum(np.log(1 + np.exp(10 * (c - 1))) for row in slow_cosines(w) for c in row)


def slow_deviation(w):
    small = w if len(w) <= w.shape[1] else w.T
    return small @ small.T - np.eye(len(small))


def slow_mma(w):
    return -np.mean([min(np.arccos(c) for c in row) for row in slow_cosines(w)])


@pytest.mark.parametrize("n, d", [(4, 4), (3, 7), (8, 5)])
def test_formulas_against_slow_references(n, d):
    w, h, v = draw(2, 3, n, d), draw(2, 3, n, 11, seed=1), draw(2, 3, 6, n, seed=2)
    b = draw(2, 3, 6, seed=3)
    for name, slow, arguments in (
        ("weight_cosine", slow_weight_cosine, (w,)),
        ("log_volume", slow_log_volume, (w,)),
        ("activation_decorrelation", slow_decorrelation, (h,)),
        ("negative_correlation", slow_negative_correlation, (h, v, b)),
        ("prediction_diversity", slow_prediction_diversity, (h, v, b)),
        ("orthoreg", slow_orthoreg, (w,)),
        ("soft_orthogonality", lambda w: np.linalg.norm(slow_deviation(w)) ** 2, (w,)),
        ("srip", lambda w: np.linalg.norm(slow_deviation(w), 2), (w,)),
        ("mma", slow_mma, (w,)),
    ):
        found = TECHNIQUES[name].penalty(*arguments)
        assert found.shape == (2, 3)
        for index in np.ndindex(2, 3):
            assert found[index].item() == pytest.approx(
                slow(*(a[index].numpy() for a in arguments)), rel=1e-9
            ), name


def test_negative_correlation_is_minus_the_ambiguity():
    h, v = draw(6, 50), draw(4, 6, seed=1)
    members = diversity.ensemble_members(h, v, draw(4, seed=2))
    found = diversity.ambiguity(members, torch.zeros(4, 50, dtype=torch.float64))["ambiguity"]
    torch.testing.assert_close(found, -penalties.negative_correlation(h, v, torch.zeros(4)))


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients(name):
    first = draw(2, 5, 6).requires_grad_()
    arguments = (first,)
    if TECHNIQUES[name].looks_at == "outputs":
        arguments = (first, draw(2, 3, 5, seed=1).requires_grad_(), draw(2, 3, seed=2))
    assert torch.autograd.gradcheck(TECHNIQUES[name].penalty, arguments)


def bias(weights):
    """Of the last layer, [2, 3, outputs]."""
    return draw(2, 3, weights[-1].shape[-2], seed=7)


def by_autograd(name, weights, hidden, coefficients):
    """The gradients of the sum over layers of coefficient × penalty, [2, 3], networks side by
    side."""
    given = [v.clone().requires_grad_() for v in (*weights, *hidden)]
    w, h = given[: len(weights)], given[len(weights) :]
    if TECHNIQUES[name].looks_at == "outputs":
        total = coefficients[..., -1] * TECHNIQUES[name].penalty(h[-1], w[-1], bias(w))
    else:
        layers = w[:-1] if TECHNIQUES[name].looks_at == "weights" else h
        total = sum(
            coefficients[..., l] * TECHNIQUES[name].penalty(values)
            for l, values in enumerate(layers)
        )
    found = torch.autograd.grad(total.sum(), given, allow_unused=True)
    return found[: len(weights)], found[len(weights) :]


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("schedule", ["constant", "dynamic"])
@pytest.mark.parametrize(
    "sizes", [(9, 4, 4, 4, 3), (3, 7, 2, 7, 5), (6, 1, 4)]
)  # units ≤ and > fan-in, of equal and different shapes
def test_closed_forms_are_the_gradients_of_the_penalties(name, schedule, sizes):
    weights = [draw(2, 3, o, i, seed=k) for k, (i, o) in enumerate(zip(sizes, sizes[1:]))]
    hidden = [draw(2, 3, o, 11, seed=9 + k).relu() for k, o in enumerate(sizes[1:-1])]
    weights[0][0, 1, 0] = 0  # a row without direction
    weights[0][1, 2, -1] = weights[0][1, 2, 0]  # and two that coincide
    hidden[0][1, 0, 0], hidden[0][0, 2, -1] = 0, hidden[0][0, 2, 0]
    of_weights = TECHNIQUES[name].looks_at == "weights"
    c = 0.1 + draw(2, 3, 1).abs()
    measured = torch.stack(
        [TECHNIQUES[name].redundancy(v) for v in (weights[:-1] if of_weights else hidden)], -1
    )
    expected = by_autograd(
        name, weights, hidden, c * measured if schedule == "dynamic" else c.expand_as(measured)
    )
    found = gradients(
        TECHNIQUES[name],
        weights,
        hidden,
        bias(weights),
        lambda measured: c * measured() if schedule == "dynamic" else c,
    )
    for part, oracle in zip(found, expected):
        for g, e in zip(part, oracle, strict=True):
            assert (g is None) == (e is None)
            if g is not None:
                torch.testing.assert_close(g, e, rtol=1e-8, atol=1e-8)
    single = gradients(
        TECHNIQUES[name],
        [w.float() for w in weights],
        [h.float() for h in hidden],
        bias(weights).float(),
        lambda redundancies: (c * redundancies() if schedule == "dynamic" else c).float(),
    )
    for g, s in zip((*found[0], *found[1]), (*single[0], *single[1])):
        if g is not None:
            assert s.dtype == torch.float32
            torch.testing.assert_close(
                s.double(), g, rtol=1e-2, atol=1e-3
            )  # rows that coincide are ill-conditioned


@pytest.mark.parametrize("name", PENALTIES)
def test_a_technique_without_a_closed_form_has_the_gradient_of_autograd(name):
    weights, hidden = (
        [draw(2, 3, 4, 9), draw(2, 3, 4, 4), draw(2, 3, 5, 4)],
        [draw(2, 3, 4, 11), draw(2, 3, 4, 11, seed=1)],
    )
    plain = dataclasses.replace(TECHNIQUES[name], gradient=None)
    found, expected = (
        gradients(t, weights, hidden, bias(weights), lambda measured: 0.3 * measured())
        for t in (plain, TECHNIQUES[name])
    )
    for ours, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1])):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", WITHOUT_OUTPUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_for_degenerate_layers(name, dtype):
    equal, zero = torch.ones(3, 5, dtype=dtype), torch.zeros(3, 5, dtype=dtype)
    partly = draw(3, 5).to(dtype)
    partly[1] = 0
    for values in (
        equal,
        zero,
        partly,
        draw(1, 5).to(dtype),
        draw(9, 5).to(dtype),
        draw(9, 5).to(dtype) * 0,
    ):
        values = values.clone().requires_grad_()
        found = TECHNIQUES[name].penalty(values)
        found.backward()
        assert found.isfinite() and values.grad.isfinite().all()


@pytest.mark.parametrize("name", WITHOUT_OUTPUTS)
def test_a_layer_that_has_diverged_disturbs_no_other(name):
    values = draw(2, 3, 4, 6)
    values[0, 1, 2, 3], values[1, 0] = torch.inf, torch.nan
    layers = [values, draw(2, 3, 5, 4)], [draw(2, 3, 4, 6)]
    if TECHNIQUES[name].looks_at == "activations":
        layers = [draw(2, 3, 4, 6), draw(2, 3, 5, 4)], [values]
    found = gradients(TECHNIQUES[name], *layers, draw(2, 3, 5), lambda measured: torch.ones(1))
    (g,) = [g for part in found for g in part if g is not None]
    healthy = values.isfinite().all((-2, -1))
    arguments = values[healthy].clone().requires_grad_()
    TECHNIQUES[name].penalty(arguments).sum().backward()
    torch.testing.assert_close(g[healthy], arguments.grad)


def test_orthogonal_rows_and_tight_frames_cost_nothing():
    orthonormal = torch.linalg.qr(draw(6, 6)).Q[:4] * 3
    frame = dndiv.decorrelated_(draw(9, 5))
    assert penalties.weight_cosine(orthonormal).item() == pytest.approx(0, abs=1e-12)
    for rows in (orthonormal, frame):
        assert penalties.negative_log_volume(rows).item() == pytest.approx(0, abs=1e-6)
    assert penalties.negative_log_volume(draw(4, 6)) > 0.1


# ----------------------------------------------------------------------------------------------
# steps of the weights
def test_orthogonal_steps_approach_the_polar_factor_and_keep_norms():
    start = draw(3, 5, 9)
    w, norms = start.clone(), start.norm(dim=-1)
    for _ in range(60):
        before = penalties.weight_cosine(w)
        changes.orthogonal_step_(w, 1.0)
        assert (penalties.weight_cosine(w) <= before + 1e-15).all()
        torch.testing.assert_close(w.norm(dim=-1), norms)
    assert (penalties.weight_cosine(w) < 1e-20).all()
    for k in range(3):  # near orthogonality one step is, to second order, the polar factor
        near = torch.linalg.qr(draw(9, 5, seed=k)).Q.T + 1e-4 * draw(5, 9, seed=9)
        near = F.normalize(near, dim=1)
        polar = scipy.linalg.polar(near.numpy())[0]
        np.testing.assert_allclose(changes.orthogonal_step_(near.clone(), 1.0), polar, atol=1e-6)


def test_orthogonal_step_is_safe_damped_and_per_network():
    crowded = torch.ones(16, 4, dtype=torch.float64) + 0.1 * draw(
        16, 4
    )  # singular values far beyond √3
    w = crowded.clone()
    for _ in range(200):
        changes.orthogonal_step_(w, 1.0)
    coherence = F.normalize(w, dim=1) @ F.normalize(w, dim=1).T
    assert coherence.square().sum().item() == pytest.approx(16**2 / 4, rel=1e-3)  # the Welch bound
    both = crowded.expand(2, 16, 4).clone()
    changes.orthogonal_step_(both, torch.tensor([0.0, 0.5]))
    assert torch.equal(both[0], crowded)
    torch.testing.assert_close(both[1], changes.orthogonal_step_(crowded.clone(), 0.5))
    assert torch.equal(changes.orthogonal_step_(torch.zeros(3, 4), 1.0), torch.zeros(3, 4))


def slow_redundant(h, v, distance):
    units, found = len(h), []
    for i in range(units):
        dead = not h[i].any()
        strength = [np.linalg.norm(h[k]) * np.linalg.norm(v[:, k]) for k in range(units)]
        near = [
            j
            for j in range(units)
            if j != i
            and h[i].any()
            and h[j].any()
            and h[i] @ h[j] / np.linalg.norm(h[i]) / np.linalg.norm(h[j]) > 1 - distance
        ]
        found.append(
            dead
            or any(
                strength[j] > strength[i] or (strength[j] == strength[i] and j < i) for j in near
            )
        )
    return found


def test_redundant_units():
    h = draw(6, 30).abs()
    h[1] = 0  # dead
    h[3] = 2 * h[0] + 0.001 * h[2]  # nearly duplicate of 0, and stronger
    h[5] = h[4]  # equal: the later one goes
    v = torch.ones(4, 6, dtype=torch.float64)
    found = changes.redundant(h, v, 0.01)
    assert (
        found.tolist()
        == [True, True, False, False, False, True]
        == slow_redundant(h.numpy(), v.numpy(), 0.01)
    )
    many, out = draw(20, 6, 30, seed=3).abs(), draw(20, 4, 6, seed=4)
    found = changes.redundant(many, out, 0.45)
    assert 0 < found.sum() < found.numel()
    for k in range(20):
        assert found[k].tolist() == slow_redundant(many[k].numpy(), out[k].numpy(), 0.45)
    assert not changes.redundant(h, v, 0.0).any()  # coefficient 0: nothing, not even the dead


def test_fresh_rows_are_orthogonal_to_the_rest():
    w, new = draw(3, 5, 8), draw(3, 5, 8, seed=1)
    redrawn = torch.tensor([[False, True, False, True, False], [False] * 5, [True] * 5])
    found = changes.fresh_rows(w, new, redrawn)
    assert torch.equal(found[~redrawn], w[~redrawn])
    rest, fresh = found[0][~redrawn[0]], found[0][redrawn[0]]
    assert (fresh @ rest.T).abs().max() < 1e-12 and abs(fresh[0] @ fresh[1]) < 1e-12
    torch.testing.assert_close(fresh.norm(dim=1), rest.square().sum(1).mean().sqrt().expand(2))
    assert ((fresh * new[0][redrawn[0]]).sum(1) > 0).all()  # on the draw's side
    assert (
        F.normalize(found[2], dim=1) @ F.normalize(found[2], dim=1).T - torch.eye(5)
    ).abs().max() < 1e-12
    other = changes.fresh_rows(w, draw(3, 5, 8, seed=2), redrawn)
    assert (other[0][redrawn[0]] - fresh).abs().max() > 0.1  # stochastic


def test_fresh_rows_where_nothing_orthogonal_is_left():
    w = draw(1, 9, 4)
    w[..., 3] *= 0.01  # hardly covered
    redrawn = torch.zeros(1, 9, dtype=torch.bool)
    redrawn[0, [2, 5]] = True
    rows = torch.cat(
        [changes.fresh_rows(w, draw(1, 9, 4, seed=k), redrawn)[0, [2, 5]] for k in range(1, 40)]
    )
    rest = w[0, ~redrawn[0]].square().sum(1).mean().sqrt()
    torch.testing.assert_close(rows.norm(dim=1), rest.expand(len(rows)))
    assert (rows[:, 3].abs() / rest).median() > 0.95  # by chance it would be about 0.4
    every = torch.ones(1, 9, dtype=torch.bool)  # more than the fan-in: no two are alike
    fresh = F.normalize(changes.fresh_rows(w, draw(1, 9, 4, seed=1), every)[0], dim=1)
    assert ((fresh @ fresh.T).abs() - torch.eye(9)).max() < 0.999


# --------------------------------------------------------------------------------------------------
# - the population
def problem():
    x = draw(SAMPLES, INPUTS)
    return x, (x[:, :CLASSES] + 0.5 * draw(SAMPLES, CLASSES, seed=1)).argmax(1)


def fresh(seed, hidden=(6, 6)):
    return dndiv.default_(
        network((INPUTS, *hidden, CLASSES)).double(), streams.generator("draw", seed)
    )


def batches(seed, epochs):
    for _, order in zip(range(epochs), population.orders([seed], SAMPLES)):
        yield from order[0].split(BATCH)


def make(net, optimizer):
    if optimizer.name == "adam":
        return torch.optim.Adam(net.parameters(), lr=optimizer.lr)
    return torch.optim.SGD(net.parameters(), lr=optimizer.lr)


def test_techniques_side_by_side_do_not_touch_each_other():
    x, y = problem()
    doses = [
        None,
        *(Dose(name, 1e-3) for name in PENALTIES),
        Dose("orthogonal_step", 0.3),
        None,
        Dose("reinitialize", 0.3, every=10),
        Dose("weight_cosine", 0.1, "dynamic"),
    ]

    def trained(chosen):
        found = Population(
            [[fresh(s) for _ in chosen] for s in (0, 1)],
            Optimizer("adam", 0.005),
            techniques=Dosing(chosen, (0, 1), x),
        )
        for _ in population.train(found, x, y, (0, 1), BATCH, 2):  # 26 steps
            pass
        return found

    together = trained(doses)
    for a, dose in enumerate(doses):
        single = trained([dose])
        for w, v in zip(together.weights, single.weights):
            torch.testing.assert_close(w[:, a], v[:, 0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        *(together.weights[0][:, a] for a, dose in enumerate(doses) if dose is None),
        rtol=1e-9,
        atol=1e-9,
    )
    one_seed = Population(
        [[fresh(0) for _ in doses]], Optimizer("adam", 0.005), techniques=Dosing(doses, (0,), x)
    )
    for _ in population.train(one_seed, x, y, (0,), BATCH, 2):
        pass
    torch.testing.assert_close(one_seed.weights[0][0], together.weights[0][0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "optimizer", [Optimizer("sgd", 0.05), Optimizer("adam", 0.005)], ids=["sgd", "adam"]
)
@pytest.mark.parametrize("name", [*PENALTIES, "orthogonal_step"])
def test_populations_equal_networks_trained_alone_with_the_same_technique(name, optimizer):
    seeds, epochs = (0, 3), 2  # of 13 steps
    c = 1e-3 if TECHNIQUES[name].looks_at == "outputs" else 0.05  # the one without a lower bound
    doses = [
        Dose(name, c / 2),
        Dose(name, c, "annealed", over=20),
        Dose(name, c, "dynamic"),
        Dose(name, 0.0),
        Dose(name, c, every=3),
    ]
    x, y = problem()
    trained = Population(
        [[fresh(s) for _ in doses] for s in seeds], optimizer, techniques=Dosing(doses, seeds, x)
    )
    for _ in population.train(trained, x, y, seeds, BATCH, epochs):
        pass
    ends = []
    for s, seed in enumerate(seeds):
        for a, t in enumerate(doses):
            net = fresh(seed)
            update = make(net, optimizer)
            diverse = Reinforcement(
                net, update, name, t.coefficient, schedule=t.schedule, over=t.over, every=t.every
            )
            for index in batches(seed, epochs):
                update.zero_grad()
                (F.cross_entropy(net(x[index]), y[index]) + diverse.penalty()).backward()
                update.step()
            for p, q in zip(trained.member(s, a).parameters(), net.parameters()):
                torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-8)
            ends.append(torch.cat([p.flatten() for p in net.parameters()]))
    assert all(
        (ends[i] - ends[j]).abs().max() > 1e-6 for i in range(5) for j in range(i)
    )  # the arms do differ


@pytest.mark.parametrize(
    "optimizer", [Optimizer("sgd", 0.05), Optimizer("adam", 0.005)], ids=["sgd", "adam"]
)
def test_reinitialization_in_a_population_equals_one_network_at_a_time(optimizer, monkeypatch):
    monkeypatch.setitem(
        TECHNIQUES, "reinitialize", dataclasses.replace(TECHNIQUES["reinitialize"], every=5)
    )
    seeds, epochs, x_y = (0, 3), 2, problem()
    x, y = x_y
    nets = [[fresh(s), fresh(s)] for s in seeds]
    for row in nets:
        for net in row:
            with torch.no_grad():
                net[0].weight[2] = net[0].weight[1] * 1.01  # a duplicate
                net[0].bias[2] = net[0].bias[1] * 1.01
                net[2].bias[4] = -50.0  # a dead unit
    doses = [Dose("reinitialize", 0.01), Dose("reinitialize", 0.2)]
    nets = [[*row, fresh(s)] for s, row in zip(seeds, nets)]  # and one without, beside them
    trained = Population(nets, optimizer, techniques=Dosing([*doses, None], seeds, x))
    for _ in population.train(trained, x, y, seeds, BATCH, epochs):
        pass

    redrawn_units = 0
    for s, seed in enumerate(seeds):
        for a, t in enumerate(doses):
            net, generator = copy.deepcopy(nets[s][a]), streams.generator("redraw", seed)
            linear = [m for m in net if isinstance(m, nn.Linear)]
            update = make(net, optimizer)
            for step, index in enumerate(batches(seed, epochs), 1):
                update.zero_grad()
                F.cross_entropy(net(x[index]), y[index]).backward()
                update.step()
                if step % 5:
                    continue
                draws = [torch.randn(m.weight.shape, generator=generator).double() for m in linear]
                with torch.no_grad():
                    seen = [x]  # before any unit is redrawn
                    for m in linear[:-1]:
                        seen.append(m(seen[-1]).relu())
                    for l, new in enumerate(draws[:-1]):
                        inputs, h = seen[l], seen[l + 1].T
                        chosen = [
                            i
                            for i, r in enumerate(
                                slow_redundant(
                                    h.numpy(), linear[l + 1].weight.numpy(), t.coefficient
                                )
                            )
                            if r
                        ]
                        kept = [i for i in range(len(h)) if i not in chosen]
                        norm = linear[l].weight[kept].square().sum(1).mean().sqrt()
                        basis = [linear[l].weight[i].clone() for i in kept]
                        for i in chosen:  # least squares, one row at a time
                            others = torch.stack(basis).T
                            row = new[i] - others @ torch.linalg.lstsq(others, new[i]).solution
                            basis.append(row)
                            linear[l].weight[i] = norm * row / row.norm()
                            linear[l].bias[i] = -(linear[l].weight[i] @ inputs.mean(0))
                            linear[l + 1].weight[:, i] = 0
                            for p, where in (
                                (linear[l].weight, i),
                                (linear[l].bias, i),
                                (linear[l + 1].weight, (slice(None), i)),
                            ):
                                for name in ("exp_avg", "exp_avg_sq"):
                                    if name in update.state[p]:
                                        update.state[p][name][where] = 0
                        redrawn_units += len(chosen)
            for p, q in zip(trained.member(s, a).parameters(), net.parameters()):
                torch.testing.assert_close(p, q, rtol=1e-7, atol=1e-8)
    assert redrawn_units >= 8  # both kinds, in every network


@pytest.mark.parametrize("name", TECHNIQUES)
def test_coefficient_zero_leaves_training_bit_identical(name):
    x, y = problem()
    plain, with_zero = (
        Population([[fresh(1)]], Optimizer("sgd", 0.05), techniques=acting)
        for acting in (None, Dosing([Dose(name, 0.0, every=5)], (1,), x))
    )
    nets = fresh(1), fresh(1)
    updates = [make(net, Optimizer("adam", 0.01)) for net in nets]
    diverse = Reinforcement(nets[1], updates[1], name, 0.0, every=5)
    for trained in (plain, with_zero):
        for _ in population.train(trained, x, y, (1,), BATCH, 1):
            pass
    assert torch.equal(plain.weights[0], with_zero.weights[0])
    for index in batches(1, 1):
        for k, (net, update) in enumerate(zip(nets, updates)):
            update.zero_grad()
            (F.cross_entropy(net(x[index]), y[index]) + (diverse.penalty() if k else 0)).backward()
            update.step()
    assert all(torch.equal(p, q) for p, q in zip(nets[0].parameters(), nets[1].parameters()))


# --------------------------------------------------------------------------------------------------
# ---- your own loop
class Convolutional(nn.Module):
    """Without any of our conventions: functional activations, pooling, a flattened layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.head = (
            nn.Conv2d(1, 6, 3, padding=1),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.Linear(8 * 4, 10),
        )

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.one(x)), 2)
        return self.head(F.max_pool2d(F.relu(self.two(x)), 2).flatten(1))


@pytest.fixture(scope="module")
def images():
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(
        found.target
    )


def learn(images, technique=None, coefficient=0.0, steps=100, **options):
    x, y = images
    model = Convolutional()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    diverse = (
        Reinforcement(model, optimizer, technique, coefficient, **options) if technique else None
    )
    g = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index = torch.randint(len(x), (64,), generator=g)
        loss = F.cross_entropy(model(x[index]), y[index])
        if diverse:
            loss = loss + diverse.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, optimizer, diverse


@pytest.fixture(scope="module")
def learnt(images):
    """A model without a technique."""
    return learn(images)[0]


def measured(model, images, technique):
    """What the technique says it makes larger or smaller, such that less is what it promises."""
    x, _ = images
    with torch.no_grad():
        if TECHNIQUES[technique].looks_at == "weights":
            measure = (
                penalties.negative_log_volume
                if technique == "log_volume"
                else penalties.weight_cosine
            )
            return sum(measure(m.weight.flatten(1)).item() for m in (model.one, model.two))
        one = F.relu(model.one(x))
        two = F.relu(model.two(F.max_pool2d(one, 2)))
        if technique == "activation_decorrelation":
            return sum(
                penalties.activation_decorrelation(h.movedim(1, 0).flatten(1)).item()
                for h in (one, two)
            )
        members = F.max_pool2d(two, 2).flatten(1).T, model.head.weight, model.head.bias
        return TECHNIQUES[technique].penalty(*members).item()


@pytest.mark.parametrize(
    "technique, coefficient",
    [
        ("negative_correlation", 1e-6),
        ("prediction_diversity", 1.0),
        ("weight_cosine", 1.0),
        ("activation_decorrelation", 0.5),
        ("log_volume", 0.1),
        ("orthogonal_step", 0.5),
    ],
)
@pytest.mark.parametrize("schedule", ["constant", "dynamic"])
def test_in_your_own_loop_the_measure_moves_as_the_technique_says(
    images, learnt, technique, coefficient, schedule
):
    model, _, diverse = learn(images, technique, coefficient, schedule=schedule)
    assert measured(model, images, technique) < measured(learnt, images, technique)
    with torch.no_grad():
        right = (model(images[0]).argmax(1) == images[1]).float().mean()
    assert right > 0.8 and diverse.steps == 100  # and it has learnt


def test_reinitialization_in_your_own_loop(images):
    x, y = images
    model = Convolutional()
    with torch.no_grad():
        model.one.weight[1], model.one.bias[1] = (
            model.one.weight[0] * 1.001,
            model.one.bias[0] * 1.001,
        )
        model.two.bias[3] = -50.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    with Reinforcement(model, optimizer, "reinitialize", 0.001, every=3):
        for _ in range(3):
            before = copy.deepcopy(model)
            F.cross_entropy(model(x[:200]), y[:200]).backward()
            optimizer.step()
    flat = model.one.weight.detach().flatten(1)
    weaker = 0 if (flat[0] - before.one.weight.detach().flatten(1)[0]).norm() > 0.1 else 1
    kept = [i for i in range(8) if i != 3]  # unit 3 of the next layer is redrawn as a whole
    assert (
        not model.two.weight[kept, weaker].any()
        and not model.head.weight.unflatten(1, (8, 4))[:, 3].any()
    )
    others = [i for i in range(6) if i != weaker]
    assert F.cosine_similarity(flat[weaker], flat[others]).abs().max() < 1e-5
    assert not optimizer.state[model.one.weight]["exp_avg"][weaker].any()
    assert not optimizer.state[model.two.weight]["exp_avg_sq"][:, weaker].any()
    assert not optimizer.state[model.head.weight]["exp_avg"].unflatten(1, (8, 4))[:, 3].any()
    assert optimizer.state[model.one.weight]["exp_avg"][others].any()
    with torch.no_grad():
        alive = F.relu(model.two(F.max_pool2d(F.relu(model.one(x)), 2)))[:, 3]
    assert 0.2 < (alive > 0).float().mean() < 0.8  # it is on again, for about half


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_removing_restores_the_model(images, technique):
    model, optimizer, diverse = learn(images, technique, 0.001, steps=3)
    kind, keys = type(model), list(model.state_dict())
    diverse.remove()
    assert type(model) is kind is Convolutional and list(model.state_dict()) == keys == list(
        Convolutional().state_dict()
    )
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    other = Convolutional()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images[0][:5]), model(images[0][:5]))


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_under_torch_compile(images, technique):
    x, y = images[0][:64], images[1][:64]
    found = []
    for compiled in (False, True):
        model = Convolutional()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        diverse = Reinforcement(model, optimizer, technique, 0.01, every=2)
        run = torch.compile(model, backend="aot_eager") if compiled else model
        for _ in range(4):
            optimizer.zero_grad()
            (F.cross_entropy(run(x), y) + diverse.penalty()).backward()
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_layers_that_the_optimizer_does_not_train_are_left_alone(images):
    for technique in CHANGES:
        model = Convolutional()
        with torch.no_grad():
            model.one.weight[1], model.one.bias[1] = model.one.weight[0], model.one.bias[0]
        before = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.SGD([*model.two.parameters(), *model.head.parameters()], lr=0.01)
        Reinforcement(model, optimizer, technique, 0.5, every=1)
        F.cross_entropy(model(images[0][:64]), images[1][:64]).backward()
        optimizer.step()
        assert torch.equal(before["one.weight"], model.one.weight) and not torch.equal(
            before["two.weight"], model.two.weight
        )


def test_reinitialization_sees_what_reaches_the_next_layer():
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randint(3, (64,))
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].bias -= 20  # negative before the normalization, alive after it
    before = model[0].weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    Reinforcement(model, optimizer, "reinitialize", 0.001, every=1)
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before)

    # a unit that is on for one image of an earlier mini-batch is not dead; a tiny mini-batch says
    # nothing of duplicates
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        pre = model[0](x)[:, 2]
        model[0].bias[2] -= (
            pre.sort().values[-2:].mean()
        )  # on for the one image with the largest pre-activation
        model[0].bias[4] = -50.0  # dead
    first = pre.argmax()
    rest = torch.arange(64) != first
    before = model[0].weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    Reinforcement(model, optimizer, "reinitialize", 1e-6, every=2)
    for batch in (x[first : first + 1], x[rest]):
        F.cross_entropy(model(batch), y[: len(batch)]).backward()
        optimizer.step()
    assert (model[0].weight != before).any(1).tolist() == [False, False, False, False, True]
    before = model[0].weight.clone()
    for batch in (x, x[:9]):  # fewer than twice the five units
        F.cross_entropy(model(batch), y[: len(batch)]).backward()
        optimizer.step()
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_under_autocast(images, technique):
    x, y = images
    model = Convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    diverse = Reinforcement(model, optimizer, technique, 0.01, schedule="dynamic", every=1)
    for inside in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x[:64]), y[:64])
            loss = loss + diverse.penalty() if inside else loss
        loss = loss if inside else loss + diverse.penalty()
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_of_a_model_in_half_precision(name):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(64, 6)
    half = copy.deepcopy(model).bfloat16()
    found = []
    for m, inputs in ((model, x), (half, x.bfloat16())):
        diverse = Reinforcement(m, torch.optim.SGD(m.parameters(), lr=0.1), name, 1.0)
        m(inputs)
        penalty = diverse.penalty()
        penalty.backward()
        found.append(penalty.item())
    assert found[1] == pytest.approx(found[0], rel=0.05) and found[0] != 0
    assert all(
        p.grad is None or (p.grad.dtype == torch.bfloat16 and p.grad.isfinite().all())
        for p in half.parameters()
    )


def test_evaluation_passes_are_not_recorded(images):
    model, _, diverse = learn(images, "activation_decorrelation", 0.1, steps=1)
    model(images[0][:8])
    before = diverse.penalty()
    model.eval()
    with torch.no_grad():
        model(images[0][:50])
    model(images[0][:50])  # with gradients
    model.train()
    assert diverse.penalty() == before > 0  # of the training pass, still
    diverse.optimizers[0].step()
    with pytest.raises(RuntimeError, match="call the model in training mode"):
        diverse.penalty()


# ------------------------------------------------------------------------------------------------
# what is refused
@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("weight_cosin", 0.1),
            "unknown technique 'weight_cosin'; choose one of negative_correlation",
        ),
        (("weight_cosine", -1.0), "from 0, not -1"),
        (("weight_cosine", math.nan), "not nan"),
        (("log_volume", math.inf), "not inf"),
        (("orthogonal_step", 1.5), "from 0 to 1, not 1.5"),
    ],
)
def test_bad_techniques(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dose(*arguments)


def test_bad_schedules_and_models():
    with pytest.raises(
        ValueError, match="unknown schedule 'linear'; choose one of constant, annealed, dynamic"
    ):
        Dose("weight_cosine", 1.0, "linear")
    with pytest.raises(ValueError, match="number of steps until it is 0"):
        Dose("weight_cosine", 1.0, "annealed")
    single = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="no hidden one"):
        Reinforcement(single, torch.optim.SGD(single.parameters(), 0.1), "weight_cosine", 0.1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    Reinforcement(model, torch.optim.SGD(model.parameters(), 0.1), "negative_correlation", 0.1)
    with pytest.raises(ValueError, match="layer '2' must be linear, not Conv2d"):
        model(torch.zeros(2, 1, 8, 8))


def test_annealing_and_redundancy():
    t = Dose("weight_cosine", 0.4, "annealed", over=4)
    assert [t.at(k) for k in range(6)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0, 0])
    lazy = Dose("weight_cosine", 0.4, every=3)  # the same strength in the mean
    assert [lazy.at(k) * lazy.due(k) for k in range(6)] == pytest.approx([1.2, 0, 0, 1.2, 0, 0])
    assert [Dose("orthogonal_step", 0.4).due(k) for k in (5, 10)] == [False, True]
    h = draw(4, 50)
    expected = np.abs(np.corrcoef(h.numpy()))[np.triu_indices(4, 1)].mean()
    assert penalties.activation_redundancy(h).item() == pytest.approx(expected)
    h[1] = 3.0  # constant: redundant with every other
    rest = np.abs(np.corrcoef(h[[0, 2, 3]].numpy()))[np.triu_indices(3, 1)]
    assert penalties.activation_redundancy(h).item() == pytest.approx((rest.sum() + 3) / 6)
    assert penalties.weight_redundancy(torch.ones(3, 4)).item() == pytest.approx(1)
    assert penalties.weight_redundancy(torch.eye(4)).item() == 0
    assert penalties.weight_redundancy(draw(1, 4)).item() == 0


def test_the_readme_s_lines_do_what_it_says(images):
    from dndiv.paper.files import ROOT

    blocks = [
        b.split("```")[0] for b in (ROOT / "README.md").read_text("utf8").split("```python\n")[1:]
    ]
    [lines] = [b.splitlines() for b in blocks if "Reinforcement" in b]
    before, inside, after = (line for line in lines if line.strip())
    x, y = images
    model = Convolutional()
    here = {
        "dndiv": dndiv,
        "F": F,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "x": x[:64],
        "y": y[:64],
    }
    with torch.no_grad():  # a dead unit
        model.two.weight[0], model.two.bias[0] = 0, -1
    exec(before, here)
    for _ in range(here["diverse"].dose.technique.every):
        assert not model.two.weight[0].any()
        exec(inside, here)
        here["optimizer"].zero_grad()
        here["loss"].backward()
        here["optimizer"].step()
    assert model.two.weight[0].all()  # drawn anew
    exec(after, here)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# ---------------------------------------------------------------------------------- held norms
def test_prediction_diversity_is_minus_the_ambiguity_of_the_brier_score_and_bounded():
    h, v, b = draw(6, 50), draw(4, 6, seed=1), draw(4, seed=2)
    q = torch.softmax(diversity.ensemble_members(h, v, b), 1)  # [units, outputs, samples]
    target = F.one_hot(torch.arange(50) % 4, 4).T.double()
    found = penalties.prediction_diversity(h, v, b)
    torch.testing.assert_close(found, -diversity.ambiguity(q, target)["ambiguity"])
    for scale in (1, 1e3, 1e6):
        assert -1 < penalties.prediction_diversity(h, scale * v, b) <= 0


def test_held_arms_keep_the_norms_they_started_with_and_others_are_as_without_them():
    x, y = problem()
    doses = [None, Dose("log_volume", 0.1), None, Dose("log_volume", 0.1)]
    held = [False, False, True, True]
    start = fresh(0)
    trained = Population(
        [[fresh(0) for _ in doses]],
        Optimizer("adam", 0.01),
        techniques=Dosing(doses, (0,), x, held),
    )
    free = Population(
        [[fresh(0) for _ in doses[:2]]],
        Optimizer("adam", 0.01),
        techniques=Dosing(doses[:2], (0,), x),
    )
    for population_ in (trained, free):
        for _ in population.train(population_, x, y, (0,), BATCH, 4):
            pass
    for l in range(2):
        norms = trained.weights[l][0].norm(dim=-1)
        then = start[2 * l].weight.norm(dim=-1)
        for arm in (2, 3):
            torch.testing.assert_close(norms[arm], then)
        assert all((norms[arm] - then).abs().max() > 0.01 for arm in (0, 1))
        torch.testing.assert_close(trained.weights[l][0, :2], free.weights[l][0])
    assert (trained.weights[0][0, 2] - trained.weights[0][0, 3]).abs().max() > 1e-3


def test_a_held_network_equals_one_trained_alone_whose_norms_are_reset():
    x, y = problem()
    trained = Population(
        [[fresh(3)]], Optimizer("sgd", 0.05), techniques=Dosing([None], (3,), x, [True])
    )
    for _ in population.train(trained, x, y, (3,), BATCH, 2):
        pass
    net = fresh(3)
    hidden = [net[0], net[2]]
    norms = [m.weight.detach().norm(dim=1, keepdim=True) for m in hidden]
    update = make(net, Optimizer("sgd", 0.05))
    for index in batches(3, 2):
        update.zero_grad()
        F.cross_entropy(net(x[index]), y[index]).backward()
        update.step()
        with torch.no_grad():
            for m, n in zip(hidden, norms):
                m.weight.mul_(n / m.weight.norm(dim=1, keepdim=True))
    for p, q in zip(trained.member(0, 0).parameters(), net.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-8)
