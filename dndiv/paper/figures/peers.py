"""Pictures of starts at their own best learning rates (08_peers)."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper import figures
from dndiv.paper.design import SETTINGS, TWINS
from dndiv.paper.figures import Panels, looks, mark, place_title, setting_title
from dndiv.paper.findings import start_title
from dndiv.paper.names import CELL, DATA, OPTIMIZERS, title

WIDTH = 11.1  # inches: all of a notebook's page
TICKS = (0, 0.4, -0.3, 1, -0.5, 0.2, -0.2, 0.1, -0.1, 2, -0.15, 0.05, -0.05, 4, 0.02, -0.02)


def curves(values: pd.DataFrame, arms: list[str], optimizer: str) -> plt.Figure:
    """Early accuracy against the learning rate, a line per start: every small marker a network,
    lines their means, the largest marker a start's best rate.
    values: a row per cell, rate and seed, a column per start, as ``outcomes.by_rate`` gives. arms:
    those that are drawn. optimizer: whose rates are drawn."""
    rows = 100 * values.xs(optimizer, level="optimizer", drop_level=False)[arms]
    table = rows.rename_axis(columns="arm").stack().rename("value").reset_index()
    count = table.setting.nunique()
    share = {"sharex": True, "sharey": "row"}
    panels = Panels(table, ["data"], ["setting"], WIDTH / count, 2.5, **share)
    for ax, part, (name, setting) in panels:
        for arm, look in looks(arms).items():
            of_arm = part[part.arm == arm]
            mean = of_arm.groupby("rate").value.mean()
            ax.plot(of_arm.rate, of_arm.value, **look | {"ls": "", "ms": 2.5, "alpha": 0.5})
            ax.plot(mean.index, mean, label=start_title(arm), ms=4, lw=1.5, **look)
            ax.plot(mean.idxmax(), mean.max(), **look | {"ms": 8, "mec": "white"})
        ax.set_title(f"{title(name, DATA)}: {setting_title(setting)}", fontsize="x-small")
        ax.set_xscale("log")
        mark(ax.xaxis, sorted(table.rate.unique()))
        ax.tick_params(labelsize="x-small")
    return panels.finish("learning rate", "early accuracy, %", ncols=6)


def robustness(table: pd.DataFrame, order: list[str]) -> plt.Figure:
    """How much the learning rate matters to a start: how many decades of rates are good for it, and
    how much of its best accuracy is left where the rate is wrong; every point a setting, the bar
    their median.
    table: as ``findings.robustness`` gives. order: the starts, from top to bottom."""
    outcomes = {
        "decades": (1, "decades of good rates"),
        "third": (100, "% left at a third or three times"),
        "tenth": (100, "% left at a tenth or ten times"),
    }
    size = (WIDTH, 0.28 * len(order) + 1.2)
    figure, axes = plt.subplots(1, len(outcomes), figsize=size, sharey=True)
    for ax, (column, (unit, text)) in zip(axes, outcomes.items()):
        for y, arm in enumerate(order):
            of_arm = table[table.arm == arm].dropna(subset=column)
            spread = y + np.linspace(-0.25, 0.25, len(of_arm)) if len(of_arm) > 1 else [y]
            adam = of_arm.optimizer == "adam"
            for chosen, face, name in ((~adam, "white", "SGD"), (adam, "0.5", "Adam")):
                look = {"ls": "", "marker": "o", "ms": 4, "mfc": face, "mec": "0.4", "label": name}
                ax.plot(unit * of_arm[column][chosen], np.array(spread)[chosen], **look)
            ax.plot(
                [unit * of_arm[column].median()] * 2, [y - 0.38, y + 0.38], color="black", lw=2.5
            )
        ax.set_xlabel(text, fontsize="small")
    axes[0].set_yticks(range(len(order)), [start_title(arm) for arm in order], fontsize="small")
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    legend = dict(zip(*axes[0].get_legend_handles_labels()[::-1]))
    place = {"ncols": 2, "frameon": False, "loc": "outside upper center"}
    figure.legend(legend.values(), legend.keys(), **place)
    return figure


def ranking(found: pd.DataFrame, order: list[str]) -> plt.Figure:
    """Early accuracy against PyTorch's default, every start at its own best learning rate: the mean
    over all settings and over those of each optimizer, with 95 % intervals.
    found: as ``findings.by_optimizer`` gives. order: the starts, from top to bottom."""
    entries = {arm: start_title(arm) for arm in order}
    count = found["where"].nunique()
    margin = 1.9
    panels = figures.estimates(
        _ratios(found), ["where"], "treated", entries, (WIDTH - margin) / count,
        look=lambda row: ("black", True, ""), pitch=0.28, margin=margin,
    )  # fmt: skip
    for ax, _, (where,) in panels:
        ax.set_title(where)
    return _finish(panels)


def twins(effects: pd.DataFrame) -> plt.Figure:
    """What decorrelated directions add to a start: its twin with the same norms and the same
    learning rate against it, in every setting, with 95 % intervals; colour tells the data set,
    filling the optimizer.
    effects: of the pairs of ``design.TWINS``, as ``outcomes.effects`` gives."""
    entries = {
        (twin, optimizer): f"{start_title(start)}, {title(optimizer, OPTIMIZERS)}"
        for start, twin in TWINS.items()
        for optimizer in dict.fromkeys(effects.optimizer)
        if (effects.treated == twin).any()
    }
    count, margin = effects.setting.nunique(), 1.9
    by, width = ["treated", "optimizer"], (WIDTH - margin) / count
    panels = figures.estimates(
        _ratios(effects), ["setting"], by, entries, width, pitch=0.42, margin=margin
    )
    for ax, _, (setting,) in panels:
        ax.set_title(setting_title(setting), fontsize="small")
        for y in range(2, len(entries), 4):
            ax.axhspan(y - 0.5, y + 1.5, color="grey", alpha=0.08, lw=0)
    return _finish(panels, ncols=6, title=None)


def tuned(found: dict[str, pd.DataFrame], published: float) -> plt.Figure:
    """What becomes of the 40 % when PyTorch's default has its best learning rate too: a row per
    setting, a panel per comparison, with 95 % intervals; dashed, the published value.
    found: title to rows of ``outcomes.effects``."""
    table = _ratios(pd.concat(found, names=["panel"]).reset_index("panel"))
    there = figures.keys(table, CELL)
    order = itertools.product(DATA, OPTIMIZERS, dict.fromkeys([*SETTINGS, *table.setting]))
    entries = {(n, s, o): place_title(n, s, o) for n, o, s in order if (n, s, o) in there}
    margin = 3.3
    panels = figures.estimates(
        table, ["panel"], CELL, entries, (WIDTH - margin) / len(found), pitch=0.27, margin=margin,
    )  # fmt: skip
    for ax, _, (heading,) in panels:
        ax.set_title(heading, fontsize="small")
        ax.axvline(np.log1p(published), color="firebrick", ls="--", lw=1)
    ax = panels.axes[0, 0]
    ax.set_yticks(range(len(entries)), entries.values(), fontsize="small")
    ax.set_ylim(top=-1.2)  # room for what is published
    at = {"xy": (np.log1p(published), -1.1), "xytext": (3, 0), "textcoords": "offset points"}
    look = {"color": "firebrick", "fontsize": "small", "va": "top"}
    ax.annotate(f"the paper: {100 * published:+.0f} %", **at, **look)
    return _finish(panels)


def _ratios(found: pd.DataFrame) -> pd.DataFrame:
    """Effects as logarithms of ratios, of a twelfth to twelvefold."""
    columns = found[figures.EFFECT]
    return found.assign(**np.log((1 + columns).clip(1 / 12, 12)))


def _finish(panels: Panels, **legend) -> plt.Figure:
    """An axis of logarithms for all panels, labelled as relative changes, as room permits."""
    estimates = pd.concat(panels.parts.values()).estimate
    low, high = min(estimates.min(), 0), max(estimates.max(), 0)
    room = 0.2 * (high - low) + 0.05  # ends of intervals beyond are not shown
    low, high = low - room, high + room
    most = panels.figure.get_figwidth() / len(panels.columns) / 0.62
    shown: list[float] = []
    for at in np.log1p(TICKS):
        if low <= at <= high and all(abs(at - other) * most >= high - low for other in shown):
            shown.append(at)
    for ax in panels.axes.flat:
        ax.set_xlim(low, high)
        mark(ax.xaxis, shown, lambda v: f"{100 * np.expm1(v):+.0f} %" if abs(v) > 1e-9 else "0")
        ax.tick_params(axis="x", labelsize="small")
    return panels.finish("change of early accuracy", **legend)


def probabilities(table: pd.DataFrame) -> plt.Figure:
    """How probable it is, in %, that the start of a row has more early accuracy than that of a
    column, each at its own best learning rate: orange above 50, purple below.
    table: as ``findings.improvement`` gives, in the order of its rows."""
    percent, names = 100 * table, [start_title(arm) for arm in table]
    figure, ax = plt.subplots(figsize=(WIDTH, 0.33 * len(table) + 1.9))
    look = {"cmap": "PuOr_r", "vmin": 0, "vmax": 100, "cbar": False, "fmt": ".0f"}
    figures.annotated(ax, percent, percent, names, names, annot_kws={"size": "small"}, **look)
    ax.set_xticklabels(names, rotation=45, ha="right", fontsize="small")
    ax.set_yticklabels(names, fontsize="small")
    ax.set_facecolor("0.9")
    ax.grid(False)
    return figure
