"""Words made of results: tables for a terminal, README and notebooks; sentences; claims.json."""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, median

import pandas as pd

from dndiv.checks import choose
from dndiv.paper import claims, code, files, notebooks, pictures, provenance, schema, tables
from dndiv.paper.claims import NOT_TESTED, OFF, TOGETHER, Result
from dndiv.paper.files import REFERENCE
from dndiv.paper.names import DATA, SERIES, STARTS, TECHNIQUES, title

ALWAYS = ("published", "notebook", "expected")  # in claims.json, null where there is none
SCALES = ("He's scale", "default scale")  # the controls that have a column
HEADER = (
    *("claim", "setting", "published", "measured [95 % interval]", "n"),
    *(f"decorrelation alone, {scale}" for scale in SCALES),
    *("verdict", "notebook"),
)
INTEREST = 0.01  # the smallest effect of interest on an accuracy, as claims.yml registers it
MARK = "†"  # of a fragile verdict
FOOTNOTE = f"{MARK} fragile: another verdict where one seed, whichever, is left out."


# ------------------------------------------------------------------------------------- numbers
def percent(value: float | None) -> str:
    """A relative change, as in "+4.0 %"; "–" where there is none."""
    return f"{100 * value:+.1f} %" if _known(value) else "–"


def correlation(value: float | None) -> str:
    """A correlation, as in "+0.40"; "–" where there is none."""
    return f"{value:+.2f}" if _known(value) else "–"


def spread(values: Iterable[float], say: Callable[[float], str] = "{:.2f}".format) -> str:
    """From the smallest to the largest of some numbers; "–" where there is none."""
    found = [*values]
    return " to ".join(dict.fromkeys(say(f(found)) for f in (min, max) if found)) or "–"


def ranged(found: pd.DataFrame) -> str:
    """From the smallest to the largest of some effects; and of how many settings in how many the
    whole interval is above the smallest effect of interest, and below minus that."""
    if found.empty:
        return "–"
    above, below = sum(found.low > INTEREST), sum(found.high < -INTEREST)
    counted = f"{above} of {len(found)}" + f", {below} below" * bool(below)
    return f"{spread(found.estimate, percent)} ({counted})"


def _known(value):
    return value is not None and math.isfinite(value)


def measured(numbers: dict) -> str:
    """An estimate with its interval; numbers: estimate, low, high, and unit, as in ``Result``."""
    values = (numbers.get(name) for name in ("estimate", "low", "high"))
    unit = numbers.get("unit")
    estimate, low, high = map(SHOWN.get(unit, percent), values)
    before, after = "ρ = " * (unit == "ρ"), " decades" * (unit == "decades")
    return "–" if estimate == "–" else f"{before}{estimate} [{low}, {high}]{after}"


def share(value: float | None) -> str:
    """A share of seeds, as in "12 %"; "–" where there is none."""
    return f"{100 * value:.0f} %" if _known(value) else "–"


