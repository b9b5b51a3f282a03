"""Pictures of plateaus, and of how networks escape them (04_local_minima)."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dndiv.paper import effects, figures, outcomes
from dndiv.paper.arms import Arm
from dndiv.paper.design import ESCAPED
from dndiv.paper.figures import drawing
from dndiv.paper.findings import CLASSES, acting, in_percent
from dndiv.paper.names import CELL

PROBLEM = ["data", "setting"]


def time_unit(name: str) -> str:
    """What an epoch of a problem is."""
    return "step (full batch)" if name in ESCAPED else "epoch"


FATES = ("not within the run", "the first third to escape", "the second third", "the last third")


@drawing
def plateaus(losses: pd.DataFrame, times: pd.DataFrame) -> plt.Figure:
    """The loss of networks without a technique, by when they escape: the median of each third of
    those that do, and of those that do not, and the band that holds four fifths of them.
    losses: data, setting, optimizer, seed, epoch, value. times: time and escaped, indexed by data,
    setting, optimizer and seed; both of one arm."""
    rank = times.time.where(times.escaped).groupby(level=PROBLEM).rank("first", pct=True)
    third = np.ceil(3 * rank).fillna(0).astype(int)
    guessing = [math.log(2 if name in ESCAPED else CLASSES) for name in losses["data"]]
    losses = losses.assign(value=losses.value / guessing)
    networks = losses.merge(third.rename("third").reset_index(), on=[*CELL, "seed"])
    panels = figures.Panels(networks, [], PROBLEM, 3.2, sharex=False)
    for ax, part, (name, setting) in panels:
        for k, look in enumerate(figures.looks(FATES).values()):
            by = part[part.third == k].groupby("epoch").value
            low, middle, high = (by.quantile(share) for share in (0.1, 0.5, 0.9))
            ax.plot(middle, **look | {"marker": "", "lw": 2, "label": FATES[k]})
            ax.fill_between(low.index, low, high, color=look["color"], alpha=0.2, lw=0)
        of = part.drop_duplicates("seed").third
        ax.set_title(f"{figures.place_title(name, setting)}\n{sum(of > 0)} of {len(of)} escape")
    panels.axes[0, 0].set_ylim(bottom=0)
    note = "lines: medians; bands: the middle 80 % of the networks"
    return panels.finish(
        [time_unit(name) for name, _ in panels.columns],
        "cross-entropy, as a multiple of guessing's",
        note,
    )


FEW = 5  # networks, of which a mean is drawn


@drawing
def anatomy(units: pd.DataFrame) -> plt.Figure:
    """What a plateau is made of: dead and coinciding units per layer, by epoch, in networks that
    have escaped and in those that have not; means with 95 % intervals.
    Columns, of one problem: data, setting, arm, seed, layer, epoch, measure (dead, duplicates),
    escaped (then), value."""
    measures = {"dead": "dead units, %", "duplicates": "units with a near-duplicate, %"}
    shown = units[units.measure.isin(measures)].assign(layer=units.layer.astype(int))
    shown = shown.assign(value=100 * shown.value)
    shown = shown.sort_values(["measure", "layer"], kind="stable")
    panels = figures.Panels(shown, ["measure"], ["layer"], 2.3, across=2)
    for ax, part, (_, layer) in panels:
        for state, look in figures.looks(("on the plateau", "escaped")).items():
            here = part[part.escaped == (state == "escaped")]
            look = look | {"marker": "", "lw": 1.8, "label": state}
            figures.mean_line(ax, here, "epoch", look, least=FEW)
        ax.set_title(f"hidden layer {layer}")
    for ax in panels.axes[:, 0]:
        ax.set_ylim(bottom=0)
    problem = figures.place_title(*units[PROBLEM].iloc[0])
    note = f"{problem}; without a technique, {figures.seeds_text(units)}: means with 95 % intervals"
    note = f"{note} of those that are there then, if {FEW} or more"
    return panels.finish("epoch", [measures[measure] for (measure,) in panels.rows], note)


@drawing
def survival(times: pd.DataFrame, arms: list[str]) -> plt.Figure:
    """The share of networks still on their plateau (Kaplan–Meier, with 95 % intervals), a column
    per problem; above with techniques, below from other starts, and in both with neither.
    times: time and escaped, indexed by data, setting, optimizer, arm and seed. arms: those that are
    drawn, where they do not equal "default"."""
    table = times.reset_index()
    plain = table.arm == "default"
    technique = outcomes.technique_of(table.arm) != ""
    kinds = {"with techniques": plain | technique, "from other starts": plain | ~technique}
    table = pd.concat({kind: table[rows] for kind, rows in kinds.items()}, names=["kind"])
    table = table[table.arm.isin(arms)].reset_index("kind")
    panels = figures.Panels(table, ["kind"], PROBLEM, 2.9, sharex="col")
    for ax, part, (_, *problem) in panels:
        lines = dict(iter(part.groupby("arm", sort=False)))
        none, end = lines.pop("default"), part.time.max()
        changes = {
            arm: group.time.sum() - none.time.sum()
            for arm, group in lines.items()
            if not np.array_equal(group[["time", "escaped"]], none[["time", "escaped"]])
        }
        starts = [a for a in arms if a != "default" and not Arm.parse(a).technique]
        of_start = dict(zip(starts, figures.START_LOOKS))
        for arm in ("default", *figures.strongest(changes)):
            group = none if arm == "default" else lines[arm]
            look = figures.arm_look(arm) | {"lw": 2.2 if arm == "default" else 1.5}
            if arm in starts:  # open markers tell them from techniques
                look |= of_start[arm] | {"ms": 5, "mfc": "white", "markevery": 0.12}
            x, *shares = effects.survival(group.time, group.escaped)
            x = np.append(x, end)
            y, low, high = (100 * np.append(share, share[-1]) for share in shares)
            ax.step(x, y, where="post", **look)
            ax.fill_between(x, low, high, step="post", color=look["color"], alpha=0.15, lw=0)
        ax.set_ylim(0, 101)
        ax.set_title(f"{figures.place_title(*problem)}, n = {len(none)} seeds")
    y = [f"on the plateau, %\n{kind}" for (kind,) in panels.rows]
    return panels.finish([time_unit(name) for name, _ in panels.columns], y)


@drawing
def escape_forest(found: pd.DataFrame, arms: list[str], margin: float) -> plt.Figure:
    """How much less time each arm needs to escape, with intervals: a panel per problem.
    Columns: data, setting, arm, estimate, low, high, n, p_holm. arms: the rows. margin: the
    smallest effect of interest, a grey band. Filled: differs by the log-rank test after Holm's
    correction within the problem."""
    entries = {(arm,): figures.arm_title(arm).removeprefix("start: ") for arm in arms}
    shown = in_percent(found)
    shown.loc[~found.index.isin(acting(found).index), figures.EFFECT] = np.nan  # what is off

    def look(row):
        technique = Arm.parse(row.arm).technique
        color, text = ("black", "a technique") if technique else ("#d55e00", "another start")
        return color, row.p_holm < 0.05, text

    panels = figures.estimates(shown, PROBLEM, ["arm"], entries, look, pitch=0.34)
    for ax, part, problem in panels:
        ax.set_title(f"{figures.place_title(*problem)}, n = {int(part.n.min())}")
        for arm in part.arm[part.estimate.isna()]:
            at = {"ha": "center", "va": "center", "fontsize": "small", "color": "0.35"}
            ax.text(0, arms.index(arm), "off", **at).set_bbox(
                {"fc": "white", "ec": "none", "pad": 1}
            )
    figures.shade(panels, [100 * margin] * len(panels.columns))
    note = "95 % intervals; filled: p < 0.05 after Holm; grey band: too small to be of interest"
    return panels.finish("less time on the plateau, %", above=f"{note}; off: equals none exactly")
