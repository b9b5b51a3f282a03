"""The answer in five lines and a table, for who has a minute: what a practitioner and a sceptic
must know, from results alone. ``details`` says it at length."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

import pandas as pd

from dndiv.paper import claims, design, findings, names, outcomes, report
from dndiv.paper.claims import OFF, TOGETHER, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import measured, percent, share, spread

# the tables that the five lines, and the table, are made of
LINES = ("early", "peers", "leaders", "later_rates", "later")
STARTS = ("peers", "leaders", "later", "convolution", "convolution_leaders")
SOURCE = "[Lee, Kim, Yang & Choi 2024](https://arxiv.org/abs/2311.03733)"  # of deep-narrow


# -------------------------------------------------------------------------------- the five lines
def lines(
    results: list[Result],
    early: pd.DataFrame,
    peers: pd.DataFrame,
    leaders: pd.DataFrame,
    later_rates: pd.DataFrame,
    later: pd.DataFrame,
) -> str:
    """Five lines (Markdown), by the tables of these names. *Surely* is the whole interval."""
    fresh = early_accuracy(leaders)
    parts = {
        "Is it 40 %?": _forty(results, outcomes.early_accuracy(early), fresh),
        "Should I use it?": _used(results, fresh),
        "What instead?": _instead(results, later),
        "At which learning rate?": _rates(results, rates_of(peers), later_rates),
        "Do techniques help during training?": _tried(results),
    }
    return listing(parts)


def _forty(results: list[Result], values: pd.DataFrame, fresh: pd.DataFrame) -> str:
    every, there = settings(results, "early-40"), reproduced(results)
    others = [r.estimate for r in every if r not in there]
    again = {r.setting: r for r in once_more(settings(results, "finding-tuned-40"), fresh)}
    left = [percent(again[r.setting].estimate) for r in there if r.setting in again]
    [whole], [at_best] = (together(results, f) for f in ("early-40", "finding-directions"))
    tuned = f"; where both sides have their best rates, {' and '.join(left)} are left" * bool(left)
    return (
        f"In {len(there)} of {len(every)} settings at the usual learning rates ({named(there)}; "
        f"the others {spread(others, percent)}; {seeds(r.n for r in every)}). "
        f"{of_scale(results, values)} of it comes without decorrelation, from the larger scale of "
        f"the draw and from zero biases{tuned}. Decorrelation alone gives "
        f"{measured(whole.alone[report.SCALES[1]])} over all settings, {measured(vars(at_best))} "
        "at the default's best rates"
    )


def _used(results: list[Result], fresh: pd.DataFrame) -> str:
    again = once_more(settings(results, "finding-tuned-40"), fresh)
    few, flat, _, series = report.kinds(again)
    means = fresh.default.groupby(level=CELL).mean()
    dead = {claims.setting_of(cell) for cell in means.index[means < outcomes.LEARNS]}
    alive = [r for r in series if r.setting not in dead]
    hardly = [r for r in again if r.setting in dead]
    better, worse = count(again, claims.REPRODUCED), len(opposite(again))
    where = f", and in {how_many(hardly)} in which the default hardly learns" * bool(hardly)
    return (
        f"{_advised(better, worse, len(again))} Where both have their best rates, it is surely "
        f"better than PyTorch's default by more than {share(again[0].margin)} in "
        f"{how_many(few + flat)} settings on images with up to five layers, surely worse in "
        f"{len(opposite(few + flat))} ({seeds(r.n for r in few + flat)}); better in "
        f"{how_many(alive)} on {names.title(names.SERIES, names.DATA)}{where}"
    )


def _advised(better: int, worse: int, of: int) -> str:
    """What a share of settings comes to: half of them make a rule."""
    return "As a rule." if better > max(worse, of / 2) else "Not as a rule."


def _instead(results: list[Result], trained_on: pd.DataFrame) -> str:
    few, last = (
        report.kinds(settings(results, f"finding-{claim}"))[0]
        for claim in ("deep-narrow", "retuned")
    )
    start = few[0].group
    return (
        f"On images, in narrow rectifier networks of three or five layers, "
        f"{findings.start_title(start)} ({SOURCE}): {spread((r.estimate for r in few), percent)} "
        f"on fresh seeds, {surely(few)} ({seeds(r.n for r in few)}); after "
        f"{design.LASTING_EPOCHS} epochs {spread((r.estimate for r in last), percent)}, "
        f"{surely(last)} ({seeds(r.n for r in last)}{_never(trained_on, start)}). Other "
        "networks: the table below"
    )


def _never(trained_on: pd.DataFrame, start: str) -> str:
    """What a start changes on images after the last epoch on the seeds whose networks learn from
    both, where some do not."""
    found = findings.retuned(trained_on)
    found = found[(found.treated == start) & (found.data != names.SERIES)]
    if not found.dead.any():
        return ""
    learning = found[found.when == "learning"]
    return f"; where the default learns at all {spread(learning.estimate, percent)}"


def _rates(results: list[Result], at_best: pd.DataFrame, trained_on: pd.DataFrame) -> str:
    start = settings(results, "finding-first")[0].group
    early, late = (
        [best_rates(of_network(rows, findings.DEEP), arm) for arm in (start, "default")]
        for rows in (at_best, findings.later_choices(trained_on))
    )
    optimizers = " / ".join(names.title(name, names.OPTIMIZERS) for name in design.LEARNING_RATES)
    return (
        f"{optimizers}, on {findings.DEEP}, for {design.EPOCHS} epochs: "
        f"{findings.start_title(start)} {early[0]}, PyTorch's default {early[1]}; for "
        f"{trained_on.epoch.max():g}: {late[0]} and {late[1]}"
    )


def rates_of(table: pd.DataFrame) -> pd.DataFrame:
    """The learning rate that each start has, from a table that has one each: a row per cell and
    arm."""
    return outcomes.rated(table)[[*CELL, "arm", "rate"]].drop_duplicates()


def of_network(rows: pd.DataFrame, network: str) -> pd.DataFrame:
    """The rows of a kind of network."""
    return rows[[kind == network for kind in findings.kinds(rows.set_index(CELL))]]


def best_rates(rows: pd.DataFrame, start: str) -> str:
    """From which to which a start's learning rates go, by optimizer: "0.01 to 0.03 / 0.001"."""
    by = rows[rows.arm == start].groupby("optimizer", sort=False).rate
    return " / ".join(spread(of, "{:g}".format) for _, of in by)


