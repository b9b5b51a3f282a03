"""Pictures of techniques that reinforce diversity, and of what they do (03_reinforcement)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import CenteredNorm

from dndiv.paper import figures
from dndiv.paper.design import GRID
from dndiv.paper.figures.early import rungs
from dndiv.paper.names import CELL, OPTIMIZERS, TECHNIQUES, title


def overview(panels: dict[str, pd.DataFrame], columns: list[tuple]) -> plt.Figure:
    """All techniques in one picture: heat maps of changes, a row per technique, a column per cell.
    panels: title (its last words say which colour is good: "(red: …)") to a table of data, setting,
    optimizer, treated, estimate, low, high. columns: cells in the order shown. A dot marks an
    interval that excludes zero."""
    size = 13, 2.9 * len(panels)
    figure, axes = plt.subplots(len(panels), figsize=size, sharex=True, squeeze=False)
    labels = [text.replace("-", "-\n") for text in figures.cell_columns(columns)]
    columns = pd.MultiIndex.from_tuples(columns, names=CELL)
    for ax, (heading, found) in zip(axes[:, 0], panels.items()):
        sure = (found.low > 0) | (found.high < 0)
        texts = [f"{100 * v:+.1f}{' •' * dot}" for v, dot in zip(found.estimate, sure)]
        wide = found.assign(text=texts).set_index(["treated", *CELL]).unstack(CELL, sort=False)
        texts = wide["text"].reindex(columns=columns).fillna("")
        changes = 100 * wide["estimate"].reindex(columns=columns)
        half = min(float(np.nanmax(np.abs(changes))), 30.0)
        figures.annotated(
            ax, changes, texts, [figures.arm_title(arm) for arm in wide.index], labels,
            fmt="", cmap="RdBu_r", vmin=-half, vmax=half, annot_kws={"fontsize": "small"},
            cbar_kws={"label": "change, %"}, linewidths=0.5,
        )  # fmt: skip
        ax.set_title(heading, fontsize="medium")
    axes[-1, 0].set_xlabel("•: the 95 % interval excludes zero")
    return figure


def forest(effects: pd.DataFrame) -> plt.Figure:
    """The effects of techniques on early accuracy with intervals, a panel per setting.
    Columns: as of ``early.rungs``."""
    pairs = figures.keys(effects, ["treated", "baseline"])
    return rungs(effects, {figures.arm_title(pair[0]): pair for pair in pairs})


def trajectories(values: pd.DataFrame, text: str, percent: bool = False) -> plt.Figure:
    """A measure by epoch, the mean over seeds, a line per technique; a panel per cell.
    Columns: data, setting, optimizer, arm, seed, epoch, value. text: names the measure. percent: of
    a value from 0 to 1."""
    settings = values.setting.nunique()
    panels = figures.cell_panels(values, 2.7, max(4, 8 / settings))
    for ax, part, _ in panels:
        for arm, group in part.groupby("arm", sort=False):
            by = group.groupby("epoch").value.mean() * (100 if percent else 1)
            ax.plot(by.index, by, label=figures.arm_title(arm), **figures.arm_look(arm))
    note, ncols = f"means of {figures.seeds_text(values)}", 10 if settings > 2 else 4
    return panels.finish("epoch", text, title=note, ncols=ncols, fontsize="small")


def dose_response(candidates: pd.DataFrame, heading: str) -> plt.Figure:
    """Accuracy against none by coefficient, on held-out images: a panel per technique and schedule.
    candidates: of settings of images, with columns technique, schedule, setting, optimizer,
    coefficient, ratio (of the accuracy to none's); a line per setting and optimizer."""
    colors = dict(zip(dict.fromkeys(candidates.setting), sns.color_palette("colorblind")))
    rank = candidates.technique.map({technique: k for k, technique in enumerate(GRID)})
    ranked = candidates.assign(rank=rank).sort_values(["schedule", "rank"], kind="stable")
    by = ["schedule"], ["technique"]
    panels = figures.Panels(ranked, *by, 2.7, 2.8, sharex="col", sharey=True)
    for ax, part, _ in panels:
        for (setting, optimizer), line in part.groupby(["setting", "optimizer"], sort=False):
            line, adam = line.sort_values("coefficient"), optimizer == "adam"
            look = {"ls": "-" if adam else "--", "mfc": colors[setting] if adam else "white"}
            look |= {"color": colors[setting], "marker": "o", "ms": 3.5}
            label = f"{setting}, {title(optimizer, OPTIMIZERS)}"
            ax.plot(line.coefficient, 100 * (line.ratio - 1), label=label, **look)
        ax.axhline(0, color="black", lw=1)
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=5)
        ticks = [-100, -50, -20, -5, 0, 5, 20, 50, 100]
        figures.mark(ax.yaxis, ticks, lambda v: f"{v:+.0f} %" if v else "0")
    for ax, (technique,) in zip(panels.axes[0], panels.columns):
        ax.set_title(title(technique, TECHNIQUES))
    schedules = [f"{schedule}:\nchange of accuracy, 1st epoch" for (schedule,) in panels.rows]
    return panels.finish("coefficient", schedules, title=heading, fontsize="small")


def variants(grid: pd.DataFrame, heading: str) -> plt.Figure:
    """An annotated heat map of changes of early accuracy.
    grid: shares, a row per technique, a column per schedule and start."""
    figure, ax = plt.subplots(figsize=(1.9 * grid.shape[1] + 2.5, 0.45 * len(grid) + 1.5))
    figures.annotated(
        ax, 100 * grid, True, [title(name, TECHNIQUES) for name in grid.index], grid.columns,
        fmt="+.1f", cmap="RdBu_r", norm=CenteredNorm(), linewidths=0.5,
        cbar_kws={"label": "change of early accuracy, %"},
    )  # fmt: skip
    ax.set_title(heading, fontsize="medium")
    return figure
