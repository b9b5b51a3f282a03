"""What depends on what: one walk over the text of this package, which imports nothing of it.

From some names on, ``reached`` finds every function, class and constant of the package that they
mention, directly or through others. A digest of their text, without what cannot change a result
(comments, docstrings, layout, annotations, and what is raised), tells whether something was made by
the code as it is now. It serves the keys of the cache, and what ``make reproduce`` must do again.
"""

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

import dndiv
from dndiv.paper.files import ROOT

Name = tuple[str, str]  # (module, what is defined in it)

# Dictionaries of which a unit uses the entries that its specification names, and no others: a new
# technique makes nothing stale that was trained without it.
REGISTRIES = {
    *("KINDS", "RECORDS", "LOOKS", "STARTS", "TECHNIQUES"),
    *("SETTINGS", "LEARNING_RATES", "BATCH", "PARITY_BITS"),
}


def digest(
    names: Iterable[Name], entries: Collection[str] | None = None, stop: Collection[Name] = ()
) -> str:
    """The hash of all code that some names reach.

    entries: of ``REGISTRIES``, those that count; all of them, by default. stop: names that are not
    followed.
    """
    found = reached(names, entries, stop)
    text = "\n".join(f"{module}:{name}\n{found[module, name]}" for module, name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()


def reached(
    names: Iterable[Name], entries: Collection[str] | None = None, stop: Collection[Name] = ()
) -> dict[Name, str]:
    """The definitions that some names reach, themselves included, each with its text.

    stop: names that are not followed.
    """
    found: dict[Name, str] = {}
    todo = list(names)
    while todo:
        module, name = todo.pop()
        if (module, name) in found or (module, name) in stop:
            continue
        counted = None if entries is None or name not in REGISTRIES else frozenset(entries)
        found[module, name], mentions = _read(module, name, counted)
        todo += mentions
    return found


@cache
def _read(module: str, name: str, entries: frozenset[str] | None) -> tuple[str, tuple[Name, ...]]:
    """The text of a definition, and what it mentions."""
    if name not in _definitions(module):
        raise ValueError(f"{module} defines no {name!r}")
    node = _restricted(name, _definitions(module)[name], entries)
    return ast.unparse(node), tuple(mentioned(node, module))


def mentioned(node: ast.AST, module: str | None = None) -> Iterator[Name]:
    """What of this package a piece of code mentions. module: the one that it stands in, if any."""
    parts = [*ast.walk(node)]
    imports = (_imports(module) if module else {}) | _imported(parts)
    own = _definitions(module) if module else {}
    for part in parts:
        if isinstance(part, ast.Name) and part.id in own:
            yield module, part.id
        elif isinstance(part, ast.Name) and part.id in imports:
            target, name = imports[part.id]
            if name:
                yield from _home(target, name)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            target, name = imports.get(part.value.id, ("", ""))
            if target and not name:
                yield from _home(target, part.attr)


def _home(module: str, name: str) -> Iterator[Name]:
    """Where a name that is asked of a module is defined, if this package does."""
    if name in _definitions(module):
        yield module, name
    elif name in _imports(module):  # handed on
        target, there = _imports(module)[name]
        if there:
            yield from _home(target, there)
    elif module == "dndiv" and name in dndiv._HOME:  # loaded when asked for
        yield f"dndiv.{dndiv._HOME[name]}", name


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()]
    return found[0] if found else None


@cache
def _body(module: str) -> list[ast.stmt]:
    """A module's statements, stripped; none of one that is not this package's."""
    file = _file(module)
    return stripped(file.read_text("utf8")).body if file else []


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """What a module defines at its top: name → statement, stripped."""
    found: dict[str, ast.AST] = {}
    for node in _body(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                names = (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
                found |= dict.fromkeys(names, node)
    return found


@cache
def _imports(module: str) -> dict[str, Name]:
    return _imported(part for node in _body(module) for part in ast.walk(node))


def _imported(parts: Iterable[ast.AST]) -> dict[str, Name]:
    """Names that a piece of code imports from this package: → (module, name in it or "")."""
    found: dict[str, Name] = {}
    for part in parts:
        if isinstance(part, ast.Import):
            for alias in part.names:
                if alias.name.split(".")[0] == "dndiv":
                    found[alias.asname or "dndiv"] = (alias.name if alias.asname else "dndiv", "")
        elif isinstance(part, ast.ImportFrom) and (part.module or "").split(".")[0] == "dndiv":
            for alias in part.names:
                inner = f"{part.module}.{alias.name}"
                target = (inner, "") if _file(inner) else (part.module, alias.name)
                found[alias.asname or alias.name] = target
    return found


class _Strip(ast.NodeTransformer):
    """Takes away what does not change what code computes."""

    def visit(self, node):
        node = self.generic_visit(node)
        if isinstance(node, ast.Raise):  # whatever it says, there is no result then
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            return ast.Raise(exc=called, cause=None)
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if hasattr(node, "decorator_list"):  # what it refuses has no result either
            found = node.decorator_list
            node.decorator_list = [d for d in found if "typed" not in map(_id, ast.walk(d))]
        holds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, holds) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node


def _id(node: ast.AST) -> str:
    return getattr(node, "id", "")


def stripped(source: str) -> ast.Module:
    """Python source without docstrings, annotations of arguments, and what is raised."""
    return _Strip().visit(ast.parse(source))


def _restricted(name: str, node: ast.AST, entries: Collection[str] | None) -> ast.AST:
    """A registry's definition with the entries that count alone."""
    value = getattr(node, "value", None)
    if entries is None or not isinstance(value, ast.Dict):
        return node
    pairs = [(k, v) for k, v in zip(value.keys, value.values) if ast.literal_eval(k) in entries]
    kept = ast.Dict([k for k, _ in pairs], [v for _, v in pairs])
    return ast.Assign([ast.Name(name, ast.Store())], kept, lineno=0)
