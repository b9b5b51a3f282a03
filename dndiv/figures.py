"""Pictures of tables. A figure is a function of tables alone; each is kept as PNG and PDF with its table as CSV."""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Image
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import stats as laws
from scipy.special import gammaln

from dndiv.table import CELL, OPTIMIZERS, PIXELS, REFERENCE, RESULTS, SETTINGS, TITLES, atomically, hidden_layers

LABELS = {
    "default": "PyTorch's default", "zero_bias": "biases zero", "he_scale": "He's scale", "equal_norms": "equal norms",
    "decorrelated": "decorrelated", "standardized": "standardized", "alive": "alive", "simplex": "simplex",
    "simplex_standardized": "simplex, standardized", "simplex_alive": "simplex, alive",
    "default_decorrelated": "default, decorrelated", "default_simplex": "default, simplex",
    "default_gram": "default, Gram ascent", "glorot": "Glorot", "he": "He", "orthogonal": "orthogonal",
    "sparse": "sparse", "lsuv": "LSUV", "standard_normal": "standard normal",
}
CELL_STYLE = {  # colour tells the data set, filling the optimizer
    (name, optimizer): dict(color=color, mfc=color if optimizer == "adam" else "white")
    for name, color in zip(TITLES, sns.color_palette("colorblind", 3)) for optimizer in OPTIMIZERS
}
RUNGS = {  # each step of the ladder: (label, arm, the arm it is compared with)
    "biases to zero": ("zero_bias", "default"),
    "scale to He's": ("he_scale", "zero_bias"),
    "equalize norms": ("equal_norms", "he_scale"),
    "decorrelate rows": ("decorrelated", "equal_norms"),
    "standardize units": ("standardized", "decorrelated"),
    "raise biases (alive)": ("alive", "standardized"),
}
DIRECTIONS = {  # directions alone: same draw, norms and biases on both sides
    "decorrelated, default scale": ("default_decorrelated", "default"),
    "Gram ascent, default scale": ("default_gram", "default"),
    "simplex, default scale": ("default_simplex", "default"),
    "decorrelated, He's scale": ("decorrelated", "equal_norms"),
    "simplex, He's scale": ("simplex", "equal_norms"),
    "simplex for decorrelated, standardized": ("simplex_standardized", "standardized"),
    "simplex for decorrelated, alive": ("simplex_alive", "alive"),
}