def probability(p: float) -> str:
    """A p-value, as in "0.012", or "< 0.001"."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def number(value: float) -> str:
    """A number of three digits, or whole, as in "0.0123" and "2,150"; never as a power of ten; "–"
    where there is none."""
    if not _known(value):
        return "–"
    if not value or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


SHOWN = {"ρ": correlation, "decades": correlation, "share": share}  # else a relative change


def in_words(verdict: str | dict[str, int]) -> str:
    """A verdict, or how many settings have which: "reproduced in 5; undecided in 6"."""
    if isinstance(verdict, str):
        return verdict
    return "; ".join(f"{v} in {n}" for v, n in verdict.items())


def kinds(found: list[Result]) -> tuple[list[Result], ...]:
    """The settings on images with three or five hidden layers, with one, and with ten; and those on
    series."""
    series = title(SERIES, DATA)
    others = [r for r in found if r.setting.startswith(series)]
    images = [r for r in found if r not in others]
    flat, ten = ([r for r in images if size in r.setting] for size in ("shallow", "10×10"))
    return [r for r in images if r not in flat + ten], flat, ten, others


def harm(members: list[Result]) -> str:
    """What of the networks is rescued from a plateau and stranded on it, in the mean over results
    that know it, where a technique acts: "rescued 5 %, stranded 12 %"; otherwise ""."""
    known = [r.beside for r in members if "rescued" in r.beside and r.reason != OFF]
    means = {name: [b[name] for b in known] for name in ("rescued", "stranded")}
    return ", ".join(f"{name} {share(mean(v))}" for name, v in means.items()) if known else ""


def reason(r: Result) -> str:
    """Why nothing is said of a result, or what was measured beside it."""
    if r.reason or not r.beside:
        return r.reason
    words = {"learn": "learn at all", "baseline_learn": "without", "p_learn": "McNemar's"}
    words |= {"p_logrank": "log-rank", "escaped": "escape", "baseline_escaped": "without"}

    def said(name, value):
        if isinstance(value, dict):
            return f"{name} {measured(value)}"
        number = f"p = {value:.2g}" if name.startswith("p_") and _known(value) else share(value)
        return f"{words.get(name, name)} {number}"

    return ", ".join(said(*item) for item in r.beside.items())


# -------------------------------------------------------------------------------------- tables
def rows(results: list[Result]) -> list[tuple[str, ...]]:
    """The results as text, in the columns of ``HEADER``; the settings of a group as one."""
    return [
        (
            members[0].claim,
            _where(members),
            f"about {percent(members[0].published)}" if members[0].published else "–",
            _measured(members),
            spread((r.n for r in members if r.n is not None), str),
            *(measured((members[0].alone or {}).get(scale, {})) for scale in SCALES),
            _verdict(members),
            members[0].notebook or "–",
        )
        for members in claims.grouped(results).values()
    ]


def _where(members):
    name = _titled(claims.key(members[0])) or "–"
    settings = f"{len(members)} setting{'s' * (len(members) > 1)}"
    return f"{name}, {settings}" if claims.counted(members) else name


def _measured(members):
    if not claims.counted(members):
        return measured(vars(members[0]))
    estimates = [r.estimate for r in members if _known(r.estimate)]
    if not estimates:
        return "–"
    show = SHOWN.get(members[0].unit, percent)
    middle, low, high = map(show, (median(estimates), min(estimates), max(estimates)))
    words = f"median {middle}, from {low} to {high}", harm(members)
    return "; ".join(filter(None, words))


def _verdict(members):
    decided = [r for r in members if r.verdict != NOT_TESTED]
    if not decided:
        return f"{NOT_TESTED} ({reason(members[0])})"
    fragile = sum(r.fragile for r in decided)
    [said] = claims.decided(decided).values()
    if not fragile:
        return in_words(said)
    return f"{in_words(said)} {f'({fragile} {MARK})' if claims.counted(decided) else MARK}"


def as_text(results: list[Result]) -> str:
    """A table with fixed columns, for a terminal."""
    lines = [HEADER, *rows(results)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    table = "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return _with_footnote(table)


def as_markdown(results: list[Result]) -> str:
    """The same table for README and notebooks."""
    return _with_footnote(markdown([HEADER, *rows(results)]))


def _with_footnote(table):
    return f"{table}\n\n{FOOTNOTE}" if MARK in table else table


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table, its head first."""
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *rest))


def differences(results: list[Result], enough: bool = True) -> list[str]:
    """A line for everything that is decided otherwise than registered; see ``claims``."""
    members = claims.grouped(results)
    return [
        f"{key[0]}, {_where(members[key])}: {in_words(found)}, "
        f"registered in claims.yml: {in_words(expected)}"
        for key, (found, expected) in claims.differences(results, enough).items()
    ]


def undecided(results: list[Result]) -> tuple[int, float]:
    """How many of the verdicts on what is tested are undecided, and their share."""
    tested = [r for r in results if r.said not in (NOT_TESTED, OFF)]
    number = sum(r.verdict == "undecided" for r in tested)
    return number, number / len(tested) if tested else 0.0


def _titled(key: str) -> str:
    """What a result is registered under, in words."""
    group, *rest = key.split(", ")
    return ", ".join([title(group, STARTS | TECHNIQUES), *rest])


