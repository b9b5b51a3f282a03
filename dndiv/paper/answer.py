"""The answer in five lines, short and long: what a practitioner and a sceptic must know, from
results alone."""

from collections.abc import Iterable
from statistics import median

import pandas as pd

from dndiv.paper import claims, design, findings, names, outcomes, report
from dndiv.paper.claims import OFF, TOGETHER, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import MARK, measured, percent, share

UNSEARCHED = "FashionMNIST"  # the data set that had no part in the search for ``design.FOUND``


def lines(results: list[Result], early: pd.DataFrame) -> str:
    """The five lines (Markdown). early: the table."""
    values = outcomes.early_accuracy(early)
    parts = {
        "The 40 %": _claim(results, values),
        "Scale or decorrelation": _scale(results, values),
        "The best start": _best(values, results),
        "Techniques": _techniques(results),
        "Networks that do not learn at all": _dead(early),
    }
    return "\n".join(f"* **{what}:** {said}." for what, said in parts.items())


def short(
    results: list[Result], early: pd.DataFrame, peers: pd.DataFrame, convolution: pd.DataFrame
) -> str:
    """The same for who has a minute (Markdown). early, peers, convolution: the tables."""
    parts = {
        "Is it 40 %?": _forty(results, outcomes.early_accuracy(early)),
        "Decorrelation alone:": _alone(results),
        "Use instead": _instead(results, peers),
        "In a small convolutional network,": _filtered(convolution),
        "Techniques": _tried(results),
        "Redundancy and diversity:": _redundant(results),
    }
    return "\n".join(f"* **{what}** {said}." for what, said in parts.items())


def _forty(results: list[Result], values: pd.DataFrame) -> str:
    """The 40 % at the usual learning rates, and what becomes of it at best ones."""
    every, there = _settings(results, "early-40"), _reproduced(results)
    [whole], tuned = _together(results, "early-40"), _settings(results, "finding-tuned-40")
    rest = [r for r in every if r not in there + _opposite(every)]
    reach = [r for r in tuned if r.estimate >= whole.published]
    least = share(tuned[0].margin)
    return (
        f"In {len(there)} of {len(every)} settings ({_named(there)}), and there "
        f"{_of_scale(results, values)} of it is left without decorrelation: it is the scale of the "
        f"draw, with biases at zero. Elsewhere {report.in_words(claims.counts(rest))}; the "
        f"opposite in {len(_opposite(every))} ({_named(_opposite(every))}). The median setting has "
        f"{percent(median(r.estimate for r in every))}, the mean is {measured(vars(whole))}, and "
        f"{_jointly(_elsewhere(results, values), 'decorrelated', 'default')} without those "
        f"{len(there)}. That is at the usual learning rates; with both sides at their own best, in "
        f"{len(tuned)} settings, it is {share(whole.published)} or more in {len(reach)} "
        f"({_named(reach)}), surely above {least} in {_count(tuned, claims.REPRODUCED)}, surely "
        f"below -{least} in {len(_opposite(tuned))}, and in the median "
        f"{percent(median(r.estimate for r in tuned))}"
    )


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
    series = names.title(names.SERIES, names.DATA)
    images = [r for r in found if series not in r.setting]
    deep = [r for r in images if "shallow" not in r.setting and "10×10" not in r.setting]
    low, middle, high = (percent(f(r.estimate for r in deep)) for f in (min, median, max))
    flat = percent(median(r.estimate for r in images if "shallow" in r.setting))
    most = percent(max(r.estimate for r in found if r.setting.startswith(series)
                       and "10×10" not in r.setting))  # fmt: skip
    against = _settings(results, "finding-best-start")
    places = reached.index.get_level_values
    unseen = (places("data") == UNSEARCHED) & (places("setting") != "10×10")
    standing = ", ".join(
        f"{findings.start_title(s)} {ranks['rank'][s]:.1f}" for s in ranks.index[:3]
    )
    often = ranks.best.idxmax()
    return (
        f"`{design.FOUND}`, in narrow rectifier networks without normalization: with both at their "
        f"best learning rates, on images, it gains {middle} in the median with three or five "
        f"hidden layers ({low} to {high}; above zero in {sum(r.low > 0 for r in deep)} of "
        f"{len(deep)} intervals, below in {sum(r.high < 0 for r in deep)}) against PyTorch's "
        f"default, and {flat} with one; on {series} up to {most}; {_n([r.n for r in found])}. It "
        f"was found by a search on MNIST and {series}; on {names.title(UNSEARCHED, names.DATA)}, "
        f"which had no part in it, {_jointly(reached[unseen], design.FOUND, 'default')} without "
        "ten layers of 10. Deep on images, its best learning rates are "
        f"{_rates(at_best, design.FOUND)}; the default's, {_rates(at_best, 'default')}. No start "
        "is the best everywhere: mean ranks of "
        f"{len(ranks)} are {standing}; first most often is {findings.start_title(often)}, in "
        f"{ranks.best[often]} of {len(found)} settings; `{design.FOUND}` is at worst "
        f"{percent(ranks.least[design.FOUND])} from the first, and against the best other start: "
        f"{report.in_words(claims.counts(against))}"
    )


def _filtered(convolution: pd.DataFrame) -> str:
    """Starts in a small convolutional network at their best rates, against PyTorch's default."""
    values = outcomes.early_accuracy(outcomes.rated(convolution))
    arms = [arm for arm in ("decorrelated", design.FOUND, "balanced") if arm in values]
    found = outcomes.effects(values, [(arm, "default") for arm in arms])
    said = []
    for arm, rows in found.groupby("treated", sort=False):
        by = " and ".join(
            f"{measured(row)} with {names.title(row['optimizer'], names.OPTIMIZERS)}"
            for row in rows.to_dict("records")
        )
        said.append(f"{findings.start_title(arm)} {by}")
    where = names.title(convolution.data.iloc[0], names.DATA)
    return (
        f"on {design.FEW_IMAGES:,} images of {where}, at best learning rates, against PyTorch's "
        f"default: {'; '.join(said)} ({_n(found.n)})"
    )


