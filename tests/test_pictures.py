"""Pictures as they are seen: as wide as a notebook, with letters that can be read, and lines that
can be told apart."""

import colorsys
import io
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from dndiv.paper import design, figures, findings, outcomes, pictures
from dndiv.paper.figures import peers, plateaus, redundancy, reinforcement, sustainability, where
from dndiv.paper.names import CELL

PAGE, PHONE, LETTERS, LINES = 1008, 358, 8, 6  # pixels of pages and letters; lines of a panel


@pytest.fixture(autouse=True)
def looks_as_in_notebooks():
    figures.style()
    yield
    plt.close("all")


def seen(figure) -> list[str]:
    """A figure is legible as it is shown on a page, and so it is on a telephone; returns all texts
    of the page."""
    legible(figures.narrowed(figure), PHONE)
    assert figure.alternative.endswith(".")
    return legible(figure, PAGE)


def legible(figure, width) -> list[str]:
    """Of the figure where it is saved as it was laid out, nothing is cut off but for a dot or two;
    on a page so many pixels wide, letters can be read, and no legend or label covers another."""
    figure.set_layout_engine("none")
    figure.set_dpi(figures.DOTS if width == PAGE else figures.NARROW_DOTS)
    renderer, inch = figure.canvas.get_renderer(), figure.dpi
    box = figure.get_tightbbox(renderer)  # which makes all labels, and draws nothing
    assert min(box.x0, box.y0) > -0.015
    assert (box.max <= figure.get_size_inches() + 0.015).all()
    pixels = figures.PIXELS
    assert round(figure.get_figwidth() * pixels) <= width
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    small = {
        t.get_text(): t.get_fontsize() for t in texts if t.get_fontsize() * pixels / 72 < LETTERS
    }
    assert not small
    for legend in figure.legends:
        assert legend.get_window_extent(renderer).width / inch * pixels <= width
    for ax in figure.axes:
        assert len(set(ax.get_legend_handles_labels()[1])) <= LINES
        for axis in (ax.xaxis, ax.yaxis):
            _apart(axis, renderer)
    return [t.get_text() for t in texts]


def _apart(axis, renderer):
    """No label of an axis covers another; those on the slant have boxes that are too large."""
    shown = [t for t in axis.get_ticklabels() if t.get_text() and t.get_rotation() == 0]
    low, high = sorted(axis.get_view_interval())
    inside = [t for t in shown if low <= t.get_position()[axis.axis_name == "y"] <= high]
    boxes = [t.get_window_extent(renderer) for t in inside]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other), [t.get_text() for t in inside]


def deuteranope(color) -> np.ndarray:
    """A colour, RGB, as it is seen without the second kind of cones (Viénot, Brettel &
    Mollon 1999)."""
    matrix = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
    return (np.array(matrix) @ (np.array(to_rgb(color)) ** 2.2)).clip(0) ** (1 / 2.2)


def apart(*colors) -> bool:
    """Whether a deuteranope tells two colours apart."""
    one, other = map(deuteranope, colors)
    return np.abs(one - other).max() > 0.1


def test_lines_are_told_apart_by_colour_dashes_and_marker():
    found = list(figures.looks(range(LINES)).values())
    techniques = [figures.arm_look(arm) for arm in design.TECHNIQUE_ARMS]
    for one, other in itertools.combinations(found, 2):
        assert one["marker"] != other["marker"]
    for one, other in [*itertools.combinations(found, 2), *itertools.combinations(techniques, 2)]:
        assert one["ls"] != other["ls"]
    assert all(
        apart(one["color"], other["color"]) for one, other in itertools.combinations(found[:4], 2)
    )
    for one, other in itertools.combinations(figures.data_colors().values(), 2):
        assert apart(one, other)
    with pytest.raises(ValueError, match="at most 6 lines, not 7"):
        figures.looks(range(LINES + 1))


def test_blue_is_mnist_and_nothing_else():
    def blue(color):
        hue, _, saturation = colorsys.rgb_to_hls(*to_rgb(color))
        return saturation > 0.2 and 0.5 < hue < 0.66

    used = [look["color"] for look in figures.looks(range(LINES)).values()]
    used += [figures.arm_look(arm)["color"] for arm in design.ESCAPE_ARMS]
    used += list(plt.get_cmap(figures.DIVERGING)(np.linspace(0, 1, 9)))
    others = [color for name, color in figures.data_colors().items() if name != "MNIST"]
    assert not any(map(blue, [*used, *others]))
    assert blue(figures.data_colors()["MNIST"])