def style() -> None:
    """The look of all figures; called once at the top of a notebook."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", font_scale=0.85,
                  rc={"axes.grid": True, "grid.alpha": 0.3, "figure.dpi": 90, "savefig.dpi": 150, "pdf.fonttype": 42,
                      "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True})


def save(figure: Figure, name: str, table: pd.DataFrame, preset: str) -> Image:
    """Keep a figure and its table under ``results/<preset>/figures``, and return its picture to be shown.

    The committed reference is not written: it is what the last full run has left. A figure of the embedded digits
    says so below.
    """
    if "data" in table and (table["data"] == "Digits").any():
        figure.supxlabel("Embedded digits, not MNIST or Fashion-MNIST: this decides no claim about them.",
                         color="firebrick", fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # drawn once: this is what is shown, too
    if preset != REFERENCE:
        folder = RESULTS / preset / "figures"
        figure.set_layout_engine("none")  # as laid out
        atomically(folder / f"{name}.png", lambda part: part.write_bytes(buffer.getvalue()))
        atomically(folder / f"{name}.pdf", lambda part: figure.savefig(part, format="pdf", metadata={"CreationDate": None}))
        atomically(folder / f"{name}.csv", lambda part: table.to_csv(part, index=False, lineterminator="\n"))
    plt.close(figure)
    return Image(buffer.getvalue(), width=round(figure.get_figwidth() * plt.rcParams["figure.dpi"]))


def seeds_text(table: pd.DataFrame) -> str:
    """The number of seeds, of all arms or from arm to arm."""
    counts = table.groupby("arm").seed.nunique()
    return f"n = {_range(counts)} seeds"


def _range(counts: pd.Series) -> str:
    return f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


# ------------------------------------------------------------------------------------------------ 05_initialization
def gram_matrices(matrices: pd.DataFrame) -> Figure:
    """Heat maps of Gram matrices of unit rows. Columns: layer, start, i, j, cosine; a row of panels per layer."""
    layers, starts = list(dict.fromkeys(matrices.layer)), list(dict.fromkeys(matrices.start))
    figure, axes = plt.subplots(len(layers), len(starts), figsize=(2.5 * len(starts), 2.5 * len(layers)), squeeze=False)
    for line, layer in zip(axes, layers):
        for ax, start in zip(line, starts):
            part = matrices[(matrices.layer == layer) & (matrices.start == start)]
            grid = part.pivot(index="i", columns="j", values="cosine").to_numpy()
            image = ax.imshow(grid, vmin=-1, vmax=1, cmap="RdBu_r")
            off = np.abs(grid[~np.eye(len(grid), dtype=bool)])
            ax.set_title(f"{start}\nmean |cos| off the diagonal {off.mean():.3f}", fontsize="small")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        line[0].set_ylabel(layer)
    figure.colorbar(image, ax=axes, label="cosine of two rows", shrink=0.6)
    return figure


def expected_similarity(fan_in):
    """Mean |cosine| of two independent isotropic directions, Γ(d/2) / (√π Γ((d+1)/2)); ≈ sqrt(2/(π d)) for large d."""
    d = np.asarray(fan_in, float)
    return np.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)


def with_fan_in(table: pd.DataFrame) -> pd.DataFrame:
    """The table of the experiment "directions" with the fan-in of each row's layer.

    All settings draw their first layer from the same numbers: it is kept once, from the shallow setting.
    """
    layer = table.layer.astype(int)
    fan_in = [PIXELS if k == 1 else SETTINGS[s][k - 2] for s, k in zip(table.setting, layer)]
    return table.assign(fan_in=fan_in)[(layer > 1) | (table.setting == "shallow")]


def similarity(table: pd.DataFrame, arms: dict[str, str]) -> Figure:
    """Mean |cosine| of a layer's rows against its fan-in, before training, a marker per layer and seed.

    table: of the experiment "directions", with a column fan_in. arms: name to label.
    """
    rows = table[(table.measure == "similarity") & table.arm.isin(arms)]
    figure, ax = plt.subplots(figsize=(7, 4))
    offsets = np.geomspace(1, 1.5, len(arms))  # the first arm at its place, the others beside it
    for (arm, label), offset, color in zip(arms.items(), offsets, sns.color_palette("colorblind")):
        part = rows[rows.arm == arm]
        mean = part.groupby("fan_in").value.agg(["mean", "min", "max"])
        x = mean.index.to_numpy() * offset
        ax.errorbar(x, mean["mean"], yerr=[mean["mean"] - mean["min"], mean["max"] - mean["mean"]], fmt="o", color=color,
                    label=label, capsize=2)
    d = np.geomspace(3.5, 900, 100)
    ax.plot(d, expected_similarity(d), "k--", lw=1, label="expected of independent isotropic rows")
    ax.set(xscale="log", xlabel="fan-in of the layer", ylabel="mean |cosine| of two rows of the layer",
           title=f"What there is to decorrelate ({seeds_text(rows)}; mean and range over layers and seeds)")
    ticks = sorted(rows.fan_in.unique())
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.legend(frameon=False)
    return figure


def welch(table: pd.DataFrame) -> Figure:
    """Total coherence Σ cos² against the number of rows. Columns: fan_in, units, start, coherence, bound."""
    figure, ax = plt.subplots(figsize=(7, 4))
    bound = table.drop_duplicates("units").sort_values("units")
    ax.plot(bound.units, bound.bound, "k--", lw=1, label="lower bound: n, and n²/d beyond n = d (Welch)")
    for start, marker, color in zip(dict.fromkeys(table.start), "osD^", sns.color_palette("colorblind")):
        part = table[table.start == start]
        ax.plot(part.units, part.coherence, marker, ms=5, color=color, label=start, alpha=0.8)
    d = int(table.fan_in.iloc[0])
    ax.axvline(d, color="grey", lw=0.8)
    ax.set(xlabel=f"units n of a layer with fan-in d = {d}", ylabel="total coherence  $\\Sigma_{ij}\\,\\cos^2(w_i, w_j)$",
           yscale="log", title="Decorrelated rows attain the bound on either side of n = d")
    ax.legend(frameon=False)
    return figure


def stochastic(table: pd.DataFrame, arms: dict[str, str]) -> Figure:
    """Cosine of a row with the same row of an independent draw, against its law for isotropic directions.

    table: of the experiment "directions", with a column fan_in; a panel per fan-in, the empirical distributions.
    """
    rows = table[(table.measure == "row_cosine") & table.arm.isin(arms)]
    fans = sorted(rows.fan_in.unique())
    figure, axes = plt.subplots(1, len(fans), figsize=(4 * len(fans), 3.8), sharey=True, squeeze=False)
    for ax, fan_in in zip(axes[0], fans):
        for (arm, label), color in zip(arms.items(), sns.color_palette("colorblind")):
            sample = rows[(rows.arm == arm) & (rows.fan_in == fan_in)].value
            ax.ecdf(sample, color=color, label=f"{label} (n = {len(sample)})")
        t = np.linspace(*ax.get_xlim(), 200)
        ax.plot(t, cosine_law(fan_in).cdf((1 + t) / 2), "k--", lw=1, label="law of independent isotropic rows")
        ax.set(xlabel="cosine across two draws", title=f"fan-in {fan_in}")
        ax.legend(frameon=False, fontsize="x-small", loc="lower right")
    axes[0][0].set_ylabel("cumulative share of pairs of draws")
    return figure


def cosine_law(fan_in: int):
    """The law of (1 + cos)/2 of two independent isotropic directions in d dimensions: Beta((d−1)/2, (d−1)/2)."""
    return laws.beta((fan_in - 1) / 2, (fan_in - 1) / 2)


# ------------------------------------------------------------------------------------------------- 06_early_epochs
def cells(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(data set, optimizer) as they stand in a table."""
    return list(table[["data", "optimizer"]].drop_duplicates().itertuples(index=False, name=None))


