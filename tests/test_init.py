"""The initializations against closed forms, SciPy, and plain PyTorch."""

import copy
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy import stats
from torch import nn

import dndiv
from dndiv import init, streams
from dndiv.paper import design
from dndiv.paper.starts import STARTS, start_
from dndiv.population import network

F64 = torch.float64


def draw(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def cosines(weight):
    rows = nn.functional.normalize(weight.detach().double().flatten(1), dim=1)
    return (rows @ rows.T).numpy()


def norms(weight):
    return weight.detach().double().flatten(1).norm(dim=1)


# --------------------------------------------------------------------------------------------------
# ---- one tensor
@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (4, 4), (5, 9), (16, 784), (6, 3, 2, 2)])
def test_decorrelated_is_the_polar_factor_with_the_norms_of_the_draw(shape):
    w = draw(*shape)
    expected_norms = norms(w)
    rows = w.flatten(1) / expected_norms[:, None]
    unitary, _ = scipy.linalg.polar(rows.numpy())
    assert dndiv.decorrelated_(w) is w and w.shape == shape
    np.testing.assert_allclose(
        w.flatten(1).numpy(), unitary * expected_norms.numpy()[:, None], atol=1e-12
    )
    np.testing.assert_allclose(cosines(w), np.eye(len(w)), atol=1e-12)


@pytest.mark.parametrize("n, d", [(9, 8), (10, 8), (10, 4), (64, 5), (3, 2), (7, 1), (65, 64)])
def test_more_rows_than_inputs_attain_the_welch_bound(n, d):
    w = dndiv.decorrelated_(draw(n, d), gain=1.0)
    np.testing.assert_allclose(norms(w), 1, atol=1e-9)
    np.testing.assert_allclose((w.T @ w).numpy(), n / d * np.eye(d), atol=1e-6)
    assert (cosines(w) ** 2).sum() == pytest.approx(n * n / d, abs=1e-9)


@pytest.mark.parametrize(
    "n, d", [(65, 65), (200, 200), (90, 300), (300, 90), (201, 200), (280, 270), (700, 40)]
)
@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-5), (F64, 1e-9)])
def test_large_layers_are_decorrelated_alike(n, d, dtype, close):
    start = draw(n, d, dtype=dtype)
    w = dndiv.decorrelated_(start.clone(), 1.0).double().numpy()
    if n <= d:
        unit = start.double() / start.double().norm(dim=1, keepdim=True)
        np.testing.assert_allclose(w, scipy.linalg.polar(unit.numpy())[0], atol=close)
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1, atol=close)
    gram = w @ w.T if n <= d else d / n * w.T @ w
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=close)


@pytest.mark.parametrize("n, d", [(7, 4), (65, 64), (300, 150)])
def test_a_tight_frame_is_a_linear_image_of_the_rows_turned_towards_the_draw(n, d):
    start = nn.functional.normalize(draw(n, d), dim=1)
    w = dndiv.decorrelated_(start.clone(), 1.0)
    scatter = torch.eye(d, dtype=F64)  # of Tyler, by his own iteration
    for _ in range(3000):
        before = scatter
        scale = (start @ torch.linalg.inv(scatter) * start).sum(1, keepdim=True)
        scatter = d / n * start.T @ (start / scale)
        if (scatter - before).abs().max() < 1e-12:
            break
    inverse = torch.linalg.inv(scatter)
    cosine = start @ inverse @ start.T / scale.sqrt() / scale.sqrt().T
    np.testing.assert_allclose(cosines(w), cosine.numpy(), atol=1e-6)
    across = (w.T @ start).numpy()
    np.testing.assert_allclose(across, across.T, atol=1e-8)  # symmetric: no turn is nearer
    assert np.linalg.eigvalsh(across).min() > 0