def test_a_rare_colour_keeps_its_meaning_where_pictures_are_made_small():
    """Of a scale of a hundred oranges, a patch of purple is not made one of them."""
    shown = np.tile(np.repeat(np.linspace(0.5, 1, 100), 2), (200, 1))
    shown[:4, :4] = 0.05
    colors = plt.get_cmap(figures.DIVERGING)(shown)
    buffer = io.BytesIO()
    plt.imsave(buffer, colors)
    made = plt.imread(io.BytesIO(pictures.small(buffer.getvalue(), 48)))
    assert np.abs(made[..., :3] - colors[..., :3]).max() < 0.1


# ------------------------------------------------------ 01_redundancy, 03_reinforcement, 04_minima
def test_a_measure_by_epoch_shows_none_and_five_techniques_with_intervals():
    rng, rows = np.random.default_rng(0), []
    for k, arm in enumerate(design.TECHNIQUE_ARMS):
        for seed, epoch in itertools.product(range(4), range(6)):
            row = {"data": "MNIST", "setting": "narrow", "optimizer": "sgd", "arm": arm}
            row |= {"seed": seed, "epoch": epoch, "value": 0.1 * k * epoch + rng.normal()}
            rows.append(row)
    figure = reinforcement.trajectories(pd.DataFrame(rows), "mean |correlation|")
    seen(figure)
    [ax] = figure.axes
    labels = [line.get_label() for line in ax.lines]
    assert len(labels) == len(ax.collections) == LINES and labels[0] == "no technique"
    assert figures.arm_title(design.TECHNIQUE_ARMS[-1]) in labels  # it changes most
    table = pd.DataFrame(rows)
    first = table[(table.arm == "default") & (table.epoch == 2)].value
    low, high = np.sort(ax.collections[0].get_paths()[0].vertices[[3, -4], 1])
    half = 3.182446 * first.std() / 2  # Student's law, 3 degrees of freedom
    assert (low, high) == pytest.approx((first.mean() - half, first.mean() + half), rel=1e-5)