def _n(counts: Iterable[int]) -> str:
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


def _tried(results: list[Result]) -> str:
    """What became of techniques and of their rivals; Muon, which has no coefficient, apart."""
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
    twins = [r for r in good if r.alone]
    by_scale = sum(r.carried_by == "scale" for r in twins)
    rivals = [r for r in results if r.claim == "finding-rivals" and r.setting == TOGETHER]
    ahead = sorted((r for r in rivals if r.group != design.MUON), key=lambda r: -r.estimate)[:2]
    muon = next((percent(r.estimate) for r in rivals if r.group == design.MUON), "–")
    first = ", ".join(
        f"{names.title(r.group, names.TECHNIQUES)} {percent(r.estimate)} "
        f"({'by scale' if r.carried_by == 'scale' else 'not by scale' if r.alone else 'no twin'})"
        for r in ahead
    )
    return (
        f"and their rivals: in {len(off)} of {len(tried)} cases no coefficient beat none by "
        f"{outcomes.ERRORS} standard errors on held-out inputs, so that nothing is tested; the "
        f"other {len(acting)}: reproduced in {len(good)}, of which {len(twins)} have a twin with "
        f"norms held, and in {by_scale} of these nothing is shown to be left there (*by scale*); "
        f"{report.in_words(claims.counts(rest))}. At "
        f"the best learning rate of PyTorch's default the first over all settings are {first}; "
        f"Muon has {muon} in those with Adam"
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
    way = "less" if missed.low > 0 else "more, not less," if missed.high < 0 else "no less"
    wide = _settings(results, "small-suffices")
    return (
        f"half of the units near duplicates at the start cost early accuracy in "
        f"{_how_many(deep)} settings with several hidden layers "
        f"({share(min(r.estimate for r in deep))} to {share(max(r.estimate for r in deep))}), in "
        f"{_how_many(flat)} with one ({_n([r.n for r in early])}). Over networks, diversity and "
        f"final accuracy correlate, {measured(vars(correlated))}; yet units that resemble another "
        f"are missed {way} where they are removed, {measured(vars(missed))}. Of the accuracy of "
        f"layers of 256, less than {share(wide[0].margin)} is lost with 16 in "
        f"{_suffice(results, '×16 against')}, with 8 in {_suffice(results, '×8 against')} "
        f"({_n([r.n for r in wide])})"
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


def _claim(results: list[Result], values: pd.DataFrame) -> str:
    [whole] = _together(results, "early-40")
    opposite = _opposite(_settings(results, "early-40"))
    rest = _jointly(_elsewhere(results, values), "decorrelated", "default")
    return (
        f"{report.headline(results, 'early-40')}. Reproduced, as a whole: "
        f"{_listed(_reproduced(results))}; {_of_scale(results, values)} of that is there without "
        "decorrelation (next line). "
        f"The opposite: {_listed(opposite)}. The mean over all settings is "
        f"{measured(vars(whole))}; without those that reproduce it, {rest}"
    )


def _of_scale(results: list[Result], values: pd.DataFrame) -> str:
    """Which share of an effect that is reproduced the same draw at the method's scale has."""
    alike = _alike(values)
    found = [alike[r.setting] / r.estimate for r in _reproduced(results)]
    return f"{share(min(found))} to {share(max(found))}" if found else "–"


def _alike(values: pd.DataFrame) -> dict[str, float]:
    found = outcomes.effects(values, [("equal_norms", "default")]).itertuples()
    return {claims.setting_of((r.data, r.setting, r.optimizer)): r.estimate for r in found}


def _scale(results: list[Result], values: pd.DataFrame) -> str:
    [whole] = _together(results, "early-40")
    without = _alike(values)
    held = [
        f"{percent(without[r.setting])}, where the method gives {percent(r.estimate)} ({r.setting})"
        for r in _reproduced(results)
    ]
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    rest = _jointly(_elsewhere(results, values), "equal_norms", "default")
    return (
        "where it is reproduced, the same draw at the method's scale, with biases at zero and "
        f"equal norms, not decorrelated, gives {'; '.join(held) or '–'}; elsewhere that changes "
        f"the early accuracy by {rest}. "
        "Decorrelation alone (same draw, norms and biases), over all settings: "
        f"{he} at the method's scale, {default} at PyTorch's"
    )


def _best(values: pd.DataFrame, results: list[Result]) -> str:
    return f"{_highest(values)}. {_tuned(results)}"


def _tuned(results: list[Result]) -> str:
    """What is left where every start has its own best learning rate."""

    found = _settings(results, "finding-relayed")
    deepest = {r.setting for r in found if "10×10" in r.setting}
    rest = [r.estimate for r in found if r.setting not in deepest]
    middle, least, most = (percent(f(rest)) for f in (median, min, max))
    best = claims.counts(_settings(results, "finding-best-start"))
    return (
        f"Each at its own best rate, `{design.FOUND}` against PyTorch's default: "
        f"{_joint(results, 'finding-relayed')} over {len(found)} settings; without the "
        f"deepest, 10×10, {middle} in the median, from {least} to {most}; "
        f"against the best of the other {len(design.PEERS) - 1} starts "
        f"{_joint(results, 'finding-best-start')}: {report.in_words(best)}"
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
        f"at the usual learning rates `{top}` has the highest mean of {every.shape[1]} starts "
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
        f"decorrelated start: {'; '.join(places) or 'none'}{'; none elsewhere' * bool(places)}"
    )
