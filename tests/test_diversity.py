"""The measures against NumPy and SciPy one pair at a time, closed forms, and degenerate layers."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

import dndiv
from dndiv import diversity as d

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def relu_layer(units=6, samples=50, seed=0):
    h = random(units, samples, seed=seed).relu()
    h[1] = 0  # dead
    h[4] = 0.7  # constant
    return h


def by_pairs(values, function, keep):
    """Mean |.|, max |.| and signed mean over i < j of the kept rows, one pair at a time."""
    rows = [values[i].double().numpy() for i in keep]
    found = [function(rows[i], rows[j]) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    return {"mean": np.mean(np.abs(found)), "max": np.max(np.abs(found)), "signed": np.mean(found)}


def cosine(a, b):
    return a @ b / math.sqrt((a @ a) * (b @ b))


def assert_close(found, expected, tolerance=1e-9):
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(
            value, rel=tolerance, abs=tolerance, nan_ok=True
        ), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "dtype, tolerance",
    [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float32, 1e-5), (torch.float64, 1e-9)],
)
@pytest.mark.parametrize("shape", [(2, 3), (5, 9), (9, 5), (16, 784)])
def test_weight_similarity_pair_by_pair(shape, dtype, tolerance, device):
    w = random(*shape, dtype=dtype)
    assert_close(
        d.weight_similarity(w.to(device)),
        by_pairs(w, cosine, range(shape[0])) | {"left_out": 0},
        tolerance,
    )


@pytest.mark.parametrize("device", DEVICES)
def test_activation_correlation_pair_by_pair_without_constant_units(device):
    h = relu_layer()
    expected = by_pairs(h, lambda a, b: scipy.stats.pearsonr(a, b).statistic, [0, 2, 3, 5])
    assert_close(d.activation_correlation(h.to(device)), expected | {"left_out": 2})


def test_zero_rows_are_left_out_and_counted():
    w = random(4, 6)
    w[2] = 0
    assert_close(d.weight_similarity(w), by_pairs(w, cosine, [0, 1, 3]) | {"left_out": 1})


@pytest.mark.parametrize("function", [d.weight_similarity, d.activation_correlation])
def test_without_a_pair_the_result_is_nan_beside_the_count(function):
    for layer, left_out in ((random(1, 5), 0), (torch.zeros(3, 5), 3)):
        found = function(layer)
        assert (
            all(found[name].isnan() for name in ("mean", "max", "signed"))
            and found["left_out"] == left_out
        )


def test_closed_forms_of_similarity():
    orthogonal = dndiv.decorrelated_(random(4, 9))
    assert_close(d.weight_similarity(orthogonal), {"mean": 0, "max": 0, "signed": 0})
    assert_close(
        d.weight_similarity(dndiv.simplex_(random(5, 9))),
        {"mean": 0.25, "max": 0.25, "signed": -0.25},
    )
    twin = random(1, 9).repeat(3, 1) * torch.tensor([[1.0], [2.0], [-3.0]])
    assert_close(d.weight_similarity(twin), {"mean": 1, "max": 1, "signed": -1 / 3})
    assert_close(d.activation_correlation(twin + 5), {"mean": 1, "max": 1, "signed": -1 / 3})


def test_a_large_offset_does_not_hide_that_a_unit_varies_nor_noise_that_it_does_not():
    h = random(3, 100).float()
    h[0] += 100
    assert d.activation_correlation(h)["left_out"] == 0
    h[1] = 1e6 + 1e-3 * h[1]  # below float32's resolution
    assert d.activation_correlation(h)["left_out"] == 1


@pytest.mark.parametrize("units, samples", [(6, 40), (40, 6)])
def test_effective_rank_and_participation_ratio_against_numpy(units, samples):
    h = random(units, samples)
    centred = h.numpy() - h.numpy().mean(1, keepdims=True)
    s = np.linalg.svd(centred, compute_uv=False)
    assert d.effective_rank(h).item() == pytest.approx(
        math.exp(scipy.stats.entropy(s / s.sum())), rel=1e-5
    )
    eigenvalues = np.linalg.eigvalsh(np.cov(h.numpy()))
    assert d.participation_ratio(h).item() == pytest.approx(
        eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    )


def test_closed_forms_of_rank():
    one = random(1, 50).repeat(5, 1) * torch.arange(1.0, 6)[:, None]
    assert d.effective_rank(one).item() == pytest.approx(1, abs=1e-4)
    assert d.participation_ratio(one).item() == pytest.approx(1)
    centred = random(4, 50) - random(4, 50).mean(1, keepdim=True)
    white = torch.linalg.qr(centred.T)[0].T
    assert d.effective_rank(white).item() == pytest.approx(4) and d.participation_ratio(
        white
    ).item() == pytest.approx(4)
    for constant in (torch.zeros(3, 10), torch.full((3, 10), 0.1)):
        assert d.effective_rank(constant) == 0 and d.participation_ratio(constant) == 0


def test_dead_and_duplicate_units():
    h = relu_layer()
    assert d.dead_fraction(h).item() == pytest.approx(1 / 6)
    assert d.duplicate_fraction(h).item() == 0
    h[3] = 2 * h[0] + 1
    assert d.duplicate_fraction(h).item() == pytest.approx(2 / 6)
    nearest = d.nearest_similarity(h)
    assert nearest[0].item() == pytest.approx(1) and nearest[[1, 4]].isnan().all()
    rows = [i for i in range(6) if i not in (1, 4)]
    expected = max(abs(np.corrcoef(h[2], h[j])[0, 1]) for j in rows if j != 2)
    assert nearest[2].item() == pytest.approx(expected)
    assert d.nearest_similarity(h[:1]).isnan().all()


def test_log_volume_against_the_determinant():
    w = random(4, 7)
    unit = torch.nn.functional.normalize(w, dim=1).numpy()
    assert d.log_volume(w).item() == pytest.approx(np.linalg.slogdet(unit @ unit.T)[1])
    assert d.log_volume(dndiv.decorrelated_(random(4, 7))).item() == pytest.approx(0, abs=1e-9)
    assert (
        d.log_volume(torch.ones(2, 5)) == -math.inf and d.log_volume(torch.zeros(2, 5)) == -math.inf
    )
    n = 5  # the simplex of n rows spans n − 1 dimensions; of its first k rows the volume is known
    simplex = dndiv.simplex_(random(n, 7))[:2]
    assert d.log_volume(simplex).item() == pytest.approx(math.log(1 - 1 / (n - 1) ** 2))
    with pytest.raises(ValueError, match="5 rows of fan-in 3 are dependent"):
        d.log_volume(random(5, 3))


@pytest.mark.parametrize(
    "function",
    [
        d.weight_similarity,
        d.activation_correlation,
        d.effective_rank,
        d.participation_ratio,
        d.dead_fraction,
        d.duplicate_fraction,
        d.nearest_similarity,
        d.log_volume,
    ],
)
def test_a_population_is_measured_as_its_networks_are(function):
    batch = torch.stack([random(4, 30, seed=s).relu() for s in range(6)])
    batch[2, 1], batch[3, :] = 0, 0.5
    together = function(batch.view(2, 3, 4, 30))
    for k in range(6):
        alone = function(batch[k])
        for name in alone if isinstance(alone, dict) else [None]:
            a, b = (x[name] if name else x for x in (alone, together))
            torch.testing.assert_close(b[k // 3, k % 3].double(), a.double(), equal_nan=True)


@pytest.mark.parametrize("bad", [torch.ones(3), torch.ones(2, 2, dtype=torch.int64)])
def test_what_is_no_layer_is_refused(bad):
    with pytest.raises(ValueError, match=r"floating-point values \[..., units"):
        d.effective_rank(bad)


def test_the_members_mean_is_the_layers_output():
    h, v, b = random(3, 5, 20), random(3, 4, 5, seed=1), random(3, 4, seed=2)
    members = d.ensemble_members(h, v, b)
    assert members.shape == (3, 5, 4, 20)
    torch.testing.assert_close(members.mean(1), v @ h + b[..., None])


def test_ambiguity_decomposition_is_exact_and_equals_loops():
    members, target = random(5, 4, 20), random(4, 20, seed=3)
    found = d.ambiguity(members, target)
    assert found["ensemble"].item() == pytest.approx(
        (found["member"] - found["ambiguity"]).item(), rel=1e-12
    )
    f = members.numpy()
    expected = np.mean(
        [
            np.mean([((f[i, :, n] - f[:, :, n].mean(0)) ** 2).sum() for i in range(5)])
            for n in range(20)
        ]
    )
    assert found["ambiguity"].item() == pytest.approx(expected)
    same = d.ambiguity(members[:1].repeat(5, 1, 1), target)
    assert same["ambiguity"].item() == pytest.approx(0, abs=1e-20) and same[
        "ensemble"
    ].item() == pytest.approx(same["member"].item())


@pytest.mark.parametrize("units", [1, 5])
def test_bias_variance_covariance_is_exact_and_equals_loops(units):
    members, target = random(7, units, 4, 20), random(4, 20, seed=3)
    found = {k: v.item() for k, v in d.bias_variance_covariance(members, target).items()}
    total = found["bias"] + found["variance"] / units + (1 - 1 / units) * found["covariance"]
    assert found["error"] == pytest.approx(total, rel=1e-12)
    f = members.numpy()
    deviation = f - f.mean(0)
    if units > 1:
        pairs = [
            (deviation[:, i] * deviation[:, j]).mean(0).sum(0).mean()
            for i in range(units)
            for j in range(units)
            if i != j
        ]
        assert found["covariance"] == pytest.approx(np.mean(pairs))
    assert found["variance"] == pytest.approx(
        np.mean([f[:, i].var(0).sum(0).mean() for i in range(units)])
    )
    with pytest.raises(ValueError, match="needs at least two, not 1"):
        d.bias_variance_covariance(members[:1], target)
