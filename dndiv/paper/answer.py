"""The answer in five lines, short and long: what a practitioner and a sceptic must know, from
results alone."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean, median

import pandas as pd

from dndiv.paper import claims, design, findings, names, outcomes, report
from dndiv.paper.claims import OFF, TOGETHER, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import MARK, measured, percent, share, spread

# what the short answer is made of, and the long one
BRIEF = ("early", "peers", "leaders", "later")
TABLES = (*BRIEF, "convolution", "convolution_leaders", "beginnings", "lasting")
UNSEARCHED = "FashionMNIST"  # the data set that had no part in the search for ``design.FOUND``


def brief(
    results: list[Result],
    early: pd.DataFrame,
    peers: pd.DataFrame,
    leaders: pd.DataFrame,
    later: pd.DataFrame,
) -> str:
    """Five lines for who has a minute (Markdown), by the tables of these names."""
    at_best, again = outcomes.rated(peers), _early(leaders)
    every = outcomes.early_accuracy(at_best)
    reached = every[[start for start in design.PEERS if start in every]]
    parts = {
        "Is it 40 %?": _forty_briefly(results, outcomes.early_accuracy(early)),
        "Should I use it?": _used(results, again),
        "What instead, and where?": _instead_briefly(results, reached, again, later),
        "At which learning rate?": _rates_briefly(results, at_best, later),
        "Do techniques help during training?": _tried_briefly(results),
    }
    return _listing(parts)


def lines(
    results: list[Result],
    early: pd.DataFrame,
    peers: pd.DataFrame,
    leaders: pd.DataFrame,
    later: pd.DataFrame,
    convolution: pd.DataFrame,
    convolution_leaders: pd.DataFrame,
    beginnings: pd.DataFrame,
    lasting: pd.DataFrame,
) -> str:
    """The same at length (Markdown), by the tables of these names."""
    values = outcomes.early_accuracy(early)
    parts = {
        "The 40 %:": _forty(results, values, *map(_early, (peers, leaders))),
        "Scale or decorrelation:": _scale(results, values),
        "Use instead": _instead(results, peers, leaders),
        "When training goes on at these rates,": _lasts(results, lasting),
        "At the rates that are best after all epochs,": _retuned(later),
        "At the usual learning rates": _highest(values),
        "In a small convolutional network,": _filtered(convolution, convolution_leaders),
        "Techniques and their rivals:": _tried(results),
        "Techniques at the usual rates, and local minima:": _techniques(results),
        "Redundancy and diversity:": _redundant(results),
        "Diversity before training:": _before(beginnings, outcomes.rated(peers)),
        "Networks that do not learn at all:": _dead(early, leaders),
    }
    return _listing(parts)


def _early(table: pd.DataFrame) -> pd.DataFrame:
    """Early accuracies of a table with rates in its optimizers' names."""
    return outcomes.early_accuracy(outcomes.rated(table))


def _listing(parts: dict[str, str]) -> str:
    return "\n".join(f"* **{what}** {said}." for what, said in parts.items())


# ------------------------------------------------------------------------------------ in a minute
def _forty_briefly(results: list[Result], values: pd.DataFrame) -> str:
    every, there = _settings(results, "early-40"), _reproduced(results)
    [whole] = _together(results, "early-40")
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    return (
        f"In {len(there)} of {len(every)} settings at the usual rates "
        f"({_named(there)}), and {_of_scale(results, values)} of it is left without decorrelation: "
        f"it is the scale of the draw, with biases at zero. The median setting gains "
        f"{_middle(every)}; decorrelation alone {he} over all settings "
        f"at the method's scale, {default} at PyTorch's ({_n(r.n for r in every)})"
    )


