"""The answer in five lines, short and long: what a practitioner and a sceptic must know, from
results alone."""

from collections.abc import Iterable
from statistics import fmean, median

import pandas as pd

from dndiv.paper import claims, design, findings, names, outcomes, report
from dndiv.paper.claims import OFF, TOGETHER, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import MARK, measured, percent, share

UNSEARCHED = "FashionMNIST"  # the data set that had no part in the search for ``design.FOUND``


def brief(
    results: list[Result], early: pd.DataFrame, peers: pd.DataFrame, convolution: pd.DataFrame
) -> str:
    """Five lines for who has a minute (Markdown). early, peers, convolution: the tables."""
    at_best = outcomes.rated(peers)
    every = outcomes.early_accuracy(at_best)
    reached = every[[start for start in design.PEERS if start in every]]
    parts = {
        "Is it 40 %?": _forty_briefly(results, outcomes.early_accuracy(early)),
        "Should I use it?": _used(results),
        "What instead, and where?": _instead_briefly(results, reached, convolution),
        "At which learning rate?": _rates_briefly(results, at_best),
        "Do techniques help during training?": _tried_briefly(results),
    }
    return _listing(parts)


def lines(
    results: list[Result],
    early: pd.DataFrame,
    peers: pd.DataFrame,
    convolution: pd.DataFrame,
    beginnings: pd.DataFrame,
) -> str:
    """The same at length (Markdown). beginnings: another table."""
    values = outcomes.early_accuracy(early)
    parts = {
        "The 40 %:": _forty(results, values, outcomes.early_accuracy(outcomes.rated(peers))),
        "Scale or decorrelation:": _scale(results, values),
        "Use instead": _instead(results, peers),
        "At the usual learning rates": _highest(values),
        "In a small convolutional network,": _filtered(convolution),
        "Techniques and their rivals:": _tried(results),
        "Techniques at the usual rates, and local minima:": _techniques(results),
        "Redundancy and diversity:": _redundant(results),
        "Diversity before training:": _before(beginnings, outcomes.rated(peers)),
        "Networks that do not learn at all:": _dead(early),
    }
    return _listing(parts)


def _listing(parts: dict[str, str]) -> str:
    return "\n".join(f"* **{what}** {said}." for what, said in parts.items())


# ------------------------------------------------------------------------------------ in a minute
def _forty_briefly(results: list[Result], values: pd.DataFrame) -> str:
    every, there = _settings(results, "early-40"), _reproduced(results)
    [whole] = _together(results, "early-40")
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    return (
        f"In {len(there)} of {len(every)} settings at the usual learning rates "
        f"({_named(there)}), and {_of_scale(results, values)} of it is left without decorrelation: "
        f"it is the scale of the draw, with biases at zero. In the median setting the gain is "
        f"{percent(median(r.estimate for r in every))} ({_n(r.n for r in every)}). Decorrelation "
        f"alone gives {he} over all settings at the method's scale, {default} at PyTorch's"
    )


def _used(results: list[Result]) -> str:
    found = _settings(results, "finding-tuned-40")
    deep, flat, *_ = report.kinds(found)
    few, least = deep + flat, share(found[0].margin)
    better, worse = _count(found, claims.REPRODUCED), len(_opposite(found))
    return (
        f"{_advised(better, worse, len(found))} With both at their best learning rates it is, by "
        f"more than {least}, surely better than PyTorch's default in {better} of {len(found)} "
        f"settings and surely worse in {worse}, in the median "
        f"{percent(median(r.estimate for r in found))} ({_n(r.n for r in found)}); on images with "
        f"up to five layers better in {_count(few, claims.REPRODUCED)} of {len(few)}, worse in "
        f"{len(_opposite(few))} (at worst {percent(min(r.estimate for r in few))})"
    )


def _advised(better: int, worse: int, of: int) -> str:
    """What a share of settings comes to: half of them make a rule."""
    return "As a rule." if better > max(worse, of / 2) else "Not as a rule."