def escapes(seeds=12):
    """Made-up losses and times: the first third of the networks never escapes."""
    cells = [("MNIST", "narrow", "sgd"), ("XOR", "1×2", "sgd")]
    rows, times = [], []
    for cell, arm, seed in itertools.product(cells, design.ESCAPE_ARMS, range(seeds)):
        k = design.ESCAPE_ARMS.index(arm)
        place = dict(zip(CELL, cell)) | {"arm": arm, "seed": seed}
        times.append(place | {"time": 1 + (seed + k) % 11, "escaped": seed >= seeds // 3})
        if arm == "default":
            rows += [place | {"epoch": e, "value": float(seed)} for e in range(4)]
    times = pd.DataFrame(times).set_index([*CELL, "arm", "seed"])
    return pd.DataFrame(rows), times


def test_losses_are_drawn_by_when_networks_escape():
    losses, times = escapes()
    figure = plateaus.plateaus(losses, times.xs("default", level="arm"))
    assert "8 of 12 escape" in " ".join(seen(figure))
    image, xor = figure.axes
    never, *thirds = image.lines
    assert never.get_ydata() == pytest.approx([np.median(range(4)) / np.log(10)] * 4)
    assert xor.lines[0].get_ydata() == pytest.approx([np.median(range(4)) / np.log(2)] * 4)
    # of eight that escape, in the order of their times: 1, 5, 6, and so on
    found = [line.get_ydata()[0] * np.log(10) for line in thirds]
    assert found == pytest.approx([np.median(k) for k in ([11, 4], [5, 6, 7], [8, 9, 10])])


def test_survival_has_techniques_above_other_starts_and_intervals():
    _, times = escapes()
    figure = plateaus.survival(times, list(design.ESCAPE_ARMS))
    seen(figure)
    for ax, count in zip(figure.axes, (6, 6, 4, 4)):
        assert len(ax.lines) == len(ax.collections) == count
        assert ax.lines[0].get_color() == "black"
    with_starts = {line.get_label() for line in figure.axes[2].lines}
    assert with_starts == {"no technique", *(f"start: {s}" for s in design.ESCAPE_ARMS[-3:])}


def test_no_colour_of_a_start_is_that_of_a_technique():
    _, times = escapes()
    axes = plateaus.survival(times, list(design.ESCAPE_ARMS)).axes
    named = {line.get_label(): to_rgb(line.get_color()) for ax in axes for line in ax.lines}
    assert len(set(named.values())) == len(named) == 9  # none, five techniques, three starts
    taken = [figures.arm_look(arm)["color"] for arm in design.TECHNIQUE_ARMS]
    assert not {look["color"] for look in figures.START_LOOKS} & set(taken)


def test_what_is_off_is_no_estimate():
    _, times = escapes()
    found = outcomes.escapes(times)
    numbers = ["estimate", "low", "high"]
    still = found.arm.eq("default+reinitialize:dynamic") & found.setting.eq("narrow")
    found.loc[still, numbers] = 0.0
    arms = list(design.ESCAPE_ARMS[1:])
    figure = plateaus.escape_forest(found, arms, 0.05)
    texts = seen(figure)
    assert texts.count("off") == 1 and {"a technique", "another start"} <= set(texts)
    image, xor = figure.axes
    [off] = image.texts
    assert off.get_position() == (0, arms.index("default+reinitialize:dynamic"))
    assert not xor.texts


def test_on_a_telephone_a_panel_has_the_rows_that_it_fills():
    rows = [("MNIST", "tiny", "sgd", 0.1), ("MNIST", "narrow", "sgd", 0.2)]
    found = pd.DataFrame(rows, columns=[*CELL, "estimate"]).assign(low=0.0, high=0.3, n=9)
    drawing = peers.settings({"usual": found[:1], "best": found})
    one, two = figures.narrowed(drawing).axes
    names = [[label.get_text() for label in ax.get_yticklabels()] for ax in (one, two)]
    assert names == [["MNIST, tiny, SGD"], ["MNIST, tiny, SGD", "MNIST, narrow, SGD"]]
    assert one.get_window_extent().height < two.get_window_extent().height
    assert [len(ax.get_yticks()) for ax in drawing.axes] == [2, 2]


def test_bands_stay_within_what_values_can_be():
    table = pd.DataFrame({"x": [1, 1, 2, 2], "value": [90.0, 100.0, 40.0, 60.0]})
    _, ax = plt.subplots()
    figures.mean_line(ax, table, "x", {"color": "black"}, within=(0, 100))
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 100)


def test_small_pictures_of_maps_keep_their_colours(tmp_path, monkeypatch):
    monkeypatch.setattr(figures.files, "results", lambda preset: tmp_path)
    made = places()
    figures.save(where.maps(made, "comparison", "rate", "width", "units"), "map", made, "paper")
    kept = plt.imread(tmp_path / "figures" / "map.narrow.png")[..., :3].reshape(-1, 3)
    assert len(np.unique(kept, axis=0)) > 96  # what pictures of lines have
    shown = made[~made.unclear & (made.comparison == "simplex")]
    half = max(np.log(4), made.log.max())
    for log in shown.log.round(9).unique():
        color = plt.get_cmap(figures.DIVERGING)(0.5 + log / half / 2)[:3]
        assert (np.abs(kept - color).max(1) < 10 / 255).sum() > 100  # a field at least


def test_anatomy_draws_no_mean_of_few():
    rows = [
        {"data": "MNIST", "setting": "narrow", "arm": "default", "seed": seed, "layer": layer}
        | {"epoch": epoch, "measure": m, "value": 0.1 * epoch, "escaped": epoch > 1 and seed < few}
        for layer, few in (("1", 4), ("2", 6))
        for seed, epoch, m in itertools.product(range(12), range(4), ("dead", "duplicates"))
    ]
    figure = plateaus.anatomy(pd.DataFrame(rows))
    seen(figure)
    lengths = [[len(line.get_xdata()) for line in ax.lines] for ax in figure.axes[:2]]
    assert lengths == [[4, 0], [4, 2]]


def test_portraits_show_every_unit_on_its_own_scale():
    rng, rows = np.random.default_rng(0), []
    for seed, (measure, count) in itertools.product((3, 5), (("weight", 16 * 9), ("pair", 256))):
        values = rng.normal(size=count)
        rows += [{"seed": seed, "measure": measure, "value": v, "epoch": 1} for v in values]
    rows += [{"seed": s, "measure": "accuracy", "value": 0.5, "epoch": 1} for s in range(7)]
    figure = redundancy.portraits(pd.DataFrame(rows).assign(data="MNIST"), "MNIST")
    assert "the most diverse of 7 networks (seed 3)" in " ".join(seen(figure)).replace("\n", " ")
    images = [np.asarray(ax.images[0].get_array()) for ax in figure.axes[:4:2]]
    assert [image.shape for image in images] == [(2 * 5, 8 * 5)] * 2
    units = images[0].reshape(2, 5, 8, 5).swapaxes(1, 2).reshape(16, 25)
    assert np.nanmax(np.abs(units), 1) == pytest.approx(np.ones(16))


# ---------------------------------------------------------------------------- 07_where_it_holds
def places(depths=(1, 2, 3, 5, 8), widths=(4, 8, 16, 32), rates=(0.01, 0.03, 0.1, 0.3, 1)):
    """A made-up map: what a start gives grows with depth, and falls with the rate."""
    rows = []
    for name, depth, width, rate in itertools.product(findings.COMPARISONS, depths, widths, rates):
        log = 0.2 * depth * (-np.log10(rate)) - 0.3
        row = {"data": "MNIST1D", "setting": f"{depth}×{width}", "optimizer": "sgd", "rate": rate}
        row |= {"depth": depth, "width": width, "comparison": name, "log": log, "n": 8}
        row |= {"estimate": np.expm1(log), "low": np.expm1(log - 0.3), "high": np.expm1(log + 0.3)}
        row |= {f"other_{s}": log * k for k, s in enumerate(where.SIGNAL_TITLES)}
        row |= {"unclear": abs(log) < 0.3, "held_out": width == 8, "slice": f"slice {width}"}
        rows.append(row)
    return pd.DataFrame(rows)


def test_a_map_outlines_forty_percent_and_crosses_out_what_is_unclear():
    made = places()
    figure = where.maps(made, "comparison", "rate", "width", "units")
    texts = seen(figure)
    assert "40 % or more" in texts and "decorrelation alone\nhidden layers" in texts
    first = made[(made.comparison == "the relayed start") & (made.rate == 0.01)]
    ax = figure.axes[0]
    assert len(ax.lines[0].get_xdata()) == first.unclear.sum()
    # 0.4 d − 0.3 is 40 % or more from depth 2 on: a rectangle of 4 × 4, 16 sides
    assert len(ax.collections[0].get_segments()) == 16
    few = places((1, 3), (4, 8))
    seen(where.maps(few, "comparison", "rate", "width", "units"))
    nowhere = where.maps(few[few.rate == 1], "comparison", "rate", "width", "units")
    assert len(nowhere.axes[0].collections[0].get_segments()) == 0


@pytest.mark.parametrize("size", [{}, {"depths": (1, 3), "widths": (4, 8)}])
def test_the_pictures_of_the_map_are_legible(size):
    made = places(**size)
    best = made[made.comparison == "the relayed start"]
    figure = where.by_rate(best)
    assert "the paper: +40 %" in seen(figure)
    assert len(figure.axes) == best.width.nunique()
    seen(where.signals(best))
    figure = where.predictions(best, best.log.to_numpy())
    seen(figure)
    for ax, part in zip(figure.axes, (best[~best.held_out], best[best.held_out])):
        x, y = np.concatenate([line.get_xydata() for line in ax.lines[:-1]]).T
        assert x == pytest.approx(y) and len(x) == len(part)


# ------------------------------------------------------------------------------------- 08_peers
FULL = (("MNIST", "FashionMNIST", "MNIST1D"), design.PEER_SETTINGS)
SMOKE = (("Digits", "MNIST1D"), ("tiny",))


def values_of(names, settings, rates=None, seeds=3):
    """Made-up early accuracies: a row per cell and seed, a column per start and twin."""
    levels = [names, settings, ("sgd", "adam"), *([rates] if rates else []), range(seeds)]
    index = pd.MultiIndex.from_product(levels, names=[*CELL, *(["rate"] if rates else []), "seed"])
    starts = [*design.PEERS, *design.TWINS.values()]
    drawn = np.random.default_rng(0).uniform(0.1, 0.9, (len(index), len(starts)))
    return pd.DataFrame(drawn, index, starts)


@pytest.mark.parametrize("names, settings", [FULL, SMOKE])
def test_the_curves_show_every_seed_and_mark_the_best_rate(names, settings):
    values = values_of(names, settings, design.RATES["sgd"])
    arms = [*design.PEERS[:6]]
    figure = peers.curves(values, arms, "sgd")
    assert "PyTorch's default" in seen(figure)
    assert len(figure.axes) == len(names) * len(settings)
    every, mean, top = figure.axes[0].lines[:3]
    assert len(every.get_xdata()) == 3 * len(mean.get_xdata()) == 18
    assert top.get_ydata()[0] == max(mean.get_ydata())
    for k in range(len(names)):  # one scale per row
        row = figure.axes[k * len(settings) : (k + 1) * len(settings)]
        assert len({ax.get_ylim() for ax in row}) == 1


@pytest.mark.parametrize("optimizer", design.LEARNING_RATES)
def test_the_curves_are_legible_at_all_rates_of_the_grid(optimizer):
    further = [rate for (*_, name), rate in design.FURTHER.items() if name == optimizer]
    rates = sorted({*design.RATES[optimizer], *further})
    assert len(rates) == len(design.RATES[optimizer]) + 1
    seen(peers.curves(values_of(*FULL, rates), [*design.PEERS[:6]], optimizer))


@pytest.mark.parametrize("names, settings", [FULL, SMOKE])
def test_pictures_of_peers_with_rows_and_panels_of_settings_are_legible(names, settings):
    values = values_of(names, settings)
    pairs = [(twin, start) for start, twin in design.TWINS.items()]
    assert "Glorot, Adam" in seen(peers.twins(outcomes.effects(values, pairs)))
    effects = outcomes.effects(values, [("decorrelated", "default")])
    panels = {"usual": effects[:2]} | dict.fromkeys(("at best", "relayed", "deep-narrow"), effects)
    assert "the paper: +40 %" in seen(peers.settings(panels, 0.4))


def test_pictures_of_peers_with_a_row_per_start_are_legible():
    values, starts = values_of(*SMOKE), [*design.PEERS]
    others = [(start, "default") for start in starts[1:]]
    figure = peers.ranking(findings.by_optimizer(values, others), starts[1:])
    assert {"all settings", "SGD", "Adam", "looks-linear"} <= set(seen(figure))
    counts = values.groupby(level=CELL).size()
    texts = seen(peers.probabilities(findings.improvement(values[starts]), counts))
    assert any(f"n = {counts.iloc[0]} seeds a setting" in text for text in texts)
    assert "AnyInit" in texts and sum(text.isdecimal() for text in texts) == 17 * 16
    effects = outcomes.effects(values, [("decorrelated", "default")])
    told = effects[CELL].assign(arm="he", effective_rank=0.5, share=0.9, n=[7, 7, 9, 9])
    texts = seen(peers.beginnings(pd.concat([told, told.assign(arm="rai")]), ["rai"], counts))
    assert {"RAI", "other starts"} <= set(texts)
    assert any("accuracies of n = 7 to 9 seeds" in text.replace("\n", " ") for text in texts)
    table = effects[CELL].assign(arm="he", decades=1.0, third=0.5, tenth=np.nan)
    assert "He" in seen(peers.robustness(table, ["he"], pd.Series([3, 5])))


def test_an_interval_that_leaves_the_picture_ends_in_an_arrow():
    rows = [("MNIST", "tiny", "sgd", 0.1, low, high) for low, high in [(0.0, 0.2), (-1.0, 9.0)]]
    found = pd.DataFrame(rows, columns=[*CELL, "estimate", "low", "high"]).assign(n=9)
    found.loc[1, "setting"] = "narrow"
    [ax] = peers.settings({"usual": found}, 0.4).axes
    arrows = {line.get_marker(): line for line in ax.lines if line.get_marker() in ("<", ">")}
    for marker, end in zip("<>", ax.get_xlim()):
        assert [*arrows[marker].get_xdata()] == [end] and [*arrows[marker].get_ydata()] == [1]
    assert len(arrows) == 2


def test_an_estimate_far_beyond_all_others_is_written_at_the_edge():
    rows = [("MNIST", "tiny", "sgd", 0.1, 0.0, 0.2), ("MNIST", "narrow", "sgd", 5.0, 3.0, 7.0)]
    found = pd.DataFrame(rows, columns=[*CELL, "estimate", "low", "high"]).assign(n=9)
    figure = peers.settings({"usual": found})
    assert "+500 %" in seen(figure)
    [ax] = figure.axes
    left, right = ax.get_xlim()
    [text] = [t for t in ax.texts if t.get_text() == "+500 %"]
    assert left < 0.1 < right < np.log(4) and left < text.get_position()[0] < right


# ---------------------------------------------------------------------------- 09_sustainability
def sized(names, widths, seeds=3):
    """Made-up networks of both starts, more accurate the wider they are and the longer they
    train."""
    rows = []
    for name, depth, width, arm in itertools.product(names, (1, 3), widths, design.SIZED_ARMS):
        sizes = (findings.INPUTS[name], *[width] * depth, findings.CLASSES)
        for seed, epoch in itertools.product(range(seeds), range(1, 6)):
            row = {"data": name, "depth": depth, "width": width, "arm": arm, "seed": seed}
            row |= {"epoch": epoch, "accuracy": 1 - 1 / (1 + 0.3 * width * epoch) - 0.01 * seed}
            row |= {"parameters": findings.parameters(sizes)}
            row |= {"macs": 3.0 * findings.multiplications(sizes) * epoch * 1000}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "names, widths", [(("MNIST", "FashionMNIST"), design.WIDTHS), (("Digits",), (2, 8, 32))]
)
def test_the_pictures_of_costs_are_legible(names, widths):
    networks = sized(names, widths)
    figure = sustainability.pareto(findings.means(networks))
    assert "relayed, 3 hidden layers" in seen(figure)
    assert len(figure.axes) == 2 * len(names)
    targets = [findings.to_target(networks, s).assign(panel=str(s)) for s in findings.TARGETS]
    figure = sustainability.to_target(pd.concat(targets))
    assert "multiply–accumulates" in seen(figure)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in hollow) > 0  # the narrowest never get there


