"""Pictures of tables, a module per notebook; here is what they share. A figure is a function of
tables alone, and is kept as PNG and PDF with its table as CSV, and once more as narrow as a
telephone."""

import functools
import hashlib
import html
import io
import json
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image, publish_display_data
from matplotlib.axis import YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import special

from dndiv.paper import code, files, pictures
from dndiv.paper.arms import Arm
from dndiv.paper.design import CONVOLUTIONAL, FILTERS, GRID, SETTINGS, hidden_layers
from dndiv.paper.names import CELL, DATA, DATA_SETS, OPTIMIZERS, STARTS, TECHNIQUES, title

PIXELS = 90  # of an inch of a figure, where it is shown
DOTS, NARROW_DOTS = 150, 120  # of an inch of its PNG, and of the one for a telephone
WIDTH, NARROW = 11.1, 358 / PIXELS  # inches: all of a notebook's page, and of a telephone's
ONCE = "smoke"  # the preset whose figures are PNG alone: it shows that all goes through, in a hurry
DIVERGING = "PuOr_r"  # maps of what has a sign: orange is more, purple less
EFFECT = ["estimate", "low", "high"]  # columns that ``estimates`` draws
_narrow = False


@functools.cache
def style() -> None:
    """The look of all figures, from the first one on."""
    import seaborn as sns  # slow to import, for a notebook that draws nothing

    rc = {
        "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
        "figure.dpi": PIXELS, "savefig.dpi": 150, "pdf.fonttype": 42, "axes.titlesize": "small",
        "axes.labelsize": "small", "xtick.labelsize": "small", "ytick.labelsize": "small",
        "figure.constrained_layout.use": True,
    }  # fmt: skip
    sns.set_theme("notebook", style="ticks", palette="colorblind", font_scale=0.85, rc=rc)


# ---------------------------------------------------------------------- drawn to be read, and kept
class Drawing:
    """What a function draws of its arguments: it is the figure, drawn when that is looked at."""

    def __init__(self, draw: Callable[..., plt.Figure], args: tuple, options: dict):
        self.alternative = pictures.described(draw.__doc__)
        self._draw, self._args, self._options = draw, args, options

    @functools.cached_property
    def figure(self) -> plt.Figure:
        return self.drawn()

    def __getattr__(self, name: str):
        return getattr(self.figure, name)

    def drawn(self) -> plt.Figure:
        """A new figure."""
        style()
        figure = self._draw(*self._args, **self._options)
        figure.set_dpi(NARROW_DOTS if narrow() else DOTS)
        lay_out(figure)
        if _break_lines(figure):
            lay_out(figure)
        figure.set_dpi(PIXELS)
        return figure

    def digest(self) -> str:
        """Of the code that draws it, and of what is drawn, numbers to six digits behind the point:
        processors differ in the last ones. Empty where one of these cannot be told: what it is of
        is always drawn."""
        names = [(self._draw.__module__, self._draw.__name__)]
        parts = ("style", "Drawing", "_png", "_keep_others")
        names += [("dndiv.paper.figures", name) for name in parts]
        try:
            text = json.dumps([code.digest(names), _content((self._args, self._options))])
        except (TypeError, ValueError):  # or of code that is not this package's
            return ""
        return hashlib.sha256(text.encode()).hexdigest()


def drawing(draw: Callable[..., plt.Figure]) -> Callable[..., Drawing]:
    """Decorates what draws; its docstring but for the arguments is the alternative text."""
    return functools.wraps(draw)(lambda *args, **options: Drawing(draw, args, options))


def _content(value):
    """What a digest takes of an argument. Raises TypeError for what it cannot tell apart."""
    if isinstance(value, pd.Series):
        value = value.to_frame()
    if isinstance(value, pd.DataFrame):
        rows = pd.util.hash_pandas_object(value.round(6)).to_numpy()
        names = [*map(str, value.columns), *map(str, value.index.names)]
        return [names, hashlib.sha256(rows.tobytes()).hexdigest()]
    if isinstance(value, dict):
        return [[_content(key), _content(of)] for key, of in value.items()]
    if isinstance(value, list | tuple):
        return [*map(_content, value)]
    if isinstance(value, np.ndarray):
        return _content(value.tolist())
    if isinstance(value, float):
        return round(float(value), 6)
    if value is None or isinstance(value, str | int | np.integer):
        return str(value)
    raise TypeError(f"a digest tells no two {type(value).__name__}s apart")


