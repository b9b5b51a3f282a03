"""Pictures of two arms in training (explore)."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from dndiv.paper import figures
from dndiv.paper.design import Training, learning_rate
from dndiv.paper.findings import mean_correlation
from dndiv.paper.names import DATA, OPTIMIZERS, STARTS, TECHNIQUES, title

SIZE = 3.2, 2.9  # of a picture, in inches: three go beside each other, one on a phone
UNITS, LAYERS = 16, 5  # of an arm are shown at most


@dataclass(frozen=True)
class Look:
    """What is seen of the networks of two arms at a moment. accuracy: on the test inputs, [seeds,
    arms]. Of the first seed: weights of the first layer, [arms, units, inputs], and per hidden
    layer the correlations of its units over held-out inputs, [arms, units, units]."""

    epoch: float
    accuracy: np.ndarray
    weights: np.ndarray
    correlations: list[np.ndarray]


def names(unit: Training) -> list[str]:
    """The two arms, as A and B."""
    found = []
    for letter, arm in zip("AB", unit.arms):
        technique = f" + {title(arm.technique, TECHNIQUES)}" if arm.technique else ""
        found.append(f"{letter}: {title(arm.start, STARTS)}{technique}")
    return found


def curves(unit: Training, looks: Sequence[Look]) -> Figure:
    """Test accuracy by epoch: every seed thin, the means thick."""
    (name, rate), n = learning_rate(unit.optimizer), len(unit.seeds)
    how = f"{title(name, OPTIMIZERS)} at {rate:g}, {n} seed{'s; thick: their mean' * (n > 1)}"
    figure = _titled(f"{title(unit.data, DATA)}, {figures.setting_title(unit.setting)}", how)
    ax = figure.subplots(gridspec_kw={"left": 0.2, "right": 0.96, "bottom": 0.16, "top": 0.68})
    epochs = [look.epoch for look in looks]
    accuracy = 100 * np.stack([look.accuracy for look in looks])  # [looks, seeds, arms]
    for k, (arm, look) in enumerate(figures.looks(names(unit)).items()):
        each, mean = accuracy[..., k], accuracy[..., k].mean(1)
        ax.plot(epochs, each, color=look["color"], ls=look["ls"], lw=0.6, alpha=0.45)
        ax.plot(epochs, mean, lw=2, ms=4, label=f"{mean[-1]:.0f} %, {arm}", clip_on=False, **look)
    ax.set(xlim=(0, unit.epochs), ylim=(0, 100), xlabel="epoch", ylabel="test accuracy, %")
    place = {"loc": "upper left", "bbox_to_anchor": (0, 0.86), "frameon": False, "borderpad": 0.2}
    long = max(len(text) for text in names(unit)) > 32
    figure.legend(**place, fontsize="x-small" if long else "small", handlelength=1.8)
    return figure


def weights(unit: Training, looks: Sequence[Look]) -> Figure:
    """The incoming weights of the first layer's units, as images."""
    found = looks[-1].weights
    n, side = found.shape[1], math.isqrt(found.shape[2])
    top = np.nan_to_num(np.abs(found).max(2, keepdims=True))
    tiles = (found / np.where(top > 0, top, 1)).reshape(2, n, side, side)[:, :UNITS]
    heading = f"Weights of the first layer, {min(n, UNITS)} of {n}"
    return _strips(heading, "red +, blue −, a scale for each unit", tiles, lines=2)


def correlations(unit: Training, looks: Sequence[Look]) -> Figure:
    """The correlations of the units of the hidden layers; of many layers, some."""
    found = looks[-1].correlations
    shown = np.unique(np.linspace(0, len(found) - 1, LAYERS).round().astype(int))
    tiles = np.stack([found[layer] for layer in shown], 1)  # [arms, layers, units, units]
    texts = [[_said(layer, grid) for layer, grid in zip(shown, grids)] for grids in tiles]
    how = "red +1, blue −1; |r| is their mean size"
    return _strips("Correlations of the hidden units", how, tiles, lines=1, texts=texts)


PICTURES = {"curves": curves, "weights": weights, "correlations": correlations}


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=2 * 96)  # sharp on fine screens, too
    return buffer.getvalue()


def _titled(*lines: str) -> Figure:
    """A figure with a heading, laid out by hand: nothing moves while networks train."""
    figure = Figure(SIZE, layout="none")
    figure.text(0.02, 0.98, "\n".join(lines), va="top")
    return figure


def _strips(heading: str, how: str, tiles: np.ndarray, lines: int, texts=((), ())) -> Figure:
    """The images of two arms, [arms, images, height, width], A above B; in some lines each, and
    with a text below each image of the last line."""
    figure = _titled(heading, how)
    room = {"left": 0.09, "right": 0.98, "bottom": 0.15, "top": 0.83, "hspace": 0.5}
    axes = figure.subplots(2, 1, gridspec_kw=room)
    arms = zip(axes, figures.looks("AB").items(), tiles, texts)
    for ax, (letter, look), images, below in arms:
        columns, gap = -(-len(images) // lines), math.ceil(images.shape[1] / 10)
        padding = (0, -len(images) % columns), (gap, gap), (gap, gap)
        framed = np.pad(images, padding, constant_values=np.nan)
        rows = [list(framed[k : k + columns]) for k in range(0, len(framed), columns)]
        figures.matrix(ax, np.block(rows))
        width = framed.shape[2]
        ax.set_xticks([width * (k + 0.5) - 0.5 for k in range(len(below))], below)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        beside = {"color": look["color"], "rotation": 0, "ha": "right", "va": "center"}
        ax.set_ylabel(letter, weight="bold", **beside)
    return figure


def _said(layer: int, grid: np.ndarray) -> str:
    """A layer and its mean |correlation|, which is none where no two units vary."""
    pairs = (np.diag(grid) > 0).sum() > 1
    return f"layer {layer + 1}\n|r| {f'{mean_correlation(grid):.2f}' if pairs else '–'}"