def changes(old: list[dict], new: list[Result]) -> list[tuple[str, str, str, str]]:
    """Every verdict that differs between an earlier claims.json, as it is read, and results: claim,
    setting, from, to; "–" where there was, or is, none."""

    def said(entry):
        scale = ", by scale" * (entry.get("carried_by") == "scale")
        where = ", ".join(filter(None, (entry.get("group"), entry.get("setting"))))
        said = OFF if entry.get("reason") == OFF else entry["verdict"] + scale
        return (entry["claim"], _titled(where) or "–"), said

    before, after = (dict(map(said, entries)) for entries in (old, map(vars, new)))
    pairs = {key: (before.get(key, "–"), after.get(key, "–")) for key in before | after}
    return [(*key, *pair) for key, pair in pairs.items() if pair[0] != pair[1]]


def changes_page(old: list[dict], new: list[Result]) -> str:
    """verdicts_changed.md: ``changes`` in the claims that there were before; the others are
    named."""
    known = {entry["claim"] for entry in old}
    fresh = [f"`{name}`" for name in dict.fromkeys(r.claim for r in new) if name not in known]
    are = "is new, and" if len(fresh) == 1 else "are new, and"
    said = f" {', '.join(fresh)} {are} not listed." * bool(fresh)
    rows = [row for row in changes(old, new) if row[0] in known]
    table = markdown([("claim", "setting", "from", "to"), *rows]) if rows else "There is none."
    return f"""# Every verdict that changed

Against the reference of before; why, is in [CHANGELOG.md](../../CHANGELOG.md).{said}

{table}
"""


# ----------------------------------------------------------------------------------- sentences
def headline(results: list[Result], claim: str) -> str:
    """How many of how many settings have which verdict on a claim."""
    found = [r for r in results if r.claim == claim and r.setting != TOGETHER]
    settings, groups = ({getattr(r, key) for r in found} for key in ("setting", "group"))
    size = f"{len(settings)} setting{'s' * (len(settings) > 1)}"
    if None not in groups:
        kinds = {"outcomes": {*schema.OUTCOMES, *schema.PREDICTIONS}}
        kinds["techniques"] = set(schema.TECHNIQUES)
        what = next((kind for kind, names in kinds.items() if groups <= names), "starts")
        size = f"{len(groups)} {what} × {size}" if len(groups) > 1 else size
    words = f"`{claim}`, {size}: {in_words(claims.counts(found))}", harm(found)
    return "; ".join(filter(None, words))


def summary(results: list[Result]) -> str:
    """The verdict on the 40 % (Markdown)."""
    every = [r for r in results if r.claim == "early-40"]
    early = [r for r in every if r.setting != TOGETHER]
    published = f"{100 * early[0].published:.0f} %"
    middle = percent(median(r.estimate for r in early))
    lines = [f"**The {published} during the first 5 epochs:** {headline(results, 'early-40')}."]
    lines += [
        f"All settings together: {measured(vars(r))}, {r.said}; the median setting: {middle}."
        for r in every[len(early) :]
    ]
    if held := [r for r in early if r.verdict == "reproduced"]:
        places = "; ".join(f"{r.setting} ({measured(vars(r))}, {r.said})" for r in held)
        lines.append(f"Reproduced, as a method: {places}.")
    for label in early[0].alone:
        above = [r for r in early if (r.alone[label]["low"] or 0) > 0]
        up = len(above)
        where = f" ({'; '.join(r.setting for r in above)})" if 0 < up <= 3 else ""
        most = max(early, key=lambda r: r.alone[label]["estimate"])
        joint = "".join(
            f"; all settings together {measured(r.alone[label])}" for r in every[len(early) :]
        )
        lines.append(
            f"**Decorrelation alone, {label}** (same draw, norms and biases): interval above zero "
            f"in {up} of {len(early)} settings{where}; the largest estimate "
            f"{measured(most.alone[label])} ({most.setting}){joint}."
        )
    return " ".join(lines)


def covers(coverage: pd.DataFrame) -> str:
    """How often the interval holds what it says, by the table of ``coverage``."""
    first = coverage[coverage.interval == coverage.interval.iloc[0]]
    used, ten = (first[first.seeds.astype(str) == n].set_index("rates") for n in ("as used", "10"))

    def of(row, name, worst="worst"):
        return f"{100 * row[name]:.1f} % ({worst} {100 * row[f'worst_{name}']:.1f} %)"

    said = "; ".join(
        f"{JUDGED[rates]}, {row.populations} comparisons, {of(row, 'coverage')}, with 10 seeds "
        f"{of(ten.loc[rates], 'coverage')}; without an effect {of(row, 'false_above', 'most')} and "
        f"{of(row, 'false_reproduced', 'most')}"
        for rates, row in used.iterrows()
    )
    return (
        "How often intervals of 95 % hold the truth, in draws from the artifact's own networks of "
        "as many seeds as each comparison has, or of 10; and how many draws from networks without "
        "an effect have theirs above zero, and above the smallest effect of interest, which is "
        f"called reproduced: {said}. It is worst where one or two networks of many fail to "
        "learn, for many draws have none of them. Fewer seeds, other final accuracies, the "
        "convolutional network, means over all settings, rank correlations and times were not "
        "simulated."
    )