def _used(results: list[Result], values: pd.DataFrame) -> str:
    found = _settings(results, "finding-tuned-40")
    again = _once_more(found, values)
    few, before = ((deep + flat) for deep, flat, *_ in map(report.kinds, (again, found)))
    better, worse = _count(again, claims.REPRODUCED), len(_opposite(again))
    means = values.default.groupby(level=CELL).mean()
    dead = {claims.setting_of(cell) for cell in means.index[means < outcomes.LEARNS]}
    hardly = sum(r.setting in dead for r in again if r.verdict in claims.REPRODUCED)
    return (
        f"{_advised(better, worse, len(again))} With both at their best rates it is surely better "
        f"than PyTorch's default by more than {share(found[0].margin)} in {better} of {len(again)} "
        f"settings (in {hardly} the default hardly learns), surely worse in {worse}; on other "
        f"seeds in {_both(found)}. On images with up to five layers in {_both(few)} of {len(few)}, "
        f"on other seeds in {_both(before)} ({_n(r.n for r in again)})"
    )


def _once_more(found: list[Result], values: pd.DataFrame, best: bool = False) -> list[Result]:
    """The results of a start's claim by other seeds. values: early accuracies of those that led.
    best: against the best of the others, not PyTorch's default."""
    start, pair = found[0].group, (found[0].group, "default")
    if best:
        others = [other for other in values if other != start]
        values, pair = outcomes.against_the_best(values, start, others), ("treated", "best")
    return [
        replace(
            found[0],
            setting=claims.setting_of((row.data, row.setting, row.optimizer)),
            verdict=claims.verdict(row.low, row.high, found[0].margin),
            **{name: getattr(row, name) for name in ("estimate", "low", "high", "n")},
        )
        for row in outcomes.effects(values, [pair]).itertuples()
    ]


def _both(found: list[Result]) -> str:
    return f"{_count(found, claims.REPRODUCED)} and {len(_opposite(found))}"


def _advised(better: int, worse: int, of: int) -> str:
    """What a share of settings comes to: half of them make a rule."""
    return "As a rule." if better > max(worse, of / 2) else "Not as a rule."


def _instead_briefly(
    results: list[Result], reached: pd.DataFrame, again: pd.DataFrame, trained_on: pd.DataFrame
) -> str:
    of = lambda claim: _settings(results, f"finding-{claim}")  # noqa: E731
    found, filters = of("deep-narrow"), of("convolution-deep-narrow")
    deep, flat, *_ = report.kinds(found)
    alive, last = (report.kinds(of(claim))[0] for claim in ("alive", "retuned"))
    on_series = again[again.index.get_level_values("data") == names.SERIES]
    series, start = findings.standings(on_series), found[0].group
    by = ", ".join(f"{percent(r.estimate)} with {r.setting.split(', ')[-1]}" for r in filters)
    return (
        f"On images, in narrow rectifier networks of several layers, {_first(reached, start)}; on "
        f"fresh seeds, three or five layers, median {_middle(deep)} ({_surely(deep)}, "
        f"{_n(r.n for r in deep)}; `alive` {_middle(alive)}); after "
        f"{design.LASTING_EPOCHS} epochs, at best rates then, {_at_last(trained_on, start)}, "
        f"{_surely(last)}. On {names.title(names.SERIES, names.DATA)} "
        f"`{design.FOUND}`, found on it: first of {len(series)} in "
        f"{series.best[design.FOUND]} of {_cells(on_series)}. With one layer on images "
        f"{findings.start_title(start)} has {spread((r.estimate for r in flat), percent)} "
        f"({_n(r.n for r in flat)}), in a small CNN on "
        f"{filters[0].setting.split(', ')[0]} {by} ({_n(r.n for r in filters)})"
    )


def _at_last(trained_on: pd.DataFrame, start: str) -> str:
    """What a start changes on images after the last epoch, by setting."""
    found = findings.retuned(trained_on)
    found = found[(found.treated == start) & (found.data != names.SERIES)]
    return ", ".join(
        f"{setting} {spread(late.estimate, percent)} ({_n(late.n)}{_never(late, learning)})"
        for setting, of in found.groupby("setting", sort=False)
        for late, learning in [[of[of.when == when] for when in ("late", "learning")]]
    )


def _never(late: pd.DataFrame, learning: pd.DataFrame) -> str:
    """How many networks of the default do not learn after all epochs, if any, and what is changed
    without these."""
    if not late.dead.any():
        return ""
    without = spread(learning.estimate, percent)
    return f"; {spread(late.dead, str)} of the default never learn, {without} without these"


