"""The initializations of the literature against closed forms, SciPy, and plain NumPy."""

import sys

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from dndiv import literature
from dndiv.population import network

F64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


# --------------------------------------------------------------------------------------------- RAI
@pytest.mark.parametrize("with_bias", [True, False])
def test_each_entry_of_rai_is_a_gaussian_or_one_in_all_a_beta(with_bias):
    weight, bias = torch.empty(4000, 5, dtype=F64), torch.empty(4000, dtype=F64)
    given = literature.rai_(weight, bias if with_bias else None, generator=generator())
    assert given is weight
    columns = [*weight.T, bias] if with_bias else weight.T
    share = 1 / len(columns)

    def mixture(x):  # the fan-in is 5 with and without bias
        gaussian = stats.norm(scale=0.6007 / 5**0.5).cdf(x)
        return (1 - share) * gaussian + share * stats.beta(2, 1).cdf(x)

    for column in columns:
        assert stats.kstest(column, mixture).pvalue > 1e-3


def test_rai_replaces_one_entry_of_each_row():
    weight, bias = torch.empty(300, 5000, dtype=F64), torch.empty(300, dtype=F64)
    literature.rai_(weight, bias, generator=generator())
    rows = torch.cat((weight, bias[:, None]), 1)
    large = (rows > 0.1).sum(1)  # 12 standard deviations; one in 100 draws of Beta(2, 1) is below
    assert large.max() == 1 and 0.96 < large.double().mean() <= 1


# ------------------------------------------------------------------------------------ looks-linear
def test_a_looks_linear_network_is_the_product_of_its_orthogonal_blocks():
    net = network((30, 6, 4, 10)).double()
    layers = [m for m in net if isinstance(m, nn.Linear)]
    product = np.eye(30)
    for k, (layer, (m, n)) in enumerate(zip(layers, [(3, 30), (2, 3), (10, 2)])):
        first, last = layer is layers[0], layer is layers[-1]
        literature.looks_linear_(layer.weight, first=first, last=last, generator=generator(k))
        layer.bias.data.zero_()
        weight = layer.weight.detach().numpy()
        w = weight[:m, :n]
        blocks = [[w] if first else [w, -w]]
        blocks += [] if last else [[-b for b in blocks[0]]]
        np.testing.assert_array_equal(weight, np.block(blocks))
        np.testing.assert_allclose(np.linalg.svd(w)[1], 1, atol=1e-12)
        product = w @ product
    x = draw(20, 30)
    np.testing.assert_allclose(net(x).detach().numpy(), x.numpy() @ product.T, atol=1e-12)


def test_looks_linear_kernels_mirror_channels():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 3)).double()
    literature.looks_linear_(net[0].weight, first=True, generator=generator())
    literature.looks_linear_(net[2].weight, last=True, generator=generator())
    nn.init.zeros_(net[0].bias), nn.init.zeros_(net[2].bias)
    x, y = draw(2, 4, 3, 8, 8)
    assert net(x).abs().max() > 0.1
    torch.testing.assert_close(net(x - 2 * y), net(x) - 2 * net(y))


# ----------------------------------------------------------------------------------------- rewired
def attached(rows):
    """The rewiring of rows in which the most probable order is taken: strongest input first."""
    rows = rows.copy()
    for k in range(1, len(rows)):
        strongest_first = np.argsort(-rows[:k].sum(0))
        rows[k, strongest_first] = np.sort(rows[k])
    return rows


def test_rewiring_gives_the_strongest_input_the_least_weight_then_so_for_units(monkeypatch):
    monkeypatch.setattr(
        torch, "multinomial", lambda chances, n, generator: (-chances).argsort()[:n]
    )
    w = draw(5, 2, 4)
    expected = attached(attached(w.flatten(1).numpy()).T).T
    assert literature.rewired_(w) is w
    np.testing.assert_array_equal(w.flatten(1).numpy(), expected)


def test_the_order_of_rewiring_is_drawn_by_strength_without_replacement():
    first, second = [-0.5, 0.25, 2.0], [1.0, 2.0, 3.0]
    weights = np.array(first) + 0.5 + 1
    counts, draws = {}, 3000
    g = generator()
    for _ in range(draws):
        rows = torch.tensor([first, second], dtype=F64)
        literature._attach_(rows, g)
        order = tuple(rows[1].argsort().tolist())  # the input that got the least weight, and so on
        counts[order] = counts.get(order, 0) + 1
    expected = {
        (i, j, k): draws * weights[i] * weights[j] / weights.sum() / (weights.sum() - weights[i])
        for i, j, k in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    }
    found = [counts.get(order, 0) for order in expected]
    assert stats.chisquare(found, list(expected.values())).pvalue > 1e-3


def test_rewiring_keeps_the_values_and_evens_the_strengths():
    ratios = []
    for seed in range(20):
        w = draw(16, 100, seed=seed)
        was = w.clone()
        literature.rewired_(w, generator=generator(seed))
        torch.testing.assert_close(w.flatten().sort().values, was.flatten().sort().values)
        ratios.append([(w.sum(d).var() / was.sum(d).var()).item() for d in (0, 1)])
    assert (np.mean(ratios, axis=0) < 0.8).all()