def _instead_briefly(
    results: list[Result], reached: pd.DataFrame, convolution: pd.DataFrame
) -> str:
    found = _settings(results, "finding-relayed")
    deep, flat, *_ = report.kinds(found)
    next_, *_ = report.kinds(_settings(results, "finding-alive"))
    on_series = reached[reached.index.get_level_values("data") == names.SERIES]
    here, there = (findings.standings(v) for v in (findings.deep_images(reached), on_series))
    *_, series = report.kinds(_settings(results, "finding-first"))
    led = series[0].group
    return (
        f"On images, in narrow rectifier networks of several layers, "
        f"{findings.start_title(led)}: at best rates the first of {len(here)} starts in "
        f"{here.best[led]} of {_cells(findings.deep_images(reached))} settings; "
        f"{_confirmed(results)}. There `alive` has "
        f"{percent(median(r.estimate for r in next_))}, `{design.FOUND}`, found by a search "
        f"here, {percent(median(r.estimate for r in deep))} (other seeds, "
        f"{_n(r.n for r in deep)}). On {names.title(names.SERIES, names.DATA)} "
        f"{findings.start_title(led)} is "
        f"surely worse than the best other in {len(_opposite(series))} of {len(series)}, and "
        f"`{design.FOUND}` the first in {there.best[design.FOUND]}. With one layer "
        f"`{design.FOUND}` has {percent(median(r.estimate for r in flat))}, and in a small "
        f"convolutional network "
        f"{_against_default(convolution, [design.FOUND])[design.FOUND]}"
    )


def _confirmed(results: list[Result]) -> str:
    """What became on fresh seeds of the start that led."""
    deep, *_ = report.kinds(_settings(results, "finding-deep-narrow"))
    few, _, ten, _ = report.kinds(_settings(results, "finding-first"))
    against = few + ten
    return (
        f"on fresh seeds it has {percent(median(r.estimate for r in deep))} in the median with "
        f"three or five layers ({_range(deep)}; {_n(r.n for r in deep)}), and is surely better "
        f"than the best other that led by more than {share(against[0].margin)} in "
        f"{_count(against, claims.REPRODUCED)} of {len(against)}, worse in "
        f"{len(_opposite(against))}"
    )


def _cells(reached: pd.DataFrame) -> int:
    return len(reached.groupby(level=CELL))


def _range(found: list[Result]) -> str:
    estimates, above = [r.estimate for r in found], sum(r.low > 0 for r in found)
    ends = f"{percent(min(estimates))} to {percent(max(estimates))}"
    return f"{ends}, surely above zero in {above} of {len(found)}"


def _rates_briefly(results: list[Result], at_best: pd.DataFrame) -> str:
    found, led = (_settings(results, name) for name in ("finding-best-start", "finding-first"))
    leader = led[0].group
    return (
        f"Deep on images {findings.start_title(leader)} is best at {_rates(at_best, leader)}, "
        f"PyTorch's default at {_rates(at_best, 'default')}. No start is the best everywhere: than "
        f"the best other one `{design.FOUND}` is surely worse by more than "
        f"{share(found[0].margin)} in {len(_opposite(found))} of {len(found)} settings, "
        f"{findings.start_title(leader)} in {len(_opposite(led))}"
    )


def _tried_briefly(results: list[Result]) -> str:
    off, good, rest = _tallied(results)
    twins = [r for r in good if r.alone]
    by_scale = sum(r.carried_by == "scale" for r in twins)
    return (
        f"{len(good)} of {len(off + good + rest)} cases are reproduced; in {len(off)} no "
        f"coefficient was shown to be better than none on held-out inputs (by {outcomes.ERRORS} "
        f"standard errors of few seeds). Of the {len(twins)} reproduced "
        f"that have a twin with norms held, {by_scale} are not shown to gain more than "
        f"{share(good[0].margin)} there. At the default's best rate the first over "
        f"all settings are {_ahead(results)}"
    )


