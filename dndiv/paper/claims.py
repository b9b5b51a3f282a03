"""Verdicts: from the registered claims (claims.yml) and the tables alone. Words are made of them in
``report``."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from dndiv.paper import files, outcomes
from dndiv.paper.arms import Arm
from dndiv.paper.names import CELL, DATA, OPTIMIZERS, title

KEYS = {
    *("sentence", "published", "notebook", "table", "rule", "treated", "baseline", "controls"),
    *("margin", "expected", "schedule"),
}
VERDICTS = ("reproduced", "reproduced in part", "not reproduced", "undecided", "not tested")
NOT_TESTED = VERDICTS[-1]


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
    verdict: str = NOT_TESTED
    reason: str = ""  # why nothing is said
    unit: str | None = None  # "ρ": a rank correlation; otherwise a relative change
    group: str | None = None  # the technique, whose settings belong together
    alone: dict[str, dict] | None = None  # the numbers of the controls, by their label
    expected: str | dict[str, int] | None = None  # as registered; of a group, verdict → settings
    beside: dict[str, float | dict] = field(default_factory=dict)  # other numbers, by their name


def load(path: Path | None = None) -> dict[str, dict]:
    """The registered claims by id, checked: an unknown key or rule is refused."""
    path = path or files.CLAIMS
    claims = yaml.safe_load(path.read_text("utf8"))
    for name, claim in claims.items():
        what = f"{path.name}: claim {name!r} has"
        if unknown := set(claim) - KEYS:
            raise ValueError(f"{what} unknown keys {sorted(unknown)}; valid: {sorted(KEYS)}")
        if "sentence" not in claim:
            raise ValueError(f"{what} no sentence")
        if "table" in claim and claim.get("rule") not in RULES:
            raise ValueError(f"{what} rule {claim.get('rule')!r}; valid: {', '.join(RULES)}")
    return claims


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
    return [
        Result(*common, **found, expected=expected.get(found.get("group", found["setting"])))
        for found in RULES[claim["rule"]](table, claim)
    ]


def verdict(low: float, high: float, published: float | None = None) -> str:
    """What an interval says of an effect with a published value, or, without one, of its direction
    alone."""
    if not low <= high:  # also where there is no interval, for want of seeds
        return "undecided"
    if published is None:
        return "reproduced" if low > 0 else "not reproduced" if high <= 0 else "undecided"
    if low > 0:
        return "reproduced" if high >= published else "reproduced in part"
    return "undecided" if high >= published else "not reproduced"


def _numbers(row) -> dict:
    names = ("estimate", "low", "high", "n", "p", "p_holm")
    return {name: getattr(row, name) for name in names if hasattr(row, name)}


def _judged(row, claim: dict, **more) -> dict:
    """The result of a row of effects: digits decide nothing about MNIST and Fashion-MNIST, whose
    stand-in they are."""
    setting = f"{title(row.data, DATA)}, {row.setting}, {title(row.optimizer, OPTIMIZERS)}"
    found = verdict(row.low, row.high, claim.get("published"))
    judged = {"setting": setting, **_numbers(row), "verdict": found, **more}
    if row.data == "Digits":
        judged |= {"verdict": NOT_TESTED, "reason": "embedded digits"}
    return judged


# ---------------------------------------------------------------------------------- the rules
def _early_accuracy(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    values = outcomes.early_accuracy(table)
    whole = outcomes.effects(values, [(claim["treated"], claim["baseline"])])
    controls = {
        label: [*outcomes.effects(values, [tuple(pair)]).itertuples()]
        for label, pair in claim["controls"].items()
    }
    for k, row in enumerate(whole.itertuples()):
        alone = {label: _numbers(found[k]) for label, found in controls.items()}
        yield _judged(row, claim, alone=alone)


def _directions(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Per setting, over its hidden layers: similarity must fall, and similarity across draws stay,
    within a margin."""
    index = [*CELL, "seed", "arm", "measure"]
    means = table.groupby(index, sort=False).value.mean().unstack("arm")
    margin, pair = claim["margin"], [(claim["treated"], claim["baseline"])]
    within, across = (
        outcomes.effects(means.xs(measure, level="measure"), pair).itertuples()
        for measure in ("similarity", "across")
    )
    for w, a in zip(within, across):
        if -margin < a.low and a.high < margin:
            found = verdict(-w.high, -w.low)
        else:  # draws have become alike, or different, or there are too few to say
            apart = a.low > margin or a.high < -margin
            found = "not reproduced" if apart else "undecided"
        beside = {"similarity across draws": _numbers(a)}
        yield {"setting": w.setting, **_numbers(w), "verdict": found, "beside": beside}