@pytest.mark.parametrize("n, d", [(70, 70), (100, 70), (300, 70)])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_large_dependent_layers_are_refused(n, d, dtype):
    bad = draw(n, d, dtype=dtype)
    bad[:, 1] = bad[:, 0]
    with pytest.raises(ValueError, match="linearly dependent"):
        dndiv.decorrelated_(bad)


@pytest.mark.parametrize("n, d", [(2, 2), (4, 4), (5, 4), (8, 30), (16, 784)])
def test_simplex_is_regular_and_nearest_to_the_draw(n, d):
    start = nn.functional.normalize(draw(n, d), dim=1)
    w = dndiv.simplex_(start.clone(), gain=1.0)
    expected = np.full((n, n), -1 / (n - 1))
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(cosines(w), expected, atol=1e-12)
    np.testing.assert_allclose(w.sum(0), 0, atol=1e-12)
    for seed in range(20):  # no rotation of it is nearer
        turn = torch.linalg.qr(torch.eye(d, dtype=F64) + 0.1 * draw(d, d, seed=seed))[0]
        turn *= torch.sign(torch.diagonal(turn.T @ torch.eye(d, dtype=F64)))
        assert (w - start).norm() <= (w @ turn - start).norm() + 1e-9


def test_simplex_of_a_layer_too_large_for_one_is_the_tight_frame():
    assert torch.equal(dndiv.simplex_(draw(7, 4)), dndiv.decorrelated_(draw(7, 4)))


@pytest.mark.parametrize("n, d", [(4, 4), (8, 40), (10, 8)])
def test_gram_raises_the_determinant_to_its_maximum(n, d):
    def log_volume(w):
        s = torch.linalg.svdvals(nn.functional.normalize(w, dim=1))
        return 2 * s.log().sum().item()

    start = draw(n, d)
    volumes = [
        log_volume(start),
        *(log_volume(dndiv.gram_(start.clone(), steps=k)) for k in (1, 5, 200)),
    ]
    assert volumes == sorted(volumes) and volumes[1] > volumes[0]
    maximum = 0 if n <= d else d * math.log(n / d)  # orthonormal rows, or a tight frame
    assert volumes[-1] == pytest.approx(maximum, abs=1e-3)


def test_gram_step_follows_the_gradient():
    w = nn.functional.normalize(draw(3, 5), dim=1).requires_grad_()
    unit = nn.functional.normalize(w, dim=1)
    torch.logdet(unit @ unit.T).backward()
    lr = 1e-4
    expected = nn.functional.normalize(w.detach() + lr * w.grad / 2, dim=1)
    torch.testing.assert_close(dndiv.gram_(w.detach().clone(), 1.0, steps=1, lr=lr), expected)


def test_equalized_keeps_directions_and_total_variance():
    w = draw(5, 3)
    before, total = cosines(w), w.norm()
    dndiv.equalized_(w)
    np.testing.assert_allclose(cosines(w), before, atol=1e-12)
    np.testing.assert_allclose(norms(w), total / 5**0.5)