def _tried(results: list[Result]) -> str:
    off, good, rest = tallied(results, "finding-rivals")
    every = [r for r in together(results, "finding-rivals") if r.group != design.MUON]
    first = max(every, key=lambda r: r.estimate)
    return (
        f"At the default's best learning rate, tuned by held-out inputs, they surely gain more "
        f"than {share(every[0].margin)} in {len(good)} of {len(off + good + rest)} combinations of "
        f"technique and setting; in {len(off)} tuning leaves them out. {without_scale(good)}. The "
        f"first, {names.title(first.group, names.TECHNIQUES)}, has {measured(vars(first))} over "
        "all settings"
    )


def tallied(results: list[Result], *of: str) -> tuple[list[Result], list[Result], list[Result]]:
    """Techniques and rivals of some claims, in every setting: what is off; what is reproduced; and
    the rest. Muon, which has no coefficient, is left out."""
    every = [r for name in of for r in settings(results, name) if r.group != design.MUON]
    off, acting = ([r for r in every if (r.reason == OFF) is o] for o in (True, False))
    good, rest = (
        [r for r in acting if (r.verdict in claims.REPRODUCED) is o] for o in (True, False)
    )
    return off, good, rest


def without_scale(good: list[Result]) -> str:
    """What is left of gains while the norms of rows are held."""
    twins = [r for r in good if r.alone]
    by_scale = sum(r.carried_by == "scale" for r in twins)
    return f"Of {len(twins)} gains with a twin whose norms are held {by_scale} are not shown in it"


