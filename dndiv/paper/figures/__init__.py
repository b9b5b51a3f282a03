"""Pictures of tables, a module per notebook; here is what they share. A figure is a function of
tables alone, and is kept as PNG and PDF with its table as CSV."""

import io
import math
from collections.abc import Callable, Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Image
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dndiv.paper import files
from dndiv.paper.arms import Arm
from dndiv.paper.design import GRID, SETTINGS, hidden_layers
from dndiv.paper.names import CELL, DATA, DATA_SETS, OPTIMIZERS, STARTS, TECHNIQUES, title

DATA_COLORS = dict(zip(DATA_SETS, sns.color_palette("colorblind")))
_PALETTE = sns.color_palette("colorblind")
TECHNIQUE_COLORS = dict(zip(GRID, [*_PALETTE[:6], _PALETTE[9]]))  # the six, and not its pink
EFFECT = ["estimate", "low", "high"]  # columns that ``estimates`` draws


def style() -> None:
    """The look of all figures; called once at the top of a notebook."""
    rc = {
        "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
        "figure.dpi": 90, "savefig.dpi": 150, "pdf.fonttype": 42, "axes.titlesize": "small",
        "figure.constrained_layout.use": True,
    }  # fmt: skip
    sns.set_theme("notebook", style="ticks", palette="colorblind", font_scale=0.85, rc=rc)


