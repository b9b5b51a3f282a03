"""Pictures of diversity in training, and of what it predicts (02_diversity)."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from dndiv.paper import figures
from dndiv.paper.findings import mean_correlation
from dndiv.paper.names import DATA, MEASURES, STARTS, title


def correlation_in_time(table: pd.DataFrame, steps_per_epoch: dict[str, int]) -> plt.Figure:
    """The correlations of one network's hidden units in the course of training, a row per data set.
    table: "portraits", of which the measure pair of the first seed is drawn."""
    pairs = table[(table.measure == "pair") & (table.seed == table.seed.min())]
    looks = pairs.groupby("data").epoch.rank("dense")  # data sets may be looked at at other times
    panels = figures.Panels(pairs.assign(look=looks), ["data"], ["look"], 1.9, 2.2)
    for ax, part, (name, _) in panels:
        grid = figures.square(part.value)
        shown = figures.matrix(ax, grid)
        step, r = part.epoch.iloc[0] * steps_per_epoch[name], mean_correlation(grid)
        ax.set_title(f"step {round(step):,}\nmean |r| {r:.2f}", fontsize="x-small")
    panels.figure.colorbar(shown, ax=panels.axes, label="correlation", shrink=0.7)
    return panels.finish("", [title(name, DATA) for (name,) in panels.rows])


def trajectories(values: pd.DataFrame, label: str) -> plt.Figure:
    """A measure per layer in training: means over seeds with 95 % intervals, a panel per cell.
    Columns: data, setting, optimizer, arm, seed, layer, epoch, value. Solid and dotted lines tell
    the arms, colours the layers. label: of the measure."""
    styles = dict(zip(dict.fromkeys(values.arm), ("-", ":", "--", "-.")))
    colors = sns.color_palette("viridis", values.layer.astype(int).max())
    panels = _in_training(values, label)
    for ax, part, _ in panels:
        for (arm, layer), group in part.groupby(["arm", "layer"], sort=False):
            by = group.groupby("epoch").value
            mean, half, color = by.mean(), 1.96 * by.sem(), colors[int(layer) - 1]
            ax.plot(mean.index, mean, styles[arm], color=color, lw=1.3)
            ax.fill_between(mean.index, mean - half, mean + half, color=color, alpha=0.15, lw=0)
    looks = {f"hidden layer {k}": {"color": color} for k, color in enumerate(colors, 1)}
    looks |= {title(arm, STARTS): {"color": "black", "ls": style} for arm, style in styles.items()}
    for text, look in looks.items():
        panels.axes[0, 0].plot([], [], label=text, **look)  # for the legend
    seeds = figures.seeds_text(values)
    note = f"means of {seeds} with 95 % intervals; grey line: end of the first epoch"
    return panels.finish(title=note, fontsize="small")


def prediction_curves(found: pd.DataFrame) -> plt.Figure:
    """Rank correlation of diversity at an epoch with final accuracy, a line per measure, a panel
    per cell.
    Columns: data, setting, optimizer, measure, epoch, estimate, low, high, n."""
    colors = dict(zip(dict.fromkeys(found.measure), sns.color_palette("colorblind")))
    panels = _in_training(found, "Spearman's ρ")
    for ax, part, _ in panels:
        for measure, line in part.groupby("measure", sort=False):
            line = line.sort_values("epoch")
            look = {"color": colors[measure], "label": title(measure, MEASURES)}
            ax.plot(line.epoch, line.estimate, **look)
            if measure == "effective_rank":  # one band stays legible; the others are as wide
                look = {"color": colors[measure], "alpha": 0.15, "lw": 0}
                ax.fill_between(line.epoch, line.low, line.high, **look)
        ax.axhline(0, color="black", lw=1)
        ax.set_ylim(-1, 1)
    note = f"ρ > 0: more diverse networks end more accurate; {figures.seeds_text(found)}"
    note += "; band: 95 % interval of the effective rank's"
    return panels.finish(title=note, fontsize="small")


def parts(found: dict[str, pd.DataFrame]) -> plt.Figure:
    """The three parts of what diversity predicts, as ``findings.parts`` gives them: a row per cell;
    in the grey, correlations that are too small to be of interest."""
    panels = figures.cell_estimates(found)
    for ax, part in zip(panels.axes[0], found.values()):
        margin = part.margin.iloc[0]
        ax.axvspan(-margin, margin, color="grey", alpha=0.2, lw=0)
        ax.set_xlim(-1, 1)
    return panels.finish("ρ, above zero as claimed\n(95 % interval)")


def _in_training(table: pd.DataFrame, label: str) -> figures.Panels:
    """Panels with epochs on a logarithmic axis, the start at half the time of the first look."""
    first = table[table.epoch > 0].epoch.min()
    shown = table.assign(epoch=table.epoch.where(table.epoch > 0, first / 2))
    panels = figures.cell_panels(shown, 2.5, sharey=True)
    for ax in panels.axes.flat:
        ax.set_xscale("log")
        ax.axvline(1, color="grey", lw=0.8)
    panels.finish("epoch (leftmost: before training)", label)
    return panels