def _thirds(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    parts = {name: part.itertuples() for name, part in outcomes.thirds(table).groupby("outcome")}
    for row, steps in zip(parts["final accuracy"], parts["epochs to target"]):
        yield _judged(row, claim, beside={steps.outcome: steps.estimate})


def _prediction(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    found = outcomes.predictions(table, measures=["effective_rank"], epochs=[1])
    for row in found[found.outcome == "final"].itertuples():
        yield _judged(row, claim, unit="ρ")


def _techniques(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Early accuracy of each technique against none, in every setting."""
    values = outcomes.early_accuracy(table)
    arms = {text: Arm.parse(text) for text in values}
    pairs = [
        (text, claim["baseline"])
        for text, arm in arms.items()
        if arm == Arm(claim["baseline"], arm.technique, claim["schedule"])
    ]
    for row in outcomes.effects(values, pairs).itertuples():
        yield _judged(row, claim, group=arms[row.treated].technique)


def _escape(table: pd.DataFrame, claim: dict) -> Iterable[dict]:
    """Time to escape with each technique against none; tiny problems of their own decide as
    well."""
    for row in outcomes.escapes(outcomes.escape_times(table)).itertuples():
        if technique := Arm.parse(row.arm).technique:
            beside = {name: getattr(row, name) for name in ("p_logrank", "earlier", "later")}
            judged = _judged(row, claim, group=technique, beside=beside)
            if not (row.escaped or row.baseline_escaped or judged["verdict"] == NOT_TESTED):
                reason = "no network escapes within the run"
                judged |= {"verdict": "undecided", "reason": reason}
            yield judged


RULES = {
    "early_accuracy": _early_accuracy,
    "directions": _directions,
    "thirds": _thirds,
    "prediction": _prediction,
    "techniques": _techniques,
    "escape": _escape,
}


# ----------------------------------------------------------------------------- what is registered
def grouped(results: list[Result]) -> dict[tuple[str, str], list[Result]]:
    """The results by claim and setting; those of a technique together, by claim and technique."""
    found: dict = {}
    for r in results:
        found.setdefault((r.claim, r.group or r.setting), []).append(r)
    return found


def counts(results: list[Result]) -> dict[str, int]:
    """How many settings have which verdict, in the order of ``VERDICTS``."""
    found = Counter(r.verdict for r in results)
    return {v: found[v] for v in VERDICTS if v in found}


def decided(results: list[Result]) -> dict[tuple[str, str], str | dict[str, int]]:
    """What is said of everything that is tested, by the keys of ``grouped``: the verdict, or, of a
    technique, how many of its settings have which. In the form of ``expected`` in claims.yml."""
    tested = grouped([r for r in results if r.verdict != NOT_TESTED])
    return {
        key: counts(members) if members[0].group else members[0].verdict
        for key, members in tested.items()
    }


def differences(results: list[Result]) -> dict[tuple[str, str], tuple]:
    """What is decided otherwise than registered: as in ``decided``, (found, expected).

    Of a technique, verdicts are compared only where all registered settings are there.
    """
    registered = {key: members[0].expected for key, members in grouped(results).items()}

    def differ(found, expected):
        comparable = isinstance(found, str) or sum(found.values()) == sum(expected.values())
        return comparable and found != expected

    return {
        key: (found, registered[key])
        for key, found in decided(results).items()
        if registered[key] and differ(found, registered[key])
    }
