"""The commands below the Makefile: python -m dndiv data | run | tune | notebook | check | report | bench | refresh."""

import argparse
import ast
import json
import os
import shutil
import sys
import time
from pathlib import Path

from dndiv import table as tables
from dndiv.table import COEFFICIENTS, REFERENCE, RESULTS, ROOT

PRESETS = ("paper", "quick", "smoke")
README = ROOT / "README.md"
KERNEL = "python3"  # the one that ipykernel puts into every environment
QUIET = "--IPKernelApp.log_level=ERROR"  # no warning for every kernel that it listens on loopback


def data(args) -> int:
    """Fetch the data sets; exit status 1 where the embedded digits would have to stand in."""
    from dndiv import data

    names, notice = data.resolve(tuple(args.names))
    for name in names:
        dataset = data.load(name)
        print(f"{dataset.title}: {len(dataset.x_train):,} training and {len(dataset.x_test):,} test images, "
              f"{dataset.shape[0]}×{dataset.shape[1]}, {len(dataset.classes)} classes, SHA-256 {data.checksum(name)[:16]}…")
    if notice:
        print(notice, file=sys.stderr)
    return 1 if notice else 0


def run(args) -> int:
    """Compute the tables of a preset into results/<preset>/tables, and say what ran where."""
    from dndiv import data, experiment, provenance

    started, folder = time.perf_counter(), RESULTS / args.preset
    device = experiment.choose_device(args.device)
    names, notice = data.resolve(experiment.PRESETS[args.preset].data)
    print(notice or f"data: {', '.join(data.TITLES[n] for n in names)}", file=sys.stderr, flush=True)
    computed = sum(len(experiment.missing(name, args.preset, names)) for name in experiment.EXPERIMENTS)
    experiment.compute(args.preset, names, device, args.jobs)
    experiment.write(args.preset, device, args.jobs)
    marker = folder / "EMBEDDED_DIGITS"  # tells the Makefile to look again for the data sets
    tables.atomically(marker, lambda part: part.write_text(notice)) if notice else marker.unlink(missing_ok=True)
    provenance.record(folder, {
        "preset": args.preset, "commit": provenance.commit(), "versions": provenance.versions(),
        "machine": provenance.machine(), "device": device, "notice": notice,
        "data": {name: data.checksum(name) for name in names},
        "experiments": {name: experiment.cost(name, args.preset, names) for name in experiment.EXPERIMENTS},
    }, step="tables" if computed else None, seconds=time.perf_counter() - started, add=True)
    ready = Path(sys.prefix) / "ready"  # left by `make setup`
    if ready.exists():
        provenance.record(folder, {}, step="setup", seconds=float(ready.read_text().split()[0]))
    return 0


