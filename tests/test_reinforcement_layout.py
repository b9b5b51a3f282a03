"""Which inputs of the following layer are a unit's, and what a loop does that a technique must not
take amiss: empty batches, layers that thaw, optimizers of one's own, cells that are run again."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dndiv.reinforcement import Reinforcement

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def net():
    torch.manual_seed(0)
    layers = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    return nn.Sequential(*layers)


def silence(layer):
    """Its unit 2 is dead."""
    with torch.no_grad():
        layer.weight[2], layer.bias[2] = 0, -1


def step(model, optimizer, x=X, y=Y, **options):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y, **options).backward()
    optimizer.step()


class Two(nn.Module):
    """A layer, what comes between, and the layer that receives it."""

    def __init__(self, first, between, inputs):
        super().__init__()
        self.first, self.last = first, nn.Linear(inputs, 3)
        self.between = between

    def forward(self, x):
        return self.last(self.between(x, self.first(x).relu()))


def images():
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def both_pools(x, h):
    return torch.cat([h.amax((2, 3)), h.mean((2, 3))], 1)


OUT_OF_ORDER = {
    "two pools": (nn.Conv2d(1, 8, 3), both_pools, 16, images()),
    "tokens, flattened": (nn.Linear(6, 8), lambda x, h: h.flatten(1), 40, torch.randn(16, 5, 6)),
    "the input beside": (nn.Linear(6, 6), lambda x, h: torch.cat([x, h], 1), 12, X),
    "transposed": (nn.Linear(6, 8), lambda x, h: h.transpose(1, 2), 8, torch.randn(16, 8, 6)),
    "channels last": (
        *(nn.Conv2d(1, 4, 3), lambda x, h: h.permute(0, 2, 3, 1).flatten(1)),
        *(4 * 36, images()),
    ),
    "reversed": (nn.Linear(6, 5), lambda x, h: h.flip(1), 5, X),
}


@pytest.mark.parametrize("kind", OUT_OF_ORDER)
@pytest.mark.parametrize("technique", ["activation_decorrelation", "reinitialize"])
def test_units_that_arrive_out_of_order_are_refused(technique, kind):
    first, between, inputs, x = OUT_OF_ORDER[kind]
    model = Two(first, between, inputs)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Reinforcement(model, optimizer, technique, 0.05):
        with pytest.raises(ValueError, match="'first' do not match .* in their order, as nn.Fl"):
            model(x)


IN_ORDER = {
    "flattened": lambda x, h: h.flatten(1),
    "pooled": lambda x, h: F.max_pool2d(h, 2).flatten(1),
    "in place": lambda x, h: h.sigmoid_().flatten(1),
    "dropped out": lambda x, h: F.dropout(h, 0.5).flatten(1),
    "batch norm": lambda x, h: F.batch_norm(h, None, None, training=True).flatten(1),
    "group norm": lambda x, h: F.group_norm(h, 1).flatten(1),
    "softmax": lambda x, h: h.softmax(1).flatten(1),
}


@pytest.mark.parametrize("kind", IN_ORDER)
def test_units_that_arrive_in_order_are_found_behind_what_is_in_between(kind):
    between = IN_ORDER[kind]
    with torch.no_grad():
        inputs = between(None, torch.randn(16, 8, 6, 6)).shape[1]
    model = Two(nn.Conv2d(1, 8, 3), between, inputs)
    state = torch.get_rng_state()
    with Reinforcement(model, torch.optim.SGD(model.parameters(), 0.1), "reinitialize", 0.05) as d:
        torch.set_rng_state(state)
        model(images())
        assert d._record.names[d._receivers[model.first]] == "last"
        if kind != "dropped out":  # to look draws nothing
            assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("technique", ["activation_decorrelation", "reinitialize"])
@pytest.mark.parametrize("frozen", [[0], [0, 2]])
def test_layers_that_thaw_are_treated_from_then_on(technique, frozen):
    model = net()
    silence(model[0])
    for k in frozen:
        model[k].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        diverse = Reinforcement(model, optimizer, technique, 0.05, every=1)
        model(X)
        some = diverse.penalty()
    model.requires_grad_(True)
    if technique == "reinitialize":
        step(model, optimizer)
        assert model[0].weight[2].any()
    else:
        model(X)
        fresh = net()
        silence(fresh[0])
        with Reinforcement(
            fresh, torch.optim.SGD(fresh.parameters(), 0.1), technique, 0.05, every=1
        ) as other:
            fresh(X)
            assert diverse.penalty() == other.penalty() > some


def test_an_optimizer_that_calls_its_superclass_makes_one_step():
    class Mine(torch.optim.Adam):
        def step(self, closure=None):
            return super().step(closure)

    torch.optim.Adam([nn.Parameter(torch.zeros(1))])  # torch hooks a class when it is first made
    model = net()
    optimizer = Mine(model.parameters())
    with Reinforcement(model, optimizer, "orthogonal_step", 0.5) as diverse:
        for _ in range(5):
            step(model, optimizer)
        assert diverse.steps == 5


@pytest.mark.parametrize("technique", ["reinitialize", "redo"])
def test_an_empty_mini_batch_tells_nothing(technique):
    model = net()
    silence(model[0])
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    before = [p.detach().clone() for p in model.parameters()]
    with Reinforcement(model, optimizer, technique, 0.05, every=1):
        step(model, optimizer, X[:0], Y[:0], reduction="sum")
        assert all(map(torch.equal, before, model.parameters()))
        step(model, optimizer)
        assert model[0].weight[2].any() and not model(X).isnan().any()


@pytest.mark.parametrize("technique", ["activation_decorrelation", "prediction_diversity"])
def test_an_empty_mini_batch_has_no_penalty(technique):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Reinforcement(model, optimizer, technique, 0.05) as diverse:
        model(X[:0])
        assert diverse.penalty() == 0


@pytest.mark.parametrize("technique", ["activation_decorrelation", "prediction_diversity"])
def test_one_sample_without_a_batch_is_one_sample(technique):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Reinforcement(model, optimizer, technique, 0.05) as diverse:
        model(X[0])
        alone = diverse.penalty()
        model(X[:1])
        assert torch.equal(alone, diverse.penalty())


def test_weights_that_stand_in_for_a_call_are_let_be():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Reinforcement(model, optimizer, "weight_cosine", 0.05) as diverse:
        model(X)
        known = diverse.penalty()
        others = {name: 2 * p.detach() for name, p in model.named_parameters()}
        torch.func.functional_call(model, others, (X,))
        assert diverse.penalty() == known


def test_a_cell_that_is_run_again_is_told_that_the_first_is_still_at_work():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    first = Reinforcement(model, optimizer, "weight_cosine", 0.05, layers=["0"])
    with pytest.warns(UserWarning, match="at work on these layers already, .* remove"):
        Reinforcement(model, optimizer, "weight_cosine", 0.05).remove()
    criterion = nn.CrossEntropyLoss()
    first.add_to(criterion)
    with pytest.raises(ValueError, match="added to this CrossEntropyLoss already"):
        first.add_to(criterion)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Reinforcement(model, optimizer, "weight_cosine", 0.05, layers=["2"])
        Reinforcement(model, optimizer, "mma", 0.05)


def test_an_optimizer_that_never_steps_is_named():
    model = net()
    mine, other = (torch.optim.SGD(model.parameters(), 0.1) for _ in range(2))
    diverse = Reinforcement(model, mine, "reinitialize", 0.05, every=1)
    step(model, other)
    with pytest.warns(UserWarning, match="nothing in 1 passes: no step.. of the SGD"):
        diverse.remove()


def test_a_model_that_stays_in_evaluation_mode_is_named():
    model = net().eval()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Reinforcement(model, optimizer, "reinitialize", 0.05, every=2):
        model.train()
        step(model, optimizer)
        model.eval()
        with pytest.warns(UserWarning, match="no training pass was seen since the last step"):
            step(model, optimizer)


def test_what_is_tied_to_something_else_is_not_redrawn():
    model = nn.ModuleDict({"e": nn.Embedding(5, 8), "p": nn.Linear(8, 8), "o": nn.Linear(8, 5)})
    model["o"].weight = model["e"].weight
    model.forward = lambda x: model["o"](model["p"](model["e"](x)).relu())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Reinforcement(model, optimizer, "reinitialize", 0.05):
        with pytest.raises(ValueError, match="'e.weight' and 'o.weight', which are one weight"):
            model(torch.arange(5))


def test_what_an_optimizer_keeps_beside_gradients_stays():
    model = net()
    silence(model[0])
    optimizer = torch.optim.Rprop(model.parameters(), 0.01)
    with Reinforcement(model, optimizer, "reinitialize", 0.05, every=1):
        step(model, optimizer)
    assert model[0].weight[2].any()
    assert (optimizer.state[model[0].weight]["step_size"] > 0).all()