# ------------------------------------------------------------------------------------- the table
def starts(
    peers: pd.DataFrame,
    leaders: pd.DataFrame,
    later: pd.DataFrame,
    convolution: pd.DataFrame,
    convolution_leaders: pd.DataFrame,
) -> str:
    """Which start, by the kind of network (Markdown), by the tables of these names: of those that
    led, the first on the seeds that chose them; or PyTorch's default, where that one is not surely
    better on fresh seeds in half of the settings."""
    pairs = (peers, leaders), (convolution, convolution_leaders)
    found = pd.concat(findings.leading(*map(early_accuracy, pair)) for pair in pairs)
    at_best, late = rates_of(pd.concat([peers, convolution])), findings.retuned(later)
    late = late[late.when == "late"]
    after = f"after {design.LASTING_EPOCHS} epochs"
    head = ("networks", "start", "early accuracy", after, "n", "its rates", "the default's")
    hardly = ", where the default hardly learns"
    default = pd.concat(early_accuracy(table).default for _, table in pairs)
    means = default.groupby(findings.kinds(default)).mean()
    lines = [(*head, "the paper's method, early")]
    for network, of in found.groupby("network", sort=False):
        first, rates = of["first"].iloc[0], of_network(at_best, network)
        gains, method = (of[of.treated == start] for start in (first, "decorrelated"))
        on = of_network(late, network)
        on = on[on.treated == first]
        title, said = findings.start_title(first), report.ranged(gains)
        use = f"**{title}**", said, report.ranged(on), best_rates(rates, first)
        if 2 * sum(gains.low > report.INTEREST) < len(gains):
            use = "PyTorch's default", f"{title} {said}", "–", "–"
        start, early, then, at = use
        lines.append(
            (
                f"{network}{hardly if means[network] < outcomes.LEARNS else ''}",
                *(start, early, then, spread([*gains.n, *on.n], str)),
                *(at, best_rates(rates, "default"), report.ranged(method)),
            )
        )
    return f"""Which start, in which network, where each has its own best learning rates \
(SGD / Adam): changes of accuracy against PyTorch's default, from the lowest to the highest \
setting, on seeds that did not choose the start; in brackets, in how many settings the 95 % \
interval lies above {share(report.INTEREST)}, or below -{share(report.INTEREST)}.

{report.markdown(lines)}"""


# ---------------------------------------------------------------------------- the paper's claims
def claimed(results: list[Result]) -> str:
    """What became of each sentence of the paper, in a few words (Markdown)."""
    said = {
        "early-40": _of_forty,
        "decorrelated-yet-stochastic": lambda found: report.in_words(claims.counts(found)),
        "redundancy-costs": _of_redundancy,
        "diversity-predicts": _of_diversity,
        "early-help": _of_techniques,
        "escape": _of_techniques,
        "small-suffices": _of_sizes,
    }
    lines = [("the paper says", "here", "read")]
    for claim, words in said.items():
        found = settings(results, claim)
        book = f"[{found[0].notebook}](notebooks/{found[0].notebook}.ipynb)"
        lines.append((found[0].sentence, words(found), book))
    return report.markdown(lines)


def _of_forty(found: list[Result]) -> str:
    there = [r for r in found if r.verdict in claims.REPRODUCED]
    by_scale = sum(r.carried_by == "scale" for r in there)
    return (
        f"in {how_many(found)} settings, in {by_scale} of these by scale; surely worse in "
        f"{len(opposite(found))}"
    )


def _of_redundancy(found: list[Result]) -> str:
    early = [r for r in found if r.group == "early accuracy"]
    flat, deep = ([r for r in early if ("shallow" in r.setting) is one] for one in (True, False))
    return (
        f"half of the units near duplicates at the start cost early accuracy in {how_many(deep)} "
        f"settings with several layers, {how_many(flat)} with one"
    )


def _of_diversity(found: list[Result]) -> str:
    goes, missed = (
        [r for r in found if r.group == group] for group in ("rank correlation", "lesion test")
    )
    return (
        f"it goes with final accuracy in {how_many(goes)} settings; units that resemble another "
        f"are missed less in {how_many(missed)}"
    )


