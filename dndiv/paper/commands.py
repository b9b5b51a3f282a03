"""The commands of the artifact. The Makefile calls them; `make help` says what for."""

import argparse
import os
import sys
from pathlib import Path

import yaml

from dndiv.paper import files, tables
from dndiv.paper.design import PRESETS
from dndiv.paper.files import COEFFICIENTS, REFERENCE
from dndiv.paper.names import ARCHIVED, DATA_SETS


def data(args) -> int:
    """Fetch the data sets; exit status 1 where the embedded digits would have to stand in."""
    from dndiv.paper import data

    names, notice = data.resolve(tuple(args.names))
    for name in names:
        d = data.load(name)
        print(
            f"{d.title}: {len(d.x_train):,} training and {len(d.x_test):,} test images, "
            f"{d.shape[0]}×{d.shape[1]}, {len(d.classes)} classes, "
            f"SHA-256 {data.checksum(name)[:16]}…"
        )
    if notice:
        print(notice, file=sys.stderr)
    return 1 if notice else 0


def run(args) -> int:
    """Compute the tables of a preset into results/<preset>/tables, where they are not there yet."""
    from dndiv.paper import reproduce

    reproduce.make_tables(reproduce.State(args.preset), args.device, args.jobs)
    return 0


def reproduce(args) -> int:
    """Tables, executed notebooks and verdicts of a preset: what is missing or out of date."""
    from dndiv.paper import reproduce

    return reproduce.reproduce(args.preset, args.device, args.jobs)


def notebook(args) -> int:
    """Execute a notebook headlessly into results/<preset>/notebooks."""
    from dndiv.paper import notebooks

    return notebooks.execute(args.source, args.preset, args.device)


def refresh(args) -> int:
    """Execute notebook sources and store the outputs of their compared cells."""
    from dndiv.paper import notebooks

    for source in args.sources or notebooks.sources():
        notebooks.refresh(source)
    return 0


def check(args) -> int:
    """Print the verdicts, write claims.json; exit status 1 where a decided verdict is not the
    registered one."""
    from dndiv.paper import agreement, claims, report

    results = claims.evaluate(lambda name: tables.read(name, args.preset))
    if args.preset != REFERENCE:  # which is as it is committed
        report.write(results, files.results(args.preset) / "claims.json")
    print(report.as_text(results))
    if args.preset == REFERENCE:
        print(f"\n{agreement.standing()}")
    elif args.preset == "paper":
        print(f"\n{agreement.agreement('paper')}")
    enough = args.preset in ("paper", REFERENCE)
    different = report.differences(results, enough) if args.strict else []
    for line in different:
        print(f"DIFFERS: {line}", file=sys.stderr)
    return 1 if different else 0


def report(args) -> int:
    """Write report.html and report.pdf of a preset; of the reference, README's generated parts and
    codecheck.yml as well, after a finished paper run has become it (--promote)."""
    from dndiv.paper import metadata, page, report

    if args.promote:
        report.promote()
    if args.preset == REFERENCE:
        report.write_readme()
        metadata.write()
    for file in page.make(args.preset):
        print(file)
    return 0


def tune(args) -> int:
    """Compute the table of a preset's tuning alone, and register in coefficients.yml what it
    chooses; what it has no candidates for stays."""
    from dndiv.paper import outcomes

    tuning = tables.table("tuning", args.preset, args.device)
    text = COEFFICIENTS.read_text("utf8")
    registered = yaml.safe_load(text)
    for technique, schedules in outcomes.choose_coefficients(tuning).items():
        for schedule, chosen in schedules.items():
            registered.setdefault(technique, {}).setdefault(schedule, {}).update(chosen)
    header = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    new = header + yaml.safe_dump(registered, allow_unicode=True, sort_keys=False)
    files.atomically(COEFFICIENTS, lambda part: part.write_text(new, "utf8"))
    return 0


def coverage(args) -> int:
    """How often intervals cover, simulated from a run's own seeds, into results/<preset>."""
    from dndiv.paper import coverage

    coverage.main(args.preset)
    return 0


def bench(args) -> int:
    """Measure a population against other ways to train its networks, into results/bench."""
    from dndiv.bench import report

    print(report.main())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dndiv", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(function, presets=(), device=False, jobs=False):
        words = {"help": function.__doc__, "description": function.__doc__}
        sub = commands.add_parser(function.__name__, **words)
        sub.set_defaults(function=function)
        if presets:
            sub.add_argument("--preset", default="paper", choices=presets)
        if device:
            sub.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
        if jobs:
            sub.add_argument("--jobs", type=int, help="processes; by default one per core")
        return sub

    names = command(data)
    names.add_argument("names", nargs="*", default=[*ARCHIVED], choices=DATA_SETS, metavar="NAME")
    command(run, PRESETS, device=True, jobs=True)
    command(reproduce, PRESETS, device=True, jobs=True)
    command(notebook, PRESETS, device=True).add_argument("source", type=Path)
    checked = command(check, (*PRESETS, REFERENCE))
    checked.add_argument("--strict", action="store_true", help="fail where a verdict differs")
    promoted = command(report, (*PRESETS, REFERENCE))
    promoted.set_defaults(preset=REFERENCE)
    promoted.add_argument("--promote", action="store_true", help="results/paper is it from now on")
    command(tune, PRESETS, device=True)
    command(bench)
    command(coverage, (*PRESETS, REFERENCE))
    command(refresh).add_argument("sources", nargs="*", type=Path)
    return parser


def main(words: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # one that is not UTF-8 shows ? for a dagger
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    args = _parser().parse_args(words)
    if not files.CLAIMS.exists():
        print(
            f"dndiv: the commands work in a checkout, and {files.ROOT} is none; get one with "
            "`git clone`. The library itself needs none: import dndiv",
            file=sys.stderr,
        )
        return 1
    try:
        return args.function(args)
    except KeyboardInterrupt:
        print(
            "dndiv: interrupted; what is finished is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except (ValueError, OSError, RuntimeError, yaml.YAMLError) as error:  # said for the user
        if os.environ.get("DNDIV_TRACEBACK"):
            raise
        print(f"dndiv: {error}", file=sys.stderr)
        return 1