def _first(reached: pd.DataFrame, start: str) -> str:
    """In how many settings on images with several layers a start is the first."""
    deep = findings.deep_images(reached)
    here = findings.standings(deep)
    return (
        f"{findings.start_title(start)}: first of {len(here)} starts in {here.best[start]} of "
        f"{_cells(deep)} settings"
    )


def _against_those_that_led(results: list[Result]) -> str:
    """How the first on images stands on fresh seeds against the best of the others."""
    few, _, ten, series = report.kinds(_settings(results, "finding-first"))
    against = few + ten
    return (
        f"surely better than the best other of {len(design.LEADERS)} on the same seeds, by more "
        f"than {share(against[0].margin)}, in {_count(against, claims.REPRODUCED)} of "
        f"{len(against)}, worse in {len(_opposite(against))}, and on "
        f"{names.title(names.SERIES, names.DATA)} worse in {len(_opposite(series))} of "
        f"{len(series)}"
    )


def _cells(reached: pd.DataFrame) -> int:
    return len(reached.groupby(level=CELL))


def _rates_briefly(results: list[Result], at_best: pd.DataFrame, trained_on: pd.DataFrame) -> str:
    led, after = _settings(results, "finding-first"), findings.later_choices(trained_on)
    start, (deep, _, ten, series) = led[0].group, report.kinds(led)
    title, where = findings.start_title(start), names.title(names.SERIES, names.DATA)
    optimizers = " / ".join(names.title(name, names.OPTIMIZERS) for name in design.LEARNING_RATES)
    of_start, of_default = (
        [_rates(best, arm, brief=True) for best in (at_best, after)] for arm in (start, "default")
    )
    return (
        f"{optimizers}, on images with several layers, for {design.EPOCHS} epochs: {title} "
        f"{of_start[0]}, PyTorch's default {of_default[0]}; for {trained_on.epoch.max():g}: "
        f"{of_start[1]} and {of_default[1]}. None is best everywhere: {title} is surely worse than "
        f"the best other in {len(_opposite(series))} of {len(series)} on {where}, "
        f"{len(_opposite(deep + ten))} of {len(deep + ten)} on such images"
    )


def _tried_briefly(results: list[Result]) -> str:
    off, good, rest = _tallied(results)
    twins = [r for r in good if r.alone]
    by_scale = sum(r.carried_by == "scale" for r in twins)
    return (
        f"In {len(good)} of {len(off + good + rest)} combinations of technique, setting and rates "
        f"({len(off)} are off, by held-out inputs); of {len(twins)} gains with a norm-held twin "
        f"{by_scale} are not shown in it. At the default's best rate first: {_ahead(results)}"
    )


# -------------------------------------------------------------------------------------- at length
def _forty(
    results: list[Result], values: pd.DataFrame, tuned_values: pd.DataFrame, fresh: pd.DataFrame
) -> str:
    """The 40 % at the usual learning rates, and what becomes of it at best ones."""
    every, there = _settings(results, "early-40"), _reproduced(results)
    [whole], tuned = _together(results, "early-40"), _settings(results, "finding-tuned-40")
    rest = [r for r in every if r not in there + _opposite(every)]
    reach = [r for r in tuned if r.estimate >= whole.published]
    least = share(tuned[0].margin)
    return (
        f"that, or more, at the usual learning rates in {len(there)} of {len(every)} settings "
        f"({_listed(there)}), and there {_of_scale(results, values)} of it is left without "
        "decorrelation: it is the scale of the draw, with biases at zero. Elsewhere "
        f"{report.in_words(claims.counts(rest))}; the opposite in {len(_opposite(every))} "
        f"({_listed(_opposite(every))}). The median setting has "
        f"{_middle(every)}, the mean is {measured(vars(whole))}, and "
        f"{_jointly(_elsewhere(results, values), 'decorrelated', 'default')} without those "
        f"{len(there)}. With both sides at their own best learning rates, in {len(tuned)} "
        f"settings, the estimate is {share(whole.published)} or more in {len(reach)} "
        f"({_named(reach)}; with 10×10 and SGD the default itself reaches "
        f"{_ten(tuned_values.default)}), "
        f"surely above {least} in {_count(tuned, claims.REPRODUCED)}, surely "
        f"below -{least} in {len(_opposite(tuned))} (on the fresh seeds of those that led "
        f"{_both(_once_more(tuned, fresh))}), and in the median {_middle(tuned)}"
    )