@pytest.mark.parametrize("function", [dndiv.decorrelated_, dndiv.simplex_, dndiv.gram_])
class TestEveryDirection:
    def test_generator_makes_a_fresh_reproducible_draw_at_pytorchs_scale(self, function):
        one, two, three = (
            function(torch.empty(8, 300), generator=torch.Generator().manual_seed(s))
            for s in (1, 1, 2)
        )
        assert torch.equal(one, two) and not torch.allclose(one, three, atol=1e-3)
        assert norms(one).mean().item() == pytest.approx(3**-0.5, rel=0.05)

    def test_without_a_generator_the_present_values_are_the_draw(self, function):
        assert torch.equal(function(draw(4, 6)), function(draw(4, 6)))
        assert not torch.allclose(function(draw(4, 6)), function(draw(4, 6, seed=1)), atol=1e-3)

    def test_gain_is_the_norm_of_every_row(self, function):
        np.testing.assert_allclose(norms(function(draw(4, 6), 1.5)), 1.5)
        with pytest.raises(ValueError, match="gain must be a positive number, not -1"):
            function(draw(4, 6), -1)

    @pytest.mark.parametrize(
        "dtype, close", [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)]
    )
    def test_other_dtypes_convolutions_and_parameters(self, function, dtype, close):
        conv = nn.Conv2d(3, 5, 3).to(dtype)
        before = norms(conv.weight)
        function(conv.weight)
        off = cosines(conv.weight)[~np.eye(5, dtype=bool)]
        np.testing.assert_allclose(
            off, -0.25 if function is dndiv.simplex_ else 0, atol=max(close, 1e-5)
        )
        np.testing.assert_allclose(norms(conv.weight), before, rtol=close)
        assert conv.weight.requires_grad and conv.weight.dtype == dtype

    @pytest.mark.parametrize(
        "bad, message",
        [
            (torch.ones(3), "two or more dimensions"),
            (torch.ones(3, 3, dtype=torch.int64), "floating-point"),
            (torch.empty(0, 3), "floating-point"),
            (torch.tensor([[1.0, math.nan], [0.0, 1.0]]), "non-finite"),
            (torch.tensor([[1.0, 2.0], [0.0, 0.0]]), r"rows \[1\] of the weight are zero"),
            (torch.ones(3, 4), "linearly dependent"),
        ],
    )
    def test_refuses_with_the_reason_and_leaves_the_weight(self, function, bad, message):
        before = bad.clone()
        with pytest.raises(ValueError, match=message):
            function(bad)
        assert torch.equal(bad.nan_to_num(7), before.nan_to_num(7))


def test_directions_of_a_gaussian_draw_stay_isotropic_and_independent():
    d = 4
    rows = torch.stack(
        [
            nn.functional.normalize(dndiv.decorrelated_(draw(4, d, seed=s)), dim=1)[2]
            for s in range(600)
        ]
    )
    law = stats.beta((d - 1) / 2, (d - 1) / 2).cdf
    for axis in range(
        d
    ):  # isotropic: every component has the law of the cosine to a fixed direction
        assert stats.kstest((1 + rows[:, axis].numpy()) / 2, law).pvalue > 0.001
    between = (rows[:300] * rows[300:]).sum(1)  # independent: so has the cosine to another draw
    assert stats.kstest((1 + between.numpy()) / 2, law).pvalue > 0.001


