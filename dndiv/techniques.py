"""Pictures of techniques that reinforce diversity: what they do to it, to early accuracy, and to plateaus.

As in ``figures``, each is a function of tables alone.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import CenteredNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from dndiv import figures, stats
from dndiv.table import OPTIMIZERS, TITLES, technique

LABELS = {"negative_correlation": "negative correlation", "weight_cosine": "weight cosine",
          "activation_decorrelation": "DeCov (activations)", "log_volume": "log-volume",
          "orthogonal_step": "orthogonal step", "reinitialize": "reinitialize"}
COLORS = dict(zip(("", *LABELS), ["black", *sns.color_palette("colorblind", len(LABELS))]))
START_LABELS = {"default": "no technique", "decorrelated": "start: decorrelated", "simplex": "start: simplex", "alive": "start: alive"}


def label(arm: str) -> str:
    return LABELS.get(technique(arm)) or START_LABELS[arm]


def overview(panels: dict[str, pd.DataFrame], columns: list[tuple]) -> Figure:
    """All techniques in one picture: heat maps of relative changes, a row per technique, a column per cell.

    panels: title (its last word says which colour is good: "(red: …)") to columns of cell, treated, estimate, low, high. A dot
    marks an interval that excludes zero.
    """
    names = list(LABELS)
    figure, axes = plt.subplots(len(panels), 1, figsize=(13, 2.9 * len(panels)), sharex=True, squeeze=False)
    for ax, (title, found) in zip(axes[:, 0], panels.items()):
        found = found.assign(technique=found.treated.map(technique))
        grid, text = np.full((len(names), len(columns)), np.nan), np.full((len(names), len(columns)), "", object)
        for row in found.itertuples():
            k = names.index(row.technique), columns.index((row.data, row.setting, row.optimizer))
            grid[k] = 100 * row.estimate
            text[k] = f"{100 * row.estimate:+.1f}" + (" •" if row.low > 0 or row.high < 0 else "")
        half = min(float(np.nanmax(np.abs(grid))), 30.0)
        sns.heatmap(grid, annot=text, fmt="", cmap="RdBu_r", vmin=-half, vmax=half, ax=ax, annot_kws={"fontsize": "small"},
                    cbar_kws={"label": "change, %"}, linewidths=0.5)
        ax.set_yticklabels([LABELS[n] for n in names], rotation=0)
        ax.set_title(title)
    axes[-1, 0].set_xlabel("•: the 95 % interval excludes zero")
    axes[-1, 0].set_xticklabels(["{}\n{}\n{}".format(TITLES[n].replace("-", "-\n"), s, OPTIMIZERS[o]) for n, s, o in columns],
                                rotation=0, fontsize="small")
    return figure


def trajectories(values: pd.DataFrame, text: str, percent: bool = False) -> Figure:
    """A measure by epoch, the mean over seeds, a line per technique; a panel per setting and cell.

    values: columns data, setting, optimizer, arm, seed, epoch, value.
    """
    lines, settings = figures.cells(values), list(dict.fromkeys(values.setting))
    size = max(4 * len(settings), 8), 2.5 * len(lines) + 0.8
    figure, axes = plt.subplots(len(lines), len(settings), figsize=size, sharex=True, squeeze=False)
    for axline, (name, optimizer) in zip(axes, lines):
        for ax, setting in zip(axline, settings):
            part = values[(values["data"] == name) & (values.optimizer == optimizer) & (values.setting == setting)]
            for arm, group in part.groupby("arm", sort=False):
                by = group.groupby("epoch").value.mean() * (100 if percent else 1)
                none = arm == "default"
                ax.plot(by.index, by, color=COLORS[technique(arm)], lw=2.6 if none else 1.4, zorder=1 if none else 2,
                        alpha=0.55 if none else 1, label=label(arm))
            ax.set_title(f"{figures.cell_title(name, optimizer)}: {figures.setting_title(setting)}", fontsize="small")
        axline[0].set_ylabel(text)
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels) if len(settings) > 2 else 4, frameon=False,
                  fontsize="small", title=f"means of {figures.seeds_text(values)}")
    return figure


def dose_response(candidates: pd.DataFrame, title: str) -> Figure:
    """Accuracy against none by coefficient, on held-out images: a panel per technique, a line per setting and optimizer.

    candidates: as ``stats.candidates`` gives, of settings of images.
    """
    names = [n for n in LABELS if n in set(candidates.technique)]
    settings = list(candidates[["setting", "optimizer"]].drop_duplicates().itertuples(index=False, name=None))
    colors = dict(zip(dict.fromkeys(s for s, _ in settings), sns.color_palette("colorblind")))
    figure, axes = plt.subplots(2, len(names), figsize=(2.7 * len(names), 5.6), sharex="col", sharey=True, squeeze=False)
    for line, schedule in zip(axes, ("constant", "dynamic")):
        for ax, name in zip(line, names):
            for setting, optimizer in settings:
                part = candidates[(candidates.technique == name) & (candidates.schedule == schedule)
                                  & (candidates.setting == setting) & (candidates.optimizer == optimizer)].sort_values("coefficient")
                ax.plot(part.coefficient, 100 * (part.ratio - 1), "-" if optimizer == "adam" else "--", marker="o", ms=3.5,
                        mfc=colors[setting] if optimizer == "adam" else "white", color=colors[setting],
                        label=f"{setting}, {OPTIMIZERS[optimizer]}")
            ax.axhline(0, color="black", lw=1)
            ax.set(xscale="log")
            ax.set_yscale("symlog", linthresh=5)
            ax.yaxis.set_major_locator(FixedLocator([-100, -50, -20, -5, 0, 5, 20, 50, 100]))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+.0f} %" if v else "0"))
            ax.yaxis.set_minor_locator(NullLocator())
            if schedule == "constant":
                ax.set_title(LABELS[name], fontsize="small")
            else:
                ax.set_xlabel("coefficient")
        line[0].set_ylabel(f"{schedule}:\nchange of accuracy, 1st epoch")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize="small", title=title)
    return figure


def variants(grid: pd.DataFrame, title: str) -> Figure:
    """An annotated heat map: techniques by schedules and starts, in per cent."""
    figure, ax = plt.subplots(figsize=(1.9 * grid.shape[1] + 2.5, 0.45 * len(grid) + 1.5))
    sns.heatmap(100 * grid, annot=True, fmt="+.1f", cmap="RdBu_r", norm=CenteredNorm(), ax=ax, linewidths=0.5,
                cbar_kws={"label": "change of early accuracy, %"})
    ax.set_yticklabels([LABELS[n] for n in grid.index], rotation=0)
    ax.set_xticklabels(grid.columns, rotation=0, fontsize="small")
    ax.set(xlabel="", ylabel="")
    ax.set_title(title, fontsize="medium")
    return figure


# -------------------------------------------------------------------------------------------------- 04_local_minima
def problem_title(name: str, setting: str) -> str:
    return f"{TITLES[name]}: {figures.setting_title(setting)}"


def plateaus(losses: pd.DataFrame, times: pd.DataFrame) -> Figure:
    """The loss of every network without a technique, coloured by when it escapes; grey where it does not.

    losses: the measure ``loss`` of the table "escape"; times: as ``stats.escape_times`` gives, of the arm default.
    """
    problems = list(losses[["data", "setting"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = plt.subplots(1, len(problems), figsize=(4.4 * len(problems), 3.6), squeeze=False)
    for ax, (name, setting) in zip(axes[0], problems):
        part = losses[(losses["data"] == name) & (losses.setting == setting)]
        when = times.xs((name, setting), level=("data", "setting")).droplevel("optimizer")
        escaped = when[when.escaped].time
        norm = LogNorm(max(escaped.min(), escaped.max() / 100), escaped.max()) if len(escaped) and escaped.max() > 0 else None
        for seed, group in part.groupby("seed"):
            row = when.loc[seed]
            color = plt.get_cmap("viridis")(norm(max(row.time, norm.vmin))) if row.escaped and norm else "grey"
            ax.plot(group.epoch, group.value, color=color, lw=0.7, alpha=0.8, zorder=2 if row.escaped else 3)
        unit = "epoch" if name not in stats.TARGETS else "step (full batch)"
        ax.set(xlabel=unit, ylabel="cross-entropy", ylim=(0, None))
        ax.set_title(f"{problem_title(name, setting)}\n{len(escaped)} of {len(when)} networks escape (grey: the others)",
                     fontsize="small")
        if norm:
            plain = FuncFormatter(lambda v, _: f"{v:g}")
            bar = figure.colorbar(plt.cm.ScalarMappable(norm, "viridis"), ax=ax, shrink=0.8, format=plain)
            close = norm.vmax < 3 * norm.vmin  # no decade has more than a tick or two then
            bar.ax.yaxis.set_minor_formatter(plain if close else NullFormatter())
            if not close:
                bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            bar.ax.set_title(f"escapes\nat {unit.split()[0]}", fontsize="x-small")
    return figure


def anatomy(units: pd.DataFrame) -> Figure:
    """What a plateau is made of: dead and coinciding units per layer, of networks that have escaped and have not, by epoch.

    units: of one problem; columns data, setting, layer, epoch, measure (dead, duplicates), escaped (then), value.
    """
    layers, measures = sorted(units.layer.unique(), key=int), {"dead": "dead units, %", "duplicates": "units with a near-duplicate, %"}
    figure, axes = plt.subplots(len(measures), len(layers), figsize=(2.7 * len(layers), 5), sharex=True, sharey="row", squeeze=False)
    for line, (measure, text) in zip(axes, measures.items()):
        for ax, layer in zip(line, layers):
            for escaped, color, name in ((False, "firebrick", "on the plateau"), (True, "seagreen", "escaped")):
                by = 100 * units[(units.measure == measure) & (units.layer == layer) & (units.escaped == escaped)].groupby("epoch").value.mean()
                ax.plot(by.index, by, color=color, label=name)
            ax.set_title(f"hidden layer {layer}", fontsize="small")
        line[0].set_ylabel(text)
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False,
                  title=f"{problem_title(units['data'].iloc[0], units.setting.iloc[0])}; without a technique, "
                        f"means over the networks that are there at that time ({figures.seeds_text(units)})")
    return figure


def survival(times: pd.DataFrame, arms: list[str]) -> Figure:
    """The share of networks still on their plateau (Kaplan–Meier), a line per arm, a panel per problem."""
    problems = list(dict.fromkeys(zip(times.index.get_level_values("data"), times.index.get_level_values("setting"))))
    figure, axes = plt.subplots(1, len(problems), figsize=(4.2 * len(problems), 4), sharey=True, squeeze=False)
    starts = dict(zip(("decorrelated", "simplex", "alive"), ("-.", "--", ":")))
    for ax, (name, setting) in zip(axes[0], problems):
        here = times.xs((name, setting), level=("data", "setting")).droplevel("optimizer")
        for arm in arms:
            group = here.xs(arm, level="arm")
            x, y = stats.survival(group.time, group.escaped)
            plain = arm == "default"
            ax.step(np.append(x, here.time.max()), 100 * np.append(y, y[-1]), where="post", color=COLORS[technique(arm)] if arm not in starts else "grey",
                    ls=starts.get(arm, "-"), lw=2.6 if plain else 1.4, alpha=0.55 if plain else 1, label=label(arm))
        ax.set(xlabel="epoch" if name not in stats.TARGETS else "step (full batch)", ylim=(0, 101))
        ax.set_title(f"{problem_title(name, setting)}\nn = {len(group)} seeds", fontsize="small")
    axes[0][0].set_ylabel("networks still on the plateau, %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize="small")
    return figure


def escape_forest(found: pd.DataFrame, arms: list[str]) -> Figure:
    """How much less time each arm needs to escape, with intervals: a row per arm, a panel per problem.

    found: as ``stats.escapes`` gives. Filled: differs by the log-rank test after Holm's correction within the problem.
    """
    problems = list(found[["data", "setting"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = plt.subplots(1, len(problems), figsize=(3.6 * len(problems) + 1.5, 0.4 * len(arms) + 1.7), sharey=True, squeeze=False)
    for ax, (name, setting) in zip(axes[0], problems):
        part = found[(found["data"] == name) & (found.setting == setting)].set_index("arm")
        ax.axvline(0, color="black", lw=1)
        for y, arm in enumerate(arms):
            row = part.loc[arm]
            low, high = (row.estimate if math.isnan(v) else v for v in (row.low, row.high))
            color = COLORS[technique(arm)] if technique(arm) else "grey"
            ax.errorbar(100 * row.estimate, y, xerr=[[100 * max(row.estimate - low, 0)], [100 * max(high - row.estimate, 0)]], fmt="o",
                        color=color, mfc=color if row.p_holm < 0.05 else "white", capsize=2, lw=1.5)
        ax.set(xlabel="less time on the plateau, %\n(95 % interval; filled: p < 0.05 after Holm)")
        ax.set_title(f"{problem_title(name, setting)}, n = {int(part.n.min())}", fontsize="small")
    axes[0][0].set_yticks(range(len(arms)), [label(a) for a in arms])
    axes[0][0].set_ylim(len(arms) - 0.5, -0.5)
    return figure