def narrow() -> bool:
    """Whether what is drawn now is for a telephone."""
    return _narrow


def narrowed(drawing: Drawing) -> plt.Figure:
    """The same for a telephone: a new figure, whose panels are below each other."""
    global _narrow
    _narrow = True
    try:
        return drawing.drawn()
    finally:
        _narrow = False


def lay_out(figure: plt.Figure) -> None:
    """Axes are put where they will be; nothing is drawn, which would take as long again."""
    engine = figure.get_layout_engine()
    squares = any(ax.get_aspect() != "auto" for ax in figure.axes)
    for _ in range(4 if squares else 1):  # the room of these changes by it
        if engine:  # none without ``style``
            engine.execute(figure)
        for ax in figure.axes:
            ax.apply_aspect()


def _break_lines(figure: plt.Figure) -> bool:
    """Titles and labels of axes are broken where they are longer than their axes; whether any."""
    broken = False
    for ax in figure.axes:
        box = ax.get_window_extent()
        texts = ((ax.title, box.width), (ax.xaxis.label, box.width), (ax.yaxis.label, box.height))
        for text, room in texts:
            extent = text.get_window_extent()
            length = extent.height if text is ax.yaxis.label else extent.width
            if length > room > 0:
                letters = int(max(map(len, text.get_text().split("\n"))) * room / length)
                lines = text.get_text().replace(": ", ":\n").split("\n")
                text.set_text("\n".join(textwrap.fill(line, max(letters, 8)) for line in lines))
                broken = True
    return broken


def save(drawing: Drawing, name: str, table: pd.DataFrame, preset: str) -> Image:
    """Keep a figure, wide and narrow, and its table in ``results/<preset>/figures``; return the
    picture to be shown.

    One that is there is kept if the same code drew it of the same. The committed reference is what
    the last full run has left, and stays so: what it has not is drawn, and shown alone. A figure of
    the embedded digits says so below."""
    digest, folder = drawing.digest(), files.results(preset) / "figures"
    wide, phone, paper = (folder / f"{name}.{kind}" for kind in ("png", "narrow.png", "pdf"))
    shown = pictures.drawn_of(digest, wide)
    if preset == files.REFERENCE:
        shown = shown or _png(drawing.figure, table)
    else:
        if not (shown and (preset == ONCE or (phone.exists() and paper.exists()))):
            shown = _png(drawing.figure, table, digest)
            if preset == ONCE:
                for other in (phone, paper):  # of a smoke run that drew them, too
                    other.unlink(missing_ok=True)
            else:
                _keep_others(drawing, table, phone, paper)
            files.atomically(wide, lambda part: part.write_bytes(shown))  # last: then all are there
        rows = folder / f"{name}.csv"
        files.atomically(rows, lambda part: table.to_csv(part, index=False, lineterminator="\n"))
    if "figure" in vars(drawing):
        plt.close(drawing.figure)
    width = round(pictures.size(shown)[0] / DOTS * PIXELS)
    return Picture(shown, width=width, alt=drawing.alternative)


