"""The house rules of notebooks, as checks: a notebook that passes reads like the others and can become a job.

Source: section "Conventions" of the design. Magics are left to IPython; a cell that begins with ``%%`` is
not Python and only its length is checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ParameterError, nearest
from workbench.jobs.nbtest.stored import SKIP, TAGS, marks_of
from workbench.jobs.parameters import TAG, read_cells, read_parameters, source_of

MAX_CODE_CELLS = 15
MAX_CELL_LINES = 12
# Stores and venues belong to the lake, the journal and the gateway.
_FORBIDDEN_IMPORTS = {
    "MySQLdb",
    "alpaca",
    "alpaca_trade_api",
    "duckdb",
    "ib_async",
    "psycopg",
    "psycopg2",
    "pyRofex",
    "redis",
    "sqlalchemy",
    "sqlite3",
}
_CLOCK_CALLS = {"now", "today", "utcnow", "localtime", "gmtime"}
_CLOCK_MODULE_CALLS = {("time", "time"), ("time", "time_ns")}
# Generators that draw other numbers on every run unless they are given a seed.
_GENERATORS = {"default_rng", "RandomState", "seed", "SeedSequence"}
_ABSOLUTE = re.compile(
    r"(/[\w.-]+){2,}/?|/(home|root|tmp|data|mnt|srv|var|etc|opt|usr|Users|work)/?|[A-Za-z]:[\\/].*|~[\w-]*/.*"
)
_SECRET_NAME = re.compile(r"secret|passw|passphrase|token|api_?key|credential", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"APCA_\w+|(AKIA|ASIA|PK|AK|CK)[A-Z0-9]{16,}|gh[pousr]_\w{20,}|\w+://[^/\s:]*:[^/@\s]+@.*")
_BUILTIN_TYPES = {"int", "float", "bool", "str", "list", "dict", "None"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule. ``cell`` is the number that the code cell shows, None for the notebook as a whole."""

    notebook: str
    cell: int | None
    rule: str
    message: str

    def __str__(self) -> str:
        where = self.notebook if self.cell is None else f"{self.notebook}, cell [{self.cell}]"
        return f"{where}: {self.message} ({self.rule})"


def lint(notebook: Path, *, is_job: bool = False) -> list[Violation]:
    """The rules that a notebook breaks, in the order of its cells; empty if it keeps them all.

    ``is_job`` says that it is a step of a pipeline: it then needs a parameters cell, and its test may leave out
    nothing that runs in production.

    Raises
    ------
    ParameterError
        If the file is not a notebook at all.
    """
    cells = read_cells(notebook)
    codes = [cell for cell in cells if cell.get("cell_type") == "code"]
    found: list[tuple[str, int | None, str]] = [("title", None, message) for message in _title(cells)]
    found += [("parameters", None, message) for message in _parameters(notebook, codes, is_job=is_job)]
    if len(codes) > MAX_CODE_CELLS:
        found.append(("size", None, f"{len(codes)} code cells, at most {MAX_CODE_CELLS}"))
    found += [("imports", None, message) for message in _import_cells(codes)]
    for number, cell in enumerate(codes, 1):
        found += [("tags", number, message) for message in _tags(cell, is_job=is_job)]
        found += [(rule, number, message) for rule, message in _cell(source_of(cell))]
    return [Violation(notebook.name, cell, rule, message) for rule, cell, message in found]


def _title(cells: list[dict[str, Any]]) -> Iterator[str]:
    if not cells or cells[0].get("cell_type") != "markdown":
        yield "the first cell is the title: markdown that begins with '# '"
        return
    text = source_of(cells[0])
    if not text.lstrip().startswith("# "):
        yield "the first cell is the title: it begins with '# '"
    if not re.search(r"places orders\W{1,6}(yes|no)\b", text, re.IGNORECASE):
        yield "the title cell says whether the notebook places orders: 'places orders: no'"


def _parameters(notebook: Path, codes: list[dict[str, Any]], *, is_job: bool) -> Iterator[str]:
    try:
        parameters = read_parameters(notebook)
    except ParameterError as error:
        yield str(error)
        return
    if is_job and not parameters.tagged:
        yield f"a job has a cell tagged {TAG!r} with its parameters"
    for cell in codes:
        if TAG in cell.get("metadata", {}).get("tags", []):
            yield from _annotations(ast.parse(source_of(cell)))