JUDGED = {  # by what ``coverage.RATES`` has
    "usual": "early accuracy at the usual learning rates",
    "best": "at best ones, of the starts that led against PyTorch's default",
    "later": "accuracy after all epochs at the rates that are best then",
}


def per_claim(results: list[Result], to: str = "") -> str:
    """A row per claim: its sentence, how many of its settings have which verdict, and where it is
    examined (Markdown). to: the way to the notebooks."""
    lines = [("claim", "sentence", "verdicts", "read")]
    for name in dict.fromkeys(r.claim for r in results):
        found = [r for r in results if r.claim == name]
        book = found[0].notebook
        read = f"[{book}]({to}notebooks/{book}.ipynb)" if book else "–"
        counted = _by_outcome([r for r in found if r.setting != TOGETHER])
        lines.append((f"`{name}`", found[0].sentence, counted, read))
    return markdown(lines)


def _by_outcome(found: list[Result]) -> str:
    """Which verdicts there are; of a claim about some outcomes, for each of them; of one about
    techniques, whether scale was held apart."""
    groups: dict[str | None, list[Result]] = {}
    for r in found:
        groups.setdefault(r.group, []).append(r)
    if set(groups) <= set(schema.TECHNIQUES):
        gains = [r for r in found if r.verdict in claims.REPRODUCED]
        bare = sum(not r.alone for r in gains)
        twins = f". Of the reproduced {bare} of {len(gains)} have no twin with norms held"
        return in_words(claims.counts(found)) + twins * bool(bare)
    if not set(groups) <= {*schema.OUTCOMES, *schema.PREDICTIONS}:
        return in_words(claims.counts(found))
    return ". ".join(f"{g}: {in_words(claims.counts(of))}" for g, of in groups.items())


def assumptions() -> str:
    """The assumptions as a Markdown table."""
    entries = schema.assumptions(files.ASSUMPTIONS)
    columns = ("choice", "here", "why", "otherwise")
    lines = [tuple(entry[c] for c in columns) for entry in entries]
    return markdown([("choice", "here", "why", "if made otherwise"), *lines])


# ---------------------------------------------------------------------------- claims.json, README
def write(results: list[Result], file: Path) -> None:
    """claims.json: the results as a list, with null where there is no number."""
    entries = json.loads(json.dumps([_entry(r) for r in results]), parse_constant=lambda _: None)
    text = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    files.atomically(file, lambda part: part.write_text(text, "utf8"))


def _entry(r: Result) -> dict:
    """What claims.json holds of a result: what was not measured is left out."""
    return {name: v for name, v in vars(r).items() if v not in (None, "", {}) or name in ALWAYS}


def read(file: Path) -> list[Result]:
    """The results that ``write`` has left; what is expected is left out, for claims.yml says it."""
    entries = files.stored(file, list)
    try:
        return [Result(**(_numbers(entry) | {"expected": None})) for entry in entries]
    except TypeError as error:
        raise ValueError(files.damaged(file, error)) from error


def _numbers(entry: dict) -> dict:
    """An entry, or a part of one, with NaN where ``write`` has left null for it."""
    parts = {name: _numbers(v) if isinstance(v, dict) else v for name, v in entry.items()}
    return {name: math.nan if v is None and name not in ALWAYS else v for name, v in parts.items()}


