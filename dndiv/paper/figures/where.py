"""Pictures of where a start helps (07_where_it_holds)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from dndiv.paper.figures import Panels, cell_title, looks, mark
from dndiv.paper.findings import PUBLISHED

WIDTH = 11.1  # inches: all of a notebook's page
CLEAR = np.log(4)  # what is fourfold, or a fourth, has the deepest colour
CHANGES = (0, 0.4, 2, -0.5, 1, 4, -0.75, 10, 0.15, -0.3, -0.9, -0.15)  # to mark, as room permits
SIGNAL_TITLES = {
    "dead": "silent layers, share",
    "cosine": "cosine of two inputs' signals",
    "gain": "Jacobian: mean log singular value",
    "spread": "Jacobian: log of largest over mean",
}


def maps(places: pd.DataFrame, rows: str, columns: str, x: str, label: str) -> plt.Figure:
    """How much more early accuracy a start gives: number of hidden layers downwards, orange is
    more and purple less, outlined in black where it is at least the published 40 %; a cross marks
    an interval that holds zero.
    places: columns depth, log, estimate, unclear, and those named here. rows, columns: of panels.
    x: a column, across a panel, and its label."""
    count = places[columns].nunique()
    panels = Panels(places, [rows], [columns], (WIDTH - 1.4) / count, 1.75, margin=1.4)
    for ax, part, (row, column) in panels:
        image = _heat(ax, part, x)
        if row == places[rows].iloc[0]:
            ax.set_title(column, fontsize="small")
        ax.tick_params(labelsize="x-small")
    colors = panels.figure.colorbar(image, ax=panels.axes, shrink=0.7, aspect=30, extend="both")
    _mark(colors.ax.yaxis, -CLEAR, CLEAR, 14)
    colors.set_label("change of early accuracy")
    keys = [
        Line2D([], [], color="black", lw=2, label=f"{100 * PUBLISHED:.0f} % or more"),
        Line2D([], [], color="0.25", marker="x", ms=4, ls="", label="the interval holds zero"),
    ]
    look = {"ncols": 2, "frameon": False, "loc": "outside upper center", "title": _of(places)}
    panels.figure.legend(handles=keys, **look)
    return panels.finish(label, [f"{row}\nhidden layers" for (row,) in panels.rows])


def _of(places: pd.DataFrame) -> str | None:
    """The data and optimizer of places, where they have one in common."""
    cells = places[["data", "optimizer"]].drop_duplicates()
    return cell_title(*cells.iloc[0]) if len(cells) == 1 else None


def _heat(ax, part, x):
    """One map: the image."""
    grids = {c: part.pivot(index="depth", columns=x, values=c) for c in ("log", "estimate")}
    unclear = part.pivot(index="depth", columns=x, values="unclear").eq(True).to_numpy()
    ax.grid(False)
    ax.set_facecolor("0.85")
    look = {"cmap": "PuOr_r", "norm": Normalize(-CLEAR, CLEAR), "aspect": "auto"}
    image = ax.imshow(grids["log"], **look)
    _outline(ax, grids["estimate"].ge(PUBLISHED).to_numpy())
    i, j = np.nonzero(unclear)
    ax.plot(j, i, "x", color="0.25", ms=4, mew=1)
    n, m = unclear.shape
    ax.set_xticks(range(m), [f"{v:g}".replace("0.", ".") for v in grids["log"].columns])
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


def _mark(axis, low: float, high: float, most: int) -> None:
    """Changes as the labels of an axis of logarithms, between two of them, at most so many."""
    shown: list[float] = []
    for at in np.log1p(CHANGES):
        if low <= at <= high and all(abs(at - other) * most >= high - low for other in shown):
            shown.append(at)
    mark(axis, shown, _change)


def _change(log: float) -> str:
    """A ratio's logarithm as a relative change."""
    change = 100 * np.expm1(log)
    return f"{change:+.0f} %" if abs(change) > 0.5 else "0"


def by_rate(places: pd.DataFrame) -> plt.Figure:
    """How much more early accuracy a start gives against the learning rate, with 95 % intervals: a
    panel per width, a line per number of hidden layers; dashed, the published 40 %.
    places: of one comparison, as ``findings.effect_map`` gives."""
    of_depth = looks(sorted(places.depth.unique()))
    columns = places.width.nunique()
    panels = Panels(
        places.sort_values("width"), [], ["width"], WIDTH / columns, 3.6, sharex=True, sharey=True
    )
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
    _mark(panels.axes[0, 0].yaxis, low - room, high + room, 14)
    title = _of(places)
    return panels.finish("learning rate", "change of early accuracy", ncols=6, title=title)


def _layers(depth: int) -> str:
    return "1 hidden layer" if depth == 1 else f"{depth} hidden layers"


def signals(places: pd.DataFrame) -> plt.Figure:
    """How much more early accuracy a start gives against what the default's networks are like
    before training: every point a network and a learning rate, numbers of hidden layers apart.
    places: of one comparison, as ``findings.effect_map`` gives."""
    figure, axes = plt.subplots(1, len(SIGNAL_TITLES), figsize=(WIDTH, 3.2), sharey=True)
    for ax, (signal, text) in zip(axes, SIGNAL_TITLES.items()):
        for depth, look in looks(sorted(places.depth.unique())).items():
            part = places[places.depth == depth]
            label = _layers(depth)
            look = look | {"ls": "", "ms": 4, "alpha": 0.7, "label": label}
            ax.plot(part[f"other_{signal}"], part.log, **look)
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xlabel(text, fontsize="small")
    _mark(axes[0].yaxis, places.log.min(), places.log.max(), 12)
    axes[0].set_ylabel("change of early accuracy")
    figure.legend(
        *axes[0].get_legend_handles_labels(), ncols=5, frameon=False, loc="outside upper center"
    )
    return figure


def predictions(places: pd.DataFrame, foretold: np.ndarray) -> plt.Figure:
    """What is foretold of the map against what was found: on the left the places that the
    regression is fitted to, on the right the slices that it has not seen; on the dashed line the
    two agree.
    places: of one comparison, as ``findings.effect_map`` gives. foretold: log(1 + effect) of each.
    """
    panels = {"the whole map (fitted)": ~places.held_out, "slices (not looked at)": places.held_out}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharex=True, sharey=True)
    for ax, (heading, chosen) in zip(axes, panels.items()):
        part = places[chosen]
        ends = np.log((1 + part[["low", "high"]]).clip(1 / 12, 12)).to_numpy().T
        reach = np.abs(ends - part.log.to_numpy())
        ax.errorbar(foretold[chosen], part.log, reach, fmt="none", ecolor="0.8", elinewidth=0.7)
        for name, look in looks(list(dict.fromkeys(part.slice))).items():
            of_slice = (chosen & (places.slice == name)).to_numpy()
            look = look | {"ls": "", "ms": 4.5, "alpha": 0.8, "label": name}
            ax.plot(foretold[of_slice], places.log[of_slice], **look)
        ax.axline((0, 0), slope=1, color="black", ls="--", lw=1)
        ax.set_title(heading)
        ax.set_xlabel("foretold change of early accuracy")
        ax.legend(fontsize="x-small", loc="upper left")
    every = np.concatenate([foretold, places.log])
    low, high = every.min() - 0.1, every.max() + 0.1
    axes[0].set(xlim=(low, high), ylim=(low, high))
    _mark(axes[0].xaxis, low, high, 9)
    _mark(axes[0].yaxis, low, high, 14)
    axes[0].set_ylabel("found")
    return figure