def _ten(values: pd.Series) -> str:
    """What is reached in ten layers of 10 with SGD, by data set."""
    reached = values.xs(("10×10", "sgd"), level=("setting", "optimizer"))
    means = reached.groupby(level="data").mean()
    return f"{share(means.min())} to {share(means.max())}"


def _alone(results: list[Result]) -> str:
    """Decorrelation at the same draw, norms and biases."""
    [whole] = _together(results, "early-40")
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    most = max(_settings(results, "early-40"), key=lambda r: r.alone[report.SCALES[1]]["estimate"])
    return (
        f"{he} at the method's scale, {default} at PyTorch's, over all settings, at most "
        f"{percent(most.alone[report.SCALES[1]]['estimate'])} ({most.setting}); "
        f"{_joint(results, 'finding-directions')} at the best learning rate of PyTorch's default"
    )


def _instead(results: list[Result], peers: pd.DataFrame, leaders: pd.DataFrame) -> str:
    """The start that leads, the one that was found, and what else there is, at best rates."""
    at_best = outcomes.rated(peers)
    reached = outcomes.early_accuracy(at_best)
    ranks = findings.standings(reached[[s for s in design.PEERS if s in reached]])
    found = _settings(results, "finding-relayed")
    again = _once_more(found, _early(leaders))
    deep, flat, _, others = report.kinds(found)
    later, *_ = report.kinds(again)
    less = [r for r in others if "10×10" not in r.setting]
    most, without = (percent(max(r.estimate for r in part)) for part in (others, less))
    series = names.title(names.SERIES, names.DATA)
    against = _settings(results, "finding-best-start")
    places = reached.index.get_level_values
    unseen = (places("data") == UNSEARCHED) & (places("setting") != "10×10")
    standing = ", ".join(
        f"{findings.start_title(s)} {ranks['rank'][s]:.1f}" for s in ranks.index[:3]
    )
    led = _settings(results, "finding-deep-narrow")
    those, *_ = report.kinds(led)
    return (
        f"on images, in narrow rectifier networks of several layers without normalization, "
        f"{_first(reached[ranks.index], led[0].group)}; on fresh seeds it {_gains(those)}, and is "
        f"{_against_those_that_led(results)}. `{design.FOUND}`, where both have their best "
        f"learning rates, {_gains(deep)}, on fresh seeds it {_gains(later)}; with one layer "
        f"{_middle(flat)}; on {series} up to {without}, with ten "
        f"layers of 10 {most}. It was found by a search on MNIST and {series}; on "
        f"{names.title(UNSEARCHED, names.DATA)}, which had no part in it, "
        f"{_jointly(reached[unseen], design.FOUND, 'default')} without ten layers of 10. Deep on "
        f"images, the best learning rates of `{design.FOUND}` are "
        f"{_rates(at_best, design.FOUND)}; the default's, "
        f"{_rates(at_best, 'default')}. No start is the best everywhere: mean ranks of "
        f"{len(ranks)} are {standing}; `{design.FOUND}` is at worst "
        f"{percent(ranks.least[design.FOUND])} from the first, and against the best other start: "
        f"{report.in_words(claims.counts(against))}"
    )


def _gains(deep: list[Result]) -> str:
    """What a start gains with three or five hidden layers on images."""
    low, middle, high = (percent(f(r.estimate for r in deep)) for f in (min, median, max))
    return (
        f"has {middle} in the median with three or five layers ({low} to {high}; "
        f"{_surely(deep)}; {_n(r.n for r in deep)})"
    )


