"""The initializations on networks of all kinds: right, or refused with the layer and the remedy."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dndiv
from dndiv import init
from dndiv.paper import common, compute, data, design
from dndiv.paper.common import NETWORKS
from dndiv.population import Optimizer


def overlap(weight):
    """The largest |cosine| of two rows; for more rows than inputs, beyond the Welch bound."""
    rows = nn.functional.normalize(weight.detach().double().flatten(1), dim=1)
    n, d = rows.shape
    gram = rows @ rows.T if n <= d else d / n * rows.T @ rows
    return (gram - torch.eye(len(gram))).abs().max().item()


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(before, after):
    return all(torch.equal(v.nan_to_num(7), after[k].nan_to_num(7)) for k, v in before.items())


def batch(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------- kinds of layers
def test_attention_and_recurrent_layers_are_treated_part_by_part():
    attention = nn.MultiheadAttention(8, 2)
    recurrent = nn.LSTM(9, 4, num_layers=2, bidirectional=True, proj_size=3), nn.GRU(5, 5)
    cell = nn.GRUCell(6, 4)
    before = nn.ModuleList([attention, *recurrent, cell])
    norms = {k: p.detach().norm(dim=-1) for k, p in before.named_parameters()}
    dndiv.decorrelate_(before)
    for part in (*attention.in_proj_weight.chunk(3), attention.out_proj.weight):
        assert overlap(part) < 1e-5
    for module, gates in zip((*recurrent, cell), (4, 3, 3)):
        for key, p in module.named_parameters():
            if p.dim() == 2:
                for gate in p.chunk(1 if "_hr" in key else gates):
                    assert overlap(gate) < 1e-5, key
    for key, p in before.named_parameters():
        torch.testing.assert_close(p.detach().norm(dim=-1), norms[key])
    apart = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    dndiv.decorrelate_(apart)
    weights = apart.q_proj_weight, apart.k_proj_weight, apart.v_proj_weight
    assert max(map(overlap, weights)) < 1e-5


def test_embeddings_tied_and_frozen_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 9))
    net[3].weight = net[0].weight  # the outputs of a language model
    net[2].weight = net[1].weight
    other = net.append(nn.Linear(9, 4))[4].requires_grad_(False)
    before = state(net)
    dndiv.decorrelate_(net, torch.arange(9))
    assert torch.equal(net[0].weight, before["0.weight"]) and net[3].weight is net[0].weight
    assert torch.equal(other.weight, before["4.weight"])
    assert net[1].weight is net[2].weight and overlap(net[1].weight) < 1e-5
    with pytest.raises(ValueError, match="Linear has no .* layer to initialize, or they are froz"):
        dndiv.decorrelate_(nn.Linear(2, 2).requires_grad_(False))


def test_computed_and_lazy_weights_are_refused_with_the_layer():
    orthogonal = nn.utils.parametrizations.orthogonal
    for layer in (orthogonal(nn.Linear(3, 3)), orthogonal(nn.GRU(3, 3), "weight_hh_l0")):
        with pytest.raises(ValueError, match="layer '1': its .* is computed by a parametrization"):
            dndiv.decorrelate_(nn.Sequential(nn.Linear(3, 3), layer))
    with pytest.raises(ValueError, match="layer '0' is lazy .*; run the module once first"):
        dndiv.decorrelate_(nn.Sequential(nn.LazyConv2d(3, 3)))


# ------------------------------------------------------------------------------------- inputs
class Named(nn.Module):
    """Takes arguments by name, and calls its layers by keyword."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, x, z, scale=None):
        h = self.left(input=x) + self.right(input=z)
        return self.head(input=torch.relu(h if scale is None else scale * h))


def test_inputs_in_every_form_that_a_module_or_a_loader_has():
    x, z, y = batch(20, 3), batch(20, 2, seed=1), torch.arange(20) % 2
    given = [(x, z), [x, z, y], {"x": x, "z": z, "labels": y}, (x, z, None)]
    torch.manual_seed(0)
    results = [state(dndiv.decorrelate_(copy.deepcopy(net), f)) for net in [Named()] for f in given]
    assert all(same(results[0], other) for other in results)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=20)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    one, two, three = (copy.deepcopy(net) for _ in range(3))
    results = [
        state(dndiv.decorrelate_(*pair))
        for pair in ((one, x), (two, (x, y)), (three, next(iter(loader))))
    ]
    assert same(results[0], results[1]) and same(results[0], results[2])