def _keep_others(drawing: Drawing, table: pd.DataFrame, phone: Path, paper: Path) -> None:
    """Of a figure that has been drawn as PNG, the one for a telephone and the PDF."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # slow to import

    narrow = narrowed(drawing)
    small = pictures.small(_png(narrow, table, dots=NARROW_DOTS), colors_of(narrow))
    plt.close(narrow)
    files.atomically(phone, lambda part: part.write_bytes(small))
    canvas = FigureCanvasPdf(drawing.figure)  # laid out as the PNG is; ``savefig`` would draw twice
    files.atomically(paper, lambda part: canvas.print_pdf(part, metadata={"CreationDate": None}))


def colors_of(figure: plt.Figure) -> int:
    """How many colours a small picture of it needs: all that there are where they are a scale."""
    drawn = (part for ax in figure.axes for part in (*ax.collections, *ax.images))
    return pictures.COLORS if any(part.get_array() is not None for part in drawn) else 96


class Picture(Image):
    """A picture that says what it shows where it cannot be seen."""

    def __repr__(self) -> str:
        return self.alt

    def _ipython_display_(self) -> None:
        """Below it, its alternative text: JupyterLab gives a picture none that could be heard."""
        data, metadata = self._repr_mimebundle_()
        publish_display_data(data | {"text/plain": self.alt}, metadata)
        publish_display_data({"text/html": caption(self.alt), "text/plain": self.alt})


def caption(alternative: str) -> str:
    """What stands below a picture in a notebook."""
    return f"<small>The picture: {html.escape(alternative)}</small>"


def _png(figure: plt.Figure, table: pd.DataFrame, digest: str = "", dots: int = DOTS) -> bytes:
    """As it was laid out; ``savefig`` would do that again, and draw twice."""
    figure.set_dpi(dots)
    if "data" in table and (table["data"] == "Digits").any():
        notice = "Embedded digits, not MNIST or Fashion-MNIST: this decides no claim about them."
        wrapped = textwrap.fill(notice, int(15 * figure.get_figwidth()))
        figure.supxlabel(wrapped, color="firebrick", fontsize="small")
        lay_out(figure)
    figure.set_layout_engine("none")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={pictures.DIGEST: digest} if digest else {})
    return buffer.getvalue()


# ------------------------------------------------------------------------------- titles and looks
@functools.cache
def data_colors() -> dict[str, tuple[float, float, float]]:
    """Of data sets, told apart by the colour-blind; blue is MNIST, nothing else."""
    import seaborn as sns

    return dict(zip(DATA_SETS, sns.color_palette("colorblind")))


def seeds_text(table: pd.DataFrame) -> str:
    """The number of seeds: of effects (column n), or of each arm (columns arm, seed)."""
    by = [column for column in (*CELL, "arm") if column in table]  # data sets share no seeds
    return span(table.n if "n" in table else table.groupby(by).seed.nunique())


def span(counts: pd.Series) -> str:
    """From how few to how many seeds."""
    low, high = counts.min(), counts.max()
    return f"n = {low} seeds" if low == high else f"n = {low} to {high} seeds"


def cell_title(name: str, optimizer: str) -> str:
    return f"{title(name, DATA)}, {title(optimizer, OPTIMIZERS)}"


def setting_title(setting: str) -> str:
    if setting == CONVOLUTIONAL:
        return f"convolutional, {' and '.join(map(str, FILTERS))} filters"
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


# ------------------------------------------------------------------------------------------ panels
def keys(table: pd.DataFrame, names: Sequence[str]) -> list[tuple]:
    """The different values of some columns, in the order of the table; of no columns, one: ()."""
    found = table[list(names)].drop_duplicates().itertuples(index=False, name=None)
    return list(found) if names else [()]


class Panels:
    """A figure with a row and a column of panels for every value that a table has; narrow, a row is
    broken into several.

    Iterating gives the axes, the part of the table that belongs there, and its values of ``rows``
    and ``columns``; where there is no such part the panel is left blank.

    Args:
        table: what is drawn. rows, columns: names of its columns; without rows, a single line.
        height: of a panel, in inches. across: how many stand side by side on a telephone.
        sharex, sharey: whether all have one axis, or those of a "row" or "col".
    """

    def __init__(self, table, rows, columns, height, across=1, sharex=True, sharey="row"):
        self.rows, self.columns = keys(table, rows), keys(table, columns)
        self.parts = dict(iter(table.groupby([*rows, *columns], sort=False, observed=True)))
        n, m = len(self.rows), len(self.columns)
        self.abreast = min(across, m) if narrow() else m
        lines = math.ceil(m / self.abreast)
        size = NARROW if narrow() else WIDTH, height * n * lines
        self.figure, axes = plt.subplots(n * lines, self.abreast, squeeze=False, figsize=size)
        axes = axes.reshape(n, lines * self.abreast)
        self.axes = axes[:, :m]
        for ax in axes[:, m:].flat:
            ax.remove()
        for (i, j), ax in np.ndenumerate(self.axes):
            firsts = {True: self.axes[0, 0], "row": self.axes[i, 0], "col": self.axes[0, j]}
            for join, kind in ((ax.sharex, sharex), (ax.sharey, sharey)):
                if kind and firsts[kind] is not ax:
                    join(firsts[kind])
            left = j % self.abreast == 0 or sharey not in (True, "row")
            bottom = i == n - 1 or narrow() or sharex not in (True, "col")
            ax.tick_params(which="both", labelleft=left, labelbottom=bottom)

    def __iter__(self) -> Iterator[tuple[plt.Axes, pd.DataFrame, tuple]]:
        for line, row in zip(self.axes, self.rows):
            for ax, column in zip(line, self.columns):
                if row + column in self.parts:
                    yield ax, self.parts[row + column], row + column
                else:
                    ax.set_axis_off()

    def finish(
        self, x: str | list[str] = "", y: str | list[str] = "", above: str | None = None
    ) -> plt.Figure:
        """The figure, with what panels share written outside: x below and y on the left (one text,
        or one for each column, or row), and above a text and a legend of all that has a label."""
        n, m = self.axes.shape
        for (i, j), ax in np.ndenumerate(self.axes):
            if i == n - 1 and (j >= m - self.abreast or not isinstance(x, str)):
                ax.set_xlabel(x if isinstance(x, str) else x[j])
            if j % self.abreast == 0:
                ax.set_ylabel(y if isinstance(y, str) else y[i])
        legend(self.figure, self.axes.flat, above)
        return self.figure


def row(count: int, height: float, width: float = WIDTH, **share) -> tuple[plt.Figure, list]:
    """A figure and its panels: side by side, or on a telephone below each other."""
    if narrow():
        figure, axes = plt.subplots(
            count, squeeze=False, figsize=(NARROW, 0.85 * height * count), **share
        )
    else:
        figure, axes = plt.subplots(1, count, squeeze=False, figsize=(width, height), **share)
    for ax in axes.flat:
        ax.tick_params(labelbottom=True)
    return figure, list(axes.flat)


def legend(figure: plt.Figure, axes, text: str | None = None) -> None:
    """All that has a label in some axes, each once, above a figure in as many columns as it has
    room for, below a text."""
    drawn = [h for ax in axes for h in ax.get_legend_handles_labels()[0] if h.get_label()]
    handles = list({h.get_label(): h for h in drawn}.values())
    if text:
        text = textwrap.fill(text, int(14.5 * figure.get_figwidth()))
    look = {"frameon": False, "loc": "outside upper center", "title": text}
    look |= {"fontsize": "small", "title_fontsize": "small"}
    for ncols in range(len(handles) or 1, 0, -1):
        if not handles and not text:
            return
        made = figure.legend(handles=handles, ncols=ncols, **look)
        if made.get_window_extent().width <= figure.bbox.width:
            return
        if ncols > 1:
            made.remove()


def colorbar(figure: plt.Figure, image, label: str, axes, **look):
    """The scale of maps: beside them, or on a telephone below them."""
    look |= {"location": "bottom" if narrow() else "right", "aspect": 30}  # its label above it
    if narrow():  # of the height of a tall figure no share would fit its labels
        look |= {"aspect": 20, "fraction": 0.5 / figure.get_figheight(), "pad": 0.01}
    bar = figure.colorbar(image, ax=list(axes), label=label, shrink=0.8, **look)
    bar.ax.xaxis.set_label_position("top")
    return bar.ax.xaxis if narrow() else bar.ax.yaxis


def cell_panels(table: pd.DataFrame, height: float, **share) -> Panels:
    """Titled panels: a row per data set and optimizer, a column per setting; narrow, turned."""
    rows, columns = ["data", "optimizer"], ["setting"]
    if narrow():  # as many as stand beside each other share a setting
        rows, columns = columns, rows
    panels = Panels(table, rows, columns, height, across=2, **share)
    for ax, part, _ in panels:
        ax.set_title(place_title(*part[CELL].iloc[0]))
    return panels


def mean_line(
    ax, table: pd.DataFrame, x: str, look: dict, least: int = 2, within: tuple = (None, None)
) -> None:
    """The means of ``value`` by x, with a band of their 95 % intervals (Student), where there are
    as many as the least; cut off where values cannot be."""
    by = table.groupby(x).value
    of = pd.DataFrame({"mean": by.mean(), "error": by.sem(), "n": by.size()})
    of = of[of.n >= least]
    half = of.error * special.stdtrit((of.n - 1).clip(lower=1), 0.975)
    ax.plot(of.index, of["mean"], **look)
    ends = ((of["mean"] + side * half).clip(*within) for side in (-1, 1))
    ax.fill_between(of.index, *ends, color=look["color"], alpha=0.2, lw=0)


# --------------------------------------------------------------------------------------- estimates
def cell_look(row) -> tuple[tuple | str, bool, str]:
    """How ``estimates`` shows a cell: colour tells the data set, filling the optimizer."""
    color = data_colors().get(row.data, "grey")
    return color, row.optimizer == "adam", cell_title(row.data, row.optimizer)


def estimates(table, columns, by, entries, look=cell_look, pitch=0.42, zero=0.0) -> Panels:
    """Estimates with intervals (where these are NaN, points), in panels side by side.

    Args:
        table: columns estimate, low, high, and those named here. columns: as of ``Panels``.
        by, entries: names of columns; their values to texts, from top to bottom.
        look: of a row, gives colour, whether the marker is filled, and a text for the legend.
        pitch: of an entry, in inches. zero: where there is no effect.
    """
    texts = [*entries.values()]
    if narrow():  # in two lines
        texts = ["\n".join(textwrap.fill(line, 28) for line in t.split(": ")) for t in texts]
        pitch = max(pitch, 0.36 if any("\n" in t for t in texts) else 0.24)
    panels = Panels(table, [], columns, pitch * len(entries) + 1.3, sharey=not narrow())
    named, counts = dict(zip(entries, texts)), []
    for ax, part, _ in panels:
        ax.axvline(zero, color="black", lw=1)
        found = dict(iter(part.groupby(by)))
        # below each other, panels have the rows that they fill
        shown = [key for key in entries if key in found or not narrow()]
        counts.append(len(shown))
        ax.set_yticks(range(len(shown)), [named[key] for key in shown])
        ax.set_ylim(len(shown) - 0.5, -0.5)
        for y, rows in enumerate(found.get(key, part[:0]) for key in shown):
            for k, row in enumerate(rows.itertuples()):  # those of one entry below each other
                reach = np.fmax([[row.estimate - row.low], [row.high - row.estimate]], 0)
                color, filled, text = look(row)
                line = {"fmt": "o", "ms": 5, "capsize": 2, "lw": 1.5, "color": color, "label": text}
                at = row.estimate, y + 0.2 * (k - (len(rows) - 1) / 2)
                ax.errorbar(*at, xerr=reach, mfc=color if filled else "white", **line)
    if narrow():
        heights = [pitch * count + 1.3 for count in counts]
        panels.figure.set_figheight(sum(heights))
        panels.axes[0, 0].get_gridspec().set_height_ratios(heights)
    return panels


def cell_estimates(panels: dict[str, pd.DataFrame], pitch=0.34, entries=None) -> Panels:
    """``estimates`` with a row per cell and a panel per comparison: title to its table."""
    table = pd.concat(panels, names=["panel"]).reset_index("panel")
    entries = entries or {cell: place_title(*cell) for cell in keys(table, CELL)}
    drawn = estimates(table, ["panel"], CELL, entries, pitch=pitch)
    for ax, _, (heading,) in drawn:
        ax.set_title(heading)
    return drawn


def shade(panels: Panels, margins: Sequence[float]) -> None:
    """In grey, what is too small to be of interest: between −margin and margin, a panel each."""
    for ax, margin in zip(panels.axes[0], margins):
        ax.axvspan(-margin, margin, color="grey", alpha=0.2, lw=0)


# ---------------------------------------------------------------- relative changes, on a log axis
CLEAR = math.log(4)  # what is fourfold, or a fourth, has the deepest colour
FAR = math.log(2)  # a change that is written at the edge, where others are small
CHANGES = (  # those that are marked, as room permits
    *(0, 0.4, -0.3, 1, -0.5, 2, 4, 10, -0.75, -0.9, 0.2, -0.2, 0.7, -0.4, 0.1, -0.1, 0.05, -0.05),
    *(0.02, -0.02, 0.01, -0.01),
)
TENTHS = np.log(np.r_[0.1:1:0.1, 1.1:2.05:0.1, 3:13])  # of ratios, marked without a label


def log_ratios(found: pd.DataFrame) -> pd.DataFrame:
    """Effects as logarithms of ratios, of a twelfth to twelvefold."""
    return found.assign(**np.log((1 + found[EFFECT]).clip(1 / 12, 12)))


def mark_changes(axis, low: float, high: float, most: float, unit: str = " %") -> None:
    """An axis of logarithms of ratios, from low to high, is marked as relative changes, by at most
    so many labels."""
    shown: list[float] = []
    for at in np.log1p(CHANGES):
        if low <= at <= high and all(abs(at - other) * most >= high - low for other in shown):
            shown.append(at)
    text = lambda v: f"{100 * np.expm1(v):+.0f}{unit}" if abs(v) > 1e-9 else "0"  # noqa: E731
    mark(axis, sorted(shown), text, thinned=False)


def finish_changes(
    panels: Panels, above: str | None = None, of: str = "early accuracy"
) -> plt.Figure:
    """One axis of logarithms of ratios for all panels, wide enough for all estimates up to ``FAR``
    and, where they do not reach far beyond, their intervals; one that does ends in an arrow, and
    an estimate that does is written there, for it would squeeze all others."""
    found = pd.concat(panels.parts.values())
    furthest = found.estimate[found.estimate <= FAR].max()
    low = min(max(found.low.min(), found.estimate.min() - 0.4), -0.03)
    high = max(min(found.high.max(), furthest + 0.4), 0.03)
    room = 0.05 * (high - low)
    note = "bars: 95 % intervals"
    figure = panels.finish(f"change of {of}, %", above=f"{above}; {note}" if above else note)
    ends = low - room, high + room
    for ax in panels.axes.flat:
        ax.set_xlim(ends)
        for point, _, [bar] in ax.containers:
            [((left, y), (right, _))] = bar.get_segments()
            [estimate] = point.get_xdata()
            if estimate > ends[1]:
                look = {"ha": "right", "va": "center", "color": bar.get_color()[0]}
                text = ax.text(ends[1] - room, y, f"{100 * math.expm1(estimate):+.0f} %", **look)
                text.set_bbox({"fc": "white", "ec": "none", "pad": 1})
            look = {"color": bar.get_color()[0], "ms": 7, "clip_on": False, "zorder": 5}
            for end, marker, beyond in zip(ends, "<>", (left < ends[0], right > ends[1])):
                if beyond:
                    ax.plot(end, y, marker, **look)
    lay_out(figure)  # to know how wide a panel is
    wide = panels.axes[0, 0].get_window_extent().width
    axis = panels.axes[0, 0].xaxis
    mark_changes(axis, *ends, wide / 31, unit="")
    axis.set_minor_locator(FixedLocator([at for at in TENTHS if ends[0] <= at <= ends[1]]))
    return figure


def mark(
    axis, ticks: Sequence[float], text: Callable[[float], str] = "{:g}".format, thinned=True
) -> None:
    """Ticks at these values alone, with these texts; for axes that are not linear. A telephone has
    every second of many, where they may be thinned."""
    thin = thinned and narrow() and len(ticks) > 4 and not isinstance(axis, YAxis)
    ticks = ticks[:: 2 if thin else 1]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


# -------------------------------------------------------------------------------------------- maps
def heat_maps(maps: dict, rows: Sequence[str], columns: Sequence[str], across: int, **look):
    """Heat maps below each other with a text in every field, their rows and columns labelled.
    maps: title to colours and texts, of equal shape. across: of a telephone, the columns that it
    has room for; the others stand in maps below. Returns the figure and the axes."""
    import seaborn as sns

    size = across if narrow() else len(columns)
    parts = [slice(k, k + size) for k in range(0, len(columns), size)]
    high = 0.27 * len(rows) + (0.75 if narrow() else 0.4)
    width = NARROW if narrow() else WIDTH
    count = len(maps) * len(parts)
    figure, axes = plt.subplots(count, squeeze=False, figsize=(width, high * count + 0.8))
    look = {"fmt": "", "cbar": False, "linewidths": 0.5, "annot_kws": {"size": "x-small"}} | look
    look |= {
        "xticklabels": False,
        "yticklabels": False,
    }  # seaborn draws all to see whether they fit
    at = iter(axes.flat)
    for heading, (colors, texts) in maps.items():
        for part in parts:
            ax = next(at)
            values, words = (np.asarray(of)[:, part] for of in (colors, texts))
            sns.heatmap(values, annot=words, ax=ax, **look)
            ax.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize="x-small", va="center")
            ax.set_xticks(np.arange(len(columns[part])) + 0.5, columns[part], fontsize="x-small")
            ax.set_title(heading if part is parts[0] else "")
            ax.grid(False)
    return figure, axes[:, 0]


def cell_columns(cells: Sequence[tuple[str, str, str]]) -> list[str]:
    """Cells in three lines each, below the columns of a heat map."""
    names = [title(n, DATA).replace("-", "-\n") for n, _, _ in cells]
    return [f"{name}\n{s}\n{title(o, OPTIMIZERS)}" for name, (_, s, o) in zip(names, cells)]


def square(values) -> np.ndarray:
    """Values row by row as the square matrix, or picture, that they are of."""
    return np.reshape(values, (math.isqrt(np.size(values)), -1))


def matrix(ax, grid: np.ndarray):
    """A square matrix of cosines or correlations: orange is 1, purple −1. Returns the image."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return ax.imshow(grid, vmin=-1, vmax=1, cmap=DIVERGING)