# --------------------------------------------------------------------------------------------------
# ---- a module
class Net(nn.Module):
    """Grouped, depthwise and transposed convolutions, batch norm, dropout, a shared linear
    layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, groups=2),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.ConvTranspose2d(8, 4, 2, groups=2),
            nn.Dropout(0.5),
        )
        self.shared = nn.Linear(4 * 5 * 5, 100, bias=False)
        self.head = nn.Linear(100, 3)

    def forward(self, x):
        x = self.shared(self.features(x).flatten(1))
        return self.head(torch.relu(self.shared(torch.relu(x))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def images(seed=1):
    return torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_decorrelate_treats_every_layer_group_by_group(net):
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    assert dndiv.decorrelate_(net) is net
    for name, layer in net.named_modules():
        if isinstance(layer, init.Layer):
            for block, old in zip(
                init.blocks(layer, layer.weight.detach()),
                layer_blocks(layer, before[f"{name}.weight"]),
            ):
                n, d = block.flatten(1).shape
                if n <= d:
                    np.testing.assert_allclose(cosines(block), np.eye(n), atol=1e-5)
                np.testing.assert_allclose(norms(block), norms(old), rtol=1e-5)
    for name, p in net.named_parameters():
        if not name.endswith("weight") or "features.2" in name:
            assert torch.equal(p, before[name]), name


def layer_blocks(layer, weight):
    """Blocks of units that share inputs, written out: [units, fan-in, *kernel] of each group."""
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, nn.ConvTranspose2d):
        size = weight.shape[0] // groups
        return [weight[g * size : (g + 1) * size].transpose(0, 1) for g in range(groups)]
    size = weight.shape[0] // groups
    return [weight[g * size : (g + 1) * size] for g in range(groups)]


@pytest.mark.parametrize("start, mean", [(dndiv.standardized_, 0.0), (dndiv.alive_, 1.0)])
def test_data_aware_starts_give_each_unit_unit_variance(net, start, mean):
    net.train()
    batch, state = (
        images(),
        {k: v.clone() for k, v in net.state_dict().items() if "features.2" in k},
    )
    dndiv.decorrelate_(net, batch, start=start)
    assert net.training and net.features[7].training
    for key, value in state.items():
        assert torch.equal(net.state_dict()[key], value), key  # batch norm has not learnt from it
    outputs = {}
    names = {layer: name for name, layer in net.named_modules()}

    def keep(layer, args, out):
        outputs.setdefault(names[layer], out.double())  # the first call of the shared layer

    for layer in names:
        if isinstance(layer, init.Layer):
            layer.register_forward_hook(keep)
    net.train()
    net.features[7].eval()  # dropout
    net(batch)
    for name, out in outputs.items():
        out = out.transpose(0, 1).flatten(1)  # [units, everything else]
        np.testing.assert_allclose(out.var(1, correction=0).detach(), 1, rtol=1e-4, err_msg=name)
        if name != "shared":  # it has no bias
            np.testing.assert_allclose(
                out.mean(1).detach(), 0 if name == "head" else mean, atol=1e-4, err_msg=name
            )


class Experts(nn.Module):
    """All inputs go to the first of two experts; the output weights of ``head`` may be frozen."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(6, 4) for _ in range(2))
        self.head = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)  # another tensor in its place
        x /= 2
        return self.head((self.experts[0](x) + self.experts[1](x[:0]).sum()).relu())


@pytest.mark.parametrize("start", [dndiv.standardized_, dndiv.relayed_, dndiv.lsuv_])
def test_layers_without_inputs_stay_and_a_module_that_changes_its_inputs_leaves_no_trace(start):
    net, batch = Experts(), draw(50, 6, dtype=torch.float32)
    idle, given, mean = net.experts[1].weight.clone(), batch.clone(), net.mean
    dndiv.decorrelate_(net, batch, start=dndiv.balanced_ if start is dndiv.lsuv_ else start)
    assert torch.equal(batch, given) and net.mean is mean and not mean.any()
    for name, p in net.named_parameters():
        assert p.isfinite().all(), name
    start(net, batch)
    if start is not dndiv.lsuv_:
        out = net.experts[0](batch / 2)
        torch.testing.assert_close(out.std(0, correction=0), torch.ones(4))
        np.testing.assert_allclose(norms(net.experts[1].weight), norms(idle), rtol=1e-5)


def test_the_last_layer_is_the_last_that_is_called_also_where_it_is_frozen():
    batch = draw(400, 6, dtype=torch.float32)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    for p in net[4].parameters():
        p.requires_grad_(False)
    head = copy.deepcopy(net[4])
    dndiv.relayed_(net, batch)
    torch.testing.assert_close(net[:3](batch).mean(0), torch.ones(4))  # raised, as a hidden one
    assert torch.equal(net[4].weight, head.weight) and torch.equal(net[4].bias, head.bias)


def test_autocast_changes_no_start():
    batch, weight = draw(300, 6, dtype=torch.float32), draw(100, 80, dtype=torch.float32)
    net = network((6, 5, 4, 3))
    with torch.autocast("cpu", torch.bfloat16):
        net(batch)  # fills the cache of cast weights
        dndiv.standardized_(net, batch)
        dndiv.decorrelated_(weight, 1.0)
        for k in (1, 3, 5):
            std = net[:k](batch).float().std(0, correction=0)
            np.testing.assert_allclose(std.detach(), 1, atol=0.01)
    np.testing.assert_allclose((weight.T @ weight).numpy(), 1.25 * np.eye(80), atol=1e-5)


