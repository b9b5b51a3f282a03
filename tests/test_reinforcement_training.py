"""Reinforcement in real training: resumed, copied, averaged, accumulated, scaled, compiled, spread
over processes; and what it refuses."""

import copy
import io
import os
import pickle
import socket
import warnings

import pytest
import torch
from torch import multiprocessing, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dndiv import changes, penalties
from dndiv.reinforcement import Reinforcement
from dndiv.techniques import TECHNIQUES

BATCH = 32
C = {"negative_correlation": 1e-3, "reinitialize": 0.05}  # else 0.1


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def batch(step, size=BATCH):
    g = torch.Generator().manual_seed(step)
    x = torch.randn(size, 6, generator=g)
    return x, x[:, :3].argmax(1)


def wound(model):
    """Units that reinitialize has something to do with: a duplicate, and one that is dead but for
    batches of an odd step."""
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[2].bias[3] = -50.0
    return model


def reinforced(model, optimizer, technique, **options):
    options = {"every": 3 if TECHNIQUES[technique].change else 1} | options
    c = options.pop("coefficient", C.get(technique, 0.1))
    return Reinforcement(model, optimizer, technique, c, **options)


def train(model, optimizer, diverse, steps):
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        (F.cross_entropy(model(x), y) + diverse.penalty()).backward()
        optimizer.step()


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def passed(file):
    """What comes back from a file, and can be read without unpickling code."""
    buffer = io.BytesIO()
    torch.save(file, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


# ------------------------------------------------------------------------------ resumed and copied
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("schedule", ["constant", "annealed", "dynamic"])
def test_a_resumed_run_is_the_uninterrupted_one(technique, schedule):
    def start():
        model = wound(net())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        options = {"schedule": schedule, "over": 9 * (schedule == "annealed")}
        return model, optimizer, reinforced(model, optimizer, technique, **options)

    whole, first = start(), start()
    for run in (whole, first):
        train(*run, range(5))  # between two changes
        wound(run[0])
    train(*whole, range(5, 11))
    states = passed([part.state_dict() for part in first])
    resumed = start()
    for part, state in zip(resumed, states):
        part.load_state_dict(state)
    train(*resumed, range(5, 11))
    assert torch.equal(flat(resumed[0]), flat(whole[0]))
    assert resumed[2].steps == whole[2].steps == 11
    forgetful = start()
    for part, state in zip(forgetful[:2], states):
        part.load_state_dict(state)
    train(*forgetful, range(5, 11))
    if TECHNIQUES[technique].change or schedule == "annealed":
        assert not torch.equal(flat(forgetful[0]), flat(whole[0]))


def test_the_memory_of_dead_units_is_resumed():
    def start():
        model = wound(net())
        with torch.no_grad():
            model[2].weight[3] = torch.eye(5)[0] * 1e3  # on for large inputs of unit 0 alone
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        return model, optimizer, Reinforcement(model, optimizer, "reinitialize", 1e-9, every=3)

    found = []
    for remembered in (True, False):
        model, optimizer, diverse = start()
        model(torch.randn(BATCH, 6) * 100)
        optimizer.step()
        again = start()
        state = passed(diverse.state_dict())
        again[2].load_state_dict(state if remembered else state | {"alive": {}})
        for _ in range(2):
            again[0](torch.zeros(BATCH, 6))
            again[1].step()
        found.append(torch.equal(again[0][2].weight[3], model[2].weight[3]))
    assert found == [True, False]


def test_states_of_others_are_refused():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    diverse = reinforced(model, optimizer, "reinitialize")
    train(model, optimizer, diverse, range(1))
    state = diverse.state_dict()
    with pytest.raises(ValueError, match="of 'reinitialize' is not one of 'log_volume'"):
        reinforced(model, optimizer, "log_volume").load_state_dict(state)
    for alive, message in (
        ({"9": torch.ones(5)}, "unknown layer in the state '9'; choose one of 0, 2, 4"),
        ({"2": torch.ones(4) > 0}, "layer '2' has 5 inputs, and 4 in the state"),
    ):
        with pytest.raises(ValueError, match=message):
            diverse.load_state_dict(state | {"alive": alive})
    for other, missing in (
        ({}, "'technique', 'steps', 'random', 'alive'"),
        (model.state_dict(), "'technique', 'steps', 'random', 'alive'"),
        ({k: v for k, v in state.items() if k != "random"}, "'random'"),
    ):
        with pytest.raises(ValueError, match=f"the state has no {missing}: pass what state_dict"):
            diverse.load_state_dict(other)
    assert diverse.steps == 1 and list(diverse.state_dict()["alive"]) == ["0", "2", "4"]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_copies_work_and_disturb_nothing(technique):
    x, y = batch(0)
    found = []
    for copied in (False, True):
        model = wound(net())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        diverse = reinforced(model, optimizer, technique)
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        for step in range(7):
            x, y = batch(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if copied:  # after a forward pass, when graphs are alive
                torch.save(model, buffer := io.BytesIO())
                buffer.seek(0)
                others = [
                    copy.deepcopy(model),
                    pickle.loads(pickle.dumps(model)),
                    torch.load(buffer, weights_only=False),
                    copy.deepcopy({"model": model, "diverse": diverse})["model"],
                    averaged,
                ]
                for other in others:
                    other(torch.randn(3, 6, generator=torch.Generator().manual_seed(1))).sum()
                    assert torch.equal(other(x).shape and flat(others[0]), flat(model))
                    F.cross_entropy(other(x), y).backward()  # they train, by themselves
                    other.zero_grad()
            (loss + diverse.penalty()).backward()
            optimizer.step()
            averaged.update_parameters(model)
            pickle.loads(pickle.dumps(optimizer))
        found.append((flat(model), flat(averaged.module)))
    assert all(torch.equal(a, b) for a, b in zip(*found))
    assert not torch.equal(*found[0])


# ---------------------------------------------------------------------------------- kinds of loops
def by_hand(model, x, technique, c):
    """The penalty, from the formulas and the activations as the net's own definition has them."""
    one = model[1](model[0](x))
    two = model[3](model[2](one))
    t = TECHNIQUES[technique]
    if t.looks_at == "weights":
        return c * sum(t.penalty(model[l].weight) for l in (0, 2))
    if t.looks_at == "activations":
        return c * sum(t.penalty(h.T) for h in (one, two))
    return c * t.penalty(two.T, model[4].weight, model[4].bias)


PENALTIES = [name for name, t in TECHNIQUES.items() if t.penalty]


@pytest.mark.parametrize("technique", PENALTIES)
def test_accumulated_gradients_are_those_of_the_mean(technique):
    model, plain = net(), net()
    updates = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, plain)]
    diverse = reinforced(model, updates[0], technique, every=2)
    for step in range(4):
        for part in range(3):
            x, y = batch(10 * step + part)
            ((F.cross_entropy(model(x), y) + diverse.penalty()) / 3).backward()
            c = 0 if step % 2 else 2 * diverse.dose.coefficient
            ((F.cross_entropy(plain(x), y) + by_hand(plain, x, technique, c)) / 3).backward()
        for update in updates:
            update.step()
            update.zero_grad()
    torch.testing.assert_close(flat(model), flat(plain))


