"""The report on a network against its measures written out, and its thresholds."""

import copy
import math
import re
import threading

import numpy as np
import pytest
import torch
from torch import nn

import dndiv
from dndiv.diagnosis import TITLES, Layer, Report


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(54, 5), nn.ReLU(), nn.Linear(5, 3, bias=False),
    )  # fmt: skip


@pytest.fixture
def batch():
    return torch.randn(80, 2, 5, 5, generator=torch.Generator().manual_seed(1))


def mean_off_diagonal(matrix):
    return np.abs(matrix[~np.eye(len(matrix), dtype=bool)]).mean()


def test_every_number_is_what_its_name_says(net, batch):
    with torch.no_grad():
        net[5].weight[1] = net[5].weight[0]  # a duplicate
        net[5].bias[1] = net[5].bias[0]
        net[5].bias[2] = -100.0  # a dead unit
    before = {k: v.clone() for k, v in net.state_dict().items()}
    labels = torch.arange(80) % 3
    loss = nn.functional.cross_entropy
    report = dndiv.diagnose(net, [batch, labels], lambda out: loss(out, labels))
    first, second, last = report.layers
    assert [r.name for r in report.layers] == ["0", "5", "7"]
    assert [(r.units, r.fan_in) for r in report.layers] == [(6, 18), (5, 54), (3, 5)]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training and all(p.grad is None for p in net.parameters())

    net[4].eval()  # dropout
    conv = net[0](batch)
    maps = torch.relu(net[1](conv)).transpose(0, 1).flatten(1).detach()
    hidden = net[:7](batch).T.detach()
    assert first.activations == pytest.approx(mean_off_diagonal(np.corrcoef(maps)), rel=1e-4)
    assert first.signal == pytest.approx(
        conv.transpose(0, 1).flatten(1).var(1, correction=0).mean().sqrt().item(), rel=1e-5
    )
    varying = hidden[[0, 1, 3, 4]]
    assert second.activations == pytest.approx(mean_off_diagonal(np.corrcoef(varying)), rel=1e-4)
    rows = nn.functional.normalize(net[5].weight.detach(), dim=1)
    assert second.weights == pytest.approx(mean_off_diagonal((rows @ rows.T).numpy()), rel=1e-5)
    s = np.linalg.svd(hidden - hidden.mean(1, keepdim=True), compute_uv=False)
    share = s[s > 1e-6] / s.sum()
    assert second.rank == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-3)
    assert (second.dead, second.duplicates, last.dead) == pytest.approx((0.2, 0.4, 0.0))
    loss(net(batch), labels).backward()
    for layer, row in zip((net[0], net[5], net[7]), report.layers):
        expected = layer.weight.grad.square().mean().sqrt().item()
        assert row.gradient == pytest.approx(expected, rel=1e-4)
    assert math.isnan(second.weights_after)  # and why: two rows are equal
    assert "layer '5': the 5 rows of the weight are linearly dependent" in report.note


def test_what_a_start_would_change(net, batch):
    report = dndiv.diagnose(net, batch)
    assert report.note == "after: decorrelate_"
    for row in report.layers:
        assert row.weights > 0.03 and row.weights_after < 1e-6
    treated = dndiv.diagnose(dndiv.decorrelate_(net, batch), batch)
    for row, after in zip(report.layers, treated.layers):
        assert row.activations_after == pytest.approx(after.activations, rel=1e-4)


def test_what_any_other_change_would_do(net, batch):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    at_hand = dndiv.diagnose(net, batch, change=lambda m: dndiv.standardized_(m, batch))
    treated = dndiv.diagnose(dndiv.standardized_(copy.deepcopy(net), batch), batch)
    for row, after in zip(at_hand.layers, treated.layers):
        assert row.activations_after == pytest.approx(after.activations, rel=1e-4)
        assert row.weights_after == pytest.approx(after.weights, rel=1e-4)
    for change, key in {
        "weight_cosine": "weights", "orthogonal_step": "weights",
        "activation_decorrelation": "activations",
    }.items():  # fmt: skip
        report = dndiv.diagnose(net, batch, change=change)
        assert report.note == f"after: {change}"
        for row in report.layers[:-1]:  # the hidden ones
            assert getattr(row, f"{key}_after") < 0.99 * getattr(row, key), (change, row)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    with pytest.raises(ValueError, match="unknown change 'cosine'; choose one of decorrelate_, "):
        dndiv.diagnose(net, batch, change="cosine")