def compiled(net):
    """Wrapped as by any backend; this one has no C++ to compile."""
    return torch.compile(net, backend="eager")


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled])
def test_labels_are_left_out_for_a_wrapped_module_too(wrap):
    batch, net = draw(50, 6, dtype=torch.float32), network((6, 4, 3))
    twin = dndiv.standardized_(copy.deepcopy(net), batch)
    dndiv.standardized_(wrap(net), [batch, torch.zeros(50)])
    for p, q in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(p, q)


def spread(net, batch):
    """(mean, standard deviation) of every linear layer's units over the batch."""
    found, out = [], batch
    for layer in net:
        out = layer(out)
        if isinstance(layer, nn.Linear):
            found.append((out.mean(0).detach(), out.std(0, correction=0).detach()))
    return found


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_decorrelate_with_inputs_balances_units_at_the_scale_of_the_draw(activation):
    net = network((6, 5, 4, 3), activation)
    twin = copy.deepcopy(net)
    batch = draw(50, 6, dtype=torch.float32)
    dndiv.decorrelate_(net, inputs=batch)
    dndiv.decorrelate_(twin)
    logits = twin(batch)
    raised = 1.0 if activation == "relu" else 0.0
    for k, ((mean, std), (_, own)) in enumerate(zip(spread(net, batch), spread(twin, batch))):
        scale = own.square().mean().sqrt()
        if k == 2:  # the last layer
            scale, raised = min(1.25 * scale, logits.square().mean().sqrt()), 0.0
        np.testing.assert_allclose(std, scale.expand_as(std).detach(), rtol=1e-4)
        np.testing.assert_allclose(mean, (raised * scale).expand_as(mean).detach(), atol=1e-5)
    np.testing.assert_allclose(cosines(net[2].weight), np.eye(4), atol=1e-6)  # directions stay


def test_what_batch_norm_reads_is_left_to_it_and_constant_units_are_left_alone():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    dndiv.decorrelate_(net)
    before = copy.deepcopy(net)
    dndiv.balanced_(net, images())
    assert torch.equal(net[0].weight, before[0].weight)
    assert not torch.equal(net[3].weight, before[3].weight)
    silent = network((3, 2, 2))
    before = copy.deepcopy(silent)
    dndiv.balanced_(silent, torch.ones(5, 3))
    assert torch.equal(silent[0].weight, before[0].weight)


def test_lsuv_of_half_precision_is_that_of_single_precision_rounded():
    net, batch = network((6, 4, 3)), draw(200, 6, dtype=torch.bfloat16)
    half = dndiv.lsuv_(copy.deepcopy(net).bfloat16(), batch, generator=torch.Generator())
    dndiv.lsuv_(net, batch.float(), generator=torch.Generator())
    for p, q in zip(half.parameters(), net.parameters()):
        torch.testing.assert_close(p.float(), q, rtol=0.03, atol=0.03)


def test_lsuv_gives_each_layer_unit_variance_from_orthogonal_weights():
    net = network((20, 12, 9, 5), "tanh")
    batch = draw(400, 20, dtype=torch.float32)
    dndiv.lsuv_(net, batch, generator=torch.Generator().manual_seed(0))
    out = batch
    for layer in net:
        out = layer(out)
        if isinstance(layer, nn.Linear):
            assert out.var(correction=0).item() == pytest.approx(1, rel=1e-4)
            np.testing.assert_allclose(cosines(layer.weight), np.eye(len(layer.weight)), atol=1e-5)
            assert not layer.bias.any()


def test_default_is_what_pytorch_draws():
    net = nn.Sequential(nn.Linear(7, 5), nn.Conv2d(3, 4, 3), nn.Linear(5, 2, bias=False))
    init.default_(net, torch.Generator().manual_seed(42))
    torch.manual_seed(42)
    fresh = nn.Sequential(nn.Linear(7, 5), nn.Conv2d(3, 4, 3), nn.Linear(5, 2, bias=False))
    for p, q in zip(net.parameters(), fresh.parameters()):
        assert torch.equal(p, q)