def test_a_picture_of_the_reference_is_drawn_again_where_code_or_numbers_are_other(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(figures.files, "results", lambda preset: tmp_path)
    values = pd.DataFrame({"x": [0.0, 1.0], "value": [0.1, 0.25]}, index=["a", "b"])
    count = []

    def line(table, title="A line"):
        """A line. table: its points."""
        count.append(title)
        figure, ax = plt.subplots()
        ax.plot(table.x, table.value)
        ax.set_title(title)
        return figure

    own = figures.drawing(line)(values)  # no code of this package: always drawn
    assert own.digest() == "" and figures.save(own, "own", values, "reference").alt == "A line."
    count.clear()
    digests = {"code": "1"}
    monkeypatch.setattr(figures.code, "digest", lambda names: digests["code"])
    draw = figures.drawing(line)
    kept = figures.save(draw(values), "line", values, "paper")
    assert (
        len(count) == 2 and (tmp_path / "figures" / "line.narrow.png").exists()
    )  # wide and narrow
    file = tmp_path / "figures" / "line.png"
    contents = {part: part.read_bytes() for part in file.parent.iterdir()}
    for gone, times in ((file.with_suffix(".csv"), 0), (file.with_suffix(".pdf"), 2), (file, 2)):
        gone.unlink() if gone != file else file.write_bytes(b"no picture")
        count.clear()
        figures.save(draw(values), "line", values, "paper")
        assert len(count) == times  # what is there is of the same
        assert {part: part.read_bytes() for part in file.parent.iterdir()} == contents
    file.write_bytes(pictures.small(file.read_bytes(), 16))  # as a promoted one is

    def drawn(*args, **options):
        before = len(count)
        shown = figures.save(draw(*args, **options), "line", values, "reference")
        assert (shown.width, shown.alt) == (kept.width, "A line.")
        return len(count) - before

    assert drawn(values) == drawn(values + 1e-9) == 0  # another processor's last digits
    assert drawn(values + 1e-3) == drawn(values, "Another") == drawn(values[["value", "x"]]) == 1
    assert drawn(values.set_axis(["a", "c"])) == drawn(values, title="A line") == 1
    digests["code"] = "2"
    assert drawn(values) == 1
    digests["code"] = "1"
    file.unlink()
    assert drawn(values) == 1
