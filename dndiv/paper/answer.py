"""The answer in five lines, short and long: what a practitioner and a sceptic must know, from
results alone."""

from statistics import median

import pandas as pd

from dndiv.paper import claims, design, findings, names, outcomes, report
from dndiv.paper.claims import OFF, TOGETHER, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import MARK, measured, percent, share


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


def short(results: list[Result], early: pd.DataFrame, peers: pd.DataFrame) -> str:
    """The same for who has a minute (Markdown). early, peers: the tables."""
    values, every = outcomes.early_accuracy(early), _settings(results, "early-40")
    [whole], there = _together(results, "early-40"), _reproduced(results)
    rest = report.in_words(claims.counts([r for r in every if r not in there]))
    places = "; ".join(f"{r.setting} {percent(r.estimate)}" for r in there)
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    most = max(every, key=lambda r: r.alone[report.SCALES[1]]["estimate"])
    tuned = _settings(results, "finding-tuned-40")
    parts = {
        "Is it 40 %?": f"In {len(there)} of {len(every)} settings ({places or 'none'}), and there "
        f"{_of_scale(results, values)} of it is left without decorrelation: it is the scale of the "
        f"draw. Elsewhere {rest}. The median setting has "
        f"{percent(median(r.estimate for r in every))}, the mean is {measured(vars(whole))}, and "
        f"{_jointly(_elsewhere(results, values), 'decorrelated', 'default')} without those "
        f"{len(there)}. That is at the usual learning rates; with both sides at their own best, in "
        f"{len(tuned)} settings, the median is {percent(median(r.estimate for r in tuned))} "
        f"({report.in_words(claims.counts(tuned))})",
        "Decorrelation alone:": f"{he} at the method's scale, {default} at PyTorch's, over all "
        f"settings, at most {percent(most.alone[report.SCALES[1]]['estimate'])} ({most.setting}); "
        f"{_joint(results, 'finding-directions')} at the best learning rate of PyTorch's default",
        "Use instead": _instead(results, peers),
        "Techniques": _tried(results),
        "Redundancy": "that is put into a start costs accuracy or time in "
        f"{_how_many(_settings(results, 'redundancy-costs'))} cases. Networks of 16 units a layer "
        f"stay within 5 % of those of 256 in {_suffice(results, '×16 against')}, of 8 units in "
        f"{_suffice(results, '×8 against')}",
    }
    return "\n".join(f"* **{what}** {said}." for what, said in parts.items())


def _instead(results: list[Result], peers: pd.DataFrame) -> str:
    """The start that was found, where both sides have their best rates, and what else there is."""
    at_best = outcomes.rated(peers)
    reached = outcomes.early_accuracy(at_best)
    ranks = findings.standings(reached[[s for s in design.PEERS if s in reached]])
    first = [f"{findings.start_title(s)} {ranks['rank'][s]:.1f}" for s in ranks.index[:3]]
    found = _settings(results, "finding-relayed")
    series = names.title(names.SERIES, names.DATA)
    deep = [r for r in found if "shallow" not in r.setting and "10×10" not in r.setting]
    images, others = (
        [r.estimate for r in deep if (series in r.setting) is is_series]
        for is_series in (False, True)
    )
    flat = [r.estimate for r in found if "shallow" in r.setting]
    against = report.in_words(claims.counts(_settings(results, "finding-best-start")))
    filtered = ", ".join(
        f"{measured(vars(r))} with {r.setting.rpartition(', ')[2]} ({r.said})"
        for r in _settings(results, "finding-convolution")
    )
    return (
        f"`{design.FOUND}`, in narrow rectifier networks without normalization: with both at their "
        f"best learning rates it is ahead of PyTorch's default by {percent(median(images))} in the "
        f"median with three or five hidden layers ({percent(min(images))} to "
        f"{percent(max(images))}; on {series} by up to {percent(max(others))}), by "
        f"{percent(median(flat))} with one. Deep on images, its best learning rates are "
        f"{_rates(at_best, design.FOUND)}; the default's, {_rates(at_best, 'default')}. In a small "
        f"convolutional network {filtered}. It is not the best everywhere; better than the best "
        f"other start: {against}. Mean ranks of {len(ranks)} starts: {', '.join(first)}"
    )


def _rates(at_best: pd.DataFrame, start: str) -> str:
    """From which to which a start's best learning rates go in deep networks on images."""
    images = at_best[(at_best.arm == start) & (at_best.data != names.SERIES)]
    deep = images[images.setting != "shallow"]
    return " and ".join(
        f"{of.min():g} to {of.max():g} with {names.title(name, names.OPTIMIZERS)}"
        for name, of in deep.groupby("optimizer", sort=False).rate
    )


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
        f"other {len(acting)}: reproduced in {len(good)}, of which {len(twins)} have a norm-held "
        f"twin and {by_scale} of these are by scale; {report.in_words(claims.counts(rest))}. At "
        f"the best learning rate of PyTorch's default the first over all settings are {first}; "
        f"Muon has {muon} in those with Adam"
    )


def _how_many(found: list[Result]) -> str:
    return f"{sum(r.verdict in claims.REPRODUCED for r in found)} of {len(found)}"


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
    opposite = [r for r in _settings(results, "early-40") if r.verdict == "the opposite"]
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
        f"{percent(without[r.setting])} of the {percent(r.estimate)} ({r.setting})"
        for r in _reproduced(results)
    ]
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    rest = _jointly(_elsewhere(results, values), "equal_norms", "default")
    return (
        "where it is reproduced, the same draw at the method's scale, not decorrelated, gives "
        f"{'; '.join(held) or '–'}; elsewhere that scale changes the early accuracy by {rest}. "
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
        f"`{top}` has the highest mean of {every.shape[1]} starts in {wins} of {best.sum()} "
        f"settings ({len(every) // best.sum()} seeds; chosen afterwards): against PyTorch's "
        f"default {_jointly(values, top, 'default')} over all settings, from {ranges}, at "
        "the usual learning rates"
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
