"""Verdicts: from the registered claims (claims.yml) and the tables alone. Words are made of them in
``report``."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dndiv.paper import design, files, findings, outcomes, schema
from dndiv.paper.arms import Arm
from dndiv.paper.effects import (
    Effect,
    clustered,
    clusters_without_each,
    effect,
    holm,
    mean,
    rank_correlation,
    without_each,
)
from dndiv.paper.names import CELL, DATA, OPTIMIZERS, SERIES, title

VERDICTS = (
    *("reproduced", "reproduced, smaller", "no practical effect", "the opposite"),
    *("not reproduced", "undecided", "not tested", "by construction"),
)
REPRODUCED, NOT_TESTED = VERDICTS[:2], "not tested"
OFF = "off"  # tuning has left a technique out: it equals none, and nothing is tested
TOGETHER = schema.TOGETHER  # the setting of a joint result
ESCAPES = ("rescued", "stranded", "earlier", "later", "escaped", "baseline_escaped", "p_logrank")
PRIMARY = "He's scale"  # the control at the scale of what is tested


@dataclass(frozen=True)
class Result:
    """What the tables say of a claim in one setting. Numbers that there are not are None."""

    claim: str
    sentence: str
    published: float | None
    notebook: str | None
    setting: str = ""
    estimate: float | None = None  # and the 95 % interval, see ``effects.Effect``
    low: float | None = None
    high: float | None = None
    n: int | None = None
    p: float | None = None
    p_holm: float | None = None
    margin: float | None = None  # the smallest effect of interest
    verdict: str = NOT_TESTED
    carried_by: str | None = None  # of what is reproduced and has a control: "scale", or another
    fragile: bool = False  # another verdict where one seed, whichever, is left out
    reason: str = ""  # why nothing is said
    unit: str | None = None  # "ρ": a rank correlation; otherwise a relative change
    group: str | None = None  # the technique, or outcome, whose settings belong together
    alone: dict[str, dict] | None = None  # the numbers of the controls, by their label
    expected: str | dict[str, int] | None = None  # as registered; of a group, verdict → settings
    beside: dict[str, float | dict] = field(default_factory=dict)  # other numbers, by their name

    @property
    def said(self) -> str:
        """The verdict, and whether scale is what carries it; or that a technique is off."""
        if self.reason == OFF:
            return OFF
        return f"{self.verdict}, by scale" if self.carried_by == "scale" else self.verdict


def load(path: Path | None = None) -> dict[str, dict]:
    """The registered claims by id, checked: what is wrong is refused, with its line."""
    return schema.claims(path or files.CLAIMS, RULES, (*VERDICTS, OFF))


def evaluate(
    read: Callable[[str], pd.DataFrame], claims: dict[str, dict] | None = None
) -> list[Result]:
    """The results of all registered claims, or of those that are given; ``read`` gives a table."""
    results = []
    for name, claim in (claims or load()).items():
        results += judge(name, read(claim["table"]) if "table" in claim else None, claim)
    return results


def judge(name: str, table: pd.DataFrame | None, claim: dict | None = None) -> list[Result]:
    """The results of a claim, one per setting, by its table; without one, it is not tested.

    claim: its entry, by default the one of claims.yml.
    """
    claim = claim or load()[name]
    common = (name, claim["sentence"], claim.get("published"), claim.get("notebook"))
    if table is None:
        return [Result(*common, reason="no experiment yet")]
    expected = claim.get("expected") or {}
    try:
        results = [Result(*common, **found) for found in RULES[claim["rule"]](table, claim)]
    except KeyError as error:
        arms = ", ".join(table.arm.unique()) if "arm" in table else "none"
        raise ValueError(
            f"{files.CLAIMS.name}: claim {name!r} asks for {error}; its table has the arms {arms}"
        ) from error
    return [replace(r, expected=expected.get(key(r))) for r in results]


def verdict(low: float, high: float, margin: float, published: float | None = None) -> str:
    """What an interval says of an effect, by its smallest size of interest and, where there is one,
    the published value."""
    if not low <= high:  # there is no interval, for want of seeds
        return "undecided"
    if published is not None and low > 0 and high >= published:
        return "reproduced"
    if low > margin:
        return "reproduced" if published is None else "reproduced, smaller"
    if -margin <= low and high <= margin:
        return "no practical effect"
    if high < -margin:
        return "the opposite"
    return "not reproduced" if published is not None and high < published else "undecided"


def setting_of(cell: tuple[str, str, str]) -> str:
    data, setting, optimizer = cell
    return f"{title(data, DATA)}, {setting}, {title(optimizer, OPTIMIZERS)}"


def _untested(cell: tuple[str, str, str]) -> dict:
    """What replaces a verdict on digits: a stand-in decides nothing about what it stands in for."""
    nothing = {"carried_by": None, "fragile": False, "reason": "embedded digits"}
    return {"verdict": NOT_TESTED} | nothing if cell[0] == "Digits" else {}


def _numbers(found: Effect) -> dict:
    return {name: getattr(found, name) for name in ("estimate", "low", "high", "n", "p")}


def _decided(decide: Callable[..., str], found, left: Iterable) -> dict:
    """What is decided, and whether that would change where one seed, whichever, is left out."""
    said = decide(found)
    return {"verdict": said, "fragile": any(decide(other) != said for other in left)}


# ---------------------------------------------------------------------------------- the rules
def _judged(
    values: pd.DataFrame,
    columns: Sequence[str],
    claim: dict,
    statistic: Callable[..., Effect] = effect,
    sign: int = 1,
    margin: float | None = None,
    controls: dict[str, Sequence[str]] | None = None,
    carrier: tuple[str, str] = ("", ""),
    beside: dict[tuple, dict] | None = None,
    **more,
) -> list[dict]:
    """The results of a statistic of columns of values, one per cell and one of all together.

    values, columns: as of ``outcomes.samples``. sign: −1 turns the effect round. controls: other
    columns by label, of which the ``carrier``, a label, says what an effect is carried by, its
    name. beside: other numbers by cell.
    """
    margin = claim["margin"] if margin is None else margin
    turn = Effect.turned if sign < 0 else lambda found: found
    label, carries = carrier

    def result(cell, found, others, alone, **extra):
        def decide(e):
            return verdict(e.low, e.high, margin, claim.get("published"))

        found = turn(found)
        if more.get("unit") == "ρ":  # a joint interval knows no bounds
            found = replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0))
        judged = {
            "setting": setting_of(cell),
            **_numbers(found),
            "margin": margin,
            **_decided(decide, found, map(turn, others)),
        }
        if label in alone and judged["verdict"] in REPRODUCED:
            judged["carried_by"] = carries if turn(alone[label]).low > margin else "scale"
        if alone:
            judged["alone"] = {name: _numbers(turn(e)) for name, e in alone.items()}
        return judged | more | extra | _untested(cell)

    alone: dict[tuple, dict[str, Effect]] = {}
    for name, pair in (controls or {}).items():
        for cell, arrays in outcomes.samples(values, pair):
            alone.setdefault(cell, {})[name] = statistic(*arrays)
    results = []
    for cell, arrays in outcomes.samples(values, columns):
        off = len(arrays) == 2 and np.array_equal(*arrays)
        extra = {"beside": beside[cell]} if beside else {}
        if off and claim["rule"] in ("techniques", "rivals", "escape"):
            extra |= {"reason": OFF, "verdict": OFF}
        others = without_each(statistic, *arrays)
        results.append(result(cell, statistic(*arrays), others, alone.get(cell, {}), **extra))
    for r, p in zip(results, holm([r["p"] for r in results])):
        r["p_holm"] = float(p)
    if len(results) > 1:
        units = outcomes.units(values, columns, statistic)
        everywhere = {
            name: outcomes.jointly(values, pair, statistic)
            for name, pair in (controls or {}).items()
        }
        found, others = clustered(*units), clusters_without_each(*units)
        names = {cell[0] for cell, _ in outcomes.samples(values, columns)}
        name = "Digits" if "Digits" in names else max(names)  # one stand-in, and nothing is decided
        nowhere = all(r.get("reason") == OFF for r in results)
        extra = {"reason": OFF, "verdict": OFF} if nowhere else {}
        joint = result((name, "", ""), found, others, everywhere, setting=TOGETHER, **extra)
        results.append(joint | {"p_holm": joint["p"]})
    return results


def _early_accuracy(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """The 40 %, with decorrelation alone, and whether networks learn at all, beside it."""
    pair = claim["treated"], claim["baseline"]
    beside = {}
    for row in outcomes.two_parts(table, *pair).itertuples():
        shares = {name: getattr(row, name) for name in ("learn", "baseline_learn", "p_learn")}
        among = {"among those that learn": _numbers(row)}
        beside[tuple(getattr(row, name) for name in CELL)] = shares | among
    return _judged(
        outcomes.early_accuracy(table),
        pair,
        claim,
        controls=claim["controls"],
        carrier=(PRIMARY, "decorrelation"),
        beside=beside,
    )


def _directions(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Per setting, over its hidden layers: of similarity no more than the margin must be left, and
    similarity across draws must stay within it."""
    index = [*CELL, "seed", "arm", "measure"]
    means = table.groupby(index, sort=False).value.mean().unstack("arm")
    margin, pair = claim["margin"], (claim["treated"], claim["baseline"])

    def decide(both):
        within, across = both
        if not within.low <= within.high:
            return "undecided"
        stays = -margin <= across.low and across.high <= margin
        if stays and 1 + within.high < margin:
            return "by construction"
        fails = across.low > margin or across.high < -margin or 1 + within.low > margin
        return "not reproduced" if fails else "undecided"

    parts = [
        outcomes.samples(means.xs(measure, level="measure"), pair)
        for measure in ("similarity", "across")
    ]
    for (cell, within), (_, across) in zip(*parts):
        found, other = effect(*within), effect(*across)
        left = zip(*(without_each(effect, *s) for s in (within, across)))
        yield {
            "setting": cell[1],
            **_numbers(found),
            "margin": margin,
            **_decided(decide, (found, other), left),
            "beside": {"similarity across draws": _numbers(other)},
        }


