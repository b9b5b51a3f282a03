"""The answer in five lines and a table, for who has a minute: what a practitioner and a sceptic
must know, from results alone. ``details`` says it at length."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from statistics import median

import pandas as pd

from dndiv.paper import claims, design, findings, names, outcomes, report
from dndiv.paper.claims import OFF, TOGETHER, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import measured, percent, share, spread

# the tables that the five lines, and the two tables, are made of
LINES = ("early", "peers", "leaders", "later_rates", "later")
CLAIMED = ("diversity", "reinforcement")
STARTS = ("peers", "leaders", "later", "convolution", "convolution_leaders")
SIZES = {name: f"{len(of)} layers of {of[0]}" for name, of in design.SETTINGS.items()}
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
    pooled = of_both(peers, leaders)
    parts = {
        "Is it 40 %?": _forty(results, outcomes.early_accuracy(early), pooled),
        "Should I use it?": _used(results, pooled),
        "What instead?": _instead(results, leaders, later),
        "At which learning rate?": _rates(results, rates_of(peers), later_rates),
        "Do techniques help during training?": _tried(results),
    }
    return listing(parts)


def of_both(peers: pd.DataFrame, leaders: pd.DataFrame) -> pd.DataFrame:
    """Early accuracies of the method and of the default at their best rates, on the seeds of both
    tables: the method was not chosen by the former, so that all of them judge it."""
    parts = [early_accuracy(table)[["decorrelated", "default"]] for table in (peers, leaders)]
    return pd.concat(parts).dropna()


def _forty(results: list[Result], values: pd.DataFrame, pooled: pd.DataFrame) -> str:
    every, there = settings(results, "early-40"), reproduced(results)
    others = [r.estimate for r in every if r not in there]
    again = {r.setting: r for r in once_more(settings(results, "finding-tuned-40"), pooled)}
    left = [percent(again[r.setting].estimate) for r in there if r.setting in again]
    [whole], [at_best] = (together(results, f) for f in ("early-40", "finding-directions"))
    he, plain = (measured(whole.alone[scale]) for scale in report.SCALES)
    tuned = f"; at the best rates of both, {' and '.join(left)} are left" * bool(left)
    return (
        f"In {len(there)} of {len(every)} settings at the usual learning rates ({named(there)}; "
        f"the others {spread(others, percent)}; {seeds(r.n for r in every)}). "
        f"{of_scale(results, values)} of it comes without decorrelation, from He's scale (our "
        f"assumption), zero biases and equal norms{tuned}. Decorrelation alone gives {he} at that "
        f"scale, {plain} at PyTorch's, {measured(vars(at_best))} at the default's best rates"
    )


def _used(results: list[Result], pooled: pd.DataFrame) -> str:
    again = once_more(settings(results, "finding-tuned-40"), pooled)
    few, flat, ten, series = report.kinds(again)
    images, deep = few + flat, ten + [r for r in series if "10×10" in r.setting]
    series = [r for r in series if r not in deep]
    means = pooled.default.groupby(level=CELL).mean()
    dead = {claims.setting_of(cell) for cell in means.index[means < outcomes.LEARNS]}
    hardly = [r for r in deep if r.setting in dead]
    better, worse = count(again, claims.REPRODUCED), opposite(images)
    harm = f" (by {spread((-r.estimate for r in worse), _tenths)})" * bool(worse)
    where = f", {count(hardly, claims.REPRODUCED)} of them where the default hardly learns"
    return (
        f"{_advised(better, len(opposite(again)), len(again))} At the best rates of both it is "
        f"surely better than PyTorch's default by more than {share(again[0].margin)} in "
        f"{how_many(images)} settings on images with up to five layers, surely worse in "
        f"{len(worse)}{harm}; better in {how_many(series)} on "
        f"{names.title(names.SERIES, names.DATA)}{_worse(series)}, and in {how_many(deep)} with "
        f"ten layers{_worse(deep)}{where * bool(hardly)} ({seeds(r.n for r in again)})"
    )


def _worse(found: list[Result]) -> str:
    return f" (worse in {len(opposite(found))})" * bool(opposite(found))


def _advised(better: int, worse: int, of: int) -> str:
    """What a share of settings comes to: half of them make a rule."""
    return "As a rule." if better > max(worse, of / 2) else "Not as a rule."


def _instead(results: list[Result], leaders: pd.DataFrame, trained_on: pd.DataFrame) -> str:
    few, last = (
        report.kinds(settings(results, f"finding-{claim}"))[0]
        for claim in ("deep-narrow", "retuned")
    )
    start = few[0].group
    places = dict.fromkeys(r.setting.split(", ")[1] for r in few)
    sizes = " or ".join(SIZES[name] for name in places)
    parts = _early(leaders, start), _late(trained_on, start)
    most = [percent(part.max()) for part in parts if len(part)]
    learning = f"; where both learn at most {' and '.join(most)}" * bool(most)
    return (
        f"On images, with {sizes} rectifiers, {findings.start_title(start)} ({SOURCE}): "
        f"{spread((r.estimate for r in few), percent)} on fresh seeds, {surely(few)} "
        f"({seeds(r.n for r in few)}); after {design.LASTING_EPOCHS} epochs "
        f"{spread((r.estimate for r in last), percent)}, {surely(last)} "
        f"({seeds(r.n for r in last)}){learning}. Other networks: the table below"
    )


def _early(leaders: pd.DataFrame, start: str) -> pd.Series:
    """The effects of a start on early accuracy on the seeds whose networks learn from both, deep on
    images; none where all do."""
    found = outcomes.two_parts(outcomes.rated(leaders), start, "default", test=False)
    found = found[[kind == findings.DEEP for kind in findings.kinds(found.set_index(CELL))]]
    dead = (found[["learn", "baseline_learn"]] < 1).any(axis=None)
    return found.estimate if dead else found.estimate[:0]


def _late(trained_on: pd.DataFrame, start: str) -> pd.Series:
    """The same after the last epoch."""
    found = findings.retuned(trained_on)
    found = found[(found.treated == start) & (found.data != names.SERIES)]
    learning = found[found.when == "learning"].estimate
    return learning if found.dead.any() else learning[:0]


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
    places = len({r.setting for r in off + good + rest})
    free = ", without such a control" * (first.group in design.NORMS_LEFT)
    return (
        f"At the default's best learning rate {len(good)} of {len(good + rest)} combinations of "
        f"technique and setting surely gain more than {share(every[0].margin)}; {len(off)} more "
        f"were switched off by tuning. {without_scale(good)}. "
        f"{names.title(first.group, names.TECHNIQUES)} has the largest mean over {places} "
        f"settings, {measured(vars(first))}{free}"
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
    return (
        f"Of the {len(twins)} gains that have a control with the norms of weights held {by_scale} "
        "are no longer shown there"
    )


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
    early, after = "early accuracy", f"after {design.LASTING_EPOCHS} epochs"
    hardly = ", where the default hardly learns"
    default = pd.concat(early_accuracy(table).default for _, table in pairs)
    means = default.groupby(level=CELL, sort=False).mean()
    reached = means.groupby(findings.kinds(means), sort=False)
    lines = [
        (
            "networks",
            f"the default's {early}",
            "start",
            early,
            after,
            "its rates",
            "the default's rates",
        )
        + (f"the paper's method, {early}",)
    ]
    for network, of in found.groupby("network", sort=False):
        first, rates = of["first"].iloc[0], of_network(at_best, network)
        gains, method = (of[of.treated == start] for start in (first, "decorrelated"))
        on = of_network(late, network)
        on, title = on[on.treated == first], findings.start_title(first)
        title = "the paper's method" if first == "decorrelated" else title
        use = f"**{title}**", _ranged(gains), _ranged(on), best_rates(rates, first)
        if 2 * sum(gains.low > report.INTEREST) < len(gains):
            use = "PyTorch's default", f"{title} {_ranged(gains)}", "–", "–"
        there = reached.get_group(network)
        poor = hardly * bool(there.mean() < outcomes.LEARNS)
        own = best_rates(rates, "default"), _ranged(method)
        lines.append((network + poor, spread(there, share), *use, *own))
    return f"""Which start, in which network, where each has its own best learning rates \
