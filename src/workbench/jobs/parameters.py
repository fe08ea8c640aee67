"""Typed parameters of notebooks, from the cell tagged ``parameters``: read, never executed.

    top: int = 2  # names held
    asof: "date" = "2013-01-02"  # a date arrives as text
    weights: "Annotated[list[float], Field(min_length=1)]"  # without a default: has to be given

Everything wrong is refused here, before a kernel starts. (papermill alone warns about an unknown name,
lets the notebook's own value win when the tag is missing, and makes 1 of ``000001``.)
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic_core import SchemaError

from workbench.errors import ParameterError, nearest
from workbench.jobs.annotations import AnnotationError, plain, read, resolve

TAG = "parameters"
REQUIRED = "(required)"


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One parameter as a person reads it. ``default`` is Python source, or ``(required)``."""

    name: str
    type: str
    default: str
    comment: str


@dataclass(frozen=True)
class NotebookParameters:
    """What one notebook declares.

    ``model`` is a pydantic model with a field per parameter; ``kinds`` are the declared types;
    ``tagged`` is False if the notebook has no parameters cell.
    """

    notebook: str
    model: type[BaseModel]
    kinds: Mapping[str, Any]
    rows: tuple[ParameterRow, ...]
    tagged: bool

    @property
    def defaults(self) -> dict[str, object]:
        """The defaults as the notebook gets them, by name; names without a default are left out."""
        fields = self.model.model_fields
        return {name: plain(fields[name].default) for name in self.names if not fields[name].is_required()}

    @property
    def names(self) -> tuple[str, ...]:
        """The declared names, in the order of the cell."""
        return tuple(self.kinds)

    def describe(self) -> tuple[ParameterRow, ...]:
        """Name, type, default and comment of every parameter."""
        return self.rows

    def bind(self, values: Mapping[str, object]) -> dict[str, object]:
        """Check ``values`` and complete them with the defaults, as plain values for the notebook.

        A string is read by the declared type and by nothing else: for a ``str``, ``000001`` stays as it is.
        Lists may be JSON or items between commas. Dates, decimals and paths come out as text.

        Raises
        ------
        ParameterError
            If a name is unknown, or a value is missing, mistyped or out of range.
        """
        if values and not self.tagged:
            raise ParameterError(
                f"{self.notebook} has no cell tagged {TAG!r}, but is given {', '.join(sorted(values))}",
                hint="tag the cell that holds the defaults",
            )
        for name in values:
            if name not in self.kinds:
                raise ParameterError(f"{self.notebook} has no parameter {name!r}", hint=nearest(name, self.kinds))
        given = {name: self._read(name, value) for name, value in values.items()}
        try:
            bound = self.model(**given)
        except ValidationError as error:
            raise ParameterError("; ".join(self._explain(dict(item), values) for item in error.errors())) from error
        return {name: plain(getattr(bound, name)) for name in self.names}

    def _read(self, name: str, value: object) -> object:
        try:
            return read(value, self.kinds[name], text=True)
        except ValueError as error:
            raise ParameterError(f"{self.notebook}, parameter {name!r}: {error}") from error

    def _explain(self, item: dict[str, Any], values: Mapping[str, object]) -> str:
        name, *inside = item["loc"]
        value = values.get(name)
        if item["type"] == "missing":
            return f"{self.notebook}, parameter {name!r}: has no default and has to be given"
        keys = value if isinstance(value, Mapping) else ()
        where = "".join(f"[{part!r}]" for part in inside if isinstance(part, int) or part in keys)
        return f"{self.notebook}, parameter {name!r}{where}: {_lower(item['msg'])} (got {item['input']!r})"


def read_parameters(notebook: Path) -> NotebookParameters:
    """Read what a notebook declares.

    Raises
    ------
    ParameterError
        If it is no notebook, or its parameters cell holds something other than annotated literals: the
        message names cell and line.
    """
    cells = [cell for cell in read_cells(notebook) if cell.get("cell_type") == "code"]
    tagged = [(n, cell) for n, cell in enumerate(cells, 1) if TAG in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) > 1:
        numbers = " and ".join(f"[{number}]" for number, _ in tagged)
        raise ParameterError(f"{notebook.name}: the cells {numbers} are all tagged {TAG!r}; only one can be")
    if not tagged:
        return NotebookParameters(notebook.name, create_model("Parameters"), {}, (), tagged=False)
    number, cell = tagged[0]
    return _declared(notebook.name, number, source_of(cell))


def declared_names(notebooks: Iterable[Path]) -> list[str]:
    """The names that any of the notebooks declares, in order of appearance, each once."""
    return list(dict.fromkeys(name for notebook in notebooks for name in read_parameters(notebook).names))


@lru_cache(maxsize=64)
def _declared(notebook: str, number: int, source: str) -> NotebookParameters:
    """The same source declares the same: a replay asks again for every session."""
    return _Cell(notebook, number, source).parameters()