@pytest.mark.parametrize("start", [init.balanced_, dndiv.alive_, dndiv.standardized_, dndiv.lsuv_])
@pytest.mark.parametrize(
    "inputs, message",
    [
        (torch.full((5, 3), torch.nan), "non-finite values"),
        (torch.empty(0, 3), "empty"),
        ((), "empty"),
        (torch.ones(5, 4), "cannot be run on these inputs .torch.float32 .5, 4"),
        (torch.ones(5, 3, dtype=torch.float64), "cannot be run on these inputs .torch.float64"),
        ({"y": torch.ones(5, 3)}, "takes input, and the inputs have no input"),
        ("text", "cannot be run on these inputs"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_and_change_nothing(start, inputs, message):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval()
    before = state(net)
    with pytest.raises(ValueError, match=message):
        dndiv.decorrelate_(net, inputs, start=start)
    assert same(before, net.state_dict()) and not net.training and not net[1].training


@pytest.mark.parametrize("start", [init.balanced_, dndiv.alive_, dndiv.lsuv_])
def test_an_overflow_is_named_with_the_layer(start):
    class Grown(nn.Linear):
        def forward(self, x):
            return super().forward(x) * torch.inf

    with pytest.raises(ValueError, match="the outputs of layer '1' are not finite"):
        start(nn.Sequential(nn.Linear(3, 4), Grown(4, 2)), batch(9, 3))


def test_an_error_in_the_middle_undoes_what_was_done():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight)
    before = state(net)
    with pytest.raises(ValueError, match="layer '1': rows .* are zero .* draw it at random first"):
        dndiv.decorrelate_(net)
    with pytest.raises(ValueError, match="unit 0 of layer '1' is constant"):
        dndiv.alive_(net, batch(9, 3))
    assert same(before, net.state_dict())


def test_the_pass_leaves_statistics_modes_and_random_streams_alone():
    net = NETWORKS["cnn_batch_norm"]()
    net.eval()[1].train()
    before = {k: v for k, v in state(net).items() if "running" in k or "batches" in k}
    modes = [m.training for m in net.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dndiv.decorrelate_(net, batch(8, 3, 8, 8))
    assert torch.equal(torch.rand(3), expected)
    assert same(before, net.state_dict()) and modes == [m.training for m in net.modules()]


# ------------------------------------------------------------------------- never worse at the start
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"resnet18"}))  # which takes too long
def test_the_first_steps_are_no_worse_than_the_defaults(name, optimizer):
    digits, optimizer = data.load("Digits"), Optimizer(*design.learning_rate(optimizer))

    def losses(start, seed):
        course = common.steps(name, start, seed, optimizer, digits, "cpu")
        return [loss for _, loss in itertools.islice(course, 10)]

    balanced, given = ([losses(start, s) for s in range(3)] for start in ("balanced", "default"))
    assert np.mean(balanced) <= np.mean(given)