def test_initialize_draws_every_layer_by_a_scheme_group_by_group(net):
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert dndiv.initialize_(net, nn.init.orthogonal_, generator=generators[0]) is net
    treated = set()
    for name, layer in init.layers(net):
        treated |= {f"{name}.weight", f"{name}.bias"}
        for block in layer_blocks(layer, layer.weight.detach()):
            drawn = torch.empty(block.shape)
            nn.init.orthogonal_(drawn, generator=generators[1])
            assert torch.equal(block, drawn), name
        assert layer.bias is None or not layer.bias.any(), name
    for name, p in net.named_parameters():
        assert name in treated or torch.equal(p, before[name]), name
    # without a generator, of a scheme that takes none: the start of the experiments
    plain, started = (network((9, 4, 4, 3)) for _ in range(2))
    dndiv.initialize_(plain, dndiv.literature.deep_narrow_)
    start_(started, "deep_narrow", None, torch.Generator())
    for p, q in zip(plain.parameters(), started.parameters()):
        assert torch.equal(p, q)


def test_what_a_scheme_refuses_leaves_the_module_as_it_was(net):
    before = {name: p.detach().clone() for name, p in net.named_parameters()}

    def refuses_four(weight):
        if len(weight) == 4:
            raise ValueError("four units")
        nn.init.zeros_(weight)

    with pytest.raises(ValueError, match="layer '.+': four units"):
        dndiv.initialize_(net, refuses_four)
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name]), name
    with pytest.raises(ValueError, match="ReLU has no linear or convolutional layer"):
        dndiv.initialize_(nn.ReLU(), nn.init.orthogonal_)


@pytest.mark.parametrize("scheme, message", [
    (lambda w: nn.functional.normalize(w, dim=1), "layer '.+': the scheme returns another tensor"),
    (lambda w: w.fill_(float("nan")), "layer '.+': the scheme leaves values that are not finite"),
    (dndiv.alive_, "one weight alone .+ go to decorrelate_\\(model, inputs=batch, start=alive_"),
])  # fmt: skip
def test_what_is_no_scheme_is_refused_and_the_module_as_it_was(net, scheme, message):
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=message):
        dndiv.initialize_(net, scheme)
    assert all(torch.equal(v, before[name]) for name, v in net.state_dict().items())


@pytest.mark.parametrize("name, given, message", [
    ("directions", dndiv.standardized_, "directions=standardized_ is a function of a module"),
    ("start", dndiv.decorrelated_, "start=decorrelated_ is a function of a tensor; start= takes"),
])  # fmt: skip
def test_starts_in_each_others_place_are_refused(name, given, message):
    with pytest.raises(ValueError, match=message):
        dndiv.decorrelate_(network((3, 4, 2)), inputs=torch.randn(9, 3), **{name: given})
    net, after = network((3, 4, 2)), []
    dndiv.decorrelate_(net, directions=lambda w, generator=None: after.append(w.shape))
    assert after == [(4, 3), (2, 4)]  # any function will do


