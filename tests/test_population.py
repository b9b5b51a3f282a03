"""The population against plain modules trained one at a time by torch.optim.

In float64: steps amplify float32's rounding beyond any useful tolerance. Two epochs, in new orders
and with a smaller batch at their ends, are all that is to agree; more are more of the same.
"""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dndiv import population, streams
from dndiv.dosing import Dosing
from dndiv.paper.starts import STARTS, start_
from dndiv.population import Optimizer, Population, network, orders, train

SAMPLES, INPUTS, CLASSES, BATCH = 200, 12, 5, 16
SGD, ADAM = Optimizer("sgd", 0.05), Optimizer("adam", 0.005)


def problem():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, INPUTS, generator=g, dtype=torch.float64)
    return x, (
        x[:, :CLASSES] + 0.5 * torch.randn(SAMPLES, CLASSES, generator=g, dtype=torch.float64)
    ).argmax(1)


def fresh(seed, hidden=(6,), activation="relu", arm="default"):
    x, _ = problem()
    net = network((INPUTS, *hidden, CLASSES), activation).double()
    return start_(net, arm, x[:100], streams.generator("draw", seed))


def alone(net, optimizer, seed, epochs, penalty=None, dropped=None):
    """The oracle: one network, autograd, torch.optim. dropped: a share of hidden units."""
    x, y = problem()
    masks = streams.generator("dropout", seed)
    if optimizer.name == "adam":
        update = torch.optim.Adam(
            net.parameters(), lr=optimizer.lr, betas=optimizer.betas, eps=optimizer.eps
        )
    else:
        update = torch.optim.SGD(net.parameters(), lr=optimizer.lr)
    for _, order in zip(range(epochs), orders([seed], SAMPLES)):
        for index in order[0].split(BATCH):
            hidden, out = [], x[index]
            for layer in net:
                out = layer(out)
                if not isinstance(layer, nn.Linear):
                    if dropped:
                        kept = dropped <= torch.rand(out.shape[::-1], generator=masks).T
                        out = out * kept / (1 - dropped)
                    hidden.append(out)
            loss = F.cross_entropy(out, y[index])
            if penalty is not None:
                loss = loss + penalty(
                    [m.weight for m in net if isinstance(m, nn.Linear)], [h.T for h in hidden]
                )
            update.zero_grad()
            loss.backward()
            update.step()
    return net


def together(nets, optimizer, seeds, epochs, activation="relu", **options):
    x, y = problem()
    trained = Population(nets, optimizer, activation, **options)
    for _ in train(trained, x, y, seeds, BATCH, epochs):
        pass
    return trained


class Acting:
    """A technique on the arms from the second on: a penalty's gradients, or a change of the
    weights."""

    noisy = False

    def __init__(self, penalty=None, change=None):
        self.penalty, self.change = penalty, change

    def gradients(self, trained, hidden):
        if self.penalty:
            arms = slice(1, 2)
            parts = ([v[:, arms] for v in part] for part in (trained.weights, hidden))
            yield arms, *self.penalty(*parts)

    def after_step(self, trained):
        if self.change and trained.steps:
            self.change(trained)


def assert_same(one, other, tolerance=1e-9):
    for p, q in zip(one.parameters(), other.parameters()):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("hidden", [(), (6,), (4, 4, 4), (8,) * 5], ids=str)
@pytest.mark.parametrize("activation", population.ACTIVATIONS)
def test_members_equal_networks_trained_alone(optimizer, hidden, activation):
    nets = [
        [fresh(s, hidden, activation, arm) for arm in ("default", "decorrelated")]
        for s in (0, 1, 2)
    ]
    trained = together(nets, optimizer, (0, 1, 2), 2, activation)
    assert trained.steps == 26
    for s, row in enumerate(nets):
        for a, net in enumerate(row):
            before = [p.clone() for p in net.parameters()]
            assert_same(trained.member(s, a), alone(net, optimizer, s, 2))
            assert not torch.equal(before[0], net[0].weight)  # the oracle has learnt something


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_every_initialization_trains_as_it_does_alone(optimizer):
    nets = [[fresh(5, (4, 4), arm=arm) for arm in STARTS]]
    trained = together(nets, optimizer, (5,), 2)
    for a, net in enumerate(nets[0]):
        assert_same(trained.member(0, a), alone(net, optimizer, 5, 2))