# ------------------------------------------------------------------------------------- deep-narrow
def gram_schmidt(k, epsilon):
    """Q of J + εI by its definition; as LAPACK's, all columns but the last are turned round."""
    q = np.empty((k, 0))
    for column in (np.ones((k, k)) + epsilon * np.eye(k)).T:
        for _ in range(3):
            column = column - q @ (q.T @ column)
        q = np.column_stack((q, column / np.linalg.norm(column)))
    return q * np.where(np.arange(k) < k - 1, -1, 1)


@pytest.mark.parametrize("shape", [(16, 50), (10, 4), (4, 4), (10, 16), (4, 3, 2, 2)])
def test_deep_narrow_is_the_product_of_the_factors_of_ones(shape):
    w = torch.empty(shape, dtype=F64)
    assert literature.deep_narrow_(w, 0.2) is w
    m, n = w.flatten(1).shape
    expected = gram_schmidt(m, 0.2) @ np.eye(m, n) @ gram_schmidt(n, 0.2).T
    np.testing.assert_allclose(w.flatten(1).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(torch.linalg.svdvals(w.flatten(1)).numpy(), 1, atol=1e-12)


def test_deep_narrow_passes_constant_inputs_on_and_squares_are_the_identity():
    w = literature.deep_narrow_(torch.empty(8, 784, dtype=F64), 1e-5)
    np.testing.assert_allclose(w.sum(1).numpy(), (784 / 8) ** 0.5, rtol=1e-3)
    square = literature.deep_narrow_(torch.empty(10, 10, dtype=F64))
    np.testing.assert_allclose(square.numpy(), np.eye(10), atol=1e-12)
    more_units = literature.deep_narrow_(torch.empty(10, 4, dtype=F64))
    np.testing.assert_allclose(more_units[5:].numpy(), more_units[4:-1].numpy(), atol=1e-12)


# ----------------------------------------------------------------------------------------- AnyInit
def test_units_of_the_sinusoidal_start_are_waves_of_one_frequency():
    nets = [literature.sinusoidal_(network((30, 8, 4, 10))) for _ in range(2)]
    for a, b in zip(nets[0][::2], nets[1][::2]):
        assert torch.equal(a.weight, b.weight) and not a.bias.any()
        power = np.abs(np.fft.rfft(a.weight.detach().double().numpy())) ** 2
        np.testing.assert_allclose(power.max(1), power.sum(1), rtol=1e-5)
        assert (power.argmax(1) > 0).all()
    assert torch.linalg.matrix_rank(nets[0][4].weight, rtol=1e-5) == 2  # as the docstring warns


def test_anyinit_gives_hidden_activations_unit_second_moment_on_the_inputs():
    x = 3 * torch.rand(500, 30, generator=generator()) + 1
    net, again, other = (network((30, 16, 16, 10)) for _ in range(3))
    literature.anyinit_(net, x, generator=generator(1))
    literature.anyinit_(again, x, generator=generator(1))
    literature.anyinit_(other, x, generator=generator(2))
    hidden = x
    for a, b, c in zip(net[::2], again[::2], other[::2]):
        assert torch.equal(a.weight, b.weight) and not a.bias.any()
        assert not torch.allclose(a.weight / a.weight.std(), c.weight / c.weight.std(), atol=0.1)
        if a is not net[-1]:
            hidden = torch.relu(a(hidden))
            assert hidden.square().mean().item() == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize("start", [literature.sinusoidal_, literature.anyinit_])
def test_without_the_authors_package_the_extra_that_brings_it_is_named(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "anyinit", None)
    net = network((3, 2))
    before = net[0].weight.clone()
    with pytest.raises(ImportError, match=r"pip install dndiv\[peers\]"):
        start(net, *[torch.ones(2, 3)] * (start is literature.anyinit_))
    assert torch.equal(net[0].weight, before)


# ---------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "start, arguments, message",
    [
        *(
            (start, {"tensor": torch.ones(3)}, "two or more dimensions")
            for start in (
                *(literature.rai_, literature.looks_linear_),
                *(literature.rewired_, literature.deep_narrow_),
            )
        ),
        (literature.rai_, {"tensor": torch.ones(3, 2), "bias": torch.ones(2)}, "bias of 3 units"),
        (literature.looks_linear_, {"tensor": torch.ones(5, 4)}, "units in pairs, and 5 is odd"),
        (literature.looks_linear_, {"tensor": torch.ones(4, 3)}, "inputs in pairs, and 3 is odd"),
        (literature.rewired_, {"tensor": torch.full((2, 2), torch.nan)}, "non-finite"),
        (literature.deep_narrow_, {"tensor": torch.ones(2, 2), "epsilon": 0.0}, "not 0.0"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_weight_left(start, arguments, message):
    before = arguments["tensor"].clone()
    with pytest.raises(ValueError, match=message):
        start(**arguments)
    assert torch.equal(arguments["tensor"], before) or before.isnan().all()