def judged(preset: str) -> str:
    """The digest of what a run's verdicts follow from: its tables, what is registered but for what
    is expected, and the rules."""
    registered = {name: claim | {"expected": None} for name, claim in claims.load().items()}
    rules = code.digest(
        [("dndiv.paper.claims", "evaluate")], stop={("dndiv.paper.schema", "claims")}
    )
    text = json.dumps([tables.digest(preset), registered, rules], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(results: list[Result], preset: str) -> None:
    """Write the claims.json of a run, and into its provenance what its verdicts follow from."""
    write(results, files.results(preset) / "claims.json")
    provenance.record(files.results(preset), {"judged": judged(preset)})


def verdicts(preset: str, device: str = "auto", *names: str) -> list[Result]:
    """The results of the claims that are named, or of all: as they are in claims.json where the
    tables are current and it follows from them; otherwise computed from the tables."""
    registered = claims.load()
    chosen = {name: registered[name] for name in names or registered}
    folder = files.results(preset)
    known = files.known(folder / "provenance.json").get("judged")
    if not tables.current(preset) or known != judged(preset):
        return claims.evaluate(lambda name: tables.table(name, preset, device), chosen)
    found = read(folder / "claims.json")
    return [r for name in chosen for r in found if r.claim == name]


def generated(text: str, folder: Path) -> str:
    """``text`` with the parts between <!-- begin NAME --> and <!-- end NAME --> made anew from the
    results in ``folder``; an unknown part is refused."""
    from dndiv.paper import answer, details  # which make their sentences of the words here

    results = read(folder / "claims.json")
    ours = [r for r in results if r.claim.startswith("finding-")]
    theirs = [r for r in results if r not in ours]

    def of(*names):
        return (tables.load(folder / "tables" / f"{name}.parquet") for name in names)

    parts = {  # made where they are asked for
        "lines": lambda: answer.lines(results, *of(*answer.LINES)),
        "starts": lambda: answer.starts(*of(*answer.STARTS)),
        "answer": lambda: details.lines(results, *of(*details.LINES)),
        "led": lambda: details.led(*of("leaders", "convolution_leaders")),
        "lasting": lambda: details.lasting(*of("lasting")),
        "later": lambda: details.later(*of("later_rates", "later")),
        "dead": lambda: details.dead(*of("early", "leaders")),
        "paper": lambda: answer.claimed(results, *of(*answer.CLAIMED)),
        "claims": lambda: per_claim(theirs, "../"),
        "findings": lambda: per_claim(ours, "../"),
        "coverage": lambda: covers(pd.read_csv(folder / "coverage.csv")),
        "times": lambda: _times(files.stored(folder / "provenance.json")),
        "speed": lambda: (folder / "bench" / "table.md").read_text("utf8").strip(),
        "scale": lambda: _scale(folder),
        "assumptions": assumptions,
    }

    def fill(match):
        choose("generated part", match[1], parts)
        return f"<!-- begin {match[1]} -->\n{parts[match[1]]()}\n<!-- end {match[1]} -->"

    return re.sub(r"<!-- begin (\S+) -->.*?<!-- end \1 -->", fill, text, flags=re.DOTALL)


def _scale(folder: Path) -> str:
    """What `make scale` has written; and that the run has other units by now, where it has."""
    text = (folder / "scale.md").read_text("utf8").strip()
    units = f"{_together(files.stored(folder / 'provenance.json'))['units']:,} units"
    return text if f"\n{units}" in text else f"{text} By now the run has {units}."


PAGES = ("README.md", "docs/results.md", "docs/assumptions.md")  # that have generated parts


def write_pages() -> None:
    """Bring the generated parts of README and docs up to the reference."""
    for page in PAGES:
        file = files.ROOT / page
        text = generated(file.read_text("utf8"), files.results(REFERENCE))
        files.atomically(file, lambda part, text=text: part.write_text(text, "utf8"))


def promote() -> None:
    """Make the finished paper run, and the last measurements of speed, the reference.

    FileNotFoundError where there is no finished run, ValueError where its notebooks are not those
    of its tables."""
    paper, reference = files.results("paper"), files.results(REFERENCE)
    bench = files.RESULTS / "bench"
    if not all((paper / part).exists() for part in ("claims.json", "tables", "figures")):
        raise FileNotFoundError("there is no finished paper run; make one with `make reproduce`")
    for folder in (paper, bench) if os.path.lexists(bench) else (paper,):
        files.genuine(folder)
    kept, new = reference / "claims.json", read(paper / "claims.json")
    old = files.stored(kept, list) if kept.exists() else []
    notebooks.promote("paper", reference / "notebooks")
    # the CSV and PDF files beside the figures follow from the tables
    parts = [(paper / "tables", ()), (paper / "figures", ("*.csv", "*.pdf"))]
    if bench.exists():  # or else the benchmark stays the one of before
        parts.append((bench, ("*.pdf",)))
    for part, left_out in parts:
        shutil.rmtree(reference / part.name, ignore_errors=True)
        ignored = shutil.ignore_patterns(*left_out)
        shutil.copytree(part, reference / part.name, ignore=ignored)
    for picture in (reference / "figures").glob("*.png"):
        picture.write_bytes(pictures.small(picture.read_bytes()))
    for name in ("claims.json", "provenance.json", "scale.md"):
        if (paper / name).exists():  # what was not measured anew stays the one of before
            shutil.copy(paper / name, reference / name)
    if old and changes(old, new):  # or else the page stays that of the last change
        page, text = kept.with_name("verdicts_changed.md"), changes_page(old, new)
        files.atomically(page, lambda part: part.write_text(text, "utf8"))


def over_products(entry: dict) -> str:
    """The time of units over that of their matrix products alone, at the speed of a large product
    when each was computed: "1.59"; "not measured" where any does not know it."""
    if not entry.get("rated_units") or entry["rated_units"] < entry["units"]:
        return "not measured"
    alone = entry["product_seconds"]
    return f"{entry['rated_seconds'] / alone:.2f}" if alone else "–"


def _distance(facts: dict) -> str:
    """A sentence on how far all training, and each experiment, is from its matrix products."""
    parts = {name: over_products(e) for name, e in facts["experiments"].items()}
    said = ", ".join(f"{name} {part}" for name, part in parts.items() if part != "not measured")
    return (
        "Training over its matrix products alone, at the speed of a large one when each unit was "
        f"computed: {over_products(_together(facts))}{'; ' * bool(said)}{said}."
    )


def _together(facts: dict) -> dict[str, float]:
    """What all experiments took: the sums of what each did, and clock_seconds, while any of the
    timed_units was computed here, which those that are adopted were not."""
    every = facts["experiments"].values()
    here = [e for e in every if "adopted" not in e]
    sums = ("units", "unit_seconds", "rated_units", "rated_seconds", "product_seconds")
    found = {name: sum(e.get(name, 0) for e in every) for name in sums}
    spans = provenance.union(span for e in here for span in e.get("spans", ()))
    clock = sum(end - start for start, end in spans)
    return found | {
        "timed_units": sum(e.get("timed_units", 0) for e in here),
        "clock_seconds": clock,
    }


def _times(facts: dict) -> str:
    """Run times and memory of the reference run, with the machine named."""
    machine, steps, versions = facts["machine"], facts["steps"], facts["versions"]
    units = facts["experiments"].values()
    trained = _together(facts)
    count, work, timed = (trained[key] for key in ("units", "unit_seconds", "timed_units"))
    peak = max(e["peak_memory_mib"] for e in units) / 1024
    lines = [("step", "time", "peak memory of its largest process")]
    cores = machine["cores"]
    known = timed == count
    clock = (trained["clock_seconds"] if known else work / cores) / 60
    least = "" if known else "at least "  # of units that do not know when they were computed
    time = f"{work / 60:.0f} min of single-threaded work, {least}{clock:.0f} min on {cores} cores"
    lines.append((f"training, {count:,} units", time, f"{peak:.1f} GiB"))
    books = [s for name, s in steps.items() if name not in ("setup", "tables")]
    minutes = sum(s["seconds"] for s in books) / 60 / 2
    peak = max(s["peak_memory_mib"] for s in books) / 1024
    lines.append(
        (f"{len(books)} notebooks, two at a time", f"{minutes:.1f} min", f"{peak:.1f} GiB")
    )
    others = sorted({e["adopted"]["processor"] for e in units if "adopted" in e})
    older = (
        f" {count - timed:,} of the {count:,} units are kept from runs before, with the seconds "
        f"that they took then, on {', '.join(others) or 'perhaps another processor of this kind'}."
    )
    return f"""{markdown(lines)}

{_distance(facts)}{older * (not known)}

Measured for the {facts["preset"]} preset on {machine["cores"]} cores of \
{machine["processor"]} with {machine.get("memory_gib", "?")} GiB, {facts["device"].upper()}, \
Python {versions["python"]}, torch {versions["torch"]}."""