(SGD / Adam): changes of accuracy against PyTorch's default, from the lowest to the highest \
setting, for the start that was first of {len(design.LEADERS)} on other seeds; in brackets, in how \
many settings the 95 % interval lies above {share(report.INTEREST)}, or below \
-{share(report.INTEREST)}, and the number of seeds. Bold where it is above in half of \
them; where it is not, PyTorch's default stays.

{report.markdown(lines)}"""


def _ranged(found: pd.DataFrame) -> str:
    """``report.ranged``, and the number of seeds."""
    said = report.ranged(found)
    return said if found.empty else f"{said[:-1]}; {seeds(found.n)})"


# ---------------------------------------------------------------------------- the paper's claims
def claimed(results: list[Result], diversity: pd.DataFrame, reinforcement: pd.DataFrame) -> str:
    """What became of each sentence of the paper, in a few words (Markdown), by the tables of these
    names."""
    said = {
        "early-40": _of_forty,
        "decorrelated-yet-stochastic": lambda found: report.in_words(claims.counts(found)),
        "redundancy-costs": _of_redundancy,
        "diversity-predicts": partial(_of_diversity, diversity),
        "early-help": partial(_of_techniques, reinforcement),
        "escape": _of_escape,
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
        f"in {how_many(found)} settings, and in {by_scale} of these decorrelation is not shown to "
        f"carry it; surely worse in {len(opposite(found))}"
    )


def _of_redundancy(found: list[Result]) -> str:
    early = [r for r in found if r.group == "early accuracy"]
    flat, deep = ([r for r in early if ("shallow" in r.setting) is one] for one in (True, False))
    noise = claims.load()["redundancy-costs"]["treated"].rpartition("_")[2]
    return (
        f"where half of the units start as copies of another (but for noise of {noise} %), that "
        f"costs early accuracy in {how_many(deep)} settings with several layers, "
        f"{how_many(flat)} with one"
    )


def _of_diversity(diversity: pd.DataFrame, found: list[Result]) -> str:
    goes, beyond, missed = (
        [r for r in found if r.group == group]
        for group in ("rank correlation", "beyond the accuracy reached", "lesion test")
    )
    told = findings.foretold(diversity, "effective_rank", goes[0].margin)
    held = findings.tally(told["beyond the share of dead units"])
    return (
        f"it goes with final accuracy in {how_many(goes)} settings (median ρ "
        f"{median(r.estimate for r in goes):+.2f}), in {how_many(beyond)} beyond the accuracy "
        f"reached by then, in {held.above} of {held.of} beyond the share of dead units (median ρ "
        f"{held.median:+.2f}); removing a unit that resembles another costs less in "
        f"{how_many(missed)}"
    )


def _of_techniques(reinforcement: pd.DataFrame, found: list[Result]) -> str:
    good = [r for r in found if r.verdict in claims.REPRODUCED]
    twins = [r for r in good if r.alone]
    left = [r for r in twins if r.carried_by != "scale"]
    moved = findings.correlation_effects(findings.correlations(reinforcement))
    moved = moved[moved.high < 0].assign(technique=outcomes.technique_of(moved.treated))
    less = {(one, claims.setting_of(cell)) for one, *cell in moved[["technique", *CELL]].to_numpy()}
    diverse = sum((r.group, r.setting) in less for r in left)
    return (
        f"{_acting(found)}. With the norms of weights held {len(twins) - len(left)} of "
        f"{len(twins)} gains are no longer shown; in {diverse} of the other {len(left)} units "
        f"become less correlated; {len(good) - len(twins)} have no such control"
    )


def _of_escape(found: list[Result]) -> str:
    good = [r for r in found if r.verdict in claims.REPRODUCED]
    places = " and ".join(f"({name})" for name in dict.fromkeys(r.setting for r in good)) or "none"
    return (
        f"{_acting(found)}. The gains are on {places}, at the usual learning rate and without a "
        "control for scale"
    )


def _acting(found: list[Result]) -> str:
    """In how many combinations that are tested a technique surely does what is claimed."""
    tested = [r for r in found if r.reason != OFF]
    return (
        f"in {how_many(tested)} combinations of technique and setting; in "
        f"{len(found) - len(tested)} more tuning switched the technique off"
    )


def _of_sizes(found: list[Result]) -> str:
    parts = []
    for size in (16, 8):
        of = [r for r in found if f"×{size} against" in r.setting]
        depths = dict.fromkeys(r.setting.split(", ")[1].partition("×")[0] for r in of)
        layers = (
            " or ".join(depths) + " hidden layer" + "s" * (max(map(int, depths), default=1) > 1)
        )
        parts.append(
            f"{size} units a layer in place of {max(design.WIDTHS)} lose "
            f"{spread((-r.estimate for r in of), _tenths)} of the accuracy "
            f"({layers})"
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