def _intervention(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """What near-duplicate units cost: positive is lower accuracy, or a longer time."""
    pair = claim["treated"], claim["baseline"]
    for outcome, values in outcomes.intervened(table, claim["baseline"]).items():
        sign = 1 if outcome == "epochs to target" else -1
        margin = claim["margin"][outcome]
        yield from _judged(values, pair, claim, sign=sign, margin=margin, group=outcome)


def _prediction(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Whether diversity foretells accuracy, also beyond the accuracy that is reached already; and
    whether units that resemble another are missed less."""
    values, judged = outcomes.foretold(table), partial(_judged, claim=claim, unit="ρ")
    pair = ["diversity", "final"]
    yield from judged(values, pair, statistic=rank_correlation, group="rank correlation")
    yield from judged(
        values, [*pair, "reached"], statistic=rank_correlation, group="beyond the accuracy reached"
    )
    missed = outcomes.lesion_correlations(table)
    yield from judged(missed, ["correlation"], statistic=mean, sign=-1, group="lesion test")


def _by_technique(results: list[list[dict]]) -> Iterable[dict]:
    """The results of techniques, Holm's correction over them where all settings are together."""
    joint = [r for of_one in results for r in of_one if r["setting"] == TOGETHER]
    for r, p in zip(joint, holm([r["p"] for r in joint])):
        r["p_holm"] = float(p)
    return [r for of_one in results for r in of_one]


def _techniques(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Early accuracy of each technique against none, in every setting; where there is a twin whose
    norms are held, diversity carries what the twin shows as well."""
    values, baseline = outcomes.early_accuracy(table), claim["baseline"]
    results = []
    for text in values:
        arm = Arm.parse(text)
        if arm.technique and arm == Arm(baseline, arm.technique, claim["schedule"]):
            twin = f"{text}|held"
            controls = {"norms held": (twin, f"{baseline}|held")} if twin in values else {}
            carrier = ("norms held", "diversity")
            more = {"controls": controls, "carrier": carrier, "group": arm.technique}
            results.append(_judged(values, (text, baseline), claim, **more))
    return _by_technique(results)


def _rivals(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """As ``_techniques``, of the techniques, their rivals in the literature, and Muon."""
    return _techniques(outcomes.with_muon(table), claim)


def _escape(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Time to escape with each technique against none; tiny problems of their own decide as
    well."""
    times = outcomes.escape_times(table)
    found = outcomes.escapes(times)
    values = times.time.unstack("arm")
    # where networks are there from the start, nothing can be improved on
    late = (values.default > 0).groupby(level=CELL, sort=False).transform("sum") > 1
    results = []
    for arm, rows in found.groupby("arm", sort=False):
        technique = Arm.parse(arm).technique
        if not technique:
            continue
        beside = {}
        for row in rows.itertuples():
            cell = tuple(getattr(row, name) for name in CELL)
            beside[cell] = {name: float(getattr(row, name)) for name in ESCAPES}
        more = {"sign": -1, "beside": beside, "group": technique}
        judged = _judged(values[late], (arm, "default"), claim, **more)
        for r in judged:
            shares = r.get("beside")
            nobody = shares and not (shares["escaped"] or shares["baseline_escaped"])
            if nobody and r["verdict"] != NOT_TESTED:
                reason = "no network escapes within the run"
                r |= {"verdict": "undecided", "fragile": False, "reason": reason}
        nothing = {"verdict": "undecided", "reason": "too few networks have a plateau to leave"}
        for cell in dict.fromkeys(values[~late].index.droplevel("seed")):
            where = {"setting": setting_of(cell), "group": technique}
            judged.append(where | nothing | _untested(cell))
        results.append(judged)
    return _by_technique(results)


def _ratio(table: pd.DataFrame, claim: dict, of=outcomes.early_accuracy) -> Iterable[dict]:
    """The early accuracy of one start against another, or another outcome, each at the learning
    rate it has there."""
    values, pair = of(outcomes.rated(table)), _pair(claim)
    return _judged(values, pair, claim, group=claim["treated"])


def _pair(claim: dict) -> tuple[str, str]:
    return claim["treated"], claim["baseline"]


def _best(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """The early accuracy of a start against the best of the others in each setting, which is chosen
    by the same seeds: in favour of the others."""
    values = outcomes.early_accuracy(outcomes.rated(table))
    others = [start for start in design.PEERS if start in values and start != claim["treated"]]
    both = outcomes.against_the_best(values, claim["treated"], others)
    return _judged(both, ("treated", "best"), claim, group=claim["treated"])


def _good_rates(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """By how many decades the range of good learning rates is wider, on series, where seeds are
    cheap."""
    decades = outcomes.good_decades(table[table.data == SERIES])
    treated, baseline = _pair(claim)
    wider = pd.DataFrame({"wider": decades[treated] - decades[baseline]})
    return _judged(wider, ["wider"], claim, statistic=mean, unit="decades", group=treated)


def _thumb(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """How often the rule of thumb is right on places of the map that it was not found on: more than
    the margin. The rates of a network are one unit."""
    places = findings.thumb(table, *_pair(claim))
    units = places[findings.held_out(places)].groupby(CELL, sort=False).right.mean()
    samples = [units.to_numpy(float)]

    def decide(e):
        return verdict(e.low - claim["margin"], e.high - claim["margin"], 0.0)

    found, left = mean(*samples), without_each(mean, *samples)
    digits = ("Digits" if "Digits" in set(places.data) else "", "", "")
    yield {
        "setting": "held-out places of the map",
        **_numbers(found),
        "unit": "share",
        "margin": claim["margin"],
        **_decided(decide, found, left),
    } | _untested(digits)


def _sufficient(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """The final accuracy of small networks against wide ones: they suffice where they lose less
    than the margin."""
    reached = outcomes.accuracy(table)
    final = reached[reached.columns.max()].unstack(["arm", "setting"])

    def decide(e):
        if not e.low <= e.high or e.low <= -claim["margin"] <= e.high:
            return "undecided"
        return "reproduced" if e.low > -claim["margin"] else "the opposite"

    for small, wide in claim["sizes"]:
        for arm in (claim["baseline"], claim["treated"]):
            pair = [(arm, small), (claim["baseline"], wide)]
            if not {*pair} <= {*final}:  # smaller presets have fewer widths
                yield {
                    "setting": f"{small} against {wide}",
                    "group": arm,
                    "reason": "no such width",
                }
                continue
            for name, part in final[pair].dropna().groupby(level="data", sort=False):
                samples = [part[column].to_numpy(float) for column in pair]
                found = effect(*samples)
                yield {
                    "setting": f"{title(name, DATA)}, {small} against {wide}",
                    "group": arm,
                    **_numbers(found),
                    "margin": claim["margin"],
                    **_decided(decide, found, without_each(effect, *samples)),
                } | _untested((name, small, ""))


RULES = {
    "ratio": _ratio,
    "final": partial(_ratio, of=outcomes.final_accuracy),
    "best": _best,
    "good_rates": _good_rates,
    "thumb": _thumb,
    "sufficient": _sufficient,
    "early_accuracy": _early_accuracy,
    "directions": _directions,
    "intervention": _intervention,
    "prediction": _prediction,
    "techniques": _techniques,
    "rivals": _rivals,
    "escape": _escape,
}


def in_cells(
    results: list[Result], cells: Sequence[tuple[str, str, str]]
) -> list[tuple[dict[str, str], Result]]:
    """Of results in single cells, each with its cell, as the first columns of a row."""
    where = {setting_of(cell): dict(zip(CELL, cell)) for cell in cells}
    return [(where[r.setting], r) for r in results if r.setting in where]


# ----------------------------------------------------------------------------- what is registered
def key(r: Result) -> str:
    """What a result is registered under: its setting; of a group, the group, for all settings."""
    if not r.group:
        return r.setting
    return f"{r.group}, {TOGETHER}" if r.setting == TOGETHER else r.group


def grouped(results: list[Result]) -> dict[tuple[str, str], list[Result]]:
    """The results by claim and ``key``: the settings of a group together."""
    found: dict = {}
    for r in results:
        found.setdefault((r.claim, key(r)), []).append(r)
    return found


def counted(members: list[Result]) -> bool:
    """Whether of such results, of ``grouped``, it is said how many have which verdict."""
    return bool(members[0].group) and members[0].setting != TOGETHER


def counts(results: list[Result]) -> dict[str, int]:
    """How many settings have which verdict, in the order of ``VERDICTS``."""
    found = Counter(r.said for r in results)
    return {
        v: found[v]
        for verdict in (*VERDICTS, OFF)
        for v in (verdict, f"{verdict}, by scale")
        if found[v]
    }


def decided(results: list[Result]) -> dict[tuple[str, str], str | dict[str, int]]:
    """What is said of everything that is tested, by the keys of ``grouped``: the verdict, or, of a
    group, how many of its settings have which. In the form of ``expected`` in claims.yml."""
    tested = grouped([r for r in results if r.verdict != NOT_TESTED])
    return {
        name: counts(members) if counted(members) else members[0].said
        for name, members in tested.items()
    }


def differences(results: list[Result], enough: bool = True) -> dict[tuple[str, str], tuple]:
    """What is decided otherwise than registered: as in ``decided``, (found, expected).

    Of a group, verdicts are compared only where all registered settings are there. enough: whether
    there are as many seeds as in the reference; with fewer, being undecided contradicts nothing.
    """
    registered = {name: members[0].expected for name, members in grouped(results).items()}

    def differ(found, expected):
        comparable = isinstance(found, str) or sum(found.values()) == sum(expected.values())
        return comparable and found != expected and (enough or "undecided" not in found)

    return {
        name: (found, registered[name])
        for name, found in decided(results).items()
        if registered[name] and differ(found, registered[name])
    }