# -------------------------------------------------------------------------------------- at length
def _forty(results: list[Result], values: pd.DataFrame, tuned_values: pd.DataFrame) -> str:
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
        f"{percent(median(r.estimate for r in every))}, the mean is {measured(vars(whole))}, and "
        f"{_jointly(_elsewhere(results, values), 'decorrelated', 'default')} without those "
        f"{len(there)}. With both sides at their own best learning rates, in {len(tuned)} "
        f"settings, it is {share(whole.published)} or more in {len(reach)} "
        f"({_named(reach)}; with 10×10 and SGD the default itself reaches {_ten(tuned_values)}), "
        f"surely above {least} in {_count(tuned, claims.REPRODUCED)}, surely "
        f"below -{least} in {len(_opposite(tuned))}, and in the median "
        f"{percent(median(r.estimate for r in tuned))}"
    )


def _ten(values: pd.DataFrame) -> str:
    """What PyTorch's default reaches early in ten layers of 10 with SGD."""
    reached = values.default.xs(("10×10", "sgd"), level=("setting", "optimizer"))
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


def _instead(results: list[Result], peers: pd.DataFrame) -> str:
    """The start that was found, where both sides have their best rates, and what else there is."""
    at_best = outcomes.rated(peers)
    reached = outcomes.early_accuracy(at_best)
    ranks = findings.standings(reached[[s for s in design.PEERS if s in reached]])
    found = _settings(results, "finding-relayed")
    deep, flat, _, others = report.kinds(found)
    low, middle, high = (percent(f(r.estimate for r in deep)) for f in (min, median, max))
    most = percent(max(r.estimate for r in others if "10×10" not in r.setting))
    series = names.title(names.SERIES, names.DATA)
    against = _settings(results, "finding-best-start")
    places = reached.index.get_level_values
    unseen = (places("data") == UNSEARCHED) & (places("setting") != "10×10")
    standing = ", ".join(
        f"{findings.start_title(s)} {ranks['rank'][s]:.1f}" for s in ranks.index[:3]
    )
    deep_images = findings.deep_images(reached[ranks.index])
    here = findings.standings(deep_images)
    leader = here.index[0]
    return (
        f"`{design.FOUND}`, in narrow rectifier networks without normalization: with both at their "
        f"best learning rates, on images, it gains {middle} in the median with three or five "
        f"hidden layers ({low} to {high}; {_surely(deep)}) against PyTorch's default, and "
        f"{percent(median(r.estimate for r in flat))} with one; on {series} up to {most}; "
        f"{_n(r.n for r in found)}. It was found by a search on MNIST and {series}; on "
        f"{names.title(UNSEARCHED, names.DATA)}, which had no part in it, "
        f"{_jointly(reached[unseen], design.FOUND, 'default')} without ten layers of 10. Deep on "
        f"images, its best learning rates are {_rates(at_best, design.FOUND)}; the default's, "
        f"{_rates(at_best, 'default')}. No start is the best everywhere: mean ranks of "
        f"{len(ranks)} are {standing}; on images with several hidden layers the first is "
        f"{findings.start_title(leader)} in {here.best[leader]} of {_cells(deep_images)} "
        f"({_confirmed(results)}); "
        f"`{design.FOUND}` is at worst {percent(ranks.least[design.FOUND])} from the first, and "
        f"against the best other start: {report.in_words(claims.counts(against))}"
    )


def _surely(found: list[Result]) -> str:
    """In how many of the intervals zero is on which side."""
    above, below = sum(r.low > 0 for r in found), sum(r.high < 0 for r in found)
    return f"above zero in {above} of {len(found)} intervals, below in {below}"


def _filtered(convolution: pd.DataFrame) -> str:
    """Starts in a small convolutional network at their best rates, against PyTorch's default."""
    found = _against_default(convolution, ["decorrelated", design.FOUND, "balanced"])
    said = "; ".join(f"{findings.start_title(arm)} {by}" for arm, by in found.items())
    where = names.title(convolution.data.iloc[0], names.DATA)
    return (
        f"on {design.FEW_IMAGES:,} images of {where}, at best learning rates, against PyTorch's "
        f"default: {said}"
    )