@pytest.mark.parametrize("technique", PENALTIES)
def test_closures(technique):
    model, plain = net().double(), net().double()
    x, y = batch(0)
    x = x.double()

    def minimized(m, penalty):
        update = torch.optim.LBFGS(m.parameters(), lr=0.1, max_iter=4)
        diverse = reinforced(m, update, technique) if penalty is None else None

        def closure():
            update.zero_grad()
            loss = F.cross_entropy(m(x), y)
            loss = loss + (penalty(m) if diverse is None else diverse.penalty())
            loss.backward()
            return loss

        for _ in range(3):
            update.step(closure)
        return diverse

    diverse = minimized(model, None)
    minimized(plain, lambda m: by_hand(m, x, technique, diverse.dose.coefficient))
    torch.testing.assert_close(flat(model), flat(plain))
    assert diverse.steps == 3


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_several_optimizers_are_as_one(technique):
    found = []
    for parts in ([slice(0, 5)], [slice(0, 2), slice(2, 5)]):
        model = wound(net())
        optimizers = [torch.optim.Adam(model[part].parameters(), lr=0.01) for part in parts]
        diverse = reinforced(model, optimizers, technique)
        for step in range(7):
            x, y = batch(step)
            (F.cross_entropy(model(x), y) + diverse.penalty()).backward()
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad()
        assert diverse.steps == 7
        found.append(flat(model))
    assert torch.equal(*found)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_scaled_losses_and_steps_that_are_skipped(technique):
    found = []
    for scale in (1.0, 2.0**12):
        model = wound(net())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        diverse = reinforced(model, optimizer, technique)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
        for step in range(7):
            x, y = batch(step)
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y) + diverse.penalty()).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(flat(model))
        assert diverse.steps == 7
        scaler.scale(model(x).sum() * torch.inf).backward()
        scaler.step(optimizer)  # is not made
        assert diverse.steps == 7
    assert torch.equal(*found)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_loop_that_cannot_be_edited(technique):
    """By its loss module: as with the penalty in the loop, whatever the loop does with the loss."""
    found = []
    for edited in (True, False):
        model, criterion = wound(net()), nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        diverse = reinforced(model, optimizer, technique)
        if not edited:
            diverse.add_to(criterion)
        losses = []
        for step in range(8):
            x, y = batch(step)
            loss = criterion(model(x), y)
            loss = loss + diverse.penalty() if edited else loss
            (loss * 1024 / 2).backward()
            losses.append(loss.item())
            model.eval()
            with torch.no_grad():
                assert criterion(model(x), y) == F.cross_entropy(model(x), y)
            model.train()
            if step % 2:
                for p in model.parameters():
                    p.grad /= 1024
                optimizer.step()
                optimizer.zero_grad()
            model.eval()
            out = model(x)  # with gradients, and between steps
            model.train()
            assert criterion(out, y) == F.cross_entropy(out, y)
        found.append((losses, flat(model)))
        diverse.remove()
        assert not criterion._forward_hooks
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("steps", [0, 2])
def test_a_loop_goes_on_after_the_reinforcement_is_removed(technique, steps):
    found = []
    for removed in (True, False):
        model, criterion = net(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        diverse = reinforced(model, optimizer, technique)
        train(model, optimizer, diverse, range(steps))
        diverse.remove()
        diverse.add_to(criterion)
        for x, y in map(batch, range(3)):
            assert criterion(model(x), y) == F.cross_entropy(model(x), y)
            (F.cross_entropy(model(x), y) + (diverse.penalty() if removed else 0)).backward()
            optimizer.step()
        found.append(flat(model))
    assert torch.equal(*found)


def test_losses_that_are_no_means_are_refused():
    model = net()
    diverse = reinforced(model, torch.optim.SGD(model.parameters(), lr=0.1), "weight_cosine")
    for reduction in ("sum", "none"):
        with pytest.raises(ValueError, match=f"reduction='{reduction}'"):
            diverse.add_to(nn.CrossEntropyLoss(reduction=reduction))
    with pytest.raises(ValueError, match="add_to: criterion must be a module, not <function cross"):
        diverse.add_to(F.cross_entropy)

    class Each(nn.Module):
        def forward(self, outputs, y):
            return F.cross_entropy(outputs, y, reduction="none")

    diverse.add_to(each := Each())
    with pytest.raises(ValueError, match="Each does not return a scalar"):
        each(model(batch(0)[0]), batch(0)[1])


@pytest.mark.parametrize("technique", ["reinitialize", "redo"])
def test_units_whose_receiver_is_frozen_stay_with_a_word(technique):
    model = wound(net())
    model[0].weight.data[1], model[0].bias.data[1] = 0.0, 0.0  # silent behind a GELU, too
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    reinforced(model, optimizer, technique, every=1, layers=["0"])
    before = copy.deepcopy(model.state_dict())
    model(batch(0)[0]).sum().backward()
    with pytest.warns(UserWarning, match="on layer '0' while the weights of layer '2', which"):
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model[2].requires_grad_(True)
    model(batch(0)[0]).sum().backward()
    with warnings.catch_warnings(action="error"):
        optimizer.step()
    assert not torch.equal(model[0].weight[1], before["0.weight"][1])
    assert not model[2].weight[:, 1].any()


@pytest.mark.parametrize("technique, c", [("reinitialize", 0.05), ("redo", 1.0)])
def test_of_layers_that_mini_batches_cannot_judge_dead_units_are_redrawn_with_a_word(technique, c):
    model = wound(net())
    model[2].bias.data[:] = 5.0
    model[2].weight.data[4], model[2].bias.data[4] = 0.0, -50.0  # dead in every mini-batch
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    reinforced(model, optimizer, technique, every=2, layers=["2"], coefficient=c)
    before = copy.deepcopy(model.state_dict())
    model[2].bias.data[3] = 50.0  # on, but in the mini-batch that is looked at
    for size in (2 * 7, 2 * 7 - 1):  # seven units
        model(batch(0, size)[0]).sum().backward()
        if size % 2:
            with pytest.warns(
                UserWarning, match="'2' dead units alone: to judge .+ 7 .+ 14, not 13"
            ):
                optimizer.step()
        else:
            optimizer.step()
        model[2].bias.data[3] = -50.0
    changed = (model[2].weight != before["2.weight"]).any(1)
    assert changed.tolist() == [k == 4 for k in range(7)]
    assert not model[4].weight[:, 4].any() and model[4].weight[:, 3].any()


def test_what_would_change_nothing_is_said():
    model = net()
    for layer in model[:4]:
        layer.requires_grad_(False)
    with pytest.warns(UserWarning, match="all layers that mma would treat are frozen"):
        reinforced(model, torch.optim.SGD(model.parameters(), lr=0.1), "mma")
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    diverse = reinforced(model, optimizer, "mma")
    for step in range(2):
        model(batch(step)[0]).sum().backward()
        optimizer.step()
    with pytest.warns(UserWarning, match="mma has changed nothing in 2 steps: its penalty"):
        diverse.remove()


@pytest.mark.parametrize("technique", PENALTIES)
def test_a_copy_of_a_reinforcement_has_no_penalty_to_give(technique):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    diverse = reinforced(model, optimizer, technique)
    train(model, optimizer, diverse, range(2))
    for other in (copy.deepcopy(diverse), pickle.loads(pickle.dumps(diverse))):
        with pytest.raises(RuntimeError, match="is a copy and watches no model: make a new one"):
            other.penalty()
    model(batch(2)[0])
    assert diverse.penalty() != 0


# ------------------------------------------------------------------------------------ which layers
def gradients(model, technique, *inputs, **options):
    model = copy.deepcopy(model)
    diverse = reinforced(model, torch.optim.SGD(model.parameters(), lr=0.1), technique, **options)
    model(*inputs)
    model.zero_grad()
    diverse.penalty().backward()
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("layers", [["2"], "2", lambda name, layer: layer.out_features == 7])
def test_layers_are_chosen_by_name_and_by_a_function(layers):
    model, (x, _) = net(), batch(0)
    found = gradients(model, "weight_cosine", x, layers=layers)
    (0.1 * penalties.weight_cosine(model[2].weight)).backward()
    torch.testing.assert_close(found[2], model[2].weight.grad)
    assert [f is None for f in found] == [True, True, False, True, True, True]
    found = gradients(model, "activation_decorrelation", x, layers=layers)
    model.zero_grad()
    (0.1 * penalties.activation_decorrelation(model[:4](x).T)).backward()
    for f, p in zip(found[:4], model.parameters()):
        torch.testing.assert_close(f, p.grad)


class Tower(nn.Module):
    """Whatever stands between layers: normalization, dropout, in-place activations, pooling."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(inplace=True),
            nn.Conv2d(4, 6, 3), nn.GELU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(24, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3),
        )  # fmt: skip

    def forward(self, x):
        return self.body(x)


def test_activations_are_what_the_following_layer_receives():
    model, x = Tower(), torch.randn(16, 2, 6, 6)
    found = {}
    for name, options in (("received", {}), ("said", {"activation": F.silu})):
        torch.manual_seed(1)
        found[name] = gradients(model, "activation_decorrelation", x, **options)
    torch.manual_seed(1)  # the same dropout
    h, received, said = x, [], []
    for part in model.body:
        if isinstance(part, nn.Conv2d | nn.Linear):
            received.append(h)
            h = part(h)
            said.append(F.silu(h))
        else:
            h = part(h.clone())
    one, two, three = received[1:]
    units = [one.movedim(1, 0).flatten(1), two.unflatten(1, (6, 4)).movedim(1, 0).flatten(1)]
    units.append(three.T)
    said = [s.movedim(1, 0).flatten(1) for s in said[:3]]
    for name, seen in (("received", units), ("said", said)):
        model.zero_grad()
        expected = 0.1 * sum(penalties.activation_decorrelation(u) for u in seen)
        expected.backward(retain_graph=True)
        for f, p in zip(found[name], model.parameters()):
            torch.testing.assert_close(f, p.grad)
    assert (found["said"][0] - found["received"][0]).abs().max() > 1e-6


class Residual(nn.Module):
    def __init__(self, inplace=False, skip=True):
        super().__init__()
        self.stem, self.one = nn.Linear(6, 8), nn.Linear(8, 8)
        self.two, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        self.inplace = inplace

    def forward(self, x):
        h = self.stem(x)
        new = self.two(F.relu(self.one(h)))
        if self.inplace:
            new += h
        else:
            new = new + h
        return self.head(F.gelu(new))


@pytest.mark.parametrize(
    "made",
    [
        lambda inplace: Residual(inplace),
        lambda inplace: nn.Sequential(nn.Linear(6, 5), nn.ELU(inplace=inplace), nn.Linear(5, 3)),
    ],
    ids=["residual", "activation"],
)
def test_an_activation_is_of_the_output_before_anything_acts_on_it_in_place(made):
    (x, _), found = batch(0), []
    for inplace in (False, True):
        torch.manual_seed(0)
        found.append(gradients(made(inplace), "activation_decorrelation", x, activation=F.elu))
    torch.testing.assert_close(*found)


class Siamese(nn.Module):
    """One network on several inputs, of whose last layer a difference is the output."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *several):
        return sum((-1) ** k * self.net(x).mean(0, keepdim=True) for k, x in enumerate(several))


@pytest.mark.parametrize(
    "technique, activation",
    [
        ("activation_decorrelation", None),
        ("activation_decorrelation", F.gelu),
        ("prediction_diversity", None),
    ],
)
def test_all_calls_of_a_shared_layer_count(technique, activation):
    """As one call on the samples of all."""
    (one, _), (two, _), (last, _) = batch(0), batch(1, 48), batch(2, 7)
    shared = gradients(Siamese(net()), technique, one, two, last, activation=activation)
    together = gradients(net(), technique, torch.cat([one, two, last]), activation=activation)
    for found, expected in zip(shared, together):
        torch.testing.assert_close(found, expected)


def conv_net():
    torch.manual_seed(0)
    body = nn.Conv2d(2, 6, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten()
    return nn.Sequential(*body, nn.ReLU(), nn.Linear(4, 3))


@pytest.mark.parametrize("technique", ["reinitialize", "redo"])
@pytest.mark.parametrize("made, sample", [(net, (6,)), (conv_net, (2, 5, 5))])
def test_all_calls_of_a_shared_layer_decide_what_is_redrawn(technique, made, sample):
    found = []
    for several in (True, False):
        plain = made()
        model = Siamese(plain) if several else plain
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        reinforced(model, optimizer, technique, every=1, coefficient=0.5)
        torch.manual_seed(1)
        parts = torch.randn(2 * BATCH, *sample) + 1, torch.randn(BATCH, *sample) - 1
        model(*parts if several else [torch.cat(parts)]).sum().backward()
        before = flat(plain)
        optimizer.step()
        assert not torch.equal(before, flat(plain))
        found.append(flat(plain))
    torch.testing.assert_close(*found)


def test_a_layer_that_receives_something_else_in_another_call_is_refused():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.c(F.relu(self.b(x[:, :5]) + self.b(F.relu(self.a(x)))))

    model, (x, _) = Mixed(), batch(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reinforced(model, optimizer, "activation_decorrelation")
    with pytest.raises(ValueError, match=r"layer 'a' do not match .*\(they reach 'b'\)"):
        model(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.lstm, self.b = nn.Linear(6, 8), nn.LSTM(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(self.lstm(self.a(x))[0])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.q, self.k, self.v, self.head = (nn.Linear(6, n) for n in (6, 6, 6, 6, 3))

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.softmax(self.q(x) @ self.k(x).T, 1) @ self.v(x))


@pytest.mark.parametrize("technique", ["activation_decorrelation", "reinitialize"])
@pytest.mark.parametrize(
    "model, named, fitting",
    [
        (Residual(), "stem", ["one"]),
        (Residual(inplace=True), "stem", ["one"]),
        (Recurrent(), "a", []),
        (Attention(), "stem", []),
    ],
)
def test_what_does_not_feed_one_layer_alone_is_refused_by_name(technique, model, named, fitting):
    model, (x, y) = copy.deepcopy(model), batch(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(action="ignore"):
        reinforced(model, optimizer, technique)
    with pytest.raises(ValueError) as error:  # not in optimizer.step()
        model(x)
    assert f"units of layer {named!r} do not match" in str(error.value)
    assert (f"by layers=, of {fitting}" if fitting else "; no layer fits") in str(error.value)
    if fitting:
        model = copy.deepcopy(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        diverse = reinforced(model, optimizer, technique, layers=fitting, every=1)
        (F.cross_entropy(model(x), y) + diverse.penalty()).backward()
        optimizer.step()
        assert diverse.steps == 1


def test_packed_weights_are_left_alone_with_a_word():
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3))
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with warnings.catch_warnings(action="error"):
        Reinforcement(model, optimizer, "orthogonal_step", 0.5, layers=["0.linear1"]).remove()
        # of the last hidden layer's outputs alone, and takes no layers=
        Reinforcement(model, optimizer, "prediction_diversity", 0.5).remove()
    with pytest.warns(UserWarning, match="leaves the packed weights of '0.self_attn' alone"):
        Reinforcement(model, optimizer, "orthogonal_step", 0.5, every=1)
    model(torch.randn(2, 5, 8)).sum().backward()
    optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"0.linear1.weight", "0.linear2.weight"}


def test_layers_called_by_keyword_and_models_whose_hooks_do_not_run():
    """As in Lightning, which calls a step of the model in place of its forward pass."""

    class Stepped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def step(self, x):
            return self.net[4](input=F.relu(self.net[2](input=F.gelu(self.net[0](input=x)))))

    model, (x, _) = Stepped(), batch(0)
    diverse = reinforced(
        model, torch.optim.SGD(model.parameters(), lr=0.1), "activation_decorrelation"
    )
    for _ in range(2):
        model.step(x)
        expected = by_hand(copy.deepcopy(model.net), x, "activation_decorrelation", 0.1)
        torch.testing.assert_close(diverse.penalty(), expected)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_strides_of_a_weight_do_not_matter(layout, channels):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3))
    expected = changes.orthogonal_step_(model[0].weight.detach().flatten(1).clone(), 0.3)
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    Reinforcement(model, optimizer, "orthogonal_step", 0.3, every=1)
    model(torch.randn(2, channels, 9, 9).to(memory_format=layout)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach().flatten(1), expected)


# --------------------------------------------------------------------------------- what is refused
def test_what_can_be_refused_at_once_is():
    model, other = net(), net(1)
    mine, theirs = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, other))
    lbfgs = torch.optim.LBFGS(model.parameters())
    computed = net()
    nn.utils.parametrizations.spectral_norm(computed[2])
    biased, old = net(), net()
    nn.utils.parametrize.register_parametrization(biased[2], "bias", nn.Hardtanh())
    with warnings.catch_warnings(action="ignore"):
        nn.utils.weight_norm(old[2])
    lazy = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))
    for technique, m, optimizer, options, message in (
        ("weight_cosine", model, theirs, {}, "holds no weight of the layers '0', '2', '4'"),
        ("prediction_diversity", model, theirs, {}, "holds no parameter of the layers '0', '2'"),
        ("reinitialize", model, [theirs], {}, "pass the one that trains them"),
        ("reinitialize", model, lbfgs, {}, "cannot make LBFGS"),
        ("weight_cosine", model, mine, {"layers": ["3"]}, "unknown layer '3'; choose one of 0, 2"),
        ("weight_cosine", model, mine, {"layers": lambda n, l: False}, "chooses none of 0, 2, 4"),
        ("prediction_diversity", model, mine, {"layers": ["0"]}, "leave layers= out"),
        ("weight_cosine", computed, None, {}, "layer '2': its weight is computed"),
        ("orthogonal_step", old, None, {}, "layer '2': its weight is computed"),
        ("reinitialize", biased, None, {}, "layer '2': its bias is computed"),
        ("redo", biased, None, {"layers": ["2"]}, "layer '2': its bias is computed"),
        ("weight_cosine", lazy, mine, {}, "layer '0' is lazy"),
        ("weight_cosine", nn.DataParallel(model), mine, {}, "is under DataParallel"),
        ("weight_cosine", nn.Sequential(nn.Linear(2, 2)), mine, {}, "no hidden one"),
    ):
        with pytest.raises(ValueError, match=message):
            Reinforcement(
                m, optimizer or torch.optim.SGD(m.parameters(), lr=0.1), technique, 0.1, **options
            )
    for m in (model, other):
        assert not any(module._forward_hooks for module in m.modules())
    x = batch(0)[0]  # activations do not care where weights come from
    assert any(g is not None for g in gradients(computed, "activation_decorrelation", x))
    reinforced(model, mine, "weight_cosine", layers=["4"])
    with pytest.raises(ValueError, match="called before the last, '4'"):
        model(x)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_optimizer_of_the_last_layer_alone_is_refused(technique):
    """But for penalties of outputs, which depend on its weights."""
    model, (x, _) = net(), batch(0)
    diverse = reinforced(model, torch.optim.SGD(model[4].parameters(), lr=0.1), technique)
    if TECHNIQUES[technique].looks_at == "outputs":
        model(x)
        diverse.penalty().backward()
        assert model[4].weight.grad.any()
    else:
        what = "parameter" if technique == "activation_decorrelation" else "weight"
        with pytest.raises(ValueError, match=f"holds no {what} of the layers '0', '2', and"):
            model(x)