class _Cell:
    """The source of one parameters cell, on its way to a model."""

    def __init__(self, notebook: str, number: int, source: str) -> None:
        self.notebook = notebook
        self.number = number
        self.source = source
        self.kinds: dict[str, Any] = {}
        self.fields: dict[str, Any] = {}
        self.rows: list[ParameterRow] = []

    def parameters(self) -> NotebookParameters:
        try:
            tree = ast.parse(self.source)
        except SyntaxError as error:
            raise self._error(error.lineno or 1, f"not Python: {error.msg}") from error
        comments = _comments(self.source)
        for statement in tree.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                self._declare(statement.target.id, statement, comments)
            elif not _is_harmless(statement):
                raise self._refusal(statement)
        config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), **_CHECKS)
        model = create_model("Parameters", __config__=config, **self.fields)
        return NotebookParameters(self.notebook, model, self.kinds, tuple(self.rows), tagged=True)

    def _declare(self, name: str, statement: ast.AnnAssign, comments: Mapping[int, str]) -> None:
        if name in self.kinds:
            raise self._error(statement.lineno, f"{name!r} is declared twice")
        if name.startswith("_") or hasattr(BaseModel, name):
            raise self._error(statement.lineno, f"{name!r} cannot be the name of a parameter", "choose another")
        try:
            kind = resolve(statement.annotation)
        except AnnotationError as error:
            raise self._error(statement.lineno, f"{name}: {error}") from error
        adapter = self._adapter(name, statement.lineno, kind)
        default = ... if statement.value is None else self._default(name, statement.value, kind, adapter)
        self.kinds[name] = kind
        self.fields[name] = (kind, default)
        written = statement.annotation
        quoted = isinstance(written, ast.Constant) and isinstance(written.value, str)
        self.rows.append(
            ParameterRow(
                name=name,
                type=str(written.value) if quoted and isinstance(written, ast.Constant) else ast.unparse(written),
                default=REQUIRED if statement.value is None else ast.unparse(statement.value),
                comment=comments.get(statement.end_lineno or statement.lineno, ""),
            )
        )

    def _adapter(self, name: str, line: int, kind: Any) -> TypeAdapter[Any]:
        """What checks one value; a bound that makes no sense (a pattern that is none) shows here."""
        try:
            return TypeAdapter(kind, config=_CHECKS)
        except (SchemaError, TypeError) as error:
            why = " ".join(str(error).split())
            raise self._error(line, f"{name}: {why}") from error

    def _default(self, name: str, node: ast.expr, kind: Any, adapter: TypeAdapter[Any]) -> object:
        try:
            literal = ast.literal_eval(node)
        except ValueError as error:
            message = f"the default of {name!r} is derived: {ast.unparse(node)}"
            raise self._error(node.lineno, message, _MOVE) from error
        try:
            return adapter.validate_python(read(literal, kind, text=False))
        except ValidationError as error:
            why = _lower(error.errors()[0]["msg"])
            raise self._error(node.lineno, f"the default of {name!r}: {why} (got {literal!r})") from error
        except ValueError as error:
            raise self._error(node.lineno, f"the default of {name!r}: {error}") from error

    def _refusal(self, statement: ast.stmt) -> ParameterError:
        source = ast.unparse(statement).splitlines()[0]
        if isinstance(statement, ast.Assign):
            return self._error(statement.lineno, f"{source!r} has no type", hint="write it as: name: int = 2")
        return self._error(statement.lineno, f"{source!r} is not a parameter", _MOVE)

    def _error(self, line: int, message: str, hint: str | None = None) -> ParameterError:
        return ParameterError(f"{self.notebook}, cell [{self.number}], line {line}: {message}", hint=hint)


_CHECKS = ConfigDict(strict=True, allow_inf_nan=False)
_MOVE = "a parameters cell holds annotated literals only; move the rest to a cell below"


def _lower(message: str) -> str:
    return f"{message[0].lower()}{message[1:]}"


def _is_harmless(statement: ast.stmt) -> bool:
    """Imports (for the annotations) and texts that explain."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _comments(source: str) -> dict[int, str]:
    """Comment by line number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: re.sub(r"^#+\s*", "", t.string) for t in tokens if t.type == tokenize.COMMENT}


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """The cells of a notebook file, without the cost of nbformat. They are everybody's: do not change them."""
    try:
        content = _parsed(notebook.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{notebook}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"{notebook}: not a notebook: {error}") from error
    if not isinstance(content, dict) or content.get("nbformat") != 4:
        raise ParameterError(f"{notebook}: not a notebook of format 4", hint="open it in JupyterLab and save it")
    cells = content.get("cells", [])
    return cells if isinstance(cells, list) else []


@lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """The same text says the same: a replay asks a dozen times for every session."""
    return json.loads(text)


def source_of(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", "")
    return "".join(source) if isinstance(source, list) else str(source)