def _surely(found: list[Result]) -> str:
    """In how many settings the whole interval is above the margin, and below minus that."""
    margin, below = share(found[0].margin), len(_opposite(found))
    said = f"surely above {margin} in {_count(found, claims.REPRODUCED)} of {len(found)}"
    return f"{said}, below -{margin} in {below}" if below else said


def _lasts(results: list[Result], table: pd.DataFrame) -> str:
    """What is left of starts' gains after the last epoch, by the kind of network."""
    final = outcomes.final_accuracy(outcomes.rated(table)).default
    settings = _settings(results, "finding-lasting")
    lost = _opposite(settings)
    return (
        "by the best rates of the first "
        f"{design.EPOCHS} epochs, against PyTorch's default, the median change of early accuracy → "
        f"of that after {table.epoch.max():g} epochs (intervals of this above zero, and below): "
        f"{_medians(findings.lasting(table))}. With ten layers and SGD the default has "
        f"{_ten(final)} then. Surely more than {share(settings[0].margin)} lost by deep-narrow: "
        f"{_listed(lost) or 'nowhere'}"
    )


def _medians(found: pd.DataFrame) -> str:
    """The median changes by starts, early → late, by the kind of network."""
    said = []
    for network, of in found.groupby("network", sort=False):
        parts = []
        for start in reversed(design.LASTING[1:]):
            early, late = findings.tallies(of[of.treated == start], "when").values()
            parts.append(
                f"{findings.start_title(start)} {percent(early.median)} → {percent(late.median)} "
                f"({late.above}, {late.below} of {late.of})"
            )
        said.append(f"{network} ({_n(of.n)}): {', '.join(parts)}")
    return "; ".join(said)


def _retuned(later: pd.DataFrame) -> str:
    """What starts change after the last epoch where each has the rate that is best then."""
    best, found, said = findings.later_choices(later), findings.retuned(later), []
    first = design.LASTING[-1]
    for start in reversed(design.LASTING[1:]):
        parts = []
        for network, of in found[found.treated == start].groupby("network", sort=False):
            early, late, learning = (of[of.when == when] for when in dict.fromkeys(of.when))
            text = f"{network} {spread(late.estimate, percent)}"
            if start == first:  # what all have in common, too
                text += f" (at the rates of before {spread(early.estimate, percent)}; {_n(late.n)}"
                text += f"{_never(late, learning)})"
            parts.append(text)
        said.append(f"{findings.start_title(start)}: {', '.join(parts)}")
    moved, lower = best[best.rate != best.before], best[best.rate < best.before]
    return (
        "of three or five layers, chosen for each start by inputs held out of training, and judged "
        f"on other seeds: {'; '.join(said)}. Of the {len(best)} rates {len(moved)} are others than "
        f"those of {design.EPOCHS} epochs, {len(lower)} of them lower; at an end of their grid "
        f"{best.at_end.sum() or 'none'}"
    )


def _filtered(convolution: pd.DataFrame, leaders: pd.DataFrame) -> str:
    """Starts in a small convolutional network at their best rates, against PyTorch's default."""
    found = _against_default(leaders, [*design.LEADERS[1:]])
    found |= _against_default(convolution, ["balanced"])
    said = "; ".join(f"{findings.start_title(arm)} {by}" for arm, by in found.items())
    where = names.title(convolution.data.iloc[0], names.DATA)
    return (
        f"on {design.FEW_IMAGES:,} images of {where}, at best learning rates, against PyTorch's "
        f"default: {said}"
    )


def _against_default(table: pd.DataFrame, arms: list[str]) -> dict[str, str]:
    """By start, what it changes at best rates with each optimizer."""
    values = _early(table)
    found = outcomes.effects(values, [(arm, "default") for arm in arms if arm in values])
    said = {}
    for arm, rows in found.groupby("treated", sort=False):
        by = (
            f"{measured(row)} with {names.title(row['optimizer'], names.OPTIMIZERS)}"
            for row in rows.to_dict("records")
        )
        said[arm] = f"{' and '.join(by)}, {_n(rows.n)}"
    return said


def _middle(found: list[Result]) -> str:
    """The median effect; "–" where a preset has no such setting."""
    return percent(median(r.estimate for r in found)) if found else "–"


