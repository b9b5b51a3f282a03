"""The answer at length, for ``docs/results.md``: sentences and tables, from results alone."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pandas as pd

from dndiv.paper import answer, claims, design, findings, names, outcomes, report
from dndiv.paper.answer import early_accuracy, how_many, middle, seeds, settings, together
from dndiv.paper.claims import OFF, Result
from dndiv.paper.names import CELL
from dndiv.paper.report import MARK, measured, percent, share, spread

LINES = ("early", "peers", "leaders", "beginnings")  # the tables that the sentences are made of
UNSEARCHED = "FashionMNIST"  # the data set that had no part in the search for ``design.FOUND``


def lines(
    results: list[Result],
    early: pd.DataFrame,
    peers: pd.DataFrame,
    leaders: pd.DataFrame,
    beginnings: pd.DataFrame,
) -> str:
    """What there is to say in sentences (Markdown), by the tables of these names."""
    values = outcomes.early_accuracy(early)
    parts = {
        "The 40 %:": _forty(results, values, *map(early_accuracy, (peers, leaders))),
        "Scale or decorrelation:": _scale(results, values),
        "At the usual learning rates": _highest(values),
        "At best learning rates,": _instead(results, peers, leaders),
        "Techniques and their rivals:": _tried(results),
        "Techniques at the usual rates, and local minima:": _techniques(results),
        "Redundancy and diversity:": _redundant(results),
        "Diversity before training:": _before(beginnings, answer.competing(peers)),
    }
    return answer.listing(parts)


# --------------------------------------------------------------------------------- the sentences
def _forty(
    results: list[Result], values: pd.DataFrame, tuned_values: pd.DataFrame, fresh: pd.DataFrame
) -> str:
    """The 40 % at the usual learning rates, and what becomes of it at best ones."""
    every, there = settings(results, "early-40"), answer.reproduced(results)
    against = answer.opposite(every)
    [whole], tuned = together(results, "early-40"), settings(results, "finding-tuned-40")
    rest = [r for r in every if r not in there + against]
    reach = [r for r in tuned if r.estimate >= whole.published]
    least = share(tuned[0].margin)
    return (
        f"that, or more, at the usual learning rates in {len(there)} of {len(every)} settings "
        f"({_listed(there)}), and there {answer.of_scale(results, values)} of it is left without "
        "decorrelation: it is the scale of the draw, with biases at zero. Elsewhere "
        f"{report.in_words(claims.counts(rest))}; the opposite in {len(against)} "
        f"({_listed(against)}). The median setting has "
        f"{middle(every)}, the mean of these {len(every)} is {measured(vars(whole))}, and "
        f"{_jointly(_elsewhere(results, values), 'decorrelated', 'default')} without those "
        f"{len(there)}. With both sides at their own best learning rates, in {len(tuned)} "
        f"settings, the estimate is {share(whole.published)} or more in {len(reach)} "
        f"({answer.named(reach)}; with 10×10 and SGD the default itself reaches "
        f"{_ten(tuned_values.default)}), "
        f"surely above {least} in {answer.count(tuned, claims.REPRODUCED)}, surely "
        f"below -{least} in {len(answer.opposite(tuned))} (on the fresh seeds of those that led "
        f"{answer.both(answer.once_more(tuned, fresh))}), and in the median {middle(tuned)}"
    )


def _ten(values: pd.Series) -> str:
    """What is reached in ten layers of 10 with SGD, by data set."""
    reached = values.xs(("10×10", "sgd"), level=("setting", "optimizer"))
    return spread(reached.groupby(level="data").mean(), share)


def _scale(results: list[Result], values: pd.DataFrame) -> str:
    without = answer.alike(values)
    held = [
        f"{percent(without[r.setting])}, where the method gives {percent(r.estimate)} ({r.setting})"
        for r in answer.reproduced(results)
    ]
    rest = _jointly(_elsewhere(results, values), "equal_norms", "default")
    return (
        "where it is reproduced, the same draw at the method's scale, with biases at zero and "
        f"equal norms, not decorrelated, gives {'; '.join(held) or '–'}; elsewhere that changes "
        f"the early accuracy by {rest}. "
        f"Decorrelation alone (same draw, norms and biases) gives {_alone(results)}"
    )


def _alone(results: list[Result]) -> str:
    """Decorrelation at the same draw, norms and biases."""
    [whole], [at_best] = (together(results, f) for f in ("early-40", "finding-directions"))
    he, default = (measured(whole.alone[scale]) for scale in report.SCALES)
    most = max(settings(results, "early-40"), key=lambda r: r.alone[report.SCALES[1]]["estimate"])
    return (
        f"{he} at the method's scale, {default} at PyTorch's, over all settings, at most "
        f"{percent(most.alone[report.SCALES[1]]['estimate'])} ({most.setting}); "
        f"{measured(vars(at_best))} at the best learning rate of PyTorch's default"
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
        f"{spread(part.estimate, percent)} {kind}" for kind, part in kinds.items() if len(part)
    )
    return (
        f"`{top}` has the highest mean of {every.shape[1]} starts "
        f"(`{design.FOUND}` is not among them) in {wins} of {best.sum()} settings "
        f"({len(every) // best.sum()} seeds; chosen afterwards): against PyTorch's default "
        f"{_jointly(values, top, 'default')} over all settings, from {ranges}"
    )


def _instead(results: list[Result], peers: pd.DataFrame, leaders: pd.DataFrame) -> str:
    """How the start that leads on images, and the one that was found, stand among all."""
    reached = answer.competing(peers)
    ranks, deep = findings.standings(reached), findings.deep_images(reached)
    there = findings.standings(deep)
    found = settings(results, "finding-relayed")
    few, again = (
        report.kinds(of)[0] for of in (found, answer.once_more(found, early_accuracy(leaders)))
    )
    few_led, _, ten_led, series_led = report.kinds(settings(results, "finding-first"))
    places = reached.index.get_level_values
    unseen = (places("data") == UNSEARCHED) & (places("setting") != "10×10")
    series = names.title(names.SERIES, names.DATA)
    standing = ", ".join(
        f"{findings.start_title(s)} {ranks['rank'][s]:.1f}" for s in ranks.index[:3]
    )
    against, led = few_led + ten_led, few_led[0]
    return (
        f"in narrow rectifier networks of several layers without normalization, on images, "
        f"{findings.start_title(led.group)} is first of {len(there)} starts in "
        f"{there.best[led.group]} of {len(deep.groupby(level=CELL))} settings; on fresh seeds it "
        f"is surely better than the best other of {len(design.LEADERS)} by more than "
        f"{share(led.margin)} in {answer.count(against, claims.REPRODUCED)} of {len(against)}, "
        f"worse in {len(answer.opposite(against))}, and on {series} worse in "
        f"{len(answer.opposite(series_led))} of {len(series_led)}. It draws nothing: its seeds are "
        f"orders of the data. Its formula is that of public code which cites {answer.SOURCE}, "
        f"whose text could not be obtained. `{design.FOUND}` has {_gains(few)} with three or five "
        f"layers on images, on fresh seeds {_gains(again)}. It was found by a search on MNIST and "
        f"{series}; on {names.title(UNSEARCHED, names.DATA)}, which had no part in it, "
        f"{_jointly(reached[unseen], design.FOUND, 'default')} without ten layers of 10. No start "
        f"is the best everywhere: mean ranks of {len(ranks)}, on the seeds that chose those that "
        f"led, are {standing}; `{design.FOUND}` is "
        f"at worst {percent(ranks.least[design.FOUND])} from the first, and against the best other "
        f"start: {report.in_words(claims.counts(settings(results, 'finding-best-start')))}"
    )


def _gains(found: list[Result]) -> str:
    estimates = [r.estimate for r in found]
    return (
        f"{spread(estimates, percent)} ({answer.surely(found)}; median {middle(found)}, "
        f"{seeds(r.n for r in found)})"
    )


def _tried(results: list[Result]) -> str:
    """What became of techniques and of their rivals."""
    off, good, rest = answer.tallied(results, "early-help", "finding-rivals")
    lost = sum(numbers["high"] < 0 for r in good if r.alone for numbers in r.alone.values())
    return (
        f"at the usual and at best rates they gain more than {share(good[0].margin)} in "
        f"{len(good)} of {len(off + good + rest)} combinations of technique, setting and rates; "
        f"in {len(off)} the technique is off: with no coefficient was it better than none by "
        f"{outcomes.ERRORS} standard errors, of few seeds. {answer.without_scale(good)}; in {lost} "
        "it surely loses. Of what is tested and not reproduced: "
        f"{report.in_words(claims.counts(rest))}. At the default's best rate, in the mean over "
        f"settings: {_ahead(results)}"
    )


def _ahead(results: list[Result]) -> str:
    """The techniques that are first at the default's best rate, on images and on series; and
    Muon."""
    series, said = names.title(names.SERIES, names.DATA), []
    for one in sorted(together(results, "finding-rivals"), key=lambda r: -r.estimate)[:4]:
        of = [r for r in settings(results, "finding-rivals") if r.group == one.group]
        adam = names.OPTIMIZERS["adam"]
        parts = {
            "images": [r for r in of if series not in r.setting],
            series: [r for r in of if series in r.setting],
            adam: [r for r in of if r.setting.endswith(adam)],
        }
        if one.group == design.MUON:  # in place of Adam
            del parts[adam]
        means = (
            f"{name} {percent(fmean(r.estimate or 0 for r in found))}"
            for name, found in parts.items()
            if found
        )
        with_adam = f", in place of {adam} alone" * (one.group == design.MUON)
        said.append(
            f"{names.title(one.group, names.TECHNIQUES)} {measured(vars(one))} ({', '.join(means)}"
            f"{with_adam})"
        )
    return "; ".join(said)


def _techniques(results: list[Result]) -> str:
    acting = [
        r
        for claim in ("early-help", "escape")
        for r in settings(results, claim)
        if r.reason != OFF and r.estimate is not None
    ]
    worst = min(acting, key=lambda r: r.estimate, default=None)
    lowest = worst and (
        f". The lowest estimate: {names.title(worst.group, names.TECHNIQUES)}, {worst.setting}, "
        f"{measured(vars(worst))} (`{worst.claim}`, {worst.said})"
    )
    return (
        f"{report.headline(results, 'early-help')}. {report.headline(results, 'escape')} of the "
        f"networks where one acts, within {design.ESCAPE_EPOCHS} epochs on images and "
        f"{design.PARITY_STEPS:,} steps on parity. Off: of the coefficients that were tried on "
        "held-out images, or other seeds of parity, the best was not better than none by "
        f"{outcomes.ERRORS} standard errors, so that nothing is tested{lowest or ''}"
    )


def _redundant(results: list[Result]) -> str:
    """What redundancy costs that is put there, how small a network may be, and whether diversity
    foretells accuracy."""
    early = [r for r in settings(results, "redundancy-costs") if r.group == "early accuracy"]
    flat, deep = ([r for r in early if ("shallow" in r.setting) is one] for one in (True, False))
    part, lesion = "rank correlation", "lesion test"
    correlated, missed = (
        next(r for r in together(results, "diversity-predicts") if r.group == group)
        for group in (part, lesion)
    )
    each = [r.estimate for r in settings(results, "diversity-predicts") if r.group == part]
    # the claim is that what resembles another is missed less: below zero, it is missed more
    alike = replace(missed, estimate=-missed.estimate, low=-missed.high, high=-missed.low)
    wide = settings(results, "small-suffices")
    return (
        f"half of the units near duplicates at the start cost early accuracy in "
        f"{how_many(deep)} settings with several hidden layers "
        f"({spread((r.estimate for r in deep), share)}), in "
        f"{how_many(flat)} with one ({seeds(r.n for r in early)}). Within a setting, diversity "
        f"after the first epoch and final accuracy correlate: {measured(vars(correlated))} in the "
        f"mean of {len(each)}, {spread(each, report.correlation)}. How much a unit resembles "
        f"another goes with the accuracy that is lost without it, {measured(vars(alike))}: what "
        f"resembles another is {'' if missed.low > 0 else 'not '}missed less; of interest is ρ "
        f"from {missed.margin} on. "
        f"Of the accuracy of layers of 256 less than {share(wide[0].margin)} is lost: "
        f"{_sizes(wide)} ({seeds(r.n for r in wide)})"
    )


def _sizes(wide: list[Result]) -> str:
    """In how many cases how small networks suffice, by their start."""
    return ", ".join(
        f"with {size} from {findings.start_title(start)} in {how_many(of)}"
        for size in (16, 8)
        for start in dict.fromkeys(r.group for r in wide)
        if (of := [r for r in wide if r.group == start and f"×{size} against" in r.setting])
    )


def _before(beginnings: pd.DataFrame, reached: pd.DataFrame) -> str:
    """Whether the units of good starts are diverse before training."""
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
        f"settings (above zero in {sum(rho > 0)}; SGD and Adam share the ranks), deep on images "
        f"{spread(there, report.correlation)}, without an interval; yet "
        f"{findings.start_title(leader)}, the first there, has the lowest rank of all in "
        f"{sum(lowest == leader)} of {len(lowest)}: {of(leader)}; PyTorch's default has "
        f"{of('default')} (n = {beginnings.seed.nunique() // beginnings.data.nunique()}"
        " seeds; SGD at the usual rate)"
    )


def _listed(found: list[Result]) -> str:
    return "; ".join(f"{r.setting} {measured(vars(r))}{f' {MARK}' * r.fragile}" for r in found)


def _elsewhere(results: list[Result], values: pd.DataFrame) -> pd.DataFrame:
    """The values of the settings in which the method is not reproduced."""
    places = {r.setting for r in answer.reproduced(results)}
    cells = zip(*(values.index.get_level_values(name) for name in CELL))
    return values[[claims.setting_of(cell) not in places for cell in cells]]


def _jointly(values: pd.DataFrame, treated: str, baseline: str) -> str:
    return measured(vars(outcomes.jointly(values, (treated, baseline))))


# ------------------------------------------------------------------------------------ the tables
def led(leaders: pd.DataFrame, convolution_leaders: pd.DataFrame) -> str:
    """What each start that led, and the method, changes in early accuracy on fresh seeds, all at
    their best learning rates (Markdown): a row per kind of network."""
    starts = design.LEADERS[1:]
    found = pd.concat(
        outcomes.effects(early_accuracy(table), [(start, "default") for start in starts])
        for table in (leaders, convolution_leaders)
    )
    return _by_network(found.assign(network=findings.kinds(found.set_index(CELL))), starts)


def lasting(table: pd.DataFrame) -> str:
    """What is left of it after the last epoch, at the rates of the first ones: likewise."""
    found = findings.lasting(table)
    return _by_network(found[found.when == "late"], design.LASTING[1:])


def later(later_rates: pd.DataFrame, later: pd.DataFrame) -> str:
    """What they change then at the rates that are best then, each setting apart; and what rates
    these are."""
    found, best = findings.retuned(later), findings.later_choices(later_rates)
    late, learning = (found[found.when == when] for when in ("late", "learning"))
    moved, lower = best[best.rate != best.before], best[best.rate < best.before]
    return f"""{_by_network(late, design.LASTING[1:])}