@pytest.mark.parametrize("technique", [t for t in PENALTIES if TECHNIQUES[t].looks_at == "weights"])
def test_penalties_of_weights_are_of_those_that_are_trained(technique):
    model, (x, _) = net(), batch(0)
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.1)
    diverse = reinforced(model, optimizer, technique)
    for trained in ([2], [0, 2]):  # one joins
        model(x)
        expected = sum(0.1 * TECHNIQUES[technique].penalty(model[l].weight) for l in trained)
        torch.testing.assert_close(diverse.penalty(), expected)
        diverse.penalty().backward()
        assert [l for l in (0, 2) if model[l].weight.grad is not None] == trained
        if 0 not in trained:
            optimizer.add_param_group({"params": model[0].parameters()})


@pytest.mark.parametrize("schedule, over, every", [
    ("annealed", 100, 0), ("annealed", 3, 3), ("constant", 9, 1), ("dynamic", 9, 1),
    ("annealed", 101, 0), ("annealed", 4, 3), ("constant", 0, 3),
])  # fmt: skip
@pytest.mark.parametrize("technique", ["reinitialize", "weight_cosine"])
def test_schedules_that_do_nothing_are_refused(technique, schedule, over, every):
    """A change comes after every so many steps from 1, a penalty before the first one too."""
    idle, model = over == 9 or technique == "reinitialize" and over in (100, 3), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    options = {"schedule": schedule, "over": over, "every": every}
    if idle:
        with pytest.raises(ValueError, match=f"over={over} is for|never acts.* over {over} it is"):
            reinforced(model, optimizer, technique, **options)
        return
    diverse, before = reinforced(wound(model), optimizer, technique, **options), flat(model)
    model(batch(0)[0])
    assert technique == "reinitialize" or diverse.penalty() > 0
    for _ in range(101):
        model(batch(0)[0])
        optimizer.step()
    assert torch.equal(flat(model), before) == (technique == "weight_cosine")