def cell_title(name: str, optimizer: str) -> str:
    return f"{TITLES[name]}, {OPTIMIZERS[optimizer]}"


def setting_title(setting: str) -> str:
    hidden = hidden_layers(setting)
    name = f"{setting}, " if setting in SETTINGS else ""
    return f"{name}{len(hidden)} layer{'s' * (len(hidden) > 1)} of {hidden[0]}"


def curves(table: pd.DataFrame, arms: tuple[str, ...]) -> Figure:
    """Test accuracy by epoch: every seed thin, the mean thick with its 95 % interval; a panel per cell and setting."""
    rows = table[(table.measure == "accuracy") & table.arm.isin(arms)]
    lines, settings = cells(rows), list(dict.fromkeys(rows.setting))
    figure, axes = plt.subplots(len(lines), len(settings), figsize=(4 * len(settings), 2.7 * len(lines)), sharex=True,
                                sharey=True, squeeze=False)
    palette = dict(zip(arms, sns.color_palette("colorblind", len(arms))))
    for axline, (name, optimizer) in zip(axes, lines):
        for ax, setting in zip(axline, settings):
            part = rows[(rows.data == name) & (rows.optimizer == optimizer) & (rows.setting == setting)]
            for arm in arms:
                wide = 100 * part[part.arm == arm].pivot(index="epoch", columns="seed", values="value")
                ax.plot(wide.index, wide, color=palette[arm], lw=0.4, alpha=0.3)
                mean, sem = wide.mean(axis=1), wide.sem(axis=1)
                half = sem * laws.t.ppf(0.975, max(wide.shape[1] - 1, 1))
                ax.plot(wide.index, mean, "o-", ms=3, color=palette[arm], lw=2, label=LABELS[arm])
                ax.fill_between(wide.index, mean - half, mean + half, color=palette[arm], alpha=0.25, lw=0)
            ax.set_title(f"{cell_title(name, optimizer)}: {setting_title(setting)}", fontsize="small")
            ax.set(ylim=(0, 100), xticks=sorted(rows.epoch.unique()))
        axline[0].set_ylabel("test accuracy, %")
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(arms), frameon=False,
                  title=f"each thin line a seed, thick the mean of {seeds_text(rows)} with its 95 % interval")
    return figure


