"""The benchmark's table and picture, and the command that makes them."""

import math
import subprocess
import sys
from functools import partial
from importlib.metadata import version

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogLocator

from dndiv.bench import measure
from dndiv.bench.methods import METHODS
from dndiv.paper import data, figures, files, provenance
from dndiv.paper.names import OPTIMIZERS

SHOWN = (*METHODS, "floor")
GOALS = {"JAX": 1.3, "plain loop": 15, "DataLoader loop": 150}  # at least, × the population's cost
FLOOR_GOAL = 1.8  # the population's at most, × the floor, of the first network
MET = {True: "yes", False: "no"}
COST = "µs per network and step"


def as_markdown(found: pd.DataFrame, facts: dict) -> str:
    """The table of medians and ranges, which goals are met, and what ran where.

    found: of ``measure.measure``. facts: "memory_mib" and "recording", of the functions there.
    """
    by = found.groupby(["network", "method"]).microseconds
    median, low, high = by.median(), by.min(), by.max()
    networks = dict(zip(found.network, found.optimizer))
    times = {n: median[n] / median[n, "population"] for n in networks}

    def cell(n: str, m: str) -> str:
        return f"{median[n, m]:,.1f} ({low[n, m]:,.1f}–{high[n, m]:,.1f}) [{_down(times[n][m])}]"

    methods = [("method", *(f"{n}, {OPTIMIZERS[optimizer]}" for n, optimizer in networks.items()))]
    methods += [("---", *["---:"] * len(networks))]
    methods += [(m, *(cell(n, m) for n in networks)) for m in SHOWN]
    goals = [("goal", "measured", "met"), ("---", "---", "---")]
    for m, least in GOALS.items():
        ratios = [t[m] for t in times.values()]
        met = MET[min(ratios) >= least]
        goals.append((f"{least} times as fast as {m}", ", ".join(map(_down, ratios)), met))
    first, mib, (alone, both) = next(iter(networks)), facts["memory_mib"], facts["recording"]
    floor = 1 / times[first]["floor"]
    goal, said = f"at most {FLOOR_GOAL} times the floor, {first}", f"{math.ceil(100 * floor) / 100}"
    goals.append((goal, said, MET[floor <= FLOOR_GOAL]))
    goal, said = "1,024 networks of 784–16–10 train with Adam in 2 GiB", f"{mib:,} MiB"
    goals.append((goal, f"{said}, one population", MET[mib < 2048]))
    goal = "diversity of 100 networks × 3 layers below 10 % of their epoch"
    said = f"{100 * alone:.2f} %; with the accuracy on 10,000 images {100 * both:.2f} %"
    goals.append((goal, said, MET[alone < 0.1]))
    versions, machine = provenance.versions() | {"jax": version("jax")}, provenance.machine()
    shown = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "numpy", "jax"))
    place = f"{machine['cores']} cores of {machine['processor']} with {machine['memory_gib']} GiB"
    above = f"{COST}, median (range); in brackets the multiple of the population's median."
    tables = ["".join(f"| {' | '.join(row)} |\n" for row in table) for table in (methods, goals)]
    return "\n".join([f"{above}\n", *tables, f"Measured on {place}, {shown}.\n"])


def _down(ratio: float) -> str:
    """Two decimals, never rounded up."""
    return f"{math.floor(100 * ratio) / 100:.2f}"


def picture(found: pd.DataFrame, swept: pd.DataFrame) -> plt.Figure:
    """Every method's cost on every network, and a population's by size: medians and ranges."""
    figures.style()
    figure = plt.figure(figsize=(12, 7.5))
    top, bottom = figure.subfigures(2, 1)
    networks, summary = found.groupby("network", sort=False), ["median", "min", "max"]
    axes = top.subplots(1, len(networks), sharey=True, sharex=True)
    for ax, (name, part) in zip(axes, networks):
        by = part.groupby("method").microseconds.agg(summary).loc[list(SHOWN)]
        colors = [{"population": "C3", "floor": "C7"}.get(m, "C0") for m in by.index]
        ranges = by["median"] - by["min"], by["max"] - by["median"]
        bars = ax.barh(by.index, by["median"], color=colors, xerr=ranges)
        numbers = [f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in by["median"]]
        ax.bar_label(bars, numbers, padding=4, fontsize="small")
        title = f"{name}, {OPTIMIZERS[part.optimizer.iloc[0]]}"
        ax.set(xscale="log", xlabel=COST, xlim=(2, 200_000), title=title)
    axes[0].invert_yaxis()
    axes = bottom.subplots(1, swept.sweep.nunique())
    for ax, (sweep, part) in zip(axes, swept.groupby("sweep", sort=False)):
        by = part.groupby("value").microseconds.agg(summary)
        ax.fill_between(by.index, by["min"], by["max"], alpha=0.3, lw=0, color="C3")
        ax.plot(by["median"], "o-", color="C3")
        ax.set(xscale="log", yscale="log", xlabel=sweep)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.set_xticks(by.index, [f"{v:,}" for v in by.index])
        ax.minorticks_off()
    axes[0].set_ylabel(COST)
    what = "a population of 784–16–10 with Adam that differs in one thing (depth: layers of 8)"
    bottom.suptitle(f"{what}; range of repeats", fontsize="medium")
    return figure


def main() -> str:
    """Measure everything into results/bench, and return the table."""
    data.fetch("MNIST")  # without MNIST there is nothing to measure: the error says what to do
    found = measure.measure()
    code = "from dndiv.bench import measure; print(measure.memory())"  # and nothing else before
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    facts = {"memory_mib": int(fresh.stdout), "recording": measure.recording()}
    swept = measure.sweeps()
    costs = measure.techniques().assign(processor=provenance.machine()["processor"])
    text, figure, folder = as_markdown(found, facts), picture(found, swept), files.RESULTS / "bench"
    frames = {"bench.csv": found, "sweeps.csv": swept, files.COSTS.name: costs}
    for name, frame in frames.items():
        files.atomically(folder / name, partial(frame.to_csv, index=False))
    files.atomically(folder / "table.md", lambda part: part.write_text(text, "utf8"))
    for kind in ("png", "pdf"):
        files.atomically(folder / f"bench.{kind}", partial(figure.savefig, format=kind))
    return text
