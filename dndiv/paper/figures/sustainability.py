"""Pictures of what small networks cost, and what they reach (09_sustainability)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter

from dndiv.paper.figures import Panels, drawing, looks, mark, seeds_text
from dndiv.paper.findings import front, start_title
from dndiv.paper.names import DATA, title

SHOWN = (0.08, 0.99)  # accuracies, on an axis on which 90 % is as far from 95 % as 10 % from 5 %
TICKS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
COSTS = {"parameters": "parameters", "macs": "multiply–accumulates of training"}


@drawing
def pareto(points: pd.DataFrame) -> plt.Figure:
    """Test accuracy against what networks cost, a row per data set: on the left after training,
    against their parameters, on the right after every epoch, against the multiply–accumulates so
    far; the steps are the fronts of each start, what no smaller or cheaper network reaches; bars
    are 95 % intervals over seeds.
    points: as ``findings.means`` gives."""
    last = points[points.epoch == points.epoch.max()]
    parts = {"parameters": last.assign(x=last.parameters), "macs": points.assign(x=points.macs)}
    table = pd.concat(parts, names=["cost"]).reset_index("cost")
    panels = Panels(table, ["data"], ["cost"], 3.2, sharex="col")
    for ax, part, (name, cost) in panels:
        for arm, look in looks([*dict.fromkeys(points.arm)]).items():
            of_arm = part[part.arm == arm]
            for depth, of_depth in of_arm.groupby("depth"):
                layers = "1 hidden layer" if depth == 1 else f"{depth} hidden layers"
                label = f"{start_title(arm)}, {layers}"
                face = look["color"] if depth == 1 else "white"
                alone = {"ls": "", "ms": 4, "mfc": face, "alpha": 0.7, "label": label}
                ax.plot(of_depth.x, of_depth.accuracy, **look | alone)
            best = front(of_arm, "x")
            ends = best[["low", "high"]].clip(*SHOWN).to_numpy().T
            reach = np.abs(ends - best.accuracy.to_numpy())
            color = look["color"]
            ax.errorbar(best.x, best.accuracy, reach, fmt="none", ecolor=color, lw=0.8, alpha=0.6)
            steps = {"drawstyle": "steps-post", "marker": None, "lw": 1.4}
            ax.plot(best.x, best.accuracy, **look | steps)
        ax.set_title(f"{title(name, DATA)}: by {COSTS[cost]}")
        ax.set(xscale="log", yscale="logit", ylim=SHOWN)
        ax.xaxis.set_minor_formatter(NullFormatter())
        mark(ax.yaxis, TICKS, lambda share: f"{100 * share:g}")
    return panels.finish(
        [*COSTS.values()],
        "test accuracy, %",
        f"means of {seeds_text(points)}; bars: 95 % intervals",
    )


@drawing
def to_target(table: pd.DataFrame) -> plt.Figure:
    """Multiply–accumulates of training until networks have a share of the wide network's accuracy,
    against their width: every network a marker, hollow where the run ends before it is reached; the
    line is the median where more than half of them reach it.
    table: rows of ``findings.to_target`` with ``panel``, a heading."""
    panels = Panels(table, ["data"], ["panel"], 2.6, across=2)
    for ax, part, (name, heading) in panels:
        of_arms = looks([*dict.fromkeys(table.arm)])
        for k, (arm, look) in enumerate(of_arms.items()):
            of_arm = part[part.arm == arm]
            beside = 1.1 ** (k - (len(of_arms) - 1) / 2)
            for reached, face in ((True, look["color"]), (False, "white")):
                chosen = of_arm[of_arm.reached == reached]
                alone = {"ls": "", "ms": 4, "mfc": face, "alpha": 0.7}
                ax.plot(chosen.width * beside, chosen.macs, **look | alone)
            by = of_arm.groupby("width")
            middle = by.macs.median().where(by.reached.mean() > 0.5)
            line = {"marker": None, "lw": 1.5, "label": start_title(arm)}
            ax.plot(middle.index * beside, middle, **look | line)
        ax.set_title(f"{title(name, DATA)}, {heading}")
        ax.set(xscale="log", yscale="log")
        ax.yaxis.set_minor_formatter(NullFormatter())
        mark(ax.xaxis, sorted(table.width.unique()))
    note = "markers: networks, hollow where the run ends before; lines: medians where most reach it"
    note = f"{note}; {seeds_text(table)}"
    return panels.finish("units per hidden layer", "multiply–accumulates", note)