def _n(counts: Iterable[int]) -> str:
    counts = [*counts] or [0]
    least, most = min(counts), max(counts)
    return f"n = {least}" if least == most else f"n = {least} to {most}"


def _rates(at_best: pd.DataFrame, start: str, brief: bool = False) -> str:
    """From which to which a start's best learning rates go in deep networks on images. brief:
    without the names of the optimizers."""
    images = at_best[(at_best.arm == start) & (at_best.data != names.SERIES)]
    deep = images[images.setting != "shallow"]
    said = {
        names.title(name, names.OPTIMIZERS): spread(of, "{:g}".format)
        for name, of in deep.groupby("optimizer", sort=False).rate
    }
    if brief:
        return " / ".join(said.values())
    return " and ".join(f"{rates} with {name}" for name, rates in said.items())


def _tallied(results: list[Result]) -> tuple[list[Result], list[Result], list[Result]]:
    """Techniques and rivals, in every setting: what is off; what is reproduced; and the rest. Muon,
    which has no coefficient, is left out."""
    tried = [
        r
        for name in ("early-help", "finding-rivals")
        for r in _settings(results, name)
        if r.group != design.MUON
    ]
    off, acting = ([r for r in tried if (r.reason == OFF) is o] for o in (True, False))
    good, rest = (
        [r for r in acting if (r.verdict in claims.REPRODUCED) is o] for o in (True, False)
    )
    return off, good, rest


def _ahead(results: list[Result]) -> str:
    """Which techniques are first over all settings, at the default's best rate; and Muon."""
    rivals = [r for r in results if r.claim == "finding-rivals" and r.setting == TOGETHER]
    ahead = sorted((r for r in rivals if r.group != design.MUON), key=lambda r: -r.estimate)[:2]
    muon = next((percent(r.estimate) for r in rivals if r.group == design.MUON), "–")
    with_adam = [
        r.estimate
        for r in _settings(results, "finding-rivals")
        if ahead and r.group == ahead[0].group and names.OPTIMIZERS["adam"] in r.setting
    ]
    first = " and ".join(f"{_technique(r)} {percent(r.estimate)} ({_held(r)})" for r in ahead)
    beside = f", {_technique(ahead[0])} {percent(fmean(with_adam))}" if with_adam else ""
    return f"{first}; with Adam Muon {muon}{beside}"


def _technique(r: Result) -> str:
    return names.title(r.group, names.TECHNIQUES)


def _held(r: Result) -> str:
    """What is left of a technique's gain with norms held."""
    if not r.alone:
        return "no twin"
    return f"{'not ' * (r.carried_by == 'scale')}shown there"


def _tried(results: list[Result]) -> str:
    """What became of techniques and of their rivals."""
    _, good, rest = _tallied(results)
    lost = sum(numbers["high"] < 0 for r in good if r.alone for numbers in r.alone.values())
    return (
        f"{_tried_briefly(results)}. Shown to beat none is what does by {outcomes.ERRORS} "
        f"standard errors of few seeds, shown to gain what gains more than "
        f"{share(good[0].margin)}; {lost} of these twins surely lose. Of what is tested and not "
        f"reproduced: {report.in_words(claims.counts(rest))}"
    )


def _how_many(found: list[Result]) -> str:
    return f"{_count(found, claims.REPRODUCED)} of {len(found)}"


def _redundant(results: list[Result]) -> str:
    """What redundancy costs that is put there, how small a network may be, and whether diversity
    foretells accuracy."""
    early = [r for r in _settings(results, "redundancy-costs") if r.group == "early accuracy"]
    flat, deep = ([r for r in early if ("shallow" in r.setting) is one] for one in (True, False))
    correlated, missed = (
        next(r for r in _together(results, "diversity-predicts") if r.group == group)
        for group in ("rank correlation", "lesion test")
    )
    way = "are" if missed.low > 0 else "are not"
    wide = _settings(results, "small-suffices")
    return (
        f"half of the units near duplicates at the start cost early accuracy in "
        f"{_how_many(deep)} settings with several hidden layers "
        f"({share(min(r.estimate for r in deep))} to {share(max(r.estimate for r in deep))}), in "
        f"{_how_many(flat)} with one ({_n(r.n for r in early)}). Over networks, diversity and "
        f"final accuracy correlate, {measured(vars(correlated))}; units that resemble "
        f"another {way} missed less where they are removed, {measured(vars(missed))}, of interest "
        f"from {missed.margin} on. Of the accuracy of "
        f"layers of 256, less than {share(wide[0].margin)} is lost with 16 in "
        f"{_suffice(results, '×16 against')}, with 8 in {_suffice(results, '×8 against')} "
        f"({_n(r.n for r in wide)})"
    )