def _of_techniques(found: list[Result]) -> str:
    good = [r for r in found if r.verdict in claims.REPRODUCED]
    twins = [r for r in good if r.alone]
    by_scale = sum(r.carried_by == "scale" for r in twins)
    held = f"{by_scale} of {len(twins)} with a norm-held twin are not shown in it"
    return (
        f"in {len(good)} of {len(found)} combinations of technique and setting, "
        f"{sum(r.reason == OFF for r in found)} are tuned off; "
        f"{held if twins else 'scale is not held apart'}"
    )


def _of_sizes(found: list[Result]) -> str:
    parts = (
        f"{size} units a layer in place of 256 lose "
        f"{spread((-r.estimate for r in found if f'×{size} against' in r.setting), _tenths)} of "
        "the accuracy"
        for size in (16, 8)
    )
    return ", ".join(parts)


def _tenths(value: float) -> str:
    return f"{100 * value:.1f} %"


# ------------------------------------------------------------------------- what details need, too
def early_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Early accuracies of a table with rates in its optimizers' names."""
    return outcomes.early_accuracy(outcomes.rated(table))


def competing(peers: pd.DataFrame) -> pd.DataFrame:
    """Early accuracies of the starts that compete, without their twins."""
    values = early_accuracy(peers)
    return values[[start for start in design.PEERS if start in values]]


def listing(parts: dict[str, str]) -> str:
    """A bold question or topic a line, and what is said of it."""
    return "\n".join(f"* **{what}** {said}." for what, said in parts.items())


def once_more(found: list[Result], values: pd.DataFrame) -> list[Result]:
    """The results of a start's claim by other seeds. values: early accuracies of those that
    led."""
    return [
        replace(
            found[0],
            setting=claims.setting_of((row.data, row.setting, row.optimizer)),
            verdict=claims.verdict(row.low, row.high, found[0].margin),
            **{name: getattr(row, name) for name in ("estimate", "low", "high", "n")},
        )
        for row in outcomes.effects(values, [(found[0].group, "default")]).itertuples()
    ]


def alike(values: pd.DataFrame) -> dict[str, float]:
    """What the same draw at the method's scale changes, not decorrelated, by setting."""
    found = outcomes.effects(values, [("equal_norms", "default")]).itertuples()
    return {claims.setting_of((r.data, r.setting, r.optimizer)): r.estimate for r in found}


def of_scale(results: list[Result], values: pd.DataFrame) -> str:
    """Which share of an effect that is reproduced that has."""
    by = alike(values)
    found = [by[r.setting] / r.estimate for r in reproduced(results)]
    return f"{share(min(found))} to {share(max(found))}" if found else "–"


def settings(results: list[Result], claim: str) -> list[Result]:
    return [r for r in results if r.claim == claim and r.setting != TOGETHER]


def together(results: list[Result], claim: str) -> list[Result]:
    return [r for r in results if r.claim == claim and r.setting == TOGETHER]


def reproduced(results: list[Result]) -> list[Result]:
    return [r for r in settings(results, "early-40") if r.verdict in claims.REPRODUCED]


def opposite(found: list[Result]) -> list[Result]:
    return [r for r in found if r.verdict == "the opposite"]


def count(found: list[Result], verdicts) -> int:
    return sum(r.verdict in verdicts for r in found)


def both(found: list[Result]) -> str:
    """In how many settings it is surely better, and surely worse."""
    return f"{count(found, claims.REPRODUCED)} and {len(opposite(found))}"


def how_many(found: list[Result]) -> str:
    return f"{count(found, claims.REPRODUCED)} of {len(found)}"


def surely(found: list[Result]) -> str:
    """In how many settings the whole interval is above the margin, and below minus that."""
    margin, below = share(found[0].margin), len(opposite(found))
    said = f"surely above {margin} in {count(found, claims.REPRODUCED)} of {len(found)}"
    return f"{said}, below -{margin} in {below}" if below else said


def named(found: list[Result]) -> str:
    return "; ".join(f"{r.setting} {percent(r.estimate)}" for r in found) or "none"


def middle(found: list[Result]) -> str:
    """The median effect; "–" where a preset has no such setting."""
    return percent(median(r.estimate for r in found)) if found else "–"


def seeds(counts: Iterable[int]) -> str:
    """How many: "n = 20", or "n = 10 to 40"."""
    return f"n = {spread(counts, str)}"