def forest(effects: pd.DataFrame, columns: dict[str, pd.DataFrame], published: float | None = None) -> Figure:
    """Effects with intervals, a row per cell and setting, a panel per comparison, on a common ratio axis.

    columns: title to the part of ``effects`` that the panel shows. published: a value to mark in the first panel.
    """
    rows = list(effects[CELL].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = plt.subplots(1, len(columns), figsize=(4 * len(columns) + 3, 0.42 * len(rows) + 1.6), sharey=True,
                                sharex=True, squeeze=False)
    for ax, (title, part) in zip(axes[0], columns.items()):
        ax.axvline(1, color="black", lw=1)
        for y, cell in enumerate(rows):
            found = part[(part[CELL] == cell).all(axis=1)].iloc[0]
            _interval(ax, y, found, CELL_STYLE[cell[0], cell[2]])
            ax.annotate(f"{100 * found.estimate:+.1f} %", (1.01, y), xycoords=("axes fraction", "data"), va="center",
                        fontsize="small")
        ax.set_title(title)
        _ratio_axis(ax, effects)
    if published is not None:
        axes[0][0].axvline(1 + published, color="firebrick", ls="--", lw=1.2)
        axes[0][0].annotate(f"the paper: {published:+.0%}", (1 + published, -0.7), xytext=(4, 0), color="firebrick",
                            textcoords="offset points", fontsize="small")
    axes[0][0].set_yticks(range(len(rows)), [f"{cell_title(n, o)}: {setting_title(s)}" for n, s, o in rows])
    axes[0][0].set_ylim(len(rows) - 0.5, -1.1)
    return figure


def rungs(effects: pd.DataFrame, steps: dict[str, tuple[str, str]]) -> Figure:
    """The effect of each step, a panel per setting, the cells side by side. steps: label to (treated, baseline)."""
    settings, lines = list(dict.fromkeys(effects.setting)), cells(effects)
    figure, axes = plt.subplots(1, len(settings), figsize=(4.6 * len(settings), 0.62 * len(steps) + 2), sharey=True,
                                sharex=True, squeeze=False)
    offsets = np.linspace(-0.3, 0.3, len(lines))
    for ax, setting in zip(axes[0], settings):
        ax.axvline(1, color="black", lw=1)
        for y, (treated, baseline) in enumerate(steps.values()):
            part = effects[(effects.setting == setting) & (effects.treated == treated) & (effects.baseline == baseline)]
            for (name, optimizer), offset in zip(lines, offsets):
                found = part[(part.data == name) & (part.optimizer == optimizer)].iloc[0]
                _interval(ax, y + offset, found, CELL_STYLE[name, optimizer], label=cell_title(name, optimizer))
            if y % 2:
                ax.axhspan(y - 0.5, y + 0.5, color="grey", alpha=0.08, lw=0)
        ax.set_title(f"{setting_title(setting)}, n = {_range(effects.n)} seeds")
        _ratio_axis(ax, effects)
    axes[0][0].set_yticks(range(len(steps)), list(steps))
    axes[0][0].set_ylim(len(steps) - 0.5, -0.5)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(*zip(*dict(zip(labels, zip(handles, labels))).values()), loc="outside upper center",
                  ncols=len(lines), frameon=False)
    return figure


def _interval(ax, y, found, look, label=None):
    x = 1 + found.estimate
    low, high = (x if math.isnan(v) else 1 + v for v in (found.low, found.high))
    ax.errorbar(x, y, xerr=[[max(x - low, 0)], [max(high - x, 0)]], fmt="o", ms=5, capsize=2, lw=1.5, label=label, **look)


def _ratio_axis(ax, effects):
    """A logarithmic axis of ratios, labelled as relative changes, wide enough for all of ``effects``."""
    low = np.nanmin([*(1 + effects.low), *(1 + effects.estimate)])
    high = np.nanmax([*(1 + effects.high), *(1 + effects.estimate)])
    low, high = min(low, 0.95) / 1.03, max(high, 1.05) * 1.03
    ticks = {1.6: [0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5],  # as many as the width takes
             3.5: [0.4, 0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.4, 1.7, 2, 2.5, 3],
             math.inf: [0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.4, 2, 3, 4, 6, 10]}
    chosen = next(marks for width, marks in ticks.items() if high / low < width)
    ax.set(xscale="log", xlim=(low, high), xlabel="change of early accuracy (95 % interval)")
    ax.xaxis.set_major_locator(FixedLocator([t for t in chosen if low <= t <= high]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * (v - 1):+.0f} %" if v != 1 else "0"))


def heatmap(early: pd.DataFrame, arms: dict[str, str]) -> Figure:
    """Mean early accuracy of every arm in every cell, annotated; colours compare the arms within a column.

    early: as ``stats.early_accuracy`` gives. arms: name to label, in the order of the rows.
    """
    mean = 100 * early.groupby(level=CELL, sort=False).mean()[list(arms)].T
    mean = mean[sorted(mean.columns, key=lambda cell: list(SETTINGS).index(cell[1]))]
    relative = mean.sub(mean.min(), axis=1).div((mean.max() - mean.min()).clip(lower=1e-9), axis=1)
    figure, ax = plt.subplots(figsize=(1.05 * mean.shape[1] + 3, 0.36 * len(mean) + 2))
    sns.heatmap(relative, annot=mean, fmt=".1f", cmap="viridis", ax=ax, cbar=False, annot_kws={"fontsize": "small"})
    ax.set_yticklabels([arms[a] for a in mean.index], rotation=0)
    ax.set_xticklabels([f"{TITLES[n]}\n{s}\n{OPTIMIZERS[o]}" for n, s, o in mean.columns], rotation=0,
                       fontsize="small")
    ax.set(xlabel="", ylabel="", title="Early accuracy, %: mean test accuracy of epochs 1 to 5 (brightest: best of the column), "
           f"n = {early.index.get_level_values('seed').nunique()} seeds")
    return figure


# ---------------------------------------------------------------------------------------------------- 00_overview
def samples(images: pd.DataFrame) -> Figure:
    """Sample images, a row of panels per data set and sample, a column per class.

    Columns: data, class, sample, pixel, value; images are square.
    """
    sets = list(dict.fromkeys(images["data"]))
    deep = images["sample"].nunique()
    figure = plt.figure(figsize=(10, 3.4 * len(sets)))
    for part, name in zip(np.atleast_1d(figure.subfigures(len(sets), 1)), sets):
        here = images[images["data"] == name]
        classes = list(dict.fromkeys(here["class"]))
        part.suptitle(TITLES[name])
        axes = part.subplots(deep, len(classes), squeeze=False)
        for column, label in zip(axes.T, classes):
            column[0].set_title(label, fontsize="small")
            for ax, (_, pixels) in zip(column, here[here["class"] == label].groupby("sample")):
                side = math.isqrt(len(pixels))
                ax.imshow(pixels.value.to_numpy().reshape(side, side), cmap="gray_r")
                ax.set_axis_off()
    return figure