def test_evaluation_equals_the_plain_one_whatever_the_block(monkeypatch):
    x, y = problem()
    nets = [[fresh(s, (4, 4)) for _ in range(2)] for s in range(2)]
    whole = Population(nets, SGD)
    accuracy, loss = whole.evaluate(x, y)
    monkeypatch.setattr(population, "EVALUATION_BLOCK", 33)
    torch.testing.assert_close(whole.evaluate(x, y), (accuracy, loss))
    for s in range(2):
        logits = nets[s][1](x)
        assert accuracy[s, 1].item() == pytest.approx(
            (logits.argmax(1) == y).double().mean().item()
        )
        assert loss[s, 1].item() == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_member_that_diverges_disturbs_no_other_and_shows(optimizer, value):
    nets = [[fresh(s, (6,)) for _ in range(3)] for s in (0, 1)]
    with torch.no_grad():
        nets[0][1][0].weight[2, 3] = value
    trained = together(nets, optimizer, (0, 1), 4)
    accuracy, loss = trained.evaluate(*problem())
    assert accuracy[0, 1] == 0 and not loss[0, 1].isfinite()
    for s, a in ((0, 0), (0, 2), (1, 0), (1, 1)):
        assert_same(trained.member(s, a), alone(nets[s][a], optimizer, s, 4))
        assert loss[s, a].isfinite() and accuracy[s, a] > 0


def test_float32_stays_near_the_oracle():
    nets = [[fresh(s, (6,)).float() for _ in range(2)] for s in (0, 1)]
    x, y = problem()
    trained = Population(nets, ADAM)
    for _ in train(trained, x.float(), y, (0, 1), BATCH, 8):
        pass
    assert trained.member(0, 0)[0].weight.dtype == torch.float32
    for p, q in zip(
        trained.member(1, 1).parameters(), alone(nets[1][1].double(), ADAM, 1, 8).parameters()
    ):
        torch.testing.assert_close(p.double(), q, rtol=1e-3, atol=1e-4)


def test_what_a_network_learns_does_not_depend_on_its_company():
    nets = [
        [fresh(s, (4, 4), arm=arm) for arm in ("default", "alive", "simplex")] for s in (0, 1, 2)
    ]
    whole = together(nets, ADAM, (0, 1, 2), 5)
    lonely = together([[nets[2][1]]], ADAM, (2,), 5)
    assert_same(whole.member(2, 1), lonely.member(0, 0))