On the seeds whose networks learn from either start, a description:

{_by_network(learning, design.LASTING[1:])}

{len(moved)} of the {len(best)} rates differ from those of {design.EPOCHS} epochs, {len(lower)} \
of them are lower; {best.at_end.sum() or "none"} at an end of the grid."""


def dead(early: pd.DataFrame, leaders: pd.DataFrame) -> str:
    """Where networks do not learn at all: at the usual rates with the method, and at best ones with
    the start that leads on images, both beside PyTorch's default."""
    lines = [("rates", "setting", "start", "it", "PyTorch's default", "p")]
    for rates, table, start in (
        ("usual", early, "decorrelated"),
        ("best", outcomes.rated(leaders), "deep_narrow"),
    ):
        found = outcomes.two_parts(table, start, "default")
        some = found[(found.learn < 1) | (found.baseline_learn < 1)]
        lines += [
            (
                *(rates, claims.setting_of((row.data, row.setting, row.optimizer))),
                *(findings.start_title(start), share(1 - row.learn)),
                *(share(1 - row.baseline_learn), report.probability(row.p_learn)),
            )
            for row in some.itertuples()
        ]
    return report.markdown(lines)


def _by_network(found: pd.DataFrame, starts: Sequence[str]) -> str:
    """A table (Markdown) of effects, a row per network, a column per start."""
    lines = [("networks", "n", *map(findings.start_title, starts))]
    for network, of in found.groupby("network", sort=False):
        rows = [of[of.treated == start] for start in starts]
        lines.append((network, spread(of.n, str), *map(report.ranged, rows)))
    return report.markdown(lines)
