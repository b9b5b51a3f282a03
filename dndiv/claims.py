"""Verdicts: from the registered claims (claims.yml) and the tables alone."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

from dndiv import stats
from dndiv import table as tables

FILE = tables.ROOT / "claims.yml"
KEYS = {"sentence", "published", "notebook", "table", "rule", "treated", "baseline", "controls", "margin", "expected", "schedule"}
VERDICTS = ("reproduced", "reproduced in part", "not reproduced", "undecided", "not tested")
NOT_TESTED = VERDICTS[-1]


def load(path: Path = FILE) -> dict[str, dict]:
    """The registered claims by id, checked: an unknown key or rule is refused."""
    claims = yaml.safe_load(path.read_text("utf8"))
    for name, claim in claims.items():
        if unknown := set(claim) - KEYS:
            raise ValueError(f"{path.name}: claim {name!r} has unknown keys {sorted(unknown)}; valid: {sorted(KEYS)}")
        if "sentence" not in claim:
            raise ValueError(f"{path.name}: claim {name!r} has no sentence")
        if "table" in claim and claim.get("rule") not in RULES:
            raise ValueError(f"{path.name}: claim {name!r} has rule {claim.get('rule')!r}; valid: {', '.join(RULES)}")
    return claims


def evaluate(read: Callable[[str], pd.DataFrame], claims: dict[str, dict] | None = None) -> list[dict]:
    """One result per claim and setting: {claim, setting, published, estimate, low, high, n, p, verdict, expected, …}.

    read: gives the table of an experiment. A claim without an experiment is "not tested".
    """
    results = []
    for name, claim in (claims or load()).items():
        common = {"claim": name, "sentence": claim["sentence"], "published": claim.get("published"),
                  "notebook": claim.get("notebook")}
        if "table" not in claim:
            results.append(common | {"setting": "", "verdict": NOT_TESTED, "reason": "no experiment yet"})
            continue
        for found in RULES[claim["rule"]](read(claim["table"]), claim):
            expected = (claim.get("expected") or {}).get(found.get("group", found["setting"]))
            results.append(common | found | {"expected": expected})
    return results


def _early_accuracy(table: pd.DataFrame, claim: dict) -> list[dict]:
    values = stats.early_accuracy(table)
    whole = stats.effects(values, [(claim["treated"], claim["baseline"])])
    controls = {label: stats.effects(values, [tuple(pair)]) for label, pair in claim["controls"].items()}
    results = []
    for k, row in enumerate(whole.itertuples()):
        alone = {label: _numbers(next(found.iloc[[k]].itertuples())) for label, found in controls.items()}
        results.append(_judged(row, claim, "") | {"alone": alone})
    return results


def _numbers(row) -> dict:
    return {name: getattr(row, name) for name in ("estimate", "low", "high", "n", "p", "p_holm") if hasattr(row, name)}


def _directions(table: pd.DataFrame, claim: dict) -> list[dict]:
    """Per setting, over its hidden layers: similarity must fall, and similarity across draws stay, within a margin."""
    mean = table.groupby(["data", "setting", "optimizer", "seed", "arm", "measure"], sort=False).value.mean().unstack("arm")
    pair = [(claim["treated"], claim["baseline"])]
    within, across = (stats.effects(mean.xs(measure, level="measure"), pair) for measure in ("similarity", "across"))
    results = []
    for w, a in zip(within.itertuples(), across.itertuples()):
        decorrelated = stats.verdict(-w.high, -w.low, None)
        margin = claim["margin"]
        if -margin < a.low and a.high < margin:
            verdict = decorrelated
        else:  # draws have become alike, or different, or there are too few to say
            verdict = "not reproduced" if a.low > margin or a.high < -margin else "undecided"
        results.append({"setting": w.setting, **_numbers(w), "verdict": verdict,
                        "reason": f"similarity across draws {_percent(a.estimate)} [{_percent(a.low)}, {_percent(a.high)}]"})
    return results


def _thirds(table: pd.DataFrame, claim: dict) -> list[dict]:
    found = stats.thirds(table)
    steps = found[found.outcome == "epochs to target"].set_index(tables.CELL).estimate
    results = []
    for row in found[found.outcome == "final accuracy"].itertuples():
        reason = f"epochs to target {_percent(steps[row.data, row.setting, row.optimizer])}"
        results.append(_judged(row, claim, reason))
    return results


def _prediction(table: pd.DataFrame, claim: dict) -> list[dict]:
    found = stats.predictions(table, measures=["effective_rank"], epochs=[1])
    return [_judged(row, claim, "") | {"unit": "ρ"} for row in found[found.outcome == "final"].itertuples()]


def _techniques(table: pd.DataFrame, claim: dict) -> list[dict]:
    """Early accuracy of each technique against none, in every setting; the results of a technique are a group."""
    values = stats.early_accuracy(table)
    ending = f":{claim['schedule']}"
    pairs = [(arm, claim["baseline"]) for arm in values.columns if arm.startswith(f"{claim['baseline']}+") and arm.endswith(ending)]
    return [_judged(row, claim, "") | {"group": tables.technique(row.treated)} for row in stats.effects(values, pairs).itertuples()]


def _escape(table: pd.DataFrame, claim: dict) -> list[dict]:
    """Time to escape with each technique against none; tiny problems of their own decide as well."""
    found = stats.escapes(stats.escape_times(table))
    results = []
    for row in found[found.arm.str.contains("+", regex=False)].itertuples():
        reason = f"log-rank p = {row.p_logrank:.2g}; {100 * row.earlier:.0f} % of seeds earlier, {100 * row.later:.0f} % later"
        judged = _judged(row, claim, reason) | {"group": tables.technique(row.arm)}
        if not (row.escaped or row.baseline_escaped or judged["verdict"] == NOT_TESTED):
            judged |= {"verdict": "undecided", "reason": "no network escapes within the run"}
        results.append(judged)
    return results


def _judged(row, claim: dict, reason: str) -> dict:
    """The result of a row of effects: digits decide nothing about MNIST and Fashion-MNIST, whose stand-in they are."""
    verdict = stats.verdict(row.low, row.high, claim.get("published"))
    if row.data == "Digits":
        verdict, reason = NOT_TESTED, "embedded digits"
    return {"setting": f"{tables.TITLES[row.data]}, {row.setting}, {tables.OPTIMIZERS[row.optimizer]}", **_numbers(row),
            "verdict": verdict, "reason": reason}


RULES = {"early_accuracy": _early_accuracy, "directions": _directions, "thirds": _thirds, "prediction": _prediction,
         "techniques": _techniques, "escape": _escape}


def collapsed(results: list[dict]) -> list[dict]:
    """The results with each group, the settings of a technique, as one: its verdict counts theirs."""
    found = []
    groups = {(r["claim"], r["group"]): [] for r in results if "group" in r}
    for r in results:
        if "group" not in r:
            found.append(r)
            continue
        members = groups[r["claim"], r["group"]]
        members.append(r)
        if len(members) == 1:
            found.append(members)  # in the place of the first
    return [r if isinstance(r, dict) else _group(r) for r in found]


def _group(members: list[dict]) -> dict:
    first = members[0]
    estimates = sorted(r["estimate"] for r in members)
    tested = [r for r in members if r["verdict"] != NOT_TESTED]
    return first | {"setting": f"{first['group'].replace('_', ' ')}, {len(members)} settings", "unit": "range",
                    "estimate": (estimates[(len(members) - 1) // 2] + estimates[len(members) // 2]) / 2,
                    "low": estimates[0], "high": estimates[-1], "n": min(r["n"] for r in members), "members": len(tested),
                    "verdict": _counted([r["verdict"] for r in tested]) if tested else NOT_TESTED,
                    "reason": "" if tested else first["reason"]}


def _counted(verdicts: list[str]) -> str:
    return ", ".join(f"{v} in {verdicts.count(v)}" for v in VERDICTS if v in verdicts)


def differences(results: list[dict]) -> list[dict]:
    """The results whose decided verdict is not the registered one; of groups, those with all registered settings."""
    def comparable(r):
        return "members" not in r or sum(map(int, re.findall(r" in (\d+)", r["expected"]))) == r["members"]

    return [r for r in collapsed(results) if r.get("expected") and r["verdict"] not in (r["expected"], NOT_TESTED) and comparable(r)]


def write(results: list[dict], path: Path) -> None:
    """claims.json: the results as a list, with null where there is no number."""
    def clean(value):
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    text = json.dumps([clean(r) for r in results], indent=1, ensure_ascii=False) + "\n"
    tables.atomically(path, lambda part: part.write_text(text, "utf8"))


def headline(results: list[dict], claim: str) -> str:
    """How many of how many settings reproduce a claim, in words, from the results alone."""
    found = [r for r in results if r["claim"] == claim]
    settings, groups = (len({r.get(key) for r in found} - {None}) for key in ("setting", "group"))
    size = f"{groups} techniques × {settings} setting" if groups else f"{settings} setting"
    return f"`{claim}`, {size}{'s' * (settings > 1)}: {_counted([r['verdict'] for r in found])}"


def summary(results: list[dict]) -> str:
    """The verdict on the 40 % in words, made from the results alone (Markdown)."""
    early = [r for r in results if r["claim"] == "early-40"]
    lines = [f"**The {early[0]['published']:.0%} during the first 5 epochs:** {headline(results, 'early-40')}."]
    if held := [f"{r['setting']} ({_measured(r)})" for r in early if r["verdict"] == "reproduced"]:
        lines.append(f"Reproduced, as a method: {'; '.join(held)}.")
    for label in early[0]["alone"]:
        found = [(r["setting"], r["alone"][label]) for r in early]
        up = sum(numbers["low"] is not None and numbers["low"] > 0 for _, numbers in found)
        setting, most = max(found, key=lambda item: item[1]["estimate"])
        lines.append(f"**Decorrelation alone, {label}** (same draw, norms and biases): interval above zero in {up} of "
                     f"{len(early)} settings, at most {_measured(most)} ({setting}).")
    return " ".join(lines)


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:+.1f} %"


def _measured(numbers: dict) -> str:
    if numbers.get("estimate") is None or not math.isfinite(numbers["estimate"]):
        return "–"
    if numbers.get("unit") == "ρ":
        low, high = ("–" if v is None or not math.isfinite(v) else f"{v:+.2f}" for v in (numbers["low"], numbers["high"]))
        return f"ρ = {numbers['estimate']:+.2f} [{low}, {high}]"
    if numbers.get("unit") == "range":
        return f"median {_percent(numbers['estimate'])}, from {_percent(numbers['low'])} to {_percent(numbers['high'])}"
    return f"{_percent(numbers['estimate'])} [{_percent(numbers['low'])}, {_percent(numbers['high'])}]"


HEADER = ("claim", "setting", "published", "measured [95 % interval]", "n", "decorrelation alone, He's scale", "decorrelation alone, default scale",
          "verdict", "notebook")


def rows(results: list[dict]) -> list[tuple[str, ...]]:
    """The results as text, in the columns of ``HEADER``, groups collapsed."""
    lines = []
    for r in collapsed(results):
        verdict = r["verdict"] + (f" ({r['reason']})" if r["verdict"] == NOT_TESTED and r.get("reason") else "")
        lines.append((r["claim"], r["setting"] or "–", f"about {_percent(r['published'])}" if r["published"] else "–",
                      _measured(r), str(r.get("n", "–")),
                      *(_measured(r.get("alone", {}).get(scale, {})) for scale in ("He's scale", "default scale")),
                      verdict, r["notebook"] or "–"))
    return lines


def as_text(results: list[dict]) -> str:
    """A table with fixed columns, for a terminal."""
    lines = [HEADER, *rows(results)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def as_markdown(results: list[dict]) -> str:
    """The same table for README and notebooks."""
    lines = [HEADER, ("---",) * len(HEADER), *rows(results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