def test_modules_that_cannot_be_treated_are_refused_with_the_layer():
    with pytest.raises(ValueError, match="LSTM has no .+ that a data-aware start .+ inputs= out"):
        dndiv.decorrelate_(nn.LSTM(4, 4), inputs=torch.randn(9, 5, 4))
    with pytest.raises(ValueError, match="ReLU has no linear, convolutional, attention"):
        dndiv.decorrelate_(nn.ReLU())
    with pytest.raises(ValueError, match="layer '0': its weight is computed by a parametrization"):
        dndiv.decorrelate_(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))))
    with pytest.raises(ValueError, match="layer '1': the weight holds non-finite"):
        net = network((3, 3, 3))[:2].append(nn.Linear(3, 3))
        net = nn.Sequential(net[0], net[2])
        nn.init.constant_(net[1].weight, math.inf)
        dndiv.decorrelate_(net)
    with pytest.raises(ValueError, match="lazy"):
        dndiv.decorrelate_(nn.LazyLinear(3))
    with pytest.raises(ValueError, match="'weight' is lazy and has no values yet"):
        dndiv.diagnose(nn.LazyLinear(3), torch.ones(5, 3))
    with pytest.raises(ValueError, match="pass inputs="):
        dndiv.decorrelate_(network((3, 3)), start=dndiv.alive_)
    with pytest.raises(ValueError, match="unit 0 of layer '0' is constant over the 5 inputs"):
        dndiv.standardized_(network((3, 2)), torch.ones(5, 3))
    with pytest.raises(ValueError, match="pass a batch"):
        dndiv.standardized_(network((3, 2)), torch.ones(3))


BATCHED = [
    dndiv.lsuv_, dndiv.standardized_, dndiv.alive_, dndiv.relayed_, dndiv.balanced_,
    dndiv.decorrelate_,
]  # fmt: skip


def refused(start, net, batch, message):
    """The start refuses, by this message, and the module is as it was."""
    before, hooks = copy.deepcopy(net.state_dict()), [len(m._forward_hooks) for m in net.modules()]
    with pytest.raises(ValueError, match=message):
        start(net, batch)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert hooks == [len(m._forward_hooks) for m in net.modules()]


@pytest.mark.parametrize("start", BATCHED)
def test_a_batch_of_one_is_refused_where_a_layer_has_no_variance_from_it(start):
    torch.manual_seed(0)
    normed = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    for net in (network((6, 5, 3)), normed):
        for batch in (torch.randn(1, 6), torch.randn(6), [torch.randn(1, 6), torch.tensor([2])]):
            refused(start, net, batch, "layer '0' got a single input; pass a batch of them")
    pooled = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    refused(start, pooled.append(nn.Linear(4, 3)), images()[:1], "layer '4' got a single input")
    start(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)), images()[:1])


def triple_in_place(layer, args, out):
    out.mul_(3)


@pytest.mark.parametrize("start", BATCHED)
def test_hooks_of_a_user_are_followed_or_refused(start):
    batch = images().flatten(1)[:, :6]

    def started(*hooks, before=None, batch=batch):
        torch.manual_seed(0)
        net = network((6, 5, 3)).double()
        for hook in hooks:
            net[0].register_forward_hook(hook)
        if before:
            net[0].register_forward_pre_hook(before)
        return net, lambda: start(net, batch.double())

    plain, begin = started()
    begin()
    seen = []
    for hook in (lambda l, a, out: seen.append(out), lambda l, a, out: out.clone()):
        net, begin = started(hook)
        begin()
        for p, q in zip(net.parameters(), plain.parameters()):
            torch.testing.assert_close(p, q)
    assert seen
    for hook in (lambda l, a, out: 3 * out, triple_in_place):
        net, _ = started(hook)
        refused(start, net, batch.double(), "layer '0' has a forward hook that changes its outputs")
    hooked, begin = started(before=lambda l, args: (3 * args[0] + 1,))
    begin()
    plain, begin = started(batch=3 * batch + 1)
    begin()
    for p, q in zip(hooked.parameters(), plain.parameters()):
        torch.testing.assert_close(p, q)


class Halved(nn.Module):
    def forward(self, x):
        return x / 2