# ------------------------------------------------------------------------------------------- lines
LINES = 6  # of a panel, at most
LOOKS = (  # colour, dashes and marker: told apart by each of them alone; blue is MNIST's
    ("black", "-", "o"),
    ("#d55e00", "--", "s"),
    ("#009e73", "-.", "^"),
    ("#cc79a7", ":", "D"),
    ("#b8860b", (0, (5, 1, 1, 1, 1, 1)), "v"),
    ("0.5", (0, (8, 3)), "P"),
    ("#7b3294", (0, (3, 1)), "X"),
    ("#7f3b08", (0, (1, 3)), "<"),
)
_LOOKS = [dict(zip(("color", "ls", "marker"), look)) for look in LOOKS]
TECHNIQUE_LOOKS = dict(zip(GRID, _LOOKS[1:]))
# of starts beside techniques: in no colour of theirs
_OTHERS = zip(("#a50026", "#8fb000", "#e6ab02"), (look["ls"] for look in _LOOKS[1:]), "s^D")
START_LOOKS = [dict(zip(("color", "ls", "marker"), look)) for look in _OTHERS]


def looks(names: Sequence) -> dict:
    """A line's look for each of at most six names, in their order."""
    if len(names) > LINES:
        raise ValueError(f"a panel has at most {LINES} lines, not {len(names)}: {names}")
    return dict(zip(names, _LOOKS))


def arm_look(arm: str) -> dict:
    """The line of an arm where techniques are compared, with a label: none is black, a technique
    always the same, a start grey."""
    look = TECHNIQUE_LOOKS.get(Arm.parse(arm).technique, _LOOKS[0 if arm == "default" else 5])
    return look | {"label": arm_title(arm), "marker": ""}


def strongest(changes: dict[str, float]) -> list[str]:
    """Of arms by how much they change, those that a panel has room for beside none."""
    return sorted(changes, key=lambda arm: -abs(changes[arm]))[: LINES - 1]
