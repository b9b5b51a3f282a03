"""Pictures of diversity in training, and of what it predicts (02_diversity)."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd

from dndiv.paper import figures
from dndiv.paper.figures import drawing
from dndiv.paper.findings import mean_correlation
from dndiv.paper.names import DATA, MEASURES, STARTS, title

EPOCHS = "epoch (leftmost: before training)"


@drawing
def correlation_in_time(table: pd.DataFrame, steps_per_epoch: dict[str, int]) -> plt.Figure:
    """The correlations of one network's hidden units in the course of training, a row per data set.
    table: "portraits", of which the measure pair of the first seed is drawn."""
    pairs = table[(table.measure == "pair") & (table.seed == table.seed.min())]
    looks = pairs.groupby("data").epoch.rank("dense")  # data sets may be looked at at other times
    panels = figures.Panels(
        pairs.assign(look=looks), ["data"], ["look"], 1.75, 3, sharex=False, sharey=False
    )
    for ax, part, (name, _) in panels:
        grid = figures.square(part.value)
        shown = figures.matrix(ax, grid)
        step, r = part.epoch.iloc[0] * steps_per_epoch[name], mean_correlation(grid)
        ax.set_title(f"step {round(step):,}\nmean |r| {r:.2f}", fontsize="x-small")
    figures.colorbar(panels.figure, shown, "correlation", panels.axes.flat)
    return panels.finish("", [title(name, DATA) for (name,) in panels.rows])


@drawing
def trajectories(values: pd.DataFrame, label: str) -> plt.Figure:
    """A measure of the first, the middle and the last hidden layer in training: means over seeds
    with 95 % intervals, a panel per cell. Colours tell the layers, solid and dotted lines the arms.
    Columns: data, setting, optimizer, arm, seed, layer, epoch, value. label: of the measure."""
    names = ("first", "middle", "last")
    styles = dict(zip(dict.fromkeys(values.arm), ("-", ":")))
    panels = _in_training(values)
    for ax, part, _ in panels:
        last = part.layer.astype(int).max()
        shown = dict(zip(names, (1, (last + 1) // 2, last) if last > 2 else (1, last)))
        shown = {"only": 1} if last == 1 else shown
        for (arm, ls), (name, layer) in itertools.product(styles.items(), shown.items()):
            look = figures.looks(("only", *names))[name] | {"ls": ls, "marker": "", "lw": 1.5}
            look |= {"label": f"{name} hidden layer, {title(arm, STARTS)}"}
            group = part[(part.arm == arm) & (part.layer.astype(int) == layer)]
            figures.mean_line(ax, group, "epoch", look)
    note = f"means of {figures.seeds_text(values)} with 95 % intervals"
    return panels.finish(EPOCHS, label, f"{note}; grey line: end of the first epoch")


@drawing
def prediction_curves(found: pd.DataFrame) -> plt.Figure:
    """Rank correlation of diversity at an epoch with final accuracy, a line per measure, a panel
    per cell.
    Columns: data, setting, optimizer, measure, epoch, estimate, low, high, n."""
    looks = figures.looks(list(dict.fromkeys(found.measure)))
    panels = _in_training(found)
    for ax, part, _ in panels:
        for measure, line in part.groupby("measure", sort=False):
            line, look = line.sort_values("epoch"), looks[measure] | {"marker": "", "lw": 1.5}
            ax.plot(line.epoch, line.estimate, **look, label=title(measure, MEASURES))
            if measure == "effective_rank":  # one band stays legible; the others are as wide
                ax.fill_between(line.epoch, line.low, line.high, color="0.85", lw=0)
        ax.axhline(0, color="black", lw=1)
        ax.set_ylim(-1, 1)
    between = found.epoch.between(0, 1, inclusive="neither")  # looks that fewer networks have
    few, many = (figures.span(found.n[rows]) for rows in (between, ~between))
    note = f"ρ > 0: more diverse networks end more accurate; {many}, but between the first point "
    note += f"and the grey line, the end of the first epoch, {few}"
    note += "; band: 95 % interval of the effective rank's, the others' are as wide"
    return panels.finish(EPOCHS, "Spearman's ρ", note)


@drawing
def parts(found: dict[str, pd.DataFrame]) -> plt.Figure:
    """The three parts of what diversity predicts, as ``findings.parts`` gives them: a row per cell;
    in the grey, correlations that are too small to be of interest."""
    panels = figures.cell_estimates(found)
    figures.shade(panels, [part.margin.iloc[0] for part in found.values()])
    panels.axes[0, 0].set(xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1))
    return panels.finish("ρ, above zero as claimed (95 % interval)")


def _in_training(table: pd.DataFrame) -> figures.Panels:
    """Panels with epochs on a logarithmic axis, the start at half the time of the first look."""
    first = table[table.epoch > 0].epoch.min()
    shown = table.assign(epoch=table.epoch.where(table.epoch > 0, first / 2))
    panels = figures.cell_panels(shown, 2, sharey=True)
    for ax in panels.axes.flat:
        ax.set_xscale("log")
        ax.axvline(1, color="grey", lw=0.8)
    return panels
