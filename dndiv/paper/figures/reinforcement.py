"""Pictures of techniques that reinforce diversity, and of what they do (03_reinforcement)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from dndiv.paper import figures
from dndiv.paper.arms import Arm
from dndiv.paper.design import GRID
from dndiv.paper.figures import drawing
from dndiv.paper.names import CELL, DATA, OPTIMIZERS, STARTS, TECHNIQUES, title


def _texts(found: pd.DataFrame, dots: bool = True) -> list[str]:
    """Changes in per cent; a dot marks an interval that excludes zero, and "off" what equals none
    exactly."""
    off = found[figures.EFFECT].fillna(0).eq(0).all(axis=1)
    sure = dots & ((found.low > 0) | (found.high < 0))
    marks = zip(found.estimate, off, sure)
    return ["off" if still else f"{100 * v:+.1f}{' •' * dot}" for v, still, dot in marks]


@drawing
def overview(panels: dict[str, pd.DataFrame], columns: list[tuple]) -> plt.Figure:
    """All techniques in one picture: heat maps of changes, a row per technique, a column per cell.
    panels: title (its last words say which colour is good) to a table of data, setting, optimizer,
    treated, estimate, low, high. columns: cells in the order shown."""
    index, maps = pd.MultiIndex.from_tuples(columns, names=CELL), {}
    arms = next(iter(panels.values())).treated.unique()  # of the others, some may be missing
    for heading, found in panels.items():
        wide = found.assign(text=_texts(found)).set_index(["treated", *CELL])
        wide = wide.unstack(CELL, sort=False)
        parts = (wide[name].reindex(arms, columns=index) for name in ("estimate", "text"))
        maps[heading] = [next(parts), next(parts).fillna("")]
    rows = [figures.arm_title(arm) for arm in arms]
    figure, axes = _changes(maps, rows, figures.cell_columns(columns), 6)
    axes[-1].set_xlabel("•, the 95 % interval excludes zero; off, no technique at all")
    return figure


def _changes(maps: dict, rows: list[str], columns: list[str], across: int):
    """``figures.heat_maps`` of relative changes, all on one scale of logarithms of ratios, whose
    ends are fourfold at most, and leave out the largest in twenty: it would make all others pale.
    """
    maps = {heading: (np.log1p(colors), texts) for heading, (colors, texts) in maps.items()}
    sizes = np.abs(np.concatenate([np.ravel(colors) for colors, _ in maps.values()]))
    changed = sizes[sizes > 0] if (sizes > 0).any() else [0.01]
    largest, half = max(changed), min(float(np.quantile(changed, 0.95)), figures.CLEAR)
    look = {"cmap": figures.DIVERGING, "vmin": -half, "vmax": half}
    figure, axes = figures.heat_maps(maps, rows, columns, across, **look)
    look = {"extend": "both" if half < largest else "neither"}
    scale = figures.colorbar(figure, axes[0].collections[0], "change", axes, **look)
    figures.mark_changes(scale, -half, half, 6 if figures.narrow() else 12)
    return figure, axes


@drawing
def forest(effects: pd.DataFrame) -> plt.Figure:
    """The effects of techniques on early accuracy as they are and with norms held, side by side: a
    panel per data set, a row per technique, setting and optimizer.
    Columns: as of ``early.rungs``, technique, held."""
    by = ["technique", "setting", "optimizer"]
    entries = {
        key: f"{title(key[0], TECHNIQUES)}: {key[1]}, {title(key[2], OPTIMIZERS)}"
        for key in figures.keys(effects, by)
    }

    def look(row):
        return ("#d55e00", False, "norms held") if row.held else ("black", True, "free")

    panels = figures.estimates(figures.log_ratios(effects), ["data"], by, entries, look, 0.36)
    for ax, part, (name,) in panels:
        free, held = (figures.seeds_text(p) for _, p in part.groupby("held") if len(p))
        ax.set_title(f"{title(name, DATA)}; free {free}, norms held {held}")
    return figures.finish_changes(panels)


@drawing
def trajectories(values: pd.DataFrame, text: str) -> plt.Figure:
    """A measure by epoch, means over seeds with 95 % intervals, a line per technique that does
    anything; a panel per cell, in which the five that change it most are drawn.
    Columns: data, setting, optimizer, arm, seed, epoch, value. text: names the measure."""
    panels = figures.cell_panels(values, 2.1)
    for ax, part, _ in panels:
        means = part.groupby(["arm", "epoch"], sort=False).value.mean().unstack("arm")
        changes = means.sub(means.default, axis=0).iloc[-1]
        moved = {arm: v for arm, v in changes.items() if not means[arm].equals(means.default)}
        for arm in ("default", *figures.strongest(moved)):
            look = figures.arm_look(arm) | {"lw": 2.2 if arm == "default" else 1.5}
            figures.mean_line(ax, part[part.arm == arm], "epoch", look)
    note = f"means of {figures.seeds_text(values)} with 95 % intervals; one scale per row"
    return panels.finish("epoch", text, note)


@drawing
def dose_response(doses: pd.DataFrame, heading: str) -> plt.Figure:
    """Accuracy against none by coefficient, on held-out images: a panel per technique and schedule,
    a line per setting and optimizer; bars are 95 % intervals, the large marker is chosen.
    doses: technique, schedule, setting, optimizer, coefficient, ratio (of the accuracy to none's),
    error (standard), chosen."""
    looks = figures.looks(figures.keys(doses, ["setting", "optimizer"]))
    rank = doses.technique.map({technique: k for k, technique in enumerate(GRID)})
    ranked = doses.assign(rank=rank).sort_values(["schedule", "rank"], kind="stable")
    by = ["schedule"], ["technique"]
    panels = figures.Panels(ranked, *by, 2.4, across=2, sharex="col", sharey=True)
    for ax, part, (_, technique) in panels:
        for key, line in part.groupby(["setting", "optimizer"], sort=False):
            line = line.sort_values("coefficient").assign(change=100 * (line.ratio - 1))
            look = looks[key] | {"label": f"{key[0]}, {title(key[1], OPTIMIZERS)}", "ms": 3}
            reach = 196 * line.error.fillna(0)
            ax.errorbar(line.coefficient, line.change, reach, elinewidth=0.8, lw=1.3, **look)
            best = line[line.chosen]
            ax.plot(best.coefficient, best.change, "*", ms=13, color=look["color"], mec="white")
        ax.axhline(0, color="black", lw=1)
        ax.set_title(title(technique, TECHNIQUES))
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=5)
        ticks = [-100, -20, -5, 0, 5, 20, 100]
        figures.mark(ax.yaxis, ticks, lambda v: f"{v:+.0f} %" if v else "0")
        ax.xaxis.set_major_locator(LogLocator(numticks=4))
        ax.xaxis.set_minor_locator(NullLocator())
    schedules = [f"{schedule}: change of accuracy" for (schedule,) in panels.rows]
    return panels.finish("coefficient", schedules, heading)


@drawing
def variants(found: pd.DataFrame, heading: str) -> plt.Figure:
    """An annotated heat map of changes of early accuracy: a row per technique and optimizer, a
    column per start and schedule.
    Columns: as of ``outcomes.effects``, of one data set and setting."""
    arms = found.treated.map(Arm.parse)
    rows = [
        f"{title(arm.technique, TECHNIQUES)}, {title(optimizer, OPTIMIZERS)}"
        for arm, optimizer in zip(arms, found.optimizer)
    ]
    kinds = [f"{title(arm.start, STARTS)},\n{arm.schedule}" for arm in arms]
    shown = found.assign(row=rows, kind=kinds, text=_texts(found, dots=False))
    wide = shown.set_index(["row", "kind"])[["estimate", "text"]].unstack("kind", sort=False)
    maps = {heading: (wide["estimate"], wide["text"])}
    return _changes(maps, list(wide.index), list(wide["text"].columns), 3)[0]
