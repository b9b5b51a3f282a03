"""Pictures of where a start helps (07_where_it_holds)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from dndiv.paper import figures
from dndiv.paper.figures import CLEAR, Panels, cell_title, drawing, looks, mark, mark_changes
from dndiv.paper.findings import PUBLISHED

SIGNAL_TITLES = {
    "dead": "silent layers, share",
    "cosine": "cosine of two inputs' signals",
    "gain": "Jacobian: mean log singular value",
    "spread": "Jacobian: log of largest over mean",
}


@drawing
def maps(places: pd.DataFrame, rows: str, columns: str, x: str, label: str) -> plt.Figure:
    """How much more early accuracy a start gives: number of hidden layers downwards, orange is
    more and purple less, outlined in black where it is at least the published 40 %; a cross marks
    an interval that holds zero.
    places: columns depth, log, estimate, unclear, and those named here. rows, columns: of panels.
    x: a column, across a panel, and its label."""
    panels = Panels(places, [rows], [columns], 1.75, across=3, sharex=False, sharey=False)
    half = max(CLEAR, places.log.max())  # of gains no two sizes have one colour
    for ax, part, (row, column) in panels:
        image = _heat(ax, part, x, half)
        if row == places[rows].iloc[0] or figures.narrow():
            ax.set_title(column)
        ax.tick_params(labelsize="x-small")
    text = "change of early accuracy"
    extend = "min" if places.log.min() < -half else "neither"
    scale = figures.colorbar(panels.figure, image, text, panels.axes.flat, extend=extend)
    mark_changes(scale, -half, half, 6 if figures.narrow() else 12)
    keys = [
        Line2D([], [], color="black", lw=2, label=f"{100 * PUBLISHED:.0f} % or more"),
        Line2D([], [], color="0.25", marker="x", ms=4, ls="", label="the interval holds zero"),
    ]
    for key in keys:
        panels.axes[0, 0].add_line(key)
    above = "; ".join(filter(None, [_of(places), figures.seeds_text(places)]))
    return panels.finish(label, [f"{row}\nhidden layers" for (row,) in panels.rows], above)


def _of(places: pd.DataFrame) -> str | None:
    """The data and optimizer of places, where they have one in common."""
    cells = places[["data", "optimizer"]].drop_duplicates()
    return cell_title(*cells.iloc[0]) if len(cells) == 1 else None


def _heat(ax, part, x, half):
    """One map, whose deepest colours are of ±half: the image."""
    grids = {c: part.pivot(index="depth", columns=x, values=c) for c in ("log", "estimate")}
    unclear = part.pivot(index="depth", columns=x, values="unclear").eq(True).to_numpy()
    ax.grid(False)
    ax.set_facecolor("0.85")
    look = {"cmap": figures.DIVERGING, "norm": Normalize(-half, half), "aspect": "auto"}
    image = ax.imshow(grids["log"], **look)
    _outline(ax, grids["estimate"].ge(PUBLISHED).to_numpy())
    dark = (grids["log"].abs() > half / 2).to_numpy()
    for fields, color in ((unclear & ~dark, "0.25"), (unclear & dark, "white")):
        i, j = np.nonzero(fields)
        ax.plot(j, i, "x", color=color, ms=4, mew=1)
    n, m = unclear.shape
    marks = [f"{v:g}".replace("0.", ".") for v in grids["log"].columns]
    step = 2 if figures.narrow() and max(map(len, marks)) > 3 else 1
    ax.set_xticks(range(0, m, step), marks[::step])
    ax.set_yticks(range(n), grids["log"].index)
    return image


def _outline(ax, inside: np.ndarray) -> None:
    """A line around the fields of a map that are inside."""
    padded, lines = np.pad(inside, 1), []
    for i, j in np.argwhere(inside):
        left, right, top, bottom = j - 0.5, j + 0.5, i - 0.5, i + 0.5
        sides = {
            (0, 1): ((left, top), (right, top)),
            (2, 1): ((left, bottom), (right, bottom)),
            (1, 0): ((left, top), (left, bottom)),
            (1, 2): ((right, top), (right, bottom)),
        }
        lines += [line for (di, dj), line in sides.items() if not padded[i + di, j + dj]]
    ax.add_collection(LineCollection(lines, colors="black", lw=2, clip_on=False, zorder=3))


@drawing
def by_rate(places: pd.DataFrame) -> plt.Figure:
    """How much more early accuracy a start gives against the learning rate, with 95 % intervals: a
    panel per width, a line per number of hidden layers; dashed, the published 40 %.
    places: of one comparison, as ``findings.effect_map`` gives."""
    of_depth = looks(sorted(places.depth.unique()))
    panels = Panels(places.sort_values("width"), [], ["width"], 3)
    low, high = places.log.min(), places.log.max()
    for ax, part, (width,) in panels:
        for k, (depth, look) in enumerate(of_depth.items()):
            line = part[part.depth == depth].sort_values("rate")
            ends = np.log((1 + line[["low", "high"]]).clip(1 / 12, 12)).to_numpy().T
            reach = np.abs(ends - line.log.to_numpy())
            label = _layers(depth)
            beside = line.rate * 1.07 ** (k - (len(of_depth) - 1) / 2)
            ax.errorbar(beside, line.log, reach, label=label, ms=4, lw=1.4, elinewidth=0.8, **look)
        ax.axhline(0, color="black", lw=0.8)
        ax.axhline(np.log1p(PUBLISHED), color="firebrick", ls="--", lw=1)
        ax.set_title(f"width {width}")
        ax.set_xscale("log")
        mark(ax.xaxis, sorted(places.rate.unique()))
    ax.plot([], [], color="firebrick", ls="--", lw=1, label=f"the paper: {100 * PUBLISHED:+.0f} %")
    room = 0.15 * (high - low) + 0.05
    panels.axes[0, 0].set_ylim(low - room, high + room)
    mark_changes(panels.axes[0, 0].yaxis, low - room, high + room, 12)
    above = f"{_of(places)}, {figures.seeds_text(places)}; bars: 95 % intervals"
    return panels.finish("learning rate", "change of early accuracy", above)


def _layers(depth: int) -> str:
    return "1 hidden layer" if depth == 1 else f"{depth} hidden layers"


@drawing
def signals(places: pd.DataFrame) -> plt.Figure:
    """How much more early accuracy a start gives against what the default's networks are like
    before training: every point a network and a learning rate, numbers of hidden layers apart.
    places: of one comparison, as ``findings.effect_map`` gives."""
    figure, axes = figures.row(len(SIGNAL_TITLES), 3.2, sharey=True)
    for ax, (signal, text) in zip(axes, SIGNAL_TITLES.items()):
        for depth, look in looks(sorted(places.depth.unique())).items():
            part = places[places.depth == depth]
            label = _layers(depth)
            look = look | {"ls": "", "ms": 4, "alpha": 0.7, "label": label}
            ax.plot(part[f"other_{signal}"], part.log, **look)
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xlabel(text)
    mark_changes(axes[0].yaxis, places.log.min(), places.log.max(), 12)
    axes[0].set_ylabel("change of early accuracy")
    figures.legend(figure, axes, f"every point a network and a rate, {figures.seeds_text(places)}")
    return figure


@drawing
def predictions(places: pd.DataFrame, foretold: np.ndarray) -> plt.Figure:
    """What is foretold of the map against what was found: on the left the places that the
    regression is fitted to, on the right the slices that it has not seen; on the dashed line the
    two agree.
    places: of one comparison, as ``findings.effect_map`` gives. foretold: log(1 + effect) of each.
    """
    panels = {
        "the whole map (fitted)": ~places.held_out,
        "slices (not used to fit)": places.held_out,
    }
    of_slice = looks(list(dict.fromkeys(places.slice)))
    figure, axes = figures.row(2, 4.2, sharex=True, sharey=True)
    for ax, (heading, chosen) in zip(axes, panels.items()):
        part = places[chosen]
        ends = np.log((1 + part[["low", "high"]]).clip(1 / 12, 12)).to_numpy().T
        reach = np.abs(ends - part.log.to_numpy())
        ax.errorbar(foretold[chosen], part.log, reach, fmt="none", ecolor="0.8", elinewidth=0.7)
        for name in dict.fromkeys(part.slice):
            here = (chosen & (places.slice == name)).to_numpy()
            look = of_slice[name] | {"ls": "", "ms": 4.5, "alpha": 0.8, "label": name}
            ax.plot(foretold[here], places.log[here], **look)
        ax.axline((0, 0), slope=1, color="black", ls="--", lw=1)
        ax.set_title(heading)
        ax.set_xlabel("predicted change of early accuracy")
    every = np.concatenate([foretold, places.log])
    low, high = every.min() - 0.1, every.max() + 0.1
    axes[0].set(xlim=(low, high), ylim=(low, high))
    mark_changes(axes[0].xaxis, low, high, 7)
    mark_changes(axes[0].yaxis, low, high, 14)
    axes[0].set_ylabel("measured")
    figures.legend(figure, axes, f"{figures.seeds_text(places)} each; bars: 95 % intervals")
    return figure
