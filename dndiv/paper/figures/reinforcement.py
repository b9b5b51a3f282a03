"""Pictures of techniques that reinforce diversity, and of what they do (03_reinforcement)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import CenteredNorm

from dndiv.paper import figures
from dndiv.paper.arms import Arm
from dndiv.paper.design import GRID
from dndiv.paper.figures import early
from dndiv.paper.names import CELL, DATA, OPTIMIZERS, TECHNIQUES, title


def _texts(found: pd.DataFrame, dots: bool = True) -> list[str]:
    """Changes in per cent; a dot marks an interval that excludes zero, and "off" what equals none
    exactly."""
    off = found[figures.EFFECT].fillna(0).eq(0).all(axis=1)
    sure = dots & ((found.low > 0) | (found.high < 0))
    marks = zip(found.estimate, off, sure)
    return ["off" if still else f"{100 * v:+.1f}{' •' * dot}" for v, still, dot in marks]


def overview(panels: dict[str, pd.DataFrame], columns: list[tuple]) -> plt.Figure:
    """All techniques in one picture: heat maps of changes, a row per technique, a column per cell.
    panels: title (its last words say which colour is good: "(red: …)") to a table of data, setting,
    optimizer, treated, estimate, low, high. columns: cells in the order shown."""
    size = 13, 3.2 * len(panels)
    figure, axes = plt.subplots(len(panels), figsize=size, sharex=True, squeeze=False)
    labels = [text.replace("-", "-\n") for text in figures.cell_columns(columns)]
    columns = pd.MultiIndex.from_tuples(columns, names=CELL)
    for ax, (heading, found) in zip(axes[:, 0], panels.items()):
        wide = found.assign(text=_texts(found)).set_index(["treated", *CELL])
        wide = wide.unstack(CELL, sort=False)
        texts = wide["text"].reindex(columns=columns).fillna("")
        changes = 100 * wide["estimate"].reindex(columns=columns)
        half = min(float(np.nanmax(np.abs(changes))), 30.0) or 1.0
        figures.annotated(
            ax, changes, texts, [figures.arm_title(arm) for arm in wide.index], labels,
            fmt="", cmap="RdBu_r", vmin=-half, vmax=half, annot_kws={"fontsize": "small"},
            cbar_kws={"label": "change, %"}, linewidths=0.5,
        )  # fmt: skip
        ax.set_title(heading, fontsize="medium")
    axes[-1, 0].set_xlabel("•: the 95 % interval excludes zero; off: no technique at all")
    return figure


def forest(effects: pd.DataFrame) -> plt.Figure:
    """The effects of techniques on early accuracy as they are and with norms held, side by side: a
    panel per data set, a row per technique, setting and optimizer.
    Columns: as of ``early.rungs``, technique, held."""
    by, ratios = ["technique", "setting", "optimizer"], early.ratios(effects)
    entries = {
        key: f"{title(key[0], TECHNIQUES)}: {key[1]}, {title(key[2], OPTIMIZERS)}"
        for key in figures.keys(effects, by)
    }

    def look(row):
        return ("C3", False, "norms held") if row.held else ("C0", True, "free")

    panels = figures.estimates(ratios, ["data"], by, entries, 5, look, margin=2, zero=1.0)
    for ax, part, (name,) in panels:
        free, held = (figures.seeds_text(p) for _, p in part.groupby("held") if len(p))
        ax.set_title(f"{title(name, DATA)}; free {free}, norms held {held}", fontsize="medium")
    return early.finish(panels, ratios, title=None)


def trajectories(values: pd.DataFrame, text: str) -> plt.Figure:
    """A measure by epoch, the mean over seeds, a line per technique that does anything; a panel per
    cell.
    Columns: data, setting, optimizer, arm, seed, epoch, value. text: names the measure."""
    settings = values.setting.nunique()
    panels = figures.cell_panels(values, 2.7, max(4, 8 / settings))
    for ax, part, _ in panels:
        means = part.groupby(["arm", "epoch"], sort=False).value.mean()
        for arm, line in means.groupby(level="arm", sort=False):
            line = line.droplevel("arm")
            if arm == "default" or not line.equals(means["default"]):
                ax.plot(line, label=figures.arm_title(arm), **figures.arm_look(arm))
    note, ncols = f"means of {figures.seeds_text(values)}", 10 if settings > 2 else 4
    return panels.finish("epoch", text, title=note, ncols=ncols, fontsize="small")


def dose_response(doses: pd.DataFrame, heading: str) -> plt.Figure:
    """Accuracy against none by coefficient, on held-out images: a panel per technique and schedule.
    doses: technique, schedule, setting, optimizer, coefficient, ratio (of the accuracy to none's),
    error (standard), chosen; a line per setting and optimizer."""
    colors = dict(zip(dict.fromkeys(doses.setting), sns.color_palette("colorblind")))
    rank = doses.technique.map({technique: k for k, technique in enumerate(GRID)})
    ranked = doses.assign(rank=rank).sort_values(["schedule", "rank"], kind="stable")
    by = ["schedule"], ["technique"]
    panels = figures.Panels(ranked, *by, 2.3, 2.8, sharex="col", sharey=True)
    for ax, part, _ in panels:
        for (setting, optimizer), line in part.groupby(["setting", "optimizer"], sort=False):
            line = line.sort_values("coefficient").assign(change=100 * (line.ratio - 1))
            look = {"color": colors[setting], "ls": "-" if optimizer == "adam" else "--"}
            look |= {"label": f"{setting}, {title(optimizer, OPTIMIZERS)}", "fmt": ".", "lw": 1.3}
            error = 100 * line.error.fillna(0)
            ax.errorbar(line.coefficient, line.change, error, elinewidth=0.8, **look)
            best = line[line.chosen]
            ax.plot(best.coefficient, best.change, "*", ms=12, color=colors[setting])
        ax.axhline(0, color="black", lw=1)
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=5)
        ticks = [-100, -50, -20, -5, 0, 5, 20, 50, 100]
        figures.mark(ax.yaxis, ticks, lambda v: f"{v:+.0f} %" if v else "0")
    for ax, (technique,) in zip(panels.axes[0], panels.columns):
        ax.set_title(title(technique, TECHNIQUES))
    schedules = [f"{schedule}:\nchange of accuracy" for (schedule,) in panels.rows]
    return panels.finish("coefficient", schedules, title=heading, fontsize="small")


def variants(found: pd.DataFrame, heading: str) -> plt.Figure:
    """An annotated heat map of changes of early accuracy: a row per technique and optimizer, a
    column per start and schedule.
    Columns: as of ``outcomes.effects``, of one data set and setting."""
    arms = found.treated.map(Arm.parse)
    rows = [
        f"{title(arm.technique, TECHNIQUES)}, {title(optimizer, OPTIMIZERS)}"
        for arm, optimizer in zip(arms, found.optimizer)
    ]
    kinds = [f"{arm.start},\n{arm.schedule}" for arm in arms]
    shown = found.assign(row=rows, kind=kinds, text=_texts(found, dots=False))
    wide = shown.set_index(["row", "kind"])[["estimate", "text"]].unstack("kind", sort=False)
    figure, ax = plt.subplots(figsize=(12, 0.4 * len(wide) + 1.5))
    figures.annotated(
        ax, 100 * wide["estimate"], wide["text"], wide.index, wide["text"].columns,
        fmt="", cmap="RdBu_r", norm=CenteredNorm(), linewidths=0.5,
        cbar_kws={"label": "change of early accuracy, %"},
    )  # fmt: skip
    ax.set_title(heading, fontsize="medium")
    return figure
