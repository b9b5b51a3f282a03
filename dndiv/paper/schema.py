"""The files that are edited by hand, read with a check: claims.yml, coefficients.yml, rates.yml and
assumptions.yml.

What is wrong is refused with its line, its key, what was found and what is expected. Keys that are
unknown or there twice are refused, and aliases, which can make a small file endless; a number may
be written 1e-5, and is finite.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from dndiv.paper import files
from dndiv.paper.design import (
    CONVOLUTIONAL,
    CONVOLVED,
    GRID,
    LEARNING_RATES,
    MUON,
    PEERS,
    RIVALS,
    SETTINGS,
)
from dndiv.paper.experiments import table_names
from dndiv.paper.names import DATA, DATA_SETS, OPTIMIZERS, title

SCHEDULES = ("constant", "annealed", "dynamic")
TOGETHER = "all settings together"

Check = Callable[[yaml.Node, str], Any]  # the value of a node, whose key is given


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "found an alias", event.start_mark)
        return super().compose_node(parent, index)


@lru_cache  # a notebook asks for the claims again and again
def _node(text: str, name: str) -> yaml.Node | None:
    loader = _Loader(text)
    loader.name = name
    return loader.get_single_node()


def load(file: Path, check: Check) -> Any:
    """What a file says. ValueError says what is wrong in it, and where."""
    try:
        node = _node(file.read_text("utf8"), file.name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ValueError(f"{file.name}, line {line}: {error.problem}, expected YAML") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file.name}: {reason}, expected YAML in UTF-8") from None
    if node is None:
        raise ValueError(f"{file.name}: found nothing, expected entries")
    return check(node, "")


def refuse(node: yaml.Node, key: str, expected: str, found: str = "") -> None:
    kinds = {yaml.MappingNode: "keys and values", yaml.SequenceNode: "a list"}
    found = found or kinds.get(type(node)) or repr(node.value[:60])
    mark = node.start_mark
    where = f"{mark.name}, line {mark.line + 1}: " + (f"{key}: " if key else "")
    raise ValueError(f"{where}found {found}, expected {expected}")


# ----------------------------------------------------------------------------------- the checks
def text(node: yaml.Node, key: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        refuse(node, key, "a text")
    if not node.tag.endswith(":str"):
        refuse(node, key, f"a text: write it as '{node.value}'")
    return node.value


@dataclass(frozen=True)
class Number:
    """A finite number from ``least`` on. whole: without a fraction."""

    least: float = -math.inf
    whole: bool = False

    def __call__(self, node: yaml.Node, key: str) -> float:
        kind = "a whole number" if self.whole else "a number"
        expected = kind + (f" from {self.least:g} on" if math.isfinite(self.least) else "")
        try:  # YAML 1.1 takes 1e-5 for a text
            value = (int if self.whole else float)(node.value)
        except (TypeError, ValueError):
            refuse(node, key, expected)
        if not math.isfinite(value) or value < self.least or node.style:
            refuse(node, key, expected)
        return value


def one_of(names: Iterable[str]) -> Check:
    names = list(names)

    def check(node, key):
        if not isinstance(node, yaml.ScalarNode) or node.value not in names:
            refuse(node, key, f"one of {', '.join(names)}")
        return node.value

    return check


def listed(check: Check, length: int | None = None) -> Check:
    def whole(node, key):
        if not isinstance(node, yaml.SequenceNode) or length not in (None, len(node.value)):
            refuse(node, key, f"a list of {length}" if length else "a list")
        return [check(n, f"{key}[{k}]") for k, n in enumerate(node.value)]

    return whole


def keyed(name: Check, value: Callable[[str], Check], required: Collection[str] = ()) -> Check:
    """Keys and values. name: checks a key; value: the check of the value under a key."""

    def whole(node, key):
        if not isinstance(node, yaml.MappingNode):
            refuse(node, key, "keys and values")
        found = {}
        for k, v in node.value:
            said = name(k, f"{key}, a key" if key else "a key")
            if said in found:
                refuse(k, f"{key}: {said}" if key else said, "it once", "it twice")
            found[said] = value(said)(v, f"{key}: {said}" if key else said)
        if missing := [r for r in required if r not in found]:
            refuse(node, key, f"also {', '.join(missing)}", f"only {', '.join(found) or 'nothing'}")
        return found

    return whole


def fields(checks: dict[str, Check], required: Collection[str] = ()) -> Check:
    return keyed(one_of(checks), checks.__getitem__, required)


def either(scalar: Check, mapping: Check) -> Check:
    return lambda node, key: (mapping if isinstance(node, yaml.MappingNode) else scalar)(node, key)


# ------------------------------------------------------------------------------------ the files
# what a rule asks for beside its table
NEEDS = {
    "early_accuracy": ("treated", "baseline", "margin", "controls"),
    "directions": ("treated", "baseline", "margin"),
    "intervention": ("treated", "baseline", "margin"),
    "prediction": ("margin",),
    **dict.fromkeys(("techniques", "rivals"), ("baseline", "schedule", "margin")),
    "escape": ("margin",),
    **dict.fromkeys(
        ("ratio", "final", "best", "good_rates", "thumb"), ("treated", "baseline", "margin")
    ),
    "sufficient": ("treated", "baseline", "sizes", "margin"),
}
OUTCOMES = ("early accuracy", "final accuracy", "epochs to target")  # of an intervention
TECHNIQUES = (*GRID, *RIVALS, MUON)  # those of rivals included
PREDICTIONS = ("rank correlation", "beyond the accuracy reached", "lesion test")


def places(rule: str) -> list[str] | None:
    """What verdicts are registered under by a rule; None where this is not known beforehand."""
    groups = {"intervention": OUTCOMES, "prediction": PREDICTIONS}
    groups |= {"techniques": tuple(GRID), "escape": tuple(GRID)}
    groups["rivals"] = TECHNIQUES
    if rule in groups:
        return [name for g in groups[rule] for name in (g, f"{g}, {TOGETHER}")]
    if rule == "directions":
        return list(SETTINGS)
    if rule == "early_accuracy":
        optimizers = [title(o, OPTIMIZERS) for o in LEARNING_RATES]
        cells = [f"{title(d, DATA)}, {s}, {o}" for d in DATA_SETS for s in SETTINGS
                 for o in optimizers]  # fmt: skip
        return [*cells, TOGETHER]
    return None


def claims(file: Path, rules: Collection[str], verdicts: Iterable[str]) -> dict[str, dict]:
    """The registered claims by id."""
    said = one_of([v for verdict in verdicts for v in (verdict, f"{verdict}, by scale")])
    amount = Number(1e-9)
    verdict_counts = keyed(said, lambda _: Number(0, whole=True))
    checks = {
        "sentence": text,
        "published": Number(),
        "notebook": one_of(sorted(path.stem for path in files.NOTEBOOKS.glob("*.ipynb"))),
        "table": one_of(table_names()),
        "rule": one_of(rules),
        "treated": text,
        "baseline": text,
        "controls": keyed(text, lambda _: listed(text, 2)),
        "margin": either(amount, fields(dict.fromkeys(OUTCOMES, amount), OUTCOMES)),
        "expected": keyed(text, lambda _: either(said, verdict_counts)),
        "schedule": one_of(SCHEDULES),
        "sizes": listed(listed(text, 2)),
    }
    plain = fields(checks, ["sentence"])

    def claim(node, key):
        found = plain(node, key)
        parts = {k.value: (k, v) for k, v in node.value}
        rule = found.get("rule", "")
        needed = ("table", "rule", *NEEDS.get(rule, ())) if {"table", "rule"} & set(found) else ()
        fields(checks, needed)(node, key)
        if "margin" in parts and isinstance(found["margin"], dict) != (rule == "intervention"):
            how = f"of {', '.join(OUTCOMES)}" if rule == "intervention" else "a number"
            refuse(parts["margin"][1], f"{key}: margin", how)
        if (valid := places(rule)) and "expected" in parts:
            keyed(one_of(valid), lambda _: lambda *_: 0)(parts["expected"][1], f"{key}: expected")
        return found

    return load(file, keyed(text, lambda _: claim))


def coefficients(file: Path) -> dict:
    """Technique → schedule → "setting optimizer" → coefficient; 0 is off."""
    cells = keyed(_cell(""), lambda _: Number(0))
    return load(
        file, keyed(one_of(GRID | RIVALS), lambda _: keyed(one_of(SCHEDULES), lambda _: cells))
    )


def rates(file: Path) -> dict:
    """ "data setting optimizer" → start → learning rate; with "later" behind, after training."""
    starts = one_of(dict.fromkeys((*PEERS, *CONVOLVED)))
    return load(file, keyed(_cell("data set, "), lambda _: keyed(starts, lambda _: Number(1e-12))))


def _cell(before: str) -> Check:
    """The words of a cell: a data set, where one is asked for, a setting and an optimizer."""
    names = [f"({'|'.join(DATA_SETS)})"] if before else []
    named = (*SETTINGS, CONVOLUTIONAL) if before else SETTINGS
    names += [f"({'|'.join(named)}|[1-9][0-9]{{0,2}}×[1-9][0-9]{{0,3}})"]
    optimizers = (*LEARNING_RATES, MUON) if before else LEARNING_RATES
    after = "( later)?" if before else r"(@[0-9.e-]+)?"
    cell = re.compile(" ".join([*names, f"({'|'.join(optimizers)}){after}"]))
    known = f"({', '.join(named)} or depth×width; {', '.join(optimizers)})"

    def check(node, key):
        if not cell.fullmatch(text(node, key)):
            refuse(node, key, f"{before}setting and optimizer {known}")
        return node.value

    return check


def assumptions(file: Path) -> list[dict[str, str]]:
    """What was chosen where the paper leaves it open."""
    names = ("choice", "here", "why", "otherwise")
    return load(file, listed(fields(dict.fromkeys(names, text), names)))