# ------------------------------------------------------------------------------ several processes
def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def ranks_agree(rank, at):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=at, GLOO_SOCKET_IFNAME="lo")
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(1)

    def equal(values):
        both = [torch.empty_like(values) for _ in range(2)]
        torch.distributed.all_gather(both, values.contiguous())
        return torch.equal(*both)

    for technique in TECHNIQUES:
        for schedule in ("constant", "dynamic"):
            model = wound(net())
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            spread = DistributedDataParallel(model)
            diverse = reinforced(spread, optimizer, technique, schedule=schedule)
            start = flat(model)
            for step in range(7):
                x, y = batch(100 * rank + step, BATCH if rank == 0 else 11)  # of unequal size
                optimizer.zero_grad()
                (F.cross_entropy(spread(x), y) + diverse.penalty()).backward()
                optimizer.step()
                assert equal(flat(model)), (technique, schedule, step)
                kept = optimizer.state[model[0].weight]["exp_avg"]
                assert equal(kept), (technique, schedule, step)
            assert not torch.equal(start, flat(model))

    # a unit that is on for the second rank alone is not dead; those that are on nowhere are
    model = wound(net())
    with torch.no_grad():
        model[0].weight[1] += torch.arange(6) / 6  # no duplicate
        model[2].bias[4] = -50.0 if rank == 0 else 50.0
    spread = DistributedDataParallel(model, init_sync=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    Reinforcement(spread, optimizer, "reinitialize", 1e-9, every=1)
    spread(batch(0)[0]).sum().backward()
    optimizer.step()
    moved = (model[2].weight != net()[2].weight).any(1).tolist()
    assert moved == [False, True, False, True, False, False, False]

    # each by itself: changes of the weights by the weights are equal anyway
    plain = net()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    reinforced(plain, optimizer, "orthogonal_step").remove()
    with pytest.raises(ValueError, match="on each of 2 processes by itself"):
        reinforced(plain, optimizer, "reinitialize")
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    for shard, message in (
        (lambda m: fully_shard(m, mesh=mesh), "'the model' is under FSDPModule"),
        (lambda m: parallelize_module(m, mesh, {"0": ColwiseParallel()}), "'0.weight' is sharded"),
    ):
        sharded = shard(net())
        optimizer = torch.optim.SGD(sharded.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=message):
            reinforced(sharded, optimizer, "weight_cosine")
    late = net()
    reinforced(late, torch.optim.SGD(late.parameters(), lr=0.1), "weight_cosine")
    with pytest.raises(ValueError, match="is under FSDPModule"):
        fully_shard(late, mesh=mesh)(batch(0)[0])
    torch.distributed.destroy_process_group()


def test_two_processes_decide_and_train_alike():
    multiprocessing.set_forkserver_preload(["torch.distributed.fsdp", "dndiv.reinforcement"])
    multiprocessing.start_processes(ranks_agree, (port(),), 2, start_method="forkserver")