def test_it_prints_as_text_and_as_html(net, batch):
    report = dndiv.diagnose(nn.ModuleDict({"a<b": net})["a<b"], batch)
    lines = str(report).splitlines()
    assert len({len(line) for line in lines[-4:-1]}) == 1 and lines[-4].startswith("0 ")
    page = report._repr_html_()
    assert page.count("<tr>") == 4 and page.count("<td>") == 3 * (len(TITLES) - 1)
    strange = Report((Layer("<b>", 1, 1, *[math.nan] * 9),), note="a < b")
    assert "<b>" not in strange._repr_html_() and "–" in str(strange)
    assert "a &lt; b" in strange._repr_html_() and str(strange).endswith("a < b")


GOOD = {"units": 10, "fan_in": 10, "rank": 9.0, "signal": 1.0, "gradient": 1.0}
GOOD |= dict.fromkeys(("weights", "activations", "weights_after", "activations_after"), 0.1)
GOOD |= dict.fromkeys(("dead", "duplicates"), 0.0)


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("weights", 0.95, "2: weights 0.95 > 0.9"),
        ("activations", 0.95, "2: activations 0.95 > 0.9"),
        ("rank", 0.9, "2: rank 0.9 < 0.1 × 10"),
        ("dead", 0.6, "2: dead 0.6 > 0.5"),
        ("duplicates", 0.6, "2: duplicates 0.6 > 0.5"),
        ("signal", 1e-4, "signal: from 0.0001 to 1, more than 1000-fold"),
        ("gradient", 0.0, "gradient: from 0 to 1, more than 10000-fold"),
    ],
)
def test_assert_healthy_names_what_is_not(key, value, message):
    one, two = Layer("1", **GOOD), Layer("2", **GOOD | {key: value})
    Report((one, one)).assert_healthy()
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        Report((one, two)).assert_healthy()
    Report((one, two)).assert_healthy(**{key: None})
    with pytest.raises(AssertionError, match="1: dead 0 > -1"):
        Report((one, one)).assert_healthy(dead=-1)


def test_what_cannot_be_diagnosed_is_refused_and_what_can_only_in_part_says_so(batch):
    with pytest.raises(ValueError, match="no linear or convolutional layer of ReLU is called"):
        dndiv.diagnose(nn.ReLU(), batch)
    with pytest.raises(ValueError, match="cannot be run on these inputs"):
        dndiv.diagnose(nn.Linear(3, 2), batch)
    frozen = dndiv.diagnose(nn.Linear(5, 2).requires_grad_(False), batch[:, 0, 0])
    assert math.isnan(frozen.layers[0].gradient) and "frozen" in frozen.note
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Linear(4, 2))
    report = dndiv.diagnose(normed, batch[:, 0, 0])
    assert [row.name for row in report.layers] == ["0", "1"]
    assert "layer '0': its weight is computed by a parametrization" in report.note


class Routed(nn.Module):
    """All rows pass one of two experts, chosen by a weight; the other is called without rows."""

    def __init__(self):
        super().__init__()
        self.route = nn.Parameter(torch.ones(()))
        self.experts = nn.ModuleList(nn.Linear(5, 4) for _ in range(2))

    def forward(self, x):
        rows = x.split([len(x), 0] if self.route > 0 else [0, len(x)])
        return torch.cat([expert(part) for expert, part in zip(self.experts, rows)])


def test_an_expert_without_rows_is_not_called_and_may_be_another_one_after_a_change(batch):
    report = dndiv.diagnose(Routed(), batch[:, 0, 0], change=lambda m: m.route.data.neg_())
    (row,) = report.layers
    assert row.name == "experts.0" and row.rank > 3
    assert math.isnan(row.weights_after) and math.isnan(row.activations_after)