def _against_default(table: pd.DataFrame, arms: list[str]) -> dict[str, str]:
    """By start, what it changes at best rates with each optimizer."""
    values = outcomes.early_accuracy(outcomes.rated(table))
    found = outcomes.effects(values, [(arm, "default") for arm in arms if arm in values])
    said = {}
    for arm, rows in found.groupby("treated", sort=False):
        by = (
            f"{measured(row)} with {names.title(row['optimizer'], names.OPTIMIZERS)}"
            for row in rows.to_dict("records")
        )
        said[arm] = f"{' and '.join(by)}, {_n(rows.n)}"
    return said


def _n(counts: Iterable[int]) -> str:
    counts = [*counts]
    least, most = min(counts), max(counts)
    return f"n = {least}" if least == most else f"n = {least} to {most}"


def _rates(at_best: pd.DataFrame, start: str) -> str:
    """From which to which a start's best learning rates go in deep networks on images."""
    images = at_best[(at_best.arm == start) & (at_best.data != names.SERIES)]
    deep = images[images.setting != "shallow"]
    said = []
    for name, of in deep.groupby("optimizer", sort=False).rate:
        ends = " to ".join(f"{rate:g}" for rate in sorted({of.min(), of.max()}))
        said.append(f"{ends} with {names.title(name, names.OPTIMIZERS)}")
    return " and ".join(said)


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
    first = ", ".join(
        f"{names.title(r.group, names.TECHNIQUES)} {percent(r.estimate)} ({_held(r)})"
        for r in ahead
    )
    beside = f", and {names.title(ahead[0].group, names.TECHNIQUES)} " if with_adam else ""
    beside += percent(fmean(with_adam)) if with_adam else ""
    return f"{first}; in those with Adam Muon has {muon}{beside}"


def _held(r: Result) -> str:
    """What is left of a technique's gain with norms held."""
    if not r.alone:
        return "no twin with norms held"
    return f"{'not ' * (r.carried_by == 'scale')}shown with norms held"


def _tried(results: list[Result]) -> str:
    """What became of techniques and of their rivals."""
    *_, rest = _tallied(results)
    return (
        f"{_tried_briefly(results)}. Of what is tested and not reproduced: "
        f"{report.in_words(claims.counts(rest))}"
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

    def of(start):
        first, second = (report.spread(findings.rank_of(beginnings, start)[e]) for e in (0.0, 1.0))
        return f"{first} of the width, and {second} after an epoch"

    return (
        f"over {len(reached.columns)} starts the effective rank of the activations and early "
        f"accuracy at best rates correlate, ρ = {rho.median():+.2f} in the median of {len(rho)} "
        f"settings, above zero in {sum(rho > 0)}; yet {findings.start_title(leader)}, the first on "
        f"images with several layers, has the lowest rank of all there in "
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
        "networks where one acts. Off: of the coefficients that were tried on held-out images the "
        f"best was not better than none by {outcomes.ERRORS} standard errors, so that nothing is "
        f"tested{lowest or ''}"
    )


def _dead(early: pd.DataFrame) -> str:
    found = outcomes.two_parts(early, "decorrelated", "default")
    some = found[(found.learn < 1) | (found.baseline_learn < 1)]
    places = [
        f"{claims.setting_of((row.data, row.setting, row.optimizer))} "
        f"{share(1 - row.baseline_learn)} and {share(1 - row.learn)} (p = {row.p_learn:.2g})"
        for row in some.itertuples()
    ]
    return (
        f"final accuracy below {share(outcomes.LEARNS)}, with PyTorch's default and with the "
        f"decorrelated start, of the seeds that have both: {'; '.join(places) or 'none'}"
        f"{'; none elsewhere' * bool(places)}"
    )