def notebook(args) -> int:
    """Execute a notebook headlessly into results/<preset>/notebooks; a failed copy is kept in …/failed."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from dndiv import provenance

    started, source = time.perf_counter(), args.source
    print(f"{source.stem} ({args.preset})", file=sys.stderr, flush=True)
    parameters = {"PRESET": args.preset, "DEVICE": args.device}
    known = papermill.inspect_notebook(str(source))
    if unknown := set(parameters) - set(known):  # papermill itself would only warn
        print(f"{source}: has no parameter {', '.join(sorted(unknown))}; it has {', '.join(known) or 'none'}. "
              "Declare it in the cell tagged 'parameters'.", file=sys.stderr)
        return 1
    folder = RESULTS / args.preset
    target, failed = folder / "notebooks" / source.name, folder / "failed" / source.name
    failed.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(source), str(failed), parameters, kernel_name=KERNEL, cwd=str(source.parent),
                                   progress_bar=False, extra_arguments=[QUIET])
    except PapermillExecutionError as error:
        print(f"{source.name}: cell {error.cell_index} failed: {error.ename}: {error.evalue}\n"
              f"The copy with its traceback is {failed}.", file=sys.stderr)
        return 1
    os.replace(failed, target)
    target.with_suffix(".d").write_text(_dependencies(source, target))
    provenance.record(folder, {}, step=source.stem, seconds=time.perf_counter() - started)
    return 0


def _dependencies(source: Path, target: Path) -> str:
    """A make rule: the executed notebook depends on the modules that it imports, directly and through others."""
    code = [c["source"] for c in json.loads(source.read_text("utf8"))["cells"] if c["cell_type"] == "code"]
    found: set[Path] = set()
    todo = ["\n".join("".join(c) for c in code)]
    while todo:
        for node in ast.walk(ast.parse(todo.pop())):
            names = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dndiv":
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.split(".")[0] == "dndiv"]
            for name in names:
                module = ROOT / (name.replace(".", "/") + ".py")
                module = module if module.exists() else ROOT / name.replace(".", "/") / "__init__.py"
                if module.exists() and module not in found:
                    found.add(module)
                    todo.append(module.read_text("utf8"))
    files = sorted(str(m.relative_to(ROOT)) for m in found)
    if "dndiv/claims.py" in files:
        files.append("claims.yml")
    return f"{os.path.relpath(target, ROOT)}: {' '.join(files)}\n" + "".join(f"{f}:\n" for f in files)


def check(args) -> int:
    """Print the verdicts, write claims.json; exit status 1 where a decided verdict is not the registered one."""
    from dndiv import claims

    results = claims.evaluate(lambda experiment: tables.read(experiment, args.preset))
    claims.write(results, RESULTS / args.preset / "claims.json")
    print(claims.as_text(results))
    different = claims.differences(results) if args.strict else []
    for r in different:
        print(f"DIFFERS: {r['claim']}, {r['setting']}: {r['verdict']}, registered in claims.yml: {r['expected']}",
              file=sys.stderr)
    return 1 if different else 0


def report(args) -> int:
    """Make a finished paper run the reference (--promote), and bring README's generated parts up to it."""
    if args.promote:
        if not all((RESULTS / "paper" / part).exists() for part in ("claims.json", "tables", "figures")):
            print("there is no finished paper run; make one with `make reproduce`", file=sys.stderr)
            return 1
        # the CSV and PDF files beside the figures follow from the tables
        parts = [(RESULTS / "paper" / "tables", ()), (RESULTS / "paper" / "figures", ("*.csv", "*.pdf"))]
        if (RESULTS / "bench").exists():  # or else the benchmark stays the one of before
            parts.append((RESULTS / "bench", ("*.pdf",)))
        for part, left_out in parts:
            shutil.rmtree(RESULTS / REFERENCE / part.name, ignore_errors=True)
            shutil.copytree(part, RESULTS / REFERENCE / part.name, ignore=shutil.ignore_patterns(*left_out))
        for part in ("claims.json", "provenance.json"):
            shutil.copy(RESULTS / "paper" / part, RESULTS / REFERENCE / part)
    from dndiv import readme

    README.write_text(readme.generated(README.read_text("utf8"), RESULTS / REFERENCE), "utf8")
    return 0


def tune(args) -> int:
    """Compute the table of a preset's tuning alone, and register in coefficients.yml what it chooses."""
    import yaml

    from dndiv import experiment, stats

    chosen = stats.choose_coefficients(experiment.table("tuning", args.preset, args.device))
    header = "".join(f"{line}\n" for line in COEFFICIENTS.read_text("utf8").splitlines() if line.startswith("#"))
    text = header + yaml.safe_dump(chosen, allow_unicode=True, sort_keys=False)
    tables.atomically(COEFFICIENTS, lambda part: part.write_text(text, "utf8"))
    return 0


def bench(args) -> int:
    """Measure a population against other ways to train its networks; table, figure and rows into results/bench."""
    from dndiv import bench

    print(bench.main())
    return 0


def refresh(args) -> int:
    """Execute notebook sources and store the outputs of their compared cells; all other outputs are removed."""
    import nbformat
    from nbclient import NotebookClient

    for source in args.sources:
        book = nbformat.read(source, as_version=4)
        NotebookClient(book, kernel_name=KERNEL, extra_arguments=[QUIET], resources={"metadata": {"path": str(source.parent)}}).execute()
        for cell in book.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code" and "NBVAL_CHECK_OUTPUT" not in cell.source:
                cell.outputs, cell.execution_count = [], None
        book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
                         "language_info": {"name": "python"}}
        nbformat.write(book, source)
    return 0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dndiv", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(function, preset=False, device=False, presets=PRESETS):
        sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        if preset:
            sub.add_argument("--preset", default="paper", choices=presets)
        if device:
            sub.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
        return sub

    command(data).add_argument("names", nargs="*", default=list(tables.ARCHIVED), choices=tables.DATA_SETS, metavar="NAME",
                               help=f"data sets, of {', '.join(tables.DATA_SETS)}")
    command(run, preset=True, device=True).add_argument("--jobs", type=int, help="processes; by default one per core")
    command(notebook, preset=True, device=True).add_argument("source", type=Path)
    command(check, preset=True, presets=(*PRESETS, REFERENCE)).add_argument(
        "--strict", action="store_true", help="fail where a decided verdict is not the registered one")
    command(report).add_argument("--promote", action="store_true", help="make results/paper the reference first")
    command(tune, preset=True, device=True)
    command(bench)
    command(refresh).add_argument("sources", nargs="+", type=Path)
    args = parser.parse_args(words)
    try:
        return args.function(args)
    except (ValueError, FileNotFoundError, RuntimeError) as error:  # said for the user; a traceback adds nothing
        if os.environ.get("DNDIV_TRACEBACK"):
            raise
        print(f"dndiv: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
