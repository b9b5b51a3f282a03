"""Pictures of weights as they are drawn, and laws to compare them with (05_initialization)."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import gammaln

from dndiv.paper.design import PIXELS, SETTINGS
from dndiv.paper.figures import (
    Panels,
    colorbar,
    drawing,
    legend,
    looks,
    mark,
    matrix,
    row,
    seeds_text,
)


@drawing
def gram_matrices(matrices: pd.DataFrame) -> plt.Figure:
    """Heat maps of Gram matrices of unit rows, a row of panels per layer, a column per start.
    Columns: layer, start, i, j, cosine."""
    panels = Panels(matrices, ["layer"], ["start"], 2.4, across=2, sharex=False, sharey=False)
    for ax, part, (_, start) in panels:
        grid = part.pivot(index="i", columns="j", values="cosine").to_numpy()
        image = matrix(ax, grid)
        off = np.abs(grid[~np.eye(len(grid), dtype=bool)]).mean()
        ax.set_title(f"{start}\nmean |cos| off the diagonal {off:.3f}")
    colorbar(panels.figure, image, "cosine of two rows", panels.axes.flat)
    return panels.finish("", [layer for (layer,) in panels.rows])


def expected_similarity(fan_in):
    """Mean |cosine| of two independent isotropic directions, Γ(d/2) / (√π Γ((d+1)/2));
    ≈ sqrt(2/(π d)) for large d."""
    d = np.asarray(fan_in, float)
    return np.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)


def cosine_law(fan_in: int):
    """The law of (1 + cos)/2 of two independent isotropic directions in d dimensions:
    Beta((d−1)/2, (d−1)/2)."""
    from scipy import stats as laws  # slow to import

    return laws.beta((fan_in - 1) / 2, (fan_in - 1) / 2)


def with_fan_in(table: pd.DataFrame) -> pd.DataFrame:
    """The table "directions" with the fan-in of each row's layer. All settings draw their first
    layer from the same numbers: it is kept once, from the shallow setting."""
    layer = table.layer.astype(int)
    fan_in = [PIXELS if k == 1 else SETTINGS[s][k - 2] for s, k in zip(table.setting, layer)]
    return table.assign(fan_in=fan_in)[(layer > 1) | (table.setting == "shallow")]


@drawing
def similarity(table: pd.DataFrame, arms: dict[str, str]) -> plt.Figure:
    """Mean |cosine| of a layer's rows against its fan-in: mean and range over layers and seeds.
    table: as ``with_fan_in`` gives, its measure similarity. arms: name to label."""
    rows = table[(table.measure == "similarity") & table.arm.isin(arms)]
    figure, [ax] = row(1, 4, width=8)
    offsets = np.geomspace(1, 1.25, len(arms))  # the first arm at its place, the others beside it
    for (arm, label), offset, look in zip(arms.items(), offsets, looks(arms).values()):
        found = rows[rows.arm == arm].groupby("fan_in").value.agg(["mean", "min", "max"])
        reach = found["mean"] - found["min"], found["max"] - found["mean"]
        look = look | {"ls": "", "capsize": 2, "label": label}
        ax.errorbar(found.index * offset, found["mean"], yerr=reach, **look)
    d = np.geomspace(3.5, 900, 100)
    law = "expected of independent isotropic rows"
    ax.plot(d, expected_similarity(d), "k--", lw=1, label=law)
    ax.set(xscale="log", xlabel="fan-in of the layer")
    ax.set_ylabel("mean |cosine| of two rows of the layer")
    note = f"{seeds_text(rows)}; mean and range over layers and seeds"
    ax.set_title(f"What there is to decorrelate ({note})")
    mark(ax.xaxis, sorted(rows.fan_in.unique()))
    legend(figure, [ax])
    return figure


@drawing
def welch(table: pd.DataFrame) -> plt.Figure:
    """Total coherence Σ cos² against the number of rows, and its lower bound.
    Columns: fan_in (one value), units, start, coherence, bound."""
    figure, [ax] = row(1, 4, width=8)
    bound = table.drop_duplicates("units").sort_values("units")
    label = "lower bound: n, and n²/d beyond n = d (Welch)"
    ax.plot(bound.units, bound.bound, "k--", lw=1, label=label)
    for (start, part), look in zip(table.groupby("start", sort=False), looks(range(4)).values()):
        look = look | {"ls": "", "ms": 5, "alpha": 0.8, "label": start}
        ax.plot(part.units, part.coherence, **look)
    d = int(table.fan_in.iloc[0])
    ax.axvline(d, color="grey", lw=0.8)
    ax.set(yscale="log", xlabel=f"units n of a layer with fan-in d = {d}")
    ax.set_ylabel("total coherence: sum of cos² over all pairs of rows")
    ax.set_title("Decorrelated rows attain the bound")
    legend(figure, [ax])
    return figure


@drawing
def stochastic(table: pd.DataFrame, arms: dict[str, str]) -> plt.Figure:
    """Cosine of a row with the same row of an independent draw, and its law for isotropic
    directions: empirical distributions, a panel per fan-in.
    table: as ``with_fan_in`` gives, its measure row_cosine. arms: name to label."""
    rows = table[(table.measure == "row_cosine") & table.arm.isin(arms)]
    panels = Panels(rows.sort_values("fan_in"), [], ["fan_in"], 3.4, sharex=False, sharey=True)
    for ax, part, (fan_in,) in panels:
        for (arm, label), look in zip(arms.items(), [*looks(range(1 + len(arms))).values()][1:]):
            sample = part[part.arm == arm].value
            ax.ecdf(sample, **look | {"marker": "", "label": label})
        t = np.linspace(*ax.get_xlim(), 200)
        law = cosine_law(fan_in).cdf((1 + t) / 2)
        ax.plot(t, law, "k-", lw=1, label="law of independent isotropic rows")
        ax.set_title(f"fan-in {fan_in} (n = {len(sample)} pairs)")
    return panels.finish("cosine across two draws", "cumulative share of pairs of draws")


# ------------------------------------------------------------------------------- their numbers
def as_table(grams: dict[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """Gram matrices by layer and start in the columns that ``gram_matrices`` draws."""
    return pd.DataFrame(
        {"layer": layer, "start": start, "i": i, "j": j, "cosine": cosine}
        for (layer, start), gram in grams.items()
        for (i, j), cosine in np.ndenumerate(gram)
    )


def mean_similarity(table: pd.DataFrame) -> pd.DataFrame:
    """Mean |cosine| of two rows, a row per fan-in, a column per arm. table: as ``with_fan_in``
    gives."""
    rows = table[table.measure == "similarity"]
    return rows.pivot_table(index="fan_in", columns="arm", values="value")


def welch_bound(units: int, fan_in: int) -> float:
    """The least total coherence that unit rows can have (Welch 1974)."""
    return max(units, units**2 / fan_in)


def excess(table: pd.DataFrame) -> pd.Series:
    """By which share the total coherence exceeds its bound at most, by start. table: as ``welch``
    draws."""
    return (table.coherence / table.bound - 1).groupby(table.start).max()


def isotropy(table: pd.DataFrame, arms: dict[str, str]) -> pd.DataFrame:
    """Kolmogorov–Smirnov tests of what ``stochastic`` draws: a row per fan-in and arm.

    Columns: fan_in, draw (the arm's label), pairs, distance (the statistic D), p; mean, of the
    cosines, and error, its standard error.
    """
    from scipy import stats as laws

    rows = table[(table.measure == "row_cosine") & table.arm.isin(arms)]
    found = []
    for (fan_in, arm), part in rows.groupby(["fan_in", "arm"]):
        test = laws.kstest((1 + part.value) / 2, cosine_law(fan_in).cdf)
        moments = part.value.mean(), part.value.sem()
        found.append((fan_in, arms[arm], len(part), test.statistic, test.pvalue, *moments))
    return pd.DataFrame(
        found, columns=["fan_in", "draw", "pairs", "distance", "p", "mean", "error"]
    )
