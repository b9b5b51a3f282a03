"""Pictures of plateaus, and of how networks escape them (04_local_minima)."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dndiv.paper import effects, figures
from dndiv.paper.arms import Arm
from dndiv.paper.design import ESCAPED
from dndiv.paper.names import CELL

PROBLEM = ["data", "setting"]


def time_unit(name: str) -> str:
    """What an epoch of a problem is."""
    return "step (full batch)" if name in ESCAPED else "epoch"


def plateaus(losses: pd.DataFrame, times: pd.DataFrame) -> plt.Figure:
    """The loss of every network without a technique, coloured by when it escapes; else grey.
    losses: data, setting, optimizer, seed, epoch, value. times: time and escaped, indexed by data,
    setting, optimizer and seed; both of one arm."""
    networks = losses.merge(times.reset_index(), on=[*CELL, "seed"])
    panels = figures.Panels(networks, [], PROBLEM, 4.4, 3.6)
    viridis, plain = plt.get_cmap("viridis"), FuncFormatter(lambda v, _: f"{v:g}")
    for ax, part, (name, setting) in panels:
        when = part.drop_duplicates("seed")
        escaped = when[when.escaped].time
        last = escaped.max()  # NaN if none escapes
        norm = LogNorm(max(escaped.min(), last / 100), last, clip=True) if last > 0 else None
        for (time, leaves, _), line in part.groupby(["time", "escaped", "seed"], sort=False):
            color = viridis(norm(time)) if leaves and norm else "grey"
            look = {"color": color, "lw": 0.7, "alpha": 0.8, "zorder": 2 if leaves else 3}
            ax.plot(line.epoch, line.value, **look)
        ax.set(ylabel="cross-entropy", ylim=(0, None))
        count = f"{len(escaped)} of {len(when)} networks escape (grey: the others)"
        ax.set_title(f"{figures.place_title(name, setting)}\n{count}")
        if norm:
            shown = plt.cm.ScalarMappable(norm, viridis)
            bar = panels.figure.colorbar(shown, ax=ax, shrink=0.8, format=plain).ax
            close = norm.vmax < 3 * norm.vmin  # no decade has more than a tick or two then
            bar.yaxis.set_minor_formatter(plain if close else NullFormatter())
            if not close:
                bar.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            bar.set_title(f"escapes\nat {time_unit(name).split()[0]}", fontsize="x-small")
    return panels.finish([time_unit(name) for name, _ in panels.columns])


def anatomy(units: pd.DataFrame) -> plt.Figure:
    """What a plateau is made of: dead and coinciding units per layer, by epoch, in networks that
    have escaped and in those that have not.
    Columns, of one problem: data, setting, arm, seed, layer, epoch, measure (dead, duplicates),
    escaped (then), value."""
    measures = {"dead": "dead units, %", "duplicates": "units with a near-duplicate, %"}
    shown = units[units.measure.isin(measures)].assign(layer=units.layer.astype(int))
    shown = shown.sort_values(["measure", "layer"], kind="stable")
    panels = figures.Panels(shown, ["measure"], ["layer"], 2.7, 2.5, sharex=True, sharey="row")
    for ax, part, (_, layer) in panels:
        for state, color in (("on the plateau", "firebrick"), ("escaped", "seagreen")):
            here = part[part.escaped == (state == "escaped")]
            by = 100 * here.groupby("epoch").value.mean()
            ax.plot(by.index, by, color=color, label=state)
        ax.set_title(f"hidden layer {layer}")
    problem = figures.place_title(*units[PROBLEM].iloc[0])
    means = f"means over the networks that are there at that time ({figures.seeds_text(units)})"
    note = f"{problem}; without a technique, {means}"
    return panels.finish("epoch", [measures[measure] for (measure,) in panels.rows], title=note)


def survival(times: pd.DataFrame, arms: list[str]) -> plt.Figure:
    """The share of networks still on their plateau (Kaplan–Meier), a panel per problem.
    times: time and escaped, indexed by data, setting, optimizer, arm and seed. arms: the lines,
    techniques in colour, other starts grey and dashed; not of those that equal "default"."""
    starts = [arm for arm in arms if arm != "default" and not Arm.parse(arm).technique]
    dashes = dict(zip(starts, cycle(("-.", "--", ":"))))
    panels = figures.Panels(times.reset_index(), [], PROBLEM, 4.2, 4, sharey=True)
    for ax, part, problem in panels:
        plain = part.loc[part.arm == "default", ["time", "escaped"]].to_numpy()
        for arm in arms:
            group = part[part.arm == arm]
            if arm != "default" and np.array_equal(group[["time", "escaped"]], plain):
                continue
            x, y = effects.survival(group.time, group.escaped)
            x, y = np.append(x, part.time.max()), 100 * np.append(y, y[-1])
            look = figures.arm_look(arm) | {"ls": dashes.get(arm, "-")}
            ax.step(x, y, where="post", label=figures.arm_title(arm), **look)
        ax.set_ylim(0, 101)
        ax.set_title(f"{figures.place_title(*problem)}\nn = {len(group)} seeds")
    x, y = [time_unit(name) for name, _ in panels.columns], "networks still on the plateau, %"
    return panels.finish(x, y, ncols=5, fontsize="small")


def escape_forest(found: pd.DataFrame, arms: list[str], margin: float) -> plt.Figure:
    """How much less time each arm needs to escape, with intervals: a panel per problem.
    Columns: data, setting, arm, estimate, low, high, n, p_holm. arms: the rows. margin: the
    smallest effect of interest, a grey band. Filled: differs by the log-rank test after Holm's
    correction within the problem."""
    panels = figures.estimates(
        found.assign(**(100 * found[figures.EFFECT])), PROBLEM, ["arm"],
        {(arm,): figures.arm_title(arm) for arm in arms}, width=3.6, margin=1.5,
        look=lambda row: (figures.arm_look(row.arm)["color"], row.p_holm < 0.05, ""),
    )  # fmt: skip
    for ax, part, problem in panels:
        ax.set_title(f"{figures.place_title(*problem)}, n = {int(part.n.min())}")
        ax.axvspan(-100 * margin, 100 * margin, color="grey", alpha=0.15, lw=0)
    note = "95 % interval; filled: p < 0.05 after Holm"
    return panels.finish(f"less time on the plateau, %\n({note})")
