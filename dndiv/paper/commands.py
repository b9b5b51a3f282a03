"""The commands of the artifact. The Makefile calls them; `make help` says what for."""

import argparse
import errno
import os
import sys
from pathlib import Path

import yaml

from dndiv.paper import files, schema, tables
from dndiv.paper.design import MUON
from dndiv.paper.experiments import PRESETS
from dndiv.paper.files import COEFFICIENTS, RATES, REFERENCE
from dndiv.paper.names import ARCHIVED, DATA_SETS


def data(args) -> int:
    """Fetch the data sets; exit status 1 where the embedded digits would have to stand in."""
    from dndiv.paper import data

    names, notice = data.resolve(tuple(args.names) or ARCHIVED)
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

    with files.alone(files.results(args.preset)):
        reproduce.make_tables(reproduce.State(args.preset), args.device, args.jobs)
    return 0


def reproduce(args) -> int:
    """Tables, executed notebooks and verdicts of a preset: what is missing or out of date."""
    from dndiv.paper import reproduce

    return reproduce.reproduce(args.preset, args.device, args.jobs)


def adopt(args) -> int:
    """Take those of the reference's tables that would come out alike here as if they had been
    computed here, so that `reproduce` computes what a change is about, and nothing else."""
    from dndiv.paper import reproduce

    return reproduce.adopt()


def status(args) -> int:
    """What of a preset is current, stale, damaged or missing, as `reproduce` judges it; exit status
    1 where something is to be made."""
    from dndiv.paper import reproduce

    return reproduce.status(args.preset)


def notebook(args) -> int:
    """Execute a notebook headlessly into results/<preset>/notebooks."""
    from dndiv.paper import notebooks

    return notebooks.execute(notebooks.found(args.source), args.preset, args.device)


def refresh(args) -> int:
    """Execute notebook sources and store the outputs of their compared cells."""
    from dndiv.paper import notebooks

    every = sorted(notebooks.FOLDER.glob("*.ipynb"))
    for source in [*map(notebooks.found, args.sources)] or every:
        notebooks.refresh(source)
    return 0


def check(args) -> int:
    """Print the verdicts, write claims.json; exit status 1 where a decided verdict is not the
    registered one."""
    from dndiv.paper import agreement, claims, report

    results = claims.evaluate(lambda name: tables.read(name, args.preset))
    if args.preset != REFERENCE:  # which is as it is committed
        report.keep(results, args.preset)
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
        report.write_pages()
        metadata.write()
    for file in page.make(args.preset):
        print(file)
    return 0


def tune(args) -> int:
    """Compute the tables of a preset's tuning alone, and register in coefficients.yml and rates.yml
    what they choose; what they have no candidates for stays. Of another preset than the paper's,
    whose seeds are few, what is registered already stays, too."""
    from dndiv.paper import outcomes

    def register(file, kept, found):
        _register(file, _merged(kept, found, stays=args.preset != "paper"))

    def rates_by(table, **options):
        register(RATES, schema.rates(RATES), outcomes.choose_rates(table, **options))

    rates_by(tables.table("rates", args.preset, args.device))
    rates_by(tables.table("later_rates", args.preset, args.device), later=True)
    tuning = tables.table("tuning", args.preset, args.device)  # some of it at these rates
    if (muon := tuning.optimizer.str.startswith(f"{MUON}@")).any():
        rates_by(tuning[muon])
    kept = schema.coefficients(COEFFICIENTS)
    register(COEFFICIENTS, kept, outcomes.choose_coefficients(tuning))
    return 0


def _merged(kept: dict, found: dict, stays: bool) -> dict:
    """What is found in what is kept, level by level; or, where that ``stays``, beside it."""
    merged = dict(kept)
    for name, value in found.items():
        if isinstance(value, dict):
            merged[name] = _merged(kept.get(name, {}), value, stays)
        elif not (stays and name in kept):
            merged[name] = value
    return merged


def _register(file: Path, chosen: dict) -> None:
    """Write what is chosen below the file's header of comments."""
    from dndiv.paper import registered

    lines = file.read_text("utf8").splitlines()
    header = "".join(f"{line}\n" for line in lines if line.startswith("#"))
    new = header + yaml.safe_dump(chosen, allow_unicode=True, sort_keys=False)
    files.atomically(file, lambda part: part.write_text(new, "utf8"))
    registered.read.cache_clear()


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


def scale(args) -> int:
    """Measure what the finished paper run would wait for on many cores, into results/paper."""
    from dndiv.bench import scale

    print(scale.main())
    return 0


def _data_set(name: str) -> str:
    """As ``choices=`` has it, which Python 3.11 refuses no names by."""
    if name not in DATA_SETS:
        raise argparse.ArgumentTypeError(
            f"invalid choice: {name!r} (choose from {', '.join(DATA_SETS)})"
        )
    return name


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
    said = f"of {', '.join(DATA_SETS)}; by default {' and '.join(ARCHIVED)}"
    names.add_argument("names", nargs="*", type=_data_set, metavar="NAME", help=said)
    command(run, PRESETS, device=True, jobs=True)
    command(reproduce, PRESETS, device=True, jobs=True)
    command(adopt)
    command(status, PRESETS)
    command(notebook, PRESETS, device=True).add_argument("source", type=Path)
    checked = command(check, (*PRESETS, REFERENCE))
    checked.add_argument("--strict", action="store_true", help="fail where a verdict differs")
    promoted = command(report, (*PRESETS, REFERENCE))
    promoted.set_defaults(preset=REFERENCE)
    promoted.add_argument("--promote", action="store_true", help="results/paper is it from now on")
    command(tune, PRESETS, device=True)
    command(bench)
    command(scale)
    command(coverage, (*PRESETS, REFERENCE))
    command(refresh).add_argument("sources", nargs="*", type=Path)
    return parser


def main(words: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # one that is not UTF-8 shows ? for a dagger
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    args = _parser().parse_args(words)
    try:
        if not files.CLAIMS.exists():
            raise FileNotFoundError(
                f"the commands work in a checkout, and {files.ROOT} is none; get one with "
                "`git clone`. The library itself needs none: import dndiv"
            )
        code = args.function(args)
        sys.stdout.flush()  # or a full disk behind it would be noticed too late to be said
        return code
    except KeyboardInterrupt:
        _say("interrupted; what is finished is kept, and the same command goes on from there")
        return 130
    except Exception as error:
        if os.environ.get("DNDIV_TRACEBACK"):
            raise
        _say(said(error))
        if isinstance(error, OSError) and error.filename is None:  # perhaps of the output itself
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


REMEDY = (
    "Make room or give leave there, or set DNDIV_RESULTS to another folder, and run the same "
    "command again: what is finished is kept"
)
NO_PLACE = {
    *(errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EEXIST),
}


def said(error: Exception) -> str:
    """An error in at most three lines; one that is not meant for users has its name before it."""
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    meant = isinstance(error, ValueError | OSError | RuntimeError | ImportError)
    name = "" if meant and lines else f"{type(error).__name__}: "
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2]} … (DNDIV_TRACEBACK=1 shows all)"]
    if getattr(error, "errno", None) in NO_PLACE:
        lines.append(REMEDY)
    hint = "" if meant else "\nDNDIV_TRACEBACK=1 shows where; perhaps a mistake of this program"
    return name + "\n".join(line[:1000] for line in lines) + hint


def _say(text: str) -> None:
    print(f"dndiv: {text}", file=sys.stderr)