def test_a_model_may_return_its_loss_alone_or_beside_other_outputs(net, batch):
    class WithLoss(nn.Module):
        def __init__(self, outputs):
            super().__init__()
            self.net, self.outputs = net, outputs

        def forward(self, x, labels):
            logits = self.net(x)
            return self.outputs(nn.functional.cross_entropy(logits, labels), logits)

    labels = torch.arange(80) % 3
    expected = dndiv.diagnose(net, batch, lambda out: nn.functional.cross_entropy(out, labels))
    for outputs in (
        lambda loss, logits: loss,
        lambda loss, logits: {"loss": loss, "logits": logits.detach(), "none": logits[:0]},
    ):
        report = dndiv.diagnose(WithLoss(outputs), (batch, labels))
        for row, other in zip(report.layers, expected.layers):
            assert row.gradient == pytest.approx(other.gradient, rel=1e-5)
    model = WithLoss(lambda loss, logits: (loss, logits))
    both = dndiv.diagnose(model, (batch, labels)).layers
    loss = dndiv.diagnose(model, (batch, labels), lambda out: out[0]).layers
    assert all(row.gradient > other.gradient > 0 for row, other in zip(both, loss))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_finding_that_names_the_layer(net, batch, broken):
    with torch.no_grad():
        net[5].weight[1, 2] = broken
    first, second, last = (report := dndiv.diagnose(net, batch)).layers
    assert first.rank > 0 and (second.units, second.fan_in) == (5, 54)
    assert all(math.isnan(getattr(second, k)) for k in ("weights", "rank", "dead", "duplicates"))
    with pytest.raises(AssertionError) as error:
        report.assert_healthy(signal=None, gradient=None)
    assert "5: signal not finite" in str(error.value) and "0: signal" not in str(error.value)
    root = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    nn.init.zeros_(root[2].weight)
    steep = dndiv.diagnose(root, batch[:, 0, 0, :2], lambda out: out.sqrt().sum())
    with pytest.raises(AssertionError, match="2: gradient not finite"):
        steep.assert_healthy()


def test_nothing_that_a_model_keeps_or_that_watches_it_is_disturbed(batch):
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            hidden = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4))
            self.net = nn.Sequential(hidden, nn.ReLU(), nn.Linear(4, 3))
            self.register_buffer("mean", torch.zeros(5))
            self.passes = 0

        def forward(self, x):
            self.passes += 1
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            return self.net(x - self.mean)

    x = batch[:, 0, 0]
    vectors = (model := Keeps()).net[0].parametrizations.weight[0]
    with torch.no_grad():
        model.net[0].parametrizations.weight.original.normal_()  # far from where _u belongs
    before = vectors._u.clone()
    assert len(dndiv.diagnose(model, x).layers) == 2
    assert torch.equal(vectors._u, before) and not model.mean.any() and not model.passes
    model.lock = threading.Lock()  # of which there is no copy
    report = dndiv.diagnose(model, x)
    assert len(report.layers) == 2 and "cannot be copied: cannot pickle" in report.note
    assert torch.equal(vectors._u, before) and model.passes == 1

    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with dndiv.Reinforcement(net, optimizer, "activation_decorrelation", 0.1) as diverse:
        loss = net(x).square().mean()
        expected = diverse.penalty()
        dndiv.diagnose(net, 100 * x)
        assert torch.equal(diverse.penalty(), expected)
        (loss + diverse.penalty()).backward()  # the graph is whole


def test_wrapped_and_patched_models_are_diagnosed_as_what_they_hold(batch):
    x, net = batch[:, 0, 0], nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    expected = dndiv.diagnose(net, x).layers
    patched = copy.deepcopy(net)
    patched.forward = lambda x, forward=patched.forward: forward(x)
    for wrapped in (nn.DataParallel(net), patched):
        for row, other in zip(dndiv.diagnose(wrapped, x).layers, expected, strict=True):
            assert row.name.endswith(other.name)
            assert (row.rank, row.gradient) == pytest.approx((other.rank, other.gradient))
