"""Finished notebooks as web pages.

nbconvert takes half a second to import and nearly as long again for its first page, 10 to 60 ms for each one
after: :mod:`workbench.jobs.pages` keeps a process for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import JobError
from workbench.jobs.engine import FORMAT_CHECKS, imports_without
from workbench.jobs.files import write_atomically

if TYPE_CHECKING:
    from nbconvert.exporters import HTMLExporter

_KEPT = 512  # pieces of pages: code as it is highlighted, text as it is cleaned


def to_html(notebook: Path) -> Path:
    """Write ``notebook`` as a page of its own beside it, whole or not at all; returns the page.

    The page asks nothing of the network.

    Raises
    ------
    JobError
        If the file is not a notebook.
    """
    exporter = _exporter()
    import nbformat

    try:
        # Without nbformat.read's check: the engine wrote it, and nbconvert checks it once more.
        nb = nbformat.v4.reads(notebook.read_text(encoding="utf-8"))  # type: ignore[no-untyped-call]  # no types
        nb.cells  # noqa: B018  # asked for, because a page is made of nothing else
    except OSError as error:
        raise JobError(f"no page of {notebook}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JobError(f"no page of {notebook}: it is no notebook ({str(error).splitlines()[0]})") from error
    body, _ = exporter.from_notebook_node(nb, resources={"metadata": {"name": notebook.stem}})
    page = notebook.with_suffix(".html")
    write_atomically(page, body)
    return page


def prepare(cache: Path | None = None) -> None:
    """Import nbconvert and compile its templates, so that the first page is as quick as the others.

    ``cache`` is a folder for the compiled templates, which the next process then finds.
    """
    exporter = _exporter()
    if cache is not None:
        from jinja2 import FileSystemBytecodeCache

        with suppress(OSError):  # a folder that cannot be written costs time, nothing else
            cache.mkdir(parents=True, exist_ok=True)
            exporter.environment.bytecode_cache = FileSystemBytecodeCache(str(cache), "page-%s.jinja")
    import nbformat

    title = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# *&amp;*"}
    code = {"cell_type": "code", "id": "b", "metadata": {}, "source": "1", "execution_count": 1, "outputs": []}
    page = {"cells": [title, code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    exporter.from_notebook_node(nbformat.v4.reads(json.dumps(page)))  # type: ignore[no-untyped-call]  # no types


@lru_cache(maxsize=1)
def _exporter() -> HTMLExporter:
    with imports_without(*FORMAT_CHECKS):
        from nbconvert.exporters import HTMLExporter
        from nbconvert.filters import Highlight2HTML, clean_html
        from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    exporter = HTMLExporter(template_name="lab")  # type: ignore[no-untyped-call]  # nbconvert has no types
    for url in ("require_js_url", "mathjax_url", "jquery_url", "jupyter_widgets_base_url", "mermaid_js_url"):
        setattr(exporter, url, "")
    exporter.optimistic_validation = True  # once after all preprocessors, not after each of a dozen
    # The pages of a replay's sessions show the same code and the same text.
    exporter.register_filter("clean_html", lru_cache(_KEPT)(clean_html))  # type: ignore[no-untyped-call]  # as above
    highlight = Highlight2HTML(pygments_lexer="ipython3", parent=exporter)  # type: ignore[no-untyped-call]  # as above
    exporter.filters = {"highlight_code": _Kept(highlight)}
    # a progress bar is one line on the page, not one for every time it moved
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # type: ignore[no-untyped-call]  # as above
    return exporter


class _Kept:
    """nbconvert's filter for code, which remembers what it has highlighted."""

    def __init__(self, highlight: Callable[..., str]) -> None:
        self._highlight = highlight
        self._highlighted = lru_cache(_KEPT)(self._of)

    def __call__(self, source: str, language: str | None = None, metadata: Mapping[str, Any] | None = None) -> str:
        return self._highlighted(source, language, (metadata or {}).get("magics_language"))

    def _of(self, source: str, language: str | None, magics: str | None) -> str:
        return self._highlight(source, language, {"magics_language": magics} if magics else {})