@pytest.mark.parametrize("start", BATCHED)
def test_a_bias_that_is_computed_is_refused_where_it_would_stay(start):
    net, batch = network((6, 5, 3)), images().flatten(1)[:, :6]
    nn.utils.parametrize.register_parametrization(net[2], "bias", Halved())
    for begin in (start, lambda m, x: dndiv.initialize_(m, nn.init.orthogonal_)):
        refused(begin, net, batch, "layer '2': its bias is computed by a parametrization")
    dndiv.decorrelate_(net)  # biases stay, computed or not
    np.testing.assert_allclose(cosines(net[2].weight), np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    "start",
    [
        *BATCHED,
        lambda m, x: init.default_(m),
        lambda m, x: dndiv.decorrelate_(m),
        lambda m, x: dndiv.initialize_(m, nn.init.orthogonal_),
        lambda m, x: dndiv.Reinforcement(
            m, torch.optim.SGD(m.parameters(), 0.1), "weight_cosine", 1
        ),
    ],
)
def test_tensors_that_cannot_be_changed_are_refused_by_name(start):
    batch = images().flatten(1)[:, :6]
    net = network((6, 5, 3))
    net[2].to("meta")
    for begin in (start, dndiv.diagnose):
        with pytest.raises(ValueError, match="'2.weight' is on the meta device"):
            begin(net, batch)
    with torch.inference_mode():
        net = network((6, 5, 3))
    refused(start, net, batch, "'0.weight' was made under torch.inference_mode")
    start(copy.deepcopy(net), batch)  # as it says


# --------------------------------------------------------------------------------------------------
# ----- the arms
SIZES = (30, 4, 4, 10)


def arm(name, seed=3):
    inputs = draw(200, 30, seed=9, dtype=torch.float32)
    net = start_(network(SIZES), name, inputs, streams.generator("draw", seed))
    return [m for m in net if isinstance(m, nn.Linear)]


def test_each_rung_of_the_ladder_changes_one_thing():
    default, zero, he, equal, decorrelated = map(arm, design.LADDER[:5])
    for d, z, h, e, c in zip(default, zero, he, equal, decorrelated):
        assert d.bias.any() and not z.bias.any() and torch.equal(d.weight, z.weight)
        torch.testing.assert_close(h.weight, z.weight * math.sqrt(6))
        np.testing.assert_allclose(cosines(e.weight), cosines(h.weight), atol=1e-5)
        np.testing.assert_allclose(
            norms(e.weight), h.weight.norm().item() / len(h.weight) ** 0.5, rtol=1e-5
        )
        np.testing.assert_allclose(norms(c.weight), norms(e.weight), rtol=1e-5)
        assert not any(layer.bias.any() for layer in (h, e, c))
    np.testing.assert_allclose(cosines(decorrelated[1].weight), np.eye(4), atol=1e-6)


@pytest.mark.parametrize(
    "treated, twin",
    [
        ("default_simplex", "default"),
        ("default_gram", "default"),
        ("simplex", "equal_norms"),
        *((f"{name}_decorrelated", name) for name in STARTS if f"{name}_decorrelated" in STARTS),
    ],
)
def test_norm_matched_twins_share_norms_and_biases_and_differ_in_directions(treated, twin):
    for a, b in zip(arm(treated), arm(twin)):
        np.testing.assert_allclose(norms(a.weight), norms(b.weight), rtol=1e-5)
        assert torch.equal(a.bias, b.bias)
        n, d = a.weight.shape
        wanted = (
            (-1 / (n - 1) if n - 1 <= d else None)
            if "simplex" in treated
            else (0 if n <= d else None)
        )
        if wanted is not None:
            np.testing.assert_allclose(cosines(a.weight)[~np.eye(n, dtype=bool)], wanted, atol=1e-5)


@pytest.mark.parametrize("name", STARTS)
def test_every_arm_is_reproducible_and_stochastic_unless_it_says_otherwise(name):
    one, two, other = arm(name), arm(name), arm(name, seed=4)
    for a, b, c in zip(one, two, other):
        assert torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias)
        assert torch.allclose(a.weight, c.weight, atol=1e-3) == (
            name in ("deep_narrow", "sinusoidal")
        )


def test_an_unknown_arm_is_refused_with_the_valid_ones():
    with pytest.raises(
        ValueError, match="unknown start 'orthogonall'; choose one of default, zero_bias"
    ):
        start_(network((3, 2)), "orthogonall", None, streams.generator("draw"))