def test_a_penalty_adds_its_gradients_by_weights_and_activations_to_its_arms():
    def batched(weights, hidden):  # [S, arms]
        cosine = F.normalize(weights[1], dim=-1)
        return (
            (cosine @ cosine.mT).square().sum((-1, -2))
            + 0.3 * hidden[0].square().mean((-1, -2))
            + 0.1 * hidden[1].mean((-1, -2)) ** 2
        )

    def gradients(weights, hidden):
        with torch.enable_grad():
            given = [v.detach().requires_grad_() for v in (*weights, *hidden)]
            found = torch.autograd.grad(
                batched(given[: len(weights)], given[len(weights) :]).sum(),
                given,
                allow_unused=True,
            )
        return found[: len(weights)], found[len(weights) :]

    nets = [[fresh(s, (4, 4)) for _ in range(2)] for s in (0, 1)]
    for optimizer in (SGD, ADAM):
        trained = together(nets, optimizer, (0, 1), 4, techniques=Acting(penalty=gradients))
        plain = together(nets, optimizer, (0, 1), 4)
        for s in range(2):
            net = alone(fresh(s, (4, 4)), optimizer, s, 4, penalty=batched)
            assert_same(trained.member(s, 1), net)
            assert_same(trained.member(s, 0), plain.member(s, 0))
            assert not torch.allclose(plain.member(s, 1)[2].weight, net[2].weight, atol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_dropout(optimizer, activation):
    x, _ = problem()
    nets = [[fresh(s, (6, 4), activation) for _ in range(3)] for s in (0, 1)]
    acting = Dosing([None] * 3, (0, 1), x, dropout=[0, 0.5, 0.2])
    trained = together(nets, optimizer, (0, 1), 4, activation, techniques=acting)
    for s in range(2):
        for a, dropped in enumerate((None, 0.5, 0.2)):
            net = alone(fresh(s, (6, 4), activation), optimizer, s, 4, dropped=dropped)
            assert_same(trained.member(s, a), net)
    for none in (1.0, -0.1, float("nan"), "all"):
        with pytest.raises(ValueError, match="dropout"):
            Dosing([None], (0,), x, dropout=[none])
    with pytest.raises(ValueError, match="tanh"):
        tanh = [[fresh(s, (6, 4), "tanh") for _ in range(3)] for s in (0, 1)]
        Population(tanh, optimizer, "tanh", techniques=acting)


def test_muon():
    """Against torch.optim, in whose updates bfloat16 leaves errors of some per cent."""
    x, y = problem()
    nets = [[fresh(s, (6, 9, 4)) for _ in range(2)] for s in (0, 1)]
    start, net = nets[1][1], fresh(1, (6, 9, 4))
    trained = Population(nets, Optimizer("muon", 0.01))
    linear = [m for m in net if isinstance(m, nn.Linear)]
    hidden = [m.weight for m in linear[:-1]]
    both = (
        torch.optim.Muon(hidden, 0.01, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.Adam([linear[-1].weight, *[m.bias for m in linear]], 0.01),
    )
    for k in range(20):
        index = slice(10 * k, 10 * k + 10)
        trained.step(x[index].expand(2, -1, -1), y[index].expand(2, -1))
        loss = F.cross_entropy(net(x[index]), y[index])
        for update in both:
            update.zero_grad()
        loss.backward()
        for update in both:
            update.step()
    found = torch.cat([p.flatten() for p in trained.member(1, 1).parameters()])
    expected, before = (torch.cat([p.flatten() for p in n.parameters()]) for n in (net, start))
    moved = (expected - before).norm()
    assert moved > 0.3 and (found - expected).norm() < 0.05 * moved


def test_orthogonalized_by_the_quintic_of_its_singular_values():
    for shape in ((2, 3, 4, 7), (2, 3, 7, 4), (5, 5)):
        g = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        u, s, vt = torch.linalg.svd(g, full_matrices=False)
        s = s / s.square().sum(-1, keepdim=True).sqrt()
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        assert (s.sub(1).abs() < 0.5).all()
        torch.testing.assert_close(population.orthogonalized(g), u * s.unsqueeze(-2) @ vt)


def test_after_step_changes_the_weights_between_steps():
    def clip(p):
        for w in p.weights:
            w.clamp_(-0.1, 0.1)

    trained = together([[fresh(0)]], SGD, (0,), 1, techniques=Acting(change=clip))
    assert max(w.abs().max() for w in trained.weights) <= 0.1


def test_training_pauses_before_at_pauses_and_after_each_epoch():
    x, y = problem()
    assert population.steps_per_epoch(SAMPLES, BATCH) == 13
    pop = Population([[fresh(0)]], SGD)
    assert list(train(pop, x, y, (0,), BATCH, 2, pauses=(1, 5, 13, 14))) == [0, 1, 5, 13, 14, 26]
    assert pop.steps == 26


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_recorded_steps_are_the_steps(optimizer, monkeypatch):
    nets = [[fresh(s, arm=arm) for arm in ("default", "alive")] for s in (0, 1)]
    plain = together(nets, optimizer, (0, 1), 3)
    pop = Population(nets, optimizer)
    calls = []

    class Recorder:
        """What a CUDA graph does with the work: nothing when it is recorded, and no Python when it
        is replayed."""

        def __init__(self, device):
            pass

        def warm_up(self, work):
            calls.append("warm up")
            work()

        def record(self, work):
            calls.append("record")
            self.work, state = work, [t.clone() for t in self.tensors()]
            work()
            for t, before in zip(self.tensors(), state):
                t.copy_(before)

        def replay(self):
            calls.append("replay")
            steps = pop.steps
            self.work()
            pop.steps = steps

        def tensors(self):
            return [pop._flat, *pop._state, pop._step]

    monkeypatch.setattr(population, "_recordable", lambda pop: True)
    monkeypatch.setattr(population, "_Graph", Recorder)
    x, y = problem()
    assert list(train(pop, x, y, (0, 1), BATCH, 3, pauses=(2, 7))) == [0, 2, 7, 13, 26, 39]
    assert torch.equal(pop._flat, plain._flat) and pop.steps == plain.steps == 39
    assert calls == ["warm up"] * 3 + ["record"] + ["replay"] * (
        3 * 12 - 3
    )  # the last of an epoch is smaller


def test_only_what_runs_on_a_gpu_by_itself_is_recorded():
    def recordable(device="cuda", techniques=None):
        return population._recordable(
            SimpleNamespace(device=torch.device(device), techniques=techniques)
        )

    assert recordable()
    assert not recordable("cpu") and not recordable(techniques=Acting())
    with ThreadPoolExecutor(1) as threads:
        assert not threads.submit(recordable).result()


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_every_device_trains_as_a_network_alone(optimizer, device):
    x, y = problem()
    pop = Population([[fresh(0), fresh(0, arm="alive")]], optimizer, device=device)
    for _ in train(pop, x.to(device), y.to(device), (0,), BATCH, 3):
        pass
    for k, arm in enumerate(("default", "alive")):
        assert_same(pop.member(0, k), alone(fresh(0, arm=arm), optimizer, 0, 3))


def test_each_seed_has_its_own_order_over_all_samples_new_every_epoch():
    epochs = [order for _, order in zip(range(2), orders((3, 4), 50))]
    for order in epochs:
        assert all(sorted(line.tolist()) == list(range(50)) for line in order)
    assert not torch.equal(epochs[0][0], epochs[0][1]) and not torch.equal(
        epochs[0][0], epochs[1][0]
    )
    assert torch.equal(epochs[0][1], next(orders((4,), 50))[0])  # whatever the other seeds are


def test_shapes_and_parameter_counts():
    pop = Population([[network((784, 16, 10)) for _ in range(3)] for _ in range(2)], SGD)
    assert [tuple(w.shape) for w in pop.weights] == [(2, 3, 16, 784), (2, 3, 10, 16)]
    assert [tuple(b.shape) for b in pop.biases] == [(2, 3, 16), (2, 3, 10)]
    assert pop.parameters_per_network == 12_730


def trained(y, batch):
    return train(Population([[network((3, 2))]], SGD), torch.ones(2, 3), y, (0,), batch, 1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: network((3, 4, 2), "relU"), "unknown activation 'relU'; choose one of relu"),
        (lambda: network((3,)), "two or more positive layer sizes"),
        (lambda: Optimizer("adma", 0.1), "unknown optimizer 'adma'; choose one of sgd, adam"),
        (lambda: Optimizer("sgd", -1), "the learning rate must be positive, not -1"),
        (lambda: Population([[network((3, 2))], [network((3, 3))]], SGD), "the same sizes"),
        (
            lambda: list(train(Population([[network((3, 2))]], SGD), *problem(), (0, 1), 4, 1)),
            "has 1 seeds, not 2",
        ),
        (lambda: Population([], SGD), "one network at least"),
        (lambda: Population([[network((3, 4, 2), "tanh")]], SGD), "'relu'.* makes them.*Tanh"),
        (lambda: Population([[nn.Sequential(nn.Linear(3, 2, bias=False))]], SGD), "with biases"),
        *(
            (lambda y=y, batch=batch: list(trained(y, batch)), message)
            for y, batch, message in (
                (torch.tensor([0, 2]), 1, r"classes from 0 to 1.* from 0 to 2, 1"),
                (torch.tensor([-1, 0]), 1, "from -1 to 0"),
                (torch.tensor([0.5, 1.0]), 1, "torch.float32"),
                (torch.tensor([0, 1, 1]), 1, r"\[2, 3\], \[3\]"),
                (torch.tensor([0, 1]), 0, "batch at least 1; not .*, 0"),
            )
        ),
    ],
)
def test_bad_input_is_refused_before_any_work(make, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()
