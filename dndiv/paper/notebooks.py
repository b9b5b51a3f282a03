"""Notebooks: executed headlessly into results, and their sources with compared outputs."""

import base64
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from dndiv.checks import choose
from dndiv.paper import files, pictures, provenance, tables

FOLDER = files.NOTEBOOKS
KERNEL = "python3"  # the one that ipykernel puts into every environment
KERNEL_ARGUMENTS = [
    "--IPKernelApp.log_level=ERROR",  # no warning for every kernel that it listens on loopback
    # in a notebook, exit() would do nothing: here it ends the run, as it says
    "--IPKernelApp.exec_lines=import sys; exit = quit = sys.exit",
]
LIVE = "explore.ipynb"  # of widgets, for JupyterLab: an executed copy would show nothing
COMPARED = "NBVAL_CHECK_OUTPUT"  # marks cells whose outputs are stored in the source
SHOWN = "shown"  # tags cells whose code is what is to be seen


def sources() -> list[Path]:
    """The notebooks that are executed into results."""
    return sorted(path for path in FOLDER.glob("*.ipynb") if path.name != LIVE)


def found(source: Path) -> Path:
    """A notebook by its path, or by its name. ValueError says which names there are."""
    if source.is_file():
        return source.resolve()
    books = {path.stem: path for path in FOLDER.glob("*.ipynb")}
    choose("notebook", source.stem, sorted(books))
    return books[source.stem]


def executed(source: Path, preset: str) -> Path:
    """Where the executed copy of a notebook is kept."""
    return files.results(preset) / "notebooks" / source.name


def execute(source: Path, preset: str, device: str) -> int:
    """Execute a notebook by papermill; a failed copy is kept in …/failed. Returns 0 or 1."""
    sys.modules.setdefault("rfc3987_syntax", None)  # two seconds of grammars, for nothing
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    started, of = time.perf_counter(), tables.digest(preset)
    os.environ.pop("PYTHONWARNINGS", None)  # a kernel would stop at warnings of Jupyter's own
    parameters = {"PRESET": preset, "DEVICE": device}
    known = papermill.inspect_notebook(str(source))
    if unknown := set(parameters) - set(known):  # papermill itself would only warn
        files.say(
            f"{source}: has no parameter {', '.join(sorted(unknown))}; it has "
            f"{', '.join(known) or 'none'}. Declare it in the cell tagged 'parameters'."
        )
        return 1
    if source.parent != FOLDER and (FOLDER / source.name).exists():
        files.say(
            f"{source}: is not in {FOLDER}, and its executed copy would replace that of the one "
            f"there which has its name; give it another name"
        )
        return 1
    target = files.place(executed(source, preset))
    failed = files.place(target.parent.with_name("failed") / source.name)
    failed.unlink(missing_ok=True)  # papermill would write into what it is linked to
    stopped = ""
    try:
        papermill.execute_notebook(
            *(str(source), str(failed), parameters),
            kernel_name=KERNEL,
            cwd=str(source.parent),
            progress_bar=False,
            extra_arguments=KERNEL_ARGUMENTS,
        )
    except PapermillExecutionError as error:
        stopped = f"cell {error.cell_index} failed: {error.ename}: {error.evalue}"
    except DeadKernelError:
        cells = enumerate(json.loads(failed.read_text("utf8"))["cells"])
        last = max(k for k, cell in cells if _run_of(cell).get("start_time"))
        stopped = f"cell {last} failed: the kernel was killed, perhaps for want of memory"
    book = json.loads(failed.read_text("utf8"))
    ended = [k for k, c in enumerate(book["cells"]) if _run_of(c).get("status") != "completed"]
    if not stopped and ended:  # papermill takes exit() for a success
        stopped = f"cell {ended[0]} ended the notebook by exit()"
    if stopped:
        files.say(f"{source.name}: {stopped}\nThe copy with its traceback is {failed}.")
        return 1
    for part in (book, *book["cells"]):
        for name in ("papermill", "execution"):  # they hold paths of this machine, and times
            part["metadata"].pop(name, None)
    book["metadata"]["dndiv"] = {"preset": preset, "tables": of}
    if said := answer(book["cells"]):  # before the code, which not every viewer collapses
        top = {"cell_type": "markdown", "id": "answer", "metadata": {}, "source": said}
        book["cells"].insert(1, top)
    _write(book, failed)
    os.replace(failed, target)
    seconds = time.perf_counter() - started
    provenance.record(files.results(preset), {}, step=source.stem, seconds=seconds)
    return 0


def _run_of(cell: dict) -> dict:
    """What papermill says of the run of a cell: its status, and when it was started."""
    return cell["metadata"].get("papermill", {})


def words(cell: dict) -> str:
    """What a cell says: its text, or the Markdown that it has put out."""
    if cell["cell_type"] == "markdown":
        return "".join(cell["source"])
    shown = [o.get("data", {}).get("text/markdown", "") for o in cell.get("outputs", ())]
    return "\n\n".join("".join(text) for text in shown).strip()


def answer(cells: list[dict]) -> str:
    """What a notebook answers: what the code below its heading "In short" has put out."""
    found, heading = [], ""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            titles = re.findall(r"^##+ (.*)", words(cell), flags=re.MULTILINE)
            heading = titles[-1] if titles else heading
        elif heading == "In short":
            found.append(words(cell))
    return "\n\n".join(filter(None, found))


def promote(preset: str, target: Path) -> None:
    """Copy the executed notebooks of a preset, their pictures made small, in place of those that
    are in ``target``. ValueError where one is not there, or was not made of its tables."""
    books, of = {}, tables.digest(preset)
    for source in sources():
        copy = executed(source, preset)
        book = files.known(copy) or {"metadata": {}}
        if book["metadata"].get("dndiv", {}).get("tables") != of:
            raise ValueError(
                f"{copy} is not there, or is of other tables than those beside it; "
                f"`make reproduce PRESET={preset}` makes it"
            )
        for output in (o for cell in book["cells"] for o in cell.get("outputs", ())):
            if png := output.get("data", {}).get("image/png"):
                small = pictures.small(base64.b64decode("".join(png)))
                output["data"]["image/png"] = base64.b64encode(small).decode()
        books[source.name] = book
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, book in books.items():
        _write(book, target / name)


def collapse(cell: dict) -> None:
    """Hide the code of a cell, so that what it says comes first: not of the parameters, of what is
    compared, and of what is tagged ``shown``."""
    seen = {"parameters", SHOWN} & {*cell["metadata"].get("tags", ())}
    cell["metadata"].pop("jupyter", None)
    if cell["cell_type"] == "code" and not seen and COMPARED not in "".join(cell["source"]):
        cell["metadata"]["jupyter"] = {"source_hidden": True}


def refresh(source: Path) -> None:
    """Execute a source and store the outputs of its compared cells, all others are removed; and
    collapse its code."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(source, as_version=4)
    place = {"metadata": {"path": str(source.parent)}}
    options = {"kernel_name": KERNEL, "extra_arguments": KERNEL_ARGUMENTS, "resources": place}
    NotebookClient(book, **options).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        collapse(cell)
        if cell.cell_type == "code" and COMPARED in cell.source:
            tags = cell.metadata.get("tags", [])
            cell.metadata["tags"] = sorted({*tags, "keep_output"})  # for nbstripout
        elif cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python"},
    }
    nbformat.write(book, source)


def _write(book: dict, file: Path) -> None:
    file.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", "utf8")