@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"resnet18"}))
def test_rows_depend_on_their_seeds_and_on_no_stream_beside_them(name):
    unit, found = design.Common(name, "adam", design.COMMON_ARMS, (3,)), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(compute.rows(unit, "cpu"))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_what_the_table_says_of_a_network_is_what_a_plain_loop_does(kind):
    digits = data.load("Digits")
    x, tests = (v.view(-1, 1, 8, 8).repeat(1, 3, 1, 1) for v in (digits.x_train, digits.x_test))
    torch.manual_seed(2 * 7)  # the stream of draws
    plain = NETWORKS["cnn_batch_norm"]()
    treated = dndiv.decorrelate_(copy.deepcopy(plain), inputs=x[:256])
    expected = []
    for net in (plain, treated):
        optimizer = kind(net.parameters(), {"SGD": 0.01, "Adam": 0.001}[kind.__name__])
        order = torch.randperm(1437, generator=torch.Generator().manual_seed(2 * 7 + 1))
        losses = []
        for k in range(0, 1437 - 32, 32):
            loss = nn.functional.cross_entropy(
                net(x[order[k : k + 32]]), digits.y_train[order[k : k + 32]]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        right = net.eval()(tests).argmax(1) == digits.y_test
        expected += [np.mean(losses[:10]), right.double().mean().item()]
    unit = design.Common("cnn_batch_norm", kind.__name__.lower(), design.COMMON_ARMS, (7,))
    rows = sorted(compute.rows(unit, "cpu"), key=lambda row: row[3] != "default")
    assert [row[-3:-1] for row in rows[:2]] == [(round(10 / 44, 6), "loss"), (1, "accuracy")]
    np.testing.assert_allclose([row[-1] for row in rows], expected, rtol=1e-5)


class Branched(nn.Module):
    """A residual branch that is scaled, another, two side by side, and a sum that is none."""

    def __init__(self):
        super().__init__()
        self.stem, self.one = normed(3, 4), nn.Sequential(normed(4, 4), nn.ReLU(), normed(4, 4))
        self.two, self.short = nn.Sequential(normed(4, 4), normed(4, 6)), normed(4, 6)
        self.left, self.right = normed(6, 6), normed(6, 6)
        self.shift, self.head = nn.Parameter(torch.ones(6)), nn.Linear(6, 2)

    def forward(self, x):
        h = self.stem(x)
        h = torch.relu_((torch.full((len(h), 1), 2.0) * self.one(h)).add_(h))
        out = self.two(h)
        out += self.short(h)
        return self.head(self.left(torch.relu(out)) + self.right(out) + self.shift)


def normed(fan_in, units):
    return nn.Sequential(nn.Linear(fan_in, units), nn.BatchNorm1d(units))


def test_residual_branches_together_add_what_one_did():
    torch.manual_seed(0)
    net, x = Branched(), batch(40, 3)
    logits = dndiv.decorrelate_(copy.deepcopy(net))(x)
    goal = min(logits.square().mean().sqrt(), 1.25 * logits.var(0, correction=0).mean().sqrt())
    dndiv.decorrelate_(net, x)
    gains = {name: m.weight for name, m in net.named_modules() if isinstance(m, nn.BatchNorm1d)}
    assert len(gains) == 8
    for name, gain in gains.items():
        damped = 2**-0.5 if name in ("one.2.1", "two.1.1") else 1.0
        assert gain.tolist() == pytest.approx([damped] * len(gain)), name
    torch.testing.assert_close(net(x).std(0, correction=0), goal.expand(2))


def test_a_layer_that_was_silent_keeps_its_weights():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    nn.init.constant_(net[0].bias, -100.0)  # dead, and so nothing behind it varies
    before = state(net)
    init.balanced_(net, batch(20, 3))
    assert same({k: before[k] for k in ("2.weight", "2.bias", "4.weight")}, net.state_dict())
    assert torch.relu(net[0](batch(20, 3))).any(0).all()


# -------------------------------------------------------------------------------------- any module
KINDS = {
    "linear": lambda n, d: nn.Linear(d, n),
    "grouped": lambda n, d: nn.Conv1d(2 * d, 2 * n, 3, groups=2),
    "depthwise": lambda n, d: nn.Conv2d(d, d * n, 3, groups=d),
    "transposed": lambda n, d: nn.ConvTranspose2d(2 * d, 2 * n, 2, groups=2),
    "volume": lambda n, d: nn.Conv3d(d, n, 2, bias=False),
    "attention": lambda n, d: nn.MultiheadAttention(2 * d, 2),
    "encoder": lambda n, d: nn.TransformerEncoderLayer(2 * d, 2, n),
    "lstm": lambda n, d: nn.LSTM(d, n, bidirectional=True),
    "gru": lambda n, d: nn.GRU(d, n),
    "cell": lambda n, d: nn.RNNCell(d, n),
    "embedding": lambda n, d: nn.Embedding(n, d),
    "norm": lambda n, d: nn.BatchNorm1d(d),
    "lazy": lambda n, d: nn.LazyLinear(n),
    "parametrized": lambda n, d: nn.utils.parametrizations.weight_norm(nn.Linear(d, n)),
    "frozen": lambda n, d: nn.Linear(d, n).requires_grad_(False),
    "zero": lambda n, d: nn.utils.skip_init(nn.Linear, d, n).apply(
        lambda m: nn.init.zeros_(m.weight)
    ),
    "equal": lambda n, d: nn.Linear(d, n).apply(lambda m: nn.init.ones_(m.weight)),
    "broken": lambda n, d: nn.Linear(d, n).apply(lambda m: nn.init.constant_(m.weight, torch.nan)),
    "meta": lambda n, d: nn.Linear(d, n, device="meta"),
}
SOUND = [k for k in KINDS if k not in ("lazy", "parametrized", "zero", "equal", "broken", "meta")]
parts = st.tuples(st.sampled_from([*KINDS, *SOUND, *SOUND]), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(parts, min_size=1, max_size=4),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    st.sampled_from([dndiv.decorrelated_, dndiv.simplex_, dndiv.gram_]),
    st.integers(0, 99),
)
def test_any_module_is_treated_rightly_or_refused_with_a_reason(kinds, dtype, directions, seed):
    torch.manual_seed(seed)
    module = nn.ModuleList([KINDS[kind](n, d) for kind, n, d in kinds])
    if not {"meta", "lazy", "parametrized"} & {kind for kind, *_ in kinds}:
        module.to(dtype)
    before = {k: p.detach().clone() for k, p in readable(module)}
    try:
        dndiv.decorrelate_(module, directions=directions)
    except ValueError as error:
        assert str(error).startswith(("layer '", "ModuleList has no linear")) or (
            "is on the meta device and has no values" in str(error)
        )
        for k, p in readable(module):
            assert torch.equal(p.nan_to_num(7), before[k].nan_to_num(7)), k
        return
    for k, p in readable(module):
        assert p.isfinite().all(), k
    for name, blocks in init._draws(module):
        for block in blocks:
            n, d = block.flatten(1).shape
            if directions is dndiv.decorrelated_:
                assert overlap(block) < {torch.float16: 2e-2, torch.bfloat16: 1e-1}.get(
                    block.dtype, 1e-4
                ), (name, n, d)


def readable(module):
    lazy = nn.UninitializedParameter
    for k, p in module.named_parameters():
        if not isinstance(p, lazy) and not p.is_meta:
            yield k, p


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Tokens(nn.Sequential):
    """A layer of sequences on three copies of its input."""

    def forward(self, x):
        h = x.unsqueeze(1).expand(-1, 3, -1)
        attention = isinstance(self[0], nn.MultiheadAttention)
        return self[0](*[h] * 3 if attention else [h])[0].mean(1)


def tied(d):
    one, two = nn.Linear(d, d), nn.Linear(d, d)
    two.weight = one.weight
    return nn.Sequential(one, nn.Tanh(), two)


CHAINED = {  # of d values to as many
    "linear": lambda d: nn.Sequential(nn.Linear(d, 5), nn.ReLU(), nn.Linear(5, d, bias=False)),
    "convolution": lambda d: nn.Sequential(
        nn.Unflatten(1, (1, d)), nn.Conv1d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv1d(2, 1, 1),
        nn.Flatten(),
    ),
    "grouped": lambda d: nn.Sequential(
        nn.Unflatten(1, (2, d // 2)), nn.Conv1d(2, 2, 1, groups=2), nn.BatchNorm1d(2), nn.GELU(),
        nn.Flatten(),
    ),
    "transposed": lambda d: nn.Sequential(
        nn.Unflatten(1, (2, d // 2)), nn.ConvTranspose1d(2, 2, 3, padding=1), nn.Flatten()
    ),
    "norms": lambda d: nn.Sequential(nn.BatchNorm1d(d), nn.LayerNorm(d), nn.Dropout()),
    "residual": lambda d: Residual(nn.Linear(d, 3), nn.ReLU(), nn.Linear(3, d), nn.BatchNorm1d(d)),
    "attention": lambda d: Tokens(nn.MultiheadAttention(d, 2, batch_first=True)),
    "lstm": lambda d: Tokens(nn.LSTM(d, d, batch_first=True)),
    "gru": lambda d: Tokens(nn.GRU(d, d, batch_first=True)),
    "tied": tied,
    "frozen": lambda d: nn.Linear(d, d).requires_grad_(False),
    "lazy": lambda d: nn.LazyLinear(d),
    "parametrized": lambda d: nn.utils.parametrizations.weight_norm(nn.Linear(d, d)),
}  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from([*CHAINED, *list(CHAINED)[:-2]]), min_size=1, max_size=4),
    st.sampled_from([2, 4, 6]),
    st.sampled_from(list(dndiv.techniques.TECHNIQUES)),
    st.integers(0, 99),
)
@pytest.mark.filterwarnings("ignore:.* leaves the packed weights")
def test_any_network_is_treated_diagnosed_and_reinforced_or_refused(kinds, d, technique, seed):
    torch.manual_seed(seed)
    net, x = nn.Sequential(*[CHAINED[kind](d) for kind in kinds], nn.Linear(d, 3)), batch(30, d)
    refused = {"lazy", "parametrized"} & set(kinds)
    for inputs in (None, x):
        treated = copy.deepcopy(net)
        frozen = [p.clone() for _, p in readable(treated) if not p.requires_grad]
        if refused:
            before = {k: p.clone() for k, p in readable(treated)}
            with pytest.raises(ValueError, match="layer '.*' is lazy|layer '.*': .* parametriz"):
                dndiv.decorrelate_(treated, inputs)
            assert same(before, dict(readable(treated)))
            continue
        dndiv.decorrelate_(treated, inputs)
        assert treated(x).shape == (30, 3) and treated(x).isfinite().all()
        assert all(overlap(block) < 1e-4 for _, parts in init._draws(treated) for block in parts)
        kept = [p for p in treated.parameters() if not p.requires_grad]
        assert all(map(torch.equal, frozen, kept))
    if "lazy" not in kinds:
        before = state(net)
        report = dndiv.diagnose(net, x)
        assert same(before, net.state_dict()) and report.layers[-1].units == 3
        assert ("does not treat" in report.note) == bool(refused)
    optimizer = torch.optim.SGD([p for _, p in readable(net)], 0.01)
    try:
        with dndiv.Reinforcement(net, optimizer, technique, 0.1, every=1) as diverse:
            (net(x).square().mean() + diverse.penalty()).backward()
            optimizer.step()
    except ValueError as error:
        assert "layer" in str(error)
    assert all(p.isfinite().all() for _, p in readable(net))