def _before(beginnings: pd.DataFrame, at_best: pd.DataFrame) -> str:
    """Whether the units of good starts are diverse before training."""
    reached = outcomes.early_accuracy(at_best)
    reached = reached[[start for start in design.PEERS if start in reached]]
    leader = findings.standings(findings.deep_images(reached)).index[0]
    told = findings.beginnings(beginnings, reached)
    rho, lowest = findings.told_at_start(told).effective_rank, findings.least_diverse(told)
    there = findings.deep_images(rho)

    def of(start):
        first, second = (spread(findings.rank_of(beginnings, start)[e]) for e in (0.0, 1.0))
        return f"{first} of the width, and {second} after an epoch"

    return (
        f"over {len(reached.columns)} starts the effective rank of the activations and early "
        f"accuracy at best rates correlate, ρ = {rho.median():+.2f} in the median of {len(rho)} "
        f"settings, above zero in {sum(rho > 0)}, deep on images {there.min():+.2f} to "
        f"{there.max():+.2f}, without an interval; yet {findings.start_title(leader)}, the first "
        f"on images with several layers, has the lowest rank of all there in "
        f"{sum(lowest == leader)} of {len(lowest)}: {of(leader)}; PyTorch's default has "
        f"{of('default')} (n = {beginnings.seed.nunique() // beginnings.data.nunique()}"
        " seeds; SGD at the usual rate)"
    )


def _count(found: list[Result], verdicts) -> int:
    return sum(r.verdict in verdicts for r in found)


def _named(found: list[Result]) -> str:
    return "; ".join(f"{r.setting} {percent(r.estimate)}" for r in found) or "none"


def _opposite(found: list[Result]) -> list[Result]:
    return [r for r in found if r.verdict == "the opposite"]


def _suffice(results: list[Result], size: str) -> str:
    return _how_many([r for r in _settings(results, "small-suffices") if size in r.setting])


def _joint(results: list[Result], claim: str) -> str:
    [found] = _together(results, claim)
    return measured(vars(found))


def _together(results: list[Result], claim: str) -> list[Result]:
    return [r for r in results if r.claim == claim and r.setting == TOGETHER]


def _settings(results: list[Result], claim: str) -> list[Result]:
    return [r for r in results if r.claim == claim and r.setting != TOGETHER]


def _listed(found: list[Result]) -> str:
    return "; ".join(f"{r.setting} {measured(vars(r))}{f' {MARK}' * r.fragile}" for r in found)


def _reproduced(results: list[Result]) -> list[Result]:
    return [r for r in _settings(results, "early-40") if r.verdict in claims.REPRODUCED]


def _elsewhere(results: list[Result], values: pd.DataFrame) -> pd.DataFrame:
    """The values of the settings in which the method is not reproduced."""
    places = {r.setting for r in _reproduced(results)}
    cells = zip(*(values.index.get_level_values(name) for name in CELL))
    return values[[claims.setting_of(cell) not in places for cell in cells]]


def _jointly(values: pd.DataFrame, treated: str, baseline: str) -> str:
    return measured(vars(outcomes.jointly(values, (treated, baseline))))


def _of_scale(results: list[Result], values: pd.DataFrame) -> str:
    """Which share of an effect that is reproduced the same draw at the method's scale has."""
    alike = _alike(values)
    found = [alike[r.setting] / r.estimate for r in _reproduced(results)]
    return f"{share(min(found))} to {share(max(found))}" if found else "–"