def save(figure: plt.Figure, name: str, table: pd.DataFrame, preset: str) -> Image:
    """Keep a figure and its table in ``results/<preset>/figures``; return the picture to be shown.
    Not in the committed reference: that is what the last full run has left. A figure of the
    embedded digits says so below."""
    if "data" in table and (table["data"] == "Digits").any():
        notice = "Embedded digits, not MNIST or Fashion-MNIST: this decides no claim about them."
        figure.supxlabel(notice, color="firebrick", fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # drawn once: this is what is shown, too
    if preset != files.REFERENCE:
        figure.set_layout_engine("none")  # as laid out
        file, pdf = files.results(preset) / "figures" / name, {"metadata": {"CreationDate": None}}
        for kind, write in {
            "png": lambda part: part.write_bytes(buffer.getvalue()),
            "pdf": lambda part: figure.savefig(part, format="pdf", **pdf),
            "csv": lambda part: table.to_csv(part, index=False, lineterminator="\n"),
        }.items():
            files.atomically(file.with_name(f"{name}.{kind}"), write)
    plt.close(figure)
    width = round(figure.get_figwidth() * plt.rcParams["figure.dpi"])
    return Image(buffer.getvalue(), width=width)


# ------------------------------------------------------------------------------- titles and looks
def seeds_text(table: pd.DataFrame) -> str:
    """The number of seeds: of effects (column n), or of each arm (columns arm, seed)."""
    by = [column for column in (*CELL, "arm") if column in table]  # data sets share no seeds
    counts = table.n if "n" in table else table.groupby(by).seed.nunique()
    low, high = counts.min(), counts.max()
    return f"n = {low} seeds" if low == high else f"n = {low} to {high} seeds"


def cell_title(name: str, optimizer: str) -> str:
    return f"{title(name, DATA)}, {title(optimizer, OPTIMIZERS)}"


def setting_title(setting: str) -> str:
    hidden = hidden_layers(setting)
    name = f"{setting}, " if setting in SETTINGS else ""
    return f"{name}{len(hidden)} layer{'s' * (len(hidden) > 1)} of {hidden[0]}"


def place_title(name: str, setting: str, optimizer: str = "") -> str:
    """A cell, or with its optimizer left out a problem, in a line."""
    where = cell_title(name, optimizer) if optimizer else title(name, DATA)
    return f"{where}: {setting_title(setting)}"


def arm_title(arm: str) -> str:
    """An arm where techniques are compared: by its technique, or else by its start."""
    if technique := Arm.parse(arm).technique:
        return title(technique, TECHNIQUES)
    return "no technique" if arm == "default" else f"start: {title(arm, STARTS)}"


def arm_look(arm: str) -> dict:
    """The line of an arm where techniques are compared: none broad and black, starts grey."""
    if arm == "default":
        return {"color": "black", "lw": 2.6, "alpha": 0.55}
    return {"color": TECHNIQUE_COLORS.get(Arm.parse(arm).technique, "grey"), "lw": 1.4}


# ------------------------------------------------------------------------------------------ panels
def keys(table: pd.DataFrame, names: Sequence[str]) -> list[tuple]:
    """The different values of some columns, in the order of the table; of no columns, one: ()."""
    found = table[list(names)].drop_duplicates().itertuples(index=False, name=None)
    return list(found) if names else [()]


class Panels:
    """A figure with a row and a column of panels for every value that a table has.

    Iterating gives the axes, the part of the table that belongs there, and its values of ``rows``
    and ``columns``; where there is no such part the panel is left blank.

    Args:
        table: what is drawn. rows, columns: names of its columns; without rows, a single line.
        width, height: of a panel, in inches; margin: beside panels. share: sharex and sharey.
    """

    def __init__(self, table, rows, columns, width, height, margin=0.0, **share):
        self.rows, self.columns = keys(table, rows), keys(table, columns)
        self.parts = dict(iter(table.groupby([*rows, *columns], sort=False, observed=True)))
        n, m = len(self.rows), len(self.columns)
        share |= {"squeeze": False, "figsize": (width * m + margin, height * n)}
        self.figure, self.axes = plt.subplots(n, m, **share)

    def __iter__(self) -> Iterator[tuple[plt.Axes, pd.DataFrame, tuple]]:
        for line, row in zip(self.axes, self.rows):
            for ax, column in zip(line, self.columns):
                if row + column in self.parts:
                    yield ax, self.parts[row + column], row + column
                else:
                    ax.set_axis_off()

    def finish(self, x: str | list[str] = (), y: str | list[str] = (), **legend) -> plt.Figure:
        """The figure, with what panels share written outside: x below the last row and y left of
        each (one text or several), and above, if asked for, a legend of all that has a label."""
        for ax, text in zip(self.axes[-1], [x] * len(self.columns) if isinstance(x, str) else x):
            ax.set_xlabel(text)
        for ax, text in zip(self.axes[:, 0], [y] * len(self.rows) if isinstance(y, str) else y):
            ax.set_ylabel(text)
        if legend:
            drawn = [h for ax in self.axes.flat for h in ax.get_legend_handles_labels()[0]]
            look = {"ncols": 10, "frameon": False, "loc": "outside upper center"} | legend
            self.figure.legend(handles=list({h.get_label(): h for h in drawn}.values()), **look)
        return self.figure


def cell_panels(table: pd.DataFrame, height: float, width: float = 4, **share) -> Panels:
    """Titled panels: a row per data set and optimizer, a column per setting."""
    panels = Panels(table, ["data", "optimizer"], ["setting"], width, height, sharex=True, **share)
    for ax, _, (name, optimizer, setting) in panels:
        ax.set_title(place_title(name, setting, optimizer))
    return panels


def cell_look(row) -> tuple[tuple | str, bool, str]:
    """How ``estimates`` shows a cell: colour tells the data set, filling the optimizer."""
    color = DATA_COLORS.get(row.data, "grey")
    return color, row.optimizer == "adam", cell_title(row.data, row.optimizer)


def estimates(
    table, columns, by, entries, width, look=cell_look, pitch=0.42, margin=0.0, zero=0.0
) -> Panels:
    """Estimates with intervals (where these are NaN, points), in panels side by side.

    Args:
        table: columns estimate, low, high, and those named here. columns: as of ``Panels``.
        by, entries: names of columns; their values to texts, from top to bottom.
        look: of a row, gives colour, whether the marker is filled, and a text for the legend.
        width, pitch: of a panel and of an entry, in inches. zero: where there is no effect.
    """
    panels = Panels(table, [], columns, width, pitch * len(entries) + 1.5, margin, sharey=True)
    panels.axes[0, 0].set_yticks(range(len(entries)), entries.values())
    panels.axes[0, 0].set_ylim(len(entries) - 0.5, -0.5)
    for ax, part, _ in panels:
        ax.axvline(zero, color="black", lw=1)
        found = dict(iter(part.groupby(by)))
        for y, rows in enumerate(found.get(key, part[:0]) for key in entries):
            for k, row in enumerate(rows.itertuples()):  # those of one entry below each other
                reach = np.fmax([[row.estimate - row.low], [row.high - row.estimate]], 0)
                color, filled, text = look(row)
                line = {"fmt": "o", "ms": 5, "capsize": 2, "lw": 1.5, "color": color, "label": text}
                at = row.estimate, y + 0.2 * (k - (len(rows) - 1) / 2)
                ax.errorbar(*at, xerr=reach, mfc=color if filled else "white", **line)
    return panels


def cell_estimates(panels: dict[str, pd.DataFrame], zero: float = 0.0) -> Panels:
    """``estimates`` with a row per cell and a panel per comparison: title to its table."""
    table = pd.concat(panels, names=["panel"]).reset_index("panel")
    entries = {cell: place_title(*cell) for cell in keys(table, CELL)}
    drawn = estimates(table, ["panel"], CELL, entries, 4, margin=3, zero=zero)
    for ax, _, (heading,) in drawn:
        ax.set_title(heading, fontsize="medium")
    return drawn


def mark(axis, ticks: Sequence[float], text: Callable[[float], str] = "{:g}".format) -> None:
    """Ticks at these values alone, with these texts; for axes that are not linear."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def annotated(ax, colors, texts, rows: Sequence[str], columns: Sequence[str], **options) -> None:
    """A heat map with a text in every field, its rows and columns labelled."""
    sns.heatmap(colors, annot=texts, ax=ax, **options)
    ax.set_yticklabels(rows, rotation=0)
    ax.set_xticklabels(columns, rotation=0, fontsize="small")
    ax.set(xlabel="", ylabel="")


def cell_columns(cells: Sequence[tuple[str, str, str]]) -> list[str]:
    """Cells in three lines each, below the columns of a heat map."""
    return [f"{title(n, DATA)}\n{s}\n{title(o, OPTIMIZERS)}" for n, s, o in cells]


LOOKS = (  # colour, dashes and marker: told apart by each of them alone; blue is MNIST's
    ("black", "-", "o"),
    ("#d55e00", "--", "s"),
    ("#009e73", "-.", "^"),
    ("#cc79a7", ":", "D"),
    ("#b8860b", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("0.5", (0, (8, 3)), "P"),
)


def looks(names: Sequence) -> dict:
    """A line's look for each of at most six names, in their order."""
    if len(names) > len(LOOKS):
        raise ValueError(f"a panel has at most {len(LOOKS)} lines, not {len(names)}: {names}")
    return {
        name: {"color": color, "ls": dashes, "marker": marker}
        for name, (color, dashes, marker) in zip(names, LOOKS)
    }


def square(values) -> np.ndarray:
    """Values row by row as the square matrix, or picture, that they are of."""
    return np.reshape(values, (math.isqrt(np.size(values)), -1))


def matrix(ax, grid: np.ndarray):
    """A square matrix of cosines or correlations: red is 1, blue −1. Returns the image."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    return ax.imshow(grid, vmin=-1, vmax=1, cmap="RdBu_r")
