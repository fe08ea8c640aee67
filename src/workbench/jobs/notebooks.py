"""Finished notebooks as web pages.

nbconvert takes half a second to import and nearly as long again for its first page, 10 to 60 ms for each one
after: :mod:`workbench.jobs.pages` keeps a process for it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import JobError
from workbench.jobs.engine import FORMAT_CHECKS, imports_without
from workbench.jobs.files import write_atomically

if TYPE_CHECKING:
    from workbench.jobs.exporter import PageExporter


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
    page = notebook.with_suffix(".html")
    write_atomically(page, exporter.page(nb, notebook.stem))
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
    exporter.page(nbformat.v4.reads(json.dumps(page)), "page")  # type: ignore[no-untyped-call]  # no types


@lru_cache(maxsize=1)
def _exporter() -> PageExporter:
    with imports_without(*FORMAT_CHECKS):
        from nbconvert.preprocessors import CoalesceStreamsPreprocessor

        from workbench.jobs.exporter import PageExporter
    exporter = PageExporter()
    for url in ("require_js_url", "mathjax_url", "jquery_url", "jupyter_widgets_base_url", "mermaid_js_url"):
        setattr(exporter, url, "")
    # a progress bar is one line on the page, not one for every time it moved
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # type: ignore[no-untyped-call]  # nbconvert has no types
    return exporter