def _annotations(tree: ast.Module) -> Iterator[str]:
    """An annotation is evaluated when the cell runs, so what it names must be there or in quotes."""
    known = _BUILTIN_TYPES | {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign):
            names = {node.id for node in ast.walk(statement.annotation) if isinstance(node, ast.Name)}
            for name in sorted(names - known):
                yield f"put the annotation of {ast.unparse(statement.target)!r} in quotes: {name} is not imported yet"


def _import_cells(codes: list[dict[str, Any]]) -> Iterator[str]:
    numbers = []
    for number, cell in enumerate(codes, 1):
        tree = _parse(source_of(cell))
        tagged = TAG in cell.get("metadata", {}).get("tags", [])
        if tree is not None and not tagged and any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.walk(tree)):
            numbers.append(f"[{number}]")
    if len(numbers) > 1:
        yield f"imports are in one cell, not in {', '.join(numbers)}"


def _tags(cell: dict[str, Any], *, is_job: bool) -> Iterator[str]:
    """A misspelt tag would be left unread, and the cell untested."""
    marks = marks_of(cell)
    for mark in sorted(marks):
        if mark.startswith("nbval") and mark not in TAGS:
            yield f"{mark!r} means nothing to nbval; {nearest(mark, TAGS)}"
    for mark in sorted(marks & {SKIP, "nbval-raises-exception", "raises-exception"}) if is_job else ():
        yield f"a job has no cell tagged {mark!r}: what runs in production is tested, and an error ends it"


def _cell(source: str) -> Iterator[tuple[str, str]]:
    lines = source.rstrip().count("\n") + 1
    if lines > MAX_CELL_LINES:
        yield "size", f"{lines} lines, at most {MAX_CELL_LINES}"
    tree = _parse(source)
    if tree is None:
        if not source.lstrip().startswith("%%"):
            yield "syntax", "not Python"
        return
    for node in ast.walk(tree):
        for kinds, check in _CHECKS.items():
            if isinstance(node, kinds):
                yield from check(node)


def _parse(source: str) -> ast.Module | None:
    """The cell's syntax tree without its line magics and shell commands; None if it is not Python."""
    if source.lstrip().startswith("%%"):
        return None
    kept = [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in source.splitlines()]
    try:
        return ast.parse("\n".join(kept))
    except SyntaxError:
        return None


def _definition(node: Any) -> Iterator[tuple[str, str]]:
    yield "definitions", f"{node.name!r} is defined here; it belongs into the package, with a test"


def _import(node: Any) -> Iterator[tuple[str, str]]:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    for name in names:
        if name.split(".")[0] in _FORBIDDEN_IMPORTS:
            yield "clients", f"{name} is imported; data and orders go through workbench.open()"


def _call(node: Any) -> Iterator[tuple[str, str]]:
    function = node.func
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if function.attr in _CLOCK_CALLS or (owner, function.attr) in _CLOCK_MODULE_CALLS:
            yield "clock", f"{ast.unparse(function)}() reads the clock; a session is a parameter"
    if ast.unparse(function).split(".")[-1] in _GENERATORS and _is_unseeded(node):
        yield "seed", f"{ast.unparse(node)} draws other numbers on every run; give it a seed"
    words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    if ast.unparse(function).endswith(("Timestamp", "to_datetime")) and {"now", "today"} & set(words):
        yield "clock", f"{ast.unparse(node)} reads the clock; a session is a parameter"


def _is_unseeded(call: Any) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return all(isinstance(value, ast.Constant) and value.value is None for value in given)


def _constant(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node.value, str):
        if _ABSOLUTE.fullmatch(node.value):
            yield "paths", f"{node.value!r} is an absolute path; ask wb.settings for folders"
        if _SECRET_VALUE.fullmatch(node.value):
            yield "credentials", "a text that looks like a credential; notebooks have none"


def _assignment(node: Any) -> Iterator[tuple[str, str]]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) and node.value.value:
        for target in targets:
            if isinstance(target, ast.Name) and _SECRET_NAME.search(target.id):
                yield "credentials", f"{target.id!r} looks like a credential; notebooks have none"


def _keyword(node: Any) -> Iterator[tuple[str, str]]:
    if node.arg and _SECRET_NAME.search(node.arg) and isinstance(node.value, ast.Constant) and node.value.value:
        yield "credentials", f"{node.arg!r} looks like a credential; notebooks have none"


_CHECKS: Mapping[tuple[type[ast.AST], ...], Callable[[Any], Iterator[tuple[str, str]]]] = {
    (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef): _definition,
    (ast.Import, ast.ImportFrom): _import,
    (ast.Call,): _call,
    (ast.Constant,): _constant,
    (ast.Assign, ast.AnnAssign): _assignment,
    (ast.keyword,): _keyword,
}