def _alike(values: pd.DataFrame) -> dict[str, float]:
    found = outcomes.effects(values, [("equal_norms", "default")]).itertuples()
    return {claims.setting_of((r.data, r.setting, r.optimizer)): r.estimate for r in found}


def _scale(results: list[Result], values: pd.DataFrame) -> str:
    without = _alike(values)
    held = [
        f"{percent(without[r.setting])}, where the method gives {percent(r.estimate)} ({r.setting})"
        for r in _reproduced(results)
    ]
    rest = _jointly(_elsewhere(results, values), "equal_norms", "default")
    return (
        "where it is reproduced, the same draw at the method's scale, with biases at zero and "
        f"equal norms, not decorrelated, gives {'; '.join(held) or '–'}; elsewhere that changes "
        f"the early accuracy by {rest}. "
        f"Decorrelation alone (same draw, norms and biases) gives {_alone(results)}"
    )


def _highest(values: pd.DataFrame) -> str:
    every = values.dropna()  # seeds that have all starts
    best = every.groupby(level=CELL, sort=False).mean().idxmax(axis=1).value_counts()
    top, wins = best.index[0], best.iloc[0]
    if top == "default":
        return f"PyTorch's default has the highest mean in {wins} of {best.sum()} settings"
    found = outcomes.effects(every, [(top, "default")])
    deep = found.setting.map(lambda s: len(design.hidden_layers(s)) > 1)
    kinds = {"with one hidden layer": found[~deep]}
    for optimizer, title in names.OPTIMIZERS.items():
        kinds[f"deeper with {title}"] = found[deep & (found.optimizer == optimizer)]
    ranges = "; ".join(
        f"{percent(part.estimate.min())} to {percent(part.estimate.max())} {kind}"
        for kind, part in kinds.items()
        if len(part)
    )
    return (
        f"`{top}` has the highest mean of {every.shape[1]} starts "
        f"(`{design.FOUND}` is not among them) in {wins} of {best.sum()} settings "
        f"({len(every) // best.sum()} seeds; chosen afterwards): against PyTorch's default "
        f"{_jointly(values, top, 'default')} over all settings, from {ranges}"
    )


def _techniques(results: list[Result]) -> str:
    acting = [
        r
        for claim in ("early-help", "escape")
        for r in _settings(results, claim)
        if r.reason != OFF and r.estimate is not None
    ]
    worst = min(acting, key=lambda r: r.estimate, default=None)
    lowest = worst and (
        f". The lowest estimate: {worst.group.replace('_', ' ')}, {worst.setting}, "
        f"{measured(vars(worst))} (`{worst.claim}`, {worst.said})"
    )
    return (
        f"{report.headline(results, 'early-help')}. {report.headline(results, 'escape')} of the "
        f"networks where one acts, within {design.ESCAPE_EPOCHS} epochs on images and "
        f"{design.PARITY_STEPS:,} steps on parity. Off: of the coefficients that were tried on "
        "held-out images, or other seeds of parity, the best was not better than none by "
        f"{outcomes.ERRORS} standard errors, so that nothing is tested{lowest or ''}"
    )


def _dead(early: pd.DataFrame, leaders: pd.DataFrame) -> str:
    def places(table, start):
        found = outcomes.two_parts(table, start, "default")
        some = found[(found.learn < 1) | (found.baseline_learn < 1)]
        listed = [
            f"{claims.setting_of((row.data, row.setting, row.optimizer))} "
            f"{share(1 - row.baseline_learn)} and {share(1 - row.learn)} (p = {row.p_learn:.2g})"
            for row in some.itertuples()
        ]
        return f"{'; '.join(listed)}; none elsewhere" if listed else "none"

    return (
        f"accuracy below {share(outcomes.LEARNS)} after {design.EPOCHS} epochs, of the seeds that "
        "have both, with PyTorch's default and with the decorrelated start at the usual learning "
        f"rates: {places(early, 'decorrelated')}. With the default and deep-narrow at their best "
        f"rates: {places(outcomes.rated(leaders), 'deep_narrow')}"
    )
